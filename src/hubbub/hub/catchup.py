"""Reads the log for members that are behind, a portion at a time, until they are at its end."""

from __future__ import annotations

from collections import deque
from functools import partial
from typing import TYPE_CHECKING, Final

import msgspec

from hubbub.errors import BrokerError
from hubbub.hub.member import Member, Reader
from hubbub.hub.ports import Portion
from hubbub.wire.codec import EVENT, Batch, Item
from hubbub.wire.messages import Gap, MemberCount

if TYPE_CHECKING:
    from hubbub.hub.hub import Hub
    from hubbub.hub.room import Room

_encode = msgspec.json.Encoder().encode

# A quarter of what may wait to be written.
PORTION_BYTES: Final = 64 << 10
PORTION_EVENTS: Final = 500
# Members that are read for before others get a turn; about 5 ms.
MEMBERS_A_TURN: Final = 16


class CatchUp:
    """The members of all rooms for which the log is to be read, in turn."""

    def __init__(self, hub: Hub) -> None:
        self._hub = hub
        self._waiting: deque[Member] = deque()

    def later(self, member: Member) -> None:
        """Has the log read for a member that is behind."""
        if not self._waiting:
            self._hub.runtime.call_soon(self._some)
        self._waiting.append(member)

    def _some(self) -> None:
        try:
            for _ in range(min(len(self._waiting), MEMBERS_A_TURN)):
                self._read(self._waiting.popleft())
        finally:  # whatever one member's room does, the others are read for
            if self._waiting:
                self._hub.runtime.call_soon(self._some)

    def _read(self, member: Member) -> None:
        reader, room = member.reader, member.room
        if reader is None or reader.held or member.connection.stalled or not member.connection.open:
            return
        if reader.cursor >= room.head:
            self._finish(member, reader)
            return
        reader.held = True
        after = max(reader.cursor, room.head - 1) if reader.skips else reader.cursor
        answered = partial(self._deliver, member, reader, after, room.head)
        self._hub.broker.read(room.name, after, PORTION_EVENTS, PORTION_BYTES, answered)

    def _finish(self, member: Member, reader: Reader) -> None:
        """The member is live; who has missed comings and goings is told how many are here."""
        room = member.room
        room.make_live(member)
        if reader.missed and member.announced:
            count = MemberCount(room.count, self._hub.runtime.unix_ms())
            member.connection.transport.send((EVENT, _encode(count)[:-1] + room.suffix))

    def _deliver(self, member: Member, reader: Reader, after: int, head: int, answer: Portion | BrokerError) -> None:
        """Writes what was read behind `after` when the log's end was `head`."""
        if member.reader is not reader:
            return
        if isinstance(answer, BrokerError):
            self._hub.close_unavailable(member.connection)
            return
        room = member.room
        reader.held = False
        if member.connection.stalled:  # nothing is written to it now: the same is read again once it is
            return
        entries = [entry for entry in answer.entries if entry.seq <= room.head]
        items = [room.item(entry.seq, entry.payload) for entry in entries]
        if not answer.whole or after > reader.cursor:
            items.insert(0, self._gap(room, entries[0].seq - 1 if entries else head))
        reader.cursor = entries[-1].seq if entries else head
        self._hub.counters.events_replayed += len(entries)
        member.connection.transport.deliver(Batch(items))
        if member.reader is not reader or member.connection.stalled:
            return
        if reader.cursor >= room.head:
            self._finish(member, reader)
        else:
            self.later(member)

    def _gap(self, room: Room, seq: int) -> Item:
        self._hub.counters.gaps += 1
        return EVENT, _encode(Gap(room.name, room.epoch, seq))
