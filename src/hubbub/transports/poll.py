"""`GET /poll`: long-polling. What waits is taken over by `WaitingPoll`; where that cannot be, its ASGI call waits.

A poll is a connection of the hub from its admission to its answer: so it counts, may be revoked and put out, and can be
somebody in a room, whom the grace time of its session keeps there from one poll to the next.
"""

from __future__ import annotations

import asyncio
import logging
import zlib
from collections.abc import Sequence
from email.utils import formatdate
from functools import lru_cache, partial
from http import HTTPStatus
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import msgspec

from hubbub.auth.gate import Gate, Scope, Visitor
from hubbub.codes import (
    CLOSED,
    INTERNAL,
    NORMAL,
    POLICY_VIOLATION,
    REPLACED,
    SERVICE_RESTART,
    TRY_AGAIN_LATER,
    UNAUTHENTICATED,
    UNAVAILABLE,
)
from hubbub.errors import BrokerError, CommandError, HandshakeError
from hubbub.hub.connection import Connection
from hubbub.hub.dispatch import report
from hubbub.hub.hub import Hub
from hubbub.hub.identity import REFUSED_TOKEN
from hubbub.hub.polls import Answer, Query, Spot
from hubbub.hub.steps import Walk
from hubbub.transports.answers import JSON, PROBLEM, STATUSES, Headers, accepts_gzip, cross_origin, problem, respond
from hubbub.transports.asgi import Receive, Send
from hubbub.transports.listening import POLL_PATH, read_seconds, read_wanted
from hubbub.transports.loop import TAKEOVER, Shared, linger, shared_by
from hubbub.wire.codec import Batch, Item
from hubbub.wire.places import MOST_ROOMS

if TYPE_CHECKING:
    from hubbub.transports.http import Taken

log: Final = logging.getLogger("hubbub")
# Shorter bodies are one packet anyway. Level 1 takes a third of the time of 6, for a tenth more bytes.
SHORTEST_GZIPPED: Final = 1024
GZIP_LEVEL: Final = 1
RETRY_LATER: Final = ((b"retry-after", b"5"),)


# What is asked


class Request(NamedTuple):
    """A poll as its URL has it.

    Attributes:
        session: the token of the session that it takes up; empty for a new one, None for none.
        seconds: how long it waits.
    """

    query: Query
    session: str | None
    seconds: float


def read_request(text: bytes, max_rooms: int) -> Request:
    """A poll of the query of its URL.

    Raises:
        HandshakeError: 400: there is no sense in it.
        CommandError: a room's name is none.
    """
    wanted, fields = read_wanted(text, most=min(MOST_ROOMS, max_rooms))
    seconds, session = read_seconds(fields), fields.get("session")
    if wanted.username is not None and session is None:
        raise HandshakeError(400, "username: who is to be there has a session; an empty one for a new one")
    return Request(Query(*wanted, waits=seconds > 0), session, seconds)


# What is answered


class PollCodec:
    """An answer as a whole response, head and body; those who share a codec are written the same bytes.

    Args:
        cross: the headers for browsers of other origins.
        gzip: the client takes gzip.
        close: the connection ends with the response.
    """

    def __init__(self, cross: tuple[tuple[bytes, bytes], ...], *, gzip: bool, close: bool) -> None:
        self._cross = cross
        self._gzip = gzip
        self.close = close

    def closing(self) -> PollCodec:
        """The same for a connection that ends."""
        return poll_codec(self._cross, self._gzip, True)

    def encode(self, items: Sequence[Item]) -> bytes:
        return self.write(200, *self.respond(items[0][1]))

    def respond(self, body: bytes, *, secret: bool = False) -> tuple[Headers, bytes]:
        """Headers and content for a body.

        Args:
            secret: it holds one: beside what others wrote it is not deflated, for the length would tell of it.
        """
        headers = [(b"content-type", JSON), *self._cross]
        if self._gzip and not secret and len(body) >= SHORTEST_GZIPPED:
            packer = zlib.compressobj(GZIP_LEVEL, wbits=31)
            body = packer.compress(body) + packer.flush()
            headers.append((b"content-encoding", b"gzip"))
        return self._ended(headers, body), body

    def _ended(self, headers: Headers, body: bytes) -> Headers:
        close = [(b"connection", b"close")] * self.close
        return [*headers, (b"content-length", b"%d" % len(body)), *close]

    def refuse(self, error: HandshakeError, more: dict[str, Any]) -> bytes:
        """A problem as a whole response."""
        body = msgspec.json.encode(problem(error, **more))
        headers = [(b"content-type", PROBLEM), *self._cross, *error.headers]
        return self.write(error.status, self._ended(headers, body), body)

    def write(self, status: int, headers: Headers, body: bytes) -> bytes:
        """The bytes of a response."""
        first = b"HTTP/1.1 %d %b\r\ndate: %b\r\n" % (
            *(status, HTTPStatus(status).phrase.encode()),
            formatdate(usegmt=True).encode(),
        )
        return b"".join([first, *(b"%b: %b\r\n" % pair for pair in headers), b"\r\n", body])


@lru_cache(maxsize=256)
def poll_codec(cross: tuple[tuple[bytes, bytes], ...], gzip: bool, close: bool) -> PollCodec:
    """The codec of all polls whose responses have the same headers."""
    return PollCodec(cross, gzip=gzip, close=close)


_STATUSES: Final = {**STATUSES, CLOSED: 503}  # it is the poll's own connection that has been ended meanwhile
_ENDS: Final[dict[int, tuple[int, str, tuple[tuple[bytes, bytes], ...]]]] = {
    UNAUTHENTICATED: (401, "", REFUSED_TOKEN),
    POLICY_VIOLATION: (429, "", RETRY_LATER),
    REPLACED: (409, "", ()),
    SERVICE_RESTART: (503, "the server is stopping", RETRY_LATER),
    TRY_AGAIN_LATER: (503, "", RETRY_LATER),
}


def refusal(error: Exception, connection: Connection | None) -> tuple[HandshakeError, dict[str, Any]]:
    """What a request is answered with that failed, and what stands beside it in the problem."""
    if isinstance(error, HandshakeError):
        return error, {}
    if isinstance(error, CommandError):
        return HandshakeError(_STATUSES.get(error.code, 400), error.message), {"code": error.code}
    if isinstance(error, BrokerError):
        retry = ((b"retry-after", b"1"),)
        return HandshakeError(503, "The room's log cannot be used now", retry), {"code": UNAVAILABLE}
    if connection is None:
        raise error
    return HandshakeError(500, "Internal error"), {"code": INTERNAL, "correlationId": report(connection, error)}


def ending(spot: Spot | None, code: int, reason: str) -> Answer | HandshakeError:
    """What a poll is answered with that the hub ends, as it would a WebSocket with this code."""
    if spot is not None and code in (NORMAL, SERVICE_RESTART):
        return spot.quiet()
    status, said, headers = _ENDS.get(code, (403, "", ()))
    return HandshakeError(status, said or reason or "ended by the server", headers)


# Waiting


class PollEndpoint:
    """What a poll's connection speaks: nothing (hub.ports.Endpoint).

    Args:
        announced: it has a session, and may be somebody in a room.
    """

    path: Final = POLL_PATH
    msgpack: Final = False

    def __init__(self, *, announced: bool) -> None:
        self.announced = announced

    def opened(self, connection: Connection) -> None: ...
    def receive(self, connection: Connection, opcode: int, payload: bytes) -> None: ...
    def resume(self, connection: Connection) -> None: ...
    def limited(self, connection: Connection, payload: bytes, limit: str, wait_ms: int, first: bool) -> None: ...
    def closed(self, connection: Connection) -> None: ...


class Poll:
    """A poll until its answer (hub.ports.Transport, hub.polls.Waiter): what the hub says is not for it, but the end."""

    __slots__ = ("connection", "hub", "slot", "spot")

    connection: Connection

    def __init__(self, hub: Hub) -> None:
        self.hub = hub
        self.spot: Spot | None = None
        self.slot = -1

    def answer(self, answer: Answer | Exception) -> None:
        raise NotImplementedError

    def deliver(self, batch: Batch) -> None: ...
    def send(self, item: Item) -> None: ...
    def pause_reading(self) -> None: ...
    def resume_reading(self) -> None: ...
    def waiting(self) -> int:
        return 0

    def ping(self) -> None:
        """Whoever waits for an answer has been heard a minute ago at most."""
        self.hub.runtime.call_soon(partial(self.hub.pong, self.connection))

    def close(self, code: int, reason: str) -> None:
        answer = ending(self.spot, code, reason)
        self.hub.polls.forget(self)
        self.answer(answer)

    def abort(self) -> None:
        self.close(NORMAL, "")

    def expire(self) -> None:
        """It has waited long enough."""
        self.slot = -1
        if self.spot is not None:
            self.hub.polls.answer_later(self, self.spot.quiet())


class AskedPoll(Poll):
    """A poll that is looked for, or waits as an ASGI call.

    Attributes:
        outcome: its answer, or why there is none.
    """

    __slots__ = ("_looked", "_settled", "outcome")

    def __init__(self, hub: Hub) -> None:
        super().__init__(hub)
        self.outcome: Answer | Exception | None = None
        self._looked = asyncio.Event()
        self._settled = asyncio.Event()

    def begin(self, visitor: Visitor, endpoint: PollEndpoint, request: Request) -> None:
        """Introduces it to the hub, which has admitted it."""
        self.connection = self.hub.open(endpoint, self, visitor.remote, request.session, visitor.identity)
        try:
            self.hub.opened(self.connection)
            Walk(self.hub.polls.ask(self.connection, request.query, self), self._found).go_on()
        except BaseException:
            self.end()
            raise

    def _found(self, answer: Answer | Exception | None) -> None:
        if answer is not None:
            self.answer(answer)
        self._looked.set()

    def answer(self, answer: Answer | Exception) -> None:
        if self.outcome is None:
            self.outcome = answer
            self._looked.set()
            self._settled.set()

    async def looked(self) -> None:
        """Returns once it has an answer, or waits for one."""
        await self._looked.wait()

    async def answered(self, receive: Receive, shared: Shared, seconds: float) -> None:
        """Returns once it has an answer, or the client is gone."""
        self.slot = shared.put(self, seconds)
        loop = asyncio.get_running_loop()
        tasks = [loop.create_task(work) for work in (self._settled.wait(), _gone(receive))]
        try:
            await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        finally:
            shared.discard(self, self.slot)
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    def end(self) -> None:
        """Its answer is on its way, or nobody wants it any more."""
        self.hub.polls.forget(self)
        self.hub.lost(self.connection)


async def _gone(receive: Receive) -> None:
    """Returns once the client is gone."""
    while (await receive())["type"] != "http.disconnect":
        pass


class WaitingPoll(Poll, asyncio.BufferedProtocol):
    """A poll that has been taken over: no task, no parser, no timer; about 150 bytes beside its connection's."""

    __slots__ = ("_codec", "_early", "_shared", "_taken", "_written")

    def __init__(self, asked: AskedPoll, taken: Taken, shared: Shared, codec: PollCodec, seconds: float) -> None:
        super().__init__(asked.hub)
        self.connection = asked.connection
        self._taken = taken
        self._shared = shared
        self._codec = codec
        self._early = b""
        self._written = False
        self.connection.transport = self
        asked.hub.polls.hand_over(asked, self)
        self.slot = shared.put(self, seconds)
        taken.connections.add(self)
        taken.socket.set_protocol(self)

    # asyncio's side

    def get_buffer(self, sizehint: int) -> memoryview:
        return self._shared.buffer

    def buffer_updated(self, nbytes: int) -> None:
        """A client that does not wait for the answer: its next request is read behind it."""
        self._early += self._shared.buffer[:nbytes]
        if len(self._early) >= self.hub.config.limits.max_head_bytes:
            self._taken.socket.pause_reading()

    def eof_received(self) -> None:
        pass

    def connection_lost(self, exc: Exception | None) -> None:
        self._done()
        self.hub.polls.forget(self)
        self.hub.lost(self.connection)
        self._taken.connections.discard(self)

    def pause_writing(self) -> None:
        pass

    def resume_writing(self) -> None:
        if self._written:
            self._give_back()

    def shutdown(self) -> None:
        """uvicorn stops."""
        self.hub.send_away(self.connection)

    # The answer

    def answer(self, answer: Answer | Exception) -> None:
        if self._written:
            return
        self._written = True
        session, codec = self.connection.session, self._codec
        if self.hub.draining.begun:
            codec = codec.closing()
        if isinstance(answer, Exception):
            data = codec.refuse(*refusal(answer, self.connection))
        elif session is None:
            data = answer.batch.encode(codec)
        else:
            data = codec.write(200, *codec.respond(answer.body(session.token), secret=True))
        self._done()
        self.hub.lost(self.connection)
        self._write(data, codec.close)

    def _done(self) -> None:
        if self.slot >= 0:
            self._shared.discard(self, self.slot)
            self.slot = -1

    def _write(self, data: bytes, close: bool) -> None:
        socket = self._taken.socket
        if socket.is_closing():
            return
        socket.write(data)
        if close:
            self._taken.connections.discard(self)
            linger(socket, self._shared, self.hub.config.server.close_seconds)
        elif socket.get_write_buffer_size() > socket.get_write_buffer_limits()[1]:
            self.slot = self._shared.put(self, self.hub.config.limits.stall_seconds)  # until it has read most of it
        else:
            self._give_back()

    def expire(self) -> None:
        if self._written:
            self.slot = -1
            self._taken.socket.abort()
        else:
            super().expire()

    def _give_back(self) -> None:
        """The connection waits for its next request, or has it already."""
        self._done()
        self._taken.connections.discard(self)
        self._taken.socket.resume_reading()
        self._taken.give_back(self._early)


# The route


class PollRoute:
    """`GET /poll?room=…&since=…`: what there is behind a place, or what comes next."""

    def __init__(self, hub: Hub, gate: Gate) -> None:
        self._hub = hub
        self._gate = gate
        self._endpoints = {announced: PollEndpoint(announced=announced) for announced in (False, True)}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        cross = cross_origin(self._gate.origins, scope, b"GET")
        try:
            if scope["method"] == "OPTIONS":
                self._gate.origins.check(scope["headers"], cookie=True)
                await respond(send, 204, None, cross)
                return
            if scope["method"] != "GET":
                raise HandshakeError(405, "a poll is asked for with GET", ((b"allow", b"GET, OPTIONS"),))
            visitor = await self._gate.admit(scope)
            request = read_request(scope["query_string"], self._hub.config.limits.max_rooms)
            self._hub.admit(visitor.address, visitor.identity)
        except (HandshakeError, CommandError) as error:
            self._hub.counters.handshakes_refused += 1
            await _refuse(send, cross, error, None)
            return
        await self._poll(scope, receive, send, visitor, request, cross)

    async def _poll(
        self, scope: Scope, receive: Receive, send: Send, visitor: Visitor, request: Request, cross: Headers
    ) -> None:
        shared = shared_by(asyncio.get_running_loop())
        gzip = self._hub.config.http.gzip and accepts_gzip(scope["headers"])
        codec = poll_codec(tuple(cross), gzip, _closes(scope))
        asked = AskedPoll(self._hub)
        asked.begin(visitor, self._endpoints[request.session is not None], request)
        try:
            await asked.looked()
            if asked.outcome is None and self._take_over(scope, asked, shared, codec, request.seconds):
                return
            if asked.outcome is None:
                await asked.answered(receive, shared, request.seconds)
        finally:
            if asked.connection.transport is asked or not asked.connection.open:
                asked.end()
        await _answer(send, cross, codec, asked)

    def _take_over(self, scope: Scope, asked: AskedPoll, shared: Shared, codec: PollCodec, seconds: float) -> bool:
        """Whether the poll waits on the socket itself from here on."""
        take_over = scope.get("extensions", {}).get(TAKEOVER) if self._hub.config.server.takeover else None
        if take_over is None or not self._hub.polls.waits(asked):
            return False
        taken = take_over()
        if taken is None:
            return False
        WaitingPoll(asked, taken, shared, codec, seconds)
        return True


def _closes(scope: Scope) -> bool:
    """Whether the client ends the connection behind the answer."""
    said = [value.lower() for name, value in scope["headers"] if name == b"connection"]
    return scope["http_version"] == "1.0" or any(b"close" in value for value in said)


async def _answer(send: Send, cross: Headers, codec: PollCodec, asked: AskedPoll) -> None:
    outcome, session = asked.outcome, asked.connection.session
    if isinstance(outcome, Answer):
        body = outcome.body("" if session is None else session.token)
        codec = codec.closing() if asked.hub.draining.begun else codec
        headers, content = codec.respond(body, secret=session is not None)
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body", "body": content})
    elif outcome is not None:
        await _refuse(send, cross, outcome, asked.connection)


async def _refuse(send: Send, cross: Headers, error: Exception, connection: Connection | None) -> None:
    refused, more = refusal(error, connection)
    log.info("a poll was refused: status=%d reason=%r", refused.status, refused.reason)
    await respond(send, refused.status, problem(refused, **more), [*refused.headers, *cross], PROBLEM)
