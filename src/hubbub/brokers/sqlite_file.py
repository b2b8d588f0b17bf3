"""The SQL of sqlite://: what is written and read. Knows no threads, no answers, no clock.

A call of sqlite3 gives the GIL away, and a busy event loop hands it back up to 5 ms later. So a transaction has few
statements, of many rows each, and whatever is read comes back as one row.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from itertools import accumulate, chain, pairwise
from operator import attrgetter
from struct import Struct
from typing import Any, Final, NamedTuple

from hubbub.brokers.sqlite_open import Opened, close_file
from hubbub.errors import BrokerError
from hubbub.hub.ports import Entry

TRIM_ROWS: Final = 1000
"""Rows that one `Trim` looks at: about a millisecond."""
MAX_CHUNK: Final = 256
"""Rows of a statement."""
RECORD: Final = Struct("<16sqQ")
"""What is remembered of a publish: digest, seq, fingerprint."""
FORGET_EVERY: Final = 64
"""After so many commits with records as many old ones, and some more, are removed."""

# `head`, `lost` and `time` of a room are written when events are removed; until then the newest event tells.
LOAD: Final = """
SELECT id, epoch, max(head, coalesce((SELECT max(seq) FROM event WHERE room = id), 0)), lost, max(time, coalesce(
    (SELECT time FROM event WHERE room = id ORDER BY seq DESC LIMIT 1), 0)),
    (SELECT time FROM event WHERE room = id ORDER BY seq LIMIT 1),
    (SELECT min(stamp) FROM cursor WHERE room = id), (SELECT max(stamp) FROM cursor WHERE room = id)
FROM room WHERE name = ?"""
HEAD: Final = "SELECT seq, time FROM event WHERE room = ? ORDER BY seq DESC LIMIT 1"
SIZE: Final = "SELECT count(*), coalesce(sum(length(payload)), 0) FROM event WHERE room = ?"
ENTRIES: Final = """
SELECT group_concat(seq || ' ' || time || ' ' || length(payload) || ' ' || length(coalesce(key, x'')), ' '),
    CAST(group_concat(payload, '') AS BLOB), CAST(group_concat(coalesce(key, x''), '') AS BLOB)"""
NEWEST: Final = f"""{ENTRIES}
FROM (SELECT * FROM (SELECT * FROM event WHERE room = ? ORDER BY seq DESC LIMIT ?) ORDER BY seq)"""  # noqa: S608
READ: Final = f"""{ENTRIES}, (SELECT lost FROM room WHERE id = :room),
    (SELECT time FROM event WHERE room = :room AND seq > :after ORDER BY seq LIMIT 1)
FROM (SELECT *, sum(length(payload)) OVER (ORDER BY seq ROWS UNBOUNDED PRECEDING) AS total FROM (
    SELECT * FROM event WHERE room = :room AND seq > :after AND seq <= :upto AND time >= :before
    ORDER BY seq LIMIT :limit))
WHERE total <= :max_bytes OR total = length(payload)"""  # noqa: S608
# Halves the log until `low` is the last event before the time.
SEEK: Final = """
WITH RECURSIVE half (low, high) AS (
    VALUES (0, :upto + 1)
    UNION ALL
    SELECT CASE WHEN time < :time THEN (low + high) / 2 ELSE low END,
        CASE WHEN time < :time THEN high ELSE (low + high) / 2 END
    FROM half LEFT JOIN event ON room = :room AND seq =
        (SELECT seq FROM event WHERE room = :room AND seq >= (low + high) / 2 ORDER BY seq LIMIT 1)
    WHERE high - low > 1)
SELECT coalesce((SELECT seq FROM event
    WHERE room = :room AND seq = (SELECT max(low) FROM half) AND time >= :before), 0)"""
READERS: Final = """
SELECT group_concat(seq || ' ' || length(reader) || ' ' || length(name), ' '),
    CAST(group_concat(reader, '') AS BLOB), CAST(group_concat(name, '') AS BLOB)
FROM (SELECT * FROM cursor WHERE room = ? ORDER BY stamp DESC LIMIT ?)"""
PUT_CURSORS: Final = """ ON CONFLICT (room, reader) DO UPDATE SET
    name = CASE WHEN length(excluded.name) > 0 THEN excluded.name ELSE name END, seq = max(seq, excluded.seq),
    stamp = CASE WHEN excluded.seq > seq THEN excluded.stamp ELSE stamp END"""
FORGET: Final = """
DELETE FROM cursor WHERE room = :room AND stamp < max(:before,
    coalesce((SELECT stamp FROM cursor WHERE room = :room ORDER BY stamp DESC LIMIT 1 OFFSET :most - 1), 0))"""
# The oldest events that are too many, too large in sum, or too old; the newest one may only be too old.
TOO_MANY: Final = """
SELECT max(seq), count(*), sum(size) FROM (
    SELECT seq, time, length(payload) AS size, row_number() OVER oldest AS number,
        sum(length(payload)) OVER oldest AS sum
    FROM (SELECT * FROM event WHERE room = :room ORDER BY seq LIMIT :rows)
    WINDOW oldest AS (ORDER BY seq ROWS UNBOUNDED PRECEDING))
WHERE time < :before OR seq < :head AND (number <= :count OR sum - size < :size)"""


@dataclass(slots=True, eq=False)
class Stored:
    """A room as the file knows it.

    Attributes:
        id: names the room in the file.
        time: of its newest event, Unix milliseconds.
        oldest_time: of its oldest event, None without events.
        count, size: the events held, and the bytes of their payloads.
        tail: the newest entries and their keys.
        oldest_stamp, newest_stamp: of its cursors, None without cursors.
    """

    id: int
    epoch: str
    head: int
    lost: int
    time: int
    oldest_time: int | None
    count: int
    size: int
    tail: Sequence[tuple[Entry, str]] = ()
    oldest_stamp: int | None = None
    newest_stamp: int | None = None


class NewRoom(NamedTuple):
    """To be written before the first event or cursor of a room."""

    id: int
    name: str
    epoch: str


class Insert(NamedTuple):
    """Events to be written, numbered from `first`; `records` are packed with RECORD."""

    room: int
    latest: bool
    first: int
    time: int
    payloads: Sequence[bytes]
    keys: Sequence[str]
    records: bytes


@dataclass(slots=True, eq=False)
class Cursor:
    """Up to where a reader has received; `stored` is set by `File.commit`."""

    room: int
    reader: str
    name: str
    seq: int
    stamp: int
    stored: int = 0


@dataclass(slots=True, eq=False)
class Trim:
    """Events of a room to be removed: kept before a time, or beyond a count or bytes of payload.

    `File.commit` sets what was removed (`gone`, `gone_size`) and the newest seq of it (`lost`, 0 for none), and of a
    latest-only room the true `count` and `size` before.
    """

    room: int
    latest: bool
    before: int
    count: int
    size: int
    max_count: int
    max_size: int
    lost: int = 0
    gone: int = 0
    gone_size: int = 0


class Forget(NamedTuple):
    """Cursors of a room to be removed: those from before a stamp, and all but the `most` newest."""

    room: int
    before: int
    most: int


Change = NewRoom | Insert | Cursor | Trim | Forget


class File:
    """An open file.

    Args:
        opened: the writer is for the writing thread, the reader for the reading thread.
    """

    def __init__(self, opened: Opened) -> None:
        self._opened = opened
        self._writer = opened.writer
        self._reader = opened.reader
        self._commits = 0

    @property
    def secret(self) -> bytes:
        """32 random bytes, made with the file."""
        (secret,) = self._one("SELECT value FROM meta WHERE name = 'secret'")
        return bytes(secret)

    @property
    def life(self) -> bytes:
        """16 random bytes, others whenever the epochs begin anew."""
        (life,) = self._one("SELECT value FROM meta WHERE name = 'life'")
        return bytes(life)

    @property
    def last_room(self) -> int:
        """The greatest room id; 0 without rooms."""
        (last,) = self._one("SELECT coalesce(max(id), 0) FROM room")
        return int(last)

    def close(self) -> None:
        """Ends the use of the file."""
        close_file(self._opened)

    # What the reading thread calls

    def records(self) -> Iterator[tuple[bytes, int, int]]:
        """What is remembered of publishes."""
        for (records,) in self._reader.execute("SELECT records FROM recent ORDER BY id"):
            yield from RECORD.iter_unpack(records)

    def load(self, name: str, tail: int, weigh: bool) -> Stored | None:
        """A room with its `tail` newest entries; None when the file does not have it.

        Args:
            weigh: look at all its events to tell how many bytes they have, and how many they are if some were replaced.
        """
        row = self._one(LOAD, (name,))
        if row is None:
            return None
        id, epoch, head, lost, time, oldest_time, *stamps = row
        count, size = self._one(SIZE, (id,)) if weigh else (head - lost, 0)
        entries = _entries(*self._one(NEWEST, (id, tail)))
        return Stored(id, epoch, head, lost, time, oldest_time, count, size, entries, *stamps)

    def names(self, after: int, limit: int) -> Sequence[tuple[int, str]]:
        """Ids and names of the rooms with greater ids."""
        return self._reader.execute(
            "SELECT id, name FROM room WHERE id > ? ORDER BY id LIMIT ?", (after, limit)
        ).fetchall()

    def read(
        self, room: int, after: int, upto: int, before: int, limit: int, max_bytes: int
    ) -> tuple[Sequence[Entry], bool]:
        """Entries behind `after`, kept since `before`; and whether none was removed of those."""
        values = {"room": room, "after": after, "upto": upto, "before": before, "limit": limit, "max_bytes": max_bytes}
        *columns, lost, time = self._one(READ, values)
        return [entry for entry, _ in _entries(*columns)], lost <= after and (time is None or time >= before)

    def seek(self, room: int, upto: int, before: int, time: int) -> int:
        """The seq of the last entry before `time` and not before `before`; 0 when there is none."""
        return int(self._one(SEEK, {"room": room, "upto": upto, "before": before, "time": time})[0])

    def acknowledged(self, room: int, reader: str) -> int | None:
        """The seq of a reader's cursor."""
        row = self._one("SELECT seq FROM cursor WHERE room = ? AND reader = ?", (room, _encoded(reader)))
        return None if row is None else int(row[0])

    def readers(self, room: int, limit: int) -> Sequence[tuple[str, str, int]]:
        """Reader, name and seq of the cursors moved last."""
        numbers, readers, names = self._one(READERS, (room, limit))
        if numbers is None:
            return []
        values = _numbers(numbers)
        parts = zip(_cut(readers, values[1::3]), _cut(names, values[2::3]), values[::3], strict=True)
        return [(_decoded(reader), _decoded(name), seq) for reader, name, seq in parts]

    def _one(self, sql: str, values: Any = ()) -> Any:
        cursor = self._reader.execute(sql, values)
        try:
            return cursor.fetchone()
        finally:
            cursor.close()  # or the snapshot would be held, and the WAL grow

    # What the writing thread calls

    def commit(self, changes: Sequence[Change], now: int) -> None:
        """Writes all of it or nothing, and sets what `Cursor` and `Trim` tell.

        Raises:
            sqlite3.Error: nothing was written.
        """
        statements = list(self._statements(changes, now))
        cursors = {(change.room, change.reader): change for change in changes if isinstance(change, Cursor)}
        trims = [change for change in changes if isinstance(change, Trim)]
        forgets = [change for change in changes if isinstance(change, Forget)]
        if len(statements) == 1 and not (cursors or trims or forgets):
            self._writer.execute(*statements[0])  # is a transaction by itself
            return
        with self._transaction():
            for sql, values in statements:
                self._writer.execute(sql, values)
            stored = self._stored(cursors)
            for trim in trims:
                self._trim(trim)
            for forget in forgets:
                self._writer.execute(FORGET, forget._asdict())
        for change in changes:
            if isinstance(change, Cursor):
                change.stored = stored[change.room, change.reader]

    @contextmanager
    def _transaction(self) -> Iterator[None]:
        self._writer.execute("BEGIN IMMEDIATE")
        try:
            yield
            self._writer.execute("COMMIT")
        except BaseException:
            if self._writer.in_transaction:
                self._writer.execute("ROLLBACK")
            raise

    def _statements(self, changes: Sequence[Change], now: int) -> Iterator[tuple[str, Sequence[Any]]]:
        rooms: list[Any] = []
        dense: list[Any] = []
        latest: dict[tuple[int, str], tuple[Any, ...]] = {}
        cursors: dict[tuple[int, str], tuple[Any, ...]] = {}
        inserts: list[Insert] = []
        for change in changes:
            if isinstance(change, Insert):
                inserts.append(change)
            elif isinstance(change, Cursor):
                _add_cursor(change, cursors)
            elif isinstance(change, NewRoom):
                rooms += change
        inserts.sort(key=attrgetter("room"))  # events that share a page come one after the other
        for insert in inserts:
            _add_events(insert, dense, latest)
        yield from _chunks("INSERT OR IGNORE INTO room", "(?,?,?,0,0,0)", rooms)
        yield from _chunks("INSERT INTO event (room, seq, time, payload)", "(?,?,?,?)", dense)
        yield from _chunks("REPLACE INTO event (room, seq, time, payload, key)", "(?,?,?,?,?)", _flat(latest))
        yield from _chunks("INSERT INTO cursor", "(?,?,?,?,?)", _flat(cursors), PUT_CURSORS)
        yield from self._remember(b"".join([insert.records for insert in inserts]), now)

    def _remember(self, records: bytes, now: int) -> Iterator[tuple[str, Sequence[Any]]]:
        if not records:
            return
        yield "INSERT INTO recent (time, records) VALUES (?, ?)", (now, records)
        self._commits += 1
        if self._commits % FORGET_EVERY == 0:
            oldest = "SELECT id FROM recent ORDER BY id LIMIT ?"
            yield f"DELETE FROM recent WHERE id IN ({oldest}) AND time < ?", (2 * FORGET_EVERY, now - 600_000)  # noqa: S608

    def _stored(self, cursors: Iterable[tuple[int, str]]) -> dict[tuple[int, str], int]:
        """What is stored for readers; in few statements, each of which answers with one row."""
        wanted = list(cursors)
        stored: dict[tuple[int, str], int] = {}
        values = [value for index, (room, reader) in enumerate(wanted) for value in (index, room, _encoded(reader))]
        found = ") SELECT group_concat(i || ' ' || seq, ' ') FROM wanted JOIN cursor ON room = r AND reader = d"
        for sql, chunk in _chunks("WITH wanted (i, r, d) AS (", "(?,?,?)", values, found):
            numbers = [int(number) for number in self._writer.execute(sql, chunk).fetchone()[0].split()]
            stored.update(zip((wanted[index] for index in numbers[::2]), numbers[1::2], strict=True))
        return stored

    def _trim(self, trim: Trim) -> None:
        execute = self._writer.execute
        if trim.latest:
            trim.count, trim.size = execute(SIZE, (trim.room,)).fetchone()
        head, time = execute(HEAD, (trim.room,)).fetchone() or (0, 0)
        values = {"room": trim.room, "rows": TRIM_ROWS, "before": trim.before, "head": head}
        values["count"] = trim.count - trim.max_count if trim.max_count else 0
        values["size"] = trim.size - trim.max_size if trim.max_size else 0
        lost, gone, size = execute(TOO_MANY, values).fetchone()
        if lost is None:
            return
        trim.lost, trim.gone, trim.gone_size = lost, gone, size
        execute("DELETE FROM event WHERE room = ? AND seq <= ?", (trim.room, lost))
        sql = "UPDATE room SET head = max(head, ?), lost = ?, time = max(time, ?) WHERE id = ?"
        execute(sql, (head, lost, time, trim.room))


def _add_events(change: Insert, dense: list[Any], latest: dict[tuple[int, str], tuple[Any, ...]]) -> None:
    room, time = change.room, change.time
    if not change.latest:
        for seq, payload in enumerate(change.payloads, change.first):
            dense += (room, seq, time, payload)
        return
    for seq, (payload, key) in enumerate(zip(change.payloads, change.keys, strict=True), change.first):
        latest.pop((room, key), None)
        latest[room, key] = (room, seq, time, payload, _encoded(key))


def _add_cursor(change: Cursor, cursors: dict[tuple[int, str], tuple[Any, ...]]) -> None:
    known = cursors.get((change.room, change.reader))
    seq, stamp = (change.seq, change.stamp) if known is None or change.seq > known[3] else known[3:]
    name = _encoded(change.name) or (known[2] if known else b"")
    cursors[change.room, change.reader] = (change.room, _encoded(change.reader), name, seq, stamp)


def _flat(rows: dict[Any, tuple[Any, ...]]) -> list[Any]:
    return list(chain.from_iterable(rows.values()))


def _chunks(head: str, row: str, values: list[Any], tail: str = "") -> Iterator[tuple[str, Sequence[Any]]]:
    """Statements for all rows, of up to 256 rows each.

    Rows of NULLs, which are passed over, round their number up to a power of two: so there are few different
    statements, and most often only one in a transaction, which then needs no BEGIN and COMMIT.
    """
    width = row.count("?")
    for start in range(0, len(values), width * MAX_CHUNK):
        chunk = values[start : start + width * MAX_CHUNK]
        rows = 1 << (len(chunk) // width - 1).bit_length()
        yield _statement(head, row, rows, tail), chunk + [None] * (rows * width - len(chunk))


@cache
def _statement(head: str, row: str, rows: int, tail: str) -> str:
    if rows == 1:
        return f"{head} VALUES {row}{tail}"
    return f"{head} SELECT * FROM (VALUES {','.join([row] * rows)}) WHERE column1 IS NOT NULL{tail}"  # noqa: S608


def _entries(numbers: str | None, payloads: bytes, keys: bytes) -> list[tuple[Entry, str]]:
    """Entries and keys out of the one row that ENTRIES makes of them."""
    if numbers is None:
        return []
    values = _numbers(numbers)
    parts = zip(values[::4], values[1::4], _cut(payloads, values[2::4]), _cut(keys, values[3::4]), strict=True)
    return [(Entry(seq, time, payload), _decoded(key)) for seq, time, payload, key in parts]


def _numbers(text: str) -> list[int]:
    try:
        return list(map(int, text.split()))
    except ValueError as error:
        raise BrokerError(f"the file is damaged: {error}") from error


def _cut(joined: bytes | None, sizes: Sequence[int]) -> list[bytes]:
    joined = joined or b""
    ends = list(accumulate(sizes, initial=0))
    if ends[-1] != len(joined):
        raise BrokerError("the file is damaged: a row is shorter than it says")
    return [joined[start:stop] for start, stop in pairwise(ends)]


def _encoded(text: str) -> bytes:
    """Any text as UTF-8, also one that is no Unicode: one odd name must not fail the transaction of all others."""
    return text.encode("utf-8", "surrogatepass")


def _decoded(text: bytes) -> str:
    return text.decode("utf-8", "surrogatepass")
