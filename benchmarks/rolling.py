"""Three nodes on one Redis are restarted one after the other under load: who is back when? See README.md."""

from __future__ import annotations

import argparse
import asyncio
import json
import random
import resource
import sys
import tempfile
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import uvloop

from tests.support.fleet import Node, all_at_once
from tests.support.redis import RedisServer
from tests.support.returning import ReturningClient
from tests.support.swarm import Swarm, failures, quantiles

NODES = 3
ROOM_SIZE = 25
MOST_UNANSWERED = 8
# All clients of this benchmark have one address; the limit for one is to not hold back what is thousands elsewhere.
ONE_ADDRESS = ("--handshake-rate", "100000", "--handshake-burst", "100000")


class Moving(ReturningClient):
    """Attributes:
    away: the seconds from each end of a connection until it was in the room again.
    """

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self.away: list[float] = []

    async def live(self) -> None:
        """Comes back whenever it is sent away."""
        clock = asyncio.get_running_loop().time
        while True:
            await self.stay()
            lost = clock()
            await self.return_()
            self.away.append(clock() - lost)


class MovingSwarm(Swarm):
    client_type = Moving


class Run:
    """The restarts, and what came of them.

    Attributes:
        stops: the seconds that each node took to end.
        late: the seconds from the end of a node until all of its clients were back.
    """

    def __init__(self, nodes: list[Node], given: argparse.Namespace) -> None:
        self.swarm = MovingSwarm([node.port for node in nodes], given.clients, ROOM_SIZE, forgetful=given.forgetful)
        self.stops: list[float] = []
        self.late: list[float] = []
        self.problems: list[str] = []
        self._nodes = nodes
        self._pace = given.messages
        self._chance = random.Random(given.seed)

    async def run(self) -> None:
        """Everybody comes; each node is restarted while some talk; then all have all, and agree on who is there."""
        swarm = self.swarm
        await swarm.come()
        self.problems += await swarm.agree()
        for client in swarm.clients:
            client.announced.clear()
        loop = asyncio.get_running_loop()
        living = [loop.create_task(client.live()) for client in swarm.clients if isinstance(client, Moving)]
        talking = loop.create_task(self._talk())
        for node in self._nodes:
            await self._restart(node)
        talking.cancel()
        await swarm.settle()
        self.problems += await swarm.agree()
        told = [client for client in swarm.clients if client.announced]
        if told:
            self.problems.append(
                f"{len(told)} clients were told of comings and goings, such as {told[0].announced[:4]}"
            )
        for task in living:
            task.cancel()

    async def _restart(self, node: Node) -> None:
        clock = asyncio.get_running_loop().time
        its = [client for client in self.swarm.clients if client.port == node.port]
        begun = clock()
        await asyncio.to_thread(node.stop)
        ended = clock()
        self.stops.append(ended - begun)
        if not await self.swarm.until(lambda: all(client.online for client in its)):
            self.problems.append(f"{sum(not client.online for client in its)} clients were left behind")
        self.late.append(clock() - ended)
        await asyncio.to_thread(node.start)

    async def _talk(self) -> None:
        clients = self.swarm.clients
        while True:
            await asyncio.sleep(self._chance.uniform(0, 2 / self._pace))
            client = self._chance.choice(clients)
            if len(client.unanswered) < MOST_UNANSWERED:
                self.swarm.publish(client)

    def figures(self) -> dict[str, Any]:
        away = [1000 * seconds for client in self.swarm.clients for seconds in getattr(client, "away", ())]
        return {
            **self.swarm.figures(),
            "away_ms": quantiles(away),
            "stop_seconds": self.stops,
            "late_seconds": self.late,
            "problems": self.problems,
        }


def measure(given: argparse.Namespace) -> dict[str, Any]:
    """Starts Redis and the nodes, restarts these one after the other, and ends everything."""
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        url = stack.enter_context(RedisServer(folder)).url
        nodes = [Node(folder, url, *ONE_ADDRESS, interpreter=given.python) for _ in range(NODES)]
        stack.callback(lambda: all_at_once(node.stop for node in nodes))
        all_at_once(node.start for node in nodes)
        run = Run(nodes, given)
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            runner.run(run.run())
        return run.figures()


def problems(figures: dict[str, Any]) -> list[str]:
    """Why a run is no success, a line each; how long anything took is none."""
    return [*figures["problems"], *failures(figures)]


def describe(given: argparse.Namespace, figures: dict[str, Any]) -> str:
    """A few lines for people."""
    away = figures["away_ms"]
    return "\n".join(
        (
            f"{given.clients} clients on {NODES} nodes, each restarted once: "
            f"{figures['acknowledged']:,} of {figures['published']:,} messages acknowledged",
            f"  delivered {figures['delivered_percent']:.3f} % of {figures['expected']:,}; "
            f"{figures['duplicates']} duplicates, {figures['reorderings']} reorderings, "
            f"{figures['sessions_lost']} sessions lost",
            f"  {away['count']:,} times a client was sent away: back after p50 {away['p50']:.0f} ms, "
            f"p99 {away['p99']:.0f} ms, max {away['max']:.0f} ms",
            "  nodes ended within " + ", ".join(f"{seconds:.1f} s" for seconds in figures["stop_seconds"]) + "; "
            "all were back " + ", ".join(f"{seconds:.2f} s" for seconds in figures["late_seconds"]) + " behind that",
            *(f"  FAILED {line}" for line in problems(figures)),
        )
    )


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--clients", type=int, default=5000)
    parser.add_argument("--messages", type=float, default=50.0, help="a second, of all clients")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--forgetful", action="store_true", help="come back without a position: this must fail")
    parser.add_argument("--python", default=sys.executable, help="the servers' interpreter")
    parser.add_argument("--output", type=Path, help="where the figures go as JSON")
    given = parser.parse_args()
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    figures = measure(given)
    print(describe(given, figures), flush=True)
    if given.output:
        given.output.parent.mkdir(parents=True, exist_ok=True)
        given.output.write_text(json.dumps(figures, indent=2) + "\n")
    return int(bool(problems(figures)))


if __name__ == "__main__":
    sys.exit(main())
