"""The dashboard's values as clients get them: each second once, measured, kept; over both ways of hosting."""

from __future__ import annotations

import json
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
from websockets.sync.client import connect

from tests.support.observing import OBSERVED, UNLIMITED
from tests.support.server import OWN_HOSTS, Server, serve
from tests.support.viewer import Viewer, viewing

MEMORY = ("--broker", "memory://")
FIELDS = {"activeUsers", "requestsPerSecond", "avgResponseTime", "errorRate", "cpuUsage", "memoryUsage"}


@pytest.fixture(scope="module", params=OWN_HOSTS)
def server(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with serve(tmp_path_factory.mktemp("observed"), request.param, *UNLIMITED, *MEMORY, target=OBSERVED) as running:
        yield running


@pytest.fixture
def people(server: Server) -> Iterator[ExitStack]:
    with ExitStack() as stack:
        yield stack


@pytest.fixture
def ada(server: Server, people: ExitStack) -> Viewer:
    """Somebody who looks at the values."""
    ada = people.enter_context(viewing(server.ws))
    ada.look("dashboard")
    return ada


# The event


def test_the_event_has_these_fields_and_no_others(ada: Viewer) -> None:
    event = ada.next("metrics")
    assert event.keys() == {"type", "data", "timestamp", "room", "seq"}
    assert event["data"].keys() == FIELDS
    assert (type(event["timestamp"]), abs(event["timestamp"] - time.time() * 1000) < 60_000) == (int, True)
    assert type(event["data"]["activeUsers"]) is int
    assert all(value >= 0 for value in event["data"].values())
    assert event["data"]["cpuUsage"] <= 100
    assert 0 < event["data"]["memoryUsage"] <= 100


def test_each_second_comes_once(ada: Viewer) -> None:
    events = [ada.next("metrics") for _ in range(4)]
    assert [event["seq"] for event in events] == list(range(events[0]["seq"], events[0]["seq"] + 4))
    times = [event["timestamp"] for event in events]
    assert ([each % 1000 for each in times], len(set(times)), sorted(times)) == ([0] * 4, 4, times)


# They are measured


def test_connections_that_are_open_are_counted(server: Server, people: ExitStack, ada: Viewer) -> None:
    before = ada.next("metrics")["data"]["activeUsers"]
    for _ in range(7):
        people.enter_context(viewing(server.ws))
    ada.until(lambda data: data["activeUsers"] == before + 7)


def test_messages_raise_the_rate(ada: Viewer) -> None:
    for _ in range(100):
        ada.send(type="ping")
    ada.until(lambda data: data["requestsPerSecond"] > 10)


def test_http_requests_raise_the_rate(server: Server, ada: Viewer) -> None:
    ada.until(lambda data: data["requestsPerSecond"] == 0)
    for _ in range(10):
        urllib.request.urlopen(f"{server.http}/healthz", timeout=10).close()
    ada.until(lambda data: data["requestsPerSecond"] > 1)


def test_a_handler_that_fails_raises_the_error_rate(ada: Viewer) -> None:
    ada.until(lambda data: data["errorRate"] == 0)
    ada.send(type="fail")
    ada.until(lambda data: data["errorRate"] > 0)
    ada.until(lambda data: data["errorRate"] == 0)


def test_what_is_the_client_s_fault_is_no_error(server: Server, ada: Viewer) -> None:
    ada.until(lambda data: data["errorRate"] == 0)
    with pytest.raises(urllib.error.HTTPError, match="404"):
        urllib.request.urlopen(f"{server.http}/nowhere", timeout=10)
    ada.send(type="message", text="in no room")
    ada.send(type="no such command")
    rated = ada.until(lambda data: data["requestsPerSecond"] > 0)
    assert (rated["data"]["errorRate"], ada.next("metrics")["data"]["errorRate"]) == (0, 0)


def test_a_slow_handler_raises_the_response_time(ada: Viewer) -> None:
    ada.until(lambda data: data["requestsPerSecond"] == 0)
    ada.send(type="slow", seconds=0.3)
    ada.until(lambda data: data["avgResponseTime"] >= 100)
    ada.until(lambda data: data["avgResponseTime"] < 100)


def test_the_nodes_are_shown(server: Server, people: ExitStack) -> None:
    bob = people.enter_context(viewing(server.ws))
    connected = bob.next("connected")
    bob.look("dashboard-state")
    (node,) = bob.next("nodes")["nodes"]
    assert node.keys() == {"node", "host", "pid", "data"}
    assert (node["node"], node["pid"], node["data"].keys()) == (connected["node"], server.process.pid, FIELDS)


# They are kept


def test_who_opens_a_range_has_all_of_it_at_once(server: Server, people: ExitStack, ada: Viewer) -> None:
    last = [ada.next("metrics") for _ in range(3)][-1]
    bob = people.enter_context(viewing(server.ws))
    info = bob.look("dashboard", since={"time": last["timestamp"] - 3_600_000})
    assert (info["recovered"], info["seq"]) == (True, info["head"])
    assert [event["seq"] for event in info["messages"]] == list(range(1, info["head"] + 1))
    assert last in info["messages"]


def test_a_shorter_range_begins_later(server: Server, people: ExitStack, ada: Viewer) -> None:
    first, _, last = [ada.next("metrics") for _ in range(3)]
    bob = people.enter_context(viewing(server.ws))
    info = bob.look("dashboard", since={"time": last["timestamp"]})
    assert (info["messages"][0], first in info["messages"]) == (last, False)
    assert bob.next("metrics")["seq"] == info["seq"] + 1


# What those who look agree on


def test_a_threshold_reaches_everybody_and_who_comes_later(server: Server, people: ExitStack) -> None:
    ada, bob = (people.enter_context(viewing(server.ws)) for _ in range(2))
    bob.look("dashboard-state")
    ada.send(type="threshold", metric="errorRate", warning=2, critical=7.5, id=1)
    assert ada.next("ok")["id"] == 1
    told = bob.next("threshold", metric="errorRate", warning=2)
    assert told["critical"] == 7.5
    carol = people.enter_context(viewing(server.ws))
    info = carol.look("dashboard-state")
    thresholds = [event for event in info["messages"] if event["type"] == "threshold"]
    assert told in thresholds
    assert {event["metric"] for event in thresholds} == FIELDS - {"activeUsers", "requestsPerSecond"}


@pytest.mark.parametrize("host", OWN_HOSTS)
def test_who_is_quicker_than_the_first_second_keeps_nobody_from_the_defaults(tmp_path: Path, host: str) -> None:
    with serve(tmp_path, host, *MEMORY, target=OBSERVED) as server, viewing(server.ws) as ada:
        info = ada.look("dashboard-state")
        ada.send(type="threshold", metric="cpuUsage", warning=41, critical=42)
        found = {event["metric"]: event["warning"] for event in info["messages"] if event["type"] == "threshold"}
        while len(found) < 4 or found["cpuUsage"] != 41:
            event = ada.next("threshold")
            found[event["metric"]] = event["warning"]
        assert found == {"avgResponseTime": 200, "errorRate": 1, "cpuUsage": 41, "memoryUsage": 75}


@pytest.mark.parametrize("paused", [True, False])
def test_a_pause_reaches_everybody_and_who_comes_later(server: Server, people: ExitStack, paused: bool) -> None:
    ada, bob = (people.enter_context(viewing(server.ws)) for _ in range(2))
    bob.look("dashboard-state")
    ada.send(type="pause", paused=paused)
    told = bob.next("pause", paused=paused)
    carol = people.enter_context(viewing(server.ws))
    assert told in carol.look("dashboard-state")["messages"]


def test_while_it_is_paused_the_log_goes_on(people: ExitStack, ada: Viewer) -> None:
    ada.send(type="pause", paused=True)
    first, second = ada.next("metrics"), ada.next("metrics")
    assert second["seq"] == first["seq"] + 1
    ada.send(type="pause", paused=False)


# Whose rooms they are


@pytest.mark.parametrize("room", ["dashboard", "dashboard-state", "dashboard-stream"])
def test_nobody_chats_in_the_dashboard_s_rooms(people: ExitStack, server: Server, room: str) -> None:
    ada, bob = (people.enter_context(viewing(server.ws)) for _ in range(2))
    before = bob.look(room)["head"]
    ada.send(type="join", room=room, username="ada")
    place = {"room": room, "epoch": ada.next("room_info")["epoch"], "of": 1}
    for command in ({"type": "message", "text": "hi", "room": room}, {"type": "typing"}):
        ada.send(**command, id=1)
        assert ada.next_of("ok", "error")["code"] == "forbidden"
    for command in ({"type": "edit", "text": "hi", **place}, {"type": "delete", **place}):
        ada.send(**command, id=1)
        assert ada.next_of("ok", "error")["code"] == "forbidden"
    kinds = {event["type"] for event in bob.look(room, since={"seq": before, "epoch": place["epoch"]})["messages"]}
    assert kinds <= {"metrics", "nodes", "threshold", "pause"}


# Over plain HTTP


def test_nobody_chats_in_the_dashboard_s_rooms_by_a_call(server: Server) -> None:
    body = b'{"text":"hi","username":"carol"}'
    call = urllib.request.Request(f"{server.http}/api/rooms/dashboard/messages", body, method="POST")
    call.add_header("content-type", "application/json")
    with pytest.raises(urllib.error.HTTPError, match="403"):
        urllib.request.urlopen(call, timeout=10)


def test_a_stream_of_server_sent_events_has_them_as_well(server: Server, ada: Viewer) -> None:
    seen = ada.next("metrics")
    address = f"{server.http}/sse?room=dashboard&history=1"
    with urllib.request.urlopen(address, timeout=15) as stream:
        lines = (line.decode().rstrip() for line in stream)
        events = (json.loads(next(lines).removeprefix("data: ")) for line in lines if line == "event: metrics")
        data = [next(events), next(events)]
    assert data[0]["seq"] >= seen["seq"]
    assert data[1]["seq"] == data[0]["seq"] + 1


def test_a_threshold_can_be_set_by_a_call(server: Server, people: ExitStack) -> None:
    bob = people.enter_context(viewing(server.ws))
    bob.look("dashboard-state")
    body = b'{"type":"threshold","metric":"cpuUsage","warning":41,"critical":42}'
    call = urllib.request.Request(f"{server.http}/api/rooms/dashboard/commands?username=carol", body, method="POST")
    call.add_header("content-type", "application/json")
    with urllib.request.urlopen(call, timeout=10) as answer:
        assert answer.status == 200
    assert bob.next("threshold", warning=41)["critical"] == 42


# A client that speaks no protocol of ours


@pytest.mark.parametrize("compression", [None, "deflate"])
def test_a_plain_client_gets_exactly_the_event_each_second(server: Server, compression: str | None) -> None:
    with connect(f"{server.ws}/metrics-stream", compression=compression) as plain:
        events = [json.loads(plain.recv(15)) for _ in range(3)]
    assert [event["type"] for event in events] == ["metrics"] * 3
    assert [event.keys() for event in events] == [{"type", "data", "timestamp"}] * 3
    assert [event["data"].keys() for event in events] == [FIELDS] * 3
    assert len({event["timestamp"] for event in events}) == 3


def test_both_ways_to_look_show_the_same(server: Server, people: ExitStack, ada: Viewer) -> None:
    plain = people.enter_context(viewing(server.ws, "/metrics-stream"))
    seen = plain.next("metrics")
    same = ada.next("metrics", timestamp=seen["timestamp"])
    assert {name: value for name, value in same.items() if name not in ("room", "seq")} == seen


def test_what_a_plain_client_says_means_nothing(server: Server) -> None:
    with connect(f"{server.ws}/metrics-stream") as plain:
        plain.send('{"type":"pause","paused":true}')
        plain.send(b"\0\xff")
        assert '"type":"metrics"' in str(plain.recv(15))
