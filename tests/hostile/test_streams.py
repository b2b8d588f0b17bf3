"""Streams over HTTP under attack: requests that ask for too much, and clients that do what nobody does behind them."""

import json
import socket
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from tests.hostile.witness import HonestPeer, memory_bytes
from tests.support.peer import command
from tests.support.server import FAST, Server

GARBAGE = b"\0\xff\r\n: \x16\x03\x01" * 1000


@contextmanager
def asking(server: Server, target: str, *lines: str, behind: bytes = b"") -> Iterator[socket.socket]:
    """A client that has sent a request for a stream, and more at once."""
    head = "\r\n".join((f"GET {target} HTTP/1.1", "Host: localhost", *lines)) + "\r\n\r\n"
    with socket.create_connection(("127.0.0.1", server.port), 10.0) as client:
        client.sendall(head.encode() + behind)
        yield client


def until(client: socket.socket, wanted: bytes) -> bytes:
    """All up to these bytes."""
    read = b""
    while wanted not in read:
        data = client.recv(65536)
        assert data, f"the connection ended: {read[-500:]!r}"
        read += data
    return read


def rest(client: socket.socket) -> bytes:
    """All to the end, however it ends."""
    read = b""
    try:
        while data := client.recv(65536):
            read += data
    except ConnectionResetError:
        pass
    return read


def status(server: Server, target: str, *lines: str) -> int:
    with asking(server, target, *lines) as client:
        return int(until(client, b"\r\n\r\n").split(b" ")[1])


REFUSED = {
    "100 rooms": ("/sse?" + "&".join(f"room={number}" for number in range(100)), 400),
    "1,000 times one room": ("/sse?" + "room=a&" * 1000, 400),
    "a room's name with a line's end": ("/sse?room=a%0d%0ab", 400),
    "more places than rooms": ("/sse?room=a&since=" + "e:1," * 100, 400),
    "a seq of 4,000 digits": ("/sse?room=a&since=e:" + "9" * 4000, 400),
    "a seq that is no ASCII digit": ("/sse?room=a&since=e:%d9%a1", 400),
    "an epoch with a line's end": ("/sse?room=a&since=e%0d%0aid:1", 400),
    "a history of 5,000 digits": ("/stream?room=a&history=" + "1" * 5000, 400),
    "a negative history": ("/stream?room=a&history=-1", 400),
    "not UTF-8": ("/sse?room=%ff", 400),
    "two places": ("/sse?room=a&since=-&since=-", 400),
}


@pytest.mark.parametrize(("target", "code"), REFUSED.values(), ids=REFUSED)
def test_a_request_that_asks_for_too_much_is_400(server: Server, target: str, code: int) -> None:
    assert status(server, target) == code


@pytest.mark.parametrize(("size", "code"), [(8000, 400), (8192, 431), (100_000, 431)])
def test_a_huge_last_event_id_is_refused(server: Server, size: int, code: int) -> None:
    assert status(server, "/sse?room=a", "Last-Event-ID: " + "e:1," * (size // 4)) == code


def test_a_place_nobody_has_been_to_is_not_recovered(server: Server, room: str) -> None:
    with asking(server, f"/stream?room={room}&since={'x' * 64}:{'9' * 18}") as client:
        assert b'"recovered":false' in until(client, b'"room_info"')


@pytest.mark.parametrize("behind", [GARBAGE, b"GET / HTTP/1.1\r\nHost: a\r\n\r\n" * 3, b"\r\n" * 500])
def test_what_comes_with_the_request_harms_nobody(server: Server, room: str, behind: bytes) -> None:
    with asking(server, f"/stream?room={room}", behind=behind) as client:
        assert until(client, b" ").startswith(b"HTTP/1.1 ")


@pytest.mark.parametrize("host", [FAST], indirect=True)
def test_a_flood_behind_the_request_ends_the_stream(server: Server, room: str) -> None:
    with asking(server, f"/stream?room={room}") as client:
        until(client, b'"room_info"')  # else it would be for the HTTP parser
        client.sendall(GARBAGE * 3)
        end = json.loads(rest(client).splitlines()[-1])
        assert (end["code"], end["reason"]) == (1008, "a stream reads nothing behind its request")


def test_who_takes_back_its_half_is_forgotten(server: Server, room: str) -> None:
    server.wait_for_connections(1)
    with asking(server, f"/stream?room={room}") as client:
        until(client, b'"room_info"')
        server.wait_for_connections(2)
        client.shutdown(socket.SHUT_WR)
        assert rest(client).strip() == b""
        server.wait_for_connections(1)


def test_who_resets_in_the_middle_is_forgotten(server: Server, room: str) -> None:
    for read in (False, True) * 10:
        with asking(server, f"/sse?room={room}&username=eve") as client:
            if read:
                until(client, b"connected")
            client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
    server.wait_for_connections(1)


PUBLISHED = 120 * 60_000


def state_much(peer: HonestPeer) -> None:
    """Publishes so many bytes."""
    for number in range(PUBLISHED // 60_000):
        peer.send(command(type="state", text=f"{number:060000}", id=number))
        peer.event("ok")


@pytest.mark.parametrize("options", [("--stall-seconds", "1", "--rate-limit", "0")], ids=["1s"])
@pytest.mark.parametrize("host", [FAST], indirect=True)
def test_who_never_reads_costs_no_more_than_its_buffer_and_is_closed(server: Server, room: str) -> None:
    with HonestPeer(server.port) as ada:
        ada.join(room, "ada")
        for _ in range(6):  # until the room's log holds as much as it may, and nothing of it is new to the server
            state_much(ada)
        with asking(server, f"/sse?room={room}", "Accept-Encoding: identity") as client:
            client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            until(client, b'"room_info"')
            stalls = server.refused("stall_seconds")
            before = memory_bytes(server)
            state_much(ada)
            assert memory_bytes(server) - before < PUBLISHED / 2
            while server.refused("stall_seconds") == stalls:
                ada.round_trip(1000)
    server.wait_for_connections(1)
