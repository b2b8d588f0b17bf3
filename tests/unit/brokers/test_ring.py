"""brokers.ring: a ring against a plain list, what it gives back, and what is remembered of publishes."""

from __future__ import annotations

import sys
from dataclasses import dataclass, field

from hypothesis import given
from hypothesis import strategies as st

from hubbub.brokers.ring import Recent, Ring, fitting
from hubbub.hub.ports import Entry
from tests.support.logs import once


@dataclass
class Model:
    """What a ring should be: a list of all that is held, looked through from end to end."""

    count: int
    size: int
    latest: bool
    head: int = 0
    lost: int = 0
    held: list[tuple[Entry, str]] = field(default_factory=list)

    def extend(self, time: int, drafts: list[tuple[bytes, str]]) -> None:
        for payload, key in drafts:
            self.head += 1
            if self.latest:
                self.held = [(entry, other) for entry, other in self.held if other != key]
            self.held.append((Entry(self.head, time, payload), key))
        while len(self.held) > 1 and (
            len(self.held) > (self.count or 1 << 60) or self.weight() > (self.size or 1 << 60)
        ):
            self.lost = self.held.pop(0)[0].seq

    def weight(self) -> int:
        return sum(len(entry.payload) for entry, _ in self.held)

    def expire(self, before: int) -> None:
        while self.held and self.held[0][0].time < before:
            self.lost = self.held.pop(0)[0].seq

    def read(self, after: int, limit: int) -> list[Entry]:
        return [entry for entry, _ in self.held if entry.seq > after][: max(limit, 0)]

    def seek(self, time: int) -> int:
        return max((entry.seq for entry, _ in self.held if entry.time < time), default=0)


drafts = st.lists(st.tuples(st.binary(max_size=6), st.sampled_from("abc")), max_size=6)
steps = st.lists(st.tuples(drafts, st.integers(0, 5), st.one_of(st.none(), st.integers(0, 12))), max_size=30)
places = st.integers(-5, 200)


@given(st.sampled_from([0, 1, 3, 20]), st.sampled_from([0, 1, 9, 60]), st.booleans(), steps, places, st.integers(-1, 9))
def test_a_ring_is_a_list(
    count: int,
    size: int,
    latest: bool,
    steps: list[tuple[list[tuple[bytes, str]], int, int | None]],
    place: int,
    limit: int,
) -> None:
    ring, model, time = Ring(count, size, latest), Model(count, size, latest), 0
    for drafts, passed, age in steps:
        time += passed
        ring.extend(time, [payload for payload, _ in drafts], [key for _, key in drafts])
        model.extend(time, drafts)
        if age is not None:
            ring.expire(time - age)
            model.expire(time - age)
        assert (ring.head, ring.lost, ring.count, ring.size) == (
            model.head,
            model.lost,
            len(model.held),
            model.weight(),
        )
        portion = ring.read(place, limit, 1 << 60)
        assert list(portion.entries) == model.read(place, limit)
        assert portion.whole == (model.lost <= max(place, 0) <= model.head)
        assert ring.seek(place) == model.seek(place)


@given(drafts, st.integers(0, 30))
def test_discarding_is_forgetting_what_is_in_front(drafts: list[tuple[bytes, str]], upto: int) -> None:
    ring = Ring(0, 0, False)
    ring.extend(1, [payload for payload, _ in drafts], [])
    ring.discard(upto)
    assert [entry.seq for entry in ring.read(0, 99, 99).entries] == list(range(upto + 1, len(drafts) + 1))
    assert ring.lost == upto


def test_removed_entries_are_let_go() -> None:
    ring, payload = Ring(10, 0, False), b"x" * 1000
    free = sys.getrefcount(payload)
    for _ in range(1000):
        ring.extend(1, [payload], [])
    assert sys.getrefcount(payload) - free < 60


def test_replaced_values_are_let_go() -> None:
    ring, payload = Ring(0, 0, True), b"x" * 1000
    free = sys.getrefcount(payload)
    for _ in range(1000):
        ring.extend(1, [payload], ["key"])
    assert (sys.getrefcount(payload) - free, ring.count) == (1, 1)


def test_a_ring_may_begin_anywhere_and_have_holes() -> None:
    ring = Ring(0, 0, False, head=6)
    held = [Entry(9, 1, b"x"), Entry(12, 2, b"y")]
    for entry in held:
        ring.restore(entry, "")
    assert (list(ring.read(6, 9, 9).entries), ring.read(5, 9, 9).whole, ring.read(6, 9, 9).whole) == (held, False, True)


def test_one_entry_always_fits() -> None:
    held = [Entry(1, 1, b"12345"), Entry(2, 1, b"1")]
    assert [len(fitting(held, size)) for size in (0, 5, 6)] == [1, 1, 2]
    assert fitting([], 0) == []


def test_lengths_keep_names_apart() -> None:
    recent = Recent()
    recent.sort("e", 0, 1, [once("cd", sender="ab")])
    assert recent.sort("e", 0, 2, [once("d", sender="abc")]).repeats == {}
    assert recent.sort("ea", 0, 2, [once("cd", sender="b")]).repeats == {}


def test_what_failed_is_forgotten() -> None:
    recent = Recent()
    sorted_ = recent.sort("e", 0, 1, [once("a"), once("b")])
    recent.forget(sorted_.added[:1])
    assert recent.sort("e", 0, 5, [once("a"), once("b")]).repeats == {1: 2}


def test_a_clock_that_is_set_back_forgets_nothing() -> None:
    recent = Recent()
    recent.sort("e", 1_000_000, 1, [once("a")])
    recent.sort("e", 1_000, 2, [])
    assert recent.sort("e", 300_000, 2, [once("a")]).repeats == {0: 1}
