"""What a module of a target has."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Protocol


class Target(Protocol):
    """A module with these functions; it runs with and without a fuzzer."""

    def target(self, data: bytes) -> None:
        """Tries an input.

        Raises:
            AssertionError: a promise is broken.
        """

    def seeds(self) -> Iterable[bytes]:
        """Inputs to begin with."""

    def words(self) -> Iterable[bytes]:
        """What mutations put in."""
