"""The hub of one node: who is connected, which rooms there are, and what happens at each turn and tick."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from typing import Final
from weakref import WeakValueDictionary

from hubbub.codes import CLOSED, INVALID_JOIN, NORMAL, NOT_IN_ROOM, POLICY_VIOLATION, SERVICE_RESTART, TOO_MANY_ROOMS
from hubbub.config import Config
from hubbub.errors import CommandError
from hubbub.hub.connection import GONE, Connection
from hubbub.hub.heartbeat import Wheel
from hubbub.hub.limits import REFUSED, RateLimit, clean_room, clean_username
from hubbub.hub.ports import Broker, Endpoint, Runtime, Transport
from hubbub.hub.room import Room

log: Final = logging.getLogger("hubbub")
LONGEST_TICK_SECONDS: Final = 1.0
MOST_TICKS: Final = 3600
# Messages dropped in one series before it is abuse, whatever the time: a hundred bursts.
MOST_DROPPED_BURSTS: Final = 100
# Messages dropped within this time of each other belong to one series: one warning, one patience.
SERIES_SECONDS: Final = 1.0


@dataclass(slots=True)
class Counters:
    """What has happened since the start."""

    connections_opened: int = 0
    messages_received: int = 0
    messages_malformed: int = 0
    messages_limited: int = 0
    events_published: int = 0
    events_delivered: int = 0
    handlers_failed: int = 0
    heartbeats_missed: int = 0
    slow_readers_closed: int = 0


class Hub:
    """Rooms and connections of one node; every method is called on the event loop's thread.

    Args:
        runtime: time, randomness and the event loop's turns.
        broker: keeps what rooms publish.
        config: the settings in force.
    """

    def __init__(self, runtime: Runtime, broker: Broker, config: Config) -> None:
        self.runtime = runtime
        self.broker = broker
        self.config = config
        self.counters = Counters()
        self.connections: set[Connection] = set()
        self._rooms: WeakValueDictionary[str, Room] = WeakValueDictionary()
        self._dirty: list[Room] = []
        self._counting: dict[Room, None] = {}
        limits, seconds = config.limits, config.heartbeat.heartbeat_seconds
        self._rate = RateLimit(limits.rate_limit, limits.rate_burst)
        self._control_rate = RateLimit(limits.control_rate, limits.control_burst)
        self._heartbeat_ticks = min(max(2, round(seconds / LONGEST_TICK_SECONDS)), MOST_TICKS)
        self.tick_seconds: Final = seconds / self._heartbeat_ticks
        self._wheel: Wheel[Connection] = Wheel(self._heartbeat_ticks)

    # Connections

    def open(self, endpoint: Endpoint, transport: Transport, remote: tuple[str, int] | None) -> Connection:
        """Takes in a new connection; its transport is ready to send."""
        connection = Connection(self, endpoint, transport, remote)
        connection._active_at = self.runtime.monotonic()
        connection._wheel_slot = self._wheel.put(connection, self._heartbeat_ticks)
        self.connections.add(connection)
        self.counters.connections_opened += 1
        endpoint.opened(connection)
        return connection

    def receive(self, connection: Connection, opcode: int, payload: bytes) -> None:
        """A message has arrived: it is handled, or dropped when there are too many."""
        if not connection.open:
            return
        now = self.runtime.monotonic()
        full_at = self._rate.take(connection._full_at, now)
        if full_at == REFUSED:
            self._limit(connection, payload, now)
            return
        connection._full_at = full_at
        connection._active_at = now
        self.counters.messages_received += 1
        connection._endpoint.receive(connection, opcode, payload)

    def _limit(self, connection: Connection, payload: bytes, now: float) -> None:
        self.counters.messages_limited += 1
        first = now - connection._exceeded_at > SERIES_SECONDS
        connection._exceeded_at = now
        if first:
            connection._exceeded_since = now
            connection._exceeded = 0
        connection._exceeded += 1
        limits = self.config.limits
        patience = connection._exceeded <= limits.rate_burst * MOST_DROPPED_BURSTS
        if not first and (not patience or now - connection._exceeded_since >= limits.rate_patience_seconds):
            self.close(connection, POLICY_VIOLATION, f"more than {limits.rate_limit:g} messages a second")
            return
        wait_ms = int(self._rate.wait(connection._full_at, now) * 1000) + 1
        connection._endpoint.limited(connection, payload, wait_ms, first)

    def control(self, connection: Connection) -> bool:
        """A ping or pong has arrived; whether it may be answered. Too many end the connection."""
        full_at = self._control_rate.take(connection._control_full_at, self.runtime.monotonic())
        if full_at == REFUSED:
            self.close(connection, POLICY_VIOLATION, "too many pings or pongs")
            return False
        connection._control_full_at = full_at
        return connection.open

    def pong(self, connection: Connection) -> None:
        """The peer is alive."""
        connection._alive = True

    def lost(self, connection: Connection) -> None:
        """The transport is gone."""
        self._drop(connection, lost=True)

    def close(self, connection: Connection, code: int, reason: str = "") -> None:
        """Ends a connection from our side."""
        if connection.open:
            if code not in (NORMAL, SERVICE_RESTART):
                log.info("closing a connection: code=%d reason=%r remote=%r", code, reason, connection.remote)
            transport = connection.transport
            self._drop(connection, lost=False)
            transport.close(code, reason)

    def close_slow(self, connection: Connection) -> None:
        """Ends a connection whose peer does not read what is sent to it."""
        if connection.open:
            self.counters.slow_readers_closed += 1
            self.close(connection, POLICY_VIOLATION, f"{self.config.limits.max_buffered_bytes} bytes wait to be read")

    def close_all(self) -> None:
        """Ends every connection because the node stops."""
        self.flush()
        for connection in list(self.connections):  # nobody stays to whom their leaving would have to be told
            transport = connection.transport
            self._drop(connection, lost=True)
            transport.close(SERVICE_RESTART, f"after={self.config.server.reconnect_ms}")

    def _drop(self, connection: Connection, *, lost: bool) -> None:
        if not connection.open:
            return
        connection.open = False
        self._wheel.discard(connection, connection._wheel_slot)
        self.connections.discard(connection)
        connection._endpoint.closed(connection)  # it may still look at the rooms, and say goodbye in them
        rooms, connection.rooms = connection.rooms, ()
        for room in rooms:
            self._leave(connection, room, lost=lost)
        connection.transport = GONE  # ends the circle of references: nothing waits for the collector

    # Rooms

    def room(self, name: str) -> Room:
        """The room of this name: always the same one for as long as anybody is in it or holds it."""
        room = self._rooms.get(name)
        if room is None:
            room = self._rooms[name] = Room(name, self)
        return room

    def join(self, connection: Connection, name: str, username: str, *, keep: bool = False) -> Room:
        """Lets a connection into a room, out of the ones before unless `keep`."""
        if not connection.open:
            raise CommandError(CLOSED, "The connection has ended")
        name, username = clean_room(name), clean_username(username)
        if not name or not username:
            raise CommandError(INVALID_JOIN, "Room and username are required")
        stay = tuple(room for room in connection.rooms if room.name != name) if keep else ()
        if len(stay) >= self.config.limits.max_rooms:
            raise CommandError(TOO_MANY_ROOMS, f"A connection may be in {self.config.limits.max_rooms} rooms")
        for left in connection.rooms:
            if left not in stay:
                self._leave(connection, left, lost=False)
        room = self.room(name)
        if not room.members:
            self.broker.subscribe(name)
        room.add(connection, username)
        connection.username = username
        connection.rooms = (*stay, room)
        return room

    def leave(self, connection: Connection, name: str) -> None:
        """Lets a connection out of a room."""
        for room in connection.rooms:
            if room.name == name:
                connection.rooms = tuple(other for other in connection.rooms if other is not room)
                self._leave(connection, room, lost=False)
                if connection.rooms:
                    connection.username = connection.rooms[-1].members[connection]
                return
        raise CommandError(NOT_IN_ROOM, "Not in that room")

    def _leave(self, connection: Connection, room: Room, *, lost: bool) -> None:
        room.remove(connection, lost=lost)
        if not room.members:
            self.broker.unsubscribe(room.name)

    # Turns and ticks

    def flush_later(self, room: Room) -> None:
        """Has a room flushed at the end of this turn."""
        if not self._dirty:
            self.runtime.call_soon(self.flush)
        self._dirty.append(room)

    def flush(self) -> None:
        """The end of a turn: what was published in it is kept and delivered."""
        dirty, self._dirty = self._dirty, []
        for room in dirty:
            room.flush()

    def count_later(self, room: Room) -> None:
        """Has a room's member count announced with the next tick."""
        self._counting[room] = None

    def tick(self) -> None:
        """Every `tick_seconds`: heartbeats and idle checks of those due, counts of large rooms."""
        for connection in self._wheel.tick():
            self._check(connection)
        counting, self._counting = self._counting, {}
        for room in counting:
            room.announce_count()

    def _check(self, connection: Connection) -> None:
        idle = self.config.heartbeat.idle_seconds
        if not connection._alive:
            self.counters.heartbeats_missed += 1
            transport = connection.transport
            self._drop(connection, lost=True)
            transport.abort()
        elif idle and self.runtime.monotonic() - connection._active_at > idle:
            self.close(connection, NORMAL, f"idle for {idle:g} s")
        else:
            connection._alive = False
            connection._wheel_slot = self._wheel.put(connection, self._heartbeat_ticks)
            connection.transport.ping()
