"""apps.dashboard: what is made of a second's numbers, by which node, and what those who look agree on."""

from __future__ import annotations

import asyncio
from itertools import pairwise
from typing import Any

import pytest

from hubbub import Hubbub, Stats
from hubbub.apps import dashboard
from hubbub.apps.dashboard import (
    ROOM,
    SILENT_SECONDS,
    STATE_ROOM,
    STREAM_ROOM,
    Board,
    Data,
    Meter,
    Pause,
    Report,
    Threshold,
    together,
)
from hubbub.hub.commands import BUILT_IN
from hubbub.hub.connection import Connection
from hubbub.hub.dispatch import CommandEndpoint, RawEndpoint
from hubbub.wire.websocket import TEXT
from tests.unit.fakes import Bench, FakeRuntime, Wired, tape


def idle() -> tuple[float, float]:
    return 25.0, 50.0


def stats(node: str = "a", **numbers: Any) -> Stats:
    nothing: dict[str, Any] = dict.fromkeys(Stats.__struct_fields__, 0)
    return Stats(**{**nothing, "node": node, **numbers})


def report(**numbers: Any) -> Report:
    nothing: dict[str, Any] = dict.fromkeys(Report.__struct_fields__, 0)
    return Report(**{**nothing, "host": "h", **numbers})


# The numbers of a second


def test_the_first_look_at_a_node_tells_nothing() -> None:
    meter = Meter(idle)
    assert meter.look(stats("a"), 10.0, 10) is None
    assert meter.look(stats("b"), 11.0, 11) is None  # it has begun anew


def test_a_report_is_of_what_was_done_since_the_last_look() -> None:
    meter = Meter(idle)
    meter.look(stats(messages=100, requests=10, handled=100, handling_seconds=5.0, failed=1), 10.0, 10)
    now = stats(connections=7, messages=130, requests=20, handled=120, handling_seconds=6.0, failed=3)
    found = meter.look(now, 12.0, 12)
    assert found is not None
    assert (found.second, found.connections, found.requests_per_second) == (12, 7, 20.0)
    assert (found.handled, found.handling_seconds, found.failed, found.cpu, found.memory) == (20, 1.0, 2, 25.0, 50.0)


def test_nodes_are_added_up_and_means_are_over_what_was_handled() -> None:
    busy = report(
        connections=3, requests_per_second=90.0, handled=90, handling_seconds=0.9, failed=1, cpu=80, memory=60
    )
    calm = report(
        connections=1, requests_per_second=10.0, handled=10, handling_seconds=1.1, failed=4, cpu=20, memory=30
    )
    assert together([busy, calm]) == Data(4, 100.0, 20.0, 5.0, 50.0, 45.0)


def test_where_nothing_was_handled_nothing_took_time_and_nothing_failed() -> None:
    assert together([report(connections=2)]) == Data(2, 0, 0, 0, 0, 0)


def test_no_more_than_everything_fails() -> None:
    assert together([report(handled=1, failed=2)]).error_rate == 100


# Who publishes


class Node(Bench):
    """A node with a dashboard, whose clock the test moves."""

    broker: Wired

    def __init__(self, runtime: FakeRuntime | None = None) -> None:
        super().__init__(broker=Wired, runtime=runtime, patterns=dashboard.app.patterns)
        self.app = Hubbub()
        self.begin()
        self.app.on_told(Report)(lambda node, report: self.board.hear(node, report))
        self.app.bind(self.hub)
        self.hub.nodes.open(lambda error: None)
        (self.viewer,) = self.join(ROOM, "ada")
        self.hub.join(self.viewer, STATE_ROOM, "ada", keep=True)
        self.runtime.settle()
        tape(self.viewer).forget()

    def begin(self) -> None:
        """Knows nothing of what it has done before."""
        self.board = Board(self.app, lambda: idle, self.runtime.monotonic, lambda: self.runtime.now)

    def measure(self) -> None:
        self.board.measure()
        self.runtime.settle()
        if (work := self.board.begin()) is not None:
            asyncio.run(work)
            self.runtime.settle()

    def thresholds(self) -> list[tuple[str, float, float]]:
        return [(event["metric"], event["warning"], event["critical"]) for event in self.heard("threshold")]

    def heard(self, kind: str = "metrics") -> list[Any]:
        return [event for event in tape(self.viewer).events if event["type"] == kind]

    def seconds(self) -> list[int]:
        return [event["timestamp"] // 1000 for event in self.heard()]


def crowd(count: int) -> list[Node]:
    """Nodes that hear each other, the first of them, which is to publish, in front."""
    runtime = FakeRuntime()
    nodes = [Node(runtime) for _ in range(count)]
    for node in nodes:
        node.broker.others = [other.broker for other in nodes if other is not node]
    return sorted(nodes, key=lambda node: node.broker.node_id)


def second(*nodes: Node) -> None:
    nodes[0].runtime.now += 1
    for node in nodes:
        node.measure()


def test_a_node_publishes_each_second_once_it_has_listened() -> None:
    (node,) = crowd(1)
    for _ in range(5):
        second(node)
    assert node.seconds() == [1003, 1004, 1005]


def test_the_event_has_these_fields() -> None:
    (node,) = crowd(1)
    for _ in range(3):
        second(node)
    (event,) = node.heard()
    assert event == {
        "type": "metrics",
        "timestamp": 1_003_000,
        "room": ROOM,
        "seq": 1,
        "data": {"activeUsers": 1, "requestsPerSecond": 0, "avgResponseTime": 0, "errorRate": 0}
        | {"cpuUsage": 25.0, "memoryUsage": 50.0},
    }


def test_a_node_that_was_held_up_listens_again_before_it_publishes() -> None:
    (node,) = crowd(1)
    for _ in range(3):
        second(node)
    node.runtime.now += SILENT_SECONDS
    for _ in range(3):
        second(node)
    assert node.seconds() == [1003, 1008]  # at 1006 it is late, at 1007 it may not have heard of all


def test_of_several_nodes_the_first_publishes_for_all() -> None:
    first, *others = nodes = crowd(3)
    for _ in range(4):
        second(*nodes)
    assert [event["data"]["activeUsers"] for event in first.heard()] == [3, 3]
    assert [node.heard() for node in others] == [[], []]


def test_a_second_is_published_when_the_last_node_has_told_of_it() -> None:
    first, other = crowd(2)
    for _ in range(4):
        first.runtime.now += 1
        first.measure()
        before = first.seconds()
        other.measure()
    assert (before, first.seconds()) == ([1003], [1003, 1004])


def test_the_nodes_are_shown_with_their_own_values() -> None:
    first, other = nodes = crowd(2)
    other.connect()
    for _ in range(3):
        second(*nodes)
    (event,) = first.heard("nodes")
    assert [each["node"] for each in event["nodes"]] == [first.broker.node_id, other.broker.node_id]
    assert [each["data"]["activeUsers"] for each in event["nodes"]] == [1, 2]
    assert all(each["host"] and each["pid"] for each in event["nodes"])


def test_a_node_that_is_gone_counts_no_more_and_holds_up_nothing() -> None:
    first, _ = nodes = crowd(2)
    for _ in range(3):
        second(*nodes)
    for _ in range(5):
        second(first)
    assert first.seconds() == [1003, 1004, 1005, 1006, 1007, 1008]
    assert [event["data"]["activeUsers"] for event in first.heard()] == [2, 2, 1, 1, 1, 1]


def test_the_next_node_takes_over_when_the_first_is_gone() -> None:
    first, other = nodes = crowd(2)
    for _ in range(3):
        second(*nodes)
    for _ in range(4):
        second(other)
    assert (first.seconds(), other.seconds()) == ([1003], [1005, 1006, 1007])


def test_a_node_that_comes_leaves_no_second_out() -> None:
    newcomer, old = crowd(2)
    for _ in range(4):
        second(old)
    for _ in range(4):
        second(old, newcomer)
    assert sorted(old.seconds() + newcomer.seconds()) == [1003, 1004, 1005, 1006, 1007, 1008]


def test_a_second_that_another_node_has_published_is_not_shown_again() -> None:
    (node,) = crowd(1)
    for _ in range(2):
        second(node)
    room = node.hub.room(ROOM)
    room.publish({"type": "metrics", "timestamp": 1_003_000}, once=Hubbub().once("second 1003"))
    second(node)
    assert (node.seconds(), node.heard("nodes")) == ([1003], [])


def test_a_second_that_cannot_be_kept_is_a_gap() -> None:
    (node,) = crowd(1)
    for _ in range(2):
        second(node)
    kept, node.broker.append = node.broker.append, fail  # type: ignore[method-assign, assignment]
    second(node)
    node.broker.append = kept  # type: ignore[method-assign]
    second(node)
    assert node.seconds() == [1004]


def fail(*_: Any) -> None:
    raise OSError("disk full")


# What those who look agree on

DEFAULT_LEVELS = [("avgResponseTime", 200, 500), ("errorRate", 1, 5), ("cpuUsage", 70, 90), ("memoryUsage", 75, 90)]


def test_a_new_log_has_the_defaults_and_an_old_one_what_it_had() -> None:
    (node,) = crowd(1)
    for _ in range(5):
        second(node)
    assert node.thresholds() == DEFAULT_LEVELS
    assert [(event["paused"], event["by"]) for event in node.heard("pause")] == [(False, "")]


def test_what_is_set_before_the_nodes_are_shown_is_kept_and_the_rest_are_the_defaults() -> None:
    (node,) = crowd(1)
    room = node.hub.room(STATE_ROOM)
    room.publish(Threshold("errorRate", 2, 3, "ada", 0), key="errorRate")
    room.publish(Pause(True, "ada", 0), key="pause")
    for _ in range(5):
        second(node)
    first, _, *others = DEFAULT_LEVELS
    assert node.thresholds() == [("errorRate", 2, 3), first, *others]
    assert [event["by"] for event in node.heard("pause")] == ["ada"]


def test_a_node_that_begins_anew_finds_what_is_set() -> None:
    (node,) = crowd(1)
    for _ in range(5):
        second(node)
    tape(node.viewer).forget()
    node.begin()
    for _ in range(5):
        second(node)
    assert (node.seconds(), node.thresholds(), node.heard("pause")) == ([1008, 1009, 1010], [], [])


@pytest.fixture
def served() -> Bench:
    """The application itself."""
    return Bench(endpoint=lambda hub: dashboard.app.bind(hub)[0].endpoints[None], patterns=dashboard.app.patterns)


def ask(bench: Bench, connection: Connection, **command: Any) -> Any:
    tape(connection).forget()
    bench.receive(connection, id=1, **command)
    bench.runtime.settle()
    return tape(connection).events


def test_a_threshold_is_told_to_all_and_who_comes_later_has_the_last(served: Bench) -> None:
    (ada,) = served.join(STATE_ROOM, "ada")
    for warning in (60, 65.5):
        reply, event = ask(served, ada, type="threshold", metric="cpuUsage", warning=warning, critical=80)
    timestamp = served.runtime.unix_ms()
    wanted = {"type": "threshold", "metric": "cpuUsage", "warning": 65.5, "critical": 80, "by": "ada"}
    assert (reply["type"], event) == ("ok", wanted | {"timestamp": timestamp, "room": STATE_ROOM, "seq": 2})
    (info,) = ask(served, served.connect(), type="subscribe", room=STATE_ROOM)
    assert info["messages"] == [event]


def test_a_pause_is_told_to_all_and_who_comes_later_has_it(served: Bench) -> None:
    (ada,) = served.join(STATE_ROOM, "ada")
    _, event = ask(served, ada, type="pause", paused=True)
    assert (event["type"], event["paused"], event["by"]) == ("pause", True, "ada")
    (info,) = ask(served, served.connect(), type="subscribe", room=STATE_ROOM)
    assert info["messages"] == [event]


WRONG: list[dict[str, Any]] = [
    {"metric": "activeUsers", "warning": 1, "critical": 2},
    {"metric": "cpuUsage", "warning": 2, "critical": 2},
    {"metric": "cpuUsage", "warning": -1, "critical": 2},
    {"metric": "cpuUsage", "warning": 1, "critical": 1e300},
    {"metric": "cpuUsage", "warning": "1", "critical": 2},
    {"metric": "cpuUsage", "warning": 1},
    {"metric": "cpuUsage", "warning": 1, "critical": 2, "room": "lobby"},
]


@pytest.mark.parametrize("fields", WRONG)
def test_a_threshold_that_makes_no_sense_changes_nothing(served: Bench, fields: dict[str, Any]) -> None:
    (ada,) = served.join(STATE_ROOM, "ada")
    (reply,) = ask(served, ada, type="threshold", **fields)
    assert (reply["type"], reply["code"]) == ("error", "invalid_message")


def refuse(conn: Connection, verb: str, room: str) -> bool:
    return (verb, room) not in {("publish", ROOM), ("join", STREAM_ROOM)}


@pytest.mark.parametrize(
    "command",
    [{"type": "pause", "paused": True}, {"type": "threshold", "metric": "cpuUsage", "warning": 1, "critical": 2}],
)
def test_who_may_not_publish_in_the_room_sets_nothing(served: Bench, command: dict[str, Any]) -> None:
    (ada,) = served.join(STATE_ROOM, "ada")
    served.hub.authorizer = refuse
    (reply,) = ask(served, ada, **command)
    assert (reply["type"], reply["code"]) == ("error", "forbidden")


# Who speaks no protocol


@pytest.fixture
def stream() -> Bench:
    """The application, as it serves the path of the stream."""
    return Bench(endpoint=lambda hub: dashboard.app.bind(hub)[1].endpoints[None])


def test_the_stream_s_path_leads_into_its_room_and_what_is_said_there_is_nothing(stream: Bench) -> None:
    viewer = stream.connect()
    stream.runtime.settle()
    assert isinstance(stream.endpoint, RawEndpoint)
    assert [room.name for room in viewer.rooms] == [STREAM_ROOM]
    stream.receive(viewer, anything="at all")
    assert (viewer.open, tape(viewer).events) == (True, [])


def test_who_may_not_look_is_sent_away(stream: Bench) -> None:
    stream.hub.authorizer = refuse
    viewer = stream.connect()
    stream.runtime.settle()
    assert tape(viewer).actions == [(4403, "not allowed")]


def test_who_is_gone_before_it_is_known_whether_it_may_look_is_forgotten(stream: Bench) -> None:
    viewer = stream.connect()
    stream.hub.lost(viewer)
    stream.runtime.settle()
    assert (viewer.rooms, stream.hub.counters.handlers_failed) == ((), 0)


def test_an_hour_opens_with_its_gap_and_in_order() -> None:
    (node,) = crowd(1)
    for _ in range(1500):
        second(node)
    node.runtime.now += 60  # it was down
    for _ in range(1500):
        second(node)
    late = node.connect()
    asked = b'{"type":"subscribe","room":"dashboard","since":{"time":0}}'
    CommandEndpoint(node.hub, "/ws", {**BUILT_IN}).receive(late, TEXT, asked)
    node.runtime.settle()
    info, *rest = [event for event in tape(late).events if event["type"] in ("room_info", "metrics")]
    seconds = [event["timestamp"] // 1000 for event in info["messages"] + rest]
    assert (info["recovered"], seconds) == (True, node.seconds())
    assert max(later - earlier for earlier, later in pairwise(seconds)) == 63


def test_the_numbers_of_an_hour_are_kept() -> None:
    policy = dict(dashboard.app.patterns)[ROOM]
    assert (policy["history_seconds"], policy["history"] > 3600) == (3600, True)
