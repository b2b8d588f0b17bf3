"""hub.draining: who is told what when a node stops, and when they go."""

from __future__ import annotations

import pytest

from hubbub.config import Config, Server
from hubbub.errors import HandshakeError
from hubbub.hub.commands import BUILT_IN
from hubbub.hub.connection import Connection
from hubbub.hub.dispatch import CommandEndpoint, RawEndpoint
from hubbub.hub.draining import MOST_A_TURN
from hubbub.hub.hub import Hub
from hubbub.hub.identity import ANONYMOUS
from tests.unit.fakes import Bench, RecordingTransport, tape

CLOSED = (1012, "after=500")


def bench_of(drain_seconds: float = 5.0) -> Bench:
    return Bench(Config(server=Server(drain_seconds=drain_seconds)))


def told(connection: Connection) -> list[int]:
    """What it was told of how long it is to wait."""
    return [event["after"] for event in tape(connection).events if event["type"] == "reconnect"]


def drained(bench: Bench) -> float:
    """Goes on until nobody is left; the seconds that took."""
    began = bench.runtime.now
    while (wait := bench.hub.draining.go_on()) is not None:
        bench.runtime.now += wait
    return bench.runtime.now - began


def test_all_are_told_at_once_and_differently() -> None:
    bench = bench_of()
    connections = [bench.connect() for _ in range(100)]
    bench.hub.draining.begin()
    bench.hub.draining.go_on()
    assert sorted(told(connection) for connection in connections) == [[500 + 10 * n] for n in range(1, 101)]


def test_each_goes_when_it_was_told_with_the_time_that_is_left() -> None:
    bench = bench_of()
    connections = [bench.connect() for _ in range(20)]
    began = bench.runtime.now
    gone: dict[Connection, float] = {}
    bench.hub.draining.begin()
    while (wait := bench.hub.draining.go_on()) is not None:
        for connection in connections:
            if not connection.open:
                gone.setdefault(connection, bench.runtime.now - began)
        bench.runtime.now += wait
    gone |= {connection: bench.runtime.now - began for connection in connections if connection not in gone}
    assert all(tape(connection).actions == [CLOSED] for connection in connections)
    assert {round(seconds * 1000) + 500 for seconds in gone.values()} == {told(c)[0] for c in connections}


def test_a_few_are_gone_in_no_time_and_many_within_the_setting() -> None:
    for count, expected in ((0, 0.0), (1, 0.01), (50, 0.5), (1000, 5.0)):
        bench = bench_of()
        connections = [bench.connect() for _ in range(count)]
        bench.hub.draining.begin()
        assert drained(bench) == pytest.approx(expected)
        assert not any(connection.open for connection in connections)


def test_without_time_for_it_all_go_at_once() -> None:
    bench = bench_of(drain_seconds=0)
    connections = [bench.connect() for _ in range(MOST_A_TURN * 2 + 1)]
    bench.hub.draining.begin()
    assert drained(bench) == 0
    assert all(told(connection) == [500] and tape(connection).actions == [CLOSED] for connection in connections)


def test_nobody_goes_before_load_balancers_have_noticed() -> None:
    bench = bench_of()
    connection = bench.connect()
    bench.hub.draining.begin(notice=3)
    assert bench.hub.draining.go_on() == pytest.approx(3.01)
    assert told(connection) == [3510]
    assert connection.open


def test_load_balancers_are_waited_for_though_nobody_is_here() -> None:
    bench = bench_of()
    bench.hub.draining.begin(notice=3)
    assert drained(bench) == pytest.approx(3)


def test_who_comes_meanwhile_is_refused_until_it_is_over() -> None:
    bench = bench_of()
    bench.hub.admit("192.0.2.1", ANONYMOUS)
    bench.hub.draining.begin(notice=3)
    with pytest.raises(HandshakeError, match="stopping") as refused:
        bench.hub.admit("192.0.2.1", ANONYMOUS)
    assert (refused.value.status, refused.value.headers) == (503, ((b"retry-after", b"4"),))


def test_commands_are_served_until_the_end() -> None:
    bench = Bench(endpoint=lambda hub: CommandEndpoint(hub, "/ws", BUILT_IN))
    ada, bob = bench.connect(), bench.connect()
    bench.hub.draining.begin(notice=1)
    bench.hub.draining.go_on()
    bench.receive(ada, type="join", room="lobby", username="ada")
    bench.receive(bob, type="join", room="lobby", username="bob")
    bench.runtime.settle()
    assert [event["type"] for event in tape(ada).events] == ["connected", "reconnect", "room_info", "user_joined"]


def test_who_has_a_session_is_waited_for_and_the_others_leave() -> None:
    bench = bench_of()
    ada, bob, eve = bench.connect(session=""), bench.connect(), bench.connect()
    for connection, name in ((ada, "ada"), (bob, "bob"), (eve, "eve")):
        bench.hub.join(connection, "lobby", name)
    bench.runtime.settle()
    tape(eve).forget()
    bench.hub.send_away(ada)
    bench.hub.send_away(bob)
    bench.runtime.settle()
    assert [(event["type"], event["username"]) for event in tape(eve).events] == [("user_left", "bob")]


def test_an_own_protocol_is_closed_and_told_nothing() -> None:
    def no_protocol(hub: Hub) -> RawEndpoint:
        return RawEndpoint(hub, "/raw", lambda connection, message: None)

    bench = Bench(endpoint=no_protocol)
    connection = bench.connect()
    bench.hub.draining.begin()
    drained(bench)
    assert (tape(connection).events, tape(connection).actions) == ([], [CLOSED])


def test_who_was_not_greeted_yet_is_not_told_before_it_is() -> None:
    bench = bench_of()
    transport = RecordingTransport()
    bench.hub.open(bench.endpoint, transport, None)
    bench.hub.draining.begin()
    drained(bench)
    assert (transport.events, transport.actions) == ([], [CLOSED])


def test_who_has_gone_meanwhile_is_left_alone() -> None:
    bench = bench_of()
    connection = bench.connect()
    bench.hub.draining.begin()
    bench.hub.lost(connection)
    drained(bench)
    assert (told(connection), tape(connection).actions) == ([], [])


def test_draining_twice_changes_nothing() -> None:
    bench = bench_of()
    connection = bench.connect()
    bench.hub.draining.begin()
    bench.hub.draining.begin(notice=60)
    assert drained(bench) < 1
    assert told(connection) == [510]


def test_all_who_are_closed_at_once_are_told_different_times() -> None:
    bench = bench_of(drain_seconds=1)
    connections = [bench.connect() for _ in range(1000)]
    bench.hub.close_all()
    reasons = sorted(int(tape(connection).actions[0][1].removeprefix("after=")) for connection in connections)
    assert reasons == list(range(500, 1500))
