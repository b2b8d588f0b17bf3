"""Nodes that share a Redis, in one event loop: each writes down what it was told of a room, in the order of telling."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import Any, Self

from hubbub.brokers.redis import RedisBroker
from hubbub.brokers.redis_link import Patience
from hubbub.errors import BrokerError
from hubbub.hub.ports import Draft, Entry, Kept, Position, Present, Retention
from tests.support.logs import EVERYTHING, PATIENCE, Logs
from tests.support.proxy import Proxy

DEADLINE_SECONDS = 15


class Node:
    """A broker and its listener.

    Attributes:
        tape: of each room, its entries as seq and payload, own ones and those of others, in the order of telling.
        moves: of each room, where it was said to go on.
        heard: of each room, what was passed on without being kept.
        crowd: of each room, who is there on other nodes.
        drops: how many messages were none.
        left: who was said to have left there, with the room.
        readings: how often it was told of everybody in a room.
    """

    def __init__(self, logs: Logs, broker: RedisBroker) -> None:
        self._logs = logs
        self.broker = broker
        self.tape: dict[str, list[tuple[int, bytes]]] = {}
        self.moves: dict[str, list[Position]] = {}
        self.heard: dict[str, list[bytes]] = {}
        self.crowd: dict[str, dict[tuple[str, str], Present]] = {}
        self.drops = 0
        self.left: list[tuple[str, str]] = []
        self.readings = 0
        self.place: dict[str, Position] = {}
        self._changed = asyncio.Event()
        self.broker.listen(self)

    @classmethod
    async def start(cls, logs: Logs, patience: Patience = PATIENCE, url: str | None = None) -> Self:
        """A node; what stands before Redis may be in this loop."""
        return cls(logs, await asyncio.to_thread(logs.redis, patience, url))

    def arrived(self, room: str, entries: Sequence[Entry]) -> None:
        self._told(room, [(entry.seq, entry.payload) for entry in entries])

    def moved(self, room: str, position: Position) -> None:
        self.moves.setdefault(room, []).append(position)
        self.place[room] = position
        self.tape[room] = []
        self._changed.set()

    def told(self, room: str, payloads: Sequence[bytes]) -> None:
        self.heard.setdefault(room, []).extend(payloads)
        self._changed.set()

    def came(self, room: str, node: str, entered: Sequence[Present], left: Sequence[str]) -> None:
        there = self.crowd.setdefault(room, {})
        for present in entered:
            there[node, present.id] = present
        for id in left:
            del there[node, id]
            self.left.append((room, id))
        self._changed.set()

    def everybody(self, room: str, others: Mapping[str, Sequence[Present]]) -> None:
        there = {(node, present.id): present for node, some in others.items() for present in some}
        self.left += [(room, id) for node, id in self.crowd.get(room, {}) if (node, id) not in there]
        self.crowd[room] = there
        self.readings += 1
        self._changed.set()

    def dropped(self) -> None:
        self.drops += 1

    def names(self, room: str = "r") -> list[str]:
        """Who is in the room on other nodes."""
        return sorted(present.username for present in self.crowd.get(room, {}).values())

    def _told(self, room: str, entries: list[tuple[int, bytes]]) -> None:
        """Fails where there is a hole, or anything twice."""
        place = self.place[room]
        assert [seq for seq, _ in entries] == list(range(place.seq + 1, place.seq + 1 + len(entries))), entries
        self.place[room] = Position(place.epoch, place.seq + len(entries))
        self.tape.setdefault(room, []).extend(entries)
        self._changed.set()

    async def open(self, room: str = "r") -> Position:
        future: asyncio.Future[Position] = asyncio.get_running_loop().create_future()

        def opened(answer: Position | BrokerError) -> None:
            if isinstance(answer, BrokerError):
                future.set_exception(answer)
                return
            self.place[room], self.tape[room] = answer, []  # what follows may be told before anybody is awake
            future.set_result(answer)

        self.broker.open(room, opened)
        async with asyncio.timeout(DEADLINE_SECONDS):
            return await future

    async def ask(self, call: Callable[..., None], *arguments: Any) -> Any:
        """What is answered; an error is raised."""
        future = asyncio.get_running_loop().create_future()
        call(*arguments, future.set_result)
        async with asyncio.timeout(DEADLINE_SECONDS):
            answer = await future
        if isinstance(answer, BrokerError):
            raise answer
        return answer

    def begin(self, *drafts: Draft | bytes, room: str = "r") -> asyncio.Future[Kept]:
        """Appends; what is kept is on the tape at the moment of the answer."""
        whole = [draft if isinstance(draft, Draft) else Draft(draft) for draft in drafts]
        future: asyncio.Future[Kept] = asyncio.get_running_loop().create_future()

        def kept(answer: Kept | BrokerError) -> None:
            if isinstance(answer, BrokerError):
                future.set_exception(answer)
                return
            fresh = [draft.payload for index, draft in enumerate(whole) if index not in answer.repeats]
            self._told(room, list(enumerate(fresh, answer.first)))
            future.set_result(answer)

        self.broker.append(room, self._logs.now, whole, kept)
        return future

    async def append(self, *drafts: Draft | bytes, room: str = "r") -> Kept:
        async with asyncio.timeout(DEADLINE_SECONDS):
            return await self.begin(*drafts, room=room)

    async def until(self, condition: Callable[[], bool]) -> None:
        """Waits until it is so, looking again whenever something was told."""
        async with asyncio.timeout(DEADLINE_SECONDS):
            while not condition():
                self._changed.clear()
                await self._changed.wait()

    async def until_head(self, seq: int, room: str = "r") -> None:
        await self.until(lambda: self.place[room].seq >= seq)

    async def until_ready(self, ready: bool = True) -> None:
        """Nothing tells of it, so it is looked at again and again."""
        async with asyncio.timeout(DEADLINE_SECONDS):
            while self.broker.ready is not ready:
                await asyncio.sleep(0.02)

    def payloads(self, room: str = "r") -> list[bytes]:
        return [payload for _, payload in self.tape[room]]

    async def stop(self) -> None:
        async with asyncio.timeout(DEADLINE_SECONDS):
            await self.broker.stop()


class Stage:
    """Nodes of one test, on its event loop."""

    def __init__(self, url: str, logs: Logs) -> None:
        self.url = url
        self.logs = logs
        self.nodes: list[Node] = []
        self.proxies: list[Proxy] = []

    async def node(self, *rooms: str, patience: Patience | None = None, proxy: Proxy | None = None) -> Node:
        """A node with rooms open."""
        url = f"redis://127.0.0.1:{proxy.port}" if proxy else None
        node = await Node.start(self.logs, patience or PATIENCE, url)
        self.nodes.append(node)
        for room in rooms:
            await node.open(room)
        return node

    async def proxy(self) -> Proxy:
        self.proxies.append(await Proxy(int(self.url.rpartition(":")[2])).start())
        return self.proxies[-1]

    async def end(self) -> None:
        for node in self.nodes:
            await node.stop()
        for proxy in self.proxies:
            await proxy.stop()


@asynccontextmanager
async def staged(url: str, retention: Retention = EVERYTHING) -> AsyncIterator[Stage]:
    logs = Logs(url, retention, loop=asyncio.get_running_loop())
    stage = Stage(url, logs)
    try:
        yield stage
    finally:
        await stage.end()
