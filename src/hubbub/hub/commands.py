"""The commands that come with the protocol: joining and coming back, history, acknowledgements, presence."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any, Final

import msgspec
from msgspec import UNSET

from hubbub.codes import FORBIDDEN, INVALID_JOIN, INVALID_MESSAGE, INVALID_TOKEN, NOT_IN_ROOM
from hubbub.errors import CommandError, HandshakeError
from hubbub.hub.authorization import authorized
from hubbub.hub.connection import Connection
from hubbub.hub.entrance import Entrance
from hubbub.hub.identity import Credentials, Identity
from hubbub.hub.limits import clean_room, names_of
from hubbub.hub.member import Member
from hubbub.hub.pages import between, messages, newest
from hubbub.hub.publication import Publication
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
    Refresh,
    Resume,
    Subscribe,
    Unsubscribe,
    UserInfo,
)

MOST_READERS: Final = 200


def reply(connection: Connection, command: Command, **fields: Any) -> None:
    """Answers a command that has an id; nothing else is answered to it then."""
    if command.id is not UNSET:
        connection.send(Ok(command.id, **fields))
        command.id = UNSET


# In and out


def join(connection: Connection, command: Join) -> Steps | None:
    """Enters a room; `room_info` is the reply."""
    name, username = names_of(command.room, shown_name(connection, command.username))
    connection._hub.check_enter(connection, name, keep=command.keep)
    entry = Entrance(connection, name, username, command)
    if entry.is_plain and not any(member.room.unsettled for member in connection.members):
        entry.reply(connection._hub.enter(connection, name, username, keep=command.keep))  # benchmark P6
        return None
    return _join(connection, command, entry)


def shown_name(connection: Connection, username: str) -> str:
    """What a client is called: its own choice only where nobody has said who it is, or that is allowed."""
    identity = connection.identity
    if identity.user and not (username.strip() and connection._hub.config.auth.display_names):
        return identity.name
    return username


def _join(connection: Connection, command: Join, entry: Entrance) -> Steps:
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
    yield from Entrance(connection, name, "", command).enter(keep=True)


def leave(connection: Connection, command: Leave | Unsubscribe) -> Steps:
    """Leaves a room, or ends a subscription."""
    for member in connection.members:
        if member.room.name == command.room and member.room.unsettled:
            yield member.room.settled
    connection._hub.leave(connection, command.room, settled=True)


def resume(connection: Connection, command: Resume) -> Steps:
    """Enters all rooms again, under the names that the session had there; a `room_info` for each."""
    if command.session and (connection.session is None or connection.session.token != command.session):
        connection._hub.take_up(connection, command.session)
    session = connection.session
    usernames = {} if session is None else (yield from connection._hub.sessions.usernames(session))
    missing: list[str] = []
    for name, since in command.rooms.items():
        try:
            if name not in usernames:
                raise CommandError(NOT_IN_ROOM, "Not in that room")
            verb = "join" if usernames[name] else "subscribe"
            yield from authorized(connection, (verb, "history"), name)
            username = usernames[name] and shown_name(connection, usernames[name])
            yield from Entrance(connection, name, username, None, since).enter(keep=True)
        except CommandError:
            missing.append(name)
    reply(connection, command, missing=missing, session=UNSET if session is None else session.token)


def user_info(identity: Identity) -> UserInfo:
    """Who somebody is, as it is told to the client."""
    expires = UNSET if identity.expires is None else int(identity.expires * 1000)
    return UserInfo(identity.user, identity.name, expires)


async def refresh(connection: Connection, command: Refresh) -> None:
    """Takes new credentials of the same user; it is out of the rooms that they do not allow."""
    hub = connection._hub
    remote = connection.remote[0] if connection.remote else ""
    try:
        identity = await hub.authenticate(Credentials(token=command.token, path=connection.path, remote=remote))
        if not identity.user or identity.user != connection.identity.user:
            raise HandshakeError(401, "the token is of another user")
        left = hub.standing.renew(connection, identity) if connection.open else []
    except HandshakeError as error:
        raise CommandError(INVALID_TOKEN, str(error)) from None
    reply(connection, command, missing=left, user=user_info(identity))


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
        entries = yield from between(broker, room, after, room.head, limit)
        more = bool(entries) and entries[-1].seq < room.head
    else:
        before = room.head + 1 if command.before is None else max(min(command.before, room.head + 1), 0)
        start = max(before - limit - 2, 0) if dense else 0
        found = yield from between(broker, room, start, before - 1)
        entries = newest(found, limit)
        more = len(found) > len(entries)
    reply(connection, command, room=room.name, epoch=room.epoch, messages=messages(room, entries), more=more)


@holding
def ack(connection: Connection, command: Ack, member: Member) -> Steps:
    """Stores what the client has received; never less than before."""
    room, hub = member.room, connection._hub
    if command.seq > room.head:
        raise CommandError(INVALID_MESSAGE, f"The last event is {room.head}")
    before = -1 if member.acked is None else member.acked
    stored = max(command.seq, before)
    if connection.lasting and stored > before:
        stored = yield partial(hub.broker.acknowledge, room.name, member.key, member.username, stored)
    member.acked = stored
    room.receipts.acknowledge(member.device, command.seq)  # another device of the user may be further
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
        if member.username and member.acked is not None and not member.connection.lasting
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
    if allows is None or not allows(connection, room, command.event):
        raise CommandError(FORBIDDEN, "Clients may not publish this here")
    if command.message_id and not command.keep:
        raise CommandError(INVALID_MESSAGE, "Only an event that is kept can be told from its repeat")
    once = connection.once(command.message_id, content_of(command.event))
    return room.publish(command.event, keep=command.keep, once=once)


def content_of(event: Mapping[str, object]) -> str:
    """What an event of somebody's own says, as a text; the same for the same content.

    Raises:
        CommandError: `invalid_message`: it looks like one of ours, or cannot be JSON.
    """
    kind = event.get("type")
    if not isinstance(kind, str) or not kind or kind in OURS or not THEIRS.isdisjoint(event):
        raise CommandError(INVALID_MESSAGE, "An event has a type of its own, and no room, seq, confirm or redelivered")
    try:
        return msgspec.json.encode(event, order="sorted").decode()
    except TypeError:  # MessagePack has values that JSON has not
        raise CommandError(INVALID_MESSAGE, "The event has a value that JSON has not") from None


OURS: Final = frozenset(str(event.__struct_config__.tag) for event in Event.__subclasses__())
"""The types of the protocol's own events."""
THEIRS: Final = frozenset(("room", "seq", "confirm", "redelivered"))
"""Fields that the server adds."""


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


def presence(connection: Connection, command: Presence) -> Steps | None:
    """Answers with a page of who is in a room, once all who are in it were told of."""
    if not command.room:
        raise CommandError(NOT_IN_ROOM, "Not in that room")
    room = connection.member(command.room, subscribed=True).room
    if room.unsettled:
        return _presence(connection, command, room)
    _list(connection, command, room)
    return None


def _presence(connection: Connection, command: Presence, room: Room) -> Steps:
    yield room.settled
    _list(connection, command, room)


def _list(connection: Connection, command: Presence, room: Room) -> None:
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
    Refresh: refresh,
    Resume: resume,
    Subscribe: subscribe,
    Unsubscribe: leave,
}
"""What is done for each."""

VERBS: Final[dict[type[Command], str]] = {
    Ack: "ack",
    AskReceipts: "presence",
    History: "history",
    Join: "join",
    Presence: "presence",
    Publish: "publish",
    Subscribe: "subscribe",
}
"""What somebody must be allowed in the room for it; the others look for themselves, or need nothing."""

HEAVY: Final[frozenset[type[Command]]] = frozenset((AskReceipts, History, Presence, Resume))
"""Those that read a log or a list, and count as several messages."""
