"""hub.identity: what it means to be somebody: one's own name, and what is kept of a user over all connections."""

from __future__ import annotations

from typing import Any

import pytest

from hubbub.config import Config
from hubbub.hub.connection import Connection
from hubbub.hub.identity import ANONYMOUS, Credentials, Grants, Identity
from tests.unit.fakes import Bench, tape
from tests.unit.hub.people import NOW, enter, known, live, unlimited, within
from tests.unit.hub.rooms import Json, ask, client, flood, joined, speaking, token


@pytest.fixture
def bench() -> Bench:
    return speaking(unlimited())


def name_in_room(config: Config, identity: Identity, username: str | None) -> str:
    """Under which name somebody is in the room who asked for one."""
    bench = speaking(config)
    connection = enter(bench, identity)
    fields = {} if username is None else {"username": username}
    answer = ask(bench, connection, "join", room="lobby", **fields)
    name: str = answer["members"][0] if "members" in answer else answer["code"]
    return name


ADA = known("u1", name="Ada L.")


# Names


@pytest.mark.parametrize("asked", [None, "", "  ", "Ada L.", "bob", "admin", "\u202eada"])
def test_a_user_is_called_as_authentication_says(asked: str | None) -> None:
    assert name_in_room(unlimited(), ADA, asked) == "Ada L."


@pytest.mark.parametrize(("asked", "name"), [("bob", "bob"), (" bob ", "bob"), ("", "Ada L."), ("  ", "Ada L.")])
def test_with_display_names_a_user_may_choose_one(asked: str, name: str) -> None:
    assert name_in_room(unlimited(display_names=True), ADA, asked) == name


def test_a_chosen_name_has_the_same_rules() -> None:
    assert name_in_room(unlimited(display_names=True), ADA, "\u202eada") == "invalid_name"


@pytest.mark.parametrize("display_names", [False, True])
def test_the_anonymous_choose_theirs(display_names: bool) -> None:
    assert name_in_room(unlimited(display_names=display_names), ANONYMOUS, "bob") == "bob"
    assert name_in_room(unlimited(display_names=display_names), ANONYMOUS, "") == "invalid_join"


def test_a_resume_comes_back_under_the_same_name(bench: Bench) -> None:
    ada = within(bench, ADA, "")
    bench.hub.lost(ada)
    back = enter(bench, ADA, token(ada))
    ask(bench, back, "resume", rooms={"lobby": {"epoch": "epoch", "seq": 0}})
    assert bench.hub.room("lobby").usernames(0, 9) == ["Ada L."]


def test_the_first_event_says_who_the_client_is_and_until_when(bench: Bench) -> None:
    ada = enter(bench, known("u1", name="Ada L.", expires=NOW + 90.5))
    assert tape(ada).events[0]["user"] == {"id": "u1", "name": "Ada L.", "expires": 1_090_500}


def test_without_an_end_there_is_none_and_nobody_is_told_who_is_nobody(bench: Bench) -> None:
    assert tape(enter(bench, ADA)).events[0]["user"] == {"id": "u1", "name": "Ada L."}
    assert "user" not in tape(enter(bench, ANONYMOUS)).events[0]


# Who somebody is for what is stored


def test_a_user_is_the_same_with_every_connection_and_session(bench: Bench) -> None:
    plain, one, two = enter(bench, ADA), enter(bench, ADA, ""), enter(bench, ADA, "")
    assert plain.key == one.key == two.key == "user:u1"
    assert len({plain.device, one.device, two.device}) == 3


def test_without_a_user_it_is_the_session_or_the_connection(bench: Bench) -> None:
    plain, session = client(bench), client(bench, "")
    assert (plain.key, plain.device, plain.lasting) == (plain.id, plain.id, False)
    assert session.session is not None
    assert (session.key, session.device, session.lasting) == (session.session.id, session.session.id, True)


def test_a_user_lasts_without_a_session(bench: Bench) -> None:
    assert enter(bench, ADA).lasting


def test_a_device_is_the_same_when_it_comes_back(bench: Bench) -> None:
    one = enter(bench, ADA, "")
    bench.hub.lost(one)
    assert enter(bench, ADA, token(one)).device == one.device


# Sessions belong to whom they were made for


@pytest.mark.parametrize("other", [known("eve"), ANONYMOUS, known("U1")])
def test_the_token_of_another_users_session_makes_a_new_one(bench: Bench, other: Identity) -> None:
    ada = within(bench, ADA, "")
    taker = enter(bench, other, token(ada))
    assert (token(taker) != token(ada), ada.open) == (True, True)


def test_nor_does_a_resume_take_it_up(bench: Bench) -> None:
    ada, eve = within(bench, ADA, ""), enter(bench, known("eve"))
    answer = ask(bench, eve, "resume", rooms={"lobby": {"epoch": "epoch", "seq": 0}}, session=token(ada))
    assert (answer["missing"], answer["session"] != token(ada), ada.open) == (["lobby"], True, True)


def test_who_signs_in_gets_another_session_than_the_anonymous_one(bench: Bench) -> None:
    before = client(bench, "")
    assert token(enter(bench, ADA, token(before))) != token(before)


def test_the_user_itself_takes_it_up_with_another_token_of_its_own(bench: Bench) -> None:
    one = enter(bench, known("u1", token="a"), "")
    bench.hub.lost(one)
    assert token(enter(bench, known("u1", token="b"), token(one))) == token(one)


# Cursors


def entered(bench: Bench, connection: Connection, **fields: Any) -> Json:
    return ask(bench, connection, "join", room="lobby", **fields)


def test_what_one_device_has_read_another_one_has(bench: Bench) -> None:
    phone = within(bench, ADA)
    flood(bench, 5)
    assert ask(bench, phone, "ack", room="lobby", seq=3)["unread"] == 2
    info = entered(bench, enter(bench, ADA), since="acked")
    assert (info["acked"], info["unread"]) == (3, 2)
    assert [event["seq"] for event in info["messages"]] == [4, 5]


def test_another_user_has_not(bench: Bench) -> None:
    phone = within(bench, ADA)
    flood(bench, 5)
    ask(bench, phone, "ack", room="lobby", seq=3)
    assert "acked" not in entered(bench, enter(bench, known("u2")))


def test_a_device_that_is_behind_takes_nothing_back(bench: Bench) -> None:
    phone, laptop = within(bench, ADA), within(bench, ADA)
    flood(bench, 5)
    ask(bench, phone, "ack", room="lobby", seq=4)
    answer = ask(bench, laptop, "ack", room="lobby", seq=2)
    assert (answer["seq"], answer["unread"]) == (4, 1)


def test_a_user_is_read_by_the_name_that_it_had(bench: Bench) -> None:
    phone = within(bench, ADA)
    flood(bench, 2)
    ask(bench, phone, "ack", room="lobby", seq=2)
    assert ask(bench, phone, "receipts", room="lobby")["readers"] == [{"username": "Ada L.", "seq": 2}]


# Messages


def test_a_message_said_again_on_another_device_is_the_same(bench: Bench) -> None:
    phone, laptop = within(bench, ADA), within(bench, ADA)
    first = ask(bench, phone, "say", text="x", messageId="m")
    again = ask(bench, laptop, "say", text="x", messageId="m")
    assert (first["seq"], again["seq"], bench.texts("lobby")) == (1, 1, ["x"])


def test_the_same_id_of_another_user_is_another_message(bench: Bench) -> None:
    for user in ("u1", "u2"):
        ask(bench, within(bench, known(user)), "say", text="x", messageId="m")
    assert bench.texts("lobby") == ["x", "x"]


def test_the_same_id_with_another_text_is_refused_on_any_device(bench: Bench) -> None:
    phone, laptop = within(bench, ADA), within(bench, ADA)
    ask(bench, phone, "say", text="x", messageId="m")
    assert ask(bench, laptop, "say", text="y", messageId="m")["code"] == "message_id_conflict"


# Receipts: each device gets what is confirmed until it has acknowledged it itself


def again(connection: Connection) -> list[int]:
    return [event["seq"] for event in tape(connection).events if event.get("redelivered")]


def test_each_device_is_waited_for(bench: Bench) -> None:
    phone, laptop = within(bench, ADA), within(bench, ADA)
    flood(bench, 1, confirm=True)
    ask(bench, phone, "ack", room="lobby", seq=1)
    live(bench, 5)
    assert (again(phone), again(laptop)) == ([], [1])
    answer = ask(bench, phone, "receipts", room="lobby", seq=1)
    assert (answer["received"], answer["waiting"]) == (["Ada L."], ["Ada L."])


def test_what_one_device_has_acknowledged_counts_not_for_the_other(bench: Bench) -> None:
    phone, laptop = within(bench, ADA), within(bench, ADA)
    flood(bench, 2, confirm=True)
    ask(bench, phone, "ack", room="lobby", seq=2)
    ask(bench, laptop, "ack", room="lobby", seq=1)
    live(bench, 5)
    assert (again(phone), again(laptop)) == ([], [2])


def test_a_device_that_comes_to_be_waited_for_hides_nobodys_reading(bench: Bench) -> None:
    phone, laptop = within(bench, ADA), within(bench, ADA)
    flood(bench, 2)
    ask(bench, phone, "ack", room="lobby", seq=2)
    flood(bench, 1, confirm=True)
    readers = ask(bench, laptop, "receipts", room="lobby")["readers"]
    assert readers == [{"username": "Ada L.", "seq": 2}]


def test_a_device_gets_again_what_it_has_not_acknowledged_after_coming_back(bench: Bench) -> None:
    phone = within(bench, ADA, "")
    flood(bench, 1, confirm=True)
    bench.hub.lost(phone)
    back = enter(bench, ADA, token(phone))
    entered(bench, back, since={"epoch": "epoch", "seq": 1})
    assert again(back) == [1]


def test_who_is_nobody_is_waited_for_as_before(bench: Bench) -> None:
    one, two = joined(bench, "one", "two")
    flood(bench, 1, confirm=True)
    ask(bench, one, "ack", room="lobby", seq=1)
    live(bench, 5)
    assert (again(one), again(two)) == ([], [1])


# The values themselves


def test_grants_allow_a_verb_where_a_pattern_has_it() -> None:
    grants = Grants((("a*", frozenset({"join"})), ("ab", frozenset({"publish"}))))
    assert (grants.allow("join", "ab"), grants.allow("publish", "ab")) == (True, True)
    assert (grants.allow("publish", "abc"), grants.allow("join", "b"), Grants(()).allow("join", "a")) == (
        False,
        False,
        False,
    )


def test_credentials_show_none_of_their_secrets() -> None:
    shown = Credentials(token="s3cret", ticket="s3cret", cookies={"s3cret": "s3cret"}, headers={"x": "s3cret"})
    assert "s3cret" not in repr(shown)
    assert "s3cret" not in str(shown)
