"""Commands in the order in which they were given, so many under way at once; what was lost goes first again."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator
from typing import Any, Final

from hubbub.client.outcomes import Lost

Event = dict[str, Any]
"""A message of the protocol, as it is on the wire: applications have types and fields of their own."""
Outcome = Event | Exception
MANY: Final = 64
"""How many commands are under way whose order does not matter."""


class Call:
    """A command that waits for its reply.

    Attributes:
        command: what is sent; its `id` is the call's.
        id: greater than those of all earlier calls.
        repeat: whether it may be sent again after its connection was lost: it does nothing twice.
        retry: whether it is tried again when the server says so.
        tried: it was sent on a connection that was lost.
        awaited: somebody waits for the reply.
    """

    __slots__ = ("_done", "awaited", "command", "id", "repeat", "retry", "settled", "tried")

    def __init__(
        self,
        id: int,
        command: Event,
        done: Callable[[Outcome], None],
        *,
        repeat: bool = False,
        retry: bool = True,
        awaited: bool = False,
    ) -> None:
        self.id = id
        self.command = {**command, "id": id}
        self._done = done
        self.repeat = repeat
        self.retry = retry
        self.awaited = awaited
        self.tried = False
        self.settled = False

    def settle(self, outcome: Outcome) -> None:
        """Tells what came of it; once."""
        if not self.settled:
            self.settled = True
            self._done(outcome)


class Lane:
    """Calls that keep their order.

    Attributes:
        waiting: those that are not sent, in order.
        flying: those that are, by id.
        held_until: nothing is sent before.

    Args:
        width: how many are under way at once.
    """

    __slots__ = ("flying", "held_until", "waiting", "width")

    def __init__(self, width: float) -> None:
        self.width = width
        self.waiting: deque[Call] = deque()
        self.flying: dict[int, Call] = {}
        self.held_until = 0.0

    def ready(self, now: float) -> Iterator[Call]:
        """Those that are to be sent now; they are under way then."""
        while self.waiting and len(self.flying) < self.width and now >= self.held_until:
            call = self.waiting.popleft()
            if not call.settled:
                self.flying[call.id] = call
                yield call

    def put_back(self, *calls: Call) -> None:
        """They are sent again, before what was given later."""
        self.waiting = deque(sorted((*calls, *self.waiting), key=lambda call: call.id))

    def lose(self, repeat: bool) -> None:
        """The connection is gone: what may be repeated waits again, if `repeat`, and nobody knows of the others."""
        flying, self.flying, self.held_until = self.flying, {}, 0.0
        again = [call for call in flying.values() if call.repeat and repeat and not call.settled]
        for call in again:
            call.tried = True
        self.put_back(*again)
        for call in flying.values():
            if not call.repeat or not repeat:
                call.settle(Lost("the connection was lost before the reply; it may have been carried out"))

    def fail(self, error: Exception) -> None:
        """Nothing here will be answered."""
        calls = [*self.flying.values(), *self.waiting]
        self.flying.clear()
        self.waiting.clear()
        for call in calls:
            call.settle(error)
