"""What an attacker of siege.py says to the server, byte by byte, and what it hears; see README.md."""

from __future__ import annotations

import asyncio
import json
import socket
import struct
from types import TracebackType
from typing import Any, Final, Self

from hubbub.errors import PeerError
from hubbub.wire.deflate import Inflater
from hubbub.wire.handshake import encode_request
from hubbub.wire.websocket import CLOSE, FIN, PING, PONG, TEXT, WebSocket, encode_frame, parse_close

MASK: Final = b"\x37\xfa\x21\x3d"
KEY: Final = b"dGhlIHNhbXBsZSBub25jZQ=="
LONGEST: Final = 1 << 24
SMALL_BUFFER: Final = 4096
DROPPED: Final = "dropped"
"""The server has ended the connection without a word."""


def frame(first_byte: int, payload: bytes) -> bytes:
    """A masked frame."""
    return encode_frame(first_byte, payload, MASK)


def text(message: str) -> bytes:
    """A text message as a masked frame."""
    return frame(FIN | TEXT, message.encode())


def command(**fields: Any) -> bytes:
    """A command as a masked frame; `type` among the fields."""
    return text(json.dumps(fields))


class Ended(Exception):
    """The server has ended what was going on; the text is its answer: a status, a close code, or DROPPED."""


class Peer:
    """One TCP connection of an attacker.

    Args:
        port: of the server, on the loopback address.
        source: the address that the connection comes from.
        small: has a small receive buffer, so that the server's fill up soon.
    """

    def __init__(self, port: int, source: str, *, small: bool = False) -> None:
        self._port = port
        self._source = source
        self._small = small
        self._wire = WebSocket(LONGEST, new_mask=lambda: MASK)
        self._ahead: list[tuple[int, bytes]] = []
        self._reader: asyncio.StreamReader
        self._writer: asyncio.StreamWriter

    async def __aenter__(self) -> Self:
        wire = socket.socket()
        wire.setblocking(False)
        wire.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        if self._small:
            wire.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, SMALL_BUFFER)
        try:
            wire.bind((self._source, 0))
            await asyncio.get_running_loop().sock_connect(wire, ("127.0.0.1", self._port))
            self._reader, self._writer = await asyncio.open_connection(sock=wire, limit=SMALL_BUFFER)
        except BaseException:
            wire.close()
            raise
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._writer.transport.abort()

    def send(self, data: bytes) -> None:
        """Sends as much as the server takes; the rest follows by itself."""
        self._writer.write(data)

    def end_reset(self) -> None:
        """Ends with a TCP reset."""
        wire = self._writer.get_extra_info("socket")
        wire.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))

    async def _read(self) -> bytes:
        """Some bytes; none at the end of the connection, whichever way it ends."""
        try:
            return await self._reader.read(65536)
        except OSError:
            return b""

    # HTTP

    async def status(self, request: bytes, *, proof: bytes = b"") -> str:
        """Sends a request; the status of the answer, with a remark when `proof` does not stand in it."""
        self.send(request)
        answer = await self._read_head()
        if not answer.startswith(b"HTTP/1.1 "):
            return DROPPED
        status = answer[9:12].decode("latin-1")
        return status if proof.lower() in answer.lower() else f"{status} without {proof.decode()}"

    async def _read_head(self) -> bytes:
        """What has come up to the end of the answer's head, or of the connection."""
        answer = b""
        while b"\r\n\r\n" not in answer and (data := await self._read()):
            answer += data
        return answer

    async def silence(self) -> str:
        """Reads on until the server ends the connection: the status of what it said, DROPPED when it said nothing."""
        answer = b""
        while data := await self._read():
            answer += data
        return answer[9:12].decode("latin-1") if answer.startswith(b"HTTP/1.1 ") else DROPPED

    # WebSocket

    async def open(self, path: str = "/ws", *, extensions: str = "", headers: bytes = b"") -> None:
        """Shakes hands.

        Raises:
            Ended: the server refuses; with the status.
        """
        if extensions:
            self._wire = WebSocket(LONGEST, new_mask=lambda: MASK, inflater=Inflater())
        request = encode_request("127.0.0.1", path, KEY, (), extensions)
        self.send(request[:-2] + headers + b"\r\n")
        head, _, rest = (await self._read_head()).partition(b"\r\n\r\n")
        if not head.startswith(b"HTTP/1.1 101 "):
            raise Ended(head[9:12].decode("latin-1") or DROPPED)
        self._take(rest)

    def _take(self, data: bytes) -> None:
        try:
            self._ahead += self._wire.receive_data(data)
        except PeerError as error:
            raise Ended(f"the server broke the protocol: {error}") from error

    async def next(self) -> tuple[int, bytes]:
        """The next message, pings included.

        Raises:
            Ended: with the close code, or DROPPED.
        """
        while not self._ahead:
            data = await self._read()
            if not data:
                raise Ended(DROPPED)
            self._take(data)
        opcode, payload = self._ahead.pop(0)
        if opcode == CLOSE:
            code, _ = parse_close(payload)
            raise Ended(str(code))
        return opcode, payload

    async def event(self, *kinds: str) -> dict[str, Any]:
        """The next event, of one of these types if some are given; pings are answered.

        Raises:
            Ended: with the close code, or DROPPED.
        """
        while True:
            opcode, payload = await self.next()
            if opcode == PING:
                self.send(frame(FIN | PONG, payload))
            elif opcode == TEXT:
                event: dict[str, Any] = json.loads(payload)
                if not kinds or event["type"] in kinds:
                    return event

    async def reply(self, data: bytes) -> str:
        """Sends a command with the id 1; its reply, as `ok`, or `error` and the code."""
        self.send(data)
        while True:
            event = await self.event("ok", "error")
            if event["type"] == "error":
                return f"error {event['code']}"
            if event.get("id") == 1:
                return "ok"

    async def end(self) -> str:
        """Reads on until the server ends the connection: the close code, or DROPPED."""
        try:
            while True:
                await self.event()
        except Ended as ended:
            return str(ended)
