"""A room: its members, what waits to be kept and delivered, and the fan-out, a batch a turn."""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Callable, Sequence
from functools import partial
from typing import TYPE_CHECKING, Final, TypeVar

import msgspec

from hubbub.errors import BrokerError
from hubbub.hub.fanout import FanOut
from hubbub.hub.flight import NOBODY, NOTHING, Flight
from hubbub.hub.member import Member, Reader
from hubbub.hub.ports import Answer, Entry, Kept, Once, Position, Present
from hubbub.hub.publication import CONFIRM, Publication, prepare
from hubbub.hub.receipts import Receipts
from hubbub.hub.roster import Roster
from hubbub.wire.codec import EVENT, Batch, Item
from hubbub.wire.messages import Event, Gap, MemberCount, UserJoined, UserLeft

if TYPE_CHECKING:
    from hubbub.hub.connection import Connection
    from hubbub.hub.hub import Hub

log: Final = logging.getLogger("hubbub")
_encode = msgspec.json.Encoder().encode
T = TypeVar("T")
# Of what is read at once.
MOST_EVENTS: Final = 1000
# The same; and of a reply: half of what may wait to be written. The rest follows as it is read.
MOST_BYTES: Final = 128 << 10


async def _answer(ask: Callable[[Answer[T]], None]) -> T:
    """Awaits what is answered by a callback.

    Raises:
        BrokerError: there is no answer.
    """
    found: asyncio.Future[T | BrokerError] = asyncio.get_running_loop().create_future()

    def done(answer: T | BrokerError) -> None:
        if not found.done():  # somebody still waits
            found.set_result(answer)

    ask(done)
    answer = await found
    if isinstance(answer, BrokerError):
        raise answer
    return answer


class Room:
    """A named room on this node.

    Attributes:
        name: unique, at most 50 characters.
        members: who is in it on this node or has subscribed to it, in the order of joining.
        roster: who is in it, on all nodes.
        epoch: names the life of its log; empty while the log is not open.
        head: the last seq that has gone out to members.
        policy: what it keeps, and what becomes of slow readers.
        receipts: of the events that are to be confirmed.
        full_at: the state of its rate limit.
        holds: how many commands need the log open, though nobody may be here.
        watch: called when something was kept, or the log goes on elsewhere; it is to do no more than note that.
        suffix, seq_prefix: what makes a published event's JSON that which members get: its room, and where it has one,
            its seq.
    """

    __slots__ = (
        "__weakref__",
        "_behind",
        "_fan_out",
        "_flights",
        "_hub",
        "_landing",
        "_newcomers",
        "_openers",
        "_patient",
        "_pending",
        "epoch",
        "full_at",
        "head",
        "holds",
        "members",
        "name",
        "policy",
        "receipts",
        "roster",
        "seq_prefix",
        "suffix",
        "watch",
    )

    def __init__(self, name: str, hub: Hub) -> None:
        self.name = name
        self.members: dict[Member, None] = {}
        self.epoch = ""
        self.head = 0
        self.policy = hub.policy(name)
        self.receipts = Receipts()
        self.roster = Roster()
        self.holds = 0
        self.watch: Callable[[], None] | None = None
        self.full_at = 0.0
        self._hub = hub
        self._behind = 0
        self._openers: list[Callable[[BrokerError | None], None]] = []
        self._pending: list[Publication] = []
        self._patient = False
        self._newcomers: dict[Connection, int] = {}
        self._flights: deque[Flight] = deque()
        self._landing = False
        self._fan_out = FanOut(hub.runtime, hub.config.rooms.fanout_slice)
        self.suffix = b',"room":' + _encode(name) + b"}"
        self.seq_prefix = self.suffix[:-1] + b',"seq":'

    # Its log

    def open(self, opened: Callable[[BrokerError | None], None]) -> None:
        """Opens the log where it is not open, and calls back once that is done or has failed."""
        if self.epoch:
            opened(None)
            return
        self._openers.append(opened)
        if len(self._openers) == 1:
            self._hub.broker.open(self.name, self._opened)

    def _opened(self, answer: Position | BrokerError) -> None:
        openers, self._openers = self._openers, []
        error = answer if isinstance(answer, BrokerError) else None
        if not isinstance(answer, BrokerError):
            self.epoch, self.head = answer
            if self._is_shared():
                self._hub.broker.come(self.name, self.roster.presents(), ())
        for opened in openers:
            opened(error)
        self.close_unused()

    def close_unused(self) -> None:
        """Closes the log when nobody is here and nothing is on its way."""
        if self.epoch and not self.members and not self._flights and not self._pending and not self.holds:
            self.epoch = ""
            self.roster.forget_others()
            self._hub.broker.close(self.name)

    def settled(self, callback: Callable[[None], None]) -> None:
        """Calls back once all that was published before has gone out."""
        self.flush()
        if self._flights:
            flight = self._flights[-1]
            flight.landed = [*(flight.landed or ()), callback]
        else:
            callback(None)

    def _is_shared(self) -> bool:
        """Whether other nodes may be told what happens here."""
        return bool(self.epoch) and self._hub.broker.shared

    @property
    def unsettled(self) -> bool:
        """Whether anything that was published has not gone out yet."""
        return bool(self._pending or self._flights)

    def item(self, seq: int, payload: bytes) -> Item:
        """An event of the log as members get it."""
        return EVENT, b"%b%b%d}" % (payload[:-1], self.seq_prefix, seq)

    async def read(self, seq: int) -> bytes | None:
        """The event of this number as it was published, as JSON; None where the log does not hold it.

        Raises:
            BrokerError: the log cannot be read; a handler may let it pass as the command's answer.
        """
        if not self.epoch or not 0 < seq <= self.head:
            return None
        self.holds += 1
        try:
            portion = await _answer(partial(self._hub.broker.read, self.name, seq - 1, 1, 1))
        finally:
            self.holds -= 1
            self.close_unused()
        return next((entry.payload for entry in portion.entries if entry.seq == seq), None)

    async def latest(self) -> list[bytes]:
        """All that a latest-only room holds, as it was published, as JSON: the last event of each key.

        What was published on this node before this is called is among it.

        Raises:
            BrokerError: the log cannot be read; a handler may let it pass as the command's answer.
        """
        events: list[bytes] = []
        self.holds += 1
        try:
            await _answer(self.open)
            await _answer(self.settled)
            after = 0
            while after < self.head:
                portion = await _answer(partial(self._hub.broker.read, self.name, after, MOST_EVENTS, MOST_BYTES))
                if not portion.entries:
                    break
                events += [entry.payload for entry in portion.entries]
                after = portion.entries[-1].seq
        finally:
            self.holds -= 1
            self.close_unused()
        return events

    # Its members

    @property
    def count(self) -> int:
        """How many members there are on all nodes; subscriptions do not count."""
        return self.roster.count

    def usernames(self, offset: int, limit: int) -> list[str]:
        """A page of the members' usernames on all nodes, in the order of joining."""
        return self.roster.usernames(offset, limit)

    def shown_to(self, member: Member) -> tuple[list[str], bool]:
        """The usernames that a member is shown, and whether there are more; cut, they begin with the newest, itself."""
        shown = self._hub.config.rooms.members_shown
        usernames = self.roster.usernames(0, shown)
        truncated = self.count > len(usernames)
        if truncated and member.username:
            usernames = [member.username, *usernames[:-1]]
        return usernames, truncated

    def add(self, member: Member, after: int | None = None) -> None:
        """Lets a member in, live or behind, and announces it to the others."""
        if member.username:
            member.since = self._hub.runtime.unix_ms()
            fresh = self.roster.enter(member)
            if fresh and member.announced:
                self._announce_join(member.username)
            if self._is_shared():
                self._hub.broker.come(self.name, (member.present,), ())
        self.members[member] = None
        self.place(member, after)

    def place(self, member: Member, after: int | None) -> None:
        """Puts a member at the log's end, or behind at `after`, which is held until `release`."""
        self.make_live(member)
        self._fan_out.forget(member)  # what its last connection was to get
        for flight in self._flights:
            flight.newcomers[member.connection] = len(flight.publications)
            if flight.leavers is not None:
                flight.leavers = [leaver for leaver in flight.leavers if leaver is not member.connection]
        if self._pending:
            self._newcomers[member.connection] = len(self._pending)
        member.start = self.head if after is None else after
        if after is not None:
            self._fall_back(member, after).held = True
        elif not self.epoch:
            reader = self._fall_back(member, 0)
            reader.held = True
            self.open(partial(self._live_from_here, member, reader))
        elif member.connection.stalled:
            self._fall_back(member, self.head)

    def _live_from_here(self, member: Member, reader: Reader, error: BrokerError | None) -> None:
        if member.reader is not reader:
            return
        if error is None:
            self.release(member, self.head)
        else:
            self._hub.close_unavailable(member.connection)

    def remove(self, member: Member, *, lost: bool, settled: bool = False) -> None:
        """Lets a member out and announces it; what was published before reaches it, unless it is lost or has waited."""
        if not lost:
            self.flush()
            if member.reader is None and not settled:
                for flight in self._flights:
                    flight.leavers = [*(flight.leavers or ()), member.connection]
            self._fan_out.finish(member)
        self._fan_out.forget(member)
        self.make_live(member)
        del self.members[member]
        self._newcomers.pop(member.connection, None)
        if self._patient and not self.members:  # nobody is left who could be told
            self._pending, self._patient = [], False
            self._hub.flush_no_more(self)
        if member.username:
            last = self.roster.leave(member)
            if last and member.announced:
                self._announce_leave(member.username)
            if self._is_shared() and not self.roster.here(member.id):
                self._hub.broker.come(self.name, (), (member.id,))

    def _announce_join(self, username: str) -> None:
        """Tells who was here before."""
        count = self.count
        self._announce(UserJoined(username, count, self._hub.runtime.unix_ms()), count - 1)

    def _announce_leave(self, username: str) -> None:
        count = self.count
        self._announce(UserLeft(username, count, self._hub.runtime.unix_ms()), count)

    def _announce(self, event: UserJoined | UserLeft, others: int) -> None:
        if not self.members:
            return
        if others > self._hub.config.rooms.presence_detail:
            self._hub.count_later(self)
        else:
            self._publish_here(event)

    def _tell_presence(self) -> None:
        """Something is said on another node: who has come before is told of first."""
        if self._patient:
            self.flush()

    def announce_count(self) -> None:
        """Says how many there are, in place of each coming and going."""
        if self.members:
            self._publish_here(MemberCount(self.count, self._hub.runtime.unix_ms()))

    def _publish_here(self, event: Event) -> None:
        """Tells the members on this node, at the latest a moment later; the other nodes tell theirs."""
        new = prepare(event, False, None, "", None, False)
        new.here = True
        if not self._pending:
            self._patient = True  # nothing but comings and goings waits
            self._hub.flush_patiently(self)
        self._pending.append(new)

    def let_go(self, member: Member) -> None:
        """A member's connection is lost: it stays, and is not written to."""
        self._fan_out.forget(member)
        self._newcomers.pop(member.connection, None)
        self.make_live(member)

    # Members that are behind

    def fall_behind(self, member: Member, reached: int | None = None) -> None:
        """A member is not written to for now: remembers the seq that it has reached, by default the log's end."""
        if member.reader is not None:
            return
        waited = self._fan_out.forget(member)
        at_least = self.head if reached is None else reached
        reader = self._fall_back(member, at_least if waited is None else waited)
        reader.missed = waited is not None or reached is not None
        reader.skips = self.policy.slow_readers == "latest" and not self.policy.latest_only

    def _fall_back(self, member: Member, cursor: int) -> Reader:
        if member.reader is None:
            self._behind += 1
        member.reader = Reader(cursor)
        return member.reader

    def make_live(self, member: Member) -> None:
        """Delivers to a member again as to all others."""
        if member.reader is not None:
            self._behind -= 1
            member.reader = None

    def release(self, member: Member, cursor: int) -> None:
        """A member that was held has got all up to `cursor`; the rest is read for it."""
        reader = member.reader
        if reader is None:
            return
        reader.cursor = cursor
        reader.held = False
        if cursor >= self.head and not reader.missed and not member.connection.stalled:
            self.make_live(member)
        else:
            self._hub.catch_up.later(member)

    # What is published

    def publish(
        self,
        event: Event | dict[str, object] | str | bytes,
        *,
        keep: bool = True,
        exclude: Connection | None = None,
        key: str = "",
        once: Once | None = None,
        confirm: bool = False,
    ) -> Publication:
        """Sends an event to every member at the end of this turn of the event loop.

        Args:
            event: an Event, or a dict with a `type`; or a text or bytes, sent as they are, for members that speak an
                application's own protocol.
            keep: give it a seq and keep it in the log. What is neither an Event nor a dict is never kept.
            exclude: a member that is not sent it now; it gets what is kept when it reads the log.
            key: what it is the value of, in a latest-only room, which keeps the last event of each key.
            once: from `Connection.once`; a repeat is not published again.
            confirm: each member is to acknowledge it, and gets it again until it does.

        Returns:
            the publication: return it from a handler to answer the command once the event is kept.

        Raises:
            LocalError: it cannot be kept, and is to be confirmed.
        """
        new = prepare(event, keep, exclude, key, once, confirm)
        if confirm and self.epoch:
            self.receipts.prepare(self, self._hub)
        self._publish(new)
        return new

    def _publish(self, new: Publication) -> None:
        if self._patient or not self._pending:
            self._patient = False
            self._hub.flush_later(self)
        self._pending.append(new)

    def flush(self) -> None:
        """Has the broker keep what is to be kept of this turn, and then delivers all of it."""
        if not self._pending:
            return
        if not self.epoch:
            self.open(self._flush_opened)
            return
        flight = Flight(self, self._pending, self._newcomers)
        self._pending, self._newcomers, self._patient = [], {}, False
        self._flights.append(flight)
        drafts = [publication for publication in flight.publications if publication.keep]
        if len(drafts) < len(flight.publications) and self._is_shared():
            self._tell(flight.publications)
        if not drafts:
            flight.answered(NOTHING)
            return
        try:
            self._hub.broker.append(self.name, self._hub.runtime.unix_ms(), drafts, flight.answered)
        except Exception as error:  # one room's failure must not take others along
            log.exception("events of a room could not be kept: room=%r", self.name)
            if flight.answer is None:
                flight.answered(BrokerError(str(error)))

    def _tell(self, publications: list[Publication]) -> None:
        """Passes what is not kept to the other nodes."""
        told = [bytes((each.kind,)) + each.payload for each in publications if not (each.keep or each.here)]
        if told:
            self._hub.broker.tell(self.name, told)

    def _flush_opened(self, error: BrokerError | None) -> None:
        if error is None:
            self.flush()
            return
        pending, self._pending, self._newcomers, self._patient = self._pending, [], {}, False
        for lost in pending:
            lost.failed(error)

    def land(self) -> None:
        """Delivers the flights that have their answer, in their order."""
        if self._landing:  # a publisher that was told has published more: that lands behind this
            return
        self._landing = True
        flights = self._flights
        while flights:
            flight = flights[0]
            if flight.answer is None:
                break
            try:
                self._land(flight, flight.answer)
            except Exception:  # one room's failure must not take others along
                log.exception("events of a room could not be delivered: room=%r", self.name)
            flights.popleft()
            flight.tell_landed()
        self._landing = False
        if not self.members:
            self.close_unused()

    def _land(self, flight: Flight, answer: Kept | BrokerError) -> None:
        """Tells publishers, and delivers."""
        head = flight.settle(answer)
        batch, personal = flight.batch(), flight.personal()
        before = self.head
        self._move(head)
        self._hub.counters.events_published += len(batch.items)
        if self._behind:
            dropped = sum(not publication.keep for publication in flight.publications)
            self._hub.counters.events_dropped += dropped * self._behind
        if batch.items:
            for connection in flight.leavers or ():
                connection.transport.deliver(personal.get(connection, batch))
            self._deliver(batch, personal, before)
        for publication in flight.publications:
            if publication.confirm and publication.seq is not None and not publication.repeated:
                item = self.item(publication.seq, publication.payload)
                self.receipts.begin(self, publication.seq, item, publication.exclude, self._hub)

    def _move(self, head: int) -> None:
        """The log goes on."""
        self.head = head
        if self.watch is not None:
            self.watch()

    # What other nodes do

    def arrived(self, entries: Sequence[Entry]) -> None:
        """Delivers what others have kept behind the head."""
        self._tell_presence()
        if any(entry.payload.endswith(CONFIRM) for entry in entries):
            self.receipts.prepare(self, self._hub)
        batch = Batch([self.item(entry.seq, entry.payload) for entry in entries])
        before = self.head
        self._move(entries[-1].seq)
        self._deliver(batch, NOBODY, before)
        for entry, item in zip(entries, batch.items, strict=True):
            if entry.payload.endswith(CONFIRM):
                self.receipts.begin(self, entry.seq, item, None, self._hub)

    def told(self, payloads: Sequence[bytes]) -> None:
        """Delivers what others have passed on and not kept."""
        self._tell_presence()
        items = [(payload[0], payload[1:]) for payload in payloads]
        batch = Batch([(kind, said[:-1] + self.suffix if kind == EVENT else said) for kind, said in items])
        self._hub.counters.events_dropped += len(items) * self._behind
        self._deliver(batch, NOBODY, self.head)

    def moved(self, position: Position) -> None:
        """The log goes on elsewhere: who is at its end is told of the gap, who is not has to come back."""
        gap = EVENT, _encode(Gap(self.name, *position))
        for member in list(self._live()):
            self._fan_out.forget(member)
            member.connection.transport.deliver(Batch([gap]))
        for member in [member for member in self.members if member.reader is not None and position.epoch != self.epoch]:
            self._hub.close_unavailable(member.connection)
        if position.epoch != self.epoch:
            self.receipts = Receipts()
            for member in self.members:
                member.acked, member.start = None, position.seq
        self.epoch = position.epoch
        self._move(position.seq)
        self._hub.counters.gaps += 1

    def came(self, node: str, entered: Sequence[Present], left: Sequence[str]) -> None:
        """Notes who came to another node, and who left it; those here are told."""
        for present in entered:
            if self.roster.enter_elsewhere(node, present) and not present.quiet:
                self._announce_join(present.username)
        for id in left:
            gone = self.roster.leave_elsewhere(node, id)
            if gone is not None and not gone.quiet:
                self._announce_leave(gone.username)

    def _deliver(self, batch: Batch, personal: dict[Connection, Batch], before: int) -> None:
        members = self.members
        self._hub.counters.events_delivered += len(batch.items) * (len(members) - self._behind)
        if self._fan_out.takes(len(members)):
            self._deliver_in_slices(batch, personal, before)
        elif personal or self._behind:
            for member in self._live():
                connection = member.connection
                connection.transport.deliver(personal.get(connection, batch))
        else:
            for member in members:
                member.connection.transport.deliver(batch)

    def _deliver_in_slices(self, batch: Batch, personal: dict[Connection, Batch], before: int) -> None:
        if not self._fan_out.full:
            self._fan_out.begin(batch, personal, self._live(), before)
            return
        for member in self._live():
            self.fall_behind(member, before)
            self._hub.catch_up.later(member)

    def _live(self) -> dict[Member, None]:
        """Those at the log's end; the others are noted to miss what is not kept."""
        if not self._behind:
            return self.members.copy()
        live: dict[Member, None] = {}
        for member in self.members:
            if member.reader is None:
                live[member] = None
            else:
                member.reader.missed = True
        return live
