"""wire.codec: events to frames, once for all who share a codec."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec
import pytest

from hubbub.wire.codec import (
    EVENT,
    SHORTEST_DEFLATED,
    Batch,
    FrameCodec,
    Item,
    json_to_msgpack,
    shared_codec,
)
from hubbub.wire.deflate import Deflater, shared_deflater
from hubbub.wire.websocket import BINARY, FIN, RSV1, TEXT, encode_frame

JSON = b'{"type":"said"}'


class CountingCodec:
    def __init__(self) -> None:
        self.calls = 0

    def encode(self, items: Sequence[Item]) -> int:
        self.calls += 1
        return len(items)


def test_an_event_is_a_text_frame_of_json() -> None:
    assert FrameCodec().encode([(EVENT, JSON)]) == encode_frame(FIN | TEXT, JSON)


def test_an_event_is_a_binary_frame_of_msgpack() -> None:
    packed = b"\x81\xa4type\xa4said"
    assert FrameCodec(msgpack=True).encode([(EVENT, JSON)]) == encode_frame(FIN | BINARY, packed)


@pytest.mark.parametrize("msgpack", [False, True])
@pytest.mark.parametrize("kind", [TEXT, BINARY])
def test_an_own_protocol_is_sent_as_it_is(kind: int, msgpack: bool) -> None:
    assert FrameCodec(msgpack=msgpack).encode([(kind, JSON)]) == encode_frame(FIN | kind, JSON)


def test_the_frames_of_a_batch_follow_each_other() -> None:
    frames = FrameCodec().encode([(TEXT, b"a"), (BINARY, b"b")])
    assert frames == b"\x81\x01a\x82\x01b"


def test_no_items_are_no_bytes() -> None:
    assert FrameCodec().encode([]) == b""


def test_what_is_long_enough_is_deflated() -> None:
    payload = b"a" * SHORTEST_DEFLATED
    frame = FrameCodec(deflater=Deflater()).encode([(TEXT, payload)])
    assert frame == encode_frame(FIN | RSV1 | TEXT, Deflater().deflate(payload))


def test_what_is_shorter_is_not() -> None:
    payload = b"a" * (SHORTEST_DEFLATED - 1)
    assert FrameCodec(deflater=Deflater()).encode([(TEXT, payload)]) == encode_frame(FIN | TEXT, payload)


def test_a_batch_is_encoded_once_per_codec() -> None:
    one, other, batch = CountingCodec(), CountingCodec(), Batch([(EVENT, JSON)])
    assert [batch.encode(one), batch.encode(one), batch.encode(other)] == [1, 1, 1]
    assert (one.calls, other.calls) == (1, 1)


def test_codecs_are_shared_where_nothing_differs() -> None:
    assert shared_codec(False) is shared_codec(False)
    assert shared_codec(False, shared_deflater(15)) is shared_codec(False, shared_deflater(15))


def test_codecs_differ_in_encoding_and_window() -> None:
    codecs = [
        shared_codec(False),
        shared_codec(True),
        *(shared_codec(False, shared_deflater(bits)) for bits in (9, 15)),
    ]
    assert len(set(codecs)) == 4


def test_msgpack_holds_the_same_value() -> None:
    value = {"type": "x", "list": [1, -2.5, None, True, "é"], "map": {"a": {}}}
    assert msgspec.msgpack.decode(json_to_msgpack(msgspec.json.encode(value))) == value


@pytest.mark.parametrize("number", [2**64, -(2**63) - 1])
def test_a_number_that_msgpack_has_no_integer_for_becomes_a_float(number: int) -> None:
    packed = json_to_msgpack(b'{"x":%d}' % number)
    assert msgspec.msgpack.decode(packed) == {"x": float(number)}
