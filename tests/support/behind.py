"""The tests' application as it is served behind proxies: it shows what reaches it, streams, and has metrics."""

import asyncio
from collections.abc import AsyncIterator
from typing import Final

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response, StreamingResponse
from starlette.routing import Route

from tests.support.application import app

__all__ = ["app"]

FILLING: Final = "x" * 2000


class _State:
    released = asyncio.Event()


async def seen(request: Request) -> Response:
    """The headers that came, in order."""
    return JSONResponse([[name.decode(), value.decode()] for name, value in request.headers.raw])


async def stream(request: Request) -> Response:
    """An event, and another one once somebody asks for it by POST."""
    if request.method == "POST":
        _State.released.set()
        return Response(status_code=204)
    _State.released.clear()

    async def events() -> AsyncIterator[str]:
        yield f"data: first {FILLING}\n\n"
        await _State.released.wait()
        yield "data: second\n\n"

    return StreamingResponse(events(), media_type="text/event-stream")


async def metrics(request: Request) -> Response:
    """As figures for operators would be, which are not for everybody."""
    return Response("figures 1\n")


app.mounts[:0] = [
    ("/metrics", Starlette(routes=[Route("/", metrics)])),
    ("/behind", Starlette(routes=[Route("/seen", seen)])),
    ("/sse", Starlette(routes=[Route("/stream", stream, methods=["GET", "POST"])])),
]
