"""How a node that stops sends its clients away: one after the other, each told when to come back."""

from __future__ import annotations

from collections import deque
from math import ceil
from typing import TYPE_CHECKING, Final

from hubbub.errors import HandshakeError
from hubbub.wire.messages import Reconnect

if TYPE_CHECKING:
    from hubbub.hub.connection import Connection
    from hubbub.hub.hub import Hub

# Between one and the next, if there is time: a hundred who come back in a second are little work anywhere.
SPACING_SECONDS: Final = 0.01
# Told or sent away in a turn; about 5 ms.
MOST_A_TURN: Final = 100


class Draining:
    """Whether the node stops, and who is to be sent away when. Commands are served until then.

    Attributes:
        begun: nobody is let in any more.
    """

    def __init__(self, hub: Hub) -> None:
        self.begun = False
        self._hub = hub
        self._ends = 0.0
        self._untold: deque[tuple[float, Connection]] = deque()
        self._leaving: deque[tuple[float, Connection]] = deque()

    @property
    def left(self) -> float:
        """Seconds until the last one is gone, as planned; whoever comes before is refused."""
        return max(self._ends - self._hub.runtime.monotonic(), 0.0) if self.begun else 0.0

    def refusal(self) -> HandshakeError:
        """What whoever comes once it has begun is answered with."""
        seconds = ceil(self.left) + 1
        return HandshakeError(503, "the server is stopping", ((b"retry-after", b"%d" % seconds),))

    def check(self) -> None:
        """Whether somebody may still come in.

        Raises:
            HandshakeError: 503: the node stops.
        """
        if self.begun:
            raise self.refusal()

    def begin(self, notice: float = 0.0) -> None:
        """Lets nobody in any more, and plans when everybody goes; `go_on` is to follow.

        Args:
            notice: seconds before the first goes.
        """
        if self.begun:
            return
        self.begun = True
        connections, spacing = self._hub.connections, self.spacing()
        first = self._hub.runtime.monotonic() + notice
        self._ends = first + spacing * len(connections)
        self._leaving = deque(
            (first + spacing * number, connection) for number, connection in enumerate(connections, 1)
        )
        self._untold = self._leaving.copy()

    def spacing(self) -> float:
        """Seconds between one and the next, so that all come back within `drain_seconds`."""
        return min(SPACING_SECONDS, self._hub.config.server.drain_seconds / max(len(self._hub.connections), 1))

    def go_on(self) -> float | None:
        """Tells and sends away whose time has come; seconds until there is more to do, None when that is all."""
        now = self._hub.runtime.monotonic()
        for _ in range(min(len(self._untold), MOST_A_TURN)):
            at, connection = self._untold.popleft()
            self._tell(connection, max(at - now, 0.0))
        for _ in range(MOST_A_TURN):
            if not self._leaving or self._leaving[0][0] > now:
                break
            self._hub.send_away(self._leaving.popleft()[1])
        if self._untold:
            return 0.0
        left = (self._leaving[0][0] if self._leaving else self._ends) - now
        return max(left, 0.0) if self._leaving or left > 0 else None

    def _tell(self, connection: Connection, left: float) -> None:
        if connection.open and connection._greeted and connection.announced:
            connection.send(Reconnect(round(left * 1000) + self._hub.config.server.reconnect_ms))
