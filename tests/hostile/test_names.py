"""Names and claims of clients: what no room may be called, how often it may be joined, and whose word counts."""

import json
import select
import time
from contextlib import suppress

import pytest

from hubbub.wire.websocket import CLOSE, TEXT, parse_close
from tests.hostile.test_messages import SETTINGS
from tests.hostile.witness import HonestPeer, cpu_seconds, memory_bytes
from tests.support.peer import Peer, command
from tests.support.server import HOSTS, HYPERCORN, OWN_HOSTS, UVICORN, Server

ON_OUR_SERVER = pytest.mark.parametrize("host", OWN_HOSTS)


@pytest.fixture(params=HOSTS)
def host(request: pytest.FixtureRequest) -> str:
    chosen: str = request.param
    return chosen


@pytest.fixture
def options() -> tuple[str, ...]:
    """The same server as that of the other messages."""
    return SETTINGS


# Row 28

CONTROLS = {f"U+{ord(character):04X}": character for character in "\0\x01\n\r\x1b\x7f\x80\x85\x9f"}
OVERRIDES = {f"U+{code:04X}": chr(code) for code in (*range(0x202A, 0x202F), *range(0x2066, 0x206A))}
NOT_IN_USERNAMES = CONTROLS | OVERRIDES
NOT_IN_ROOMS = NOT_IN_USERNAMES | {character: character for character in "*{}"}
NOTHING = {"nothing": "", "spaces": "   ", "other white space": "\t\r\n\u2003\u3000"}


def join_error(server: Server, room: str, username: str) -> str:
    """The code of the error that answers a join; the connection is in no room afterwards."""
    with HonestPeer(server.port) as peer:
        peer.open()
        peer.send(command(type="join", room=room, username=username, id=1))
        code: str = peer.event("error")["code"]
        peer.send(command(type="message", text="nowhere", id=2))
        assert peer.event("error")["code"] == "not_in_room"
        return code


def test_row_28_a_room_with_characters_that_no_room_has_is_invalid_name(server: Server) -> None:
    codes = {name: join_error(server, f"a{bad}b", "ada") for name, bad in NOT_IN_ROOMS.items()}
    assert codes == dict.fromkeys(NOT_IN_ROOMS, "invalid_name")


def test_row_28_a_username_with_characters_that_no_username_has_is_invalid_name(server: Server) -> None:
    codes = {name: join_error(server, "a", f"a{bad}b") for name, bad in NOT_IN_USERNAMES.items()}
    assert codes == dict.fromkeys(NOT_IN_USERNAMES, "invalid_name")


@pytest.mark.parametrize("name", NOTHING.values(), ids=NOTHING)
def test_row_28_a_name_of_nothing_is_invalid_join(server: Server, name: str) -> None:
    assert join_error(server, name, "ada") == "invalid_join"
    assert join_error(server, "a", name) == "invalid_join"


LONG = {
    "letters": "a",
    "marks in order": "\u0316\u0301",
    "marks out of order": "\u0301\u0316",
    "one mark": "\u0301",
    "what is eighteen": "\ufdfa",
    "what is taken apart": "\U0001d160",
}


@ON_OUR_SERVER
@pytest.mark.parametrize("letter", LONG.values(), ids=LONG)
def test_row_28_a_name_of_sixty_kilobytes_is_cut_without_much_work(server: Server, room: str, letter: str) -> None:
    """Normalizing takes time that grows with the square of a run of combining marks: seconds, for one of this size."""
    with HonestPeer(server.port) as peer:
        peer.open()
        before = cpu_seconds(server)
        peer.send(command(type="join", room=room, username="a" + letter * (60_000 // len(letter.encode()))))
        assert len(peer.event("room_info")["members"][0]) == 30
        assert cpu_seconds(server) - before < 0.1


def send_until_closed(peer: Peer, data: bytes) -> int:
    """Sends while there is space for it, reading what comes; the code with which the server has closed."""
    rest = memoryview(data)
    with suppress(ConnectionResetError, BrokenPipeError):
        while rest:
            readable, _, _ = select.select([peer.socket], [peer.socket], [])
            if not readable:
                rest = rest[peer.socket.send(rest[:4096]) :]
            elif peer.next()[0] == CLOSE:
                return parse_close(peer.received[-1][1])[0]
    return peer.close_code()


def test_row_28_a_hundred_thousand_joins_are_a_warning_and_then_1008(server: Server) -> None:
    """A fifth of them where the server is not ours, and takes half a minute to read all."""
    joins = 20_000 if server.host in (UVICORN, HYPERCORN) else 100_000
    begin = time.monotonic()
    with Peer(server.port) as peer:
        peer.open()
        assert send_until_closed(peer, command(type="join", room="many", username="many") * joins) == 1008
        kinds = [json.loads(payload)["type"] for opcode, payload in peer.received if opcode == TEXT]
    assert kinds.count("warning") == 1
    assert 20 <= kinds.count("room_info") <= 20 + 10 * (time.monotonic() - begin)


def join_many(peer: Peer, first: int) -> None:
    """Joins a thousand rooms, one after the other, and waits until that is done."""
    joins = [command(type="join", room=f"room {first + number}", username="many") for number in range(1000)]
    peer.send(b"".join(joins))
    answered, rest = 0, b""
    while answered < len(joins):
        data = rest + peer.socket.recv(65536)
        answered += data.count(b'"type":"room_info"')
        rest = data[-len(b'"type":"room_info"') + 1 :]


@ON_OUR_SERVER
@pytest.mark.parametrize("options", [("--rate-limit", "0")], ids=["no limit"])
def test_row_28_thirty_thousand_rooms_one_after_the_other_leave_nothing_behind(server: Server) -> None:
    """Less than a hundred bytes for each: nothing, since the allocator has warmed up."""
    with Peer(server.port) as peer:
        peer.open()
        join_many(peer, 0)
        before = memory_bytes(server)
        for first in range(1000, 31_000, 1000):
            join_many(peer, first)
        assert memory_bytes(server) - before < 30_000 * 100


@ON_OUR_SERVER
@pytest.mark.parametrize("options", [("--rate-limit", "0")], ids=["no limit"])
def test_row_28_more_rooms_at_once_than_a_connection_may_have_are_too_many_rooms(server: Server, room: str) -> None:
    with HonestPeer(server.port) as peer:
        peer.open()
        peer.send(b"".join(command(type="join", room=f"{room[:40]} {n}", username="a", keep=True) for n in range(101)))
        kinds = [peer.event()["type"] for _ in range(102)]
        assert kinds == ["connected", *["room_info"] * 100, "error"]
        peer.round_trip(1)


# Row 30

CLAIMS = {
    "username": "mallory",
    "clientId": "00000000-0000-4000-8000-000000000000",
    "seq": 1 << 62,
    "timestamp": 1,
    "memberCount": 999,
    "members": ["mallory"],
    "count": 999,
    "epoch": "mine",
}
EVENTS = ["connected", "room_info", "user_joined", "user_left", "member_count", "ok", "error", "warning"]


def now_ms() -> int:
    return time.time_ns() // 1_000_000


def test_row_30_what_a_client_claims_in_a_message_does_not_count(server: Server, room: str) -> None:
    with HonestPeer(server.port) as ada, HonestPeer(server.port) as bob:
        ada.join(room, "ada")
        bob.join(room, "bob")
        before = now_ms()
        for seq in (1, 2):
            ada.send(command(**{**CLAIMS, "type": "message", "text": "hi"}))
            said = bob.event("message")
            assert said == ada.event("message")
            assert (said["username"], said["room"], said["seq"]) == ("ada", room, seq)
            assert before <= said["timestamp"] <= now_ms()
            assert set(said) == {"type", "username", "text", "messageId", "timestamp", "room", "seq"}


def test_row_30_what_a_client_claims_with_typing_does_not_count(server: Server, room: str) -> None:
    with HonestPeer(server.port) as ada, HonestPeer(server.port) as bob:
        ada.join(room, "ada")
        bob.join(room, "bob")
        ada.send(command(**{**CLAIMS, "type": "typing"}))
        assert bob.event("typing") == {"type": "typing", "username": "ada", "room": room}


def test_row_30_what_a_client_claims_in_a_join_does_not_count(server: Server, room: str) -> None:
    with HonestPeer(server.port) as ada, HonestPeer(server.port) as bob:
        ada.join(room, "ada")
        bob.open()
        bob.send(command(**{**CLAIMS, "type": "join", "room": room, "username": "bob"}))
        info = bob.event("room_info")
        assert (info["members"], info["count"], info["seq"]) == (["ada", "bob"], 2, 0)
        joined = ada.event("user_joined")
        assert (joined["username"], joined["memberCount"]) == ("bob", 2)
        assert abs(joined["timestamp"] - now_ms()) < 10_000


@pytest.mark.parametrize("kind", EVENTS)
def test_row_30_a_client_cannot_send_what_only_the_server_says(server: Server, room: str, kind: str) -> None:
    with HonestPeer(server.port) as ada, HonestPeer(server.port) as bob:
        bob.join(room, "bob")
        ada.join(room, "ada")
        assert bob.event()["type"] == "user_joined"
        ada.send(command(**{**CLAIMS, "type": kind, "room": room, "id": 1}))
        assert ada.event("error")["code"] == "unknown_type"
        ada.send(command(type="typing"))
        assert bob.event()["type"] == "typing"


def test_row_30_a_message_for_a_room_that_the_client_is_not_in_is_refused(server: Server, room: str) -> None:
    with HonestPeer(server.port) as ada, HonestPeer(server.port) as bob:
        bob.join(f"{room[:40]} two", "bob")
        ada.join(room, "ada")
        ada.send(command(type="message", text="hi", room=f"{room[:40]} two", id=1))
        assert ada.event("error")["code"] == "not_in_room"
        bob.send(command(type="message", text="first", id=1))
        assert bob.event("message")["seq"] == 1
