"""transports.http: who is told of a connection's end, and what is not written behind it."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
import uvicorn
from uvicorn.server import ServerState

from hubbub.transports.http import HttpProtocol
from tests.fuzz.socket import FakeSocket

HEAD = b"GET / HTTP/1.1\r\nHost: a\r\n"


class Listening:
    """An application that waits for the end of its clients, and counts those that it was told of."""

    def __init__(self) -> None:
        self.ended = 0

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        while (await receive())["type"] != "http.disconnect":
            pass
        self.ended += 1


def connect(app: Listening) -> FakeSocket:
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
