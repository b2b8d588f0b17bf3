"""Serves a node: the socket, TLS, uvicorn and its signals."""

from __future__ import annotations

import contextlib
import dataclasses
import gc
import importlib.util
import signal
import socket
import sys
from ipaddress import ip_address
from typing import Final, Literal

import uvicorn

from hubbub.config import Config
from hubbub.errors import ConfigError
from hubbub.node import Node
from hubbub.transports.http import HttpProtocol
from hubbub.transports.tls import Tls, TlsServer, read_settings
from hubbub.transports.websocket import WebSocketProtocol

# Open files that are no connections of the hub: ours, the broker's, and handshakes under way.
RESERVED_FILES: Final = 64
# A full collection over 100,000 connections stalls the loop; what lives long is freed by reference counting.
GC_THRESHOLDS: Final = (50_000, 20, 1000)


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


def serve(node: Node, config: Config, listener: socket.socket, tls: Tls | None = None) -> None:
    """Serves on a bound socket until SIGINT or SIGTERM; the process is given to it."""
    settings = _uvicorn_config(node, config)
    server = uvicorn.Server(settings) if tls is None else TlsServer(settings, tls, config.server)
    for number in (signal.SIGINT, signal.SIGTERM):  # until uvicorn takes over; it raises them again when it has stopped
        signal.signal(number, lambda *_: setattr(server, "should_exit", True))
    if hasattr(signal, "SIGHUP"):  # it would end the process; with TLS the server takes it over
        signal.signal(signal.SIGHUP, signal.SIG_IGN)
    gc.collect()
    gc.freeze()
    gc.set_threshold(*GC_THRESHOLDS)
    server.run(sockets=[listener])


def _uvicorn_config(node: Node, config: Config) -> uvicorn.Config:
    http = type("NodeHttpProtocol", (HttpProtocol,), {"settings": config, "counters": node.counters})
    ws = type("NodeWebSocketProtocol", (WebSocketProtocol,), {"settings": config})
    return uvicorn.Config(
        node,
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
