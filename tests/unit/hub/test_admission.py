"""hub.admission: who is in is counted exactly, and whoever would be one too many is refused."""

from __future__ import annotations

from typing import Any

import pytest

from hubbub.config import Config, Limits, Sessions
from hubbub.errors import HandshakeError
from hubbub.hub import admission
from hubbub.hub.admission import network_of
from hubbub.hub.connection import Connection
from hubbub.hub.identity import ANONYMOUS
from tests.unit.fakes import Bench, tape
from tests.unit.hub.people import NOW, enter, known
from tests.unit.hub.rooms import client, joined, speaking, token

NETWORK = "2001:db8:1:2"


def limited(**limits: Any) -> Bench:
    return Bench(Config(limits=Limits(**limits)))


def refusal(bench: Bench, address: str = "", user: str = "") -> tuple[int, str]:
    with pytest.raises(HandshakeError) as caught:
        bench.hub.admit(address, known(user) if user else ANONYMOUS)
    return caught.value.status, caught.value.reason


def counted(bench: Bench) -> tuple[int, dict[str, int], dict[str, int]]:
    """All that is counted: connections, those by address and by user."""
    door = bench.hub.admission
    users = {name: len(user.connections) for name, user in door.users.items() if user.connections}
    return door._total, door._addresses, users


# What counts as one


@pytest.mark.parametrize(
    ("address", "network"),
    [
        ("192.0.2.1", "192.0.2.1"),
        (f"{NETWORK}::1", f"{NETWORK}::"),
        (f"{NETWORK}:ffff:ffff:ffff:ffff", f"{NETWORK}::"),
        ("2001:db8:1:3::1", "2001:db8:1:3::"),
        ("fe80::1%eth0", "fe80::"),
        ("testclient", "testclient"),
        ("unix:/run/hub.sock", "unix:/run/hub.sock"),
    ],
)
def test_an_ipv6_network_counts_as_one_and_all_else_by_itself(address: str, network: str) -> None:
    assert network_of(address) == network


# Exact counts


def test_so_many_connections_come_in_and_no_more() -> None:
    bench = limited(max_connections=3)
    for _ in range(3):
        enter(bench, ANONYMOUS)
    assert refusal(bench) == (503, "the server is full (max_connections)")


def test_so_many_of_an_address_come_in_and_no_more() -> None:
    bench = limited(max_connections_per_address=2)
    for _ in range(2):
        enter(bench, ANONYMOUS, address="192.0.2.1")
    assert refusal(bench, "192.0.2.1") == (
        429,
        "too many connections from this address (max_connections_per_address)",
    )
    enter(bench, ANONYMOUS, address="192.0.2.2")


def test_a_network_of_ipv6_is_one_address() -> None:
    bench = limited(max_connections_per_address=2)
    for last in range(2):
        enter(bench, ANONYMOUS, address=f"{NETWORK}::{last}")
    assert refusal(bench, f"{NETWORK}:a:b:c:d")[0] == 429
    enter(bench, ANONYMOUS, address="2001:db8:1:3::1")


def test_so_many_of_a_user_come_in_and_no_more() -> None:
    bench = limited(max_connections_per_user=2)
    for last in range(2):
        enter(bench, known("ada"), address=f"192.0.2.{last}")
    assert refusal(bench, "192.0.2.9", "ada") == (429, "too many connections of this user (max_connections_per_user)")
    enter(bench, known("bob"))


def test_an_address_that_is_not_known_is_not_counted() -> None:
    bench = limited(max_connections_per_address=1, handshake_burst=1)
    for _ in range(5):
        bench.hub.admission.knock("", NOW)
        enter(bench, ANONYMOUS)
    assert counted(bench) == (5, {}, {})


def test_the_anonymous_are_no_user() -> None:
    bench = limited(max_connections_per_user=1)
    for _ in range(3):
        enter(bench, ANONYMOUS)
    assert counted(bench) == (3, {}, {})


def test_a_refusal_is_counted_by_the_name_of_its_limit_and_says_when_to_come_back() -> None:
    bench = limited(max_connections=1)
    enter(bench, ANONYMOUS)
    with pytest.raises(HandshakeError) as caught:
        bench.hub.admit("", ANONYMOUS)
    assert dict(caught.value.headers)[b"retry-after"] == b"5"
    assert bench.hub.counters.refused == {"max_connections": 1}


def test_who_was_refused_is_not_counted_in() -> None:
    bench = limited(max_connections_per_user=1)
    enter(bench, known("ada"), address="192.0.2.1")
    refusal(bench, "192.0.2.1", "ada")
    assert counted(bench) == (1, {"192.0.2.1": 1}, {"ada": 1})


# Leaving


def ends(bench: Bench, connection: Connection, way: str) -> None:
    """A connection ends in one of the ways that there are."""
    match way:
        case "lost":
            bench.hub.lost(connection)
        case "left":
            bench.hub.lost(connection, clean=True)
        case "closed":
            connection.close()
        case "slow":
            bench.hub.close_slow(connection)
        case "revoked":
            bench.hub.standing.revoke("user", "ada")
        case "silent":
            bench.tick(100)
        case "replaced":
            bench.hub.lost(client(bench, token(connection)))
        case "stopped":
            bench.hub.close_all()


WAYS = ("lost", "left", "closed", "slow", "revoked", "silent", "stopped")


@pytest.mark.parametrize("way", WAYS)
def test_however_a_connection_ends_its_place_is_free_again(way: str) -> None:
    bench = speaking()
    connection = enter(bench, known("ada"), "", "192.0.2.1")
    assert counted(bench) == (1, {"192.0.2.1": 1}, {"ada": 1})
    ends(bench, connection, way)
    assert (connection.open, counted(bench)) == (False, (0, {}, {}))


def test_a_connection_that_is_replaced_is_counted_out() -> None:
    bench = speaking()
    connection = enter(bench, ANONYMOUS, "", "192.0.2.1")
    ends(bench, connection, "replaced")
    assert (connection.open, counted(bench)) == (False, (0, {}, {}))


def test_a_second_end_counts_nobody_out() -> None:
    bench = limited()
    first, _ = enter(bench, known("ada"), address="192.0.2.1"), enter(bench, known("ada"), address="192.0.2.1")
    bench.hub.close(first, 1000)
    bench.hub.lost(first)
    assert counted(bench) == (1, {"192.0.2.1": 1}, {"ada": 1})


def test_a_session_that_is_waited_for_takes_no_place() -> None:
    bench = speaking(Config(limits=Limits(max_connections=1), sessions=Sessions(grace_seconds=15)))
    (ada,) = joined(bench, "ada", session="")
    bench.hub.lost(ada)
    assert (bench.hub.room("lobby").count, counted(bench)[0]) == (1, 0)
    assert tape(client(bench, token(ada))).actions == []


# Knocking


def knocks(bench: Bench, address: str, now: float) -> int:
    """How often somebody may knock at one moment."""
    for count in range(1_000_000):
        try:
            bench.hub.admission.knock(address, now)
        except HandshakeError:
            return count
    raise AssertionError("there is no end")


def test_an_address_may_knock_so_often_at_once() -> None:
    bench = limited(handshake_rate=2, handshake_burst=5)
    assert knocks(bench, "192.0.2.1", NOW) == 5
    assert knocks(bench, "192.0.2.1", NOW + 1) == 2
    assert bench.hub.counters.refused == {"handshake_rate": 2}


def test_another_address_is_not_touched_but_the_same_network_is() -> None:
    bench = limited(handshake_rate=2, handshake_burst=5)
    knocks(bench, f"{NETWORK}::1", NOW)
    assert knocks(bench, f"{NETWORK}::2", NOW) == 0
    assert knocks(bench, "192.0.2.1", NOW) == 5


def test_who_knocks_too_often_hears_when_to_come_back() -> None:
    bench = limited(handshake_rate=0.1, handshake_burst=1)
    bench.hub.admission.knock("192.0.2.1", NOW)
    with pytest.raises(HandshakeError, match=r"handshakes from this address \(handshake_rate\)") as caught:
        bench.hub.admission.knock("192.0.2.1", NOW + 3)
    assert (caught.value.status, dict(caught.value.headers)) == (429, {b"retry-after": b"7"})


def test_without_a_rate_everybody_may_knock() -> None:
    bench = limited(handshake_rate=0)
    for _ in range(5000):
        bench.hub.admission.knock("192.0.2.1", NOW)


def test_addresses_that_have_not_come_for_a_while_are_forgotten(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(admission, "SWEEP_ABOVE", 10)
    bench = limited(handshake_rate=1, handshake_burst=2)
    for second in range(1000):  # one address a second, each of them forgotten after one
        bench.hub.admission.knock(f"192.0.{second // 256}.{second % 256}", NOW + second)
        assert len(bench.hub.admission._knocks) <= 10


def test_addresses_that_still_count_are_not_forgotten(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(admission, "SWEEP_ABOVE", 10)
    bench = limited(handshake_rate=1, handshake_burst=1)
    bench.hub.admission.knock("192.0.2.1", NOW)
    for number in range(100):
        bench.hub.admission.knock(f"198.51.100.{number}", NOW)
    assert knocks(bench, "192.0.2.1", NOW) == 0


def test_new_limits_put_nobody_out_and_let_nobody_more_in() -> None:
    bench = Bench()
    connections = [bench.connect() for _ in range(3)]
    bench.hub.limit(Config(limits=Limits(max_connections=2)))
    assert all(connection.open for connection in connections)
    bench.hub.lost(connections[0])
    with pytest.raises(HandshakeError, match="max_connections"):
        bench.hub.admit("", ANONYMOUS)
    bench.hub.lost(connections[1])
    bench.hub.admit("", ANONYMOUS)


def test_knocks_stay_counted_under_new_limits() -> None:
    bench = Bench(Config(limits=Limits(handshake_rate=1, handshake_burst=2)))
    bench.hub.admission.knock("192.0.2.1", bench.runtime.now)
    bench.hub.limit(Config(limits=Limits(handshake_rate=1, handshake_burst=1)))
    with pytest.raises(HandshakeError, match="handshake_rate"):
        bench.hub.admission.knock("192.0.2.1", bench.runtime.now)
