"""What brokers share: a room's recent entries in memory, and the table that knows a repeated publish. Time comes in."""

from __future__ import annotations

import sys
from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Mapping, Sequence
from hashlib import blake2b
from itertools import accumulate
from types import MappingProxyType
from typing import Final, NamedTuple

from hubbub.hub.ports import CONFLICT, Draft, Entry, Portion

REMEMBERED_MS: Final = 300_000
MAX_READERS: Final = 10_000
"""Cursors of a room: a client can make sessions without end, and each may leave one."""
NO_REPEATS: Final[Mapping[int, int]] = MappingProxyType({})
# Removed slots are given back when they are so many, and more than an eighth of all.
SLACK: Final = 32
_64_BITS: Final = (1 << 64) - 1


def repeatable(drafts: Sequence[Draft]) -> bool:
    """Whether any of them may be a repeat."""
    for draft in drafts:  # noqa: SIM110 - a third of the cost of any(); benchmark P3
        if draft.once is not None:
            return True
    return False


def fitting(entries: Sequence[Entry], max_bytes: int) -> Sequence[Entry]:
    """As many of the first entries as have no more than `max_bytes` of payload, at least one."""
    totals = list(accumulate(len(entry.payload) for entry in entries))
    return entries[: max(bisect_right(totals, max_bytes), 1)]


class Ring:
    """The newest entries of a log, bounded in number and bytes.

    Slots are in the order of seq and of time. In a latest-only ring a slot is emptied when its key gets a newer value.

    Args:
        count: entries held, 0 for no bound.
        size: bytes of payload held, 0 for no bound; the newest entry is held however large it is.
        latest: of each key only the newest entry is held.
        head: the seq of the newest entry of the log; the ring begins empty behind it.
    """

    __slots__ = (
        *("_keys", "_max_count", "_max_size", "_payloads", "_seqs", "_start", "_times", "_where"),
        *("count", "head", "latest", "lost", "size"),
    )

    def __init__(self, count: int, size: int, latest: bool, head: int = 0) -> None:
        self._max_count = count if count > 0 else sys.maxsize
        self._max_size = size if size > 0 else sys.maxsize
        self._seqs: list[int] = []
        self._times: list[int] = []
        self._payloads: list[bytes | None] = []
        self._keys: list[str] = []
        self._where: dict[str, int] | None = {} if latest else None
        self._start = 0
        self.latest = latest
        self.count = 0
        self.size = 0
        self.head = head
        self.lost = head
        """The newest seq that the ring has not, other than for a newer value of its key."""

    @property
    def oldest_time(self) -> int | None:
        """When the oldest entry was kept, Unix milliseconds; None without entries."""
        return self._times[self._start] if self.count else None

    def extend(self, time: int, payloads: Sequence[bytes], keys: Sequence[str]) -> None:
        """Takes entries behind the head; `time` is not less than that of the entry before."""
        first = self.head + 1
        count = len(payloads)
        self.head += count
        self.count += count
        if count == 1:  # the usual case at half the cost; benchmark P3
            self._seqs.append(first)
            self._times.append(time)
            self.size += len(payloads[0])
        else:
            self._seqs += range(first, first + count)
            self._times += [time] * count
            self.size += sum(map(len, payloads))
        self._payloads += payloads
        if self._where is not None:
            self._replace(self._where, first, keys)
        if self.count > self._max_count or self.size > self._max_size:
            self._trim()

    def restore(self, entry: Entry, key: str) -> None:
        """Takes an entry with a seq beyond the head."""
        self.head = entry.seq - 1
        self.extend(entry.time, (entry.payload,), (key,))

    def expire(self, before: float) -> bool:
        """Removes what was kept before a time, Unix milliseconds; tells whether there was any."""
        if not self.count or self._times[self._start] >= before:
            return False
        lost = self.lost
        self._drop_until(bisect_left(self._times, before, self._start))
        return self.lost != lost

    def discard(self, upto: int) -> None:
        """Removes the entries up to a seq."""
        self._drop_until(bisect_right(self._seqs, upto, self._start))
        self.lost = max(self.lost, upto)

    def read(self, after: int, limit: int, max_bytes: int) -> Portion:
        """As `Broker.read`; what was replaced by a newer value of its key is not missing."""
        first = bisect_right(self._seqs, after, self._start)
        stop = len(self._seqs) if self._where is not None else first + max(limit, 0)
        slots = zip(self._seqs[first:stop], self._times[first:stop], self._payloads[first:stop], strict=True)
        entries = [Entry(seq, time, payload) for seq, time, payload in slots if payload is not None]
        return Portion(fitting(entries[: max(limit, 0)], max_bytes), self.lost <= max(after, 0) <= self.head)

    def seek(self, time: int) -> int:
        """The seq of the last entry that was kept before a time, Unix milliseconds; 0 when the ring has none."""
        stop = bisect_left(self._times, time, self._start)
        while stop > self._start and self._payloads[stop - 1] is None:
            stop -= 1
        return self._seqs[stop - 1] if stop > self._start else 0

    def _replace(self, where: dict[str, int], first: int, keys: Sequence[str]) -> None:
        """Empties the slots whose keys have newer values."""
        self._keys.extend(keys)
        for seq, key in enumerate(keys, first):
            old = where.pop(key, 0)
            where[key] = seq
            if old:
                self._empty(bisect_left(self._seqs, old, self._start))
        self._compact()

    def _trim(self) -> None:
        excess = self.count - self._max_count
        if excess > 0 and self._where is None:
            self._drop_dense(excess)
        while self.count > 1 and (self.count > self._max_count or self.size > self._max_size):
            self._drop()
        if self._start > SLACK:
            self._compact()

    def _drop_until(self, stop: int) -> None:
        while self._start < stop:
            self._drop()
        self._compact()

    def _drop_dense(self, count: int) -> None:
        """Removes the oldest entries in one step: a full ring does so with every append (benchmark: fan-out)."""
        stop = self._start + count
        self.size -= sum(map(len, filter(None, self._payloads[self._start : stop])))
        self.count -= count
        self.lost = self._seqs[stop - 1]
        self._start = stop

    def _drop(self) -> None:
        """Removes the oldest slot."""
        if self._payloads[self._start] is not None:
            self.lost = self._seqs[self._start]
            if self._where is not None:
                del self._where[self._keys[self._start]]
            self._empty(self._start)
        self._start += 1

    def _empty(self, slot: int) -> None:
        payload = self._payloads[slot]
        assert payload is not None
        self._payloads[slot] = None
        self.size -= len(payload)
        self.count -= 1

    def _compact(self) -> None:
        """Gives the removed slots back; now and then, so that an append does not move the whole ring."""
        if self._start > SLACK + len(self._seqs) // 8:
            for column in (self._seqs, self._times, self._payloads, self._keys):
                del column[: self._start]
            self._start = 0
        if self._where is not None and len(self._seqs) > 2 * (self.count + SLACK):
            self._squeeze()

    def _squeeze(self) -> None:
        """Gives the empty slots back."""
        held = [slot for slot, payload in enumerate(self._payloads) if payload is not None]
        self._seqs = [self._seqs[slot] for slot in held]
        self._times = [self._times[slot] for slot in held]
        self._payloads = [self._payloads[slot] for slot in held]
        self._keys = [self._keys[slot] for slot in held]
        self._start = 0


class Sorted(NamedTuple):
    """The drafts of an append, told apart.

    Attributes:
        fresh: those that are to be kept.
        repeats: as in `Kept`.
        added: what was remembered of the fresh ones: digest, seq, fingerprint.
    """

    fresh: Sequence[Draft]
    repeats: Mapping[int, int]
    added: Sequence[tuple[bytes, int, int]]


class Recent:
    """Which publishes were seen in the last five to ten minutes: two generations, and the older one goes as a whole.

    Publishes are known by the epoch of their log, so that a log which begins anew does not know those of its past life.
    """

    def __init__(self) -> None:
        self._newer: dict[bytes, tuple[int, int]] = {}
        self._older: dict[bytes, tuple[int, int]] = {}
        self._turned_ms = 0

    def sort(self, epoch: str, time: int, first: int, drafts: Sequence[Draft]) -> Sorted:
        """Tells repeats from fresh drafts and remembers these, numbered from `first`; `time` in Unix milliseconds."""
        self._turn(time)
        fresh: list[Draft] = []
        repeats: dict[int, int] = {}
        added: list[tuple[bytes, int, int]] = []
        for index, draft in enumerate(drafts):
            if draft.once is not None:
                digest, fingerprint = (
                    _digest(epoch, draft.once.sender, draft.once.id),
                    draft.once.fingerprint & _64_BITS,
                )
                known = self._newer.get(digest) or self._older.get(digest)
                if known is not None:
                    repeats[index] = known[0] if known[1] == fingerprint else CONFLICT
                    continue
                added.append((digest, first + len(fresh), fingerprint))
                self.remember(*added[-1])
            fresh.append(draft)
        return Sorted(fresh, repeats, added)

    def remember(self, digest: bytes, seq: int, fingerprint: int) -> None:
        """Remembers one publish."""
        self._newer[digest] = (seq, fingerprint)

    def restore(self, records: Iterable[tuple[bytes, int, int]], time: int) -> None:
        """Remembers what was written down, for five minutes from now, Unix milliseconds."""
        self._turned_ms = time
        for record in records:
            self.remember(*record)

    def forget(self, added: Iterable[tuple[bytes, int, int]]) -> None:
        """Forgets publishes that were not kept after all."""
        for digest, _, _ in added:
            self._newer.pop(digest, None)
            self._older.pop(digest, None)

    def _turn(self, time: int) -> None:
        if time - self._turned_ms >= REMEMBERED_MS:
            self._older, self._newer = self._newer, {}
            self._turned_ms = time
        self._turned_ms = min(self._turned_ms, time)  # the clock may be set back


def _digest(epoch: str, sender: str, id: str) -> bytes:
    """16 bytes that stand for the three; lengths in front, so that no two differ only in where they are cut."""
    text = f"{len(epoch)}.{len(sender)}.{epoch}{sender}{id}"
    return blake2b(text.encode("utf-8", "surrogatepass"), digest_size=16).digest()
