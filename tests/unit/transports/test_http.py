"""transports.http: who is told of a connection's end, and what is not written behind it."""

from __future__ import annotations

import asyncio
import gc
import weakref
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest
import uvicorn
from uvicorn.server import ServerState

from hubbub.transports.http import HttpProtocol, Taken
from hubbub.transports.loop import TAKEOVER
from hubbub.transports.websocket import WebSocketProtocol
from hubbub.wire.handshake import encode_request
from tests.fuzz.socket import FakeSocket

HEAD = b"GET / HTTP/1.1\r\nHost: a\r\n"
UPGRADE = encode_request("a", "/", b"dGhlIHNhbXBsZSBub25jZQ==", [], "")


class Listening:
    """An application that waits for the end of its clients, and counts those that it was told of."""

    def __init__(self) -> None:
        self.ended = 0

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        while (await receive())["type"] != "http.disconnect":
            pass
        self.ended += 1


def connect(app: Any) -> FakeSocket:
    config = uvicorn.Config(app, http=HttpProtocol, lifespan="off", log_config=None, interface="asgi3")
    socket = FakeSocket()
    socket.connect(HttpProtocol(config, ServerState(), {}))
    return socket


async def turns() -> None:
    for _ in range(5):
        await asyncio.sleep(0)


@pytest.mark.parametrize("requests", [1, 2, 5])
def test_the_request_at_work_is_told_of_the_end_though_others_wait_behind_it(requests: int) -> None:
    async def talk() -> int:
        app = Listening()
        socket = connect(app)
        socket.arrive((HEAD + b"\r\n") * requests)
        await turns()
        socket.lose()
        await turns()
        return app.ended

    assert asyncio.run(talk()) == 1


def test_nothing_is_written_behind_a_refusal(caplog: pytest.LogCaptureFixture) -> None:
    async def talk() -> bytes:
        socket = connect(Listening())
        socket.arrive(HEAD + b"Expect: 100-continue\r\nContent-Length: 2\r\n\r\nhi" + b"\0")
        await turns()
        return bytes(socket.written)

    assert asyncio.run(talk()).startswith(b"HTTP/1.1 400 ")
    assert caplog.records == []


class Taking:
    """An application that takes the connection over, and answers on the socket itself where it may."""

    def __init__(self) -> None:
        self.taken: list[Taken | None] = []

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        taken = scope["extensions"][TAKEOVER]()
        self.taken.append(taken)
        if taken is None:
            await send({"type": "http.response.start", "status": 204, "headers": []})
            await send({"type": "http.response.body"})
        else:
            taken.socket.write(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nhi")


def taking(*pieces: bytes) -> tuple[Taking, FakeSocket]:
    """The application and the socket once these have arrived, a turn's work after each."""

    async def talk() -> tuple[Taking, FakeSocket]:
        app = Taking()
        socket = connect(app)
        for piece in pieces:
            socket.arrive(piece)
            await turns()
        for taken in app.taken:
            if taken is not None:
                taken.give_back()
        socket.arrive(HEAD)
        socket.arrive(b"\r\n")
        await turns()
        return app, socket

    return asyncio.run(talk())


def test_a_connection_that_was_taken_over_is_given_back_for_the_next_request() -> None:
    app, socket = taking(HEAD + b"\r\n")
    assert None not in app.taken
    assert bytes(socket.written).count(b"200 OK") == len(app.taken) == 2


@pytest.mark.parametrize(
    "pieces",
    [
        (HEAD + b"\r\n" + HEAD + b"\r\n",),
        (HEAD + b"\r\n" + HEAD[:5],),
        (HEAD + b"Content-Length: 2\r\n\r\n", b"hi"),
    ],
)
def test_what_has_not_arrived_or_is_followed_is_not_taken_over(pieces: tuple[bytes, ...]) -> None:
    app, socket = taking(*pieces)
    assert app.taken[0] is None
    assert bytes(socket.written).startswith(b"HTTP/1.1 204")


def given_back(early: bytes) -> tuple[Taking, FakeSocket]:
    """The application and the socket once its first request was answered, and what had come behind that."""

    async def talk() -> tuple[Taking, FakeSocket]:
        app = Taking()
        socket = connect(app)
        socket.arrive(HEAD + b"\r\n")
        await turns()
        assert app.taken[0] is not None
        app.taken[0].give_back(early)
        await turns()
        if not early:
            socket.get_protocol().expire()
        return app, socket

    return asyncio.run(talk())


def test_what_came_before_a_connection_was_given_back_is_its_next_request() -> None:
    app, socket = given_back(HEAD + b"\r\n")
    assert bytes(socket.written).count(b"200 OK") == len(app.taken) == 2


def test_between_two_requests_a_connection_ends_without_a_word() -> None:
    app, socket = given_back(b"")
    assert socket.ends
    assert bytes(socket.written).count(b"HTTP/1.1") == len(app.taken) == 1


class Clinging(FakeSocket):
    """As uvloop's: it holds on to the last `data_received` that a protocol had, whatever comes after."""

    def connect(self, protocol: Any) -> None:
        self._receive = protocol.data_received
        super().connect(protocol)

    def set_protocol(self, protocol: Any) -> None:
        self._receive = getattr(protocol, "data_received", self._receive)
        super().set_protocol(protocol)


@contextmanager
def without_collector() -> Iterator[None]:
    gc.disable()
    try:
        yield
    finally:
        gc.enable()


async def served(app: Any, socket: FakeSocket, request: bytes) -> Callable[[], HttpProtocol | None]:
    """Has a request answered on a connection; what is left of its protocol."""
    config = uvicorn.Config(
        app, http=HttpProtocol, ws=WebSocketProtocol, lifespan="off", log_config=None, interface="asgi3"
    )
    config.load()
    protocol = HttpProtocol(config, ServerState(), {})
    socket.connect(protocol)
    socket.arrive(request)
    await turns()
    return weakref.ref(protocol)


def test_nothing_is_left_of_the_protocol_whose_connection_was_taken_over() -> None:
    async def talk() -> bool:
        app, socket = Taking(), Clinging()
        left = await served(app, socket, HEAD + b"\r\n")
        socket.set_protocol(asyncio.BufferedProtocol())
        app.taken.clear()
        return left() is None

    with without_collector():
        assert asyncio.run(talk())


async def refusing(scope: Any, receive: Any, send: Any) -> None:
    """Refuses WebSockets, and answers requests."""
    if scope["type"] == "websocket":
        await send({"type": "websocket.close"})
    else:
        await send({"type": "http.response.start", "status": 204, "headers": []})
        await send({"type": "http.response.body"})


@pytest.mark.parametrize("request_", [UPGRADE, HEAD + b"\r\n"], ids=["a WebSocket", "a request"])
def test_nothing_waits_for_the_collector_once_it_has_ended(request_: bytes) -> None:
    async def talk() -> bool:
        socket = FakeSocket()
        left = await served(refusing, socket, request_)
        assert socket.written
        socket.lose()
        await turns()
        socket.set_protocol(asyncio.BufferedProtocol())  # it refers to none once it is closed
        return left() is None

    with without_collector():
        assert asyncio.run(talk())
