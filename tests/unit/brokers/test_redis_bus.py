"""brokers.redis_bus: nothing but whole messages of our version is understood, whatever the bytes are."""

from __future__ import annotations

from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hubbub.brokers.redis_bus import (
    CALL,
    HEADER,
    KEPT,
    MAX_MESSAGE_BYTES,
    PLACE,
    SIZES,
    VERSION,
    call_of,
    read_kept,
    read_told,
    unwrap,
    write_told,
)

NODE = bytes(range(16))


def kept(items: list[tuple[bytes, bytes]], first: int = 5, last: int | None = None, epoch: bytes = b"e") -> bytes:
    """As append.lua writes it; the integration tests read what that wrote."""
    last = first + len(items) - 1 if last is None else last
    parts = [HEADER.pack(VERSION, KEPT, NODE), CALL.pack(7, len(epoch)), epoch]
    parts.append(PLACE.pack(first, last, 1000, len(items)))
    parts += [SIZES.pack(len(payload), len(key)) + payload + key for payload, key in items]
    return b"".join(parts)


def test_what_was_kept_is_read() -> None:
    envelope = unwrap(kept([(b"x", b""), (b"", b"\xed\xa0\x80")]))
    assert (envelope.node, call_of(envelope)) == (NODE, 7)
    assert read_kept(envelope) == (7, "e", 5, 6, 1000, [(b"x", ""), (b"", "\ud800")])


def test_what_was_too_large_for_the_bus_is_known_to_be_there() -> None:
    assert read_kept(unwrap(kept([], 5, 9)))[2:4] == (5, 9)


@given(st.lists(st.binary(max_size=20), max_size=5))
def test_what_was_told_is_read(payloads: list[bytes]) -> None:
    assert read_told(unwrap(write_told(NODE, payloads))) == payloads


def understood(data: bytes) -> object:
    envelope = unwrap(data)
    return read_kept(envelope) if envelope.kind == KEPT else read_told(envelope)


@pytest.mark.parametrize("whole", [kept([(b"xyz", b"key"), (b"!", b"")]), write_told(NODE, [b"xyz", b""])])
def test_a_message_that_is_cut_or_goes_on_is_refused(whole: bytes) -> None:
    for damaged in [*(whole[:length] for length in range(len(whole))), whole + b"\0"]:
        with pytest.raises(ValueError, match=r"."):
            understood(damaged)


@pytest.mark.parametrize(
    "data",
    [
        bytes([VERSION + 1]) + kept([(b"x", b"")])[1:],
        bytes([VERSION, 3]) + kept([(b"x", b"")])[2:],
        kept([(b"x", b"")], 0),
        kept([(b"x", b"")], 5, 4),
        kept([(b"x", b"")], 1 << 53),
        kept([(b"x", b"")], 5, 6),
        kept([(b"x", b"\xff")]),
        kept([(b"x", b"")], epoch=b"\xff"),
        write_told(NODE, [b"x" * MAX_MESSAGE_BYTES]),
        b"\x80\x04K\x01.",
        b'{"type": "kept"}',
    ],
)
def test_what_is_no_message_of_this_version_is_refused(data: bytes) -> None:
    with pytest.raises(ValueError, match=r"."):
        understood(data)


@given(st.binary(max_size=200), st.booleans())
def test_any_bytes_are_refused_or_read(data: bytes, ours: bool) -> None:
    with suppress(ValueError):
        understood(bytes([VERSION, KEPT]) + NODE + data if ours else data)
