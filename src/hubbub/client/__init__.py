"""The Python client: `async with connect(url) as hub: async for event in hub.join("lobby", username="ada")`."""

from __future__ import annotations

import ssl
from collections.abc import Callable, Sequence

from hubbub.client.credentials import TokenSource
from hubbub.client.entry import Place
from hubbub.client.hub import BUFFER, QUEUE, Hub, Options, Status
from hubbub.client.lane import Event
from hubbub.client.link import KINDS
from hubbub.client.outcomes import Ended, Lost, QueueFull, Refused
from hubbub.client.room import Room

__all__ = [
    "Ended",
    "Event",
    "Hub",
    "Lost",
    "Place",
    "QueueFull",
    "Refused",
    "Room",
    "Status",
    "TokenSource",
    "connect",
]


def connect(
    url: str,
    token: TokenSource = "",
    *,
    session: str = "",
    transports: Sequence[str] = tuple(KINDS),
    attempts: int | None = None,
    queue: int = QUEUE,
    buffer: int = BUFFER,
    pipeline: int = 1,
    msgpack: bool = False,
    deflate: bool = False,
    tls: ssl.SSLContext | None = None,
    headers: Sequence[tuple[str, str]] = (),
    on_status: Callable[[Status], None] | None = None,
) -> Hub:
    """A client of a server, to be entered with `async with`: that waits for the first connection.

    Args:
        url: of the server or of its WebSocket, such as `https://chat.example` or `wss://chat.example/ws`.
        token: who the client is; or a function, plain or async, that is asked for a token, and again before it ends.
        session: the token of a session to take up.
        transports: what to try, best first.
        attempts: after so many that failed in a row the client gives up; None for never.
        queue: how many commands wait at most while there is no connection.
        buffer: how many events a room's reader may be behind before the server is to keep them.
        pipeline: how many messages of a room are under way at once. More than one is faster where the round trip is
            long, but what the server's rate limit holds up comes behind what was said later.
        msgpack: speaks MessagePack in place of JSON.
        deflate: compresses; it costs more than it saves unless events are long.
        tls: whom to trust; the system's authorities by default.
        headers: further ones of each request, for proxies.
        on_status: called when the connection comes and goes.

    Raises:
        ConfigError: the URL, the token or the transports are none.
    """
    return Hub(
        url,
        token,
        Options(
            session=session,
            transports=transports,
            attempts=attempts,
            queue=queue,
            buffer=buffer,
            pipeline=pipeline,
            msgpack=msgpack,
            deflate=deflate,
            tls=tls,
            headers=headers,
            on_status=on_status,
        ),
    )
