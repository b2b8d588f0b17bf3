"""The dashboard of two nodes on one Redis: one of them publishes for both, and the other when it is killed."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from tests.support.observing import OBSERVED, two_nodes
from tests.support.redis import RedisServer
from tests.support.server import FAST, Server, serve
from tests.support.viewer import Event, Viewer, viewing


class Pair:
    """Two nodes that know each other: the one that publishes, and the other; and somebody who looks, on each."""

    def __init__(self, stack: ExitStack, servers: list[Server]) -> None:
        found: list[tuple[str, Server, Viewer]] = []
        for server in servers:
            viewer = stack.enter_context(viewing(server.ws))
            found.append((viewer.next("connected")["node"], server, viewer))
            viewer.look("dashboard")
            viewer.look("dashboard-state")
        (first, self.first, self.at_first), (other, self.other, self.at_other) = sorted(found, key=lambda each: each[0])
        self.ids = [first, other]

        while ids_of(self.at_first.next("nodes")) != self.ids:
            pass


@pytest.fixture(scope="module")
def servers(redis_server: RedisServer, tmp_path_factory: pytest.TempPathFactory) -> Iterator[list[Server]]:
    with two_nodes(redis_server, tmp_path_factory.mktemp("nodes")) as servers:
        yield servers


@pytest.fixture
def pair(servers: list[Server]) -> Iterator[Pair]:
    with ExitStack() as stack:
        yield Pair(stack, servers)


@pytest.fixture
def mortal(redis_server: RedisServer, tmp_path: Path) -> Iterator[Pair]:
    """Nodes that the test may kill."""
    with two_nodes(redis_server, tmp_path) as servers, ExitStack() as stack:
        yield Pair(stack, servers)


def ids_of(event: Event) -> list[str]:
    return [each["node"] for each in event["nodes"]]


def kill(server: Server) -> None:
    server.process.kill()
    server.process.wait()


def seconds_until(viewer: Viewer, ids: list[str]) -> list[int]:
    """The seconds that come until exactly these nodes have been seen twice, each with its number in the log."""
    seconds: list[int] = []
    left = 2
    while left:
        event = viewer.next_of("metrics", "nodes")
        if event["type"] == "metrics":
            seconds.append(event["timestamp"] // 1000)
        elif ids_of(event) == ids:
            left -= 1
    return seconds


def test_the_values_are_those_of_both_nodes(pair: Pair) -> None:
    with ExitStack() as stack:
        for server in (pair.first, pair.other, pair.other):
            stack.enter_context(viewing(server.ws))
        seen = pair.at_other.until(lambda data: data["activeUsers"] == 5)
        nodes = pair.at_other.next("nodes", timestamp=seen["timestamp"])["nodes"]
        assert [each["data"]["activeUsers"] for each in nodes] == [2, 3]
        assert [each["pid"] for each in nodes] == [pair.first.process.pid, pair.other.process.pid]


def test_load_on_either_node_moves_the_values_of_all(pair: Pair) -> None:
    for _ in range(100):
        pair.at_other.send(type="ping")
    pair.at_first.until(lambda data: data["requestsPerSecond"] > 10)


def test_both_nodes_show_the_same_seconds(pair: Pair) -> None:
    here = [pair.at_first.next("metrics") for _ in range(3)]
    assert [pair.at_other.next("metrics", timestamp=event["timestamp"]) for event in here] == here


def test_a_threshold_that_is_set_on_one_node_is_told_on_the_other(pair: Pair) -> None:
    pair.at_first.send(type="threshold", metric="cpuUsage", warning=11, critical=22)
    assert pair.at_other.next("threshold", warning=11)["critical"] == 22


@pytest.mark.parametrize("publisher", [True, False])
def test_when_a_node_is_killed_the_other_goes_on_and_no_second_is_told_twice(mortal: Pair, publisher: bool) -> None:
    pair = mortal
    victim, viewer = (pair.first, pair.at_other) if publisher else (pair.other, pair.at_first)
    server = pair.other if publisher else pair.first
    with viewing(server.ws, "/metrics-stream") as plain:
        plain.next("metrics")
        kill(victim)
        seconds = seconds_until(viewer, pair.ids[1:] if publisher else pair.ids[:1])
        assert seconds == sorted(set(seconds))
        streamed = [plain.next("metrics")["timestamp"] // 1000 for _ in range(2)]
        assert streamed == sorted(set(streamed))


def test_a_node_that_hung_comes_back_and_no_second_is_told_twice(mortal: Pair) -> None:
    process = mortal.first.process
    process.send_signal(signal.SIGSTOP)
    try:
        seconds = seconds_until(mortal.at_other, mortal.ids[1:])
    finally:
        process.send_signal(signal.SIGCONT)
    seconds += seconds_until(mortal.at_other, mortal.ids)
    assert seconds == sorted(set(seconds))


def test_what_was_measured_is_there_after_both_were_killed(
    mortal: Pair, redis_server: RedisServer, tmp_path: Path
) -> None:
    last = mortal.at_first.next("metrics")
    mortal.at_first.send(type="threshold", metric="cpuUsage", warning=33, critical=44, id=1)
    mortal.at_first.next("ok")
    kill(mortal.first)
    kill(mortal.other)
    options = mortal.first.process.args
    assert isinstance(options, list)
    again = serve(tmp_path, FAST, *options[options.index("--broker") :], target=OBSERVED)
    with again as server, viewing(server.ws) as viewer:
        info = viewer.look("dashboard", since={"time": last["timestamp"]})
        assert last in info["messages"]
        kept = [event for event in viewer.look("dashboard-state")["messages"] if event["type"] == "threshold"]
        assert [each["warning"] for each in kept if each["metric"] == "cpuUsage"] == [33]
        after = viewer.next("metrics")
        assert after["timestamp"] - info["messages"][-1]["timestamp"] > 1000  # a gap: nobody measured
