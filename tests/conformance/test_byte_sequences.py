"""The table of byte sequences against wire.websocket: read whole, byte by byte, and with bytes that come too late."""

from __future__ import annotations

import zlib
from collections.abc import Iterable

import pytest

from hubbub.errors import PeerError
from hubbub.wire.deflate import Deflater, Inflater
from hubbub.wire.websocket import WebSocket, parse_close
from tests.conformance.sequences import (
    CASES,
    CLOSE,
    FIN,
    HELLO,
    NO_STATUS,
    PING,
    PONG,
    RSV1,
    TEXT,
    Answer,
    Case,
    frame,
)

LATE = frame(FIN | PING, b"late")
GARBAGE = {
    "a text": HELLO,
    "a ping": LATE,
    "another close": frame(FIN | CLOSE, b"\x03\xe9"),
    "a violation": frame(FIN | 0x3),
    "noise": b"\xff" * 20,
}
# The beginning of a frame is not an event yet.
BEGUN = {
    name: frame(FIN | PING, b"late")[:size] for name, size in {"a byte": 1, "a header": 2, "most of it": 9}.items()
}

all_cases = pytest.mark.parametrize("case", CASES.values(), ids=CASES)


def echo(case: Case, reads: Iterable[bytes]) -> bytes:
    """What a server sends that echoes messages, answers pings, and ends as RFC 6455 says; it reads on regardless."""
    agreed = case.deflate
    inflater = Inflater(takeover=agreed.takeover) if agreed else None
    wire = WebSocket(case.max_message_bytes, inflater=inflater, deflater=Deflater() if agreed else None)
    sent = b""
    for data in reads:
        try:
            for opcode, payload in wire.receive_data(data):
                if opcode == CLOSE:
                    sent += wire.send_close(parse_close(payload)[0])
                elif opcode != PONG:
                    sent += wire.send_message(PONG if opcode == PING else opcode, payload)
        except PeerError as error:
            sent += wire.send_close(error.code, error.reason)
    return sent


def answers(sent: bytes) -> list[Answer]:
    """A server's frames, read without the code under test."""
    found: list[Answer] = []
    while sent:
        first, size, start = sent[0], sent[1], 2
        if size >= 126:
            start = 4 if size == 126 else 10
            size = int.from_bytes(sent[2:start], "big")
        payload, sent = sent[start : start + size], sent[start + size :]
        if first & RSV1:
            payload = zlib.decompressobj(-15).decompress(payload + b"\x00\x00\xff\xff")
        code = int.from_bytes(payload[:2], "big") if payload else NO_STATUS
        found.append(code if first & 0x0F == CLOSE else (first & 0x0F, payload))
    return found


@all_cases
def test_read_whole(case: Case) -> None:
    assert answers(echo(case, [case.sent])) == list(case.answers)


@all_cases
def test_read_byte_by_byte(case: Case) -> None:
    assert answers(echo(case, (case.sent[index : index + 1] for index in range(len(case.sent))))) == list(case.answers)


@all_cases
def test_bytes_that_come_too_late_change_nothing(case: Case) -> None:
    for name, trailing in (GARBAGE if case.ends else BEGUN).items():
        assert answers(echo(case, [case.sent + trailing])) == list(case.answers), f"{name} in the same read"
        assert answers(echo(case, [case.sent, trailing])) == list(case.answers), f"{name} in the next read"


def test_the_table_covers_every_family() -> None:
    families = {name.partition(":")[0] for name in CASES}
    assert len(CASES) > 300
    assert len(families) == 10


def test_an_answer_is_read_without_the_code_under_test() -> None:
    assert answers(b"\x81\x05Hello" + b"\x8a\x00" + b"\x88\x02\x03\xe8") == [(TEXT, b"Hello"), (PONG, b""), 1000]
