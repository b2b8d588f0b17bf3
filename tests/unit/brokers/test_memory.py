"""brokers.memory: what only memory does: it answers at once, and forgets rooms that nobody uses."""

from __future__ import annotations

import sys
from collections.abc import Iterator

import pytest

from hubbub.brokers import memory
from hubbub.brokers.memory import EXPIRE_EVERY
from hubbub.hub.ports import Kept, Retention
from tests.support.logs import Logs, once


@pytest.fixture
def logs() -> Iterator[Logs]:
    logs = Logs(None, max_logs=2)
    yield logs
    logs.end()


def leave(logs: Logs, *rooms: str) -> None:
    """Somebody was in each room, and published something."""
    for room in rooms:
        logs.open(room)
        logs.append(b"x", room=room)
    for room in rooms:
        logs.broker.close(room)


def test_everything_is_answered_at_once(logs: Logs) -> None:
    broker = logs.broker
    futures = [logs.begin(broker.open, "r"), logs.begin_append(b"x"), logs.begin(broker.read, "r", 0, 1, 1)]
    futures += [logs.begin(broker.acknowledge, "r", "a", "A", 1), logs.begin(broker.acknowledged, "r", "a")]
    futures += [logs.begin(broker.seek, "r", 0), logs.begin(broker.readers, "r", 1)]
    assert all(future.done() for future in futures)


def test_of_closed_rooms_the_one_left_longest_ago_is_forgotten(logs: Logs) -> None:
    leave(logs, "a", "b", "c")
    assert [logs.open(room).seq for room in "cba"] == [1, 1, 0]


def test_a_room_that_was_entered_again_is_not_left_longest_ago(logs: Logs) -> None:
    leave(logs, "a", "b")
    logs.open("a")
    logs.broker.close("a")
    leave(logs, "c")
    assert [logs.open(room).seq for room in "acb"] == [1, 1, 0]


def test_all_closed_rooms_together_are_bounded_in_bytes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(memory, "MAX_UNUSED_BYTES", 10 * (memory.EVENT_BYTES + 1))
    logs = Logs(None, max_logs=1000)
    leave(logs, *"abcdefghij")
    for room in "abcdefghij" * 3:  # what is left again does not count twice
        assert logs.open(room).seq == 1
        logs.broker.close(room)
    leave(logs, *"klm")
    assert [room for room in "abcdefghijklm" if logs.open(room).seq == 0] == ["a", "b", "c"]
    logs.end()


def test_of_closed_rooms_the_one_left_last_is_kept_however_large_it_is(
    logs: Logs, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(memory, "MAX_UNUSED_BYTES", 1)
    leave(logs, "a", "b")
    assert [logs.open(room).seq for room in "ab"] == [0, 1]


def test_cursors_of_closed_rooms_count(logs: Logs, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(memory, "MAX_UNUSED_BYTES", 2 * memory.CURSOR_BYTES)
    logs.open("a")
    for reader in ("ada", "bob"):
        logs.acknowledge(reader, 0, room="a")
    logs.broker.close("a")
    leave(logs, "b")
    assert [logs.open(room).seq for room in "ab"] == [0, 1]
    assert logs.acknowledged("ada", room="a") is None


def test_open_rooms_are_never_forgotten(logs: Logs) -> None:
    logs.open()
    logs.append(b"x")
    leave(logs, *"abcdef")
    assert logs.seqs() == ([1], True)


def test_a_log_that_was_forgotten_begins_a_new_epoch(logs: Logs) -> None:
    before = logs.open("a")
    leave(logs, "a", "b", "c")
    assert logs.open("a").epoch != before.epoch


def test_a_log_that_begins_anew_does_not_know_the_publishes_of_its_past_life(logs: Logs) -> None:
    logs.open("a")
    logs.append(once("id"), room="a")
    logs.broker.close("a")
    leave(logs, "b", "c")
    logs.open("a")
    assert logs.append(once("id"), room="a") == Kept(1, {})


def test_a_log_with_nothing_in_it_is_not_kept(logs: Logs) -> None:
    before = logs.open("a")
    logs.broker.close("a")
    assert logs.open("a").epoch != before.epoch


def test_a_log_with_a_reader_is_kept(logs: Logs) -> None:
    before = logs.open("a")
    logs.acknowledge("ada", 0, room="a")
    logs.broker.close("a")
    assert (logs.open("a"), logs.acknowledged("ada", room="a")) == (before, 0)


def test_what_is_too_old_is_let_go_with_one_of_the_next_appends(logs: Logs) -> None:
    logs.retention = Retention(0, 0, 10)
    logs.open("a")
    payload = b"x" * 1000
    free = sys.getrefcount(payload)
    logs.append(payload, room="a")
    logs.now += 60_000
    for _ in range(EXPIRE_EVERY):
        logs.append(b"y", room="a")
    assert sys.getrefcount(payload) == free


def test_the_newest_readers_of_a_room_are_known(logs: Logs, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(memory, "MAX_READERS", 3)
    logs.open()
    logs.append(b"x")
    for reader, seq in (("a", 0), ("b", 0), ("c", 0), ("a", 1), ("d", 0)):
        logs.acknowledge(reader, seq)
    assert [reader for reader, _, _ in logs.readers()] == ["d", "a", "c"]


def test_closing_what_is_not_open_does_nothing(logs: Logs) -> None:
    logs.broker.close("a")
    assert logs.open("a").seq == 0
