"""hub: rooms and members against a model that knows no batches, slices or turns, only moments."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    Bundle,
    MultipleResults,
    RuleBasedStateMachine,
    consumes,
    initialize,
    invariant,
    multiple,
    precondition,
    rule,
)

from hubbub.config import Config, Rooms
from hubbub.hub.connection import Connection
from tests.unit.fakes import Bench, Said, tape

NEVER = 1 << 60
NAMES = ("one", "two")
rooms = st.sampled_from(NAMES)
usernames = st.sampled_from(["ada", "bob", "ada "])  # two members may have the same name


@dataclass
class Published:
    """An event: when it was published and when it was kept and handed to the members."""

    content: dict[str, Any]
    kept: bool
    exclude: Connection | None
    at: int
    flushed_at: int = NEVER


@dataclass
class Stay:
    """From when until when somebody was in a room, and whether the connection was lost at the end."""

    member: Connection
    username: str
    since: int
    until: int = NEVER
    lost: bool = False

    def hears(self, event: Published) -> bool:
        if event.exclude is self.member or event.flushed_at == NEVER:
            return False
        came = self.since < (event.flushed_at if event.kept else event.at)
        return came and (event.flushed_at if self.lost else event.at) < self.until


@dataclass
class ModelRoom:
    """Everything that was ever published in a room, and everybody who was ever in it."""

    events: list[Published] = field(default_factory=list)
    stays: list[Stay] = field(default_factory=list)

    @property
    def present(self) -> list[Stay]:
        return [stay for stay in self.stays if stay.until == NEVER]

    def flush(self, now: int) -> None:
        for event in self.events:
            event.flushed_at = min(event.flushed_at, now)

    def head(self) -> int:
        return sum(event.kept for event in self.events if event.flushed_at != NEVER)

    def heard_by(self, member: Connection) -> list[dict[str, Any]]:
        stays = [stay for stay in self.stays if stay.member is member]
        return [event.content for event in self.events if any(stay.hears(event) for stay in stays)]


class RoomMachine(RuleBasedStateMachine):
    """Does at random what clients and handlers do, to the hub and to the model."""

    connections: Bundle[Connection] = Bundle("connections")

    def __init__(self) -> None:
        super().__init__()
        self.now = 0
        self.model: dict[str, ModelRoom] = {}
        self.joined: dict[Connection, list[str]] = {}
        self.lost: set[Connection] = set()

    @initialize(target=connections, fanout_slice=st.sampled_from([1, 2, 512]))
    def start(self, fanout_slice: int) -> MultipleResults[Connection]:
        self.bench = Bench(Config(rooms=Rooms(fanout_slice=fanout_slice)))
        self.model = {name: ModelRoom() for name in NAMES}
        members = [self._connect() for _ in range(3)]
        for member in members:
            self._join(member, "one", "ada", keep=False)
        return multiple(*members)

    def moment(self) -> int:
        self.now += 1
        return self.now

    # What connections do

    @rule(target=connections)
    def connect(self) -> Connection:
        return self._connect()

    @rule(connection=connections, name=rooms, username=usernames, keep=st.booleans())
    def join(self, connection: Connection, name: str, username: str, keep: bool) -> None:
        self._join(connection, name, username, keep=keep)

    def _connect(self) -> Connection:
        connection = self.bench.connect()
        self.joined[connection] = []
        return connection

    def _join(self, connection: Connection, name: str, username: str, *, keep: bool) -> None:
        member = self.bench.hub.join(connection, name, username, keep=keep)
        for left in list(self.joined[connection]):
            if left == name or not keep:
                self._leave(connection, left, lost=False)
        model = self.model[name]
        self._announce(name, "user_joined", username.strip(), len(model.present) + 1)
        model.stays.append(Stay(connection, username.strip(), self.moment()))
        self.joined[connection].append(name)
        room = member.room
        assert (room.shown_to(member)[0], room.head) == ([stay.username for stay in model.present], model.head())

    @precondition(lambda self: any(self.joined.values()))
    @rule(connection=connections, data=st.data())
    def leave(self, connection: Connection, data: st.DataObject) -> None:
        if self.joined[connection]:
            name = data.draw(st.sampled_from(self.joined[connection]))
            self.bench.hub.leave(connection, name)
            self._leave(connection, name, lost=False)

    @rule(connection=consumes(connections))
    def close(self, connection: Connection) -> None:
        self.bench.hub.close(connection, 1000)
        self._end(connection, lost=False)

    @rule(connection=consumes(connections))
    def lose(self, connection: Connection) -> None:
        self.bench.hub.lost(connection)
        self._end(connection, lost=True)

    # What handlers do

    @rule(name=rooms, kept=st.booleans(), exclude=st.none() | connections)
    def publish(self, name: str, kept: bool, exclude: Connection | None) -> None:
        model, at = self.model[name], self.moment()
        self.bench.hub.room(name).publish(Said(f"at {at}"), keep=kept, exclude=exclude)
        content: dict[str, Any] = {"type": "said", "text": f"at {at}", "room": name}
        if kept:
            content |= {"seq": 1 + sum(event.kept for event in model.events)}
        model.events.append(Published(content, kept, exclude, at))

    # What the loop does

    @rule()
    def turn(self) -> None:
        self.bench.runtime.turn()
        self._flush_all()

    @rule()
    def settle(self) -> None:
        self.bench.runtime.settle()
        self._flush_all()
        for connection in self.joined:
            if connection not in self.lost:
                self._compare(connection)

    # The model's side

    def _flush_all(self) -> None:
        for model in self.model.values():
            model.flush(self.moment())

    def _end(self, connection: Connection, *, lost: bool) -> None:
        for name in list(self.joined[connection]):
            self._leave(connection, name, lost=lost)
        if lost:
            self.lost.add(connection)
        assert (connection.open, connection.rooms) == (False, ())

    def _leave(self, connection: Connection, name: str, *, lost: bool) -> None:
        model = self.model[name]
        if not lost:
            model.flush(self.moment())
        (stay,) = (stay for stay in model.present if stay.member is connection)
        stay.until, stay.lost = self.moment(), lost
        self.joined[connection].remove(name)
        self._announce(name, "user_left", stay.username, len(model.present))

    def _announce(self, name: str, kind: str, username: str, count: int) -> None:
        model = self.model[name]
        if model.present:
            content = {"type": kind, "username": username, "memberCount": count, "timestamp": 1_000_000, "room": name}
            model.events.append(Published(content, False, None, self.moment()))

    def _compare(self, connection: Connection) -> None:
        for name, model in self.model.items():
            assert self._received(connection, name) == model.heard_by(connection)

    def _received(self, connection: Connection, name: str) -> list[dict[str, Any]]:
        return [event for event in tape(connection).events if event["room"] == name]

    # What always holds

    @invariant()
    def members_are_those_of_the_model(self) -> None:
        for name, model in self.model.items():
            members = [(member.connection, member.username) for member in self.bench.hub.room(name).members]
            assert members == [(stay.member, stay.username) for stay in model.present]

    @invariant()
    def connections_know_their_rooms(self) -> None:
        for connection, names in self.joined.items():
            assert [room.name for room in connection.rooms] == names

    @invariant()
    def nobody_hears_what_the_model_does_not_know(self) -> None:
        for connection in self.joined:
            for name, model in self.model.items():
                received = self._received(connection, name)
                assert received == model.heard_by(connection)[: len(received)]

    def teardown(self) -> None:
        if self.model:
            self.settle()


TestRooms = RoomMachine.TestCase
TestRooms.settings = settings(max_examples=100, stateful_step_count=60)
