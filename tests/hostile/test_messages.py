"""Messages that make no sense, claim what is not theirs, or are too many: over every way of hosting."""

import json
from typing import Any

import msgspec
import pytest

from hubbub.wire.codec import MSGPACK_SUBPROTOCOL
from hubbub.wire.websocket import BINARY, FIN, TEXT
from tests.hostile.witness import HonestPeer
from tests.support.peer import Peer, command, frame, text
from tests.support.server import HOSTS, Server

MEGABYTE = 1 << 20
# Messages of just under a megabyte are read, so that what they hold is met; floods are short.
SETTINGS = ("--max-message-bytes", str(MEGABYTE - 1), "--rate-patience-seconds", "0.05")


@pytest.fixture(params=HOSTS)
def host(request: pytest.FixtureRequest) -> str:
    chosen: str = request.param
    return chosen


@pytest.fixture
def options() -> tuple[str, ...]:
    return SETTINGS


class MsgpackPeer(HonestPeer):
    """A client of the MessagePack sub-protocol; what it receives is shown as JSON."""

    def next(self) -> tuple[int, bytes]:
        opcode, payload = super().next()
        return (TEXT, msgspec.json.encode(msgspec.msgpack.decode(payload))) if opcode == BINARY else (opcode, payload)


def refusal(server: Server, message: str) -> dict[str, Any]:
    """The error that answers a message; the connection is as good as before."""
    with HonestPeer(server.port) as peer:
        peer.open()
        peer.send(text(message))
        error = peer.event()
        error = peer.event() if error["type"] == "connected" else error
        assert error["type"] == "error"
        peer.round_trip(1)
        return error


# Row 25

DEEP = 100_000
NOT_JSON = {
    "lists that do not end": "[" * DEEP,
    "lists": "[" * DEEP + "]" * DEEP,
    "objects": '{"type":"ping","x":' + '{"a":' * DEEP + "1" + "}" * DEEP + "}",
    "lists in a field that is not known": '{"type":"ping","x":' + "[" * DEEP + "]" * DEEP + "}",
    "a lone high surrogate": r'{"type":"message","text":"\ud800"}',
    "a lone low surrogate": r'{"type":"message","text":"\udc00"}',
    "surrogates the wrong way round": r'{"type":"message","text":"\udc00\ud800"}',
    "a lone surrogate in a type": r'{"type":"\ud800"}',
    "a lone surrogate in a name": r'{"type":"ping","\ud800":1}',
    "a lone surrogate in a field that is not known": r'{"type":"ping","x":"\ud800"}',
    "trailing garbage": '{"type":"ping","id":1} x',
    "two commands": '{"type":"ping","id":1}{"type":"ping","id":2}',
    "a trailing comma": '{"type":"ping","id":1,}',
    "a trailing NUL": '{"type":"ping","id":1}\0',
    "a byte order mark": '\ufeff{"type":"ping","id":1}',
    "a raw line end in a text": '{"type":"message","text":"a\nb"}',
    "an unknown escape": r'{"type":"message","text":"\x41"}',
    "NaN": '{"type":"ping","id":NaN}',
    "infinity": '{"type":"ping","x":Infinity}',
    "a leading zero": '{"type":"ping","id":01}',
    "single quotes": "{'type':'ping'}",
    "a comment": '{"type":"ping"/**/}',
    "nothing": "",
    "spaces": "  ",
    "null": "null",
    "a list": '[{"type":"ping"}]',
    "a number": "1",
    "a text": '"ping"',
    "half an object": '{"type":"pi',
}
DIGITS = "1" * 1_000_000
WRONG_VALUES = {
    "a million digits as id": '{"type":"ping","id":' + DIGITS + "}",
    "a million digits as text": '{"type":"message","text":' + DIGITS + "}",
    "a million digits as seconds": '{"type":"slow","text":"a","seconds":' + DIGITS + "}",
    "a million digits as a limit": '{"type":"presence","room":"a","limit":' + DIGITS + "}",
    "a million digits behind the point": '{"type":"presence","room":"a","limit":0.' + DIGITS + "}",
    "a huge exponent": '{"type":"slow","text":"a","seconds":1e999999999}',
    "a list a hundred thousand deep as text": '{"type":"message","text":' + "[" * DEEP + "]" * DEEP + "}",
    "the type twice": '{"type":"ping","type":"typing"}',
}


def test_row_25_what_is_not_a_json_object_is_answered_with_invalid_json(server: Server) -> None:
    errors = {name: refusal(server, message) for name, message in NOT_JSON.items()}
    expected = {"type": "error", "message": "Invalid JSON payload", "code": "invalid_json"}
    assert errors == dict.fromkeys(NOT_JSON, expected)


def test_row_25_a_value_that_cannot_be_is_answered_with_invalid_message(server: Server) -> None:
    codes = {name: refusal(server, message)["code"] for name, message in WRONG_VALUES.items()}
    assert codes == dict.fromkeys(WRONG_VALUES, "invalid_message")


NOT_MSGPACK = {
    "deep lists": b"\x91" * 60_000,
    "deep lists in a field that is not known": b"\x82\xa4type\xa4ping\xa1x" + b"\x91" * 60_000 + b"\xc0",
    "a list of four billion": b"\x82\xa4type\xa4ping\xa1x\xdd\xff\xff\xff\xff",
    "a map of four billion": b"\xdf\xff\xff\xff\xff\xa4type\xa4ping",
    "a text of four gigabytes": b"\x82\xa4type\xa7message\xa4text\xdb\xff\xff\xff\xff",
    "a text that is not UTF-8": b"\x82\xa4type\xa7message\xa4text\xa3\xed\xa0\x80",
    "a type that is not UTF-8": b"\x81\xa4type\xa1\xff",
    "trailing garbage": b"\x81\xa4type\xa4ping\xc0",
    "the byte that is never used": b"\xc1",
    "an extension": b"\xc7\x00\x05",
    "a time that cannot be": b"\xc7\x0c\xff" + b"\xff" * 12,
    "JSON": b'{"type":"ping"}',
    "nothing": b"",
}


def test_row_25_what_is_not_messagepack_is_answered_with_an_error(server: Server) -> None:
    answers = {}
    for name, message in NOT_MSGPACK.items():
        with MsgpackPeer(server.port) as peer:
            peer.open(subprotocols=(MSGPACK_SUBPROTOCOL,))
            peer.send(frame(FIN | BINARY, message))
            error = peer.event("error")["code"]
            peer.send(frame(FIN | BINARY, msgspec.msgpack.encode({"type": "ping", "id": 1})))
            answers[name] = error in ("invalid_json", "invalid_message"), peer.event("ok")["id"]
    assert answers == dict.fromkeys(NOT_MSGPACK, (True, 1))


@pytest.mark.parametrize("message", ["[", '{"type":"nope"}', '{"type":"join","room":{}}'], ids=["25", "26", "26 too"])
def test_rows_25_and_26_ten_malformed_messages_in_a_row_are_4400(server: Server, message: str) -> None:
    with HonestPeer(server.port) as peer:
        peer.open()
        peer.send(text(message) * 4)
        peer.round_trip(1)  # a good one: they count in a row
        peer.send(text(message) * 12)
        assert peer.close_code() == 4400
        kinds = [json.loads(payload)["type"] for opcode, payload in peer.received if opcode == TEXT]
    assert kinds == ["connected", *["error"] * 4, "ok", *["error"] * 10]


# Row 26

UNKNOWN = {
    "a name": "nope",
    "in other case": "PING",
    "of an event": "connected",
    "of an object": "__proto__",
    "with control characters": "a\0\r\n\x1b[2J",
    "with overrides": "\u202eping",
    "of 60,000 characters": "a" * 60_000,
}
WRONG_FIELDS: dict[str, dict[str, object]] = {
    "a room that is an object": {"type": "join", "room": {}, "username": "a"},
    "a room that is a list": {"type": "join", "room": ["a"], "username": "a"},
    "a room that is a number": {"type": "join", "room": 5, "username": "a"},
    "a room that is null": {"type": "join", "room": None, "username": "a"},
    "a username that is an object": {"type": "join", "room": "a", "username": {}},
    "a text that is a number": {"type": "message", "text": 5},
    "a text that is true": {"type": "message", "text": True},
    "keep that is a text": {"type": "join", "room": "a", "username": "a", "keep": "yes"},
    "an offset below zero": {"type": "presence", "room": "a", "offset": -1},
    "a limit of 2^63": {"type": "presence", "room": "a", "limit": 1 << 63},
    "no type": {},
    "an empty type": {"type": ""},
    "a type that is a number": {"type": 5},
    "a type that is null": {"type": None},
    "a type that is a list": {"type": ["ping"]},
}
WRONG_IDS: dict[str, object] = {
    "65 characters": "a" * 65,
    "60,000 characters": "a" * 60_000,
    "an object": {},
    "a list": [],
    "null": None,
    "true": True,
    "a fraction": 1.5,
}

GOOD_IDS: dict[str, int | str] = {
    "64 characters": "a" * 64,
    "control characters": "\0\r\n",
    "nothing": "",
    "zero": 0,
    "-2^63": -(1 << 63),
    "2^64-1": (1 << 64) - 1,
    "4,300 digits": int("9" * 4300),
}


def test_row_26_an_unknown_type_is_answered_with_unknown_type(server: Server) -> None:
    errors = {name: refusal(server, json.dumps({"type": kind, "id": name})) for name, kind in UNKNOWN.items()}
    assert {name: error["id"] for name, error in errors.items()} == {name: name for name in UNKNOWN}
    assert {error["code"] for error in errors.values()} == {"unknown_type"}
    assert all(len(error["message"]) < 200 and error["message"].isprintable() for error in errors.values())


def test_row_26_a_field_of_the_wrong_type_is_answered_with_invalid_message(server: Server) -> None:
    errors = {name: refusal(server, json.dumps({**fields, "id": 7})) for name, fields in WRONG_FIELDS.items()}
    answers = {name: (error["code"], error.get("id")) for name, error in errors.items()}
    assert answers == dict.fromkeys(WRONG_FIELDS, ("invalid_message", 7))


def test_row_26_an_id_that_is_none_is_answered_with_invalid_message(server: Server) -> None:
    errors = {name: refusal(server, json.dumps({"type": "ping", "id": id})) for name, id in WRONG_IDS.items()}
    answers = {name: (error["code"], error.get("id")) for name, error in errors.items()}
    assert answers == dict.fromkeys(WRONG_IDS, ("invalid_message", None))


@pytest.mark.parametrize("id", GOOD_IDS.values(), ids=GOOD_IDS)
def test_row_26_an_id_that_may_be_comes_back_as_it_was(server: Server, id: int | str) -> None:
    with Peer(server.port) as peer:
        peer.open()
        peer.send(command(type="ping", id=id))
        assert peer.event("ok")["id"] == id


BIG = "a" * MEGABYTE


@pytest.mark.parametrize(
    "fields",
    [{"type": "ping", "id": BIG}, {"type": BIG}, {"type": "join", "room": BIG, "username": "a"}, {BIG: BIG}],
    ids=["26: id", "26: type", "28: room", "26: name"],
)
def test_rows_26_and_28_a_megabyte_where_a_few_bytes_belong_is_1009(server: Server, fields: dict[str, str]) -> None:
    with Peer(server.port) as peer:
        peer.open()
        peer.send(command(**fields))
        assert peer.close_code() == 1009


# Row 27

BINARIES = {
    "empty": b"",
    "a command": b'{"type":"ping","id":1}',
    "not UTF-8": b"\xff",
    "MessagePack": b"\x81\xa4type\xa4ping",
}


@pytest.mark.parametrize("payload", BINARIES.values(), ids=BINARIES)
@pytest.mark.parametrize("offer", [(), ("hubbub.v1.json",)], ids=["default", "json"])
def test_row_27_a_binary_message_on_a_json_connection_is_1003(
    server: Server, payload: bytes, offer: tuple[str, ...]
) -> None:
    with Peer(server.port) as peer:
        peer.open(subprotocols=offer)
        peer.send(frame(FIN | BINARY, payload))
        assert peer.close_code() == 1003


@pytest.mark.parametrize("message", ["", '{"type":"ping","id":1}'], ids=["empty", "a command"])
def test_row_27_a_text_on_a_messagepack_connection_is_1003(server: Server, message: str) -> None:
    with MsgpackPeer(server.port) as peer:
        peer.open(subprotocols=(MSGPACK_SUBPROTOCOL,))
        peer.send(text(message))
        assert peer.close_code() == 1003
