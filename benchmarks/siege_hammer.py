"""Attacks of siege.py from a single address or of a single user: the caps must be met, and be exact."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from dataclasses import replace
from typing import Final

from siege_http import upgrade
from siege_peer import Ended, Peer
from siege_rows import Attack, Attacker, bearer

from hubbub.config import Config

USER_CONNECTIONS: Final = Config().limits.max_connections_per_user
HANDSHAKE_RATE: Final = Config().limits.handshake_rate
TOO_MANY: Final = 20
REFUSED: Final = "429"
RIGHT: Final = "exact"
# Of the time of the siege; the connections stay until its end.
FILLING: Final = 0.5
KNOCKING: Final = 0.75


async def _paced(count: int, seconds: float) -> AsyncIterator[int]:
    """Numbers, spread over the time."""
    clock = asyncio.get_running_loop().time
    begin = clock()
    for number in range(count):
        await asyncio.sleep(max(0.0, begin + seconds * number / count - clock()))
        yield number


async def _fill(attacker: Attacker, most: int, headers: bytes, sources: list[str]) -> str:
    """Opens more connections than there may be, and keeps them: so many get in, and all others are refused."""
    answers: Counter[str] = Counter()
    staying: list[asyncio.Task[str]] = []
    async with AsyncExitStack() as stack:
        async for number in _paced(most + TOO_MANY, attacker.target.seconds * FILLING):
            source = replace(attacker, source=sources[number % len(sources)])
            peer: Peer = await stack.enter_async_context(source.peer())
            try:
                await peer.open(headers=headers.replace(b"NUMBER", b"%d" % (number % 250)))
                staying.append(asyncio.create_task(peer.end()))  # answers pings
            except Ended as ended:
                answers[str(ended)] += 1
        answers["101"] = sum(not task.done() for task in staying)
        for task in staying:
            task.cancel()
    return RIGHT if answers == {"101": most, REFUSED: TOO_MANY} else str(dict(answers))


async def _address(attacker: Attacker) -> str:
    return await _fill(attacker, attacker.target.connections, b"", [attacker.source])


async def _spoofed(attacker: Attacker) -> str:
    """Each says that it comes from elsewhere; only a trusted proxy would be believed."""
    spoofed = b"X-Forwarded-For: 203.0.113.NUMBER\r\n"
    return await _fill(attacker, attacker.target.connections, spoofed, [attacker.source])


async def _user(attacker: Attacker) -> str:
    """From here and there, with one token."""
    nearby = [f"{attacker.source}{digit}" for digit in range(5)]
    return await _fill(attacker, USER_CONNECTIONS, bearer(attacker.token()), nearby)


async def _knock(attacker: Attacker) -> str:
    """Handshakes that are refused for another reason, until there are too many: not sooner, and not later."""
    clock, target = asyncio.get_running_loop().time, attacker.target
    begin, seconds = clock(), target.seconds * KNOCKING
    most = target.handshakes + int(HANDSHAKE_RATE * seconds) + TOO_MANY
    knock = upgrade(b"Origin: https://evil.example")
    async for number in _paced(most, seconds):
        async with attacker.peer() as peer:
            status = await peer.status(knock)
        if status != "403":
            allowed = target.handshakes <= number <= target.handshakes + HANDSHAKE_RATE * (clock() - begin) + 1
            return RIGHT if allowed and status == REFUSED else f"{status} after {number}"
    passed = target.handshakes + HANDSHAKE_RATE * (clock() - begin) + 1
    return RIGHT if most <= passed else f"no {REFUSED} after {most}"


async def _retry_after(attacker: Attacker) -> str:
    """The refusals of a cap say when to come again."""
    async with AsyncExitStack() as stack:
        for _ in range(USER_CONNECTIONS):
            peer: Peer = await stack.enter_async_context(attacker.peer())
            await peer.open(headers=bearer(attacker.token()))
            stack.callback(asyncio.create_task(peer.end()).cancel)  # it answers pings
        last: Peer = await stack.enter_async_context(attacker.peer())
        return await last.status(upgrade(bearer(attacker.token()).strip()), proof=b"retry-after: ")


HAMMERS: Final = (
    Attack(10, "spoofed X-Forwarded-For", frozenset((RIGHT,)), _spoofed),
    Attack(11, "connections of an address", frozenset((RIGHT,)), _address),
    Attack(11, "connections of a user", frozenset((RIGHT,)), _user),
    Attack(11, "handshakes of an address", frozenset((RIGHT,)), _knock),
    Attack(11, "Retry-After", frozenset((REFUSED,)), _retry_after),
)
