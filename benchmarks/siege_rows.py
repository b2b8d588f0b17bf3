"""What an attack of siege.py is: what is done, and the answer that the server promises to it."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import random
import time
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from siege_peer import Peer

LEEWAY_SECONDS: Final = 30
"""How far the issuer's clock may be off, by the server's default settings."""


@dataclass(frozen=True, slots=True)
class Target:
    """What is attacked, and what attackers may know of it.

    Attributes:
        secret: what the server's tokens are signed with; an honest issuer gives some to attackers too.
        heartbeat: seconds between the server's pings.
        connections: that an address may have.
        handshakes: that an address may begin at once.
        busy_rooms: rooms in which honest clients talk.
        seconds: how long attacks begin.
    """

    port: int
    secret: str
    heartbeat: float
    connections: int
    handshakes: int
    busy_rooms: list[str]
    seconds: float


@dataclass(frozen=True, slots=True)
class Attacker:
    """Somebody who attacks.

    Attributes:
        name: nobody else's.
        source: the address that it comes from; some others have the same.
    """

    target: Target
    name: str
    source: str
    chance: random.Random = field(repr=False)

    def busy_room(self) -> str:
        """A room in which honest clients talk."""
        return self.chance.choice(self.target.busy_rooms)

    def peer(self, *, small: bool = False) -> Peer:
        """A new connection."""
        return Peer(self.target.port, self.source, small=small)

    def claims(self, **more: Any) -> dict[str, Any]:
        """Those of a good token, for rooms of the attacker's own alone."""
        return {"sub": self.name, "exp": int(time.time()) + 60, "rooms": ["siege *"], **more}

    def token(self, **more: Any) -> str:
        """A token that counts, unless a claim is not as it should be."""
        return signed({"alg": "HS256", "typ": "JWT"}, self.claims(**more), self.target.secret)


@dataclass(frozen=True, slots=True)
class Attack:
    """One row of the table of attacks, or a kind of it.

    Attributes:
        row: the number of its family.
        promised: every answer that is right.
        run: carries it out once; returns the answer, or raises Ended with it.
        share: how often it comes, of the others; below 1 for what costs the attacker much.
    """

    row: int
    name: str
    promised: frozenset[str]
    run: Callable[[Attacker], Awaitable[str]] = field(repr=False)
    share: float = 1.0


def part(content: Mapping[str, Any] | bytes) -> str:
    """A part of a token: base64url without padding."""
    document = content if isinstance(content, bytes) else json.dumps(content).encode()
    return base64.urlsafe_b64encode(document).rstrip(b"=").decode()


def signed(header: Mapping[str, Any], claims: Mapping[str, Any], secret: str) -> str:
    """A token signed with HS256, whatever its header says."""
    content = f"{part(header)}.{part(claims)}"
    return f"{content}.{part(hmac.digest(secret.encode(), content.encode(), hashlib.sha256))}"


def bearer(token: str) -> bytes:
    """The header that shows a token."""
    return b"Authorization: Bearer " + token.encode() + b"\r\n"


def request(row: int, name: str, data: bytes, status: str, *, proof: bytes = b"") -> Attack:
    """An attack that is one HTTP request: the server answers with a status, and `proof` in the head."""

    async def run(attacker: Attacker) -> str:
        async with attacker.peer() as peer:
            return await peer.status(data, proof=proof)

    return Attack(row, name, frozenset((status,)), run)


def frames(row: int, name: str, data: bytes, code: str, *, extensions: str = "", share: float = 1.0) -> Attack:
    """An attack that is bytes on an open connection: the server closes it with a code."""

    async def run(attacker: Attacker) -> str:
        async with attacker.peer() as peer:
            await peer.open(extensions=extensions)
            peer.send(data)
            return await peer.end()

    return Attack(row, name, frozenset((code,)), run, share)


def message(row: int, name: str, data: bytes, reply: str) -> Attack:
    """An attack that is one message: the server replies, and goes on."""

    async def run(attacker: Attacker) -> str:
        async with attacker.peer() as peer:
            await peer.open()
            return await peer.reply(data)

    return Attack(row, name, frozenset((reply,)), run)
