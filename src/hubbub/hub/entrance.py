"""How a client enters a room: from its place in the log to `room_info`, with nothing lost and nothing twice between."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from functools import partial
from typing import Final

from msgspec import UNSET

from hubbub.codes import NOT_IN_ROOM
from hubbub.errors import BrokerError, CommandError
from hubbub.hub.authorization import authorized
from hubbub.hub.connection import Connection
from hubbub.hub.member import Member
from hubbub.hub.pages import between, has, last, messages, out
from hubbub.hub.ports import Entry, Portion
from hubbub.hub.publication import CONFIRM
from hubbub.hub.receipts import again
from hubbub.hub.room import MOST_BYTES, MOST_EVENTS
from hubbub.hub.steps import Steps
from hubbub.wire.messages import Join, RoomInfo, Since, Subscribe

log: Final = logging.getLogger("hubbub")


class Entrance:
    """One entering of a room: from the log's opening to the reply.

    Attributes:
        recovered: as in `room_info`.
        may_see, may_read: whether the client may know who is there, and what was said before.
    """

    __slots__ = (
        *("acked", "broker", "command", "connection", "history", "may_read", "may_see"),
        *("recovered", "room", "since", "username"),
    )

    def __init__(
        self,
        connection: Connection,
        name: str,
        username: str,
        command: Join | Subscribe | None,
        since: Since | None = None,
    ) -> None:
        self.connection = connection
        self.room = connection._hub.room(name)
        self.broker = connection._hub.broker
        self.username = username
        self.command = command
        self.since = since if command is None else command.since
        self.history = 0 if command is None else command.history
        self.acked: int | None = None
        self.recovered: bool | None = None
        grants = connection.identity.grants
        self.may_see = grants is None or grants.allow("presence", name)
        self.may_read = grants is None or grants.allow("history", name)

    @property
    def is_plain(self) -> bool:
        """Whether nothing needs to be looked up."""
        room = self.room
        return (
            bool(room.epoch)
            and self.since is None
            and not self.history
            and not room.policy.latest_only
            and not self.connection.lasting
            and self.connection._hub.authorizer is None
        )

    def enter(self, *, keep: bool) -> Steps:
        """Opens the log, finds the place, lets the connection in, reads what it missed, and replies."""
        room, connection = self.room, self.connection
        room.holds += 1
        try:
            if not room.epoch:
                yield room.open
            if room.unsettled and room in connection.rooms:  # entering again is leaving first: that goes out before
                yield room.settled
            if connection._hub.authorizer is not None:
                self.may_see = yield from self._ask("presence")
                self.may_read = yield from self._ask("history")
            if connection.lasting:
                self.acked = yield partial(self.broker.acknowledged, room.name, connection.key)
            after = yield from self._find_place()
            head = room.head
            plain = after >= head and self.acked is None
            member = connection._hub.enter(
                connection, room.name, self.username, keep=keep, after=None if plain else after, settled=True
            )
            member.acked = self.acked
            yield from self._catch_up(member, after, head)
        finally:
            room.holds -= 1
            room.close_unused()

    def _catch_up(self, member: Member, after: int, head: int) -> Steps:
        """Reads what the member missed between two places, replies, and lets it go on."""
        entries: Sequence[Entry] = []
        try:
            if after < head:
                entries = yield from self._read(after)
        except BrokerError:
            if self._is_here(member):
                self.connection._hub.forget(member)
            raise
        if not self._is_here(member):
            if self.connection.open:
                raise CommandError(NOT_IN_ROOM, "Taken out of the room")
            return
        reached = entries[-1].seq if entries else head
        if entries and self.connection.stalled:  # it does not read: what it missed follows as soon as it does
            entries, reached = [], entries[0].seq - 1
        reached = self.reply(member, entries, reached)
        try:
            if self.acked is not None and self.may_read:
                yield from self._redeliver(self.acked, entries[0].seq - 1 if entries else reached)
        except BrokerError:
            self.connection._hub.close_unavailable(self.connection)
        if self._is_here(member):
            self.room.release(member, reached)

    def _is_here(self, member: Member) -> bool:
        """Whether the connection is still this member: it may be lost, and another may have taken over."""
        return self.connection.open and member in self.connection.members

    def _find_place(self) -> Steps:
        """The seq behind which the client begins."""
        since, room = self.since, self.room
        if since is None or (since == "acked" and self.acked is None):
            return self._last()
        if since == "acked":
            assert self.acked is not None
            since = Since(room.epoch, self.acked)
        assert isinstance(since, Since)
        self.recovered = True
        if since.time is not None:
            return (yield partial(self.broker.seek, room.name, since.time))
        if not has(room, since):  # it comes from a node that was told earlier than this one
            yield partial(self.broker.refresh, room.name)
        if has(room, since):
            return since.seq
        self.recovered = False
        return self._last()

    def _last(self) -> int:
        """Where the last events begin that a client gets that goes by no position."""
        return last(self.room, self.history, may_read=self.may_read)

    def _read(self, after: int) -> Steps:
        """What the reply holds: as much as fits of what is behind `after`."""
        portion: Portion = yield partial(self.broker.read, self.room.name, after, MOST_EVENTS, MOST_BYTES)
        if self.recovered and not portion.whole:
            self.recovered = False
            if isinstance(self.since, Since) and self.since.time is not None:
                return out(self.room, portion)
            after = max(self._last(), after)
            if after >= self.room.head:
                return ()
            portion = yield partial(self.broker.read, self.room.name, after, MOST_EVENTS, MOST_BYTES)
        return out(self.room, portion)

    def reply(self, member: Member, entries: Sequence[Entry] = (), reached: int | None = None) -> int:
        """Sends `room_info`, the answer to the command if there is one; returns up to where the client has all."""
        room, connection, command = self.room, self.connection, self.command
        reached = room.head if reached is None else reached
        connection._hub.counters.events_replayed += len(entries)
        members, truncated = room.shown_to(member) if self.may_see else ([], True)
        info = RoomInfo(
            room.name,
            members,
            room.count,
            room.epoch,
            reached,
            room.head,
            self.recovered,
            messages(room, entries),
            truncated or UNSET,
        )
        if self.acked is not None:
            info.acked, info.unread = self.acked, max(room.head - self.acked, 0)
        if command is not None:
            info.id, command.id = command.id, UNSET
        connection.send(info)
        return reached

    def _ask(self, verb: str) -> Steps:
        """Whether something is allowed here."""
        try:
            yield from authorized(self.connection, (verb,), self.room.name)
        except CommandError:
            return False
        except Exception:  # an application that cannot say allows nothing
            log.exception("an application could not say what is allowed: room=%r", self.room.name)
            return False
        return True

    def _redeliver(self, acked: int, last: int) -> Steps:
        """Sends again the confirmed events up to `last` that the client had before and did not acknowledge."""
        room = self.room
        if room.receipts.confirmed is None:
            found: list[int] = []
            read = 0
            while read < room.head:  # what goes out meanwhile is looked at too
                last_read, read = read, room.head
                entries = yield from between(self.broker, room, last_read, read)
                found += [entry.seq for entry in entries if entry.payload.endswith(CONFIRM)]
            room.receipts.found(found)
        for seq in room.receipts.confirmed or ():
            if not acked < seq <= last:
                continue
            if self.connection.stalled or not self.connection.open:
                return
            portion: Portion = yield partial(self.broker.read, room.name, seq - 1, 1, MOST_BYTES)
            for entry in portion.entries:
                if entry.seq == seq:
                    self.connection._redeliver(again(room.item(seq, entry.payload)))
