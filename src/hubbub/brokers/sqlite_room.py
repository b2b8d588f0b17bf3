"""A room of sqlite:// in memory: its numbers, its newest entries, and when something is to be removed."""

from __future__ import annotations

import math
from typing import Final

from hubbub.brokers.ring import MAX_READERS, Ring
from hubbub.brokers.sqlite_file import TRIM_ROWS, Forget, Insert, Stored, Trim
from hubbub.hub.ports import Retention

RING_COUNT: Final = 1000
RING_BYTES: Final = 1 << 20
FORGET_READERS: Final = 1000
"""After so many acknowledgements it is looked whether the room has too many readers."""
STAMPS: Final = 1000
"""A cursor's stamp is in microseconds, so that those of one millisecond have an order."""
TAIL: Final = 200
"""Entries of a room that are read when it is opened: what most clients ask for."""


class Room:
    """A room in memory. `head`, `count` and `size` include what is not committed yet; the ring does not.

    `lost` is the newest seq that is not held, other than for a newer value of its key.
    """

    __slots__ = (
        *("count", "epoch", "head", "id", "lost", "name", "oldest_time", "pending", "retention"),
        *("ring", "saved", "size", "time", "trimming", "until_forget"),
    )

    def __init__(self, name: str, retention: Retention, stored: Stored, saved: bool) -> None:
        self.name = name
        self.retention = retention
        self.saved = saved
        self.id = stored.id
        self.epoch = stored.epoch
        self.head = stored.head
        self.lost = stored.lost
        self.time = stored.time
        self.oldest_time = stored.oldest_time
        self.count = stored.count
        self.size = stored.size
        self.pending = 0
        self.trimming = False
        self.until_forget = 0 if saved else FORGET_READERS  # nobody has counted those in the file
        floor = stored.lost if len(stored.tail) < TAIL else stored.tail[0][0].seq - 1
        self.ring = Ring(RING_COUNT, RING_BYTES, retention.latest_only, floor)
        for entry, key in stored.tail:
            self.ring.restore(entry, key)
        self.ring.head = stored.head

    def expire(self, now: int) -> int:
        """Lets go of what is too old; returns since when events are held, Unix milliseconds."""
        if not self.retention.seconds:
            return 0
        before = math.ceil(now - self.retention.seconds * 1000)
        if self.ring.expire(before):
            self.lost = self.ring.lost
        return before

    def number(self, insert: Insert) -> None:
        """Counts events that are on their way to the file."""
        self.head += len(insert.payloads)
        self.count += len(insert.payloads)
        self.size += sum(map(len, insert.payloads))
        if self.oldest_time is None:
            self.oldest_time = insert.time

    def trim(self, now: int) -> Trim | None:
        """What is to be removed, once it is a tenth too much: most appends need not look."""
        count, size, seconds, latest = self.retention
        before = math.ceil(now - seconds * 1000) if seconds else 0
        too_many = count and self.count > count + count // 10
        too_large = size and self.size > size + size // 10
        too_old = seconds and self.oldest_time is not None and self.oldest_time < before - seconds * 100
        if self.trimming or not (too_many or too_large or too_old):
            return None
        self.trimming = True
        return Trim(self.id, latest, before, self.count, self.size, count, size)

    def trimmed(self, trim: Trim) -> None:
        """Takes over what was removed from the file."""
        self.trimming = False
        counted, weighed = (trim.count, trim.size) if trim.latest else (self.count, self.size)
        self.count, self.size = counted - trim.gone, weighed - trim.gone_size
        if trim.gone < TRIM_ROWS and self.oldest_time is not None:
            self.oldest_time = max(self.oldest_time, trim.before)
        if trim.lost > self.lost:
            self.lost = trim.lost
            self.ring.discard(trim.lost)

    def forget(self, now: int, moved: int) -> Forget | None:
        """Which cursors are to be removed, once so many have moved that there may be any."""
        self.until_forget -= moved
        if self.until_forget > 0:
            return None
        self.until_forget = FORGET_READERS
        return Forget(self.id, self._oldest_stamp(now), MAX_READERS)

    def forget_old(self, now: int, oldest: int | None) -> Forget | None:
        """Which cursors are to be removed when the oldest has a stamp."""
        return None if oldest is None or oldest >= self._oldest_stamp(now) else self.forget(now, FORGET_READERS)

    def _oldest_stamp(self, now: int) -> int:
        """Of a cursor that moved while events were kept that are held; those of before are of no use."""
        seconds = self.retention.seconds
        return max(math.ceil(now - seconds * 1000), 0) * STAMPS if seconds else 0

    def reset(self, insert: Insert) -> None:
        """Takes back the numbers of events that were not kept."""
        self.head = self.ring.head
        self.count -= len(insert.payloads)
        self.size -= sum(map(len, insert.payloads))
