"""A member: a connection in a room, and the place in the room's log that it has reached."""

from __future__ import annotations

from typing import TYPE_CHECKING

from hubbub.hub.ports import Present

if TYPE_CHECKING:
    from hubbub.hub.connection import Connection
    from hubbub.hub.room import Room


class Reader:
    """What is known of a member that is behind: it is not delivered to, the log is read for it.

    Attributes:
        cursor: the seq that it has reached.
        held: somebody reads for it already, or does not want it to be read for yet.
        missed: an event went by meanwhile.
        skips: it is to get the newest event only, not all that it missed.
    """

    __slots__ = ("cursor", "held", "missed", "skips")

    def __init__(self, cursor: int) -> None:
        self.cursor = cursor
        self.held = False
        self.missed = False
        self.skips = False


class Member:
    """A connection in a room.

    Attributes:
        id: who it is for those who count: the same on another connection of its session, or of its user.
        since: when it entered, Unix milliseconds.
        connection: the client's; while its session waits for it to come back, the one that was lost.
        room: where it is.
        username: its name there; empty for a subscription, which the others are not told of.
        reader: None while it is live, at the end of the log.
        start: the seq behind which it was sent what is kept.
        acked: the seq up to which it has acknowledged; None when it never did.
    """

    __slots__ = ("acked", "connection", "id", "reader", "room", "since", "start", "username")

    def __init__(self, connection: Connection, room: Room, username: str) -> None:
        self.id = ""
        self.since = 0
        self.connection = connection
        self.room = room
        self.username = username
        self.reader: Reader | None = None
        self.start = 0
        self.acked: int | None = None

    @property
    def announced(self) -> bool:
        """Whether the others are told of its coming and going."""
        return bool(self.username) and self.connection.announced

    @property
    def present(self) -> Present:
        """What the other nodes should know of it."""
        return Present(self.id, self.username, self.since, not self.connection.announced)

    @property
    def key(self) -> str:
        """Who it is for what is stored: its user, its session, or only this connection."""
        return self.connection.key

    @property
    def device(self) -> str:
        """Who it is for what it was sent: its session, or only this connection."""
        return self.connection.device
