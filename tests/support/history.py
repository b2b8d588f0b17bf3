"""Checks what clients sent and received, as it comes: one dense order in each room, nothing lost, nothing twice."""

from __future__ import annotations

import unicodedata
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from tests.support.ledger import LONGEST_ID, Ledger, Message, Sent

# Have a room and a seq, and are no events that a room keeps.
NOT_KEPT = frozenset(("connected", "ok", "error", "warning", "room_info", "gap", "seen", "typing"))
ENTERING = frozenset(("join", "subscribe"))
JOIN_REFUSALS = frozenset(("invalid_join", "invalid_name", "too_many_rooms"))
# Their `ok` may have a seq, but nothing was published.
ASKING = frozenset(("join", "subscribe", "unsubscribe", "leave", "ping", "presence", "ack", "history", "receipts"))
LONGEST_ROOM = 50

Id = tuple[str, int | str]


def room_name(given: object) -> str:
    """The name that the server makes of the one that a client gives."""
    return unicodedata.normalize("NFC", given.strip())[:LONGEST_ROOM] if isinstance(given, str) else ""


def _id_of(message: Message) -> Id | None:
    """A key for the `id`: 1 and true are equal in Python."""
    id = message.get("id")
    valid = type(id) is int or (isinstance(id, str) and len(id) <= LONGEST_ID)
    return (type(id).__name__, id) if valid else None  # type: ignore[return-value]


class History:
    """All clients of a test.

    Args:
        latest: rooms of which only the newest counts: they may have holes.
        must_recover: whether `recovered: false` is a violation wherever it comes.
        nodes: how many there are; of several each may be told a moment after the others of what was kept.
    """

    def __init__(self, *, latest: tuple[str, ...] = (), must_recover: bool = False, nodes: int = 1) -> None:
        self.latest = set(latest)
        self.must_recover = must_recover
        self.nodes = nodes
        self.ledger = Ledger()
        self._clients: dict[str, Client] = {}

    def client(self, name: str) -> Client:
        """The client of this name, new or known."""
        if name not in self._clients:
            self._clients[name] = Client(self, name)
        return self._clients[name]

    def check(self, *, answered: bool = False) -> list[str]:
        """All violations so far.

        Args:
            answered: connections that are open must have the replies to all ids by now.
        """
        silent = [line for client in self._clients.values() for line in client.unanswered()] if answered else []
        return [*self.ledger.violations, *silent]

    def assert_kept(self, *, answered: bool = False) -> None:
        """Raises AssertionError, with the violations, when there are any."""
        violations = self.check(answered=answered)
        assert not violations, f"{len(violations)} violations:\n" + "\n".join(violations[:50])


@dataclass(slots=True)
class _Join:
    """A `join`, `subscribe` or part of a `resume` without its answer; `heads` as they were known then."""

    kind: str
    room: str
    since: Any
    keep: bool
    id: Id | None
    heads: dict[str, int]


@dataclass(slots=True)
class _Connection:
    """One connection of a client: where it stands in each room, and what it waits for."""

    sender: str = ""
    all_sent_known: bool = True
    sent: int = 0
    open: dict[int, Sent] = field(default_factory=dict)
    ids: dict[Id, list[int]] = field(default_factory=dict)
    joins: list[_Join] = field(default_factory=list)
    cursors: dict[str, tuple[str, int]] = field(default_factory=dict)
    joined: list[str] = field(default_factory=list)


class Client:
    """Records for one client, over all its connections.

    Attributes:
        name: as violations have it.
        positions: the last known epoch and seq in each room, also after the connection's end.
    """

    def __init__(self, history: History, name: str) -> None:
        self.name = name
        self.positions: dict[str, tuple[str, int]] = {}
        self._history = history
        self._ledger = history.ledger
        self._connections = 0
        self._now = _Connection()
        self.connected()

    def connected(self) -> None:
        """A new connection begins."""
        self._connections += 1
        self._now = _Connection(sender=f"{self.name}#{self._connections}")

    def disconnected(self) -> None:
        """The connection ended; nobody waits for replies any longer."""
        self._now = _Connection(sender=self._now.sender)

    def sends_unrecorded(self) -> None:
        """From now on this connection sends what is not recorded here."""
        self._now.all_sent_known = False

    def since(self, room: str) -> Message | None:
        """The position in a room as a `join` carries it; None before the first room_info."""
        epoch, seq = self.positions.get(room, ("", 0))
        return {"epoch": epoch, "seq": seq} if epoch else None

    def unanswered(self) -> list[str]:
        """A sentence for each id without a reply."""
        return [f"{self.name}: {sent.command} was not answered" for sent in self._now.open.values()]

    # What is sent

    def sent(self, command: Message) -> None:
        """A command is sent."""
        now = self._now
        kind, id = str(command.get("type")), _id_of(command)
        sent = self._ledger.send(now.sender, command)
        now.sent += 1
        if id is not None:
            now.open[now.sent] = sent
            now.ids.setdefault(id, []).append(now.sent)
        if kind in ENTERING:
            self._enters(kind, command.get("room"), command.get("since"), bool(command.get("keep")), id)
        elif kind == "resume" and isinstance(command.get("rooms"), dict):
            for room, since in command["rooms"].items():
                self._enters("resume", room, since, True, None)
        elif kind in ("leave", "unsubscribe") and id is None:
            self._drop_joined(room_name(command.get("room")))

    def _enters(self, kind: str, room: object, since: Any, keep: bool, id: Id | None) -> None:
        name = room_name(room)
        self._now.joins.append(_Join(kind, name, since, keep, id, dict(self._ledger.heads.get(name, {}))))

    # What is received

    def received(self, event: Message) -> None:
        """An event comes."""
        match event.get("type"):
            case "connected":
                self._now.sender = event.get("session") or event.get("clientId") or self._now.sender
            case "room_info":
                self._room_info(event)
            case "gap":
                self._gap(event)
            case "error" if "id" not in event and event.get("code") in JOIN_REFUSALS:
                self._take_join(lambda join: join.id is None and join.kind in ENTERING)
            case kind if kind not in NOT_KEPT and type(event.get("seq")) is int and "room" in event:
                self._kept(event)
        if "id" in event and event.get("type") in ("ok", "error", "room_info"):
            self._reply(event)

    def _kept(self, event: Message) -> None:
        """A live event: the next one, or one that comes again and says so."""
        room, seq = event["room"], event["seq"]
        if room not in self._now.cursors:
            self._violated(room, seq, f"came from a room that it is not in: {event}")
            return
        epoch, position = self._now.cursors[room]
        if event.get("redelivered"):
            if seq > position:
                self._violated(room, seq, f"was delivered again before the first time; the position is {position}")
        else:
            self._step(room, position, seq)
            self._stand(room, epoch, max(seq, position))
        self._ledger.saw(self.name, (room, epoch, seq), event)

    def _step(self, room: str, position: int, seq: int) -> None:
        """From one position to the next there is nothing between."""
        if seq <= position:
            self._violated(room, seq, f"came twice or out of order, after {position}")
        elif seq != position + 1 and room not in self._history.latest:
            self._violated(room, seq, f"came after {position}: {seq - position - 1} are missing")

    def _gap(self, event: Message) -> None:
        room, seq = event["room"], event["seq"]
        epoch, position = self._now.cursors.get(room, ("", 0))
        if seq < position and event["epoch"] == epoch:
            self._violated(room, seq, f"a gap leads back from {position}")
        self._stand(room, event["epoch"], seq)

    def _stand(self, room: str, epoch: str, seq: int) -> None:
        self._now.cursors[room] = self.positions[room] = (epoch, seq)

    # Entering a room

    def _room_info(self, info: Message) -> None:
        room, epoch, seq, id = info["room"], info["epoch"], int(info["seq"]), _id_of(info)
        head = int(info.get("head", seq))
        join = self._take_join(lambda join: join.room == room and join.id == id)
        start = None
        if join is not None:
            start = self._recovered_from(info, join)
            known = join.heads.get(epoch, 0)
            if head < known and self._history.nodes == 1:
                self._violated(room, known, f"is lost: the room ends at {head}")
            self._enter(join)
        self._ends_at(info, self._messages(info, start))
        if seq > head:
            self._violated(room, seq, f"is behind the head, {head}")
        self._stand(room, epoch, seq)

    def _ends_at(self, info: Message, end: int | None) -> None:
        """Where `messages` end is where one is."""
        if end not in (None, info["seq"]) and info["room"] not in self._history.latest:
            self._violated(info["room"], info["seq"], f"is said to be the position, but what came ends at {end}")

    def _take_join(self, wanted: Callable[[_Join], bool]) -> _Join | None:
        joins = self._now.joins
        for number, join in enumerate(joins):
            if wanted(join):
                return joins.pop(number)
        return None

    def _enter(self, join: _Join) -> None:
        now = self._now
        if join.kind == "join" and not join.keep:
            for room in now.joined:
                now.cursors.pop(room, None)
            now.joined.clear()
        self._drop_joined(join.room)
        if join.kind != "subscribe":
            now.joined.append(join.room)

    def _drop_joined(self, room: str) -> None:
        if room in self._now.joined:
            self._now.joined.remove(room)

    def _recovered_from(self, info: Message, join: _Join) -> int | None:
        """The seq behind which everything must come; None when nothing was promised."""
        recovered, since, seq = info.get("recovered"), join.since, info["seq"]
        if "recovered" not in info:
            return None
        if recovered and since is None:
            self._violated(join.room, seq, "recovered, without a `since`")
        if recovered is False and self._history.must_recover:
            self._violated(join.room, seq, f"was not recovered since {since}: {_without_messages(info)}")
        if since == "acked" and recovered:
            return int(info.get("acked", 0))
        if not isinstance(since, dict) or "seq" not in since:
            return None
        same = since.get("epoch") == info["epoch"]
        if recovered is None or (recovered and not same):
            self._violated(join.room, seq, f"since {since}, the answer is recovered {recovered} in {info['epoch']}")
        if recovered is False and same and since["seq"] == info.get("head", seq):
            self._violated(join.room, seq, "is the position and the head: nothing is missing, so it is recovered")
        return int(since["seq"]) if recovered and same else None

    def _messages(self, reply: Message, start: int | None) -> int | None:
        """A run of kept events, behind `start` when that is given; where it ends."""
        position = start
        for event in reply.get("messages", []):
            if event.get("room") != reply["room"]:
                self._violated(reply["room"], event["seq"], f"is of another room: {event}")
            if position is not None:
                self._step(reply["room"], position, event["seq"])
            position = event["seq"]
            self._ledger.saw(self.name, (reply["room"], reply["epoch"], event["seq"]), event)
        return position

    # Replies

    def _reply(self, event: Message) -> None:
        id = _id_of(event)
        if id is None or not self._now.ids.get(id):
            if self._now.all_sent_known:
                why = "a second reply to" if id in self._now.ids else "a reply to what was never asked,"
                self.violated(f"{why} id {event['id']!r}: {event}")
            return
        number = self._now.ids[id].pop(0)
        sent = self._now.open.pop(number, None)
        if sent is None:
            return
        kind = str(sent.command.get("type"))
        if event["type"] == "error":
            self._take_join(lambda join: join.id == id)
        elif event["type"] == "ok":
            self._ok(kind, number, sent, event)

    def _ok(self, kind: str, number: int, sent: Sent, event: Message) -> None:
        room = room_name(sent.command.get("room"))
        match kind:
            case "leave" | "unsubscribe":
                self._drop_joined(room)
                self._now.cursors.pop(room, None)
            case "resume":
                self._now.joins = [join for join in self._now.joins if join.kind != "resume"]
            case "history":
                self._messages(event, None)
            case "ping":
                self._barrier(number)
        if kind not in ASKING and type(event.get("seq")) is int:
            self._published(sent, event)

    def _barrier(self, number: int) -> None:
        """Nothing that was sent before is without its reply."""
        while self._now.open and (first := next(iter(self._now.open))) < number:
            self.violated(f"{self._now.open.pop(first).command} was not answered before the ping after it")

    def _published(self, sent: Sent, ok: Message) -> None:
        room = room_name(sent.command.get("room")) or (self._now.joined[-1] if self._now.joined else "")
        if room not in self._now.cursors:
            return
        epoch, position = self._now.cursors[room]
        if ok["seq"] <= position and not sent.repeated:
            self._violated(room, ok["seq"], f"the event came before its ok, {ok}")
        self._ledger.acknowledge(self.name, self._now.sender, (room, epoch, ok["seq"]), sent)

    def _violated(self, room: str, seq: int, what: str) -> None:
        self.violated(f"room {room!r}, seq {seq}: {what}")

    def violated(self, what: str) -> None:
        """Adds a violation of this client's."""
        self._ledger.violations.append(f"{self.name}, {what}")


def _without_messages(info: Message) -> Message:
    return {name: value for name, value in info.items() if name not in ("messages", "members")}
