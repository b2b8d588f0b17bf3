"""From a message to its handler: plain functions inline, coroutines in order, and an answer for every error."""

from __future__ import annotations

import logging
from asyncio import CancelledError
from collections import deque
from collections.abc import Callable, Coroutine, Mapping, Sequence
from functools import partial
from inspect import isawaitable
from types import GeneratorType
from typing import Any, Final, Union

import msgspec

from hubbub.codes import (
    INTERNAL,
    INTERNAL_ERROR,
    INVALID_JSON,
    INVALID_MESSAGE,
    MALFORMED,
    POLICY_VIOLATION,
    RATE_LIMITED,
    UNAVAILABLE,
    UNKNOWN_TYPE,
    UNSUPPORTED_DATA,
)
from hubbub.errors import BrokerError, CommandError
from hubbub.hub.authorization import guard
from hubbub.hub.commands import HEAVY, VERBS, user_info
from hubbub.hub.connection import Connection
from hubbub.hub.hub import Hub
from hubbub.hub.publication import Publication
from hubbub.hub.steps import Steps, Walk
from hubbub.wire.messages import Command, CommandId, Connected, Envelope, Error, Ok
from hubbub.wire.messages import Warning as WarningEvent
from hubbub.wire.websocket import BINARY, TEXT

log: Final = logging.getLogger("hubbub")
PROTOCOL_VERSION: Final = 1
RETRY_MS: Final = 1000

Result = Publication | None
Handler = Callable[..., Result | Coroutine[Any, Any, Result] | Steps]
"""Called with the connection and, where there is one, the command or message."""

Call = tuple[Handler, tuple[Any, ...], Command | None]
"""A handler, its arguments, and the command that it answers."""

Hooks = Sequence[Handler]
Malformed = (msgspec.MsgspecError, UnicodeDecodeError, RecursionError)


def run(connection: Connection, call: Call) -> None:
    """Runs a handler now; or in its order, when one of this connection's is at work or its answers are not read."""
    if connection._working or connection.stalled:
        _wait(connection, call)
        return
    handler, arguments, command = call
    try:
        result = handler(*arguments)
        if result is None or isinstance(result, Publication):
            answer(connection, command, result)
        else:
            connection._working = True
            began = connection._active_at
            if isinstance(result, GeneratorType):
                Walk(result, partial(_finish, connection, command, began)).go_on()
            else:
                connection._hub.runtime.spawn(_await(connection, command, began, result))
            return
    except Exception as error:
        fail(connection, command, error)
    hub = connection._hub
    counters = hub.counters
    counters.handled += 1  # not a call, and one look at the clock: 0.2 us a message
    counters.handling_seconds += hub.runtime.monotonic() - connection._active_at


def _wait(connection: Connection, call: Call) -> None:
    if connection._backlog is None:
        connection._backlog = deque()
    connection._backlog.append(call)
    most = connection._hub.config.limits.max_backlog
    if len(connection._backlog) == most:
        connection._hub.counters.refuse("max_backlog")
    if len(connection._backlog) >= most:
        connection.transport.pause_reading()


def _finish(connection: Connection, command: Command | None, began: float, result: object) -> None:
    """A handler has taken its last step."""
    try:
        if isinstance(result, Exception):
            raise result
        answer(connection, command, result)
    except Exception as error:
        fail(connection, command, error)
    connection._hub.counted(began)
    connection._working = False
    go_on(connection)


async def _await(connection: Connection, command: Command | None, began: float, result: object) -> None:
    """Awaits a coroutine handler, and then runs what has come meanwhile."""
    try:
        answer(connection, command, await result if isawaitable(result) else result)
    except CancelledError as error:
        if not connection.open:  # the node stops; otherwise the handler awaited what somebody cancelled
            raise
        fail(connection, command, RuntimeError(f"cancelled: {error}"))
    except Exception as error:
        fail(connection, command, error)
    connection._hub.counted(began)
    connection._working = False
    go_on(connection)


def go_on(connection: Connection) -> None:
    """Runs what has waited, until one of those takes its time or the answers are not read; then the rest waits on."""
    while connection._backlog and not connection._working and not connection.stalled:
        call = connection._backlog.popleft()
        if not connection._backlog:
            connection._backlog = None
            connection.transport.resume_reading()
        connection._active_at = connection._hub.runtime.monotonic()  # it begins now: its waiting was for the others
        run(connection, call)


def answer(connection: Connection, command: Command | None, result: object) -> None:
    """Sends the `ok` of a command that has an id; behind a publication, once that is kept.

    Raises:
        TypeError: the handler returned something else.
    """
    if result is not None and not isinstance(result, Publication):
        raise TypeError(f"a handler returns None or a Publication, not {type(result).__name__}")
    if command is None or command.id is msgspec.UNSET:
        return
    id = command.id
    if result is None:
        connection.send(Ok(id))
    else:
        result.when_settled(partial(_answer_publication, connection, command, id))


def _answer_publication(connection: Connection, command: Command, id: CommandId, publication: Publication) -> None:
    if publication.error is not None:
        fail(connection, command, publication.error)
    else:
        seq = msgspec.UNSET if publication.seq is None else publication.seq
        connection.send(Ok(id, msgspec.UNSET if publication.once is None else publication.once.id, seq))


def fail(connection: Connection, command: Command | None, error: Exception) -> None:
    """Answers a handler's exception: a CommandError with its own words, any other with an id to find it in the log."""
    id = msgspec.UNSET if command is None else command.id
    if isinstance(error, CommandError):
        retry = msgspec.UNSET if error.retry_ms is None else error.retry_ms
        connection.send(Error(error.message, error.code, id, retry))
        return
    if isinstance(error, BrokerError):
        connection._hub.counters.handlers_unavailable += 1
        connection.send(Error("The room's log cannot be used now", UNAVAILABLE, id, RETRY_MS))
        return
    correlation_id = report(connection, error)
    connection.send(Error("Internal error", INTERNAL, id, correlation_id=correlation_id))


def report(connection: Connection, error: Exception) -> str:
    """Logs an application's exception once; returns the id under which it stands in the log."""
    connection._hub.counters.handlers_failed += 1
    correlation_id = connection._hub.runtime.new_id()
    log.error(
        "a handler failed: correlationId=%s client=%s path=%r",
        correlation_id,
        connection.correlation_id,
        connection.path,
        exc_info=error,
    )
    return correlation_id


def greet(connection: Connection, heartbeat_seconds: float) -> None:
    """Sends the first event of a connection, which says how often the server shows that it is alive."""
    hub, session = connection._hub, connection.session
    connection.send(
        Connected(
            connection.id,
            hub.runtime.unix_ms(),
            PROTOCOL_VERSION,
            round(heartbeat_seconds * 1000),
            hub.config.limits.max_message_bytes,
            hub.broker.node_id,
            msgspec.UNSET if session is None else session.token,
            user_info(connection.identity) if connection.identity.user else msgspec.UNSET,
        )
    )


class CommandEndpoint:
    """A path that speaks Hubbub's protocol, in JSON or MessagePack.

    Args:
        hub: gives the protocol's figures.
        path: where it is served.
        handlers: what to call for each type of command.
        connected, disconnected: called with each connection.
        verbs: what somebody must be allowed in the room for a command of a type.
        msgpack: MessagePack in binary messages instead of JSON in texts.
    """

    announced: Final = True

    def __init__(
        self,
        hub: Hub,
        path: str,
        handlers: Mapping[type[Command], Handler],
        connected: Hooks = (),
        disconnected: Hooks = (),
        *,
        verbs: Mapping[type[Command], str] = VERBS,
        msgpack: bool = False,
    ) -> None:
        self.path = path
        self.msgpack = msgpack
        self._hub = hub
        self._handlers = {
            command: guard(handler, verbs[command]) if command in verbs else handler
            for command, handler in handlers.items()
        }
        self._connected = connected
        self._disconnected = disconnected
        self._opcode = BINARY if msgpack else TEXT
        commands: Any = Union[tuple(handlers)]
        self._tags = {command.__struct_config__.tag for command in handlers}
        self._decode: Callable[[bytes], Command]
        self._decode_envelope: Callable[[bytes], Envelope]
        if msgpack:
            self._decode = msgspec.msgpack.Decoder(commands).decode
            self._decode_envelope = msgspec.msgpack.Decoder(Envelope).decode
        else:
            self._decode = msgspec.json.Decoder(commands).decode
            self._decode_envelope = msgspec.json.Decoder(Envelope).decode

    def opened(self, connection: Connection) -> None:
        greet(connection, self._hub.config.heartbeat.heartbeat_seconds)
        for hook in self._connected:
            run(connection, (hook, (connection,), None))

    def receive(self, connection: Connection, opcode: int, payload: bytes) -> None:
        if opcode != self._opcode:
            self._hub.close(connection, UNSUPPORTED_DATA, "this sub-protocol has the other kind of frame")
            return
        try:
            command = self._decode(payload)
        except Malformed as error:
            self._refuse(connection, payload, error)
            return
        connection._malformed = 0
        kind = type(command)
        if kind in HEAVY and not self._hub.rates.take_more(connection, payload, self._hub.runtime.monotonic()):
            return
        run(connection, (self._handlers[kind], (connection, command), command))

    def _refuse(self, connection: Connection, payload: bytes, error: Exception) -> None:
        self._hub.counters.messages_malformed += 1
        connection._malformed += 1
        connection.send(self._diagnose(payload, error))
        if connection._malformed >= self._hub.config.limits.max_malformed:
            self._hub.counters.refuse("max_malformed")
            self._hub.close(connection, MALFORMED, "too many malformed messages (max_malformed)")

    def _diagnose(self, payload: bytes, error: Exception) -> Error:
        """What is wrong with a message that could not be decoded."""
        envelope = self._envelope(payload)
        if envelope is None:
            if isinstance(error, msgspec.ValidationError) and " - at `$." in str(error):
                return Error(str(error), INVALID_MESSAGE)
            return Error("Invalid JSON payload", INVALID_JSON)
        if isinstance(envelope.type, str) and envelope.type and envelope.type not in self._tags:
            return Error(f"There is no command {envelope.type[:40]!r}", UNKNOWN_TYPE, envelope.id)
        return Error(str(error), INVALID_MESSAGE, envelope.id)

    def _envelope(self, payload: bytes) -> Envelope | None:
        try:
            return self._decode_envelope(payload)
        except Malformed:
            return None

    def resume(self, connection: Connection) -> None:
        go_on(connection)

    def limited(self, connection: Connection, payload: bytes, limit: str, wait_ms: int, first: bool) -> None:
        envelope = self._envelope(payload)
        if first:
            text = f"Too many messages; this one was dropped ({limit})"
            connection.send(WarningEvent(RATE_LIMITED, text, wait_ms))
        if envelope is not None and envelope.id is not msgspec.UNSET:
            connection.send(Error(f"Too many messages ({limit})", RATE_LIMITED, envelope.id, wait_ms))

    def closed(self, connection: Connection) -> None:
        for hook in self._disconnected:
            run(connection, (hook, (connection,), None))


class RawEndpoint:
    """A path on which the application speaks a text or binary protocol of its own.

    Args:
        handler: called with the connection and each message, a str or bytes.
    """

    announced: Final = False
    msgpack: Final = False

    def __init__(self, hub: Hub, path: str, handler: Handler, connected: Hooks = (), disconnected: Hooks = ()) -> None:
        self.path = path
        self._hub = hub
        self._handler = handler
        self._connected = connected
        self._disconnected = disconnected

    def opened(self, connection: Connection) -> None:
        for hook in self._connected:
            run(connection, (self._guard, (hook, connection), None))

    def receive(self, connection: Connection, opcode: int, payload: bytes) -> None:
        message = payload.decode() if opcode == TEXT else payload
        run(connection, (self._guard, (self._handler, connection, message), None))

    def resume(self, connection: Connection) -> None:
        go_on(connection)

    def limited(self, connection: Connection, payload: bytes, limit: str, wait_ms: int, first: bool) -> None:
        """Ends the connection: the application's protocol has no word for a message that is dropped."""
        self._hub.close(connection, POLICY_VIOLATION, f"too many messages ({limit})")

    def closed(self, connection: Connection) -> None:
        for hook in self._disconnected:
            run(connection, (self._guard, (hook, connection), None))

    def _guard(self, handler: Handler, *arguments: Any) -> Result | Coroutine[Any, Any, Result]:
        """Calls a handler; its exception closes the connection, because there is no `error` event to send."""
        connection = arguments[0]
        try:
            result = handler(*arguments)
        except Exception as error:
            self._fail(connection, error)
            return None
        return self._guard_coroutine(connection, result) if isawaitable(result) else None

    async def _guard_coroutine(self, connection: Connection, coroutine: Coroutine[Any, Any, Result]) -> Result:
        try:
            await coroutine
        except Exception as error:
            self._fail(connection, error)
        return None

    def _fail(self, connection: Connection, error: Exception) -> None:
        self._hub.close(connection, INTERNAL_ERROR, f"correlationId={report(connection, error)}")
