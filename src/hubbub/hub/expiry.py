"""When credentials end: a warning a minute before, and then the connection. One look a second, for all of them."""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Callable
from math import ceil
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from hubbub.hub.connection import Connection

log: Final = logging.getLogger("hubbub")
WARNING_SECONDS: Final = 60
# Connections whose time has come that are looked at in a turn: a thousand tokens may have been made in one second.
MOST_A_TURN: Final = 100
LONGEST_GAP: Final = 60


class Expiry:
    """Connections by the second in which they are to be looked at.

    Args:
        call_soon: has the rest looked at in the loop's next turn.
        warn, close: called with a connection whose credentials are about to end, or have.
    """

    def __init__(
        self,
        call_soon: Callable[[Callable[[], None]], None],
        warn: Callable[[Connection], None],
        close: Callable[[Connection], None],
    ) -> None:
        self._call_soon = call_soon
        self._warn = warn
        self._close = close
        self._due: dict[int, dict[Connection, None]] = {}
        self._looked_at = 0
        self._now = 0.0
        self._ready: deque[Connection] = deque()

    def watch(self, connection: Connection, now: float) -> None:
        """Looks after a connection from now on, Unix seconds; also after it has got new credentials."""
        self.forget(connection)
        expires = connection.identity.expires
        if expires is None:
            return
        self._looked_at = min(self._looked_at, int(now))  # the clock was set back
        if now < expires - WARNING_SECONDS:
            self._put(connection, expires - WARNING_SECONDS)
        else:
            self._put(connection, expires)
            self._warn(connection)

    def forget(self, connection: Connection) -> None:
        """It has ended, or has other credentials."""
        due = self._due.get(connection._due)
        if due is not None:
            due.pop(connection, None)
            if not due:
                del self._due[connection._due]

    def _put(self, connection: Connection, at: float) -> None:
        second = max(ceil(at), self._looked_at + 1)
        connection._due = second
        self._due.setdefault(second, {})[connection] = None

    def tick(self, now: float) -> None:
        """Takes those whose time has come by now, Unix seconds."""
        second = int(now)
        if 0 <= second - self._looked_at <= LONGEST_GAP:
            seconds = [due for due in range(self._looked_at + 1, second + 1) if due in self._due]
        else:  # the clock was set
            seconds = sorted(due for due in self._due if due <= second)
        self._looked_at, self._now = second, now
        idle = not self._ready
        for due in seconds:
            self._ready.extend(self._due.pop(due))
        if self._ready and idle:
            self._look()

    def _look(self) -> None:
        now = self._now
        for _ in range(min(len(self._ready), MOST_A_TURN)):
            connection = self._ready.popleft()
            expires = connection.identity.expires
            renewed = connection in self._due.get(connection._due, ())
            if not connection.open or expires is None or renewed:
                continue
            try:
                if now >= expires:
                    self._close(connection)
                else:
                    self.watch(connection, now)
            except Exception:  # one connection's failure must not keep the others in
                log.exception("a connection whose credentials have ended could not be closed")
        if self._ready:
            self._call_soon(self._look)
