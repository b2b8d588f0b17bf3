"""A client of `hubbub.client` in a swarm: what it is told is recorded, whichever transport carries it."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from contextlib import suppress
from typing import Any

from hubbub.client import Ended, Event, Lost, Refused, Room, connect
from hubbub.client.entry import seq_of
from tests.support.ledger import Ledger


class Roamer:
    """Somebody in one room who talks and listens.

    Attributes:
        seqs: of all kept events, in the order in which they were told.
        gaps: how often it was told that something is missing.
        said: what it says, in order; and what it was told of each, in order.
        kinds: the transports that it had.
    """

    def __init__(self, ledger: Ledger, name: str, room: str, url: str) -> None:
        self.name = name
        self.room = room
        self.seqs: list[int] = []
        self.start = 0
        self.gaps = 0
        self.said: list[str] = []
        self.kept: dict[str, int] = {}
        self.heard: list[str] = []
        self.failures: list[Exception] = []
        self.kinds: set[str] = set()
        self._ledger = ledger
        self._hub = connect(url, on_status=lambda status: self.kinds.add(status.transport))
        self._entered: Room | None = None
        self._tasks: set[asyncio.Task[None]] = set()
        self._epoch = ""

    async def come(self) -> None:
        await self._hub.__aenter__()
        self._entered = self._hub.join(self.room, self.name)
        self.start = (await self._entered.ready())["seq"]
        self._begin(self._listen(self._entered))

    def _begin(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _listen(self, room: Room) -> None:
        with suppress(Ended):
            async for event in room:
                self._hear(event)

    def _hear(self, event: Event) -> None:
        seq = seq_of(event)
        if event["type"] in ("room_info", "gap"):
            self.gaps += event["type"] == "gap"
            self._epoch = event["epoch"]
        elif seq is not None:
            self.seqs.append(seq)
            self.heard.append(event.get("text", ""))
            self._ledger.saw(self.name, (self.room, self._epoch, seq), event)

    def say(self, text: str) -> None:
        """Says something, without waiting for the answer."""
        self.said.append(text)
        self._begin(self._say(text))

    async def _say(self, text: str) -> None:
        assert self._entered is not None
        command: Event = {"type": "message", "text": text, "messageId": text}
        sent = self._ledger.send(self.name, command)
        try:
            ok = await self._entered.send(text, message_id=text)
        except (Lost, Refused, Ended) as error:
            self.failures.append(error)
            return
        self.kept[text] = ok["seq"]
        self._ledger.acknowledge(self.name, self.name, (self.room, self._epoch, ok["seq"]), sent)

    @property
    def settled(self) -> bool:
        """Whether all that it said is answered."""
        return len(self.kept) + len(self.failures) == len(self.said)

    async def go(self) -> None:
        await self._hub.close()
        await asyncio.gather(*self._tasks, return_exceptions=True)
