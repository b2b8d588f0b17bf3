"""What nodes say to each other over a room's channel. Whatever is not of this form is refused, not guessed at."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from struct import Struct, error
from typing import Final, NamedTuple

from hubbub.brokers.redis_forms import MOST, decoded, encoded
from hubbub.hub.ports import Present

VERSION: Final = 1
KEPT: Final = 1
TOLD: Final = 2
CAME: Final = 3
MAX_ENTRIES_BYTES: Final = 1 << 20
"""Events of one call that are larger are not on the bus: the other nodes read them, each when it can."""
MAX_MESSAGE_BYTES: Final = 4 << 20
HEADER: Final = Struct(">BB16s")
CALL: Final = Struct(">QB")
PLACE: Final = Struct(">QQQI")
SIZES: Final = Struct(">II")
COUNT: Final = Struct(">I")
NUMBER: Final = Struct(">Q")
CHANGE: Final = Struct(">BII")
PERSON: Final = Struct(">IIQB")


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


class Change(NamedTuple):
    """Who has entered a room on a node, and who has left; all are to be read where it is too large for a message."""

    number: int
    too_large: bool
    entered: Sequence[Present]
    left: Sequence[str]


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
    if version != VERSION or kind not in (KEPT, TOLD, CAME):
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
    if not 0 < first <= last <= MOST or count not in (0, last - first + 1):
        raise ValueError("its numbers do not fit")
    items = []
    for _ in range(count):
        size, key_size = _unpack(SIZES, data, at)
        at += SIZES.size
        end = at + size + key_size
        items.append((data[at : at + size], decoded(data[at + size : end])))
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


def in_portions(payloads: Sequence[bytes]) -> Iterator[Sequence[bytes]]:
    """What messages hold, one after the other; one payload may be larger than a portion."""
    portion: list[bytes] = []
    size = 0
    for payload in payloads:
        if portion and size + len(payload) > MAX_ENTRIES_BYTES:
            yield portion
            portion, size = [], 0
        portion.append(payload)
        size += len(payload)
    if portion:
        yield portion


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


def write_came(node: bytes, entered: Sequence[Present], left: Sequence[str]) -> bytes:
    """A CAME message, without the number that the script puts behind its header."""
    parts = [CHANGE.pack(0, len(entered), len(left))]
    for present in entered:
        id, username = encoded(present.id), encoded(present.username)
        parts += PERSON.pack(len(id), len(username), present.since, present.quiet), id, username
    for gone in left:
        parts += COUNT.pack(len(encoded(gone))), encoded(gone)
    body = b"".join(parts)
    return HEADER.pack(VERSION, CAME, node) + (body if len(body) <= MAX_ENTRIES_BYTES else CHANGE.pack(1, 0, 0))


def read_came(envelope: Envelope) -> Change:
    """A CAME message.

    Raises:
        ValueError: it is damaged.
    """
    data, at = envelope.data, HEADER.size
    (number,) = _unpack(NUMBER, data, at)
    too_large, entering, leaving = _unpack(CHANGE, data, at + NUMBER.size)
    at += NUMBER.size + CHANGE.size
    entered, left = [], []
    for _ in range(entering):
        id_size, name_size, since, quiet = _unpack(PERSON, data, at)
        at += PERSON.size
        end = at + id_size + name_size
        entered.append(Present(decoded(data[at : at + id_size]), decoded(data[at + id_size : end]), since, bool(quiet)))
        at = end
    for _ in range(leaving):
        (size,) = _unpack(COUNT, data, at)
        at += COUNT.size + size
        left.append(decoded(data[at - size : at]))
    if at != len(data):
        raise ValueError("its length does not fit")
    return Change(number, bool(too_large), entered, left)


def _unpack(form: Struct, data: bytes, at: int) -> tuple[int, ...]:
    try:
        return form.unpack_from(data, at)
    except error as damage:
        raise ValueError(str(damage)) from None
