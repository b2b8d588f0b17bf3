"""Attacks of siege.py before the upgrade: bad handshakes, bad HTTP, foreign pages, false credentials."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from typing import Any, Final

from siege_peer import KEY, Ended
from siege_rows import LEEWAY_SECONDS, Attack, Attacker, bearer, part, request, signed

_HOST: Final = b"Host: 127.0.0.1"
_UPGRADE: Final = (b"Upgrade: websocket", b"Connection: Upgrade")
_VERSION: Final = b"Sec-WebSocket-Version: 13"
_KEY: Final = b"Sec-WebSocket-Key: " + KEY
DRIP_SECONDS: Final = 1.0
HUNDRED_MEGABYTES: Final = b"Content-Length: 104857600"


def upgrade(*extra: bytes, start: bytes = b"GET /ws HTTP/1.1", key: bytes = _KEY, version: bytes = _VERSION) -> bytes:
    """A request for a WebSocket; empty lines are left out."""
    lines = (start, _HOST, *_UPGRADE, version, key, *extra)
    return b"\r\n".join(line for line in lines if line) + b"\r\n\r\n"


def plain(*extra: bytes, start: bytes = b"POST /api/ticket HTTP/1.1") -> bytes:
    """The head of a request that is not for a WebSocket."""
    return b"\r\n".join((start, _HOST, *extra)) + b"\r\n\r\n"


async def _drip(attacker: Attacker) -> str:
    """A request of which a byte comes now and then."""
    async with attacker.peer() as peer:

        async def drip() -> None:
            for byte in upgrade():
                peer.send(bytes((byte,)))
                await asyncio.sleep(DRIP_SECONDS)

        dripping = asyncio.create_task(drip())
        try:
            return await peer.silence()
        finally:
            dripping.cancel()


async def _say_nothing(attacker: Attacker) -> str:
    async with attacker.peer() as peer:
        return await peer.silence()


async def _endless_body(attacker: Attacker) -> str:
    """Commands without number in one body, of which the server says beforehand that it will not have them."""
    async with attacker.peer() as peer:
        body = b'{"type":"ping"}\n' * 16_384
        return await peer.status(plain(b"Content-Type: application/json", b"Content-Length: 16000000") + body)


HTTP: Final = (
    request(1, "no key", upgrade(key=b""), "400"),
    request(1, "short key", upgrade(key=b"Sec-WebSocket-Key: c2hvcnQ="), "400"),
    request(1, "two keys", upgrade(_KEY), "400"),
    request(2, "version 7", upgrade(version=b"Sec-WebSocket-Version: 7"), "426", proof=b"sec-websocket-version: 13"),
    request(2, "no version", upgrade(version=b""), "426", proof=b"sec-websocket-version: 13"),
    request(3, "POST", upgrade(start=b"POST /ws HTTP/1.1"), "405"),
    request(3, "HTTP/1.0", upgrade(start=b"GET /ws HTTP/1.0"), "400"),
    request(3, "a body", upgrade(b"Content-Length: 5") + b"hello", "400"),
    request(4, "foreign Origin", upgrade(b"Origin: https://evil.example"), "403"),
    request(4, "Origin null", upgrade(b"Origin: null"), "403"),
    request(4, "Origin that begins well", upgrade(b"Origin: http://127.0.0.1.evil.example"), "403"),
    request(4, "Origin with a user", upgrade(b"Origin: http://127.0.0.1@evil.example"), "403"),
    request(4, "two Origins", upgrade(*[b"Origin: http://127.0.0.1"] * 2), "403"),
    request(5, "not ASCII", upgrade(b"X-Any: \xff"), "400"),
    request(5, "NUL", upgrade(b"X-Any: a\0b"), "400"),
    request(5, "control character in the sub-protocol", upgrade(b"Sec-WebSocket-Protocol: a\x01b"), "400"),
    request(6, "129 headers", upgrade(*[b"X-Any: a"] * 124), "431"),
    request(6, "line over 8 KB", upgrade(b"X-Any: " + b"a" * 8192), "431"),
    request(6, "33 KB", upgrade(*[b"X-Any: " + b"a" * 4200] * 8), "431"),
    request(6, "URL over 8 KB", upgrade(start=b"GET /ws?" + b"a" * 8192 + b" HTTP/1.1"), "414"),
    Attack(7, "a byte a second", frozenset(("408",)), _drip),
    Attack(7, "says nothing", frozenset(("408",)), _say_nothing),
    request(8, "length and chunks", plain(b"Content-Length: 5", b"Transfer-Encoding: chunked") + b"0\r\n\r\n", "400"),
    request(8, "two lengths", plain(b"Content-Length: 5", b"Content-Length: 6"), "400"),
    request(8, "+5", plain(b"Content-Length: +5"), "400"),
    request(8, "bare LF", plain().replace(b"\r\n", b"\n"), "400"),
    request(8, "folded header", plain(b"X-Any: a", b" b"), "400"),
    request(9, "100 MB", plain(HUNDRED_MEGABYTES), "413"),
    Attack(9, "a million commands", frozenset(("413",)), _endless_body, 0.5),
    request(12, "text/plain from another page", plain(b"Content-Type: text/plain", b"Content-Length: 0"), "415"),
    request(12, "preflight", plain(b"Origin: https://evil.example", start=b"OPTIONS /api/ticket HTTP/1.1"), "403"),
    request(39, "cookie without an Origin", upgrade(b"Cookie: session=eyJ1c2VyIjoiYWRhIn0=.x.y"), "403"),
)

# Credentials


def _refused(row: int, name: str, token: Callable[[Attacker], str]) -> Attack:
    """A token that must not count."""

    async def run(attacker: Attacker) -> str:
        async with attacker.peer() as peer:
            return await peer.status(upgrade(bearer(token(attacker)).strip()))

    return Attack(row, name, frozenset(("401",)), run)


def _header(**fields: Any) -> Callable[[Attacker], str]:
    """A token that is signed well and has a bad header."""
    return lambda attacker: signed({"alg": "HS256", **fields}, attacker.claims(), attacker.target.secret)


def _claims(**offsets: float) -> Callable[[Attacker], str]:
    """A token whose times are seconds from now, beyond what a wrong clock excuses."""
    return lambda attacker: attacker.token(**{name: int(time.time() + offset) for name, offset in offsets.items()})


async def _expires(attacker: Attacker) -> str:
    """A token that ends while it is used; the server must notice within a second."""
    async with attacker.peer() as peer:
        await peer.open(headers=bearer(attacker.token(exp=int(time.time()) - LEEWAY_SECONDS + 2)))
        try:
            async with asyncio.timeout(2 + 1):
                return await peer.end()
        except TimeoutError:
            return "still open"


async def _in_the_url(attacker: Attacker) -> str:
    """A good token where none is looked for: its bearer is let in, as nobody."""
    async with attacker.peer() as peer:
        await peer.open(f"/ws?token={attacker.token()}")
        return "somebody" if "user" in await peer.event("connected") else "nobody"


async def _cookie(attacker: Attacker) -> str:
    """A session that was made up, on one of our own pages."""
    cookie = part({"user": "ada"}) + ".abcdef." + "a" * 27
    async with attacker.peer() as peer:
        return await peer.status(upgrade(b"Origin: http://127.0.0.1", b"Cookie: session=" + cookie.encode()))


async def _ticket(attacker: Attacker) -> str:
    """A ticket that was used already."""
    async with attacker.peer() as peer:
        await peer.open("/ws?ticket=" + "a" * 43)
        raise Ended("101")


_FOREIGN_KEY: Final = "-----BEGIN PUBLIC KEY-----\nMIIBIjANBgkqhkiG9w0BAQEFAAOCAQ8A\n-----END PUBLIC KEY-----\n"
CREDENTIALS: Final = (
    _refused(35, "alg none", lambda attacker: f"{part({'alg': 'none'})}.{part(attacker.claims())}."),
    _refused(35, "alg nOnE, signed", _header(alg="nOnE")),
    _refused(35, "signed with a public key", lambda a: signed({"alg": "HS256"}, a.claims(), _FOREIGN_KEY)),
    _refused(35, "another algorithm", _header(alg="RS256")),
    _refused(35, "unknown crit", _header(crit=["exp"])),
    _refused(35, "jku", _header(jku="http://127.0.0.1:9/keys")),
    _refused(35, "jwk", _header(jwk={"kty": "oct", "k": "c2VjcmV0"})),
    _refused(35, "kid with ../", _header(kid="../../etc/passwd")),
    _refused(36, "expired", _claims(exp=-LEEWAY_SECONDS - 5)),
    _refused(36, "not yet valid", _claims(nbf=LEEWAY_SECONDS + 60)),
    _refused(36, "for somebody else", lambda attacker: attacker.token(aud="another")),
    _refused(36, "never expires", lambda a: signed({"alg": "HS256"}, {"sub": a.name}, a.target.secret)),
    Attack(36, "ticket that is none", frozenset(("401",)), _ticket),
    Attack(37, "expires while connected", frozenset(("4401",)), _expires),
    Attack(38, "token in the URL", frozenset(("nobody",)), _in_the_url),
    Attack(39, "made-up cookie", frozenset(("401",)), _cookie),
)
