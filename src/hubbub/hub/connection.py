"""One live connection to one client, as the hub and an application see it, whatever carries it."""

from __future__ import annotations

from collections import deque
from collections.abc import Awaitable
from hashlib import blake2b
from typing import TYPE_CHECKING, Final

import msgspec

from hubbub.codes import NORMAL, NOT_IN_ROOM
from hubbub.errors import CommandError
from hubbub.hub.authorization import check_grants
from hubbub.hub.identity import ANONYMOUS, Identity
from hubbub.hub.limits import clean_room
from hubbub.hub.ports import Once
from hubbub.wire.codec import EVENT, Batch, Item
from hubbub.wire.messages import Event
from hubbub.wire.websocket import BINARY, TEXT, encode_close

if TYPE_CHECKING:
    from hubbub.hub.admission import User
    from hubbub.hub.dispatch import Call
    from hubbub.hub.hub import Hub
    from hubbub.hub.member import Member
    from hubbub.hub.ports import Endpoint, Transport
    from hubbub.hub.room import Room
    from hubbub.hub.session import Session

_encode = msgspec.json.Encoder().encode


class _Gone:
    """The transport of a connection that has ended: takes everything, carries nothing."""

    def deliver(self, batch: Batch) -> None: ...
    def send(self, item: Item) -> None: ...
    def ping(self) -> None: ...
    def pause_reading(self) -> None: ...
    def resume_reading(self) -> None: ...
    def close(self, code: int, reason: str) -> None: ...
    def abort(self) -> None: ...
    def waiting(self) -> int:
        return 0


GONE: Final = _Gone()


class Connection:
    """A client's connection.

    Attributes:
        id: a UUID, new with every connection; the `clientId` of the protocol.
        username: under which it joined last; empty before.
        members: what it is in each of its rooms, the one joined last at the end.
        session: the client across its connections; None unless it asked for one.
        identity: who the client is, as authentication has found.
        remote: the client's address and port, where known; behind a trusted proxy the port is 0.
        since: when it was opened, Unix milliseconds.
        open: messages are taken and sent; False once it closes or is lost.
        stalled: its transport takes nothing more for now; events are read for it from the log later.
    """

    # One slot more is eight bytes a connection; what the hub keeps for itself begins with an underscore.
    __slots__ = (
        "_active_at",
        "_alive",
        "_backlog",
        "_control_full_at",
        "_data",
        "_due",
        "_endpoint",
        "_exceeded",
        "_exceeded_at",
        "_exceeded_since",
        "_full_at",
        "_greeted",
        "_hub",
        "_malformed",
        "_user",
        "_wheel_slot",
        "_working",
        "id",
        "identity",
        "members",
        "open",
        "remote",
        "session",
        "since",
        "stalled",
        "transport",
        "username",
    )

    def __init__(
        self,
        hub: Hub,
        endpoint: Endpoint,
        transport: Transport,
        remote: tuple[str, int] | None,
        identity: Identity = ANONYMOUS,
    ) -> None:
        self.id = hub.runtime.new_id()
        self.identity = identity
        self.username = ""
        self.members: tuple[Member, ...] = ()
        self.session: Session | None = None
        self.remote = remote
        self.since = hub.runtime.unix_ms()
        self.open = True
        self.stalled = False
        self.transport = transport
        self._hub = hub
        self._endpoint = endpoint
        self._data: dict[str, object] | None = None
        self._backlog: deque[Call] | None = None
        self._working = False
        self._alive = True
        self._wheel_slot = 0
        self._due = 0
        self._greeted = False
        self._user: User | None = None
        self._active_at = hub.runtime.monotonic()
        self._full_at = 0.0
        self._control_full_at = 0.0
        self._exceeded = 0
        self._exceeded_since = 0.0
        self._exceeded_at = float("-inf")
        self._malformed = 0

    @property
    def data(self) -> dict[str, object]:
        """A place for what the application knows of this client."""
        if self._data is None:
            self._data = {}
        return self._data

    @property
    def rooms(self) -> tuple[Room, ...]:
        """The rooms it is in, the one joined last at the end."""
        return tuple(member.room for member in self.members)

    @property
    def device(self) -> str:
        """Who it is for what it was sent: its session, or without one only this connection."""
        return self.id if self.session is None else self.session.id

    @property
    def key(self) -> str:
        """Who it is for what is stored of it: its user, or without one its session, or only this connection."""
        return f"user:{self.identity.user}" if self.identity.user else self.device

    @property
    def lasting(self) -> bool:
        """Whether it comes back as the same one, with another connection."""
        return self.session is not None or bool(self.identity.user)

    @property
    def correlation_id(self) -> str:
        """Finds the client in the log: the id of its session's first connection."""
        return self.id if self.session is None else self.session.correlation_id

    @property
    def announced(self) -> bool:
        """Whether rooms tell of its coming and going: not where the application speaks a protocol of its own."""
        return self._endpoint.announced

    @property
    def path(self) -> str:
        """The path that it is connected to."""
        return self._endpoint.path

    def now_ms(self) -> int:
        """The time of day of the node, Unix milliseconds."""
        return self._hub.runtime.unix_ms()

    def new_id(self) -> str:
        """A random UUID, made cheaply."""
        return self._hub.runtime.new_id()

    @property
    def room(self) -> Room:
        """The room joined last.

        Raises:
            CommandError: `not_in_room`, which a handler may let pass as the command's answer.
        """
        return self.member().room

    def member(self, room: str = "", *, subscribed: bool = False) -> Member:
        """What it is in a room: the room itself, and under which name it is there.

        Args:
            room: the room's name; empty for the one joined last.
            subscribed: a subscription will do, where the room is named.

        Raises:
            CommandError: `not_in_room`.
        """
        for member in reversed(self.members):
            if member.username if not room else member.room.name == room and (subscribed or member.username):
                return member
        raise CommandError(NOT_IN_ROOM, "Not in that room" if room else "Join a room first")

    def once(self, message_id: str, content: str) -> Once | None:
        """What makes a publish safe to repeat: pass it to `Room.publish` as `once`.

        Args:
            message_id: names the message among all of this client's; empty for none.
            content: what the message says. The same id with another content is refused.
        """
        if not message_id:
            return None
        fingerprint = int.from_bytes(blake2b(content.encode(), digest_size=7).digest(), "big")
        return Once(self.key, message_id, fingerprint)

    def join(self, room: str, username: str, *, keep: bool = False) -> Room:
        """Enters a room; leaves those it is in, unless `keep`.

        Raises:
            CommandError: a name is empty or has characters that it must not have, there are too many rooms, or the
                client's own grants do not allow it; the application's `authorize` is not asked, see `allows`.
        """
        check_grants(self, ("join",), clean_room(room))
        return self._hub.join(self, room, username, keep=keep).room

    async def allows(self, verb: str, room: str) -> bool:
        """Whether it may do something in a room: the client's own grants, and the application's `authorize`.

        For handlers that work on other rooms than the command's, and for paths with a protocol of their own, where
        nothing is asked by itself.

        Args:
            verb: `join`, `subscribe`, `publish`, `history`, `presence` or `ack`.
        """
        try:
            room = clean_room(room)
            check_grants(self, (verb,), room)
            authorizer = self._hub.authorizer
            said: object = True if authorizer is None else authorizer(self, verb, room)
            if isinstance(said, Awaitable):
                said = await said
                check_grants(self, (verb,), room)  # they may have ended meanwhile
        except CommandError:
            return False
        return said is True

    def leave(self, room: str) -> None:
        """Leaves a room.

        Raises:
            CommandError: `not_in_room`.
        """
        self._hub.leave(self, room)

    def send(self, event: Event | str | bytes) -> None:
        """Sends to this client alone, at once, before what is published in this turn.

        Args:
            event: an Event; or a text or bytes, sent as they are, where an application speaks its own protocol.
        """
        if isinstance(event, Event):
            self.transport.send((EVENT, _encode(event)))
        elif isinstance(event, str):
            self.transport.send((TEXT, event.encode()))
        else:
            self.transport.send((BINARY, event))

    def _redeliver(self, item: Item) -> None:
        """Sends again what the client has not acknowledged."""
        self._hub.counters.events_redelivered += 1
        self.transport.send(item)

    def close(self, code: int = NORMAL, reason: str = "") -> None:
        """Leaves all rooms and begins the closing handshake; nothing more is received.

        Raises:
            LocalError: the code may not be sent (RFC 6455, section 7.4).
        """
        encode_close(code, reason)
        self._hub.close(self, code, reason)
