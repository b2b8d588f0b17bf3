"""client.sse: the bytes of a stream, however they are cut, to its events."""

import pytest

from hubbub.client.sse import SseReader
from hubbub.errors import PeerError

STREAM = (
    "retry: 500\n\n"
    'event: connected\ndata: {"type":"connected"}\n\n'
    ":\n\n"
    'event: message\ndata: {"type":"message","text":"a: b\u2028é"}\nid: e:1,-\n\n'
).encode()
EVENTS = [{"type": "connected"}, {"type": "message", "text": "a: b\u2028é"}]


def test_each_line_of_data_is_an_event() -> None:
    reader = SseReader()
    assert reader.feed(STREAM) == EVENTS
    assert reader.retry_ms == 500


def test_it_does_not_matter_where_the_bytes_are_cut() -> None:
    reader = SseReader()
    assert [event for byte in STREAM for event in reader.feed(bytes([byte]))] == EVENTS


def test_lines_may_end_as_on_windows() -> None:
    assert SseReader().feed(STREAM.replace(b"\n", b"\r\n")) == EVENTS


@pytest.mark.parametrize("data", ["", "[1]", "{", '"text"'])
def test_what_is_no_object_is_the_servers_mistake(data: str) -> None:
    with pytest.raises(PeerError):
        SseReader().feed(f"data: {data}\n".encode())


def test_a_line_without_end_is_not_kept_for_ever() -> None:
    with pytest.raises(PeerError):
        SseReader().feed(b"data: " + b"x" * (1 << 24))
