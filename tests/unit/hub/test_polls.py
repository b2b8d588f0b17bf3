"""hub.polls: what a poll is answered with, what waiting costs, and that nothing stays of it."""

from __future__ import annotations

import json
from typing import Any

import pytest

from hubbub.brokers.memory import MemoryBroker
from hubbub.errors import BrokerError, CommandError
from hubbub.hub.connection import Connection
from hubbub.hub.identity import Grants, Identity
from hubbub.hub.polls import ANSWERED_A_TURN, KEPT_OPEN_SECONDS, MOST_KEPT_OPEN, READ_FOR_A_TURN, Answer, Query, Spot
from hubbub.hub.ports import Answer as Answers
from hubbub.hub.ports import Draft, Position
from hubbub.hub.room import MOST_BYTES
from hubbub.hub.steps import Walk
from hubbub.wire.places import parse_places
from tests.unit.fakes import Bench, LateBroker, RecordingTransport, Said

EPOCH = "epoch"


class CountingBroker(MemoryBroker):
    """Counts what it is asked for."""

    def __init__(self, *args: Any) -> None:
        super().__init__(*args)
        self.opened: list[str] = []
        self.closed: list[str] = []
        self.refreshed: list[str] = []
        self.reads = 0
        self.fails = False

    def open(self, room: str, opened: Answers[Position]) -> None:
        self.opened.append(room)
        if self.fails:
            opened(BrokerError("away"))
        else:
            super().open(room, opened)

    def close(self, room: str) -> None:
        self.closed.append(room)
        super().close(room)

    def read(self, room: str, *args: Any) -> None:
        self.reads += 1
        if self.fails:
            args[-1](BrokerError("away"))
        else:
            super().read(room, *args)

    def refresh(self, room: str, done: Answers[None]) -> None:
        self.refreshed.append(room)
        super().refresh(room, done)


class Asked:
    """A poll that somebody waits for (hub.polls.Waiter)."""

    def __init__(self, connection: Connection) -> None:
        self.spot: Spot | None = None
        self.connection = connection
        self.answers: list[Answer | Exception] = []

    def answer(self, answer: Answer | Exception) -> None:
        self.answers.append(answer)

    @property
    def error(self) -> Exception:
        (answer,) = self.answers
        assert isinstance(answer, Exception)
        return answer

    @property
    def only(self) -> dict[str, Any]:
        """Its one answer, with the texts of the events."""
        (answer,) = self.answers
        assert isinstance(answer, Answer), answer
        body = json.loads(answer.body())
        return {**body, "events": [event["text"] for event in body["events"]]}


class Desk:
    """A hub that is polled."""

    def __init__(self, broker: Any = CountingBroker, **kwargs: Any) -> None:
        self.bench = Bench(broker=broker, **kwargs)
        self.broker: Any = self.bench.broker
        self.hub, self.polls = self.bench.hub, self.bench.hub.polls
        self.settle = self.bench.runtime.settle

    def ask(
        self, since: str = "", *rooms: str, history: int = 0, waits: bool = True, identity: Identity | None = None
    ) -> Asked:
        """A poll of these rooms, `r` by default; its steps are taken as far as they go."""
        rooms = rooms or ("r",)
        connection = self.hub.open(
            self.bench.endpoint, RecordingTransport(), None, None, identity or Identity(user="", name="")
        )
        asked = Asked(connection)
        query = Query(rooms, tuple(parse_places(since, len(rooms))), history, None, waits)

        def found(answer: Answer | Exception | None) -> None:
            if answer is not None:
                asked.answer(answer)

        Walk(self.polls.ask(connection, query, asked), found).go_on()
        return asked

    def say(self, *texts: str, room: str = "r") -> None:
        for text in texts:
            self.hub.room(room).publish(Said(text))
        self.settle()

    def append(self, *texts: str, room: str = "r") -> None:
        """Has a log hold this, as another node may have kept it before anybody came here."""
        self.broker.open(room, lambda _: None)
        drafts = [Draft(json.dumps({"type": "said", "text": text}).encode()) for text in texts]
        self.broker.append(room, 1, drafts, lambda _: None)
        self.broker.close(room)


@pytest.fixture
def desk() -> Desk:
    desk = Desk()
    desk.append("a", "b", "c")
    desk.broker.opened.clear()
    desk.broker.closed.clear()
    return desk


# At once


def test_without_a_place_the_answer_is_the_place_to_go_on_from(desk: Desk) -> None:
    assert desk.ask().only == {"events": [], "since": "epoch:3", "recovered": None, "more": False}


def test_without_a_place_there_may_be_some_history(desk: Desk) -> None:
    assert desk.ask(history=2).only["events"] == ["b", "c"]


def test_what_is_behind_the_place_is_the_answer(desk: Desk) -> None:
    assert desk.ask("epoch:1").only == {"events": ["b", "c"], "since": "epoch:3", "recovered": True, "more": False}


def test_events_are_as_members_get_them(desk: Desk) -> None:
    (answer,) = desk.ask("epoch:2").answers
    assert isinstance(answer, Answer)
    assert json.loads(answer.events[0]) == {"type": "said", "text": "c", "room": "r", "seq": 3}


@pytest.mark.parametrize("since", ["epoch:4", "another:1", "epoch:999999999999999999"])
def test_a_place_that_the_log_does_not_know_is_told_and_another_given(desk: Desk, since: str) -> None:
    assert desk.ask(since).only == {"events": [], "since": "epoch:3", "recovered": False, "more": False}


def test_a_place_that_this_node_was_not_told_of_is_asked_for_first(desk: Desk) -> None:
    desk.ask("epoch:3")
    assert desk.broker.refreshed == []
    desk.ask("epoch:4")
    assert desk.broker.refreshed == ["r"]


def test_what_is_not_held_any_more_is_told() -> None:
    desk = Desk(patterns=[("r", {"history": 2})])
    desk.append("a", "b", "c", "d")
    assert desk.ask("epoch:1").only == {"events": [], "since": "epoch:4", "recovered": False, "more": False}
    assert desk.ask("epoch:1", history=9).only["events"] == ["c", "d"]


def test_who_does_not_wait_is_answered_though_there_is_nothing(desk: Desk) -> None:
    assert desk.ask("epoch:3", waits=False).only == {
        "events": [],
        "since": "epoch:3",
        "recovered": True,
        "more": False,
    }


def test_more_than_fits_comes_in_the_next_answers() -> None:
    desk = Desk()
    desk.append(*(f"{number:01000}" for number in range(300)))
    since, found = "epoch:0", []
    while True:
        answer = desk.ask(since, waits=False).only
        found += answer["events"]
        since = answer["since"]
        if not answer["more"]:
            break
        assert sum(map(len, answer["events"])) <= MOST_BYTES
    assert list(map(int, found)) == list(range(300))


def test_several_rooms_share_the_bounds_of_one_answer() -> None:
    desk = Desk()
    for room in ("r", "s"):
        desk.append(*["x" * 1000] * 100, room=room)
    first = desk.ask("epoch:0,epoch:0", "r", "s").only
    second = desk.ask(first["since"], "r", "s").only
    assert (first["more"], second["more"]) == (True, False)
    assert len(first["events"]) + len(second["events"]) == 200
    assert second["since"] == "epoch:100,epoch:100"


def test_a_latest_only_room_gives_its_values_to_who_comes_first() -> None:
    desk = Desk(patterns=[("r", {"latest_only": True})])
    desk.hub.room("r").publish(Said("1"), key="a")
    desk.hub.room("r").publish(Said("2"), key="a")
    desk.settle()
    assert desk.ask().only["events"] == ["2"]


def test_a_latest_only_room_gives_all_its_values_however_few_of_the_last_events_are_asked_for() -> None:
    desk = Desk(patterns=[("r", {"latest_only": True})])
    for key, text in ("a", "1"), ("b", "2"), ("b", "3"):
        desk.hub.room("r").publish(Said(text), key=key)
    desk.settle()
    assert desk.ask(history=1).only["events"] == ["1", "3"]


# Waiting


def test_who_has_everything_waits_and_gets_what_comes(desk: Desk) -> None:
    asked = desk.ask("epoch:3")
    assert asked.answers == []
    desk.say("d")
    assert asked.only == {"events": ["d"], "since": "epoch:4", "recovered": True, "more": False}


def test_a_turn_s_events_come_in_one_answer(desk: Desk) -> None:
    asked = desk.ask("epoch:3")
    desk.say("d", "e")
    assert asked.only["events"] == ["d", "e"]


def test_what_is_not_kept_wakes_nobody(desk: Desk) -> None:
    asked = desk.ask("epoch:3")
    desk.hub.room("r").publish(Said("typing"), keep=False)
    desk.settle()
    assert asked.answers == []


def test_what_comes_in_one_of_its_rooms_wakes_a_poll_with_the_places_of_all() -> None:
    desk = Desk()
    desk.append("a")
    asked = desk.ask("epoch:1,epoch:0", "r", "s")
    desk.say("b", room="s")
    assert asked.only == {"events": ["b"], "since": "epoch:1,epoch:1", "recovered": True, "more": False}


def test_who_names_no_place_in_one_of_the_rooms_does_not_wait() -> None:
    desk = Desk()
    desk.append("a")
    assert desk.ask("epoch:1,-", "r", "s").only["since"] == "epoch:1,epoch:0"


def test_who_has_waited_long_enough_is_told_its_place(desk: Desk) -> None:
    asked = desk.ask("epoch:3")
    assert asked.spot is not None
    desk.polls.answer_later(asked, asked.spot.quiet())
    desk.settle()
    assert asked.only == {"events": [], "since": "epoch:3", "recovered": True, "more": False}


def test_who_waited_long_enough_when_something_came_is_answered_once(desk: Desk) -> None:
    asked = desk.ask("epoch:3")
    assert asked.spot is not None
    desk.polls.answer_later(asked, asked.spot.quiet())
    desk.say("d")
    assert len(asked.answers) == 1
    assert desk.ask("epoch:3").only["events"] == ["d"]


def test_who_is_gone_is_not_answered(desk: Desk) -> None:
    asked, other = desk.ask("epoch:3"), desk.ask("epoch:3")
    desk.polls.forget(asked)
    desk.say("d")
    assert (asked.answers, len(other.answers)) == ([], 1)


def test_where_the_log_goes_on_elsewhere_who_waits_is_told(desk: Desk) -> None:
    asked = desk.ask("epoch:3")
    desk.hub.room("r").moved(Position("next", 0))
    desk.settle()
    assert asked.only == {"events": [], "since": "next:0", "recovered": False, "more": False}


def test_who_cannot_be_read_for_is_told_so() -> None:
    desk = Desk()
    desk.append("a")
    asked = desk.ask("epoch:1")
    desk.broker.fails = True
    desk.say("b")
    assert isinstance(asked.error, BrokerError)


# What it costs


def test_many_that_wait_cost_one_opening_and_no_member(desk: Desk) -> None:
    for _ in range(50):
        desk.ask("epoch:3")
    assert desk.broker.opened == ["r"]
    assert list(desk.hub.room("r").members) == []


def test_many_that_are_woken_cost_one_reading_and_get_the_same_bytes(desk: Desk) -> None:
    asked = [desk.ask("epoch:3") for _ in range(50)]
    reads = desk.broker.reads
    desk.say("d")
    assert desk.broker.reads == reads + 1
    assert len({id(one.answers[0]) for one in asked}) == 1


def test_many_are_answered_so_many_a_turn(desk: Desk) -> None:
    asked = [desk.ask("epoch:3") for _ in range(2 * ANSWERED_A_TURN)]
    desk.hub.room("r").publish(Said("d"))
    counts = []
    while not all(one.answers for one in asked):
        desk.bench.runtime.turn()
        counts.append(sum(len(one.answers) for one in asked))
    assert set(counts) == {0, ANSWERED_A_TURN, 2 * ANSWERED_A_TURN}


def test_who_waits_in_other_rooms_as_well_is_read_for_apart_so_many_a_turn(desk: Desk) -> None:
    asked = [desk.ask("epoch:3,epoch:0", "r", f"r{number}") for number in range(READ_FOR_A_TURN + 50)]
    reads = desk.broker.reads
    desk.hub.room("r").publish(Said("d"))
    counts = []
    while not all(one.answers for one in asked):
        desk.bench.runtime.turn()
        counts.append(desk.broker.reads - reads)
    assert set(counts) == {0, READ_FOR_A_TURN, READ_FOR_A_TURN + 50}


def test_a_room_stays_open_for_a_while_behind_its_last_poll(desk: Desk) -> None:
    for _ in range(3):
        desk.ask("epoch:1")
    assert (desk.broker.opened, desk.broker.closed) == (["r"], [])
    desk.bench.runtime.now += KEPT_OPEN_SECONDS
    desk.bench.tick()
    assert desk.broker.closed == ["r"]
    assert desk.ask("epoch:1").only["events"] == ["b", "c"]


def test_a_room_stays_open_while_anybody_waits(desk: Desk) -> None:
    asked = desk.ask("epoch:3")
    desk.bench.runtime.now += 2 * KEPT_OPEN_SECONDS
    desk.bench.tick()
    assert desk.broker.closed == []
    desk.polls.forget(asked)
    desk.bench.runtime.now += KEPT_OPEN_SECONDS
    desk.bench.tick()
    assert desk.broker.closed == ["r"]


def test_only_so_many_rooms_stay_open_behind_their_polls() -> None:
    desk = Desk()
    for number in range(MOST_KEPT_OPEN + 5):
        desk.ask("", f"r{number}")
    assert desk.broker.closed == [f"r{number}" for number in range(5)]


def test_a_room_that_could_not_be_opened_is_not_kept() -> None:
    desk = Desk()
    desk.broker.fails = True
    assert isinstance(desk.ask().error, BrokerError)
    desk.broker.fails = False
    assert desk.ask().only["since"] == "epoch:0"


# With a broker that answers later


def test_what_comes_while_a_poll_is_looked_for_is_not_missed() -> None:
    desk = Desk(LateBroker)
    desk.append("a")
    broker = desk.bench.broker
    assert isinstance(broker, LateBroker)
    broker.answer()
    broker.reads_late = True
    asked = desk.ask("epoch:0")
    desk.say("b")
    for _ in range(4):
        broker.answer()
        desk.settle()
    first = asked.only
    again = desk.ask(first["since"])
    for _ in range(4):
        broker.answer()
        desk.settle()
    assert first["events"] + (again.only["events"] if again.answers else []) == ["a", "b"]


def test_what_comes_while_those_that_wait_are_read_for_is_not_missed() -> None:
    desk = Desk(LateBroker)
    broker = desk.bench.broker
    assert isinstance(broker, LateBroker)
    asked = desk.ask("epoch:0")
    broker.reads_late = True
    desk.say("a")
    broker.answer()  # it is kept
    desk.settle()  # and is being read
    desk.say("b")
    for _ in range(4):
        broker.answer()
        desk.settle()
    assert asked.only["events"][0] == "a"
    later = desk.ask(asked.only["since"])
    for _ in range(4):
        broker.answer()
        desk.settle()
    assert asked.only["events"] + (later.only["events"] if later.answers else []) == ["a", "b"]


# Rights


def granting(*verbs: str) -> Identity:
    return Identity(grants=Grants((("r", frozenset(verbs)),)))


def test_a_poll_needs_to_subscribe_and_for_what_was_said_before_the_history(desk: Desk) -> None:
    assert desk.ask(identity=granting("subscribe")).only["events"] == []
    for refused in (
        desk.ask(identity=granting("history")),
        desk.ask("epoch:1", identity=granting("subscribe")),
        desk.ask(history=1, identity=granting("subscribe")),
        desk.ask("", "r", "s", identity=granting("subscribe", "history")),
    ):
        assert isinstance(refused.error, CommandError)
        assert refused.error.code == "forbidden"
    assert desk.broker.opened == ["r"]


def test_the_values_of_a_latest_only_room_need_the_history() -> None:
    desk = Desk(patterns=[("r", {"latest_only": True})])
    desk.hub.room("r").publish(Said("1"), key="a")
    desk.settle()
    assert desk.ask(identity=granting("subscribe")).only["events"] == []
    assert desk.ask(identity=granting("subscribe", "history")).only["events"] == ["1"]


def test_the_application_is_asked(desk: Desk) -> None:
    asked: list[tuple[str, str]] = []

    def authorize(connection: Connection, verb: str, room: str) -> bool:
        asked.append((verb, room))
        return verb != "history"

    desk.hub.authorizer = authorize
    assert desk.ask().only["events"] == []
    assert isinstance(desk.ask("epoch:1").error, CommandError)
    assert asked == [("subscribe", "r"), ("subscribe", "r"), ("history", "r")]
