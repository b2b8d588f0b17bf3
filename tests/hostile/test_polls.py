"""Polls that ask for nonsense, do not wait for answers, do not read them, or vanish: nothing stays of them."""

from __future__ import annotations

import json
import socket
from contextlib import ExitStack
from typing import Any
from urllib.parse import quote

import pytest

from tests.support.peer import Peer, command
from tests.support.poller import wait_for_polls
from tests.support.server import Server

END = b" HTTP/1.1\r\nHost: 127.0.0.1\r\n"
VANISHING = 1_000
AN_ADDRESS = 250


def request(query: str, *, close: bool = False) -> bytes:
    return f"GET /poll?{query}".encode() + END + b"Connection: close\r\n" * close + b"\r\n"


def ask(server: Server, query: str) -> tuple[int, dict[str, Any]]:
    with Peer(server.port) as peer:
        status, answer = peer.http(request(query, close=True))
    return status, json.loads(answer.partition(b"\r\n\r\n")[2])


def place_of(server: Server, room: str) -> str:
    status, body = ask(server, f"room={room}&timeout=0")
    assert status == 200
    place: str = body["since"]
    return place


def answers(peer: Peer, count: int) -> list[dict[str, Any]]:
    """The bodies of so many answers, which are all of status 200."""
    file, bodies = peer.socket.makefile("rb"), []
    for _ in range(count):
        assert file.readline().startswith(b"HTTP/1.1 200 "), file.peek()
        length = 0
        while (line := file.readline()) != b"\r\n":
            if line.startswith(b"content-length:"):
                length = int(line.split(b":")[1])
        bodies.append(json.loads(file.read(length)))
    return bodies


def say(server: Server, room: str, *texts: str) -> None:
    """Somebody comes, says this, and goes once it is kept."""
    with Peer(server.port) as peer:
        peer.join(room, "eve")
        for text in texts:
            peer.send(command(type="message", text=text))
        while peer.event("message")["text"] != texts[-1]:
            pass


NONSENSE = {
    "no room": "timeout=0",
    "an empty room": "room=%20",
    "a room twice": "room=a&room=a%20",
    "100 rooms": "&".join(f"room=r{number}" for number in range(100)),
    "a room that is none": "room=" + quote("a\r\nb\0"),
    "a pattern": "room=*",
    "not UTF-8": "room=%ff%fe",
    "half a surrogate": "room=" + quote("\ud800", errors="surrogatepass"),
    "a place without an epoch": "room=a&since=:5",
    "a place without a number": "room=a&since=ab:",
    "a negative place": "room=a&since=ab:-1",
    "a place beyond 64 bits": "room=a&since=ab:99999999999999999999999",
    "digits of others": "room=a&since=" + quote("ab:٣"),
    "a place too many": "room=a&since=ab:1,ab:2",
    "a million places": "room=a&since=" + "," * 7000,
    "an epoch without end": "room=a&since=" + "e" * 7000 + ":1",
    "two places": "room=a&since=-&since=-",
    "less than no time": "room=a&timeout=-1",
    "for ever": "room=a&timeout=inf",
    "no number": "room=a&timeout=NaN",
    "a long time": "room=a&timeout=1e9",
    "a minute and more": "room=a&timeout=60.001",
    "digits apart": "room=a&timeout=1_0",
    "too much history": "room=a&history=1001",
    "negative history": "room=a&history=-1",
    "half an event": "room=a&history=0.5",
    "a name without a session": "room=a&username=eve",
    "a name that is none": "room=a&session=&username=" + quote("a\u202eb"),
}


@pytest.mark.parametrize("query", NONSENSE.values(), ids=NONSENSE)
def test_what_makes_no_sense_is_refused_and_why(server: Server, query: str) -> None:
    status, body = ask(server, query)
    assert (status, body["status"]) == (400, 400)
    assert body["detail"].isprintable()


def test_a_session_that_is_none_is_a_new_one(server: Server, room: str) -> None:
    status, body = ask(server, f"room={room}&timeout=0&session={'x' * 7000}")
    assert (status, body["session"].count(".")) == (200, 2)


def test_polls_that_do_not_wait_for_answers_are_answered_in_order(server: Server, room: str) -> None:
    since = place_of(server, room)
    with Peer(server.port) as peer:
        peer.send(request(f"room={room}&since={since}&timeout=0") * 3 + request(f"room={room}&since={since}"))
        assert [body["since"] for body in answers(peer, 3)] == [since] * 3
        wait_for_polls(server, 1)
        peer.send(request(f"room={room}&since={since}") * 3)
        say(server, room, "hello")
        assert [body["events"][0]["text"] for body in answers(peer, 4)] == ["hello"] * 4


def test_garbage_behind_a_poll_that_waits_ends_its_connection_and_no_other(server: Server, room: str) -> None:
    since = place_of(server, room)
    with Peer(server.port) as eve, Peer(server.port) as ada:
        for peer in (ada, eve):
            peer.send(request(f"room={room}&since={since}"))
        wait_for_polls(server, 2)
        eve.send(b"\0garbage" * 10_000)
        say(server, room, "hello")
        assert answers(ada, 1)[0]["events"][0]["text"] == "hello"
        assert b"HTTP/1.1 400 " in eve.read_to_end()


def test_who_does_not_read_the_answer_gets_it_and_the_next_ones_once_it_does(server: Server, room: str) -> None:
    since = place_of(server, room)
    with Peer(server.port) as slow:
        slow.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        for _ in range(3):
            slow.send(request(f"room={room}&since={since}"))
        wait_for_polls(server, 1)
        say(server, room, *(f"{number}{'x' * 1900}" for number in range(15)))
        slow.send(request(f"room={room}&since={since}") * 5)
        events = [len(body["events"]) for body in answers(slow, 8)]
    assert events == sorted(events)
    assert events[3:] == [15] * 5


def test_of_a_thousand_polls_that_vanish_nothing_stays(server: Server, room: str) -> None:
    since = place_of(server, room)
    connections = server.counters()["connections"]
    for _ in range(2):
        with ExitStack() as stack:
            for number in range(VANISHING):
                peer = stack.enter_context(Peer(server.port, source=f"127.0.2.{1 + number // AN_ADDRESS}"))
                peer.send(request(f"room={room}&since={since}"))
                if number % 2:
                    stack.callback(peer.reset)
            wait_for_polls(server, VANISHING)
        wait_for_polls(server, 0)
        server.wait_for_connections(connections)
    with ExitStack() as stack:  # of the address's 500 connections all are free again
        for _ in range(2 * AN_ADDRESS - 10):
            peer = stack.enter_context(Peer(server.port, source="127.0.2.1"))
            peer.send(request(f"room={room}&since={since}"))
        wait_for_polls(server, 2 * AN_ADDRESS - 10)
    wait_for_polls(server, 0)
