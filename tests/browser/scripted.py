"""A server in the test's hands: it answers joins and messages, and says or does the rest when it is told."""

from __future__ import annotations

import json
from typing import Any

from playwright.sync_api import WebSocketRoute

SAID_AT_MS = 1_700_000_000_000


class ScriptedServer:
    """Takes the place of the server in a tab.

    Attributes:
        sockets: the connections that were opened.
        commands: what was received, in order.
        members: who is in every room beside who joins, first of all.
        seq: the position of every room.
        mute: messages get no answer.
    """

    def __init__(self) -> None:
        self.sockets: list[WebSocketRoute] = []
        self.commands: list[dict[str, Any]] = []
        self.members: list[str] = []
        self.seq = 0
        self.mute = False

    @property
    def received(self) -> list[str]:
        """The types of the commands."""
        return [command["type"] for command in self.commands]

    def accept(self, socket: WebSocketRoute) -> None:
        self.sockets.append(socket)
        socket.on_message(self.receive)

    def receive(self, message: str | bytes) -> None:
        command = json.loads(message)
        self.commands.append(command)
        if command["type"] == "join":
            members = [*self.members, command["username"]]
            position = {"epoch": "e", "seq": self.seq, "count": len(members)}
            self.send("room_info", id=command["id"], room=command["room"], members=members, **position)
        elif command["type"] == "message" and not self.mute:
            self.seq += 1
            self.send("ok", id=command["id"], seq=self.seq)
            self.say("ada", command["text"])

    def say(self, username: str, text: str, **fields: Any) -> None:
        self.send("message", username=username, text=text, messageId="m", seq=self.seq, **fields)

    def send(self, type: str, **fields: Any) -> None:
        self.sockets[-1].send(json.dumps({"type": type, "timestamp": SAID_AT_MS, **fields}))

    def close(self, code: int, reason: str = "") -> None:
        self.sockets[-1].close(code=code, reason=reason)
