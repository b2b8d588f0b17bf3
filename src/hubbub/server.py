"""Serves a node: the socket, TLS, uvicorn and its signals; how it ends, and how settings are read again."""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import gc
import importlib.util
import logging
import signal
import socket
import sys
from collections.abc import Callable
from ipaddress import ip_address
from types import FrameType
from typing import Any, Final, Literal

import uvicorn

from hubbub.config import Config, differences
from hubbub.errors import ConfigError
from hubbub.node import Node
from hubbub.transports.arrival import Arrival
from hubbub.transports.http import HttpProtocol
from hubbub.transports.tls import Tls, read_settings
from hubbub.transports.websocket import WebSocketProtocol

log: Final = logging.getLogger("hubbub")
# Open files that are no connections of the hub: ours, the broker's, and handshakes under way.
RESERVED_FILES: Final = 64
# A full collection over 100,000 connections stalls the loop; what lives long is freed by reference counting.
GC_THRESHOLDS: Final = (50_000, 20, 1000)
POLL_SECONDS: Final = 0.1
# What a second signal leaves to the broker: what was acknowledged is kept already.
HURRY_SECONDS: Final = 2.0


def within_open_files(config: Config) -> Config:
    """The settings with no more connections than the process may have open files; it is given all that it may have.

    Who is one too many is then told so, for which there are files left; out of files nobody could be told anything.
    """
    if sys.platform == "win32":
        return config
    import resource  # not on Windows

    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = config.limits.max_connections + RESERVED_FILES
    allowed = wanted if hard == resource.RLIM_INFINITY else min(wanted, hard)
    with contextlib.suppress(ValueError, OSError):  # a sandbox may not let us
        soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
        if soft != resource.RLIM_INFINITY and soft < allowed:
            resource.setrlimit(resource.RLIMIT_NOFILE, (allowed, hard))
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    room = max(soft - RESERVED_FILES, 1)
    if soft == resource.RLIM_INFINITY or room >= config.limits.max_connections:
        return config
    return dataclasses.replace(config, limits=dataclasses.replace(config.limits, max_connections=room))


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


def check_local(listener: socket.socket) -> None:
    """Whether a socket is for this machine alone.

    Raises:
        ConfigError: others reach it, and nobody has chosen who may come in.
    """
    address = listener.getsockname()[0]
    if not ip_address(address.partition("%")[0]).is_loopback:
        raise ConfigError(
            f"host {address}: others can reach it, so choose who may come in: --auth jwt, starlette, django, or"
            " anonymous for everybody"
        )


def secure(config: Config) -> Tls | None:
    """The TLS that the settings ask for; None when they ask for none.

    Raises:
        ConfigError: only one of the two files is named, or they cannot be used.
    """
    return read_settings(config.server)


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


class NodeServer(uvicorn.Server):
    """uvicorn's server for a node: it drains before it closes, and a second signal ends it at once.

    Args:
        config: uvicorn's, with the node as its application.
        tls: None to serve without.
        read: reads the settings again.
    """

    def __init__(self, config: uvicorn.Config, node: Node, tls: Tls | None, read: Callable[[], Config]) -> None:
        super().__init__(config)
        self._node = node
        self._tls = tls
        self._read = read

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets=sockets if self._tls is None else [])
        if hasattr(signal, "SIGHUP"):  # Windows has none
            asyncio.get_running_loop().add_signal_handler(signal.SIGHUP, self._reload)
            # What came before was held back: this one below, the others by whoever started us as a worker.
            signal.pthread_sigmask(signal.SIG_UNBLOCK, (signal.SIGHUP, signal.SIGINT, signal.SIGTERM))
        if self._tls is not None:
            for listener in sockets or ():
                self.servers.append(await self._tls.listen(listener, self._make_protocol, self.config.backlog))

    def _make_protocol(self) -> asyncio.Protocol:
        make: Callable[..., asyncio.Protocol] = self.config.http_protocol_class  # an Arrival
        return make(config=self.config, server_state=self.server_state, app_state=self.lifespan.state)

    def _reload(self) -> None:
        """SIGHUP: the certificate, and the limits of the settings; a mistake in these changes nothing."""
        if self._tls is not None:
            self._tls.reload()
        try:
            config = self._read()
        except ConfigError as error:
            log.error("the old settings go on: %s", error)
            return
        changed = differences(self._node.config, config)
        limits = [setting.name for setting in changed if setting.group == "limits"]
        others = [setting.name for setting in changed if setting.group != "limits"]
        self._node.limit(config.limits)
        arrival: Any = self.config.http
        websocket: Any = self.config.ws
        for protocol in (arrival, arrival.http, websocket):  # classes of this node's own
            protocol.settings = self._node.config
        log.info("the settings were read again; changed: %s", ", ".join(limits) or "nothing")
        if others:
            log.warning("these settings have changed and need a restart: %s", ", ".join(others))

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        again = self.should_exit
        super().handle_exit(sig, frame)
        self.force_exit = self.force_exit or again

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """The end after a signal; after a second one, at once."""
        ending = asyncio.ensure_future(self._end(sockets))
        while not ending.done() and not self.force_exit:
            await asyncio.wait((ending,), timeout=POLL_SECONDS)
        if ending.done():
            ending.result()
            return
        ending.cancel()
        self._node.hurry()
        for connection in list(self.server_state.connections):
            connection.shutdown()
        await asyncio.sleep(POLL_SECONDS)  # what was written last leaves
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(HURRY_SECONDS):
                await self.lifespan.shutdown()

    async def _end(self, sockets: list[socket.socket] | None) -> None:
        """Drains, still listening so that whoever comes is told; then closes."""
        # For the responses from now on: connections that are kept alive end with them.
        self.server_state.default_headers = [*self.server_state.default_headers, (b"connection", b"close")]
        await self._node.drain(listening=True)
        await super().shutdown(sockets)


def serve(node: Node, config: Config, listener: socket.socket, tls: Tls | None, read: Callable[[], Config]) -> None:
    """Serves on a bound socket until SIGINT or SIGTERM; the process is given to it."""
    server = NodeServer(_uvicorn_config(node, config), node, tls, read)
    for number in (signal.SIGINT, signal.SIGTERM):  # until uvicorn takes over; it raises them again when it has stopped
        signal.signal(number, lambda *_: setattr(server, "should_exit", True))
    if hasattr(signal, "SIGHUP"):  # it would end the process; the server takes it over
        signal.pthread_sigmask(signal.SIG_BLOCK, (signal.SIGHUP,))
    gc.collect()
    gc.freeze()
    gc.set_threshold(*GC_THRESHOLDS)
    server.run(sockets=[listener])


def _uvicorn_config(node: Node, config: Config) -> uvicorn.Config:
    http = type("NodeHttpProtocol", (HttpProtocol,), {"settings": config, "counters": node.counters})
    arrival = type("NodeArrival", (Arrival,), {"settings": config, "http": http})
    ws = type("NodeWebSocketProtocol", (WebSocketProtocol,), {"settings": config})
    return uvicorn.Config(
        node,
        http=arrival,
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
