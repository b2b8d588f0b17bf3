"""Who may still come in: how many connections an address and a user have, and how often they knock."""

from __future__ import annotations

from ipaddress import AddressValueError, IPv6Address
from typing import TYPE_CHECKING, Final

from hubbub.errors import HandshakeError
from hubbub.hub.limits import REFUSED, RateLimit

if TYPE_CHECKING:
    from collections.abc import Callable

    from hubbub.config import Limits
    from hubbub.hub.connection import Connection
    from hubbub.hub.counters import Counters

# Addresses whose handshakes are counted before those are forgotten that have not come for a while.
SWEEP_ABOVE: Final = 10_000
_64_BITS: Final = 64


def network_of(address: str) -> str:
    """What limits count as one: an IPv4 address, or the /64 of an IPv6 one, which a single customer has.

    What is no address counts as it is: other servers take X-Forwarded-For at its word, whatever it says.
    """
    if ":" not in address:
        return address
    try:
        read = IPv6Address(address.partition("%")[0])
    except AddressValueError:  # what is no address, such as a path, counts by itself
        return address
    return str(IPv6Address((int(read) >> _64_BITS) << _64_BITS))


class User:
    """What is counted of a user over all connections.

    Attributes:
        connections: those that are open.
        full_at: the state of the user's rate limit.
    """

    __slots__ = ("connections", "full_at")

    def __init__(self) -> None:
        self.connections: dict[Connection, None] = {}
        self.full_at = 0.0


class Admission:
    """Counts those who are in, exactly, and refuses whoever would be one too many."""

    def __init__(self, limits: Limits, counters: Counters, now: Callable[[], float]) -> None:
        self.users: dict[str, User] = {}
        self._now = now
        self._forget_above = SWEEP_ABOVE
        self._counters = counters
        self._knocks: dict[str, float] = {}
        self._sweep_above = SWEEP_ABOVE
        self._addresses: dict[str, int] = {}
        self._total = 0
        self.limit(limits)

    def limit(self, limits: Limits) -> None:
        """Puts limits in force, for whoever comes from now on."""
        self._limits = limits
        self._rate = RateLimit(limits.handshake_rate, limits.handshake_burst)

    def knock(self, address: str, now: float) -> None:
        """Somebody begins a handshake, or asks for a ticket.

        Args:
            address: the client's; empty where it is not known, and then not counted.
            now: seconds, of the clock that never goes back.

        Raises:
            HandshakeError: 429: too many from there.
        """
        if not address:
            return
        network = network_of(address)
        full_at = self._knocks.get(network, 0.0)
        taken = self._rate.take(full_at, now)
        if taken == REFUSED:
            raise self._refusal("handshake_rate", 429, "too many handshakes from this address", full_at, now)
        self._knocks[network] = taken
        if len(self._knocks) > self._sweep_above:
            self._knocks = {known: full for known, full in self._knocks.items() if full > now}
            self._sweep_above = max(SWEEP_ABOVE, 2 * len(self._knocks))

    def check(self, address: str, user: str) -> None:
        """Whether one more of this address and user may come in; `enter` is to follow before anything else.

        Raises:
            HandshakeError: 503 or 429.
        """
        limits = self._limits
        if self._total >= limits.max_connections:
            raise self._refusal("max_connections", 503, "the server is full")
        if address and self._addresses.get(network_of(address), 0) >= limits.max_connections_per_address:
            raise self._refusal("max_connections_per_address", 429, "too many connections from this address")
        known = self.users.get(user)
        if known is not None and len(known.connections) >= limits.max_connections_per_user:
            raise self._refusal("max_connections_per_user", 429, "too many connections of this user")

    def enter(self, connection: Connection) -> None:
        """Counts a connection in."""
        self._total += 1
        if connection.remote is not None:
            network = network_of(connection.remote[0])
            self._addresses[network] = self._addresses.get(network, 0) + 1
        if connection.identity.user:
            connection._user = self.user(connection.identity.user)
            connection._user.connections[connection] = None

    def user(self, name: str) -> User:
        """What is counted of a user, also of one who has no connection."""
        self._forget_users()
        return self.users.setdefault(name, User())

    def leave(self, connection: Connection) -> None:
        """Counts a connection out."""
        self._total -= 1
        if connection.remote is not None:
            network = network_of(connection.remote[0])
            self._addresses[network] -= 1
            if not self._addresses[network]:
                del self._addresses[network]
        if connection._user is not None:
            del connection._user.connections[connection]

    def _forget_users(self) -> None:
        """Now and then: those who are gone and have a full bucket again; coming back must not fill it."""
        if len(self.users) > self._forget_above:
            now = self._now()
            self.users = {name: user for name, user in self.users.items() if user.connections or user.full_at > now}
            self._forget_above = max(SWEEP_ABOVE, 2 * len(self.users))

    def _refusal(self, limit: str, status: int, reason: str, full_at: float = 0.0, now: float = 0.0) -> HandshakeError:
        self._counters.refuse(limit)
        seconds = int(self._rate.wait(full_at, now)) + 1 if full_at else 5
        return HandshakeError(status, f"{reason} ({limit})", ((b"retry-after", b"%d" % seconds),))
