"""hub.steps: a generator that waits for answers, given at once or later."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from hubbub.errors import BrokerError
from hubbub.hub.steps import Steps, Walk

Callback = Callable[[Any], None]


class Later:
    """A step whose answer the test gives."""

    def __init__(self) -> None:
        self.callbacks: list[Callback] = []

    def __call__(self, callback: Callback) -> None:
        self.callbacks.append(callback)

    def answer(self, value: object) -> None:
        self.callbacks.pop()(value)


def at_once(value: object) -> Callable[[Callback], None]:
    return lambda callback: callback(value)


def walked(steps: Steps) -> list[Any]:
    """What a walk ended with, as soon as it has."""
    ends: list[Any] = []
    Walk(steps, ends.append).go_on()
    return ends


def adding(*steps: Callable[[Callback], None]) -> Steps:
    total = 0
    for step in steps:
        total += yield step
    return total


def test_a_walk_without_steps_ends_with_what_was_returned() -> None:
    assert walked(adding()) == [0]


def test_answers_that_are_there_are_taken_at_once() -> None:
    assert walked(adding(at_once(1), at_once(2))) == [3]


def test_late_answers_are_waited_for_one_by_one() -> None:
    first, second = Later(), Later()
    ends = walked(adding(first, second))
    assert (len(first.callbacks), len(second.callbacks)) == (1, 0)
    first.answer(1)
    assert ends == []
    second.answer(2)
    assert ends == [3]


def test_late_and_prompt_answers_mix() -> None:
    late = Later()
    ends = walked(adding(at_once(1), late, at_once(4)))
    late.answer(2)
    assert ends == [7]


def test_none_is_an_answer() -> None:
    def steps() -> Steps:
        return [(yield at_once(None))]

    assert walked(steps()) == [[None]]


def test_many_prompt_answers_need_no_deep_stack() -> None:
    assert walked(adding(*[at_once(1)] * 5000)) == [5000]


def test_a_brokers_error_is_raised_where_it_was_waited_for() -> None:
    def steps() -> Steps:
        try:
            yield at_once(BrokerError("disk gone"))
        except BrokerError as error:
            return str(error)

    assert walked(steps()) == ["disk gone"]


def test_an_error_that_nobody_catches_ends_the_walk() -> None:
    late = Later()
    ends = walked(adding(late))
    error = BrokerError("disk gone")
    late.answer(error)
    assert ends == [error]


def test_a_step_that_fails_itself_ends_the_walk_and_is_cleaned_up_after() -> None:
    cleaned: list[bool] = []

    def fails(callback: Callback) -> None:
        raise ZeroDivisionError

    def steps() -> Steps:
        try:
            yield fails
        finally:
            cleaned.append(True)

    (end,) = walked(steps())
    assert (type(end), cleaned) == (ZeroDivisionError, [True])
