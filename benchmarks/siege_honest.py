"""The honest clients of siege.py: they talk, and every delivery is timed before anything is made of it."""

from __future__ import annotations

import asyncio
import gc
import random
from time import perf_counter
from typing import Any, Final

from tests.support.returning import Event, ReturningClient
from tests.support.swarm import Swarm

# What a client is delivered a second, and all of its room with it.
EVENTS_A_SECOND: Final = 2.0
TEXT_BEGINS: Final = "message "
PROBE_SECONDS: Final = 0.01
FORGETTING: Final = 5
FORGETTING_SECONDS: Final = 2.0


class Inbox:
    """What has come while clients were being timed: looked at afterwards, so that looking delays no receipt.

    Attributes:
        open: whether what comes is kept here for now.
        said_at: when each message was handed to a client, by its number.
        latencies_ms: from there to each receipt.
    """

    def __init__(self) -> None:
        self.open = False
        self.said_at: list[float] = []
        self.latencies_ms: list[float] = []
        self._arrived: list[tuple[float, TimedClient, Event]] = []

    def put(self, client: TimedClient, event: Event) -> None:
        """Something has come, now."""
        self._arrived.append((perf_counter(), client, event))

    def look(self) -> None:
        """Hands all to the clients, in the order in which it came."""
        arrived, self._arrived = self._arrived, []
        for stamp, client, event in arrived:
            client.take(event)
            text = event.get("text", "")
            if event["type"] == "message" and text.startswith(TEXT_BEGINS):
                said_at = self.said_at[int(text[len(TEXT_BEGINS) :])]
                self.latencies_ms.append((stamp - said_at) * 1000)


class TimedClient(ReturningClient):
    """A client whose events may go through an inbox first."""

    inbox: Inbox

    def _event(self, event: Event) -> None:
        if self.inbox.open and self.online:
            self.inbox.put(self, event)
        else:
            self.take(event)

    def take(self, event: Event) -> None:
        """What has come is looked at."""
        super()._event(event)

    def _end(self) -> None:
        self.inbox.look()
        super()._end()


class TimedSwarm(Swarm):
    """Clients that talk at a pace.

    Attributes:
        late_ms: by how much a timer of this process was late, time and again: it cannot time what is shorter.
    """

    client_type = TimedClient

    def __init__(self, port: int, clients: int, room_size: int, seed: int, *, forgetful: bool = False) -> None:
        super().__init__([port], clients, room_size, forgetful=forgetful)
        self.late_ms: list[float] = []
        self._inbox = Inbox()
        self._chance = random.Random(seed)
        for client in self.clients:
            assert isinstance(client, TimedClient)
            client.inbox = self._inbox

    def publish(self, client: ReturningClient) -> None:
        self._inbox.said_at.append(perf_counter())
        super().publish(client)

    async def talk(self, seconds: float) -> list[float]:
        """Everybody talks for so long; the milliseconds of every delivery, from what was said to its receipt."""
        inbox = self._inbox
        self.late_ms, inbox.latencies_ms = [], []
        gc.collect()
        gc.disable()  # its runs would be taken for the server's
        inbox.open = True
        end = asyncio.get_running_loop().time() + seconds
        try:
            await asyncio.gather(self._probe(end), *(self._speak(room, end) for room in self.rooms.values()))
            await self.settle()
        finally:
            inbox.open = False
            inbox.look()
            gc.enable()
        return inbox.latencies_ms

    def _late(self) -> int:
        self._inbox.look()
        return super()._late()

    async def _speak(self, room: list[ReturningClient], end: float) -> None:
        """Now this one, now that one in a room says something."""
        clock = asyncio.get_running_loop().time
        while (pause := self._chance.uniform(0, 2 / EVENTS_A_SECOND)) < end - clock():
            await asyncio.sleep(pause)
            self.publish(self._chance.choice(room))

    async def _probe(self, end: float) -> None:
        clock = asyncio.get_running_loop().time
        while (due := clock() + PROBE_SECONDS) < end:
            await asyncio.sleep(PROBE_SECONDS)
            self.late_ms.append((clock() - due) * 1000)

    async def live(self) -> None:
        """Whoever loses the connection comes back, until this is cancelled."""
        await asyncio.gather(*map(self._live, self.clients))

    async def _live(self, client: ReturningClient) -> None:
        while True:
            await client.return_()
            await client.stay()
            if self._forgetful:
                await asyncio.sleep(FORGETTING_SECONDS)

    def forget(self) -> None:
        """Some lose their connection, and come back without a position when others have talked on."""
        for client in self.clients[:FORGETTING]:
            client.reset()

    def figures(self) -> dict[str, Any]:
        return {**super().figures(), "loss_reasons": [why for client in self.clients for why in client.losses][:20]}
