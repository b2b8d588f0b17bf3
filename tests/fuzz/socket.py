"""A TCP connection without a network: an asyncio transport that writes down what it is asked for."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Iterable
from typing import Any


class FakeSocket(asyncio.Transport):
    """The server's end of a connection.

    Attributes:
        written: all bytes that were written, in order.
    """

    def __init__(self) -> None:
        super().__init__()
        self.written = bytearray()
        self._protocol: Any = None
        self._incoming: deque[bytes] = deque()
        self._closing = self._paused = self._eof = False

    # What a peer does

    def connect(self, protocol: asyncio.BaseProtocol) -> None:
        self._protocol = protocol
        protocol.connection_made(self)

    def arrive(self, data: bytes) -> None:
        """Bytes of the peer; they wait while reading is paused."""
        self._incoming.append(data)
        self.read()

    def read(self) -> None:
        """Hands over what has arrived."""
        while self._incoming and not self._paused and not self._closing:
            data = self._incoming.popleft()
            if isinstance(self._protocol, asyncio.BufferedProtocol):
                self._fill(self._protocol, data)
            else:
                self._protocol.data_received(data)

    def _fill(self, protocol: asyncio.BufferedProtocol, data: bytes) -> None:
        buffer = memoryview(protocol.get_buffer(-1))
        taken = min(len(data), len(buffer))
        buffer[:taken] = data[:taken]
        if data[taken:]:
            self._incoming.appendleft(data[taken:])
        protocol.buffer_updated(taken)

    def lose(self) -> None:
        """The connection is gone."""
        self._closing = True
        self._protocol.connection_lost(None)

    # What a protocol does

    @property
    def ends(self) -> bool:
        """Whether our side of it has ended."""
        return self._closing or self._eof

    def write(self, data: Any) -> None:
        assert not self._eof, f"written behind the end: {bytes(data)!r}"
        if not self._closing:
            self.written += data

    def writelines(self, list_of_data: Iterable[Any]) -> None:
        self.write(b"".join(list_of_data))

    def write_eof(self) -> None:
        self._eof = True

    def can_write_eof(self) -> bool:
        return True

    def close(self) -> None:
        self._closing = True

    abort = close

    def is_closing(self) -> bool:
        return self._closing

    def pause_reading(self) -> None:
        self._paused = True

    def resume_reading(self) -> None:
        self._paused = False

    def set_protocol(self, protocol: asyncio.BaseProtocol) -> None:
        self._protocol = protocol

    def get_protocol(self) -> Any:
        return self._protocol

    def get_extra_info(self, name: str, default: Any = None) -> Any:
        return {"peername": ("192.0.2.1", 4711), "sockname": ("192.0.2.2", 80)}.get(name, default)

    def get_write_buffer_size(self) -> int:
        return 0

    def set_write_buffer_limits(self, high: int | None = None, low: int | None = None) -> None:
        pass
