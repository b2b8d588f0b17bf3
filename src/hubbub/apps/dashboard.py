"""The dashboard: what the nodes do, measured each second, what those who look agree on, and its page.

Each node tells the others its own values; the one with the lowest id publishes those of all together.
"""

from __future__ import annotations

import socket
import time
from collections.abc import Callable, Coroutine, Iterable, Mapping
from functools import partial
from os import getpid
from typing import Any, Final, Literal

import msgspec
import psutil

from hubbub import Command, CommandError, Connection, Event, Hubbub, Publication, Stats
from hubbub.apps.static import Pages

ROOM: Final = "dashboard"
"""The log of the last hour: an event `metrics` a second."""
STATE_ROOM: Final = "dashboard-state"
"""What holds now, the last of each: `nodes`, a `threshold` for each value that has one, `pause`."""
STREAM_ROOM: Final = "dashboard-stream"
"""The connections to STREAM_PATH."""
STREAM_PATH: Final = "/metrics-stream"
LOG_SECONDS: Final = 3600
SILENT_SECONDS: Final = 2.5
"""A node that has told nothing for so long is not there: it has missed two seconds."""
LISTENED: Final = 2
"""Reports a node makes before it publishes: after the first it has heard of all the others."""
HIGHEST_THRESHOLD: Final = 1e9

Measure = Literal["avgResponseTime", "errorRate", "cpuUsage", "memoryUsage"]
DEFAULTS: Final[Mapping[Measure, tuple[float, float]]] = {
    "avgResponseTime": (200, 500),
    "errorRate": (1, 5),
    "cpuUsage": (70, 90),
    "memoryUsage": (75, 90),
}
"""From where on a value is a warning, and from where on it is critical."""


class Data(msgspec.Struct, frozen=True, rename="camel"):
    """The values of one second.

    Attributes:
        active_users: open connections, those that look at the dashboard included.
        requests_per_second: messages and HTTP requests together.
        avg_response_time: milliseconds until a handler ended or a response began; 0 where there was none.
        error_rate: percent of these that failed, and not by the client's fault.
        cpu_usage: of the node's process, percent of one core: its event loop is one thread, and full at 100.
        memory_usage: percent of the machine's memory that is in use, by whomever: at its end every process is.
    """

    active_users: int
    requests_per_second: float
    avg_response_time: float
    error_rate: float
    cpu_usage: float
    memory_usage: float


class Metrics(Event, tag="metrics"):
    """The values of all nodes together; to everybody who looks, each second once."""

    data: Data
    timestamp: int


class NodeValues(msgspec.Struct, frozen=True, rename="camel"):
    """A node, by the `node` of its clients' `connected`, where it runs, and its own values."""

    node: str
    host: str
    pid: int
    data: Data


class Nodes(Event, tag="nodes"):
    """The nodes there are."""

    nodes: list[NodeValues]
    timestamp: int


class SetThreshold(Command, tag="threshold"):
    """Somebody sets from where on a value is a warning, and from where on it is critical."""

    metric: Measure
    warning: float
    critical: float
    room: Literal["dashboard"] = ROOM


class Threshold(Event, tag="threshold"):
    """From where on a value is a warning or critical; `by` is empty for the default."""

    metric: Measure
    warning: float
    critical: float
    by: str
    timestamp: int


class SetPause(Command, tag="pause"):
    """Somebody holds the charts, or lets them go on."""

    paused: bool
    room: Literal["dashboard"] = ROOM


class Pause(Event, tag="pause"):
    """Whether the charts stand still; measuring goes on, and so does the log."""

    paused: bool
    by: str
    timestamp: int


class Held(msgspec.Struct):
    """An event of STATE_ROOM, as far as it says what it is the last of."""

    type: str
    metric: str = ""


_decode_held = msgspec.json.Decoder(Held).decode


class Report(msgspec.Struct, tag="report"):
    """What a node tells the others of its last second."""

    host: str
    pid: int
    second: int
    connections: int
    requests_per_second: float
    handled: int
    handling_seconds: float
    failed: int
    cpu: float
    memory: float


Usage = Callable[[], tuple[float, float]]
"""Gives CPU and memory in use, in percent."""


class Process:
    """The CPU that this process has used since it was asked last, and the memory of its machine."""

    def __init__(self) -> None:
        self._process = psutil.Process()
        self._process.cpu_percent()

    def __call__(self) -> tuple[float, float]:
        """Percent of one core, and of the machine's memory."""
        return min(self._process.cpu_percent(), 100.0), psutil.virtual_memory().percent


class Meter:
    """Makes reports of what a node has done from one look to the next."""

    def __init__(self, usage: Usage) -> None:
        self._usage = usage
        self._last: tuple[Stats, float] | None = None

    def look(self, stats: Stats, now: float, second: int) -> Report | None:
        """What was done since the last look; None for a node's first."""
        cpu, memory = self._usage()
        last, self._last = self._last, (stats, now)
        if last is None or last[0].node != stats.node or now <= last[1]:
            return None
        before, then = last
        return Report(
            host=socket.gethostname(),
            pid=getpid(),
            second=second,
            connections=stats.connections,
            requests_per_second=(stats.messages + stats.requests - before.messages - before.requests) / (now - then),
            handled=stats.handled - before.handled,
            handling_seconds=stats.handling_seconds - before.handling_seconds,
            failed=stats.failed - before.failed,
            cpu=cpu,
            memory=memory,
        )


class Living:
    """The nodes, as one of them hears of them."""

    def __init__(self) -> None:
        self._heard: dict[str, tuple[float, Report]] = {}

    def hear(self, node: str, report: Report, now: float) -> None:
        """A node has told what it did."""
        self._heard[node] = now, report

    def reports(self, now: float) -> dict[str, Report]:
        """What those who live have told last."""
        self._heard = {node: each for node, each in self._heard.items() if now - each[0] <= SILENT_SECONDS}
        return {node: report for node, (_, report) in sorted(self._heard.items())}

    def forget(self) -> None:
        """This node begins anew."""
        self._heard.clear()


def together(reports: Iterable[Report]) -> Data:
    """The values of some nodes: what is counted is added up, a mean is over what was handled, usage over the nodes."""
    told = list(reports)
    handled, failed = sum(each.handled for each in told), sum(each.failed for each in told)
    return Data(
        active_users=sum(each.connections for each in told),
        requests_per_second=round(sum(each.requests_per_second for each in told), 2),
        avg_response_time=round(1000 * sum(each.handling_seconds for each in told) / max(handled, 1), 3),
        error_rate=round(100 * min(failed / max(handled, 1), 1), 2),
        cpu_usage=round(sum(each.cpu for each in told) / len(told), 1),
        memory_usage=round(sum(each.memory for each in told) / len(told), 1),
    )


class Board:
    """Measures this node, hears of the others, and publishes for all where it is the first of them.

    Args:
        served: the application, once it is served.
        usage: made when the first second is measured, in the process that is measured.
    """

    def __init__(
        self,
        served: Hubbub,
        usage: Callable[[], Usage] = Process,
        monotonic: Callable[[], float] = time.monotonic,
        unix: Callable[[], float] = time.time,
    ) -> None:
        self._app = served
        self._usage = usage
        self._monotonic = monotonic
        self._unix = unix
        self._meter: Meter | None = None
        self._living = Living()
        self._reported = 0
        self._looked = 0.0
        self._due: int | None = None
        self._seq = 0
        self._unsure = True

    def measure(self) -> None:
        """A second is over."""
        now = self._monotonic()
        self._publish(now)  # of the second before: who has not told of it by now is late
        stats = self._app.stats()
        if self._meter is None:
            self._meter = Meter(self._usage())
        report = self._meter.look(stats, now, int(self._unix()))
        looked, self._looked = self._looked, now
        if report is None or now - looked > SILENT_SECONDS:  # new, or so late that it does not know who is there
            self._living.forget()
            self._reported = 0
            return
        self._reported += 1
        self._due = report.second
        self._app.tell(report)
        self.hear(stats.node, report)

    def hear(self, node: str, report: Report) -> None:
        """A node has told what it did; once all have, it is published."""
        now = self._monotonic()
        self._living.hear(node, report, now)
        due = self._due
        if due is not None and all(each.second >= due for each in self._living.reports(now).values()):
            self._publish(now)

    def _publish(self, now: float) -> None:
        """Publishes the second that is due, where that is this node's to do."""
        due, self._due = self._due, None
        reports = self._living.reports(now)
        if due is None or self._reported < LISTENED or not self._is_first(reports):
            return
        metrics = Metrics(together(reports.values()), due * 1000)
        # Two nodes may both take themselves for the first for a moment: the log takes one of them.
        publication = self._app.room(ROOM).publish(metrics, once=self._app.once(f"second {due}"))
        values = [NodeValues(node, each.host, each.pid, together([each])) for node, each in reports.items()]
        publication.when_settled(partial(self._show, metrics, Nodes(values, metrics.timestamp)))

    def _is_first(self, reports: Mapping[str, Report]) -> bool:
        """Whether this node does what one of those that live is to do."""
        return self._app.stats().node == next(iter(reports), "")

    def _show(self, metrics: Metrics, nodes: Nodes, publication: Publication) -> None:
        """The second is in the log: who speaks no protocol of ours gets it as well, and the nodes are shown."""
        if publication.error is not None or publication.repeated:
            return
        self._app.room(STREAM_ROOM).publish(msgspec.json.encode(metrics).decode(), keep=False)
        self._app.room(STATE_ROOM).publish(nodes, key="nodes").when_settled(self._shown)

    def _shown(self, nodes: Publication) -> None:
        """Notes where what is agreed on has to be looked at: in a log that this node has not seen, or that was lost."""
        if nodes.seq is not None:
            self._unsure = self._unsure or nodes.seq <= self._seq
            self._seq = nodes.seq

    def begin(self) -> Coroutine[Any, Any, None] | None:
        """Sets the defaults, before anything is shown, where that is this node's to do and they may not be there."""
        due = self._unsure and self._reported and self._is_first(self._living.reports(self._monotonic()))
        return self._set_defaults() if due else None

    async def _set_defaults(self) -> None:
        """Sets what nobody has set: somebody may have been quicker with some of it."""
        room = self._app.room(STATE_ROOM)
        held = [_decode_held(event) for event in await room.latest()]
        there, now = {each.metric or each.type for each in held}, int(self._unix() * 1000)
        for metric, (warning, critical) in DEFAULTS.items():
            if metric not in there:
                room.publish(Threshold(metric, warning, critical, "", now), key=metric)
        if "pause" not in there:
            room.publish(Pause(False, "", now), key="pause")
        self._unsure = False


app = Hubbub()
app.mount("/dashboard", Pages(index="dashboard.html"))
app.own(ROOM, STATE_ROOM, STREAM_ROOM)
app.rooms(ROOM, history=2 * LOG_SECONDS, history_seconds=LOG_SECONDS)
app.rooms(STATE_ROOM, latest_only=True, history_seconds=0)
_board = Board(app)
app.every(1)(_board.measure)
app.every(1)(_board.begin)
app.on_told(Report)(_board.hear)


@app.on(SetThreshold)
def set_threshold(conn: Connection, command: SetThreshold) -> Publication:
    """Keeps a threshold for everybody; who may publish in the room `dashboard` may set it."""
    if not 0 <= command.warning < command.critical <= HIGHEST_THRESHOLD:
        raise CommandError("invalid_message", "A warning is 0 or more, and less than what is critical")
    event = Threshold(command.metric, command.warning, command.critical, _name(conn), conn.now_ms())
    return app.room(STATE_ROOM).publish(event, key=command.metric)


@app.on(SetPause)
def set_pause(conn: Connection, command: SetPause) -> Publication:
    """Holds the charts for everybody, or lets them go on; who may publish in the room `dashboard` may."""
    return app.room(STATE_ROOM).publish(Pause(command.paused, _name(conn), conn.now_ms()), key="pause")


def _name(conn: Connection) -> str:
    """What others are shown of who sets something; empty where there is nothing."""
    return conn.identity.name or next((member.username for member in reversed(conn.members) if member.username), "")


@app.websocket(STREAM_PATH)
def heed_nothing(conn: Connection, message: str | bytes) -> None:
    """Who gets the stream has nothing to say."""


@app.on_connect
def connected(conn: Connection) -> Coroutine[Any, Any, None] | None:
    """Lets those in who connect to STREAM_PATH."""
    return _let_in(conn) if conn.path == STREAM_PATH else None


async def _let_in(conn: Connection) -> None:
    allowed = await conn.allows("join", STREAM_ROOM)
    if not conn.open:
        return
    if allowed:
        conn.join(STREAM_ROOM, "viewer")
    else:
        conn.close(4403, "not allowed")
