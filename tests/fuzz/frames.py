"""Fuzz target: whatever a peer sends in frames, in any segments, it is messages within the limit or a PeerError.

An input is a byte of options, a byte that says how the rest is cut, and the bytes of the peer; or, with RECIPE set,
frames to be written with the right headers, so that payloads are reached however the headers are mutated.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from hubbub.errors import PeerError
from hubbub.wire.deflate import Deflater, Inflater
from hubbub.wire.websocket import (
    BINARY,
    FIN,
    LONGEST_CONTROL,
    RSV1,
    TEXT,
    Message,
    WebSocket,
    encode_close,
    encode_frame,
)
from tests.fuzz.seeds import commands
from tests.fuzz.segments import segments

DEFLATE, TAKEOVER, CLIENT, RECIPE, SHORT = 1, 2, 4, 8, 16
LIMITS = (1000, 100)
LONGEST_HEADER = 14
MASK = b"\x37\xfa\x21\x3d"

Taken = list[Message | str]
"""Messages, and at the end perhaps the violation."""


def target(data: bytes) -> None:
    """Receives the same bytes in several segments.

    Raises:
        AssertionError: a promise of wire.websocket is broken.
    """
    if len(data) < 2:
        return
    options, cut = data[0], data[1]
    stream = b"".join(recipe(options, data[2:])) if options & RECIPE else data[2:]
    assert receive(options, segments(stream, cut or 1)) == receive(options, [stream]), "other segments, other messages"


def recipe(options: int, data: bytes) -> Iterator[bytes]:
    """Frames from a first byte, a byte of how to make it, a length and a payload each."""
    deflater = Deflater(takeover=bool(options & TAKEOVER))
    while len(data) >= 3:
        first, way, length = data[:3]
        payload = data[3 : 3 + length] * (1 << (way >> 4))
        yield encode_frame(first, deflater.deflate(payload) if way & 1 else payload, b"" if options & CLIENT else MASK)
        data = data[3 + length :]


def receive(options: int, pieces: Iterable[bytes]) -> Taken:
    """What a new WebSocket makes of the pieces."""
    limit = LIMITS[bool(options & SHORT)]
    inflater = Inflater(takeover=bool(options & TAKEOVER)) if options & DEFLATE else None
    wire = WebSocket(limit, new_mask=(lambda: MASK) if options & CLIENT else None, inflater=inflater)
    taken: Taken = []
    try:
        for piece in pieces:
            for opcode, payload in wire.receive_data(piece):
                check_message(opcode, payload, limit)
                taken.append((opcode, payload))
            assert held(wire) <= limit + LONGEST_HEADER + LONGEST_CONTROL, f"{held(wire)} bytes are held"
    except PeerError as error:
        encode_close(error.code, error.reason)  # it can be said to the peer
        assert wire.ended
        taken.append(str(error))
    if wire.ended:
        assert list(wire.receive_data(encode_frame(FIN | TEXT, b"late", MASK))) == [], "read behind the end"
    return taken


def check_message(opcode: int, payload: bytes, limit: int) -> None:
    assert len(payload) <= (limit if opcode <= BINARY else LONGEST_CONTROL), f"{len(payload)} bytes in a message"
    if opcode == TEXT:
        payload.decode()


def held(wire: WebSocket) -> int:
    """Bytes that a connection keeps of what is not whole; a fragment counts as one as well."""
    frame, unfinished = wire._frame, wire._unfinished
    control = len(frame.control) if frame is not None and frame.control is not None else 0
    assert unfinished is None or unfinished.fragments <= wire._max_bytes + 1, "endless fragments"
    return len(wire._rest) + control + (len(unfinished.data) if unfinished is not None else 0)


def seeds() -> Iterator[bytes]:
    """What the dialogues send, as frames of each kind; and frames that are wrong in one way each."""
    for _, payload in commands():
        yield bytes((0, 0)) + encode_frame(FIN | TEXT, payload, bytes(4))
        yield bytes((CLIENT, 7)) + encode_frame(FIN | TEXT, payload)
        yield bytes((DEFLATE, 9)) + encode_frame(FIN | RSV1 | TEXT, Deflater().deflate(payload), bytes(4))
        yield bytes((RECIPE | DEFLATE | TAKEOVER, 5)) + 2 * (
            bytes((FIN | RSV1 | TEXT, 1, len(payload) & 255)) + payload
        )
    for first in range(256):
        yield bytes((RECIPE, 0, 0x01, 0, 2)) + b"hi" + bytes((first, 0, 2)) + b"\x03\xe8"
    for length in (49, 50, 51):  # around the short limit, in two fragments, and in a message that is inflated
        start, end = bytes((BINARY, 0, length)) + bytes(length), bytes((FIN, 0, 50)) + bytes(50)
        yield bytes((RECIPE | SHORT, 3)) + start + end
        yield bytes((RECIPE | SHORT, 0, FIN | BINARY, 0, length + 50)) + bytes(length + 50)
        yield bytes((RECIPE | SHORT | DEFLATE, 3, FIN | RSV1 | BINARY, 0x11, length)) + bytes(length)
    for way in range(0, 256, 8):
        yield bytes((RECIPE | DEFLATE, 3, FIN | RSV1 | TEXT, way | 1, 3)) + "é!".encode()


def words() -> Iterator[bytes]:
    """What mutations should know of."""
    yield from (b"\x81\x80\0\0\0\0", b"\xc1", b"\x88\x82\0\0\0\0\x03\xe8", b"\xfe\x00\x7e", b"\xff\0\0\0\0\0\0")
    yield from (b"\0\0\xff\xff", b"\x03\0", b"\x01\0\0\xff\xff", b"\xed\xa0\x80", b"\xf4\x90")
