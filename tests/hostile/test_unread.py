"""Answers over plain HTTP that nobody reads: whoever asks is counted nowhere else, and holds what was made for them."""

import socket
import time
from pathlib import Path

import pytest

from tests.hostile.witness import HonestPeer
from tests.support.peer import command
from tests.support.server import FAST, Server

SMALLEST_SEGMENT = 536
"""The kernel takes as much of an answer as some segments have, which are huge on this machine."""

pytestmark = [
    pytest.mark.parametrize("host", [FAST], indirect=True),
    pytest.mark.parametrize("options", [("--stall-seconds", "1", "--rate-limit", "0", "--user-rate", "0")]),
]


def unread(server: Server, target: str, requests: int = 1, *lines: str) -> socket.socket:
    """A client that has asked, and reads nothing."""
    client = socket.socket()
    client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 2048)
    client.setsockopt(socket.IPPROTO_TCP, socket.TCP_MAXSEG, SMALLEST_SEGMENT)
    client.connect(("127.0.0.1", server.port))
    head = "\r\n".join((f"GET {target} HTTP/1.1", "Host: localhost", *lines)) + "\r\n\r\n"
    client.sendall(head.encode() * requests)
    return client


def sockets(server: Server) -> int:
    """How many files the server has open."""
    return len(list(Path(f"/proc/{server.process.pid}/fd").iterdir()))


ASKED = {
    "an answer that is longer than what may wait": ("/api/rooms/{room}/messages?limit=200", 1, ()),
    "several answers, one behind the other": ("/api/rooms/{room}/messages?limit=40", 7, ()),
    "an answer that waits as a whole": ("/api/rooms/{room}/messages?limit=50", 1, ()),
    "the last answer of a connection": ("/api/rooms/{room}/messages?limit=50", 1, ("Connection: close",)),
    "a poll": ("/poll?room={room}&history=50", 1, ()),
}


@pytest.mark.parametrize(("target", "requests", "lines"), ASKED.values(), ids=ASKED)
def test_who_reads_nothing_of_an_answer_is_let_go_of(
    server: Server, room: str, target: str, requests: int, lines: tuple[str, ...]
) -> None:
    with HonestPeer(server.port) as peer:
        peer.join(room, "ada")
        for number in range(70):
            peer.send(command(type="state", text="x" * 1900, id=number))
            peer.event("ok")
        before = sockets(server)
        with unread(server, target.format(room=room), requests, *lines):
            while sockets(server) <= before:
                peer.round_trip(1000)
            while sockets(server) > before:
                time.sleep(0.05)
