"""hub.streams: a connection that only listens: what it gets first, what it missed, and why it ends."""

from typing import Any

import pytest

from hubbub.brokers.memory import MemoryBroker
from hubbub.codes import FORBIDDEN, INVALID_JOIN, TOO_MANY_ROOMS
from hubbub.config import Config, Limits
from hubbub.errors import BrokerError, CommandError
from hubbub.hub.connection import Connection
from hubbub.hub.ports import Answer, Position
from hubbub.hub.steps import Walk
from hubbub.hub.streams import StreamEndpoint, Wanted
from hubbub.wire.messages import Since
from tests.unit.fakes import Bench, LateBroker, RecordingTransport, Said, heard, tape


def listen(bench: Bench, *rooms: str, session: str | None = None, **wanted: Any) -> Connection:
    """A stream; `since` in its rooms none by default. What keeps it out is raised."""
    since = wanted.pop("since", [None] * len(rooms))
    endpoint = StreamEndpoint(bench.hub, "/sse", Wanted(rooms, since, **wanted))
    transport = RecordingTransport()
    connection = bench.hub.open(endpoint, transport, None, session)
    connection.data["tape"] = transport
    answers: list[object] = []
    Walk(endpoint.allow(connection), answers.append).go_on()
    bench.runtime.settle()
    if isinstance(answers[0], Exception):
        bench.hub.lost(connection)
        raise answers[0]
    bench.hub.opened(connection)
    bench.runtime.settle()
    return connection


def said(bench: Bench, room: str, *texts: str) -> None:
    for text in texts:
        bench.hub.room(room).publish(Said(text))
    bench.runtime.settle()


def infos(connection: Connection) -> list[dict[str, Any]]:
    return [event for event in tape(connection).events if event["type"] == "room_info"]


@pytest.fixture
def bench() -> Bench:
    return Bench()


# What it gets


def test_it_begins_at_the_end_of_each_room(bench: Bench) -> None:
    bench.join("a", "ada")
    said(bench, "a", "one")
    stream = listen(bench, "a", "b")
    assert heard(stream) == ["connected", "room_info", "room_info"]
    assert [(info["room"], info["seq"], info["recovered"], info["messages"]) for info in infos(stream)] == [
        ("a", 1, None, []),
        ("b", 0, None, []),
    ]
    said(bench, "a", "two")
    said(bench, "b", "three")
    assert heard(stream)[3:] == ["two", "three"]


def test_what_it_missed_comes_as_events_behind_the_place(bench: Bench) -> None:
    bench.join("a", "ada")
    said(bench, "a", "one", "two", "three")
    stream = listen(bench, "a", since=[Since("epoch", 1)])
    (info,) = infos(stream)
    assert (info["seq"], info["head"], info["recovered"], info["messages"]) == (1, 3, True, [])
    assert heard(stream)[2:] == ["two", "three"]


def test_the_last_events_come_in_the_same_way(bench: Bench) -> None:
    bench.join("a", "ada")
    said(bench, "a", "one", "two", "three")
    stream = listen(bench, "a", history=2)
    assert (infos(stream)[0]["seq"], heard(stream)[2:]) == (1, ["two", "three"])


def test_what_is_published_while_it_reads_follows_once(bench: Bench) -> None:
    bench = Bench(broker=LateBroker)
    assert isinstance(bench.broker, LateBroker)
    bench.join("a", "ada")
    said(bench, "a", "one", "two")
    bench.broker.answer()
    bench.broker.reads_late = True
    stream = listen(bench, "a", since=[Since("epoch", 1)])
    said(bench, "a", "three")
    while bench.broker._late:
        bench.broker.answer()
        bench.runtime.settle()
    assert heard(stream) == ["connected", "room_info", "two", "three"]


@pytest.mark.parametrize("since", [Since("other", 1), Since("epoch", 99), Since("epoch", 10**17)])
def test_a_place_that_is_none_is_not_recovered(bench: Bench, since: Since) -> None:
    bench.join("a", "ada")
    said(bench, "a", "one")
    stream = listen(bench, "a", since=[since])
    assert (infos(stream)[0]["recovered"], infos(stream)[0]["seq"]) == (False, 1)


def test_what_the_log_holds_no_more_is_not_recovered_and_the_rest_is_told(bench: Bench) -> None:
    bench = Bench(patterns=[("short", {"history": 2})])
    bench.join("short", "ada")
    said(bench, "short", "one", "two", "three", "four")
    stream = listen(bench, "short", since=[Since("epoch", 1)], history=2)
    assert (infos(stream)[0]["recovered"], infos(stream)[0]["seq"]) == (False, 2)
    assert heard(stream)[2:] == ["three", "four"]


def test_a_slow_reader_gets_the_rest_from_the_log(bench: Bench) -> None:
    stream = listen(bench, "a")
    bench.hub.writing_paused(stream)
    said(bench, "a", "one", "two")
    assert heard(stream) == ["connected", "room_info"]
    bench.hub.writing_resumed(stream)
    bench.runtime.settle()
    assert heard(stream)[2:4] == ["one", "two"]


class FullTransport(RecordingTransport):
    """Has so much to write already that `room_info` is what is too much; drops what is delivered then, as real ones do.

    Attributes:
        stream: its connection.
    """

    stream: Connection

    def send(self, item: Any) -> None:
        super().send(item)
        if self.events[-1]["type"] == "room_info":
            self.stream._hub.writing_paused(self.stream)

    def deliver(self, batch: Any) -> None:
        if not self.stream.stalled:
            super().deliver(batch)


def test_what_it_missed_follows_where_the_beginning_was_as_much_as_may_wait(bench: Bench) -> None:
    bench.join("a", "ada")
    said(bench, "a", "one", "two")
    transport = FullTransport()
    endpoint = StreamEndpoint(bench.hub, "/sse", Wanted(["a"], [Since("epoch", 0)]))
    stream = transport.stream = bench.hub.open(endpoint, transport, None)
    bench.hub.opened(stream)
    bench.runtime.settle()
    assert [event["type"] for event in transport.events] == ["connected", "room_info"]
    bench.hub.writing_resumed(stream)
    bench.runtime.settle()
    assert [event["text"] for event in transport.events if "text" in event] == ["one", "two"]


# Who it is


def test_without_a_name_nobody_sees_it(bench: Bench) -> None:
    (ada,) = bench.join("a", "ada")
    listen(bench, "a")
    assert heard(ada) == []
    assert bench.hub.room("a").count == 1


def test_with_a_name_it_is_a_member_of_each_room(bench: Bench) -> None:
    (ada,) = bench.join("a", "ada")
    stream = listen(bench, "a", "b", username=" bob ")
    assert heard(ada) == ["user_joined"]
    assert [info["members"] for info in infos(stream)] == [["ada", "bob"], ["bob"]]
    bench.hub.lost(stream)
    bench.runtime.settle()
    assert heard(ada) == ["user_joined", "user_left"]


def test_a_session_comes_back_without_anybody_noticing(bench: Bench) -> None:
    (ada,) = bench.join("a", "ada")
    first = listen(bench, "a", username="bob", session="")
    token = tape(first).events[0]["session"]
    bench.hub.lost(first)
    second = listen(bench, "a", username="bob", session=token, since=[Since("epoch", 0)])
    bench.runtime.settle()
    assert heard(ada) == ["user_joined"]
    assert infos(second)[0]["members"] == ["ada", "bob"]


def test_the_application_hears_of_it_as_of_any_connection(bench: Bench) -> None:
    calls: list[str] = []
    hooks = [lambda connection: calls.append("connected")], [lambda connection: calls.append("disconnected")]
    endpoint = StreamEndpoint(bench.hub, "/sse", Wanted(["a"], [None]), hooks)
    connection = bench.hub.open(endpoint, RecordingTransport(), None)
    bench.hub.opened(connection)
    bench.hub.lost(connection)
    assert calls == ["connected", "disconnected"]


# Who is kept out, and what ends it


def test_a_name_that_is_none_keeps_it_out(bench: Bench) -> None:
    with pytest.raises(CommandError) as refused:
        listen(bench, "a", username=" ")
    assert refused.value.code == INVALID_JOIN
    assert not bench.hub.connections


def test_it_may_be_in_no_more_rooms_than_any_connection() -> None:
    bench = Bench(Config(limits=Limits(max_rooms=2)))
    with pytest.raises(CommandError) as refused:
        listen(bench, "a", "b", "c")
    assert (refused.value.code, bench.hub.counters.refused["max_rooms"]) == (TOO_MANY_ROOMS, 1)


@pytest.mark.parametrize(
    ("wanted", "asked"),
    [
        ({}, ["subscribe a", "subscribe b"]),
        ({"username": "ada"}, ["join a", "join b"]),
        ({"history": 1}, ["subscribe a", "history a", "subscribe b", "history b"]),
        ({"since": [None, Since("epoch", 0)]}, ["subscribe a", "subscribe b", "history b"]),
    ],
)
def test_the_application_is_asked_for_each_room_before_anything_is_answered(
    bench: Bench, wanted: dict[str, Any], asked: list[str]
) -> None:
    verbs: list[str] = []

    def authorize(connection: Connection, verb: str, room: str) -> bool:
        verbs.append(f"{verb} {room}")
        return True

    bench.hub.authorizer = authorize
    endpoint = StreamEndpoint(bench.hub, "/sse", Wanted(["a", "b"], **{"since": [None, None], **wanted}))
    Walk(endpoint.allow(bench.hub.open(endpoint, RecordingTransport(), None)), lambda _: None).go_on()
    assert verbs == asked


def test_one_room_that_is_not_allowed_keeps_it_out_of_all(bench: Bench) -> None:
    bench.hub.authorizer = lambda connection, verb, room: room != "b"
    with pytest.raises(CommandError) as refused:
        listen(bench, "a", "b")
    assert (refused.value.code, bench.hub.room("a").count) == (FORBIDDEN, 0)


def test_a_room_that_it_cannot_enter_any_more_ends_it(bench: Bench) -> None:
    endpoint = StreamEndpoint(bench.hub, "/sse", Wanted(["a", "b"], [None, None]))
    transport = RecordingTransport()
    connection = bench.hub.open(endpoint, transport, None)
    bench.hub.limit(Config(limits=Limits(max_rooms=1)))  # between the look and the entering
    bench.hub.opened(connection)
    assert transport.actions == [(1008, "A connection may be in 1 rooms (max_rooms)")]
    assert (connection.open, list(bench.hub.room("a").members)) == (False, [])


def test_a_log_that_cannot_be_read_ends_it() -> None:
    bench = Bench(broker=AwayBroker)
    connection = listen(bench, "a")
    assert tape(connection).actions == [(1013, "the log of a room cannot be read")]


class AwayBroker(MemoryBroker):
    """Cannot open a log."""

    def open(self, room: str, opened: Answer[Position]) -> None:
        opened(BrokerError("away"))
