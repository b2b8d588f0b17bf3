"""Requests that are too big, too slow or ambiguous, for a WebSocket and for plain HTTP alike."""

import select
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from hubbub.config import Config
from tests.hostile.crowd import Crowd
from tests.hostile.test_handshake import HOST, request, status
from tests.hostile.witness import HonestPeer, memory_bytes
from tests.support.peer import Peer
from tests.support.server import Server

SMUGGLED = b"GET /smuggled HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n"
STALLED = 2000
MEGABYTE = 1 << 20


def plain(*lines: bytes, start: bytes = b"GET / HTTP/1.1") -> bytes:
    """The head of a request that is not for a WebSocket."""
    return b"\r\n".join((start, HOST, *lines)) + b"\r\n\r\n"


def header_of(size: int) -> bytes:
    """A header that fills a line of so many bytes, its end included."""
    return b"X-Any: " + b"a" * (size - len(b"X-Any: \r\n"))


def target_of(size: int) -> bytes:
    """A request line with a target of so many bytes."""
    return b"GET /ws?" + b"a" * (size - len(b"/ws?")) + b" HTTP/1.1"


# Row 6: sizes

FITTING = {
    "128 headers": request(*[b"X-Any: a"] * (128 - 5)),
    "a line of 8 KB": request(header_of(8192)),
    "31 KB": request(*[header_of(4096)] * 7),
    "a target of 8 KB": request(start=target_of(8192)),
}
TOO_BIG = {
    "129 headers": (request(*[b"X-Any: a"] * (129 - 5)), 431),
    "129 headers of a plain request": (plain(*[b"X-Any: a"] * 128), 431),
    "a line over 8 KB": (request(header_of(8193)), 431),
    "a line over 8 KB of a plain request": (plain(header_of(8193)), 431),
    "a name over 8 KB": (request(b"X" * 8192 + b": a"), 431),
    "33 KB": (request(*[header_of(4224)] * 8), 431),
    "33 KB of a plain request": (plain(*[header_of(4224)] * 8), 431),
    "a target over 8 KB": (request(start=target_of(8193)), 414),
    "a target over 8 KB of a plain request": (plain(start=target_of(8193)), 414),
    "a megabyte of target that does not end": (b"GET /" + b"a" * MEGABYTE, 414),
    "a megabyte of header that does not end": (request()[:-2] + b"X-Any: " + b"a" * MEGABYTE, 431),
    "a megabyte of name that does not end": (request()[:-2] + b"X" * MEGABYTE, 431),
    "a megabyte of headers that do not end": (request()[:-2] + b"X-Any: a\r\n" * (MEGABYTE // 10), 431),
}


@pytest.mark.parametrize("data", FITTING.values(), ids=FITTING)
def test_row_06_a_head_of_just_the_longest_size_is_taken(server: Server, data: bytes) -> None:
    assert status(server, data) == 101


@pytest.mark.parametrize(("data", "code"), TOO_BIG.values(), ids=TOO_BIG)
def test_row_06_a_head_that_is_too_big_is_431_or_414(server: Server, data: bytes, code: int) -> None:
    assert status(server, data) == code


# Row 7: time

SHORT_TIME = pytest.mark.parametrize("options", [("--handshake-seconds", "1", "--body-seconds", "1")], ids=["1s"])
DRIP_SECONDS = 0.2


def drip(server: Server, data: bytes, answered: bytes = b"") -> tuple[bytes, float]:
    """Has a request answered, then sends bytes now and then: what comes in the end, and how many seconds all took."""
    begin = time.monotonic()  # before the server's own clock begins
    with Peer(server.port) as peer:
        if answered:
            peer.send(answered)
            assert read_answer(peer).startswith(b"HTTP/1.1 ")
        for byte in data:
            if select.select([peer.socket], [], [], DRIP_SECONDS)[0]:
                return peer.read_to_end(), time.monotonic() - begin
            peer.send(bytes((byte,)))
        raise AssertionError("the server did not close")


def read_answer(peer: Peer) -> bytes:
    """One whole answer that ends without the connection ending."""
    answer = peer.socket.recv(65536)
    head, _, body = answer.partition(b"\r\n\r\n")
    length = int(head.lower().partition(b"\r\ncontent-length: ")[2].partition(b"\r\n")[0])
    while len(body) < length:
        body += peer.socket.recv(65536)
    return head


def test_row_07_a_request_has_five_seconds() -> None:
    assert Config().server.handshake_seconds == 5


SLOW = {
    "a request": (request(), b""),
    "a line that does not end": (b"GET /ws" + b"a" * 100, b""),
    "blank lines": (b"\r\n" * 10, b""),
    "a second request": (plain(), plain()),
}


@SHORT_TIME
def test_row_07_a_head_that_comes_a_byte_at_a_time_is_408_in_time(server: Server) -> None:
    with ThreadPoolExecutor(len(SLOW)) as pool:
        slow = dict(zip(SLOW, pool.map(lambda case: drip(server, *case), SLOW.values()), strict=True))
    assert {name: answer[:13] for name, (answer, _) in slow.items()} == dict.fromkeys(SLOW, b"HTTP/1.1 408 ")
    assert all(1 <= seconds < 5 for _, seconds in slow.values())


@SHORT_TIME
def test_row_07_blank_lines_do_not_keep_a_connection_open_for_ever(server: Server) -> None:
    _, seconds = drip(server, b"\r\n" * 10, plain())
    assert seconds < 5


@SHORT_TIME
def test_row_07_a_body_that_comes_a_byte_at_a_time_ends_without_a_second_answer(server: Server) -> None:
    answered = plain(b"Content-Length: 1000", start=b"POST / HTTP/1.1")
    answer, seconds = drip(server, b"a" * 1000, answered)
    assert answer == b""
    assert seconds < 5


def stall(server: Server, room: str) -> None:
    """Connects many, of whom half say nothing and half send a byte now and then, until the server has closed all."""
    with Crowd(server.port, STALLED) as crowd:
        crowd.send(plain()[:-2] + b"X-Any: ", every=2)
        while crowd.peers:
            for peer in crowd.closed(DRIP_SECONDS):
                assert 1 <= crowd.age_seconds(peer) < 5
            crowd.send(b"a", every=2)
            with HonestPeer(server.port) as honest:
                assert honest.join(room, "honest")["members"] == ["honest"]


@SHORT_TIME
def test_row_07_two_thousand_stalled_requests_are_closed_in_time_while_others_get_in(server: Server, room: str) -> None:
    """What a closed connection leaves behind is less than a kilobyte: nothing, since the allocator has warmed up."""
    stall(server, room)
    before = memory_bytes(server)
    stall(server, room)
    assert memory_bytes(server) - before < STALLED * 1024


# Row 8: one request, read in two ways

CHUNKED = b"Transfer-Encoding: chunked"
NO_CHUNKS = b"0\r\n\r\n"


def post(*lines: bytes) -> bytes:
    return plain(*lines, start=b"POST / HTTP/1.1")


AMBIGUOUS = {
    "a length and chunks": post(b"Content-Length: 5", CHUNKED) + NO_CHUNKS,
    "chunks and a length": post(CHUNKED, b"Content-Length: 5") + NO_CHUNKS,
    "two lengths": post(b"Content-Length: 5", b"Content-Length: 6") + b"hello",
    "the same length twice": post(b"Content-Length: 5", b"Content-Length: 5") + b"hello",
    "a list of lengths": post(b"Content-Length: 5, 5") + b"hello",
    "+5": post(b"Content-Length: +5") + b"hello",
    "-5": post(b"Content-Length: -5") + b"hello",
    "0x5": post(b"Content-Length: 0x5") + b"hello",
    "5 5": post(b"Content-Length: 5 5") + b"hello",
    "1_0": post(b"Content-Length: 1_0") + b"hello",
    "no number": post(b"Content-Length: ") + b"hello",
    "a length of 100 digits": post(b"Content-Length: " + b"9" * 100) + b"hello",
    "a bare LF": plain()[:-2] + b"X-Any: a\nX-Other: b\r\n\r\n",
    "bare LFs": plain().replace(b"\r\n", b"\n"),
    "a bare CR": plain()[:-2] + b"X-Any: a\rX-Other: b\r\n\r\n",
    "a folded header": plain(b"X-Any: a", b" b"),
    "a header folded by a tab": plain(b"X-Any: a", b"\tb"),
    "a folded first header": b"GET / HTTP/1.1\r\n X-Any: a\r\n" + HOST + b"\r\n\r\n",
    "a space before the colon": post(b"Content-Length : 5") + b"hello",
    "a header without a colon": plain(b"nonsense"),
    "a header without a name": plain(b": a"),
    "chunks that are not": post(b"Transfer-Encoding: xchunked") + NO_CHUNKS,
    "chunks that are not last": post(b"Transfer-Encoding: chunked, identity") + NO_CHUNKS,
    "chunks twice": post(CHUNKED, CHUNKED) + NO_CHUNKS,
    "a chunk of a negative length": post(CHUNKED) + b"-5\r\nhello\r\n" + NO_CHUNKS,
    "a chunk of a huge length": post(CHUNKED) + b"F" * 20 + b"\r\nhello\r\n" + NO_CHUNKS,
    "a chunk behind a bare LF": post(CHUNKED) + b"5\nhello\r\n" + NO_CHUNKS,
    "a chunk longer than it says": post(CHUNKED) + b"2\r\nhello\r\n" + NO_CHUNKS,
    "a method in lower case": plain(start=b"get / HTTP/1.1"),
    "an unknown method": plain(start=b"GRAB / HTTP/1.1"),
    "TLS": b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(100),
    "HTTP/2": b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
}


@pytest.mark.parametrize("data", AMBIGUOUS.values(), ids=AMBIGUOUS)
def test_row_08_an_ambiguous_request_is_400_and_nothing_behind_it_is_answered(server: Server, data: bytes) -> None:
    with Peer(server.port) as peer:
        code, answer = peer.http(data + SMUGGLED)
    assert code == 400
    assert answer.count(b"HTTP/1.1 ") == 1


# Row 9: bodies

HUNDRED_MEGABYTES = b"Content-Length: %d" % (100 * MEGABYTE)


@pytest.mark.parametrize("path", [b"/", b"/ws", b"/echo", b"/nope", b"/api/rooms/a/messages"])
@pytest.mark.parametrize("expect", [b"X-Any: a", b"Expect: 100-continue"], ids=["", "expect"])
def test_row_09_a_body_of_a_hundred_megabytes_is_413_at_once(server: Server, path: bytes, expect: bytes) -> None:
    with Peer(server.port) as peer:
        code, answer = peer.http(plain(HUNDRED_MEGABYTES, expect, start=b"POST " + path + b" HTTP/1.1"))
    assert code == 413
    assert answer.count(b"HTTP/1.1 ") == 1


def test_row_09_a_million_tiny_commands_in_one_body_are_413(server: Server) -> None:
    """The answer arrives although the client goes on sending."""
    commands = b'{"type":"ping"}\n' * 1_000_000
    with Peer(server.port) as peer:
        assert peer.http(post(b"Content-Length: %d" % len(commands)) + commands)[0] == 413


def test_row_09_a_body_of_endless_chunks_is_ended_and_not_kept(server: Server) -> None:
    """An application may answer before it has seen all of the body; then there is no second answer."""
    before = memory_bytes(server)
    with Peer(server.port) as peer:
        code, answer = peer.http(post(CHUNKED) + (b"10000\r\n" + b"a" * 65536 + b"\r\n") * 512)
    assert code in (405, 413)
    assert answer.count(b"HTTP/1.1 ") == 1
    assert memory_bytes(server) - before < 4 * MEGABYTE


@SHORT_TIME
def test_row_09_a_chunk_whose_extension_does_not_end_is_ended_in_time(server: Server) -> None:
    before = memory_bytes(server)
    with Peer(server.port) as peer:
        begin = time.monotonic()
        code, answer = peer.http(post(CHUNKED) + b"5;" + b"a" * (16 * MEGABYTE))
    assert code in (400, 405, 408, 413)
    assert answer.count(b"HTTP/1.1 ") == 1
    assert time.monotonic() - begin < 5
    assert memory_bytes(server) - before < 4 * MEGABYTE


def test_rows_06_to_09_a_thousand_bad_requests_are_a_few_lines_in_the_log(server: Server) -> None:
    logged = server.log.count("\n")
    assert {status(server, plain(b"nonsense")) for _ in range(1000)} == {400}
    assert server.log.count("\n") - logged <= 10
