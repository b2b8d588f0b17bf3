"""Events that wait for whoever reads them: never more than so many, and never silently fewer than came."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
from typing import Final

from hubbub.client.entry import seq_of
from hubbub.client.lane import Event
from hubbub.errors import LocalError

# While a reader waits for a reply the connection is read on, for the reply is behind the events; but not for ever.
OVERFLOW: Final = 64


class Inbox:
    """The events of one room, or those of none.

    Args:
        limit: beyond so many the connection is not read, once somebody reads here.
        drained: called when there is space again.
        room: names the room in a `gap`; empty for none.
    """

    def __init__(self, limit: int, drained: Callable[[], None], room: str = "") -> None:
        self._limit = limit
        self._drained = drained
        self._room = room
        self._events: deque[Event] = deque()
        self._woken: asyncio.Future[None] | None = None
        self._epoch = ""
        self._dropped: int | None = None
        self._end: Exception | None = None
        self._over = False
        self.is_read = False

    @property
    def full(self) -> bool:
        """Whether its reader is so slow that no more should come."""
        return self.is_read and len(self._events) >= self._limit

    def put(self, event: Event) -> None:
        """Adds an event; drops the oldest where nobody reads, or far too slowly."""
        if len(self._events) >= (self._limit * OVERFLOW if self.is_read else self._limit):
            self._drop(self._events.popleft())
        self._events.append(event)
        self._wake()

    def _drop(self, event: Event) -> None:
        if event.get("type") in ("room_info", "gap"):
            self._epoch, self._dropped = event["epoch"], event["seq"]
        elif (seq := seq_of(event)) is not None:
            self._dropped = seq

    def finish(self, error: Exception | None = None) -> None:
        """No more will come: the reader ends after what is here, with the error if there is one."""
        if not self._over:
            self._over, self._end = True, error
            self._wake()

    def _wake(self) -> None:
        if self._woken is not None and not self._woken.done():
            self._woken.set_result(None)

    async def get(self) -> Event:
        """The next event.

        Raises:
            StopAsyncIteration: there will be none.
            LocalError: somebody else waits for it.
        """
        self.is_read = True
        while not self._events:
            if self._over:
                raise self._end or StopAsyncIteration
            if self._woken is not None:
                raise LocalError("one task reads a room; give each a connection of its own, or pass the events on")
            self._woken = asyncio.get_running_loop().create_future()
            try:
                await self._woken
            finally:
                self._woken = None
        return self._take()

    def _take(self) -> Event:
        if self._dropped is not None:
            seq, self._dropped = self._dropped, None
            if self._room:
                return {"type": "gap", "room": self._room, "epoch": self._epoch, "seq": seq}
        event = self._events.popleft()
        if event.get("type") in ("room_info", "gap"):
            self._epoch = event["epoch"]
        if len(self._events) == self._limit // 2:
            self._drained()
        return event
