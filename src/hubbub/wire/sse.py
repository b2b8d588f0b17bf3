"""Events as the body of an HTTP response that goes on: Server-Sent Events, or one JSON object a line. No I/O.

An event of a stream says where its client is behind it: `id:` holds the places of all rooms of the stream (`places`).
https://html.spec.whatwg.org/multipage/server-sent-events.html
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from typing import ClassVar, Final, NamedTuple

import msgspec

from hubbub.wire.codec import EVENT, Batch, Item
from hubbub.wire.deflate import LARGEST_WINDOW, TAIL, shared_deflater
from hubbub.wire.messages import Closed, Since
from hubbub.wire.places import NONE

GZIP_HEADER: Final = bytes.fromhex("1f8b08000000000000ff")
"""RFC 1952, section 2.3: no name, no time, no operating system."""
_encode = msgspec.json.Encoder().encode
_TYPE: Final = b'{"type":"'
_MESSAGE: Final = b'{"type":"message",'
_ROOM: Final = b',"room":"'
_SEQ: Final = b',"seq":'
_PLACED: Final = (b'{"type":"room_info",', b'{"type":"gap",')


class Place(NamedTuple):
    """Where a client is in a room behind an event.

    Attributes:
        room: its name, as JSON.
        epoch: empty where it is the same as before.
    """

    room: bytes
    epoch: bytes
    seq: bytes


class _Placed(msgspec.Struct):
    """What `room_info` and `gap` have in common."""

    room: str
    epoch: str
    seq: int


class _Typed(msgspec.Struct):
    type: str


_decode_placed = msgspec.json.Decoder(_Placed).decode
_decode_typed = msgspec.json.Decoder(_Typed).decode


def place_of(event: bytes) -> Place | None:
    """Where a client is behind an event; None for one that is not kept, or that comes once more."""
    if event.startswith(_PLACED):
        try:
            placed = _decode_placed(event)
        except msgspec.MsgspecError:  # an application's own, of that name
            return None
        return Place(_encode(placed.room), placed.epoch.encode(), b"%d" % placed.seq)
    end = event.rfind(_SEQ)
    seq = event[end + len(_SEQ) : -1]
    start = event.rfind(_ROOM, 0, max(end, 0))
    return Place(event[start + len(_ROOM) - 1 : end], b"", seq) if start > 0 and seq.isdigit() else None


def type_of(event: bytes) -> bytes:
    """An event's type; empty where it cannot stand in a line of its own."""
    if event.startswith(_TYPE):
        name = event[len(_TYPE) : event.index(b'"', len(_TYPE))]
        if b"\\" not in name:
            return name
    name = _decode_typed(event).type.encode()
    return b"" if any(end in name for end in (b"\r", b"\n", b"\0")) else name


def fields_of(event: bytes) -> bytes:
    """An event's lines but for its `id:`. JSON has no ends of lines of its own, and `message` is what HTML calls an
    event without a name: most are one, and it costs them bytes (benchmark H2).
    """
    if event.startswith(_MESSAGE):
        return b"data: %b\n" % event
    return b"event: %b\ndata: %b\n" % (type_of(event), event)


class Format:
    """How a stream's events are written.

    Args:
        gzip: as one gzip stream, each part of which stands alone, so that many streams share it.

    Attributes:
        kind: the media type.
        comment: what says that the stream is alive.
    """

    kind: ClassVar[bytes]
    _comment: ClassVar[bytes]

    def __init__(self, *, gzip: bool = False) -> None:
        self._deflater = shared_deflater(LARGEST_WINDOW) if gzip else None
        self.gzip = gzip
        self.comment = self._pack(self._comment)

    def of(self, batch: Batch) -> bytes:
        """A batch as it is written."""
        raise NotImplementedError

    def begin(self, retry_ms: int) -> bytes:
        """The first bytes: how long to wait before coming back when the stream ends."""
        return GZIP_HEADER if self.gzip else b""

    def end(self, code: int, reason: str, retry_ms: int | None) -> bytes:
        """The last bytes: why the stream ends, and where that is known, when to come back."""
        return self.of(Batch(((EVENT, _encode(Closed(code, reason))),)))

    def _pack(self, plain: bytes) -> bytes:
        if self._deflater is None or not plain:
            return plain
        return self._deflater.deflate(plain) + TAIL


class JsonLines(Format):
    """One JSON object a line; an empty line says that the stream is alive."""

    kind = b"application/x-ndjson"
    _comment = b"\n"

    def of(self, batch: Batch) -> bytes:
        return batch.encode(self)

    def encode(self, items: Sequence[Item]) -> bytes:
        return self._pack(b"".join([payload + b"\n" for kind, payload in items if kind == EVENT]))


class _Events(Format):
    """Server-Sent Events."""

    kind = b"text/event-stream"
    _comment = b":\n\n"

    def begin(self, retry_ms: int) -> bytes:
        return super().begin(retry_ms) + self._pack(_retry(retry_ms))

    def end(self, code: int, reason: str, retry_ms: int | None) -> bytes:
        last = super().end(code, reason, retry_ms)
        return last if retry_ms is None else self._pack(_retry(retry_ms)) + last


def _retry(milliseconds: int) -> bytes:
    return b"retry: %d\n\n" % milliseconds


class RoomEvents(_Events):
    """The streams of one room of a node, which share what is written: the room is at one place for all of them."""

    def __init__(self, *, gzip: bool = False) -> None:
        super().__init__(gzip=gzip)
        self._epoch = b""

    def of(self, batch: Batch) -> bytes:
        return batch.encode(self)

    def encode(self, items: Sequence[Item]) -> bytes:
        return self._pack(b"".join([self._event(payload) for kind, payload in items if kind == EVENT]))

    def _event(self, event: bytes) -> bytes:
        place = place_of(event)
        if place is None:
            return fields_of(event) + b"\n"
        self._epoch = place.epoch or self._epoch
        return b"%bid: %b:%b\n\n" % (fields_of(event), self._epoch, place.seq)


class _Pieces:
    """What streams of several rooms share: the lines of each event, and the place that it leads to."""

    def encode(self, items: Sequence[Item]) -> list[tuple[bytes, Place | None]]:
        return [(fields_of(payload), place_of(payload)) for kind, payload in items if kind == EVENT]


_PIECES: Final = _Pieces()


class RoomsEvents(_Events):
    """A stream of several rooms, which is at places of its own.

    Args:
        rooms: their names.
        since: where it begins, as far as that is asked for: it counts until the room is entered.
    """

    def __init__(self, rooms: Sequence[str], since: Sequence[Since | None]) -> None:
        super().__init__()
        self._numbers = {_encode(room): number for number, room in enumerate(rooms)}
        self._epochs = [b"" if place is None else place.epoch.encode() for place in since]
        self._places = [NONE.encode() if place is None else f"{place.epoch}:{place.seq}".encode() for place in since]

    def of(self, batch: Batch) -> bytes:
        return b"".join([self._event(fields, place) for fields, place in batch.encode(_PIECES)])

    def _event(self, fields: bytes, place: Place | None) -> bytes:
        number = None if place is None else self._numbers.get(place.room)
        if place is None or number is None:
            return fields + b"\n"
        epoch = self._epochs[number] = place.epoch or self._epochs[number]
        self._places[number] = b"%b:%b" % (epoch, place.seq)
        return b"%bid: %b\n\n" % (fields, b",".join(self._places))


@cache
def json_lines(gzip: bool) -> JsonLines:
    """What all streams of JSON lines share."""
    return JsonLines(gzip=gzip)
