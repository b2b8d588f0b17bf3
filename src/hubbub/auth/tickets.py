"""One-time tickets: got over HTTP with credentials, shown in the URL of a WebSocket, worth nothing afterwards."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import logging
import math
import secrets
import time
from collections import Counter, OrderedDict
from collections.abc import Callable
from functools import partial
from typing import Final, NamedTuple

import msgspec

from hubbub.errors import BrokerError, HandshakeError
from hubbub.hub.identity import CHALLENGE, Identity
from hubbub.hub.ports import Answer, Broker

log: Final = logging.getLogger("hubbub")
MOST_PER_USER: Final = 100
NOT_ENCODED: Final = (TypeError, ValueError, OverflowError, RecursionError)
"""What claims raise that cannot be passed on: an application's may be of any type."""
_BYTES: Final = 32
_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(Identity).decode


class _Ticket(NamedTuple):
    identity: Identity
    expires: float


class Tickets:
    """The tickets of this process that wait to be used, and, where nodes share a broker, those of the others.

    Args:
        seconds: how long each of them waits.
        broker: where other nodes find them, if it is shared. A ticket that is used there counts here until it expires.
        token_bytes: so many random bytes that nobody can guess.
        now: seconds of a clock that never goes back.
        most: how many may wait. All users who are anonymous count as one user, as which 100 may wait.
    """

    def __init__(
        self,
        seconds: float,
        broker: Broker | None = None,
        *,
        token_bytes: Callable[[int], bytes] = secrets.token_bytes,
        now: Callable[[], float] = time.monotonic,
        most: int = 10_000,
    ) -> None:
        self._seconds = seconds
        self._shared = broker if broker is not None and broker.shared else None
        self._token_bytes = token_bytes
        self._now = now
        self._most = most
        # By digest, so that what is read out of memory opens nothing. All wait equally long: the oldest go first.
        self._waiting: OrderedDict[bytes, _Ticket] = OrderedDict()
        self._of_user: Counter[str] = Counter()

    def __len__(self) -> int:
        return len(self._waiting)

    async def give(self, identity: Identity) -> str:
        """As `issue`; the ticket counts on every node.

        Raises:
            HandshakeError: 429 or 503.
        """
        ticket = self.issue(identity)
        if self._shared is None:
            return ticket
        key = _key(ticket)
        try:
            self._shared.note(key, _encode(identity), self._seconds)
            # It may go to another node at once, and a note may be lost: so it is there before it is given away.
            if await _answer(partial(self._shared.noted, key)):
                return ticket
            raise BrokerError("it was not kept")
        except (BrokerError, *NOT_ENCODED) as error:
            log.warning("a ticket cannot be passed on: %s", error)
            self._discard(ticket)
            raise HandshakeError(503, "a ticket cannot be kept now", _retry_after(1)) from None

    async def take(self, ticket: str) -> Identity:
        """As `redeem`, whichever node has issued it.

        Raises:
            HandshakeError: 401, or 503 where the other nodes' cannot be asked for.
        """
        if self._shared is None:
            return self.redeem(ticket)
        self._discard(ticket)
        try:
            found = await _answer(partial(self._shared.take, _key(ticket)))
        except BrokerError:
            raise HandshakeError(503, "tickets cannot be looked at now", _retry_after(1)) from None
        try:
            return _decode(found)  # nothing is nobody either
        except msgspec.DecodeError:
            raise _not_valid() from None

    def issue(self, identity: Identity) -> str:
        """A new ticket, 43 characters that need no escaping in a URL.

        Raises:
            HandshakeError: 429 where the user has too many waiting, 503 where all have; with retry-after.
        """
        now = self._now()
        self._expire(now)
        if self._of_user[identity.user] >= MOST_PER_USER:
            raise HandshakeError(429, "you have too many unused tickets", _retry_after(self._seconds))
        if len(self._waiting) >= self._most:
            oldest = next(iter(self._waiting.values()))
            raise HandshakeError(503, "too many tickets are unused", _retry_after(oldest.expires - now))
        ticket = base64.urlsafe_b64encode(self._token_bytes(_BYTES)).rstrip(b"=").decode("ascii")
        self._waiting[_digest(ticket)] = _Ticket(identity, now + self._seconds)
        self._of_user[identity.user] += 1
        return ticket

    def redeem(self, ticket: str) -> Identity:
        """Who the ticket was issued to; it is used up. Whether the identity has expired since is not looked at.

        Raises:
            HandshakeError: 401, the same for a ticket that never was, was used or has expired.
        """
        found = self._discard(ticket)
        if found is not None and self._now() < found.expires:
            return found.identity
        raise _not_valid()

    def _discard(self, ticket: str) -> _Ticket | None:
        found = self._waiting.pop(_digest(ticket), None)
        if found is not None:
            self._leave(found)
        return found

    def _expire(self, now: float) -> None:
        while self._waiting:
            digest, ticket = next(iter(self._waiting.items()))
            if now < ticket.expires:
                return
            del self._waiting[digest]
            self._leave(ticket)

    def _leave(self, ticket: _Ticket) -> None:
        user = ticket.identity.user
        self._of_user[user] -= 1
        if not self._of_user[user]:
            del self._of_user[user]


async def _answer(ask: Callable[[Answer[bytes]], None]) -> bytes:
    """What a broker answers.

    Raises:
        BrokerError: it has none.
    """
    future: asyncio.Future[bytes | BrokerError] = asyncio.get_running_loop().create_future()
    ask(lambda answer: None if future.done() else future.set_result(answer))
    answer = await future
    if isinstance(answer, BrokerError):
        raise answer
    return answer


def _not_valid() -> HandshakeError:
    return HandshakeError(401, "the ticket is not valid", CHALLENGE)


def _key(ticket: str) -> str:
    """Where it is noted; whoever reads it there has no ticket."""
    return f"ticket:{_digest(ticket).hex()}"


def _digest(ticket: str) -> bytes:
    return hashlib.sha256(ticket.encode("utf-8", "surrogatepass")).digest()


def _retry_after(seconds: float) -> tuple[tuple[bytes, bytes], ...]:
    return ((b"retry-after", str(max(1, math.ceil(seconds))).encode()),)
