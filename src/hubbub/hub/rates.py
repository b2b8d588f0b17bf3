"""How many messages clients may send: each connection, each user over all of them, and all of a room together."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Final

from hubbub.codes import POLICY_VIOLATION
from hubbub.hub.limits import REFUSED, RateLimit

if TYPE_CHECKING:
    from hubbub.config import Limits
    from hubbub.hub.connection import Connection
    from hubbub.hub.counters import Counters
    from hubbub.hub.room import Room

# Messages dropped in one series before it is abuse, whatever the time: a hundred bursts.
MOST_DROPPED_BURSTS: Final = 100
# Messages dropped within this time of each other belong to one series: one warning, one patience.
SERIES_SECONDS: Final = 1.0


class Rates:
    """Says which messages are dropped, and ends the connections of those who go on.

    Args:
        close: ends a connection with a code and a reason.
    """

    def __init__(self, limits: Limits, counters: Counters, close: Callable[[Connection, int, str], None]) -> None:
        self._counters = counters
        self._close = close
        self.limit(limits)

    def limit(self, limits: Limits) -> None:
        """Puts limits in force; connections, users and rooms keep what they have used up."""
        self._limits = limits
        self._of_connection = RateLimit(limits.rate_limit, limits.rate_burst)
        self._of_user = RateLimit(limits.user_rate, limits.user_burst)
        self._of_room = RateLimit(limits.room_rate, limits.room_burst)
        self._of_controls = RateLimit(limits.control_rate, limits.control_burst)
        self._more = min(limits.heavy_cost, limits.rate_burst, limits.user_burst) - 1

    def take(self, connection: Connection, payload: bytes, now: float) -> bool:
        """Counts a message that has arrived; False when it is dropped, and the client has been told so."""
        return self._take(connection, payload, now, 1, "rate_limit")

    def take_more(self, connection: Connection, payload: bytes, now: float) -> bool:
        """Counts a message that was counted once, and is as much work as several."""
        return self._take(connection, payload, now, self._more, "heavy_cost")

    def _take(self, connection: Connection, payload: bytes, now: float, tokens: int, limit: str) -> bool:
        full_at = self._of_connection.take(connection._full_at, now, tokens)
        if full_at == REFUSED:
            wait = self._of_connection.wait(connection._full_at, now, tokens)
            self._drop(connection, payload, now, wait, limit)
            return False
        user = connection._user
        if user is not None:
            user_full_at = self._of_user.take(user.full_at, now, tokens)
            if user_full_at == REFUSED:
                self._drop(connection, payload, now, self._of_user.wait(user.full_at, now, tokens), "user_rate")
                return False
            user.full_at = user_full_at
        connection._full_at = full_at
        return True

    def _drop(self, connection: Connection, payload: bytes, now: float, wait: float, limit: str) -> None:
        """Tells the client, or ends the connection when this has gone on for too long."""
        self._counters.messages_limited += 1
        self._counters.refuse(limit)
        first = now - connection._exceeded_at > SERIES_SECONDS
        connection._exceeded_at = now
        if first:
            connection._exceeded_since = now
            connection._exceeded = 0
        connection._exceeded += 1
        patience = connection._exceeded <= self._limits.rate_burst * MOST_DROPPED_BURSTS
        if not first and (not patience or now - connection._exceeded_since >= self._limits.rate_patience_seconds):
            self._counters.refuse("rate_patience_seconds")
            self._close(
                connection, POLICY_VIOLATION, f"too many messages for too long ({limit}, rate_patience_seconds)"
            )
            return
        connection._endpoint.limited(connection, payload, limit, int(wait * 1000) + 1, first)

    def take_control(self, connection: Connection, now: float) -> bool:
        """Counts a ping or pong; too many end the connection."""
        full_at = self._of_controls.take(connection._control_full_at, now)
        if full_at == REFUSED:
            self._counters.refuse("control_rate")
            self._close(connection, POLICY_VIOLATION, "too many pings or pongs (control_rate)")
            return False
        connection._control_full_at = full_at
        return True

    def wait_for_room(self, room: Room, now: float) -> float:
        """Counts a message into a room; seconds to wait when there are too many, and then it is not counted, else 0."""
        full_at = self._of_room.take(room.full_at, now)
        if full_at == REFUSED:
            self._counters.refuse("room_rate")
            return self._of_room.wait(room.full_at, now)
        room.full_at = full_at
        return 0.0
