"""hub.expiry: a warning a minute before credentials end, once, and then the end; whatever becomes of the clock."""

from __future__ import annotations

import pytest

from hubbub.hub.connection import Connection
from hubbub.hub.dispatch import RawEndpoint
from hubbub.hub.expiry import MOST_A_TURN, Expiry
from tests.unit.fakes import Bench, FakeRuntime, tape
from tests.unit.hub.people import NOW, closes, enter, known, live, unlimited, warnings
from tests.unit.hub.rooms import speaking

ENDED = (4401, "the credentials have expired")


@pytest.fixture
def bench() -> Bench:
    return speaking(unlimited())


def expiring(bench: Bench, seconds: float) -> Connection:
    return enter(bench, known(expires=NOW + seconds))


class Watch:
    """An Expiry of its own, whose clock is set by hand."""

    def __init__(self) -> None:
        self.bench = Bench()
        self.warned: list[Connection] = []
        self.closed: list[Connection] = []
        self.runtime = FakeRuntime()
        self.expiry = Expiry(self.runtime.call_soon, self.warned.append, self._close)

    def _close(self, connection: Connection) -> None:
        self.closed.append(connection)
        self.bench.hub.lost(connection)

    def add(self, expires: float, now: float = NOW) -> Connection:
        connection = self.bench.hub.open(self.bench.endpoint, Bench().connect().transport, None)
        self.renew(connection, expires, now)
        return connection

    def renew(self, connection: Connection, expires: float | None, now: float) -> None:
        connection.identity = known(expires=expires)
        self.expiry.watch(connection, now)

    def tick(self, *times: float) -> tuple[int, int]:
        """How many have been warned and closed after looks at these times."""
        for time in times:
            self.expiry.tick(time)
            self.runtime.settle()
        return len(self.warned), len(self.closed)


@pytest.fixture
def watch() -> Watch:
    watch = Watch()
    watch.tick(NOW)
    return watch


# Through the hub


def test_the_warning_comes_a_minute_before_and_says_how_long_it_is_till_then(bench: Bench) -> None:
    connection = expiring(bench, 100)
    live(bench, 39)
    assert warnings(connection) == []
    live(bench, 1)
    assert warnings(connection) == [("token_expires", 60_000)]


def test_it_comes_once(bench: Bench) -> None:
    connection = expiring(bench, 100)
    live(bench, 99)
    assert (warnings(connection), connection.open) == ([("token_expires", 60_000)], True)


def test_at_the_end_the_connection_closes_with_4401(bench: Bench) -> None:
    connection = expiring(bench, 100)
    live(bench, 100)
    assert (closes(connection), bench.hub.counters.credentials_expired) == ([ENDED], 1)


def test_who_comes_with_less_than_a_minute_is_warned_at_once(bench: Bench) -> None:
    connection = expiring(bench, 30)
    assert [event["type"] for event in tape(connection).events] == ["connected", "warning"]
    assert warnings(connection) == [("token_expires", 30_000)]
    live(bench, 29)
    assert (len(warnings(connection)), connection.open) == (1, True)
    live(bench, 1)
    assert closes(connection) == [ENDED]


@pytest.mark.parametrize("seconds", [60.0, 60.5])
def test_about_a_minute_is_a_warning_too(bench: Bench, seconds: float) -> None:
    connection = expiring(bench, seconds)
    live(bench, 60)
    assert len(warnings(connection)) == 1


def test_credentials_without_an_end_last(bench: Bench) -> None:
    connection = enter(bench, known(expires=None))
    live(bench, 1000)
    assert (warnings(connection), connection.open) == ([], True)


def test_an_own_protocol_gets_no_warning_but_ends(bench: Bench) -> None:
    raw = RawEndpoint(bench.hub, "/raw", lambda connection, message: None)
    connection = enter(bench, known(expires=NOW + 30), endpoint=raw)
    live(bench, 29)
    assert (tape(connection).events, connection.open) == ([], True)
    live(bench, 1)
    assert (tape(connection).events, closes(connection)) == ([], [ENDED])


def test_new_credentials_move_the_end(bench: Bench) -> None:
    connection = expiring(bench, 100)
    live(bench, 50)
    bench.hub.standing.renew(connection, known(expires=NOW + 200))
    live(bench, 89)
    assert (len(warnings(connection)), connection.open) == (1, True)
    live(bench, 1)
    assert len(warnings(connection)) == 2
    live(bench, 60)
    assert closes(connection) == [ENDED]


def test_new_credentials_without_an_end_take_it_away(bench: Bench) -> None:
    connection = expiring(bench, 100)
    bench.hub.standing.renew(connection, known())
    live(bench, 200)
    assert (warnings(connection), connection.open) == ([], True)


def test_what_has_ended_is_not_looked_after(bench: Bench) -> None:
    connection = expiring(bench, 100)
    bench.hub.lost(connection)
    assert bench.hub.standing._expiry._due == {}
    live(bench, 100)
    assert bench.hub.counters.credentials_expired == 0


def test_a_hook_that_closes_at_once_leaves_nothing_to_look_after(bench: Bench) -> None:
    raw = RawEndpoint(bench.hub, "/raw", lambda *_: None, connected=(lambda connection: connection.close(),))
    enter(bench, known(expires=NOW + 100), endpoint=raw)
    assert bench.hub.standing._expiry._due == {}


# A thousand at once


def test_a_thousand_that_end_in_one_second_are_closed_in_portions(watch: Watch) -> None:
    for number in range(1000):
        watch.add(NOW + 99 + number / 1000)
    watch.expiry.tick(NOW + 100)
    counts = [len(watch.closed)]
    while counts[-1] < 1000:
        watch.runtime.turn()
        counts.append(len(watch.closed))
    assert counts == list(range(MOST_A_TURN, 1001, MOST_A_TURN))
    assert watch.warned == []


def test_a_tick_in_between_warns_nobody_twice(watch: Watch) -> None:
    for _ in range(MOST_A_TURN + 1):
        watch.add(NOW + 61)
    watch.expiry.tick(NOW + 1)
    watch.expiry.tick(NOW + 61)
    assert watch.tick(NOW + 62) == (MOST_A_TURN, MOST_A_TURN + 1)


def test_who_gets_new_credentials_while_others_are_looked_at_is_warned_once(watch: Watch) -> None:
    *_, last = [watch.add(NOW + 61) for _ in range(MOST_A_TURN + 1)]
    watch.expiry.tick(NOW + 1)
    watch.renew(last, NOW + 31, NOW + 1)
    watch.runtime.settle()
    assert watch.warned.count(last) == 1


def test_who_ends_while_others_are_looked_at_is_passed_over(watch: Watch) -> None:
    *_, last = [watch.add(NOW + 61) for _ in range(MOST_A_TURN + 1)]
    watch.expiry.tick(NOW + 1)
    watch.bench.hub.lost(last)
    watch.runtime.settle()
    assert last not in watch.warned


# The clock is set


def test_a_clock_set_forward_ends_what_is_over_and_warns_of_what_soon_is(watch: Watch) -> None:
    over, soon, later = (watch.add(NOW + seconds) for seconds in (100, 3630, 9000))
    watch.tick(NOW + 1, NOW + 3600)
    assert (watch.closed, watch.warned) == ([over], [soon])
    assert (soon.open, later.open) == (True, True)


def test_a_clock_set_back_ends_nothing_early_and_warns_nobody_again(watch: Watch) -> None:
    watch.add(NOW + 30)
    assert watch.tick(NOW + 1, NOW - 3600, NOW - 3599, NOW + 29) == (1, 0)
    assert watch.tick(NOW + 30) == (1, 1)


@pytest.mark.parametrize("back", [0.4, 5.0, 3600.0])
def test_who_comes_between_the_setting_back_and_the_next_look_ends_in_time(watch: Watch, back: float) -> None:
    now = NOW - back
    watch.add(now + 20, now)
    assert watch.tick(*(now + second for second in range(1, 20))) == (1, 0)
    assert watch.tick(now + 20.999) == (1, 1)


def test_no_second_is_passed_over_however_seldom_is_looked(watch: Watch) -> None:
    for number in range(300):
        watch.add(NOW + 70 + number)
    for step in range(1, 60):
        watch.tick(NOW + step * 7.3)
    assert (len(watch.warned), len(watch.closed)) == (300, 300)


def test_looks_within_one_second_find_nothing_twice(watch: Watch) -> None:
    watch.add(NOW + 30)
    assert watch.tick(*(NOW + 30 + part / 10 for part in range(10))) == (1, 1)
    assert watch.expiry._due == {}
