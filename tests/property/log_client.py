"""A client as the model of the log sees it: what it asked for, where it is, and whether what it hears can be true."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from hubbub.hub.connection import Connection
from hubbub.hub.hub import Hub
from hubbub.wire.codec import Batch, Item
from tests.unit.fakes import RecordingTransport

HELD = 5
"""Events that a room holds."""

Json = dict[str, Any]
Since = Json | Literal["acked"] | None


class Pipe(RecordingTransport):
    """A transport whose peer reads nothing behind so many items.

    Attributes:
        takes: how many items it still takes; None while the peer reads.
    """

    hub: Hub
    connection: Connection
    takes: int | None = None

    def deliver(self, batch: Batch) -> None:
        super().deliver(batch)
        self._fill(len(batch.items))

    def send(self, item: Item) -> None:
        super().send(item)
        self._fill(1)

    def _fill(self, items: int) -> None:
        if self.takes is not None:
            self.takes -= items
            self.buffered = max(-self.takes, 0)
            if self.takes <= 0:
                self.hub.writing_paused(self.connection)

    def drain(self) -> None:
        """The peer has read everything."""
        self.takes, self.buffered = None, 0
        self.hub.writing_resumed(self.connection)


class Truth:
    """What has been seen of the logs: a place holds one text, a text stands in one place."""

    def __init__(self, numbered: Callable[[str], int]) -> None:
        self.numbered = numbered
        self.texts: dict[tuple[str, str, int], str] = {}
        self.places: dict[str, tuple[str, str, int]] = {}
        self.published: dict[str, int] = {}
        self.departures: Counter[tuple[str, str]] = Counter()

    def note(self, room: str, epoch: str, event: Json) -> int:
        """An event is said to stand in a log; returns its seq."""
        place, text = (room, epoch, event["seq"]), event["text"]
        assert event.get("room", room) == room
        assert self.texts.setdefault(place, text) == text
        assert self.places.setdefault(text, place) == place
        return place[2]

    def lost(self, room: str) -> int:
        """The newest seq that the room may have let go of."""
        return self.numbered(room) - HELD

    def after(self, room: str, epoch: str, time: int) -> list[int]:
        """The seqs of what was surely published at a time or later."""
        return [
            seq
            for (name, life, seq), text in self.texts.items()
            if (name, life) == (room, epoch) and self.published[text] >= time
        ]


@dataclass
class Place:
    """Where a client is in a room's log."""

    epoch: str
    at: int
    member: bool = True


@dataclass
class Asked:
    """A command that waits for its reply."""

    kind: str
    room: str = ""
    since: Since = None
    history: int = 0
    keep: bool = True
    text: str = ""
    numbered: int = 1 << 60
    page: Json = field(default_factory=dict)


class Client:
    """One client across its connections.

    Attributes:
        token: of its session; None for a client without one.
        places: the rooms that it is in on this connection, as far as it knows.
        left: the rooms that it has left there; what was on its way may still come.
        positions: where it was in each room when it last heard of it.
        entered: the rooms that it asked to be a member of on this connection.
        acked: what was stored for its session, by room and epoch.
    """

    connection: Connection
    pipe: Pipe

    def __init__(self, name: str, truth: Truth, *, session: bool) -> None:
        self.name = name
        self.truth = truth
        self.session = session
        self.token: str | None = None
        self.online = False
        self.positions: dict[str, Place] = {}
        self.acked: dict[tuple[str, str], int] = {}
        self.attached(Pipe())

    def attached(self, pipe: Pipe) -> None:
        """A new connection begins."""
        self.pipe = pipe
        self.heard = 0
        self.places: dict[str, Place] = {}
        self.left: dict[str, Place] = {}
        self.entered: set[str] = set()
        self.asked: dict[int, Asked] = {}
        self.resumed: dict[str, Since] = {}
        self.presence: Counter[tuple[str, str, str]] = Counter()
        self.ephemeral: set[str] = set()

    def listen(self) -> None:
        """Takes in what has come."""
        events = self.pipe.events
        while self.heard < len(events):
            event = events[self.heard]
            self.heard += 1
            getattr(self, f"_on_{event['type']}")(event)

    def _on_connected(self, event: Json) -> None:
        self.token = event.get("session")

    # Replies

    def _on_room_info(self, info: Json) -> None:
        room, epoch = info["room"], info["epoch"]
        asked = self.asked.pop(info["id"]) if "id" in info else Asked("resume", room, self.resumed.pop(room))
        seqs = [self.truth.note(room, epoch, event) for event in info["messages"]]
        assert seqs == list(range(info["seq"] - len(seqs) + 1, info["seq"] + 1))
        assert info["seq"] <= info["head"] <= self.truth.numbered(room)
        assert info.get("acked", -1) >= self.acked.get((room, epoch), -1)
        self._check_recovered(asked, info, info["seq"] - len(seqs))
        if not asked.keep:
            self._leave([name for name, place in self.places.items() if place.member])
        member = self.name in info["members"]
        assert asked.kind == "resume" or member == (asked.kind == "join")
        self.places[room] = self.positions[room] = Place(epoch, info["seq"], member)
        self.left.pop(room, None)

    def _check_recovered(self, asked: Asked, info: Json, before: int) -> None:
        since, recovered, room = asked.since, info["recovered"], asked.room
        if since == "acked":
            since = {"epoch": info["epoch"], "seq": info["acked"]} if "acked" in info else None
        if since is None:
            assert recovered is None
            assert len(info["messages"]) <= max(asked.history, info["head"] - before)
        elif "time" in since:
            if recovered:
                assert all(seq > before for seq in self.truth.after(room, info["epoch"], since["time"]))
            else:
                assert self.truth.lost(room) > 0
        elif recovered:
            assert (info["epoch"], before) == (since["epoch"], since["seq"])
        elif since["epoch"] == info["epoch"] and since["seq"] <= asked.numbered:
            assert not max(self.truth.lost(room), 0) <= since["seq"] <= info["head"]

    def _leave(self, rooms: Sequence[str]) -> None:
        for room in rooms:
            if room in self.places:
                self.left[room] = self.places.pop(room)

    def _on_ok(self, ok: Json) -> None:
        asked = self.asked.pop(ok["id"])
        getattr(self, f"_did_{asked.kind}")(asked, ok)

    def _did_publish(self, asked: Asked, ok: Json) -> None:
        place = self.places.get(asked.room) or self.left[asked.room]
        if asked.keep:
            self.truth.note(asked.room, place.epoch, {"text": asked.text, "seq": ok["seq"]})
        else:
            assert "seq" not in ok

    def _did_leave(self, asked: Asked, ok: Json) -> None:
        self._leave([asked.room])

    def _did_ack(self, asked: Asked, ok: Json) -> None:
        place = self.places[asked.room]
        known = self.acked.get((asked.room, place.epoch), -1)
        assert known <= ok["seq"] <= self.truth.numbered(asked.room)
        if self.session:
            self.acked[asked.room, place.epoch] = ok["seq"]

    def _did_resume(self, asked: Asked, ok: Json) -> None:
        assert set(ok["missing"]) == set(self.resumed)

    def _did_history(self, asked: Asked, ok: Json) -> None:
        room, page, lost = asked.room, asked.page, self.truth.lost(asked.room)
        seqs = [self.truth.note(room, ok["epoch"], event) for event in ok["messages"]]
        assert seqs == list(range(seqs[0], seqs[0] + len(seqs))) if seqs else True
        assert len(seqs) <= page["limit"]
        at = self.places[room].at
        if "after" in page:
            assert not seqs or seqs[0] == page["after"] + 1 or page["after"] < lost
            full = len(seqs) == page["limit"]
            assert full and seqs[-1] < self.truth.numbered(room) if ok["more"] else not full or seqs[-1] >= at
        elif "before" in page:
            assert not seqs or seqs[-1] == page["before"] - 1 or at < page["before"]
            assert ok["more"] or not seqs or seqs[0] - 1 <= max(lost, 0)

    def _on_error(self, error: Json) -> None:
        asked = self.asked.pop(error["id"])
        ended = error["code"] == "closed"  # it has waited for a client that did not read, until that was gone
        assert ended or (asked.kind in ("publish", "leave", "ack", "history"), error["code"]) == (True, "not_in_room")

    # Events

    def _on_said(self, event: Json) -> None:
        room = event["room"]
        place = self.places.get(room) or self.left[room]
        if "seq" not in event:
            assert event["text"] not in self.ephemeral
            self.ephemeral.add(event["text"])
            return
        seq = self.truth.note(room, place.epoch, event)
        if event.get("redelivered"):
            assert seq <= place.at
        else:
            assert seq == place.at + 1
            place.at = seq

    def _on_gap(self, gap: Json) -> None:
        place = self.places.get(gap["room"]) or self.left[gap["room"]]
        assert gap["epoch"] == place.epoch
        assert place.at < min(gap["seq"], self.truth.lost(gap["room"]))
        place.at = gap["seq"]

    def _on_user_joined(self, event: Json) -> None:
        assert self._count(event) <= self._departures(event) + 1

    def _on_user_left(self, event: Json) -> None:
        assert self._count(event) <= self._departures(event)

    def _on_member_count(self, event: Json) -> None:
        """May come at any time."""

    def _count(self, event: Json) -> int:
        seen = event["type"], event["room"], event["username"]
        self.presence[seen] += 1
        return self.presence[seen]

    def _departures(self, event: Json) -> int:
        return self.truth.departures[event["room"], event["username"]]
