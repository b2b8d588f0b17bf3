"""sqlite://: rooms in a file. Events are numbered on the loop's thread, written by one thread, and read by another."""

from __future__ import annotations

import asyncio
import atexit
import logging
import os
import sqlite3
from collections import OrderedDict, deque
from collections.abc import Callable, Sequence
from functools import partial
from hashlib import blake2b
from pathlib import Path
from queue import Empty, SimpleQueue
from threading import Thread
from time import monotonic, sleep
from typing import Final, TypeVar

from hubbub.brokers.alone import Alone
from hubbub.brokers.epoch import EPOCH_BYTES, name_epoch
from hubbub.brokers.ring import NO_REPEATS, Recent, repeatable
from hubbub.brokers.sqlite_file import RECORD, TRIM_ROWS, Change, Cursor, File, Insert, NewRoom, Stored, Trim
from hubbub.brokers.sqlite_open import open_file
from hubbub.brokers.sqlite_room import STAMPS, TAIL, Room
from hubbub.errors import BrokerError
from hubbub.hub.ports import Answer, Draft, Kept, Portion, Position, Retention

logger: Final = logging.getLogger("hubbub")
CACHED: Final = 200
"""Rooms that stay in memory after they were closed."""
MAX_BATCH: Final = 1000
"""Appends of one transaction: about 10 ms."""
PATIENCE_SECONDS: Final = 0.005
GIVE_WAY_SECONDS: Final = 0.0001
"""A loop that never sleeps keeps the GIL from the writer: when work waits so long, the loop pauses, and lets go of it.

Measured with an append of 200 bytes a turn, each behind 0.2 ms of other work, for 4 s on two shared cores: 99 of 100
appends are answered within 23 to 29 ms instead of 308 to 429, at about the same number of appends.
"""
SWEEP_MS: Final = 30_000
SWEEP_ROOMS: Final = 20
"""So many rooms that nobody may have opened for long are looked at in a sweep."""
EXIT_SECONDS: Final = 1.0
"""What each thread gets at the end of the process."""
MOST: Final = (1 << 63) - 1

T = TypeVar("T")
Finish = Callable[[BrokerError | None], None]


class _Job:
    """What goes to the file together, and is answered when it is there."""

    __slots__ = ("added", "changes", "finish", "generation", "room")

    def __init__(self, room: Room, generation: int, changes: Sequence[Change], finish: Finish) -> None:
        self.room = room
        self.generation = generation
        self.changes = changes
        self.finish = finish
        self.added: Sequence[tuple[bytes, int, int]] = ()


class SqliteBroker(Alone):
    """Keeps events in a file, which survives the end of the process; with synchronous FULL also a loss of power.

    A commit takes whatever was appended since the last one. When it fails, all that is numbered but not kept fails with
    it, and the next append is tried anew. A room may hold a tenth more than its retention says.

    Args:
        path: of the file; it is made when it does not exist.
        retention: how much of a room's log is held.
        now_ms: the time of day, Unix milliseconds; called from any thread.
        post: has a callback called on the loop's thread, soon and in order; called from any thread.
        synchronous: OFF, NORMAL or FULL, as SQLite has it.

    Raises:
        ConfigError: the path cannot be used; nothing was changed.
        BrokerError: the file is damaged or the disk is full.
    """

    def __init__(
        self,
        path: Path,
        retention: Callable[[str], Retention],
        now_ms: Callable[[], int],
        post: Callable[[Callable[[], None]], object],
        synchronous: str = "NORMAL",
    ) -> None:
        super().__init__()
        self._path = path
        self._retention = retention
        self._now_ms = now_ms
        self._post_to_loop = post
        self._rooms: dict[str, Room] = {}
        self._open: set[str] = set()
        self._unused: OrderedDict[str, None] = OrderedDict()
        self._loading: dict[str, list[Answer[Room]]] = {}
        self._recent = Recent()
        self._pending: deque[_Job] = deque()
        self._generation = 1
        self._stamp = 0
        self._waiting_since = 0.0
        self._swept_ms = self._swept_room = 0
        self._changes: SimpleQueue[_Job | None] = SimpleQueue()
        self._questions: SimpleQueue[tuple[Callable[[], object], Callable[[object], None]] | None] = SimpleQueue()
        self._stopping = self._wrote = self._ended = False
        self._process = os.getpid()
        self._file = File(open_file(path, synchronous))
        self._start()

    def _start(self) -> None:
        try:
            self.secret, self._life = self._file.secret, self._file.life
            self._next_room = self._file.last_room + 1
            self._recent.restore(self._file.records(), self._now_ms())
        except (sqlite3.Error, TypeError, ValueError) as error:
            self._file.close()
            raise BrokerError(f"{self._path}: the file is damaged: {error}: bring a backup of it") from error
        self._writer = Thread(target=self._write, name="hubbub-sqlite-writer", daemon=True)
        self._reader = Thread(target=self._read, name="hubbub-sqlite-reader", daemon=True)
        self._writer.start()
        self._reader.start()
        atexit.register(self._at_exit)

    # The port

    def open(self, room: str, opened: Answer[Position]) -> None:
        self._open.add(room)
        self._unused.pop(room, None)
        self._load(room, partial(self._opened, room, opened))
        self._sweep()

    def close(self, room: str) -> None:
        self._open.discard(room)
        if room in self._rooms:
            self._unused[room] = None
            self._evict()

    def append(self, room: str, time: int, drafts: Sequence[Draft], kept: Answer[Kept]) -> None:
        log = self._rooms[room]
        repeats = NO_REPEATS
        added: Sequence[tuple[bytes, int, int]] = ()
        first = log.head + 1
        if repeatable(drafts):
            drafts, repeats, added = self._recent.sort(log.epoch, time, first, drafts)
        payloads, keys = [draft.payload for draft in drafts], [draft.key for draft in drafts]
        log.time = max(log.time, time)
        answer = Kept(first, repeats)
        if not payloads:
            self._behind(log, kept, partial(kept, answer))
            return
        records = b"".join([RECORD.pack(*record) for record in added])
        insert = Insert(log.id, log.retention.latest_only, first, log.time, payloads, keys, records)
        log.number(insert)
        trim = log.trim(time)
        changes = (insert,) if trim is None else (insert, trim)
        self._put(log, changes, lambda error: kept(error or answer), added)

    def read(self, room: str, after: int, limit: int, max_bytes: int, done: Answer[Portion]) -> None:
        log = self._rooms[room]
        before = log.expire(self._now_ms())
        if after >= log.ring.lost or log.lost >= log.ring.lost:
            done(log.ring.read(after, limit, max_bytes))
            return
        bounds = (max(after, 0), log.ring.head, before, min(max(limit, 0), MOST), min(max(max_bytes, 0), MOST))
        self._ask(lambda: Portion(*self._file.read(log.id, *bounds)), done)

    def refresh(self, room: str, done: Answer[None]) -> None:
        done(None)  # there are no other nodes

    def seek(self, room: str, time: int, done: Answer[int]) -> None:
        log = self._rooms[room]
        before = log.expire(self._now_ms())
        found = log.ring.seek(time)
        if found or time <= before or log.lost >= log.ring.lost:
            done(found)
            return
        self._ask(partial(self._file.seek, log.id, log.ring.head, before, min(time, MOST)), done)

    def acknowledge(self, room: str, reader: str, name: str, seq: int, done: Answer[int]) -> None:
        if seq < 0:
            self.acknowledged(room, reader, lambda stored: done(stored or 0))
            return
        log = self._rooms[room]
        now = self._now_ms()
        self._stamp = max(self._stamp + 1, now * STAMPS)
        # Nobody has received what is not there.
        cursor = Cursor(log.id, reader, name, min(seq, log.ring.head), self._stamp)
        forget = log.forget(now, 1)
        changes = (cursor,) if forget is None else (cursor, forget)
        self._put(log, changes, lambda error: done(error or cursor.stored))

    def acknowledged(self, room: str, reader: str, done: Answer[int | None]) -> None:
        log = self._rooms[room]
        self._behind(log, done, lambda: self._ask(lambda: self._file.acknowledged(log.id, reader), done))

    def readers(self, room: str, limit: int, done: Answer[Sequence[tuple[str, str, int]]]) -> None:
        log = self._rooms[room]
        most = min(max(limit, 0), MOST)
        self._behind(log, done, lambda: self._ask(lambda: self._file.readers(log.id, most), done))

    async def stop(self) -> None:
        if self._stopping:
            return
        self._stopping = True
        atexit.unregister(self._at_exit)
        self._changes.put(None)
        await asyncio.to_thread(self._writer.join)
        await asyncio.sleep(0)  # what the writer has posted may ask the reader
        self._wrote = True
        self._refuse()
        self._questions.put(None)
        await asyncio.to_thread(self._reader.join)
        self._ended = True
        while not self._questions.empty():
            self._refuse_question()
        await asyncio.to_thread(self._file.close)

    def _refuse(self) -> None:
        """Answers what was put behind the end."""
        if self._pending:
            self._failed(BrokerError(f"{self._path}: the broker has stopped"))

    def _refuse_question(self) -> None:
        asked = self._questions.get_nowait()
        if asked is not None:
            asked[1](BrokerError(f"{self._path}: the broker has stopped"))

    def _at_exit(self) -> None:
        """Keeps what was appended where nobody has called `stop`: mounts get no lifespan from most hosts."""
        if os.getpid() != self._process:  # of a fork: the file is the parent's
            return
        self._post_to_loop = lambda callback: None  # the loop has ended
        for queue, thread in ((self._changes, self._writer), (self._questions, self._reader)):
            queue.put(None)
            thread.join(EXIT_SECONDS)
        if not (self._writer.is_alive() or self._reader.is_alive()):
            self._file.close()

    # Rooms

    def _load(self, name: str, done: Answer[Room]) -> None:
        room = self._rooms.get(name)
        if room is not None:
            done(room)
        elif name in self._loading:
            self._loading[name].append(done)
        else:
            self._loading[name] = [done]
            retention = self._retention(name)
            weigh = retention.bytes > 0 or retention.latest_only
            self._ask(partial(self._file.load, name, TAIL, weigh), partial(self._loaded, name, retention))

    def _loaded(self, name: str, retention: Retention, stored: Stored | BrokerError | None) -> None:
        waiting = self._loading.pop(name)
        room = stored if isinstance(stored, BrokerError) else self._enter(name, retention, stored)
        for done in waiting:
            done(room)

    def _enter(self, name: str, retention: Retention, stored: Stored | None) -> Room:
        new = Stored(self._next_room, self._epoch(name), 0, 0, 0, None, 0, 0)
        self._next_room += stored is None
        room = self._rooms[name] = Room(name, retention, stored or new, stored is not None)
        self._trim(room)
        self._forget_old(room, stored or new)
        if name not in self._open:
            self._unused[name] = None
            self._unused.move_to_end(name, last=False)
            self._evict()
        return room

    def _epoch(self, name: str) -> str:
        """Of a room that is not in the file: the same after a restart, so that the place before its first event is."""
        return name_epoch(blake2b(name.encode(), digest_size=EPOCH_BYTES, key=self.secret, salt=self._life).digest())

    def _opened(self, name: str, opened: Answer[Position], room: Room | BrokerError) -> None:
        if isinstance(room, BrokerError):
            self._open.discard(name)
            opened(room)
        else:
            opened(Position(room.epoch, room.ring.head))

    def _evict(self) -> None:
        while len(self._unused) > CACHED:
            name = next(iter(self._unused))
            if self._rooms[name].pending:
                break
            del self._unused[name], self._rooms[name]

    def _trim(self, room: Room) -> None:
        trim = room.trim(self._now_ms())
        if trim is not None:
            self._put(room, (trim,), lambda error: None)

    def _forget_old(self, room: Room, stored: Stored) -> None:
        self._stamp = max(self._stamp, stored.newest_stamp or 0)  # the clock may have been set back
        forget = room.forget_old(self._now_ms(), stored.oldest_stamp)
        if forget is not None:
            self._put(room, (forget,), lambda error: None)

    def _sweep(self) -> None:
        """Looks at a few of the rooms in the file now and then: loading one has it trimmed."""
        now = self._now_ms()
        if now - self._swept_ms >= SWEEP_MS:
            self._swept_ms = now
            self._ask(lambda: self._file.names(self._swept_room, SWEEP_ROOMS), self._swept)

    def _swept(self, rooms: Sequence[tuple[int, str]] | BrokerError) -> None:
        if isinstance(rooms, BrokerError):
            return
        self._swept_room = rooms[-1][0] if rooms else 0
        for _, name in rooms:
            if self._retention(name).seconds:
                self._load(name, lambda room: None)

    # Writing

    def _put(
        self, room: Room, changes: Sequence[Change], finish: Finish, added: Sequence[tuple[bytes, int, int]] = ()
    ) -> None:
        if changes and not room.saved:
            changes = (NewRoom(room.id, room.name, room.epoch), *changes)
        job = _Job(room, self._generation, changes, finish)
        job.added = added
        room.pending += 1
        self._pending.append(job)
        if self._wrote:
            self._refuse()
            return
        self._changes.put(job)
        self._give_way()

    def _give_way(self) -> None:
        """Pauses when the writer has not come back for long: it may be waiting for the GIL."""
        now = monotonic()
        if len(self._pending) == 1:
            self._waiting_since = now
        elif now - self._waiting_since > PATIENCE_SECONDS:
            self._waiting_since = now
            sleep(GIVE_WAY_SECONDS)

    def _behind(self, room: Room, done: Callable[[BrokerError], None], action: Callable[[], None]) -> None:
        """Acts once everything is answered that was put before."""
        if room.pending:
            self._put(room, (), lambda error: done(error) if error else action())
        else:
            action()

    def _committed(self, count: int) -> None:
        """On the loop's thread: the first `count` pending jobs are in the file."""
        for _ in range(count):
            job = self._pending.popleft()
            job.room.pending -= 1
            for change in job.changes:
                self._apply(job.room, change)
            self._finish(job, None)
        self._waiting_since = monotonic()
        self._sweep()

    def _apply(self, room: Room, change: Change) -> None:
        if isinstance(change, Insert):
            room.ring.extend(change.time, change.payloads, change.keys)
        elif isinstance(change, Trim):
            room.trimmed(change)
            if change.gone == TRIM_ROWS:  # there may be more
                self._trim(room)
        elif isinstance(change, NewRoom):
            room.saved = True

    def _failed(self, error: BrokerError) -> None:
        """On the loop's thread: nothing that is pending will be in the file; the writer passes over it."""
        self._generation += 1
        failed, self._pending = self._pending, deque()
        for job in failed:
            job.room.pending = 0
            job.room.trimming = False
            self._recent.forget(job.added)
            for change in job.changes:
                if isinstance(change, Insert):
                    job.room.reset(change)
        for job in failed:
            self._finish(job, error)

    def _finish(self, job: _Job, error: BrokerError | None) -> None:
        try:
            job.finish(error)
        except Exception:
            logger.exception("an answer of %s was not taken", self._path)

    # The threads

    def _write(self) -> None:
        failed = 0
        jobs: list[_Job | None] = []
        while not jobs or jobs[-1] is not None:
            jobs = self._take()
            due = [job for job in jobs if job is not None and job.generation > failed]
            error = self._attempt(partial(self._commit, due))
            if isinstance(error, BrokerError):
                failed = due[-1].generation
                self._post(partial(self._failed, error))
            elif due:
                self._post(partial(self._committed, len(due)))

    def _commit(self, jobs: Sequence[_Job]) -> None:
        changes = [change for job in jobs for change in job.changes]
        if changes:
            self._file.commit(changes, self._now_ms())

    def _take(self) -> list[_Job | None]:
        """Waits for a job, and takes all that are there."""
        jobs = [self._changes.get()]
        try:
            while jobs[-1] is not None and len(jobs) < MAX_BATCH:
                jobs.append(self._changes.get_nowait())
        except Empty:
            pass
        return jobs

    def _ask(self, question: Callable[[], T], answer: Answer[T]) -> None:
        self._questions.put((question, answer))  # type: ignore[arg-type]
        if self._ended:
            self._refuse_question()

    def _read(self) -> None:
        while (asked := self._questions.get()) is not None:
            question, answer = asked
            self._post(partial(answer, self._attempt(question)))

    def _attempt(self, action: Callable[[], T]) -> T | BrokerError:
        try:
            return action()
        except (BrokerError, sqlite3.Error) as error:
            return BrokerError(f"{self._path}: {error}")
        except Exception as error:
            logger.exception("%s: this should not have happened", self._path)
            return BrokerError(f"{self._path}: {error!r}")

    def _post(self, callback: Callable[[], None]) -> None:
        try:
            self._post_to_loop(callback)
        except RuntimeError:
            logger.exception("%s: an answer is lost, for the event loop has ended", self._path)
