"""Long-polls: what each is answered with, who waits in which rooms, and what wakes them. Nothing is kept of a poll.

Whoever waits in the same rooms at the same places shares a `Spot`: it is read for once, and all get the same bytes.
"""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Sequence
from functools import partial
from typing import TYPE_CHECKING, Final, NamedTuple, Protocol

import msgspec

from hubbub.codes import CLOSED
from hubbub.errors import CommandError
from hubbub.hub.authorization import authorized
from hubbub.hub.commands import shown_name
from hubbub.hub.limits import names_of
from hubbub.hub.pages import has, last, out
from hubbub.hub.ports import Entry, Portion, Position
from hubbub.hub.room import MOST_BYTES, MOST_EVENTS
from hubbub.hub.steps import Steps, Walk
from hubbub.wire.codec import Batch
from hubbub.wire.messages import Since
from hubbub.wire.places import format_places
from hubbub.wire.websocket import TEXT

if TYPE_CHECKING:
    from hubbub.hub.connection import Connection
    from hubbub.hub.hub import Hub
    from hubbub.hub.room import Room

log: Final = logging.getLogger("hubbub")
KEPT_OPEN_SECONDS: Final = 30.0
"""How long a room stays open behind its last poll: longer than anybody takes to come back."""
MOST_KEPT_OPEN: Final = 1000
"""Rooms in which nobody waits; the one left longest ago goes first."""
# All who wait in a room may be woken at once: about 5 ms (benchmark: polls.py).
ANSWERED_A_TURN: Final = 100
# Who waits in other rooms as well is read for apart; that many are about 3 ms.
READ_FOR_A_TURN: Final = 100
_encode = msgspec.json.Encoder().encode


class Query(NamedTuple):
    """What a poll asks for.

    Attributes:
        rooms: their names, clean and distinct.
        since: of each room the place that the client has reached, None for none.
        history: how many of the last events it wants of a room where it goes by no place.
        username: under which it is to be there; None where it only reads.
        waits: whether it is not answered before there is something to say.
    """

    rooms: Sequence[str]
    since: Sequence[Since | None]
    history: int = 0
    username: str | None = None
    waits: bool = True


class Answer:
    """What polls are answered with.

    Attributes:
        events: as members get them.
        places: of each room the place to go on from.
        recovered: False where something is missing between a place that the client named and the events; None where it
            named none.
        more: there is more already.
    """

    __slots__ = ("_batch", "events", "more", "places", "recovered")

    def __init__(
        self, events: Sequence[bytes], places: tuple[Position, ...], recovered: bool | None, *, more: bool = False
    ) -> None:
        self.events = events
        self.places = places
        self.recovered = recovered
        self.more = more
        self._batch: Batch | None = None

    @property
    def batch(self) -> Batch:
        """The answer as a text, for codecs to make the same bytes of for all."""
        if self._batch is None:
            self._batch = Batch([(TEXT, self.body())])
        return self._batch

    def body(self, session: str = "") -> bytes:
        """The answer as JSON.

        Args:
            session: the token with which the client comes back.
        """
        rest = {"since": format_places(self.places), "recovered": self.recovered, "more": self.more}
        if session:
            rest["session"] = session
        return b'{"events":[%b],%b' % (b",".join(self.events), _encode(rest)[1:])


class Waiter(Protocol):
    """A poll that waits for an answer."""

    spot: Spot | None
    """Where it waits; set by `Polls`."""

    def answer(self, answer: Answer | Exception) -> None:
        """What it is answered with, or why there is nothing; called once, and never after `Polls.forget`."""
        ...


class Spot:
    """Those who wait in the same rooms at the same places.

    Attributes:
        woken: it is about to be read for.
    """

    __slots__ = ("_watches", "places", "waiters", "woken")

    def __init__(self, watches: Sequence[_Watch], places: tuple[Position, ...]) -> None:
        self._watches = watches
        self.places = places
        self.waiters: dict[Waiter, None] = {}
        self.woken = False

    @property
    def key(self) -> tuple[tuple[_Watch, ...], tuple[Position, ...]]:
        """What makes it one spot."""
        return tuple(self._watches), self.places

    @property
    def watches(self) -> Sequence[_Watch]:
        """Its rooms, in the order of the places."""
        return self._watches

    @property
    def passed(self) -> bool:
        """Whether there is something behind its places."""
        return any(watch.place != place for watch, place in zip(self._watches, self.places, strict=True))

    def quiet(self) -> Answer:
        """What somebody is answered who has waited long enough."""
        return Answer((), self.places, recovered=True)


class _Watch:
    """A room in which there are polls: one holding of its log for all of them.

    Attributes:
        users: spots there, and polls that are being looked for.
    """

    __slots__ = ("_polls", "_waking", "room", "spots", "users")

    def __init__(self, polls: Polls, room: Room) -> None:
        self.room = room
        self.users = 0
        self.spots: dict[Spot, None] = {}
        self._polls = polls
        self._waking = False

    @property
    def place(self) -> Position:
        """The end of the room's log."""
        return Position(self.room.epoch, self.room.head)

    def open(self) -> None:
        self.room.holds += 1
        self.room.watch = self.moved

    def close(self) -> None:
        self.room.watch = None
        self.room.holds -= 1
        self.room.close_unused()

    def moved(self) -> None:
        """The log's end has moved: whoever waits is told once this turn is over."""
        if self.spots and not self._waking:
            self._waking = True
            self._polls.hub.runtime.call_soon(self._wake)

    def _wake(self) -> None:
        self._waking = False
        self._polls.wake([spot for spot in self.spots if spot.passed and not spot.woken])


class _Part(NamedTuple):
    """What was found in one room: as an answer has it, and how many bytes the events have."""

    entries: Sequence[Entry]
    place: Position
    recovered: bool | None
    size: int = 0


class Polls:
    """The polls of one node."""

    def __init__(self, hub: Hub) -> None:
        self.hub = hub
        self._watches: dict[str, _Watch] = {}
        self._unused: dict[_Watch, float] = {}
        self._spots: dict[tuple[tuple[_Watch, ...], tuple[Position, ...]], Spot] = {}
        self._passed: deque[Spot] = deque()
        self._due: deque[tuple[Waiter, Answer | Exception]] = deque()

    @property
    def waiting(self) -> int:
        """How many wait."""
        return sum(len(spot.waiters) for spot in self._spots.values())

    # Asking

    def ask(self, connection: Connection, query: Query, waiter: Waiter) -> Steps:
        """Returns the answer, or None where there is none yet: then the waiter gets it.

        Raises:
            CommandError: it may not have it.
            BrokerError: a log cannot be read.
        """
        verb = "subscribe" if query.username is None else "join"
        may_read = []
        for name, since in zip(query.rooms, query.since, strict=True):
            past = since is not None or bool(query.history)
            yield from authorized(connection, (verb, "history") if past else (verb,), name)
            may_read.append(past or (yield from self._may_read(connection, name)))
        watches = [self._take(name) for name in query.rooms]
        try:
            for watch in watches:
                if not watch.room.epoch:
                    yield watch.room.open
            self._enter(connection, query)
            return (yield from self._answer_or_wait(connection, query, watches, may_read, waiter))
        finally:
            for watch in watches:
                self._give_back(watch)

    def _may_read(self, connection: Connection, name: str) -> Steps:
        """Whether somebody who did not ask for the past may have the values of a latest-only room."""
        if not self.hub.policy(name).latest_only:
            return False
        try:
            yield from authorized(connection, ("history",), name)
        except CommandError:
            return False
        return True

    def _enter(self, connection: Connection, query: Query) -> None:
        """Makes the client a member of the rooms, until its poll is answered and its session's grace is over."""
        if not connection.open:
            raise CommandError(CLOSED, "The connection has ended")
        if query.username is None:
            return
        username = shown_name(connection, query.username)
        for room in query.rooms:
            self.hub.enter(connection, *names_of(room, username), keep=True, settled=True)

    def _answer_or_wait(
        self, connection: Connection, query: Query, watches: list[_Watch], may_read: list[bool], waiter: Waiter
    ) -> Steps:
        since = query.since
        while True:
            answer = yield from self._look(watches, since, query.history, may_read)
            if answer.events or answer.recovered is not True or None in since or not query.waits:
                return answer
            if not connection.open:
                raise CommandError(CLOSED, "The connection has ended")
            since = tuple(Since(*place) for place in answer.places)
            if not self._wait(waiter, watches, answer.places).passed:
                return None
            self.forget(waiter)

    def _look(
        self, watches: Sequence[_Watch], since: Sequence[Since | None], history: int, may_read: Sequence[bool]
    ) -> Steps:
        """What there is behind the places in the rooms, as far as it fits into one answer."""
        parts: list[_Part] = []
        for watch, place, reads in zip(watches, since, may_read, strict=True):
            count = MOST_EVENTS - sum(len(part.entries) for part in parts)
            size = MOST_BYTES - sum(part.size for part in parts)
            parts.append((yield from self._look_into(watch.room, place, history, reads, count, size)))
        events = [
            watch.room.item(entry.seq, entry.payload)[1]
            for watch, part in zip(watches, parts, strict=True)
            for entry in part.entries
        ]
        recovered = [part.recovered for part in parts if part.recovered is not None]
        places = tuple(part.place for part in parts)
        more = any(watch.place != place for watch, place in zip(watches, places, strict=True))
        return Answer(events, places, all(recovered) if recovered else None, more=more)

    def _look_into(self, room: Room, since: Since | None, history: int, may_read: bool, count: int, size: int) -> Steps:
        if since is not None and not has(room, since):  # it comes from a node that was told earlier than this one
            yield partial(self.hub.broker.refresh, room.name)
        epoch, recovered = room.epoch, None if since is None else has(room, since)
        after = since.seq if since is not None and recovered else last(room, history, may_read=may_read)
        entries: Sequence[Entry] = ()
        reached = room.head
        if after < reached and count > 0 and size > 0:
            portion: Portion = yield partial(self.hub.broker.read, room.name, after, count, size)
            if recovered and not portion.whole:
                recovered = False
                after = max(last(room, history, may_read=may_read), after)
                if after < room.head:
                    portion = yield partial(self.hub.broker.read, room.name, after, count, size)
                else:
                    portion, reached = Portion((), whole=True), room.head
            entries = out(room, portion)
        elif after < reached:
            reached = after
        if room.epoch != epoch:  # it was lost meanwhile
            return _Part((), Position(room.epoch, room.head), None if since is None else False)
        if entries:
            reached = entries[-1].seq
        return _Part(entries, Position(epoch, reached), recovered, sum(len(entry.payload) for entry in entries))

    # Waiting

    def _wait(self, waiter: Waiter, watches: Sequence[_Watch], places: tuple[Position, ...]) -> Spot:
        key = tuple(watches), places
        spot = self._spots.get(key)
        if spot is None:
            spot = self._spots[key] = Spot(watches, places)
            for watch in watches:
                self._take(watch.room.name)
                watch.spots[spot] = None
        spot.waiters[waiter] = None
        waiter.spot = spot
        return spot

    def forget(self, waiter: Waiter) -> None:
        """It waits no more."""
        spot, waiter.spot = waiter.spot, None
        if spot is not None:
            spot.waiters.pop(waiter, None)
            if not spot.waiters and self._spots.get(spot.key) is spot:
                self._lift(spot)
                self._leave(spot)

    def waits(self, waiter: Waiter) -> bool:
        """Whether there is nothing yet that it is about to be answered with."""
        return waiter.spot is not None and self._spots.get(waiter.spot.key) is waiter.spot

    def hand_over(self, waiter: Waiter, other: Waiter) -> None:
        """Has another wait in the place of one that waits."""
        spot = waiter.spot
        assert spot is not None
        waiter.spot, other.spot = None, spot
        del spot.waiters[waiter]
        spot.waiters[other] = None

    def _lift(self, spot: Spot) -> None:
        """Nobody is to come to the spot any more."""
        del self._spots[spot.key]
        for watch in spot.watches:
            del watch.spots[spot]

    def _leave(self, spot: Spot) -> None:
        for watch in spot.watches:
            self._give_back(watch)

    # Answering

    def wake(self, spots: Sequence[Spot]) -> None:
        """There is something behind the places of these: each is read for, so many a turn."""
        if spots and not self._passed:
            self.hub.runtime.call_soon(self._read_for_some)
        for spot in spots:
            spot.woken = True
            self._passed.append(spot)

    def _read_for_some(self) -> None:
        try:
            for _ in range(min(len(self._passed), READ_FOR_A_TURN)):
                spot = self._passed.popleft()
                if self._spots.get(spot.key) is spot:  # else all have left
                    self._read_for(spot)
        finally:  # whatever one of them does, the others are read for
            if self._passed:
                self.hub.runtime.call_soon(self._read_for_some)

    def _read_for(self, spot: Spot) -> None:
        """Once for all who wait there."""
        self._lift(spot)
        since = [Since(*place) for place in spot.places]
        steps = self._look(spot.watches, since, 0, [True] * len(since))
        Walk(steps, partial(self._woken, spot)).go_on()

    def _woken(self, spot: Spot, answer: Answer | Exception) -> None:
        nothing = isinstance(answer, Answer) and not answer.events and answer.recovered is True
        for waiter in list(spot.waiters):
            if nothing and isinstance(answer, Answer):
                self._wait(waiter, spot.watches, answer.places)
            else:
                self.answer_later(waiter, answer)
        for watch in spot.watches:
            watch.moved()  # it may have, while it was read
        self._leave(spot)

    def answer_later(self, waiter: Waiter, answer: Answer | Exception) -> None:
        """Answers, so many a turn; who is forgotten meanwhile is not answered."""
        if not self._due:
            self.hub.runtime.call_soon(self._answer_some)
        self._due.append((waiter, answer))

    def _answer_some(self) -> None:
        try:
            for _ in range(min(len(self._due), ANSWERED_A_TURN)):
                waiter, answer = self._due.popleft()
                if waiter.spot is not None:
                    self.forget(waiter)
                    self._answer(waiter, answer)
        finally:  # whatever one of them does, the others are answered
            if self._due:
                self.hub.runtime.call_soon(self._answer_some)

    def _answer(self, waiter: Waiter, answer: Answer | Exception) -> None:
        self.hub.counters.polls_answered += 1
        if isinstance(answer, Answer):
            self.hub.counters.events_delivered += len(answer.events)
        waiter.answer(answer)

    # The rooms

    def _take(self, name: str) -> _Watch:
        """The watch of a room, for one more user."""
        watch = self._watches.get(name)
        if watch is None:
            watch = self._watches[name] = _Watch(self, self.hub.room(name))
            watch.open()
        self._unused.pop(watch, None)
        watch.users += 1
        return watch

    def _give_back(self, watch: _Watch) -> None:
        watch.users -= 1
        if watch.users:
            return
        self._unused[watch] = self.hub.runtime.monotonic() + KEPT_OPEN_SECONDS
        if len(self._unused) > MOST_KEPT_OPEN or not watch.room.epoch:
            self._close(watch if not watch.room.epoch else next(iter(self._unused)))

    def _close(self, watch: _Watch) -> None:
        del self._unused[watch]
        del self._watches[watch.room.name]
        watch.close()

    def tick(self) -> None:
        """Closes the rooms that no poll has come for."""
        now = self.hub.runtime.monotonic()
        while self._unused and next(iter(self._unused.values())) <= now:
            self._close(next(iter(self._unused)))
