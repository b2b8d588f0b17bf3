"""Whether the server is alive, and whether it is to be sent clients: what load balancers and supervisors ask."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Final

from hubbub.errors import HandshakeError
from hubbub.transports.asgi import Message, Receive, Send

ALIVE_PATH: Final = "/healthz"
READY_PATH: Final = "/readyz"


class Probe:
    """A path that answers 200, or another status and why; to everybody, as often as they like: it costs nothing.

    Args:
        check: returns when all is well; else it raises a HandshakeError.
    """

    def __init__(self, check: Callable[[], Awaitable[None]]) -> None:
        self._check = check

    async def __call__(self, scope: Message, receive: Receive, send: Send) -> None:
        status, reason = 200, "ok"
        more: tuple[tuple[bytes, bytes], ...] = ()
        try:
            if scope["method"] not in ("GET", "HEAD"):
                raise HandshakeError(405, "it is asked for with GET", ((b"allow", b"GET, HEAD"),))
            await self._check()
        except HandshakeError as error:
            status, reason, more = error.status, error.reason, error.headers
        body = reason.encode() + b"\n"
        headers = [
            (b"content-type", b"text/plain; charset=utf-8"),
            (b"cache-control", b"no-store"),
            (b"content-length", b"%d" % len(body)),
            *more,
        ]
        await send({"type": "http.response.start", "status": status, "headers": headers})
        await send({"type": "http.response.body", "body": body})


async def alive() -> None:
    """Whoever answers is."""
