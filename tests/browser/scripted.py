"""A server in the test's hands: it answers joins and messages, and says or does the rest when it is told."""

from __future__ import annotations

import json
from typing import Any

from playwright.sync_api import WebSocketRoute

SAID_AT_MS = 1_700_000_000_000
UNSEEN = ("ack", "receipts", "resume", "ping")  # of which the user knows nothing


class ScriptedServer:
    """Takes the place of the server in a tab.

    Attributes:
        sockets: the connections that were opened.
        commands: what was received, in order.
        members: who is in every room beside who joins, first of all.
        seq: the position of every room.
        missed: what a join is answered with, beside the usual.
        refusal: the error that answers joins, if any.
        mute: messages get no answer.
        room: the one that was joined last.
    """

    def __init__(self) -> None:
        self.sockets: list[WebSocketRoute] = []
        self.commands: list[dict[str, Any]] = []
        self.members: list[str] = []
        self.seq = 0
        self.missed: dict[str, Any] = {}
        self.refusal: dict[str, Any] = {}
        self.mute = False
        self.room = ""

    @property
    def received(self) -> list[str]:
        """The types of the commands, but for those of which the user knows nothing."""
        return [command["type"] for command in self.commands if command["type"] not in UNSEEN]

    def all(self, type: str) -> list[dict[str, Any]]:
        """The commands of a type."""
        return [command for command in self.commands if command["type"] == type]

    def accept(self, socket: WebSocketRoute) -> None:
        self.sockets.append(socket)
        socket.on_message(self.receive)
        self.send("connected", session="a session", heartbeat=30_000)

    def receive(self, message: str | bytes) -> None:
        command = json.loads(message)
        self.commands.append(command)
        if command["type"] == "join" and self.refusal:
            self.send("error", id=command["id"], **self.refusal)
        elif command["type"] == "join":
            self.room = command["room"]
            members = [*self.members, command["username"]]
            place = {"epoch": "e", "seq": self.seq, "head": self.seq, "recovered": None, "messages": []}
            info = {"members": members, "count": len(members), **place, **self.missed}
            self.send("room_info", id=command["id"], room=command["room"], **info)
        elif command["type"] == "message" and not self.mute:
            self.take(command)
        elif command["type"] == "resume":
            self.send("ok", id=command["id"], missing=list(command["rooms"]))
        elif command["type"] == "ping":
            self.send("ok", id=command["id"])

    def take(self, command: dict[str, Any]) -> None:
        """Keeps a message."""
        self.send("ok", id=command["id"], seq=self.seq + 1)
        self.say("ada", command["text"], messageId=command["messageId"])

    def say(self, username: str, text: str, **fields: Any) -> None:
        self.seq += 1
        self.send(**self.message(username, text, self.seq, **fields))

    def message(self, username: str, text: str, seq: int, **fields: Any) -> dict[str, Any]:
        """A message's event."""
        said = {"type": "message", "timestamp": SAID_AT_MS, "username": username, "text": text}
        return {**said, "messageId": str(seq), "seq": seq, "room": self.room, **fields}

    def send(self, type: str, **fields: Any) -> None:
        self.sockets[-1].send(json.dumps({"type": type, "timestamp": SAID_AT_MS, **fields}))

    def close(self, code: int, reason: str = "") -> None:
        self.sockets[-1].close(code=code, reason=reason)


DEFAULTS = {"avgResponseTime": (200, 500), "errorRate": (1, 5), "cpuUsage": (70, 90), "memoryUsage": (75, 90)}


class ScriptedBoard:
    """Takes the place of a server whose dashboard is looked at; what it has measured, the test says."""

    def __init__(self) -> None:
        self._seq = 0
        self._socket: WebSocketRoute | None = None

    def accept(self, socket: WebSocketRoute) -> None:
        self._socket = socket
        socket.on_message(self.receive)
        self._send("connected", heartbeat=30_000)

    def receive(self, message: str | bytes) -> None:
        command = json.loads(message)
        if command["type"] == "subscribe":
            place = {"epoch": "e", "seq": 0, "head": 0, "recovered": None, "members": [], "count": 0}
            self._send("room_info", id=command["id"], room=command["room"], messages=[], **place)
        if command.get("room") == "dashboard-state":
            for seq, (metric, (warning, critical)) in enumerate(DEFAULTS.items(), 1):
                levels = {"metric": metric, "warning": warning, "critical": critical, "by": ""}
                self._send("threshold", room="dashboard-state", seq=seq, **levels)

    def measure(self, values: dict[str, float]) -> None:
        """A second is over."""
        self._seq += 1
        data = {"activeUsers": 1, "requestsPerSecond": 1, **values}
        self._send("metrics", room="dashboard", seq=self._seq, data=data, timestamp=SAID_AT_MS + 1000 * self._seq)

    def _send(self, type: str, **fields: Any) -> None:
        assert self._socket is not None
        self._socket.send(json.dumps({"type": type, "timestamp": SAID_AT_MS, **fields}))
