"""hub.hub: connections, rooms, rates and heartbeats, with time passed in."""

from __future__ import annotations

import json
import logging
import weakref
from typing import Any

import pytest

from hubbub.brokers.memory import MemoryBroker
from hubbub.config import Config, Heartbeat, Limits, Rooms, Server
from hubbub.errors import CommandError
from hubbub.hub.connection import Connection
from hubbub.hub.hub import CHECKED_A_TURN
from hubbub.hub.ports import Answer, Position
from hubbub.wire.websocket import TEXT
from tests.unit.fakes import Bench, FailingBroker, RecordingEndpoint, Said, heard, tape


@pytest.fixture
def bench() -> Bench:
    return Bench()


def calls(bench: Bench) -> list[object]:
    assert isinstance(bench.endpoint, RecordingEndpoint)
    return bench.endpoint.calls


def room_names(connection: Connection) -> list[str]:
    return [room.name for room in connection.rooms]


# Connections


def test_an_endpoint_hears_of_a_connections_life(bench: Bench) -> None:
    connection = bench.connect()
    bench.hub.receive(connection, TEXT, b"hi")
    bench.hub.lost(connection)
    assert calls(bench) == ["opened", b"hi", "closed"]


def test_the_end_of_a_connection_is_told_once(bench: Bench) -> None:
    connection = bench.connect()
    bench.hub.close(connection, 1000)
    bench.hub.close(connection, 1001)
    bench.hub.lost(connection)
    assert (calls(bench), tape(connection).actions) == (["opened", "closed"], [(1000, "")])


def test_nothing_is_received_after_the_end(bench: Bench) -> None:
    connection = bench.connect()
    bench.hub.close(connection, 1000)
    bench.hub.receive(connection, TEXT, b"hi")
    assert calls(bench) == ["opened", "closed"]


def test_the_hub_knows_who_is_connected(bench: Bench) -> None:
    ada, bob = bench.connect(), bench.connect()
    bench.hub.lost(ada)
    assert bench.hub.connections == {bob}


def test_a_lost_connection_leaves_its_rooms(bench: Bench) -> None:
    _, bob = bench.join("lobby", "ada", "bob")
    room = bob.room
    bench.hub.lost(bob)
    assert (room.usernames(0, 9), bob.rooms) == (["ada"], ())


def test_a_closed_connection_first_gets_what_was_published(bench: Bench) -> None:
    (ada,) = bench.join("lobby", "ada")
    ada.room.publish(Said("goodbye"))
    bench.hub.close(ada, 1000)
    assert (heard(ada), tape(ada).actions) == (["goodbye"], [(1000, "")])


def test_at_the_end_an_endpoint_still_sees_the_rooms(bench: Bench) -> None:
    seen: list[list[str]] = []
    (ada,) = bench.join("lobby", "ada")
    bench.endpoint.closed = lambda connection: seen.append(room_names(connection))  # type: ignore[method-assign]
    bench.hub.lost(ada)
    assert seen == [["lobby"]]


def test_a_connection_that_ended_joins_nothing(bench: Bench) -> None:
    ada, bob = bench.join("lobby", "ada", "bob")
    bench.hub.lost(bob)
    with pytest.raises(CommandError, match="ended"):
        bench.hub.join(bob, "lobby", "bob")
    assert ada.room.count == 1


def test_when_the_node_stops_clients_are_told_when_to_come_back() -> None:
    bench = Bench(Config(server=Server(reconnect_ms=250)))
    connections = [bench.connect() for _ in range(3)]
    bench.hub.close_all()
    told = sorted(tape(connection).actions for connection in connections)
    assert told == [[(1012, "after=250")], [(1012, "after=260")], [(1012, "after=270")]]


def test_nothing_is_left_of_a_room_when_the_last_member_is_lost(bench: Bench) -> None:
    ada, bob = bench.join("lobby", "ada", "bob")
    for connection in (ada, bob):
        bench.hub.lost(connection)
    assert not bench.broker._used
    assert not bench.hub.rooms


def test_when_the_node_stops_nothing_waits_any_more(bench: Bench) -> None:
    bench.join("lobby", "ada", "bob")
    bench.hub.close_all()
    assert not bench.broker._used


def test_a_slow_reader_is_closed_and_counted(bench: Bench) -> None:
    connection = bench.connect()
    bench.hub.close_slow(connection)
    assert tape(connection).actions == [(4408, "0 bytes wait to be read (max_buffered_bytes)")]
    assert bench.hub.counters.slow_readers_closed == 1


def test_a_slow_reader_that_is_gone_already_is_not_counted(bench: Bench) -> None:
    connection = bench.connect()
    bench.hub.lost(connection)
    bench.hub.close_slow(connection)
    assert bench.hub.counters.slow_readers_closed == 0


# Joining and leaving


def test_a_second_room_takes_the_place_of_the_first(bench: Bench) -> None:
    (ada,), (bob,) = bench.join("one", "ada"), bench.join("one", "bob")
    bench.hub.join(bob, "other", "bob")
    bench.runtime.settle()
    assert (room_names(bob), heard(ada)[-1], ada.room.count) == (["other"], "user_left", 1)


def test_a_room_can_be_kept_beside_another(bench: Bench) -> None:
    (ada,) = bench.join("one", "ada")
    bench.hub.join(ada, "other", "ada", keep=True)
    assert room_names(ada) == ["one", "other"]


def test_a_join_without_keep_leaves_all_rooms(bench: Bench) -> None:
    (ada,) = bench.join("one", "ada")
    bench.hub.join(ada, "two", "ada", keep=True)
    bench.hub.join(ada, "three", "ada")
    assert room_names(ada) == ["three"]


@pytest.mark.parametrize("keep", [False, True])
def test_joining_a_room_again_comes_back_under_the_new_name(bench: Bench, keep: bool) -> None:
    ada, bob = bench.join("lobby", "ada", "bob")
    bench.hub.join(bob, "lobby", "robert", keep=keep)
    bench.runtime.settle()
    assert (room_names(bob), ada.room.usernames(0, 9)) == (["lobby"], ["ada", "robert"])
    assert [(event["type"], event["username"]) for event in tape(ada).events[-2:]] == [
        ("user_left", "bob"),
        ("user_joined", "robert"),
    ]


def test_names_are_cleaned(bench: Bench) -> None:
    ada = bench.connect()
    room = bench.hub.join(ada, "  lobby " + "x" * 60, "\tada\n")
    assert (room.room.name, ada.username) == ("lobby " + "x" * 44, "ada")


@pytest.mark.parametrize(("room", "username"), [("", "ada"), ("lobby", ""), (" ", "ada"), ("lobby", "\t")])
def test_both_names_are_required(bench: Bench, room: str, username: str) -> None:
    with pytest.raises(CommandError, match=r"^Room and username are required$") as caught:
        bench.hub.join(bench.connect(), room, username)
    assert caught.value.code == "invalid_join"


def test_a_join_that_is_refused_leaves_nothing(bench: Bench) -> None:
    (ada,) = bench.join("lobby", "ada")
    with pytest.raises(CommandError):
        bench.hub.join(ada, "bad{name}", "ada")
    assert (room_names(ada), ada.username) == (["lobby"], "ada")


def test_a_connection_may_be_in_so_many_rooms() -> None:
    bench = Bench(Config(limits=Limits(max_rooms=2)))
    ada = bench.connect()
    for name in ("one", "two", "two"):
        bench.hub.join(ada, name, "ada", keep=True)
    with pytest.raises(CommandError, match="may be in 2 rooms") as caught:
        bench.hub.join(ada, "three", "ada", keep=True)
    assert (caught.value.code, room_names(ada)) == ("too_many_rooms", ["one", "two"])


def test_one_of_several_rooms_can_be_left(bench: Bench) -> None:
    (ada,) = bench.join("one", "ada")
    bench.hub.join(ada, "other", "ada", keep=True)
    bench.hub.leave(ada, "one")
    assert room_names(ada) == ["other"]


def test_leaving_a_room_that_one_is_not_in_is_refused(bench: Bench) -> None:
    bench.join("lobby", "bob")
    with pytest.raises(CommandError, match="Not in that room") as caught:
        bench.hub.leave(bench.connect(), "lobby")
    assert caught.value.code == "not_in_room"


def test_a_room_is_the_same_for_all_who_are_in_it(bench: Bench) -> None:
    ada, bob = bench.join("lobby", "ada", "bob")
    assert ada.room is bob.room is bench.hub.room("lobby")


class WatchedBroker(MemoryBroker):
    """Writes down which rooms are in use."""

    def __init__(self, *args: Any) -> None:
        super().__init__(*args)
        self.calls: list[str] = []

    def open(self, room: str, opened: Answer[Position]) -> None:
        self.calls.append(f"open {room}")
        super().open(room, opened)

    def close(self, room: str) -> None:
        self.calls.append(f"close {room}")
        super().close(room)


def test_the_broker_knows_which_rooms_have_members() -> None:
    bench = Bench(broker=WatchedBroker)
    assert isinstance(bench.broker, WatchedBroker)
    ada, bob = bench.join("lobby", "ada", "bob")
    bench.hub.lost(ada)
    assert bench.broker.calls == ["open lobby"]
    bench.hub.join(bob, "other", "bob")
    assert bench.broker.calls[1:] == ["close lobby", "open other"]


def test_a_room_that_emptied_goes_on_where_it_was(bench: Bench) -> None:
    (ada,) = bench.join("lobby", "ada")
    ada.room.publish(Said("hi"))
    bench.hub.leave(ada, "lobby")
    bench.runtime.settle()
    (bob,) = bench.join("lobby", "bob")
    assert bob.room.head == 1


def test_a_room_is_the_same_for_who_holds_it(bench: Bench) -> None:
    room = bench.hub.room("lobby")
    (ada,) = bench.join("lobby", "ada")
    bench.hub.lost(ada)
    assert bench.hub.room("lobby") is room


def test_a_room_that_nobody_uses_takes_no_memory(bench: Bench) -> None:
    (ada,) = bench.join("left", "ada")
    bench.hub.lost(ada)
    bench.hub.room("asked for")
    bench.hub.room("published to").publish(Said("hi"))
    rooms = [weakref.ref(bench.hub.room(name)) for name in ("left", "asked for", "published to")]
    bench.runtime.settle()
    assert [room() for room in rooms] == [None] * 3


def test_what_is_published_into_a_room_that_nobody_holds_is_kept(bench: Bench) -> None:
    bench.hub.room("lobby").publish(Said("a"))
    bench.hub.room("lobby").publish(Said("b"))
    bench.runtime.settle()
    assert bench.head("lobby") == 2


# Turns


def test_rooms_are_flushed_in_the_order_in_which_they_were_published_to(bench: Bench) -> None:
    kept: list[bytes] = []
    for name in "bac":
        bench.hub.room(name).publish(Said(name)).when_settled(lambda publication: kept.append(publication.payload))
    bench.runtime.turn()
    assert [json.loads(payload)["text"] for payload in kept] == ["b", "a", "c"]


def test_a_room_that_fails_takes_no_other_along(caplog: pytest.LogCaptureFixture) -> None:
    bench = Bench(broker=FailingBroker)
    (eve,), (ada,) = bench.join("bad", "eve"), bench.join("good", "ada")
    eve.room.publish(Said("x"))
    ada.room.publish(Said("hi"))
    bench.runtime.turn()
    assert (heard(eve), heard(ada)) == ([], ["hi"])
    (record,) = caplog.records
    assert record.getMessage() == "events of a room could not be kept: room='bad' error=disk full"


def test_a_room_that_fails_lets_its_members_go(caplog: pytest.LogCaptureFixture) -> None:
    bench = Bench(broker=FailingBroker)
    (eve,) = bench.join("bad", "eve")
    eve.room.publish(Said("x"))
    with caplog.at_level(logging.CRITICAL, "hubbub"):
        bench.hub.close(eve, 1000)
    assert (eve.open, eve.rooms, tape(eve).actions) == (False, (), [(1000, "")])
    assert bench.hub.room("bad").count == 0


# Rates


def flood(bench: Bench, connection: Connection, messages: int) -> None:
    for _ in range(messages):
        bench.hub.receive(connection, TEXT, b"hi")


@pytest.fixture
def limited() -> Bench:
    return Bench(Config(limits=Limits(rate_limit=10, rate_burst=5, rate_patience_seconds=3)))


def excesses(bench: Bench) -> list[bool]:
    """For each dropped message: whether it was the first of a series."""
    return [call[1] for call in calls(bench) if isinstance(call, tuple)]


def test_the_burst_is_received_and_the_next_message_is_not(limited: Bench) -> None:
    flood(limited, limited.connect(), 6)
    assert calls(limited)[:-1] == ["opened", *[b"hi"] * 5]
    assert excesses(limited) == [True]
    assert (limited.hub.counters.messages_received, limited.hub.counters.messages_limited) == (5, 1)


def test_connections_do_not_share_a_rate(limited: Bench) -> None:
    flood(limited, limited.connect(), 5)
    flood(limited, limited.connect(), 5)
    assert limited.hub.counters.messages_limited == 0


def test_only_the_first_excess_of_a_series_is_the_first(limited: Bench) -> None:
    flood(limited, limited.connect(), 8)
    assert excesses(limited) == [True, False, False]


def test_whoever_is_dropped_is_told_how_many_milliseconds_to_wait(limited: Bench) -> None:
    flood(limited, limited.connect(), 6)
    assert calls(limited)[-1] == (pytest.approx(100, abs=1), True)


def test_after_a_pause_a_new_series_begins(limited: Bench) -> None:
    connection = limited.connect()
    flood(limited, connection, 6)
    limited.runtime.now += 1.5
    flood(limited, connection, 6)
    assert excesses(limited) == [True, True]


def test_whoever_goes_on_is_closed_when_patience_ends(limited: Bench) -> None:
    connection = limited.connect()
    for _ in range(7):  # the last at the third second
        assert connection.open
        flood(limited, connection, 10)
        limited.runtime.now += 0.5
    assert tape(connection).actions == [(1008, "too many messages for too long (rate_limit, rate_patience_seconds)")]


def test_whoever_slows_down_is_not(limited: Bench) -> None:
    connection = limited.connect()
    for _ in range(10):
        flood(limited, connection, 20)
        limited.runtime.now += 1.5
    assert connection.open


def test_with_a_rate_of_zero_nothing_is_dropped() -> None:
    bench = Bench(Config(limits=Limits(rate_limit=0)))
    flood(bench, bench.connect(), 1000)
    assert bench.hub.counters.messages_received == 1000


def test_too_many_pings_end_a_connection() -> None:
    bench = Bench(Config(limits=Limits(control_rate=1, control_burst=3)))
    connection = bench.connect()
    assert [bench.hub.control(connection) for _ in range(4)] == [True, True, True, False]
    assert tape(connection).actions == [(1008, "too many pings or pongs (control_rate)")]


def test_pings_now_and_then_do_not() -> None:
    bench = Bench(Config(limits=Limits(control_rate=1, control_burst=3)))
    connection = bench.connect()
    for _ in range(20):
        bench.runtime.now += 1
        assert bench.hub.control(connection)


# Heartbeats


@pytest.mark.parametrize("seconds", [30.0, 0.05, 2.5, 1.0])
def test_the_ticks_of_a_heartbeat_add_up(seconds: float) -> None:
    bench = Bench(Config(heartbeat=Heartbeat(heartbeat_seconds=seconds)))
    connection, ticks = bench.connect(), round(seconds / bench.hub.tick_seconds)
    assert bench.hub.tick_seconds <= 1
    bench.tick(ticks - 1)
    assert tape(connection).actions == []
    bench.tick()
    assert tape(connection).actions == ["ping"]


def test_whoever_answers_is_asked_again() -> None:
    bench = Bench()
    connection = bench.connect()
    for _ in range(3):
        bench.tick(30)
        bench.hub.pong(connection)
    assert tape(connection).actions == ["ping"] * 3


def test_whoever_does_not_answer_is_dropped_at_the_next_ping(bench: Bench) -> None:
    ada, bob = bench.join("lobby", "ada", "bob")
    bench.tick(30)
    bench.hub.pong(ada)
    bench.tick(29)
    assert bob.open
    bench.tick()
    bench.runtime.settle()
    assert (tape(bob).actions, bob.open, heard(ada)) == (["ping", "abort"], False, ["user_left"])
    assert bench.hub.counters.heartbeats_missed == 1


def test_messages_are_no_answer_to_a_ping(bench: Bench) -> None:
    connection = bench.connect()
    for _ in range(60):
        bench.hub.receive(connection, TEXT, b"hi")
        bench.tick()
    assert tape(connection).actions == ["ping", "abort"]


def test_connections_are_asked_an_interval_after_they_came(bench: Bench) -> None:
    early = bench.connect()
    bench.tick(10)
    late = bench.connect()
    bench.tick(20)
    assert (tape(early).actions, tape(late).actions) == (["ping"], [])
    bench.tick(10)
    assert tape(late).actions == ["ping"]


def test_whoever_is_gone_is_not_asked(bench: Bench) -> None:
    connection = bench.connect()
    bench.hub.lost(connection)
    bench.tick(90)
    assert (tape(connection).actions, bench.hub.counters.heartbeats_missed) == ([], 0)


# Idle connections


def test_whoever_says_nothing_is_closed_where_that_is_switched_on() -> None:
    bench = Bench(Config(heartbeat=Heartbeat(heartbeat_seconds=2, idle_seconds=5)))
    connection = bench.connect()
    for _ in range(4):
        bench.tick()
        bench.hub.pong(connection)
    assert tape(connection).actions == ["ping", "ping"]
    bench.tick(2)
    assert tape(connection).actions[2:] == [(1000, "idle for 5 s")]


def test_whoever_speaks_stays() -> None:
    bench = Bench(Config(heartbeat=Heartbeat(heartbeat_seconds=2, idle_seconds=5)))
    connection = bench.connect()
    for _ in range(20):
        bench.tick()
        bench.hub.pong(connection)
        bench.hub.receive(connection, TEXT, b"hi")
    assert connection.open


def test_by_default_silence_is_allowed(bench: Bench) -> None:
    connection = bench.connect()
    for _ in range(10):
        bench.tick(30)
        bench.hub.pong(connection)
    assert connection.open


def test_counts_of_large_rooms_wait_for_the_tick() -> None:
    bench = Bench(Config(rooms=Rooms(presence_detail=1)))
    ada, *_ = bench.join("lobby", *"abc")
    bench.runtime.settle()
    assert heard(ada) == []
    bench.tick()
    bench.runtime.settle()
    assert heard(ada) == ["member_count"]


def test_the_heartbeats_of_many_who_came_together_are_looked_at_in_several_turns(bench: Bench) -> None:
    many = [bench.connect() for _ in range(2 * CHECKED_A_TURN + 1)]
    bench.tick(30)
    pinged = [tape(connection).actions == ["ping"] for connection in many]
    assert sum(pinged) == CHECKED_A_TURN
    bench.runtime.settle()
    assert all(tape(connection).actions == ["ping"] for connection in many)


def test_who_goes_before_its_heartbeat_is_looked_at_is_not_pinged(bench: Bench) -> None:
    many = [bench.connect() for _ in range(CHECKED_A_TURN + 1)]
    bench.tick(30)
    bench.hub.lost(many[-1])
    bench.runtime.settle()
    assert tape(many[-1]).actions == []
