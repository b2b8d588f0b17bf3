"""Builds a node from a config and runs it: the only file that picks concrete parts."""

from __future__ import annotations

import asyncio
import gc
import importlib.util
import logging
import os
import signal
import socket
import time
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from functools import partial
from struct import Struct
from typing import Any, Final, Literal

import uvicorn
from starlette.middleware.exceptions import ExceptionMiddleware
from starlette.routing import BaseRoute, Match, Mount, Router
from starlette.routing import WebSocketRoute as StarletteRoute
from starlette.staticfiles import StaticFiles
from starlette.types import ASGIApp, Receive, Scope, Send

import hubbub.config
from hubbub.app import Hubbub
from hubbub.brokers.memory import MemoryBroker
from hubbub.brokers.sqlite import SqliteBroker
from hubbub.brokers.sqlite_open import parse_url
from hubbub.config import Config, Policies
from hubbub.errors import ConfigError, HandshakeError
from hubbub.hub.hub import Hub
from hubbub.hub.ports import Broker, Retention
from hubbub.transports.asgi import WebSocketRoute, refuse
from hubbub.transports.http import HttpProtocol
from hubbub.transports.websocket import WebSocketProtocol

log: Final = logging.getLogger("hubbub")
RANDOM_BLOCK_BYTES: Final = 4096
_UUID_GROUPS: Final = Struct("8s4s4s4s12s")
_VERSION_4: Final = bytes(0x40 | byte & 0x0F for byte in range(256))
_VARIANT: Final = bytes(0x80 | byte & 0x3F for byte in range(256))
# A full collection over 100,000 connections stalls the loop; what lives long is freed by reference counting.
GC_THRESHOLDS: Final = (50_000, 20, 1000)
MEMORY_HISTORY: Final = 1_000
FILE_HISTORY: Final = 10_000


class RandomIds:
    """UUIDs (version 4) from the kernel's randomness, made in blocks: a fifth of the cost of uuid.uuid4()."""

    def __init__(self) -> None:
        self._ready: list[str] = []

    def take(self) -> str:
        """One that was never given out before."""
        if not self._ready:
            self._ready = self._make()
        return self._ready.pop()

    def _make(self) -> list[str]:
        """A block of random bytes as UUIDs, with version and variant set (RFC 9562, section 5.4)."""
        block = bytearray(os.urandom(RANDOM_BLOCK_BYTES))
        block[6::16] = block[6::16].translate(_VERSION_4)
        block[8::16] = block[8::16].translate(_VARIANT)
        return [b"-".join(groups).decode() for groups in _UUID_GROUPS.iter_unpack(block.hex().encode())]


class AsyncioRuntime:
    """hub.ports.Runtime on an asyncio event loop, once that runs."""

    _loop: asyncio.AbstractEventLoop

    def __init__(self) -> None:
        self._tasks: set[asyncio.Task[None]] = set()
        self.new_id = RandomIds().take
        self.monotonic = time.monotonic

    def begin(self, loop: asyncio.AbstractEventLoop) -> None:
        """The loop runs."""
        self._loop = loop

    def post(self, callback: Callable[[], None]) -> None:
        """Has a callback called on the loop's thread; called from any thread."""
        self._loop.call_soon_threadsafe(callback)

    def unix_ms(self) -> int:
        return time.time_ns() // 1_000_000

    def call_soon(self, callback: Callable[[], None]) -> None:
        self._loop.call_soon(callback)

    def spawn(self, coroutine: Coroutine[Any, Any, None]) -> None:
        task = self._loop.create_task(coroutine)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def settle(self, seconds: float) -> None:
        """Waits for the coroutines under way, and cancels those that take longer."""
        if self._tasks:
            _, late = await asyncio.wait(self._tasks, timeout=seconds)
            for task in late:
                task.cancel()
            await asyncio.gather(*late, return_exceptions=True)


class _Files(Mount):
    """Files below a path; a request for a WebSocket is not for them, so that it is answered with 404 and not 403."""

    def matches(self, scope: Scope) -> tuple[Match, Scope]:
        return super().matches(scope) if scope["type"] == "http" else (Match.NONE, {})


class Node:
    """An application at work on one event loop: starts with the first request or the ASGI lifespan.

    Args:
        app: what is served.
        config: the settings in force.
    """

    def __init__(self, app: Hubbub, config: Config) -> None:
        self.hub: Hub | None = None
        self._app = app
        self._config = config
        self._policies = Policies(config.rooms.policy(), app.patterns)
        self._runtime = AsyncioRuntime()
        self._router: Router | None = None
        self._broker: Broker | None = None
        self._timer: asyncio.TimerHandle | None = None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        await (self._router or self.start())(scope, receive, send)

    def open(self) -> Broker:
        """Opens the broker; `start` does so by itself, but has nobody to tell of a mistake.

        Raises:
            ConfigError: it cannot be had; says why.
            BrokerError: its file is damaged.
        """
        if self._broker is None:
            self._broker = open_broker(self._config, self._runtime, self._policies)
        return self._broker

    def start(self) -> Router:
        """Builds the hub and its routes, and begins to tick."""
        loop = asyncio.get_running_loop()
        self._runtime.begin(loop)
        self.hub = Hub(self._runtime, self.open(), self._config, self._policies)
        hub = self.hub
        routes: list[BaseRoute] = [
            StarletteRoute(route.path, WebSocketRoute(hub, route.endpoints)) for route in self._app.bind(hub)
        ]
        for path, app in self._app.mounts:
            mount = _Files if isinstance(app, StaticFiles) else Mount
            routes.append(mount(path, app=ExceptionMiddleware(app)))
        self._router = Router(routes, default=_not_found, lifespan=self.lifespan)
        self._tick(loop)
        return self._router

    def _tick(self, loop: asyncio.AbstractEventLoop) -> None:
        assert self.hub is not None
        self._timer = loop.call_later(self.hub.tick_seconds, self._tick, loop)
        self.hub.tick()

    @asynccontextmanager
    async def lifespan(self, _: object = None) -> AsyncIterator[None]:
        """Starts the node where it has not started, and stops it in the end: what a host needs that mounts it."""
        if self._router is None:
            self.start()
        try:
            yield
        finally:
            await self.stop()

    async def stop(self) -> None:
        """Ends every connection with 1012 and waits for handlers, each within a bounded time; it may start again."""
        if self._timer is not None:  # first: what a tick publishes now would come too late
            self._timer.cancel()
        if self.hub is not None:
            self.hub.close_all()
        await self._runtime.settle(self._config.server.close_seconds)
        if self._broker is not None:
            await self._broker.stop()
        self.hub = self._router = self._broker = self._timer = None


def open_broker(config: Config, runtime: AsyncioRuntime, policies: Policies) -> Broker:
    """The broker that the settings name.

    Raises:
        ConfigError: it cannot be had; says why.
        BrokerError: its file is damaged.
    """

    def retention(count: int, room: str) -> Retention:
        policy = policies(room)
        return Retention(policy.history or count, policy.history_bytes, policy.history_seconds, policy.latest_only)

    url = config.server.broker
    if url == "memory://":
        kept = partial(retention, MEMORY_HISTORY)
        return MemoryBroker(runtime.new_id, kept, config.rooms.max_logs, runtime.unix_ms)
    if url.startswith("sqlite:"):
        path, level = parse_url(url), config.server.synchronous.upper()
        kept = partial(retention, FILE_HISTORY)
        return SqliteBroker(path, kept, runtime.unix_ms, runtime.post, level)
    raise ConfigError(f"broker {url!r}: known are sqlite:///file and memory://")


async def _not_found(scope: Scope, receive: Receive, send: Send) -> None:
    if scope["type"] == "websocket":
        await refuse(scope, receive, send, HandshakeError(404, "no such path"))
    elif scope["type"] == "http":
        headers = [(b"content-type", b"text/plain; charset=utf-8"), (b"content-length", b"10")]
        await send({"type": "http.response.start", "status": 404, "headers": headers})
        await send({"type": "http.response.body", "body": b"Not Found\n"})


def build_asgi(app: Hubbub, config: Config | None = None) -> Node:
    """The application as ASGI."""
    return Node(app, config or hubbub.config.load())


def listen(config: Config) -> socket.socket:
    """A bound socket.

    Raises:
        ConfigError: the address cannot be had; says why.
    """
    host, port = config.server.host, config.server.port
    if port > 65535:
        raise ConfigError(f"cannot listen on {host}:{port}: ports end at 65535")
    try:
        family, _, _, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)[0]
        listener = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)  # asyncio sets TCP_NODELAY
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(address)
        listener.listen(config.server.backlog)
    except (OSError, OverflowError) as error:
        raise ConfigError(f"cannot listen on {host}:{port}: {getattr(error, 'strerror', None) or error}") from error
    listener.set_inheritable(True)
    return listener


def event_loop(name: str) -> Literal["auto", "asyncio", "uvloop"]:
    """The name of an event loop as uvicorn knows it.

    Raises:
        ConfigError: there is no such loop.
    """
    match name:
        case "uvloop" if importlib.util.find_spec("uvloop") is None:
            raise ConfigError("loop 'uvloop': it is not installed here; auto and asyncio do without it")
        case "auto" | "asyncio" | "uvloop":
            return name
        case _:
            raise ConfigError(f"loop {name!r}: known are auto, asyncio and uvloop")


def serve(app: ASGIApp, config: Config, listener: socket.socket) -> None:
    """Serves on a bound socket until SIGINT or SIGTERM; the process is given to it."""
    http = type("NodeHttpProtocol", (HttpProtocol,), {"settings": config})
    ws = type("NodeWebSocketProtocol", (WebSocketProtocol,), {"settings": config})
    settings = uvicorn.Config(
        app,
        http=http,
        ws=ws,
        loop=event_loop(config.server.loop),
        lifespan="on",
        log_config=None,
        access_log=False,
        proxy_headers=False,
        server_header=False,
        backlog=config.server.backlog,
        ws_max_size=config.limits.max_message_bytes,
        timeout_graceful_shutdown=round(config.server.close_seconds) + 1,
    )
    server = uvicorn.Server(settings)
    for number in (signal.SIGINT, signal.SIGTERM):  # until uvicorn takes over; it raises them again when it has stopped
        signal.signal(number, lambda *_: setattr(server, "should_exit", True))
    gc.collect()
    gc.freeze()
    gc.set_threshold(*GC_THRESHOLDS)
    server.run(sockets=[listener])


Hubbub.build_asgi = staticmethod(build_asgi)
