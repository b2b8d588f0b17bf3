"""Has every client of the running test record into its history, whatever it says itself of what it sees."""

from __future__ import annotations

from typing import Any

import msgspec
from websockets.sync.client import ClientConnection

from hubbub.errors import PeerError
from hubbub.wire.websocket import BINARY, TEXT, WebSocket
from tests.support.history import Client, History

# Who sends more is an attacker, whose commands are not worth the time.
MOST_BYTES = 1 << 20


class _Running:
    """The test that runs."""

    history = History()
    connections = 0


def begin(history: History) -> None:
    """What connects from now on records here."""
    _Running.history, _Running.connections = history, 0


def client() -> Client:
    """A further client of the test, whose protocol no tap can follow."""
    _Running.connections += 1
    return _Running.history.client(f"connection {_Running.connections}")


def _decoded(message: bytes | str) -> dict[str, Any] | None:
    """An object in JSON, or in MessagePack when it is binary; None for all else."""
    try:
        value = msgspec.json.decode(message) if isinstance(message, str) else msgspec.msgpack.decode(message)
    except (msgspec.DecodeError, UnicodeError, RecursionError):
        return None
    return value if isinstance(value, dict) else None


class Tap:
    """On one connection; records nothing unless the first event is `connected`: other protocols have other rules."""

    def __init__(self) -> None:
        self._history = _Running.history
        _Running.connections += 1
        self._name = f"connection {_Running.connections}"
        self._client: Client | None = None
        self._held: list[bytes | str] | None = []
        self._wire: WebSocket | None = WebSocket(MOST_BYTES)
        self._bytes = 0

    def frames(self, data: bytes) -> None:
        """The connection sends frames, whole or not."""
        self._bytes += len(data)
        if self._wire is None:
            return
        if self._bytes > MOST_BYTES:
            self._stop()
            return
        try:
            for opcode, payload in self._wire.receive_data(data):
                if opcode in (TEXT, BINARY):
                    self.sent(payload.decode() if opcode == TEXT else payload)
        except PeerError:
            self._stop()

    def _stop(self) -> None:
        self._wire = None
        if self._client is not None:
            self._client.sends_unrecorded()

    def sent(self, message: bytes | str) -> None:
        """The connection sends a message."""
        if self._client is None:
            if self._held is not None:
                self._held.append(message)
        elif (command := _decoded(message)) is not None:
            self._client.sent(command)

    def received(self, message: bytes | str) -> None:
        """A message comes."""
        event = _decoded(message) if self._client or self._held is not None else None
        if self._client is None and self._held is not None:
            self._begin(event)
        if self._client is not None and event is not None:
            self._client.received(event)

    def _begin(self, first: dict[str, Any] | None) -> None:
        held, self._held = self._held or [], None
        if first is None or first.get("type") != "connected":
            return
        self._client = self._history.client(self._name)
        if self._wire is None:
            self._client.sends_unrecorded()
        for message in held:
            self.sent(message)


class RecordedConnection(ClientConnection):
    """A connection of the `websockets` library with a tap on it."""

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self._tap = Tap()

    def send(self, message: Any, *options: Any, **named: Any) -> None:
        self._tap.sent(message)
        super().send(message, *options, **named)

    def recv(self, *options: Any, **named: Any) -> Any:
        message = super().recv(*options, **named)
        self._tap.received(message)
        return message
