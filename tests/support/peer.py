"""A WebSocket client of bytes for tests: sends what it is told, however wrong, and reads what comes back."""

from __future__ import annotations

import base64
import json
import os
import socket
import ssl
import struct
from collections.abc import Sequence
from types import TracebackType
from typing import Any, Self

from hubbub.wire.handshake import encode_request
from hubbub.wire.websocket import BINARY, CLOSE, PING, TEXT, WebSocket, encode_frame, parse_close
from tests.support.recording import Tap

MASK = b"\x37\xfa\x21\x3d"


def frame(first_byte: int, payload: bytes, mask: bytes = MASK) -> bytes:
    """A masked frame."""
    return encode_frame(first_byte, payload, mask)


def text(message: str) -> bytes:
    """A text message as a masked frame."""
    return frame(0x80 | TEXT, message.encode())


def command(**fields: Any) -> bytes:
    """A command as a masked frame; `type` among the fields."""
    return text(json.dumps(fields))


class Peer:
    """A TCP connection to a server, and what can be done on it.

    Attributes:
        headers: what it says of itself when it shakes hands, a line each.
        received: the messages (opcode, payload) that came, in order, those that were asked for included.
        host: whom it asks for.
    """

    host = "127.0.0.1"

    def __init__(
        self, port: int, timeout: float = 10.0, source: str = "127.0.0.1", headers: Sequence[str] = ()
    ) -> None:
        self.headers = headers
        self.socket = socket.create_connection(("127.0.0.1", port), timeout, (source, 0))
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.wire = WebSocket(1 << 26, new_mask=lambda: MASK)
        self.received: list[tuple[int, bytes]] = []
        self._ahead: list[tuple[int, bytes]] = []
        self._tap: Tap | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.socket.close()

    def send(self, data: bytes) -> None:
        if self._tap is not None:
            self._tap.frames(data)
        self.socket.sendall(data)

    def reset(self) -> None:
        """Ends the connection with a TCP reset."""
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.socket.close()

    def http(self, request: bytes) -> tuple[int, bytes]:
        """Sends bytes and reads until the server closes: the status, 0 when there is none, and all that came."""
        self.send(request)
        return self.read_response()

    def read_response(self) -> tuple[int, bytes]:
        answer = self.read_to_end()
        return (int(answer.split(b" ", 2)[1]) if answer.startswith(b"HTTP/") else 0), answer

    def read_to_end(self) -> bytes:
        """All that comes until the server closes."""
        parts = []
        while True:
            try:
                part = self.socket.recv(65536)
            except ConnectionResetError:
                break
            if not part:
                break
            parts.append(part)
        return b"".join(parts)

    def open(self, path: str = "/ws", subprotocols: tuple[str, ...] = (), extensions: str = "") -> bytes:
        """Shakes hands; returns the head of the answer, which is a 101."""
        key = base64.b64encode(os.urandom(16))
        head = encode_request(self.host, path, key, subprotocols, extensions)
        self.send(b"\r\n".join([head[:-4], *(line.encode() for line in self.headers), b"", b""]))
        answer = b""
        while b"\r\n\r\n" not in answer:
            part = self.socket.recv(65536)
            if not part:
                raise AssertionError(f"no 101: {answer!r}")
            answer += part
        head, _, rest = answer.partition(b"\r\n\r\n")
        assert head.startswith(b"HTTP/1.1 101 "), answer
        self._tap = Tap()
        self._ahead += self.wire.receive_data(rest)
        return head

    def next(self) -> tuple[int, bytes]:
        """The next message, pings included.

        Raises:
            EOFError: the server closed the TCP connection.
        """
        while not self._ahead:
            data = self.socket.recv(65536)
            if not data:
                raise EOFError
            self._ahead += self.wire.receive_data(data)
        opcode, payload = message = self._ahead.pop(0)
        self.received.append(message)
        if self._tap is not None and opcode in (TEXT, BINARY):
            self._tap.received(payload.decode() if opcode == TEXT else payload)
        return message

    def event(self, kind: str | None = None) -> dict[str, Any]:
        """The next event, of the given type if one is given; pings and other events are passed over."""
        while True:
            opcode, payload = self.next()
            if opcode == CLOSE:
                raise AssertionError(f"closed with {parse_close(payload)} while waiting for {kind or 'an event'}")
            if opcode == PING:
                continue
            event: dict[str, Any] = json.loads(payload)
            if kind is None or event["type"] == kind:
                return event

    def close_code(self) -> int:
        """Reads on until the server's close frame and the end of the TCP connection; its code, 0 without a frame."""
        code = 0
        try:
            while True:
                opcode, payload = self.next()
                if opcode == CLOSE:
                    code, _ = parse_close(payload)
                    self.send(self.wire.send_close(code))
                    self.read_to_end()
                    return code
        except (EOFError, ConnectionResetError, BrokenPipeError, ssl.SSLEOFError):
            return code

    def join(self, room: str, username: str) -> dict[str, Any]:
        """Opens, joins, and returns the room_info."""
        self.open()
        assert self.event()["type"] == "connected"
        self.send(command(type="join", room=room, username=username))
        return self.event("room_info")


class TlsPeer(Peer):
    """The same over TLS; what it trusts is in SSL_CERT_FILE. `options` are the socket's, such as `SO_RCVBUF`."""

    def __init__(self, port: int, source: str = "127.0.0.1", headers: Sequence[str] = (), **options: int) -> None:
        super().__init__(port, source=source, headers=headers)
        for name, size in options.items():
            self.socket.setsockopt(socket.SOL_SOCKET, getattr(socket, name), size)
        self.socket = ssl.create_default_context().wrap_socket(self.socket, server_hostname="localhost")

    @property
    def certificate(self) -> bytes | None:
        assert isinstance(self.socket, ssl.SSLSocket)
        return self.socket.getpeercert(binary_form=True)
