"""Calls: one command of somebody who has no connection, carried out as over a WebSocket, and its reply handed back.

Who calls speaks in a room without being there: nobody is told of a coming or going, and no count changes.
"""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable, Mapping
from functools import partial
from types import GeneratorType
from typing import Any, Final, NamedTuple, Union

import msgspec
from msgspec import UNSET

from hubbub.codes import (
    CLOSED,
    FORBIDDEN,
    INVALID_JSON,
    INVALID_MESSAGE,
    INVALID_NAME,
    INVALID_TOKEN,
    NORMAL,
    RATE_LIMITED,
    UNAVAILABLE,
    UNKNOWN_TYPE,
)
from hubbub.errors import CommandError
from hubbub.hub.admission import network_of
from hubbub.hub.authorization import authorized, guard
from hubbub.hub.commands import HEAVY, ack, reply, shown_name
from hubbub.hub.connection import GONE, Connection
from hubbub.hub.dispatch import RETRY_MS, Handler, Malformed, run
from hubbub.hub.hub import Hub
from hubbub.hub.identity import Identity
from hubbub.hub.limits import clean_room, names_of
from hubbub.hub.member import Member
from hubbub.hub.room import MOST_BYTES, Room
from hubbub.hub.steps import Steps
from hubbub.wire.codec import EVENT, Batch, Item
from hubbub.wire.messages import (
    Ack,
    AskReceipts,
    Command,
    Error,
    History,
    Join,
    Leave,
    Ok,
    Presence,
    Publish,
    Refresh,
    Resume,
    Subscribe,
    Unsubscribe,
)
from hubbub.wire.websocket import encode_close

log: Final = logging.getLogger("hubbub")
MOST_AT_WORK: Final = 1000
"""Calls that wait for a handler or the broker; beyond, they are refused. Of each about 3 KB."""

OF_CONNECTIONS: Final[frozenset[type[Command]]] = frozenset((Join, Leave, Refresh, Resume, Subscribe, Unsubscribe))
"""Commands that mean nothing without a connection."""

_decode_fields = msgspec.json.Decoder(dict[str, msgspec.Raw]).decode
_decode_reply = msgspec.json.Decoder(Ok | Error).decode
_encode = msgspec.json.Encoder().encode


class AskCursor(Command, tag="cursor"):
    """Up to where the caller has acknowledged the events of a room; only calls ask for it."""

    room: str = ""


class Reply(NamedTuple):
    """What a call is answered with.

    Attributes:
        said: the reply to its command.
        events: what else the handler has sent to the caller, as JSON; no more than a reply may hold.
    """

    said: Ok | Error
    events: list[msgspec.Raw]


Done = Callable[[Reply], None]


class Caller(Connection):
    """Who calls: a connection for one command, which is in no list of the hub's. It cannot be in rooms."""

    __slots__ = ()

    @property
    def device(self) -> str:
        """Its session, or without one its address: a call that is repeated is to be known again."""
        if self.session is not None or self.remote is None:
            return super().device
        return f"address:{network_of(self.remote[0])}"

    def join(self, room: str, username: str, *, keep: bool = False) -> Room:
        """Nobody enters a room with a call.

        Raises:
            CommandError: `closed`.
        """
        raise CommandError(CLOSED, "Without a connection nobody enters a room")

    def leave(self, room: str) -> None:
        """Nobody leaves a room with a call.

        Raises:
            CommandError: `closed`.
        """
        raise CommandError(CLOSED, "Without a connection nobody leaves a room")

    def close(self, code: int = NORMAL, reason: str = "") -> None:
        """Ends the call, which is answered with `closed`.

        Raises:
            LocalError: the code may not be sent (RFC 6455, section 7.4).
        """
        encode_close(code, reason)
        self.open = False
        self.transport.close(code, reason)


class _Replies:
    """A caller's transport: hands the reply over, with what was sent before it."""

    def __init__(self, caller: Caller, done: Done) -> None:
        self._caller = caller
        self._done: Done | None = done
        self._events: list[msgspec.Raw] = []
        self._left = MOST_BYTES

    def send(self, item: Item) -> None:
        kind, payload = item
        if self._done is None or kind != EVENT:  # texts and bytes are of protocols that are not spoken here
            return
        try:
            said = _decode_reply(payload)
        except msgspec.ValidationError:
            said = None
        if said is not None and said.id == self._caller.id:
            self.finish(said)
        elif len(payload) <= self._left:
            self._left -= len(payload)
            self._events.append(msgspec.Raw(payload))

    def finish(self, said: Ok | Error) -> None:
        """This is the reply; nothing is sent behind it."""
        done, self._done, caller = self._done, None, self._caller
        if done is None:
            return
        if isinstance(said, Ok) and said.seq is not UNSET and caller.members:
            said.epoch = caller.members[0].room.epoch or UNSET  # with it, the seq is a position
        caller.open = False
        caller.members, caller.transport = (), GONE  # ends circles of references, as the hub does
        done(Reply(said, self._events))

    def close(self, code: int, reason: str) -> None:
        self.finish(Error(reason or "The application has ended the call", CLOSED, self._caller.id))

    def deliver(self, batch: Batch) -> None: ...
    def ping(self) -> None: ...
    def pause_reading(self) -> None: ...
    def resume_reading(self) -> None: ...
    def abort(self) -> None: ...
    def waiting(self) -> int:
        return 0


class Calls:
    """Carries out calls; for its callers it is the endpoint that they are connected to (hub.ports.Endpoint).

    Args:
        path: what handlers find as the path of a caller.
        handlers: what to call for each type of command, as over a WebSocket.
        verbs: what somebody must be allowed in the room for a command of a type.

    Attributes:
        commands: those that can be called, by their type on the wire.
    """

    announced: Final = True
    msgpack: Final = False

    def __init__(
        self, hub: Hub, path: str, handlers: Mapping[type[Command], Handler], verbs: Mapping[type[Command], str]
    ) -> None:
        self.path = path
        self._hub = hub
        self._at_work = 0
        callable_ = {kind: handler for kind, handler in handlers.items() if kind not in OF_CONNECTIONS}
        self.commands = {str(kind.__struct_config__.tag): kind for kind in callable_}
        commands: Any = Union[tuple(callable_)]
        self._decode: Callable[[bytes], Command] = msgspec.json.Decoder(commands).decode
        self._handlers: dict[type[Command], Handler] = {}
        ours: dict[type[Command], Handler] = {Ack: _ack, AskCursor: _cursor}
        for kind, handler in {**callable_, **ours}.items():
            verb = "ack" if kind is AskCursor else verbs.get(kind)
            carry_out = _in_open_room(handler)
            self._handlers[kind] = carry_out if verb is None else guard(carry_out, verb)

    # What a call is made of

    def caller(self, identity: Identity, remote: tuple[str, int] | None, session: str = "") -> Caller:
        """Somebody who calls.

        Args:
            session: the token of a session, whose cursors and messageIds count then; it is not taken up.

        Raises:
            CommandError: `invalid_token`: the session is somebody else's, or none.
        """
        caller = Caller(self._hub, self, GONE, remote, identity)
        if identity.user:
            caller._user = self._hub.admission.user(identity.user)
        if session:
            caller.session = self._hub.sessions.find(caller, session)
            if caller.session is None:
                raise CommandError(INVALID_TOKEN, "This session is not known, or somebody else's")
        return caller

    def command(self, body: bytes, fields: Mapping[str, object]) -> Command:
        """The command that a body says.

        Args:
            fields: of the command, beside those of the body, by their names on the wire.

        Raises:
            CommandError: `invalid_json`, `invalid_message` or `unknown_type`.
        """
        try:
            written = _decode_fields(body)
        except Malformed:
            raise CommandError(INVALID_JSON, "The body is not a JSON object") from None
        for name, value in fields.items():
            if name in written and _read(name, written[name]) != value:
                raise CommandError(INVALID_MESSAGE, f"{name} differs from what the request says elsewhere")
            written[name] = msgspec.Raw(_encode(value))
        written.pop("id", None)  # replies of calls need no id
        try:
            return self._decode(_encode(written))
        except Malformed as error:
            raise self._diagnose(written, error) from None

    def _diagnose(self, written: Mapping[str, msgspec.Raw], error: Exception) -> CommandError:
        try:
            tag = msgspec.json.decode(written.get("type", b'""'))
        except Malformed:
            tag = None
        if isinstance(tag, str) and tag and tag not in self.commands:
            return CommandError(UNKNOWN_TYPE, f"There is no command {tag[:40]!r} without a connection")
        return CommandError(INVALID_MESSAGE, str(error))

    # Carrying it out

    def call(self, caller: Caller, command: Command, room: str, username: str, done: Done) -> None:
        """Carries a command out, and calls back once with the reply, possibly before this returns.

        Args:
            room: where; the command's own field is set already, where it has one.
            username: under which name the caller speaks where its credentials say none; may be empty.

        Raises:
            CommandError: `rate_limited` or `unavailable`: it is not begun.
        """

        def finish(reply: Reply) -> None:
            self._at_work -= 1
            done(reply)

        self.count(caller, heavy=type(command) in HEAVY)
        if self._at_work >= MOST_AT_WORK:
            raise CommandError(UNAVAILABLE, "Too many calls are at work", RETRY_MS)
        self._at_work += 1
        caller.transport = _Replies(caller, finish)
        command.id = caller.id
        run(caller, (self._carry_out, (caller, command, room, username), command))

    def count(self, caller: Caller, *, heavy: bool) -> None:
        """Counts a message for the caller's user.

        Args:
            heavy: it reads a log or a list.

        Raises:
            CommandError: `rate_limited`.
        """
        now = self._hub.runtime.monotonic()
        refusals: list[Reply] = []
        caller.transport = _Replies(caller, refusals.append)
        if self._hub.rates.take(caller, b"", now):
            self._hub.counters.messages_received += 1
            self._hub.counters.calls += 1
            if heavy:
                self._hub.rates.take_more(caller, b"", now)
        for refusal in refusals:
            assert isinstance(refusal.said, Error)
            assert isinstance(refusal.said.retry_after, int)
            raise CommandError(refusal.said.code, refusal.said.message, refusal.said.retry_after)

    async def may_see(self, caller: Caller, room: str) -> bool:
        """Whether a caller may know of a room that somebody is in it."""
        try:
            there = await caller.allows("join", room) or await caller.allows("subscribe", room)
            return there and await caller.allows("presence", room)
        except Exception:  # an application that cannot say allows nothing
            log.exception("an application could not say what is allowed: room=%r", room)
            return False

    def _carry_out(self, caller: Caller, command: Command, name: str, username: str) -> Steps:
        member = yield from self._stand(caller, command, name, username)
        member.room.holds += 1
        try:
            return (yield from _result(caller, self._handlers[type(command)], command))
        finally:
            member.room.holds -= 1
            member.room.close_unused()

    def _stand(self, caller: Caller, command: Command, name: str, username: str) -> Steps:
        """Has the caller stand in a room that it may enter: as a member, or as who listens where that will do."""
        unnamed = type(command) in _UNNAMED
        room, username = clean_room(name), shown_name(caller, username)
        if not room:
            raise CommandError(INVALID_NAME, "A room has a name")
        if not unnamed or username.strip():
            room, username = names_of(room, username)
        yield from self.may_enter(caller, room, username, unnamed=unnamed)
        member = Member(caller, self._hub.room(room), username)
        member.id = caller.key if member.room.policy.member_per == "user" else caller.device
        caller.members = (member,)
        return member

    def may_enter(self, caller: Caller, room: str, username: str, *, unnamed: bool) -> Steps:
        """Asks whether the caller might be in a room: what it calls needs that as well over a WebSocket.

        Args:
            unnamed: being subscribed to it is enough.

        Raises:
            CommandError: `forbidden`.
        """
        if username:
            try:
                yield from authorized(caller, ("join",), room)
                return
            except CommandError:
                if not unnamed:
                    raise
        yield from authorized(caller, ("subscribe",), room)

    # What the hub asks of an endpoint

    def limited(self, connection: Connection, payload: bytes, limit: str, wait_ms: int, first: bool) -> None:
        connection.send(Error(f"Too many messages ({limit})", RATE_LIMITED, connection.id, wait_ms))

    def opened(self, connection: Connection) -> None: ...
    def receive(self, connection: Connection, opcode: int, payload: bytes) -> None: ...
    def resume(self, connection: Connection) -> None: ...
    def closed(self, connection: Connection) -> None: ...


_UNNAMED: Final[frozenset[type[Command]]] = frozenset((Ack, AskCursor, AskReceipts, History, Presence, Publish))
"""For these it is enough to be subscribed."""
_BEHIND: Final[frozenset[type[Command]]] = frozenset((Ack, AskCursor, History))
"""What they say may be of another node, which has told this one nothing yet."""


def _read(name: str, written: msgspec.Raw) -> object:
    """A field of a command that the request says elsewhere too."""
    try:
        value: object = msgspec.json.decode(written)
    except Malformed:
        return None
    return clean_room(value) if name == "room" and isinstance(value, str) else value


def _in_open_room(handler: Handler) -> Handler:
    """Makes of a handler one that finds the room's log open, and who is there on other nodes."""

    def carry_out(caller: Connection, command: Command) -> Steps:
        room = caller.members[0].room
        if not room.epoch:
            yield room.open
        elif type(command) in _BEHIND and caller._hub.broker.shared:
            yield partial(caller._hub.broker.refresh, room.name)
        return (yield from _result(caller, handler, command))

    return carry_out


def _result(caller: Connection, handler: Handler, command: Command) -> Steps:
    """What a handler of any kind returns."""
    result: object = handler(caller, command)
    if isinstance(result, GeneratorType):
        return (yield from result)
    if isinstance(result, Awaitable):
        return (yield partial(caller._hub.resolve, caller, result))
    return result


def _ack(caller: Connection, command: Ack) -> Steps:
    """As over a WebSocket, where a client that has just come knows what it has acknowledged before."""
    member = _lasting(caller)
    member.acked = yield partial(caller._hub.broker.acknowledged, member.room.name, member.key)
    yield from ack(caller, command)


def _cursor(caller: Connection, command: AskCursor) -> Steps:
    member = _lasting(caller)
    room = member.room
    acked = yield partial(caller._hub.broker.acknowledged, room.name, member.key)
    if acked is None:
        reply(caller, command, epoch=room.epoch)
    else:
        reply(caller, command, seq=acked, unread=max(room.head - acked, 0), epoch=room.epoch)


def _lasting(caller: Connection) -> Member:
    if not caller.lasting:
        raise CommandError(FORBIDDEN, "A cursor is a user's or a session's: show credentials, or ?session=")
    return caller.members[0]
