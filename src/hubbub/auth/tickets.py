"""One-time tickets: got over HTTP with credentials, shown in the URL of a WebSocket, worth nothing afterwards."""

from __future__ import annotations

import base64
import hashlib
import math
import secrets
import time
from collections import Counter, OrderedDict
from collections.abc import Callable
from typing import Final, NamedTuple

from hubbub.errors import HandshakeError
from hubbub.hub.identity import CHALLENGE, Identity

MOST_PER_USER: Final = 100
_BYTES: Final = 32


class _Ticket(NamedTuple):
    identity: Identity
    expires: float


class Tickets:
    """The tickets that wait to be used. They are this process's own: another one does not know them.

    Args:
        seconds: how long each of them waits.
        token_bytes: so many random bytes that nobody can guess.
        now: seconds of a clock that never goes back.
        most: how many may wait. All users who are anonymous count as one user, as which 100 may wait.
    """

    def __init__(
        self,
        seconds: float,
        *,
        token_bytes: Callable[[int], bytes] = secrets.token_bytes,
        now: Callable[[], float] = time.monotonic,
        most: int = 10_000,
    ) -> None:
        self._seconds = seconds
        self._token_bytes = token_bytes
        self._now = now
        self._most = most
        # By digest, so that what is read out of memory opens nothing. All wait equally long: the oldest go first.
        self._waiting: OrderedDict[bytes, _Ticket] = OrderedDict()
        self._of_user: Counter[str] = Counter()

    def __len__(self) -> int:
        return len(self._waiting)

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
        found = self._waiting.pop(_digest(ticket), None)
        if found is not None:
            self._leave(found)
            if self._now() < found.expires:
                return found.identity
        raise HandshakeError(401, "the ticket is not valid", CHALLENGE)

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


def _digest(ticket: str) -> bytes:
    return hashlib.sha256(ticket.encode("utf-8", "surrogatepass")).digest()


def _retry_after(seconds: float) -> tuple[tuple[bytes, bytes], ...]:
    return ((b"retry-after", str(max(1, math.ceil(seconds))).encode()),)
