"""What many connections cost two nodes, their Redis and the kernel: what docs/scaling.md calculates with."""

from __future__ import annotations

import argparse
import json
import os
import socket
import subprocess
import sys
import tempfile
import time
from contextlib import ExitStack
from pathlib import Path

from bench_servers import BUILD, LOAD_CORE, build_c_programs, free_port, on_core
from nodes import FLEETS, REDIS, prepare, started

HUBBUB = FLEETS[0]
WATCH_SECONDS = 600
JOIN_SECONDS = 60.0
# Until heartbeats and the first sweep of the collector have come.
SETTLE_SECONDS = 3.0


def ask(port: int, command: str) -> str:
    """Redis's answer to a command that is answered with a text or a number."""
    with socket.create_connection(("127.0.0.1", port), timeout=10) as link:
        link.sendall(command.encode() + b"\r\n")
        file = link.makefile("rb")
        first = file.readline().decode()
        return file.read(int(first[1:])).decode() if first[0] == "$" else first[1:].strip()


def fields(text: str) -> dict[str, str]:
    """The lines `name:value` of a text."""
    pairs = (line.partition(":") for line in text.splitlines() if ":" in line)
    return {name.strip(): value.strip() for name, _, value in pairs}


def kilobytes(path: str, name: str) -> float:
    """A line of /proc in bytes."""
    return float(fields(Path(path).read_text())[name].split()[0]) * 1024


def sample(redis: int, pids: list[int]) -> dict[str, float]:
    """What there is now: memory of all, and what Redis has done."""
    info = fields(ask(redis, "INFO"))
    stats = fields(ask(redis, "INFO commandstats"))
    calls = {name: dict(part.split("=") for part in value.split(",")) for name, value in stats.items() if "=" in value}
    scripts = calls.get("cmdstat_evalsha", {})
    sockets = Path("/proc/net/sockstat").read_text()
    pages = next(line.split()[-1] for line in sockets.splitlines() if line.startswith("TCP:"))
    return {
        "node_a": kilobytes(f"/proc/{pids[0]}/smaps_rollup", "Pss"),
        "node_b": kilobytes(f"/proc/{pids[1]}/smaps_rollup", "Pss"),
        "redis": float(info["used_memory"]),
        "redis_us": (float(info["used_cpu_user"]) + float(info["used_cpu_sys"])) * 1e6,
        "keys": float(ask(redis, "DBSIZE")),
        "scripts": float(scripts.get("calls", 0)),
        "scripts_us": float(scripts.get("usec", 0)),
        "commands": float(info["total_commands_processed"]),
        "slab": kilobytes("/proc/meminfo", "Slab"),
        "socket_buffers": float(pages) * 4096,
    }


def idle_load(port: int, pids: list[int], clients: int, rooms: int, seconds: float) -> subprocess.Popen[str]:
    """The load's quiet connections, on its core."""
    command = [str(BUILD / "load"), "idle", "--port", str(port), "--pid", ",".join(map(str, pids))]
    command += ["--clients", str(clients), "--rooms", str(rooms), "--seconds", str(seconds)]
    with on_core(LOAD_CORE):
        return subprocess.Popen(command, stdout=subprocess.PIPE, text=True)


def open_connections() -> int:
    """Established sockets of this machine, both ends counted."""
    line = next(line for line in Path("/proc/net/sockstat").read_text().splitlines() if line.startswith("TCP:"))
    return int(line.split()[2])


def measure(clients: int, rooms: int, seconds: float) -> dict[str, float]:
    """So many connections on node A, in so many rooms; node B has a member in one of them."""
    with ExitStack() as stack:
        folder = stack.enter_context(tempfile.TemporaryDirectory(prefix="redis-", dir=BUILD))
        redis, *ports = free_port(), free_port(), free_port()
        replaced = {"REDIS": str(redis), "FOLDER": folder}
        stack.enter_context(started(REDIS, "redis", redis, replaced))
        pids = [
            stack.enter_context(started(HUBBUB.node, f"scale-{at}", port, replaced | {"PORT": str(port)}))
            for at, port in enumerate(ports)
        ]
        watcher = idle_load(ports[1], pids[1:], 1, 1, WATCH_SECONDS)
        stack.callback(watcher.kill)
        time.sleep(SETTLE_SECONDS)
        sockets, before = open_connections(), sample(redis, pids)
        load = idle_load(ports[0], pids[:1], clients, rooms, seconds)
        stack.callback(load.kill)
        deadline = time.monotonic() + JOIN_SECONDS
        while open_connections() < sockets + 2 * clients and time.monotonic() < deadline:
            time.sleep(0.2)
        time.sleep(SETTLE_SECONDS)
        after = sample(redis, pids)
        time.sleep(SETTLE_SECONDS)
        later = sample(redis, pids)
        figures: dict[str, float] = json.loads(load.communicate(timeout=seconds + JOIN_SECONDS)[0])
    grown = {f"{name}_per_connection": (after[name] - before[name]) / clients for name in before}
    quiet = {
        f"quiet_{name}_per_s": (later[name] - after[name]) / SETTLE_SECONDS
        for name in ("scripts", "redis_us", "commands")
    }
    names = ("us_per_connect", "idle_us_per_connection_s", "connects_per_s")
    return {"clients": clients, "rooms": rooms, **grown, **quiet, **{name: figures[name] for name in names}}


def main() -> int:
    """One line of JSON for one large room, and one for many small ones."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--clients", type=int, default=10_000, help="connections (10,000)")
    parser.add_argument("--seconds", type=float, default=15, help="how long they are quiet (15)")
    parser.add_argument("--python", default=sys.executable, help="runs the servers")
    arguments = parser.parse_args()
    if len(os.sched_getaffinity(0)) < 2:
        raise SystemExit("two cores are needed, one for the servers and one for the load")
    build_c_programs()
    prepare(HUBBUB, arguments.python)
    for rooms in (1, arguments.clients // 2):
        print(json.dumps(measure(arguments.clients, rooms, arguments.seconds)), flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
