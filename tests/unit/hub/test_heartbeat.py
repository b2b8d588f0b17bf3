"""hub.heartbeat: the wheel gives every item once, at its tick."""

from __future__ import annotations

import pytest

from hubbub.hub.heartbeat import Wheel


def due(wheel: Wheel[str], ticks: int) -> list[list[str]]:
    return [wheel.tick() for _ in range(ticks)]


@pytest.mark.parametrize("ticks", [1, 2, 5])
def test_an_item_is_due_after_its_ticks(ticks: int) -> None:
    wheel: Wheel[str] = Wheel(5)
    wheel.put("a", ticks)
    assert due(wheel, 6) == [["a"] if tick == ticks else [] for tick in range(1, 7)]


def test_zero_ticks_are_one() -> None:
    wheel: Wheel[str] = Wheel(5)
    wheel.put("a", 0)
    assert due(wheel, 2) == [["a"], []]


def test_more_ticks_than_there_are_slots_are_the_most_there_are() -> None:
    wheel: Wheel[str] = Wheel(3)
    wheel.put("a", 100)
    assert due(wheel, 4) == [[], [], ["a"], []]


def test_items_of_one_tick_come_in_the_order_in_which_they_were_put() -> None:
    wheel: Wheel[str] = Wheel(3)
    for item in "abc":
        wheel.put(item, 2)
    assert due(wheel, 2) == [[], ["a", "b", "c"]]


def test_an_item_put_while_the_wheel_turns_is_counted_from_there() -> None:
    wheel: Wheel[str] = Wheel(3)
    due(wheel, 2)
    wheel.put("a", 3)
    assert due(wheel, 3) == [[], [], ["a"]]


def test_an_item_that_is_taken_out_is_not_due() -> None:
    wheel: Wheel[str] = Wheel(3)
    wheel.discard("a", wheel.put("a", 2))
    assert due(wheel, 4) == [[], [], [], []]


def test_an_item_may_take_the_place_of_another() -> None:
    wheel: Wheel[str] = Wheel(3)
    wheel.replace("a", "b", wheel.put("a", 2))
    assert due(wheel, 3) == [[], ["b"], []]


def test_taking_out_what_is_not_there_does_nothing() -> None:
    wheel: Wheel[str] = Wheel(3)
    wheel.put("a", 1)
    wheel.discard("b", 1)
    assert len(wheel) == 1


def test_the_length_counts_what_is_not_due_yet() -> None:
    wheel: Wheel[str] = Wheel(3)
    wheel.put("a", 1)
    wheel.put("b", 2)
    assert [len(wheel), wheel.tick(), len(wheel)] == [2, ["a"], 1]
