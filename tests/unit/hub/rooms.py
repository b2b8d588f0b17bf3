"""What the tests of sessions, commands and slow readers share: a hub that speaks the protocol, and its clients."""

from __future__ import annotations

from typing import Any

from hubbub.brokers.memory import MemoryBroker
from hubbub.config import Config, Limits
from hubbub.errors import BrokerError
from hubbub.hub.commands import BUILT_IN
from hubbub.hub.connection import Connection
from hubbub.hub.dispatch import CommandEndpoint
from hubbub.hub.ports import Answer, Portion
from hubbub.hub.publication import Publication
from hubbub.wire.codec import Batch, Item
from hubbub.wire.messages import Command
from tests.unit.fakes import Bench, LateBroker, RecordingTransport, tape

Json = dict[str, Any]


class Say(Command, tag="say"):
    """Publishes a text."""

    text: str
    keep: bool = True
    confirm: bool = False
    message_id: str = ""


def say(connection: Connection, command: Say) -> Publication:
    event: dict[str, object] = {"type": "said", "text": command.text}
    once = connection.once(command.message_id, command.text)
    return connection.room.publish(event, keep=command.keep, confirm=command.confirm, once=once)


class Pipe(RecordingTransport):
    """A transport that is full once it was given `takes` items."""

    bench: Bench
    connection: Connection
    takes: int | None = None

    def deliver(self, batch: Batch) -> None:
        if not self.connection.stalled:  # as the real ones: what is delivered to one that is full is gone
            super().deliver(batch)
            self._fill(len(batch.items))

    def send(self, item: Item) -> None:
        super().send(item)
        self._fill(1)

    def _fill(self, items: int) -> None:
        if self.takes is not None:
            self.takes -= items
            if self.takes <= 0:
                self.takes = None
                self.bench.hub.writing_paused(self.connection)


class LateReads(LateBroker):
    """Everything is answered late."""

    def __init__(self, *args: Any) -> None:
        super().__init__(*args)
        self.reads_late = True


class BrokenReads(MemoryBroker):
    """Cannot be read while `broken`."""

    broken = False

    def read(self, room: str, after: int, limit: int, max_bytes: int, done: Answer[Portion]) -> None:
        if self.broken:
            done(BrokerError("disk gone"))
        else:
            super().read(room, after, limit, max_bytes, done)


def speaking(config: Config | None = None, **options: Any) -> Bench:
    """A bench whose clients send commands; rooms hold 10 events where no patterns are given."""
    config = config or Config(limits=Limits(rate_limit=0))
    options.setdefault("patterns", [("*", {"history": 10})])
    return Bench(config, endpoint=lambda hub: CommandEndpoint(hub, "/ws", {**BUILT_IN, Say: say}), **options)


def client(bench: Bench, session: str | None = None) -> Connection:
    """A connection that has read its first event."""
    pipe = Pipe()
    connection = bench.hub.open(bench.endpoint, pipe, None, session)
    pipe.bench, pipe.connection = bench, connection
    connection.data["tape"] = pipe
    pipe.forget()
    return connection


def ask(bench: Bench, connection: Connection, type: str, **command: Any) -> Json:
    """Sends a command, settles, and returns the one reply."""
    bench.receive(connection, type=type, id="asked", **command)
    bench.runtime.settle()
    (reply,) = [event for event in tape(connection).events if event.get("id") == "asked"]
    tape(connection).events.remove(reply)
    assert isinstance(reply, dict)
    return reply


def joined(bench: Bench, *usernames: str, session: str | None = None, room: str = "lobby") -> list[Connection]:
    """A member for each name, who has read everything."""
    members = [client(bench, session) for _ in usernames]
    for member, username in zip(members, usernames, strict=True):
        assert ask(bench, member, "join", room=room, username=username)["type"] == "room_info"
    for member in members:
        tape(member).forget()
    return members


def flood(bench: Bench, count: int, room: str = "lobby", **options: Any) -> None:
    """So many kept events, each named after its seq where nothing else is kept."""
    first = bench.hub.room(room).head + 1
    for seq in range(first, first + count):
        bench.hub.room(room).publish({"type": "said", "text": str(seq)}, **options)
    bench.runtime.settle()


def token(connection: Connection) -> str:
    assert connection.session is not None
    return connection.session.token


def seqs(events: list[Json]) -> list[int]:
    """The numbers of those that have one."""
    return [event["seq"] for event in events if "text" in event and "seq" in event]


def types(connection: Connection) -> list[str]:
    """The types of what a connection was sent."""
    return [event["type"] for event in tape(connection).events]
