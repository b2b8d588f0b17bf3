"""redis://: rooms that many nodes share. Redis numbers and keeps events, in scripts, and passes them on."""

from __future__ import annotations

import asyncio
import logging
import math
import os
from collections.abc import Callable, Sequence
from functools import partial
from time import monotonic
from typing import Any, Final

from hubbub.brokers import redis_bus as bus
from hubbub.brokers.epoch import new_epoch
from hubbub.brokers.redis_cluster import ClusterRoutes
from hubbub.brokers.redis_forms import MOST, bounded, decoded, encoded, entries_of, mark_of, room_base
from hubbub.brokers.redis_link import Call, Link, Script
from hubbub.brokers.redis_presence import Presence, short_id
from hubbub.brokers.redis_room import HOLE_SECONDS, Append, Batch, Flight, Hole, Room, failure_of, result_of
from hubbub.brokers.redis_routes import Routes
from hubbub.brokers.ring import MAX_READERS
from hubbub.errors import BrokerError
from hubbub.hub.ports import Answer, Draft, Entry, Kept, Listener, Portion, Position, Present, Retention

logger: Final = logging.getLogger("hubbub")
NAMES: Final = ("append", "open", "read", "seek", "acknowledge", "readers")
TAIL: Final = 200
TAIL_BYTES: Final = 64 << 10
"""Entries of a room that are read when it is opened: what most clients ask for."""
COMPARE_BEATS: Final = 10
"""In so many signs of life each open room is compared once: about 10 s."""
MAX_CALL_DRAFTS: Final = 1000
MAX_CALL_BYTES: Final = 1 << 20
"""What appends of a room go out as one call: about 10 ms of Redis."""
MAX_WAITING_BYTES: Final = 64 << 20
"""Appends that wait for Redis; beyond, they fail at once."""
MAX_TELLS: Final = 10_000
"""Events of a room that are not kept and wait to be passed on; beyond, they are dropped."""
READ_ENTRIES: Final = 1000
READ_BYTES: Final = 1 << 20
DAY_SECONDS: Final = 86_400
TOUCH_SECONDS: Final = 3600
"""How often the logs of open rooms are looked at, so that those that are used do not end."""


class RedisBroker:
    """Keeps events in Redis, as durably as that is set up to; nodes with the same URL and prefix share their rooms.

    Whatever a turn appends goes out as one pipeline, a script call a room, and what comes while it is under way goes
    with the next. A room may hold a tenth more than its retention says.

    Args:
        routes: to the servers.
        secret: which all nodes share, in Redis.
        retention: how much of a room's log is held.
        now_ms: the time of day, Unix milliseconds.
        loop: the event loop, once it runs.
        prefix: of all keys and channels.
    """

    def __init__(
        self,
        routes: Routes | ClusterRoutes,
        secret: bytes,
        retention: Callable[[str], Retention],
        now_ms: Callable[[], int],
        loop: Callable[[], asyncio.AbstractEventLoop],
        prefix: str,
    ) -> None:
        self.secret = secret
        self.node: Final = os.urandom(16)
        self.node_id = short_id(self.node)
        self._routes = routes
        self._retention = retention
        self._now_ms = now_ms
        self._get_loop = loop
        self._prefix = prefix
        self._scripts: Final = {name: Script(name) for name in NAMES}
        self._presence = Presence(self.node, prefix, routes.publish, routes.link_of, monotonic, routes.patience.beat)
        self._listener: Listener | None = None
        self._rooms: dict[str, Room] = {}
        self._channels: dict[bytes, Room] = {}
        self._homes: dict[Room, Link] = {}
        self._dirty: dict[Room, None] = {}
        self._holes: dict[Room, None] = {}
        self._flushing = self._begun = self._stopping = False
        self._timer: asyncio.TimerHandle | None = None
        self._touched = 0.0
        self._warned = -math.inf
        self._calls = 0
        self._waiting_bytes = 0
        self._quiet: asyncio.Event | None = None
        self._to_compare: list[Room] = []
        self._compared_at_once = 0
        self._unchecked: list[Room] = []

    def _begin(self) -> None:
        self._begun = True
        self._loop = self._get_loop()
        self._touched = self._loop.time()
        echo = self._prefix.encode() + b"node:" + self.node.hex().encode()
        scripts = (*self._scripts.values(), *self._presence.scripts.values())
        self._routes.begin(self._loop, echo, scripts, self._heard, self._compare, self._gone, self._rehome)
        key = self._prefix.encode() + b"secret"
        self._routes.beat(Call([b"SET", key, self.secret, b"NX"], self._beaten, slot=key))
        self._routes.beat(self._presence.lease())

    # The port

    shared = True

    @property
    def ready(self) -> bool:
        return self._begun and not self._stopping and self._routes.ready

    def listen(self, listener: Listener) -> None:
        self._listener = self._presence.listener = listener
        for room in self._rooms.values():
            room.listener = listener
        if not self._begun:
            self._begin()

    def open(self, room: str, opened: Answer[Position]) -> None:
        if not self._begun:
            self._begin()
        found = self._rooms.get(room)
        if found is None:
            found = self._rooms[room] = self._new_room(room)
            self._channels[found.channel] = found
        found.open = True
        if found.epoch:
            opened(Position(found.epoch, found.told))
            return
        found.openers.append(opened)
        if len(found.openers) == 1:
            self._house(found, self._link(found))

    def close(self, room: str) -> None:
        found = self._rooms.get(room)
        if found is not None:
            found.open = False
            self._mark(found)

    def append(self, room: str, time: int, drafts: Sequence[Draft], kept: Answer[Kept]) -> None:
        log = self._rooms[room]
        append = Append(time, drafts, kept, sum([len(draft.payload) for draft in drafts]))
        if self._stopping or self._waiting_bytes + append.size > MAX_WAITING_BYTES:
            why = "the broker has stopped" if self._stopping else f"{MAX_WAITING_BYTES} bytes wait for Redis already"
            error = BrokerError(why)
            append = Append(time, (), lambda _: kept(error), 0)  # in its turn: those before have no answer yet
        self._waiting_bytes += append.size
        log.pending.append(append)
        if self._stopping:
            self._fail(log, error)
        else:
            self._mark(log)

    def tell(self, room: str, payloads: Sequence[bytes]) -> None:
        log = self._rooms.get(room)
        if log is not None and len(log.tells) + len(payloads) <= MAX_TELLS:
            log.tells += payloads
            self._mark(log)

    def come(self, room: str, entered: Sequence[Present], left: Sequence[str]) -> None:
        log = self._rooms.get(room)
        if log is not None:
            self._presence.come(log, entered, left)
            self._mark(log)

    def note(self, key: str, value: bytes, seconds: float) -> None:
        name = self._note(key)
        parts: list[bytes | int] = [b"SET", name, value, b"PX", max(round(seconds * 1000), 1)]
        self._routes.link_of(name).call(Call(parts, _nobody, slot=name))

    def noted(self, key: str, done: Answer[bytes]) -> None:
        self._get(b"GET", key, done)

    def take(self, key: str, done: Answer[bytes]) -> None:
        self._get(b"GETDEL", key, done)

    def _get(self, verb: bytes, key: str, done: Answer[bytes]) -> None:
        name = self._note(key)
        call = Call([verb, name], lambda reply: done(b"" if reply is None else reply), slot=name)
        self._routes.link_of(name).call(call)

    def _note(self, key: str) -> bytes:
        return encoded(f"{self._prefix}note:{key}")

    def nodes(self, done: Answer[Sequence[str]]) -> None:
        self._presence.nodes(done)

    def read(self, room: str, after: int, limit: int, max_bytes: int, done: Answer[Portion]) -> None:
        log = self._rooms[room]
        before = self._held_since(log)
        if before and log.ring.expire(before):
            log.lost = max(log.lost, log.ring.lost)
        if after >= log.ring.lost or log.lost >= log.ring.lost:
            done(log.ring.read(after, limit, max_bytes))
            return
        bounds = (max(after, 0), log.told, before, bounded(limit), bounded(max_bytes))
        self._ask(log, "read", (*bounds, int(log.retention.latest_only)), partial(self._read, log, log.epoch, done))

    def _read(self, log: Room, epoch: str, done: Answer[Portion], reply: Any) -> None:
        if isinstance(reply, BrokerError):
            done(reply)
        elif reply[0].decode() != epoch:
            done(Portion([], False))
        else:
            done(Portion([entry for entry, _ in entries_of(reply[4:])], bool(reply[2])))

    def refresh(self, room: str, done: Answer[None]) -> None:
        log = self._rooms[room]

        def answer(reply: Any) -> None:
            if isinstance(reply, BrokerError):
                done(reply)
                return
            log.await_told(reply[1], done)
            self._advance(log, 0)

        self._ask(log, "open", (0, 0), answer)

    def seek(self, room: str, time: int, done: Answer[int]) -> None:
        log = self._rooms[room]
        before = self._held_since(log)
        if before:
            log.ring.expire(before)
        found = log.ring.seek(time)
        if found or time <= before or log.lost >= log.ring.lost:
            done(found)
            return
        self._ask(log, "seek", (max(min(time, MOST), 0), log.told, before), partial(_third, done))

    def acknowledge(self, room: str, reader: str, name: str, seq: int, done: Answer[int]) -> None:
        log = self._rooms[room]
        at = max(min(seq, log.told), -1)  # nobody has received what is not there
        self._ask(log, "acknowledge", (encoded(reader), encoded(name), at, MAX_READERS), partial(_third, done))

    def acknowledged(self, room: str, reader: str, done: Answer[int | None]) -> None:
        def answer(reply: Any) -> None:
            cursor = reply if isinstance(reply, BrokerError) else reply[3]
            done(int(cursor.partition(b" ")[0]) if isinstance(cursor, bytes) else cursor)

        self._ask(self._rooms[room], "readers", (encoded(reader), b""), answer)

    def readers(self, room: str, limit: int, done: Answer[Sequence[tuple[str, str, int]]]) -> None:
        def answer(reply: Any) -> None:
            if isinstance(reply, BrokerError):
                done(reply)
                return
            cursors = []
            for reader, cursor in zip(reply[2::2], reply[3::2], strict=True):
                seq, _, name = (cursor or b"0 ").partition(b" ")
                cursors.append((decoded(reader), decoded(name), int(seq)))
            done(cursors)

        self._ask(self._rooms[room], "readers", (b"", min(bounded(limit), MAX_READERS)), answer)

    async def stop(self) -> None:
        if self._stopping or not self._begun:
            self._stopping = True
            return
        self._stopping = True
        self._quiet = asyncio.Event()
        self._flush()
        if any(not room.idle for room in self._rooms.values()):
            try:
                async with asyncio.timeout(self._routes.patience.timeout):
                    await self._quiet.wait()
            except TimeoutError:
                logger.warning("redis did not take all that was appended in time")
        if self._timer is not None:
            self._timer.cancel()
        self._presence.end()
        await self._routes.end()
        error = BrokerError("the broker has stopped")
        for room in list(self._rooms.values()):
            self._fail(room, error)

    # Rooms

    def _new_room(self, name: str) -> Room:
        base = room_base(self._prefix, name)
        parts = (b"meta", b"log", b"values", b"readers", b"order", b"recent0", b"recent1", b"call:" + self.node)
        room = Room(name, self._retention(name), base + b"bus", [base + part for part in parts])
        room.listener = self._listener
        return room

    def _link(self, room: Room) -> Link:
        return self._routes.link_of(room.keys[0])

    def _held_since(self, room: Room) -> int:
        seconds = room.retention.seconds
        return max(math.ceil(self._now_ms() - seconds * 1000), 0) if seconds else 0

    def _ask(self, room: Room, name: str, arguments: Sequence[bytes | int], done: Callable[[Any], None]) -> None:
        """Calls a script about a room; whatever it answers begins with the epoch and the head."""
        link = self._link(room)
        script = self._scripts[name]
        seconds = room.retention.seconds
        ttl = math.ceil(seconds) + DAY_SECONDS if seconds else 0
        place = (room.epoch.encode(), room.known, link.identity, new_epoch().encode(), ttl)
        parts = [b"EVALSHA", script.sha, len(room.keys), *room.keys, *place, *arguments]

        def answered(reply: Any) -> None:
            renewed = not isinstance(reply, BrokerError) and room.epoch and reply[0].decode() != room.epoch
            if renewed:
                logger.warning("the log of a room was lost: room=%r", room.name)
                room.renew(reply[0].decode(), reply[1])
            done(reply)
            if renewed:
                self._advance(room, 0)

        link.call(Call(parts, answered, script, room.keys[0]), bounded=name != "open")

    def _house(self, room: Room, link: Link) -> None:
        """Hears a room's channel where its keys are."""
        self._homes[room] = link
        link.subscribe(room.channel, partial(self._subscribed, room))

    def _rehome(self) -> None:
        """Keys are on other servers now."""
        for room in list(self._rooms.values()):
            link, home = self._link(room), self._homes.get(room)
            if home is not None and home is not link:
                home.unsubscribe(room.channel)
                self._house(room, link)

    def _subscribed(self, room: Room, error: BrokerError | None) -> None:
        if room.epoch:  # it has moved here; without a connection it is looked at when there is one
            if error is None:
                self._check(room)
                self._presence.ask(room)
        elif error is not None:
            self._opened(room, error)
        elif not room.busy:
            room.busy = True
            room.doubtful = False
            self._presence.ask(room)
            self._ask(room, "open", (TAIL, TAIL_BYTES), partial(self._opened, room))

    def _opened(self, room: Room, reply: Any) -> None:
        room.busy = False
        openers, room.openers = room.openers, []
        if isinstance(reply, BrokerError):
            self._forget(room)
            answer: Position | BrokerError = reply
        else:
            tail = entries_of(reply[3:])[::-1]
            room.place(reply[0].decode(), reply[1], reply[2], tail, whole=len(tail) == reply[1] - reply[2])
            answer = Position(room.epoch, room.told)
        for opened in openers:
            try:
                opened(answer)
            except Exception:
                logger.exception("an answer was not taken: room=%r", room.name)
        if room.epoch:
            if room.doubtful:
                self._check(room)
            self._mark(room)

    def _forget(self, room: Room) -> None:
        if self._rooms.get(room.name) is room:
            del self._rooms[room.name], self._channels[room.channel]
            self._homes.pop(room).unsubscribe(room.channel)
            self._presence.forget(room)

    # Appending

    def _mark(self, room: Room) -> None:
        """Something is to be done about a room at the end of this turn."""
        self._dirty[room] = None
        if not self._flushing:
            self._flushing = True
            self._loop.call_soon(self._flush)

    def _flush(self) -> None:
        self._flushing = False
        dirty, self._dirty = self._dirty, {}
        for room in dirty:
            for payloads in bus.in_portions(room.tells):
                message = bus.write_told(self.node, payloads)
                self._link(room).call(Call([self._routes.publish, room.channel, message], None, slot=room.keys[0]))
            room.tells = []
            if room.epoch and room.flight is None and room.pending:
                self._send(room)
            if room.epoch:
                self._presence.flush(room)
            if not room.open and room.idle:
                self._forget(room)
        if self._quiet is not None and all(room.idle for room in self._rooms.values()):
            self._quiet.set()

    def _send(self, room: Room) -> None:
        appends: list[Append] = []
        drafts = size = 0
        while room.pending and (not appends or (drafts < MAX_CALL_DRAFTS and size < MAX_CALL_BYTES)):
            appends.append(room.pending.popleft())
            drafts += len(appends[-1].drafts)
            size += appends[-1].size
        self._calls += 1
        flight = room.flight = Flight(self._calls, appends)
        retention = room.retention
        now = max(append.time for append in appends)
        before = max(math.ceil(now - retention.seconds * 1000), 0) if retention.seconds else 0
        arguments: list[bytes | int] = [
            *(now, self.node, flight.number, max(retention.count, 0), max(retention.bytes, 0), before),
            *(int(retention.latest_only), room.channel, self._routes.publish, bus.MAX_ENTRIES_BYTES),
        ]
        for append in appends:
            for draft in append.drafts:
                arguments += draft.payload, encoded(draft.key) if draft.key else b"", mark_of(draft)
        self._ask(room, "append", arguments, partial(self._appended, room, flight))

    def _appended(self, room: Room, flight: Flight, reply: Any) -> None:
        room.flight = None
        self._waiting_bytes -= sum(append.size for append in flight.appends)
        if isinstance(reply, BrokerError):
            room.answered(failure_of(flight.appends, reply), 0)
            if not self._link(room).connected:
                room.give_up(reply)
        else:
            room.lost = max(room.lost, reply[4])
            room.answered(result_of(flight, reply[2], reply[5], reply[6]), reply[1])
        self._advance(room)
        self._mark(room)

    def _fail(self, room: Room, error: BrokerError) -> None:
        pending, room.pending = room.pending, type(room.pending)()
        self._waiting_bytes -= sum(append.size for append in pending)
        room.answered(failure_of(pending, error), 0)
        room.give_up(error)

    # What other nodes do

    def _heard(self, channel: bytes, data: bytes) -> None:
        room = self._channels.get(channel)
        if room is None:
            return
        try:
            self._understand(room, bus.unwrap(data))
        except ValueError as error:
            if self._listener is not None:
                self._listener.dropped()
            now = self._loop.time()
            if now - self._warned >= 1:
                self._warned = now
                logger.warning("a message on the bus was dropped: room=%r: %s", room.name, error)

    def _understand(self, room: Room, envelope: bus.Envelope) -> None:
        if envelope.kind == bus.TOLD:
            payloads = bus.read_told(envelope)
            if envelope.node != self.node and room.open and room.epoch and self._listener is not None:
                self._listener.told(room.name, payloads)
            return
        if envelope.kind == bus.CAME:
            self._presence.heard(room, envelope)
            return
        if envelope.node == self.node and room.flight and bus.call_of(envelope) == room.flight.number:
            return  # the reply says the same
        arrival = bus.read_kept(envelope)
        if arrival.epoch != room.epoch:
            self._doubt(room)
            return
        first, time = arrival.first, arrival.time
        entries = [(Entry(first + at, time, payload), key) for at, (payload, key) in enumerate(arrival.items)]
        room.heard(first, arrival.last, entries)
        self._advance(room)

    def _doubt(self, room: Room) -> None:
        """Something was said of another epoch, or before ours is known."""
        room.doubtful = True
        if room.epoch and not room.checking:
            self._check(room)

    def _advance(self, room: Room, patience: float = HOLE_SECONDS) -> None:
        """Tells of what is next; what is missing may be on its way for so long, and is read then."""
        room.advance()
        now = self._loop.time()
        room.look(now + patience)
        if room.hole is None:
            self._holes.pop(room, None)
        elif room.is_due(now):
            self._fill(room, room.hole)
        else:
            self._holes[room] = None
            self._wake(room.hole.due - now)

    def _wake(self, seconds: float) -> None:
        if self._timer is None and not self._stopping:
            self._timer = self._loop.call_later(max(seconds, 0.005), self._fill_holes)

    def _fill_holes(self) -> None:
        self._timer = None
        now = self._loop.time()
        for room in list(self._holes):
            if room.hole is not None and room.is_due(now):
                self._fill(room, room.hole)
        if any(not room.filling for room in self._holes):
            self._wake(min(room.hole.due - now for room in self._holes if room.hole and not room.filling))

    def _fill(self, room: Room, hole: Hole) -> None:
        """Reads what is missing; our own unanswered call is not among it."""
        room.filling = True
        self._holes.pop(room, None)
        latest = int(room.retention.latest_only)
        bounds = (room.told, hole.upper, 0, READ_ENTRIES, READ_BYTES, latest)
        self._ask(room, "read", bounds, partial(self._filled, room, hole, room.epoch, room.told))

    def _filled(self, room: Room, hole: Hole, epoch: str, after: int, reply: Any) -> None:
        room.filling = False
        if isinstance(reply, BrokerError):
            room.stop_waiting(reply)
            if self._link(room).connected:
                room.hole = hole._replace(due=self._loop.time() + 1)
                self._holes[room] = None
                self._wake(1)
            return
        if room.epoch != epoch:
            return
        room.hole = None
        if not reply[2]:
            room.missing(max(min(reply[3], hole.upper), room.told))
            after = room.told
        entries = entries_of(reply[4:])
        last = entries[-1][0].seq if entries else hole.upper
        if last > after:
            room.put(Batch(after + 1, last, entries))
        self._advance(room, 0)

    # Whether a log is still what it was

    def _compare(self, link: Link) -> None:
        """A connection is there again: looks at each open room."""
        rooms = [room for room in self._rooms.values() if self._link(room) is link and room.epoch]
        for room in rooms:
            self._check(room)
        self._presence.back(rooms)

    def _compare_some(self) -> None:
        """Those that could not be looked at when they should; and each room in its turn.

        What a bus has lost is found though nothing more is said there.
        """
        unchecked, self._unchecked = self._unchecked, []
        for room in unchecked:
            self._check(room)
        if not self._to_compare:
            self._to_compare = list(self._rooms.values())
            self._compared_at_once = math.ceil(len(self._to_compare) / COMPARE_BEATS)
        for _ in range(min(self._compared_at_once, len(self._to_compare))):
            room = self._to_compare.pop()
            if room.open and room.epoch and not room.checking:
                self._check(room, HOLE_SECONDS)

    def _check(self, room: Room, patience: float = 0.0) -> None:
        if room.checking:
            room.doubtful = True
            return
        room.checking, room.doubtful = True, False
        self._ask(room, "open", (0, 0), partial(self._checked, room, patience))

    def _checked(self, room: Room, patience: float, reply: Any) -> None:
        room.checking = False
        if not isinstance(reply, BrokerError):
            room.known = max(room.known, reply[1])
            self._advance(room, patience)
            if room.doubtful:
                self._check(room)
        elif room.open:  # what Redis refuses, as while it loads its file, nobody would ask again
            self._unchecked.append(room)
        self._mark(room)

    def _gone(self, link: Link, error: BrokerError) -> None:
        """What is missing before our own events cannot be read in time."""
        for room in list(self._rooms.values()):
            if self._link(room) is link:
                room.give_up(error)

    def _beaten(self, reply: Any) -> None:
        """The secret was gone: so is everything else."""
        now = self._loop.time()
        if reply == b"OK" or now - self._touched > TOUCH_SECONDS:
            self._touched = now
            for link in self._routes.links:
                self._compare(link)
        elif not isinstance(reply, BrokerError):
            self._compare_some()


def _nobody(reply: Any) -> None:
    """A note may be lost."""


def _third(done: Answer[int], reply: Any) -> None:
    done(reply if isinstance(reply, BrokerError) else int(reply[2]))
