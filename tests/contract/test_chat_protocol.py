"""Layer 1 of protocol/PROTOCOL.md, field by field, over every way of hosting the application."""

import json
import re
import time
from uuid import uuid4

import pytest

from tests.conftest import Servers
from tests.contract.conftest import Connect
from tests.support.chatter import Chatter, chatting
from tests.support.peer import Peer, command
from tests.support.server import Server

UUID = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}")
JOIN_ERROR = "Room and username are required"


def is_now(milliseconds: object) -> bool:
    """Whether it is a whole number of Unix milliseconds within a minute of this clock."""
    return type(milliseconds) is int and abs(milliseconds - time.time() * 1000) < 60_000


# connected


def test_the_first_event_names_the_connection_and_the_time(enter: Connect) -> None:
    connected = enter().connected
    assert connected["type"] == "connected"
    assert UUID.fullmatch(connected["clientId"])
    assert is_now(connected["timestamp"])


def test_the_first_event_says_what_the_server_does(enter: Connect) -> None:
    connected = enter().connected
    assert connected.keys() == {"type", "clientId", "timestamp", "protocol", "heartbeat", "maxMessageBytes", "node"}
    assert (connected["protocol"], connected["heartbeat"], connected["maxMessageBytes"]) == (1, 30_000, 65_536)


def test_every_connection_has_an_id_of_its_own(enter: Connect) -> None:
    assert len({enter().connected["clientId"] for _ in range(5)}) == 5


# join


def test_who_joins_is_told_who_is_there(enter: Connect, room: str) -> None:
    info = enter().join(room, "ada")
    assert info.keys() == {"type", "room", "members", "count", "epoch", "seq", "head", "recovered", "messages"}
    assert (info["type"], info["room"], info["members"], info["count"], info["seq"]) == (
        ("room_info", room, ["ada"], 1, 0)
    )


def test_members_are_listed_in_the_order_of_joining(enter: Connect, room: str) -> None:
    enter("zoe")
    enter("ada")
    info = enter().join(room, "mia")
    assert (info["members"], info["count"]) == (["zoe", "ada", "mia"], 3)


def test_the_others_are_told_who_joined(enter: Connect, room: str) -> None:
    ada = enter("ada")
    enter("bob")
    joined = ada.next()
    assert is_now(joined.pop("timestamp"))
    assert joined == {"type": "user_joined", "username": "bob", "memberCount": 2, "room": room}


def test_who_joins_does_not_hear_of_their_own_coming(enter: Connect) -> None:
    assert enter("ada").nothing()


def test_room_and_username_are_trimmed(enter: Connect, room: str) -> None:
    info = enter().join(f" \t{room}\r\n ", "\u2003 ada\n")
    assert (info["room"], info["members"]) == (room, ["ada"])


def test_room_and_username_are_cut_to_50_and_30_characters(enter: Connect, room: str) -> None:
    long = room + "é" * 50
    info = enter().join(long, "ö" * 31)
    assert (info["room"], info["members"]) == (long[:50], ["ö" * 30])


def test_room_and_username_are_trimmed_before_they_are_cut(enter: Connect, room: str) -> None:
    info = enter().join(" " * 60 + room, " " * 40 + "ada")
    assert (info["room"], info["members"]) == (room, ["ada"])


@pytest.mark.parametrize(
    "fields",
    [
        {},
        {"room": "lobby"},
        {"username": "ada"},
        {"room": "", "username": "ada"},
        {"room": "lobby", "username": ""},
        {"room": " \t ", "username": "ada"},
        {"room": "lobby", "username": "\n"},
    ],
)
def test_a_join_without_room_or_username_is_refused(enter: Connect, fields: dict[str, str]) -> None:
    refusal = enter().ask(type="join", **fields)
    assert refusal == {"type": "error", "message": JOIN_ERROR, "code": "invalid_join"}


def test_a_refused_join_leaves_the_member_where_it_was(pair: tuple[Chatter, Chatter]) -> None:
    ada, bob = pair
    assert ada.join(" ", "ada")["code"] == "invalid_join"
    assert bob.nothing()
    assert ada.ask(type="message", text="still here")["text"] == "still here"


@pytest.mark.parametrize("name", ["a\x00b", "a\r\nb", "a\x1b[31mb", "a\u202eb", "a*b", "{a}"])
def test_a_room_with_characters_that_names_must_not_have_is_refused(enter: Connect, name: str) -> None:
    refusal = enter().join(name, "ada")
    assert (refusal["type"], refusal["code"]) == ("error", "invalid_name")


@pytest.mark.parametrize("name", ["a\x00b", "a\r\nb", "a\x1b[31mb", "a\u202eb"])
def test_a_username_with_characters_that_names_must_not_have_is_refused(enter: Connect, name: str, room: str) -> None:
    refusal = enter().join(room, name)
    assert (refusal["type"], refusal["code"]) == ("error", "invalid_name")


def test_names_of_any_script_are_kept_as_they_are(enter: Connect, room: str) -> None:
    name = room[:40] + " 日本 🎉 <b>"
    info = enter().join(name, "Ада & O'Brien")
    assert (info["room"], info["members"]) == (name, ["Ада & O'Brien"])


def test_a_second_join_leaves_the_first_room(pair: tuple[Chatter, Chatter], room: str) -> None:
    ada, bob = pair
    info = ada.join(f"{room} two", "ada")
    assert (info["room"], info["members"], info["count"]) == (f"{room} two", ["ada"], 1)
    left = bob.next()
    assert is_now(left.pop("timestamp"))
    assert left == {"type": "user_left", "username": "ada", "memberCount": 1, "room": room}


def test_after_a_switch_messages_go_to_the_new_room_only(pair: tuple[Chatter, Chatter], room: str) -> None:
    ada, bob = pair
    ada.join(f"{room} two", "ada")
    assert bob.next()["type"] == "user_left"
    assert ada.ask(type="message", text="hello?")["room"] == f"{room} two"
    assert bob.nothing()


def test_after_a_switch_the_old_room_is_not_heard(pair: tuple[Chatter, Chatter], room: str) -> None:
    ada, bob = pair
    ada.join(f"{room} two", "ada")
    assert bob.next()["type"] == "user_left"
    assert bob.ask(type="message", text="gone?")["text"] == "gone?"
    assert ada.nothing()


def test_joining_the_same_room_again_changes_the_name(pair: tuple[Chatter, Chatter], room: str) -> None:
    ada, bob = pair
    info = ada.join(room, "lady ada")
    assert (info["members"], info["count"]) == (["bob", "lady ada"], 2)
    left, joined = bob.next(), bob.next()
    assert (left["type"], left["username"], left["memberCount"]) == ("user_left", "ada", 1)
    assert (joined["type"], joined["username"], joined["memberCount"]) == ("user_joined", "lady ada", 2)


def test_two_people_of_one_name_are_two_members(enter: Connect, room: str) -> None:
    first = enter("ada")
    info = enter().join(room, "ada")
    assert (info["members"], info["count"]) == (["ada", "ada"], 2)
    joined = first.next()
    assert (joined["type"], joined["username"], joined["memberCount"]) == ("user_joined", "ada", 2)


def test_when_one_of_two_people_of_one_name_goes_the_other_stays(enter: Connect) -> None:
    first, second = enter("ada"), enter("ada")
    assert first.next()["type"] == "user_joined"
    second.socket.close()
    left = first.next()
    assert (left["type"], left["username"], left["memberCount"]) == ("user_left", "ada", 1)
    assert first.ask(type="message", text="alone")["username"] == "ada"


# leave and disconnect


def test_a_clean_close_is_announced_to_the_others(pair: tuple[Chatter, Chatter], room: str) -> None:
    ada, bob = pair
    ada.socket.close()
    left = bob.next()
    assert is_now(left.pop("timestamp"))
    assert left == {"type": "user_left", "username": "ada", "memberCount": 1, "room": room}


def test_a_tcp_reset_is_announced_to_the_others(server: Server, enter: Connect, room: str) -> None:
    bob = enter("bob")
    with Peer(server.port) as ada:
        ada.join(room, "ada")
        assert bob.next()["memberCount"] == 2
        ada.reset()
        left = bob.next()
        assert (left["type"], left["username"], left["memberCount"]) == ("user_left", "ada", 1)


def test_the_end_of_tcp_without_a_close_frame_is_announced_to_the_others(
    server: Server, enter: Connect, room: str
) -> None:
    bob = enter("bob")
    with Peer(server.port) as ada:
        ada.join(room, "ada")
        assert bob.next()["memberCount"] == 2
    left = bob.next()
    assert (left["type"], left["username"], left["memberCount"]) == ("user_left", "ada", 1)


def test_a_room_that_all_have_left_is_empty_for_the_next(pair: tuple[Chatter, Chatter], room: str) -> None:
    ada, bob = pair
    ada.socket.close()
    assert bob.next()["memberCount"] == 1
    bob.join(f"{room} two", "bob")
    assert bob.join(room, "bob")["members"] == ["bob"]


def test_somebody_without_a_room_disconnects_unnoticed(pair: tuple[Chatter, Chatter], enter: Connect) -> None:
    enter().socket.close()
    assert all(person.nothing() for person in pair)


def test_leave_is_answered_and_announced(pair: tuple[Chatter, Chatter], room: str) -> None:
    ada, bob = pair
    assert ada.ask(type="leave", room=room, id=1) == {"type": "ok", "id": 1}
    left = bob.next()
    assert (left["type"], left["username"], left["memberCount"]) == ("user_left", "ada", 1)
    assert ada.ask(type="message", text="?")["code"] == "not_in_room"


def test_leaving_a_room_that_one_is_not_in_is_refused(enter: Connect, room: str) -> None:
    refusal = enter("ada").ask(type="leave", room=f"{room} two", id=1)
    assert (refusal["type"], refusal["code"], refusal["id"]) == ("error", "not_in_room", 1)


# message


def test_a_message_goes_to_all_the_sender_included(pair: tuple[Chatter, Chatter], room: str) -> None:
    ada, bob = pair
    said = ada.ask(type="message", text="hi")
    assert said == bob.next()
    assert UUID.fullmatch(said.pop("messageId"))
    assert is_now(said.pop("timestamp"))
    assert said == {"type": "message", "username": "ada", "text": "hi", "room": room, "seq": 1}


def test_the_text_is_trimmed(enter: Connect) -> None:
    assert enter("ada").ask(type="message", text=" \n two  words \t")["text"] == "two  words"


def test_every_message_has_an_id_of_its_own(enter: Connect) -> None:
    ada = enter("ada")
    assert len({ada.ask(type="message", text="same")["messageId"] for _ in range(5)}) == 5


def test_a_text_of_2000_characters_is_taken(enter: Connect) -> None:
    text = "🎉" * 2000
    assert enter("ada").ask(type="message", text=f"  {text}  ")["text"] == text


@pytest.mark.parametrize("text", ["", "  \n\t ", "x" * 2001, "🎉" * 2001])
def test_a_text_that_is_empty_or_too_long_is_dropped(pair: tuple[Chatter, Chatter], text: str) -> None:
    ada, bob = pair
    refusal = ada.ask(type="message", text=text)
    assert (refusal["type"], refusal["code"]) == ("error", "invalid_message")
    assert refusal["message"] == "A message has 1 to 2000 characters"
    assert bob.nothing()


def test_a_message_without_a_text_is_dropped(enter: Connect) -> None:
    assert enter("ada").ask(type="message")["code"] == "invalid_message"


@pytest.mark.parametrize("text", [5, None, True, ["hi"], {"hi": 1}])
def test_a_text_that_is_no_text_is_dropped(enter: Connect, text: object) -> None:
    refusal = enter("ada").ask(type="message", text=text)
    assert (refusal["type"], refusal["code"]) == ("error", "invalid_message")


@pytest.mark.parametrize("kind", ["message", "typing"])
def test_who_is_in_no_room_is_told_so(enter: Connect, kind: str) -> None:
    refusal = enter().ask(type=kind, text="hi")
    assert refusal == {"type": "error", "message": "Join a room first", "code": "not_in_room"}


def test_texts_come_as_they_were_sent(enter: Connect) -> None:
    ada = enter("ada")
    for text in ("<script>alert(1)</script>", 'quote " and \\ back', "a\x00b\x7f", "日本 🎉 é", "\u2028\u202e"):
        assert ada.ask(type="message", text=f"[{text}]")["text"] == f"[{text}]"


def test_texts_come_in_normal_form_c(enter: Connect) -> None:
    assert enter("ada").ask(type="message", text="cafe\u0301")["text"] == "caf\u00e9"


def test_marks_in_such_numbers_that_ordering_them_takes_long_are_left_as_they_are(enter: Connect) -> None:
    text = "\u0301\u0316" * 1000
    assert enter("ada").ask(type="message", text=text)["text"] == text


def test_kept_events_are_numbered_densely_per_room(enter: Connect, room: str) -> None:
    ada, bob = enter("ada"), enter()
    bob.join(f"{room} two", "bob")
    for expected in range(1, 6):
        assert ada.ask(type="message", text="in one")["seq"] == expected
        assert bob.ask(type="message", text="in two")["seq"] == expected


def test_what_is_not_kept_takes_no_number(pair: tuple[Chatter, Chatter]) -> None:
    ada, bob = pair
    assert ada.ask(type="message", text="one")["seq"] == bob.next()["seq"] == 1
    ada.send(type="typing")
    assert "seq" not in bob.next()
    assert ada.ask(type="message", text="two")["seq"] == bob.next()["seq"] == 2


def test_who_joins_later_is_told_the_room_s_position(enter: Connect, room: str) -> None:
    ada, zoe = enter("ada"), enter()
    for _ in range(3):
        ada.ask(type="message", text="hi")
    info = zoe.join(room, "zoe")
    assert info["seq"] == 3
    assert ada.until("user_joined")["username"] == "zoe"
    assert ada.ask(type="message", text="hi")["seq"] == zoe.next()["seq"] == 4


# typing


def test_typing_goes_to_the_others_only(pair: tuple[Chatter, Chatter], room: str) -> None:
    ada, bob = pair
    ada.send(type="typing")
    assert bob.next() == {"type": "typing", "username": "ada", "room": room}
    assert ada.nothing()


# Who one is


def test_identity_fields_of_the_client_are_ignored(pair: tuple[Chatter, Chatter], room: str) -> None:
    ada, bob = pair
    forged = {"username": "bob", "clientId": bob.connected["clientId"], "seq": 99, "timestamp": 1}
    said = ada.ask(type="message", text="I am bob", messageId=str(uuid4()), **forged)
    assert said == bob.next()
    assert (said["username"], said["room"], said["seq"]) == ("ada", room, 1)
    assert is_now(said["timestamp"])
    assert "clientId" not in said


def test_a_typing_of_another_name_is_one_s_own(pair: tuple[Chatter, Chatter]) -> None:
    ada, bob = pair
    ada.send(type="typing", username="bob")
    assert bob.next()["username"] == "ada"


# Whole conversations


def test_two_people_chat(enter: Connect, room: str) -> None:
    ada, bob = enter(), enter()
    assert ada.join(room, "ada")["members"] == ["ada"]
    assert bob.join(room, "bob")["members"] == ["ada", "bob"]
    assert ada.next()["username"] == "bob"
    assert ada.ask(type="message", text=" hi ") == (said := bob.next())
    assert said["text"] == "hi"


def test_join_and_messages_in_one_segment_are_answered_in_order(server: Server, room: str) -> None:
    with Peer(server.port) as ada:
        ada.open()
        join = command(type="join", room=room, username="ada")
        ada.send(join + b"".join(command(type="message", text=str(number)) for number in range(5)))
        kinds = [ada.event()["type"] for _ in range(7)]
        assert kinds == ["connected", "room_info", *["message"] * 5]
        assert [json.loads(payload)["text"] for _, payload in ada.received[2:]] == list("01234")


def test_what_is_said_before_a_switch_still_reaches_the_old_room(server: Server, enter: Connect, room: str) -> None:
    bob = enter("bob")
    with Peer(server.port) as ada:
        ada.join(room, "ada")
        assert bob.next()["type"] == "user_joined"
        ada.send(command(type="message", text="bye") + command(type="join", room=f"{room} two", username="ada"))
        assert [ada.event()["type"], ada.event()["type"]] == ["message", "room_info"]
        assert [bob.next()["type"], bob.next()["type"]] == ["message", "user_left"]


def test_what_is_said_before_a_close_still_reaches_the_room(server: Server, enter: Connect, room: str) -> None:
    bob = enter("bob")
    with Peer(server.port) as ada:
        ada.join(room, "ada")
        assert bob.next()["type"] == "user_joined"
        ada.send(command(type="message", text="bye") + ada.wire.send_close(1000))
        assert ada.close_code() == 1000
    assert [bob.next()["type"], bob.next()["type"]] == ["message", "user_left"]


def test_a_burst_of_500_messages_arrives_complete_and_in_order(server: Server, enter: Connect, room: str) -> None:
    bob = enter("bob")
    with Peer(server.port) as ada:
        ada.join(room, "ada")
        assert bob.next()["type"] == "user_joined"
        ada.send(b"".join(command(type="message", text=str(number)) for number in range(500)))
        heard = [bob.next() for _ in range(500)]
        assert heard == [ada.event() for _ in range(500)]
        assert [(said["text"], said["seq"]) for said in heard] == [(str(n), n + 1) for n in range(500)]


def test_many_rooms_do_not_hear_each_other(enter: Connect, room: str) -> None:
    people = [enter() for _ in range(40)]
    for number, person in enumerate(people):
        assert person.join(f"{room} {number}", f"person {number}")["count"] == 1
    for number, person in enumerate(people):
        said = person.ask(type="message", text="hi")
        assert (said["room"], said["username"], said["seq"]) == (f"{room} {number}", f"person {number}", 1)
    assert all(person.nothing() for person in people)


# Heartbeat


def test_a_peer_that_answers_no_ping_is_terminated_and_announced(servers: Servers, own_host: str, room: str) -> None:
    server = servers(own_host, "--heartbeat-seconds", "0.3")
    with chatting(f"{server.ws}/ws") as bob, Peer(server.port) as silent:
        assert bob.connected["heartbeat"] == 300
        bob.join(room, "bob")
        silent.join(room, "silent")
        assert silent.close_code() == 0
        assert [bob.next()["type"], bob.next()["type"]] == ["user_joined", "user_left"]
