"""A room's fan-out: a small one at once, a large one in slices, so that other rooms and heartbeats keep running."""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING, Final

from hubbub.hub.member import Member
from hubbub.wire.codec import Batch

if TYPE_CHECKING:
    from hubbub.hub.connection import Connection
    from hubbub.hub.ports import Runtime

# A slice of large frames has fewer members: the kernel copies about 2 GB a second.
SLICE_BYTES: Final = 8 << 20
# Batches that wait for their slices. When there are more, members read the log instead, each at its own pace.
MOST_WAITING: Final = 64


class _Delivery:
    """A batch and those who have not been written it yet; `before` is the seq that they have reached."""

    __slots__ = ("audience", "batch", "before", "personal")

    def __init__(
        self, batch: Batch, personal: dict[Connection, Batch], audience: dict[Member, None], before: int
    ) -> None:
        self.batch = batch
        self.personal = personal
        self.audience = audience
        self.before = before

    def to(self, member: Member) -> None:
        connection = member.connection
        connection.transport.deliver(self.personal.get(connection, self.batch))

    def advance(self, members: int) -> None:
        """Writes to the next so many members."""
        audience = self.audience
        for _ in range(min(members, len(audience))):
            self.to(audience.popitem()[0])


class FanOut:
    """The batches of one room that go out in slices, in their order.

    Args:
        slice: members that are written to in a turn.
    """

    __slots__ = ("_deliveries", "_runtime", "_slice")

    def __init__(self, runtime: Runtime, slice: int) -> None:
        self._runtime = runtime
        self._slice = slice
        self._deliveries: deque[_Delivery] = deque()

    def takes(self, members: int) -> bool:
        """Whether a batch for so many goes out in slices: there are too many, or it is not the first."""
        return members > self._slice or bool(self._deliveries)

    @property
    def full(self) -> bool:
        """Whether so many batches wait that no more should."""
        return len(self._deliveries) >= MOST_WAITING

    def begin(self, batch: Batch, personal: dict[Connection, Batch], audience: dict[Member, None], before: int) -> None:
        """Sends a batch behind those that wait; `before` is the seq that the audience has reached before it."""
        self._deliveries.append(_Delivery(batch, personal, audience, before))
        if len(self._deliveries) == 1:
            self._advance()

    def finish(self, member: Member) -> None:
        """Writes a member all that waits for it."""
        for delivery in self._deliveries:
            if member in delivery.audience:
                del delivery.audience[member]
                delivery.to(member)

    def forget(self, member: Member) -> int | None:
        """Writes a member nothing more; the seq that it has reached, None when nothing waited for it."""
        reached = None
        for delivery in reversed(self._deliveries):
            if member in delivery.audience:
                del delivery.audience[member]
                reached = delivery.before
        return reached

    def _advance(self) -> None:
        first = self._deliveries[0]
        size = sum(len(payload) for _, payload in first.batch.items)
        try:
            first.advance(max(1, min(self._slice, SLICE_BYTES // max(size, 1))))
        finally:  # whatever one member's transport does, the others are written to
            if not first.audience:
                self._deliveries.popleft()
            if self._deliveries:
                self._runtime.call_soon(self._advance)
