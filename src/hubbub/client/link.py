"""Connects: tries one kind of transport after the other, and tells what stands in the way of all."""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Final
from urllib.parse import urlsplit

from hubbub.client.choice import Network, Networks
from hubbub.client.lane import Event
from hubbub.client.transport import CONNECT_SECONDS, Blocked, Opening, Transport
from hubbub.errors import ConfigError, HubbubError


def _websocket() -> Transport:
    from hubbub.client.websocket import WebSocketTransport

    return WebSocketTransport()


def _sse() -> Transport:
    from hubbub.client.stream import StreamTransport  # httpx, which takes a while to load, is needed by few

    return StreamTransport()


def _poll() -> Transport:
    from hubbub.client.poll import PollTransport

    return PollTransport()


KINDS: Final[Mapping[str, Callable[[], Transport]]] = {"websocket": _websocket, "sse": _sse, "poll": _poll}
"""By name, best first."""
NETWORKS: Final = Networks()
"""What all clients of the process have found."""


def checked_kinds(kinds: Sequence[str]) -> tuple[str, ...]:
    """The kinds, if there are such.

    Raises:
        ConfigError: there is none, or one that is not known.
    """
    if not kinds or not set(kinds) <= KINDS.keys():
        raise ConfigError(f"transports are some of {', '.join(KINDS)}, best first; not {', '.join(kinds) or 'none'}")
    return tuple(kinds)


class Link:
    """Opens transports to one server, for one client.

    Attributes:
        kind: of the transport that was opened last.

    Args:
        kinds: to try, best first.
    """

    def __init__(self, url: str, kinds: Sequence[str]) -> None:
        parts = urlsplit(url)
        self._host = parts.hostname or ""
        self._port = parts.port or (443 if parts.scheme == "wss" else 80)
        self._kinds = kinds
        self._networks = NETWORKS
        self._network: Network = ("", "")
        self._proven: tuple[Network, str] | None = None
        self._blocked: set[str] = set()
        self.kind = kinds[0]

    async def open(self, opening: Opening) -> tuple[Transport, list[Event]]:
        """The first transport that gets through, as far as that shows at once, and its first events.

        Raises:
            Blocked: none does; why the first did not.
            HandshakeError: the server refuses the client.
            OSError: nobody is there.
        """
        self._network = (f"{self._host}:{self._port}", await self._own_address())
        first: Blocked | None = None
        for kind in self._networks.order(self._network, self._kinds, self._now()):
            if kind in self._blocked:
                continue
            self.kind = kind
            try:
                return await self._try(kind, opening)
            except Blocked as blocked:
                first = first or blocked
                if not self.blocked():
                    break
        self._blocked.clear()
        raise first or Blocked("no kind of connection gets through")

    def blocked(self) -> bool:
        """The transport does not get through; whether another kind is to be tried at once."""
        if self._proven == (self._network, self.kind):  # it did: more likely the server is not there, but only once
            self._proven = None
            return False
        self._blocked.add(self.kind)
        if self._blocked >= set(self._kinds):
            self._blocked.clear()
            return False
        return True

    def works(self) -> None:
        """The transport gets through."""
        self._blocked.clear()
        self._proven = (self._network, self.kind)
        self._networks.found(self._network, self.kind, self._kinds, self._now())

    async def _try(self, kind: str, opening: Opening) -> tuple[Transport, list[Event]]:
        """Opens a transport; one from which nothing comes is none."""
        transport = KINDS[kind]()
        try:
            await transport.open(opening)
            try:
                async with asyncio.timeout(CONNECT_SECONDS):
                    return transport, await transport.receive()
            except TimeoutError:
                raise Blocked("the connection was opened, and nothing came over it") from None
        except BaseException:
            await transport.abort()
            raise

    @property
    def is_best(self) -> bool:
        """Whether the best kind is in use."""
        return self.kind == self._kinds[0]

    @property
    def better_at(self) -> float:
        """When to look whether a better kind gets through by now."""
        return self._networks.better_at(self._network, self.kind)

    async def improves(self, opening: Opening) -> bool:
        """Whether a better kind gets through by now; leaves no connection, and lets the session be."""
        opening = replace(opening, session="")  # taking it up would end the connection that has it
        for kind in self._kinds[: self._kinds.index(self.kind)]:
            with contextlib.suppress(HubbubError, OSError):
                transport, _ = await self._try(kind, opening)
                await transport.close()
                if transport.proven:
                    self._networks.found(self._network, kind, self._kinds, self._now())
                    return True
        self._networks.found(self._network, self.kind, self._kinds, self._now())
        return False

    @staticmethod
    def _now() -> float:
        return asyncio.get_running_loop().time()

    async def _own_address(self) -> str:
        """The address that leads to the server; nothing is sent for it."""
        loop = asyncio.get_running_loop()
        with contextlib.suppress(OSError):
            found = await loop.getaddrinfo(self._host, self._port, type=socket.SOCK_DGRAM)
            family, kind, protocol, _, address = found[0]
            with socket.socket(family, kind, protocol) as probe:
                probe.connect(address)
                return str(probe.getsockname()[0])
        return ""
