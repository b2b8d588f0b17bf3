"""hub.authorization with time between: commands keep their order while the application thinks; and its own commands."""

from __future__ import annotations

from asyncio import CancelledError
from typing import Any

import pytest

from hubbub import Command, Hubbub, LocalError
from hubbub.hub.connection import Connection
from tests.unit.fakes import Bench, Gate, tape
from tests.unit.hub.people import enter, granted, known, unlimited, within
from tests.unit.hub.rooms import ask, client, joined, speaking, types


class Thinking:
    """An application that answers once its gate is open; `asked` is what it was asked."""

    def __init__(self, bench: Bench, said: bool = True) -> None:
        self.gate = Gate()
        self.said = said
        self.asked: list[tuple[str, str]] = []
        bench.hub.authorizer = self

    async def __call__(self, connection: Connection, verb: str, room: str) -> bool:
        self.asked.append((verb, room))
        await self.gate
        return self.said


@pytest.fixture
def bench() -> Bench:
    bench = speaking(unlimited())
    bench.hub.allows_publish = lambda connection, room, event: True
    return bench


def sent(bench: Bench, connection: Connection, *commands: dict[str, Any]) -> None:
    """Sends commands with the ids 1, 2, 3, …"""
    for id, command in enumerate(commands, 1):
        bench.receive(connection, id=id, **command)
    bench.runtime.settle()


def ids(connection: Connection) -> list[int]:
    return [event["id"] for event in tape(connection).events if "id" in event]


JOIN = {"type": "join", "room": "lobby", "username": "ada"}
PUBLISH = {"type": "publish", "event": {"type": "moved"}}


# Order


def test_what_follows_waits_until_the_application_has_spoken(bench: Bench) -> None:
    ada, thinking = client(bench), Thinking(bench)
    sent(bench, ada, JOIN, {"type": "ping"}, PUBLISH)
    assert ids(ada) == []
    thinking.gate.open()
    bench.runtime.settle()
    assert ids(ada) == [1, 2, 3]


def test_others_do_not_wait(bench: Bench) -> None:
    ada, bob = client(bench), client(bench)
    Thinking(bench)
    sent(bench, ada, JOIN)
    sent(bench, bob, {"type": "ping"})
    assert (ids(ada), ids(bob)) == ([], [1])


def test_what_follows_a_refusal_goes_on(bench: Bench) -> None:
    ada, thinking = client(bench), Thinking(bench, said=False)
    sent(bench, ada, JOIN, {"type": "ping"})
    thinking.gate.open()
    bench.runtime.settle()
    assert types(ada) == ["error", "ok"]


def test_what_is_said_in_the_room_comes_in_its_order(bench: Bench) -> None:
    ada, (bob,) = within(bench), joined(bench, "bob")
    thinking = Thinking(bench)
    sent(bench, ada, *({"type": "publish", "event": {"type": "said", "text": text}} for text in "abc"))
    thinking.gate.open()
    bench.runtime.settle()
    assert [event["text"] for event in tape(bob).events] == ["a", "b", "c"]


def test_too_many_that_wait_pause_the_reading(bench: Bench) -> None:
    ada, thinking = client(bench), Thinking(bench)
    sent(bench, ada, JOIN, *({"type": "ping"} for _ in range(32)))
    assert tape(ada).actions == ["pause"]
    thinking.gate.open()
    bench.runtime.settle()
    assert (tape(ada).actions, len(ids(ada))) == (["pause", "resume"], 33)


# Meanwhile


def test_who_is_lost_meanwhile_enters_nothing(bench: Bench) -> None:
    ada, thinking = client(bench), Thinking(bench)
    sent(bench, ada, JOIN, {"type": "ping"})
    bench.hub.lost(ada)
    thinking.gate.open()
    bench.runtime.settle()
    assert (bench.hub.room("lobby").count, tape(ada).events, ada.rooms) == (0, [], ())


def test_who_is_lost_meanwhile_says_nothing(bench: Bench) -> None:
    ada, (bob,) = within(bench), joined(bench, "bob")
    thinking = Thinking(bench)
    sent(bench, ada, PUBLISH)
    bench.hub.lost(ada)
    thinking.gate.open()
    bench.runtime.settle()
    assert types(bob) == ["user_left"]


def test_who_was_taken_out_of_the_room_meanwhile_says_nothing_there(bench: Bench) -> None:
    ada, (bob,) = within(bench), joined(bench, "bob")
    thinking = Thinking(bench)
    sent(bench, ada, PUBLISH)
    bench.hub.leave(ada, "lobby")
    thinking.gate.open()
    bench.runtime.settle()
    assert (types(bob), tape(ada).events[-1]["code"]) == (["user_left"], "not_in_room")


def test_what_somebody_cancelled_is_an_error_and_the_next_command_is_carried_out(bench: Bench) -> None:
    async def authorize(connection: Connection, verb: str, room: str) -> bool:
        raise CancelledError

    ada = client(bench)
    bench.hub.authorizer = authorize
    sent(bench, ada, JOIN, {"type": "ping"})
    assert [event.get("code", "ok") for event in tape(ada).events] == ["internal", "ok"]


# The application's own commands


class Move(Command, tag="move"):
    room: str = ""


class Look(Command, tag="look"):
    pass


class Enter(Command, tag="enter"):
    room: str = ""


def own(bench: Bench, verb: str | None, command: type[Command] = Move, *, late: bool = False) -> None:
    """The bench's clients have one more command, for which the verb is needed."""
    app = Hubbub()

    def handler(connection: Connection, command: Any) -> None:
        connection.data["moved"] = True

    async def later(connection: Connection, command: Any) -> None:
        connection.data["moved"] = True

    app.on(command, verb=verb)(later if late else handler)
    bench.endpoint = app.bind(bench.hub)[0].endpoints[None]


def publishing(bench: Bench, verb: str | None = "publish", **options: Any) -> Connection:
    """Somebody in the lobby, with all verbs but `publish` allowed."""
    own(bench, verb, **options)
    ada = within(bench)
    bench.hub.standing.renew(ada, known(grants=granted("join", "presence")))
    return ada


def test_a_command_of_the_applications_counts_as_a_publish(bench: Bench) -> None:
    app = Hubbub()
    app.on(Move)(lambda connection, command: None)
    bench.endpoint = app.bind(bench.hub)[0].endpoints[None]
    ada = within(bench)
    assert ask(bench, ada, "move", room="lobby")["type"] == "ok"
    bench.hub.standing.renew(ada, known(grants=granted("join")))
    assert ask(bench, ada, "move", room="lobby")["code"] == "forbidden"


@pytest.mark.parametrize("command", [Move, Look])
def test_without_a_room_it_is_for_the_one_entered_last(bench: Bench, command: type[Command]) -> None:
    ada = publishing(bench, command=command)
    answer = ask(bench, ada, command.__struct_config__.tag)  # type: ignore[arg-type]
    assert (answer["code"], "moved" in ada.data) == ("forbidden", False)


def test_without_a_verb_it_needs_nothing(bench: Bench) -> None:
    ada = publishing(bench, None)
    assert (ask(bench, ada, "move", room="lobby")["type"], ada.data["moved"]) == ("ok", True)


def test_it_may_need_another_verb(bench: Bench) -> None:
    ada = publishing(bench, "presence")
    assert ask(bench, ada, "move", room="lobby")["type"] == "ok"
    bench.hub.standing.renew(ada, known(grants=granted("join")))
    assert ask(bench, ada, "move", room="lobby")["code"] == "forbidden"


@pytest.mark.parametrize("verb", ["join", "subscribe"])
@pytest.mark.parametrize("command", [Enter, Look])
def test_one_that_enters_needs_no_more_fields_than_it_has(bench: Bench, verb: str, command: type[Command]) -> None:
    own(bench, verb, command)
    ada = within(bench)
    bench.hub.standing.renew(ada, known(grants=granted("join", "subscribe")))
    fields = {"room": "other"} if command is Enter else {}
    tag: Any = command.__struct_config__.tag
    assert ask(bench, ada, tag, **fields)["type"] == "ok"


def test_a_verb_that_there_is_not_is_refused_at_once() -> None:
    with pytest.raises(LocalError, match="verb 'write': known are join, subscribe, publish, history, presence, ack"):
        Hubbub().on(Move, verb="write")


@pytest.mark.parametrize("late", [False, True])
def test_a_coroutine_is_awaited_once_it_is_allowed(bench: Bench, late: bool) -> None:
    own(bench, "publish", late=late)
    ada, thinking = enter(bench), Thinking(bench)
    thinking.gate.open()
    assert ask(bench, ada, "move", room="lobby")["type"] == "ok"
    assert (ada.data["moved"], thinking.asked) == (True, [("publish", "lobby")])


def test_the_hook_is_registered_with_the_application(bench: Bench) -> None:
    app = Hubbub()
    hook = app.authorize(lambda connection, verb, room: room == "open")
    bench.endpoint = app.bind(bench.hub)[0].endpoints[None]
    assert bench.hub.authorizer is hook
    answers = [ask(bench, client(bench), "join", room=room, username="x")["type"] for room in ("open", "closed")]
    assert answers == ["room_info", "error"]
