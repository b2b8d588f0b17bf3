"""Fuzz target: whatever opens a connection, it is refused once or goes on, and no exception comes out.

An input is a byte that says who reads it, a byte that says how the rest is cut, and the bytes of the peer.
"""

from __future__ import annotations

import asyncio
import atexit
import re
from collections.abc import Iterable, Iterator
from functools import cache
from typing import Any

import httptools
import uvicorn
from uvicorn.server import ServerState

from hubbub.apps.chat import app as chat
from hubbub.auth.gate import Anonymous, Gate
from hubbub.auth.origin import Origins
from hubbub.auth.proxies import Proxies
from hubbub.auth.tickets import Tickets
from hubbub.config import Config, Limits
from hubbub.errors import HandshakeError
from hubbub.hub.hub import Hub
from hubbub.hub.ports import Endpoint
from hubbub.transports.arrival import Arrival
from hubbub.transports.asgi import WebSocketRoute
from hubbub.transports.frames import HubTransport
from hubbub.transports.http import HttpProtocol
from hubbub.transports.loop import Lingering
from hubbub.transports.websocket import WebSocketProtocol
from hubbub.wire.codec import SUBPROTOCOLS
from hubbub.wire.deflate import accept_offer
from hubbub.wire.handshake import (
    Headers,
    choose_subprotocol,
    encode_accept,
    encode_request,
    read_accept,
    read_request,
    read_upgrade,
)
from hubbub.wire.websocket import FIN, TEXT, encode_frame
from tests.fuzz.complaints import no_complaints
from tests.fuzz.seeds import Step, dialogues, sent_in
from tests.fuzz.segments import segments
from tests.fuzz.socket import FakeSocket
from tests.unit.fakes import Bench

READ_ACCEPT, READ_UPGRADE = 0, 1
"""Any other first byte: a connection of the HTTP server's."""

KEY = b"dGhlIHNhbXBsZSBub25jZQ=="
TURNS = 3
# Small enough that every limit is within a short input's reach.
SMALL = Config(
    limits=Limits(
        max_header_count=12,
        max_header_line_bytes=256,
        max_head_bytes=512,
        max_url_bytes=64,
        max_body_bytes=64,
        max_message_bytes=200,
    )
)


async def _ready() -> None:
    """Nobody was locked out."""


GATE = Gate(
    *([Anonymous()], Origins([]), Proxies(["127.0.0.0/8"]), Tickets(30.0)),
    local=False,
    token_in_query=True,
    knock=lambda address: None,
    ready=_ready,
)
RESPONSE = re.compile(rb"HTTP/1\.1 (\d{3}) ")


def target(data: bytes) -> None:
    """Hands the bytes to the one that the first byte names.

    Raises:
        AssertionError: a promise is broken, or an error was logged.
    """
    if len(data) < 2:
        return
    with no_complaints():
        if data[0] == READ_ACCEPT:
            check_accept(data[2:])
        elif data[0] == READ_UPGRADE:
            check_upgrade(data[2:])
        else:
            runner().run(check_connection(data[1], data[2:]))


@cache
def runner() -> asyncio.Runner:
    """One event loop for all inputs: each holds a read buffer and deadlines, and is expensive to make."""
    runner = asyncio.Runner()
    atexit.register(runner.close)
    return runner


def check_accept(head: bytes) -> None:
    refused = None
    try:
        headers = read_accept(head, KEY)
    except HandshakeError as error:
        refused = error
    assert headers["sec-websocket-accept"] if refused is None else 100 <= refused.status <= 999


def check_upgrade(head: bytes) -> None:
    """A request that is taken is answered so that a client takes the answer."""
    request, *lines = head.split(b"\r\n")
    method, _, version = request.decode("latin-1").partition(" ")
    headers = [(name.lower(), value) for name, _, value in (line.partition(b":") for line in lines)]
    refused = None
    try:
        answer = accept(method, version.removeprefix("/ws HTTP/"), headers)
    except HandshakeError as error:
        refused = error
    if refused is None:
        assert read_accept(answer, next(value.strip() for name, value in headers if name == b"sec-websocket-key"))
    else:
        assert refused.reason
        assert refused.status in (400, 405, 426)


def accept(method: str, version: str, headers: Headers) -> bytes:
    """The answer to a request, or HandshakeError."""
    upgrade = read_upgrade(method, version, headers)
    chosen = choose_subprotocol(upgrade.subprotocols, SUBPROTOCOLS)
    assert chosen is None or (chosen in upgrade.subprotocols and chosen in SUBPROTOCOLS)
    agreed = accept_offer(upgrade.extensions, takeover=True)
    return encode_accept(upgrade, chosen, agreed.header() if agreed else "")


class Reader:
    """What an HTTP parser reads of a head."""

    def __init__(self) -> None:
        self.url = b""
        self.headers: list[tuple[bytes, bytes]] = []

    def on_url(self, url: bytes) -> None:
        self.url += url

    def on_header(self, name: bytes, value: bytes) -> None:
        self.headers.append((name.lower(), value.rstrip(b" \t")))


def check_request(data: bytes) -> None:
    """Where a request for a WebSocket is found without the HTTP parser, that one finds the same."""
    found = read_request(data)
    if found is None:
        return
    reader, end = Reader(), -1
    try:
        httptools.HttpRequestParser(reader).feed_data(data)
    except httptools.HttpParserUpgrade as upgrade:
        end = upgrade.args[0]
    assert found == (reader.url.decode("ascii"), reader.headers, end)


# A connection of the HTTP server's


class CountingProtocol(HttpProtocol):
    """Counts the requests that begin and end."""

    settings = SMALL
    begun = 0
    ended = 0

    def on_message_begin(self) -> None:
        self.begun += 1
        super().on_message_begin()

    def on_message_complete(self) -> None:
        self.ended += 1
        super().on_message_complete()

    @property
    def waits(self) -> bool:
        """Whether something will end the connection or answer it, should the peer say nothing more."""
        unanswered = self.cycle is not None and not self.cycle.response_complete
        return unanswered or self._slot is not None or self.timeout_keep_alive_task is not None


class SmallWebSocketProtocol(WebSocketProtocol):
    settings = SMALL


class World:
    """A server for one connection: an application with a hub, and what uvicorn holds.

    It answers `/read` behind the body, `/wait` never, and all else at once.
    """

    def __init__(self) -> None:
        self.bench = Bench(SMALL, endpoint=self._bind)
        self.state = ServerState()
        self.socket = FakeSocket()
        config = self._uvicorn_config()
        self.http = CountingProtocol(config, self.state, {})
        self.socket.connect(
            type("NodeArrival", (Arrival,), {"settings": SMALL, "http": self._http})(config, self.state, {})
        )

    def _http(self, *_: Any) -> CountingProtocol:
        return self.http

    def _bind(self, hub: Hub) -> Endpoint:
        (route,) = chat.bind(hub)
        self._route = WebSocketRoute(hub, route.endpoints, GATE)
        return route.endpoints[None]

    def _uvicorn_config(self) -> uvicorn.Config:
        kinds: dict[str, Any] = {"http": CountingProtocol, "ws": SmallWebSocketProtocol, "interface": "asgi3"}
        off: dict[str, Any] = {"access_log": False, "server_header": False, "date_header": False}
        return uvicorn.Config(self._serve, lifespan="off", log_config=None, proxy_headers=False, **kinds, **off)

    async def _serve(self, scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] == "websocket":
            await self._route(scope, receive, send)
            return
        if scope["path"] == "/read":
            while (await receive()).get("more_body"):
                pass
        elif scope["path"] == "/wait":
            while (await receive())["type"] != "http.disconnect":
                pass
        await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"0")]})
        await send({"type": "http.response.body"})

    async def turn(self) -> None:
        """Everybody does what can be done now."""
        for _ in range(TURNS):
            await asyncio.sleep(0)
            self.bench.runtime.settle()
            self.socket.read()

    def responses(self) -> int:
        """How many final responses were written; what follows a 101 is no HTTP."""
        statuses = [int(found[1]) for found in RESPONSE.finditer(self.socket.written)]
        return len(statuses[: statuses.index(101) + 1] if 101 in statuses else [it for it in statuses if it != 100])

    def goes_on(self) -> bool:
        """Whether nobody waits for ever, should the peer say nothing more."""
        match self.socket.get_protocol():
            case CountingProtocol() as http:
                return http.waits
            case WebSocketProtocol() as request:
                return not request._answered
            case HubTransport() as transport:
                return transport._connection in self.bench.hub.connections or transport._slot >= 0
            case other:
                return isinstance(other, Lingering)


async def check_connection(cut: int, data: bytes) -> None:
    """A connection on which these bytes arrive, and which then is lost."""
    check_request(data)
    world = World()
    for piece in segments(data, cut):
        world.socket.arrive(piece)
        if cut:
            await world.turn()
    await world.turn()
    between = world.http.begun == world.http.ended  # what was refused then was no request yet
    assert world.responses() <= world.http.begun + between, bytes(world.socket.written)
    assert world.socket.ends or world.goes_on(), f"nobody ends {world.socket.get_protocol()}"
    world.socket.lose()
    await world.turn()
    assert len(world.http._shared._wheel) == 0, "a deadline is not taken back"
    assert not world.state.connections, "the connection is not let go of"
    assert not world.state.tasks, "the application is not told of the end"
    assert not world.bench.hub.connections, "the hub is not told of the end"


# What to begin with

HTTP = 2
REQUESTS = (
    b"GET / HTTP/1.1\r\nHost: a\r\n\r\n",
    b"GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n",
    b"HEAD /wait HTTP/1.1\r\nHost: a\r\n\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\n",
    b"POST /read HTTP/1.1\r\nHost: a\r\nContent-Length: 4\r\nExpect: 100-continue\r\n\r\nbody",
    b"POST /read HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nhi\r\n0\r\n\r\n",
    b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 99\r\n\r\n",
    b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nhi\r\nno\r\n",
    b"GET / HTTP/1.1\r\nHost: a\r\nUpgrade: h2c\r\nConnection: Upgrade\r\n\r\n",
    b"\r\n\r\nGET /%ff?x HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n",
    b"CONNECT a:80 HTTP/1.1\r\nHost: a\r\n\r\n",
    b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    b"GET /\x00 HTTP/1.1\r\n",
)
OFFERS = ("permessage-deflate; client_max_window_bits", "permessage-deflate; server_max_window_bits=9", "x, y;z")


def seeds() -> Iterator[bytes]:
    """Requests of each kind, and each dialogue's clients with all that they send, without waiting."""
    for request in REQUESTS:
        yield from (bytes((HTTP, cut)) + request * times for cut, times in ((0, 1), (1, 1), (9, 3)))
    for offer in OFFERS:
        request = encode_request("a", "/ws", KEY, SUBPROTOCOLS, offer)
        yield bytes((READ_UPGRADE, 0)) + request
        yield bytes((HTTP, 7)) + request
        answer = accept("GET", "1.1", [(b"sec-websocket-version", b"13"), (b"sec-websocket-key", KEY)])
        yield bytes((READ_ACCEPT, 0)) + answer
    for steps in dialogues():
        yield bytes((HTTP, 0)) + b"".join(opening(steps))
        yield bytes((HTTP, 5)) + b"".join(opening(steps))


def opening(steps: Iterable[Step]) -> Iterator[bytes]:
    """A request for a WebSocket, and what is sent on it."""
    yield encode_request("a", "/ws?session=", KEY, SUBPROTOCOLS[:1])
    for step in steps:
        yield from (encode_frame(FIN | TEXT, payload, bytes(4)) for payload in sent_in(step))


def words() -> Iterator[bytes]:
    """What mutations should know of."""
    for method in (b"GET", b"HEAD", b"POST", b"OPTIONS", b"CONNECT"):
        yield from (method + path for path in (b" / HTTP/1.1\r\n", b" /read HTTP/1.1\r\n", b" /wait HTTP/1.1\r\n"))
    yield from (b"HTTP/1.0", b"HTTP/1.1", b"\r\n\r\n", b"Host: a\r\n", b"Content-Length: ", b"Expect: 100-continue\r\n")
    yield from (b"Transfer-Encoding: chunked\r\n", b"Connection: Upgrade\r\n", b"Connection: close\r\n", b"0\r\n\r\n")
    yield from (b"Upgrade: websocket\r\n", b"Sec-WebSocket-Version: 13\r\n", b"Sec-WebSocket-Key: " + KEY + b"\r\n")
    yield from (b"Sec-WebSocket-Protocol: hubbub.v1.msgpack\r\n", b"Sec-WebSocket-Extensions: permessage-deflate\r\n")
