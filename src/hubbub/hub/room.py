"""A room: its members, what waits to be kept and delivered, and the fan-out, a batch a turn."""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Callable
from itertools import islice
from typing import TYPE_CHECKING, Final

import msgspec
from msgspec import UNSET, UnsetType

from hubbub.wire.codec import EVENT, Batch, Item
from hubbub.wire.messages import CommandId, Event, MemberCount, RoomInfo, UserJoined, UserLeft
from hubbub.wire.websocket import BINARY, TEXT

if TYPE_CHECKING:
    from hubbub.hub.connection import Connection
    from hubbub.hub.hub import Hub

log: Final = logging.getLogger("hubbub")
_encode = msgspec.json.Encoder().encode

# A slice of large frames has fewer members: the kernel copies about 2 GB a second.
SLICE_BYTES = 8 << 20


class Publication:
    """An event on its way; returned by `Room.publish`, and the answer to a command when its handler returns it.

    Attributes:
        seq: its place in the room's log; None until it is kept, and for ever when it is not to be kept.
        error: why it could not be kept; then it was not delivered either.
    """

    __slots__ = ("_waiting", "error", "exclude", "keep", "kind", "payload", "seq")

    def __init__(self, kind: int, payload: bytes, keep: bool, exclude: Connection | None) -> None:
        self.kind = kind
        self.payload = payload
        self.keep = keep
        self.exclude = exclude
        self.seq: int | None = None
        self.error: Exception | None = None
        self._waiting: list[Callable[[Publication], None]] | None = None

    def when_settled(self, callback: Callable[[Publication], None]) -> None:
        """Calls back once the event is kept or cannot be; at once when that is known, or it need not be."""
        if not self.keep or self.seq is not None or self.error is not None:
            callback(self)
        elif self._waiting is None:
            self._waiting = [callback]
        else:
            self._waiting.append(callback)

    def kept(self, seq: int) -> None:
        """The broker holds it."""
        self.seq = seq
        for callback in self._waiting or ():
            callback(self)

    def failed(self, error: Exception) -> None:
        """The broker does not hold it."""
        self.error = error
        for callback in self._waiting or ():
            callback(self)


class _Delivery:
    """A batch and those who have not been written it yet."""

    __slots__ = ("audience", "batch", "personal")

    def __init__(self, batch: Batch, personal: dict[Connection, Batch], audience: dict[Connection, str]) -> None:
        self.batch = batch
        self.personal = personal
        self.audience = audience

    def to(self, connection: Connection) -> None:
        connection.transport.deliver(self.personal.get(connection, self.batch))

    def advance(self, members: int) -> None:
        """Writes to the next so many members."""
        audience = self.audience
        for _ in range(min(members, len(audience))):
            self.to(audience.popitem()[0])


class Room:
    """A named room on this node.

    Attributes:
        name: unique, at most 50 characters.
        members: who is in it on this node, and under which username, in the order of joining.
    """

    __slots__ = (
        "__weakref__",
        "_deliveries",
        "_hub",
        "_newcomers",
        "_pending",
        "_seq_prefix",
        "_suffix",
        "members",
        "name",
    )

    def __init__(self, name: str, hub: Hub) -> None:
        self.name = name
        self.members: dict[Connection, str] = {}
        self._hub = hub
        self._pending: list[Publication] = []
        self._newcomers: dict[Connection, int] = {}
        self._deliveries: deque[_Delivery] = deque()
        self._suffix = b',"room":' + _encode(name) + b"}"
        self._seq_prefix = self._suffix[:-1] + b',"seq":'

    @property
    def count(self) -> int:
        """How many members there are."""
        return len(self.members)

    def usernames(self, offset: int, limit: int) -> list[str]:
        """A page of the members' usernames, in the order of joining."""
        return list(islice(self.members.values(), offset, offset + limit))

    def info(self, connection: Connection, id: CommandId | UnsetType = UNSET) -> RoomInfo:
        """What a member is told when it has joined; cut lists begin with the newest member, itself."""
        shown = self._hub.config.rooms.members_shown
        members = self.usernames(0, shown)
        truncated = self.count > len(members)
        if truncated:
            members = [self.members[connection], *members[:-1]]
        epoch, seq = self._hub.broker.position(self.name)
        return RoomInfo(self.name, members, self.count, epoch, seq, truncated or UNSET, id)

    def publish(
        self, event: Event | str | bytes, *, keep: bool = True, exclude: Connection | None = None
    ) -> Publication:
        """Sends an event to every member at the end of this turn of the event loop.

        Args:
            event: an Event; or a text or bytes, sent as they are, for members that speak an application's own protocol.
            keep: give it a seq and keep it in the log. What is not an Event is never kept.
            exclude: a member that does not get it.

        Returns:
            the publication: return it from a handler to answer the command once the event is kept.
        """
        if isinstance(event, Event):
            publication = Publication(EVENT, _encode(event), keep, exclude)
        elif isinstance(event, str):
            publication = Publication(TEXT, event.encode(), False, exclude)
        else:
            publication = Publication(BINARY, event, False, exclude)
        if not self._pending:
            self._hub.flush_later(self)
        self._pending.append(publication)
        return publication

    def add(self, connection: Connection, username: str) -> None:
        """Lets a connection in and announces it to the others."""
        if connection.announced:
            self._announce(UserJoined(username, len(self.members) + 1, self._hub.runtime.unix_ms()))
        self.members[connection] = username
        if self._pending:
            self._newcomers[connection] = len(self._pending)

    def remove(self, connection: Connection, *, lost: bool) -> None:
        """Lets a connection out and announces it; what was published before reaches it unless it is lost."""
        if not lost:
            self.flush()
        for delivery in self._deliveries:
            if delivery.audience.pop(connection, None) is not None and not lost:
                delivery.to(connection)
        username = self.members.pop(connection)
        self._newcomers.pop(connection, None)
        if connection.announced:
            self._announce(UserLeft(username, len(self.members), self._hub.runtime.unix_ms()))

    def _announce(self, event: UserJoined | UserLeft) -> None:
        if not self.members:
            return
        if len(self.members) > self._hub.config.rooms.presence_detail:
            self._hub.count_later(self)
        else:
            self.publish(event, keep=False)

    def announce_count(self) -> None:
        """Says how many there are, in place of each coming and going."""
        if self.members:
            self.publish(MemberCount(len(self.members), self._hub.runtime.unix_ms()), keep=False)

    def flush(self) -> None:
        """Has the broker keep what is to be kept of this turn, and then delivers all of it."""
        pending, self._pending = self._pending, []
        newcomers = self._newcomers
        if newcomers:
            self._newcomers = {}
        entries = [publication.payload for publication in pending if publication.keep]
        try:
            if entries:
                self._hub.broker.append(self.name, entries, lambda seq: self._deliver(pending, newcomers, seq))
            elif pending:
                self._deliver(pending, newcomers, 0)
        except Exception as error:  # one room's failure must not take others along
            log.exception("events of a room could not be kept: room=%r events=%d", self.name, len(pending))
            for publication in pending:
                if publication.seq is None:
                    publication.failed(error)

    def _deliver(self, pending: list[Publication], newcomers: dict[Connection, int], seq: int) -> None:
        items: list[Item] = []
        special = newcomers.copy()
        for publication in pending:
            if publication.keep:
                items.append((EVENT, b"%b%b%d}" % (publication.payload[:-1], self._seq_prefix, seq)))
                publication.kept(seq)
                seq += 1
            elif publication.kind == EVENT:
                items.append((EVENT, publication.payload[:-1] + self._suffix))
            else:
                items.append((publication.kind, publication.payload))
            if publication.exclude is not None:
                special.setdefault(publication.exclude, 0)
        personal = {who: Batch(_seen_by(who, first, pending, items)) for who, first in special.items()}
        self._hub.counters.events_published += len(items)
        self._fan_out(Batch(items), personal)

    def _fan_out(self, batch: Batch, personal: dict[Connection, Batch]) -> None:
        members = self.members
        self._hub.counters.events_delivered += len(batch.items) * len(members)
        if self._deliveries or len(members) > self._hub.config.rooms.fanout_slice:
            self._deliveries.append(_Delivery(batch, personal, dict(members)))
            if len(self._deliveries) == 1:
                self._advance()
        elif personal:
            for connection in members:
                connection.transport.deliver(personal.get(connection, batch))
        else:
            for connection in members:
                connection.transport.deliver(batch)

    def _advance(self) -> None:
        """Writes one slice and leaves the rest to the next turn, so that other rooms and heartbeats keep running."""
        first = self._deliveries[0]
        size = sum(len(payload) for _, payload in first.batch.items)
        try:
            first.advance(max(1, min(self._hub.config.rooms.fanout_slice, SLICE_BYTES // max(size, 1))))
        finally:  # whatever one member's transport does, the others are written to
            if not first.audience:
                self._deliveries.popleft()
            if self._deliveries:
                self._hub.runtime.call_soon(self._advance)


def _seen_by(connection: Connection, first: int, pending: list[Publication], items: list[Item]) -> list[Item]:
    """A member's share: what is kept is for everyone, the rest not for who came later or is excluded."""
    return [
        item
        for index, (publication, item) in enumerate(zip(pending, items, strict=True))
        if publication.exclude is not connection and (publication.keep or index >= first)
    ]
