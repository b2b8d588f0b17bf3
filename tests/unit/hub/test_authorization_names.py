"""hub.authorization and what is shown on entering: the name under which a room is entered is the one asked about."""

from __future__ import annotations

import asyncio

import pytest

from hubbub.hub.connection import Connection
from hubbub.hub.dispatch import CommandEndpoint
from hubbub.hub.identity import ANONYMOUS
from hubbub.wire.messages import Command
from tests.unit.fakes import Bench, tape
from tests.unit.hub.people import enter, granted, known, unlimited, within
from tests.unit.hub.rooms import ask, client, joined, speaking


class Go(Command, tag="go"):
    """A command of an application that enters rooms itself."""

    room: str = ""


def go(connection: Connection, command: Go) -> None:
    connection.join(command.room, "eve")


def but_staff(connection: Connection, verb: str, room: str) -> bool:
    return room != "staff"


@pytest.fixture
def bench() -> Bench:
    return speaking(unlimited())


@pytest.mark.parametrize("room", ["staff", " staff", "staff\n"])
def test_the_application_is_asked_about_the_name_that_counts(bench: Bench, room: str) -> None:
    bench.endpoint = CommandEndpoint(bench.hub, "/ws", {Go: go}, verbs={Go: "join"})
    bench.hub.authorizer = but_staff
    eve = client(bench)
    assert ask(bench, eve, "go", room=room)["code"] == "forbidden"
    assert not eve.rooms


@pytest.mark.parametrize(
    ("room", "allowed"), [("lobby", True), ("staff", False), (" staff ", False), ("a*b", False), ("", True)]
)
def test_a_connection_says_what_it_may_do_under_the_name_that_counts(bench: Bench, room: str, allowed: bool) -> None:
    bench.hub.authorizer = but_staff
    assert asyncio.run(client(bench).allows("join", room)) is allowed


def test_only_true_allows_there_too(bench: Bench) -> None:
    bench.hub.authorizer = lambda connection, verb, room: None  # type: ignore[assignment, return-value]
    assert asyncio.run(client(bench).allows("join", "lobby")) is False


def test_who_is_locked_out_while_the_application_thinks_may_do_nothing(bench: Bench) -> None:
    ada = enter(bench, known("ada"))

    async def authorize(connection: Connection, verb: str, room: str) -> bool:
        bench.hub.standing.revoke("user", "ada")
        return True

    bench.hub.authorizer = authorize
    assert asyncio.run(ada.allows("join", "lobby")) is False


# What is shown on entering


def test_the_application_says_who_may_know_who_is_there(bench: Bench) -> None:
    joined(bench, "ada")
    bench.hub.authorizer = lambda connection, verb, room: verb != "presence"
    info = ask(bench, client(bench), "join", room="lobby", username="eve")
    assert (info["members"], info["count"], info["membersTruncated"]) == ([], 2, True)


def test_an_application_that_cannot_say_allows_nothing(bench: Bench) -> None:
    def authorize(connection: Connection, verb: str, room: str) -> bool:
        if verb == "presence":
            raise RuntimeError("no database")
        return True

    bench.hub.authorizer = authorize
    assert ask(bench, client(bench), "join", room="lobby", username="eve")["members"] == []


@pytest.mark.parametrize(("verbs", "shown"), [(("join", "presence"), 0), (("join", "presence", "history"), 1)])
def test_the_last_value_of_each_key_is_history_too(verbs: tuple[str, ...], shown: int) -> None:
    bench = speaking(unlimited(), patterns=[("*", {"latest_only": True})])
    joined(bench, "ada")
    bench.hub.room("lobby").publish({"type": "price"}, key="AAPL")
    bench.runtime.settle()
    eve = enter(bench, known("eve", grants=granted(*verbs)))
    assert len(ask(bench, eve, "join", room="lobby", username="eve")["messages"]) == shown


def test_who_comes_back_under_another_name_has_the_one_that_the_credentials_say(bench: Bench) -> None:
    ada = within(bench, known("ada", name="Ada"), "")
    assert ada.session is not None
    bench.hub.lost(ada)
    back = enter(bench, known("ada", name="Ada Lovelace"), ada.session.token)
    place = {"epoch": bench.hub.room("lobby").epoch, "seq": 0}
    bench.receive(back, type="resume", rooms={"lobby": place})
    bench.runtime.settle()
    (info,) = [event for event in tape(back).events if event["type"] == "room_info"]
    assert info["members"] == ["Ada Lovelace"]


def test_the_sweep_of_users_keeps_who_is_just_coming_in(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bench.hub.admission, "_forget_above", 0)
    ada = enter(bench, known("ada"))
    assert bench.hub.admission.users["ada"].connections == {ada: None}
    assert enter(bench, ANONYMOUS).open
