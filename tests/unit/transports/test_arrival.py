"""transports.arrival: who a connection is handed to, with what, and until when it may be silent."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
import uvicorn
from uvicorn.server import ServerState

from hubbub.config import Config, Limits, Server
from hubbub.transports.arrival import Arrival
from hubbub.transports.http import HttpProtocol
from hubbub.transports.websocket import WebSocketProtocol
from hubbub.wire.handshake import encode_request
from tests.fuzz.socket import FakeSocket
from tests.unit.transports.test_http import turns

KEY = b"dGhlIHNhbXBsZSBub25jZQ=="
UPGRADE = encode_request("a", "/ws?session=", KEY, ["hubbub.v1.json"], "permessage-deflate", "a.b.c")
BLANKS = UPGRADE.replace(b": websocket", b": \t websocket \t").replace(b": 13", b":13 ")
GET = b"GET /ws HTTP/1.1\r\nHost: a\r\n\r\n"


class Scopes:
    """An application that notes what it was called for, and answers nothing yet."""

    def __init__(self) -> None:
        self.seen: list[dict[str, Any]] = []

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        self.seen.append({name: value for name, value in scope.items() if name not in ("extensions", "state")})
        await asyncio.Event().wait()


class Node:
    """What serves one connection.

    Args:
        http: what the connection begins with.
    """

    def __init__(self, http: Any) -> None:
        self.app = Scopes()
        self.state = ServerState()
        self.socket = FakeSocket()
        config = uvicorn.Config(
            self.app, http=http, ws=WebSocketProtocol, lifespan="off", log_config=None, interface="asgi3"
        )
        config.load()
        self.first = http(config, self.state, {})
        self.socket.connect(self.first)

    async def arrive(self, *pieces: bytes) -> list[dict[str, Any]]:
        """Bytes of the client; what the application was called for by then, in full."""
        for piece in pieces:
            self.socket.arrive(piece)
            await turns()
        return self.app.seen

    async def end(self) -> None:
        for task in self.state.tasks:
            task.cancel()
        self.socket.lose()
        await turns()


def small(**limits: int) -> type[Arrival]:
    settings = Config(limits=Limits(**limits))
    http = type("SmallHttp", (HttpProtocol,), {"settings": settings})
    return type("SmallArrival", (Arrival,), {"settings": settings, "http": http})


def called(http: Any, *pieces: bytes) -> list[dict[str, Any]]:
    async def talk() -> list[dict[str, Any]]:
        node = Node(http)
        seen = await node.arrive(*pieces)
        await node.end()
        assert not node.state.connections
        assert len(node.first._shared._wheel) == 0
        return seen

    return asyncio.run(talk())


@pytest.mark.parametrize(
    "pieces",
    [
        (UPGRADE,),
        (UPGRADE[:30], UPGRADE[30:]),
        (UPGRADE + b"early",),
        (BLANKS,),
        (BLANKS[:30], BLANKS[30:]),
        (GET,),
        (GET[:1], GET[1:]),
    ],
    ids=["a WebSocket", "in two", "with early bytes", "with blanks", "the same in two", "a request", "in pieces"],
)
def test_an_application_is_called_with_the_same_as_by_the_http_protocol(pieces: tuple[bytes, ...]) -> None:
    assert called(Arrival, *pieces) == called(HttpProtocol, *pieces) == called(Arrival, b"".join(pieces)) != []


@pytest.mark.parametrize(
    ("data", "protocol"), [(UPGRADE, WebSocketProtocol), (GET, HttpProtocol), (b"\r\n", HttpProtocol)]
)
def test_only_the_usual_request_for_a_websocket_needs_no_http_protocol(data: bytes, protocol: type) -> None:
    async def talk() -> None:
        node = Node(Arrival)
        await node.arrive(data)
        assert type(node.socket.get_protocol()) is protocol
        await node.end()

    asyncio.run(talk())


def test_what_comes_with_the_request_is_kept_for_the_websocket() -> None:
    async def talk() -> bytes:
        node = Node(Arrival)
        await node.arrive(UPGRADE + b"early")
        protocol = node.socket.get_protocol()
        await node.end()
        return bytes(protocol._early)

    assert asyncio.run(talk()) == b"early"


@pytest.mark.parametrize(
    ("limits", "status"),
    [
        ({"max_head_bytes": 100}, b"431"),
        ({"max_header_line_bytes": 30}, b"431"),
        ({"max_header_count": 5}, b"431"),
        ({"max_url_bytes": 5}, b"414"),
    ],
)
def test_a_request_for_a_websocket_has_the_limits_of_any_other(limits: dict[str, int], status: bytes) -> None:
    async def talk() -> bytes:
        node = Node(small(**limits))
        await node.arrive(UPGRADE)
        await node.end()
        return bytes(node.socket.written)

    assert asyncio.run(talk()).startswith(b"HTTP/1.1 " + status)


# Deadlines


def hasty() -> type[Arrival]:
    settings = Config(server=Server(handshake_seconds=0.5))
    http = type("HastyHttp", (HttpProtocol,), {"settings": settings})
    return type("HastyArrival", (Arrival,), {"settings": settings, "http": http})


@pytest.mark.parametrize("first", [b"", b"GET /ws HT"], ids=["nothing", "a beginning"])
def test_who_says_nothing_or_only_begins_is_answered_when_the_time_is_up(first: bytes) -> None:
    async def talk() -> bytes:
        node = Node(hasty())
        shared = node.first._shared
        ticks = 0
        while not node.socket.written:
            shared._tick()
            ticks += 1
            if first and ticks == 2:  # half of the time has passed, and does not begin anew
                await node.arrive(first)
            assert ticks <= 3
        await node.end()
        assert len(shared._wheel) == 0
        return bytes(node.socket.written)

    assert asyncio.run(talk()).startswith(b"HTTP/1.1 408 ")


def test_a_connection_ends_with_the_server() -> None:
    async def talk() -> bool:
        node = Node(Arrival)
        (connection,) = node.state.connections
        connection.shutdown()
        return node.socket.is_closing()

    assert asyncio.run(talk())
