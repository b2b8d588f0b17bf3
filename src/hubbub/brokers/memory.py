"""memory://: a bounded ring of events per room, in this process and gone with it. Needs nothing; survives nothing."""

from __future__ import annotations

import os
from collections import OrderedDict
from collections.abc import Callable, Sequence
from typing import Final

from hubbub.brokers.alone import Alone
from hubbub.brokers.ring import MAX_READERS, NO_REPEATS, Recent, Ring
from hubbub.hub.ports import Answer, Draft, Kept, Portion, Position, Retention

# Events of a room after which it is looked whether the oldest are too old; none of these is ever read.
EXPIRE_EVERY: Final = 64
MAX_UNUSED_BYTES: Final = 256 << 20
"""All logs of closed rooms together: 16 rooms as full as the defaults allow, and most rooms hold far less."""
EVENT_BYTES: Final = 128
CURSOR_BYTES: Final = 384
"""About what an event takes beside its payload, and what a cursor takes."""


class _Log:
    """A room's events, and up to where its readers have them: reader -> (name, seq), in the order of acknowledging."""

    __slots__ = ("cursors", "epoch", "held_ms", "ring", "time")

    def __init__(self, epoch: str, retention: Retention) -> None:
        self.epoch = epoch
        self.held_ms = retention.seconds * 1000
        self.ring = Ring(retention.count, retention.bytes, retention.latest_only)
        self.time = 0
        self.cursors: dict[str, tuple[str, int]] = {}

    @property
    def weight(self) -> int:
        """About how many bytes it takes."""
        return self.ring.size + EVENT_BYTES * self.ring.count + CURSOR_BYTES * len(self.cursors)

    def acknowledge(self, reader: str, name: str, seq: int) -> None:
        """Moves a cursor to the end of the order; the oldest goes when there are too many."""
        self.cursors.pop(reader, None)
        self.cursors[reader] = (name, seq)
        if len(self.cursors) > MAX_READERS:
            del self.cursors[next(iter(self.cursors))]


class MemoryBroker(Alone):
    """Keeps the last events of each room; every call answers before it returns.

    Args:
        new_epoch: names a log's epoch.
        retention: how much of a room's log is held; asked once in a log's life.
        max_logs: logs kept of rooms that are closed, with 256 MB in all; the one left longest ago goes first, and the
            one left last is kept however large it is.
        now_ms: the time of day, Unix milliseconds.
    """

    def __init__(
        self,
        new_epoch: Callable[[], str],
        retention: Callable[[str], Retention],
        max_logs: int,
        now_ms: Callable[[], int],
    ) -> None:
        super().__init__()
        self.secret = os.urandom(32)
        self._new_epoch = new_epoch
        self._retention = retention
        self._max_logs = max_logs
        self._now_ms = now_ms
        self._recent = Recent()
        self._used: dict[str, _Log] = {}
        self._unused: OrderedDict[str, tuple[_Log, int]] = OrderedDict()
        self._unused_bytes = 0

    def open(self, room: str, opened: Answer[Position]) -> None:
        log = self._used.get(room)
        if log is None:
            log, weight = self._unused.pop(room, (None, 0))
            self._unused_bytes -= weight
            log = self._used[room] = log or _Log(self._new_epoch(), self._retention(room))
        opened(Position(log.epoch, log.ring.head))

    def close(self, room: str) -> None:
        log = self._used.pop(room, None)
        if log is None or not (log.ring.head or log.cursors):
            return
        weight = log.weight
        self._unused[room] = (log, weight)
        self._unused_bytes += weight
        while len(self._unused) > self._max_logs or (self._unused_bytes > MAX_UNUSED_BYTES and len(self._unused) > 1):
            _, (_, weight) = self._unused.popitem(last=False)
            self._unused_bytes -= weight

    def append(self, room: str, time: int, drafts: Sequence[Draft], kept: Answer[Kept]) -> None:
        log = self._used[room]
        ring = log.ring
        first = ring.head + 1
        repeats = NO_REPEATS
        for draft in drafts:
            if draft.once is not None:
                drafts, repeats, _ = self._recent.sort(log.epoch, time, first, drafts)
                break
        if time > log.time:
            log.time = time
        keys = [draft.key for draft in drafts] if ring.latest else ()
        ring.extend(log.time, [draft.payload for draft in drafts], keys)
        if log.held_ms and first % EXPIRE_EVERY == 0:
            ring.expire(time - log.held_ms)
        kept(Kept(first, repeats))

    def read(self, room: str, after: int, limit: int, max_bytes: int, done: Answer[Portion]) -> None:
        done(self._held(room).read(after, limit, max_bytes))

    def refresh(self, room: str, done: Answer[None]) -> None:
        done(None)  # there are no other nodes

    def seek(self, room: str, time: int, done: Answer[int]) -> None:
        done(self._held(room).seek(time))

    def acknowledge(self, room: str, reader: str, name: str, seq: int, done: Answer[int]) -> None:
        log = self._used[room]
        known, stored = log.cursors.get(reader, (name, -1))
        name = name or known
        seq = min(seq, log.ring.head)  # nobody has received what is not there
        if seq > stored:
            log.acknowledge(reader, name, seq)
        elif seq >= 0:
            log.cursors[reader] = (name, stored)
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
