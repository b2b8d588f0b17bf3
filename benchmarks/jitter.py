"""Clients whose connections are reset again and again: counts what is lost or comes twice. See README.md."""

from __future__ import annotations

import argparse
import asyncio
import json
import random
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import uvloop

from tests.support.fleet import Node, all_at_once
from tests.support.redis import RedisServer
from tests.support.returning import ReturningClient
from tests.support.swarm import Swarm, cpu_seconds, failures

ROOM_SIZE = 50
# What a client is delivered a second, and all of its room with it.
EVENTS_A_SECOND = 2.0


@dataclass(frozen=True, slots=True)
class Plan:
    """What the clients do.

    Attributes:
        every: mean seconds until a connection is reset.
        offline: seconds until the client is back.
        forgetful: clients come back without their positions: then something must be missing.
        nodes: how many servers there are; clients come back to the next one.
    """

    clients: int
    seconds: float
    every: float
    offline: float
    seed: int
    forgetful: bool
    nodes: int = 1


class Run:
    """The plan carried out against the servers at some ports.

    Attributes:
        resets: how many connections were reset.
    """

    def __init__(self, plan: Plan, ports: Sequence[int]) -> None:
        self.swarm = Swarm(ports, plan.clients, ROOM_SIZE, forgetful=plan.forgetful)
        self.resets = 0
        self._plan = plan
        self._chance = random.Random(plan.seed)

    async def run(self) -> None:
        """Everybody comes, stays for the time of the plan with resets, and then gets what is missing still."""
        await self.swarm.come()
        end = asyncio.get_running_loop().time() + self._plan.seconds
        speaking = [self._speak(room, end) for room in self.swarm.rooms.values()]
        living = [self._live(client, end) for client in self.swarm.clients]
        await asyncio.gather(*speaking, *living)
        await self.swarm.settle()

    async def _live(self, client: ReturningClient, end: float) -> None:
        clock = asyncio.get_running_loop().time
        while clock() < end:
            await client.return_()
            planned = clock() + self._chance.expovariate(1 / self._plan.every)
            await client.stay(min(planned, end) - clock())
            if client.online and planned < end:
                self.resets += 1
                client.reset()
                await asyncio.sleep(self._plan.offline)
        await client.return_()

    async def _speak(self, room: list[ReturningClient], end: float) -> None:
        """Now this one, now that one in a room says something, whether the connection is there or not."""
        clock = asyncio.get_running_loop().time
        while (pause := self._chance.uniform(0, 2 / EVENTS_A_SECOND)) < end - clock():
            await asyncio.sleep(pause)
            self.swarm.publish(self._chance.choice(room))


def measure(plan: Plan, nodes: Sequence[Node]) -> dict[str, Any]:
    """Runs the plan against servers."""
    run = Run(plan, [node.port for node in nodes])
    before = [cpu_seconds(node.pid) for node in nodes]
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(run.run())
    used = [cpu_seconds(node.pid) - first for node, first in zip(nodes, before, strict=True)]
    return {"resets": run.resets, "server_cpu_seconds": sum(used), **run.swarm.figures()}


@contextmanager
def rooms(broker: str, folder: Path) -> Iterator[str]:
    """The URL of a broker; that of a file or of a Redis which end with the block, for `sqlite` and `redis`."""
    if broker == "redis":
        with RedisServer(folder) as server:
            yield server.url
    else:
        yield f"sqlite:///{folder}/jitter.sqlite" if broker == "sqlite" else broker


def start_and_measure(broker: str, plan: Plan, interpreter: str) -> dict[str, Any]:
    """Starts servers with a broker, measures and stops them."""
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        url = stack.enter_context(rooms(broker, folder))
        nodes = [Node(folder, url, interpreter=interpreter) for _ in range(plan.nodes)]
        stack.callback(lambda: all_at_once(node.stop for node in nodes))
        all_at_once(node.start for node in nodes)
        return measure(plan, nodes)


def describe(broker: str, plan: Plan, figures: dict[str, Any]) -> str:
    """A few lines for people."""
    late = figures["catch_up_ms"]
    return "\n".join(
        (
            f"{broker}: {plan.clients} clients, {plan.nodes} node{'s' * (plan.nodes > 1)}, {plan.seconds:g} s; "
            f"offline for {plan.offline:g} s after {plan.every:g} s in the mean",
            f"  delivered {figures['delivered_percent']:.3f} % of {figures['expected']:,}; "
            f"{figures['duplicates']} duplicates, {figures['reorderings']} reorderings",
            f"  {figures['resets']:,} resets, {figures['losses']} other losses of a connection; "
            f"{figures['acknowledged']:,} of {figures['published']:,} messages acknowledged",
            f"  caught up after {late['count']:,} connects: "
            f"p50 {late['p50']:.1f} ms, p99 {late['p99']:.1f} ms, max {late['max']:.1f} ms",
            f"  server: {figures['server_cpu_seconds']:.1f} s of CPU",
            *(f"  FAILED {line}" for line in failures(figures)),
        )
    )


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--clients", type=int, default=1000)
    parser.add_argument("--seconds", type=float, default=60.0)
    parser.add_argument("--every", type=float, default=15.0, help="mean seconds between the resets of a connection")
    parser.add_argument("--offline", type=float, default=2.0, help="seconds until a client is back")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--forgetful", action="store_true", help="come back without a position: this must fail")
    parser.add_argument(
        "--broker", action="append", help="a URL, or sqlite or redis for one of its own; may be repeated"
    )
    parser.add_argument(
        "--nodes", type=int, default=1, help="servers that share a Redis; clients come back to the next"
    )
    parser.add_argument("--python", default=sys.executable, help="the server's interpreter")
    parser.add_argument("--output", type=Path, help="where the figures go as JSON")
    return parser.parse_args()


def main() -> int:
    given = arguments()
    plan = Plan(given.clients, given.seconds, given.every, given.offline, given.seed, given.forgetful, given.nodes)
    results = {}
    for broker in given.broker or (["redis"] if given.nodes > 1 else ["memory://", "sqlite"]):
        results[broker] = start_and_measure(broker, plan, given.python)
        print(describe(broker, plan, results[broker]), flush=True)
    if given.output:
        given.output.parent.mkdir(parents=True, exist_ok=True)
        given.output.write_text(json.dumps(results, indent=2) + "\n")
    return int(any(failures(figures) for figures in results.values()))


if __name__ == "__main__":
    sys.exit(main())
