"""hub.hub, rates beside the connection's own: a user's over all devices, heavy commands, a room's, and abuse."""

from __future__ import annotations

from typing import Any

import pytest

from hubbub.config import Config, Limits
from hubbub.hub.connection import Connection
from hubbub.hub.dispatch import RawEndpoint
from hubbub.hub.identity import ANONYMOUS
from hubbub.wire.websocket import TEXT
from tests.unit.fakes import Bench, tape
from tests.unit.hub.people import closes, enter, granted, known, warnings, within
from tests.unit.hub.rooms import ask, client, joined, speaking, types


def limited(**limits: Any) -> Bench:
    """A bench with these limits alone."""
    bench = speaking(Config(limits=Limits(**{"rate_limit": 0, "user_rate": 0, "room_rate": 0, **limits})))
    bench.hub.allows_publish = lambda connection, room, event: True
    return bench


def taken(bench: Bench, connection: Connection, tries: int, type: str = "ping", **fields: Any) -> int:
    """How many of so many commands at once are carried out."""
    tape(connection).forget()
    for _ in range(tries):
        bench.receive(connection, type=type, id=1, **fields)
    bench.runtime.settle()
    return types(connection).count("ok")


def abuse(bench: Bench, connection: Connection, seconds: float, **command: Any) -> None:
    """Sends without a break for so long."""
    end = bench.runtime.now + seconds
    while bench.runtime.now < end:
        for _ in range(10):
            bench.receive(connection, **command)
        bench.runtime.settle()
        bench.runtime.now += 0.25


# A user's


def test_the_rate_of_a_user_is_one_for_all_connections() -> None:
    bench = limited(user_rate=1, user_burst=10)
    one, two = enter(bench, known("ada")), enter(bench, known("ada"))
    assert (taken(bench, one, 6), taken(bench, two, 6), taken(bench, one, 6)) == (6, 4, 0)
    bench.runtime.now += 3
    assert taken(bench, two, 6) == 3


def test_another_user_and_the_anonymous_are_not_touched() -> None:
    bench = limited(user_rate=1, user_burst=10)
    taken(bench, enter(bench, known("ada")), 20)
    assert taken(bench, enter(bench, known("bob")), 20) == 10
    assert taken(bench, enter(bench, ANONYMOUS), 20) == 20


def test_what_the_connection_may_not_send_costs_the_user_nothing() -> None:
    bench = limited(rate_limit=1, rate_burst=5, user_rate=1, user_burst=10)
    one, two = enter(bench, known("ada")), enter(bench, known("ada"))
    assert (taken(bench, one, 20), taken(bench, two, 20)) == (5, 5)


def test_what_the_user_may_not_send_costs_the_connection_nothing() -> None:
    bench = limited(rate_limit=1, rate_burst=5, user_rate=1, user_burst=6)
    one, two = enter(bench, known("ada")), enter(bench, known("ada"))
    taken(bench, one, 5)
    taken(bench, two, 5)
    assert bench.hub.counters.refused == {"user_rate": 4}
    assert bench.hub.rates._of_connection.take(two._full_at, bench.runtime.now, 4) > 0


def test_who_is_over_the_users_rate_is_warned_and_answered() -> None:
    bench = limited(user_rate=2, user_burst=1)
    ada = enter(bench, known("ada"))
    assert taken(bench, ada, 2) == 1
    assert warnings(ada) == [("rate_limited", 500)]
    error = tape(ada).events[-1]
    assert (error["code"], error["retryAfter"], error["id"]) == ("rate_limited", 500, 1)


# Heavy commands

HEAVY: list[tuple[str, dict[str, Any]]] = [
    ("history", {"room": "lobby"}),
    ("presence", {"room": "lobby"}),
    ("receipts", {"room": "lobby"}),
    ("resume", {"rooms": {}}),
]


@pytest.mark.parametrize(("type", "fields"), HEAVY)
def test_a_heavy_command_counts_as_several(type: str, fields: dict[str, Any]) -> None:
    bench = limited(rate_limit=1, rate_burst=22, heavy_cost=5)
    (ada,) = joined(bench, "ada")
    bench.runtime.now += 100
    assert taken(bench, ada, 10, type, **fields) == 4
    assert bench.hub.counters.refused == {"heavy_cost": 2, "rate_limit": 4}


@pytest.mark.parametrize("type", ["ping", "leave"])
def test_others_count_as_one(type: str) -> None:
    bench = limited(rate_limit=1, rate_burst=20, heavy_cost=5)
    assert taken(bench, client(bench), 30) == 20


def test_one_that_costs_more_than_the_burst_is_carried_out_all_the_same() -> None:
    bench = limited(rate_limit=1, rate_burst=3, heavy_cost=100)
    assert taken(bench, client(bench), 3, "resume", rooms={}) == 1


def test_heavy_commands_that_count_as_one_cost_nothing_more() -> None:
    bench = limited(rate_limit=1, rate_burst=5, heavy_cost=1)
    assert taken(bench, client(bench), 10, "resume", rooms={}) == 5
    assert "heavy_cost" not in bench.hub.counters.refused


def test_a_heavy_command_says_when_it_may_come_again() -> None:
    bench = limited(rate_limit=1, rate_burst=4, heavy_cost=3)
    ada = client(bench)
    taken(bench, ada, 2, "resume", rooms={})
    assert warnings(ada) == [("rate_limited", 2000)]
    bench.runtime.now += 2
    assert taken(bench, ada, 1, "resume", rooms={}) == 0  # the one that was dropped had cost one
    bench.runtime.now += 3
    assert taken(bench, ada, 1, "resume", rooms={}) == 1


def test_no_command_is_heavier_than_a_full_bucket() -> None:
    bench = limited(heavy_cost=10, user_rate=1, user_burst=5)
    assert taken(bench, enter(bench, known("ada")), 1, "resume", rooms={}) == 1


def test_without_a_rate_nothing_is_heavy() -> None:
    bench = limited(heavy_cost=50)
    assert taken(bench, client(bench), 100, "resume", rooms={}) == 100


# Abuse

ENDING = [
    (
        {"rate_limit": 1, "rate_burst": 2},
        {"type": "ping"},
        "rate_limit",
    ),
    (
        {"user_rate": 1, "user_burst": 2},
        {"type": "ping"},
        "user_rate",
    ),
    (
        {"rate_limit": 5, "rate_burst": 10, "heavy_cost": 10},
        {"type": "resume", "rooms": {}},
        "heavy_cost",
    ),
]


@pytest.mark.parametrize(("limits", "command", "limit"), ENDING)
def test_abuse_for_three_seconds_on_end_closes(limits: dict[str, Any], command: dict[str, Any], limit: str) -> None:
    bench = limited(**limits)
    ada = enter(bench, known("ada"))
    abuse(bench, ada, 3, **command)
    assert ada.open
    abuse(bench, ada, 0.5, **command)
    assert closes(ada) == [(1008, f"too many messages for too long ({limit}, rate_patience_seconds)")]


@pytest.mark.parametrize(("limits", "command"), [case[:2] for case in ENDING])
def test_with_a_rest_in_between_it_does_not(limits: dict[str, Any], command: dict[str, Any]) -> None:
    bench = limited(**limits)
    ada = enter(bench, known("ada"))
    for _ in range(5):
        abuse(bench, ada, 2, **command)
        bench.runtime.now += 1.1
    assert (ada.open, len(warnings(ada)) >= 5) == (True, True)


def test_a_quiet_device_of_an_abusive_user_stays() -> None:
    bench = limited(user_rate=1, user_burst=2)
    loud, quiet = enter(bench, known("ada")), enter(bench, known("ada"))
    abuse(bench, loud, 4, type="ping")
    assert taken(bench, quiet, 1) <= 1
    assert (loud.open, quiet.open) == (False, True)


def test_an_own_protocol_over_the_users_rate_ends_at_once() -> None:
    bench = limited(user_rate=1, user_burst=2)
    raw = RawEndpoint(bench.hub, "/raw", lambda connection, message: None)
    ada = enter(bench, known("ada"), endpoint=raw)
    for _ in range(3):
        bench.hub.receive(ada, TEXT, b"x")
    assert closes(ada) == [(1008, "too many messages (user_rate)")]


# A room's

MOVED = {"room": "lobby", "event": {"type": "moved"}}


def test_a_room_takes_so_many_messages_of_all_clients() -> None:
    bench = limited(room_rate=1, room_burst=10)
    ada, bob = joined(bench, "ada", "bob")
    assert taken(bench, ada, 8, "publish", **MOVED) == 8
    assert taken(bench, bob, 8, "publish", **MOVED) == 2
    assert bench.hub.counters.refused == {"room_rate": 6}


def test_the_error_says_when_to_try_again_and_the_connection_stays() -> None:
    bench = limited(room_rate=2, room_burst=1)
    (ada,) = joined(bench, "ada")
    ask(bench, ada, "publish", **MOVED)
    for _ in range(100):
        answer = ask(bench, ada, "publish", **MOVED)
        assert (answer["type"], answer["code"], answer["retryAfter"]) == ("error", "rate_limited", 500)
    assert (ada.open, warnings(ada)) == (True, [])
    bench.runtime.now += 0.5
    assert ask(bench, ada, "publish", **MOVED)["type"] == "ok"


def test_another_room_is_not_touched() -> None:
    bench = limited(room_rate=1, room_burst=1)
    (ada,) = joined(bench, "ada")
    ask(bench, ada, "join", room="attic", username="ada", keep=True)
    taken(bench, ada, 5, "publish", **MOVED)
    assert taken(bench, ada, 5, "publish", **{**MOVED, "room": "attic"}) == 1


def test_what_is_no_publish_costs_the_room_nothing() -> None:
    bench = limited(room_rate=1, room_burst=1)
    (ada,) = joined(bench, "ada")
    assert taken(bench, ada, 5, "history", room="lobby") == 5
    assert taken(bench, ada, 5, "publish", **MOVED) == 1


@pytest.mark.parametrize("late", [False, True])
def test_the_rate_of_a_room_counts_with_an_application_that_is_asked(late: bool) -> None:
    async def later() -> bool:
        return True

    bench = limited(room_rate=1, room_burst=2)
    ada = within(bench)
    bench.hub.authorizer = lambda connection, verb, room: later() if late else True
    assert taken(bench, ada, 5, "publish", **MOVED) == 2


def test_what_is_forbidden_costs_the_room_nothing() -> None:
    bench = limited(room_rate=1, room_burst=2)
    ada, eve = within(bench), within(bench, known("eve"))
    bench.hub.standing.renew(eve, known("eve", grants=granted("join")))
    taken(bench, eve, 5, "publish", **MOVED)
    assert taken(bench, ada, 5, "publish", **MOVED) == 2


def test_without_a_rate_a_room_takes_everything() -> None:
    bench = limited()
    (ada,) = joined(bench, "ada")
    assert taken(bench, ada, 200, "publish", **MOVED) == 200


def test_new_limits_count_at_once_and_what_was_used_up_stays_so() -> None:
    bench = Bench(Config(limits=Limits(rate_limit=1, rate_burst=10)))
    connection = bench.connect()
    took = [bench.hub.rates.take(connection, b"", bench.runtime.now) for _ in range(5)]
    bench.hub.limit(Config(limits=Limits(rate_limit=1, rate_burst=6)))
    took += [bench.hub.rates.take(connection, b"", bench.runtime.now) for _ in range(2)]
    assert took == [True] * 6 + [False]
