"""A room as the client's user sees it: events to iterate over, and what can be said and asked there."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from types import TracebackType
from typing import Any, Protocol, Self

from hubbub.client.entry import Entry, seq_of
from hubbub.client.inbox import Inbox
from hubbub.client.lane import Event
from hubbub.errors import LocalError


class Owner(Protocol):
    """What a room needs of its client."""

    async def say(self, entry: Entry, command: Event, *, repeat: bool, retry: bool) -> Event:
        """Sends a command in its turn, and waits for the reply."""
        ...

    async def ask(self, command: Event, entry: Entry | None = None, *, repeat: bool = True) -> Event:
        """Sends a command whose order does not matter, and waits for the reply."""
        ...

    async def leave(self, entry: Entry) -> None:
        """Leaves the entry's room."""
        ...

    def new_message_id(self) -> str:
        """An id that no other message has."""
        ...

    def flush(self) -> None:
        """Sends what there is to send by now."""
        ...


class Room:
    """A room that the client is in, over all its connections.

    Iterating yields its events as plain dicts: `room_info` whenever the client has entered, then what it missed, then
    what happens; `gap` where something is missing. Each kept event comes once. One task iterates.

    Attributes:
        info: the last `room_info`; empty before the first.
    """

    def __init__(self, owner: Owner, entry: Entry, inbox: Inbox, *, acknowledges: bool) -> None:
        self._owner = owner
        self._entry = entry
        self._inbox = inbox
        self._acknowledges = acknowledges
        self._position: tuple[str, int] = ("", 0)
        self._unhandled = False
        self._ready: asyncio.Future[Event] = asyncio.get_running_loop().create_future()
        self.info: Event = {}

    @property
    def name(self) -> str:
        """As the server spells it."""
        return self._entry.room

    @property
    def position(self) -> dict[str, Any] | None:
        """Up to where events have been read, to be given as `since` another time; None before the first."""
        epoch, seq = self._position
        return {"epoch": epoch, "seq": seq} if epoch else None

    # For the client

    def deliver(self, event: Event) -> None:
        """Something happens in the room."""
        if event.get("type") == "room_info":
            self.info = event
            if not self._ready.done():
                self._ready.set_result(event)
        self._inbox.put(event)

    def finish(self, error: Exception | None) -> None:
        """Nothing happens here any more."""
        if not self._ready.done():
            self._ready.set_exception(error or LocalError("the room was left before the client was in it"))
            self._ready.exception()  # whoever waits is told; nobody has to
        self._inbox.finish(error)

    # Listening

    async def ready(self) -> Event:
        """Waits until the client has entered for the first time; the `room_info`.

        Raises:
            Refused: the server does not let it in.
            Ended: the client is not connected any more.
        """
        return await asyncio.shield(self._ready)

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> Event:
        if self._acknowledges:
            self._handled()
        event = await self._inbox.get()
        seq = seq_of(event)
        if event.get("type") in ("room_info", "gap"):
            self._position = (event["epoch"], event["seq"])
        elif seq is not None:
            self._position = (self._position[0], max(seq, self._position[1]))
            self._unhandled = True
        return event

    def _handled(self) -> None:
        """Who asks for the next event is done with the last one."""
        unhandled, self._unhandled = self._unhandled, False
        epoch, seq = self._position
        if unhandled and epoch == self._entry.epoch and seq > self._entry.taken:
            self._entry.taken = seq
            self._owner.flush()

    # Speaking

    async def send(self, text: str, *, message_id: str = "", retry: bool = True) -> Event:
        """Says something in the chat; the reply, with its `seq`. Repeated over reconnects, and published once.

        Args:
            message_id: an own one, of at most 64 characters.
            retry: waits and tries again when the server says so; else that is an exception.

        Raises:
            Refused: by the server.
            QueueFull: too much waits for the connection already.
            Lost: nobody knows whether it was kept.
            Ended: the client is not connected any more.
        """
        command = {"type": "message", "text": text, "messageId": message_id or self._owner.new_message_id()}
        return await self._say(command, repeat=True, retry=retry)

    async def publish(
        self, event: Mapping[str, Any], *, keep: bool = True, message_id: str = "", retry: bool = True
    ) -> Event:
        """Publishes an event of one's own, where the application allows it; else as `send`."""
        command: Event = {"type": "publish", "event": dict(event), "keep": keep}
        if keep:
            command["messageId"] = message_id or self._owner.new_message_id()
        return await self._say(command, repeat=keep, retry=retry)

    async def command(self, type: str, *, retry: bool = True, repeat: bool = False, **fields: Any) -> Event:
        """Sends a command of the application's; else as `send`.

        Args:
            repeat: doing it twice is like doing it once, so that it may be sent again after a loss.
            fields: as on the wire; with a `messageId` it counts as `repeat`.
        """
        return await self._say({"type": type, **fields}, repeat=repeat or "messageId" in fields, retry=retry)

    async def typing(self) -> None:
        """Tells the others that somebody presses keys."""
        await self.command("typing", repeat=True)

    async def _say(self, command: Event, *, repeat: bool, retry: bool) -> Event:
        return await self._owner.say(self._entry, {**command, "room": self.name}, repeat=repeat, retry=retry)

    # Asking

    async def ack(self, seq: int | None = None) -> Event:
        """Acknowledges all up to a number, or all that was read; the reply, with `unread`."""
        seq = self._position[1] if seq is None else seq
        return await self._ask({"type": "ack", "seq": seq})

    async def history(
        self, *, before: int | None = None, after: int | None = None, time: int | None = None, limit: int = 50
    ) -> Event:
        """A page of what the room keeps: `messages`, in order, and whether there are `more`.

        Args:
            before, after: a number.
            time: in Unix milliseconds.
            limit: 1 to 200.
        """
        where = {"before": before, "after": after, "time": time}
        given = {name: value for name, value in where.items() if value is not None}
        return await self._ask({"type": "history", "limit": limit, **given})

    async def presence(self, *, offset: int = 0, limit: int = 200) -> Event:
        """A page of who is here: `members`, and the `count` of all."""
        return await self._ask({"type": "presence", "offset": offset, "limit": limit})

    async def receipts(self, seq: int | None = None) -> Event:
        """Who has read up to where: `readers`; of a confirmed event also who has it: `received`, `waiting`."""
        return await self._ask({"type": "receipts"} if seq is None else {"type": "receipts", "seq": seq})

    async def _ask(self, command: Event) -> Event:
        return await self._owner.ask({**command, "room": self.name}, self._entry)

    # Leaving

    async def leave(self) -> None:
        """Leaves the room; what was not said yet is not said. Iterating ends."""
        await self._owner.leave(self._entry)

    async def __aenter__(self) -> Self:
        await self.ready()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self.leave()
