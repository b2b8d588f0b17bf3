"""client.entry: where a client is in a room, and which events are new there."""

from __future__ import annotations

from typing import Any

import pytest

from hubbub.client.entry import Entry, seq_of
from hubbub.client.lane import Event
from tests.unit.client.player import info, message


class Heard(Entry):
    def __init__(self, **options: Any) -> None:
        super().__init__("lobby", "ada", **options)
        self.events: list[Event] = []
        self.deliver = self.events.append

    @property
    def seqs(self) -> list[int]:
        return [seq for event in self.events if (seq := seq_of(event)) is not None and event["type"] == "message"]

    @property
    def kinds(self) -> list[str]:
        return [event["type"] for event in self.events]


def test_what_was_missed_comes_as_ordinary_events_behind_room_info() -> None:
    entry = Heard(since={"epoch": "e", "seq": 1})
    entry.enter(info(seq=3, recovered=True, messages=[message(2), message(3)]))
    assert entry.kinds == ["room_info", "message", "message"]
    assert entry.events[0]["messages"] == []
    assert entry.events[0]["seq"] == 1


def test_an_event_comes_once() -> None:
    entry = Heard()
    entry.enter(info(seq=4))
    for seq in (5, 6, 5, 4, 6, 7):
        entry.take(message(seq))
    assert entry.seqs == [5, 6, 7]


def test_a_return_shows_what_is_new_only() -> None:
    entry = Heard()
    entry.enter(info(seq=4))
    entry.take(message(5))
    entry.enter(info(seq=7, recovered=True, messages=[message(5), message(6), message(7)]))
    assert entry.seqs == [5, 6, 7]
    assert "gap" not in entry.kinds


@pytest.mark.parametrize("recovered", [False, None])
def test_a_return_elsewhere_is_told_as_a_gap(recovered: bool | None) -> None:
    entry = Heard()
    entry.enter(info(seq=4))
    entry.enter(info(seq=9, recovered=recovered, messages=[message(8), message(9)]))
    assert entry.kinds == ["room_info", "room_info", "gap", "message", "message"]
    assert entry.events[2] == {"type": "gap", "room": "lobby", "epoch": "e", "seq": 7}


def test_a_return_without_since_to_the_same_place_misses_nothing() -> None:
    entry = Heard()
    entry.enter(info(seq=4))
    entry.enter(info(seq=4, recovered=None))
    assert entry.kinds == ["room_info", "room_info"]


def test_numbers_of_another_epoch_begin_anew() -> None:
    entry = Heard()
    entry.enter(info(seq=40))
    entry.enter(info(seq=2, epoch="f", recovered=False, messages=[message(1), message(2)]))
    entry.take(message(3))
    assert entry.seqs == [1, 2, 3]
    assert entry.place == {"epoch": "f", "seq": 3}


def test_a_gap_moves_the_position() -> None:
    entry = Heard()
    entry.enter(info(seq=4))
    entry.take({"type": "gap", "room": "lobby", "epoch": "e", "seq": 80})
    entry.take(message(81))
    assert (entry.kinds, entry.place) == (["room_info", "gap", "message"], {"epoch": "e", "seq": 81})


def test_a_confirmed_event_that_comes_again_is_shown_to_who_never_had_it() -> None:
    entry = Heard(since={"epoch": "e", "seq": 4})
    entry.enter(info(seq=4, recovered=True))
    entry.take(message(3, redelivered=True))
    entry.take(message(5))
    entry.take(message(5, redelivered=True))
    assert entry.seqs == [3, 5]


def test_what_is_not_kept_moves_nothing() -> None:
    entry = Heard()
    entry.enter(info(seq=4))
    entry.take({"type": "seen", "username": "bob", "seq": 9, "room": "lobby"})
    entry.take({"type": "typing", "username": "bob", "room": "lobby"})
    assert entry.kinds == ["room_info", "seen", "typing"]
    assert entry.place == {"epoch": "e", "seq": 4}


def test_nothing_is_heard_from_a_room_before_it_is_entered() -> None:
    entry = Heard()
    entry.take(message(1))
    assert entry.events == []


@pytest.mark.parametrize(
    ("options", "username", "command"),
    [
        ({}, "ada", {"type": "join", "room": "lobby", "username": "ada", "keep": True}),
        ({}, None, {"type": "subscribe", "room": "lobby"}),
        ({"since": "acked"}, None, {"type": "subscribe", "room": "lobby", "since": "acked"}),
        ({"history": 5}, None, {"type": "subscribe", "room": "lobby", "history": 5}),
    ],
)
def test_a_room_is_entered_with_what_is_asked_for(
    options: dict[str, Any], username: str | None, command: Event
) -> None:
    assert Entry("lobby", username, **options).command() == command
