"""Who is in a room, on this node and on the others: everybody once, on however many connections and nodes."""

from __future__ import annotations

from bisect import bisect_left, insort
from collections.abc import Mapping, Sequence
from itertools import islice
from typing import TYPE_CHECKING

from hubbub.hub.ports import Present

if TYPE_CHECKING:
    from hubbub.hub.member import Member


class Roster:
    """The members of one room by their ids; an id is there for as long as it is there anywhere.

    Members here are in the order of joining. Where there are some elsewhere too, the order of all is that of when
    they came, which every node knows alike. It is kept, for each who comes is shown the first: to sort a crowd each
    time would keep it busy for the square of its size.
    """

    __slots__ = ("_elsewhere", "_here", "_order")

    def __init__(self) -> None:
        self._here: dict[str, tuple[Member, ...]] = {}
        self._elsewhere: dict[str, dict[str, Present]] = {}
        self._order: list[tuple[int, str]] | None = None  # of all, while any were elsewhere

    @property
    def count(self) -> int:
        """How many there are."""
        return len(self._here) if self._order is None else len(self._order)

    @property
    def anybody_here(self) -> bool:
        """Whether any of them is on this node."""
        return bool(self._here)

    def here(self, id: str) -> tuple[Member, ...]:
        """What somebody is on this node."""
        return self._here.get(id, ())

    def presents(self) -> list[Present]:
        """All that the other nodes should know of those who are here."""
        return [members[0].present for members in self._here.values()]

    def enter(self, member: Member) -> bool:
        """Somebody came here; whether they were nowhere before."""
        before = self._place(member.id)
        self._here[member.id] = (*self._here.get(member.id, ()), member)
        self._move(before, member.id)
        return before is None

    def leave(self, member: Member) -> bool:
        """Somebody left here; whether they are nowhere now."""
        before = self._place(member.id)
        others = tuple(other for other in self._here[member.id] if other is not member)
        if others:
            self._here[member.id] = others
        else:
            del self._here[member.id]
        self._move(before, member.id)
        return self._place(member.id) is None

    def enter_elsewhere(self, node: str, present: Present) -> bool:
        """Somebody came to another node; whether they were nowhere before."""
        if self._order is None:
            self._order = sorted((members[0].since, id) for id, members in self._here.items())
        before = self._place(present.id)
        self._elsewhere.setdefault(present.id, {})[node] = present
        self._move(before, present.id)
        return before is None

    def leave_elsewhere(self, node: str, id: str) -> Present | None:
        """Somebody left another node; who it was if they are nowhere now."""
        before = self._place(id)
        nodes = self._elsewhere.get(id, {})
        present = nodes.pop(node, None)
        if present is None:
            return None
        if not nodes:
            del self._elsewhere[id]
        self._move(before, id)
        return present if self._place(id) is None else None

    def missing(self, everybody: Mapping[str, Sequence[Present]]) -> list[tuple[str, str]]:
        """Node and id of those elsewhere who are not among these: they have left, and nobody has said so."""
        there = {(node, present.id) for node, presents in everybody.items() for present in presents}
        return [(node, id) for id, nodes in self._elsewhere.items() for node in nodes if (node, id) not in there]

    def forget_others(self) -> None:
        """The room is not in use any more: nothing is told of the other nodes."""
        self._elsewhere.clear()
        self._order = None

    def usernames(self, offset: int, limit: int) -> list[str]:
        """A page of the names."""
        if self._order is None:
            page = islice(self._here.values(), offset, offset + limit)
            return [members[0].username for members in page]
        return [self._username(id) for _, id in self._order[offset : offset + limit]]

    def _username(self, id: str) -> str:
        members = self._here.get(id)
        return members[0].username if members else next(iter(self._elsewhere[id].values())).username

    def _place(self, id: str) -> tuple[int, str] | None:
        """Where somebody stands in the order of all, who is there."""
        members = self._here.get(id)
        if members:
            return members[0].since, id
        nodes = self._elsewhere.get(id)
        return (next(iter(nodes.values())).since, id) if nodes else None

    def _move(self, before: tuple[int, str] | None, id: str) -> None:
        """Somebody stood there before, or nowhere."""
        after = self._place(id)
        if self._order is None or before == after:
            return
        if before is not None:
            del self._order[bisect_left(self._order, before)]
        if after is not None:
            insort(self._order, after)
