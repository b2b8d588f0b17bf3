"""brokers.memory: the promises of hub.ports.Broker, and the bounds of memory."""

from __future__ import annotations

import itertools

import pytest

from hubbub.brokers.memory import MemoryBroker
from hubbub.hub.ports import Position


def broker(history: int = 3, max_logs: int = 2) -> MemoryBroker:
    epochs = itertools.count(1)
    return MemoryBroker(lambda: f"epoch-{next(epochs)}", history, max_logs)


def append(broker: MemoryBroker, room: str, *entries: bytes) -> int:
    kept: list[int] = []
    broker.append(room, entries, kept.append)
    (first,) = kept
    return first


def test_entries_are_numbered_from_one_without_gaps() -> None:
    log = broker()
    assert [append(log, "a", b"x"), append(log, "a", b"y", b"z"), append(log, "a", b"!")] == [1, 2, 4]


def test_rooms_are_numbered_independently() -> None:
    log = broker()
    assert [append(log, "a", b"x"), append(log, "b", b"x"), append(log, "a", b"y")] == [1, 1, 2]


def test_a_new_log_is_empty() -> None:
    log = broker()
    assert (log.position("a"), log.read("a", 0, 10)) == (Position("epoch-1", 0), [])


def test_the_position_is_the_last_entry() -> None:
    log = broker()
    append(log, "a", b"x", b"y")
    assert log.position("a") == Position("epoch-1", 2)


def test_entries_are_read_behind_a_position() -> None:
    log = broker()
    append(log, "a", b"x", b"y", b"z")
    assert log.read("a", 1, 10) == [(2, b"y"), (3, b"z")]


def test_so_many_are_read_and_no_more() -> None:
    log = broker()
    append(log, "a", b"x", b"y", b"z")
    assert log.read("a", 0, 2) == [(1, b"x"), (2, b"y")]


def test_only_the_last_entries_are_held() -> None:
    log = broker(history=2)
    append(log, "a", b"x", b"y", b"z")
    assert log.read("a", 0, 10) == [(2, b"y"), (3, b"z")]


def test_one_call_may_bring_more_than_is_held() -> None:
    log = broker(history=2)
    assert append(log, "a", *(b"%d" % number for number in range(1, 101))) == 1
    assert log.read("a", 0, 10) == [(99, b"99"), (100, b"100")]


@pytest.mark.parametrize(("after", "limit"), [(3, 10), (99, 10), (2**63, 10), (0, 0), (0, -1)])
def test_where_there_is_nothing_nothing_is_read(after: int, limit: int) -> None:
    log = broker()
    append(log, "a", b"x", b"y", b"z")
    assert log.read("a", after, limit) == []


def test_a_negative_position_is_before_the_first() -> None:
    log = broker()
    append(log, "a", b"x")
    assert log.read("a", -(2**63), 10) == [(1, b"x")]


def test_a_log_outlives_its_members() -> None:
    log = broker()
    log.subscribe("a")
    append(log, "a", b"x")
    log.unsubscribe("a")
    log.subscribe("a")
    assert (log.position("a"), log.read("a", 0, 10)) == (Position("epoch-1", 1), [(1, b"x")])


def test_a_log_without_entries_does_not() -> None:
    log = broker()
    log.subscribe("a")
    log.unsubscribe("a")
    assert log.position("a") == Position("epoch-2", 0)


def test_of_rooms_without_members_the_one_left_longest_ago_is_forgotten() -> None:
    log = broker(max_logs=2)
    for room in "abc":
        log.subscribe(room)
        append(log, room, b"x")
    for room in "abc":
        log.unsubscribe(room)
    assert [log.position(room).seq for room in "cb"] == [1, 1]
    assert log.position("a") == Position("epoch-4", 0)


def test_rooms_with_members_are_never_forgotten() -> None:
    log = broker(max_logs=1)
    log.subscribe("a")
    append(log, "a", b"x")
    for number in range(10):
        append(log, f"other {number}", b"x")
    assert log.read("a", 0, 10) == [(1, b"x")]


def test_a_log_that_was_forgotten_begins_a_new_epoch() -> None:
    log = broker(max_logs=1)
    append(log, "a", b"x")
    append(log, "b", b"x")
    assert append(log, "a", b"y") == 1
    assert log.position("a") == Position("epoch-3", 1)
