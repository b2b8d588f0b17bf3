"""A client that loses its connection and comes back: goes on at its position, says again what was not answered."""

from __future__ import annotations

import asyncio
import base64
import os
import socket
import ssl
import struct
from collections.abc import Callable
from contextlib import suppress
from typing import Any, cast

import msgspec

from hubbub.errors import HandshakeError
from hubbub.wire.handshake import encode_request, read_accept
from hubbub.wire.websocket import CLOSE, PING, PONG, TEXT, WebSocket, parse_close
from tests.support.history import Client

CONNECT_SECONDS = 10.0
RETRY_SECONDS = 0.05
RETURN_SECONDS = 60.0
MASK = b"\x37\xfa\x21\x3d"
LONGEST_EVENT = 1 << 24

Event = dict[str, Any]


class _Link(asyncio.Protocol):
    """One connection; hands its events to the client for as long as it is the client's."""

    def __init__(
        self, host: str, target: str, event: Callable[[Event], None], lost: Callable[[_Link, str], None]
    ) -> None:
        self._host = host
        self._target = target
        self._event = event
        self._lost = lost
        self._key = base64.b64encode(os.urandom(16))
        self._head: bytes | None = b""
        self._wire = WebSocket(LONGEST_EVENT, new_mask=lambda: MASK)
        self._why = "lost without a close frame"
        self.transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.Transport, transport)
        self.transport.write(encode_request(self._host, self._target, self._key))

    def data_received(self, data: bytes) -> None:
        if self._head is not None:
            self._head += data
            head, end, data = self._head.partition(b"\r\n\r\n")
            if not end:
                return
            self._head = None
            try:
                read_accept(head + end, self._key)
            except HandshakeError as error:
                self._why = str(error)
                self.reset()
                return
        for opcode, payload in self._wire.receive_data(data):
            self._message(opcode, payload)

    def _message(self, opcode: int, payload: bytes) -> None:
        assert self.transport is not None
        if opcode == TEXT:
            self._event(msgspec.json.decode(payload))
        elif opcode == PING:
            self.transport.write(self._wire.send_message(PONG, payload))
        elif opcode == CLOSE:
            self._why = f"closed with {parse_close(payload)}"
            self.transport.close()

    def connection_lost(self, error: Exception | None) -> None:
        self._lost(self, self._why)

    def send(self, command: Event) -> None:
        assert self.transport is not None
        self.transport.write(self._wire.send_message(TEXT, msgspec.json.encode(command)))

    def reset(self) -> None:
        """Ends with a TCP reset: what is on its way is lost."""
        assert self.transport is not None
        self._event = lambda event: None
        linger = struct.pack("ii", 1, 0)
        self.transport.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
        self.transport.abort()


class ReturningClient:
    """Somebody in one room.

    Attributes:
        online: whether it is in the room now.
        start: the seq at which it came first; -1 before.
        seqs: of all kept events that came since, in the order in which they came.
        unanswered: what it published and is not told that it is kept, by messageId.
        catch_ups: seconds from each new connect to the last event that it had missed.
        losses: how connections ended that it did not end itself.
        sessions: the tokens that it was given; one, unless the server forgot it.
        refusals: errors that it got and could not do anything about.
        host: whom it asks for.
        tls: whom it trusts; None to do without TLS.

    Args:
        forgetful: comes back without its session and its position, so that it misses something.
    """

    host = "127.0.0.1"
    tls: ssl.SSLContext | None = None

    def __init__(self, port: int, name: str, room: str, record: Client, *, forgetful: bool = False) -> None:
        self.name = name
        self.room = room
        self.online = False
        self.start = -1
        self.seqs: list[int] = []
        self.unanswered: dict[str, Event] = {}
        self.catch_ups: list[float] = []
        self.losses: list[str] = []
        self.refusals: list[Event] = []
        self.sessions: set[str] = set()
        self._port = port
        self._record = record
        self._forgetful = forgetful
        self._session = ""
        self._since: Event | None = None
        self._position = 0
        self._published = 0
        self._connected = 0.0
        self._missed_until = -1
        self._link: _Link | None = None
        self._entered: asyncio.Future[None] | None = None
        self._lost = asyncio.Event()

    @property
    def position(self) -> int:
        """The seq up to which it has all."""
        return self._position

    async def _connect(self) -> None:
        """Connects and enters the room.

        Raises:
            OSError: it cannot, or the connection ended before the answer; TimeoutError is one.
        """
        loop = asyncio.get_running_loop()
        self._connected = loop.time()
        self._entered = loop.create_future()
        self._lost.clear()
        self._record.connected()
        target = f"/ws?session={self._session}"
        async with asyncio.timeout(CONNECT_SECONDS):
            name = self.host if self.tls else None
            await loop.create_connection(
                lambda: self._new_link(target), "127.0.0.1", self._port, ssl=self.tls, server_hostname=name
            )
            await self._entered

    def _new_link(self, target: str) -> _Link:
        self._link = _Link(self.host, target, self._event, self._lost_link)
        return self._link

    async def return_(self) -> None:
        """Connects, again and again until it works.

        Raises:
            TimeoutError: it did not for a long time.
        """
        async with asyncio.timeout(RETURN_SECONDS):
            while not self.online:
                try:
                    await self._connect()
                except OSError:
                    await asyncio.sleep(RETRY_SECONDS)

    async def stay(self, seconds: float | None = None) -> None:
        """Returns after so long, or as soon as the connection is lost."""
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._lost.wait()

    def reset(self) -> None:
        """Loses the connection; the server finds a TCP reset."""
        if self._link is not None:
            link = self._link
            self._end()
            link.reset()

    def publish(self, text: str) -> None:
        """Says something, now or as soon as it is back, and again until it is told that it is kept."""
        self._published += 1
        id = f"{self.name}-{self._published}"
        self.unanswered[id] = {"type": "message", "text": text, "messageId": id, "id": id}
        self._say(id)

    def _say(self, id: str) -> None:
        if self.online and id in self.unanswered:
            self._send(self.unanswered[id])

    def _send(self, command: Event) -> None:
        assert self._link is not None
        self._record.sent(command)
        self._link.send(command)

    def _end(self) -> None:
        self.online = False
        self._link = None
        self._record.disconnected()
        self._lost.set()
        if self._entered is not None and not self._entered.done():
            self._entered.set_exception(ConnectionResetError("the connection ended before the room_info"))

    def _lost_link(self, link: _Link, why: str) -> None:
        if link is self._link:
            self.losses.append(why)
            self._end()

    def _event(self, event: Event) -> None:
        self._record.received(event)
        match event["type"]:
            case "connected":
                self._take_up(event.get("session", ""))
            case "room_info":
                self._enter(event)
            case "ok":
                self.unanswered.pop(event.get("id", ""), None)
            case "error":
                self._refused(event)
            case "gap":
                self._position = event["seq"]
            case _ if "seq" in event and not event.get("redelivered"):
                self._kept(event)

    def _take_up(self, session: str) -> None:
        if session and not self._forgetful:
            self._session = session
            self.sessions.add(session)
        self._join()

    def _join(self) -> None:
        self._since = None if self._forgetful else self._record.since(self.room)
        join = {"type": "join", "room": self.room, "username": self.name}
        self._send({**join, "since": self._since} if self._since else join)

    def _enter(self, info: Event) -> None:
        if self.start < 0:
            self.start = self._since["seq"] if self._since else info["seq"]
        else:
            self._missed_until = info["head"] if "head" in info else info["seq"]
        for event in info.get("messages", ()):
            self._kept(event)
        self._position = info["seq"]
        self._caught_up()
        self.online = True
        for id in list(self.unanswered):
            self._say(id)
        if self._entered is not None and not self._entered.done():
            self._entered.set_result(None)

    def _kept(self, event: Event) -> None:
        self.seqs.append(event["seq"])
        self._position = max(self._position, event["seq"])
        self._caught_up()

    def _caught_up(self) -> None:
        if 0 <= self._missed_until <= self._position:
            self._missed_until = -1
            self.catch_ups.append(asyncio.get_running_loop().time() - self._connected)

    def _refused(self, error: Event) -> None:
        """What may be tried again is; all else is remembered."""
        if "retryAfter" in error and "id" in error:
            asyncio.get_running_loop().call_later(error["retryAfter"] / 1000, self._say, error["id"])
        else:
            self.refusals.append(error)
