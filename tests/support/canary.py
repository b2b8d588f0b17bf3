"""Listens whether a secret of the tests appears in what servers print, or in their counters."""

from __future__ import annotations

import json
import socket
from collections.abc import Callable
from pathlib import Path
from typing import Any

SECONDS = 10.0
COUNTERS = "/counters/"


def counters_of(port: int) -> dict[str, Any]:
    """What the tests' application has counted, and in `connections` how many there are."""
    with socket.create_connection(("127.0.0.1", port), SECONDS) as peer:
        peer.sendall(f"GET {COUNTERS} HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n\r\n".encode())
        answer = b"".join(iter(lambda: peer.recv(65536), b""))
    counted: dict[str, Any] = json.loads(answer.partition(b"\r\n\r\n")[2])
    return counted


class Canary:
    """Sings when it hears a secret.

    Attributes:
        secrets: what must not be heard; each has a name to tell it by.
    """

    def __init__(self) -> None:
        self.secrets: dict[str, str] = {}
        self._outputs: dict[Path, int] = {}
        self._counters: dict[Path, Callable[[], dict[str, Any]]] = {}
        self._heard: list[str] = []

    def keep(self, secret: str, name: str) -> str:
        """Registers a secret; returns it."""
        assert len(secret) >= 16, f"{name} is too short to be told from other words"
        self.secrets[secret] = name
        return secret

    def watch(self, output: Path, counters: Callable[[], dict[str, Any]] | None = None) -> None:
        """Listens to what is written to a file from now on; and to counters until `forget`."""
        self._outputs[output] = 0
        if counters is not None:
            self._counters[output] = counters

    def forget(self, output: Path) -> None:
        """The server has ended: its counters cannot be read any more, its output is read once more."""
        self._counters.pop(output, None)

    def hear(self, text: str, where: str) -> None:
        """Listens to a text."""
        self._heard += [f"{name} in {where}" for secret, name in self.secrets.items() if secret in text]

    def assert_silent(self) -> None:
        """Fails when a secret was heard since the last time; says which and where, and not the secret."""
        for output, begin in self._outputs.items():
            with output.open("rb") as file:
                file.seek(begin)
                text = file.read()
            # A line that is being written is read again with its end.
            self._outputs[output] = begin + text.rfind(b"\n") + 1
            self.hear(text.decode(errors="replace"), f"the output {output.name}")
        if self.secrets:
            for output, counters in self._counters.items():
                self.hear(json.dumps(counters()), f"the counters of {output.name}")
        heard, self._heard = self._heard, []
        assert not heard, heard


canary = Canary()
"""The one of all tests."""
