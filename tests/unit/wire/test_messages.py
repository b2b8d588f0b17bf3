"""wire.messages: the protocol's messages, field by field, as JSON."""

from __future__ import annotations

import json
from typing import Any

import msgspec
import pytest

from hubbub.wire.messages import (
    Command,
    Connected,
    Envelope,
    Error,
    Event,
    Join,
    Leave,
    MemberCount,
    Ok,
    Ping,
    Presence,
    RoomInfo,
    UserJoined,
    UserLeft,
)
from hubbub.wire.messages import Warning as WarningEvent

COMMANDS = Join | Leave | Ping | Presence


def decode(**fields: Any) -> Command:
    command: Command = msgspec.json.decode(json.dumps(fields), type=COMMANDS)
    return command


def encode(event: Event) -> Any:
    return json.loads(msgspec.json.encode(event))


# Commands


def test_a_join() -> None:
    assert decode(type="join", room="a", username="b", keep=True, id=1) == Join(room="a", username="b", keep=True, id=1)


def test_a_join_without_names_is_for_the_hub_to_refuse() -> None:
    assert decode(type="join") == Join(room="", username="", keep=False)


def test_a_leave() -> None:
    assert decode(type="leave", room="a") == Leave(room="a")


def test_a_ping_with_a_text_as_id() -> None:
    assert decode(type="ping", id="x" * 64) == Ping(id="x" * 64)


def test_a_presence_has_a_first_page() -> None:
    assert decode(type="presence", room="a") == Presence(room="a", offset=0, limit=200)


def test_fields_that_are_not_known_are_ignored() -> None:
    assert decode(type="ping", clientId="me", seq=5) == Ping()


@pytest.mark.parametrize(
    "fields",
    [
        pytest.param({"type": "ping", "id": "x" * 65}, id="id of 65 characters"),
        pytest.param({"type": "ping", "id": 1.5}, id="fractional id"),
        pytest.param({"type": "ping", "id": None}, id="null id"),
        pytest.param({"type": "join", "room": {}}, id="room of the wrong type"),
        pytest.param({"type": "join", "keep": "yes"}, id="keep of the wrong type"),
        pytest.param({"type": "presence", "offset": -1}, id="negative offset"),
        pytest.param({"type": "presence", "limit": 0}, id="no limit"),
        pytest.param({"type": "presence", "limit": 1001}, id="limit too high"),
        pytest.param({"type": "dance"}, id="unknown type"),
        pytest.param({"room": "a"}, id="no type"),
    ],
)
def test_a_command_is_validated(fields: dict[str, Any]) -> None:
    with pytest.raises(msgspec.ValidationError):
        decode(**fields)


def test_an_envelope_is_read_from_any_command() -> None:
    envelope = msgspec.json.decode(b'{"type":"dance","id":7,"x":[]}', type=Envelope)
    assert envelope == Envelope("dance", 7)


def test_an_applications_fields_are_camel_case() -> None:
    class MoveTo(Command, tag="move_to"):
        new_place: str

    assert msgspec.json.decode(b'{"type":"move_to","newPlace":"x"}', type=MoveTo) == MoveTo(new_place="x")


# Events


def test_connected() -> None:
    assert encode(Connected("c", 5, 1, 30000, 65536, "n")) == {
        "type": "connected",
        "clientId": "c",
        "timestamp": 5,
        "protocol": 1,
        "heartbeat": 30000,
        "maxMessageBytes": 65536,
        "node": "n",
    }


def test_room_info() -> None:
    assert encode(RoomInfo("a", ["ada"], 1, "e", 5, 6, True, [msgspec.Raw(b'{"type":"said"}')])) == {
        "type": "room_info",
        "room": "a",
        "members": ["ada"],
        "count": 1,
        "epoch": "e",
        "seq": 5,
        "head": 6,
        "recovered": True,
        "messages": [{"type": "said"}],
    }


def test_room_info_with_everything() -> None:
    info = encode(RoomInfo("a", ["ada"], 9, "e", 5, 5, None, [], members_truncated=True, id="j"))
    assert (info["membersTruncated"], info["id"]) == (True, "j")


@pytest.mark.parametrize(("event", "kind"), [(UserJoined, "user_joined"), (UserLeft, "user_left")])
def test_coming_and_going(event: type[UserJoined | UserLeft], kind: str) -> None:
    assert encode(event("ada", 2, 5)) == {"type": kind, "username": "ada", "memberCount": 2, "timestamp": 5}


def test_member_count() -> None:
    assert encode(MemberCount(2000, 5)) == {"type": "member_count", "memberCount": 2000, "timestamp": 5}


def test_ok_has_only_the_fields_of_its_command() -> None:
    assert encode(Ok(1)) == {"type": "ok", "id": 1}
    assert encode(Ok("x", seq=5)) == {"type": "ok", "id": "x", "seq": 5}


def test_an_error_without_an_id() -> None:
    assert encode(Error("No", "no")) == {"type": "error", "message": "No", "code": "no"}


def test_an_error_with_everything() -> None:
    assert encode(Error("No", "no", 1, 500, "c")) == {
        "type": "error",
        "message": "No",
        "code": "no",
        "id": 1,
        "retryAfter": 500,
        "correlationId": "c",
    }


def test_a_warning() -> None:
    assert encode(WarningEvent("rate_limited", "Slower", 100)) == {
        "type": "warning",
        "code": "rate_limited",
        "message": "Slower",
        "retryAfter": 100,
    }
