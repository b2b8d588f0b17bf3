"""The commands that come with the protocol: joining and coming back, history, acknowledgements, presence."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, Final

import msgspec
from msgspec import UNSET

from hubbub.codes import FORBIDDEN, INVALID_JOIN, INVALID_MESSAGE, NOT_IN_ROOM
from hubbub.errors import BrokerError, CommandError
from hubbub.hub.connection import Connection
from hubbub.hub.limits import clean_room, names_of
from hubbub.hub.member import Member
from hubbub.hub.ports import Broker, Entry, Portion
from hubbub.hub.publication import CONFIRM, Publication
from hubbub.hub.receipts import again
from hubbub.hub.room import Room
from hubbub.hub.steps import Steps
from hubbub.wire.messages import (
    Ack,
    AskReceipts,
    Command,
    Event,
    History,
    Join,
    Leave,
    Ok,
    Ping,
    Presence,
    Publish,
    ReaderInfo,
    Resume,
    RoomInfo,
    Since,
    Subscribe,
    Unsubscribe,
)

MOST_EVENTS: Final = 1000
# Of a reply; half of what may wait to be written. The rest follows as it is read.
MOST_BYTES: Final = 128 << 10
MOST_READERS: Final = 200


def reply(connection: Connection, command: Command, **fields: Any) -> None:
    """Answers a command that has an id; nothing else is answered to it then."""
    if command.id is not UNSET:
        connection.send(Ok(command.id, **fields))
        command.id = UNSET


# In and out


def join(connection: Connection, command: Join) -> Steps | None:
    """Enters a room; `room_info` is the reply."""
    name, username = names_of(command.room, command.username)
    connection._hub.check_enter(connection, name, keep=command.keep)
    entry = _Entry(connection, name, username, command)
    if entry.is_plain and not any(member.room.unsettled for member in connection.members):
        entry.reply(connection._hub.enter(connection, name, username, keep=command.keep))  # benchmark P6
        return None
    return _join(connection, command, entry)


def _join(connection: Connection, command: Join, entry: _Entry) -> Steps:
    for member in connection.members:  # what was said there before reaches it before it leaves
        if member.room.unsettled and (member.room is entry.room or (member.username and not command.keep)):
            yield member.room.settled
    yield from entry.enter(keep=command.keep)


def subscribe(connection: Connection, command: Subscribe) -> Steps:
    """Gets a room's events, unseen; `room_info` is the reply."""
    name = clean_room(command.room)
    if not name:
        raise CommandError(INVALID_JOIN, "A room is required")
    connection._hub.check_enter(connection, name, keep=True)
    yield from _Entry(connection, name, "", command).enter(keep=True)


def leave(connection: Connection, command: Leave | Unsubscribe) -> Steps:
    """Leaves a room, or ends a subscription."""
    for member in connection.members:
        if member.room.name == command.room and member.room.unsettled:
            yield member.room.settled
    connection.leave(command.room)


def resume(connection: Connection, command: Resume) -> Steps:
    """Enters all rooms again, under the names that the session had there; a `room_info` for each."""
    if command.session and (connection.session is None or connection.session.token != command.session):
        connection._hub.take_up(connection, command.session)
    session = connection.session
    usernames = {} if session is None else session.usernames.copy()
    missing: list[str] = []
    for name, since in command.rooms.items():
        try:
            if name not in usernames:
                raise CommandError(NOT_IN_ROOM, "Not in that room")
            yield from _Entry(connection, name, usernames[name], None, since).enter(keep=True)
        except CommandError:
            missing.append(name)
    reply(connection, command, missing=missing, session=UNSET if session is None else session.token)


class _Entry:
    """One entering of a room: from the log's opening to the reply.

    Attributes:
        recovered: as in `room_info`.
    """

    __slots__ = ("acked", "broker", "command", "connection", "history", "recovered", "room", "since", "username")

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

    @property
    def is_plain(self) -> bool:
        """Whether nothing needs to be looked up."""
        room = self.room
        return (
            bool(room.epoch)
            and self.since is None
            and not self.history
            and not room.policy.latest_only
            and self.connection.session is None
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
            if connection.session is not None:
                self.acked = yield partial(self.broker.acknowledged, room.name, connection.identity)
            after = yield from self._find_place()
            head = room.head
            plain = after >= head and self.acked is None
            member = connection._hub.enter(
                connection, room.name, self.username, keep=keep, after=None if plain else after
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
            return
        reached = entries[-1].seq if entries else head
        if entries and self.connection.stalled:  # it does not read: what it missed follows as soon as it does
            entries, reached = [], entries[0].seq - 1
        self.reply(member, entries, reached)
        try:
            if self.acked is not None:
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
        if since.epoch == room.epoch and 0 <= since.seq <= room.head:
            return since.seq
        self.recovered = False
        return self._last()

    def _last(self) -> int:
        """Where the last events begin that a client gets that goes by no position."""
        if self.room.policy.latest_only and not self.history:
            return 0
        return max(self.room.head - self.history, 0)

    def _read(self, after: int) -> Steps:
        """What the reply holds: as much as fits of what is behind `after`."""
        portion: Portion = yield partial(self.broker.read, self.room.name, after, MOST_EVENTS, MOST_BYTES)
        if self.recovered and not portion.whole:
            self.recovered = False
            if isinstance(self.since, Since) and self.since.time is not None:
                return self._out(portion)
            last = max(self._last(), after)
            if last >= self.room.head:
                return ()
            portion = yield partial(self.broker.read, self.room.name, last, MOST_EVENTS, MOST_BYTES)
        return self._out(portion)

    def _out(self, portion: Portion) -> Sequence[Entry]:
        """Those that have gone out to members."""
        return [entry for entry in portion.entries if entry.seq <= self.room.head]

    def reply(self, member: Member, entries: Sequence[Entry] = (), reached: int | None = None) -> None:
        """Sends `room_info`, the answer to the command if there is one."""
        room, connection, command = self.room, self.connection, self.command
        connection._hub.counters.events_replayed += len(entries)
        members, truncated = room.roster(member)
        info = RoomInfo(
            room.name,
            members,
            room.count,
            room.epoch,
            room.head if reached is None else reached,
            room.head,
            self.recovered,
            _messages(room, entries),
            truncated or UNSET,
        )
        if self.acked is not None:
            info.acked, info.unread = self.acked, max(room.head - self.acked, 0)
        if command is not None:
            info.id, command.id = command.id, UNSET
        connection.send(info)

    def _redeliver(self, acked: int, last: int) -> Steps:
        """Sends again the confirmed events up to `last` that the client had before and did not acknowledge."""
        room = self.room
        if room.receipts.confirmed is None:
            entries = yield from _between(self.broker, room, 0, room.head)
            room.receipts.found([entry.seq for entry in entries if entry.payload.endswith(CONFIRM)])
        for seq in room.receipts.confirmed or ():
            if not acked < seq <= last:
                continue
            if self.connection.stalled or not self.connection.open:
                return
            portion: Portion = yield partial(self.broker.read, room.name, seq - 1, 1, MOST_BYTES)
            for entry in portion.entries:
                if entry.seq == seq:
                    self.connection._redeliver(again(room.item(seq, entry.payload)))


def _messages(room: Room, entries: Sequence[Entry]) -> list[msgspec.Raw]:
    return [msgspec.Raw(room.item(entry.seq, entry.payload)[1]) for entry in entries]


# The log


def holding(handler: Callable[[Connection, Any, Member], Steps]) -> Callable[[Connection, Any], Steps]:
    """Makes a command's handler of one that asks the log of a room which the client has joined or subscribed to."""

    def handle(connection: Connection, command: Any) -> Steps:
        member = connection.member(command.room, subscribed=True)
        member.room.holds += 1
        try:
            if not member.room.epoch:
                yield member.room.open
            if member.room.unsettled:  # what the client has said before counts
                yield member.room.settled
            yield from handler(connection, command, member)
        finally:
            member.room.holds -= 1
            member.room.close_unused()

    return handle


@holding
def history(connection: Connection, command: History, member: Member) -> Steps:
    """Answers with a page of kept events."""
    room, limit, after = member.room, command.limit, command.after
    broker, dense = connection._hub.broker, not member.room.policy.latest_only
    if command.time is not None:
        after = yield partial(broker.seek, room.name, command.time)
    if after is not None:
        after = max(min(after, room.head), 0)
        last = min(after + limit, room.head) if dense else room.head
        entries = yield from _between(broker, room, after, last, limit)
        more = bool(entries) and entries[-1].seq < room.head
    else:
        before = room.head + 1 if command.before is None else max(min(command.before, room.head + 1), 0)
        start = max(before - limit - 2, 0) if dense else 0
        found = yield from _between(broker, room, start, before - 1)
        entries = newest(found, limit)
        more = len(found) > len(entries)
    reply(connection, command, room=room.name, epoch=room.epoch, messages=_messages(room, entries), more=more)


def _between(broker: Broker, room: Room, after: int, last: int, limit: int | None = None) -> Steps:
    """The entries behind `after` up to `last`; with a limit no more than one portion of them."""
    entries: list[Entry] = []
    while after < last:
        portion: Portion = yield partial(broker.read, room.name, after, limit or MOST_EVENTS, MOST_BYTES)
        entries += [entry for entry in portion.entries if entry.seq <= last]
        if limit or not portion.entries:
            break
        after = portion.entries[-1].seq
    return entries


def newest(entries: Sequence[Entry], limit: int) -> Sequence[Entry]:
    """The last entries, at most `limit`, and no more than fit into a reply but at least one."""
    size = 0
    for count, entry in enumerate(reversed(entries)):
        size += len(entry.payload)
        if count == limit or (count and size > MOST_BYTES):
            return entries[len(entries) - count :]
    return entries


@holding
def ack(connection: Connection, command: Ack, member: Member) -> Steps:
    """Stores what the client has received; never less than before."""
    room, hub = member.room, connection._hub
    if command.seq > room.head:
        raise CommandError(INVALID_MESSAGE, f"The last event is {room.head}")
    before = -1 if member.acked is None else member.acked
    stored = max(command.seq, before)
    if connection.session is not None and stored > before:
        stored = yield partial(hub.broker.acknowledge, room.name, member.identity, member.username, stored)
    member.acked = stored
    room.receipts.acknowledge(member.identity, stored)
    reply(connection, command, seq=stored, unread=max(room.head - stored, 0))
    if stored > before:
        for hook in hub.on_ack:
            hook(member, stored)


@holding
def receipts(connection: Connection, command: AskReceipts, member: Member) -> Steps:
    """Answers with who has acknowledged what."""
    room = member.room
    stored = yield partial(connection._hub.broker.readers, room.name, MOST_READERS)
    readers = [ReaderInfo(name, seq) for reader, name, seq in stored if name]
    readers += [
        ReaderInfo(member.username, member.acked)
        for member in room.members
        if member.username and member.acked is not None and member.connection.session is None
    ]
    readers.sort(key=lambda reader: -reader.seq)
    if command.seq is None:
        reply(connection, command, room=room.name, readers=readers[:MOST_READERS])
    else:
        received, waiting = room.receipts.of(command.seq)
        reply(connection, command, room=room.name, readers=readers[:MOST_READERS], received=received, waiting=waiting)


def publish(connection: Connection, command: Publish) -> Publication:
    """Publishes a client's own event, where the application allows it."""
    room = connection.member(command.room, subscribed=True).room
    allows = connection._hub.allows_publish
    kind = command.event.get("type")
    if allows is None or not allows(connection, room, command.event):
        raise CommandError(FORBIDDEN, "Clients may not publish this here")
    if command.message_id and not command.keep:
        raise CommandError(INVALID_MESSAGE, "Only an event that is kept can be told from its repeat")
    if not isinstance(kind, str) or not kind or kind in _OURS or not _THEIRS.isdisjoint(command.event):
        raise CommandError(INVALID_MESSAGE, "An event has a type of its own, and no room, seq, confirm or redelivered")
    try:
        content = msgspec.json.encode(command.event, order="sorted").decode()
    except TypeError:  # MessagePack has values that JSON has not
        raise CommandError(INVALID_MESSAGE, "The event has a value that JSON has not") from None
    once = connection.once(command.message_id, content)
    return room.publish(command.event, keep=command.keep, once=once)


_OURS: Final = frozenset(event.__struct_config__.tag for event in Event.__subclasses__())
_THEIRS: Final = frozenset(("room", "seq", "confirm", "redelivered"))


# Others


def ping(connection: Connection, command: Ping) -> Steps | None:
    """Answers with the time, once all is carried out that the client sent before."""
    if any(member.room.unsettled for member in connection.members):
        return _ping(connection, command)
    reply(connection, command, timestamp=connection.now_ms())
    return None


def _ping(connection: Connection, command: Ping) -> Steps:
    for member in connection.members:
        if member.room.unsettled:
            yield member.room.settled
    reply(connection, command, timestamp=connection.now_ms())


def presence(connection: Connection, command: Presence) -> None:
    """Answers with a page of who is in a room."""
    if not command.room:
        raise CommandError(NOT_IN_ROOM, "Not in that room")
    room = connection.member(command.room, subscribed=True).room
    members = room.usernames(command.offset, command.limit)
    reply(connection, command, room=room.name, members=members, count=room.count)


BUILT_IN: Final[dict[type[Command], Callable[..., Any]]] = {
    Ack: ack,
    AskReceipts: receipts,
    History: history,
    Join: join,
    Leave: leave,
    Ping: ping,
    Presence: presence,
    Publish: publish,
    Resume: resume,
    Subscribe: subscribe,
    Unsubscribe: leave,
}
