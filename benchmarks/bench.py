"""Runs the benchmarks: builds, alternates the servers round by round, prints a Markdown report. See README.md."""

from __future__ import annotations

import argparse
import json
import os
import signal
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

from bench_report import Run, report
from bench_servers import (
    BUILD,
    LOAD_CORE,
    SERVER_CORE,
    SERVERS,
    Server,
    Unavailable,
    build_c_programs,
    on_core,
    prepare,
    running,
)

# Connecting, settling and closing come on top of the measured seconds.
OVERHEAD_SECONDS = 240.0


@dataclass(frozen=True, slots=True)
class Scenario:
    """A scenario of the load and how it is run here.

    `peer_options` are for servers that tell all joins to all; `servers` are those that can do it, None for all.
    """

    key: str
    options: tuple[str, ...]
    peer_options: tuple[str, ...] | None
    seconds: float
    fixed_seconds: bool = False
    most_rounds: int = 1000
    most_peer_rounds: int = 1000
    servers: tuple[str, ...] | None = None


# Where rooms keep their events makes no difference there.
STREAMS = ("hubbub-sse", "hubbub-lines")
ONE_BROKER = tuple(server.name for server in SERVERS if server.name not in ("hubbub-sqlite", "hubbub-jwt", *STREAMS))
ANONYMOUS = tuple(server.name for server in SERVERS if server.name not in ("hubbub-jwt", *STREAMS))
# Tokens are shown once, when a connection is made.
CONNECTING = (*ONE_BROKER, "hubbub-jwt")
BROKERS = ("hubbub", "hubbub-sqlite")

SCENARIOS = (
    Scenario("P1", ("fanout", "--inflight", "1"), ("fanout", "--inflight", "1"), 5, servers=ANONYMOUS),
    Scenario("P2", ("fanout", "--inflight", "32"), ("fanout", "--inflight", "32"), 5, servers=ANONYMOUS),
    Scenario("P3", ("pairs",), ("pairs",), 5, servers=ANONYMOUS),
    # Memory hardly varies, and a round takes a minute per server: longer than a heartbeat of 30 s.
    Scenario(
        "P4",
        ("idle",),
        ("idle", "--rooms", "500"),
        35,
        fixed_seconds=True,
        most_rounds=3,
        most_peer_rounds=1,
        servers=CONNECTING,
    ),
    Scenario("P6", ("storm",), ("storm",), 5, servers=CONNECTING),
    # Without peers: telling 10,000 joins to 10,000 members takes them many minutes.
    Scenario("P7", ("stall",), None, 20, fixed_seconds=True, servers=ONE_BROKER),
    Scenario("P8", ("slow",), None, 5, servers=BROKERS),
    # So many at once as the server's backlog of 2,048 takes.
    Scenario("P11", ("replay", "--connecting", "1000"), None, 1, fixed_seconds=True, servers=BROKERS),
    # One sender over WebSocket: the others listen there too, or over HTTP.
    Scenario("H1", ("fanout", "--senders", "1", "--inflight", "1"), None, 5, servers=("hubbub", *STREAMS)),
    Scenario("H2", ("fanout", "--senders", "1", "--inflight", "32"), None, 5, servers=("hubbub", *STREAMS)),
    # 1,250 messages, one every 20 ms.
    Scenario("idle", ("lone",), None, 25, fixed_seconds=True, servers=BROKERS),
)


def run_load(command: list[str], timeout_seconds: float) -> dict[str, float]:
    """The load's figures. Raises: Unavailable with the load's own line."""
    with on_core(LOAD_CORE):
        load = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    try:
        output, errors = load.communicate(timeout=timeout_seconds)
    except subprocess.TimeoutExpired as error:
        raise Unavailable(f"the load took more than {timeout_seconds:.0f} s") from error
    finally:
        load.kill()
        load.wait()
    if load.returncode != 0:
        raise Unavailable(errors.strip() or f"the load ended with status {load.returncode}")
    figures: dict[str, float] = json.loads(output)
    return figures


def measure(server: Server, scenario: Scenario, number: int, seconds: float) -> dict[str, float]:
    """One run against a fresh server; nothing when this round of the scenario is not for it. Raises: Unavailable."""
    options = scenario.peer_options if server.tells_all_joins else scenario.options
    if scenario.servers is not None and server.name not in scenario.servers:
        return {}
    if options is None or number > (scenario.most_peer_rounds if server.tells_all_joins else scenario.most_rounds):
        return {}
    with running(server) as (port, pids):
        command = [str(BUILD / "load"), *options, "--port", str(port), "--pid", ",".join(map(str, pids))]
        command += ["--seconds", str(seconds), *server.load_options]
        return run_load(command, seconds + OVERHEAD_SECONDS)


def run_round(
    number: int, servers: list[Server], scenarios: list[Scenario], seconds: float | None
) -> tuple[list[Run], list[str]]:
    """Each scenario against each server in turn, so that drift of the machine meets all alike."""
    runs, failures = [], []
    for scenario in scenarios:
        for server in servers:
            wanted = scenario.seconds if seconds is None or scenario.fixed_seconds else seconds
            try:
                figures = measure(server, scenario, number, wanted)
            except Unavailable as error:
                failures.append(f"round {number}, {scenario.key}, {server.name}: {error}")
                print(failures[-1], file=sys.stderr, flush=True)
                continue
            if figures:
                runs.append(Run(server.name, scenario.key, number, figures))
                line = {"round": number, "key": scenario.key, "server": server.name} | figures
                print(json.dumps(line), file=sys.stderr, flush=True)
    return runs, failures


def available(names: list[str], python: str) -> list[Server]:
    """The wanted servers that can be started; says of each other one why not."""
    servers = []
    for server in (each for each in SERVERS if each.name in names):
        try:
            prepare(server, python)
            servers.append(server)
        except Unavailable as error:
            print(f"left out: {error}", file=sys.stderr)
    return servers


def chosen(text: str | None, known: list[str], what: str) -> list[str]:
    """The names in a list with commas, all by default. Raises: SystemExit for an unknown one."""
    names = known if text is None else text.split(",")
    unknown = sorted(set(names) - set(known))
    if unknown:
        raise SystemExit(f"unknown {what} {', '.join(unknown)}; known are {', '.join(known)}")
    return names


def parse_arguments() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=5, help="alternating rounds (5)")
    parser.add_argument("--seconds", type=float, help="measured seconds of P1, P2, P3, P6, P8, H1 and H2 (5)")
    parser.add_argument("--only", help="servers: " + ",".join(server.name for server in SERVERS))
    parser.add_argument("--scenario", help="scenarios: " + ",".join(scenario.key for scenario in SCENARIOS))
    parser.add_argument("--python", default=sys.executable, help="runs the servers in Python; Debian's is optimised")
    parser.add_argument("--output", type=Path, help="also write the report to this file")
    return parser.parse_args()


def main() -> int:
    """Run everything; 1 when a run has failed."""
    arguments = parse_arguments()
    names = chosen(arguments.only, [server.name for server in SERVERS], "server")
    keys = chosen(arguments.scenario, [scenario.key for scenario in SCENARIOS], "scenario")
    if not {SERVER_CORE, LOAD_CORE} <= os.sched_getaffinity(0):
        raise SystemExit("two cores are needed, one for the server and one for the load")
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # so that `finally` ends the servers
    build_c_programs()
    servers = available(names, arguments.python)
    scenarios = [scenario for scenario in SCENARIOS if scenario.key in keys]
    runs: list[Run] = []
    failures: list[str] = []
    for number in range(1, arguments.rounds + 1):
        more, failed = run_round(number, servers, scenarios, arguments.seconds)
        runs += more
        failures += failed
    text = report(runs, failures, f"{arguments.rounds} alternating rounds, a fresh server for each run.")
    print(text)
    if arguments.output is not None:
        arguments.output.write_text(text)
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main())
