"""Who is in a room, on this node and on the others: everybody once, on however many connections and nodes."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import chain, islice
from typing import TYPE_CHECKING

from hubbub.hub.ports import Present

if TYPE_CHECKING:
    from hubbub.hub.member import Member


class Roster:
    """The members of one room by their ids; an id is there for as long as it is there anywhere.

    Members here are in the order of joining. Where there are some elsewhere too, the order of all is that of when
    they came, which every node knows alike.
    """

    __slots__ = ("_elsewhere", "_here")

    def __init__(self) -> None:
        self._here: dict[str, tuple[Member, ...]] = {}
        self._elsewhere: dict[str, dict[str, Present]] = {}

    @property
    def count(self) -> int:
        """How many there are."""
        if not self._elsewhere:
            return len(self._here)
        return len(self._here) + sum(id not in self._here for id in self._elsewhere)

    def here(self, id: str) -> tuple[Member, ...]:
        """What somebody is on this node."""
        return self._here.get(id, ())

    def presents(self) -> list[Present]:
        """All that the other nodes should know of those who are here."""
        return [members[0].present for members in self._here.values()]

    def enter(self, member: Member) -> bool:
        """Somebody came here; whether they were nowhere before."""
        others = self._here.get(member.id, ())
        self._here[member.id] = (*others, member)
        return not others and member.id not in self._elsewhere

    def leave(self, member: Member) -> bool:
        """Somebody left here; whether they are nowhere now."""
        others = tuple(other for other in self._here[member.id] if other is not member)
        if others:
            self._here[member.id] = others
            return False
        del self._here[member.id]
        return member.id not in self._elsewhere

    def enter_elsewhere(self, node: str, present: Present) -> bool:
        """Somebody came to another node; whether they were nowhere before."""
        nodes = self._elsewhere.setdefault(present.id, {})
        fresh = not nodes and present.id not in self._here
        nodes[node] = present
        return fresh

    def leave_elsewhere(self, node: str, id: str) -> Present | None:
        """Somebody left another node; who it was if they are nowhere now."""
        nodes = self._elsewhere.get(id, {})
        present = nodes.pop(node, None)
        if nodes or present is None:
            return None
        del self._elsewhere[id]
        return None if id in self._here else present

    def missing(self, everybody: Mapping[str, Sequence[Present]]) -> list[tuple[str, str]]:
        """Node and id of those elsewhere who are not among these: they have left, and nobody has said so."""
        there = {(node, present.id) for node, presents in everybody.items() for present in presents}
        return [(node, id) for id, nodes in self._elsewhere.items() for node in nodes if (node, id) not in there]

    def forget_others(self) -> None:
        """The room is not in use any more: nothing is told of the other nodes."""
        self._elsewhere.clear()

    def usernames(self, offset: int, limit: int) -> list[str]:
        """A page of the names."""
        return list(islice(self._names(), offset, offset + limit))

    def _names(self) -> Iterator[str]:
        here = (members[0] for members in self._here.values())
        if not self._elsewhere:
            return (member.username for member in here)
        there = (next(iter(nodes.values())) for id, nodes in self._elsewhere.items() if id not in self._here)
        everybody: Iterable[Present] = chain((member.present for member in here), there)
        return (present.username for present in sorted(everybody, key=lambda present: (present.since, present.id)))
