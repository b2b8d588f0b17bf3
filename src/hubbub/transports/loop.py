"""What transports share: a loop's read buffer and wheel of deadlines, and how a connection is ended."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
from typing import Final, NamedTuple, Protocol
from weakref import WeakKeyDictionary

from hubbub.hub.heartbeat import Wheel

# What is taken from one socket before others get their turn; how much of it is handled in that turn, `frames` says.
READ_BUFFER_BYTES: Final = 16 * 1024
TICK_SECONDS: Final = 0.25
LONGEST_SECONDS: Final = 600.0
# Requests that begin in a turn; about 5 ms.
CALLED_A_TURN: Final = 16
# Longer than any round trip, so that a peer between two bursts is not taken for one that has stopped.
SILENT_SECONDS: Final = 1.0
# Between a protocol and one that has a buffer: uvloop holds on to the last `data_received` that a protocol had, and so
# to all of that protocol (benchmarks: P4, polls.py).
NOBODY: Final = asyncio.Protocol()
TAKEOVER: Final = "hubbub.takeover"
"""The ASGI extension under which a server hands WebSockets over: a callable, see `WebSocketProtocol.take_over`."""


class Ends(NamedTuple):
    """Between whom a connection is.

    Attributes:
        client, server: address and port, as ASGI has them; None where they are not known.
        secure: whether it is TLS.
    """

    client: tuple[str, int] | None
    server: tuple[str, int | None] | None
    secure: bool


def ends_of(transport: asyncio.BaseTransport) -> Ends:
    """The ends of a connection: as uvicorn finds them, but not through a socket object, which takes 20 us; P6."""
    client, server = transport.get_extra_info("peername"), transport.get_extra_info("sockname")
    return Ends(
        (str(client[0]), int(client[1])) if isinstance(client, tuple) else None,
        (str(server[0]), int(server[1])) if isinstance(server, tuple) else _path_of(server),
        transport.get_extra_info("sslcontext") is not None,
    )


def _path_of(server: object) -> tuple[str, None] | None:
    return (server, None) if isinstance(server, str) and server else None


class Expiring(Protocol):
    """Something with a deadline."""

    def expire(self) -> None:
        """The deadline has passed."""
        ...


class Turns:
    """Callbacks that take turns: so few in one of the loop that others are served between.

    Args:
        count: how many in a turn of the loop.
    """

    __slots__ = ("_count", "_loop", "_waiting")

    def __init__(self, loop: asyncio.AbstractEventLoop, count: int) -> None:
        self._loop = loop
        self._count = count
        self._waiting: deque[Callable[[], None]] = deque()

    def put(self, callback: Callable[[], None]) -> None:
        """Calls back soon, behind all that were put before."""
        if not self._waiting:
            self._loop.call_soon(self._take)
        self._waiting.append(callback)

    def _take(self) -> None:
        try:
            for _ in range(min(len(self._waiting), self._count)):
                self._waiting.popleft()()
        finally:  # whatever one of them does, the others get their turn
            if self._waiting:
                self._loop.call_soon(self._take)


class Shared:
    """One event loop's read buffer, deadlines and turns.

    Attributes:
        buffer: where bytes arrive; they are taken out before the callback returns.
        requests: those that begin.
        rests: what is left over of connections that had their turn; each takes as much of the loop's as that was.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self.buffer = memoryview(bytearray(READ_BUFFER_BYTES))
        self._loop = loop
        self._wheel: Wheel[Expiring] = Wheel(round(LONGEST_SECONDS / TICK_SECONDS))
        self._ticking = False
        self.requests = Turns(loop, CALLED_A_TURN)
        self.rests = Turns(loop, 1)

    def put(self, entry: Expiring, seconds: float) -> int:
        """Sets a deadline, accurate to a quarter of a second; returns the slot, to take it back."""
        if not self._ticking:
            self._ticking = True
            self._loop.call_later(TICK_SECONDS, self._tick)
        return self._wheel.put(entry, round(seconds / TICK_SECONDS) + 1)

    def discard(self, entry: Expiring, slot: int) -> None:
        """Takes a deadline back."""
        self._wheel.discard(entry, slot)

    def pass_on(self, entry: Expiring, other: Expiring, slot: int) -> None:
        """Makes a deadline another's."""
        self._wheel.replace(entry, other, slot)

    def _tick(self) -> None:
        due = self._wheel.tick()
        self._ticking = bool(due) or len(self._wheel) > 0
        if self._ticking:
            self._loop.call_later(TICK_SECONDS, self._tick)
        for entry in due:
            entry.expire()


_shared: WeakKeyDictionary[asyncio.AbstractEventLoop, Shared] = WeakKeyDictionary()


def shared_by(loop: asyncio.AbstractEventLoop) -> Shared:
    """What the connections of this loop share."""
    shared = _shared.get(loop)
    if shared is None:
        shared = _shared[loop] = Shared(loop)
    return shared


class Lingering(asyncio.BufferedProtocol):
    """Reads and forgets until the peer is gone or time is up.

    A socket that is closed with unread bytes resets the connection, and our last words would be lost with it.
    """

    __slots__ = ("_shared", "_slot", "_transport")

    def __init__(self, transport: asyncio.Transport, shared: Shared, seconds: float) -> None:
        self._transport = transport
        self._shared = shared
        self._slot = shared.put(self, seconds)

    def get_buffer(self, sizehint: int) -> memoryview:
        return self._shared.buffer

    def buffer_updated(self, nbytes: int) -> None:
        pass

    def eof_received(self) -> None:
        pass

    def connection_lost(self, exc: Exception | None) -> None:
        self._shared.discard(self, self._slot)

    def expire(self) -> None:
        self._transport.abort()


class LingeringTls(Lingering):
    """The same over TLS, which asyncio cannot end on one side only: the peer has heard us once it is silent.

    A loop that ends TLS while the peer still sends resets the connection.
    """

    __slots__ = ("_left", "_silent")

    def __init__(self, transport: asyncio.Transport, shared: Shared, seconds: float) -> None:
        super().__init__(transport, shared, SILENT_SECONDS)
        self._left = seconds
        self._silent = True

    def buffer_updated(self, nbytes: int) -> None:
        self._silent = False

    def expire(self) -> None:
        self._left -= SILENT_SECONDS
        if self._silent:
            self._transport.close()  # the transport bounds the time for the peer's goodbye
        elif self._left <= 0:
            self._transport.abort()
        else:
            self._silent = True
            self._slot = self._shared.put(self, SILENT_SECONDS)


class Unread:
    """Ends a connection whose peer takes nothing of what was written to it; looked at as often as it may take so long.

    One that is closed before that is written stays open until it is, for ever if the peer likes.
    """

    __slots__ = ("_left", "_seconds", "_shared", "_slot", "_transport")

    def __init__(self, transport: asyncio.Transport, shared: Shared, seconds: float) -> None:
        self._transport = transport
        self._shared = shared
        self._seconds = seconds
        self._slot = -1
        self.begin()

    def begin(self) -> None:
        """The time begins anew, if anything waits to be read."""
        self.discard()
        self._left = self._transport.get_write_buffer_size()
        if self._left:
            self._slot = self._shared.put(self, self._seconds)

    def discard(self) -> None:
        """It is not looked at any more."""
        if self._slot >= 0:
            self._shared.discard(self, self._slot)
            self._slot = -1

    def expire(self) -> None:
        self._slot = -1
        if self._transport.get_write_buffer_size() >= self._left:
            self._transport.abort()
        else:
            self.begin()


def linger(transport: asyncio.Transport, shared: Shared, seconds: float) -> None:
    """Ends our side of a connection so that what was written last arrives; the transport's protocol is done with."""
    if transport.is_closing():
        return
    transport.resume_reading()
    if transport.can_write_eof():
        transport.write_eof()
        transport.set_protocol(Lingering(transport, shared, seconds))
    else:
        transport.set_protocol(LingeringTls(transport, shared, seconds))
