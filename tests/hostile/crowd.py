"""Many raw connections at once, as one attacker holds them."""

from __future__ import annotations

import selectors
import time
from types import TracebackType
from typing import Self

from hubbub.wire.websocket import FIN, PING, PONG
from tests.support.peer import Peer, frame

OF_AN_ADDRESS = 250
"""Connections from one address: half of what the server allows."""


class Crowd:
    """Connections that were opened together.

    Attributes:
        peers: those that are open still.
    """

    def __init__(self, port: int, size: int) -> None:
        self.peers: list[Peer] = []
        self._opened: dict[Peer, float] = {}
        self._selector = selectors.DefaultSelector()
        for number in range(size):
            begin = time.monotonic()  # before the server's own clock begins
            peer = Peer(port, source=f"127.0.0.{2 + number // OF_AN_ADDRESS}")
            self._opened[peer] = begin
            self._selector.register(peer.socket, selectors.EVENT_READ, peer)
            self.peers.append(peer)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._selector.close()
        for peer in self._opened:
            peer.socket.close()

    def open(self) -> None:
        """Shakes hands on each connection."""
        for peer in self.peers:
            peer.open()

    def wait_until_read(self) -> None:
        """Returns once the server has read all that was sent: it has answered a ping behind it."""
        for peer in self.peers:
            peer.send(frame(FIN | PING, b""))
        for peer in self.peers:
            while peer.next()[0] != PONG:
                pass

    def age_seconds(self, peer: Peer) -> float:
        """How long ago somebody began to open a connection."""
        return time.monotonic() - self._opened[peer]

    def send(self, data: bytes, every: int = 1) -> None:
        """Sends the same from each, or each second one, and so on."""
        for peer in list(self._opened)[::every]:
            if peer.socket.fileno() >= 0:
                peer.send(data)

    def closed(self, seconds: float) -> list[Peer]:
        """Waits for as long as nothing happens, then says whom the server has closed; they are peers no more."""
        gone = []
        for key, _ in self._selector.select(seconds):
            peer: Peer = key.data
            if not peer.socket.recv(65536):
                gone.append(peer)
                self._selector.unregister(peer.socket)
                peer.socket.close()
        left = set(gone)
        self.peers = [peer for peer in self.peers if peer not in left]
        return gone
