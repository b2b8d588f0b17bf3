"""Which kinds of transport to try on a network, in what order, given what got through there before. Time is given."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

REMEMBERED_SECONDS: Final = 300.0
"""So long nobody tries again what did not get through; firewalls seldom change, laptops move."""
MOST_NETWORKS: Final = 1000

Network = tuple[str, str]
"""The server's host and port, and the own address that leads there: another one is another network."""


class Networks:
    """What gets through where. One for all clients of a process: each would find the same."""

    def __init__(self) -> None:
        self._found: dict[Network, tuple[str, float]] = {}

    def order(self, network: Network, kinds: Sequence[str], now: float) -> Sequence[str]:
        """The kinds to try: from the one that got through last time on, from the best once that is long ago."""
        kind, until = self._found.get(network, ("", 0.0))
        return kinds[kinds.index(kind) :] if kind in kinds and now < until else kinds

    def found(self, network: Network, kind: str, kinds: Sequence[str], now: float) -> None:
        """One got through."""
        known, until = self._found.get(network, ("", 0.0))
        if kind == kinds[0]:
            self._found.pop(network, None)
        elif known != kind or now >= until:
            self._found.pop(network, None)
            self._found[network] = (kind, now + REMEMBERED_SECONDS)
            if len(self._found) > MOST_NETWORKS:
                del self._found[next(iter(self._found))]

    def better_at(self, network: Network, kind: str) -> float:
        """When to look whether a better kind gets through than this one: at once where another client knows one."""
        known, until = self._found.get(network, ("", 0.0))
        return until if known == kind else 0.0
