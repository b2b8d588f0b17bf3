"""Many returning clients in rooms, one history, and the figures of what they were sent and what they missed."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from tests.support.history import History
from tests.support.returning import ReturningClient

CONNECTING_AT_ONCE = 50
DRAIN_SECONDS = 30.0
POLL_SECONDS = 0.02
VIOLATIONS_SHOWN = 20
NOTHING_SAID = ("", 0)
NONE_EXPECTED = ("duplicates", "reorderings", "published_twice", "sessions_lost", "refusals", "unsettled", "gaps")


class Swarm:
    """Clients and their history.

    Attributes:
        rooms: the clients by their room.
        published: how many messages were handed to clients.
        unsettled: how many clients had not all at the end of the last `settle`.
        client_type: what its clients are.

    Args:
        ports: of the nodes; the clients of each room are spread over them.
        lossless: whether `recovered: false` is a violation wherever it comes.
    """

    client_type: type[ReturningClient] = ReturningClient

    def __init__(
        self, ports: Sequence[int], clients: int, room_size: int, *, forgetful: bool = False, lossless: bool = True
    ) -> None:
        self.history = History(must_recover=lossless, nodes=len(ports))
        self.rooms: dict[str, list[ReturningClient]] = {}
        self.published = 0
        self.unsettled = 0
        self._ports = ports
        self._forgetful = forgetful
        for number in range(clients):
            self._add(f"client {number}", f"room {number // room_size}")

    @property
    def clients(self) -> list[ReturningClient]:
        return [client for room in self.rooms.values() for client in room]

    def _add(self, name: str, room: str) -> None:
        others = self.rooms.setdefault(room, [])
        first = len(others) % len(self._ports)
        ports = [*self._ports[first:], *self._ports[:first]]
        if len(others) // len(ports) % 2:  # where one goes on from there is another node for some than for others
            ports[1:] = ports[:0:-1]
        others.append(self.client_type(ports, name, room, self.history.client(name), forgetful=self._forgetful))

    def add_reader(self, room: str) -> None:
        """Somebody new who reads a room from before the first event of its newest epoch on."""
        name = f"reader of {room}"
        self.history.client(name).positions[room] = (self.heads()[room][0], 0)
        self._add(name, room)

    def retire(self, client: ReturningClient) -> None:
        """Somebody is gone for good; nobody will hear what became of what they said last."""
        self.rooms[client.room].remove(client)
        self.published -= len(client.unanswered)

    async def come(self) -> None:
        """Everybody enters their room."""
        gate = asyncio.Semaphore(CONNECTING_AT_ONCE)

        async def enter(client: ReturningClient) -> None:
            async with gate:
                await client.return_()

        await asyncio.gather(*map(enter, self.clients))

    def publish(self, client: ReturningClient) -> None:
        """A client says something that nobody else says."""
        client.publish(f"message {self.published}")
        self.published += 1

    def heads(self) -> dict[str, tuple[str, int]]:
        """The newest epoch of each room and its last seq, as far as anybody knows."""
        return {room: list(self.history.ledger.heads[room].items() or [NOTHING_SAID])[-1] for room in self.rooms}

    async def settle(self) -> None:
        """Waits until everybody has all that anybody in their room has, and is told of all that they published."""
        await self.until(lambda: not self._late())
        self.unsettled = self._late()

    async def until(self, condition: Callable[[], bool]) -> bool:
        """Waits until it is so, but not for ever; whether it is."""
        with suppress(TimeoutError):
            async with asyncio.timeout(DRAIN_SECONDS):
                while not condition():
                    await asyncio.sleep(POLL_SECONDS)
                return True
        return False

    async def caught_up(self) -> float:
        """The seconds until all that everybody says now is kept, and everybody has all that is known then."""
        begun = asyncio.get_running_loop().time()
        for client in self.clients:
            self.publish(client)
        marks = [(client, list(client.unanswered)[-1]) for client in self.clients]
        await self.until(lambda: not any(mark in client.unanswered for client, mark in marks))
        heads = self.heads()
        await self.until(lambda: all(client.has(*heads[client.room]) for client in self.clients))
        return asyncio.get_running_loop().time() - begun

    async def agree(self) -> list[str]:
        """Asks everybody who is in their room until all say the same; what they say where they do not."""
        wrong: list[str] = []

        def agreed() -> bool:
            answered = [client for client in self.clients if client.crowd is not None or not client.online]
            if len(answered) < len(self.clients):
                return False
            wrong[:] = [line for client in self.clients if (line := self._disagrees(client))]
            for client in self.clients if wrong else ():
                client.ask_who_is_here()
            return not wrong

        for client in self.clients:
            client.ask_who_is_here()
        if not await self.until(agreed) and not wrong:
            return ["who is there was not answered"]
        return wrong

    def _disagrees(self, client: ReturningClient) -> str:
        there = sorted(each.name for each in self.rooms[client.room])
        crowd = sorted(client.crowd or ())
        return "" if crowd == there else f"{client.name} is told that {crowd} are in {client.room}, not {there}"

    def _late(self) -> int:
        heads = self.heads()
        return sum(
            not client.online or bool(client.unanswered) or heads[client.room] not in (client.place, NOTHING_SAID)
            for client in self.clients
        )

    def figures(self) -> dict[str, Any]:
        """What came of it; `delivered_percent` is of all that each client should have been sent."""
        heads, clients, ledger = self.heads(), self.clients, self.history.ledger
        expected = sum(heads[client.room][1] - client.start for client in clients)
        delivered = sum(len(set(client.seqs)) for client in clients)
        violations = self.history.check(answered=True)
        ids = Counter((place[0], event.get("messageId")) for place, event in ledger.events.items())
        return {
            "published": self.published,
            "acknowledged": len(ledger.acknowledged),
            "expected": expected,
            "delivered": delivered,
            "delivered_percent": 100.0 * delivered / expected if expected else 0.0,
            "duplicates": sum(len(client.seqs) for client in clients) - delivered,
            "reorderings": sum(reorderings(client.seqs) for client in clients),
            "published_twice": sum(count > 1 for count in ids.values()),
            "sessions_lost": sum(max(0, len(client.sessions) - 1) for client in clients),
            "catch_up_ms": quantiles([seconds * 1000 for client in clients for seconds in client.catch_ups]),
            "losses": sum(len(client.losses) for client in clients),
            "refusals": sum(len(client.refusals) for client in clients),
            "unsettled": self.unsettled,
            "gaps": sum(client.gaps for client in clients),
            "renewals": sum(client.renewals for client in clients),
            "violation_count": len(violations),
            "violations": violations[:VIOLATIONS_SHOWN],
        }


def failures(figures: dict[str, Any]) -> list[str]:
    """Why a run is no success, a line each; none when it is."""
    lines = [f"{name}: {figures[name]}" for name in NONE_EXPECTED if figures[name]]
    if not figures["expected"] or figures["delivered"] != figures["expected"]:
        lines.append(f"delivered {figures['delivered']} of {figures['expected']}")
    if figures["published"] != figures["acknowledged"]:
        lines.append(f"acknowledged {figures['acknowledged']} of {figures['published']}")
    if figures["violation_count"]:
        lines.append(f"{figures['violation_count']} violations, such as:")
    return [*lines, *figures["violations"]]


def reorderings(seqs: list[int]) -> int:
    """How many came behind a later one and had not come before."""
    seen: set[int] = set()
    latest = late = 0
    for seq in seqs:
        late += seq < latest and seq not in seen
        latest = max(latest, seq)
        seen.add(seq)
    return late


def quantiles(values: list[float]) -> dict[str, float]:
    """The count and three quantiles; 0 where there are no values."""
    values = sorted(values)
    parts = {"p50": 0.5, "p99": 0.99, "max": 1.0}
    last = len(values) - 1
    return {"count": len(values), **{name: values[int(part * last)] if values else 0.0 for name, part in parts.items()}}


def cpu_seconds(pid: int) -> float:
    """The time for which a process has run, in user space and in the kernel."""
    ticks = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[11:13]
    return sum(map(int, ticks)) / 100
