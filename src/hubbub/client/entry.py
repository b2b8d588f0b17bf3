"""One room of a client, over all connections: where it is in the log, and which events are new there. No I/O."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final, Literal

from hubbub.client.lane import MANY, Event, Lane

Place = Mapping[str, Any] | Literal["acked"]
"""Where to begin: a position `{"epoch": e, "seq": n}`, a time `{"time": ms}`, or behind what was acknowledged."""

# Have a seq that is somebody's, and are not kept.
_NOT_KEPT: Final = frozenset(("seen",))


def seq_of(event: Event) -> int | None:
    """The number of an event that the room keeps; None for what it does not keep."""
    seq = event.get("seq")
    return seq if type(seq) is int and event.get("type") not in _NOT_KEPT else None


def _ignore(event: Event) -> None:
    """Where nobody listens."""


class Entry:
    """A room that a client is in, or wants to be in.

    Attributes:
        room: its name; the server's spelling once it has answered.
        username: as what the client is there; None for a subscription.
        history: how many events to ask for where nothing can be recovered.
        epoch, seq: the position; an empty epoch before the first answer.
        entered: whether the present connection is in the room.
        head: the room's last number when it was entered.
        speech: what is said here, in order.
        questions: what else is asked about the room.
        acked: up to where the server is told that all was handled; -1 before.
        taken: up to where the reader has taken events, where these are acknowledged by themselves.
        ack_at: not before then the next acknowledgement.
        proving: calls may have worked on a connection that was lost, and what was missed has to show it.
        deliver: called with each event that is new.

    Args:
        since: where to begin.
        width: how much of `speech` is under way at once.
    """

    def __init__(
        self,
        room: str,
        username: str | None,
        *,
        since: Place | None = None,
        history: int = 0,
        width: int = 1,
    ) -> None:
        self.room = room
        self.username = username
        self.history = history
        self.epoch = ""
        self.seq = 0
        self.entered = False
        self.head = 0
        self.speech = Lane(width)
        self.questions = Lane(MANY)
        self.acked = -1
        self.taken = -1
        self.ack_at = 0.0
        self.proving = False
        self.deliver: Callable[[Event], None] = _ignore
        self._since = since
        self._began = 0

    @property
    def place(self) -> Place | None:
        """Where it goes on: its position, or where the user wants to begin."""
        return {"epoch": self.epoch, "seq": self.seq} if self.epoch else self._since

    def command(self, *, plain: bool = False) -> Event:
        """The command that enters the room; `plain` asks for nothing that was said before."""
        command: Event = {"type": "subscribe", "room": self.room}
        if self.username is not None:
            command = {"type": "join", "room": self.room, "username": self.username, "keep": True}
        if not plain and self.place is not None:
            command["since"] = self.place
        if not plain and self.history:
            command["history"] = self.history
        return command

    def enter(self, info: Event) -> None:
        """The server let it in: tells so, then that something is missing where it is, then what was missed.

        What is told has no `messages`, and its `seq` is where the events that follow begin.
        """
        messages: list[Event] = info.get("messages", [])
        epoch, seq = str(info["epoch"]), int(info["seq"])
        start = max(int(messages[0]["seq"]) - 1, 0) if messages else seq
        recovered, known = info.get("recovered"), bool(self.epoch)
        elsewhere = known and recovered is not True and (epoch, start) != (self.epoch, self.seq)
        self.room, self.entered, self.head = str(info["room"]), True, int(info.get("head", seq))
        if recovered is False or elsewhere or not known:
            self._begin(epoch, start)
        self.deliver({**info, "messages": [], "seq": self.seq})
        if recovered is False or elsewhere:
            self.deliver({"type": "gap", "room": self.room, "epoch": epoch, "seq": start})
        for event in messages:
            self.take(event)
        self.seq = max(self.seq, seq)

    def _begin(self, epoch: str, seq: int) -> None:
        """What follows is not behind what was before."""
        if epoch != self.epoch:
            self.taken = -1
        self.epoch, self.seq, self._began, self.acked = epoch, seq, seq, -1

    def take(self, event: Event) -> None:
        """Passes an event on, unless the client has had it."""
        if not self.entered:
            return
        if event.get("type") == "gap":
            self._begin(str(event["epoch"]), int(event["seq"]))
        elif (seq := seq_of(event)) is not None:
            if self._has(event, seq):
                return
            self.seq = max(self.seq, seq)
        self.deliver(event)

    def _has(self, event: Event, seq: int) -> bool:
        """A confirmed event that comes again may be older than what this client has had."""
        return self._began < seq <= self.seq if event.get("redelivered") else seq <= self.seq
