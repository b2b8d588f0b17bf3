"""A room of redis:// on this node: up to where it was told, what is ahead of that, and what waits for its answer.

Replies and the bus arrive on connections of their own, so either may be first; here they get one order, that of seq.
No I/O here: `redis.py` asks Redis what this says is missing.
"""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Callable, Sequence
from heapq import heappop, heappush
from typing import Any, Final, NamedTuple

from hubbub.brokers.ring import Ring
from hubbub.errors import BrokerError
from hubbub.hub.ports import Answer, Draft, Entry, Kept, Listener, Position, Retention

logger: Final = logging.getLogger("hubbub")
RING_COUNT: Final = 1000
RING_BYTES: Final = 1 << 20
MAX_AHEAD: Final = 256
"""Batches that are held for a hole before them; beyond, they are read again from the log."""
HOLE_SECONDS: Final = 0.05
"""How long what is missing may be on its way; then it is read."""


class Batch(NamedTuple):
    """Entries of others, and the numbers that they stand for: from `first` up to `last` there are no others."""

    first: int
    last: int
    entries: Sequence[tuple[Entry, str]]


class Append(NamedTuple):
    """Drafts that wait to be numbered."""

    time: int
    drafts: Sequence[Draft]
    kept: Answer[Kept]
    size: int


class Flight(NamedTuple):
    """Appends that are under way as one call."""

    number: int
    appends: Sequence[Append]


class Verdict(NamedTuple):
    """An answer, and whose it is."""

    kept: Answer[Kept]
    answer: Kept | BrokerError


class Result(NamedTuple):
    """What a call has come to: the numbers of `fresh` begin with `first`, which is 0 for a failure."""

    first: int
    fresh: Sequence[tuple[Entry, str]]
    verdicts: Sequence[Verdict]


class Hole(NamedTuple):
    """Numbers up to `upper` are missing; from `due` on they are read, but not while our own call `behind` is out."""

    upper: int
    due: float
    behind: int


class Room:
    """A room that is open here, or about to be, or has still something under way.

    Attributes:
        epoch: of its log; empty until it is known.
        told: the last number that this node was told of, in an answer or an arrival.
        known: the last number that is known to have been given.
    """

    __slots__ = (
        *("ahead", "checking", "doubtful", "epoch", "filling", "flight", "hole", "known", "listener", "lost", "name"),
        *("open", "openers", "pending", "results", "retention", "ring", "tells", "told", "_ties"),
        *("channel", "keys", "busy", "waiting"),
    )

    def __init__(self, name: str, retention: Retention, channel: bytes, keys: Sequence[bytes]) -> None:
        self.name = name
        self.retention = retention
        self.channel = channel
        self.keys = keys
        self.listener: Listener | None = None
        self.open = True
        self.openers: list[Answer[Position]] = []
        self.epoch = ""
        self.told = self.known = self.lost = 0
        self.ring = self._new_ring(0)
        self.pending: deque[Append] = deque()
        self.tells: list[bytes] = []
        self.waiting: list[tuple[int, Answer[None]]] = []
        self.flight: Flight | None = None
        self.results: deque[Result] = deque()
        self.ahead: list[tuple[int, int, Batch]] = []
        self.hole: Hole | None = None
        self.busy = self.filling = self.checking = self.doubtful = False
        self._ties = 0

    def _new_ring(self, head: int) -> Ring:
        count, size, _, latest = self.retention
        return Ring(min(count or RING_COUNT, RING_COUNT), min(size or RING_BYTES, RING_BYTES), latest, head)

    @property
    def idle(self) -> bool:
        """Whether nothing is under way."""
        return not (self.flight or self.pending or self.results or self.openers or self.tells or self.checking)

    def place(self, epoch: str, head: int, lost: int, tail: Sequence[tuple[Entry, str]], whole: bool) -> None:
        """The log is open; `tail` are its last entries, all that there are when `whole`."""
        self.epoch = epoch
        self.told = self.known = head
        self.lost = lost
        self.ring = self._new_ring(lost if whole or not tail else tail[0][0].seq - 1)
        if not tail:
            self.ring.lost = head if not whole else lost
        for entry, key in tail:
            self.ring.restore(entry, key)
        self.ring.head = head

    # What comes in

    def heard(self, first: int, last: int, entries: Sequence[tuple[Entry, str]]) -> None:
        """Others have kept entries; without them it is only known that they are there."""
        self.known = max(self.known, last)
        if last > self.told and entries and len(self.ahead) < MAX_AHEAD:
            self.put(Batch(first, last, entries))

    def put(self, batch: Batch) -> None:
        """Takes what was read from the log, or heard."""
        self._ties += 1
        heappush(self.ahead, (batch.first, self._ties, batch))

    def answered(self, result: Result, head: int) -> None:
        """A call of ours was carried out, or has failed."""
        self.known = max(self.known, head)
        self.results.append(result)

    def await_told(self, head: int, done: Answer[None]) -> None:
        """Answers once all up to a number has been told, or is known to be lost."""
        self.known = max(self.known, head)
        self.waiting.append((head, done))

    def stop_waiting(self, answer: BrokerError | None) -> None:
        """Answers all who wait for what others have kept."""
        waiting, self.waiting = self.waiting, []
        for _, done in waiting:
            self._call(done, answer)

    def missing(self, upto: int) -> None:
        """Entries up to a number are not held any more; what follows goes on behind it."""
        self.told = upto
        self.known = max(self.known, upto)
        self.ring = self._new_ring(upto)
        self._say_moved(upto)

    def renew(self, epoch: str, head: int) -> None:
        """The log was lost: it begins anew."""
        waiting, self.waiting = self.waiting, []
        self.give_up(BrokerError("the log was lost, and what was in it"))
        self.epoch, self.told, self.known, self.lost = epoch, 0, head, 0
        self.ring = self._new_ring(0)
        self.ahead, self.hole = [], None
        self._say_moved(0)
        self.waiting = waiting
        self.stop_waiting(None)

    def give_up(self, error: BrokerError) -> None:
        """Fails what was kept but cannot be told of in its turn; if it is there after all, it arrives later."""
        self.stop_waiting(error)
        results, self.results = self.results, deque()
        for result in results:
            for kept, answer in result.verdicts:
                self._call(kept, error if result.first else answer)

    # What goes out, in the order of seq

    def advance(self) -> None:
        """Tells of all that is next."""
        while True:
            if self.results and self.results[0].first <= self.told + 1:
                self._settle(self.results.popleft())
            elif self.ahead and self.ahead[0][0] <= self.told + 1:
                self._arrive(heappop(self.ahead)[2])
            else:
                break
        due = [done for head, done in self.waiting if head <= self.told]
        self.waiting = [(head, done) for head, done in self.waiting if head > self.told]
        for done in due:
            self._call(done, None)

    def look(self, due: float) -> None:
        """Notes the next hole, if there is one, to be read then."""
        if self.told >= self.known:
            self.hole = None
        elif self.hole is None or self.hole.upper <= self.told:
            upper = min(self.known, self._next() - 1)
            self.hole = Hole(upper, due, self.flight.number if self.flight else 0)
        else:  # our own answer, or a message, may be there of what was missing
            upper = min(self.hole.upper, self._next() - 1)
            self.hole = self.hole._replace(upper=upper, due=min(due, self.hole.due))

    def is_due(self, now: float) -> bool:
        """Whether a hole is to be read now: our own call, if it was out then, has not filled it."""
        hole = self.hole
        if hole is None or self.filling or now < hole.due:
            return False
        return self.flight is None or self.flight.number != hole.behind

    def _next(self) -> int:
        """The first number that is there, ahead of the hole."""
        following = [result.first for result in self.results if result.first][:1]
        if self.ahead:
            following.append(self.ahead[0][0])
        return min(following, default=self.known + 1)

    def _settle(self, result: Result) -> None:
        if result.fresh:
            self._keep(result.fresh, result.fresh[-1][0].seq)
        for kept, answer in result.verdicts:
            self._call(kept, answer)

    def _arrive(self, batch: Batch) -> None:
        if batch.last <= self.told:
            return
        own = next((result.first for result in self.results if result.first), batch.last + 1)
        if own <= batch.last:  # read before our answer was there
            self.put(Batch(own, batch.last, [item for item in batch.entries if item[0].seq >= own]))
            batch = Batch(batch.first, own - 1, [item for item in batch.entries if item[0].seq < own])
        entries = [item for item in batch.entries if item[0].seq > self.told]
        self._keep(entries, batch.last)
        if entries and self.open and self.listener is not None:
            self._call(self.listener.arrived, self.name, [entry for entry, _ in entries])

    def _keep(self, entries: Sequence[tuple[Entry, str]], last: int) -> None:
        for entry, key in entries:
            self.ring.restore(entry, key)
        self.told = self.ring.head = last
        self.known = max(self.known, last)

    def _say_moved(self, upto: int) -> None:
        if self.open and self.listener is not None:
            self._call(self.listener.moved, self.name, Position(self.epoch, upto))

    def _call(self, callback: Callable[..., None], *arguments: Any) -> None:
        try:
            callback(*arguments)
        except Exception:
            logger.exception("an answer was not taken: room=%r", self.name)


def result_of(flight: Flight, first: int, time: int, flat: Sequence[int]) -> Result:
    """What became of each append of a call; `flat` has the place of each repeat, and the seq of what it repeats."""
    repeats = dict(zip(flat[::2], flat[1::2], strict=True))
    fresh: list[tuple[Entry, str]] = []
    verdicts: list[Verdict] = []
    index, seq = 0, first
    for append in flight.appends:
        begin, known = seq, {}
        for at, draft in enumerate(append.drafts):
            if index in repeats:
                known[at] = repeats[index]
            else:
                fresh.append((Entry(seq, time, draft.payload), draft.key))
                seq += 1
            index += 1
        verdicts.append(Verdict(append.kept, Kept(begin, known)))
    return Result(first, fresh, verdicts)


def failure_of(appends: Sequence[Append], error: BrokerError) -> Result:
    """The answers of appends that were not kept; they come in their turn."""
    return Result(0, (), [Verdict(append.kept, error) for append in appends])
