"""The protocol's messages as msgspec structs, and the bases of an application's own; camelCase on the wire."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Literal

import msgspec
from msgspec import UNSET, Meta, UnsetType

LONGEST_ID = 64
LONGEST_TOKEN = 8192

CommandId = int | Annotated[str, Meta(max_length=LONGEST_ID)]
"""Correlates a command with its one reply."""


class Command(msgspec.Struct, tag_field="type", rename="camel", kw_only=True):
    """What a client sends. Subclass it with `tag="…"`, the `type` on the wire.

    Attributes:
        id: when given, exactly one reply, `ok` or `error`, carries the same.
    """

    id: CommandId | UnsetType = UNSET


class Event(msgspec.Struct, tag_field="type", rename="camel"):
    """What a client receives. Subclass it with `tag="…"`, the `type` on the wire.

    The server adds `room` and `seq`; an event's own fields have other names.
    """


MessageId = Annotated[str, Meta(max_length=LONGEST_ID)]
"""A client's own name for a message; empty for none."""


class Since(msgspec.Struct, rename="camel"):
    """A place in a room's log: a position, or a time in Unix milliseconds."""

    epoch: str = ""
    seq: int = -1
    time: int | None = None


class Join(Command, tag="join"):
    """Enter a room under a name; leaves the room joined before, unless `keep`."""

    room: str = ""
    username: str = ""
    keep: bool = False
    since: Since | Literal["acked"] | None = None
    history: Annotated[int, Meta(ge=0, le=1000)] = 0


class Subscribe(Command, tag="subscribe"):
    """Get a room's events without being a member; ends with `unsubscribe`."""

    room: str = ""
    since: Since | Literal["acked"] | None = None
    history: Annotated[int, Meta(ge=0, le=1000)] = 0


class Unsubscribe(Command, tag="unsubscribe"):
    """Get a room's events no more."""

    room: str = ""


class Resume(Command, tag="resume"):
    """Enter all rooms again after a reconnect, from where each was left."""

    rooms: dict[str, Since]
    session: str = ""


class Publish(Command, tag="publish"):
    """Publish an event of one's own, where the application allows it."""

    event: dict[str, object]
    room: str = ""
    keep: bool = True
    message_id: MessageId = ""


class Ack(Command, tag="ack"):
    """All events of a room up to `seq` have been received."""

    room: str
    seq: Annotated[int, Meta(ge=0)]


class History(Command, tag="history"):
    """Ask for kept events: before or after a number, from a time on, or the last ones."""

    room: str = ""
    before: int | None = None
    after: int | None = None
    time: int | None = None
    limit: Annotated[int, Meta(ge=1, le=200)] = 50


class AskReceipts(Command, tag="receipts"):
    """Ask who has acknowledged what; of a confirmed event, who has received it."""

    room: str = ""
    seq: int | None = None


class Refresh(Command, tag="refresh"):
    """Show new credentials before the old ones end. Its representation does not hold them."""

    token: Annotated[str, Meta(max_length=LONGEST_TOKEN)]

    def __repr__(self) -> str:
        return f"Refresh(id={self.id!r})"


class Leave(Command, tag="leave"):
    """Leave a room."""

    room: str = ""


class Ping(Command, tag="ping"):
    """Measure a round trip; answered by `ok` with the server's `timestamp`."""


class Presence(Command, tag="presence"):
    """Ask who is in a room, a page at a time."""

    room: str = ""
    offset: Annotated[int, Meta(ge=0)] = 0
    limit: Annotated[int, Meta(ge=1, le=1000)] = 200


class Envelope(msgspec.Struct):
    """What every command has: enough to answer one that cannot be decoded."""

    type: object = ""
    id: CommandId | UnsetType = UNSET


class UserInfo(msgspec.Struct, rename="camel"):
    """Who the server takes a client for.

    Attributes:
        id: the user's; never changes.
        name: what the others are shown.
        expires: when the credentials end, Unix milliseconds.
    """

    id: str
    name: str
    expires: int | UnsetType = UNSET


class Connected(Event, tag="connected"):
    """The first event of a connection.

    Attributes:
        client_id: a UUID, new with every connection.
        timestamp: the server's time, Unix milliseconds.
        heartbeat: milliseconds between the server's pings.
        node: names the server's process, until it ends.
        user: who the client is, when it has said so.
    """

    client_id: str
    timestamp: int
    protocol: int
    heartbeat: int
    max_message_bytes: int
    node: str
    session: str | UnsetType = UNSET
    user: UserInfo | UnsetType = UNSET


class RoomInfo(Event, tag="room_info"):
    """The reply to a join.

    Attributes:
        members: usernames in the order in which they joined, one per connection, the joiner's included.
        count: how many there are.
        epoch: names the life of the room's log.
        seq: the position that the joiner has reached with `messages`: what comes next has a greater one.
        head: the log's end; when it is beyond `seq`, the rest follows.
        recovered: whether `messages` and what follows are all that came after `since`; None when that was not given.
        messages: kept events, in order.
        members_truncated: there are more members than `members` shows.
        acked: up to where this session has acknowledged events, if it ever has.
        unread: how many came after that.
        id: the join's.
    """

    room: str
    members: list[str]
    count: int
    epoch: str
    seq: int
    head: int
    recovered: bool | None
    messages: Sequence[msgspec.Raw]
    members_truncated: bool | UnsetType = UNSET
    acked: int | UnsetType = UNSET
    unread: int | UnsetType = UNSET
    id: CommandId | UnsetType = UNSET


class UserJoined(Event, tag="user_joined"):
    """Somebody came in; to the others."""

    username: str
    member_count: int
    timestamp: int


class UserLeft(Event, tag="user_left"):
    """Somebody left, switched rooms or lost the connection; to the others."""

    username: str
    member_count: int
    timestamp: int


class MemberCount(Event, tag="member_count"):
    """Stands for many `user_joined` and `user_left` in a room that is too large for them."""

    member_count: int
    timestamp: int


class Gap(Event, tag="gap"):
    """What a member missed is no longer held; `seq` is where it is now."""

    room: str
    epoch: str
    seq: int


class ReaderInfo(msgspec.Struct, rename="camel"):
    """Up to where somebody has acknowledged a room's events."""

    username: str
    seq: int


class Reconnect(Event, tag="reconnect"):
    """The server will close the connection; come back so many milliseconds after this."""

    after: int


class Closed(Event, tag="closed"):
    """The last event of a stream over HTTP, which has no close frame; see the protocol's close codes."""

    code: int
    reason: str


class Ok(Event, tag="ok"):
    """The reply to a command that was carried out; which fields it has depends on the command."""

    id: CommandId
    message_id: str | UnsetType = UNSET
    seq: int | UnsetType = UNSET
    timestamp: int | UnsetType = UNSET
    room: str | UnsetType = UNSET
    members: list[str] | UnsetType = UNSET
    count: int | UnsetType = UNSET
    epoch: str | UnsetType = UNSET
    messages: Sequence[msgspec.Raw] | UnsetType = UNSET
    more: bool | UnsetType = UNSET
    unread: int | UnsetType = UNSET
    session: str | UnsetType = UNSET
    missing: Sequence[str] | UnsetType = UNSET
    readers: Sequence[ReaderInfo] | UnsetType = UNSET
    received: Sequence[str] | UnsetType = UNSET
    waiting: Sequence[str] | UnsetType = UNSET
    user: UserInfo | UnsetType = UNSET


class Error(Event, tag="error"):
    """The reply to a command that was refused.

    Attributes:
        retry_after: milliseconds until it may be tried again.
        correlation_id: finds an `internal` error in the server's log.
    """

    message: str
    code: str
    id: CommandId | UnsetType = UNSET
    retry_after: int | UnsetType = UNSET
    correlation_id: str | UnsetType = UNSET


class Warning(Event, tag="warning"):
    """Something is about to go wrong; the connection stays open for now."""

    code: str
    message: str
    retry_after: int | UnsetType = UNSET
