"""For each limit, how somebody meets it, and what they are answered."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass
from uuid import uuid4

from hubbub.wire.websocket import CLOSE, FIN, PING, TEXT, parse_close
from tests.hostile.test_handshake import request
from tests.hostile.witness import HonestPeer
from tests.support.peer import Peer, command, frame, text
from tests.support.server import Server

_HOSTS = itertools.count(100)


@dataclass
class Scene:
    """A server with a small limit, and somebody who comes from an address that nobody else has.

    Attributes:
        headers: what lets a client in.
    """

    server: Server
    headers: tuple[str, ...]
    stack: ExitStack

    def __post_init__(self) -> None:
        self.source = f"127.0.1.{next(_HOSTS) % 250}"
        self.room = f"room-{uuid4()}"

    def peer(self) -> HonestPeer:
        return self.stack.enter_context(HonestPeer(self.server.port, 10.0, self.source, self.headers))

    def opened(self) -> HonestPeer:
        peer = self.peer()
        peer.open()
        peer.event("connected")
        return peer

    def joined(self, room: str = "") -> HonestPeer:
        peer = self.peer()
        peer.join(room or self.room, "ada")
        return peer

    def refused(self, *data: bytes) -> str:
        """The answer to bytes that are no honest request."""
        return self.peer().http(b"".join(data))[1].decode()

    def handshakes(self, count: int) -> str:
        """The answer to the last of so many handshakes, whose connections stay."""
        for _ in range(count - 1):
            self.opened()
        return self.refused(request(*(line.encode() for line in self.headers)))


def closed(peer: Peer) -> str:
    """The reason with which the server ends a connection; what comes before is passed over."""
    while True:
        opcode, payload = peer.next()
        if opcode == CLOSE:
            return parse_close(payload)[1]


def answer_to(peer: Peer, id: int) -> str:
    """The message of the error that answers a command."""
    while (event := peer.event("error")).get("id") != id:
        pass
    message: str = event["message"]
    return message


def pings(count: int, first: int = 1) -> bytes:
    return b"".join(command(type="ping", id=first + number) for number in range(count))


def burst(scene: Scene) -> str:
    peer = scene.opened()
    peer.send(pings(9))
    return answer_to(peer, 9)


def patience(scene: Scene) -> str:
    peer = scene.opened()
    peer.send(pings(11))
    return closed(peer)


def control(scene: Scene) -> str:
    peer = scene.opened()
    peer.send(frame(FIN | PING, b"") * 8)
    return closed(peer)


def heavy(scene: Scene) -> str:
    peer = scene.joined()
    peer.send(b"".join(command(type="presence", room=scene.room, id=number) for number in (1, 2, 3)))
    return answer_to(peer, 2)


def long_message(scene: Scene) -> str:
    peer = scene.opened()
    peer.send(frame(FIN | TEXT, b"a" * 501))
    return closed(peer)


def fill(scene: Scene, room: str, limit: str) -> str:
    """Has much said to somebody who does not read, until the limit is met; then they read."""
    reader, writer = scene.joined(room), scene.joined(room)
    before = scene.server.refused(limit)
    while scene.server.refused(limit) == before:
        writer.send(command(type="state", text="a" * 60_000, id=1))
        writer.event("ok")
    return closed(reader)


def user_rate(scene: Scene) -> str:
    first, second = scene.opened(), scene.opened()
    first.send(pings(4))
    while first.event("ok")["id"] != 4:
        pass
    second.send(pings(5))
    return answer_to(second, 5)


def room_rate(scene: Scene) -> str:
    first, second = scene.joined(), scene.joined()
    for peer in (first, second):
        peer.send(command(type="message", text="hi", id=1) + command(type="message", text="hi", id=2))
        while peer.event("ok")["id"] != 2:
            pass
    second.send(command(type="message", text="hi", id=3))
    return answer_to(second, 3)


def malformed(scene: Scene) -> str:
    peer = scene.opened()
    peer.send(text("nonsense") * 3)
    return closed(peer)


def rooms(scene: Scene) -> str:
    peer = scene.opened()
    for number in (1, 2, 3):
        peer.send(command(type="join", room=f"{scene.room}-{number}"[-40:], username="ada", keep=True, id=number))
    return answer_to(peer, 3)


def backlog(scene: Scene) -> str:
    """Nothing is refused or said: reading pauses, and all is carried out."""
    peer = scene.joined()
    peer.send(command(type="slow", text="hi", id=100) + pings(4))
    while peer.event("ok")["id"] != 4:
        pass
    return ""


def plain(*lines: bytes, start: bytes = b"GET / HTTP/1.1") -> bytes:
    return b"\r\n".join((start, b"Host: 127.0.0.1", *lines)) + b"\r\n\r\n"


@dataclass(frozen=True)
class Row:
    """How a limit is met.

    Attributes:
        settings: the server's.
        meet: does it; returns the answer.
        counted: the setting that the answer names, and that is counted.
        answered: whether there is an answer that could name it.
        users: whether clients have tokens.
    """

    settings: dict[str, float]
    meet: Callable[[Scene], str]
    counted: str = ""
    answered: bool = True
    users: bool = False


SMALL: dict[str, float] = {
    "rate_limit": 0.5,
    "rate_burst": 8,
    "rate_patience_seconds": 0,
    "control_rate": 1,
    "control_burst": 5,
    "max_message_bytes": 500,
    "heavy_cost": 5,
    "max_malformed": 3,
    "max_rooms": 2,
    "max_backlog": 3,
    "max_header_count": 10,
    "max_header_line_bytes": 200,
    "max_head_bytes": 700,
    "max_url_bytes": 100,
    "max_body_bytes": 100,
}
SLOW_READERS = {"max_buffered_bytes": 4096.0, "stall_seconds": 1.0, "rate_limit": 0.0}
A_USER, A_ROOM = {"user_rate": 0.5, "user_burst": 8.0}, {"room_rate": 0.5, "room_burst": 4.0}
HANDSHAKES = {"handshake_rate": 0.001, "handshake_burst": 5.0}

ROWS = {
    "rate_limit": Row(SMALL, burst),
    "rate_burst": Row(SMALL, burst, "rate_limit"),
    "rate_patience_seconds": Row(SMALL, patience),
    "control_rate": Row(SMALL, control),
    "control_burst": Row(SMALL, control, "control_rate"),
    "max_message_bytes": Row(SMALL, long_message),
    "max_buffered_bytes": Row(SLOW_READERS, lambda scene: fill(scene, f"impatient-{scene.room}", "max_buffered_bytes")),
    "stall_seconds": Row(SLOW_READERS, lambda scene: fill(scene, scene.room, "stall_seconds")),
    "heavy_cost": Row(SMALL, heavy),
    "user_rate": Row(A_USER, user_rate, users=True),
    "user_burst": Row(A_USER, user_rate, "user_rate", users=True),
    "room_rate": Row(A_ROOM, room_rate),
    "room_burst": Row(A_ROOM, room_rate, "room_rate"),
    "handshake_rate": Row(HANDSHAKES, lambda scene: scene.handshakes(6)),
    "handshake_burst": Row(HANDSHAKES, lambda scene: scene.handshakes(6), "handshake_rate"),
    "max_connections": Row({"max_connections": 3}, lambda scene: scene.handshakes(4)),
    "max_connections_per_address": Row({"max_connections_per_address": 3}, lambda scene: scene.handshakes(4)),
    "max_connections_per_user": Row({"max_connections_per_user": 3}, lambda scene: scene.handshakes(4), users=True),
    "max_malformed": Row(SMALL, malformed),
    "max_rooms": Row(SMALL, rooms),
    "max_backlog": Row(SMALL, backlog, answered=False),
    "max_header_count": Row(SMALL, lambda scene: scene.refused(plain(*[b"X-Any: a"] * 10))),
    "max_header_line_bytes": Row(SMALL, lambda scene: scene.refused(plain(b"X-Any: " + b"a" * 200))),
    "max_head_bytes": Row(SMALL, lambda scene: scene.refused(plain(*[b"X-Any: " + b"a" * 180] * 4))),
    "max_url_bytes": Row(SMALL, lambda scene: scene.refused(plain(start=b"GET /" + b"a" * 100 + b" HTTP/1.1"))),
    "max_body_bytes": Row(
        SMALL, lambda scene: scene.refused(plain(b"Content-Length: 101", start=b"POST /api/ticket HTTP/1.1"))
    ),
}
