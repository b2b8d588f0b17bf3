"""brokers.sqlite: what only a file does: it survives, it may be full, damaged, somebody else's or in use."""

from __future__ import annotations

import asyncio
import os
import shutil
import signal
import sqlite3
import stat
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import pytest

from hubbub.brokers import sqlite_file, sqlite_room
from hubbub.brokers.sqlite import SqliteBroker
from hubbub.brokers.sqlite_open import close_file, open_file, parse_url
from hubbub.errors import BrokerError, ConfigError
from hubbub.hub.ports import Draft, Kept, Portion, Retention
from tests.support.logs import EVERYTHING, NOW, Logs, entries, once


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "rooms.db"


@pytest.fixture
def logs(path: Path) -> Iterator[Logs]:
    with logs_of(path) as logs:
        yield logs


@contextmanager
def logs_of(path: Path, retention: Retention = EVERYTHING) -> Iterator[Logs]:
    logs = Logs(path, retention)
    try:
        logs.open()
        yield logs
    finally:
        logs.end()


def writer(logs: Logs) -> sqlite3.Connection:
    """The connection that the broker writes with."""
    assert isinstance(logs.broker, SqliteBroker)
    return logs.broker._file._writer


def change(path: Path, sql: str, *values: Any) -> None:
    """Somebody changes the file while no broker uses it."""
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.execute(sql, values)


def rows(path: Path, sql: str) -> list[tuple[Any, ...]]:
    with closing(sqlite3.connect(path)) as connection:
        return connection.execute(sql).fetchall()


# URLs


@pytest.mark.parametrize(
    ("url", "path"),
    [
        ("sqlite:///rooms.db", "rooms.db"),
        ("sqlite:////var/rooms.db", "/var/rooms.db"),
        ("sqlite:///./a b%20.db", "a b%20.db"),
        ("sqlite:///../rooms.db", "../rooms.db"),
    ],
)
def test_a_url_names_a_file(url: str, path: str) -> None:
    assert parse_url(url) == Path(path)


@pytest.mark.parametrize(
    "rest", ["", "//", "///", "//host/rooms.db", "///rooms.db?mode=ro", "///rooms.db#x", "///a/", "///a\0", "rooms.db"]
)
def test_what_names_no_file_is_refused(rest: str) -> None:
    with pytest.raises(ConfigError, match="write sqlite:///relative"):
        parse_url(f"sqlite:{rest}")


# Restarts


def test_all_is_there_after_a_restart(logs: Logs) -> None:
    logs.append(b"x", b"y")
    logs.acknowledge("ada", 1)
    before, secret = logs.open(), logs.broker.secret
    logs.restart()
    assert (logs.open(), logs.broker.secret, logs.read()) == (before, secret, Portion(entries(b"x", b"y"), True))
    assert (logs.acknowledged("ada"), logs.append(b"z").first) == (1, 3)


def test_repeats_are_known_after_a_restart(logs: Logs) -> None:
    logs.append(b"x", once("a"), once("b", fingerprint=1))
    logs.restart()
    logs.now += 299_000
    assert logs.append(once("a"), once("b", fingerprint=2)) == Kept(4, {0: 2, 1: 0})


def test_publishes_of_long_ago_are_removed(logs: Logs, path: Path) -> None:
    for number in range(200):
        logs.now += 10_000
        logs.append(once(f"{number}"))
    ((count,),) = rows(path, "SELECT count(*) FROM recent")
    assert count <= 60 + sqlite_file.FORGET_EVERY


def test_numbers_go_on_when_all_events_were_removed(path: Path) -> None:
    with logs_of(path, Retention(0, 0, 10)) as logs:
        logs.append(b"x", b"y")
        epoch = logs.open().epoch
        logs.now += 60_000
        logs.restart()
        logs.restart()
        assert rows(path, "SELECT count(*) FROM event") == [(0,)]
        assert (logs.open(), logs.seqs(), logs.seqs(2)) == ((epoch, 2), ([], False), ([], True))
        assert logs.append(b"z").first == 3


@pytest.mark.parametrize("latest_only", [False, True])
def test_what_is_missing_is_known_after_a_restart(path: Path, latest_only: bool) -> None:
    with logs_of(path, Retention(2, 0, 0, latest_only)) as logs:
        logs.append(*[Draft(b"x", key) for key in "abcde"])
        logs.restart()
        assert [logs.seqs(after) for after in (2, 3)] == [([4, 5], False), ([4, 5], True)]


@pytest.mark.parametrize("latest_only", [False, True])
def test_a_room_may_change_its_retention(path: Path, latest_only: bool) -> None:
    with logs_of(path, Retention(0, 0, 0, latest_only)) as logs:
        logs.append(*[Draft(b"x", key) for key in "abacb"])
        logs.retention = Retention(0, 0, 0, not latest_only)
        logs.restart()
        assert logs.append(Draft(b"y", "c")).first == 6
        logs.restart()
        assert logs.read(5).entries[0].payload == b"y"


def test_an_event_too_large_to_keep_within_bounds_is_tried_once(path: Path) -> None:
    with logs_of(path, Retention(0, 10, 0)) as logs:
        logs.append(b"x")
        logs.append(b"x" * 1000)
        assert isinstance(logs.broker, SqliteBroker)
        assert (len(logs.broker._pending), logs.seqs()) == (0, ([2], False))


def test_old_values_are_read_from_the_file(path: Path) -> None:
    with logs_of(path, Retention(0, 0, 0, latest_only=True)) as logs:
        logs.append(*[Draft(b"%d" % number, f"{number % 700}") for number in range(1000)])
        logs.restart()
        assert logs.seqs(100) == (list(range(301, 1001)), True)
        logs.append(Draft(b"new", "400"))
        assert logs.seqs(400) == (list(range(402, 1002)), True)


@pytest.mark.parametrize("newer", [700, 1200])  # with and without old events in memory
def test_what_is_too_old_is_not_read_from_the_file(path: Path, newer: int) -> None:
    with logs_of(path, Retention(0, 0, 100)) as logs:
        logs.append(*[b"x"] * 700)
        logs.now += 5_000
        logs.append(*[b"x"] * newer)
        logs.now += 96_000  # a tenth more has to pass before it is removed
        assert rows(path, "SELECT count(*) FROM event") == [(700 + newer,)]
        assert logs.read(0, 1) == Portion(entries(b"x", first=701, time=NOW + 5_000), False)
        assert [logs.read(after, 1).whole for after in (699, 700)] == [False, True]
        assert [logs.seek(NOW + passed) for passed in (1, 5_000, 5_001)] == [0, 0, 700 + newer]


def test_what_is_not_answered_yet_is_not_read(logs: Logs, path: Path) -> None:
    logs.append(*[b"x"] * 1100)
    kept = logs.begin_append(*[b"y"] * 5)
    while rows(path, "SELECT count(*) FROM event") != [(1105,)]:
        pass  # it is in the file, but the loop does not run
    early = logs.begin(logs.broker.read, "r", 50, 5000, 1 << 20)
    assert len(logs.wait(early).entries) == 1050
    assert (logs.wait(kept).first, len(logs.read(50, 5000).entries)) == (1101, 1055)


def test_values_are_known_by_their_keys_after_a_restart(path: Path) -> None:
    with logs_of(path, Retention(0, 0, 0, latest_only=True)) as logs:
        logs.append(Draft(b"a1", "ä"), Draft(b"b1", "\0"))
        logs.restart()
        logs.append(Draft(b"a2", "ä"))
        assert logs.seqs() == ([2, 3], True)
        logs.restart()
        assert logs.seqs() == ([2, 3], True)


def test_time_never_decreases_over_a_restart(logs: Logs) -> None:
    logs.append(b"x")
    logs.now -= 100_000
    logs.restart()
    logs.append(b"y")
    first, second = logs.read().entries
    assert first.time == second.time


def test_a_room_that_nobody_used_is_not_in_the_file(logs: Logs, path: Path) -> None:
    logs.open("looked at")
    assert rows(path, "SELECT name FROM room") == []


def test_rooms_that_were_closed_are_let_go_and_found_again(logs: Logs, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("hubbub.brokers.sqlite.CACHED", 1)
    for room in "abc":
        logs.open(room)
        logs.append(b"x", room=room)
        logs.broker.close(room)
    assert isinstance(logs.broker, SqliteBroker)
    assert set(logs.broker._rooms) == {"r", "c"}
    assert [logs.open(room).seq for room in "abc"] == [1, 1, 1]


def test_rooms_that_nobody_opens_lose_what_is_too_old(path: Path) -> None:
    with logs_of(path, Retention(0, 0, 10)) as logs:
        for room in ("r", "old"):
            logs.open(room)
            logs.append(b"x", room=room)
        logs.now += 60_000
        logs.restart()
        while rows(path, "SELECT count(*) FROM event") != [(0,)]:
            logs.append()
            logs.open("r")


def test_much_that_is_too_old_is_removed_in_parts(path: Path) -> None:
    with logs_of(path, Retention(0, 0, 10)) as logs:
        logs.append(*[b"x"] * (2 * sqlite_file.TRIM_ROWS + 5))
        logs.now += 60_000
        logs.append(b"y")
        logs.acknowledge("ada", 0)
        logs.stop()
        assert rows(path, "SELECT count(*) FROM event") <= [(sqlite_file.TRIM_ROWS + 6,)]
        logs.broker = logs._start()
        assert logs.open().seq == 2 * sqlite_file.TRIM_ROWS + 6
        assert logs.seqs(0) == ([2 * sqlite_file.TRIM_ROWS + 6], False)


# Readers


def stored_readers(path: Path) -> list[str]:
    return [reader.decode() for (reader,) in rows(path, "SELECT reader FROM cursor ORDER BY stamp")]


def test_the_newest_readers_of_a_room_are_kept_and_some_more(
    logs: Logs, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sqlite_room, "MAX_READERS", 3)
    monkeypatch.setattr(sqlite_room, "FORGET_READERS", 10)
    logs.append(b"x")
    logs.restart()
    for number in range(100):
        logs.acknowledge(f"{number}", 0)
        assert len(rows(path, "SELECT * FROM cursor")) <= 3 + 10
    assert stored_readers(path)[-3:] == ["97", "98", "99"]


def test_readers_are_counted_when_a_room_is_used_again(logs: Logs, path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for number in range(10):
        logs.acknowledge(f"{number}", 0)
    monkeypatch.setattr(sqlite_room, "MAX_READERS", 3)
    logs.restart()
    logs.acknowledge("new", 0)
    assert stored_readers(path) == ["8", "9", "new"]


def test_readers_of_long_ago_are_forgotten_with_the_events(path: Path) -> None:
    with logs_of(path, Retention(0, 0, 10)) as logs:
        logs.acknowledge("ada", 0)
        logs.now += 9_000
        logs.acknowledge("bob", 0)
        logs.now += 2_000
        logs.restart()
        assert (logs.acknowledged("ada"), logs.acknowledged("bob")) == (None, 0)


def test_a_reader_that_is_forgotten_in_the_same_commit_is_answered(logs: Logs, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sqlite_room, "MAX_READERS", 1)
    monkeypatch.setattr(sqlite_room, "FORGET_READERS", 3)
    logs.restart()
    answers = [logs.begin(logs.broker.acknowledge, "r", reader, "", 0) for reader in "abcabc"]
    assert [logs.wait(answer) for answer in answers] == [0] * 6


# The end of the machine


@pytest.mark.parametrize(("synchronous", "same"), [("NORMAL", False), ("OFF", False), ("FULL", True)])
def test_an_epoch_ends_with_the_machine_unless_every_commit_was_synced(
    path: Path, synchronous: str, same: bool, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    with logs_of(path) as logs:
        logs.append(b"x")
        epoch = logs.open().epoch
        logs.stop()
        change(path, "REPLACE INTO meta VALUES ('running', ?)", f"another-boot {synchronous}")
        logs.broker = logs._start()
        assert (logs.open().epoch == epoch) is same


@pytest.mark.parametrize(("synchronous", "same"), [("NORMAL", False), ("FULL", True)])
def test_where_nothing_names_the_boot_an_epoch_ends_with_any_crash(
    path: Path, synchronous: str, same: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("hubbub.brokers.sqlite_open.BOOT_ID", path.parent / "none")
    with logs_of(path) as logs:
        logs.append(b"x")
        epoch = logs.open().epoch
        logs.restart()
        assert logs.open().epoch == epoch
        logs.stop()
        change(path, "REPLACE INTO meta VALUES ('running', ?)", f" {synchronous}")
        logs.broker = logs._start()
        assert (logs.open().epoch == epoch) is same


def test_a_place_in_a_room_that_nobody_used_survives_a_restart(logs: Logs) -> None:
    before = [logs.open(room) for room in ("r", "s", "ü")]
    logs.restart()
    assert [logs.open(room) for room in ("r", "s", "ü")] == before
    assert len({position.epoch for position in before}) == 3


def test_a_place_in_a_room_that_nobody_used_ends_with_the_machine(logs: Logs, path: Path) -> None:
    before = logs.open("s")
    logs.stop()
    change(path, "REPLACE INTO meta VALUES ('running', 'another-boot NORMAL')")
    logs.broker = logs._start()
    assert logs.open("s").epoch != before.epoch


def test_epochs_of_one_name_differ_in_two_files(logs: Logs, tmp_path: Path) -> None:
    with logs_of(tmp_path / "other.db") as others:
        assert others.open().epoch != logs.open().epoch


def test_a_file_of_before_there_was_a_life_gets_one(logs: Logs, path: Path) -> None:
    logs.append(b"x")
    logs.stop()
    change(path, "DELETE FROM meta WHERE name = 'life'")
    logs.broker = logs._start()
    assert logs.open().seq == 1


def test_an_epoch_survives_a_clean_end(logs: Logs, path: Path) -> None:
    logs.append(b"x")
    logs.stop()
    assert rows(path, "SELECT * FROM meta WHERE name = 'running'") == []
    logs.broker = logs._start()


CHILD = """
import sys
from pathlib import Path
from hubbub.hub.ports import Draft, Once
from tests.support.logs import Logs
logs = Logs(Path(sys.argv[1]))
print("epoch", logs.open().epoch, flush=True)
def kept(answer):
    print("kept", answer.first, flush=True)
    append()
def append():
    global number
    number += 1
    logs.broker.append("r", logs.now, [Draft(b"x"), Draft(b"y", once=Once("ada", str(number), 1))], kept)
number = int(sys.argv[2])
for _ in range(8):
    append()
logs.loop.run_forever()
"""


def killed(path: Path, number: int) -> tuple[str, list[int]]:
    """The epoch and the seqs that a process answered until it was killed in the midst of its work."""
    command = [sys.executable, "-c", CHILD, str(path), str(number)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as child:
        assert child.stdout is not None
        lines = [child.stdout.readline() for _ in range(60 + number % 7)]
        child.send_signal(signal.SIGKILL)
        lines += child.stdout.read().splitlines(keepends=True)
    words = [line.split() for line in lines if line.endswith("\n")]
    return words[0][1], [int(seq) for _, seq in words[1:]]


def test_nothing_that_was_answered_is_lost_when_the_process_is_killed(path: Path) -> None:
    epoch, answered = killed(path, 0)
    for number in (10_001, 20_002):
        epoch_again, more = killed(path, number)
        assert (epoch_again, more[0] > answered[-1]) == (epoch, True)
        answered = more
    with logs_of(path) as logs:
        position = logs.open()
        assert (position.epoch, position.seq >= answered[-1] + 1) == (epoch, True)
        read = [entry for after in range(0, position.seq, 1000) for entry in logs.read(after).entries]
        assert [entry.seq for entry in read] == list(range(1, position.seq + 1))
        assert logs.append(Draft(b"y", once=once("20003").once)).repeats == {0: 0}  # known, with another fingerprint


# The end


def test_stopping_twice_is_harmless(logs: Logs) -> None:
    logs.stop()
    descriptor = os.open(os.devnull, os.O_RDONLY)  # may have the number of the lock
    logs.stop()
    os.close(descriptor)


def test_what_is_put_while_a_broker_stops_is_answered(logs: Logs) -> None:
    async def stop() -> None:
        stopping = asyncio.ensure_future(logs.broker.stop())
        await asyncio.sleep(0)
        late.append(logs.begin_append(once("a")))
        late.append(logs.begin(logs.broker.acknowledge, "r", "ada", "Ada", 0))
        await stopping

    late: list[asyncio.Future[Any]] = []
    logs.loop.run_until_complete(stop())
    for future in late:
        with pytest.raises(BrokerError, match="stopped"):
            logs.wait(future)


def test_what_is_asked_of_a_broker_that_has_stopped_is_answered(logs: Logs) -> None:
    logs.append(*[b"x"] * 1100)
    logs.stop()
    for call in (
        *(lambda: logs.append(once("a")), lambda: logs.append(once("a")), lambda: logs.acknowledge("ada", 0)),
        *(lambda: logs.acknowledged("ada"), logs.readers, lambda: logs.read(5), lambda: logs.open("new")),
    ):
        with pytest.raises(BrokerError, match="stopped"):
            call()


EXIT = """
import sys
from pathlib import Path
from hubbub.hub.ports import Draft
from tests.support.logs import Logs
logs = Logs(Path(sys.argv[1]))
logs.open()
kept = [logs.begin_append(Draft(b"x")) for _ in range(2000)]
if "fork" in sys.argv:
    import os
    logs.wait(kept[-1])
    if os.fork():
        os._exit(os.waitstatus_to_exitcode(os.wait()[1]))
"""


@pytest.mark.parametrize(("way", "left"), [("end", 0), ("fork", 1)])
def test_the_end_of_the_process_ends_its_broker_and_that_of_a_fork_does_not(path: Path, way: str, left: int) -> None:
    subprocess.run([sys.executable, "-W", "ignore", "-c", EXIT, str(path), way], check=True)
    assert rows(path, "SELECT count(*) FROM meta WHERE name = 'running'") == [(left,)]
    if way == "end":
        assert rows(path, "SELECT count(*) FROM event") == [(2000,)]


# What fails


def test_a_full_disk_fails_what_was_appended_and_nothing_else(logs: Logs) -> None:
    logs.append(b"x")
    writer(logs).execute("PRAGMA max_page_count = 20")
    failing = [logs.begin_append(once("a", b"x" * 200_000)), logs.begin_append(b"y"), logs.begin_append(once("a"))]
    failing += [logs.begin(logs.broker.acknowledge, "r", "ada", "Ada", 1)]
    for future in failing:
        with pytest.raises(BrokerError, match="full"):
            logs.wait(future)
    assert (logs.seqs(), logs.acknowledged("ada")) == (([1], True), None)


def test_when_there_is_space_again_work_goes_on(logs: Logs) -> None:
    writer(logs).execute("PRAGMA max_page_count = 20")
    with pytest.raises(BrokerError, match="full"):
        logs.append(once("a", b"x" * 200_000))
    writer(logs).execute("PRAGMA max_page_count = 1000000")
    assert (logs.append(once("a"), b"y"), logs.seqs()) == (Kept(1, {}), ([1, 2], True))
    logs.restart()
    assert logs.seqs() == ([1, 2], True)


def test_failures_are_answered_in_order_and_what_comes_after_them_is_kept(logs: Logs) -> None:
    writer(logs).execute("PRAGMA max_page_count = 20")
    answered: list[Any] = []
    later: asyncio.Future[Kept] = logs.loop.create_future()

    def again(answer: Any) -> None:
        answered.append(answer)
        if len(answered) == 1:
            writer(logs).execute("PRAGMA max_page_count = 1000000")
            logs.broker.append("r", logs.now, [once("a")], later.set_result)  # type: ignore[arg-type]

    for payload in (b"x" * 200_000, b"y", b"z"):
        logs.broker.append("r", logs.now, [once("a", payload), once(str(len(payload)))], again)
    assert (logs.wait(later), logs.seqs()) == (Kept(1, {}), ([1], True))
    assert [isinstance(answer, BrokerError) for answer in answered] == [True, True, True]


def test_a_damaged_row_fails_the_read_and_nothing_else(path: Path) -> None:
    with logs_of(path) as logs:
        logs.append(*[b"x"] * 1500)
        logs.stop()
        change(path, "UPDATE event SET time = 'yesterday' WHERE seq = 10")
        logs.broker = logs._start()
        logs.open()
        with pytest.raises(BrokerError, match=r"rooms\.db"):
            logs.read(5, 10)
        assert (logs.read(20, 2), logs.append(b"y").first) == (Portion(entries(b"x", b"x", first=21), True), 1501)


def test_damaged_pages_fail_the_opening_of_a_room_and_nothing_else(path: Path) -> None:
    with logs_of(path) as logs:
        logs.append(*[b"x" * 500] * 1500)
        logs.stop()
        ((page,),) = rows(path, "SELECT rootpage FROM sqlite_master WHERE name = 'event'")
        with path.open("r+b") as file:
            file.seek((page - 1) * 4096)
            file.write(b"\xff" * 4096)
        logs.broker = logs._start()
        for _ in range(2):
            with pytest.raises(BrokerError, match="malformed"):
                logs.open()


def test_a_bug_in_a_thread_is_logged_and_answered(
    logs: Logs, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(sqlite_file.File, "commit", lambda *arguments: 1 // 0)
    with pytest.raises(BrokerError, match="ZeroDivisionError"):
        logs.append(b"x")
    monkeypatch.undo()
    assert "should not have happened" in caplog.text
    assert logs.append(b"x") == Kept(1, {})


def test_an_answer_that_is_not_taken_does_not_hold_up_the_next(logs: Logs, caplog: pytest.LogCaptureFixture) -> None:
    def fail(answer: object) -> None:
        raise ValueError("not taken")

    logs.broker.append("r", logs.now, [Draft(b"x")], fail)
    assert logs.append(b"y") == Kept(2, {})
    assert "not taken" in caplog.text


# Files that cannot be used


@contextmanager
def refused(path: Path, error: type[Exception], match: str) -> Iterator[None]:
    """The file is refused in one line that names it, and stays as it is."""
    yield
    before = path.read_bytes() if path.is_file() else None
    beside = {other.name for other in path.parent.iterdir()} if path.parent.is_dir() else set()
    with pytest.raises(error, match=match) as caught:
        open_file(path, "NORMAL")
    assert (str(path) in str(caught.value), "\n" in str(caught.value)) == (True, False)
    assert (path.read_bytes() if path.is_file() else None) == before
    if path.parent.is_dir():
        assert {other.name for other in path.parent.iterdir()} - beside <= {f"{path.name}-lock"}


def make(path: Path) -> None:
    close_file(open_file(path, "NORMAL"))


def test_a_file_of_a_newer_version_is_refused(path: Path) -> None:
    make(path)
    change(path, "PRAGMA user_version = 2")
    with refused(path, ConfigError, "newer"):
        pass


def test_somebody_elses_database_is_refused(path: Path) -> None:
    change(path, "CREATE TABLE mine (a)")
    with refused(path, ConfigError, "not Hubbub's"):
        pass


@pytest.mark.parametrize("content", [b"x", b"Dear diary\n" * 100, b"SQLite format 3\0", bytes(4096)])
def test_what_is_no_database_is_refused(path: Path, content: bytes) -> None:
    path.write_bytes(content)
    with refused(path, ConfigError, "no SQLite database"):
        pass


def test_a_file_that_lost_its_end_is_refused(path: Path) -> None:
    make(path)
    path.write_bytes(path.read_bytes()[:4096])
    with refused(path, BrokerError, "backup"):
        pass


def test_a_file_with_a_damaged_schema_is_refused(path: Path) -> None:
    make(path)
    content = bytearray(path.read_bytes())
    content[100:4096] = b"\xa5" * 3996
    path.write_bytes(content)
    with refused(path, BrokerError, "malformed"):
        pass


def test_a_file_without_its_secret_is_refused(path: Path) -> None:
    make(path)
    change(path, "DELETE FROM meta WHERE name = 'secret'")
    for _ in range(2):  # the lock is not left behind
        with pytest.raises(BrokerError, match="damaged"):
            SqliteBroker(path, lambda room: EVERYTHING, lambda: 0, lambda callback: None)


def test_a_folder_is_refused(tmp_path: Path) -> None:
    (tmp_path / "folder").mkdir()
    with refused(tmp_path / "folder", ConfigError, "no file"):
        pass


def test_a_missing_folder_is_refused(tmp_path: Path) -> None:
    with refused(tmp_path / "missing" / "rooms.db", ConfigError, "no folder"):
        pass
    assert not (tmp_path / "missing").exists()


def test_an_unknown_level_is_refused(path: Path) -> None:
    with pytest.raises(ConfigError, match="OFF, NORMAL, FULL"):
        open_file(path, "EXTRA; DROP TABLE event")


@pytest.fixture
def shared() -> Iterator[Path]:
    """A folder that another user can reach."""
    folder = Path(tempfile.mkdtemp())
    yield folder
    shutil.rmtree(folder)


@contextmanager
def nobody() -> Iterator[None]:
    """As a user without rights: to root every file is writable."""
    if os.geteuid() != 0:
        yield
        return
    os.seteuid(65534)
    try:
        yield
    finally:
        os.seteuid(0)


def test_a_file_that_cannot_be_written_is_refused(shared: Path) -> None:
    path = shared / "rooms.db"
    make(path)
    path.chmod(0o444)
    (shared / "rooms.db-lock").chmod(0o666)
    shared.chmod(0o777)
    with nobody(), refused(path, ConfigError, "read and write the file"):
        pass


def test_a_folder_that_cannot_be_written_is_refused(shared: Path) -> None:
    shared.chmod(0o555)
    with nobody(), refused(shared / "rooms.db", ConfigError, "write into the folder"):
        pass
    shared.chmod(0o755)


def test_a_file_in_use_is_refused(logs: Logs, path: Path) -> None:
    for _ in range(2):
        with pytest.raises(ConfigError, match=r"another process or another app\.asgi\(\) of this one uses"):
            open_file(path, "NORMAL")
    assert logs.append(b"x") == Kept(1, {})


@pytest.mark.parametrize("first", ["rooms.db", "link.db"])
def test_two_names_of_one_file_have_one_lock(tmp_path: Path, first: str) -> None:
    (tmp_path / "link.db").symlink_to(tmp_path / "rooms.db")
    opened = open_file(tmp_path / first, "NORMAL")
    for name in ("rooms.db", "link.db"):
        with pytest.raises(ConfigError, match="uses this file"):
            open_file(tmp_path / name, "NORMAL")
    close_file(opened)


def test_a_file_with_a_hard_link_is_refused(path: Path) -> None:
    make(path)
    (path.parent / "second.db").hardlink_to(path)
    with refused(path, ConfigError, "hard link"):
        pass


def test_nobody_else_may_read_the_file(path: Path) -> None:
    before = os.umask(0)
    try:
        opened = open_file(path, "NORMAL")
        modes = {other.name: stat.S_IMODE(other.stat().st_mode) for other in path.parent.iterdir()}
        close_file(opened)
    finally:
        os.umask(before)
    assert modes == {f"rooms.db{end}": 0o600 for end in ("", "-wal", "-shm", "-lock")}


def test_who_may_read_an_older_file_stays_as_it_is(path: Path) -> None:
    make(path)
    path.chmod(0o640)
    make(path)
    assert stat.S_IMODE(path.stat().st_mode) == 0o640


def test_an_empty_file_is_a_new_one(path: Path) -> None:
    path.touch()
    with logs_of(path) as logs:
        assert logs.append(b"x") == Kept(1, {})
