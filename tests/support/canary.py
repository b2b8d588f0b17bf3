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
        self._heard: list[str] = []

    def keep(self, secret: str, name: str) -> str:
        """Registers a secret; returns it."""
        assert len(secret) >= 16, f"{name} is too short to be told from other words"
        self.secrets[secret] = name
        return secret

    def watch(self, output: Path) -> None:
        """Listens to what is written to a file, until `forget`."""
        self._outputs[output] = 0

    def forget(self, output: Path) -> None:
        """Listens to a file once more: nobody writes to it any longer."""
        self._listen(output)
        del self._outputs[output]

    def hear_counters(self, server: str, counters: Callable[[], dict[str, Any]]) -> None:
        """Listens to what a server has counted; as counters only grow, the end of the server is time enough."""
        if self.secrets:
            self.hear(json.dumps(counters()), f"the counters of {server}")

    def hear(self, text: str, where: str) -> None:
        """Listens to a text."""
        if text:
            self._heard += [f"{name} in {where}" for secret, name in self.secrets.items() if secret in text]

    def assert_silent(self) -> None:
        """Fails when a secret was heard since the last time; says which and where, and not the secret."""
        for output in self._outputs:
            self._listen(output)
        heard, self._heard = self._heard, []
        assert not heard, heard

    def _listen(self, output: Path) -> None:
        """Hears what is new in a file; a line that is being written is read again with its end."""
        begin = self._outputs[output]
        if output.stat().st_size == begin:
            return
        with output.open("rb") as file:
            file.seek(begin)
            text = file.read()
        self._outputs[output] = begin + text.rfind(b"\n") + 1
        self.hear(text.decode(errors="replace"), f"the output {output.name}")


canary = Canary()
"""The one of all tests."""
