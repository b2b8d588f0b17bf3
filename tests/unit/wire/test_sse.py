"""wire.sse: events as a page with a bare EventSource gets them, and what its Last-Event-ID is behind each."""

import json
import zlib
from typing import Any

import pytest

from hubbub.wire.codec import EVENT, Batch, Item
from hubbub.wire.messages import Since
from hubbub.wire.sse import Format, JsonLines, Place, RoomEvents, RoomsEvents, fields_of, place_of
from hubbub.wire.websocket import BINARY, TEXT
from tests.support.event_source import Dispatched, EventSourceParser


def item(**event: Any) -> Item:
    return EVENT, json.dumps(event, separators=(",", ":"), ensure_ascii=False).encode()


def info(room: str, epoch: str, seq: int) -> Item:
    return item(type="room_info", room=room, members=["x"], epoch=epoch, seq=seq, head=9, messages=[], acked=3)


def said(room: str, seq: int, text: str = "hi") -> Item:
    return item(type="message", text=text, room=room, seq=seq)


TYPING = item(type="typing", username="ada", room="a")


def dispatched(form: Format, *items: Item) -> list[Dispatched]:
    return EventSourceParser().feed(form.of(Batch(items)))


# Where one is


@pytest.mark.parametrize(
    ("event", "place"),
    [
        (said("a", 7), Place(b'"a"', b"", b"7")),
        (said('q"\\,"room":"x', 7), Place(rb'"q\"\\,\"room\":\"x"', b"", b"7")),
        (said("a", 7, ',"room":"b","seq":9}'), Place(b'"a"', b"", b"7")),
        (item(type="x", inner={"room": "b", "seq": 1}, room="é 日", seq=12), Place('"é 日"'.encode(), b"", b"12")),
        (info("a", "e", 5), Place(b'"a"', b"e", b"5")),
        (item(type="gap", room="a", epoch="e2", seq=6), Place(b'"a"', b"e2", b"6")),
        (TYPING, None),
        (item(type="x", seq=5, room="a"), None),
        (item(type="message", text="hi", room="a", seq=5, redelivered=True), None),
        (item(type="connected", clientId="c"), None),
        (item(type="gap", text="an application's"), None),
        (item(type="x"), None),
    ],
)
def test_an_event_that_is_kept_says_where_one_is(event: Item, place: Place | None) -> None:
    assert place_of(event[1]) == place


# One room


def test_a_page_gets_the_type_the_json_and_the_place() -> None:
    form = RoomEvents()
    first, live = dispatched(form, info("a", "e", 4), said("a", 5))
    assert (first.type, first.last_id) == ("room_info", "e:4")
    assert live == ("message", '{"type":"message","text":"hi","room":"a","seq":5}', "e:5")


def test_what_is_not_kept_leaves_the_place_as_it_was() -> None:
    events = dispatched(RoomEvents(), info("a", "e", 4), TYPING, said("a", 5), TYPING)
    assert [event.last_id for event in events] == ["e:4", "e:4", "e:5", "e:5"]
    assert b"id:" not in RoomEvents().of(Batch([TYPING]))


def test_a_gap_into_another_life_of_the_log_counts_for_what_follows() -> None:
    form = RoomEvents()
    form.of(Batch([info("a", "e1", 4)]))
    events = dispatched(form, item(type="gap", room="a", epoch="e2", seq=2), said("a", 3))
    assert [event.last_id for event in events] == ["e2:2", "e2:3"]


def test_all_streams_of_a_room_get_the_same_bytes() -> None:
    form, batch = RoomEvents(), Batch([said("a", 1)])
    assert form.of(batch) is form.of(batch)


def test_what_comes_once_more_does_not_lead_back() -> None:
    again = item(type="message", text="hi", room="a", seq=1, redelivered=True)
    assert [event.last_id for event in dispatched(RoomEvents(), info("a", "e", 4), again)] == ["e:4", "e:4"]


@pytest.mark.parametrize("kind", [TEXT, BINARY])
def test_texts_and_bytes_of_other_protocols_are_left_out(kind: int) -> None:
    assert RoomEvents().of(Batch([(kind, b"\n\n")])) == JsonLines().of(Batch([(kind, b"\n\n")])) == b""


@pytest.mark.parametrize(
    ("kind", "dispatched_as"),
    [("a\nid: x", "message"), ('q"uote', 'q"uote'), ("é", "é"), ("", "message"), ("x:y", "x:y")],
)
def test_a_type_cannot_end_its_line(kind: str, dispatched_as: str) -> None:
    (event,) = dispatched(RoomEvents(), item(type=kind, text="hi\r\n\r\n"))
    assert (event.type, event.last_id, json.loads(event.data)["text"]) == (dispatched_as, "", "hi\r\n\r\n")


def test_a_message_has_the_name_that_html_gives_what_has_none() -> None:
    (event,) = dispatched(RoomEvents(), item(type="message", text="event: news"))
    assert (event.type, json.loads(event.data)["text"]) == ("message", "event: news")
    assert fields_of(b'{"type":"message","text":"hi"}') == b'data: {"type":"message","text":"hi"}\n'
    assert fields_of(b'{"type":"messages","text":"hi"}').startswith(b"event: messages\n")


def test_a_type_is_found_wherever_it_stands() -> None:
    assert fields_of(b'{"text":"hi","type":"news"}').startswith(b"event: news\n")


# Several rooms


def test_the_place_is_that_of_all_rooms_of_the_stream() -> None:
    form = RoomsEvents(["a", "b", 'q"'], [None, None, None])
    items = [info("a", "e", 4), said("a", 5), info("b", "f", 0), TYPING, info('q"', "g", 7), said("b", 1)]
    ids = ["e:4,-,-", "e:5,-,-", "e:5,f:0,-", "e:5,f:0,-", "e:5,f:0,g:7", "e:5,f:1,g:7"]
    assert [event.last_id for event in dispatched(form, *items)] == ids


def test_a_room_that_is_not_entered_yet_is_where_the_client_said() -> None:
    form = RoomsEvents(["a", "b"], [Since("e", 3), Since("f", 8)])
    assert [event.last_id for event in dispatched(form, info("a", "e", 3), said("a", 4))] == ["e:3,f:8", "e:4,f:8"]


def test_streams_of_several_rooms_share_all_but_the_places() -> None:
    batch = Batch([said("a", 5)])
    one, other = RoomsEvents(["a", "b"], [Since("e", 4), None]), RoomsEvents(["c", "a"], [None, Since("e", 4)])
    assert (one.of(batch)[-11:], other.of(batch)[-11:]) == (b"id: e:5,-\n\n", b"id: -,e:5\n\n")


# The beginning, the end, and silence


def test_the_end_says_why_and_when_to_come_back() -> None:
    parser = EventSourceParser()
    assert parser.feed(RoomEvents().begin(500)) == []
    assert parser.retry == 500
    (closed,) = parser.feed(RoomEvents().end(1012, "after=700", 700))
    assert (closed.type, json.loads(closed.data)) == ("closed", {"type": "closed", "code": 1012, "reason": "after=700"})
    assert parser.retry == 700


def test_a_comment_is_no_event() -> None:
    parser = EventSourceParser()
    assert (parser.feed(RoomEvents().comment), parser.comments) == ([], 1)


def test_each_line_is_one_event() -> None:
    lines = JsonLines()
    data = lines.begin(500) + lines.of(Batch([said("a", 1, "a\nb"), TYPING])) + lines.comment + lines.end(4401, "x", 1)
    assert [json.loads(line)["type"] for line in data.splitlines() if line] == ["message", "typing", "closed"]


@pytest.mark.parametrize("kind", [RoomEvents, JsonLines])
def test_gzip_parts_stand_alone_and_are_one_stream(kind: type[RoomEvents] | type[JsonLines]) -> None:
    packed, plain, others = kind(gzip=True), kind(), kind(gzip=True)
    batches = [Batch([info("a", "e", 0)]), Batch([said("a", 1)]), Batch([said("a", 2)])]
    inflate = zlib.decompressobj(zlib.MAX_WBITS | 16)
    read = inflate.decompress(packed.begin(500))
    for batch in batches:
        others.of(Batch([said("a", 9, "what other streams have no part in")]))
        read += inflate.decompress(packed.of(batch))  # each is whole as soon as it is there
    read += inflate.decompress(packed.comment + packed.end(1012, "", None))
    assert read == plain.begin(500) + b"".join(map(plain.of, batches)) + plain.comment + plain.end(1012, "", None)
