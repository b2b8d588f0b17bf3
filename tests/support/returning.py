"""A client that loses its connection and comes back: goes on at its position, says again what was not answered."""

from __future__ import annotations

import asyncio
import base64
import os
import re
import socket
import ssl
import struct
from collections import deque
from collections.abc import Callable, Sequence
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
AFTER = re.compile(r"after=(\d+)")
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
        self._event = lambda event: None
        if self.transport is None:
            return
        linger = struct.pack("ii", 1, 0)
        self.transport.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
        self.transport.abort()


class ReturningClient:
    """Somebody in one room.

    Attributes:
        online: whether it is in the room now.
        port: of the node where it is, or tries to be.
        start: the seq at which it came first, or where its newest epoch began for it; -1 before.
        seqs: of all kept events that came since, in the order in which they came.
        gaps: how often it was told that it missed something that had not been lost with the log.
        unavailable: how often what it said was refused because the log could not be used.
        renewals: how often it was told that the log was lost.
        announced: who came and went, as far as it was told.
        crowd: who is in the room, as it was told last.
        unanswered: what it published and is not told that it is kept, by messageId.
        catch_ups: seconds from each new connect to the last event that it had missed.
        losses: how connections ended that it did not end itself.
        sessions: the tokens that it was given; one, unless the server forgot it.
        refusals: errors that it got and could not do anything about.
        host: whom it asks for.
        tls: whom it trusts; None to do without TLS.

    Args:
        ports: of the nodes; after the loss of a connection the next one has its turn.
        forgetful: comes back without its session and its position, so that it misses something.
    """

    host = "127.0.0.1"
    tls: ssl.SSLContext | None = None

    def __init__(self, ports: Sequence[int], name: str, room: str, record: Client, *, forgetful: bool = False) -> None:
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
        self.gaps = self.renewals = self.unavailable = 0
        self.announced: list[tuple[str, str]] = []
        self.crowd: list[str] | None = None
        self._ports = deque(ports)
        self._pause = 0.0
        self._record = record
        self._forgetful = forgetful
        self._session = ""
        self._since: Event | None = None
        self._epoch = ""
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

    @property
    def place(self) -> tuple[str, int]:
        """The same, with the epoch."""
        return self._epoch, self._position

    def has(self, epoch: str, seq: int) -> bool:
        """Whether it is in the room now, and has all of an epoch up to a number."""
        return self.online and self._epoch == epoch and self._position >= seq

    @property
    def port(self) -> int:
        return self._ports[0]

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
                lambda: self._new_link(target), "127.0.0.1", self.port, ssl=self.tls, server_hostname=name
            )
            await self._entered

    def _new_link(self, target: str) -> _Link:
        self._link = _Link(self.host, target, self._event, self._lost_link)
        return self._link

    async def return_(self) -> None:
        """Connects, again and again until it works; not before the time that it was told.

        Raises:
            TimeoutError: it did not for a long time.
        """
        pause, self._pause = self._pause, 0.0
        await asyncio.sleep(pause)
        async with asyncio.timeout(RETURN_SECONDS):
            while not self.online:
                try:
                    await self._connect()
                except OSError:
                    self._abandon()
                    await asyncio.sleep(RETRY_SECONDS)

    def _abandon(self) -> None:
        """Nothing may come any more from where it did not get in."""
        if self._entered is not None:
            self._entered.cancel()
        self.reset()

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

    def ask_who_is_here(self) -> None:
        """The answer is `crowd`."""
        self.crowd = None
        if self.online:
            self._send({"type": "presence", "room": self.room, "id": "presence"})

    def _end(self) -> None:
        self.online = False
        self._link = None
        self.crowd = self.crowd or []
        self._ports.rotate(-1)
        self._record.disconnected()
        self._lost.set()
        if self._entered is not None and not self._entered.done():
            self._entered.set_exception(ConnectionResetError("the connection ended before the room_info"))

    def _lost_link(self, link: _Link, why: str) -> None:
        if link is self._link:
            self.losses.append(why)
            told = AFTER.search(why)
            self._pause = int(told[1]) / 1000 if told else 0.0
            self._end()

    def _event(self, event: Event) -> None:
        self._record.received(event)
        match event["type"]:
            case "connected":
                self._take_up(event.get("session", ""))
            case "room_info":
                self._enter(event)
            case "ok" if event.get("id") == "presence":
                self.crowd = event["members"]
            case "ok":
                self.unanswered.pop(event.get("id", ""), None)
            case "error":
                self._refused(event)
            case "gap":
                self._missed(event["epoch"], event["seq"])
                self._epoch, self._position = event["epoch"], event["seq"]
            case "user_joined" | "user_left" as kind:
                self.announced.append((kind, event["username"]))
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
        if info.get("recovered") is False:
            self._missed(info["epoch"], info["seq"] - len(info.get("messages", ())))
        for event in info.get("messages", ()):
            self._kept(event)
        self._epoch = info["epoch"]
        self._position = info["seq"]
        self._caught_up()
        self.online = True
        for id in list(self.unanswered):
            self._say(id)
        if self._entered is not None and not self._entered.done():
            self._entered.set_result(None)

    def _missed(self, epoch: str, seq: int) -> None:
        """It goes on behind `seq`, and was told so."""
        if epoch == self._epoch:
            self.gaps += 1
        else:
            self.renewals += 1
            self.start, self.seqs = seq, []

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
        self.unavailable += error.get("code") == "unavailable"
        if "retryAfter" in error and "id" in error:
            asyncio.get_running_loop().call_later(error["retryAfter"] / 1000, self._say, error["id"])
        else:
            self.refusals.append(error)
