"""Editing and deleting what was said, over every way of hosting: only one's own, and for all to see."""

from collections.abc import Iterator
from contextlib import ExitStack
from typing import Any

import pytest

from tests.support.chatter import Chatter, Event, chatting
from tests.support.server import Server


@pytest.fixture
def epoch(people: tuple[Chatter, Chatter]) -> str:
    epoch: str = people[0].ask(type="history", id=0)["epoch"]
    return epoch


@pytest.fixture
def people(server: Server, room: str) -> Iterator[tuple[Chatter, Chatter]]:
    """Ada and Bob, each with a session, in one room, with nothing left to read; Ada has said "hi" as m-1."""
    with ExitStack() as stack:
        ada, bob = (stack.enter_context(chatting(f"{server.ws}/ws?session=")) for _ in range(2))
        ada.join(room, "ada")
        bob.join(room, "bob")
        assert ada.next()["type"] == "user_joined"
        ada.ask(type="message", text="hi", messageId="m-1", id=1)
        assert ada.next()["author"] == bob.next()["author"]
        yield ada, bob


def refusal(chatter: Chatter, **command: Any) -> Event:
    error = chatter.ask(id=2, **command)
    assert error["type"] == "error", error
    assert chatter.nothing()
    return {"code": error["code"], "message": error["message"]}


NO_SUCH = {"code": "invalid_message", "message": "There is no such message"}
NOT_OWN = {"code": "forbidden", "message": "Only your own messages can be changed"}


def test_an_edit_tells_all_the_new_text_and_is_kept(people: tuple[Chatter, Chatter], epoch: str, room: str) -> None:
    ada, bob = people
    assert ada.ask(type="edit", of=1, epoch=epoch, text=" hello ", id=2) == ({"type": "ok", "id": 2, "seq": 2})
    edited = bob.next()
    timestamp = edited.pop("timestamp")
    assert edited == {"type": "edited", "username": "ada", "of": 1, "text": "hello", "room": room, "seq": 2}
    assert ada.next() == {**edited, "timestamp": timestamp}
    page = bob.ask(type="history", id=3)
    assert [event["type"] for event in page["messages"]] == ["message", "edited"]


def test_a_delete_tells_all_and_is_kept(people: tuple[Chatter, Chatter], epoch: str, room: str) -> None:
    ada, bob = people
    assert ada.ask(type="delete", of=1, epoch=epoch, id=2)["seq"] == 2
    deleted = bob.next()
    del deleted["timestamp"]
    assert deleted == {"type": "deleted", "username": "ada", "of": 1, "room": room, "seq": 2}


@pytest.mark.parametrize("change", [{"type": "edit", "text": "bob is right"}, {"type": "delete"}])
def test_what_another_said_cannot_be_changed_by_whoever_has_the_name(
    people: tuple[Chatter, Chatter], epoch: str, room: str, change: Event
) -> None:
    _ada, bob = people
    bob.join(room, "ada")
    assert refusal(bob, of=1, epoch=epoch, **change) == NOT_OWN
    bob.send(type="message", text="mine", messageId="m-1")
    assert bob.next()["seq"] == 2
    assert refusal(bob, of=1, epoch=epoch, **change) == NOT_OWN
    assert bob.ask(of=2, epoch=epoch, id=9, **change)["type"] == "ok"


def test_who_comes_back_with_its_session_can_change_what_it_said(
    people: tuple[Chatter, Chatter], epoch: str, server: Server, room: str
) -> None:
    ada, _ = people
    with chatting(f"{server.ws}/ws?session={ada.connected['session']}") as again:
        again.join(room, "another name")
        assert again.ask(type="delete", of=1, epoch=epoch, id=2)["type"] == "ok"


def test_what_was_sent_without_a_messageid_or_a_session_cannot_be_changed(
    server: Server, people: tuple[Chatter, Chatter], epoch: str, room: str
) -> None:
    ada, _ = people
    ada.send(type="message", text="again")
    said = ada.next()
    assert "author" not in said
    assert refusal(ada, type="delete", of=said["seq"], epoch=epoch) == NOT_OWN
    with chatting(f"{server.ws}/ws") as eve:
        eve.join(room, "eve")
        eve.send(type="message", text="hi", messageId="m-1")
        said = eve.next()
        assert "author" not in said
        assert refusal(eve, type="delete", of=said["seq"], epoch=epoch) == NOT_OWN


@pytest.mark.parametrize(
    ("of", "other"), [(2, ""), (1, "another"), (99, "")], ids=["no message", "another epoch", "not there yet"]
)
def test_a_message_that_is_not_there_cannot_be_changed(
    people: tuple[Chatter, Chatter], epoch: str, of: int, other: str
) -> None:
    ada, _bob = people
    ada.ask(type="edit", of=1, epoch=epoch, text="hello", id=2)
    ada.next()
    assert refusal(ada, type="edit", of=of, epoch=other or epoch, text="hey") == NO_SUCH


@pytest.mark.parametrize("text", ["", "  ", "x" * 2001])
def test_a_message_is_not_edited_to_nothing_nor_to_too_much(
    people: tuple[Chatter, Chatter], epoch: str, text: str
) -> None:
    said = refusal(people[0], type="edit", of=1, epoch=epoch, text=text)
    assert said == {"code": "invalid_message", "message": "A message has 1 to 2000 characters"}


def test_who_is_not_in_the_room_changes_nothing(
    server: Server, people: tuple[Chatter, Chatter], epoch: str, room: str
) -> None:
    ada, _ = people
    ada.join(f"{room} b", "ada")
    assert refusal(ada, type="delete", room=room, of=1, epoch=epoch)["code"] == "not_in_room"
