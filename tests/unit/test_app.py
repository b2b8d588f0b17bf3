"""app: handlers and hooks, and the commands that every application has."""

from __future__ import annotations

from typing import Any

import pytest

from hubbub import Command, Connection, Hubbub, LocalError
from hubbub.hub.connection import Connection as HubConnection
from hubbub.hub.hub import Hub
from hubbub.hub.ports import Endpoint
from tests.unit.fakes import Bench, Said, heard, tape


def default(hub: Hub) -> Endpoint:
    return Hubbub().bind(hub)[0].endpoints[None]


@pytest.fixture
def bench() -> Bench:
    return Bench(endpoint=default)


@pytest.fixture
def ada(bench: Bench) -> HubConnection:
    (ada,) = bench.join("lobby", "ada")
    return ada


def reply(bench: Bench, connection: HubConnection, **command: Any) -> list[Any]:
    bench.receive(connection, **command)
    bench.runtime.settle()
    events = list(tape(connection).events)
    tape(connection).forget()
    return events


# The commands of every application


def test_a_join_is_answered_by_room_info_alone(bench: Bench) -> None:
    connection = bench.connect()
    tape(connection).forget()
    assert reply(bench, connection, type="join", room="lobby", username="ada", id=7) == [
        {"type": "room_info", "room": "lobby", "members": ["ada"], "count": 1, "epoch": "epoch", "seq": 0}
        | {"head": 0, "recovered": None, "messages": [], "id": 7}
    ]


def test_a_join_that_is_refused_says_why(bench: Bench) -> None:
    connection = bench.connect()
    tape(connection).forget()
    assert reply(bench, connection, type="join", room=" ", username="ada", id=7) == [
        {"type": "error", "message": "Room and username are required", "code": "invalid_join", "id": 7}
    ]


def test_a_leave_is_answered(bench: Bench, ada: HubConnection) -> None:
    assert reply(bench, ada, type="leave", room="lobby", id=7) == [{"type": "ok", "id": 7}]
    assert ada.rooms == ()


def test_a_ping_is_answered_with_the_time(bench: Bench, ada: HubConnection) -> None:
    assert reply(bench, ada, type="ping", id=7) == [{"type": "ok", "id": 7, "timestamp": 1_000_000}]


@pytest.mark.parametrize("kind", ["leave", "ping", "presence"])
def test_without_an_id_nothing_is_answered(bench: Bench, ada: HubConnection, kind: str) -> None:
    assert reply(bench, ada, type=kind, room="lobby") == []


def test_presence_is_a_page_of_members(bench: Bench, ada: HubConnection) -> None:
    bench.join("lobby", "bob", "eve")
    tape(ada).forget()
    assert reply(bench, ada, type="presence", room="lobby", offset=1, limit=1, id=7) == [
        {"type": "ok", "id": 7, "room": "lobby", "members": ["bob"], "count": 3}
    ]


def test_presence_of_another_room_looks_like_that_of_none(bench: Bench, ada: HubConnection) -> None:
    bench.join("secret", "eve")
    answers = [reply(bench, ada, type="presence", room=room, id=7) for room in ("secret", "none")]
    assert answers == [[{"type": "error", "message": "Not in that room", "code": "not_in_room", "id": 7}]] * 2


# An application's own


class Move(Command, tag="move"):
    x: int


def test_a_handler_is_called_with_its_command(bench: Bench) -> None:
    app, moves = Hubbub(), []

    @app.on(Move, verb=None)
    def move(conn: Connection, command: Move) -> None:
        moves.append(command.x)

    bench.endpoint = app.bind(bench.hub)[0].endpoints[None]
    bench.receive(bench.connect(), type="move", x=5)
    assert moves == [5]


@pytest.mark.parametrize("tag", ["move", "join", "ping"])
def test_a_command_has_one_handler(tag: str) -> None:
    app = Hubbub()
    app.on(Move)(lambda conn, command: None)
    other: type[Command] = type("Other", (Command,), {}, tag=tag)
    with pytest.raises(LocalError, match=f"a handler for commands of type '{tag}' already"):
        app.on(other)


def test_hooks_see_connections_come_and_go(bench: Bench) -> None:
    app, log = Hubbub(), []
    app.on_connect(lambda conn: log.append("came"))
    app.on_disconnect(lambda conn: log.append("went"))
    bench.endpoint = app.bind(bench.hub)[0].endpoints[None]
    bench.hub.lost(bench.connect())
    assert log == ["came", "went"]


def test_a_handler_without_a_room_is_answered_not_in_room(bench: Bench) -> None:
    app = Hubbub()

    @app.on(Move)
    def move(conn: Connection, command: Move) -> None:
        conn.room.publish(Said("moved"))

    bench.endpoint = app.bind(bench.hub)[0].endpoints[None]
    connection = bench.connect()
    bench.receive(connection, type="move", x=5)
    assert (heard(connection)[-1], tape(connection).events[-1]["code"]) == ("error", "not_in_room")


def test_a_room_can_be_had_from_outside(bench: Bench) -> None:
    app = Hubbub()
    bench.endpoint = app.bind(bench.hub)[0].endpoints[None]
    (ada,) = bench.join("lobby", "ada")
    app.room("lobby").publish(Said("hi"))
    bench.runtime.turn()
    assert heard(ada) == ["hi"]


def test_there_are_no_rooms_before_the_application_is_served() -> None:
    with pytest.raises(LocalError, match="before the application is served"):
        Hubbub().room("lobby")


# Paths


def test_the_protocol_is_spoken_in_json_unless_msgpack_is_asked_for(bench: Bench) -> None:
    (route,) = Hubbub("/chat").bind(bench.hub)
    assert route.path == "/chat"
    assert {name: endpoint.msgpack for name, endpoint in route.endpoints.items()} == {
        None: False,
        "hubbub.v1.json": False,
        "hubbub.v1.msgpack": True,
    }


def test_an_own_protocol_has_a_path_and_subprotocols(bench: Bench) -> None:
    app = Hubbub()

    @app.websocket("/echo", subprotocols=("echo.v1",))
    def echo(conn: Connection, message: str) -> None:
        conn.send(message)

    _, route = app.bind(bench.hub)
    assert (route.path, set(route.endpoints)) == ("/echo", {None, "echo.v1"})
