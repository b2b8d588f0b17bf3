"""What nodes say to each other over a room's channel. Whatever is not of this form is refused, not guessed at."""

from __future__ import annotations

from collections.abc import Sequence
from struct import Struct, error
from typing import Final, NamedTuple

VERSION: Final = 1
KEPT: Final = 1
TOLD: Final = 2
MAX_ENTRIES_BYTES: Final = 1 << 20
"""Events of one call that are larger are not on the bus: the other nodes read them, each when it can."""
MAX_MESSAGE_BYTES: Final = 4 << 20
HEADER: Final = Struct(">BB16s")
CALL: Final = Struct(">QB")
PLACE: Final = Struct(">QQQI")
SIZES: Final = Struct(">II")
COUNT: Final = Struct(">I")


class Envelope(NamedTuple):
    """A message whose parts behind the header are not read yet."""

    kind: int
    node: bytes
    data: bytes


class Arrival(NamedTuple):
    """Events that a node has kept.

    Attributes:
        call: of which call of the node they are.
        first, last: their numbers; `items` is empty where they are too large for a message.
        items: payload and key of each.
    """

    call: int
    epoch: str
    first: int
    last: int
    time: int
    items: Sequence[tuple[bytes, str]]


def unwrap(data: bytes) -> Envelope:
    """The sender and kind of a message.

    Raises:
        ValueError: it is too large, of another version, or no message.
    """
    if len(data) > MAX_MESSAGE_BYTES:
        raise ValueError("too large")
    if len(data) < HEADER.size:
        raise ValueError("too short")
    version, kind, node = HEADER.unpack_from(data)
    if version != VERSION or kind not in (KEPT, TOLD):
        raise ValueError(f"version {version}, kind {kind}")
    return Envelope(kind, node, data)


def call_of(envelope: Envelope) -> int:
    """Of which call a KEPT message is."""
    return int(_unpack(CALL, envelope.data, HEADER.size)[0])


def read_kept(envelope: Envelope) -> Arrival:
    """A KEPT message.

    Raises:
        ValueError: it is damaged.
    """
    data = envelope.data
    call, length = _unpack(CALL, data, HEADER.size)
    at = HEADER.size + CALL.size + length
    epoch = data[HEADER.size + CALL.size : at].decode("ascii")
    first, last, time, count = _unpack(PLACE, data, at)
    at += PLACE.size
    if not 0 < first <= last or count not in (0, last - first + 1):
        raise ValueError("its numbers do not fit")
    items = []
    for _ in range(count):
        size, key_size = _unpack(SIZES, data, at)
        at += SIZES.size
        end = at + size + key_size
        items.append((data[at : at + size], data[at + size : end].decode("utf-8", "surrogatepass")))
        at = end
    if at != len(data):
        raise ValueError("its length does not fit")
    return Arrival(call, epoch, first, last, time, items)


def write_told(node: bytes, payloads: Sequence[bytes]) -> bytes:
    """A TOLD message."""
    parts = [HEADER.pack(VERSION, TOLD, node), COUNT.pack(len(payloads))]
    for payload in payloads:
        parts += COUNT.pack(len(payload)), payload
    return b"".join(parts)


def read_told(envelope: Envelope) -> Sequence[bytes]:
    """A TOLD message.

    Raises:
        ValueError: it is damaged.
    """
    data, at = envelope.data, HEADER.size + COUNT.size
    (count,) = _unpack(COUNT, data, HEADER.size)
    payloads = []
    for _ in range(count):
        (size,) = _unpack(COUNT, data, at)
        at += COUNT.size + size
        payloads.append(data[at - size : at])
    if at != len(data):
        raise ValueError("its length does not fit")
    return payloads


def _unpack(form: Struct, data: bytes, at: int) -> tuple[int, ...]:
    try:
        return form.unpack_from(data, at)
    except error as damage:
        raise ValueError(str(damage)) from None
