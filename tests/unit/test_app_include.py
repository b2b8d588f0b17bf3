"""app: one application that takes in others."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from hubbub import Command, Connection, Hubbub, Identity, LocalError, Member
from tests.unit.fakes import Bench, Said, heard, tape


class Greet(Command, tag="greet"):
    """Answers with a greeting."""


def part() -> Hubbub:
    """An application with one of everything."""
    app = Hubbub("/elsewhere")

    @app.on(Greet, verb=None)
    def greet(conn: Connection, command: Greet) -> None:
        conn.send(Said(f"hello from {app.stats().connections}"))

    @app.on_connect
    def connected(conn: Connection) -> None:
        conn.send(Said("welcome"))

    @app.on_ack
    def acked(member: Member, seq: int) -> None:
        member.connection.send(Said(f"acked {seq}"))

    @app.websocket("/own")
    def own(conn: Connection, message: str | bytes) -> None:
        conn.send(message)

    app.rooms("short-*", history=5)
    app.every(1)(lambda: None)
    app.on_told(Said)(lambda node, said: None)
    return app


def whole() -> Hubbub:
    app = Hubbub()
    app.include(part())
    return app


def test_the_commands_and_hooks_of_another_application_are_served() -> None:
    app = whole()
    bench = Bench()
    bench.endpoint = app.bind(bench.hub)[0].endpoints[None]
    ada = bench.connect()
    bench.receive(ada, type="greet")
    assert heard(ada) == ["connected", "welcome", "hello from 1"]  # it knows the node that serves the whole


def test_its_paths_rooms_and_works_are_taken_over_and_its_own_path_is_not() -> None:
    app = whole()
    assert [route.path for route in app.bind(Bench().hub)] == ["/ws", "/own"]
    assert app.patterns == [("short-*", {"history": 5})]
    assert [seconds for seconds, _ in app.works] == [1]


def test_an_application_may_hold_one_that_holds_another() -> None:
    outer, inner = Hubbub(), whole()
    outer.include(inner)
    bench = Bench()
    outer.bind(bench.hub)
    assert inner.room("lobby") is outer.room("lobby")


async def somebody(credentials: Any) -> Identity:
    return Identity(user="ada")


HOOKS: list[Callable[[Hubbub], Any]] = [
    lambda app: app.authorize(lambda conn, verb, room: True),
    lambda app: app.authenticate(somebody),
    lambda app: app.allow_publish(lambda conn, room, event: True),
]
BOTH: list[Callable[[Hubbub], Any]] = [
    *HOOKS,
    lambda app: app.on(Greet)(lambda conn, command: None),
    lambda app: app.websocket("/own")(lambda conn, message: None),
    lambda app: app.on_told(Said)(lambda node, said: None),
    lambda app: app.own("board"),
]


@pytest.mark.parametrize("give", BOTH)
def test_what_there_can_be_one_of_is_not_in_both(give: Callable[[Hubbub], Any]) -> None:
    one, two = Hubbub(), Hubbub()
    give(one)
    give(two)
    with pytest.raises(LocalError):
        one.include(two)


@pytest.mark.parametrize("give", HOOKS)
def test_a_hook_of_either_application_is_the_whole_s(give: Callable[[Hubbub], Any]) -> None:
    for owner in (0, 1):
        apps = [Hubbub(), Hubbub()]
        give(apps[owner])
        hooks = [(each.authenticator, each._authorizer, each._allows_publish) for each in apps]
        apps[0].include(apps[1])
        assert (apps[0].authenticator, apps[0]._authorizer, apps[0]._allows_publish) == hooks[owner]


class Shout(Command, tag="shout"):
    """Says something in a room."""

    room: str = ""


class Set(Command, tag="set"):
    """Does something in a room of its own."""

    room: str = ""


def speaking(kind: type[Command], *owned: str) -> Hubbub:
    """An application with one command, that answers it, and with rooms for itself."""
    app = Hubbub()
    app.own(*owned)
    app.on(kind)(lambda conn, command: None)
    return app


def refused(app: Hubbub, connection_room: str = "board", **command: Any) -> bool:
    """Whether a command is refused to somebody who is in a room."""
    bench = Bench()
    bench.endpoint = app.bind(bench.hub)[0].endpoints[None]
    (ada,) = bench.join(connection_room, "ada")
    bench.receive(ada, id=1, **command)
    bench.runtime.settle()
    (reply,) = [event for event in tape(ada).events if event["type"] in ("ok", "error")]
    return bool(reply.get("code") == "forbidden")


@pytest.mark.parametrize("owner_first", [True, False])
def test_a_part_s_rooms_are_closed_to_the_commands_of_the_others(owner_first: bool) -> None:
    parts = [speaking(Set, "board"), speaking(Shout)]
    app = Hubbub()
    for part in parts if owner_first else reversed(parts):
        app.include(part)
    app.on(Greet)(lambda conn, command: None)
    assert [refused(app, type=kind, room="board") for kind in ("set", "shout", "greet")] == [False, True, True]
    assert refused(app, type="shout")  # in the room joined last
    assert [refused(app, "lobby", type=kind, room="lobby") for kind in ("set", "shout", "greet")] == [False] * 3


def test_a_room_of_the_whole_s_own_is_closed_to_its_parts() -> None:
    app = speaking(Set, "board")
    app.include(speaking(Shout))
    assert [refused(app, type=kind, room="board") for kind in ("set", "shout")] == [False, True]


@pytest.mark.parametrize("owns", [True, False])
def test_who_may_publish_in_a_part_s_rooms_is_the_part_s_to_say(owns: bool) -> None:
    part, app = Hubbub(), Hubbub()
    part.own("board")
    (part if owns else app).allow_publish(lambda conn, room, event: True)
    app.include(part)
    assert refused(app, type="publish", room="board", event={"type": "said"}) is not owns
    assert not refused(app, "lobby", type="publish", room="lobby", event={"type": "said"})
