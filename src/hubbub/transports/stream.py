"""Streams over HTTP: a response that goes on, on the socket itself where the server hands it over, else over ASGI."""

from __future__ import annotations

import asyncio
import logging
import socket as sockets
from collections.abc import Iterable
from email.utils import formatdate
from typing import Any, Final
from weakref import WeakValueDictionary

from hubbub.auth.gate import Gate, Scope
from hubbub.auth.headers import values_of
from hubbub.codes import POLICY_VIOLATION, REMOVED, REPLACED, SERVICE_RESTART, TRY_AGAIN_LATER
from hubbub.errors import CommandError, HandshakeError
from hubbub.hub.connection import GONE, Connection
from hubbub.hub.dispatch import Hooks, report
from hubbub.hub.hub import Hub
from hubbub.hub.steps import Steps, Walk
from hubbub.hub.streams import StreamEndpoint, Wanted
from hubbub.transports.answers import PROBLEM, STATUSES, Headers, accepts_gzip, cross_origin, problem, respond
from hubbub.transports.asgi import AsgiTransport, Message, Receive, Send, session_of
from hubbub.transports.frames import MOST_TIMES_BUFFERED
from hubbub.transports.listening import LINES_PATH, read_wanted
from hubbub.transports.loop import TAKEOVER, Shared, shared_by
from hubbub.wire.codec import Batch, Item
from hubbub.wire.sse import Format, RoomEvents, RoomsEvents, json_lines

log: Final = logging.getLogger("hubbub")
# Of what a client sends behind its request, where nothing is expected.
MOST_IGNORED: Final = 16 * 1024
# What is written while a stream begins leaves together, up to this.
MOST_CORKED: Final = 32 * 1024
# When a browser comes back that does so by itself, whatever the code: others go by that.
RETRY_MS: Final = {TRY_AGAIN_LATER: 5_000, POLICY_VIOLATION: 30_000, REMOVED: 60_000, REPLACED: 60_000}


class StreamRoute:
    """A path of streams.

    Args:
        path: SSE_PATH, or LINES_PATH for JSON lines.
        hooks: the application's, see `StreamEndpoint`.
    """

    def __init__(self, hub: Hub, gate: Gate, path: str, hooks: tuple[Hooks, Hooks]) -> None:
        self._hub = hub
        self._gate = gate
        self._path = path
        self._hooks = hooks
        self._shared: WeakValueDictionary[tuple[str, bool], RoomEvents] = WeakValueDictionary()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        cross = cross_origin(self._gate.origins, scope, b"GET")
        try:
            if scope["method"] == "OPTIONS":
                self._gate.origins.check(scope["headers"], cookie=True)
                await respond(send, 204, None, cross)
            elif scope["method"] != "GET":
                raise HandshakeError(405, "a stream is asked for with GET", ((b"allow", b"GET, OPTIONS"),))
            else:
                await self._stream(scope, receive, send, cross)
        except HandshakeError as error:
            await self._refuse(send, error, cross)
        except CommandError as error:
            refused = HandshakeError(STATUSES.get(error.code, 400), error.message)
            await self._refuse(send, refused, cross, code=error.code)

    async def _refuse(self, send: Send, error: HandshakeError, cross: Headers, **more: str) -> None:
        self._hub.counters.handshakes_refused += 1
        log.info("a stream was refused: status=%d reason=%r", error.status, error.reason)
        await respond(send, error.status, problem(error, **more), [*error.headers, *cross], PROBLEM)

    async def _stream(self, scope: Scope, receive: Receive, send: Send, cross: Headers) -> None:
        wanted = wanted_of(scope)
        connection = await self._open(scope, wanted)
        gzip = self._hub.config.http.gzip and accepts_gzip(scope["headers"])
        form = self._form(wanted, gzip)
        headers: Headers = [(b"content-type", form.kind), (b"x-accel-buffering", b"no"), *cross]
        headers.append((b"vary", b"accept-encoding"))
        if form.gzip:
            headers.append((b"content-encoding", b"gzip"))
        take_over = scope.get("extensions", {}).get(TAKEOVER) if self._hub.config.server.takeover else None
        taken = take_over() if take_over is not None else None
        if taken is None:
            await AsgiStream(self._hub, send, connection, form).run(receive, headers)
        else:
            stream = Stream(self._hub, taken.socket, taken.connections, connection, form)
            stream.begin(_head(headers))

    async def _open(self, scope: Scope, wanted: Wanted) -> Connection:
        """Lets somebody in who may enter the rooms.

        Raises:
            HandshakeError, CommandError: who may not.
        """
        hub = self._hub
        visitor = await self._gate.admit(scope, ticket=True)
        hub.admit(visitor.address, visitor.identity)
        endpoint = StreamEndpoint(hub, self._path, wanted, self._hooks)
        connection = hub.open(endpoint, GONE, visitor.remote, identity=visitor.identity)
        try:  # it counts from here on: whoever comes meanwhile may be one too many
            await _walk(endpoint.allow(connection))
        except (HandshakeError, CommandError, asyncio.CancelledError):
            hub.lost(connection)
            raise
        except Exception as error:
            hub.lost(connection)
            raise HandshakeError(500, f"correlationId={report(connection, error)}") from None
        if not connection.open:
            hub.admit(visitor.address, visitor.identity)  # says why, if that is known
            raise HandshakeError(503, "it was ended meanwhile", ((b"retry-after", b"1"),))
        session = session_of(scope.get("query_string", b""))
        if session is not None:  # only now: who is refused ends no other connection of the session
            hub.take_up(connection, session)
        return connection

    def _form(self, wanted: Wanted, gzip: bool) -> Format:
        """How the stream is written; one form for all that can share it."""
        if self._path == LINES_PATH:
            return json_lines(gzip)
        if len(wanted.rooms) > 1:
            return RoomsEvents(wanted.rooms, wanted.since)
        key = (wanted.rooms[0], gzip)
        form = self._shared.get(key)
        if form is None:
            form = self._shared[key] = RoomEvents(gzip=gzip)
        return form


def wanted_of(scope: Scope) -> Wanted:
    """What a request asks for.

    Raises:
        HandshakeError, CommandError: 400: there are no such rooms or places.
    """
    place = b"".join(values_of(scope["headers"], b"last-event-id")).decode("latin-1")
    return read_wanted(scope.get("query_string", b""), place)[0]


async def _walk(steps: Steps) -> None:
    """Takes steps, and waits for the last one."""
    done: asyncio.Future[object] = asyncio.get_running_loop().create_future()
    Walk(steps, lambda result: None if done.done() else done.set_result(result)).go_on()
    result = await done
    if isinstance(result, Exception):
        raise result


def _head(headers: Headers) -> bytes:
    """A response whose body ends with the connection: then what is written can be shared, and HTTP/1.0 knows it."""
    date = formatdate(usegmt=True).encode()
    lines = [*headers, (b"date", date), (b"connection", b"close")]
    return b"HTTP/1.1 200 OK\r\n%b\r\n" % b"".join([b"%b: %b\r\n" % line for line in lines])


def _retry_ms(hub: Hub, code: int, reason: str) -> int | None:
    """When to come back; behind a restart not before this server is gone, or a browser would be refused for good."""
    after = reason.removeprefix("after=")
    if code == SERVICE_RESTART and after.isdigit():
        return int(after) + round(hub.draining.left * 1000)
    return RETRY_MS.get(code)


def _watch(socket: asyncio.Transport, seconds: float) -> None:
    """Has the kernel end a connection whose peer confirms nothing for so long: nobody answers a comment."""
    raw = socket.get_extra_info("socket")
    if raw is not None and hasattr(sockets, "TCP_USER_TIMEOUT") and raw.family != sockets.AF_UNIX:
        raw.setsockopt(sockets.IPPROTO_TCP, sockets.TCP_USER_TIMEOUT, round(seconds * 1000))


class Stream(asyncio.BufferedProtocol):
    """Carries a stream on its socket (hub.ports.Transport); no task, no buffer of its own."""

    __slots__ = (
        *("_closed", "_connection", "_connections", "_corked", "_form", "_hub"),
        *("_ignored", "_shared", "_slot", "_socket", "_writable"),
    )

    def __init__(
        self, hub: Hub, socket: asyncio.Transport, connections: set[Any], connection: Connection, form: Format
    ) -> None:
        self._hub = hub
        self._socket = socket
        self._connections = connections
        self._connection = connection
        self._form = form
        self._shared: Shared = shared_by(asyncio.get_running_loop())
        self._slot = -1
        self._ignored = 0
        self._corked = b""
        self._writable = True
        self._closed = False
        connections.add(self)
        socket.set_protocol(self)
        socket.set_write_buffer_limits(high=hub.config.limits.max_buffered_bytes)
        heartbeat, limits = hub.config.heartbeat, hub.config.limits
        _watch(socket, limits.stall_seconds + heartbeat.heartbeat_seconds)  # who reads slowly has the former

    def begin(self, head: bytes) -> None:
        """Introduces the connection to the hub; its first events leave in one write with the head."""
        self._corked = head + self._form.begin(self._hub.config.server.reconnect_ms)
        self._connection.transport = self
        self._put_deadline(self._hub.config.heartbeat.comment_seconds)
        self._hub.opened(self._connection)
        self._uncork()

    def _uncork(self) -> None:
        corked, self._corked = self._corked, b""
        if corked and not self._socket.is_closing():
            self._socket.write(corked)

    def _write(self, data: bytes) -> None:
        if self._corked:
            self._corked += data
            if len(self._corked) > MOST_CORKED:
                self._uncork()
        elif data:
            self._socket.write(data)

    # The hub's side

    def deliver(self, batch: Batch) -> None:
        if self._writable and not self._closed:
            data = self._form.of(batch)
            if data and not self._corked:  # the usual case, a call fewer for each member; benchmark H1
                self._socket.write(data)
            else:
                self._write(data)

    def send(self, item: Item) -> None:
        if self._closed:
            return
        self._write(self._form.of(Batch((item,))))
        if not self._writable and self.waiting() > MOST_TIMES_BUFFERED * self._hub.config.limits.max_buffered_bytes:
            asyncio.get_running_loop().call_soon(self._hub.close_slow, self._connection)

    def waiting(self) -> int:
        return self._socket.get_write_buffer_size()

    def ping(self) -> None:
        """Nobody answers on a stream: the kernel looks whether the peer is there."""
        asyncio.get_running_loop().call_soon(self._hub.pong, self._connection)

    def pause_reading(self) -> None:
        """Nothing is expected of the peer."""

    def resume_reading(self) -> None:
        """Nothing is expected of the peer."""

    def close(self, code: int, reason: str) -> None:
        if self._closed:
            return
        self._closed = True
        self._corked += self._form.end(code, reason, _retry_ms(self._hub, code, reason))
        self._uncork()
        self._put_deadline(self._hub.config.server.close_seconds)  # the peer may not read it
        if self._socket.is_closing():
            return
        if self._socket.can_write_eof():  # a socket that is closed with unread bytes would reset what was written last
            self._socket.write_eof()
        else:
            self._socket.close()

    def abort(self) -> None:
        self._closed = True
        self._socket.abort()

    # asyncio's side

    def get_buffer(self, sizehint: int) -> memoryview:
        return self._shared.buffer

    def buffer_updated(self, nbytes: int) -> None:
        self._ignored += nbytes
        if self._ignored > MOST_IGNORED and not self._closed:
            self._hub.close(self._connection, POLICY_VIOLATION, "a stream reads nothing behind its request")

    def eof_received(self) -> None:
        """The peer is gone, or takes back its half: then it is not served any more."""
        self._closed = True
        self._put_deadline(self._hub.config.server.close_seconds)  # what was written before may not be read
        self._hub.lost(self._connection)

    def pause_writing(self) -> None:
        self._writable = False
        self._hub.writing_paused(self._connection)

    def resume_writing(self) -> None:
        self._writable = True
        self._hub.writing_resumed(self._connection)

    def connection_lost(self, exc: Exception | None) -> None:
        self._closed = True
        self._shared.discard(self, self._slot)
        self._connections.discard(self)
        self._hub.lost(self._connection)

    def _put_deadline(self, seconds: float) -> None:
        if self._slot >= 0:
            self._shared.discard(self, self._slot)
        self._slot = self._shared.put(self, seconds)

    def expire(self) -> None:
        """It is time for a comment; or the end was not read in time."""
        self._slot = -1
        if self._closed:
            self._socket.abort()
            return
        if self._writable:
            self._write(self._form.comment)
        self._put_deadline(self._hub.config.heartbeat.comment_seconds)

    def shutdown(self) -> None:
        """uvicorn stops."""
        self._hub.close_all()


class AsgiStream(AsgiTransport):
    """Carries a stream over ASGI messages, under another server or where ours cannot hand the socket over."""

    def __init__(self, hub: Hub, send: Send, connection: Connection, form: Format) -> None:
        super().__init__(hub, send)
        self._connection = connection
        self._form = form

    async def run(self, receive: Receive, headers: Headers) -> None:
        """Answers, and goes on until one side ends it."""
        shared = shared_by(self._loop)
        self._connection.transport = self
        try:
            await self._send({"type": "http.response.start", "status": 200, "headers": headers})
            self._put(((_part(self._form.begin(self._hub.config.server.reconnect_ms)), 0),))
            self._hub.opened(self._connection)
        except BaseException:
            self._hub.lost(self._connection)
            raise
        self._slot = shared.put(self, self._hub.config.heartbeat.comment_seconds)
        try:
            await self._carry(receive)
        finally:
            shared.discard(self, self._slot)

    async def _read(self, receive: Receive) -> None:
        while (await receive())["type"] != "http.disconnect":
            pass

    def _messages(self, batch: Batch) -> Iterable[tuple[Message, int]]:
        data = self._form.of(batch)
        return ((_part(data), len(data)),) if data else ()

    def _farewell(self, code: int, reason: str) -> Message:
        return _part(self._form.end(code, reason, _retry_ms(self._hub, code, reason)), more=False)

    def expire(self) -> None:
        """It is time for a comment."""
        if not self._full:
            self._put(((_part(self._form.comment), len(self._form.comment)),))
        self._slot = shared_by(self._loop).put(self, self._hub.config.heartbeat.comment_seconds)


def _part(data: bytes, *, more: bool = True) -> Message:
    return {"type": "http.response.body", "body": data, "more_body": more}
