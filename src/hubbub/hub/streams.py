"""A stream: a connection that only listens. What it wants was said in its request; it enters its rooms by itself."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, NamedTuple

from hubbub.codes import FORBIDDEN, INTERNAL_ERROR, POLICY_VIOLATION, REMOVED, TOO_MANY_ROOMS
from hubbub.errors import BrokerError, CommandError
from hubbub.hub.authorization import authorized
from hubbub.hub.commands import shown_name
from hubbub.hub.connection import Connection
from hubbub.hub.dispatch import Hooks, go_on, greet, report, run
from hubbub.hub.entrance import Entrance
from hubbub.hub.hub import Hub
from hubbub.hub.limits import names_of
from hubbub.hub.member import Member
from hubbub.hub.ports import Entry
from hubbub.hub.steps import Steps
from hubbub.wire.codec import Batch
from hubbub.wire.messages import Since, Subscribe


class StreamEntrance(Entrance):
    """Enters a room as a client does that has one way to take events: what it missed follows `room_info` as events."""

    __slots__ = ()

    def reply(self, member: Member, entries: Sequence[Entry] = (), reached: int | None = None) -> int:
        """Sends `room_info` with the seq at which the stream begins, and then what is behind it."""
        room, connection = self.room, self.connection
        begin = super().reply(member, (), entries[0].seq - 1 if entries else reached)
        if not entries or connection.stalled:  # by this `room_info`: what was missed follows as soon as it is read
            return begin
        connection._hub.counters.events_replayed += len(entries)
        connection.transport.deliver(Batch([room.item(entry.seq, entry.payload) for entry in entries]))
        return entries[-1].seq


class Wanted(NamedTuple):
    """What a stream asks for.

    Attributes:
        rooms: their names, clean and distinct.
        since: where it begins in each; None for the end.
        history: the last events that it gets of a room where it has no place.
        username: under which it is a member, for all to see; None for a subscription.
    """

    rooms: Sequence[str]
    since: Sequence[Since | None]
    history: int = 0
    username: str | None = None


class StreamEndpoint:
    """One stream (hub.ports.Endpoint).

    Args:
        path: where it was asked for.
        hooks: the application's, called with each connection that has come, and that has ended.
    """

    __slots__ = ("_connected", "_disconnected", "_hub", "_username", "_wanted", "path")

    announced: Final = True
    msgpack: Final = False

    def __init__(self, hub: Hub, path: str, wanted: Wanted, hooks: tuple[Hooks, Hooks] = ((), ())) -> None:
        self.path = path
        self._hub = hub
        self._wanted = wanted
        self._username = ""
        self._connected, self._disconnected = hooks

    def allow(self, connection: Connection) -> Steps:
        """Looks whether the client may enter its rooms, before anything is answered.

        Raises:
            CommandError: it may not.
        """
        rooms, places, history, username = self._wanted
        most = self._hub.config.limits.max_rooms
        if len(rooms) > most:
            self._hub.counters.refuse("max_rooms")
            raise CommandError(TOO_MANY_ROOMS, f"A connection may be in {most} rooms (max_rooms)")
        if username is not None:
            _, self._username = names_of(rooms[0], shown_name(connection, username))
        verb = "join" if self._username else "subscribe"
        for room, since in zip(rooms, places, strict=True):
            past = since is not None or history
            yield from authorized(connection, (verb, "history") if past else (verb,), room)

    def opened(self, connection: Connection) -> None:
        greet(connection, self._hub.config.heartbeat.comment_seconds)
        for hook in self._connected:
            run(connection, (hook, (connection,), None))
        run(connection, (self._enter, (connection,), None))

    def _enter(self, connection: Connection) -> Steps:
        """Enters one room after the other; a stream that lacks one ends, as nobody could tell it from a silent one."""
        wanted = self._wanted
        try:
            for room, since in zip(wanted.rooms, wanted.since, strict=True):
                command = Subscribe(room=room, since=since, history=wanted.history)
                yield from StreamEntrance(connection, room, self._username, command).enter(keep=True)
        except CommandError as error:
            self._hub.close(connection, REMOVED if error.code == FORBIDDEN else POLICY_VIOLATION, error.message)
        except BrokerError:
            self._hub.close_unavailable(connection)
        except Exception as error:
            self._hub.close(connection, INTERNAL_ERROR, f"correlationId={report(connection, error)}")

    def receive(self, connection: Connection, opcode: int, payload: bytes) -> None:
        """A stream has no messages of its client."""

    def limited(self, connection: Connection, payload: bytes, limit: str, wait_ms: int, first: bool) -> None:
        """A stream has no messages of its client."""

    def resume(self, connection: Connection) -> None:
        go_on(connection)

    def closed(self, connection: Connection) -> None:
        for hook in self._disconnected:
            run(connection, (hook, (connection,), None))
