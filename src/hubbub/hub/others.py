"""What other nodes do, as the broker tells it (hub.ports.Listener): taken to the rooms of this node."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from hubbub.hub import control, revocations
from hubbub.hub.ports import Entry, Position, Present

if TYPE_CHECKING:
    from hubbub.hub.hub import Hub
    from hubbub.hub.member import Member
    from hubbub.hub.room import Room


class Others:
    """The other nodes, for one hub."""

    def __init__(self, hub: Hub) -> None:
        self._hub = hub

    def arrived(self, room: str, entries: Sequence[Entry]) -> None:
        found = self._open(room)
        if found is not None and entries:
            found.arrived(entries)
            if room == revocations.ROOM:
                self._hub.standing.heard(entries)

    def moved(self, room: str, position: Position) -> None:
        found = self._open(room)
        if found is not None:
            found.moved(position)

    def told(self, room: str, payloads: Sequence[bytes]) -> None:
        if room == control.ROOM:
            self._hub.nodes.told(payloads)
            return
        found = self._open(room)
        if found is not None:
            found.told(payloads)

    def came(self, room: str, node: str, entered: Sequence[Present], left: Sequence[str]) -> None:
        found = self._hub.rooms.get(room)
        if found is not None:
            found.came(node, entered, left)
            for present in entered:
                self._let_go(found, node, present)

    def everybody(self, room: str, others: Mapping[str, Sequence[Present]]) -> None:
        found = self._hub.rooms.get(room)
        if found is None:
            return
        missing = found.roster.missing(others)
        moved = {id for _, id in missing}
        for node, presents in others.items():  # first: who has moved to another node was there all the time
            found.came(node, [present for present in presents if present.id in moved], ())
        for node, id in missing:
            found.came(node, (), (id,))
        for node, presents in others.items():  # who is here as well may have come from there: that is not known
            found.came(node, presents, ())

    def dropped(self) -> None:
        self._hub.counters.bus_dropped += 1

    def _open(self, name: str) -> Room | None:
        room = self._hub.rooms.get(name)
        return room if room is not None and room.epoch else None

    def _let_go(self, room: Room, node: str, present: Present) -> None:
        """A session is on another node now: what it was here is no more, and nobody is told that it left.

        What is read, or told again, may be of the node that it came from: the later coming counts.
        Where it came to both at once, each hears of the other: the same one gives way on both, whatever clocks say.
        """
        for member in room.roster.here(present.id):
            session = member.connection.session
            earlier = (member.since, self._hub.broker.node_id) < (present.since, node)
            if earlier and session is not None and session.id == present.id:
                self._give_up(member)

    def _give_up(self, member: Member) -> None:
        connection = member.connection
        if connection.open:
            self._hub.replace(connection)
        session = connection.session
        if session is not None and session.members.pop(member, None) is not None:
            self._hub.give_up(member)
