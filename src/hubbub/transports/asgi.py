"""The hub's WebSocket routes as ASGI: handed over where the server can, over receive and send elsewhere."""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Awaitable, Callable, Iterable, Mapping, MutableMapping, Sequence
from typing import Any, Final
from urllib.parse import parse_qsl

from hubbub.auth.gate import Gate, Visitor
from hubbub.codes import INTERNAL_ERROR, MESSAGE_TOO_BIG
from hubbub.errors import HandshakeError
from hubbub.hub.connection import Connection
from hubbub.hub.hub import Hub
from hubbub.hub.ports import Endpoint
from hubbub.transports.frames import ABNORMAL, MOST_TIMES_BUFFERED
from hubbub.transports.loop import TAKEOVER
from hubbub.wire.codec import EVENT, Batch, Item, json_to_msgpack
from hubbub.wire.handshake import choose_subprotocol
from hubbub.wire.websocket import BINARY, TEXT

log: Final = logging.getLogger("hubbub")
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]


class AsgiCodec:
    """Items as `websocket.send` messages, made once for all connections that share the codec."""

    def __init__(self, *, msgpack: bool) -> None:
        self._msgpack = msgpack

    def encode(self, items: Sequence[Item]) -> list[Message]:
        return [self._message(kind, payload) for kind, payload in items]

    def _message(self, kind: int, payload: bytes) -> Message:
        if kind == EVENT and self._msgpack:
            return {"type": "websocket.send", "bytes": json_to_msgpack(payload)}
        if kind in (EVENT, TEXT):
            return {"type": "websocket.send", "text": payload.decode()}
        return {"type": "websocket.send", "bytes": payload}


_CODECS: Final = {msgpack: AsgiCodec(msgpack=msgpack) for msgpack in (False, True)}


class WebSocketRoute:
    """One path as an ASGI application.

    Args:
        hub: where its connections go.
        endpoints: what is spoken, by sub-protocol; under None for clients that offer none.
        gate: says who may come in.
    """

    def __init__(self, hub: Hub, endpoints: Mapping[str | None, Endpoint], gate: Gate) -> None:
        self._hub = hub
        self._gate = gate
        self._endpoints = endpoints
        self._subprotocols = tuple(name for name in endpoints if name is not None)

    async def __call__(self, scope: Message, receive: Receive, send: Send) -> None:
        try:
            visitor = await self._gate.admit(scope)
            subprotocol = choose_subprotocol(visitor.subprotocols, self._subprotocols)
            self._hub.admit(visitor.address, visitor.identity)
        except HandshakeError as error:
            self._hub.counters.handshakes_refused += 1
            log.info("a handshake was refused: status=%d reason=%r", error.status, error.reason)
            await refuse(scope, receive, send, error)
            return
        endpoint = self._endpoints[subprotocol]
        take_over = scope.get("extensions", {}).get(TAKEOVER) if self._hub.config.server.takeover else None
        if take_over is not None:
            take_over(self._hub, endpoint, subprotocol, session_of(scope["query_string"]), visitor)
            return
        transport = AsgiWebSocket(self._hub, send, msgpack=endpoint.msgpack)
        await transport.run(receive, endpoint, subprotocol, session_of(scope.get("query_string", b"")), visitor)


def session_of(query: bytes) -> str | None:
    """The `session` of a request's query; None where it has none."""
    if b"session" not in query:
        return None
    return dict(parse_qsl(query.decode("latin-1"), keep_blank_values=True)).get("session")


async def refuse(scope: Message, receive: Receive, send: Send, error: HandshakeError) -> None:
    """Answers a request for a WebSocket with an HTTP status; with 403 where the server knows no other."""
    await receive()
    if "websocket.http.response" not in (scope.get("extensions") or {}):
        await send({"type": "websocket.close"})
        return
    headers = [(b"content-type", b"text/plain; charset=utf-8"), *error.headers]
    await send({"type": "websocket.http.response.start", "status": error.status, "headers": headers})
    await send({"type": "websocket.http.response.body", "body": error.reason.encode() + b"\n"})


class AsgiTransport:
    """Carries a connection of the hub over ASGI messages (hub.ports.Transport); how they look, the subclass knows."""

    _connection: Connection
    _last: Message | None = None

    def __init__(self, hub: Hub, send: Send) -> None:
        self._hub = hub
        self._send = send
        self._loop = asyncio.get_running_loop()
        self._outgoing: deque[tuple[Message, int]] = deque()
        self._outgoing_bytes = 0
        self._full = False
        self._paused = False
        self._clean = False
        self._arrived = asyncio.Event()
        self._reading = asyncio.Event()
        self._reading.set()
        self._closing = False
        self._ending = asyncio.Event()

    async def _carry(self, receive: Receive) -> None:
        """Carries messages until one side ends it."""
        tasks = [self._loop.create_task(work) for work in (self._read(receive), self._write(), self._ending.wait())]
        try:
            await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
            if not tasks[0].done():  # we end it: a peer that does not read may hold up the writer for ever
                await asyncio.wait(tasks[:2], timeout=self._hub.config.server.close_seconds)
        finally:
            self._closing = True
            self._hub.lost(self._connection, clean=self._clean)
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    async def _read(self, receive: Receive) -> None:
        """Takes what the peer sends, until it is gone."""
        raise NotImplementedError

    async def _write(self) -> None:
        """Sends what is put into the queue, until the last is sent."""
        while True:
            await self._arrived.wait()
            self._arrived.clear()
            while self._outgoing:
                message, size = self._outgoing.popleft()
                await self._send(message)
                self._outgoing_bytes -= size
                if message is self._last:
                    return
            if self._full:
                self._full = False
                if not self._paused:
                    self._reading.set()
                self._hub.writing_resumed(self._connection)

    def _messages(self, batch: Batch) -> Iterable[tuple[Message, int]]:
        """What is sent for a batch, each with its size."""
        raise NotImplementedError

    def _farewell(self, code: int, reason: str) -> Message:
        """What is sent last."""
        raise NotImplementedError

    def deliver(self, batch: Batch) -> None:
        if not self._full:
            self._put(self._messages(batch))

    def send(self, item: Item) -> None:
        was_full = self._full
        self._put(self._messages(Batch((item,))))
        if was_full and self._outgoing_bytes > MOST_TIMES_BUFFERED * self._hub.config.limits.max_buffered_bytes:
            self._loop.call_soon(self._hub.close_slow, self._connection)

    def waiting(self) -> int:
        return self._outgoing_bytes

    def _put(self, messages: Iterable[tuple[Message, int]]) -> None:
        if self._closing:
            return
        for message, size in messages:
            self._outgoing.append((message, size))
            self._outgoing_bytes += size
        self._arrived.set()
        if self._outgoing_bytes > self._hub.config.limits.max_buffered_bytes and not self._full:
            self._full = True
            self._reading.clear()
            self._hub.writing_paused(self._connection)

    def ping(self) -> None:
        """The server under ASGI has heartbeats of its own and ends what is dead: here nobody can ask."""
        self._loop.call_soon(self._hub.pong, self._connection)

    def pause_reading(self) -> None:
        self._paused = True
        self._reading.clear()

    def resume_reading(self) -> None:
        self._paused = False
        if not self._full:
            self._reading.set()

    def close(self, code: int, reason: str) -> None:
        if not self._closing:
            self._closing = True
            self._ending.set()
            self._last = self._farewell(code, reason)
            self._outgoing.append((self._last, 0))
            self._arrived.set()

    def abort(self) -> None:
        self.close(INTERNAL_ERROR, "")


class AsgiWebSocket(AsgiTransport):
    """A WebSocket of another server, or of ours without takeover."""

    def __init__(self, hub: Hub, send: Send, *, msgpack: bool) -> None:
        super().__init__(hub, send)
        self._codec = _CODECS[msgpack]

    async def run(
        self, receive: Receive, endpoint: Endpoint, subprotocol: str | None, session: str | None, visitor: Visitor
    ) -> None:
        """Accepts, and carries messages until one side ends it."""
        self._connection = self._hub.open(endpoint, self, visitor.remote, session, visitor.identity)
        try:  # it counts from here on: whoever comes meanwhile may be one too many
            await receive()
            await self._send({"type": "websocket.accept", "subprotocol": subprotocol})
            self._hub.opened(self._connection)
        except BaseException:
            self._hub.lost(self._connection)
            raise
        await self._carry(receive)

    async def _read(self, receive: Receive) -> None:
        longest = self._hub.config.limits.max_message_bytes
        while True:
            await self._reading.wait()
            message = await receive()
            if message["type"] == "websocket.disconnect":
                self._clean = message.get("code", ABNORMAL) != ABNORMAL
                self._count_end(message.get("reason") or "")
                return
            text = message.get("text")
            payload = message["bytes"] if text is None else text.encode()
            if len(payload) > longest:  # a server with a greater limit than ours
                self._hub.counters.refuse("max_message_bytes")
                reason = f"message longer than {longest} bytes (max_message_bytes)"
                self._hub.close(self._connection, MESSAGE_TOO_BIG, reason)
            else:
                self._hub.receive(self._connection, BINARY if text is None else TEXT, payload)

    def _count_end(self, reason: str) -> None:
        """Counts a limit that our own server has met for us, and named."""
        for limit in ("max_message_bytes", "control_rate"):
            if f"({limit})" in reason:
                self._hub.counters.refuse(limit)

    def _messages(self, batch: Batch) -> Iterable[tuple[Message, int]]:
        sizes = [len(payload) for _, payload in batch.items]
        return zip(batch.encode(self._codec), sizes, strict=True)

    def _farewell(self, code: int, reason: str) -> Message:
        return {"type": "websocket.close", "code": code, "reason": reason}
