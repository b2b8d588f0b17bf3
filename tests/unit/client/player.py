"""A machine whose server is the test: time and chance are given, and what it says and tells is written down."""

from __future__ import annotations

from typing import Any

from hubbub.client.entry import Entry
from hubbub.client.lane import Event, Outcome
from hubbub.client.machine import Machine
from hubbub.client.outcomes import Refused


class Player:
    """A client without a network.

    Attributes:
        told: events that belong to no room.
        heard: the events of each room.
        outcomes: what came of each command, by a name that the test gives.
        refused: rooms that it was not let into, and why.
        expiring: how often new credentials were asked for.
        now: the time.
    """

    def __init__(self, **options: Any) -> None:
        self.told: list[Event] = []
        self.heard: dict[str, list[Event]] = {}
        self.outcomes: dict[str, Outcome] = {}
        self.refused: dict[str, Refused] = {}
        self.expiring = 0
        self.now = 100.0
        self.machine = Machine(self.told.append, self._expiring, self._refused, **options)

    def _expiring(self) -> None:
        self.expiring += 1

    def _refused(self, entry: Entry, error: Refused) -> None:
        self.refused[entry.room] = error

    def enter(self, room: str, username: str | None = "ada", **options: Any) -> Entry:
        entry = Entry(room, username, **options)
        entry.deliver = self.heard.setdefault(room, []).append
        self.machine.enter(entry)
        return entry

    def say(self, entry: Entry, name: str, *, repeat: bool = True, **options: Any) -> None:
        command = {"type": "message", "room": entry.room, "text": name, "messageId": name}
        self.machine.say(entry, command, self._done(name), repeat=repeat, **options)

    def ask(self, name: str, entry: Entry | None = None, **options: Any) -> None:
        self.machine.ask({"type": "presence"}, self._done(name), entry, **options)

    def leave(self, entry: Entry, name: str = "leave") -> None:
        self.machine.leave(entry, self._done(name))

    def _done(self, name: str) -> Any:
        def done(outcome: Outcome) -> None:
            assert name not in self.outcomes, f"{name} has two outcomes"
            self.outcomes[name] = outcome

        return done

    def connect(self, session: str = "s", **fields: Any) -> list[Event]:
        """The server greets; what the client says first."""
        self.receive({"type": "connected", "session": session, "timestamp": 0, **fields})
        return self.output()

    def receive(self, *events: Event) -> None:
        for event in events:
            self.machine.receive(event, self.now)

    def output(self, after: float = 0.0) -> list[Event]:
        self.now += after
        return self.machine.output(self.now)

    def lose(self, code: int = 1006, reason: str = "", jitter: float = 0.0) -> float | None:
        return self.machine.lose(code, reason, self.now, jitter)


def info(room: str = "lobby", seq: int = 0, id: int | None = None, **fields: Any) -> Event:
    """A room_info."""
    event = {"type": "room_info", "room": room, "members": [], "count": 1, "epoch": "e", "seq": seq, "head": seq}
    event |= {"recovered": None, "messages": [], **fields}
    return event if id is None else {**event, "id": id}


def message(seq: int, room: str = "lobby", **fields: Any) -> Event:
    """A kept event."""
    return {"type": "message", "room": room, "seq": seq, "text": str(seq), **fields}


def ok(command: Event, **fields: Any) -> Event:
    """The reply to a command."""
    return {"type": "ok", "id": command["id"], **fields}


def refusal(command: Event, code: str = "forbidden", **fields: Any) -> Event:
    """The other reply to a command."""
    return {"type": "error", "id": command["id"], "code": code, "message": "No", **fields}


def entered(player: Player, room: str = "lobby", seq: int = 0, **options: Any) -> Entry:
    """A room that the player is in, on a connection that it has."""
    entry = player.enter(room, **options)
    commands = player.output() if player.machine.greeted else player.connect()
    player.receive(info(room, seq, commands[-1]["id"]))
    return entry
