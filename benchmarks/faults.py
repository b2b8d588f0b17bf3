"""Nodes on one Redis under load while one thing fails: is anything lost, doubled or reordered? See README.md."""

from __future__ import annotations

import argparse
import asyncio
import json
import random
import sys
import tempfile
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import uvloop
from faults_list import FAULTS, Fault, Stage

from tests.support.fleet import Node, all_at_once
from tests.support.proxy import Proxy
from tests.support.returning import ReturningClient
from tests.support.swarm import Swarm, failures

ROOM_SIZE = 6
PAUSE_SECONDS = 0.05
# So that a client that waits for a node or for Redis does not pile up what it will say.
MOST_UNANSWERED = 8


class Run:
    """One fault, carried out against nodes of its own."""

    def __init__(self, fault: Fault, stage: Stage, seed: int, load: int) -> None:
        self._fault = fault
        self._stage = stage
        self._chance = random.Random(seed)
        self._load = load
        self.problems: list[str] = []
        self.catching_up = 0.0

    async def run(self) -> None:
        """Everybody talks, before the fault, while it lasts and behind it; then somebody new reads all there is."""
        swarm, stage = self._stage.swarm, self._stage
        await swarm.come()
        self.problems += await swarm.agree()
        for client in swarm.clients:
            client.announced.clear()
        talking = [asyncio.create_task(self._talk(client)) for client in swarm.clients]
        living = {client: asyncio.create_task(self._live(client)) for client in swarm.clients}
        stage.living = living
        await self._until_acknowledged(self._load)
        self.problems += await self._fault.do(stage) or []
        self.catching_up = await swarm.caught_up()
        await self._until_acknowledged(self._load)
        await _end(talking)
        await swarm.settle()
        self.problems += await swarm.agree()
        if self._fault.quiet:
            self.problems += [f"{each.name} was told {each.announced}" for each in swarm.clients if each.announced]
        await _end(living.values())
        for room in list(swarm.rooms):
            swarm.add_reader(room)
        await swarm.come()
        await swarm.settle()

    async def _until_acknowledged(self, more: int) -> None:
        ledger = self._stage.swarm.history.ledger
        goal = len(ledger.acknowledged) + more
        if not await self._stage.swarm.until(lambda: len(ledger.acknowledged) >= goal):
            self.problems.append(f"{goal - len(ledger.acknowledged)} of {more} messages were not acknowledged")

    async def _talk(self, client: ReturningClient) -> None:
        while True:
            await asyncio.sleep(self._chance.uniform(0, 2 * PAUSE_SECONDS))
            if client not in self._stage.swarm.rooms[client.room]:
                return
            if len(client.unanswered) < MOST_UNANSWERED:
                self._stage.swarm.publish(client)

    async def _live(self, client: ReturningClient) -> None:
        while True:
            await client.return_()
            await client.stay()


async def _end(tasks: Sequence[asyncio.Task[None]] | Any) -> None:
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)


async def stage_and_run(fault: Fault, folder: Path, given: argparse.Namespace) -> dict[str, Any]:
    """Starts what the fault needs, runs it, and ends everything."""
    with ExitStack() as stack:
        redis: Any = fault.redis(folder)
        await asyncio.to_thread(stack.enter_context, redis)
        proxy = await Proxy(redis.port).start() if fault.proxied else None
        urls = [f"redis://127.0.0.1:{proxy.port}"] if proxy else []
        urls += [redis.url] * (fault.nodes - len(urls))
        nodes = [Node(folder, url, *fault.options, interpreter=given.python) for url in urls]
        stack.callback(lambda: all_at_once(node.stop for node in nodes))
        try:
            await asyncio.to_thread(all_at_once, [node.start for node in nodes])
            ports = [node.port for node in nodes]
            swarm = Swarm(ports, given.clients, ROOM_SIZE, forgetful=given.forgetful, lossless=not fault.loses)
            run = Run(fault, Stage(redis, nodes, swarm, proxy, given.lasting), given.seed, given.load)
            await run.run()
            return {**swarm.figures(), "catching_up_seconds": run.catching_up, "problems": run.problems}
        finally:
            await asyncio.to_thread(all_at_once, [node.stop for node in nodes])
            if proxy is not None:
                await proxy.stop()


def measure(fault: Fault, given: argparse.Namespace) -> dict[str, Any]:
    with tempfile.TemporaryDirectory() as folder, asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        return runner.run(stage_and_run(fault, Path(folder), given))


def problems(fault: Fault, figures: dict[str, Any]) -> list[str]:
    """Why a run is no success, a line each; none when it is."""
    lines = [*figures["problems"], *failures(figures)]
    if bool(figures["renewals"]) != fault.loses:
        lines.append(f"{figures['renewals']} clients were told that a log was lost")
    return lines


def describe(fault: Fault, figures: dict[str, Any]) -> str:
    """A few lines for people."""
    return "\n".join(
        (
            f"{fault.name}: {figures['acknowledged']:,} of {figures['published']:,} messages acknowledged; "
            f"delivered {figures['delivered_percent']:.3f} % of {figures['expected']:,}, "
            f"{figures['duplicates']} duplicates, {figures['reorderings']} reorderings",
            f"  caught up after {figures['catching_up_seconds']:.2f} s; {figures['losses']} losses of a connection, "
            f"{figures['renewals']} clients were told of a new epoch",
            *(f"  FAILED {line}" for line in problems(fault, figures)),
        )
    )


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--fault", action="append", choices=[fault.name for fault in FAULTS], help="all by default")
    parser.add_argument("--clients", type=int, default=24)
    parser.add_argument("--load", type=int, default=2000, help="messages before the fault, and again behind it")
    parser.add_argument("--lasting", type=float, default=1.0, help="how long it lasts, times its usual time")
    parser.add_argument("--rounds", type=int, default=1, help="how often each fault is tried")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--forgetful", action="store_true", help="come back without a position: this must fail")
    parser.add_argument("--python", default=sys.executable, help="the servers' interpreter")
    parser.add_argument("--output", type=Path, help="where the figures go as JSON")
    return parser.parse_args()


def main() -> int:
    given = arguments()
    results, failed = {}, False
    for number in range(given.rounds):
        given.seed += number
        for fault in [fault for fault in FAULTS if given.fault is None or fault.name in given.fault]:
            figures = results[f"{fault.name} {number + 1}"] = measure(fault, given)
            print(describe(fault, figures), flush=True)
            failed |= bool(problems(fault, figures))
    if given.output:
        given.output.parent.mkdir(parents=True, exist_ok=True)
        given.output.write_text(json.dumps(results, indent=2) + "\n")
    return int(failed)


if __name__ == "__main__":
    sys.exit(main())
