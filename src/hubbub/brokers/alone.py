"""What a broker of one process has to say of other nodes: there are none."""

from __future__ import annotations

import os
from collections.abc import Sequence

from hubbub.hub.ports import Answer, Listener, Present


class Alone:
    """The part of `hub.ports.Broker` that is about other nodes and about being there, for brokers that have only us."""

    shared = False
    ready = True

    def __init__(self) -> None:
        self.node_id = os.urandom(6).hex()

    def listen(self, listener: Listener) -> None:
        """Nobody is heard."""

    def tell(self, room: str, payloads: Sequence[bytes]) -> None:
        """Nobody is told."""

    def come(self, room: str, entered: Sequence[Present], left: Sequence[str]) -> None:
        """Nobody is told."""

    def note(self, key: str, value: bytes, seconds: float) -> None:
        """Nobody looks for it."""

    def noted(self, key: str, done: Answer[bytes]) -> None:
        done(b"")

    def take(self, key: str, done: Answer[bytes]) -> None:
        done(b"")

    def nodes(self, done: Answer[Sequence[str]]) -> None:
        done([self.node_id])
