"""Every promise of hub.ports.Broker, of every broker."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from hubbub.hub.ports import CONFLICT, Draft, Entry, Kept, Portion, Retention
from tests.support.logs import EVERYTHING, NOW, Logs, entries, once

FAR = 2**70

Start = Callable[..., Logs]


@pytest.fixture(params=["memory", "sqlite", "redis_server", "redis_cluster"])
def start(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Start]:
    started: list[Logs] = []
    url: str | None = request.getfixturevalue(request.param).url if request.param.startswith("redis") else None

    def start(retention: Retention = EVERYTHING, max_logs: int = 10) -> Logs:
        path = tmp_path / f"{len(started)}.db" if request.param == "sqlite" else url
        started.append(Logs(path, retention, max_logs))
        started[-1].open()
        return started[-1]

    yield start
    for logs in started:
        logs.end()


@pytest.fixture
def logs(start: Start) -> Logs:
    return start()


# Order, density, atomicity


def test_entries_are_numbered_from_one_without_gaps(logs: Logs) -> None:
    assert [logs.append(b"x").first, logs.append(b"y", b"z").first, logs.append(b"!").first] == [1, 2, 4]


def test_what_was_appended_is_read(logs: Logs) -> None:
    logs.append(b"x")
    logs.append(b"", b"\xff\x00")
    assert logs.read() == Portion(entries(b"x", b"", b"\xff\x00"), True)


def test_rooms_are_numbered_independently(logs: Logs) -> None:
    logs.open("s")
    assert [logs.append(b"x").first, logs.append(b"x", room="s").first, logs.append(b"x").first] == [1, 1, 2]


def test_answers_come_in_the_order_of_the_appends(logs: Logs) -> None:
    answers: list[Kept] = []
    futures = []
    for number in range(50):
        futures.append(logs.begin_append(*[b"%d" % number] * (number % 4)))
        futures[-1].add_done_callback(lambda future: answers.append(future.result()))
    logs.wait(futures[-1])
    logs.append(b"behind")
    assert [kept.first for kept in answers] == sorted(kept.first for kept in answers)
    assert len(answers) == 50


def test_nothing_is_nothing(logs: Logs) -> None:
    logs.append(b"x")
    assert (logs.append(), logs.seqs()) == (Kept(2, {}), ([1], True))


def test_time_never_decreases(logs: Logs) -> None:
    logs.append(b"x")
    logs.now -= 5000
    logs.append(b"y")
    assert [entry.time for entry in logs.read().entries] == [NOW, NOW]


def test_many_entries_are_dense(logs: Logs) -> None:
    for size in (1, 700, 3, 1500):
        logs.append(*[b"x" * 10] * size)
    assert logs.seqs() == (list(range(1, 1001)), True)
    assert logs.seqs(after=1000) == (list(range(1001, 2001)), True)
    assert logs.seqs(after=2000) == (list(range(2001, 2205)), True)


# Repeats


def test_a_repeat_is_not_kept_again(logs: Logs) -> None:
    first = logs.append(b"x", once("a"))
    again = logs.append(once("a"), b"y")
    assert (first, again, logs.seqs()) == (Kept(1, {}), Kept(3, {0: 2}), ([1, 2, 3], True))


def test_a_repeat_within_one_call_is_known(logs: Logs) -> None:
    assert logs.append(once("a"), b"x", once("a"), once("b")) == Kept(1, {2: 1})
    assert logs.seqs() == ([1, 2, 3], True)


def test_a_repeat_of_what_is_on_its_way_is_known(logs: Logs) -> None:
    first, again = logs.begin_append(b"x", once("a")), logs.begin_append(once("a"))
    assert (logs.wait(again), logs.wait(first)) == (Kept(3, {0: 2}), Kept(1, {}))


def test_another_content_under_the_same_id_is_a_conflict(logs: Logs) -> None:
    logs.append(once("a", fingerprint=1))
    assert logs.append(once("a", fingerprint=2)) == Kept(2, {0: CONFLICT})


@pytest.mark.parametrize("other", [once("a", sender="bob"), once("b"), once("aa", sender="ad"), Draft(b"x")])
def test_what_only_looks_like_a_repeat_is_kept(logs: Logs, other: Draft) -> None:
    logs.append(once("a", sender="ada"))
    assert logs.append(other) == Kept(2, {})


def test_a_repeat_in_another_room_is_none(logs: Logs) -> None:
    logs.open("s")
    logs.append(once("a"))
    assert logs.append(once("a"), room="s") == Kept(1, {})


def test_a_publish_is_remembered_for_five_minutes(logs: Logs) -> None:
    logs.append(once("early"))
    logs.now += 299_000
    logs.append(once("a"))
    logs.now += 300_000
    assert logs.append(once("a")) == Kept(3, {0: 2})


def test_a_publish_is_not_remembered_for_ever(logs: Logs) -> None:
    logs.append(once("a"))
    for _ in range(2):
        logs.now += 300_000
        logs.append(once("b"))
    assert logs.append(once("a")).repeats == {}


def test_a_repeat_is_known_after_its_event_was_removed(start: Start) -> None:
    logs = start(Retention(1, 0, 0))
    logs.append(once("a"))
    logs.append(b"x", b"y")
    assert logs.append(once("a")) == Kept(4, {0: 1})


# Reading


@pytest.mark.parametrize(
    ("after", "limit", "seqs", "whole"),
    [
        (0, 2, [1, 2], True),
        (1, 10, [2, 3], True),
        (3, 10, [], True),
        (4, 10, [], False),
        (FAR, 10, [], False),
        (-1, 10, [1, 2, 3], True),
        (-FAR, FAR, [1, 2, 3], True),
        (0, 0, [], True),
        (0, -FAR, [], True),
    ],
)
def test_a_part_of_the_log_is_read(logs: Logs, after: int, limit: int, seqs: list[int], whole: bool) -> None:
    logs.append(b"x", b"y", b"z")
    portion = logs.read(after, limit)
    assert ([entry.seq for entry in portion.entries], portion.whole) == (seqs, whole)


@pytest.mark.parametrize(("max_bytes", "count"), [(0, 1), (-FAR, 1), (4, 1), (9, 1), (10, 2), (14, 2), (FAR, 3)])
@pytest.mark.parametrize("behind", [0, 1200])
def test_no_more_bytes_are_read_than_asked_for_but_one_entry(
    logs: Logs, max_bytes: int, count: int, behind: int
) -> None:
    logs.append(b"12345", b"12345", b"12345", *[b""] * behind)
    assert len(logs.read(0, 3, max_bytes).entries) == count


def test_a_log_is_read_to_its_end_in_parts(logs: Logs) -> None:
    logs.append(*[b"%d" % number for number in range(1, 2501)])
    after, read = 0, []
    while portion := logs.read(after, 170).entries:
        read += [entry.payload for entry in portion]
        after = portion[-1].seq
    assert read == [b"%d" % number for number in range(1, 2501)]


@pytest.mark.parametrize(("time", "seq"), [(-FAR, 0), (NOW, 0), (NOW + 1, 2), (NOW + 10, 2), (NOW + 11, 3), (FAR, 4)])
@pytest.mark.parametrize("behind", [0, 1200])
def test_a_place_in_time_is_found(logs: Logs, time: int, seq: int, behind: int) -> None:
    for payloads in ([b"x", b"y"], [b"z"], [b"!"]):
        logs.append(*payloads)
        logs.now += 10
    logs.now = NOW + 10**6
    logs.append(*[b"later"] * behind)
    assert logs.seek(time) == (seq + behind if time == FAR else seq)


# Retention


def test_so_many_events_are_held(start: Start) -> None:
    logs = start(Retention(3, 0, 0))
    logs.append(b"1", b"2")
    logs.append(b"3", b"4", b"5")
    assert (logs.seqs(), logs.seqs(1), logs.seqs(2)) == (([3, 4, 5], False), ([3, 4, 5], False), ([3, 4, 5], True))


def test_so_many_bytes_are_held(start: Start) -> None:
    logs = start(Retention(0, 10, 0))
    for payload in (b"1234", b"5678", b"9012", b"3"):
        logs.append(payload)
    assert (logs.seqs(), logs.seqs(1)) == (([2, 3, 4], False), ([2, 3, 4], True))


def test_the_newest_event_is_held_however_large_it_is(start: Start) -> None:
    logs = start(Retention(0, 10, 0))
    logs.append(b"x")
    logs.append(b"x" * 1000)
    assert logs.seqs() == ([2], False)


def test_events_are_held_so_long(start: Start) -> None:
    logs = start(Retention(0, 0, 10))
    logs.append(b"x")
    logs.now += 5_000
    logs.append(b"y")
    logs.now += 5_000
    assert logs.seqs() == ([1, 2], True)
    logs.now += 1
    assert (logs.seqs(), logs.seqs(1), logs.seek(FAR)) == (([2], False), ([2], True), 2)


def test_when_all_is_too_old_numbers_go_on(start: Start) -> None:
    logs = start(Retention(0, 0, 10))
    logs.append(b"x", b"y")
    logs.now += 60_000
    assert (logs.seqs(), logs.seqs(2), logs.seek(FAR)) == (([], False), ([], True), 0)
    assert (logs.append(b"z").first, logs.seqs(), logs.seqs(2)) == (3, ([3], False), ([3], True))


def test_many_events_are_trimmed_to_about_what_is_held(start: Start) -> None:
    logs = start(Retention(1500, 0, 0))
    for _ in range(60):
        logs.append(*[b"x"] * 100)
    oldest = logs.read(0, 1).entries[0].seq
    assert 6000 - 1650 <= oldest - 1 <= 6000 - 1500
    assert (logs.read(oldest - 2, 1).whole, logs.read(oldest - 1, 1).whole) == (False, True)


# Latest only


def latest(start: Start, count: int = 0, size: int = 0, seconds: float = 0) -> Logs:
    return start(Retention(count, size, seconds, latest_only=True))


def test_of_each_key_the_newest_event_is_held(start: Start) -> None:
    logs = latest(start)
    logs.append(Draft(b"a1", "a"), Draft(b"b1", "b"), Draft(b"a2", "a"))
    logs.append(Draft(b"c1", "c"), Draft(b"", ""), Draft(b"b2", "b"))
    held = [Entry(3, NOW, b"a2"), Entry(4, NOW, b"c1"), Entry(5, NOW, b""), Entry(6, NOW, b"b2")]
    assert logs.read() == Portion(held, True)


def test_what_was_replaced_is_not_missing(start: Start) -> None:
    logs = latest(start)
    logs.append(Draft(b"a1", "a"), Draft(b"b1", "b"))
    logs.append(Draft(b"a2", "a"))
    assert [logs.seqs(after) for after in range(5)] == [
        *(([2, 3], True), ([2, 3], True), ([3], True), ([], True), ([], False))
    ]


def test_keys_beyond_the_bound_are_missing(start: Start) -> None:
    logs = latest(start, count=2)
    logs.append(Draft(b"a1", "a"), Draft(b"b1", "b"), Draft(b"a2", "a"))
    assert logs.seqs() == ([2, 3], True)
    logs.append(Draft(b"c1", "c"))
    assert (logs.seqs(), logs.seqs(1), logs.seqs(2)) == (([3, 4], False), ([3, 4], False), ([3, 4], True))


def test_values_beyond_the_bytes_are_missing(start: Start) -> None:
    logs = latest(start, size=8)
    for key in "aabbc":
        logs.append(Draft(b"1234", key))
    assert (logs.seqs(), logs.seqs(2)) == (([4, 5], False), ([4, 5], True))


def test_values_that_are_too_old_are_missing(start: Start) -> None:
    logs = latest(start, seconds=10)
    logs.append(Draft(b"a1", "a"), Draft(b"b1", "b"))
    logs.now += 5_000
    logs.append(Draft(b"b2", "b"))
    logs.now += 6_000
    assert (logs.seqs(), logs.seqs(1), logs.seek(FAR), logs.seek(NOW + 1)) == (([3], False), ([3], True), 3, 0)


def test_a_place_in_time_is_that_of_a_held_value(start: Start) -> None:
    logs = latest(start)
    logs.append(Draft(b"a1", "a"), Draft(b"b1", "b"))
    logs.now += 10
    logs.append(Draft(b"b2", "b"))
    assert (logs.seek(NOW + 1), logs.seek(NOW + 11)) == (1, 3)


def test_a_value_that_changes_often_leaves_the_others(start: Start) -> None:
    logs = latest(start, count=5)
    logs.append(Draft(b"quiet", "quiet"))
    for number in range(400):
        logs.append(Draft(b"%d" % number, "busy"), Draft(b"%d" % number, "busier"))
    assert [entry.payload for entry in logs.read().entries] == [b"quiet", b"399", b"399"]


# Acknowledgements


def test_what_a_reader_has_received_is_stored(logs: Logs) -> None:
    logs.append(b"x", b"y")
    assert (logs.acknowledged("ada"), logs.acknowledge("ada", 1), logs.acknowledged("ada")) == (None, 1, 1)
    assert (logs.acknowledge("ada", 2), logs.acknowledge("bob", 0)) == (2, 0)
    assert (logs.acknowledged("ada"), logs.acknowledged("bob")) == (2, 0)


def test_an_acknowledgement_never_goes_back(logs: Logs) -> None:
    logs.append(b"x", b"y")
    assert [logs.acknowledge("ada", seq) for seq in (2, 1, 0, -1, -FAR)] == [2] * 5


def test_a_negative_seq_changes_nothing(logs: Logs) -> None:
    assert (logs.acknowledge("ada", -1), logs.acknowledged("ada"), logs.readers()) == (0, None, [])


def test_nobody_has_received_what_is_not_there(logs: Logs) -> None:
    logs.append(b"x")
    assert (logs.acknowledge("ada", FAR), logs.acknowledged("ada")) == (1, 1)


def test_an_acknowledgement_is_seen_at_once(logs: Logs) -> None:
    logs.append(b"x", b"y")
    logs.begin(logs.broker.acknowledge, "r", "ada", "Ada", 1)
    logs.begin(logs.broker.acknowledge, "r", "ada", "Ada", 2)
    seen, readers = logs.begin(logs.broker.acknowledged, "r", "ada"), logs.begin(logs.broker.readers, "r", 5)
    assert (logs.wait(seen), logs.wait(readers)) == (2, [("ada", "Ada", 2)])


def test_those_who_acknowledged_last_come_first(logs: Logs) -> None:
    logs.append(b"x", b"y")
    for reader, seq in (("ada", 1), ("bob", 1), ("ünï\0\ud800", 2), ("ada", 2), ("bob", 0)):
        logs.acknowledge(reader, seq, name=reader.upper())
    expected = [("ada", "ADA", 2), ("ünï\0\ud800", "ünï\0\ud800".upper(), 2), ("bob", "BOB", 1)]
    assert (logs.readers(), logs.readers(1), logs.readers(0), logs.readers(-FAR)) == (expected, expected[:1], [], [])


def test_an_empty_name_leaves_the_one_that_is_stored(logs: Logs) -> None:
    logs.append(b"x", b"y")
    begun = [logs.begin(logs.broker.acknowledge, "r", "ada", name, seq) for name, seq in (("Ada", 1), ("", 0), ("", 2))]
    assert max(logs.wait(one) for one in begun) == 2
    assert (logs.acknowledge("ada", 0, name=""), logs.readers()) == (2, [("ada", "Ada", 2)])


def test_readers_of_one_room_are_not_those_of_another(logs: Logs) -> None:
    logs.open("s")
    logs.acknowledge("ada", 0)
    assert (logs.acknowledged("ada", room="s"), logs.readers(room="s")) == (None, [])


# Opening and closing


def test_a_new_log_is_empty(logs: Logs) -> None:
    position = logs.open("new")
    assert (position.seq, logs.read(room="new"), logs.seek(FAR, room="new")) == (0, Portion([], True), 0)


def test_an_open_room_is_opened_again(logs: Logs) -> None:
    before = logs.open()
    logs.append(b"x")
    assert logs.open() == (before.epoch, 1)


def test_a_log_outlives_its_members(logs: Logs) -> None:
    epoch = logs.open().epoch
    logs.append(once("a"), b"y")
    logs.acknowledge("ada", 1)
    logs.broker.close("r")
    assert logs.open() == (epoch, 2)
    assert (logs.seqs(), logs.acknowledged("ada"), logs.append(once("a")).repeats) == (([1, 2], True), 1, {0: 1})


def test_a_room_is_opened_by_many_at_once(logs: Logs) -> None:
    answers = [logs.begin(logs.broker.open, "new") for _ in range(3)]
    assert len({logs.wait(answer) for answer in answers}) == 1


def test_a_room_may_be_closed_while_it_appends(logs: Logs) -> None:
    kept = logs.begin_append(b"x")
    logs.broker.close("r")
    assert (logs.wait(kept), logs.open().seq) == (Kept(1, {}), 1)


def test_logs_have_epochs_of_their_own(logs: Logs) -> None:
    assert len({logs.open(room).epoch for room in "abc"}) == 3


# Nodes


def test_a_node_knows_itself_by_twelve_digits(logs: Logs) -> None:
    nodes = logs.ask(logs.broker.nodes)
    assert logs.broker.node_id in nodes
    assert [re.fullmatch("[0-9a-f]{12}", node) is not None for node in nodes] == [True] * len(nodes)


def test_a_node_has_another_id_after_a_restart(logs: Logs) -> None:
    before = logs.broker.node_id
    logs.restart()
    assert logs.broker.node_id != before


# The end


def test_stopping_answers_everything(logs: Logs) -> None:
    futures = [logs.begin_append(b"x") for _ in range(20)]
    futures.append(logs.begin(logs.broker.acknowledge, "r", "ada", "Ada", 1))
    futures.append(logs.begin(logs.broker.acknowledged, "r", "ada"))
    futures.append(logs.begin(logs.broker.read, "r", 0, 10, 10))
    logs.stop()
    assert all(future.done() for future in futures)
    assert [future.result().first for future in futures[:20]] == list(range(1, 21))
    logs.broker = logs._start()


def test_a_secret_has_32_bytes_and_nobody_else_has_it(start: Start) -> None:
    secrets = {start().broker.secret, start().broker.secret}
    assert {len(secret) for secret in secrets} == {32}
    assert len(secrets) == 2
