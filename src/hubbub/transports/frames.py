"""An open WebSocket on a socket: frames to messages for the hub, or for an ordinary ASGI application."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterator
from itertools import chain
from time import perf_counter
from typing import Any, Final

from hubbub.auth.gate import Visitor
from hubbub.codes import MALFORMED, MESSAGE_TOO_BIG, POLICY_VIOLATION
from hubbub.config import Config
from hubbub.errors import PeerError
from hubbub.hub.connection import Connection
from hubbub.hub.hub import Hub
from hubbub.hub.limits import REFUSED, RateLimit
from hubbub.hub.ports import Endpoint
from hubbub.transports.loop import READ_BUFFER_BYTES, Shared, linger
from hubbub.wire.codec import Batch, FrameCodec, Item
from hubbub.wire.websocket import BINARY, CLOSE, FIN, PING, PONG, TEXT, Message, WebSocket, encode_frame, parse_close

log: Final = logging.getLogger("hubbub")
PING_FRAME: Final = encode_frame(FIN | PING, b"")
ABNORMAL: Final = 1006
# Who is closed for one of these has sent too much already: to read on for its close frame is what it wants.
ABUSED: Final = frozenset((MALFORMED, POLICY_VIOLATION))
# Replies to a peer that does not read them: it is not read from any more, and a turn's commands have these.
MOST_TIMES_BUFFERED: Final = 4
# What one connection may have done for it before others get their turn, looked at after each piece of its bytes
# (benchmark: make siege; P1 to P3 are as quick with it). A piece is at most 15 short messages or 85 empty frames; what
# honest clients send is less.
TURN_SECONDS: Final = 0.00025
PIECE_BYTES: Final = 512


class FrameProtocol(asyncio.BufferedProtocol):
    """An open WebSocket: bytes in, messages to the subclass; closes and fails as RFC 6455 says."""

    __slots__ = ("_connections", "_left", "_settings", "_shared", "_slot", "_socket", "_unread", "_wire")

    def __init__(
        self, socket: asyncio.Transport, wire: WebSocket, shared: Shared, settings: Config, connections: set[Any]
    ) -> None:
        self._socket = socket
        self._wire = wire
        self._shared = shared
        self._settings = settings
        self._connections = connections
        self._slot = -1
        self._left = settings.limits.max_message_bytes
        self._unread = b""
        connections.add(self)

    # asyncio's side

    def get_buffer(self, sizehint: int) -> memoryview:
        return self._shared.buffer

    def buffer_updated(self, nbytes: int) -> None:
        data = bytes(self._shared.buffer[:nbytes])
        if nbytes == READ_BUFFER_BYTES:  # there is more, and libuv would go on reading it: others first
            self._socket.pause_reading()
            asyncio.get_running_loop().call_soon(self._read_more)
        if not self._wire.close_sent:
            self.receive(data)
        elif nbytes <= self._left:  # what the peer sent before it knew; its close frame is behind that
            self._left -= nbytes
            self.receive(data)
        else:
            self._left = 0
            self._socket.pause_reading()

    def _read_more(self) -> None:
        if not self._may_read():
            return
        if self._unread:
            self._shared.rests.put(self._read_rest)
        else:
            self._socket.resume_reading()

    def _read_rest(self) -> None:
        """Goes on with what was left over when the turn of this connection was over."""
        if self._unread and self._may_read():
            unread, self._unread = self._unread, b""
            self.receive(unread)
            if not self._unread:
                self._read_more()

    def _may_read(self) -> bool:
        return bool(self._left) and not self._socket.is_closing() and (self._wire.close_sent or self._wants_more())

    def _wants_more(self) -> bool:
        """Whether nothing else keeps reading paused."""
        return True

    def receive(self, data: bytes) -> None:
        """Bytes of the peer; what takes longer than its turn is handled in the next ones."""
        if self._unread:
            self._unread += data
        elif len(data) <= PIECE_BYTES:
            self._receive_piece(data)
        else:
            self._receive_pieces(data)

    def _receive_pieces(self, data: bytes) -> None:
        end, begin = perf_counter() + TURN_SECONDS, 0
        while begin < len(data) and not (self._wire.ended or self._socket.is_closing()):
            if begin and perf_counter() > end:
                self._unread = data[begin:]
                self._socket.pause_reading()
                self._shared.rests.put(self._read_rest)
                return
            stop = begin + max(PIECE_BYTES, self._wire.outstanding)
            self._receive_piece(data[begin:stop])
            begin = stop

    def _receive_piece(self, data: bytes) -> None:
        try:
            for opcode, payload in self._wire.receive_data(data):
                if opcode > BINARY:
                    self._receive_control(opcode, payload)
                elif not self._wire.close_sent:
                    self._on_message(opcode, payload)
        except PeerError as error:
            self._fail(error)

    def _receive_control(self, opcode: int, payload: bytes) -> None:
        if opcode == CLOSE:
            self._closed_by_peer(payload)
        elif not self._on_control():
            return
        elif opcode == PONG:
            self._on_pong()
        elif not self._wire.close_sent:
            self._socket.write(self._wire.send_message(PONG, payload))

    def eof_received(self) -> None:
        pass

    def connection_lost(self, exc: Exception | None) -> None:
        self._ended(ABNORMAL, "")

    # The ends

    def _closed_by_peer(self, payload: bytes) -> None:
        code, reason = parse_close(payload)
        self._write_close(code, reason)
        self._socket.close()
        self._expire_later()  # what was written before may not be read
        self._on_lost(code, reason)

    def _fail(self, error: PeerError) -> None:
        """The peer broke the protocol: say so, and read no more of it (RFC 6455, section 7.1.7)."""
        log.info("a peer broke the protocol: code=%d reason=%r", error.code, error.reason)
        self._on_failed(error)
        self._end(error.code, error.reason)

    def _end(self, code: int, reason: str) -> None:
        """Says why, and reads no more of the peer, not even for its close frame."""
        self._write_close(code, reason)
        linger(self._socket, self._shared, self._settings.server.close_seconds)
        self._wire.ended = True
        self._ended(code, reason)

    def close(self, code: int, reason: str) -> None:
        if not self._wire.close_sent:
            self._write_close(code, reason)
            self._expire_later()
            self._read_more()  # for the peer's close frame

    def abort(self) -> None:
        self._wire.close_sent = True
        self._socket.abort()

    def expire(self) -> None:
        """The peer did not answer our close frame."""
        self._slot = -1
        self._socket.abort()

    def shutdown(self) -> None:
        """uvicorn stops."""
        self._on_shutdown()

    def _expire_later(self) -> None:
        self._shared.discard(self, self._slot)
        self._slot = self._shared.put(self, self._settings.server.close_seconds)

    def _write_close(self, code: int, reason: str) -> None:
        self._socket.write(self._take_preface() + self._wire.send_close(code, reason))

    def _take_preface(self) -> bytes:
        """What must be written before anything else."""
        return b""

    def _ended(self, code: int, reason: str) -> None:
        self._wire.close_sent = True
        self._unread = b""
        if self._slot >= 0:
            self._shared.discard(self, self._slot)
            self._slot = -1
        self._connections.discard(self)
        self._on_lost(code, reason)

    # The subclass's side

    def _on_message(self, opcode: int, payload: bytes) -> None:
        raise NotImplementedError

    def _on_control(self) -> bool:
        """Whether a ping or pong may be taken note of."""
        raise NotImplementedError

    def _on_pong(self) -> None:
        raise NotImplementedError

    def _on_failed(self, error: PeerError) -> None:
        """The peer broke the protocol."""

    def _on_lost(self, code: int, reason: str) -> None:
        """Nothing more comes; may be called more than once."""
        raise NotImplementedError

    def _on_shutdown(self) -> None:
        raise NotImplementedError


class HubTransport(FrameProtocol):
    """Carries a connection of the hub (hub.ports.Transport); about 200 bytes beside asyncio's own."""

    __slots__ = ("_codec", "_connection", "_hub", "_paused", "_preface", "_writable")

    _connection: Connection

    def __init__(
        self,
        socket: asyncio.Transport,
        wire: WebSocket,
        shared: Shared,
        connections: set[Any],
        hub: Hub,
        codec: FrameCodec,
    ) -> None:
        super().__init__(socket, wire, shared, hub.config, connections)
        self._hub = hub
        self._codec = codec
        self._paused = False
        self._preface = b""
        self._writable = True
        socket.set_write_buffer_limits(high=hub.config.limits.max_buffered_bytes)

    def open(self, endpoint: Endpoint, visitor: Visitor, session: str | None, preface: bytes) -> None:
        """Introduces the connection to the hub; the first event leaves in one write with the bytes before it."""
        self._preface = preface
        self._connection = self._hub.open(endpoint, self, visitor.remote, session, visitor.identity)
        self._hub.opened(self._connection)
        if self._preface:
            self._socket.write(self._take_preface())

    def _take_preface(self) -> bytes:
        preface, self._preface = self._preface, b""
        return preface

    def deliver(self, batch: Batch) -> None:
        if self._writable and not self._wire.close_sent:
            self._socket.write(batch.encode(self._codec))

    def send(self, item: Item) -> None:
        if not self._wire.close_sent:
            data = self._codec.encode((item,))
            self._socket.write(self._take_preface() + data if self._preface else data)
            if not self._writable and self.waiting() > MOST_TIMES_BUFFERED * self._hub.config.limits.max_buffered_bytes:
                asyncio.get_running_loop().call_soon(self._hub.close_slow, self._connection)

    def waiting(self) -> int:
        return self._socket.get_write_buffer_size()

    def close(self, code: int, reason: str) -> None:
        if code in ABUSED and not self._wire.close_sent:
            self._end(code, reason)
        else:
            super().close(code, reason)

    def ping(self) -> None:
        if not self._wire.close_sent:
            self._socket.write(PING_FRAME)

    def pause_reading(self) -> None:
        self._paused = True
        if not self._socket.is_closing():
            self._socket.pause_reading()

    def resume_reading(self) -> None:
        self._paused = False
        self._read_more()

    def _wants_more(self) -> bool:
        return self._writable and not self._paused

    def pause_writing(self) -> None:
        self._writable = False
        if not self._socket.is_closing():
            self._socket.pause_reading()
        self._hub.writing_paused(self._connection)

    def resume_writing(self) -> None:
        self._writable = True
        self._read_more()
        self._hub.writing_resumed(self._connection)

    def _on_message(self, opcode: int, payload: bytes) -> None:
        self._hub.receive(self._connection, opcode, payload)

    def _on_control(self) -> bool:
        return self._hub.control(self._connection)

    def _on_pong(self) -> None:
        self._hub.pong(self._connection)

    def _on_failed(self, error: PeerError) -> None:
        if error.code == MESSAGE_TOO_BIG:
            self._hub.counters.refuse("max_message_bytes")

    def _on_lost(self, code: int, reason: str) -> None:
        self._hub.lost(self._connection, clean=code != ABNORMAL)

    def _on_shutdown(self) -> None:
        self._hub.close_all()


class AsgiBridge(FrameProtocol):
    """Carries an ordinary ASGI WebSocket: frames are read as the application asks for messages."""

    __slots__ = ("_alive", "_arrived", "_control", "_control_full_at", "_frames", "_messages", "_writable")

    def __init__(
        self, socket: asyncio.Transport, wire: WebSocket, shared: Shared, settings: Config, connections: set[Any]
    ) -> None:
        super().__init__(socket, wire, shared, settings, connections)
        self._frames: Iterator[Message] = iter(())
        self._messages: list[dict[str, Any]] = []
        self._arrived = asyncio.Event()
        self._writable = asyncio.Event()
        self._writable.set()
        self._alive = True
        self._control = RateLimit(settings.limits.control_rate, settings.limits.control_burst)
        self._control_full_at = 0.0
        self._slot = shared.put(self, settings.heartbeat.heartbeat_seconds)

    async def next_message(self) -> dict[str, Any]:
        """The next `websocket.receive` or `websocket.disconnect`."""
        await asyncio.sleep(0)  # what the application said to the message before leaves first
        if not self._messages:
            self._read_on()
        while not self._messages:
            self._arrived.clear()
            await self._arrived.wait()
        message = self._messages[0]
        if message["type"] == "websocket.receive":
            del self._messages[0]
        return message

    def receive(self, data: bytes) -> None:
        """Bytes of the peer, read up to the next message as the application asks for it."""
        self._frames = chain(self._frames, self._wire.receive_data(data))
        if not self._messages:
            self._read_on()

    def _read_on(self) -> None:
        """Reads frames up to the next message; asks for more bytes when there are no more."""
        try:
            for opcode, payload in self._frames:
                if opcode > BINARY:
                    self._receive_control(opcode, payload)
                elif not self._wire.close_sent:
                    self._on_message(opcode, payload)
                    return
                if not self._writable.is_set():  # it does not read our answers
                    return
        except PeerError as error:
            self._fail(error)
        self._read_more()

    def _wants_more(self) -> bool:
        return not self._messages and self._writable.is_set()

    async def send_message(self, opcode: int, payload: bytes) -> None:
        """Sends a message once the peer has taken enough of those before."""
        await self._writable.wait()
        if self._wire.close_sent:
            raise OSError("the WebSocket is closed")
        self._socket.write(self._wire.send_message(opcode, payload))

    def close(self, code: int, reason: str) -> None:
        if self._writable.is_set():
            super().close(code, reason)
        else:  # a peer that does not read would not read this either
            self.abort()

    def pause_writing(self) -> None:
        self._writable.clear()
        self._socket.pause_reading()

    def resume_writing(self) -> None:
        self._writable.set()
        if not self._messages:
            self._read_on()

    def expire(self) -> None:
        # Its pongs may wait behind a message that the application has not asked for.
        if self._wire.close_sent or not (self._alive or self._messages):
            super().expire()
            return
        self._alive = False
        self._socket.write(PING_FRAME)
        self._slot = self._shared.put(self, self._settings.heartbeat.heartbeat_seconds)

    def _on_message(self, opcode: int, payload: bytes) -> None:
        content = {"text": payload.decode()} if opcode == TEXT else {"bytes": payload}
        self._put({"type": "websocket.receive", **content})
        if not self._socket.is_closing():
            self._socket.pause_reading()

    def _on_control(self) -> bool:
        full_at = self._control.take(self._control_full_at, asyncio.get_running_loop().time())
        if full_at != REFUSED:
            self._control_full_at = full_at
            return True
        self.close(POLICY_VIOLATION, "too many pings or pongs (control_rate)")
        self._on_lost(POLICY_VIOLATION, "too many pings or pongs (control_rate)")
        return False

    def _on_pong(self) -> None:
        self._alive = True

    def _on_lost(self, code: int, reason: str) -> None:
        self._writable.set()
        if not self._messages or self._messages[-1]["type"] != "websocket.disconnect":
            self._put({"type": "websocket.disconnect", "code": code, "reason": reason})

    def _on_shutdown(self) -> None:
        self.close(1012, f"after={self._settings.server.reconnect_ms}")

    def _put(self, message: dict[str, Any]) -> None:
        self._messages.append(message)
        self._arrived.set()
