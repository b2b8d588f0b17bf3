"""brokers.redis_room: replies, the bus and what is read come in any order, and are told in that of seq."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hubbub.brokers.redis_room import MAX_AHEAD, Append, Batch, Flight, Room, failure_of, result_of
from hubbub.errors import BrokerError
from hubbub.hub.ports import Draft, Entry, Kept, Position, Present, Retention

LOST = BrokerError("lost")


class Tape:
    """What a room has told, as `+seq` for arrivals, `=first` for answers, `>seq` for moves."""

    def __init__(self) -> None:
        self.items: list[str] = []

    def arrived(self, room: str, entries: Sequence[Entry]) -> None:
        self.items += [f"+{entry.seq}" for entry in entries]

    def moved(self, room: str, position: Position) -> None:
        self.items.append(f">{position.epoch}{position.seq}")

    def told(self, room: str, payloads: Sequence[bytes]) -> None:
        raise AssertionError(payloads)

    def came(self, room: str, node: str, entered: Sequence[Present], left: Sequence[str]) -> None:
        raise AssertionError(entered, left)

    def everybody(self, room: str, others: Mapping[str, Sequence[Present]]) -> None:
        raise AssertionError(others)

    def dropped(self) -> None:
        raise AssertionError

    def kept(self, answer: Kept | BrokerError) -> None:
        self.items.append("failed" if isinstance(answer, BrokerError) else f"={answer.first}")


@pytest.fixture
def tape() -> Tape:
    return Tape()


@pytest.fixture
def room(tape: Tape) -> Room:
    return new_room(tape)


def new_room(tape: Tape, head: int = 0) -> Room:
    room = Room("r", Retention(0, 0, 0), b"", ())
    room.listener = tape
    room.place("e", head, 0, [], whole=head == 0)
    return room


def others(*seqs: int) -> tuple[int, int, list[tuple[Entry, str]]]:
    """Entries of another node, as the bus has them."""
    return seqs[0], seqs[-1], [(Entry(seq, 1, b"%d" % seq), "") for seq in seqs]


def answer(room: Room, tape: Tape, first: int, count: int = 1, flat: Sequence[int] = ()) -> None:
    """The reply to an append of ours."""
    drafts = [Draft(b"own")] * (count + len(flat) // 2)
    flight = Flight(1, [Append(1, drafts, tape.kept, 3)])
    room.answered(result_of(flight, first, 1, flat), first + count - 1)
    room.advance()


def test_what_is_next_is_told_at_once(room: Room, tape: Tape) -> None:
    room.heard(*others(1, 2))
    room.advance()
    answer(room, tape, 3)
    assert (tape.items, room.told) == (["+1", "+2", "=3"], 3)


def test_what_is_ahead_waits_for_what_is_missing(room: Room, tape: Tape) -> None:
    room.heard(*others(5))
    answer(room, tape, 3, 2)
    assert tape.items == []
    room.heard(*others(1, 2))
    room.advance()
    assert tape.items == ["+1", "+2", "=3", "+5"]


def test_a_failure_waits_for_those_before_it(room: Room, tape: Tape) -> None:
    answer(room, tape, 2)
    room.answered(failure_of([Append(1, (), tape.kept, 0)], LOST), 0)
    room.advance()
    assert tape.items == []
    room.heard(*others(1))
    room.advance()
    assert tape.items == ["+1", "=2", "failed"]


def test_a_repeat_is_answered_behind_what_it_follows(room: Room, tape: Tape) -> None:
    answer(room, tape, 3, 0, [0, 1])
    assert tape.items == []
    room.heard(*others(1, 2))
    room.advance()
    assert tape.items == ["+1", "+2", "=3"]


def test_nothing_is_told_twice(room: Room, tape: Tape) -> None:
    for batch in (others(1, 2), others(1, 2), others(2, 3), others(1)):
        room.heard(*batch)
        room.advance()
    assert tape.items == ["+1", "+2", "+3"]


def test_a_hole_is_up_to_what_is_there(room: Room) -> None:
    room.heard(*others(4, 5))
    room.advance()
    room.look(10)
    assert room.hole is not None
    assert (room.hole.upper, room.is_due(9.9), room.is_due(10)) == (3, False, True)


def test_a_hole_is_not_read_while_our_own_call_may_fill_it(room: Room, tape: Tape) -> None:
    room.flight = Flight(7, [])
    room.heard(*others(2))
    room.look(0)
    assert not room.is_due(1)
    room.flight = Flight(8, [])  # sent later, so it was numbered behind the hole
    assert room.is_due(1)


def test_a_hole_that_is_filled_is_none(room: Room) -> None:
    room.heard(*others(2))
    room.look(0)
    room.heard(*others(1))
    room.advance()
    room.look(0)
    assert room.hole is None


def test_what_is_known_without_its_events_is_a_hole(room: Room) -> None:
    room.heard(1, 3, [])
    room.look(0)
    assert room.hole is not None
    assert room.hole.upper == 3


def test_no_more_is_held_than_a_bound(room: Room, tape: Tape) -> None:
    for seq in range(2, MAX_AHEAD * 2, 2):
        room.heard(*others(seq))
        room.advance()
    assert (len(room.ahead), room.known) == (MAX_AHEAD - 1, MAX_AHEAD * 2 - 2)
    for seq in range(2 * MAX_AHEAD, 2 * MAX_AHEAD + 9):
        room.heard(*others(seq))
    assert len(room.ahead) == MAX_AHEAD


def test_what_is_not_held_any_more_is_passed_over(room: Room, tape: Tape) -> None:
    room.heard(*others(9))
    room.missing(6)
    room.put(Batch(7, 8, others(7, 8)[2]))
    room.advance()
    assert tape.items == [">e6", "+7", "+8", "+9"]


def test_a_lost_log_begins_anew_and_fails_what_has_no_place_any_more(room: Room, tape: Tape) -> None:
    answer(room, tape, 5)
    room.heard(*others(7))
    room.renew("f", 1)
    room.heard(*others(1))
    room.advance()
    assert tape.items == ["failed", ">f0", "+1"]


def test_a_closed_room_says_nothing_but_its_answers(room: Room, tape: Tape) -> None:
    room.open = False
    room.heard(*others(1))
    answer(room, tape, 2)
    room.missing(5)
    assert (tape.items, room.told) == (["=2"], 5)


def test_the_mistake_of_one_who_is_told_harms_no_other(room: Room, tape: Tape) -> None:
    def fails(answer: object) -> None:
        raise ZeroDivisionError

    flight = Flight(1, [Append(1, [Draft(b"x")], fails, 1), Append(1, [Draft(b"y")], tape.kept, 1)])
    room.answered(result_of(flight, 1, 1, ()), 2)
    room.advance()
    assert (tape.items, room.told) == (["=2"], 2)


class Shuffled:
    """A room whose calls, and those of others, were numbered in one order, and of which news comes in any other.

    One call of ours is out at a time; the bus may lose or repeat messages; a look at the log tells of all numbers that
    were given until our next call is sent.
    """

    def __init__(self, sizes: Sequence[tuple[bool, int]]) -> None:
        self.tape = Tape()
        self.room = new_room(self.tape)
        self.expected: list[str] = []
        self.replies: list[tuple[int, int]] = []
        self.bus: list[tuple[int, ...]] = []
        self.head = 0
        for own, size in sizes:
            seqs = tuple(range(self.head + 1, self.head + size + 1))
            self.head += size
            if own:
                self.replies.append((seqs[0], size))
                self.expected.append(f"={seqs[0]}")
            else:
                self.bus.append(seqs)
                self.expected += [f"+{seq}" for seq in seqs]
        self._send()

    def _send(self) -> None:
        self.room.flight = Flight(self.replies[0][0], []) if self.replies else None

    @property
    def given(self) -> int:
        return self.replies[1][0] - 1 if len(self.replies) > 1 else self.head

    def reply(self) -> None:
        if self.replies:
            first, size = self.replies.pop(0)
            self.room.flight = None
            answer(self.room, self.tape, first, size)
            self.read()
            self._send()

    def hear(self, at: int) -> None:
        heard = [seqs for seqs in self.bus if seqs[-1] <= self.given]
        if heard:
            self.room.heard(*others(*heard[at % len(heard)]))
            self.room.advance()

    def look(self) -> None:
        self.room.known = max(self.room.known, self.given)
        self.read()

    def read(self) -> None:
        """What is due is read, one hole after the other."""
        room = self.room
        room.look(0)
        while room.is_due(0) and room.hole is not None:
            missing = others(*range(room.told + 1, room.hole.upper + 1))
            room.hole = None
            room.put(Batch(missing[0], missing[1], missing[2]))
            room.advance()
            room.look(0)


@given(
    st.lists(st.tuples(st.booleans(), st.integers(1, 3)), min_size=1, max_size=12),
    st.lists(st.tuples(st.sampled_from(["reply", "hear", "look"]), st.integers(0, 11)), max_size=40),
)
def test_in_whatever_order_things_come_they_are_told_in_that_of_seq(
    sizes: list[tuple[bool, int]], steps: list[tuple[str, int]]
) -> None:
    world = Shuffled(sizes)
    for step, number in steps:
        if step == "hear":
            world.hear(number)
        elif step == "look":
            world.look()
        else:
            world.reply()
    while world.replies:
        world.reply()
    world.look()
    assert world.tape.items == world.expected
    assert [entry.seq for entry in world.room.ring.read(0, 1000, 1 << 20).entries] == list(range(1, world.head + 1))


# Who waits for what others have kept


def waiting(room: Room, head: int) -> list[BrokerError | None]:
    answers: list[BrokerError | None] = []
    room.await_told(head, answers.append)
    room.advance()
    return answers


def test_who_waits_is_answered_once_all_that_was_kept_is_told(room: Room) -> None:
    answers = waiting(room, 2)
    room.heard(*others(2))
    room.advance()
    assert answers == []
    room.look(0.0)
    assert room.hole is not None
    assert room.hole.upper == 1
    room.heard(*others(1))
    room.advance()
    assert answers == [None]


def test_who_waits_for_nothing_is_answered_at_once(room: Room) -> None:
    assert waiting(room, 0) == [None]


def test_who_waits_is_answered_when_the_log_is_lost(room: Room) -> None:
    answers = waiting(room, 2)
    room.renew("f", 0)
    assert answers == [None]


def test_who_waits_for_what_cannot_be_read_is_told_so(room: Room) -> None:
    answers = waiting(room, 2)
    room.give_up(LOST)
    assert answers == [LOST]
