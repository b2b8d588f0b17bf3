"""Builds a node from a config and runs it: the only file that picks concrete parts."""

from __future__ import annotations

import asyncio
import dataclasses
import logging
import os
import re
import time
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from functools import partial
from struct import Struct
from typing import Any, Final

from starlette.middleware.exceptions import ExceptionMiddleware
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response
from starlette.routing import BaseRoute, Match, Mount, Route, Router
from starlette.routing import WebSocketRoute as StarletteRoute
from starlette.staticfiles import StaticFiles
from starlette.types import Message, Receive, Scope, Send

import hubbub.config
from hubbub.app import Hubbub, Work, calls_of
from hubbub.auth.choose import choose_origins, choose_proxies, choose_ways
from hubbub.auth.gate import Gate
from hubbub.auth.tickets import Tickets
from hubbub.brokers import redis_url
from hubbub.brokers.epoch import new_epoch
from hubbub.brokers.memory import MemoryBroker
from hubbub.brokers.sqlite import SqliteBroker
from hubbub.brokers.sqlite_open import parse_url
from hubbub.config import Config, Limits, Policies
from hubbub.errors import BrokerAwayError, BrokerError, ConfigError, HandshakeError
from hubbub.hub import revocations
from hubbub.hub.counters import Counters
from hubbub.hub.hub import Hub
from hubbub.hub.ports import Broker, Retention
from hubbub.transports.api import ApiRoute
from hubbub.transports.api_operation import Api
from hubbub.transports.api_table import operations_of
from hubbub.transports.asgi import WebSocketRoute, refuse
from hubbub.transports.health import ALIVE_PATH, READY_PATH, Probe, alive
from hubbub.transports.listening import LINES_PATH, POLL_PATH, SSE_PATH
from hubbub.transports.poll import PollRoute
from hubbub.transports.stream import StreamRoute

log: Final = logging.getLogger("hubbub")
RANDOM_BLOCK_BYTES: Final = 4096
_UUID_GROUPS: Final = Struct("8s4s4s4s12s")
_VERSION_4: Final = bytes(0x40 | byte & 0x0F for byte in range(256))
_VARIANT: Final = bytes(0x80 | byte & 0x3F for byte in range(256))
MEMORY_HISTORY: Final = 1_000
FILE_HISTORY: Final = 10_000
OPEN_SECONDS: Final = 1.0
"""Between attempts to reach the broker's server, where a host has started us without it."""
NO_BROKER: Final = "the broker is not there"
OPEN_AGAIN: Final = ((b"retry-after", b"1"),)
READY_SECONDS: Final = 2.0
RETRY_LATER: Final = ((b"retry-after", b"5"),)


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

    def loop(self) -> asyncio.AbstractEventLoop:
        """The loop, once it runs."""
        return self._loop

    def post(self, callback: Callable[[], None]) -> None:
        """Has a callback called on the loop's thread; called from any thread."""
        self._loop.call_soon_threadsafe(callback)

    def unix_ms(self) -> int:
        return time.time_ns() // 1_000_000

    def call_soon(self, callback: Callable[[], None]) -> None:
        self._loop.call_soon(callback)

    def call_later(self, seconds: float, callback: Callable[[], None]) -> None:
        self._loop.call_later(seconds, callback)

    def spawn(self, coroutine: Coroutine[Any, Any, None]) -> None:
        task = self._loop.create_task(coroutine)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    def cancel(self) -> None:
        """Cancels the coroutines under way."""
        for task in self._tasks:
            task.cancel()

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

    Attributes:
        config: the settings in force.

    Args:
        app: what is served.
    """

    def __init__(self, app: Hubbub, config: Config) -> None:
        self.hub: Hub | None = None
        self._app = app
        self.config = config
        self.counters = Counters()
        kept = {"history": revocations.MOST, "history_bytes": 0, "history_seconds": config.auth.revocation_seconds}
        self._policies = Policies(config.rooms.policy(), [(revocations.ROOM, kept), *app.patterns])
        self._runtime = AsyncioRuntime()
        self._router: Router | None = None
        self._broker: Broker | None = None
        self._gate: Gate | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._works: list[asyncio.Task[None]] = []
        self._opening = asyncio.Lock()
        self._open_at = 0.0
        self._probes = Route(ALIVE_PATH, Probe(alive)), Route(READY_PATH, Probe(self._check_ready))
        self._unstarted = Router(self._probes, default=self._start_and_serve)  # alive before the broker is there

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":  # also where the broker is not there yet
            await Router(lifespan=self.lifespan)(scope, receive, send)
            return
        await self._serve(self._router or self._unstarted, scope, receive, send)

    async def _start_and_serve(self, scope: Scope, receive: Receive, send: Send) -> None:
        router = await self._begin()
        if router is None:
            await _answer(scope, receive, send, 503, NO_BROKER, OPEN_AGAIN)
        else:
            await self._serve(router, scope, receive, send)

    async def _serve(self, router: Router, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "websocket" and self.hub is not None and self.hub.draining.begun:
            self.counters.handshakes_refused += 1  # those of what is mounted as well
            await refuse(scope, receive, send, self.hub.draining.refusal())
        elif scope["type"] == "http":
            await self._serve_http(router, scope, receive, send)
        else:
            await router(scope, receive, send)

    async def _serve_http(self, router: Router, scope: Scope, receive: Receive, send: Send) -> None:
        """Counts the request, and how long it takes until its response begins: a stream's may never end."""
        began = self._runtime.monotonic()
        counted = False

        def count(*, failed: bool) -> None:
            nonlocal counted
            if not counted:
                counted = True
                self.counters.requests += 1
                self.counters.request_seconds += self._runtime.monotonic() - began
                self.counters.requests_failed += failed

        async def watched(message: Message) -> None:
            if message["type"] == "http.response.start":
                count(failed=message["status"] >= 500)
            await send(message)

        try:
            await router(scope, receive, watched)
        except Exception:
            count(failed=True)
            raise
        count(failed=False)  # it was answered on the socket itself

    async def _begin(self) -> Router | None:
        """Starts the node; None while the broker's server is not there, which is asked no more than once a second."""
        if redis_url.names_redis(self.config.server.broker):
            async with self._opening:
                if self._broker is None and not await self._open_later():
                    return None
        return self._router or self.start()

    async def _open_later(self) -> bool:
        now = self._runtime.monotonic()
        if now < self._open_at:
            return False
        try:
            await asyncio.to_thread(self.open)
        except BrokerAwayError as error:
            log.error("the node is not ready: %s", error)
            self._open_at = now + OPEN_SECONDS
            return False
        return True

    def open(self) -> Broker:
        """Opens the broker; `start` does so by itself, but has nobody to tell of a mistake.

        Raises:
            ConfigError: it cannot be had; says why.
            BrokerError: its file is damaged.
        """
        if self._broker is None:
            self._broker = open_broker(self.config, self._runtime, self._policies)
        return self._broker

    def start(self) -> Router:
        """Builds the hub and its routes, and begins to tick."""
        loop = asyncio.get_running_loop()
        self._runtime.begin(loop)
        hub = self.hub = Hub(self._runtime, self.open(), self.config, self._policies, self.counters)
        gate = self._gate = self._build_gate(hub)
        hub.authenticate = gate.identify
        api = Api(hub, gate, calls_of(self._app, hub), hubbub.__version__, self._app.path)
        routes: list[BaseRoute] = [
            StarletteRoute(route.path, WebSocketRoute(hub, route.endpoints, gate)) for route in self._app.bind(hub)
        ]
        routes += (
            *(Route(path, StreamRoute(hub, gate, path, self._app.hooks)) for path in (SSE_PATH, LINES_PATH)),
            Route(POLL_PATH, PollRoute(hub, gate)),
            ApiRoute(api, operations_of(api), alone=not any(path.startswith("/api") for path, _ in self._app.mounts)),
            *self._probes,
        )
        for path, app in sorted(self._app.mounts, key=_longest_first):
            files = isinstance(app, StaticFiles)
            if files and path.rstrip("/"):
                routes.append(Route(path.rstrip("/"), _to_folder))
            routes.append((_Files if files else Mount)(path, app=ExceptionMiddleware(app)))
        self._router = Router(routes, default=_not_found)
        hub.nodes.open(_ignore)
        self._tick(loop)
        self._works = [loop.create_task(self._repeat(seconds, work)) for seconds, work in self._app.works]
        return self._router

    def check(self) -> None:
        """Looks whether the settings of authentication fit together, and those of several processes.

        Raises:
            ConfigError: they do not; says how to mend it.
        """
        server, auth = self.config.server, self.config.auth
        if server.workers > 1 and not redis_url.names_redis(server.broker):
            kind, number = server.broker.partition(":")[0], server.workers
            raise ConfigError(f"workers {number}: {kind} is for one process: give --broker redis://host, or one worker")
        ways = choose_ways(auth, self._app.authenticator, time.time)
        choose_origins(auth, ways)
        choose_proxies(auth)

    def _build_gate(self, hub: Hub) -> Gate:
        auth = self.config.auth
        ways = choose_ways(auth, self._app.authenticator, time.time)

        return Gate(
            ways,
            choose_origins(auth, ways),
            choose_proxies(auth),
            Tickets(auth.ticket_seconds, hub.broker),
            local=not auth.auth and self._app.authenticator is None,
            token_in_query=auth.token_in_query,
            knock=lambda address: hub.admission.knock(address, self._runtime.monotonic()),
            ready=partial(self._check_open, hub),
        )

    async def _check_open(self, hub: Hub) -> None:
        """Whether anybody may come in: it is known who has been locked out, other nodes can ask for whoever comes,
        and the node does not stop.

        Raises:
            HandshakeError: 503.
        """
        hub.draining.check()
        if not hub.standing.revocations.loaded and await _fails(hub.standing.revocations.load):
            raise HandshakeError(503, "it cannot be read who has been locked out", RETRY_LATER)
        if not hub.nodes.opened and await _fails(hub.nodes.open):
            raise HandshakeError(503, "the other nodes cannot be reached", RETRY_LATER)

    async def _check_ready(self) -> None:
        """Whether the node is to be sent clients; starts it where it has not started.

        Raises:
            HandshakeError: 503.
        """
        if await self._begin() is None or self.hub is None:
            raise HandshakeError(503, NO_BROKER, OPEN_AGAIN)
        if not self.hub.broker.ready:
            raise HandshakeError(503, "the broker does not answer", RETRY_LATER)
        try:
            async with asyncio.timeout(READY_SECONDS):
                await self._check_open(self.hub)
        except TimeoutError:
            raise HandshakeError(503, "it takes too long to read who has been locked out", RETRY_LATER) from None

    def _tick(self, loop: asyncio.AbstractEventLoop) -> None:
        assert self.hub is not None
        self._timer = loop.call_later(self.hub.tick_seconds, self._tick, loop)
        self.hub.tick()

    async def _repeat(self, seconds: float, work: Work) -> None:
        """Does what the application does by the clock, at the whole multiples of the time of day."""
        last = time.time() // seconds
        while True:
            now = time.time()
            if (multiple := now // seconds) == last:  # the loop's clock may wake us a little early, too
                await asyncio.sleep((multiple + 1) * seconds - now)
                continue
            last = multiple
            try:
                done = work()
                if done is not None:
                    await done
            except Exception:
                self.counters.handlers_failed += 1
                log.exception("what is done every %g s failed", seconds)

    @asynccontextmanager
    async def lifespan(self, _: object = None) -> AsyncIterator[None]:
        """Starts the node where it has not started, and stops it in the end: what a host needs that mounts it."""
        if self._router is None:
            await self._begin()
        try:
            yield
        finally:
            await self.stop()

    async def drain(self, *, listening: bool = False) -> None:
        """Lets nobody in any more, and ends every connection with 1012, spread over a bounded time.

        Args:
            listening: whoever comes is still answered, so that load balancers can be waited for.
        """
        if self.hub is not None:
            draining = self.hub.draining
            draining.begin(self.config.server.drain_notice_seconds if listening else 0.0)
            while (wait := draining.go_on()) is not None:
                await asyncio.sleep(wait)

    def limit(self, limits: Limits) -> None:
        """Puts limits in force, for open connections as well; nobody who is in is put out."""
        self.config = dataclasses.replace(self.config, limits=limits)
        if self.hub is not None:
            self.hub.limit(self.config)

    def hurry(self) -> None:
        """Ends at once what `drain` and `stop` would wait for."""
        if self.hub is not None:
            self.hub.close_all()
        self._runtime.cancel()

    async def stop(self) -> None:
        """Drains, if nobody has, and waits for handlers, each within a bounded time; it may start again."""
        if self.hub is not None and not self.hub.draining.begun:
            await self.drain()
        if self._timer is not None:  # first: what a tick publishes now would come too late
            self._timer.cancel()
        works, self._works = self._works, []
        for work in works:
            work.cancel()
        await asyncio.gather(*works, return_exceptions=True)
        if self.hub is not None:
            self.hub.close_all()
        if self._gate is not None:
            await self._gate.close()
        await self._runtime.settle(self.config.server.close_seconds)
        if self._broker is not None:
            await self._broker.stop()
        self.hub = self._router = self._broker = self._gate = self._timer = None
        self._opening = asyncio.Lock()  # the next loop may be another


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
        return MemoryBroker(new_epoch, kept, config.rooms.max_logs, runtime.unix_ms)
    if url.startswith("sqlite:"):
        path, level = parse_url(url), config.server.synchronous.upper()
        kept = partial(retention, FILE_HISTORY)
        return SqliteBroker(path, kept, runtime.unix_ms, runtime.post, level)
    if redis_url.names_redis(url):
        return _open_redis(config, runtime, partial(retention, FILE_HISTORY))
    shown = re.sub("//.*@", "//...@", url)
    raise ConfigError(f"broker {shown!r}: known are sqlite:///file, memory:// and redis://host")


def _open_redis(config: Config, runtime: AsyncioRuntime, retention: Callable[[str], Retention]) -> Broker:
    from hubbub.brokers.redis_link import Patience
    from hubbub.brokers.redis_open import open_redis  # costs 0.2 s, which nobody else is to pay

    settings = config.redis
    password = redis_url.read_password(settings.redis_password, settings.redis_password_file)
    target = redis_url.parse_url(config.server.broker, password)
    patience = Patience(settings.redis_connect_seconds, settings.redis_timeout_seconds, settings.redis_wait_seconds)
    if set(settings.redis_prefix) & set("{}"):
        raise ConfigError("redis_prefix: braces have a meaning in a Redis Cluster: leave them out")
    return open_redis(
        target, patience, settings.redis_prefix, retention, runtime.unix_ms, runtime.loop, settings.redis_ca
    )


async def _fails(call: Callable[[Callable[[BrokerError | None], None]], None]) -> bool:
    """Whether something fails that calls back."""
    done: asyncio.Future[BrokerError | None] = asyncio.get_running_loop().create_future()
    call(lambda error: None if done.done() else done.set_result(error))
    return await done is not None


async def _to_folder(request: Request) -> Response:
    """What a page loads is beside it: a page that is a folder is asked for with a slash behind it."""
    query = f"?{request.url.query}" if request.url.query else ""
    return RedirectResponse(f"{request.url.path.rpartition('/')[2]}/{query}")


def _longest_first(mount: tuple[str, Any]) -> int:
    """What is below another path comes before it: applications are included in any order."""
    return -len(mount[0].rstrip("/"))


def _ignore(error: BrokerError | None) -> None:
    """Whoever comes tries it again."""


async def _not_found(scope: Scope, receive: Receive, send: Send) -> None:
    await _answer(scope, receive, send, 404, "no such path" if scope["type"] == "websocket" else "Not Found")


async def _answer(
    scope: Scope, receive: Receive, send: Send, status: int, reason: str, headers: tuple[tuple[bytes, bytes], ...] = ()
) -> None:
    """Refuses a request, with its reason as a text."""
    if scope["type"] == "websocket":
        await refuse(scope, receive, send, HandshakeError(status, reason, headers))
    elif scope["type"] == "http":
        body = reason.encode() + b"\n"
        length = (b"content-length", b"%d" % len(body))
        head = [(b"content-type", b"text/plain; charset=utf-8"), length, *headers]
        await send({"type": "http.response.start", "status": status, "headers": head})
        await send({"type": "http.response.body", "body": body})


def build_asgi(app: Hubbub, config: Config | None = None) -> Node:
    """The application as ASGI."""
    return Node(app, config or hubbub.config.load())


Hubbub.build_asgi = staticmethod(build_asgi)
