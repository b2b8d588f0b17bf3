"""hub.commands: joining from any place, coming back, pages of history, acknowledgements, events of clients."""

from __future__ import annotations

from typing import Any

import pytest

from hubbub.config import Config, Limits
from hubbub.hub.connection import Connection
from tests.unit.fakes import Bench, heard, tape
from tests.unit.hub.rooms import Json, LateReads, ask, client, flood, joined, seqs, speaking, token, types

EPOCH = "epoch"


@pytest.fixture
def bench() -> Bench:
    """A lobby in which 13 events were published, of which 10 are held, a second apart."""
    bench = speaking()
    joined(bench, "bob")
    for _ in range(13):
        bench.runtime.now += 1
        flood(bench, 1)
    return bench


def entered(bench: Bench, since: Any = None, history: int = 0, type: str = "join") -> Json:
    """The reply to somebody who comes."""
    name = {"username": "ada"} if type == "join" else {}
    return ask(bench, client(bench), type, room="lobby", since=since, history=history, **name)


def place(reply: Json) -> tuple[Any, list[int], int, int]:
    return reply["recovered"], seqs(reply["messages"]), reply["seq"], reply["head"]


both = pytest.mark.parametrize("type", ["join", "subscribe"])


# Where one begins


@both
def test_without_a_place_one_begins_at_the_end(bench: Bench, type: str) -> None:
    assert place(entered(bench, type=type)) == (None, [], 13, 13)


@both
@pytest.mark.parametrize(("history", "first"), [(1, 13), (3, 11), (10, 4), (11, 4), (1000, 4)])
def test_history_is_the_last_events_that_are_held(bench: Bench, type: str, history: int, first: int) -> None:
    assert place(entered(bench, history=history, type=type)) == (None, list(range(first, 14)), 13, 13)


@both
@pytest.mark.parametrize("seq", [3, 4, 9, 12, 13])
def test_since_a_place_that_is_held_is_everything_after_it(bench: Bench, type: str, seq: int) -> None:
    reply = entered(bench, {"epoch": EPOCH, "seq": seq}, type=type)
    assert place(reply) == (True, list(range(seq + 1, 14)), 13, 13)


@pytest.mark.parametrize("seq", [0, 1, 2, -1, -(2**63), 14, 2**31, 2**63, 2**70])
@pytest.mark.parametrize("history", [0, 2])
def test_since_any_other_place_is_the_last_events(bench: Bench, seq: int, history: int) -> None:
    reply = entered(bench, {"epoch": EPOCH, "seq": seq}, history)
    assert place(reply) == (False, [12, 13][2 - history :], 13, 13)


@pytest.mark.parametrize("since", [{"epoch": "other", "seq": 9}, {"seq": 9}, {"epoch": EPOCH}, {}])
def test_without_the_right_epoch_nothing_is_recovered(bench: Bench, since: Json) -> None:
    assert place(entered(bench, since, 1)) == (False, [13], 13, 13)


@pytest.mark.parametrize(("time", "first"), [(1_006_000, 6), (1_006_001, 7), (1_013_000, 13), (1_004_001, 5)])
def test_since_a_time_is_everything_from_then_on(bench: Bench, time: int, first: int) -> None:
    assert place(entered(bench, {"time": time})) == (True, list(range(first, 14)), 13, 13)


@pytest.mark.parametrize("time", [1_013_001, 2**62, 2**63, 2**70])
def test_since_a_time_to_come_is_nothing_yet(bench: Bench, time: int) -> None:
    assert place(entered(bench, {"time": time})) == (True, [], 13, 13)


@pytest.mark.parametrize("time", [1_003_000, 0, -1, -(2**63), -(2**70)])
def test_since_before_the_oldest_is_all_that_is_held(bench: Bench, time: int) -> None:
    assert place(entered(bench, {"time": time})) == (False, list(range(4, 14)), 13, 13)


def test_an_empty_log_is_recovered_from_its_beginning() -> None:
    bench = speaking()
    assert place(entered(bench, {"time": 5})) == (True, [], 0, 0)
    assert place(entered(bench, {"epoch": EPOCH, "seq": 0})) == (True, [], 0, 0)


@pytest.mark.parametrize("since", ["here", 5, {"seq": "x"}, {"time": 1.5}, {"epoch": 1}])
def test_a_place_that_is_none_is_refused(bench: Bench, since: Any) -> None:
    assert entered(bench, since)["code"] == "invalid_message"


@pytest.mark.parametrize("history", [-1, 1001])
def test_so_is_a_history_out_of_bounds(bench: Bench, history: int) -> None:
    assert entered(bench, history=history)["code"] == "invalid_message"


# Since "acked"


def acker(bench: Bench, seq: int) -> Connection:
    """Somebody with a session who has acknowledged so much, on the next connection."""
    (ada,) = joined(bench, "ada", session="")
    ask(bench, ada, "ack", room="lobby", seq=seq)
    bench.hub.lost(ada, clean=True)
    return client(bench, token(ada))


def test_since_acked_is_what_was_not_acknowledged(bench: Bench) -> None:
    reply = ask(bench, acker(bench, 11), "join", room="lobby", username="ada", since="acked")
    assert place(reply) == (True, [12, 13], 13, 13)
    assert (reply["acked"], reply["unread"]) == (11, 2)


def test_since_acked_that_is_no_longer_held_is_the_last_events(bench: Bench) -> None:
    reply = ask(bench, acker(bench, 1), "join", room="lobby", username="ada", since="acked", history=1)
    assert place(reply) == (False, [13], 13, 13)


@pytest.mark.parametrize("session", [None, ""])
def test_since_acked_where_nothing_is_stored_is_as_without(bench: Bench, session: str | None) -> None:
    reply = ask(bench, client(bench, session), "join", room="lobby", username="ada", since="acked", history=2)
    assert place(reply) == (None, [12, 13], 13, 13)
    assert "acked" not in reply
    assert "unread" not in reply


# The reply


def test_missed_events_are_as_they_were_live(bench: Bench) -> None:
    assert entered(bench, history=1)["messages"] == [{"type": "said", "text": "13", "room": "lobby", "seq": 13}]


def test_who_joins_is_in_the_list_and_who_subscribes_is_not(bench: Bench) -> None:
    assert entered(bench)["members"] == ["bob", "ada"]
    assert entered(bench, type="subscribe")["members"] == ["bob", "ada"]


def test_a_subscription_is_not_announced(bench: Bench) -> None:
    (cid,) = joined(bench, "cid")
    ada = client(bench)
    ask(bench, ada, "subscribe", room="lobby")
    ask(bench, ada, "unsubscribe", room="lobby")
    assert (types(cid), bench.hub.room("lobby").count) == ([], 2)


def test_what_does_not_fit_into_the_reply_follows() -> None:
    bench = speaking(patterns=[("*", {"history": 3000})])
    flood(bench, 2100)
    ada = client(bench)
    reply = ask(bench, ada, "join", room="lobby", username="ada", since={"epoch": EPOCH, "seq": 50})
    assert (len(reply["messages"]), reply["seq"], reply["head"], reply["recovered"]) == (1000, 1050, 2100, True)
    assert seqs(tape(ada).events) == list(range(1051, 2101))


def test_large_events_fill_the_reply_earlier() -> None:
    bench = speaking(patterns=[("*", {"history": 100})])
    large(bench)
    ada = client(bench)
    reply = ask(bench, ada, "join", room="lobby", username="ada", history=30)
    assert seqs(reply["messages"]) == [11, 12]
    assert seqs(tape(ada).events) == list(range(13, 41))


def test_a_latest_only_room_begins_with_the_value_of_each_key() -> None:
    bench = speaking(patterns=[("*", {"latest_only": True})])
    for key in "abbca":
        flood(bench, 1, key=key)
    assert place(entered(bench)) == (None, [3, 4, 5], 5, 5)
    assert place(entered(bench, {"epoch": EPOCH, "seq": 3})) == (True, [4, 5], 5, 5)


def test_a_latest_only_room_gives_the_value_of_each_key_however_few_of_the_last_events_are_asked_for() -> None:
    bench = speaking(patterns=[("*", {"latest_only": True})])
    for key in "abccc":
        flood(bench, 1, key=key)
    reply = ask(bench, client(bench), "join", room="lobby", username="ada", history=1)
    assert seqs(reply["messages"]) == [1, 2, 5]


# Who is there


def test_a_list_of_members_comes_behind_the_news_of_those_who_are_in_it() -> None:
    bench = speaking()
    (ada,) = joined(bench, "ada")
    bench.hub.join(client(bench), "lobby", "bob")
    bench.receive(ada, type="presence", room="lobby", id=1)
    bench.runtime.settle()
    joined_, reply = tape(ada).events
    assert (joined_["type"], joined_["username"], reply["members"]) == ("user_joined", "bob", ["ada", "bob"])


# While the join runs


def late(history: int = 0, session: str | None = None) -> tuple[Bench, Connection]:
    """Somebody on the way into a lobby of three events, whose broker has not answered yet."""
    bench = speaking(broker=LateReads)
    bench.hub.room("lobby").publish({"type": "said", "text": "1"})
    answers(bench)
    ada = client(bench, session)
    bench.receive(ada, type="join", room="lobby", username="ada", history=history, id=1)
    return bench, ada


def answers(bench: Bench, count: int = 30) -> None:
    assert isinstance(bench.broker, LateReads)
    for _ in range(count):
        bench.broker.answer(1)
        bench.runtime.settle()


@pytest.mark.parametrize("steps", range(6))
def test_what_is_published_meanwhile_comes_once_and_behind(steps: int) -> None:
    bench, ada = late(history=1, session="")
    answers(bench, steps)
    for text in "abc":
        bench.hub.room("lobby").publish({"type": "said", "text": text})
        bench.runtime.turn()
    answers(bench)
    info, *rest = tape(ada).events
    shown = seqs(info["messages"])
    assert info["type"] == "room_info"
    assert shown + seqs(rest) == list(range(shown[0], 5))


@pytest.mark.parametrize("steps", range(2))
def test_who_is_lost_meanwhile_is_nowhere(steps: int) -> None:
    bench, ada = late(history=1)
    answers(bench, steps)
    bench.hub.lost(ada)
    answers(bench)
    assert (bench.hub.room("lobby").count, vars(bench.broker)["_used"], tape(ada).events) == (0, {}, [])


@pytest.mark.parametrize("steps", range(6))
def test_who_comes_back_meanwhile_gets_everything_once(steps: int) -> None:
    bench, ada = late(history=1, session="")
    answers(bench, steps)
    bench.hub.lost(ada)
    back = client(bench, token(ada))
    bench.receive(back, type="join", room="lobby", username="ada", since={"epoch": EPOCH, "seq": 0})
    bench.hub.room("lobby").publish({"type": "said", "text": "2"})
    answers(bench)
    info, *rest = tape(back).events
    assert seqs(info["messages"]) + seqs(rest) == [1, 2]


@pytest.mark.parametrize("steps", range(9))
def test_so_does_who_has_something_to_acknowledge(steps: int) -> None:
    bench, ada = late(session="")
    answers(bench)
    bench.receive(ada, type="ack", room="lobby", seq=0)
    bench.hub.room("lobby").publish({"type": "said", "text": "2"}, confirm=True)
    answers(bench)
    for _ in range(2):
        bench.hub.lost(ada)
        ada = client(bench, token(ada))
        bench.receive(ada, type="join", room="lobby", username="ada", since={"epoch": EPOCH, "seq": 2})
        answers(bench, steps)
        bench.hub.room("lobby").publish({"type": "said", "text": "more"})
    answers(bench)
    events = tape(ada).events
    assert events[0]["type"] == "room_info"
    new = [event["seq"] for event in events[1:] if "seq" in event and "redelivered" not in event]
    assert seqs(events[0]["messages"]) + new == [3, 4]


def test_a_redelivery_that_outlives_its_connection_lets_nobody_in_early() -> None:
    bench = speaking(broker=LateReads, patterns=[("*", {"history": 3000})])
    ada = client(bench, "")
    bench.receive(ada, type="join", room="lobby", username="ada")
    bench.receive(ada, type="ack", room="lobby", seq=0)
    flood(bench, 1500)  # two portions
    answers(bench)
    for position in (1500, 1490):
        bench.hub.lost(ada)
        ada = client(bench, token(ada))
        since = {"epoch": EPOCH, "seq": position}
        bench.receive(ada, type="join", room="lobby", username="ada", since=since)
        answers(bench, 1)
    bench.hub.room("lobby").publish({"type": "said", "text": "x"})
    bench.runtime.turn()
    answers(bench)
    assert types(ada)[0] == "room_info"
    assert seqs(tape(ada).events[0]["messages"]) + seqs(tape(ada).events) == list(range(1491, 1502))


def test_commands_behind_a_join_wait_for_it() -> None:
    bench, ada = late()
    bench.receive(ada, type="say", text="x", id=2)
    answers(bench)
    assert [event.get("id", event["type"]) for event in tape(ada).events] in ([1, 2, "said"], [1, "said", 2])


def test_who_enters_again_and_is_alone_finds_the_log_open() -> None:
    bench = speaking(broker=LateReads)
    assert isinstance(bench.broker, LateReads)
    ada = client(bench)
    bench.receive(ada, type="join", room="lobby", username="ada")
    bench.broker.answer()
    assert ask(bench, ada, "join", room="lobby", username="ada")["epoch"] == EPOCH


def test_a_room_that_closed_meanwhile_is_opened_again() -> None:
    bench, ada = late()
    (other,) = [client(bench)]
    bench.hub.join(other, "lobby", "bob")
    answers(bench, 1)
    bench.hub.lost(other)
    answers(bench)
    assert types(ada)[0] == "room_info"
    assert bench.hub.room("lobby").epoch == EPOCH


def test_a_log_that_opens_for_nobody_is_closed() -> None:
    bench = speaking(broker=LateReads)
    ada = client(bench)
    bench.hub.join(ada, "lobby", "ada")
    bench.hub.lost(ada)
    answers(bench)
    assert vars(bench.broker)["_used"] == {}


# Again in a room that one is in


@both
def test_what_was_said_before_comes_before_the_reply(bench: Bench, type: str) -> None:
    (ada,) = joined(bench, "ada")
    bench.hub.room("lobby").publish({"type": "said", "text": "x"})
    bench.receive(ada, type=type, room="lobby", username="ada", id=1)
    bench.runtime.settle()
    assert types(ada)[:2] == ["said", "room_info"]
    assert (tape(ada).events[1]["seq"], tape(ada).events[1]["head"]) == (14, 14)


def test_a_subscription_never_leaves_other_rooms(bench: Bench) -> None:
    (ada,) = joined(bench, "ada")
    ask(bench, ada, "subscribe", room="attic")
    assert [room.name for room in ada.rooms] == ["lobby", "attic"]
    ask(bench, ada, "join", room="cellar", username="ada")
    assert [room.name for room in ada.rooms] == ["attic", "cellar"]


def test_subscriptions_count_as_rooms() -> None:
    bench = speaking(Config(limits=Limits(rate_limit=0, max_rooms=1)))
    ada = client(bench)
    ask(bench, ada, "subscribe", room="one")
    assert ask(bench, ada, "subscribe", room="two")["code"] == "too_many_rooms"


# Resume


def test_resume_enters_all_rooms_under_the_names_they_had(bench: Bench) -> None:
    (ada,) = joined(bench, "ada", session="")
    ask(bench, ada, "subscribe", room="attic")
    bench.hub.lost(ada)
    back = client(bench, token(ada))
    rooms = {"attic": {"epoch": EPOCH, "seq": 0}, "lobby": {"epoch": EPOCH, "seq": 12}}
    reply = ask(bench, back, "resume", rooms=rooms)
    attic, lobby = tape(back).events
    assert (reply["missing"], reply["session"]) == ([], token(ada))
    assert (attic["room"], attic["members"], lobby["members"]) == ("attic", [], ["bob", "ada"])
    assert (lobby["recovered"], seqs(lobby["messages"]), "id" in lobby) == (True, [13], False)


def test_resume_names_the_rooms_that_must_be_joined(bench: Bench) -> None:
    (ada,) = joined(bench, "ada", session="")
    ask(bench, ada, "join", room="attic", username="ada", keep=True)
    ask(bench, ada, "leave", room="attic")
    bench.hub.lost(ada)
    rooms: Json = {"attic": {}, "lobby": {}, "unheard of": {}}
    assert ask(bench, client(bench, token(ada)), "resume", rooms=rooms)["missing"] == ["attic", "unheard of"]


def test_resume_can_bring_the_token_itself(bench: Bench) -> None:
    (ada,) = joined(bench, "ada", session="")
    bench.hub.lost(ada)
    back = client(bench)
    reply = ask(bench, back, "resume", session=token(ada), rooms={"lobby": {}})
    assert (reply["session"], reply["missing"], back.key) == (token(ada), [], ada.key)


def test_resume_without_a_session_misses_all(bench: Bench) -> None:
    reply = ask(bench, client(bench), "resume", rooms={"lobby": {}})
    assert (reply["missing"], "session" in reply) == (["lobby"], False)


def test_resume_with_a_token_that_is_void_gives_a_new_one(bench: Bench) -> None:
    reply = ask(bench, client(bench), "resume", session="void", rooms={"lobby": {}})
    assert (reply["missing"], reply["session"] not in ("", "void")) == (["lobby"], True)


def test_resume_is_not_seen_by_the_others(bench: Bench) -> None:
    (ada,), (cid,) = joined(bench, "ada", session=""), joined(bench, "cid")
    bench.hub.lost(ada)
    ask(bench, client(bench, token(ada)), "resume", rooms={"lobby": {}})
    bench.tick(20)
    assert types(cid) == []


# History


def page(bench: Bench, **options: Any) -> tuple[list[int], bool]:
    (ada,) = joined(bench, "ada")
    reply = ask(bench, ada, "history", room="lobby", **options)
    assert (reply["room"], reply["epoch"]) == ("lobby", EPOCH)
    return seqs(reply["messages"]), reply["more"]


@pytest.mark.parametrize(
    ("options", "shown", "more"),
    [
        ({"limit": 3}, [11, 12, 13], True),
        ({}, list(range(4, 14)), False),
        ({"limit": 10}, list(range(4, 14)), False),
        ({"limit": 9}, list(range(5, 14)), True),
        ({"before": 7, "limit": 2}, [5, 6], True),
        ({"before": 7, "limit": 3}, [4, 5, 6], False),
        ({"before": 4}, [], False),
        ({"before": 99, "limit": 1}, [13], True),
        ({"before": 2**63, "limit": 1}, [13], True),
        ({"before": 0}, [], False),
        ({"before": -5}, [], False),
        ({"after": 10}, [11, 12, 13], False),
        ({"after": 10, "limit": 3}, [11, 12, 13], False),
        ({"after": 10, "limit": 2}, [11, 12], True),
        ({"after": 13}, [], False),
        ({"after": 99}, [], False),
        ({"after": 2**63}, [], False),
        ({"after": 0, "limit": 2}, [4, 5], True),
        ({"after": -(2**70), "limit": 1}, [4], True),
        ({"time": 1_012_000}, [12, 13], False),
        ({"time": 1_011_001, "limit": 1}, [12], True),
        ({"time": 0, "limit": 1}, [4], True),
        ({"time": 2**63}, [], False),
    ],
)
def test_a_page_of_history(bench: Bench, options: Json, shown: list[int], more: bool) -> None:
    assert page(bench, **options) == (shown, more)


@pytest.mark.parametrize("limit", [0, -1, 201])
def test_a_page_has_1_to_200_events(bench: Bench, limit: int) -> None:
    (ada,) = joined(bench, "ada")
    assert ask(bench, ada, "history", room="lobby", limit=limit)["code"] == "invalid_message"


def test_a_page_is_for_who_is_there_or_subscribed(bench: Bench) -> None:
    ada = client(bench)
    assert ask(bench, ada, "history", room="lobby")["code"] == "not_in_room"
    ask(bench, ada, "subscribe", room="lobby")
    assert ask(bench, ada, "history", room="lobby")["type"] == "ok"


def large(bench: Bench) -> None:
    for _ in range(40):
        bench.hub.room("lobby").publish({"type": "said", "text": "x" * 60_000})
    bench.runtime.settle()


@pytest.mark.parametrize(("options", "edge"), [({}, 40), ({"before": 39}, 38)])
def test_a_page_of_large_events_ends_where_it_was_asked_for(options: Json, edge: int) -> None:
    bench = speaking(patterns=[("*", {"history": 100})])
    large(bench)
    shown, more = page(bench, **options)
    assert (shown, more) == (list(range(edge - len(shown) + 1, edge + 1)), True)
    assert len(shown) == 2


def test_more_of_large_events_is_said_to_follow() -> None:
    bench = speaking(patterns=[("*", {"history": 100})])
    large(bench)
    shown, more = page(bench, after=0)
    assert (shown, more) == (list(range(1, len(shown) + 1)), True)


# Acknowledgements


def test_an_acknowledgement_says_what_is_left(bench: Bench) -> None:
    (ada,) = joined(bench, "ada", session="")
    reply = ask(bench, ada, "ack", room="lobby", seq=11)
    assert (reply["seq"], reply["unread"]) == (11, 2)


@pytest.mark.parametrize("session", [None, ""])
def test_a_smaller_one_changes_nothing(bench: Bench, session: str | None) -> None:
    (ada,) = joined(bench, "ada", session=session)
    ask(bench, ada, "ack", room="lobby", seq=11)
    assert ask(bench, ada, "ack", room="lobby", seq=5)["seq"] == 11


@pytest.mark.parametrize("seq", [-1, 14, 2**31, 2**63, 2**70])
def test_one_out_of_bounds_is_refused(bench: Bench, seq: int) -> None:
    (ada,) = joined(bench, "ada", session="")
    assert ask(bench, ada, "ack", room="lobby", seq=seq)["code"] == "invalid_message"
    assert ask(bench, ada, "ack", room="lobby", seq=0)["seq"] == 0


def test_only_what_is_new_is_told_to_the_application(bench: Bench) -> None:
    told: list[int] = []
    bench.hub.on_ack.append(lambda member, seq: told.append(seq))
    (ada,) = joined(bench, "ada", session="")
    for seq in (3, 3, 2, 4):
        ask(bench, ada, "ack", room="lobby", seq=seq)
    assert told == [3, 4]


def test_an_acknowledgement_outlives_the_membership(bench: Bench) -> None:
    reply = ask(bench, acker(bench, 7), "subscribe", room="lobby")
    assert (reply["acked"], reply["unread"]) == (7, 6)


def test_acknowledging_is_for_who_is_there(bench: Bench) -> None:
    assert ask(bench, client(bench), "ack", room="lobby", seq=1)["code"] == "not_in_room"


# Events of clients


def allowed(bench: Bench) -> Connection:
    bench.hub.allows_publish = lambda connection, room, event: event.get("type") != "no"
    return joined(bench, "ada")[0]


def test_clients_publish_nothing_unless_they_may(bench: Bench) -> None:
    (ada,) = joined(bench, "ada")
    assert ask(bench, ada, "publish", room="lobby", event={"type": "move"})["code"] == "forbidden"
    assert ask(bench, allowed(bench), "publish", room="lobby", event={"type": "no"})["code"] == "forbidden"


def test_what_they_may_is_an_event_like_others(bench: Bench) -> None:
    ada = allowed(bench)
    assert ask(bench, ada, "publish", room="lobby", event={"type": "move", "x": 1})["seq"] == 14
    assert tape(ada).events == [{"type": "move", "x": 1, "room": "lobby", "seq": 14}]


def test_it_may_be_brief(bench: Bench) -> None:
    ada = allowed(bench)
    assert "seq" not in ask(bench, ada, "publish", room="lobby", event={"type": "move"}, keep=False)
    assert tape(ada).events == [{"type": "move", "room": "lobby"}]


@pytest.mark.parametrize(
    "event",
    [
        *({"type": kind} for kind in ["", None, 5, "ok", "error", "room_info", "user_joined", "gap", "connected"]),
        *({"type": "x", field: 1} for field in ["room", "seq", "confirm", "redelivered"]),
        {},
    ],
)
def test_it_must_not_pass_for_one_of_ours(bench: Bench, event: Json) -> None:
    ada = allowed(bench)
    assert ask(bench, ada, "publish", room="lobby", event=event)["code"] == "invalid_message"
    assert heard(ada) == []


def test_a_repeat_is_published_once(bench: Bench) -> None:
    ada = allowed(bench)
    asked = [ask(bench, ada, "publish", room="lobby", event=event, messageId="m") for event in (MOVE, REMOVED)]
    assert [(reply["seq"], reply["messageId"]) for reply in asked] == [(14, "m"), (14, "m")]
    other = ask(bench, ada, "publish", room="lobby", event=MOVE | {"y": 3}, messageId="m")
    assert other["code"] == "message_id_conflict"


MOVE: Json = {"type": "move", "x": 1, "y": 2}
REMOVED: Json = dict(reversed(MOVE.items()))  # the same, in another order
