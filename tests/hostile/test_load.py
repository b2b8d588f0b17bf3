"""Attacks by volume: many fragments, segments, pings and peers that are gone; an honest client is served meanwhile."""

import socket
import time
from contextlib import ExitStack, suppress

import pytest

from hubbub.wire.websocket import BINARY, CONTINUATION, FIN, PING, PONG, TEXT
from tests.hostile.crowd import Crowd
from tests.hostile.witness import HonestPeer, cpu_seconds, memory_bytes
from tests.support.peer import Peer, command, frame, text
from tests.support.server import Server

MEGABYTE = 1 << 20
LONGEST = 65536

# Row 17

ENDLESS = {
    "131,000 fragments of a byte": frame(TEXT, b"a") + frame(CONTINUATION, b"a") * 131_000,
    "131,000 empty fragments": frame(TEXT, b"") + frame(CONTINUATION, b"") * 131_000,
    "fragments of a kilobyte": frame(TEXT, b"a") + frame(CONTINUATION, b"a" * 1024) * 65,
    "pings between fragments": frame(TEXT, b"a") + (frame(FIN | PING, b"") + frame(CONTINUATION, b"a" * 1024)) * 65,
}


@pytest.mark.parametrize("data", ENDLESS.values(), ids=ENDLESS)
def test_row_17_a_message_that_does_not_end_is_1009(server: Server, data: bytes) -> None:
    with Peer(server.port) as peer:
        peer.open()
        peer.send(data)
        assert peer.close_code() == 1009


def memory_of_unfinished(server: Server, data: bytes) -> int:
    """What a hundred unfinished messages occupy in the server; then they are gone."""
    with Crowd(server.port, 100) as crowd:
        crowd.open()
        before = memory_bytes(server)
        crowd.send(data)
        crowd.wait_until_read()
        return memory_bytes(server) - before


def test_row_17_unfinished_messages_occupy_at_most_four_times_their_bytes(server: Server) -> None:
    """The bytes of the payloads, 5,000 from each; on the wire there are two and a half times as many."""
    fragments = frame(TEXT, b"a") + frame(CONTINUATION, b"a") * 999 + frame(CONTINUATION, b"a" * 16) * 250
    assert memory_of_unfinished(server, fragments) <= 4 * 100 * 5_000


def test_row_17_unfinished_messages_give_their_memory_back(server: Server) -> None:
    """The second time needs what the first time had; a leak would need as much again."""
    fragments = frame(TEXT, b"a" * 30_000) + frame(CONTINUATION, b"a" * 30_000)
    memory_of_unfinished(server, fragments)
    before = memory_bytes(server)
    memory_of_unfinished(server, fragments)
    assert memory_bytes(server) - before < 100 * 60_000 // 2


# Row 18


def ping_of(size: int) -> bytes:
    """A `ping` command as a frame with a payload of so many bytes."""
    return text('{"type":"ping","id":1}'.ljust(size))


def test_row_18_a_frame_of_64_kilobytes_in_segments_of_a_byte_is_taken(server: Server) -> None:
    with Peer(server.port) as peer:
        peer.open()
        for byte in ping_of(LONGEST):
            peer.send(bytes((byte,)))
        assert peer.event("ok")["id"] == 1


def test_row_18_frames_in_segments_of_a_byte_are_taken_from_a_thousand_clients(server: Server) -> None:
    """64 bytes from each, a byte of everyone's at a time: 64,000 segments; 64 KB from each would take minutes."""
    with Crowd(server.port, 1000) as crowd:
        crowd.open()
        for byte in ping_of(58):
            crowd.send(bytes((byte,)))
        assert [peer.event("ok")["id"] for peer in crowd.peers] == [1] * 1000


# Row 22

# What comes behind the 1008 is not looked at, an answer to it neither: the server waits for as long as this.
CLOSES_SOON = pytest.mark.parametrize("options", [("--close-seconds", "2")], ids=["2s"])


@CLOSES_SOON
def test_row_22_a_hundred_thousand_pings_get_a_hundred_answers_and_1008(server: Server) -> None:
    """Those that the burst allows, and ten for each second that it takes."""
    begin = time.monotonic()
    with Peer(server.port) as peer:
        peer.open()
        peer.send(frame(FIN | PING, b"?") * 100_000)
        assert peer.close_code() == 1008
        pongs = [payload for opcode, payload in peer.received if opcode == PONG]
    assert 100 <= len(pongs) <= 100 + 10 * (time.monotonic() - begin)


PONGS = {"pongs": frame(FIN | PONG, b""), "pongs and pings": frame(FIN | PONG, b"") + frame(FIN | PING, b"")}


@CLOSES_SOON
@pytest.mark.parametrize("flood", PONGS.values(), ids=PONGS)
def test_row_22_unsolicited_pongs_for_ever_are_1008(server: Server, flood: bytes) -> None:
    with Peer(server.port) as peer:
        peer.open()
        peer.send(flood * 100_000)
        assert peer.close_code() == 1008


def send_until_closed(peer: Peer, data: bytes, size: int) -> None:
    """Sends the same again and again without ever reading, until so many bytes are sent or the server has enough."""
    try:
        for _ in range(size // len(data)):
            peer.send(data)
    except (ConnectionResetError, BrokenPipeError):
        pass


NEVER_READ = {"pings": frame(FIN | PING, b"?" * 125) * 500, "commands": command(type="ping", id=1) * 1000}


@pytest.mark.parametrize("options", [("--rate-limit", "0")], ids=["no limit"])
@pytest.mark.parametrize("data", NEVER_READ.values(), ids=NEVER_READ)
def test_row_22_the_answers_to_one_who_never_reads_do_not_pile_up(server: Server, data: bytes) -> None:
    """A quarter of a megabyte may wait, and the answers to what was read at once; then it is closed, or not read."""
    before = memory_bytes(server)
    with Peer(server.port, timeout=3) as peer:
        peer.open()
        with suppress(TimeoutError):
            send_until_closed(peer, data, 24 * MEGABYTE)
        assert memory_bytes(server) - before < 8 * MEGABYTE


@CLOSES_SOON
def test_row_22_what_comes_behind_the_1008_is_not_looked_at(server: Server) -> None:
    """Two million frames; reading them one by one takes seconds."""
    before = cpu_seconds(server)
    with Peer(server.port) as peer:
        peer.open()
        send_until_closed(peer, frame(FIN | PING, b"") * 5000, 12 * MEGABYTE)
        assert peer.close_code() == 1008
    assert cpu_seconds(server) - before < 1


# Row 24

HEARTBEAT_SECONDS = 0.5
WHEEL_TICK_SECONDS = 0.25
SHORT_TIMES = ("--heartbeat-seconds", str(HEARTBEAT_SECONDS), "--close-seconds", "1")
HEARTBEATS = pytest.mark.parametrize("options", [SHORT_TIMES], ids=["heartbeat"])
LAST_WORDS = {"silent": b"", "in a head": b"\x81", "in a frame": text("hi")[:-1], "in a message": frame(TEXT, b"hi")}


@HEARTBEATS
def test_row_24_peers_that_are_gone_are_found_within_two_heartbeats(server: Server, room: str) -> None:
    """However much of a message they had sent."""
    with HonestPeer(server.port) as other, ExitStack() as stack:
        other.join(room, "other")
        spoke: dict[str, float] = {}
        for name, last_words in LAST_WORDS.items():
            gone = stack.enter_context(Peer(server.port))
            gone.join(room, name)
            gone.send(last_words)
            spoke[name] = time.monotonic()
        while spoke:
            name = other.event("user_left")["username"]
            assert time.monotonic() - spoke.pop(name) < 2 * HEARTBEAT_SECONDS + 3 * WHEEL_TICK_SECONDS
        assert gone.close_code() == 0


@HEARTBEATS
def test_row_24_a_peer_that_answers_stays(server: Server, room: str) -> None:
    with HonestPeer(server.port) as peer:
        peer.join(room, "alive")
        assert [peer.next()[0] for _ in range(3)] == [PING] * 3
        peer.round_trip(1)


@pytest.mark.parametrize("way", ["reset", "half-close"])
def test_row_24_a_peer_that_ends_without_a_close_frame_leaves_at_once(server: Server, room: str, way: str) -> None:
    """Long before a heartbeat: those of the default settings come every 30 seconds."""
    with Peer(server.port) as gone, HonestPeer(server.port) as other:
        other.join(room, "other")
        gone.join(room, "gone")
        if way == "reset":
            gone.reset()
        else:
            gone.socket.shutdown(socket.SHUT_WR)
        assert other.event("user_left")["username"] == "gone"


@HEARTBEATS
def test_row_24_a_peer_that_does_not_answer_a_close_is_dropped(server: Server) -> None:
    with Peer(server.port) as peer:
        peer.open()
        begin = time.monotonic()
        peer.send(frame(FIN | BINARY, b""))
        assert b"\x03\xeb" in peer.read_to_end()  # 1003
        assert 1 <= time.monotonic() - begin < 5
