"""A WebSocket to the server: `wire/` on an asyncio stream."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import os
import ssl
from typing import Final
from urllib.parse import urlsplit

import msgspec

from hubbub.client.backoff import LOST
from hubbub.client.lane import Event
from hubbub.client.transport import CLOSE_SECONDS, CONNECT_SECONDS, Blocked, Closed, Opening
from hubbub.client.urls import with_session
from hubbub.codes import INVALID_DATA, NORMAL
from hubbub.errors import HandshakeError, PeerError
from hubbub.wire.codec import JSON_SUBPROTOCOL, MSGPACK_SUBPROTOCOL, SHORTEST_DEFLATED
from hubbub.wire.deflate import NAME, Deflater, Inflater, accept_answer
from hubbub.wire.handshake import encode_request, read_accept
from hubbub.wire.websocket import BINARY, CLOSE, FIN, PING, PONG, RSV1, TEXT, WebSocket, encode_frame, parse_close

LONGEST_EVENT_BYTES: Final = 1 << 24
READ_BYTES: Final = 1 << 16
# An intermediary, or a server that has no WebSocket, answers so; ours has its own words for whom it lets in.
_NO_WEBSOCKET: Final = frozenset((400, 404, 426, 501, 502))
_decode_json = msgspec.json.Decoder(dict[str, object]).decode
_decode_msgpack = msgspec.msgpack.Decoder(dict[str, object]).decode


class WebSocketTransport:
    """An open WebSocket, in JSON or MessagePack."""

    resumes: Final = True

    def __init__(self) -> None:
        self.proven = False
        self._reader: asyncio.StreamReader | None = None
        self._writer: asyncio.StreamWriter | None = None
        self._wire = WebSocket(LONGEST_EVENT_BYTES, new_mask=_new_mask)
        self._deflater: Deflater | None = None
        self._msgpack = False
        self._closed: Closed | None = None

    async def open(self, opening: Opening) -> None:
        parts = urlsplit(opening.url)
        context = (opening.tls or ssl.create_default_context()) if parts.scheme == "wss" else None
        port = parts.port or (443 if context else 80)
        async with asyncio.timeout(CONNECT_SECONDS):
            self._reader, self._writer = await asyncio.open_connection(parts.hostname, port, ssl=context)
        key = base64.b64encode(os.urandom(16))
        self._writer.write(_request(opening, key))
        try:
            async with asyncio.timeout(CONNECT_SECONDS):
                head = await self._reader.readuntil(b"\r\n\r\n")
            self._agree(read_accept(head, key))
        except TimeoutError:
            raise Blocked("nobody answered the request for a WebSocket") from None
        except HandshakeError as error:
            raise Blocked(str(error), error.status) if error.status in _NO_WEBSOCKET else error from None
        except (asyncio.IncompleteReadError, asyncio.LimitOverrunError, ConnectionError):
            raise Blocked("the connection was cut before it was a WebSocket") from None

    def _agree(self, headers: dict[str, str]) -> None:
        self._msgpack = headers.get("sec-websocket-protocol") == MSGPACK_SUBPROTOCOL
        deflate = accept_answer(headers.get("sec-websocket-extensions", ""))
        if deflate is not None:
            inflater = Inflater(takeover=deflate.server_takeover)
            self._wire = WebSocket(LONGEST_EVENT_BYTES, new_mask=_new_mask, inflater=inflater)
            bits = deflate.client_window_bits or 15
            self._deflater = Deflater(takeover=deflate.client_takeover, window_bits=bits)

    def send(self, command: Event) -> None:
        if self._writer is None or self._closed is not None:
            return
        kind = BINARY if self._msgpack else TEXT
        payload = msgspec.msgpack.encode(command) if self._msgpack else msgspec.json.encode(command)
        if self._deflater is not None and len(payload) >= SHORTEST_DEFLATED:
            self._writer.write(encode_frame(FIN | kind | RSV1, self._deflater.deflate(payload), _new_mask()))
        else:
            self._writer.write(self._wire.send_message(kind, payload))

    async def receive(self) -> list[Event]:
        assert self._reader is not None
        while self._closed is None:
            try:
                data = await self._reader.read(READ_BYTES)
                events = self._take(data)
            except ConnectionError as error:
                raise Closed(LOST, error.strerror or "connection lost") from None
            if events:
                return events
        raise self._closed

    def _take(self, data: bytes) -> list[Event]:
        """The events in these bytes; what is behind a close frame or a violation is told by the next call."""
        events: list[Event] = []
        self.proven = True
        if not data:
            self._closed = Closed(LOST, "connection lost")
        try:
            for opcode, payload in self._wire.receive_data(data):
                if opcode in (TEXT, BINARY):
                    events.append(_decode(opcode, payload))
                else:
                    self._control(opcode, payload)
        except PeerError as error:
            self._closed = Closed(LOST, f"the server violates the protocol: {error.reason}")
            self._write(self._wire.send_close(error.code, error.reason))
        return events

    def _control(self, opcode: int, payload: bytes) -> None:
        if opcode == PING:
            self._write(self._wire.send_message(PONG, payload))
        elif opcode == CLOSE:
            self._closed = Closed(*parse_close(payload))
            self._write(self._wire.send_close(self._closed.code))

    def _write(self, data: bytes) -> None:
        assert self._writer is not None
        self._writer.write(data)

    async def close(self) -> None:
        if self._writer is None or self._reader is None:
            return
        try:
            with contextlib.suppress(OSError, PeerError):  # TimeoutError is one; it was gone already
                async with asyncio.timeout(CLOSE_SECONDS):
                    self._writer.write(self._wire.send_close(NORMAL))
                    while self._closed is None and (data := await self._reader.read(READ_BYTES)):
                        self._take(data)
                    self._writer.close()
                    await self._writer.wait_closed()
        finally:
            await self.abort()

    async def abort(self) -> None:
        if self._writer is not None:
            self._closed = self._closed or Closed(LOST, "connection lost")
            self._writer.transport.abort()


def _request(opening: Opening, key: bytes) -> bytes:
    parts = urlsplit(with_session(opening.url, opening.session))
    target = parts.path + (f"?{parts.query}" if parts.query else "")
    subprotocols = (MSGPACK_SUBPROTOCOL if opening.msgpack else JSON_SUBPROTOCOL,)
    extensions = f"{NAME}; client_max_window_bits" if opening.deflate else ""
    head = encode_request(parts.netloc.rpartition("@")[2], target, key, subprotocols, extensions, opening.token)
    return head[:-2] + "".join(f"{name}: {value}\r\n" for name, value in opening.headers).encode() + b"\r\n"


def _new_mask() -> bytes:
    return os.urandom(4)


def _decode(opcode: int, payload: bytes) -> Event:
    try:
        return _decode_json(payload) if opcode == TEXT else _decode_msgpack(payload)
    except msgspec.DecodeError as error:
        raise PeerError(INVALID_DATA, "the server's event is no object") from error
