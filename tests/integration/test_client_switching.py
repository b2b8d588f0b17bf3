"""hubbub.client under load, over connections that are cut and networks that change: nothing lost, nothing twice."""

from __future__ import annotations

import asyncio
import random
import signal
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, AsyncExitStack
from itertools import count
from pathlib import Path

import pytest

from hubbub.client.choice import Networks
from tests.support.firewall import CUT, PASS, REFUSE, Firewall, Rule, no_websockets, only_short_answers
from tests.support.ledger import Ledger
from tests.support.roaming import Roamer
from tests.support.server import FAST, Server, free_port, serve

CLIENTS = 12
ROOMS = 3
SECONDS = 60.0
GENEROUS = ("--rate-limit", "1000", "--rate-burst", "1000", "--user-rate", "10000", "--handshake-rate", "1000")
RULES: tuple[Rule, ...] = (lambda head: PASS, no_websockets(REFUSE), no_websockets(CUT), only_short_answers)


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody waits long, neither for what never comes nor before a return."""
    for module in ("link", "stream", "poll", "websocket"):
        monkeypatch.setattr(f"hubbub.client.{module}.CONNECT_SECONDS", 1.0)
    monkeypatch.setattr("hubbub.client.backoff.FIRST_DELAY_SECONDS", 0.05)
    monkeypatch.setattr("hubbub.client.backoff.LONGEST_DELAY_SECONDS", 0.5)
    monkeypatch.setattr("hubbub.client.choice.REMEMBERED_SECONDS", 0.5)
    monkeypatch.setattr("hubbub.client.link.NETWORKS", Networks())


class Crowd:
    """Clients in rooms, and what they know together."""

    def __init__(self, url: Callable[[int], str], chance: int) -> None:
        self.ledger = Ledger()
        self.chance = random.Random(chance)
        self.roamers = [
            Roamer(self.ledger, f"client {number}", f"room {number % ROOMS}", url(number)) for number in range(CLIENTS)
        ]

    async def come(self) -> None:
        await asyncio.gather(*(roamer.come() for roamer in self.roamers))

    def talk(self, round: int) -> None:
        for roamer in self.roamers:
            roamer.say(f"{roamer.name}: {round}")

    async def settle(self) -> None:
        """Waits until all that was said is answered, and has come to everybody."""
        while not all(roamer.settled and self._has_all(roamer) for roamer in self.roamers):
            await asyncio.sleep(0.02)

    def _has_all(self, roamer: Roamer) -> bool:
        heads = self.ledger.heads[roamer.room]
        return bool(roamer.seqs) and roamer.seqs[-1] >= max(heads.values(), default=0)

    async def go(self) -> None:
        await asyncio.gather(*(roamer.go() for roamer in self.roamers))

    def check(self) -> None:
        """Everybody had everything once and in order, and what each said stands there once and in its order."""
        assert self.ledger.violations == []
        for roamer in self.roamers:
            assert roamer.failures == []
            assert roamer.gaps == 0
            assert roamer.seqs == list(range(roamer.start + 1, roamer.seqs[-1] + 1))
            own = [text for text in roamer.heard if text.startswith(f"{roamer.name}: ")]
            assert own == roamer.said


async def run(
    crowd: Crowd, rounds: int, disturb: Callable[[int], None], enough: Callable[[], bool] = lambda: True
) -> None:
    """So many rounds, and more until it is enough."""
    async with asyncio.timeout(SECONDS):
        try:
            await crowd.come()
            for round in count():
                if round >= rounds and enough():
                    break
                crowd.talk(round)
                disturb(round)
                await asyncio.sleep(0.1)  # the time in which what was disturbed goes on
            await crowd.settle()
        finally:
            await crowd.go()


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Server]:
    with serve(tmp_path, FAST, *GENEROUS) as server:
        yield server


@pytest.mark.timeout(90)
@pytest.mark.parametrize("chance", range(2))
def test_networks_that_change_all_the_time_lose_and_double_nothing(server: Server, chance: int) -> None:
    async def main() -> None:
        async with Firewall(server.port, RULES[0]) as one, Firewall(server.port, RULES[1]) as other:
            walls = [one, other]
            crowd = Crowd(lambda number: f"127.0.0.1:{walls[number % 2].port}", chance)

            def disturb(round: int) -> None:
                wall = crowd.chance.choice(walls)
                wall.rule = crowd.chance.choice(RULES)
                wall.cut()

            def all_were_used() -> bool:
                return {"websocket", "sse", "poll"} <= set().union(*(roamer.kinds for roamer in crowd.roamers))

            await run(crowd, 20, disturb, all_were_used)
            crowd.check()

    asyncio.run(main())


@pytest.mark.timeout(90)
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
def test_a_server_that_restarts_loses_and_doubles_nothing(tmp_path: Path, number: signal.Signals) -> None:
    port = free_port()
    kept = (*GENEROUS, "--broker", f"sqlite:///{tmp_path / 'rooms.db'}", "--drain-seconds", "0.2")

    async def main() -> None:
        servers = [await asyncio.to_thread(start)]
        async with AsyncExitStack() as stack:
            walls = [await stack.enter_async_context(Firewall(port, rule)) for rule in (*RULES[:2], RULES[3])]
            crowd = Crowd(lambda number: f"127.0.0.1:{walls[number // ROOMS % len(walls)].port}", 0)
            try:
                async with asyncio.timeout(SECONDS):
                    await crowd.come()
                    for round in range(12):
                        crowd.talk(round)
                        await asyncio.sleep(0.05)  # the time in which what was said is on its way
                        if round % 4 == 1:
                            await asyncio.to_thread(servers[-1][1].stop, number)
                            servers.append(await asyncio.to_thread(start))
                    await crowd.settle()
            finally:
                await crowd.go()
                for manager, _ in servers:
                    await asyncio.to_thread(manager.__exit__, None, None, None)
            crowd.check()

    def start() -> tuple[AbstractContextManager[Server], Server]:
        manager = serve(tmp_path, FAST, *kept, port=port)
        return manager, manager.__enter__()

    asyncio.run(main())
