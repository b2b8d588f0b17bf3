"""hub: clients come, go, stall and come back; what they hear is one dense log, whatever the broker and its delays."""

from __future__ import annotations

import atexit
import json
import sqlite3
import tempfile
from collections import deque
from collections.abc import Callable
from pathlib import Path
from queue import SimpleQueue
from typing import Any

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from hubbub.brokers.memory import MemoryBroker, _Log
from hubbub.brokers.sqlite import SqliteBroker
from hubbub.config import Config, Limits, Rooms
from hubbub.hub.commands import BUILT_IN
from hubbub.hub.connection import Connection
from hubbub.hub.dispatch import CommandEndpoint
from hubbub.hub.ports import Portion, Retention
from hubbub.hub.publication import Publication
from hubbub.wire.messages import Command
from tests.property.log_client import HELD, Asked, Client, Pipe, Place, Since, Truth
from tests.unit.fakes import Bench, FakeRuntime, LateBroker

# What a process leaves behind when it ends is there all the same, and no disk is waited for.
IN_MEMORY = "/dev/shm" if Path("/dev/shm").is_dir() else None
GRACE, SESSION = 15.0, 120.0
NAMES = ("one", "two")
CLIENTS = ("ada", "bob", "cid", "dan")  # dan has no session
clients = st.sampled_from(range(len(CLIENTS)))
rooms = st.sampled_from(["one", "one", "two"])
places = st.sampled_from(["none", "here", "here", "old", "start", "future", "epoch", "time", "acked"])


class Say(Command, tag="say"):
    """Publishes a text as the test wants it."""

    text: str
    room: str
    keep: bool = True
    confirm: bool = False
    message_id: str = ""


def say(connection: Connection, command: Say) -> Publication:
    room = connection.member(command.room).room
    once = connection.once(command.message_id, command.text) if command.keep else None
    event: dict[str, object] = {"type": "said", "text": command.text}
    return room.publish(event, keep=command.keep, once=once, confirm=command.confirm and command.keep)


# The brokers: each says what it has numbered and holds, and answers when it is told to


class PromptBroker(MemoryBroker):
    """Answers at once."""

    late = False

    def _log_of(self, room: str) -> _Log | None:
        return self._used.get(room) or self._unused.get(room, (None, 0))[0]

    def numbered(self, room: str) -> int:
        log = self._log_of(room)
        return log.ring.head if log else 0

    def held(self, room: str) -> list[tuple[str, int, str]]:
        log = self._log_of(room)
        found: Portion = log.ring.read(0, HELD, 1 << 20) if log else Portion((), True)
        return [(log.epoch, entry.seq, json.loads(entry.payload)["text"]) for entry in found.entries] if log else []

    def answer(self, count: int | None = None) -> None:
        """Nothing waits."""

    def end(self) -> None:
        """Nothing is held open."""


class SlowBroker(LateBroker, PromptBroker):
    """Answers everything late."""

    late = True

    def __init__(self, *args: Any) -> None:
        super().__init__(*args)
        self.reads_late = True

    answer = LateBroker.answer


class FileBroker(SqliteBroker):
    """Has its threads do one thing after the other, so that every run is the same; answers when told to."""

    late = True

    def __init__(self, path: Path, retention: Any, now_ms: Callable[[], int]) -> None:
        self._posted: SimpleQueue[Callable[[], None]] = SimpleQueue()
        self._late: deque[Callable[[], None]] = deque()
        super().__init__(path, retention, now_ms, self._posted.put, "OFF")

    def _put(self, *args: Any) -> None:
        super()._put(*args)
        self._late.append(self._posted.get(timeout=20))

    def _ask(self, *args: Any) -> None:
        super()._ask(*args)
        self._late.append(self._posted.get(timeout=20))

    def answer(self, count: int | None = None) -> None:
        for _ in range(len(self._late) if count is None else min(count, len(self._late))):
            self._late.popleft()()

    def numbered(self, room: str) -> int:
        return self._rooms[room].head if room in self._rooms else 0

    def held(self, room: str) -> list[tuple[str, int, str]]:
        sql = "SELECT epoch, seq, payload FROM event JOIN room ON room.id = room WHERE name = ? ORDER BY seq"
        with sqlite3.connect(self._path) as file:
            rows = file.execute(sql, (room,)).fetchall()
        file.close()
        return [(epoch, seq, json.loads(payload)["text"]) for epoch, seq, payload in rows]

    def end(self) -> None:
        """As the end of the process: what is in the file stays, no answer is given any more."""
        atexit.unregister(self._at_exit)
        self._changes.put(None)
        self._questions.put(None)
        self._writer.join()
        self._reader.join()
        self._file.close()


AnyBroker = PromptBroker | SlowBroker | FileBroker


class LogMachine(RuleBasedStateMachine):
    """Does at random what clients, networks, brokers and clocks do."""

    survives = False

    def __init__(self) -> None:
        super().__init__()
        self.runtime = FakeRuntime()
        self.lives = 0
        self.serial = 0
        self.heads: dict[str, int] = {}
        self.truth = Truth(self.numbered)
        self.clients = [Client(name, self.truth, session=name != "dan") for name in CLIENTS]
        self.waiting: dict[tuple[Client, str], float] = {}
        self.known: dict[Client, tuple[int, float]] = {}  # the life that knows its session, and since when it is away
        self.sent: dict[Client, list[Asked]] = {client: [] for client in self.clients}

    def make_broker(self, *args: Any) -> Any:
        raise NotImplementedError

    @initialize(fanout_slice=st.sampled_from([1, 2, 512]))
    def start(self, fanout_slice: int) -> None:
        self.config = Config(limits=Limits(rate_limit=0), rooms=Rooms(fanout_slice=fanout_slice))
        self._begin_life()
        for index in range(3):
            self.join(index, "one", keep=True, kind="none", history=0)

    def _begin_life(self) -> None:
        def broker(_: object, retention: Callable[[str], Retention], most: int, now: Callable[[], int]) -> Any:
            return self.make_broker(self.runtime.new_id, retention, most, now)

        self.bench = Bench(
            self.config,
            broker=broker,
            runtime=self.runtime,
            endpoint=lambda hub: CommandEndpoint(hub, "/ws", {**BUILT_IN, Say: say}),
            patterns=[("*", {"history": HELD})],
        )
        self.broker: AnyBroker = self.bench.broker  # type: ignore[assignment]
        self.lives += 1
        self.born = self.runtime.now

    def numbered(self, room: str) -> int:
        self.heads[room] = max(self.heads.get(room, 0), self.broker.numbered(room))
        return self.heads[room]

    # Connections

    def _online(self, index: int) -> Client:
        client = self.clients[index]
        if not client.online:
            self._connect(client)
        return client

    def _connect(self, client: Client) -> None:
        token, expected = client.token, self._is_known(client)
        pipe = Pipe()
        pipe.hub = self.bench.hub
        pipe.connection = self.bench.hub.open(
            self.bench.endpoint, pipe, None, (token or "") if client.session else None
        )
        client.attached(pipe)
        client.connection, client.online = pipe.connection, True
        self.bench.hub.opened(pipe.connection)
        client.listen()
        assert not client.session or (client.token == token) == expected
        if client.token != token:
            client.acked.clear()
            self.sent[client].clear()
        self.known[client] = self.lives, float("inf")

    def _is_known(self, client: Client) -> bool:
        """Whether its token is worth anything."""
        if client.token is None:
            return False
        life, away = self.known[client]
        if life == self.lives and self.runtime.now - away < SESSION:
            return True
        return self.survives and life < self.lives and self.runtime.now - self.born < SESSION

    def _ended(self, client: Client, *, stays: bool) -> None:
        client.listen()
        client.online = False
        self.known[client] = self.lives, self.runtime.now
        for room in client.entered:
            if stays and client.session:
                self.waiting.setdefault((client, room), self.runtime.now + GRACE)
            else:
                self._departs(client, room)
        for other, room in [key for key in self.waiting if key[0] is client and not stays]:
            del self.waiting[other, room]
            self._departs(client, room)
        client.positions |= client.places

    def _departs(self, client: Client, room: str) -> None:
        self.truth.departures[room, client.name] += 1

    @rule(index=clients)
    def drop(self, index: int) -> None:
        if self.clients[index].online:
            self.bench.hub.lost(self.clients[index].connection)
            self._ended(self.clients[index], stays=True)

    @rule(index=clients, ours=st.booleans())
    def close(self, index: int, ours: bool) -> None:
        client = self.clients[index]
        if client.online:
            if ours:
                self.bench.hub.close(client.connection, 1000)
            else:
                self.bench.hub.lost(client.connection, clean=True)
            self._ended(client, stays=False)

    @rule(index=st.sampled_from(range(len(CLIENTS) - 1)))
    def take_over(self, index: int) -> None:
        client = self._online(index)
        pipe = client.pipe
        client.listen()
        self._ended(client, stays=True)
        self.known[client] = self.lives, float("inf")
        self._connect(client)
        assert pipe.actions[-1] == (4409, "replaced by a newer connection of this session")

    @rule(index=clients, seconds=st.sampled_from([0, 6, 10, 16]), events=st.integers(0, 3), resumes=st.booleans())
    def blink(self, index: int, seconds: int, events: int, resumes: bool) -> None:
        """A connection is lost, and the client comes back for what it was in, and has missed something."""
        self.drop(index)
        if seconds:
            self.pass_time(seconds)
        if events:
            self.flood("one", events)
            self.turn()
        client = self._online(index)
        if resumes and client.session:
            self.resume(index)
            return
        self._return(index)

    def _return(self, index: int) -> None:
        for room, place in self._online(index).positions.items():
            if place.member:
                self.join(index, room, keep=True, kind="here", history=0)

    # Commands

    def _ask(self, client: Client, asked: Asked, **command: Any) -> None:
        self.serial += 1
        client.asked[self.serial] = asked
        asked.numbered = self.numbered(asked.room)
        self.bench.receive(client.connection, id=self.serial, **command)

    def _since(self, client: Client, room: str, kind: str) -> Since:
        place = client.places.get(room) or client.positions.get(room) or Place("none", 0)
        match kind:
            case "none":
                return None
            case "acked":
                return "acked"
            case "time":
                return {"time": self.runtime.unix_ms() - 3000}
            case "epoch":
                return {"epoch": "other", "seq": place.at}
        offset = {"here": 0, "old": -2, "start": -place.at, "future": 3}[kind]
        return {"epoch": place.epoch, "seq": place.at + offset}

    @rule(index=clients, room=rooms, keep=st.booleans(), kind=places, history=st.sampled_from([0, 0, 2, 9]))
    def join(self, index: int, room: str, keep: bool, kind: str, history: int) -> None:
        client = self._online(index)
        since = self._since(client, room, kind)
        for name in list(client.entered):
            if name == room or not keep:
                self._departs(client, name)
                client.entered -= {name} - {room}
        client.entered.add(room)
        asked = Asked("join", room, since, history, keep)
        self._ask(client, asked, type="join", room=room, username=client.name, keep=keep, since=since, history=history)

    @rule(index=clients, room=rooms, kind=places, history=st.sampled_from([0, 0, 2, 9]))
    def subscribe(self, index: int, room: str, kind: str, history: int) -> None:
        client = self._online(index)
        since = self._since(client, room, kind)
        self._depart_if_there(client, room)
        asked = Asked("subscribe", room, since, history)
        self._ask(client, asked, type="subscribe", room=room, since=since, history=history)

    def _depart_if_there(self, client: Client, room: str) -> None:
        self.truth.departures[room, client.name] += (room in client.entered) + ((client, room) in self.waiting)
        client.entered.discard(room)

    @rule(index=clients, room=rooms)
    def leave(self, index: int, room: str) -> None:
        client = self._online(index)
        if room in client.entered:
            self._departs(client, room)
        self._ask(client, Asked("leave", room), type="leave", room=room)

    @rule(index=st.sampled_from(range(len(CLIENTS) - 1)))
    def resume(self, index: int) -> None:
        client = self._online(index)
        if any(asked.kind == "resume" for asked in client.asked.values()):
            return
        client.resumed = {room: self._since(client, room, "here") for room in client.positions}
        for room in client.resumed:
            self._depart_if_there(client, room)
            client.entered.add(room)
        self._ask(client, Asked("resume"), type="resume", rooms=client.resumed)

    @rule(
        index=clients,
        room=rooms,
        keep=st.sampled_from([True, True, False]),
        named=st.booleans(),
        confirm=st.booleans(),
        waits=st.booleans(),
    )
    def publish(self, *, index: int, room: str, keep: bool, named: bool, confirm: bool, waits: bool) -> None:
        client = self._online(index)
        text = self._text()
        asked = Asked(
            "publish", room, keep=keep, text=text, page={"messageId": text if named else "", "confirm": confirm}
        )
        if named and keep:
            self.sent[client].append(asked)
        self._say(client, asked)
        if named and keep:
            if waits:
                self.turn()
            self._say(client, asked)

    def _text(self) -> str:
        self.serial += 1
        self.truth.published[f"t{self.serial}"] = self.runtime.unix_ms()
        return f"t{self.serial}"

    def _say(self, client: Client, asked: Asked) -> None:
        self._ask(client, asked, type="say", room=asked.room, text=asked.text, keep=asked.keep, **asked.page)

    @rule(index=clients, back=st.integers(1, 3))
    def repeat(self, index: int, back: int) -> None:
        client = self._online(index)
        if len(self.sent[client]) >= back:
            asked = self.sent[client][-back]
            if self.runtime.unix_ms() - self.truth.published[asked.text] < 250_000:
                self._say(client, asked)

    @rule(room=rooms, count=st.integers(1, HELD + 2))
    def flood(self, room: str, count: int) -> None:
        for _ in range(count):
            self.bench.hub.room(room).publish({"type": "said", "text": self._text()})

    @rule(index=clients, room=rooms)
    def ack(self, index: int, room: str) -> None:
        client = self._online(index)
        if room in client.places:
            self._ask(client, Asked("ack", room), type="ack", room=room, seq=client.places[room].at)

    @rule(index=clients, room=rooms, way=st.sampled_from(["before", "after", "last"]), limit=st.integers(1, 4))
    def history(self, index: int, room: str, way: str, limit: int) -> None:
        client = self._online(index)
        if room in client.places:
            at = client.places[room].at
            page = {"limit": limit} | ({} if way == "last" else {way: max(at - 2, 0)})
            self._ask(client, Asked("history", room, page=page), type="history", room=room, **page)

    # The network, the broker, the loop, the clock

    @rule(index=clients, takes=st.integers(0, 3))
    def slow_down(self, index: int, takes: int) -> None:
        client = self._online(index)
        if client.pipe.takes is None:
            client.pipe.takes = takes

    @rule(index=clients, takes=st.integers(0, 2), events=st.integers(1, HELD + 3), turns=st.integers(0, 2))
    def fall_behind(self, index: int, takes: int, events: int, turns: int) -> None:
        """Somebody does not read while much is said."""
        self.slow_down(index, takes)
        for _ in range(events):
            self.flood("one", 1)
            for _ in range(turns):
                self.turn()

    @rule(index=clients)
    def drain(self, index: int) -> None:
        if self.clients[index].online:
            self.clients[index].pipe.drain()

    @precondition(lambda self: self.broker.late)
    @rule(count=st.integers(1, 4))
    def answer(self, count: int) -> None:
        self.broker.answer(count)

    @rule()
    def turn(self) -> None:
        self.runtime.turn()

    @rule()
    def settle(self) -> None:
        for _ in range(30):
            self.broker.answer()
            self.runtime.settle()

    @rule(seconds=st.sampled_from([1, 6, 10, 14, 16, 125]))
    def pass_time(self, seconds: int) -> None:
        self.runtime.settle()
        for _ in range(seconds):
            self.bench.tick()
            self._notice_ends()
            for client in self.clients:
                self.bench.hub.pong(client.connection) if client.online else None
        for (client, room), deadline in list(self.waiting.items()):
            if deadline <= self.runtime.now:
                self._departs(client, room)
                del self.waiting[client, room]

    @rule(returning=st.booleans())
    def restart(self, returning: bool) -> None:
        """The process is killed, and another one begins; and everybody comes back, and says the last thing again."""
        for index in range(len(CLIENTS) - 1) if returning else ():
            self.publish(index=index, room="one", keep=True, named=True, confirm=False, waits=True)
        self._compare_logs()
        for client in self.clients:
            if client.online:
                self._ended(client, stays=False)
        self.broker.end()
        now, ids = self.runtime.now, self.runtime._ids
        self.runtime = FakeRuntime()
        self.runtime.now, self.runtime._ids = now, ids
        self.waiting.clear()
        self.truth.departures.clear()
        if not self.survives:
            self.heads.clear()
            self.forget()
        self._begin_life()
        for index in range(len(CLIENTS) - 1) if returning else ():
            self._return(index)
            self.repeat(index, 1)

    def forget(self) -> None:
        """What the memory broker knew is gone."""
        for client in self.clients:
            self.sent[client].clear()

    # What always holds

    @invariant()
    def what_clients_hear_is_true(self) -> None:
        self._notice_ends()
        for client in self.clients:
            if client.online:
                client.listen()
                for room, place in client.places.items():
                    if place.member and self.waiting.get((client, room), 0) > self.runtime.now:
                        del self.waiting[client, room]

    def _notice_ends(self) -> None:
        for client in self.clients:
            if client.online and not client.connection.open:
                assert (1008, "nothing was read for 60 s (stall_seconds)") in client.pipe.actions
                self._ended(client, stays=False)

    def _compare_logs(self) -> None:
        for room in NAMES:
            held = {(room, epoch, seq): text for epoch, seq, text in self.broker.held(room)}
            for (_, epoch, seq), text in held.items():
                self.truth.note(room, epoch, {"seq": seq, "text": text})
            epochs = {epoch for _, epoch, _ in held}
            for (name, epoch, seq), text in self.truth.texts.items():
                if name == room and epoch in epochs and seq > self.truth.lost(room):
                    assert held.get((room, epoch, seq)) == text

    def _everybody_has_everything(self) -> None:
        for client in self.clients:
            if client.online:
                client.pipe.drain()
        self.settle()
        self.what_clients_hear_is_true()
        for client in self.clients:
            if client.online:
                assert client.asked == {}
                assert {member.room.name for member in client.connection.members} == set(client.places)
                for room, place in client.places.items():
                    assert place.at == self.numbered(room)

    def teardown(self) -> None:
        if self.lives:
            try:
                self._everybody_has_everything()
                self._compare_logs()
            finally:
                self.broker.end()


class PromptMachine(LogMachine):
    """memory://"""

    def make_broker(self, *args: Any) -> PromptBroker:
        return PromptBroker(*args)


class LateMachine(LogMachine):
    """A broker that takes its time."""

    def make_broker(self, *args: Any) -> SlowBroker:
        return SlowBroker(*args)


class FileMachine(LogMachine):
    """sqlite://"""

    survives = True

    def __init__(self) -> None:
        super().__init__()
        self.folder = tempfile.TemporaryDirectory(dir=IN_MEMORY)

    def make_broker(self, new_id: Any, retention: Any, _: int, now: Any) -> FileBroker:
        return FileBroker(Path(self.folder.name) / "log.db", retention, now)

    def teardown(self) -> None:
        try:
            super().teardown()
        finally:
            self.folder.cleanup()


def tried(part: float) -> settings:
    """A part of the examples of the profile in force."""
    assert settings.default is not None
    return settings(max_examples=round(settings.default.max_examples * part), stateful_step_count=50)


TestPrompt = PromptMachine.TestCase
TestPrompt.settings = tried(1.5)
TestLate = LateMachine.TestCase
TestLate.settings = tried(1.5)
TestFile = FileMachine.TestCase
TestFile.settings = tried(1)
