"""Events to the bytes of frames: JSON or MessagePack, deflated or not, encoded once for all who share a codec."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from typing import Any, Final, Protocol, TypeVar

import msgspec

from hubbub.wire.deflate import Deflater
from hubbub.wire.websocket import BINARY, FIN, RSV1, TEXT, encode_frame

JSON_SUBPROTOCOL: Final = "hubbub.v1.json"
MSGPACK_SUBPROTOCOL: Final = "hubbub.v1.msgpack"
SUBPROTOCOLS: Final = (JSON_SUBPROTOCOL, MSGPACK_SUBPROTOCOL)

EVENT: Final = 0
"""The kind of an item that is one event as a JSON object; each codec puts it into its own encoding."""

Item = tuple[int, bytes]
"""EVENT and JSON, or TEXT or BINARY (an application's own protocol) and a payload that is sent as it is."""

# Shorter messages grow when they are deflated.
SHORTEST_DEFLATED: Final = 32


Encoded_co = TypeVar("Encoded_co", covariant=True)
Encoded = TypeVar("Encoded")


class Codec(Protocol[Encoded_co]):
    """One way to put items on the wire. Connections that share a codec share what it makes."""

    def encode(self, items: Sequence[Item]) -> Encoded_co:
        """The items in order, as a transport takes them: frames one after the other, say."""
        ...


class FrameCodec:
    """WebSocket frames of a server.

    Args:
        msgpack: events travel as MessagePack in binary frames, not as JSON in text frames.
        deflater: deflates what is worth it.
    """

    __slots__ = ("_deflater", "_msgpack", "_plain")

    def __init__(self, *, msgpack: bool = False, deflater: Deflater | None = None) -> None:
        self._msgpack = msgpack
        self._deflater = deflater
        self._plain = not msgpack and deflater is None

    def encode(self, items: Sequence[Item]) -> bytes:
        if self._plain:  # the usual case, a call fewer for each frame; benchmark P3
            return b"".join([encode_frame(FIN | (kind or TEXT), payload) for kind, payload in items])
        return b"".join([self._frame(kind, payload) for kind, payload in items])

    def _frame(self, kind: int, payload: bytes) -> bytes:
        if kind == EVENT:
            kind, payload = self._event(payload)
        first = FIN | kind
        if self._deflater is not None and len(payload) >= SHORTEST_DEFLATED:
            first, payload = first | RSV1, self._deflater.deflate(payload)
        return encode_frame(first, payload)

    def _event(self, json: bytes) -> Item:
        return (BINARY, json_to_msgpack(json)) if self._msgpack else (TEXT, json)


@cache
def shared_codec(msgpack: bool, deflater: Deflater | None = None) -> FrameCodec:
    """The codec of all connections that agreed on the same encoding and, without takeover, the same window."""
    return FrameCodec(msgpack=msgpack, deflater=deflater)


def json_to_msgpack(json: bytes) -> bytes:
    """The same value as MessagePack. Done once for a batch, so that the log need hold one encoding only."""
    value = msgspec.json.decode(json)
    try:
        return msgspec.msgpack.encode(value)
    except OverflowError:
        return msgspec.msgpack.encode(_fitting(value))


_LARGEST_FLOAT: Final = 1 << 1023


def _fitting(value: Any) -> Any:
    """The value with integers beyond 64 bits, which JSON has and MessagePack has not, as floats, or null."""
    match value:
        case dict():
            return {key: _fitting(item) for key, item in value.items()}
        case list():
            return [_fitting(item) for item in value]
        case int() if not -(1 << 63) <= value < 1 << 64:
            return float(value) if abs(value) < _LARGEST_FLOAT else None
        case _:
            return value


class Batch:
    """What one turn delivers to a room's members: items, encoded at most once per codec."""

    __slots__ = ("_encoded", "items")

    def __init__(self, items: Sequence[Item]) -> None:
        self.items = items
        self._encoded: dict[Codec[Any], Any] = {}

    def encode(self, codec: Codec[Encoded]) -> Encoded:
        """What the codec makes of the items; made once."""
        encoded: Encoded | None = self._encoded.get(codec)
        if encoded is None:
            encoded = self._encoded[codec] = codec.encode(self.items)
        return encoded
