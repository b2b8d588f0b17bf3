"""The protocol's messages as msgspec structs, and the bases of an application's own; camelCase on the wire."""

from __future__ import annotations

from typing import Annotated

import msgspec
from msgspec import UNSET, Meta, UnsetType

LONGEST_ID = 64

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


class Join(Command, tag="join"):
    """Enter a room under a name; leaves the room joined before, unless `keep`."""

    room: str = ""
    username: str = ""
    keep: bool = False


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


class Connected(Event, tag="connected"):
    """The first event of a connection.

    Attributes:
        client_id: a UUID, new with every connection.
        timestamp: the server's time, Unix milliseconds.
        heartbeat: milliseconds between the server's pings.
    """

    client_id: str
    timestamp: int
    protocol: int
    heartbeat: int
    max_message_bytes: int


class RoomInfo(Event, tag="room_info"):
    """The reply to a join.

    Attributes:
        members: usernames in the order in which they joined, one per connection, the joiner's included.
        count: how many there are.
        epoch: names the life of the room's log.
        seq: the position that the joiner has reached: what comes next has a greater one.
        members_truncated: there are more members than `members` shows.
        id: the join's.
    """

    room: str
    members: list[str]
    count: int
    epoch: str
    seq: int
    members_truncated: bool | UnsetType = UNSET
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


class Ok(Event, tag="ok"):
    """The reply to a command that was carried out; which fields it has depends on the command."""

    id: CommandId
    message_id: str | UnsetType = UNSET
    seq: int | UnsetType = UNSET
    timestamp: int | UnsetType = UNSET
    room: str | UnsetType = UNSET
    members: list[str] | UnsetType = UNSET
    count: int | UnsetType = UNSET


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
