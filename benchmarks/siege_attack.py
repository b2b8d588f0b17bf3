"""The attackers of siege.py, a process of their own: a plan comes as JSON, what was answered goes out as JSON."""

from __future__ import annotations

import asyncio
import json
import os
import random
import sys
import time
from collections import Counter
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, Final

import uvloop
from siege_frames import FRAMES
from siege_hammer import HAMMERS
from siege_http import CREDENTIALS, HTTP
from siege_messages import MESSAGES
from siege_peer import Ended
from siege_rows import Attack, Attacker, Target

ROWS: Final = (*HTTP, *FRAMES, *MESSAGES, *CREDENTIALS)
OF_AN_ADDRESS: Final = 25
# Longer than the server gives anybody, half-open peers with its pings apart.
ANSWER_SECONDS: Final = 20.0
TURNED: Final = frozenset(("the opposite",))


@dataclass(frozen=True, slots=True)
class Plan:
    """What the attackers do.

    Attributes:
        attackers: how many there are at once.
        pause: mean seconds between two attacks of one attacker.
        round: which time this is; those who hammer come from other addresses each time.
        core: where they run; -1 for anywhere.
        turned: a row of which the opposite is expected, so that it must fail; 0 for none.
    """

    target: Target
    attackers: int
    pause: float
    seed: int
    round: int
    core: int
    turned: int


class Siege:
    """The plan carried out.

    Attributes:
        answers: how often each attack was answered in which way.
        most_at_once: the largest number of attacks that were under way together.
    """

    def __init__(self, plan: Plan) -> None:
        self.answers: dict[Attack, Counter[str]] = {attack: Counter() for attack in (*ROWS, *HAMMERS)}
        self.most_at_once = 0
        self._at_once = 0
        self._plan = plan

    async def run(self) -> None:
        """Returns when the time is over and what was under way has its answer."""
        loop = asyncio.get_running_loop()
        end = loop.time() + self._plan.target.seconds
        attackers = [self._attack_until(end, number) for number in range(self._plan.attackers)]
        hammers = [self._carry_out(attack, self._hammer(number)) for number, attack in enumerate(HAMMERS)]
        await asyncio.gather(*attackers, *hammers)

    def _attacker(self, name: str, source: str) -> Attacker:
        chance = random.Random(f"{self._plan.seed} {self._plan.round} {name}")
        return Attacker(self._plan.target, name, source, chance)

    def _hammer(self, number: int) -> Attacker:
        return self._attacker(f"hammer {self._plan.round} {number}", f"127.0.{1 + self._plan.round}.{1 + number}")

    async def _attack_until(self, end: float, number: int) -> None:
        """One attack after the other; the first ones are dealt out, so that every row has its turn."""
        clock, pause = asyncio.get_running_loop().time, self._plan.pause
        attacker = self._attacker(f"attacker {number}", f"127.0.0.{2 + number // OF_AN_ADDRESS}")
        shares = [attack.share for attack in ROWS]
        attack = ROWS[number % len(ROWS)] if number < 2 * len(ROWS) else attacker.chance.choices(ROWS, shares)[0]
        await asyncio.sleep(attacker.chance.uniform(0, pause))
        while clock() < end:
            await self._carry_out(attack, attacker)
            await asyncio.sleep(attacker.chance.uniform(0, 2 * pause))
            attack = attacker.chance.choices(ROWS, shares)[0]

    async def _carry_out(self, attack: Attack, attacker: Attacker) -> None:
        self._at_once += 1
        self.most_at_once = max(self.most_at_once, self._at_once)
        self.answers[attack][await self._answer(attack, attacker)] += 1
        self._at_once -= 1

    async def _answer(self, attack: Attack, attacker: Attacker) -> str:
        try:
            async with asyncio.timeout(ANSWER_SECONDS + self._plan.target.seconds * (attack in HAMMERS)):
                return await attack.run(attacker)
        except Ended as ended:
            return str(ended)
        except TimeoutError:
            return f"nothing within {ANSWER_SECONDS:g} s"
        except OSError as error:
            return f"cannot connect: {error.strerror or error}"

    def figures(self) -> list[dict[str, Any]]:
        """Each attack, what was promised and what came."""
        return [
            {
                "row": attack.row,
                "name": attack.name,
                "promised": sorted(TURNED if attack.row == self._plan.turned else attack.promised),
                "answers": dict(answers),
            }
            for attack, answers in self.answers.items()
        ]


def read_plan(document: str) -> Plan:
    """The plan as siege.py writes it."""
    fields = json.loads(document)
    return Plan(**{**fields, "target": Target(**fields["target"])})


def main() -> None:
    plan = read_plan(sys.stdin.readline())
    if plan.core >= 0:
        os.sched_setaffinity(0, {plan.core})
    with suppress(OSError, AttributeError):  # the honest clients' process is on the same core, and is never waited for
        os.sched_setscheduler(0, os.SCHED_IDLE, os.sched_param(0))
    siege = Siege(plan)
    print("begun", flush=True)
    begin, used = time.monotonic(), time.process_time()
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(siege.run())
    seconds, used = time.monotonic() - begin, time.process_time() - used
    figures = {"rows": siege.figures(), "most_at_once": siege.most_at_once, "busy_percent": 100 * used / seconds}
    print(json.dumps(figures), flush=True)


if __name__ == "__main__":
    main()
