"""hub.authorization: every command needs its verb in its room; what is refused looks alike, and only True allows."""

from __future__ import annotations

from typing import Any

import pytest

from hubbub.hub.connection import Connection
from hubbub.hub.hub import Hub
from hubbub.hub.identity import VERBS, Grants
from tests.unit.fakes import Bench, Gate, tape
from tests.unit.hub.people import enter, granted, known, unlimited, within
from tests.unit.hub.rooms import Json, ask, client, flood, joined, speaking, token, types

FORBIDDEN = ("error", "forbidden", "Not allowed")
START = {"epoch": "epoch", "seq": 0}


@pytest.fixture
def bench() -> Bench:
    bench = speaking(unlimited())
    bench.hub.allows_publish = lambda connection, room, event: True
    return bench


def refusal(answer: Json) -> tuple[str, str, str]:
    return answer["type"], answer["code"], answer["message"]


def allowing(hub: Hub, *verbs: str) -> list[tuple[str, str]]:
    """An application that allows these; what it is asked is written down."""
    asked: list[tuple[str, str]] = []

    def authorize(connection: Connection, verb: str, room: str) -> bool:
        asked.append((verb, room))
        return verb in verbs

    hub.authorizer = authorize
    return asked


# Each command needs its verb

COMMANDS: list[tuple[str, str, dict[str, Any]]] = [
    ("join", "join", {"username": "ada"}),
    ("subscribe", "subscribe", {}),
    ("publish", "publish", {"event": {"type": "moved"}}),
    ("history", "history", {}),
    ("presence", "presence", {}),
    ("receipts", "presence", {}),
    ("ack", "ack", {"seq": 0}),
]


@pytest.mark.parametrize(("command", "verb", "fields"), COMMANDS)
def test_a_command_is_carried_out_with_its_verb_alone(
    bench: Bench, command: str, verb: str, fields: dict[str, Any]
) -> None:
    ada = within(bench, known("ada"))
    bench.hub.standing.renew(ada, known("ada", grants=granted("join", verb)))
    assert ask(bench, ada, command, room="lobby", **fields)["type"] in ("ok", "room_info")


@pytest.mark.parametrize(("command", "verb", "fields"), COMMANDS)
def test_and_not_with_all_the_others(bench: Bench, command: str, verb: str, fields: dict[str, Any]) -> None:
    ada = within(bench, known("ada"))
    others = set(VERBS) - {verb}
    bench.hub.standing.renew(ada, known("ada", grants=granted(*others)))
    assert refusal(ask(bench, ada, command, room="lobby", **fields)) == FORBIDDEN


@pytest.mark.parametrize(("command", "verb", "fields"), COMMANDS)
def test_the_application_is_asked_for_the_same_verb(
    bench: Bench, command: str, verb: str, fields: dict[str, Any]
) -> None:
    ada = within(bench)
    asked = allowing(bench.hub)
    assert refusal(ask(bench, ada, command, room="lobby", **fields)) == FORBIDDEN
    assert asked == [(verb, "lobby")]


@pytest.mark.parametrize("command", ["leave", "unsubscribe", "ping"])
def test_leaving_and_pinging_need_nothing(bench: Bench, command: str) -> None:
    ada = within(bench)
    asked = allowing(bench.hub)
    fields = {} if command == "ping" else {"room": "lobby"}
    assert (ask(bench, ada, command, **fields)["type"], asked) == ("ok", [])


@pytest.mark.parametrize("command", ["join", "subscribe"])
@pytest.mark.parametrize("past", [{"since": START}, {"since": "acked"}, {"since": {"time": 0}}, {"history": 1}])
def test_to_enter_with_what_was_said_before_needs_history_as_well(
    bench: Bench, command: str, past: dict[str, Any]
) -> None:
    fields = {"room": "lobby", "username": "ada"} if command == "join" else {"room": "lobby"}
    few, both = (known("ada", grants=granted(*verbs)) for verbs in ((command,), (command, "history")))
    assert refusal(ask(bench, enter(bench, few), command, **fields, **past)) == FORBIDDEN
    assert ask(bench, enter(bench, few), command, **fields)["type"] == "room_info"
    assert ask(bench, enter(bench, both), command, **fields, **past)["type"] == "room_info"


def test_what_is_refused_enters_nothing_and_tells_nobody(bench: Bench) -> None:
    (bob,) = joined(bench, "bob")
    ask(bench, enter(bench, known("ada", grants=granted())), "join", room="lobby", username="ada")
    assert (bench.hub.room("lobby").count, tape(bob).events) == (1, [])


def test_a_refusal_is_the_same_for_a_room_that_there_is_not(bench: Bench) -> None:
    joined(bench, "bob", room="secret")
    ada = enter(bench, known("ada", grants=granted(*VERBS, room="lobby")))
    for command, _, fields in COMMANDS:
        answers = [ask(bench, ada, command, room=room, **fields) for room in ("secret", "none")]
        assert answers[0] == answers[1]
        assert refusal(answers[0]) == FORBIDDEN


# Where


def test_a_pattern_says_in_which_rooms(bench: Bench) -> None:
    ada = enter(bench, known("ada", grants=Grants((("team-*", frozenset({"join"})), ("a?", frozenset({"join"}))))))
    rooms = ("team-1", "team-", "a1", "a12", "Team-1", "xteam-1")
    found = [ask(bench, ada, "join", room=room, username="ada")["type"] for room in rooms]
    assert found == ["room_info", "room_info", "room_info", "error", "error", "error"]


def test_the_name_counts_as_it_is_cleaned(bench: Bench) -> None:
    ada = enter(bench, known("ada", grants=granted("join", room="lobby")))
    assert ask(bench, ada, "join", room="  lobby ", username="ada")["room"] == "lobby"
    asked = allowing(bench.hub, "join")
    ask(bench, ada, "join", room="  lobby ", username="ada")
    assert asked == [("join", "lobby")]


def test_a_command_without_a_room_is_for_the_one_entered_last(bench: Bench) -> None:
    ada = within(bench)
    ask(bench, ada, "join", room="attic", username="ada", keep=True)
    asked = allowing(bench.hub, "publish")
    ask(bench, ada, "publish", event={"type": "moved"})
    assert asked == [("publish", "attic")]


def test_grants_come_first_and_the_application_is_not_asked(bench: Bench) -> None:
    asked = allowing(bench.hub, *VERBS)
    ada = enter(bench, known("ada", grants=granted("subscribe")))
    assert refusal(ask(bench, ada, "join", room="lobby", username="ada")) == FORBIDDEN
    assert asked == []


def test_the_application_can_forbid_what_the_grants_allow(bench: Bench) -> None:
    allowing(bench.hub, "subscribe")
    ada = enter(bench, known("ada", grants=granted("join")))
    assert refusal(ask(bench, ada, "join", room="lobby", username="ada")) == FORBIDDEN


def test_without_grants_and_an_application_everything_is_allowed(bench: Bench) -> None:
    ada = within(bench)
    assert [ask(bench, ada, name, room="lobby", **fields)["type"] for name, _, fields in COMMANDS][1:] == [
        "room_info",
        *["ok"] * 5,
    ]


# Coming back


def resumed(bench: Bench, ada: Connection) -> Json:
    """The answer to a resume of two rooms."""
    bench.hub.lost(ada)
    back = enter(bench, known("ada", grants=ada.identity.grants), token(ada))
    return ask(bench, back, "resume", rooms={"lobby": START, "attic": START})


def test_each_room_of_a_resume_needs_its_verbs(bench: Bench) -> None:
    grants = Grants((("lobby", frozenset({"join", "history"})), ("attic", frozenset({"join"}))))
    ada = within(bench, known("ada", grants=grants), "")
    ask(bench, ada, "join", room="attic", username="ada", keep=True)
    assert resumed(bench, ada)["missing"] == ["attic"]


def test_a_subscription_comes_back_with_its_own_verb(bench: Bench) -> None:
    ada = enter(bench, known("ada"), "")
    ask(bench, ada, "subscribe", room="attic")
    ask(bench, ada, "join", room="lobby", username="ada", keep=True)
    asked = allowing(bench.hub, "subscribe", "history")
    assert resumed(bench, ada)["missing"] == ["lobby"]
    rights = ["subscribe", "history", "presence", "history"]  # the last two for what the reply shows
    assert asked == [("join", "lobby"), *((verb, "attic") for verb in rights)]


def test_a_resume_waits_for_the_application(bench: Bench) -> None:
    ada, gate = within(bench, known("ada"), ""), Gate()
    bench.hub.authorizer = Answering(True, late=True, gate=gate)
    bench.hub.lost(ada)
    back = enter(bench, known("ada"), token(ada))
    tape(back).forget()
    bench.receive(back, type="resume", rooms={"lobby": START}, id=1)
    bench.runtime.settle()
    assert tape(back).events == []
    gate.open()
    bench.runtime.settle()
    assert types(back) == ["room_info", "ok"]


# What the application may say


class Answering:
    """An application that says the same to everything, at once or later."""

    def __init__(self, said: object, *, late: bool, gate: Gate | None = None) -> None:
        self.said = said
        self.gate = gate
        self.late = late

    def __call__(self, connection: Connection, verb: str, room: str) -> Any:
        return self._later() if self.late else self._now()

    def _now(self) -> object:
        if isinstance(self.said, Exception):
            raise self.said
        return self.said

    async def _later(self) -> object:
        if self.gate is not None:
            await self.gate
        return self._now()


@pytest.mark.parametrize("late", [False, True])
@pytest.mark.parametrize("said", [False, None, "yes", 1, ["join"], 0, ""])
@pytest.mark.parametrize("history", [0, 1])
def test_only_true_allows(bench: Bench, said: object, late: bool, history: int) -> None:
    bench.hub.authorizer = Answering(said, late=late)
    answer = ask(bench, client(bench), "join", room="lobby", username="ada", history=history)
    assert (refusal(answer), bench.hub.room("lobby").count) == (FORBIDDEN, 0)


@pytest.mark.parametrize("late", [False, True])
@pytest.mark.parametrize("history", [0, 1])
def test_true_does(bench: Bench, late: bool, history: int) -> None:
    bench.hub.authorizer = Answering(True, late=late)
    answer = ask(bench, client(bench), "join", room="lobby", username="ada", history=history)
    assert (answer["type"], bench.hub.room("lobby").count) == ("room_info", 1)


@pytest.mark.parametrize("late", [False, True])
@pytest.mark.parametrize("history", [0, 1])
def test_an_application_that_fails_allows_nothing(
    bench: Bench, late: bool, history: int, caplog: pytest.LogCaptureFixture
) -> None:
    bench.hub.authorizer = Answering(KeyError("database"), late=late)
    answer = ask(bench, client(bench), "join", room="lobby", username="ada", history=history)
    assert (answer["code"], answer["message"]) == ("internal", "Internal error")
    assert answer["correlationId"] in caplog.text
    assert (bench.hub.room("lobby").count, bench.hub.counters.handlers_failed) == (0, 1)


def test_one_that_is_late_with_the_first_and_fails_with_the_second_allows_nothing(bench: Bench) -> None:
    def authorize(connection: Connection, verb: str, room: str) -> Any:
        return Answering(True, late=True)(connection, verb, room) if verb == "join" else 1 // 0

    bench.hub.authorizer = authorize
    answer = ask(bench, client(bench), "join", room="lobby", username="ada", history=1)
    assert (answer["code"], bench.hub.room("lobby").count) == ("internal", 0)


def test_a_publish_is_answered_once_the_application_has_allowed_it(bench: Bench) -> None:
    ada = within(bench)
    bench.hub.authorizer = Answering(True, late=True)
    answer = ask(bench, ada, "publish", event={"type": "said", "text": "x"})
    assert (answer["type"], answer["seq"], bench.texts("lobby")) == ("ok", 1, ["x"])


def test_a_page_of_the_log_is_read_once_the_application_has_allowed_it(bench: Bench) -> None:
    ada = within(bench)
    flood(bench, 2)
    bench.hub.authorizer = Answering(True, late=True)
    assert [event["seq"] for event in ask(bench, ada, "history", room="lobby")["messages"]] == [1, 2]
