"""memory://: a bounded ring of events per room, in this process and gone with it. Needs nothing; survives nothing."""

from __future__ import annotations

import os
from collections import OrderedDict
from collections.abc import Callable, Sequence
from typing import Final

from hubbub.brokers.ring import NO_REPEATS, Recent, Ring, repeatable
from hubbub.hub.ports import Answer, Draft, Kept, Portion, Position, Retention

# Events of a room after which it is looked whether the oldest are too old; none of these is ever read.
EXPIRE_EVERY: Final = 64


class _Log:
    """A room's events, and up to where its readers have them: reader -> (name, seq), in the order of acknowledging."""

    __slots__ = ("cursors", "epoch", "held_ms", "ring", "time")

    def __init__(self, epoch: str, retention: Retention) -> None:
        self.epoch = epoch
        self.held_ms = retention.seconds * 1000
        self.ring = Ring(retention.count, retention.bytes, retention.latest_only)
        self.time = 0
        self.cursors: dict[str, tuple[str, int]] = {}


class MemoryBroker:
    """Keeps the last events of each room; every call answers before it returns.

    Args:
        new_id: names each log's epoch.
        retention: how much of a room's log is held; asked once in a log's life.
        max_logs: logs kept of rooms that are closed; the one left longest ago goes first.
        now_ms: the time of day, Unix milliseconds.
    """

    def __init__(
        self,
        new_id: Callable[[], str],
        retention: Callable[[str], Retention],
        max_logs: int,
        now_ms: Callable[[], int],
    ) -> None:
        self.secret = os.urandom(32)
        self._new_id = new_id
        self._retention = retention
        self._max_logs = max_logs
        self._now_ms = now_ms
        self._recent = Recent()
        self._used: dict[str, _Log] = {}
        self._unused: OrderedDict[str, _Log] = OrderedDict()

    def open(self, room: str, opened: Answer[Position]) -> None:
        log = self._used.get(room) or self._unused.pop(room, None) or _Log(self._new_id(), self._retention(room))
        self._used[room] = log
        opened(Position(log.epoch, log.ring.head))

    def close(self, room: str) -> None:
        log = self._used.pop(room, None)
        if log is None or not (log.ring.head or log.cursors):
            return
        self._unused[room] = log
        while len(self._unused) > self._max_logs:
            self._unused.popitem(last=False)

    def append(self, room: str, time: int, drafts: Sequence[Draft], kept: Answer[Kept]) -> None:
        log = self._used[room]
        ring = log.ring
        first = ring.head + 1
        repeats = NO_REPEATS
        if repeatable(drafts):
            drafts, repeats, _ = self._recent.sort(log.epoch, time, first, drafts)
        if time > log.time:
            log.time = time
        keys = [draft.key for draft in drafts] if ring.latest else ()
        ring.extend(log.time, [draft.payload for draft in drafts], keys)
        if log.held_ms and first % EXPIRE_EVERY == 0:
            ring.expire(time - log.held_ms)
        kept(Kept(first, repeats))

    def read(self, room: str, after: int, limit: int, max_bytes: int, done: Answer[Portion]) -> None:
        done(self._held(room).read(after, limit, max_bytes))

    def seek(self, room: str, time: int, done: Answer[int]) -> None:
        done(self._held(room).seek(time))

    def acknowledge(self, room: str, reader: str, name: str, seq: int, done: Answer[int]) -> None:
        log = self._used[room]
        _, stored = log.cursors.get(reader, (name, -1))
        seq = min(seq, log.ring.head)  # nobody has received what is not there
        if seq > stored:
            log.cursors.pop(reader, None)  # to the end of the order
        if seq >= 0:
            log.cursors[reader] = (name, max(seq, stored))
        done(max(seq, stored, 0))

    def acknowledged(self, room: str, reader: str, done: Answer[int | None]) -> None:
        cursor = self._used[room].cursors.get(reader)
        done(cursor and cursor[1])

    def readers(self, room: str, limit: int, done: Answer[Sequence[tuple[str, str, int]]]) -> None:
        cursors = reversed(self._used[room].cursors.items())
        done([(reader, name, seq) for (reader, (name, seq)), _ in zip(cursors, range(limit), strict=False)])

    async def stop(self) -> None:
        """Nothing is held open."""

    def _held(self, room: str) -> Ring:
        """The room's entries that are not too old."""
        log = self._used[room]
        if log.held_ms:
            log.ring.expire(self._now_ms() - log.held_ms)
        return log.ring
