"""uvicorn's HTTP protocol with the limits it lacks: deadlines, sizes of head and body, ASCII headers.

A route of ours that finds TAKEOVER in its scope may answer a request in its own way, on the socket itself.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from functools import partial
from typing import Any, ClassVar, Final

import httptools
from uvicorn.protocols.http.flow_control import FlowControl
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from hubbub.config import Config
from hubbub.hub.counters import Counters
from hubbub.transports.loop import (
    NOBODY,
    READ_BUFFER_BYTES,
    TAKEOVER,
    Ends,
    Expiring,
    Shared,
    Unread,
    ends_of,
    linger,
    shared_by,
)
from hubbub.wire.handshake import encode_refusal

LINGER_SECONDS: Final = 2.0
MOST_PIPELINED: Final = 8
# Between two requests, as uvicorn's own setting.
KEEP_ALIVE_SECONDS: Final = 5.0
LATE: Final = 408, "the request did not arrive in time"


class _Refused(Exception):
    """Stops the parser; the response is chosen already."""


class Taken:
    """A connection whose request is answered by another protocol than this server's own.

    Attributes:
        socket: its transport.
        connections: what ends when the server stops; whoever takes over puts itself in, and has a `shutdown()`.
    """

    __slots__ = ("_serve", "_shared", "_stall_seconds", "connections", "socket")

    def __init__(
        self,
        socket: asyncio.Transport,
        connections: set[Any],
        shared: Shared,
        serve: Callable[[], HttpProtocol],
        stall_seconds: float,
    ) -> None:
        self.socket = socket
        self.connections = connections
        self._shared = shared
        self._serve = serve
        self._stall_seconds = stall_seconds

    def give_back(self, early: bytes = b"") -> None:
        """The response is written: the connection waits for its next request.

        Args:
            early: what has come of that already.
        """
        KeptAlive(self, self._shared, early)

    def close(self) -> None:
        """Nothing more is written."""
        self.socket.close()
        Unread(self.socket, self._shared, self._stall_seconds)

    def serve(self, data: bytes) -> None:
        """The next request has begun with these bytes."""
        protocol = self._serve()
        self.socket.set_protocol(protocol)
        protocol.connection_made(self.socket)
        protocol.data_received(data)


class KeptAlive(asyncio.BufferedProtocol):
    """A connection between two requests: a parser is made once there is something to parse, and its turn has come.

    All who were answered together may ask again together; each request under way takes 8 KB (benchmark: polls.py).
    """

    __slots__ = ("_data", "_shared", "_slot", "_taken")

    def __init__(self, taken: Taken, shared: Shared, data: bytes) -> None:
        self._taken = taken
        self._shared = shared
        self._data = data
        self._slot = shared.put(self, KEEP_ALIVE_SECONDS)
        taken.connections.add(self)
        taken.socket.set_protocol(self)
        if data:
            shared.requests.put(self._begin)

    def get_buffer(self, sizehint: int) -> memoryview:
        return self._shared.buffer

    def buffer_updated(self, nbytes: int) -> None:
        if not self._data:
            self._shared.requests.put(self._begin)
        self._data += self._shared.buffer[:nbytes]
        if len(self._data) >= READ_BUFFER_BYTES:
            self._taken.socket.pause_reading()

    def _begin(self) -> None:
        socket = self._taken.socket
        if not socket.is_closing():
            self._done()
            socket.resume_reading()
            self._taken.serve(self._data)

    def eof_received(self) -> None:
        pass

    def connection_lost(self, exc: Exception | None) -> None:
        self._done()

    def pause_writing(self) -> None:
        pass

    def resume_writing(self) -> None:
        pass

    def _done(self) -> None:
        self._shared.discard(self, self._slot)
        self._taken.connections.discard(self)

    def expire(self) -> None:
        """No request has come; a client that has just begun one knows that it was not heard."""
        if not self._data:
            self._taken.close()

    def shutdown(self) -> None:
        """uvicorn stops."""
        self._taken.close()


class HttpProtocol(HttpToolsProtocol):
    """One HTTP connection, until it closes, becomes a WebSocket or is taken over.

    Attributes:
        settings: the limits; a node serves with a subclass that has its own.
        counters: where it is counted that one was met.
    """

    settings: ClassVar[Config] = Config()
    counters: ClassVar[Counters] = Counters()

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._shared = shared_by(self.loop)
        self._slot: int | None = None
        self._refusal: tuple[int, str] | None = None
        self._head_bytes = 0
        self._header_bytes = 0
        self._body_bytes = 0
        self._in_head = True
        self._unanswered: list[Any] = []
        self._unread: Unread | None = None

    def connection_made(self, transport: Any) -> None:
        self._attach(transport)
        self._start_head()

    def go_on(self, transport: Any, begun_by: Expiring, slot: int, data: bytes) -> None:
        """Goes on with what another protocol has begun, its deadline, and the bytes that have come."""
        self._attach(transport)
        self._shared.pass_on(begun_by, self, slot)
        self._slot = slot
        self.data_received(data)

    def _attach(self, transport: Any) -> None:
        """As uvicorn does, in half the time; benchmark P6."""
        self.connections.add(self)
        self.transport = transport
        self.flow = FlowControl(transport)
        self.client, self.server, secure = ends_of(transport)
        self.scheme = "https" if secure else "http"

    def connection_lost(self, exc: Exception | None) -> None:
        self._clear_deadline()
        self._forget_unread()
        for cycle in self._unanswered:  # uvicorn tells the last one alone; one that is not told may wait for ever
            cycle.disconnected = True
            cycle.waiting_for_100_continue = False  # nothing can be written behind a refusal
            cycle.message_event.set()
        self._unanswered.clear()
        super().connection_lost(exc)
        self._untie()

    def data_received(self, data: bytes) -> None:
        began_in_head = self._in_head
        self._unset_keepalive_if_required()
        try:
            self.parser.feed_data(data)
        except httptools.HttpParserUpgrade as upgrade:
            self._upgrade_connection(data[upgrade.args[0] :])
            return
        except httptools.HttpParserError:
            self.send_400_response("the request is malformed")
            return
        if self._slot is None and self.cycle is not None and self.cycle.response_complete:
            self._start_head()  # blank lines begin no request for the parser, but have ended uvicorn's keep-alive timer
        elif began_in_head and self._in_head:
            self._head_bytes += len(data)
            if self._head_bytes > self.settings.limits.max_head_bytes:
                self.counters.refuse("max_head_bytes")
                longest = self.settings.limits.max_head_bytes
                self._refusal = (431, f"the head is longer than {longest} bytes (max_head_bytes)")
                self.send_400_response("")

    def _upgrade_connection(self, rest: bytes) -> None:
        """Hands the connection over, and what the client sent behind the request's head without waiting."""
        if not self._should_upgrade():
            self._unsupported_upgrade_warning()
        elif self.cycle is not None and not self.cycle.response_complete:
            self._refusal = (400, "a WebSocket is not opened behind an unanswered request")
            self.send_400_response("")
        else:
            self.handle_websocket_upgrade()
            protocol = self.transport.get_protocol()
            if rest and isinstance(protocol, asyncio.Protocol):
                protocol.data_received(rest)

    # The parser's callbacks; an exception in one comes out of `feed_data` as an HttpParserError.

    def on_message_begin(self) -> None:
        if len(self.pipeline) >= MOST_PIPELINED:
            self._refuse(400, "too many requests wait for an answer")
        super().on_message_begin()
        if not self._in_head:  # a further request on this connection; the first one's time runs since it was opened
            self._start_head()

    def on_url(self, url: bytes) -> None:
        super().on_url(url)
        if len(self.url) > self.settings.limits.max_url_bytes:
            self._exceed(
                "max_url_bytes", 414, f"the request target is longer than {self.settings.limits.max_url_bytes} bytes"
            )

    def on_header(self, name: bytes, value: bytes) -> None:
        limits = self.settings.limits
        size = len(name) + len(value) + 4
        self._header_bytes += size
        if size > limits.max_header_line_bytes:
            self._exceed("max_header_line_bytes", 431, f"a header is longer than {limits.max_header_line_bytes} bytes")
        if len(self.headers) >= limits.max_header_count:
            self._exceed("max_header_count", 431, f"more than {limits.max_header_count} headers")
        if self._header_bytes > limits.max_head_bytes:
            self._exceed("max_head_bytes", 431, f"the head is longer than {limits.max_head_bytes} bytes")
        if not value.isascii():  # the parser itself refuses control characters, folded lines and bare LF
            self._refuse(400, "a header has bytes that are not ASCII")
        super().on_header(name, value.rstrip(b" \t"))  # RFC 9110, section 5.5; the parser takes off those in front

    def on_headers_complete(self) -> None:
        self._in_head = False
        self._check_host()
        self._check_length()
        before = self.cycle
        self.scope["extensions"] = {TAKEOVER: self.take_over}  # type: ignore[dict-item]
        super().on_headers_complete()
        if self.cycle is not before:  # else it is a request for a WebSocket
            self._set_deadline(self.settings.server.body_seconds)
            if not self.flow.write_paused:  # who asks for more may have read, though more than before waits now
                self._forget_unread()
            self._unanswered = [cycle for cycle in self._unanswered if not cycle.response_complete]
            self._unanswered.append(self.cycle)

    def _check_host(self) -> None:
        """RFC 9112, section 3.2; and RFC 6455, section 4.1, because the upgrade's head is written down again as 1.1."""
        version = self.parser.get_http_version()
        if version != "1.1" and self._get_upgrade() == b"websocket":
            self._refuse(400, "a WebSocket is opened over HTTP/1.1")
        hosts = sum(name == b"host" for name, _ in self.headers)
        if hosts > 1 or (version == "1.1" and hosts == 0):
            self._refuse(400, "a request has one Host")

    def _check_length(self) -> None:
        """Refuses a body that is too long before any of it is read; the parser knows that the length is one number."""
        for name, value in self.headers:
            if name == b"content-length" and int(value) > self.settings.limits.max_body_bytes:
                self._exceed(
                    "max_body_bytes", 413, f"the body is longer than {self.settings.limits.max_body_bytes} bytes"
                )

    def on_body(self, body: bytes) -> None:
        self._body_bytes += len(body)
        if self._body_bytes > self.settings.limits.max_body_bytes:
            self._exceed("max_body_bytes", 413, f"the body is longer than {self.settings.limits.max_body_bytes} bytes")
        super().on_body(body)

    def on_message_complete(self) -> None:
        self._clear_deadline()
        self._head_bytes = 0
        super().on_message_complete()

    def _exceed(self, limit: str, status: int, reason: str) -> None:
        self.counters.refuse(limit)
        self._refuse(status, f"{reason} ({limit})")

    def _refuse(self, status: int, reason: str) -> None:
        self._refusal = (status, reason)
        raise _Refused

    # Ends

    def send_400_response(self, msg: str) -> None:
        """Answers what the parser or a limit refuses, and ends the connection."""
        status, reason = self._refusal or (400, msg)
        if self.cycle is None or not self.cycle.response_started or (self.cycle.response_complete and self._in_head):
            self.transport.write(encode_refusal(status, reason))
        for cycle, _ in self.pipeline:
            cycle.disconnected = True
        transport = self.transport
        self.connection_lost(ConnectionAbortedError(reason))
        linger(transport, self._shared, LINGER_SECONDS)

    def handle_websocket_upgrade(self) -> None:
        self._clear_deadline()
        self._forget_unread()
        protocol = self.ws_protocol_class(  # type: ignore[call-arg, misc]
            config=self.config, server_state=self.server_state, app_state=self.app_state
        )
        if hasattr(protocol, "take_request"):  # as it is, without writing it down to be read again; benchmark P6
            self.connections.discard(self)
            self.transport.set_protocol(protocol)
            method, ends = self.scope["method"], Ends(self.client, self.server, self.scheme == "https")
            protocol.take_request(self.transport, ends, method, self.url.decode("latin-1"), self.headers)
        else:
            super().handle_websocket_upgrade()
        self._untie()

    # What is not read

    def pause_writing(self) -> None:
        super().pause_writing()
        self._look_at_unread()

    def on_response_complete(self) -> None:
        super().on_response_complete()
        if self.transport.get_write_buffer_size():
            self._look_at_unread()

    def _look_at_unread(self) -> None:
        """Has a connection ended whose peer reads nothing of its answers: it is counted nowhere else."""
        self._forget_unread()
        self._unread = Unread(self.transport, self._shared, self.settings.limits.stall_seconds)

    def _forget_unread(self) -> None:
        if self._unread is not None:
            self._unread.discard()
            self._unread = None

    def _untie(self) -> None:
        """Forgets what refers back to it: it has ended, and is not to wait for the collector; benchmark P6."""
        self.parser = self.cycle = None  # type: ignore[assignment]
        if self.scope is not None:
            self.scope.pop("extensions", None)

    # Takeover

    def take_over(self) -> Taken | None:
        """The socket, for whoever answers the request that is at work; the ASGI call has nothing more to do then.

        None where that cannot be: the request has not arrived as a whole, another waits behind it, or what was answered
        before is not read.
        """
        cycle, parser = self.cycle, self.parser
        if parser is None or cycle is None or cycle.disconnected or cycle.response_started:
            return None
        if cycle.more_body or self.pipeline or self._in_head or self.flow.write_paused:
            return None
        cycle.response_started = cycle.response_complete = True
        self._clear_deadline()
        self._forget_unread()
        self._unanswered.clear()
        self.connections.discard(self)
        self._untie()
        self.transport.set_protocol(NOBODY)
        serve = partial(type(self), self.config, self.server_state, self.app_state)  # without this one, which has ended
        seconds = self.settings.limits.stall_seconds
        return Taken(self.transport, self.connections, self._shared, serve, seconds)

    # Deadlines

    def _start_head(self) -> None:
        self._in_head = True
        self._header_bytes = 0
        self._body_bytes = 0
        self._set_deadline(self.settings.server.handshake_seconds)

    def _set_deadline(self, seconds: float) -> None:
        self._clear_deadline()
        self._slot = self._shared.put(self, seconds)

    def _clear_deadline(self) -> None:
        if self._slot is not None:
            self._shared.discard(self, self._slot)
            self._slot = None

    def expire(self) -> None:
        """The request did not arrive in time."""
        self._slot = None
        self._refusal = LATE
        self.send_400_response("")
