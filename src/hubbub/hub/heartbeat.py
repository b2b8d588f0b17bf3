"""A timing wheel: what is due when, for any number of items, with one tick for all. Time is counted in ticks."""

from __future__ import annotations

from typing import Generic, TypeVar

Entry = TypeVar("Entry")


class Wheel(Generic[Entry]):
    """Items in slots; every tick takes one slot.

    Args:
        slots: how many ticks ahead an item may be put, at most.
    """

    __slots__ = ("_hand", "_slots")

    def __init__(self, slots: int) -> None:
        self._slots: list[dict[Entry, None]] = [{} for _ in range(slots + 1)]
        self._hand = 0

    def put(self, entry: Entry, ticks: int) -> int:
        """Makes an item due after `ticks` ticks, at least one; returns the slot, to take it out again."""
        slot = (self._hand + min(max(ticks, 1), len(self._slots) - 1)) % len(self._slots)
        self._slots[slot][entry] = None
        return slot

    def discard(self, entry: Entry, slot: int) -> None:
        """Takes an item out of the slot that `put` returned; nothing when it is not there."""
        self._slots[slot].pop(entry, None)

    def replace(self, entry: Entry, other: Entry, slot: int) -> None:
        """Puts another item in the place of one that is in the slot that `put` returned."""
        del self._slots[slot][entry]
        self._slots[slot][other] = None

    def tick(self) -> list[Entry]:
        """Moves on by one and returns what is due now; it is in the wheel no more."""
        self._hand = (self._hand + 1) % len(self._slots)
        due, self._slots[self._hand] = self._slots[self._hand], {}
        return list(due)

    def __len__(self) -> int:
        return sum(map(len, self._slots))
