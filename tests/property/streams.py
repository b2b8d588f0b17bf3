"""What a peer may send, as strategies: messages, streams that are valid or end badly, and ways to cut them."""

from __future__ import annotations

from itertools import pairwise
from typing import NamedTuple

from hypothesis import strategies as st

from hubbub.errors import PeerError
from hubbub.wire.deflate import Deflater, Inflater
from hubbub.wire.websocket import (
    BINARY,
    CLOSE,
    CONTINUATION,
    FIN,
    PING,
    PONG,
    RSV1,
    TEXT,
    Message,
    WebSocket,
    encode_close,
    encode_frame,
)

SIZE_CLASSES = (0, 1, 125, 126, 127, 65535, 65536)
MASK = b"\x37\xfa\x21\x3d"

Events = list[Message | tuple[str, int, str]]
"""Messages, and at the end perhaps the violation."""


class Side(NamedTuple):
    """Who receives, and what was agreed upon."""

    is_server: bool = True
    deflate: bool = False
    takeover: bool = False
    max_message_bytes: int = 1000

    def receiver(self) -> WebSocket:
        inflater = Inflater(takeover=self.takeover) if self.deflate else None
        new_mask = None if self.is_server else lambda: MASK
        return WebSocket(self.max_message_bytes, new_mask=new_mask, inflater=inflater)


sides = st.builds(Side, st.booleans(), st.booleans(), st.booleans(), st.sampled_from([5, 130, 1000, 100_000]))


def receive(side: Side, chunks: list[bytes]) -> Events:
    """All that comes of a stream, even if somebody goes on reading after a violation."""
    wire, events = side.receiver(), Events()
    for chunk in chunks:
        try:
            events.extend(wire.receive_data(chunk))
        except PeerError as error:
            events.append(("violated", error.code, error.reason))
    return events


@st.composite
def splits(draw: st.DrawFn, data: bytes) -> list[bytes]:
    """The same bytes in pieces; some of them may be empty."""
    if draw(st.integers(0, 3)) == 0:
        return [bytes((byte,)) for byte in data]
    cuts = sorted(draw(st.lists(st.integers(0, len(data)), max_size=12)))
    return [data[start:stop] for start, stop in zip([0, *cuts], [*cuts, len(data)], strict=True)]


def repeated(seed: bytes, size: int) -> bytes:
    return (seed * (size // len(seed) + 1))[:size]


short_bytes = st.binary(max_size=300)
short_texts = st.text(max_size=100).map(str.encode)
sized_bytes = st.builds(repeated, st.binary(min_size=1, max_size=20), st.sampled_from(SIZE_CLASSES))
sized_texts = st.builds(
    repeated, st.text("abc \n", min_size=1, max_size=20).map(str.encode), st.sampled_from(SIZE_CLASSES)
)
messages = st.one_of(
    st.tuples(st.just(TEXT), short_texts | sized_texts),
    st.tuples(st.just(BINARY), short_bytes | sized_bytes),
)
controls = st.tuples(st.sampled_from([PING, PONG]), st.binary(max_size=125))

close_payloads = st.just(b"") | st.builds(
    encode_close, st.sampled_from([1000, 1001, 1011, 3000, 4999]), st.text(max_size=40)
)
# What no peer may send: a first byte and a payload.
broken_frames = st.one_of(
    st.tuples(st.integers(0, 255), short_bytes),
    st.tuples(st.just(FIN | TEXT), st.sampled_from([b"\xff", b"\xc0\xaf", b"ok \xed\xa0\x80", b"\xf4\x90\x80\x80"])),
    st.tuples(st.just(FIN | CLOSE), st.sampled_from([b"\x03", b"\x00\x00", b"\x03\xed", b"\x03\xe8\xff"])),
    st.tuples(st.sampled_from([FIN | RSV1 | TEXT, FIN | RSV1 | BINARY]), short_bytes),
)


class _Sender:
    """Writes frames the way that a side receives them."""

    def __init__(self, side: Side) -> None:
        self._mask = MASK if side.is_server else b""
        self._deflater = Deflater(takeover=side.takeover) if side.deflate else None

    def frame(self, first_byte: int, payload: bytes) -> bytes:
        return encode_frame(first_byte, payload, self._mask)

    def message(self, opcode: int, payload: bytes, cuts: list[int], between: list[Message]) -> bytes:
        """One message in fragments, with control frames between them."""
        first = opcode
        if self._deflater is not None:
            payload, first = self._deflater.deflate(payload), opcode | RSV1
        places = [0, *sorted(cut % (len(payload) + 1) for cut in cuts), len(payload)]
        parts = [payload[start:stop] for start, stop in pairwise(places)]
        frames = []
        for index, part in enumerate(parts):
            fin = FIN if index == len(parts) - 1 else 0
            frames.append(self.frame(fin | (CONTINUATION if index else first), part))
            if not fin:
                frames += [self.frame(FIN | control, body) for control, body in between]
        return b"".join(frames)


@st.composite
def valid_streams(draw: st.DrawFn, side: Side) -> bytes:
    """Messages whole and in fragments, with control frames between and inside of them."""
    sender, stream = _Sender(side), b""
    cuts, between = st.lists(st.integers(0, 400), max_size=4), st.lists(controls, max_size=2)
    for _ in range(draw(st.integers(0, 4))):
        if draw(st.booleans()):
            control, body = draw(controls)
            stream += sender.frame(FIN | control, body)
        else:
            opcode, payload = draw(messages)
            stream += sender.message(opcode, payload, draw(cuts), draw(between))
    return stream


@st.composite
def streams(draw: st.DrawFn, side: Side) -> bytes:
    """Valid streams that go on, are closed, break off or are broken; and what comes after that."""
    stream = draw(valid_streams(side))
    sender = _Sender(side)
    match draw(st.sampled_from(["open", "closed", "cut", "broken", "noise"])):
        case "closed":
            stream += sender.frame(FIN | CLOSE, draw(close_payloads)) + draw(short_bytes)
        case "cut":
            stream = stream[: draw(st.integers(0, len(stream)))]
        case "broken":
            first_byte, payload = draw(broken_frames)
            stream += sender.frame(first_byte, payload) + draw(valid_streams(side))
        case "noise":
            stream += draw(short_bytes)
    return stream
