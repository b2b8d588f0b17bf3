"""Fuzz target: whatever clients of the chat say, one order for all comes out of it, and each command has one reply.

An input is a byte of options and a script: steps that are divided by 0xC1, a byte that neither JSON nor MessagePack
has. The first byte of a step says who does what; the rest is the payload.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from enum import IntEnum
from itertools import chain, count
from typing import Any

import msgspec

from hubbub.apps.chat import app as chat
from hubbub.brokers.memory import MemoryBroker
from hubbub.config import Config, Heartbeat, Limits, Rooms, Sessions
from hubbub.hub.connection import Connection
from hubbub.hub.dispatch import CommandEndpoint, Malformed
from hubbub.hub.hub import Hub
from hubbub.hub.ports import Endpoint
from hubbub.wire.codec import EVENT, SUBPROTOCOLS, Batch, FrameCodec, Item
from hubbub.wire.websocket import BINARY, TEXT, WebSocket
from tests.fuzz.complaints import no_complaints
from tests.fuzz.seeds import EPOCH, SESSION, Step, dialogues, protocol_words, sent_in
from tests.support.history import Client, History
from tests.unit.fakes import Bench, LateBroker, RecordingTransport

LATE, LIMITED, SHORT_LOG, LATEST, QUIET = 1, 2, 4, 8, 16
DIVIDER = b"\xc1"
SAME_TURN = 0x40
NAMES = ("ada", "bob", "cyd", "dee")
MSGPACK = ("bob", "dee")
WITH_SESSION = ("cyd", "dee")
MOST_BYTES = 1 << 20


class What(IntEnum):
    """What a step is; any other number is a message, handed over as it is."""

    DROP = 9
    LEAVE = 10
    TICK = 11
    ANSWER = 12
    STALL = 13
    RESUME = 14
    TRANSLATE = 15
    """A message in JSON, put into MessagePack for those who speak that."""


def target(data: bytes) -> None:
    """Plays the script.

    Raises:
        AssertionError: a promise is broken, or an error was logged.
    """
    if len(data) < 2:
        return
    with no_complaints():
        stage = Stage(data[0])
        for step in data[1:].split(DIVIDER):
            if step:
                stage.take(step[0], step[1:])
        stage.end()


class Tape(RecordingTransport):
    """Puts what the hub says into frames and reads it again as the client does, who records it.

    Args:
        client: whose record it is.
    """

    def __init__(self, client: Client, *, msgpack: bool) -> None:
        super().__init__()
        self.stalled = False
        self._client = client
        self._msgpack = msgpack
        self._codec = FrameCodec(msgpack=msgpack)
        self._wire = WebSocket(MOST_BYTES, new_mask=lambda: bytes(4))

    def deliver(self, batch: Batch) -> None:
        if not self.stalled:
            self._read(batch.encode(self._codec))

    def send(self, item: Item) -> None:
        assert item[0] == EVENT, f"{item} is no event"
        self._read(self._codec.encode((item,)))

    def _read(self, frames: bytes) -> None:
        for opcode, payload in self._wire.receive_data(frames):
            assert opcode == (BINARY if self._msgpack else TEXT)
            event = msgspec.msgpack.decode(payload) if self._msgpack else msgspec.json.decode(payload)
            assert isinstance(event, dict)
            assert isinstance(event["type"], str)
            self._client.received(event)


class Person:
    """A client, over all its connections."""

    def __init__(self, bench: Bench, history: History, name: str, endpoint: CommandEndpoint) -> None:
        self.client = history.client(name)
        self.msgpack = name in MSGPACK
        self._bench = bench
        self._endpoint = endpoint
        self._token = "" if name in WITH_SESSION else None
        self.connect()

    def connect(self) -> None:
        """A new connection, of the same session where it has one."""
        self.client.connected()
        self.tape = Tape(self.client, msgpack=self.msgpack)
        self.connection: Connection = self._bench.hub.open(self._endpoint, self.tape, None, self._token)
        if self.connection.session is not None:
            self._token = self.connection.session.token
        self._bench.hub.opened(self.connection)

    def say(self, payload: bytes) -> None:
        """A message arrives, unless the connection has ended or is not read."""
        payload = payload.replace(SESSION.encode(), (self._token or "").encode())
        if not self.connection.open:
            self.connect()
        if not self.msgpack:
            payload = payload.decode(errors="replace").encode()  # a transport hands over no other texts
        if self._is_open(payload):
            return  # whose reply it is could not be told
        self._record(payload)
        self._bench.hub.receive(self.connection, BINARY if self.msgpack else TEXT, payload)

    def _record(self, payload: bytes) -> None:
        """Whose fate cannot be told from what comes back, as nothing may, is recorded as no more than its ids."""
        command = self._command(payload)
        if command is None:
            return
        limited = self._bench.hub.config.limits.rate_limit > 0
        silent = command.get("type") == "resume" and "id" not in command
        if not limited and not silent and self._is_valid(payload):
            self.client.sent(command)
        else:
            self.client.sent({name: command[name] for name in ("id", "messageId") if name in command})

    def _is_open(self, payload: bytes) -> bool:
        """Whether a command with the same id waits for its reply."""
        command = self._command(payload)
        return command is not None and any(
            sent.command.get("id") == command["id"] for sent in self.client._now.open.values() if "id" in command
        )

    def _command(self, payload: bytes) -> dict[str, Any] | None:
        """What may be answered; no more than the id where that is all that can be read of it."""
        command = decoded(payload, msgpack=self.msgpack)
        if command is not None:
            return command
        envelope = self._endpoint._envelope(payload)
        return None if envelope is None or envelope.id is msgspec.UNSET else {"id": envelope.id}

    def _is_valid(self, payload: bytes) -> bool:
        try:
            self._endpoint._decode(payload)
        except Malformed:
            return False
        return True

    def lose(self, *, clean: bool) -> None:
        """The connection ends, and there is a new one."""
        self._bench.hub.lost(self.connection, clean=clean)
        self.client.disconnected()
        self.connect()

    def stall(self) -> None:
        """So much waits to be written that nothing more is taken."""
        self.tape.stalled, self.tape.buffered = True, MOST_BYTES
        self._bench.hub.writing_paused(self.connection)

    def take_again(self) -> None:
        """Most of it is written."""
        self.tape.stalled, self.tape.buffered = False, 0
        self._bench.hub.writing_resumed(self.connection)


def decoded(payload: bytes, *, msgpack: bool) -> dict[str, Any] | None:
    """What a client may count as a command: an object; None for all else."""
    try:
        value = msgspec.msgpack.decode(payload) if msgpack else msgspec.json.decode(payload)
    except Malformed:
        return None
    return value if isinstance(value, dict) else None


class Stage:
    """Four clients and a node between them; ada and bob have joined the lobby.

    Args:
        options: a byte that says which broker and which settings.
    """

    def __init__(self, options: int) -> None:
        config = Config(
            limits=Limits(rate_limit=1.0 if options & LIMITED else 0.0, rate_burst=8, max_rooms=3, max_malformed=5),
            heartbeat=Heartbeat(heartbeat_seconds=5.0),
            rooms=Rooms(history=4 if options & SHORT_LOG else 0, presence_detail=2 if options & QUIET else 1000),
            sessions=Sessions(grace_seconds=3.0, session_seconds=9.0),
        )
        patterns = [("lobby", {"latest_only": True})] if options & LATEST else []
        self.history = History(latest=("lobby",) if options & LATEST else ())
        self.bench = Bench(config, broker=broker_of(options), endpoint=self._bind, patterns=patterns)
        self.people = [Person(self.bench, self.history, name, self._endpoints[name in MSGPACK]) for name in NAMES]
        for person in self.people[:2]:
            self._receive(person, b'{"type":"join","room":"lobby","username":"x"}', translate=True)
            self._settle()

    def _bind(self, hub: Hub) -> Endpoint:
        (route,) = chat.bind(hub)
        endpoints = [route.endpoints[name] for name in SUBPROTOCOLS]
        self._endpoints = [endpoint for endpoint in endpoints if isinstance(endpoint, CommandEndpoint)]
        return self._endpoints[0]

    def take(self, who_and_what: int, payload: bytes) -> None:
        """One step."""
        person, what = self.people[who_and_what & 3], (who_and_what >> 2) & 15
        number = payload[0] if payload else 1
        match what:
            case What.DROP | What.LEAVE:
                person.lose(clean=what == What.LEAVE)
            case What.TICK:
                self.bench.tick(number % 16)
            case What.ANSWER:
                self._answer(number)
            case What.STALL:
                person.stall()
            case What.RESUME:
                person.take_again()
            case _:
                self._receive(person, payload, translate=what == What.TRANSLATE)
        if not who_and_what & SAME_TURN:
            self.bench.runtime.settle()

    def _receive(self, person: Person, payload: bytes, *, translate: bool) -> None:
        command = decoded(payload, msgpack=False) if translate and person.msgpack else None
        if command is not None:
            try:
                payload = msgspec.msgpack.encode(command)
            except OverflowError:
                return
        person.say(payload)

    def _answer(self, count: int | None) -> None:
        if isinstance(self.bench.broker, LateBroker):
            self.bench.broker.answer(count)

    def _settle(self) -> None:
        """Until nothing is left to do: what was said is kept, and who was behind is not any more."""
        for _ in range(20):
            self.bench.runtime.settle()
            self._answer(None)

    def end(self) -> None:
        """Nothing was against the rules, and everybody who is still there had all replies."""
        for person in self.people:
            person.take_again()
        self._settle()
        for person in self.people:
            if not person.connection.open:
                person.client.disconnected()
        violations = self.history.check(answered=True)
        assert not violations, "\n".join(violations)
        self.bench.hub.close_all()
        self._settle()
        assert not self.bench.hub.connections


def broker_of(options: int) -> Any:
    """Makes a broker that is the same in each run: its secret, and its epochs, one for each log."""
    epochs = chain([EPOCH], (f"{EPOCH}-{number}" for number in count(2)))

    def make(_: object, *arguments: Any) -> MemoryBroker:
        broker = (LateBroker if options & LATE else MemoryBroker)(epochs.__next__, *arguments)
        broker.secret = bytes(32)
        if isinstance(broker, LateBroker):
            broker.reads_late = True
        return broker

    return make


# What to begin with


def seeds() -> Iterator[bytes]:
    """Each dialogue, as one script; with other options as well."""
    for number, steps in enumerate(dialogues()):
        for options in (0, 1 << number % 5, LATE | SHORT_LOG):
            yield bytes((options,)) + DIVIDER.join(script(steps))


def script(steps: Iterable[Step]) -> Iterator[bytes]:
    """The steps of a dialogue that a client takes."""
    people: dict[str, int] = {}
    for step in steps:
        who = people.setdefault(step["client"], len(people)) & 3
        if "drop" in step or "close" in step:
            yield bytes((who | (What.LEAVE if "close" in step else What.DROP) << 2,))
        sent = sent_in(step)
        for number, payload in enumerate(sent, 1):  # all of a step in one turn
            yield bytes((who | What.TRANSLATE << 2 | (SAME_TURN if number < len(sent) else 0),)) + payload


def words() -> Iterator[bytes]:
    """What mutations put in."""
    yield from protocol_words()
    yield from (bytes((0xC1, who | what << 2)) for who in range(4) for what in What)
    yield from (b'"lobby"', b'"kitchen"', b'"id":1,', b'"id":"a",', f'"since":{{"epoch":"{EPOCH}","seq":1}},'.encode())
    yield from (b"\x82\xa4type", b"\xa2id", b"\xa4room\xa5lobby", b"\xa7message", b"\xa4join", b"\xa4text")
