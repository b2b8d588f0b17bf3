"""Stand-ins for the world around the hub: time and turns moved by hand, a transport that writes everything down."""

from __future__ import annotations

import itertools
import json
from collections import deque
from collections.abc import Callable, Coroutine, Generator, Sequence
from typing import Any

from hubbub.brokers.memory import MemoryBroker
from hubbub.config import Config, Policies
from hubbub.errors import BrokerError
from hubbub.hub.connection import Connection
from hubbub.hub.hub import Hub
from hubbub.hub.ports import Answer, Draft, Endpoint, Kept, Listener, Portion, Position, Retention
from hubbub.wire.codec import EVENT, Batch, Item
from hubbub.wire.messages import Event
from hubbub.wire.websocket import TEXT


class Said(Event, tag="said"):
    """An event of an application."""

    text: str


class Gate:
    """What a coroutine handler waits for until the test opens it."""

    def __init__(self) -> None:
        self._opened = False
        self._waiting: list[Callable[[], None]] = []

    def __await__(self) -> Generator[Gate, None, None]:
        while not self._opened:
            yield self

    def wait(self, callback: Callable[[], None]) -> None:
        self._waiting.append(callback)

    def open(self) -> None:
        self._opened = True
        for callback in self._waiting:
            callback()


class FakeRuntime:
    """hub.ports.Runtime: nothing happens by itself; `turn` is one turn of the event loop, and no time passes in it."""

    def __init__(self) -> None:
        self.now = 1000.0
        self._ids = itertools.count(1)
        self._soon: list[Callable[[], None]] = []
        self._later: list[Callable[[], None]] = []

    def monotonic(self) -> float:
        return self.now

    def unix_ms(self) -> int:
        return round(self.now * 1000)

    def new_id(self) -> str:
        return f"id-{next(self._ids)}"

    def call_soon(self, callback: Callable[[], None]) -> None:
        self._soon.append(callback)

    def call_later(self, seconds: float, callback: Callable[[], None]) -> None:
        self._later.append(callback)

    def spawn(self, coroutine: Coroutine[Any, Any, None]) -> None:
        self.call_soon(lambda: self._step(coroutine))

    def _step(self, coroutine: Coroutine[Any, Any, None]) -> None:
        try:
            waits_for = coroutine.send(None)
        except StopIteration:
            return
        assert isinstance(waits_for, Gate), f"a handler awaits {waits_for!r}"
        waits_for.wait(lambda: self.spawn(coroutine))

    def turn(self) -> None:
        """Calls what was asked for before this turn."""
        soon, self._soon = self._soon, []
        for callback in soon:
            callback()

    def settle(self) -> None:
        """Turns until nothing is left to do, and nothing waits for its time."""
        while self._soon or self._later:
            while self._soon:
                self.turn()
            self._soon, self._later = self._later, []


def decode(item: Item) -> Any:
    """An event as a dict, a text as a str, anything else as bytes."""
    kind, payload = item
    return json.loads(payload) if kind == EVENT else payload.decode() if kind == TEXT else payload


class RecordingTransport:
    """hub.ports.Transport.

    Attributes:
        batches: each delivered batch that was not empty, as a list of events.
        events: all that was delivered or sent, in order.
        actions: everything else that the hub asked for, in order.
    """

    def __init__(self) -> None:
        self.batches: list[list[Any]] = []
        self.events: list[Any] = []
        self.actions: list[Any] = []
        self.buffered = 0

    def waiting(self) -> int:
        return self.buffered

    def forget(self) -> None:
        """Clears what was written down."""
        for record in (self.batches, self.events, self.actions):
            record.clear()

    def deliver(self, batch: Batch) -> None:
        items = [decode(item) for item in batch.items]
        if items:
            self.batches.append(items)
        self.events += items

    def send(self, item: Item) -> None:
        self.events.append(decode(item))

    def ping(self) -> None:
        self.actions.append("ping")

    def pause_reading(self) -> None:
        self.actions.append("pause")

    def resume_reading(self) -> None:
        self.actions.append("resume")

    def close(self, code: int, reason: str) -> None:
        self.actions.append((code, reason))

    def abort(self) -> None:
        self.actions.append("abort")


class RecordingEndpoint:
    """hub.ports.Endpoint: `calls` says what the hub handed over, in order."""

    path = "/ws"
    announced = True
    msgpack = False

    def __init__(self) -> None:
        self.calls: list[Any] = []

    def opened(self, connection: Connection) -> None:
        self.calls.append("opened")

    def receive(self, connection: Connection, opcode: int, payload: bytes) -> None:
        self.calls.append(payload)

    def resume(self, connection: Connection) -> None:
        pass

    def limited(self, connection: Connection, payload: bytes, limit: str, wait_ms: int, first: bool) -> None:
        self.calls.append((wait_ms, first))

    def closed(self, connection: Connection) -> None:
        self.calls.append("closed")


class LateBroker(MemoryBroker):
    """Numbers and keeps at once, but says so only when told to; so does all else, when `reads_late`."""

    def __init__(self, *args: Any) -> None:
        super().__init__(*args)
        self.reads_late = False
        self._late: deque[Callable[[], None]] = deque()

    def append(self, room: str, time: int, drafts: Sequence[Draft], kept: Answer[Kept]) -> None:
        super().append(room, time, drafts, self._put_off(kept))

    def open(self, room: str, opened: Answer[Position]) -> None:
        if self.reads_late:
            self._late.append(lambda: MemoryBroker.open(self, room, opened))
        else:
            super().open(room, opened)

    def read(self, room: str, after: int, limit: int, max_bytes: int, done: Answer[Portion]) -> None:
        super().read(room, after, limit, max_bytes, self._put_off(done) if self.reads_late else done)

    def seek(self, room: str, time: int, done: Answer[int]) -> None:
        super().seek(room, time, self._put_off(done) if self.reads_late else done)

    def acknowledge(self, room: str, reader: str, name: str, seq: int, done: Answer[int]) -> None:
        super().acknowledge(room, reader, name, seq, self._put_off(done) if self.reads_late else done)

    def acknowledged(self, room: str, reader: str, done: Answer[int | None]) -> None:
        super().acknowledged(room, reader, self._put_off(done) if self.reads_late else done)

    def readers(self, room: str, limit: int, done: Answer[Sequence[tuple[str, str, int]]]) -> None:
        super().readers(room, limit, self._put_off(done) if self.reads_late else done)

    def _put_off(self, answer: Answer[Any]) -> Answer[Any]:
        return lambda result: self._late.append(lambda: answer(result))

    def answer(self, count: int | None = None) -> None:
        """Gives the first answers to what was asked until now, all of them by default."""
        for _ in range(len(self._late) if count is None else min(count, len(self._late))):
            self._late.popleft()()


class Wired(MemoryBroker):
    """Hands what a node tells to the `others` that the test names."""

    listener: Listener

    def __init__(self, *args: Any) -> None:
        super().__init__(*args)
        self.others: list[Wired] = []

    def listen(self, listener: Listener) -> None:
        self.listener = listener

    def tell(self, room: str, payloads: Sequence[bytes]) -> None:
        for other in self.others:
            other.listener.told(room, payloads)


class FailingBroker(MemoryBroker):
    """Fails for the room `bad`."""

    def append(self, room: str, time: int, drafts: Sequence[Draft], kept: Answer[Kept]) -> None:
        if room == "bad":
            kept(BrokerError("disk full"))
        else:
            super().append(room, time, drafts, kept)


class Bench:
    """A hub between fakes."""

    def __init__(
        self,
        config: Config | None = None,
        *,
        broker: Callable[..., MemoryBroker] = MemoryBroker,
        runtime: FakeRuntime | None = None,
        endpoint: Callable[[Hub], Endpoint] | None = None,
        patterns: Sequence[tuple[str, dict[str, Any]]] = (),
    ) -> None:
        self.runtime = runtime or FakeRuntime()
        config = config or Config()
        self.policies = Policies(config.rooms.policy(), patterns)
        self.broker = broker(lambda: "epoch", self._retention, 100, self.runtime.unix_ms)
        self.hub = Hub(self.runtime, self.broker, config, self.policies)
        self.endpoint: Endpoint = endpoint(self.hub) if endpoint else RecordingEndpoint()

    def _retention(self, room: str) -> Retention:
        policy = self.policies(room)
        return Retention(policy.history or 1000, 0, 0, latest_only=policy.latest_only)

    def connect(self, session: str | None = None) -> Connection:
        transport = RecordingTransport()
        connection = self.hub.open(self.endpoint, transport, None, session)
        connection.data["tape"] = transport
        self.hub.opened(connection)
        return connection

    def join(self, room: str, *usernames: str) -> list[Connection]:
        """A member for each name; what they were told while they joined is forgotten."""
        members = [self.connect() for _ in usernames]
        for member, username in zip(members, usernames, strict=True):
            self.hub.join(member, room, username)
        self.runtime.settle()
        for member in members:
            tape(member).forget()
        return members

    def head(self, room: str) -> int:
        """The end of a room's log."""
        found: list[Position | BrokerError] = []
        self.broker.open(room, found.append)
        assert isinstance(found[0], Position)
        return found[0].seq

    def texts(self, room: str) -> list[str]:
        """The texts that a room's log holds."""
        found: list[Portion | BrokerError] = []
        self.broker.open(room, lambda _: None)
        self.broker.read(room, 0, 1000, 1 << 20, found.append)
        assert isinstance(found[0], Portion)
        return [json.loads(entry.payload)["text"] for entry in found[0].entries]

    def receive(self, connection: Connection, **command: Any) -> None:
        """A command arrives as JSON."""
        self.hub.receive(connection, TEXT, json.dumps(command).encode())

    def tick(self, times: int = 1) -> None:
        for _ in range(times):
            self.runtime.now += self.hub.tick_seconds
            self.hub.tick()


def tape(connection: Connection) -> RecordingTransport:
    """What a connection's transport was asked for."""
    transport = connection.data["tape"]  # the hub lets go of the transport of one that has ended
    assert isinstance(transport, RecordingTransport)
    return transport


def heard(connection: Connection) -> list[Any]:
    """What a connection was sent: texts of `said`, else the type of an event, else the raw message."""
    return [event.get("text", event["type"]) if isinstance(event, dict) else event for event in tape(connection).events]
