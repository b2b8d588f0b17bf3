"""refresh: new credentials of the same user take the place of the old ones; anything else leaves these in force."""

from __future__ import annotations

import pytest

from hubbub.hub.connection import Connection
from hubbub.hub.identity import ANONYMOUS, Credentials, Grants, Identity
from tests.unit.fakes import Bench, Gate, tape
from tests.unit.hub.people import NOW, Issuer, closes, enter, granted, known, live, unlimited, within
from tests.unit.hub.rooms import Json, ask, client, joined, speaking, types

REFUSED = "invalid_token"


@pytest.fixture
def bench() -> Bench:
    return speaking(unlimited())


@pytest.fixture
def ada(bench: Bench) -> Connection:
    return within(bench, known("ada", token="old", expires=NOW + 100))


def refresh(bench: Bench, connection: Connection, identity: Identity) -> Json:
    bench.hub.authenticate = Issuer(new=identity)
    return ask(bench, connection, "refresh", token="new")


# What it does


def test_the_answer_says_who_the_client_is_and_until_when(bench: Bench, ada: Connection) -> None:
    answer = refresh(bench, ada, known("ada", name="Ada L.", expires=NOW + 500))
    assert answer["type"] == "ok"
    assert answer["user"] == {"id": "ada", "name": "Ada L.", "expires": 1_500_000}
    assert answer["missing"] == []


def test_the_new_ones_count_from_then_on(bench: Bench, ada: Connection) -> None:
    identity = known("ada", token="new", expires=NOW + 500, claims={"sub": "ada"})
    refresh(bench, ada, identity)
    live(bench, 100)
    assert (ada.identity, ada.open) == (identity, True)


def test_what_is_shown_is_the_token_with_the_path_and_the_address(bench: Bench) -> None:
    ada = enter(bench, known("ada"), address="192.0.2.1")
    bench.hub.authenticate = issuer = Issuer(new=known("ada"))
    ask(bench, ada, "refresh", token="new")
    (shown,) = issuer.asked
    assert (shown.token, shown.path, shown.remote, shown.ticket) == ("new", "/ws", "192.0.2.1", "")


def test_a_refresh_without_an_id_counts_too(bench: Bench, ada: Connection) -> None:
    bench.hub.authenticate = Issuer(new=known("ada", expires=None))
    bench.receive(ada, type="refresh", token="new")
    bench.runtime.settle()
    assert (ada.identity.expires, tape(ada).events) == (None, [])


# Grants


def test_new_grants_take_the_client_out_of_rooms_that_they_do_not_allow(bench: Bench, ada: Connection) -> None:
    (bob,) = joined(bench, "bob")
    ask(bench, ada, "join", room="attic", username="ada", keep=True)
    answer = refresh(bench, ada, known("ada", grants=granted("join", room="attic")))
    assert answer["missing"] == ["lobby"]
    assert ([room.name for room in ada.rooms], types(bob)) == (["attic"], ["user_left"])


def test_a_subscription_needs_its_own_verb(bench: Bench) -> None:
    ada = enter(bench, known("ada"))
    for room in ("one", "two"):
        ask(bench, ada, "subscribe", room=room)
    grants = granted("join", room="one").patterns + granted("subscribe", room="two").patterns
    answer = refresh(bench, ada, known("ada", grants=Grants(grants)))
    assert (answer["missing"], [room.name for room in ada.rooms]) == (["one"], ["two"])


def test_what_it_said_before_goes_out_before_it_leaves(bench: Bench, ada: Connection) -> None:
    (bob,) = joined(bench, "bob")
    bench.hub.authenticate = Issuer(new=known("ada", grants=granted()))
    bench.receive(ada, type="say", text="x")
    bench.receive(ada, type="refresh", token="new")
    bench.runtime.settle()
    assert types(bob) == ["said", "user_left"]


def test_it_gets_nothing_more_of_the_room_that_it_is_out_of(bench: Bench, ada: Connection) -> None:
    refresh(bench, ada, known("ada", grants=granted()))
    bench.hub.room("lobby").publish({"type": "said", "text": "x"})
    bench.runtime.settle()
    assert types(ada) == []
    assert ask(bench, ada, "say", text="x")["code"] == "not_in_room"


# What is refused


@pytest.mark.parametrize("identity", [known("eve"), ANONYMOUS, known("ada", expires=NOW), known("Ada")])
def test_what_is_not_the_same_users_is_refused(bench: Bench, ada: Connection, identity: Identity) -> None:
    before = ada.identity
    assert refresh(bench, ada, identity)["code"] == REFUSED
    assert (ada.identity, ada.open, [room.name for room in ada.rooms]) == (before, True, ["lobby"])


def test_a_token_that_nobody_knows_is_refused_and_the_old_one_ends_as_it_would_have(
    bench: Bench, ada: Connection
) -> None:
    bench.hub.authenticate = Issuer()
    answer = ask(bench, ada, "refresh", token="new")
    assert (answer["type"], answer["code"], answer["message"]) == ("error", REFUSED, "The token is none")
    live(bench, 99)
    assert ada.open
    live(bench, 1)
    assert closes(ada) == [(4401, "the credentials have expired")]


@pytest.mark.parametrize(("kind", "subject"), [("token", "new"), ("user", "ada")])
def test_one_that_has_been_revoked_is_refused(bench: Bench, kind: str, subject: str) -> None:
    bench.hub.standing.revoke(kind, subject)  # type: ignore[arg-type]
    ada = within(bench, known("ada", token="old", issued=NOW + 31))
    answer = refresh(bench, ada, known("ada", token="new", issued=NOW - 10))
    assert (answer["code"], ada.identity.token) == (REFUSED, "old")


def test_who_is_nobody_cannot_become_somebody(bench: Bench) -> None:
    connection = client(bench)
    assert refresh(bench, connection, known("ada"))["code"] == REFUSED
    assert refresh(bench, connection, ANONYMOUS)["code"] == REFUSED
    assert connection.identity is ANONYMOUS


def test_without_anybody_to_ask_it_is_refused(bench: Bench, ada: Connection) -> None:
    assert ask(bench, ada, "refresh", token="new")["code"] == REFUSED


def test_an_application_that_fails_is_an_internal_error(bench: Bench, ada: Connection) -> None:
    async def fails(credentials: Credentials) -> Identity:
        raise KeyError("secret")

    bench.hub.authenticate = fails
    answer = ask(bench, ada, "refresh", token="new")
    assert (answer["code"], answer["message"], ada.identity.token) == ("internal", "Internal error", "old")


# While it is looked at


class Slow(Issuer):
    """Answers once its gate is open."""

    def __init__(self, **tokens: Identity) -> None:
        super().__init__(**tokens)
        self.gate = Gate()

    async def __call__(self, credentials: Credentials) -> Identity:
        await self.gate
        return await super().__call__(credentials)


def test_commands_that_follow_wait_for_it(bench: Bench, ada: Connection) -> None:
    bench.hub.authenticate = issuer = Slow(new=known("ada", grants=granted()))
    bench.receive(ada, type="refresh", token="new", id=1)
    bench.receive(ada, type="say", text="x", id=2)
    bench.runtime.settle()
    assert tape(ada).events == []
    issuer.gate.open()
    bench.runtime.settle()
    assert [(event["id"], event["type"]) for event in tape(ada).events] == [(1, "ok"), (2, "error")]


def test_a_connection_that_is_lost_meanwhile_is_not_looked_after_again(bench: Bench, ada: Connection) -> None:
    bench.hub.authenticate = issuer = Slow(new=known("ada", expires=NOW + 500))
    bench.receive(ada, type="refresh", token="new", id=1)
    bench.runtime.settle()
    bench.hub.lost(ada)
    issuer.gate.open()
    bench.runtime.settle()
    assert (bench.hub.standing._expiry._due, ada.identity.token) == ({}, "old")


def test_a_token_that_is_revoked_meanwhile_is_refused(bench: Bench, ada: Connection) -> None:
    bench.hub.authenticate = issuer = Slow(new=known("ada", token="new"))
    bench.receive(ada, type="refresh", token="new", id=1)
    bench.runtime.settle()
    bench.hub.standing.revoke("token", "new")
    issuer.gate.open()
    bench.runtime.settle()
    assert [event["code"] for event in tape(ada).events] == [REFUSED]
    assert (ada.identity.token, ada.open) == ("old", True)
