"""Opens the file of sqlite://, or says in one line why not; a file that is not ours, or damaged, is left as it is."""

from __future__ import annotations

import fcntl
import os
import sqlite3
import stat
from pathlib import Path
from typing import Final, NamedTuple

from hubbub.brokers.epoch import new_epoch
from hubbub.errors import BrokerError, ConfigError

APPLICATION_ID: Final = 0x48554242  # "HUBB"
VERSION: Final = 1
MAGIC: Final = b"SQLite format 3\0"
HEADER_BYTES: Final = 100
BUSY_SECONDS: Final = 5.0
WAL_BYTES: Final = 16 << 20
# Pages of the log before they go into the file: what many rooms write again and again goes there once; benchmark P3.
WAL_PAGES: Final = 8192
STATEMENTS: Final = 128
LEVELS: Final = ("OFF", "NORMAL", "FULL")
LIFE_BYTES: Final = 16
SCHEME: Final = "sqlite:///"
BOOT_ID: Final = Path("/proc/sys/kernel/random/boot_id")

# Events stand in the order in which they came; in the order of rooms each would cost a page (benchmark P3).
SCHEMA: Final = f"""
BEGIN IMMEDIATE;
CREATE TABLE meta (name TEXT PRIMARY KEY, value BLOB NOT NULL) WITHOUT ROWID;
CREATE TABLE room (id INTEGER PRIMARY KEY, name TEXT NOT NULL UNIQUE, epoch TEXT NOT NULL,
    head INTEGER NOT NULL, lost INTEGER NOT NULL, time INTEGER NOT NULL);
CREATE TABLE event (entry INTEGER PRIMARY KEY, room INTEGER NOT NULL, seq INTEGER NOT NULL, time INTEGER NOT NULL,
    key BLOB, payload BLOB NOT NULL);
CREATE UNIQUE INDEX event_place ON event (room, seq);
CREATE UNIQUE INDEX event_key ON event (room, key) WHERE key IS NOT NULL;
CREATE TABLE cursor (room INTEGER NOT NULL, reader BLOB NOT NULL, name BLOB NOT NULL, seq INTEGER NOT NULL,
    stamp INTEGER NOT NULL, PRIMARY KEY (room, reader)) WITHOUT ROWID;
CREATE INDEX cursor_stamp ON cursor (room, stamp);
CREATE TABLE recent (id INTEGER PRIMARY KEY, time INTEGER NOT NULL, records BLOB NOT NULL);
PRAGMA application_id = {APPLICATION_ID};
PRAGMA user_version = {VERSION};
"""


class Opened(NamedTuple):
    """What is held as long as the file is in use; `lock` is a descriptor, and the end of the process lets go of it."""

    lock: int
    writer: sqlite3.Connection
    reader: sqlite3.Connection


def parse_url(url: str) -> Path:
    """The file that a URL names: `sqlite:///relative.db` or `sqlite:////absolute.db`.

    Raises:
        ConfigError: the URL names none.
    """
    path = url.removeprefix(SCHEME)
    if path == url or not path or path.endswith("/") or set(path) & set("?#\0"):
        raise ConfigError(f"{url!r} names no file: write sqlite:///relative.db or sqlite:////absolute/path.db")
    return Path(path)


def open_file(path: Path, synchronous: str) -> Opened:
    """Opens or makes a file, and keeps other processes from doing so.

    Raises:
        ConfigError: the path or the level cannot be used.
        BrokerError: the file is damaged or the disk is full.
    """
    if synchronous not in LEVELS:
        raise ConfigError(f"synchronous is {synchronous!r}: choose one of {', '.join(LEVELS)}")
    path = Path(os.path.realpath(path))  # two names of one file have one lock
    lock = _lock(path)
    try:
        _check_header(path)
        _make(path)
        return Opened(lock, *_connect(path, synchronous))
    except sqlite3.Error as error:
        os.close(lock)
        raise BrokerError(f"{path}: {error}: free the disk, or bring a backup of the file") from error
    except BaseException:
        os.close(lock)
        raise


def close_file(opened: Opened) -> None:
    """Ends the use of a file."""
    try:
        opened.reader.close()
        opened.writer.execute("DELETE FROM meta WHERE name = 'running'")
    except sqlite3.Error:
        pass  # it then counts as a crash
    finally:
        opened.writer.close()
        os.close(opened.lock)


def _lock(path: Path) -> int:
    if not path.parent.is_dir():
        raise ConfigError(f"{path}: there is no folder {path.parent}: make it, or name another")
    if path.exists() and not stat.S_ISREG(path.stat().st_mode):
        raise ConfigError(f"{path}: this is no file: name a file in a folder")
    if path.exists() and path.stat().st_nlink > 1:  # the lock and the log of the other name would be others
        raise ConfigError(f"{path}: this file has a second name, a hard link: remove it, or name another file")
    try:
        lock = os.open(f"{path}-lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except OSError as error:
        raise ConfigError(f"{path}-lock: {error.strerror}: let this user write into the folder") from error
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        os.close(lock)
        raise ConfigError(
            f"{path}: another process or another app.asgi() of this one uses this file: stop it, or name another file"
        ) from error
    return lock


def _check_header(path: Path) -> None:
    """Looks at the first bytes only: SQLite itself would write to what it opens."""
    if not path.exists() or not path.stat().st_size or Path(f"{path}-journal").exists():
        return
    try:
        with path.open("r+b") as file:
            header = file.read(HEADER_BYTES)
    except OSError as error:
        raise ConfigError(f"{path}: {error.strerror}: let this user read and write the file") from error
    if len(header) < HEADER_BYTES or not header.startswith(MAGIC):
        raise ConfigError(f"{path}: this is no SQLite database: name another file")
    _check_owner(path, int.from_bytes(header[68:72]), int.from_bytes(header[60:64]))


def _make(path: Path) -> None:
    """For this user alone: the file has the secret of all sessions in it. SQLite gives -wal and -shm the same mode."""
    if path.exists():
        return
    try:
        os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600))
    except OSError as error:
        raise ConfigError(f"{path}: {error.strerror}: let this user write into the folder") from error


def _check_owner(path: Path, application_id: int, version: int) -> None:
    if application_id != APPLICATION_ID:
        raise ConfigError(f"{path}: this database is not Hubbub's: name another file")
    if version != VERSION:
        raise ConfigError(f"{path}: a newer Hubbub made this (version {version}): install it, or name another file")


def _connect(path: Path, synchronous: str) -> tuple[sqlite3.Connection, sqlite3.Connection]:
    writer = _connection(path.absolute().as_uri())
    try:
        _prepare(writer, path, synchronous)
        return writer, _connection(f"{path.absolute().as_uri()}?mode=ro")
    except BaseException:
        writer.close()
        raise


def _connection(uri: str) -> sqlite3.Connection:
    return sqlite3.connect(
        uri, BUSY_SECONDS, isolation_level=None, check_same_thread=False, cached_statements=STATEMENTS, uri=True
    )


def _prepare(writer: sqlite3.Connection, path: Path, synchronous: str) -> None:
    def pragma(text: str) -> int | str:
        row = writer.execute(f"PRAGMA {text}").fetchone()
        return row[0] if row else ""

    if not pragma("page_count"):
        _create(writer)
    _check_owner(path, int(pragma("application_id")), int(pragma("user_version")))
    if pragma("journal_mode = WAL") != "wal":
        raise ConfigError(f"{path}: the file system cannot share memory: name a file on a local disk")
    pragma(f"synchronous = {synchronous}")
    pragma(f"journal_size_limit = {WAL_BYTES}")
    pragma(f"wal_autocheckpoint = {WAL_PAGES}")
    _note_crash(writer, synchronous)


def _create(writer: sqlite3.Connection) -> None:
    """Before the file becomes a WAL database, so that the header says at once whose it is."""
    writer.executescript(SCHEMA)
    writer.execute("INSERT INTO meta VALUES ('secret', ?)", (os.urandom(32),))
    writer.execute("COMMIT")


def _note_crash(writer: sqlite3.Connection, synchronous: str) -> None:
    """Begins new epochs when the machine went down under a broker that did not sync: seqs may be given again.

    Where nothing names the boot, whatever was not a clean end may have been one of the machine.
    """
    boot = BOOT_ID.read_text().strip() if BOOT_ID.exists() else ""
    row = writer.execute("SELECT value FROM meta WHERE name = 'running'").fetchone()
    last_boot, last_level = row[0].split(" ") if row else ("", "FULL")
    writer.execute("BEGIN IMMEDIATE")
    renew = (last_boot != boot or not boot) and last_level != "FULL"
    if renew:
        writer.create_function("new_epoch", 0, new_epoch)
        writer.execute("UPDATE room SET epoch = new_epoch()")
    verb = "REPLACE" if renew else "INSERT OR IGNORE"
    writer.execute(f"{verb} INTO meta VALUES ('life', ?)", (os.urandom(LIFE_BYTES),))
    writer.execute("REPLACE INTO meta VALUES ('running', ?)", (f"{boot} {synchronous}",))
    writer.execute("COMMIT")
