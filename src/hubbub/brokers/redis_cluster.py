"""A Redis Cluster: a link to each node that has slots, and which of them a key is on, also while that changes."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from typing import Any, Final, NamedTuple

from redis.asyncio.connection import AbstractConnection
from redis.crc import key_slot

from hubbub.brokers.redis_link import Call, Connect, Link, Patience, Script
from hubbub.brokers.redis_routes import CONNECT_ERRORS, ask, fetch_secret, open_connection, reason_of
from hubbub.brokers.redis_url import Address, Target
from hubbub.errors import BrokerError

logger: Final = logging.getLogger("hubbub")
LOOK_SECONDS: Final = 10.0
"""How often it is looked who has which slots; at once when a node says that it is not it."""
HASTE_SECONDS: Final = 0.2
"""Between looks while a node is gone or a call finds none."""
MOST_TRIES: Final = 20
"""How often a call may be sent to a node that is not it; a slot that moves takes a moment."""


class Slots(NamedTuple):
    """A range of slots, and the node that has them."""

    first: int
    last: int
    address: Address


class ClusterRoutes:
    """As `Routes`, for a Cluster. Room channels are sharded, so that a message goes to one node and not to all.

    Args:
        target: some of its nodes.
        patience: how long is waited for each.
        ca: a file with the certificates that sign those of the nodes; the system's by default.
    """

    publish: Final = b"SPUBLISH"

    def __init__(self, target: Target, patience: Patience, ca: str = "") -> None:
        self.target = target
        self.patience = patience
        self.links: list[Link] = []
        self._ca = ca
        self._map: Sequence[Slots] = ()
        self._by_address: dict[Address, Link] = {}
        self._by_slot: dict[int, Link] = {}
        self._begin: Callable[[Address], Link] | None = None
        self._changed: Callable[[], None] = lambda: None
        self._homeless: list[Call] = []
        self._beats: list[Call] = []
        self._look = asyncio.Event()
        self._tasks: set[asyncio.Task[None]] = set()
        self._watch: asyncio.Task[None] | None = None
        self._ending = False

    @property
    def ready(self) -> bool:
        """Whether every node is there and passes on what is said, and every slot has one."""
        return all(link.ready for link in self.links) and sum(s.last - s.first + 1 for s in self._map) == 16384

    async def fetch_secret(self, key: bytes, candidate: bytes) -> bytes:
        """As that of `Routes`; also learns who has which slots.

        Raises:
            BrokerError: no node can be asked.
        """
        self._map = await self._ask_map(self.target.addresses)
        address = self._owner(key_slot(key))
        if address is None:
            raise BrokerError("the Cluster has no node for some of its slots")
        return await fetch_secret(self._connector(address), key, candidate)

    def begin(
        self,
        loop: asyncio.AbstractEventLoop,
        echo: bytes,
        scripts: Iterable[Script],
        heard: Callable[[bytes, bytes], None],
        up: Callable[[Link], None],
        gone: Callable[[Link, BrokerError], None],
        changed: Callable[[], None],
    ) -> None:
        """Connects to every node; `changed` is called when slots have other nodes."""
        scripts = list(scripts)

        def begin(address: Address) -> Link:
            title = f"{self.target} ({address[0]}:{address[1]})"
            own = echo + f":{address[0]}:{address[1]}".encode()  # what is published on a node is heard on all
            link = Link(loop, self._connector(address), title, own, self.patience, heard, up, gone, self._moved)
            link.begin(scripts, sharded=True)
            return link

        self._begin = begin
        self._changed = changed
        self._settle()
        self._watch = loop.create_task(self._run_watch())

    def link_of(self, key: bytes) -> Link:
        """The node that a key is on."""
        slot = key_slot(key)
        link = self._by_slot.get(slot)
        if link is None:
            address = self._owner(slot)
            link = self._by_slot[slot] = self._by_address[address] if address else self.links[0]
        return link

    def beat(self, call: Call) -> None:
        """Makes a call with every sign of life, of the node that it is for."""
        self._beats.append(call)
        self._place_beats()

    async def end(self) -> None:
        """Sends what waits, and disconnects."""
        self._ending = True
        self._look.set()
        if self._watch is not None:
            with suppress(asyncio.CancelledError):
                await self._watch
        await asyncio.gather(*[link.end() for link in self.links], *self._tasks)
        self._fail_homeless(BrokerError("the broker has stopped"))

    # Who has which slots

    def _connector(self, address: Address) -> Connect:
        async def connect() -> AbstractConnection:
            connection = await open_connection(self.target, address, self.patience, self._ca)
            connection.identity = f"{address[0]}:{address[1]}".encode()  # type: ignore[attr-defined]
            return connection

        return connect

    def _owner(self, slot: int) -> Address | None:
        return next((slots.address for slots in self._map if slots.first <= slot <= slots.last), None)

    async def _ask_map(self, addresses: Iterable[Address]) -> Sequence[Slots]:
        said: list[str] = []
        for address in addresses:
            try:
                connection = await open_connection(self.target, address, self.patience, self._ca)
            except CONNECT_ERRORS as error:
                said.append(reason_of(error))
                continue
            try:
                return _slots(await ask(connection, "CLUSTER", "SLOTS"), address[0])
            except CONNECT_ERRORS as error:
                said.append(reason_of(error))
            finally:
                await connection.disconnect(nowait=True)
        raise BrokerError("; ".join(said))

    async def _run_watch(self) -> None:
        while not await self._wait():
            living = [address for address, link in self._by_address.items() if link.connected]
            try:
                self._map = await self._ask_map([*living, *self.target.addresses])
                self._settle()
            except BrokerError as error:
                self._fail_homeless(error)
            self._send_homeless()
            if self._homeless:
                await asyncio.sleep(HASTE_SECONDS)

    async def _wait(self) -> bool:
        """Waits until it is time to look; whether it is to end."""
        hurry = bool(self._homeless) or not all(link.connected for link in self.links)
        with suppress(TimeoutError):
            async with asyncio.timeout(HASTE_SECONDS if hurry else LOOK_SECONDS):
                await self._look.wait()
        self._look.clear()
        return self._ending

    def _settle(self) -> None:
        """Has a link to each node that has slots, and no others."""
        wanted = {slots.address for slots in self._map}
        before = self._by_slot
        assert self._begin is not None
        for address in wanted - self._by_address.keys():
            self._by_address[address] = self._begin(address)
        retired = [self._by_address.pop(address) for address in self._by_address.keys() - wanted] if wanted else []
        self.links = list(self._by_address.values())
        self._by_slot = {}
        self._place_beats()
        for link in retired:
            self._homeless += link.hand_over()
            task = asyncio.get_running_loop().create_task(link.end())
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)
        if retired or any(self._owner_link(slot) is not link for slot, link in before.items()):
            logger.info("slots of the Cluster have moved: %s", self.target)
            self._changed()

    def _owner_link(self, slot: int) -> Link | None:
        address = self._owner(slot)
        return self._by_address[address] if address else None

    def _place_beats(self) -> None:
        for link in self.links:
            link.beat = [call for call in self._beats if self.link_of(call.slot) is link]

    # Calls that have come to the wrong node

    def _moved(self, call: Call) -> None:
        call.tries += 1
        self._homeless.append(call)
        self._look.set()

    def _send_homeless(self) -> None:
        calls, self._homeless = self._homeless, []
        for call in calls:
            if call.tries > MOST_TRIES:
                call.answer(BrokerError(f"{self.target}: no node keeps this room"))
            else:
                self.link_of(call.slot).call(call)

    def _fail_homeless(self, error: BrokerError) -> None:
        calls, self._homeless = self._homeless, []
        for call in calls:
            call.answer(error)


def _slots(reply: Any, host: str) -> Sequence[Slots]:
    """What CLUSTER SLOTS says; a node that does not know its address is that which was asked."""
    return [Slots(first, last, ((node[0] or b"").decode() or host, node[1])) for first, last, node, *_ in reply]
