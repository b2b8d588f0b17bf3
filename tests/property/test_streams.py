"""wire.websocket: how a stream is cut into reads never matters, and no stream raises what it should not."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from hubbub.errors import PeerError
from hubbub.wire.deflate import Inflater
from hubbub.wire.websocket import CLOSE, parse_close
from tests.property.streams import Side, receive, sides, splits, streams, valid_streams


@given(st.data(), sides)
def test_any_split_of_a_stream_gives_the_same_events(data: st.DataObject, side: Side) -> None:
    stream = data.draw(streams(side))
    assert receive(side, data.draw(splits(stream))) == receive(side, [stream])


@given(st.data(), sides, st.binary(max_size=400))
def test_any_split_of_any_bytes_gives_the_same_events(data: st.DataObject, side: Side, stream: bytes) -> None:
    assert receive(side, data.draw(splits(stream))) == receive(side, [stream])


@given(st.data(), st.builds(Side, st.booleans(), st.booleans(), st.booleans(), st.just(100_000)))
def test_a_valid_stream_is_never_a_violation(data: st.DataObject, side: Side) -> None:
    events = receive(side, [data.draw(valid_streams(side))])
    assert [event for event in events if event[0] == "violated"] == []


@given(st.data(), sides, st.binary(max_size=200))
def test_what_follows_the_end_changes_nothing(data: st.DataObject, side: Side, garbage: bytes) -> None:
    stream = data.draw(streams(side))
    events = receive(side, [stream])
    if events and events[-1][0] in ("violated", CLOSE):
        assert receive(side, [stream + garbage]) == receive(side, [stream, garbage]) == events


@given(st.data(), sides)
def test_nothing_longer_than_the_limit_is_received(data: st.DataObject, side: Side) -> None:
    events = receive(side, [data.draw(streams(side))])
    payloads = [event[1] for event in events if len(event) == 2 and event[0] < CLOSE]
    assert all(len(payload) <= side.max_message_bytes for payload in payloads)


def inflated(chunks: list[bytes], inflater: Inflater, bound: int) -> list[int]:
    """The size of each message, or the code with which it is refused; nothing is read after that."""
    sizes: list[int] = []
    try:
        sizes.extend(len(inflater.inflate(chunk, bound)) for chunk in chunks)
    except PeerError as error:
        sizes.append(error.code)
    return sizes


@given(st.lists(st.binary(max_size=100), max_size=5), st.booleans(), st.integers(1, 1000))
def test_any_bytes_inflate_within_the_bound_or_are_refused(chunks: list[bytes], takeover: bool, bound: int) -> None:
    sizes = inflated(chunks, Inflater(takeover=takeover), bound)
    assert all(size <= bound or size in (1007, 1009) for size in sizes)


def parsed(payload: bytes) -> tuple[int, str] | int:
    try:
        return parse_close(payload)
    except PeerError as error:
        return error.code


@given(st.binary(max_size=125) | st.binary(max_size=20).map(lambda reason: b"\x03\xe8" + reason))
def test_any_close_payload_is_parsed_or_refused(payload: bytes) -> None:
    match parsed(payload):
        case 1002 | 1007 | (1005, ""):
            pass
        case (int(code), str(reason)):
            assert code.to_bytes(2, "big") + reason.encode() == payload
        case other:
            raise AssertionError(other)
