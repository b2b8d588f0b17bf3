"""Commands and their replies as protocol/PROTOCOL.md has them, in JSON and MessagePack, over every way of hosting."""

from collections.abc import Iterator
from contextlib import ExitStack

import msgspec
import pytest
from websockets.frames import Close

from tests.conftest import Servers
from tests.contract.conftest import Connect
from tests.support.chatter import Chatter, chatting
from tests.support.peer import Peer, command
from tests.support.server import Server

MSGPACK = "hubbub.v1.msgpack"

# id and its one reply


@pytest.mark.parametrize("id", [0, 7, -5, 2**63, "", "a", "x" * 64, "日本"])
def test_an_id_comes_back_as_it_was(enter: Connect, id: int | str) -> None:
    reply = enter().ask(type="ping", id=id)
    assert (reply["type"], reply["id"]) == ("ok", id)


@pytest.mark.parametrize("id", ["x" * 65, 1.5, True, None, [1], {"a": 1}])
def test_an_id_that_is_none_is_refused_without_one(enter: Connect, id: object) -> None:
    refusal = enter().ask(type="ping", id=id)
    assert (refusal["type"], refusal["code"]) == ("error", "invalid_message")
    assert "id" not in refusal


def test_ping_tells_the_servers_time(enter: Connect) -> None:
    ada = enter()
    reply = ada.ask(type="ping", id=1)
    assert reply.keys() == {"type", "id", "timestamp"}
    assert 0 <= reply["timestamp"] - ada.connected["timestamp"] < 60_000


def test_the_reply_to_a_join_is_the_room_info(enter: Connect, room: str) -> None:
    ada = enter()
    info = ada.join(room, "ada", id="j")
    assert (info["type"], info["id"]) == ("room_info", "j")
    assert ada.nothing()


def test_the_reply_to_a_refused_join_is_the_error(enter: Connect) -> None:
    ada = enter()
    refusal = ada.join("", "", id=4)
    assert refusal == {"type": "error", "message": "Room and username are required", "code": "invalid_join", "id": 4}
    assert ada.nothing()


def test_the_reply_to_a_message_has_its_seq_and_comes_before_it(pair: tuple[Chatter, Chatter]) -> None:
    ada, bob = pair
    assert ada.ask(type="message", text="hi", id=1) == {"type": "ok", "id": 1, "seq": 1}
    said = ada.next()
    assert (said["type"], said["seq"]) == ("message", 1)
    assert said == bob.next()
    assert ada.nothing()


def test_an_id_is_for_the_sender_alone(pair: tuple[Chatter, Chatter]) -> None:
    ada, bob = pair
    ada.send(type="message", text="hi", id=1)
    assert "id" not in bob.next()
    ada.send(type="typing", id=2)
    assert "id" not in bob.next()


def test_the_reply_to_typing_is_ok(enter: Connect) -> None:
    ada = enter("ada")
    assert ada.ask(type="typing", id=1) == {"type": "ok", "id": 1}
    assert ada.nothing()


@pytest.mark.parametrize("fields", [{"type": "ping"}, {"type": "typing"}])
def test_without_an_id_success_is_not_answered(enter: Connect, fields: dict[str, str]) -> None:
    ada = enter("ada")
    ada.send(**fields)
    assert ada.nothing()


def test_replies_come_in_the_order_of_the_commands(server: Server) -> None:
    with Peer(server.port) as ada:
        ada.open()
        ada.send(b"".join(command(type="ping", id=number) for number in range(200)))
        assert ada.event()["type"] == "connected"
        assert [ada.event()["id"] for _ in range(200)] == list(range(200))


# presence


def test_presence_lists_the_members(pair: tuple[Chatter, Chatter], room: str) -> None:
    reply = pair[0].ask(type="presence", room=room, id=1)
    assert reply == {"type": "ok", "id": 1, "room": room, "members": ["ada", "bob"], "count": 2}


@pytest.mark.parametrize(
    ("page", "members"),
    [
        ({"limit": 1}, ["ada"]),
        ({"offset": 1}, ["bob"]),
        ({"offset": 1, "limit": 1}, ["bob"]),
        ({"offset": 2}, []),
    ],
)
def test_presence_is_given_by_the_page(
    pair: tuple[Chatter, Chatter], room: str, page: dict[str, int], members: list[str]
) -> None:
    reply = pair[0].ask(type="presence", room=room, id=1, **page)
    assert (reply["members"], reply["count"]) == (members, 2)


@pytest.mark.parametrize("page", [{"limit": 0}, {"limit": 1001}, {"limit": -1}, {"offset": -1}, {"offset": "1"}])
def test_an_impossible_page_is_refused(enter: Connect, room: str, page: dict[str, object]) -> None:
    refusal = enter("ada").ask(type="presence", room=room, id=1, **page)
    assert (refusal["type"], refusal["code"], refusal["id"]) == ("error", "invalid_message", 1)


def test_presence_of_a_room_that_one_is_not_in_is_refused(pair: tuple[Chatter, Chatter], enter: Connect) -> None:
    refusals = [enter().ask(type="presence", room=name) for name in ("nobody is here", "")]
    assert [refusal["code"] for refusal in refusals] == ["not_in_room", "not_in_room"]


# keep


def test_a_join_that_keeps_stays_in_the_room_before(pair: tuple[Chatter, Chatter], room: str) -> None:
    ada, bob = pair
    assert ada.join(f"{room} two", "ada", keep=True)["members"] == ["ada"]
    assert bob.nothing()
    bob.send(type="message", text="still there?")
    assert (bob.next()["room"], ada.next()["room"]) == (room, room)


def test_messages_go_to_the_room_joined_last(pair: tuple[Chatter, Chatter], room: str) -> None:
    ada, bob = pair
    ada.join(f"{room} two", "ada", keep=True)
    assert ada.ask(type="message", text="hi")["room"] == f"{room} two"
    ada.ask(type="leave", room=f"{room} two", id=1)
    assert ada.ask(type="message", text="hi")["room"] == bob.next()["room"] == room


def test_everybody_has_in_each_room_the_name_of_that_room(pair: tuple[Chatter, Chatter], room: str) -> None:
    ada, bob = pair
    ada.join(f"{room} two", "lady ada", keep=True)
    assert ada.ask(type="message", text="hi")["username"] == "lady ada"
    ada.ask(type="leave", room=f"{room} two", id=1)
    assert ada.ask(type="message", text="hi")["username"] == bob.next()["username"] == "ada"


def test_a_join_that_does_not_keep_leaves_all_rooms(enter: Connect, room: str) -> None:
    ada, bob, eve = enter("ada"), enter("bob"), enter()
    eve.join(f"{room} two", "eve")
    ada.join(f"{room} two", "ada", keep=True)
    assert eve.next()["type"] == "user_joined"
    ada.join(f"{room} three", "ada")
    assert (bob.next()["type"], eve.next()["type"]) == ("user_left", "user_left")


def test_a_disconnect_is_announced_in_every_room(enter: Connect, room: str) -> None:
    ada, bob, eve = enter("ada"), enter("bob"), enter()
    eve.join(f"{room} two", "eve")
    ada.join(f"{room} two", "ada", keep=True)
    assert eve.next()["type"] == "user_joined"
    ada.socket.close()
    assert [(left["type"], left["room"]) for left in (bob.next(), eve.next())] == [
        ("user_left", room),
        ("user_left", f"{room} two"),
    ]


def test_a_connection_is_in_a_hundred_rooms_at_most(enter: Connect, room: str) -> None:
    ada = enter()
    for number in range(100):
        assert ada.join(f"{room} {number}", "ada", keep=True)["type"] == "room_info"
    refusal = ada.join(f"{room} 100", "ada", keep=True)
    assert (refusal["type"], refusal["code"]) == ("error", "too_many_rooms")
    assert ada.join(f"{room} 7", "ada", keep=True)["type"] == "room_info"


# Large rooms


CROWD = ("--presence-detail", "3", "--members-shown", "2", "--heartbeat-seconds", "1", "--rate-limit", "0")


@pytest.fixture
def crowd(own_host: str, servers: Servers, room: str) -> Iterator[list[Chatter]]:
    """Five people in a room whose comings and goings are announced one by one up to three."""
    with ExitStack() as stack:
        url = f"{servers(own_host, *CROWD).ws}/ws"
        people = [stack.enter_context(chatting(url)) for _ in range(5)]
        for number, person in enumerate(people[:4]):
            assert person.join(room, f"person {number}")["count"] == number + 1
        yield people


def test_in_a_large_room_counts_stand_for_comings_and_goings(crowd: list[Chatter], room: str) -> None:
    first, *_, last = crowd
    assert [first.next()["type"] for _ in range(3)] == ["user_joined"] * 3
    last.join(room, "person 4")
    count = first.next()
    assert count.keys() == {"type", "memberCount", "timestamp", "room"}
    assert (count["type"], count["memberCount"], count["room"]) == ("member_count", 5, room)
    last.socket.close()
    assert first.next()["memberCount"] == 4


def test_a_long_list_of_members_is_cut_and_begins_with_oneself(crowd: list[Chatter], room: str) -> None:
    info = crowd[-1].join(room, "person 4")
    assert (info["members"], info["count"], info["membersTruncated"]) == (["person 4", "person 0"], 5, True)


def test_presence_has_the_members_that_room_info_cut(crowd: list[Chatter], room: str) -> None:
    reply = crowd[3].ask(type="presence", room=room, id=1)
    assert reply["members"] == ["person 0", "person 1", "person 2", "person 3"]


# Limits


def test_above_the_rate_a_command_is_dropped_with_a_warning(servers: Servers, own_host: str, room: str) -> None:
    server = servers(own_host, "--rate-limit", "0.5", "--rate-burst", "3")
    with chatting(f"{server.ws}/ws") as ada:
        assert [ada.ask(type="ping", id=number)["type"] for number in range(3)] == ["ok"] * 3
        warning = ada.ask(type="message", text="too much")
        assert 0 < warning.pop("retryAfter") <= 2000
        assert warning == {
            "type": "warning",
            "code": "rate_limited",
            "message": "Too many messages; this one was dropped (rate_limit)",
        }


def test_a_dropped_command_with_an_id_is_answered(servers: Servers, own_host: str) -> None:
    server = servers(own_host, "--rate-limit", "0.5", "--rate-burst", "3")
    with chatting(f"{server.ws}/ws") as ada:
        assert [ada.ask(type="ping", id=number)["type"] for number in range(3)] == ["ok"] * 3
        assert [ada.ask(type="ping", id="x")["type"], ada.next()["type"]] == ["warning", "error"]
        refusal = ada.ask(type="ping", id="y")
        assert 0 < refusal.pop("retryAfter") <= 2000
        assert refusal == {
            "type": "error",
            "code": "rate_limited",
            "message": "Too many messages (rate_limit)",
            "id": "y",
        }


def test_who_keeps_exceeding_the_rate_is_closed(servers: Servers, own_host: str) -> None:
    server = servers(own_host, "--rate-limit", "0.5", "--rate-burst", "3", "--rate-patience-seconds", "0")
    with chatting(f"{server.ws}/ws") as ada:
        for _ in range(5):
            ada.send(type="ping")
        assert ada.end() == Close(1008, "too many messages for too long (rate_limit, rate_patience_seconds)")


def test_a_message_over_the_limit_ends_the_connection(enter: Connect) -> None:
    ada = enter("ada")
    ada.socket.send('{"type":"message","text":"' + "x" * 65_536 + '"}')
    assert ada.end().code == 1009


# MessagePack


def test_messagepack_carries_the_same_events(enter: Connect, room: str) -> None:
    ada, bob = enter("", MSGPACK), enter()
    assert ada.connected.keys() == bob.connected.keys()
    info = ada.join(room, "ada", id=1)
    assert (info["type"], info["members"], info["id"]) == ("room_info", ["ada"], 1)
    assert bob.join(room, "bob").keys() == info.keys() - {"id"}
    assert ada.next()["username"] == "bob"


def test_json_and_messagepack_meet_in_one_room(enter: Connect) -> None:
    ada, bob = enter("ada", MSGPACK), enter("bob", "hubbub.v1.json")
    assert ada.next()["type"] == "user_joined"
    ada.send(type="message", text="é 日本 🎉")
    assert ada.next() == bob.next()
    bob.send(type="message", text="é 日本 🎉")
    said = ada.next()
    assert said == bob.next()
    assert said["text"] == "é 日本 🎉"


@pytest.mark.parametrize("payload", [b"", b"\xc1", b"\x91\x01", b"\x01", b"\xc0", b"{}", b"\x81\xa4type"])
def test_what_is_no_messagepack_map_is_answered(enter: Connect, payload: bytes) -> None:
    ada = enter("", MSGPACK)
    ada.socket.send(payload)
    assert ada.next() == {"type": "error", "message": "Invalid JSON payload", "code": "invalid_json"}
    assert ada.nothing()


def test_a_binary_frame_in_json_ends_the_connection(enter: Connect) -> None:
    ada = enter("ada")
    ada.socket.send(msgspec.msgpack.encode({"type": "ping", "id": 1}))
    assert ada.end() == Close(1003, "this sub-protocol has the other kind of frame")


def test_a_text_frame_in_messagepack_ends_the_connection(enter: Connect) -> None:
    ada = enter("ada", MSGPACK)
    ada.socket.send('{"type":"ping","id":1}')
    assert ada.end() == Close(1003, "this sub-protocol has the other kind of frame")


# An application's handlers


@pytest.mark.parametrize("kind", ["fail", "fail_later"])
def test_a_handler_that_fails_answers_with_an_id_that_stands_in_the_log_once(
    server: Server, enter: Connect, kind: str
) -> None:
    ada = enter()
    failure = ada.ask(type=kind, id=1)
    correlation_id = failure.pop("correlationId")
    assert failure == {"type": "error", "message": "Internal error", "code": "internal", "id": 1}
    assert server.log.count(correlation_id) == 1
    assert ada.nothing()


@pytest.mark.parametrize("kind", ["fail", "fail_later"])
def test_a_handler_that_fails_answers_without_an_id_too(enter: Connect, kind: str) -> None:
    failure = enter().ask(type=kind)
    assert failure.keys() == {"type", "message", "code", "correlationId"}


def test_a_handler_that_fails_harms_nobody_else(pair: tuple[Chatter, Chatter]) -> None:
    ada, bob = pair
    assert ada.ask(type="fail")["code"] == "internal"
    assert bob.ask(type="message", text="hi") == ada.next()


def test_a_handler_may_refuse_in_its_own_words(enter: Connect) -> None:
    ada = enter()
    assert ada.ask(type="refuse", id=1) == {"type": "error", "message": "not today", "code": "no", "id": 1}
    assert ada.ask(type="refuse") == {"type": "error", "message": "not today", "code": "no"}


def test_a_field_of_the_wrong_type_is_named(enter: Connect) -> None:
    refusal = enter().ask(type="slow", text="hi", seconds="soon", id=1)
    assert (refusal["code"], refusal["id"]) == ("invalid_message", 1)
    assert refusal["message"] == "Expected `float`, got `str` - at `$.seconds`"


def test_a_missing_field_is_named(enter: Connect) -> None:
    refusal = enter().ask(type="state", id=1)
    assert (refusal["code"], refusal["id"]) == ("invalid_message", 1)
    assert refusal["message"] == "Object missing required field `text`"


def test_coroutine_and_plain_handlers_run_in_the_order_of_the_commands(pair: tuple[Chatter, Chatter]) -> None:
    ada, bob = pair
    for number, kind in enumerate(("slow", "state", "slow", "state", "message")):
        ada.send(type=kind, text=str(number), id=number)
    assert [bob.next()["text"] for _ in range(5)] == list("01234")
    replies = [event for event in (ada.next() for _ in range(10)) if event["type"] == "ok"]
    assert [(reply["id"], reply["seq"]) for reply in replies] == [(n, n + 1) for n in range(5)]


def test_a_coroutine_handler_holds_up_its_own_connection_only(pair: tuple[Chatter, Chatter]) -> None:
    ada, bob = pair
    ada.send(type="slow", text="at last", seconds=0.5)
    ada.send(type="ping", id=1)
    assert bob.nothing()
    assert bob.next()["text"] == "at last"
    assert {ada.next()["type"], ada.next()["type"]} == {"stated", "ok"}


def test_many_commands_wait_for_a_coroutine_handler_and_none_is_lost(server: Server, enter: Connect, room: str) -> None:
    bob = enter("bob")
    with Peer(server.port) as ada:
        ada.join(room, "ada")
        assert bob.next()["type"] == "user_joined"
        waiting = b"".join(command(type="state", text=str(number)) for number in range(1, 300))
        ada.send(command(type="slow", text="0", seconds=0.2) + waiting)
        assert [bob.next()["text"] for _ in range(300)] == [str(number) for number in range(300)]


def test_who_is_gone_before_the_handler_ends_is_not_missed(server: Server, enter: Connect) -> None:
    ada, bob = enter("ada"), enter("bob")
    log = server.log
    ada.send(type="slow", text="nobody hears this", seconds=0.1)
    ada.socket.close()
    assert bob.next()["type"] == "user_left"
    bob.send(type="slow", text="later", seconds=0.2)
    assert bob.next()["text"] == "later"
    assert server.log == log


def test_what_is_published_at_once_and_what_is_typed_come_in_order(pair: tuple[Chatter, Chatter]) -> None:
    ada, bob = pair
    for number in range(20):
        ada.send(type="state" if number % 2 else "typing", text=str(number))
    assert [bob.next()["type"] for _ in range(20)] == ["typing", "stated"] * 10


# What is no command


@pytest.mark.parametrize(
    "text", ["", "hi", "{", '{"type":"join"', "[1]", "[]", "5", "null", '"join"', '{"type":"ping"} {}', "{'type':1}"]
)
def test_what_is_no_json_object_is_answered_and_the_connection_stays(enter: Connect, text: str) -> None:
    ada = enter("ada")
    ada.socket.send(text)
    assert ada.next() == {"type": "error", "message": "Invalid JSON payload", "code": "invalid_json"}
    assert ada.ask(type="message", text="still here")["text"] == "still here"


@pytest.mark.parametrize("kind", ["nope", "Join", "ok", "connected", "user_joined"])
def test_a_type_that_is_no_command_is_answered(enter: Connect, kind: str) -> None:
    refusal = enter().ask(type=kind, id=3)
    assert (refusal["type"], refusal["code"], refusal["id"]) == ("error", "unknown_type", 3)


@pytest.mark.parametrize("kind", ["", ',"type":""', ',"type":5', ',"type":null', ',"type":{}'])
def test_an_object_without_a_type_is_no_command_either(enter: Connect, kind: str) -> None:
    ada = enter()
    ada.socket.send(f'{{"id":1{kind}}}')
    refusal = ada.next()
    assert (refusal["type"], refusal["code"], refusal["id"]) == ("error", "invalid_message", 1)


def test_ten_malformed_messages_in_a_row_end_the_connection(enter: Connect) -> None:
    ada = enter()
    for _ in range(10):
        ada.socket.send("nonsense")
    assert [ada.next()["code"] for _ in range(10)] == ["invalid_json"] * 10
    assert ada.end().code == 4400


def test_a_good_command_forgives_malformed_ones(enter: Connect) -> None:
    ada = enter()
    for _ in range(3):
        for _ in range(9):
            ada.socket.send("nonsense")
            assert ada.next()["code"] == "invalid_json"
        assert ada.nothing()


def test_unknown_fields_are_ignored(enter: Connect, room: str) -> None:
    ada = enter()
    assert ada.join(room, "ada", colour="red", nested={"a": [1, None]})["type"] == "room_info"
    assert ada.ask(type="message", text="hi", colour="red")["text"] == "hi"
