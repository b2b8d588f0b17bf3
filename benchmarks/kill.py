"""kill -9 under load, again and again: what was acknowledged must be there, once, in one order. See README.md."""

from __future__ import annotations

import argparse
import asyncio
import json
import random
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import uvloop

from tests.support.fleet import Node
from tests.support.returning import ReturningClient
from tests.support.swarm import Swarm, failures

ROOM_SIZE = 5
PAUSE_SECONDS = 0.05
# So that a client that waits for the node does not pile up what it will say.
MOST_UNANSWERED = 8
LONGEST_LIFE_SECONDS = 1.0
# Some come for the first time at the moment of a kill: their sessions are the youngest that must survive it.
ARRIVAL_SECONDS = 3.0


@dataclass(frozen=True, slots=True)
class Plan:
    """How many clients talk, and how often the node is killed; it lives for up to a second each time."""

    clients: int
    kills: int
    seed: int


class Run:
    """The plan carried out."""

    def __init__(self, plan: Plan, node: Node) -> None:
        self.swarm = Swarm([node.port], plan.clients, ROOM_SIZE)
        self._plan = plan
        self._node = node
        self._chance = random.Random(plan.seed)

    async def run(self) -> None:
        """Everybody talks while the node is killed and started; then somebody new reads all that there is."""
        loads = [asyncio.create_task(self._talk(client)) for client in self.swarm.clients]
        loads += [asyncio.create_task(self._live(client)) for client in self.swarm.clients]
        for _ in range(self._plan.kills):
            await asyncio.sleep(self._chance.uniform(0, LONGEST_LIFE_SECONDS))
            await asyncio.to_thread(self._node.kill)
            await asyncio.to_thread(self._node.start)
        for load in loads[: self._plan.clients]:
            load.cancel()
        await self.swarm.settle()
        for load in loads:
            load.cancel()
        await asyncio.wait(loads)
        await self._read_all()

    async def _talk(self, client: ReturningClient) -> None:
        while True:
            await asyncio.sleep(self._chance.uniform(0, 2 * PAUSE_SECONDS))
            if len(client.unanswered) < MOST_UNANSWERED:
                self.swarm.publish(client)

    async def _live(self, client: ReturningClient) -> None:
        await asyncio.sleep(self._chance.uniform(0, ARRIVAL_SECONDS))
        while True:
            await client.return_()
            await client.stay()

    async def _read_all(self) -> None:
        """A new client in each room, from before the first event on; the history holds what they must see."""
        for room in list(self.swarm.rooms):
            self.swarm.add_reader(room)
        await self.swarm.come()
        await self.swarm.settle()


def epochs(swarm: Swarm) -> int:
    """How many epochs the room with the most had; 1 when no numbering began anew."""
    return max(len(heads) for heads in swarm.history.ledger.heads.values())


def measure(plan: Plan, interpreter: str, options: tuple[str, ...]) -> dict[str, Any]:
    """Starts the node, runs the plan and stops it."""
    with tempfile.TemporaryDirectory() as folder:
        node = Node(Path(folder), f"sqlite:///{folder}/kill.sqlite", *options, interpreter=interpreter)
        node.start()
        try:
            run = Run(plan, node)
            with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
                runner.run(run.run())
            return {"kills": plan.kills, "epochs": epochs(run.swarm), **run.swarm.figures()}
        finally:
            node.stop()


def problems(figures: dict[str, Any]) -> list[str]:
    """Why a run is no success, a line each; none when it is."""
    anew = [f"epochs: {figures['epochs']}"] if figures["epochs"] != 1 else []
    return anew + failures(figures)


def describe(plan: Plan, figures: dict[str, Any]) -> str:
    """A few lines for people."""
    late = figures["catch_up_ms"]
    return "\n".join(
        (
            f"sqlite://: {plan.clients} clients, killed {plan.kills} times under load",
            f"  {figures['acknowledged']:,} of {figures['published']:,} messages acknowledged; "
            f"{figures['published_twice']} of them are there twice",
            f"  delivered {figures['delivered_percent']:.3f} % of {figures['expected']:,}; "
            f"{figures['duplicates']} duplicates, {figures['reorderings']} reorderings",
            f"  {figures['losses']:,} losses of a connection, {figures['sessions_lost']} of a session; "
            f"caught up after a connect: p50 {late['p50']:.1f} ms, max {late['max']:.1f} ms",
            *(f"  FAILED {line}" for line in problems(figures)),
        )
    )


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--clients", type=int, default=20)
    parser.add_argument("--kills", type=int, default=100)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--python", default=sys.executable, help="the server's interpreter")
    parser.add_argument("--option", action="append", default=[], help="a further option of the server")
    parser.add_argument("--output", type=Path, help="where the figures go as JSON")
    given = parser.parse_args()
    plan = Plan(given.clients, given.kills, given.seed)
    figures = measure(plan, given.python, tuple(given.option))
    print(describe(plan, figures), flush=True)
    if given.output:
        given.output.parent.mkdir(parents=True, exist_ok=True)
        given.output.write_text(json.dumps(figures, indent=2) + "\n")
    return int(bool(problems(figures)))


if __name__ == "__main__":
    sys.exit(main())
