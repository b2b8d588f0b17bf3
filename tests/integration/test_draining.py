"""How a server ends: says so, sends everybody away in their turn, keeps what it acknowledged, and is gone in time."""

from __future__ import annotations

import json
import re
import signal
import sqlite3
from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager
from pathlib import Path

import pytest

from hubbub.wire.websocket import CLOSE, parse_close
from tests.support.peer import Peer, command
from tests.support.server import ASGI, FAST, OWN_HOSTS, Server, serve

SECONDS = 10.0
FLOOD = [f"{number:060000}" for number in range(120)]
"""7 MB: more than the kernel's buffers of a connection and the server's together."""


@pytest.fixture(params=OWN_HOSTS)
def host(request: pytest.FixtureRequest) -> str:
    name: str = request.param
    return name


def ask(port: int, request: str) -> tuple[int, str]:
    """The status and all of the answer, in small letters, on a connection of its own."""
    with Peer(port) as peer:
        status, answer = peer.http(f"{request} HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n".encode())
    return status, answer.decode().lower()


UPGRADE = (
    " HTTP/1.1\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n"
    "Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\nX-Rest: "
)


@contextmanager
def draining(server: Server, *paths: str) -> Iterator[list[Peer]]:
    """Clients of a server that has been told to end; each has what it was told first."""
    with ExitStack() as stack:
        peers = [stack.enter_context(Peer(server.port)) for _ in paths]
        for peer, path in zip(peers, paths, strict=True):
            peer.open(path)
        for peer, path in zip(peers, paths, strict=True):
            if path.startswith("/ws"):
                peer.event("connected")
        server.process.send_signal(signal.SIGTERM)
        yield peers


def last_words(peer: Peer) -> tuple[int, str]:
    """Code and reason of the server's close frame, once TCP has ended too."""
    assert peer.close_code() != 0
    return parse_close(peer.received[-1][1])


# Before the first goes


def test_a_server_that_ends_is_not_ready_while_it_still_serves(tmp_path: Path, host: str) -> None:
    with (
        serve(tmp_path, host, "--drain-notice-seconds", "60") as server,
        draining(server, "/ws") as (ada,),
    ):
        assert 60_000 < ada.event("reconnect")["after"] <= 60_510
        status, answer = ask(server.port, "GET /readyz")
        assert status == 503
        assert "the server is stopping" in answer
        assert 60 < int(re.findall(r"retry-after: (\d+)", answer)[0]) <= 62
        assert ask(server.port, "GET /healthz")[0] == 200
        ada.send(command(type="join", room="lobby", username="ada") + command(type="message", text="hi", id=1))
        assert ada.event("ok")["seq"] == 1
        server.process.send_signal(signal.SIGTERM)
        assert last_words(ada)[0] == 1012


def test_nobody_is_let_in_any_more(tmp_path: Path, host: str) -> None:
    with (
        serve(tmp_path, host, "--drain-notice-seconds", "60") as server,
        draining(server, "/ws") as (ada,),
    ):
        ada.event("reconnect")
        for request in (f"GET /ws{UPGRADE}", f"GET /echo{UPGRADE}", "POST /api/ticket"):
            status, answer = ask(server.port, request)
            assert (status, "retry-after: " in answer) == (503, True), answer
        server.process.send_signal(signal.SIGTERM)


def test_a_connection_that_is_kept_alive_ends_with_its_next_answer(tmp_path: Path) -> None:
    with (
        serve(tmp_path, FAST, "--drain-notice-seconds", "60") as server,
        Peer(server.port) as kept,
        draining(server, "/ws") as (ada,),
    ):
        ada.event("reconnect")
        status, answer = kept.http(b"GET / HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n")
        assert status == 200
        assert b"\r\nconnection: close\r\n" in answer
        server.process.send_signal(signal.SIGTERM)


# Who goes when


def test_clients_go_one_after_the_other_each_told_when_to_come_back(tmp_path: Path, host: str) -> None:
    with (
        serve(tmp_path, host, "--drain-seconds", "0.2") as server,
        draining(server, *["/ws"] * 40) as peers,
    ):
        told = [peer.event("reconnect")["after"] for peer in peers]
        assert len(set(told)) == 40
        assert all(500 <= after <= 700 for after in told)
        assert {last_words(peer) for peer in peers} == {(1012, "after=500")}
        assert server.process.wait(SECONDS) == 0


def test_an_own_protocol_is_told_by_the_close_frame_alone(tmp_path: Path, host: str) -> None:
    with serve(tmp_path, host) as server, draining(server, "/echo") as (bob,):
        assert last_words(bob) == (1012, "after=500")
        assert [opcode for opcode, _ in bob.received] == [CLOSE]
        assert server.process.wait(SECONDS) == 0


# What is kept


def test_what_was_acknowledged_is_in_the_file(tmp_path: Path, host: str) -> None:
    file = tmp_path / "rooms.db"
    options = ("--broker", f"sqlite:///{file}", "--rate-limit", "0")
    acknowledged = set()
    with serve(tmp_path, host, *options) as server, Peer(server.port) as ada:
        ada.join("lobby", "ada")
        ada.send(b"".join(command(type="state", text=f"<{number}>", id=number) for number in range(200)))
        ada.event("ok")
        server.process.send_signal(signal.SIGTERM)
        assert ada.close_code() == 1012
        assert server.process.wait(SECONDS) == 0
        events = [json.loads(payload) for opcode, payload in ada.received if opcode != CLOSE]
        acknowledged = {event["id"] for event in events if event["type"] == "ok"}
    with closing(sqlite3.connect(file)) as kept:
        texts = "".join(row[0].decode() for row in kept.execute("SELECT payload FROM event"))
    assert acknowledged
    assert all(f"<{number}>" in texts for number in acknowledged)


# In time


def test_who_never_reads_or_never_answers_holds_nothing_up(tmp_path: Path, host: str) -> None:
    options = ("--close-seconds", "1", "--rate-limit", "0")
    with serve(tmp_path, host, *options) as server, ExitStack() as stack:
        ada, deaf, mute = (stack.enter_context(Peer(server.port)) for _ in range(3))
        deaf.join("lobby", "deaf")
        mute.join("hall", "mute")
        ada.join("lobby", "ada")
        for text in FLOOD:
            ada.send(command(type="state", text=text))
            assert ada.event("stated")["text"] == text
        server.process.send_signal(signal.SIGTERM)
        assert ada.close_code() == 1012
        assert server.process.wait(SECONDS) == 0
        while mute.next()[0] != CLOSE:
            pass


@pytest.mark.parametrize("second", [signal.SIGTERM, signal.SIGINT])
def test_a_second_signal_ends_it_at_once(tmp_path: Path, host: str, second: int) -> None:
    options = ("--drain-notice-seconds", "600", "--close-seconds", "600")
    with serve(tmp_path, host, *options) as server, draining(server, "/ws", "/echo") as (ada, bob):
        ada.event("reconnect")
        ada.send(command(type="join", room="lobby", username="ada") + command(type="slow", text="never", seconds=600))
        ada.event("room_info")
        server.process.send_signal(second)
        assert server.process.wait(SECONDS) == 0
        assert (ada.close_code(), bob.close_code()) == (1012, 1012)


def test_a_second_signal_ends_what_waits_for_a_handler_at_once(tmp_path: Path) -> None:
    with serve(tmp_path, ASGI, "--close-seconds", "600") as server, Peer(server.port) as ada:
        ada.join("lobby", "ada")
        ada.send(command(type="slow", text="never", seconds=600))
        server.process.send_signal(signal.SIGTERM)
        assert ada.close_code() == 1012
        server.process.send_signal(signal.SIGTERM)
        assert server.process.wait(SECONDS) == 0
