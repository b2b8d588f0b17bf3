"""hub.room: members whose transport is full; what they missed is read from the log, in order and in portions."""

from __future__ import annotations

from typing import Any

import pytest

from hubbub.config import Config, Limits, Rooms
from hubbub.hub.connection import Connection
from tests.unit.fakes import Bench, heard, tape
from tests.unit.hub.rooms import LateReads, Pipe, ask, client, flood, joined, seqs, speaking, token, types


@pytest.fixture
def bench() -> Bench:
    return speaking()


def pipe(connection: Connection) -> Pipe:
    found = tape(connection)
    assert isinstance(found, Pipe)
    return found


def stalled(bench: Bench, *usernames: str, **options: Any) -> list[Connection]:
    """Members of whom the first has stopped reading."""
    members = joined(bench, *usernames, **options)
    bench.hub.writing_paused(members[0])
    return members


def drained(bench: Bench, connection: Connection) -> list[Any]:
    bench.hub.writing_resumed(connection)
    bench.runtime.settle()
    return tape(connection).events


# Stopping and going on


def test_nothing_is_written_to_who_does_not_read(bench: Bench) -> None:
    ada, bob = stalled(bench, "ada", "bob")
    flood(bench, 3)
    assert (heard(ada), heard(bob)) == ([], ["1", "2", "3"])
    assert bench.hub.counters.writing_paused == 1


def test_what_was_missed_follows_in_order(bench: Bench) -> None:
    (ada,) = stalled(bench, "ada")
    flood(bench, 3)
    assert seqs(drained(bench, ada)) == [1, 2, 3]
    flood(bench, 1)
    assert seqs(tape(ada).events) == [1, 2, 3, 4]


def test_who_missed_nothing_hears_nothing_more(bench: Bench) -> None:
    (ada,) = stalled(bench, "ada")
    assert drained(bench, ada) == []


def test_what_comes_while_it_is_read_for_comes_behind() -> None:
    bench = speaking(broker=LateReads)
    ada = client(bench)
    bench.receive(ada, type="join", room="lobby", username="ada")
    answers(bench)
    bench.hub.writing_paused(ada)
    say_late(bench, 2)
    bench.hub.writing_resumed(ada)
    say_late(bench, 1)
    answers(bench)
    assert seqs(tape(ada).events) == [1, 2, 3]


def say_late(bench: Bench, count: int) -> None:
    for _ in range(count):
        bench.hub.room("lobby").publish({"type": "said", "text": "x"})
    bench.runtime.turn()


def answers(bench: Bench) -> None:
    assert isinstance(bench.broker, LateReads)
    for _ in range(20):
        bench.broker.answer()
        bench.runtime.settle()


def test_a_pause_in_the_middle_of_a_turn_loses_nothing(bench: Bench) -> None:
    ada, bob = joined(bench, "ada", "bob")
    pipe(ada).takes = 2
    flood(bench, 2)
    flood(bench, 2)
    assert seqs(tape(ada).events) == [1, 2]
    assert seqs(drained(bench, ada)) == seqs(tape(bob).events) == [1, 2, 3, 4]


def test_a_publisher_that_its_own_ok_fills_gets_its_event_later(bench: Bench) -> None:
    (ada,) = joined(bench, "ada")
    pipe(ada).takes = 1
    assert ask(bench, ada, "say", text="x")["seq"] == 1
    assert seqs(tape(ada).events) == []
    assert seqs(drained(bench, ada)) == [1]


@pytest.mark.parametrize("turns", [0, 1, 2, 3])
def test_a_pause_in_the_middle_of_slices_loses_nothing(turns: int) -> None:
    bench = speaking(Config(limits=Limits(rate_limit=0), rooms=Rooms(fanout_slice=1)))
    ada, *_ = joined(bench, *"abcd")
    for _ in range(2):
        bench.hub.room("lobby").publish({"type": "said", "text": "x"})
        bench.runtime.turn()
    for _ in range(turns):
        bench.runtime.turn()
    bench.hub.writing_paused(ada)
    bench.runtime.settle()
    assert seqs(drained(bench, ada)) == [1, 2]


def test_all_rooms_of_a_connection_are_read_for(bench: Bench) -> None:
    (ada,) = joined(bench, "ada")
    ask(bench, ada, "join", room="attic", username="ada", keep=True)
    bench.hub.writing_paused(ada)
    flood(bench, 2)
    flood(bench, 2, room="attic")
    found = [(event["room"], event["seq"]) for event in drained(bench, ada) if "seq" in event]
    assert sorted(found) == [("attic", 1), ("attic", 2), ("lobby", 1), ("lobby", 2)]


def test_long_arrears_come_in_portions_a_turn_each() -> None:
    bench = speaking(patterns=[("*", {"history": 2000})])
    (ada,) = stalled(bench, "ada")
    flood(bench, 1200)
    drained(bench, ada)
    assert [len(batch) for batch in tape(ada).batches] == [500, 500, 200]


def test_a_portion_is_bounded_in_bytes() -> None:
    bench = speaking(patterns=[("*", {"history": 100})])
    (ada,) = stalled(bench, "ada")
    for _ in range(4):
        bench.hub.room("lobby").publish({"type": "said", "text": "x" * 30_000})
    bench.runtime.settle()
    drained(bench, ada)
    assert [len(batch) for batch in tape(ada).batches] == [2, 2]


def test_who_stops_again_between_portions_goes_on_there() -> None:
    bench = speaking(patterns=[("*", {"history": 2000})])
    (ada,) = stalled(bench, "ada")
    flood(bench, 700)
    pipe(ada).takes = 1
    assert len(drained(bench, ada)) == 500
    assert seqs(drained(bench, ada)) == list(range(1, 701))


def test_who_joins_while_it_is_stalled_is_behind(bench: Bench) -> None:
    ada = client(bench)
    bench.hub.writing_paused(ada)
    bench.hub.join(ada, "lobby", "ada")
    flood(bench, 2)
    assert seqs(tape(ada).events) == []
    assert seqs(drained(bench, ada)) == [1, 2]


def test_who_is_lost_while_it_is_stalled_is_read_for_no_more(bench: Bench) -> None:
    (ada,) = stalled(bench, "ada", session="")
    flood(bench, 1)
    bench.hub.lost(ada)
    assert drained(bench, ada) == []
    reply = ask(
        bench, client(bench, token(ada)), "join", room="lobby", username="ada", since={"epoch": "epoch", "seq": 0}
    )
    assert (seqs(reply["messages"]), reply["recovered"]) == ([1], True)


def test_a_portion_ends_with_what_the_others_have() -> None:
    bench, ada = late_reader()
    say_late(bench, 1)  # numbered, but not kept yet
    bench.hub.writing_resumed(ada)
    answers(bench)
    assert seqs(tape(ada).events) == [1, 2]


def late_reader(missed: int = 1) -> tuple[Bench, Connection]:
    """Somebody who reads nothing, and has missed something, of a broker that is late."""
    bench = speaking(broker=LateReads, patterns=[("*", {"history": 2000})])
    ada = client(bench, "")
    bench.receive(ada, type="join", room="lobby", username="ada")
    answers(bench)
    tape(ada).forget()
    bench.hub.writing_paused(ada)
    say_late(bench, missed)
    answers(bench)
    return bench, ada


def test_who_stops_and_goes_on_while_it_is_read_for_gets_nothing_twice() -> None:
    bench, ada = late_reader(missed=700)
    for _ in range(2):
        bench.hub.writing_resumed(ada)
        bench.hub.writing_paused(ada)
    bench.hub.writing_resumed(ada)
    answers(bench)
    assert seqs(tape(ada).events) == list(range(1, 701))


def test_what_was_read_for_who_stopped_meanwhile_is_read_again() -> None:
    bench, ada = late_reader(missed=2)
    bench.hub.writing_resumed(ada)
    bench.runtime.settle()  # the read is under way
    bench.hub.writing_paused(ada)
    answers(bench)
    assert seqs(tape(ada).events) == []
    bench.hub.writing_resumed(ada)
    answers(bench)
    assert seqs(tape(ada).events) == [1, 2]


def test_what_was_read_for_who_left_meanwhile_is_not_sent() -> None:
    bench, ada = late_reader()
    bench.hub.writing_resumed(ada)
    bench.hub.leave(ada, "lobby")
    answers(bench)
    assert heard(ada) == []


def test_draining_during_a_join_does_not_hurry_it() -> None:
    bench = speaking(broker=LateReads)
    bench.hub.room("lobby").publish({"type": "said", "text": "x"})
    answers(bench)
    ada = client(bench)
    bench.hub.writing_paused(ada)
    bench.receive(ada, type="join", room="lobby", username="ada", history=1)
    bench.broker.answer(1)  # type: ignore[attr-defined]
    bench.hub.writing_resumed(ada)
    answers(bench)
    assert (types(ada)[0], seqs(tape(ada).events[1:])) == ("room_info", [])


# What is gone


def test_what_the_log_no_longer_holds_is_a_gap(bench: Bench) -> None:
    (ada,) = stalled(bench, "ada")
    flood(bench, 13)
    first, *rest = drained(bench, ada)
    assert first == {"type": "gap", "room": "lobby", "epoch": "epoch", "seq": 3}
    assert (seqs(rest), bench.hub.counters.gaps) == (list(range(4, 14)), 1)


def test_ephemeral_events_of_the_meantime_are_gone(bench: Bench) -> None:
    (ada,) = stalled(bench, "ada")
    bench.hub.room("lobby").publish({"type": "said", "text": "brief"}, keep=False)
    flood(bench, 1)
    drained(bench, ada)
    assert "brief" not in heard(ada)


def test_who_missed_comings_is_told_how_many_there_are(bench: Bench) -> None:
    (ada,) = stalled(bench, "ada")
    joined(bench, "bob", "cid")
    (event,) = drained(bench, ada)
    assert (event["type"], event["memberCount"], event["room"]) == ("member_count", 3, "lobby")


def test_a_subscription_is_not(bench: Bench) -> None:
    ada = client(bench)
    ask(bench, ada, "subscribe", room="lobby")
    bench.hub.writing_paused(ada)
    joined(bench, "bob")
    assert drained(bench, ada) == []


def test_comings_lost_with_a_slice_count_as_missed() -> None:
    bench = speaking(Config(limits=Limits(rate_limit=0), rooms=Rooms(fanout_slice=1)))
    ada, *_ = joined(bench, *"abcd")
    bench.hub.join(bench.connect(), "lobby", "eve")
    bench.runtime.turn()
    bench.hub.writing_paused(ada)
    bench.runtime.settle()
    drained(bench, ada)
    assert types(ada) == ["member_count"]


# Other policies


def test_latest_gets_a_gap_and_the_newest_event() -> None:
    bench = speaking(patterns=[("*", {"history": 10, "slow_readers": "latest"})])
    (ada,) = stalled(bench, "ada")
    flood(bench, 5)
    gap, event, *_ = drained(bench, ada)
    assert (gap["type"], gap["seq"], event["seq"]) == ("gap", 4, 5)
    flood(bench, 1)
    assert seqs(tape(ada).events) == [5, 6]


def test_latest_needs_no_gap_for_one_event() -> None:
    bench = speaking(patterns=[("*", {"slow_readers": "latest"})])
    (ada,) = stalled(bench, "ada")
    flood(bench, 1)
    assert heard(ada) == []
    drained(bench, ada)
    assert types(ada)[0] == "said"


def test_disconnect_closes_with_4408() -> None:
    bench = speaking(patterns=[("*", {"slow_readers": "disconnect"})])
    (ada,) = stalled(bench, "ada")
    bench.runtime.settle()
    assert (ada.open, tape(ada).actions[-1][0]) == (False, 4408)


def test_one_such_room_is_enough() -> None:
    bench = speaking(patterns=[("ticker", {"slow_readers": "disconnect"})])
    (ada,) = joined(bench, "ada")
    ask(bench, ada, "subscribe", room="ticker")
    bench.hub.writing_paused(ada)
    bench.runtime.settle()
    assert not ada.open


def test_of_each_key_the_newest_value_follows() -> None:
    bench = speaking(patterns=[("*", {"latest_only": True})])
    (ada,) = stalled(bench, "ada")
    for key in "aabab":
        flood(bench, 1, key=key)
    assert seqs(drained(bench, ada)) == [4, 5]
    assert "gap" not in types(ada)


# Patience


def test_who_reads_nothing_for_a_minute_is_closed(bench: Bench) -> None:
    (ada,) = stalled(bench, "ada")
    bench.tick(59)
    assert ada.open
    bench.tick()
    assert tape(ada).actions[-1] == (1008, "nothing was read for 60 s (stall_seconds)")
    assert bench.hub.counters.slow_readers_closed == 1


def test_progress_begins_the_minute_anew(bench: Bench) -> None:
    (ada,) = joined(bench, "ada")
    tape(ada).buffered = 300_000
    bench.hub.writing_paused(ada)
    for _ in range(4):
        bench.tick(50)
        tape(ada).buffered -= 1
    assert ada.open
    bench.tick(61)
    assert not ada.open


def test_growing_is_no_progress(bench: Bench) -> None:
    (ada,) = stalled(bench, "ada")
    for _ in range(60):
        tape(ada).buffered += 10
        bench.tick()
    assert not ada.open


def test_heartbeats_spare_a_reader_that_is_slow(bench: Bench) -> None:
    (ada,) = joined(bench, "ada")
    bench.tick(29)
    tape(ada).buffered = 300_000
    bench.hub.writing_paused(ada)
    for _ in range(100):
        tape(ada).buffered -= 1
        bench.tick()
    assert (ada.open, "ping" in tape(ada).actions) == (True, False)


def test_and_one_that_has_just_drained(bench: Bench) -> None:
    (ada,) = joined(bench, "ada")
    bench.tick(30)
    bench.hub.writing_paused(ada)
    bench.tick(29)
    bench.hub.writing_resumed(ada)
    bench.tick()
    assert (ada.open, tape(ada).actions) == (True, ["ping", "ping"])
