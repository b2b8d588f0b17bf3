"""Work in several steps: a generator that yields what it waits for, and goes on at once where the answer is there.

A step is a function that takes a callback: `portion = yield partial(broker.read, "lobby", 7, 100, 65536)`.
An answer that is an exception is raised where it was waited for.
"""

from __future__ import annotations

from collections.abc import Callable, Generator
from typing import Any, Final

Step = Callable[[Callable[[Any], None]], None]
Steps = Generator[Step, Any, Any]

_NONE: Final = object()


class Walk:
    """Takes the steps, however late their answers come.

    Args:
        steps: a generator that has not begun.
        done: called once, with what the generator returned or raised.
    """

    __slots__ = ("_answer", "_done", "_steps", "_waiting")

    def __init__(self, steps: Steps, done: Callable[[Any], None]) -> None:
        self._steps = steps
        self._done = done
        self._answer: object = _NONE
        self._waiting = False

    def go_on(self, answer: object = None) -> None:
        """Walks until an answer is not there yet, or the end."""
        while True:
            try:
                step = self._steps.throw(answer) if isinstance(answer, Exception) else self._steps.send(answer)
            except StopIteration as stop:
                self._done(stop.value)
                return
            except Exception as error:
                self._done(error)
                return
            self._answer = _NONE
            try:
                step(self._receive)
            except Exception as error:
                self._steps.close()
                self._done(error)
                return
            if self._answer is _NONE:
                self._waiting = True
                return
            answer = self._answer

    def _receive(self, answer: object) -> None:
        if self._waiting:
            self._waiting = False
            self.go_on(answer)
        else:
            self._answer = answer
