"""The hub of one node: who is connected, which rooms there are, and what happens at each turn and tick."""

from __future__ import annotations

import logging
from asyncio import CancelledError
from collections import deque
from math import ceil
from typing import TYPE_CHECKING, Any, Final
from weakref import WeakValueDictionary

from hubbub.codes import (
    CLOSED,
    NORMAL,
    NOT_IN_ROOM,
    POLICY_VIOLATION,
    REPLACED,
    SERVICE_RESTART,
    TOO_MANY_ROOMS,
    TOO_SLOW,
    TRY_AGAIN_LATER,
)
from hubbub.config import Config, Policies, RoomPolicy
from hubbub.errors import CommandError, HandshakeError
from hubbub.hub.admission import Admission
from hubbub.hub.authorization import Authorizer
from hubbub.hub.catchup import CatchUp
from hubbub.hub.connection import GONE, Connection
from hubbub.hub.control import Control
from hubbub.hub.counters import Counters
from hubbub.hub.draining import Draining
from hubbub.hub.heartbeat import Wheel
from hubbub.hub.identity import ANONYMOUS, Credentials, Identity
from hubbub.hub.limits import names_of
from hubbub.hub.member import Member
from hubbub.hub.others import Others
from hubbub.hub.polls import Polls
from hubbub.hub.ports import Broker, Endpoint, Runtime, Transport
from hubbub.hub.rates import Rates
from hubbub.hub.room import Room
from hubbub.hub.session import Session, Sessions
from hubbub.hub.standing import Standing

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterable, Mapping

    from hubbub.wire.messages import Command

log: Final = logging.getLogger("hubbub")
LONGEST_TICK_SECONDS: Final = 1.0
MOST_TICKS: Final = 3600
# Connections whose heartbeat is looked at in a turn: all may have come in the same second (benchmark: make siege).
CHECKED_A_TURN: Final = 32
# How long comings and goings may wait for others: a crowd that comes back is told of together, and each of its members
# is not written to for each that follows (benchmark P6).
PRESENCE_SECONDS: Final = 0.01


class Hub:
    """Rooms and connections of one node; every method is called on the event loop's thread.

    Args:
        runtime: time, randomness and the event loop's turns.
        broker: keeps what rooms publish.
        config: the settings in force.
        policy: what a room of a name keeps, and what becomes of slow readers there; the settings' by default.
        counters: what is counted already.
    """

    def __init__(
        self,
        runtime: Runtime,
        broker: Broker,
        config: Config,
        policy: Callable[[str], RoomPolicy] | None = None,
        counters: Counters | None = None,
    ) -> None:
        self.runtime = runtime
        self.broker = broker
        self.config = config
        self.counters = counters or Counters()
        self.policy = policy or Policies(config.rooms.policy())
        self.catch_up = CatchUp(self)
        self.polls = Polls(self)
        self.on_ack: list[Callable[[Member, int], None]] = []
        self.allows_publish: Callable[[Connection, Room, dict[str, object]], bool] | None = None
        self.authorizer: Authorizer | None = None
        self.closed_rooms: Mapping[type[Command], frozenset[str]] = {}
        self.authenticate: Callable[[Credentials], Awaitable[Identity]] = _nobody
        self.connections: set[Connection] = set()
        self.standing = Standing(self)
        revoked = self.standing.revocations.covers_session
        self.sessions = Sessions(runtime, broker, config.sessions, self.give_up, revoked)
        self.rooms: WeakValueDictionary[str, Room] = WeakValueDictionary()
        self._dirty: list[Room] = []
        self._patient: dict[Room, None] = {}
        self._counting: dict[Room, None] = {}
        self._confirming: dict[Room, None] = {}
        self._stalled: dict[Connection, tuple[int, float]] = {}
        self.draining = Draining(self)
        self.rates = Rates(config.limits, self.counters, self.close)
        self.admission = Admission(config.limits, self.counters, runtime.monotonic)
        seconds = config.heartbeat.heartbeat_seconds
        self._heartbeat_ticks = min(max(2, ceil(seconds / LONGEST_TICK_SECONDS)), MOST_TICKS)
        self.tick_seconds: Final = seconds / self._heartbeat_ticks
        self._wheel: Wheel[Connection] = Wheel(self._heartbeat_ticks)
        self._to_check: deque[Connection] = deque()
        self.nodes = Control(self)
        broker.listen(Others(self))

    def limit(self, config: Config) -> None:
        """Puts the limits of these settings in force; what was used up of a rate stays used up."""
        self.config = config
        self.rates.limit(config.limits)
        self.admission.limit(config.limits)

    # Connections

    def open(
        self,
        endpoint: Endpoint,
        transport: Transport,
        remote: tuple[str, int] | None,
        session: str | None = None,
        identity: Identity = ANONYMOUS,
    ) -> Connection:
        """Takes in a new connection that `admit` has let in; `opened` follows once its transport is ready to send.

        Args:
            identity: who it is.
            session: the token of the session that it takes up; empty for a new one, None for none.
        """
        connection = Connection(self, endpoint, transport, remote, identity)
        self.admission.enter(connection)
        connection._wheel_slot = self._wheel.put(connection, self._heartbeat_ticks)
        self.connections.add(connection)
        self.counters.connections_opened += 1
        if session is not None and endpoint.announced:
            self.take_up(connection, session)
        return connection

    def admit(self, address: str, identity: Identity) -> None:
        """Whether somebody may come in; `open` is to follow before anything else happens.

        Raises:
            HandshakeError: 401, 429 or 503.
        """
        self.draining.check()
        self.standing.check(identity)
        self.admission.check(address, identity.user)

    def opened(self, connection: Connection) -> None:
        """The connection's transport is ready to send."""
        if not connection.open:
            return
        connection._greeted = True
        connection._endpoint.opened(connection)
        if connection.open:
            self.standing.watch(connection)

    def resolve(self, connection: Connection, awaitable: Awaitable[Any], done: Callable[[Any], None]) -> None:
        """Awaits something of the application's and calls back with it, or with its exception."""
        self.runtime.spawn(_resolve(connection, awaitable, done))

    def take_up(self, connection: Connection, token: str) -> None:
        """Gives a connection a session; the one that had it closes, and its memberships wait to be taken over."""
        if not connection.open:
            raise CommandError(CLOSED, "The connection has ended")
        self.sessions.detach(connection, ())
        replaced = self.sessions.attach(connection, token)
        if connection.session is not None and connection.session.token == token:
            self.counters.sessions_resumed += 1
        if replaced is not None:
            self.replace(replaced)

    def replace(self, connection: Connection) -> None:
        """Ends a connection whose session has a newer one; its memberships wait to be taken over."""
        transport = connection.transport
        self._drop(connection, lost=True)
        transport.close(REPLACED, "replaced by a newer connection of this session")

    def receive(self, connection: Connection, opcode: int, payload: bytes) -> None:
        """A message has arrived: it is handled, or dropped when there are too many."""
        if not connection.open:
            return
        now = self.runtime.monotonic()
        if not self.rates.take(connection, payload, now):
            return
        connection._active_at = now
        self.counters.messages_received += 1
        connection._endpoint.receive(connection, opcode, payload)

    def counted(self, began: float) -> None:
        """A handler has ended that took its time."""
        self.counters.handled += 1
        self.counters.handling_seconds += self.runtime.monotonic() - began

    def control(self, connection: Connection) -> bool:
        """A ping or pong has arrived; whether it may be answered. Too many end the connection."""
        return self.rates.take_control(connection, self.runtime.monotonic()) and connection.open

    def pong(self, connection: Connection) -> None:
        """The peer is alive."""
        connection._alive = True

    def lost(self, connection: Connection, *, clean: bool = False) -> None:
        """The transport is gone.

        Args:
            clean: the peer has closed it, and will not come back for what it was here.
        """
        self._drop(connection, lost=True, stays=not clean)

    def close(self, connection: Connection, code: int, reason: str = "") -> None:
        """Ends a connection from our side."""
        if connection.open:
            if code not in (NORMAL, SERVICE_RESTART):
                log.info("closing a connection: code=%d reason=%r remote=%r", code, reason, connection.remote)
            transport = connection.transport
            self._drop(connection, lost=False, stays=False)
            transport.close(code, reason)

    def close_slow(self, connection: Connection) -> None:
        """Ends a connection whose peer does not read what is sent to it; it may come back."""
        if connection.open:
            self.counters.slow_readers_closed += 1
            waiting = connection.transport.waiting()
            self.close(connection, TOO_SLOW, f"{waiting} bytes wait to be read (max_buffered_bytes)")

    def close_unavailable(self, connection: Connection) -> None:
        """Ends a connection whose rooms cannot be read."""
        self.close(connection, TRY_AGAIN_LATER, "the log of a room cannot be read")

    def send_away(self, connection: Connection) -> None:
        """Ends a connection because the node stops; it is waited for, as it is to come back."""
        if connection.open:
            transport = connection.transport
            self._drop(connection, lost=False)
            transport.close(SERVICE_RESTART, f"after={self.config.server.reconnect_ms}")

    def close_all(self) -> None:
        """Ends every connection at once because the node stops, and takes no more."""
        spacing_ms = self.draining.spacing() * 1000
        self.draining.begin()
        self.nodes.end()
        self.flush()
        for number, connection in enumerate(list(self.connections)):
            transport = connection.transport
            # Sessions are waited for where others may be on other nodes, and come back there; here nobody stays.
            self._drop(connection, lost=True, stays=self.broker.shared)
            transport.close(SERVICE_RESTART, f"after={self.config.server.reconnect_ms + round(number * spacing_ms)}")
        self.flush()  # what was said at the end is kept
        self._flush_patient()

    def _drop(self, connection: Connection, *, lost: bool, stays: bool = True) -> None:
        """Ends a connection for the hub.

        Args:
            lost: nothing more can be written to it.
            stays: where it has a session, its memberships wait for that to come back.
        """
        if not connection.open:
            return
        connection.open = False
        connection.stalled = False
        self._stalled.pop(connection, None)
        connection._endpoint.resume(connection)  # what was sent before the end is carried out
        self._wheel.discard(connection, connection._wheel_slot)
        self.connections.discard(connection)
        self.admission.leave(connection)
        self.standing.forget(connection)
        if connection._greeted:
            connection._active_at = self.runtime.monotonic()  # from which its last hooks are measured
            connection._endpoint.closed(connection)  # it may still look at the rooms, and say goodbye in them
        members, connection.members = connection.members, ()
        stays = stays and connection.session is not None
        for member in members:
            if stays:
                member.room.let_go(member)
            else:
                self._leave(member, lost=lost)
        if connection.session is not None:
            if not stays:
                self.sessions.give_up(connection.session)
            self.sessions.detach(connection, members if stays else ())
        connection.transport = GONE  # ends the circle of references: nothing waits for the collector

    # Rooms

    def room(self, name: str) -> Room:
        """The room of this name: always the same one for as long as anybody is in it or holds it."""
        room = self.rooms.get(name)
        if room is None:
            room = self.rooms[name] = Room(name, self)
        return room

    def join(self, connection: Connection, room: str, username: str, *, keep: bool = False) -> Member:
        """Lets a connection into a room, out of the ones that it joined before unless `keep`.

        Raises:
            CommandError: a name is empty or has characters that it must not have, or there are too many rooms.
        """
        room, username = names_of(room, username)
        return self.enter(connection, room, username, keep=keep)

    def enter(
        self,
        connection: Connection,
        name: str,
        username: str,
        *,
        keep: bool = False,
        after: int | None = None,
        settled: bool = False,
    ) -> Member:
        """As `join`, with clean names.

        Args:
            settled: what was published in the rooms that it leaves, before it asked for this, has gone out to it.
            username: empty for a subscription.
            after: the seq from which it is to be read on; held there until `Room.release`. None for live.
        """
        self.check_enter(connection, name, keep=keep)
        room, session = self.room(name), connection.session
        room.holds += 1  # entering again is leaving first: the log stays open though nobody is here in between
        try:
            for other in connection.members:
                if other.room.name == name or (other.username and not keep):
                    self.forget(other, settled=settled)
            claimed = None if session is None or not connection.open else self._claim(session, room, username)
        finally:
            room.holds -= 1
        if not connection.open:  # who was told of what went out meanwhile has ended it
            room.close_unused()
            raise CommandError(CLOSED, "The connection has ended")
        if claimed is None:
            member = Member(connection, room, username)
            member.id = connection.key if room.policy.member_per == "user" else connection.device
            room.add(member, after)
        else:
            member = claimed
            member.connection = connection
            room.place(member, after)
        if session is not None:
            self.sessions.remember(session, name, username, self.config.limits.max_rooms)
            room.receipts.returned(member, self)
        connection.username = username or connection.username
        connection.members = (*connection.members, member)
        return member

    def check_enter(self, connection: Connection, name: str, *, keep: bool) -> None:
        """Raises CommandError when a connection may not enter one more room."""
        if not connection.open:
            raise CommandError(CLOSED, "The connection has ended")
        if len(connection.members) < self.config.limits.max_rooms:
            return
        staying = [other for other in connection.members if keep or not other.username]
        if sum(other.room.name != name for other in staying) >= self.config.limits.max_rooms:
            self.counters.refuse("max_rooms")
            raise CommandError(
                TOO_MANY_ROOMS, f"A connection may be in {self.config.limits.max_rooms} rooms (max_rooms)"
            )

    def _claim(self, session: Session, room: Room, username: str) -> Member | None:
        """What a session was in the room before its connection was lost, if it comes back under the same name."""
        member = session.claim(room)
        if member is not None and member.username != username:
            self._leave(member, lost=True)
            return None
        return member

    def leave(self, connection: Connection, name: str, *, settled: bool = False) -> None:
        """Lets a connection out of a room, or ends its subscription; `settled` as in `enter`."""
        for member in connection.members:
            if member.room.name == name:
                self.forget(member, settled=settled)
                names = [other.username for other in connection.members if other.username]
                if names:
                    connection.username = names[-1]
                return
        raise CommandError(NOT_IN_ROOM, "Not in that room")

    def forget(self, member: Member, *, settled: bool = False) -> None:
        """The member leaves and will not come back; what was published before reaches it, unless that has `settled`."""
        connection = member.connection
        if member not in connection.members:  # who was told of another's leaving has ended it
            return
        connection.members = tuple(other for other in connection.members if other is not member)
        if connection.session is not None:
            self.sessions.forget(connection.session, member.room.name)
        self._leave(member, lost=False, settled=settled)

    def give_up(self, member: Member) -> None:
        """Nobody comes back for what a lost connection was."""
        self._leave(member, lost=True)

    def _leave(self, member: Member, *, lost: bool, settled: bool = False) -> None:
        member.room.remove(member, lost=lost, settled=settled)
        member.room.close_unused()

    # Backpressure

    def writing_paused(self, connection: Connection) -> None:
        """So much waits to be written to a connection that nothing more is; its rooms are read for it later."""
        if connection.stalled or not connection.open:
            return
        connection.stalled = True
        self.counters.writing_paused += 1
        self.counters.refuse("max_buffered_bytes")
        self._stalled[connection] = (connection.transport.waiting(), self.runtime.monotonic())
        for member in connection.members:
            member.room.fall_behind(member)
        patient = all(member.room.policy.slow_readers != "disconnect" for member in connection.members)
        if not (patient and connection.announced):  # an application's own protocol cannot be read from the log
            self.runtime.call_soon(lambda: self.close_slow(connection))

    def writing_resumed(self, connection: Connection) -> None:
        """Most of it is written: the connection's rooms are read from where it stopped."""
        if not connection.stalled or not connection.open:
            return
        connection.stalled = False
        connection._alive = True  # who takes bytes is alive, though its pong may wait behind others
        del self._stalled[connection]
        for member in connection.members:
            self.catch_up.later(member)
        connection._endpoint.resume(connection)

    def _check_stalled(self) -> None:
        now = self.runtime.monotonic()
        for connection, (waiting, since) in list(self._stalled.items()):
            left = connection.transport.waiting()
            self._stalled[connection] = (left, now if left < waiting else since)  # more are answers to what was read
            if left >= waiting and now - since >= self.config.limits.stall_seconds:
                self.counters.slow_readers_closed += 1
                self.counters.refuse("stall_seconds")
                seconds = self.config.limits.stall_seconds
                self.close(connection, POLICY_VIOLATION, f"nothing was read for {seconds:g} s (stall_seconds)")

    # Turns and ticks

    def flush_later(self, room: Room) -> None:
        """Has a room flushed at the end of this turn."""
        if not self._dirty:
            self.runtime.call_soon(self.flush)
        self._dirty.append(room)

    def flush_patiently(self, room: Room) -> None:
        """Has a room flushed a little later, if nothing else does so before."""
        if not self._patient:
            self.runtime.call_later(PRESENCE_SECONDS, self._flush_patient)
        self._patient[room] = None

    def flush_no_more(self, room: Room) -> None:
        """Forgets a room in which nothing waits any more."""
        self._patient.pop(room, None)

    def flush(self) -> None:
        """The end of a turn: what was published in it is kept and delivered."""
        dirty, self._dirty = self._dirty, []
        self._flush(dirty)

    def _flush_patient(self) -> None:
        patient, self._patient = self._patient, {}
        self._flush(patient)

    def _flush(self, rooms: Iterable[Room]) -> None:
        for room in rooms:
            try:
                room.flush()
            except Exception:  # one room's failure must not take others along
                log.exception("a room could not be flushed: room=%r", room.name)

    def count_later(self, room: Room) -> None:
        """Has a room's member count announced with the next tick."""
        self._counting[room] = None

    def confirm_later(self, room: Room) -> None:
        """Has a room's confirmed events sent again until they are acknowledged."""
        self._confirming[room] = None

    def tick(self) -> None:
        """Every `tick_seconds`: heartbeats, stalls and idle checks, sessions, redelivery, counts of large rooms."""
        idle = not self._to_check
        self._to_check.extend(self._wheel.tick())
        if self._to_check and idle:
            self._check_some()
        self._check_stalled()
        self.standing.tick()
        self.nodes.tick()
        self.sessions.tick()
        self.polls.tick()
        now = self.runtime.monotonic()
        self._confirming = {room: None for room in self._confirming if room.receipts.redeliver(room, now)}
        counting, self._counting = self._counting, {}
        for room in counting:
            room.announce_count()

    def _check_some(self) -> None:
        try:
            for _ in range(min(len(self._to_check), CHECKED_A_TURN)):
                connection = self._to_check.popleft()
                if connection.open:
                    self._check(connection)
        finally:  # whatever one connection's transport does, the others are looked at
            if self._to_check:
                self.runtime.call_soon(self._check_some)

    def _check(self, connection: Connection) -> None:
        idle = self.config.heartbeat.idle_seconds
        if not connection._alive and not connection.stalled:
            self.counters.heartbeats_missed += 1
            transport = connection.transport
            self._drop(connection, lost=True)
            transport.abort()
        elif idle and self.runtime.monotonic() - connection._active_at > idle:
            self.close(connection, NORMAL, f"idle for {idle:g} s")
        else:
            connection._wheel_slot = self._wheel.put(connection, self._heartbeat_ticks)
            if not connection.stalled:
                connection._alive = False
                connection.transport.ping()


async def _nobody(credentials: Credentials) -> Identity:
    raise HandshakeError(401, "there is nobody to ask")


async def _resolve(connection: Connection, awaitable: Awaitable[Any], done: Callable[[Any], None]) -> None:
    try:
        result = await awaitable
    except CancelledError as error:
        if not connection.open:  # the node stops; otherwise the application awaited what somebody cancelled
            raise
        result = RuntimeError(f"cancelled: {error}")
    except Exception as error:
        result = error
    done(result)
