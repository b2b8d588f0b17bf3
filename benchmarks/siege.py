"""Honest clients talk while a thousand attackers do all that is forbidden: is anything lost, or late? See README.md."""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import resource
import secrets
import sys
import tempfile
import time
from collections import Counter
from contextlib import ExitStack, suppress
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Final

import uvloop
from bench_servers import LOAD_CORE, SERVER_CORE, on_core
from siege_attack import Plan
from siege_honest import TimedSwarm
from siege_report import describe, failures
from siege_rows import Target

from hubbub.config import Config
from tests.support.server import CHAT, FAST, Server, serve
from tests.support.swarm import cpu_seconds, quantiles

ATTACK: Final = Path(__file__).with_name("siege_attack.py")
WARM_UP_SECONDS: Final = 2.0
OPEN_FILES: Final = 16_384
LONGEST_REPORT: Final = 1 << 24
MEGABYTE: Final = 1 << 20


@dataclass(frozen=True, slots=True)
class Honest:
    """What the honest clients do; `forgetful` ones must be seen to miss something."""

    clients: int
    room_size: int
    rounds: int
    forgetful: bool


class Run:
    """Rounds without and with attackers against one server."""

    def __init__(self, honest: Honest, plan: Plan, server: Server) -> None:
        self.swarm = TimedSwarm(server.port, honest.clients, honest.room_size, plan.seed, forgetful=honest.forgetful)
        self.rounds: list[dict[str, Any]] = []
        self._honest = honest
        self._plan = replace(plan, target=replace(plan.target, port=server.port, busy_rooms=list(self.swarm.rooms)))
        self._server = server

    async def run(self) -> None:
        """Everybody comes, and talks, now in peace and now under siege."""
        await self.swarm.come()
        living = asyncio.create_task(self.swarm.live())
        await self.swarm.talk(min(WARM_UP_SECONDS, self._plan.target.seconds))
        for number in range(self._honest.rounds):
            without = await self._phase()
            self.rounds.append({"without": without, "with": await self._besieged(number)})
        living.cancel()
        with suppress(asyncio.CancelledError):
            await living

    async def _phase(self) -> dict[str, Any]:
        begin, own, used = time.monotonic(), time.process_time(), cpu_seconds(self._server.process.pid)
        latencies = await self.swarm.talk(self._plan.target.seconds)
        seconds = time.monotonic() - begin
        return {
            "ms": quantiles(latencies),
            "honest_late_ms": quantiles(self.swarm.late_ms),
            "honest_busy_percent": 100 * (time.process_time() - own) / seconds,
            "server_busy_percent": 100 * (cpu_seconds(self._server.process.pid) - used) / seconds,
            "server_megabytes": resident_bytes(self._server.process.pid) / MEGABYTE,
        }

    async def _besieged(self, number: int) -> dict[str, Any]:
        attackers = await asyncio.create_subprocess_exec(
            *(sys.executable, str(ATTACK)),
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            limit=LONGEST_REPORT,
        )
        assert attackers.stdin is not None
        assert attackers.stdout is not None
        attackers.stdin.write(json.dumps(asdict(replace(self._plan, round=number))).encode() + b"\n")
        await attackers.stdout.readline()
        if self._honest.forgetful:
            self.swarm.forget()
        phase = await self._phase()
        attack = json.loads(await attackers.stdout.readline() or b"null")
        if await attackers.wait() or attack is None:
            raise RuntimeError("the attackers did not come to their end")
        return {**phase, "attack": attack}

    def figures(self) -> dict[str, Any]:
        """What came of all rounds; `rows` holds the attacks of all."""
        answers: dict[tuple[int, str], dict[str, Any]] = {}
        for one in self.rounds:
            for row in one["with"]["attack"].pop("rows"):
                known = answers.setdefault((row["row"], row["name"]), {**row, "answers": Counter()})
                known["answers"].update(row["answers"])
        return {
            "rounds": self.rounds,
            "honest": self.swarm.figures(),
            "rows": [answers[key] for key in sorted(answers)],
            "server_lives": self._server.process.poll() is None,
            "tracebacks": self._server.log.count("Traceback"),
            # Every part of a token that is JSON begins so.
            "tokens_in_log": self._server.log.count("eyJ"),
        }


def resident_bytes(pid: int) -> int:
    """The memory that a process has."""
    return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * resource.getpagesize()


def allow_open_files() -> None:
    """Room for all sockets, here and in what is started from here."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    allowed = OPEN_FILES if hard == resource.RLIM_INFINITY else min(OPEN_FILES, hard)
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, allowed), hard))


def server_options(folder: Path, target: Target) -> tuple[str, ...]:
    """Tokens and cookies count, and nobody needs any; all limits but those that are named are the default ones."""
    for name in ("tokens", "cookies"):
        (folder / name).write_text(target.secret)
        (folder / name).chmod(0o600)
    return (
        *("--auth", "jwt,starlette,anonymous", "--anonymous-rooms", "*", "--broker", "memory://"),
        *("--jwt-secret-file", str(folder / "tokens"), "--cookie-secret-file", str(folder / "cookies")),
        *("--heartbeat-seconds", str(target.heartbeat)),
        *("--max-connections-per-address", str(target.connections)),
        *("--handshake-burst", str(target.handshakes)),
    )


def measure(honest: Honest, plan: Plan, interpreter: str, options: tuple[str, ...]) -> dict[str, Any]:
    """Starts a server, has it besieged and stops it."""
    with tempfile.TemporaryDirectory() as name, ExitStack() as stack:
        folder = Path(name)
        options = (*server_options(folder, plan.target), *options)
        pinned = on_core(SERVER_CORE) if plan.core >= 0 else ExitStack()
        with pinned:
            server = stack.enter_context(serve(folder, FAST, *options, target=CHAT, interpreter=interpreter))
        if plan.core >= 0:
            stack.enter_context(on_core(plan.core))
        run = Run(honest, plan, server)
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            runner.run(run.run())
        return run.figures()


def arguments() -> argparse.Namespace:
    limits = Config().limits
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--clients", type=int, default=500, help="honest ones")
    parser.add_argument("--room-size", type=int, default=50)
    parser.add_argument("--attackers", type=int, default=1000)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=20.0, help="of a phase; a round has two")
    parser.add_argument("--pause", type=float, default=2.0, help="mean seconds between an attacker's attacks")
    parser.add_argument("--heartbeat", type=float, default=5.0, help="seconds, so that half-open peers are found")
    parser.add_argument("--connections", type=int, default=limits.max_connections_per_address, help="of an address")
    parser.add_argument("--handshakes", type=int, default=limits.handshake_burst, help="at once, of an address")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--forgetful", action="store_true", help="some come back without a position: this must fail")
    parser.add_argument("--turned", type=int, default=0, help="expect the opposite of a row: this must fail")
    parser.add_argument("--python", default=sys.executable, help="the server's interpreter")
    parser.add_argument("--option", action="append", default=[], help="a further option of the server")
    parser.add_argument("--output", type=Path, help="where the figures go as JSON")
    return parser.parse_args()


def main() -> int:
    given = arguments()
    allow_open_files()
    secret = secrets.token_urlsafe(48)
    target = Target(0, secret, given.heartbeat, given.connections, given.handshakes, [], given.seconds)
    core = LOAD_CORE if {SERVER_CORE, LOAD_CORE} <= os.sched_getaffinity(0) else -1
    plan = Plan(target, given.attackers, given.pause, given.seed, 0, core, given.turned)
    honest = Honest(given.clients, given.room_size, given.rounds, given.forgetful)
    figures = measure(honest, plan, given.python, tuple(given.option))
    print(describe(figures), flush=True)
    if given.output:
        given.output.parent.mkdir(parents=True, exist_ok=True)
        given.output.write_text(json.dumps(figures, indent=2) + "\n")
    return int(bool(failures(figures)))


if __name__ == "__main__":
    sys.exit(main())
