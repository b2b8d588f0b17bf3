"""Who is in the rooms of redis://: what each node has told of its members, and the end of nodes that have died.

Of each room there is a hash with what all nodes have told; every change has a number, so that a node that missed one
reads the whole. Each node has a lease. Whoever finds one that has run out takes it, and tells the rooms of that node.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from functools import partial
from typing import Any, Final

from hubbub.brokers import redis_bus as bus
from hubbub.brokers.redis_forms import decoded, encoded, room_base
from hubbub.brokers.redis_link import Call, Link, Script
from hubbub.brokers.redis_room import Room
from hubbub.errors import BrokerError
from hubbub.hub.ports import Answer, Listener, Present

LEASE_MS: Final = 5_000
LEASE_BEATS: Final = 4
"""How long a node that says nothing is taken for alive: so long, or so many times as it renews its lease."""
STEADY_SECONDS: Final = 3.0
"""After Redis was away nobody's lease counts as run out for so long: the others must have come back as well."""
REAPING_MS: Final = 5_000
"""How long the node that takes over a dead one has, before another one may."""
MAX_MEANWHILE: Final = 1000
"""Changes of a room that are held while it is read; beyond, it is read again."""
NAMES: Final = ("come", "roster", "lease", "nodes", "reap")
NODE_BYTES: Final = 16
LEAVING: Final = b"!"
"""Ends the lease of a node that has ended well: it is not alive, and its members are waited for as those of others."""


class Crowd:
    """Who is in one room, as far as this node has told and heard.

    Attributes:
        here: those whom this node tells of.
        touched: the ids of whom something is to be told, and whether anything was told of them before.
        number: of the last change that was heard; -1 until all have been read.
        heard: the highest number that was heard since all were read.
        highest: what the number had come to before; a lower one says that Redis has lost who was there.
        meanwhile: the node and the change of what was heard since it was asked: in a room that many come to, there is
            always some, and to ask again for each would never end.
    """

    __slots__ = ("asking", "heard", "here", "highest", "meanwhile", "number", "touched")

    def __init__(self) -> None:
        self.here: dict[str, Present] = {}
        self.touched: dict[str, bool] = {}
        self.number = self.heard = self.highest = -1
        self.meanwhile: list[tuple[bytes, bus.Change]] = []
        self.asking = False


class Presence:
    """The crowds of a node's open rooms.

    Args:
        node: 16 bytes that name this node.
        prefix: of all keys.
        publish: how to publish on a room's channel.
        link: the connection to where a key is.
        now: seconds, of the clock that never goes back.
        beat_seconds: between two signs of life.
    """

    def __init__(
        self,
        node: bytes,
        prefix: str,
        publish: bytes,
        link: Callable[[bytes], Link],
        now: Callable[[], float],
        beat_seconds: float,
    ) -> None:
        self.scripts: Final = {name: Script(name, placed=False) for name in NAMES}
        self.listener: Listener | None = None
        self._node = node
        self._prefix = prefix.encode()
        self._publish = publish
        self._link = link
        self._now = now
        self._crowds: dict[Room, Crowd] = {}
        self._lease_ms = max(LEASE_MS, round(beat_seconds * LEASE_BEATS * 1000))
        self._steady_since = now()
        self._leases = self._prefix + b"nodes"
        self._reaping: dict[bytes, int] = {}
        self._untold: dict[Room, None] = {}
        """Rooms about which Redis has refused something."""
        self._unsure: dict[Room, None] = {}
        """Rooms in which those whom nobody tells of may only not have been told of yet."""

    # What this node tells

    def come(self, room: Room, entered: Iterable[Present], left: Iterable[str]) -> None:
        """Notes who entered and left; `flush` tells it."""
        crowd = self._crowd(room)
        for present in entered:
            crowd.touched.setdefault(present.id, present.id in crowd.here)
            crowd.here[present.id] = present
        for id in left:
            if crowd.here.pop(id, None) is not None and not crowd.touched.setdefault(id, True):
                del crowd.touched[id]

    def flush(self, room: Room) -> None:
        """Tells the others what has changed in a room since the last time."""
        crowd = self._crowds.get(room)
        if crowd is None or not crowd.touched:
            return
        touched, crowd.touched = crowd.touched, {}
        entered = [crowd.here[id] for id in touched if id in crowd.here]
        self._tell(room, entered, [id for id in touched if id not in crowd.here])

    def _tell(self, room: Room, entered: Sequence[Present], left: Sequence[str]) -> None:
        self._list(room)
        message = bus.write_came(self._node, entered, left)
        changes = [part for present in entered for part in (self._field(present.id), _value(present))]
        fields = [self._field(id) for id in left]
        head, body = message[: bus.HEADER.size], message[bus.HEADER.size :]
        arguments: list[bytes | int] = [room.channel, self._publish, head, body, len(entered), *changes, *fields]
        self._run("come", _key(room), arguments, partial(self._told, room))

    def _list(self, room: Room) -> None:
        """Has it known whether this node has members in a room, for whoever has to tell of its end."""
        rooms = self._rooms_of(self._node)
        verb = b"SADD" if room in self._crowds and self._crowds[room].here else b"SREM"
        self._call(rooms, [verb, rooms, encoded(room.name)], partial(self._told, room))

    def _told(self, room: Room, reply: Any) -> None:
        """Redis may refuse what it has no memory for, or while it is busy, and be there all the time."""
        if isinstance(reply, BrokerError):
            self._untold[room] = None

    def _tell_again(self) -> None:
        untold, self._untold = self._untold, {}
        for room in untold:
            self._list(room)
            if room in self._crowds:
                self.ask(room)
            else:  # it is closed: nobody is here any more
                self._remove(self._node, room.channel, _key(room), partial(self._told, room))

    def _field(self, id: str) -> bytes:
        return self._node + encoded(id)

    def _rooms_of(self, node: bytes) -> bytes:
        return self._prefix + b"node:" + node.hex().encode() + b":rooms"

    # What the others tell

    def ask(self, room: Room) -> None:
        """Reads who is there, where it is not being read already."""
        crowd = self._crowd(room)
        if not crowd.asking:
            crowd.asking = True
            crowd.highest = max(crowd.highest, crowd.number, crowd.heard)
            crowd.number = crowd.heard = -1
            crowd.meanwhile = []
            self._run("roster", _key(room), (), lambda reply: self._read(room, crowd, reply))

    def heard(self, room: Room, envelope: bus.Envelope) -> None:
        """A node has told of its members.

        Raises:
            ValueError: the message is damaged.
        """
        crowd = self._crowds.get(room)
        change = bus.read_came(envelope)
        if crowd is None:
            return
        crowd.heard = max(crowd.heard, change.number)
        if crowd.number >= 0:
            self._take(room, crowd, envelope.node, change)
        elif len(crowd.meanwhile) < MAX_MEANWHILE:
            crowd.meanwhile.append((envelope.node, change))

    def _take(self, room: Room, crowd: Crowd, node: bytes, change: bus.Change) -> None:
        if change.number <= crowd.number:
            return
        if change.number != crowd.number + 1 or change.too_large:
            self.ask(room)
            return
        crowd.number = change.number
        if node != self._node and self.listener is not None:
            self.listener.came(room.name, node.hex(), change.entered, change.left)
        elif any(id in crowd.here for id in change.left):  # we were taken for dead
            self._repair(room, crowd, {id for id in crowd.here if id not in change.left})

    def forget(self, room: Room) -> None:
        """The room is not open any more."""
        self._crowds.pop(room, None)

    def _read(self, room: Room, crowd: Crowd, reply: Any) -> None:
        crowd.asking = False
        self._told(room, reply)
        if isinstance(reply, BrokerError) or self._crowds.get(room) is not crowd:
            return
        crowd.number = int(reply[0])
        everybody = _by_node(reply[1])
        own = {present.id for present in everybody.pop(self._node, ())}
        self._repair(room, crowd, own)
        if crowd.number < crowd.highest:
            self._steady_since = self._now()
        crowd.highest = -1
        if self.listener is not None:
            self._say_who(room, {node.hex(): presents for node, presents in everybody.items()}, self.listener)
        meanwhile, crowd.meanwhile = crowd.meanwhile, []
        for node, change in meanwhile:
            if not crowd.asking:
                self._take(room, crowd, node, change)
        if crowd.heard > crowd.number:
            self.ask(room)

    def _say_who(self, room: Room, others: dict[str, list[Present]], listener: Listener) -> None:
        """Who is not there has left, unless Redis was away: then the other nodes may not have told of theirs yet."""
        if self._steady:
            self._unsure.pop(room, None)
            listener.everybody(room.name, others)
            return
        self._unsure[room] = None
        for node, presents in others.items():
            listener.came(room.name, node, presents, ())

    def _repair(self, room: Room, crowd: Crowd, told: set[str]) -> None:
        """Tells again what is not known of us, and takes back what is no more."""
        entered = [present for id, present in crowd.here.items() if id not in told and id not in crowd.touched]
        left = [id for id in told if id not in crowd.here and id not in crowd.touched]
        if entered or left:
            self._tell(room, entered, left)

    # Leases

    def lease(self) -> Call:
        """Renews this node's lease, with every sign of life."""
        parts: list[bytes | int] = [b"EVALSHA", self.scripts["lease"].sha, 1, self._leases]
        parts += [self._node, self._lease_ms]
        return Call(parts, self._leased, self.scripts["lease"], slot=self._leases)

    def end(self) -> None:
        """This node lives no more. Members of it that have not left may come back elsewhere, for as long as a lease."""
        leaving = self._node + LEAVING
        self._run("lease", self._leases, (leaving, self._lease_ms), None)
        self._call(self._leases, [b"ZREM", self._leases, self._node])

    def nodes(self, done: Answer[Sequence[str]]) -> None:
        """Answers with those whose leases have not run out, and this one."""

        def answered(reply: Any) -> None:
            if isinstance(reply, BrokerError):
                done(reply)
            else:
                living = [lease for lease in reply if len(lease) == NODE_BYTES]
                done(sorted({short_id(node) for node in (self._node, *living)}))

        self._run("nodes", self._leases, (), answered)

    def back(self, rooms: Iterable[Room]) -> None:
        """Redis was away: who is in these rooms is read again."""
        self._steady_since = self._now()
        for room in rooms:
            if room in self._crowds:
                self.ask(room)

    @property
    def _steady(self) -> bool:
        """Whether Redis has been there for so long that all nodes have told it who is on them."""
        return self._now() - self._steady_since >= STEADY_SECONDS

    def _leased(self, reply: Any) -> None:
        if isinstance(reply, BrokerError):
            self._steady_since = self._now()
            return
        self._tell_again()
        was_alive, *ended = reply
        if not was_alive:  # those who took us for dead may have forgotten our rooms
            for room, crowd in self._crowds.items():
                if crowd.here:
                    self._list(room)
            self.back(list(self._crowds))
        if not self._steady:
            return
        unsure, self._unsure = self._unsure, {}
        for room in unsure:
            if room in self._crowds:
                self.ask(room)
        for lease in ended:
            if lease not in self._reaping:
                self._reaping[lease] = 0
                arguments = (self._node, self._lease_ms, lease, REAPING_MS)
                self._run("lease", self._leases, arguments, partial(self._claimed, lease))

    def _claimed(self, lease: bytes, reply: Any) -> None:
        if isinstance(reply, BrokerError) or reply != 1:  # another one was first
            self._reaping.pop(lease, None)
        else:
            rooms = self._rooms_of(lease[:NODE_BYTES])
            self._call(rooms, [b"SMEMBERS", rooms], partial(self._reap, lease))

    def _reap(self, lease: bytes, names: Any) -> None:
        """Tells each room of a dead node that its members have left, and then forgets the node."""
        if isinstance(names, BrokerError):
            self._reaping.pop(lease, None)
            return
        self._reaping[lease] = len(names)
        node = lease[:NODE_BYTES]
        for name in names:
            base = room_base(self._prefix.decode(), decoded(name))
            self._remove(node, base + b"bus", base + b"here", partial(self._reaped, lease))
        if not names:
            self._bury(lease)

    def _remove(self, node: bytes, channel: bytes, key: bytes, done: Callable[[Any], None]) -> None:
        """Takes back all that a node has told of a room."""
        header = bus.HEADER.pack(bus.VERSION, bus.CAME, node)
        self._run("reap", key, (channel, self._publish, header, node, bus.MAX_ENTRIES_BYTES), done)

    def _reaped(self, lease: bytes, reply: Any) -> None:
        if isinstance(reply, BrokerError):  # it is found again once the claim has run out
            self._reaping.pop(lease, None)
        elif lease in self._reaping:
            self._reaping[lease] -= 1
            if not self._reaping[lease]:
                self._bury(lease)

    def _bury(self, lease: bytes) -> None:
        rooms = self._rooms_of(lease[:NODE_BYTES])
        self._call(rooms, [b"DEL", rooms])
        self._call(self._leases, [b"ZREM", self._leases, lease])
        del self._reaping[lease]

    # Calls

    def _crowd(self, room: Room) -> Crowd:
        crowd = self._crowds.get(room)
        if crowd is None:
            crowd = self._crowds[room] = Crowd()
        return crowd

    def _call(self, key: bytes, parts: list[bytes | int], done: Callable[[Any], None] | None = None) -> None:
        self._link(key).call(Call(parts, done or _nobody, slot=key))

    def _run(self, name: str, key: bytes, arguments: Sequence[bytes | int], done: Callable[[Any], None] | None) -> None:
        script = self.scripts[name]
        parts: list[bytes | int] = [b"EVALSHA", script.sha, 1, key, *arguments]
        self._link(key).call(Call(parts, done or _nobody, script, slot=key))


def short_id(node: bytes) -> str:
    """What a node is called outside of Redis."""
    return node.hex()[:12]


def _key(room: Room) -> bytes:
    return room.keys[0].removesuffix(b"meta") + b"here"


def _value(present: Present) -> bytes:
    return b"%d %d %b" % (present.since, present.quiet, encoded(present.username))


def _by_node(flat: Sequence[bytes]) -> dict[bytes, list[Present]]:
    """The fields and values of a room's hash, by node."""
    found: dict[bytes, list[Present]] = {}
    for field, value in zip(flat[::2], flat[1::2], strict=True):
        since, quiet, username = value.split(b" ", 2)
        id, name = decoded(field[NODE_BYTES:]), decoded(username)
        found.setdefault(field[:NODE_BYTES], []).append(Present(id, name, int(since), quiet == b"1"))
    return found


def _nobody(reply: Any) -> None:
    """What is not known for certain is read again once Redis is there."""
