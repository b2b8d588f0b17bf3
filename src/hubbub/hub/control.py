"""What is asked of all nodes at once, from any of them: who is connected, and to put somebody out.

Questions and answers travel through a room that no client can name and every node holds open. Nothing is kept there:
a node that does not answer in time is named in the result, and who asked decides.
"""

from __future__ import annotations

import logging
from bisect import bisect_right
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from heapq import nsmallest
from typing import TYPE_CHECKING, Final, Literal

import msgspec

from hubbub.errors import BrokerError, LocalError
from hubbub.wire.websocket import encode_close

if TYPE_CHECKING:
    from hubbub.hub.connection import Connection
    from hubbub.hub.hub import Hub
    from hubbub.hub.room import Room

log: Final = logging.getLogger("hubbub")
ROOM: Final = "{nodes}"
"""Where nodes ask each other: no client can name it."""
ANSWER_SECONDS: Final = 2.0
"""How long nodes are waited for: a turn of a node under load and two hops take a tenth of that."""
MOST_ASKED: Final = 1000
"""Questions that wait for nodes; beyond, they fail at once."""
MOST_FOUND: Final = 1000
"""Connections on a page."""
NAMES_SECONDS: Final = 1.0
"""How long a list of a thousand rooms and more counts: to sort them all for everybody who asks would cost a core."""
MOST_FOUND_BYTES: Final = 256 << 10
"""About what a node answers with at once: a page is shorter where its connections are in many rooms."""


class ConnectionInfo(msgspec.Struct, frozen=True, kw_only=True):
    """A connection, on whichever node it is.

    Attributes:
        id: its `clientId`.
        node: the `node` of its `connected`.
        user: who it is; empty when anonymous.
        session: the id of its session, by which that can be revoked; empty where it has none.
        rooms: the names of the rooms it is in or has subscribed to.
        address: the client's; empty where it is not known.
        since: when it was opened, Unix milliseconds.
    """

    id: str
    node: str
    user: str
    session: str
    rooms: tuple[str, ...]
    address: str
    since: int


@dataclass(frozen=True, slots=True)
class ConnectionPage:
    """Some of the connections, in the order of their ids.

    Attributes:
        connections: at most as many as were asked for.
        after: to be given for the next page; empty where this is the last.
        silent: nodes that did not answer; theirs are missing.
    """

    connections: tuple[ConnectionInfo, ...]
    after: str
    silent: tuple[str, ...]


class RoomCount(msgspec.Struct, frozen=True):
    """A room that somebody is in, and how many there are, on all nodes."""

    name: str
    count: int


@dataclass(frozen=True, slots=True)
class RoomPage:
    """Some of the rooms that somebody is in, in the order of their names.

    Attributes:
        rooms: at most as many as were asked for.
        after: to be given for the next page; empty where this is the last.
        silent: nodes that did not answer; rooms may be missing.
    """

    rooms: tuple[RoomCount, ...]
    after: str
    silent: tuple[str, ...]


class NodeInfo(msgspec.Struct, tag="described", frozen=True):
    """A node, and what it has.

    Attributes:
        id: the `node` of `connected`.
        connections: that are open on it.
        rooms: that somebody is in there.
        draining: it sends its clients away, because it stops.
    """

    id: str
    connections: int
    rooms: int
    draining: bool


@dataclass(frozen=True, slots=True)
class Disconnected:
    """What became of putting somebody out.

    Attributes:
        count: connections that were closed.
        silent: nodes that did not answer; it may have been there, and whether it was put out is not known.
    """

    count: int
    silent: tuple[str, ...]


class Find(msgspec.Struct, tag="find", frozen=True):
    """Who is connected."""

    user: str
    room: str
    after: str
    limit: int


class Disconnect(msgspec.Struct, tag="disconnect", frozen=True):
    """Close the connections of a user or a session, or one by its id; what is empty is not looked at."""

    user: str
    session: str
    connection: str
    code: int
    reason: str


class FindRooms(msgspec.Struct, tag="find_rooms", frozen=True):
    """Which rooms somebody is in."""

    after: str
    limit: int


class Describe(msgspec.Struct, tag="describe", frozen=True):
    """What a node has."""


class Found(msgspec.Struct, tag="found", frozen=True):
    """The first connections of a node, and whether it has more behind them."""

    connections: list[ConnectionInfo]
    more: bool


class Closed(msgspec.Struct, tag="closed", frozen=True):
    """How many connections a node has closed."""

    count: int


class FoundRooms(msgspec.Struct, tag="found_rooms", frozen=True):
    """The first rooms of a node, and whether it has more behind them."""

    rooms: list[RoomCount]
    more: bool


class Told(msgspec.Struct, tag="told", frozen=True):
    """Something of the application's own, from one node to all others; the version counts as below.

    Attributes:
        tag: tells what it is.
        data: what is told, as MessagePack.
    """

    version: Literal[1]
    node: str
    tag: str
    data: bytes


Question = Find | Disconnect | FindRooms | Describe
Answer = Found | Closed | FoundRooms | NodeInfo


class Asked(msgspec.Struct, tag="asked", frozen=True):
    """A question to all nodes. The version counts for both kinds: what has another one is not understood."""

    version: Literal[1]
    nonce: str
    question: Question


class Answered(msgspec.Struct, tag="answered", frozen=True):
    """What a node says to a question."""

    version: Literal[1]
    nonce: str
    node: str
    answer: Answer


Done = Callable[[Sequence[Answer] | BrokerError, tuple[str, ...]], None]
"""Called with the answers, and with the nodes that have not answered; or with why nobody could be asked."""

_decode = msgspec.msgpack.Decoder(Asked | Answered | Told).decode
_encode = msgspec.msgpack.Encoder().encode


@dataclass(slots=True)
class Poll:
    """A question whose answers come in: from whom they are missing, and until when they are waited for."""

    waiting: set[str]
    until: float
    done: Done
    answers: list[Answer] = field(default_factory=list)


class Control:
    """The questions of one node, and its answers to those of others.

    Attributes:
        opened: others reach this node; nobody may be let in before.
        hear: called with what other nodes tell: who, its tag, and what. It is the application's, and never raises.
    """

    def __init__(self, hub: Hub) -> None:
        self.opened = False
        self.hear: Callable[[str, str, bytes], None] = _heed_nothing
        self._hub = hub
        self._room: Room | None = None
        self._polls: dict[str, Poll] = {}
        self._names: list[str] = []
        self._names_at = 0.0

    def open(self, opened: Callable[[BrokerError | None], None]) -> None:
        """Opens the room where it is not open, and calls back."""
        if self._room is None:
            self._room = self._hub.room(ROOM)
            self._room.holds = 1  # for ever

        def answered(error: BrokerError | None) -> None:
            self.opened = error is None
            opened(error)

        self._room.open(answered)

    def ask(self, question: Question, done: Done) -> None:
        """Asks all nodes that live, this one first, and calls back once all have answered, or it took too long.

        Raises:
            LocalError: its close code may not be sent.
        """
        _check(question)

        def know(nodes: Sequence[str] | BrokerError) -> None:
            if isinstance(nodes, BrokerError):
                done(nodes, ())
            elif len(self._polls) >= MOST_ASKED:
                done(BrokerError(f"{MOST_ASKED} questions wait for other nodes"), ())
            else:
                self._ask(question, {*nodes} - {self._hub.broker.node_id}, done)

        self._hub.broker.nodes(know)

    def _ask(self, question: Question, others: set[str], done: Done) -> None:
        answer = self._answer(question)
        if not others:
            done([answer], ())
            return
        nonce = self._hub.runtime.new_id()
        until = self._hub.runtime.monotonic() + ANSWER_SECONDS
        self._polls[nonce] = Poll(others, until, done, [answer])
        self._hub.broker.tell(ROOM, [_encode(Asked(1, nonce, question))])

    def tell(self, tag: str, data: bytes) -> None:
        """Tells all other nodes; it may be lost, as before the room is open."""
        if self.opened:
            self._hub.broker.tell(ROOM, [_encode(Told(1, self._hub.broker.node_id, tag, data))])

    def told(self, payloads: Sequence[bytes]) -> None:
        """Other nodes have asked, answered, or told something."""
        for payload in payloads:
            try:
                self._take(_decode(payload))
            except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError, LocalError) as error:
                self._hub.counters.control_dropped += 1
                log.warning("what another node has said was dropped: %s", error)

    def _take(self, message: Asked | Answered | Told) -> None:
        if isinstance(message, Told):
            self.hear(message.node, message.tag, message.data)
            return
        if isinstance(message, Asked):
            _check(message.question)
            answer = self._answer(message.question)
            said = Answered(1, message.nonce, self._hub.broker.node_id, answer)
            self._hub.broker.tell(ROOM, [_encode(said)])
            return
        poll = self._polls.get(message.nonce)
        if poll is not None and message.node in poll.waiting:
            poll.waiting.discard(message.node)
            poll.answers.append(message.answer)
            if not poll.waiting:
                self._finish(message.nonce)

    def tick(self) -> None:
        """Gives up on nodes that do not answer."""
        now = self._hub.runtime.monotonic()
        for nonce in [nonce for nonce, poll in self._polls.items() if poll.until <= now]:
            self._finish(nonce)

    def end(self) -> None:
        """The node stops: what is known so far is all."""
        for nonce in list(self._polls):
            self._finish(nonce)

    def _finish(self, nonce: str) -> None:
        poll = self._polls.pop(nonce)
        poll.done(poll.answers, tuple(sorted(poll.waiting)))

    # What this node answers

    def _answer(self, question: Question) -> Answer:
        match question:
            case Find():
                return self._find(question)
            case Disconnect():
                return Closed(self._disconnect(question))
            case FindRooms():
                return self._find_rooms(question)
            case Describe():
                hub = self._hub
                draining = hub.draining.begun
                return NodeInfo(hub.broker.node_id, len(hub.connections), len(self._room_names()), draining)

    def _find_rooms(self, question: FindRooms) -> FoundRooms:
        names, limit = self._room_names(), max(min(question.limit, MOST_FOUND), 1)
        first = bisect_right(names, question.after)
        rooms = [(name, self._hub.rooms.get(name)) for name in names[first : first + limit]]
        counts = [RoomCount(name, room.count) for name, room in rooms if room is not None and room.count]
        return FoundRooms(counts, len(names) > first + limit)

    def _room_names(self) -> list[str]:
        """The rooms that somebody is in here, sorted; where there are many, as they were less than a second ago."""
        now = self._hub.runtime.monotonic()
        if len(self._names) < MOST_FOUND or now - self._names_at >= NAMES_SECONDS:
            self._names = sorted(name for name, room in self._hub.rooms.items() if room.roster.anybody_here)
            self._names_at = now
        return self._names

    def _find(self, question: Find) -> Found:
        limit = max(min(question.limit, MOST_FOUND), 1)
        behind = (each for each in self._candidates(question) if each.id > question.after)
        first = nsmallest(limit + 1, behind, key=lambda connection: connection.id)
        found: list[ConnectionInfo] = []
        size = 0
        for connection in first[:limit]:
            found.append(self._info(connection))
            size += len(_encode(found[-1]))
            if size > MOST_FOUND_BYTES:
                break
        return Found(found, len(first) > len(found))

    def _candidates(self, question: Find) -> Iterable[Connection]:
        user, room = question.user, question.room
        if room:
            known = self._hub.rooms.get(room)
            members = known.members if known is not None else ()
            connections = {member.connection for member in members if member.connection.open}
        else:
            connections = self._hub.connections
        return [each for each in connections if each.identity.user == user] if user else connections

    def _info(self, connection: Connection) -> ConnectionInfo:
        return ConnectionInfo(
            id=connection.id,
            node=self._hub.broker.node_id,
            user=connection.identity.user,
            session=connection.session.id if connection.session is not None else "",
            rooms=tuple(room.name for room in connection.rooms),
            address=connection.remote[0] if connection.remote else "",
            since=connection.since,
        )

    def _disconnect(self, question: Disconnect) -> int:
        found = _meant(self._hub.connections, question)
        for connection in found:
            try:
                connection._backlog = None  # what it has sent and waits to be carried out is not
                self._hub.close(connection, question.code, question.reason)
            except Exception:  # one connection's failure must not keep the others in
                log.exception("a connection that was to be disconnected could not be closed")
        waiting = {member: member.connection for member in self._hub.sessions.waiting()}
        lost = set(_meant(waiting.values(), question))
        for member in [member for member, connection in waiting.items() if connection in lost]:
            session = member.connection.session
            if session is not None and session.members.pop(member, None) is not None:
                self._hub.give_up(member)
        return len(found)


def _heed_nothing(node: str, tag: str, data: bytes) -> None:
    """Nobody listens here."""


def _check(question: Question) -> None:
    """Raises LocalError for a close code that may not be sent."""
    if isinstance(question, Disconnect):
        encode_close(question.code, question.reason)


def _meant(connections: Iterable[Connection], question: Disconnect) -> list[Connection]:
    """Those that are to be closed."""
    if question.connection:
        return [each for each in connections if each.id == question.connection]
    if question.session:
        return [each for each in connections if each.session is not None and each.session.id == question.session]
    return [each for each in connections if each.identity.user == question.user] if question.user else []


def page_of(limit: int, answers: Sequence[Answer], silent: tuple[str, ...]) -> ConnectionPage:
    """What several nodes have found, as one page: up to the first place behind which one of them knows more."""
    found = [answer for answer in answers if isinstance(answer, Found)]
    bounds = [answer.connections[-1].id for answer in found if answer.more and answer.connections]
    merged = sorted((info for answer in found for info in answer.connections), key=lambda info: info.id)
    whole = [info for info in merged if not bounds or info.id <= min(bounds)]
    page = tuple(whole[:limit])
    more = page and (bounds or len(page) < len(merged))
    return ConnectionPage(page, page[-1].id if more else "", silent)


def rooms_of(limit: int, answers: Sequence[Answer], silent: tuple[str, ...]) -> RoomPage:
    """The rooms of several nodes as one page, as `page_of`."""
    found = [answer for answer in answers if isinstance(answer, FoundRooms)]
    bounds = [answer.rooms[-1].name for answer in found if answer.more and answer.rooms]
    counts: dict[str, int] = {}
    for room in (room for answer in found for room in answer.rooms):
        counts[room.name] = max(room.count, counts.get(room.name, 0))
    whole = [RoomCount(name, counts[name]) for name in sorted(counts) if not bounds or name <= min(bounds)]
    page = tuple(whole[:limit])
    more = page and (bounds or len(page) < len(counts))
    return RoomPage(page, page[-1].name if more else "", silent)


def sum_of(answers: Sequence[Answer], silent: tuple[str, ...]) -> Disconnected:
    """How many connections the nodes have closed together."""
    return Disconnected(sum(answer.count for answer in answers if isinstance(answer, Closed)), silent)
