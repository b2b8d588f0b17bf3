"""P9: two nodes and a Redis beside others' two nodes and their Redis: latency, calls of Redis, CPU. See README.md."""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from bench import run_load
from bench_report import spread, table
from bench_servers import (
    BUILD,
    HERE,
    HUBBUB_COMMAND,
    LOAD_CORE,
    REPOSITORY,
    SERVER_CORE,
    Unavailable,
    await_port,
    build_c_programs,
    free_port,
    install_node_peer,
    install_python,
    on_core,
    stop,
)

SOCKETIO = ("--socketio", "--path", "/socket.io/?EIO=4&transport=websocket")
IDLE_RATE = 50.0
EQUAL_RATE = 500.0
OVERHEAD_SECONDS = 120.0
# What one room or many rooms make of the same members.
SHAPES = {
    "one room of 100": ("--clients", "100", "--rooms", "1"),
    "25 rooms of 4": ("--clients", "100", "--rooms", "25"),
}


@dataclass(frozen=True, slots=True)
class Fleet:
    """Two nodes that share a Redis, and what one node of the same is without it; PORT and REDIS are replaced."""

    name: str
    title: str
    node: tuple[str, ...]
    alone: tuple[str, ...]
    load_options: tuple[str, ...] = ()


PEER_PYTHON = (str(BUILD / "venv/bin/python"), str(HERE / "peers/socketio_server.py"), "PORT")
PEER_NODE = ("node", str(BUILD / "node_socketio/server.js"), "PORT")
FLEETS = (
    Fleet(
        "hubbub",
        "**Hubbub**, `redis://`",
        (*HUBBUB_COMMAND, "--broker", "redis://127.0.0.1:REDIS"),
        (*HUBBUB_COMMAND, "--broker", "memory://"),
    ),
    Fleet(
        "socketio",
        "Socket.IO, Redis adapter",
        (*PEER_NODE, "pubsub", "REDIS"),
        (*PEER_NODE, "none"),
        SOCKETIO,
    ),
    Fleet(
        "streams",
        "Socket.IO, Redis Streams adapter",
        (*PEER_NODE, "streams", "REDIS"),
        (*PEER_NODE, "none"),
        SOCKETIO,
    ),
    Fleet("python", "python-socketio, AsyncRedisManager", (*PEER_PYTHON, "REDIS"), PEER_PYTHON, SOCKETIO),
)
REDIS = (
    *("redis-server", "--port", "REDIS", "--bind", "127.0.0.1", "--dir", "FOLDER"),
    *("--save", "", "--appendonly", "no"),
)


def put_first(pid: int) -> None:
    """Before what else the machine does, where that is allowed: all that is measured alike, and the load."""
    with contextlib.suppress(OSError):
        os.setpriority(os.PRIO_PROCESS, pid, -20)
        Path(f"/proc/{pid}/autogroup").write_text("-20")  # between sessions the kernel shares by this


@contextlib.contextmanager
def started(command: tuple[str, ...], name: str, port: int, replaced: dict[str, str]) -> Iterator[int]:
    """A process on the servers' core that accepts on its port; yields its id."""
    log = BUILD / "log" / f"{name}.log"
    log.parent.mkdir(parents=True, exist_ok=True)
    words = [replaced.get(word, word) for word in command]
    words = [word.replace("127.0.0.1:REDIS", f"127.0.0.1:{replaced['REDIS']}") for word in words]
    with log.open("wb") as output, on_core(SERVER_CORE):
        process = subprocess.Popen(words, cwd=REPOSITORY, stdout=output, stderr=output, start_new_session=True)
    try:
        put_first(process.pid)
        await_port(process, port, name)
        yield process.pid
    finally:
        stop(process)


@contextlib.contextmanager
def two_nodes(fleet: Fleet) -> Iterator[list[str]]:
    """A fresh Redis and two nodes; yields the load's options for them, Redis's process last."""
    with contextlib.ExitStack() as stack:
        folder = stack.enter_context(tempfile.TemporaryDirectory(prefix="redis-", dir=BUILD))
        redis, *ports = free_port(), free_port(), free_port()
        replaced = {"REDIS": str(redis), "FOLDER": folder}
        keeper = stack.enter_context(started(REDIS, "redis", redis, replaced))
        pids = [
            stack.enter_context(started(fleet.node, f"{fleet.name}-{at}", port, replaced | {"PORT": str(port)}))
            for at, port in enumerate(ports)
        ]
        time.sleep(1)  # until both have subscribed
        options = ["--port", str(ports[0]), "--second-port", str(ports[1]), "--redis", str(redis)]
        yield [*options, "--pid", ",".join(map(str, [*pids, keeper]))]


@contextlib.contextmanager
def one_node(fleet: Fleet) -> Iterator[list[str]]:
    """One node without Redis; yields the load's options for it."""
    port = free_port()
    with started(fleet.alone, f"{fleet.name}-alone", port, {"PORT": str(port), "REDIS": ""}) as pid:
        time.sleep(0.5)
        yield ["--port", str(port), "--pid", str(pid)]


def load(fleet: Fleet, where: list[str], shape: tuple[str, ...], seconds: float, rate: float = 0) -> dict[str, float]:
    """One run of the load; a closed loop without a rate. Raises: Unavailable."""
    command = [str(BUILD / "load"), "nodes", *shape, *where, *fleet.load_options]
    command += ["--seconds", str(seconds), "--warmup", "0.5"]
    command += ["--rate", f"{rate:.1f}"] if rate else ["--inflight", "64"]
    return run_load(command, seconds + OVERHEAD_SECONDS)


def measure(fleet: Fleet, shape: tuple[str, ...], seconds: float, equal: float) -> dict[str, dict[str, float]]:
    """All of one fleet: how much it does, and then half of it, by two nodes and by one. Raises: Unavailable."""
    with two_nodes(fleet) as where:
        full = load(fleet, where, shape, seconds)
        rate = full["messages_per_s"] / 2
        found = {"full": full, "half": load(fleet, where, shape, seconds, rate)}
        found["equal"] = load(fleet, where, shape, seconds, equal)
        found["idle"] = load(fleet, where, shape, seconds, IDLE_RATE)
    with one_node(fleet) as where:
        found["half alone"] = load(fleet, where, shape, seconds, rate)
        found["equal alone"] = load(fleet, where, shape, seconds, equal)
    for part in ("half", "equal", "idle"):  # without the signs of life, which come without messages as well
        for figure in ("scripts", "publications"):
            per_s = found[part][f"{figure}_per_message"] * found[part]["messages_per_s"] - full[f"quiet_{figure}_per_s"]
            found[part][f"{figure}_per_message"] = per_s / found[part]["messages_per_s"]
    return found


def machine_cpu() -> float:
    """Seconds that the machine's cores have worked, for anybody."""
    user, nice, system = Path("/proc/stat").read_text().split()[1:4]
    return (int(user) + int(nice) + int(system)) / os.sysconf("SC_CLK_TCK")


def own_cpu() -> float:
    """Seconds that this process and those that it has started and ended have worked."""
    return sum(os.times()[:4])


def measure_watched(fleet: Fleet, shape: str, seconds: float, equal: float) -> dict[str, object]:
    """As `measure`, with how many cores' worth of other work the machine had meanwhile. Raises: Unavailable."""
    begun, machine, own = time.monotonic(), machine_cpu(), own_cpu()
    found = measure(fleet, SHAPES[shape], seconds, equal)
    others = (machine_cpu() - machine - own_cpu() + own) / (time.monotonic() - begun)
    return {"fleet": fleet.name, "shape": shape, "others": round(others, 4), "found": found}


def prepare(fleet: Fleet, python: str) -> None:
    """Make sure that the fleet can be started. Raises: Unavailable."""
    if fleet.name == "hubbub":
        install_python("hubbub", REPOSITORY / "requirements/serve.txt", python)
    elif fleet.name == "python":
        install_python("venv", HERE / "peers/requirements.txt", python)
    else:
        install_node_peer("node_socketio")


# The report

Runs = list[dict[str, object]]
Figure = tuple[str, str]


def values(runs: Runs, fleet: Fleet, shape: str, *figures: Figure) -> list[list[float]]:
    """Of each round all these figures, where all are there."""
    rows = []
    for run in runs:
        if run["fleet"] == fleet.name and run["shape"] == shape:
            found = run["found"]
            assert isinstance(found, dict)
            rows.append([found.get(part, {}).get(figure) for part, figure in figures])
    return [row for row in rows if None not in row]


def cell(runs: Runs, fleet: Fleet, shape: str, figure: Figure) -> str:
    """A figure's median and spread."""
    return spread([row[0] for row in values(runs, fleet, shape, figure)])


def difference(runs: Runs, fleet: Fleet, shape: str, more: Figure, less: Figure) -> str:
    """One figure less another of the same round."""
    return spread([a - b for a, b in values(runs, fleet, shape, more, less)])


def others(runs: Runs, fleet: Fleet, shape: str) -> str:
    """How many cores of other work there were beside it."""
    found = [run["others"] for run in runs if run["fleet"] == fleet.name and run["shape"] == shape]
    return spread([value for value in found if isinstance(value, float)])


def latency_row(runs: Runs, fleet: Fleet, shape: str, part: str) -> list[str]:
    """Rate, latencies of all deliveries and of those across, and what the way across adds."""
    one = f"{part} alone"
    return [
        fleet.title,
        cell(runs, fleet, shape, (part, "messages_per_s")),
        *(cell(runs, fleet, shape, (part, figure)) for figure in ("p50_ms", "p99_ms", "far_p50_ms", "far_p99_ms")),
        cell(runs, fleet, shape, (one, "p99_ms")),
        difference(runs, fleet, shape, (part, "far_p50_ms"), (one, "p50_ms")),
        difference(runs, fleet, shape, (part, "far_p99_ms"), (one, "p99_ms")),
        cell(runs, fleet, shape, (part, "server_busy")),
        cell(runs, fleet, shape, (part, "late_p99_ms")),
        others(runs, fleet, shape),
    ]


LATENCY_HEAD = [
    *("fleet", "messages/s", "p50 ms", "p99 ms", "across p50 ms", "across p99 ms", "one node p99 ms"),
    *("added p50 ms", "added p99 ms", "servers busy", "load late p99 ms", "others"),
]
COST_HEAD = [
    *("fleet", "load", "messages/s", "node A µs", "node B µs", "Redis µs", "scripts/message", "publications/message"),
    *("µs/script", "servers busy", "load busy"),
]


def cost_row(runs: Runs, fleet: Fleet, shape: str, part: str) -> list[str]:
    """What a message costs each process, and how often Redis is called for it."""
    processes = [f"process_{number}_us_per_message" for number in range(3)]
    counts = ["scripts_per_message", "publications_per_message", "us_per_script", "server_busy", "load_busy"]
    cells = [cell(runs, fleet, shape, (part, figure)) for figure in ("messages_per_s", *processes, *counts)]
    return [fleet.title, part, *cells]


def report(runs: Runs) -> str:
    """The runs as Markdown."""
    lines = []
    for shape in SHAPES:
        fleets = [fleet for fleet in FLEETS if values(runs, fleet, shape, ("full", "messages_per_s"))]
        if not fleets:
            continue
        lines += [f"### {shape}", ""]
        for part, title in (("half", "Half load"), ("equal", "The same rate for all"), ("idle", "Idle")):
            rows = [latency_row(runs, fleet, shape, part) for fleet in fleets]
            lines += [f"{title}:", "", *table(LATENCY_HEAD, rows)]
        rows = [cost_row(runs, fleet, shape, part) for fleet in fleets for part in ("full", "half", "idle")]
        lines += ["CPU a message, and calls of Redis:", "", *table(COST_HEAD, rows)]
    return "\n".join(lines)


def parse_arguments() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=5, help="alternating rounds (5)")
    parser.add_argument("--seconds", type=float, default=3, help="measured seconds of each run (3)")
    parser.add_argument(
        "--rate", type=float, default=EQUAL_RATE, help="messages a second where all have the same (500)"
    )
    parser.add_argument("--only", default=",".join(fleet.name for fleet in FLEETS), help="fleets")
    parser.add_argument("--shape", choices=list(SHAPES), action="append", help="which rooms; both by default")
    parser.add_argument("--python", default=sys.executable, help="runs the servers in Python; Debian's is optimised")
    parser.add_argument(
        "--others", type=float, default=2, help="leave out runs beside more cores of other work than this"
    )
    parser.add_argument("--record", type=Path, help="add the runs to this file, and report all that are in it")
    return parser.parse_args()


def main() -> int:
    """Run everything; 1 when a run has failed."""
    arguments = parse_arguments()
    if not {SERVER_CORE, LOAD_CORE} <= os.sched_getaffinity(0):
        raise SystemExit("two cores are needed, one for the servers and one for the load")
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # so that `finally` ends the servers
    build_c_programs()
    put_first(os.getpid())
    runs: Runs = []
    failed = False
    fleets = [fleet for fleet in FLEETS if fleet.name in arguments.only.split(",")]
    for fleet in fleets:
        prepare(fleet, arguments.python)
    for _ in range(arguments.rounds):
        for shape in arguments.shape or SHAPES:
            for fleet in fleets:
                try:
                    runs.append(measure_watched(fleet, shape, arguments.seconds, arguments.rate))
                except Unavailable as error:
                    print(f"{fleet.name}: {error}", file=sys.stderr)
                    failed = True
                    continue
                print(json.dumps(runs[-1]), file=sys.stderr, flush=True)
    if arguments.record is not None:
        with arguments.record.open("a") as file:
            file.writelines(json.dumps(run) + "\n" for run in runs)
        runs = [json.loads(line) for line in arguments.record.read_text().splitlines()]
    print(report([run for run in runs if isinstance(run["others"], float) and run["others"] <= arguments.others]))
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
