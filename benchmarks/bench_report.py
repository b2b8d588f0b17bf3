"""Turns runs into Markdown: medians with spreads, ratios to the floor, goals, who was busy; it runs nothing."""

from __future__ import annotations

import json
import platform
import shutil
import statistics
import subprocess
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from bench_servers import BUILD, REPOSITORY, SERVERS, Server


@dataclass(frozen=True, slots=True)
class Run:
    """One run of the load: the server's name, the scenario's key, the round, and the load's JSON."""

    server: str
    scenario: str
    round: int
    figures: dict[str, float]


@dataclass(frozen=True, slots=True)
class Column:
    """A column of the first table: which figure of which scenario, in which unit."""

    title: str
    scenario: str
    figure: str
    scale: float = 1.0
    more_is_better: bool = False


@dataclass(frozen=True, slots=True)
class Goal:
    """A goal of a server: against another one's figure (how many times as good, at least) or alone (at most)."""

    key: str
    text: str
    column: Column
    limit: float
    against: str | None = None
    server: str = "hubbub"


def throughput(column: Column) -> Column:
    """The same scenario by what it delivers: a server that waits for its disk spends no CPU."""
    return Column("deliveries/s", column.scenario, "deliveries_per_s", more_is_better=True)


P1 = Column("room of 1,000, one at a time, µs", "P1", "us_per_delivery")
P2 = Column("same, 32 in flight, µs", "P2", "us_per_delivery")
P3 = Column("500 rooms of 2, µs", "P3", "us_per_delivery")
P4 = Column("memory / idle connection, KB", "P4", "bytes_per_connection", 1 / 1024)
P5 = Column("CPU / idle connection, µs/s", "P4", "idle_us_per_connection_s")
P6 = Column("CPU / connect + join, µs", "P6", "us_per_connect")
P7 = Column("longest stall, ms", "P7", "probe_max_ms")
P8 = Column("others' p99 with 1 % stalled / without", "P8", "p99_ratio")
P8_MEMORY = Column("memory grown / (limit × stalled)", "P8", "growth_share")
P11 = Column("CPU / event replayed, µs", "P11", "us_per_event")
H1 = Column("1,000 who only listen, one at a time, µs", "H1", "us_per_delivery")
H2 = Column("same, 32 in flight, µs", "H2", "us_per_delivery")
IDLE = Column("idle server's answer, p99 ms", "idle", "p99_ms")
COLUMNS = (P1, P2, P3, P4, P5, P6, P7, P8, P8_MEMORY, P11, H1, H2, IDLE)

# What stands behind a figure of the first table, by title.
DETAILS = {
    "Members that never read": (
        Column("messages/s", "P8", "rate"),
        Column("busy without", "P8", "busy_without"),
        Column("busy with", "P8", "busy_with"),
        Column("p99 without, ms", "P8", "p99_without_ms"),
        Column("p99 with, ms", "P8", "p99_with_ms"),
        Column("the load late by, ms", "P8", "late_max_ms"),
        Column("memory grown, KB", "P8", "growth_bytes", 1 / 1024),
        Column("published to each stalled, KB", "P8", "published_per_stalled_bytes", 1 / 1024),
        Column("of that in the kernel, KB", "P8", "kernel_bytes_per_stalled", 1 / 1024),
        Column("written while stalled, bytes", "P8", "written_while_stalled_bytes"),
    ),
    "All reconnect at once": (
        Column("clients caught up", "P11", "caught_up"),
        Column("events missed by each", "P11", "events"),
        Column("CPU, s", "P11", "storm_cpu_s"),
        Column("CPU, none missed, s", "P11", "storm_cpu_none_missed_s"),
        Column("until all are caught up, s", "P11", "storm_wall_s"),
        Column("same, none missed, s", "P11", "storm_wall_none_missed_s"),
    ),
    "One message to an idle server": (
        Column("messages", "idle", "samples"),
        Column("p50, ms", "idle", "p50_ms"),
        Column("p99, ms", "idle", "p99_ms"),
        Column("longest, ms", "idle", "max_ms"),
        Column("CPU / message, µs", "idle", "us_per_delivery"),
    ),
}

GOALS = (
    Goal("P1", "≥ 0.65 of the floor", P1, 0.65, "floor"),
    Goal("P2", "≥ 0.75 of the floor with batches", P2, 0.75, "floor"),
    Goal("P3", "≥ 0.5 of the floor", P3, 0.5, "plain"),
    Goal("P3", "≥ 1.5 × Node `ws`", P3, 1.5, "node"),
    Goal("P3", "≥ 3 × FastAPI", P3, 3.0, "fastapi"),
    Goal("P4", "≤ 6 KB an idle connection", P4, 6.0),
    Goal("P5", "≤ 2 µs/s an idle connection", P5, 2.0),
    Goal("P6", "≤ 350 µs a connect", P6, 350.0),
    Goal("P7", "≤ 25 ms the longest stall", P7, 25.0),
    Goal("P8", "≤ 1.1 × the others' p99 without them", P8, 1.1),
    Goal("P8", "≤ 1 × limit × stalled of memory", P8_MEMORY, 1.0),
    Goal("P11", "≤ 60 µs an event replayed", P11, 60.0),
    *(
        Goal(column.scenario, f"{name} ≥ 0.9 of WebSocket, CPU", column, 0.9, "hubbub", server)
        for column in (H1, H2)
        for server, name in (("hubbub-sse", "Server-Sent Events"), ("hubbub-lines", "JSON lines"))
    ),
    *(
        Goal(column.scenario, f"`sqlite://` ≥ {limit} of `memory://`, {unit}", column, limit, "hubbub", "hubbub-sqlite")
        for limit, columns in ((0.9, (P1, P2)), (0.6, (P3,)))
        for paid in columns
        for unit, column in (("CPU", paid), ("deliveries/s", throughput(paid)))
    ),
    Goal("idle", "≤ 2 ms p99, `memory://`", IDLE, 2.0),
    Goal("idle", "≤ 2 ms p99, `sqlite://`", IDLE, 2.0, server="hubbub-sqlite"),
)


def figures(runs: list[Run], server: str, column: Column) -> dict[int, float]:
    """The column's figure per round."""
    wanted = (run for run in runs if run.server == server and run.scenario == column.scenario)
    return {run.round: run.figures[column.figure] * column.scale for run in wanted if column.figure in run.figures}


def ratios(runs: list[Run], server: str, other: str, column: Column) -> list[float]:
    """How many times as good as the other, per round in which both ran."""
    own, others = figures(runs, server, column), figures(runs, other, column)
    if column.more_is_better:
        own, others = others, own
    return [others[number] / own[number] for number in sorted(own.keys() & others.keys()) if own[number] > 0]


def spread(values: list[float]) -> str:
    """Median with least and most, or a dash."""
    if not values:
        return "–"
    middle = statistics.median(values)
    digits = 0 if middle >= 100 else 1 if middle >= 10 else 2
    return f"{middle:.{digits}f} ({min(values):.{digits}f}–{max(values):.{digits}f})"


def table(head: list[str], rows: list[list[str]]) -> list[str]:
    """A Markdown table."""
    lines = ["| " + " | ".join(head) + " |", "|" + "---|" * len(head)]
    return [*lines, *("| " + " | ".join(row) + " |" for row in rows), ""]


def seen(runs: list[Run]) -> list[Server]:
    """The servers that ran, in their usual order."""
    names = {run.server for run in runs}
    return [server for server in SERVERS if server.name in names]


def main_table(runs: list[Run]) -> list[str]:
    """Medians of every figure that was measured."""
    columns = tuple(column for column in COLUMNS if any(run.scenario == column.scenario for run in runs))
    return spreads(runs, columns)


def spreads(runs: list[Run], columns: tuple[Column, ...]) -> list[str]:
    """Medians of these figures, of the servers that have any."""
    rows = []
    for server in seen(runs):
        cells = [list(figures(runs, server.name, column).values()) for column in columns]
        if any(cells):
            rows.append([server.title, *(spread(values) for values in cells)])
    return table(["server", *(column.title for column in columns)], rows)


def detail_tables(runs: list[Run]) -> list[str]:
    """What stands behind the figures that need more than one to be judged."""
    lines = []
    for title, columns in DETAILS.items():
        if any(run.scenario == columns[0].scenario for run in runs):
            lines += [f"## {title}", "", *spreads(runs, columns)]
    return lines


def ratio_table(runs: list[Run]) -> list[str]:
    """Speed relative to the floor of the same round: 1 is as fast as the floor."""
    columns = [column for column in (P1, P2, P3) if figures(runs, "floor", column)]
    if not columns:
        return []
    rows = [
        [server.title, *(spread(ratios(runs, server.name, "floor", column)) for column in columns)]
        for server in seen(runs)
    ]
    head = ["ratio to the floor, per round", *(column.scenario for column in columns)]
    return ["## Ratios", "", *table(head, rows)]


def verdict(values: list[float], passes: Callable[[float], bool]) -> str:
    """Yes or no by the median of at least one value; a spread that crosses the line settles nothing."""
    answer = "yes" if passes(statistics.median(values)) else "no"
    return answer if len({passes(value) for value in values}) == 1 else f"{answer}, but the spread crosses the line"


def goal_table(runs: list[Run]) -> list[str]:
    """Hubbub's goals, as far as they were measured."""
    rows = []
    for goal in GOALS:
        if goal.against is not None:
            values, passes = ratios(runs, goal.server, goal.against, goal.column), goal.limit.__le__
        else:
            values, passes = list(figures(runs, goal.server, goal.column).values()), goal.limit.__ge__
        if values:
            rows.append([goal.key, goal.text, spread(values), verdict(values, passes)])
    return ["## Goals", "", *table(["#", "at least", "measured", "reached"], rows)]


def proof_table(runs: list[Run]) -> list[str]:
    """Who was busy, and latencies: a server below 0.95 was not the one that set the pace."""
    rows = []
    ran = {run.scenario for run in runs}
    for scenario in dict.fromkeys(column.scenario for column in COLUMNS if column.scenario in ran):
        for server in seen(runs):
            cells = [
                list(figures(runs, server.name, Column("", scenario, figure)).values())
                for figure in ("server_busy", "load_busy", "deliveries_per_s", "p50_ms", "p99_ms")
            ]
            if cells[0]:
                rows.append([scenario, server.title, *(spread(values) for values in cells)])
    head = ["scenario", "server", "server busy", "load busy", "deliveries/s", "p50 ms", "p99 ms"]
    return ["## Who was busy, and latencies", "", *table(head, rows)]


def output_of(command: list[str]) -> str:
    """The first line that a program prints, or nothing."""
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=20, cwd=REPOSITORY)
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return done.stdout.strip().splitlines()[0] if done.returncode == 0 and done.stdout.strip() else ""


def python_versions(python: Path, names: tuple[str, ...]) -> str:
    """Versions of an environment's interpreter and of the packages that it has."""
    code = (
        "import importlib.metadata as m, json, platform\n"
        f"names = {names!r}\n"
        "have = {d.name.lower(): d.version for d in m.distributions()}\n"
        "print(json.dumps([f'Python {platform.python_version()}'] + [f'{n} {have[n]}' for n in names if n in have]))"
    )
    line = output_of([str(python), "-c", code])
    return ", ".join(json.loads(line)) if line else ""


def machine() -> list[str]:
    """The machine and the versions, without names or paths of it."""
    information = Path("/proc/cpuinfo").read_text().splitlines()
    model = next((line.split(":")[1].strip() for line in information if line.startswith("model name")), "unknown")
    cores = sum(line.startswith("processor") for line in information)
    peers = python_versions(BUILD / "venv/bin/python", ("websockets", "fastapi", "uvicorn", "uvloop", "httptools"))
    hubbub = python_versions(BUILD / "hubbub/bin/python", ("hubbub", "uvicorn", "uvloop", "msgspec", "starlette"))
    lines = [f"* CPU: {model}, {cores} cores; Linux {platform.release()}", f"* C: {output_of(['cc', '--version'])}"]
    lines += [f"* Python peers: {peers}"] if peers else []
    lines += [f"* Hubbub: {hubbub}"] if hubbub else []
    return [*lines, *node_versions(), ""]


def node_versions() -> list[str]:
    """Versions of Node, `ws` and Bun, where they are."""
    lines = []
    package = BUILD / "node_ws/node_modules/ws/package.json"
    if shutil.which("node") and package.exists():
        lines.append(f"* Node {output_of(['node', '--version'])}, ws {json.loads(package.read_text())['version']}")
    bun = output_of([str(BUILD / "bun/node_modules/.bin/bun"), "--version"])
    return [*lines, f"* Bun {bun}"] if bun else lines


def report(runs: list[Run], failures: list[str], note: str) -> str:
    """The whole report as Markdown."""
    lines = ["# Results", "", note, "µs are CPU time of all server processes per delivery; median (least–most).", ""]
    lines += [*main_table(runs), *ratio_table(runs), *goal_table(runs), *detail_tables(runs), *proof_table(runs)]
    if failures:
        lines += ["## Failed", "", *(f"* {failure}" for failure in failures), ""]
    return "\n".join([*lines, "## Machine", "", *machine()])
