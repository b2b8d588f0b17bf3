"""Rooms that somebody has no right to, sessions and cursors of others: nothing is told of them, nothing taken up."""

import json
from typing import Any
from uuid import uuid4

import pytest

from tests.hostile.witness import HonestPeer
from tests.support.credentials import Issuer, bearer, secret_issuer
from tests.support.peer import command
from tests.support.server import Server

GRANTS: dict[str, Any] = {
    "rooms": {
        "open-*": ["join", "subscribe", "publish", "history", "presence", "ack"],
        "witness-*": ["join", "publish"],
    }
}
LISTENER: dict[str, Any] = {"rooms": {"open-*": ["subscribe"], "room-*": ["join"]}}


@pytest.fixture(scope="session")
def issuer(tmp_path_factory: pytest.TempPathFactory) -> Issuer:
    return secret_issuer(tmp_path_factory.mktemp("issuer"))


@pytest.fixture
def options(issuer: Issuer) -> tuple[str, ...]:
    return (*issuer.options, "--rate-burst", "200")


@pytest.fixture
def headers(issuer: Issuer) -> tuple[str, ...]:
    return (bearer(issuer.token("u-witness")),)


class Client(HonestPeer):
    """Somebody with a token, connected."""

    def __init__(self, server: Server, issuer: Issuer, user: str, session: str = "", **claims: Any) -> None:
        super().__init__(server.port, headers=[bearer(issuer.token(user, **claims))])
        self.open(f"/ws?session={session}")
        self.session: str = self.event("connected")["session"]

    def ask(self, type: str, **fields: Any) -> dict[str, Any]:
        """The reply to a command."""
        self.send(command(type=type, id="asked", **fields))
        while (event := self.event()).get("id") != "asked":
            pass
        return event

    def raw(self, type: str, **fields: Any) -> bytes:
        """The reply to a command, byte for byte."""
        self.ask(type, **fields)
        return self.received[-1][1]


# Row 29

ASKED: dict[str, dict[str, Any]] = {
    "join": {"username": "eve"},
    "join with a past": {"type": "join", "username": "eve", "since": {"time": 0}},
    "join with history": {"type": "join", "username": "eve", "history": 10, "keep": True},
    "subscribe": {},
    "subscribe with a past": {"type": "subscribe", "since": "acked"},
    "publish": {"event": {"type": "stated", "text": "hi"}},
    "message": {"text": "hi"},
    "typing": {},
    "history": {},
    "history of a time": {"type": "history", "time": 0},
    "presence": {},
    "receipts": {},
    "receipts of an event": {"type": "receipts", "seq": 1},
    "ack": {"seq": 1},
    "leave": {},
    "unsubscribe": {},
}
NEED_NO_RIGHT = {"leave", "unsubscribe"}


def test_row_29_a_room_without_the_right_to_it_is_the_same_as_one_that_there_is_not(
    server: Server, issuer: Issuer, room: str
) -> None:
    """Byte for byte; that nothing is looked up for the answer is tested in the unit tests."""
    with Client(server, issuer, "u-ada") as ada, Client(server, issuer, "u-eve", **GRANTS) as eve:
        assert ada.ask("join", room=room, username="ada")["type"] == "room_info"
        assert ada.ask("message", text="a secret of the room")["seq"] == 1
        for name, fields in ASKED.items():
            answers = {eve.raw(**{"type": name, **fields, "room": asked}) for asked in (room, f"room-{uuid4()}")}
            (answer,) = answers
            code = "not_in_room" if name in NEED_NO_RIGHT else "forbidden"
            assert json.loads(answer)["code"] == code, name
        assert ada.ask("presence", room=room)["count"] == 1


def test_row_29_resuming_a_room_without_the_right_is_missing_it(server: Server, issuer: Issuer, room: str) -> None:
    with Client(server, issuer, "u-ada") as ada, Client(server, issuer, "u-eve", **GRANTS) as eve:
        ada.ask("join", room=room, username="ada")
        rooms = {room: {"epoch": "e", "seq": 0}, "room-of-nobody": {"epoch": "e", "seq": 0}}
        assert eve.ask("resume", rooms=rooms)["missing"] == list(rooms)


def test_row_29_whoever_may_only_listen_cannot_speak(server: Server, issuer: Issuer, room: str) -> None:
    """Neither there nor, with a message that names no room, where it may only be."""
    with Client(server, issuer, "u-ada") as ada, Client(server, issuer, "u-eve", **LISTENER) as eve:
        ada.ask("join", room=f"open-{room}", username="ada")
        assert eve.ask("subscribe", room=f"open-{room}")["type"] == "room_info"
        assert eve.ask("join", room=room, username="eve", keep=True)["type"] == "room_info"
        for fields in ({"text": "hi"}, {"text": "hi", "room": room}, {"text": "hi", "room": f"open-{room}"}):
            assert eve.ask("message", **fields)["code"] == "forbidden"
        for kind in ("history", "presence", "receipts"):
            assert eve.ask(kind, room=f"open-{room}")["code"] == "forbidden"
        assert ada.ask("history", room=f"open-{room}")["messages"] == []


def test_row_29_rights_that_are_taken_away_end_the_memberships(server: Server, issuer: Issuer, room: str) -> None:
    with Client(server, issuer, "u-ada") as ada, Client(server, issuer, "u-eve") as eve:
        ada.ask("join", room=room, username="ada")
        assert eve.ask("join", room=room, username="eve")["count"] == 2
        assert eve.ask("refresh", token=issuer.token("u-eve", **GRANTS))["missing"] == [room]
        assert ada.event("user_left")["username"] == "u-eve"
        assert eve.ask("message", text="hi", room=room)["code"] == "forbidden"


# Sessions, cursors and messageIds of others


def test_row_29_a_session_of_another_user_is_not_taken_up(server: Server, issuer: Issuer, room: str) -> None:
    with Client(server, issuer, "u-ada") as ada:
        ada.ask("join", room=room, username="ada")
        with Client(server, issuer, "u-eve", ada.session) as eve:
            assert eve.session.partition(".")[0] != ada.session.partition(".")[0]
            assert eve.ask("resume", rooms={room: {"epoch": "e", "seq": 0}})["missing"] == [room]
            assert eve.ask("resume", session=ada.session, rooms={})["session"].partition(".")[0] not in ada.session
        assert ada.ask("presence", room=room)["count"] == 1  # it was not replaced
    with Client(server, issuer, "u-ada", ada.session) as again:
        assert again.session == ada.session


def test_row_29_cursors_are_the_users_own(server: Server, issuer: Issuer, room: str) -> None:
    user = f"u-{room}"
    with Client(server, issuer, user) as ada:
        ada.ask("join", room=room, username="ada")
        for text in ("one", "two", "three"):
            ada.ask("message", text=text)
        assert ada.ask("ack", room=room, seq=2)["seq"] == 2
    with Client(server, issuer, user) as elsewhere:  # another session of the same user
        assert elsewhere.ask("subscribe", room=room, since="acked")["acked"] == 2
    with Client(server, issuer, "u-eve") as eve:
        info = eve.ask("subscribe", room=room, since="acked")
        assert (info["recovered"], "acked" in info) == (None, False)


def test_row_29_message_ids_are_the_users_own(server: Server, issuer: Issuer, room: str) -> None:
    def say(user: str) -> int:
        with Client(server, issuer, user) as client:
            client.ask("join", room=room, username="any")
            seq: int = client.ask("message", text="hi", messageId="m-1")["seq"]
            return seq

    with Client(server, issuer, "u-stays") as stays:  # who is the last to leave takes the room along
        stays.ask("join", room=room, username="any")
        assert [say("u-ada"), say("u-ada"), say("u-eve"), say("u-eve")] == [1, 1, 2, 2]


def test_row_30_the_name_that_a_user_claims_for_itself_does_not_count(
    server: Server, issuer: Issuer, room: str
) -> None:
    with Client(server, issuer, "u-eve", name="Eve") as eve:
        assert eve.ask("join", room=room, username="Ada")["members"] == ["Eve"]
        assert eve.ask("refresh", token=issuer.token("u-ada"))["code"] == "invalid_token"
