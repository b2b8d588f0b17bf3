"""The history checker: nothing to say of a good history, and one sentence at least for each rule that is broken."""

from typing import Any

import pytest

from tests.support.history import Client, History

Event = dict[str, Any]


def message(seq: int, text: str = "hi", **fields: Any) -> Event:
    """An event in the lobby."""
    return {"type": "message", "room": "lobby", "seq": seq, "text": text, "messageId": f"m{seq}", **fields}


def info(seq: int, *messages: Event, **fields: Any) -> Event:
    """The answer to a join of the lobby."""
    head: Event = {"type": "room_info", "room": "lobby", "epoch": "e", "seq": seq, "head": seq, "recovered": None}
    return {**head, "messages": list(messages), **fields}


def run(*seqs: int) -> list[Event]:
    return [message(seq) for seq in seqs]


@pytest.fixture
def history() -> History:
    return History()


def enter(history: History, name: str, answer: Event, since: Any = None, **fields: Any) -> Client:
    """A client on a new connection that joins the lobby and is answered."""
    client = history.client(name)
    client.connected()
    client.received({"type": "connected", "clientId": f"id of {name}"})
    client.sent({"type": "join", "room": "lobby", "username": name, "since": since, **fields})
    client.received(answer)
    return client


def back(answer: Event, *, since: int = 2, epoch: str = "e") -> History:
    """Ada reconnects since a position."""
    history = History()
    enter(history, "ada", answer, {"epoch": epoch, "seq": since})
    return history


def receive(client: Client, *events: Event) -> None:
    for event in events:
        client.received(event)


def publish(client: Client, seq: int, id: int, **fields: Any) -> None:
    """Sends a message and is told its seq."""
    client.sent({"type": "message", "text": "hi", "id": id, **fields})
    client.received({"type": "ok", "id": id, "seq": seq})


def only(history: History) -> str:
    """The one violation."""
    assert len(history.check()) == 1, history.check()
    return history.check()[0]


# Good histories


def test_a_chat_in_order_is_good(history: History) -> None:
    ada, bob = enter(history, "ada", info(0)), enter(history, "bob", info(0))
    publish(ada, 1, 1)
    publish(bob, 2, 1, messageId="m2")
    receive(ada, message(1), message(2), {"type": "typing", "room": "lobby"}, message(3))
    receive(bob, message(1), message(2), message(3))
    history.assert_kept(answered=True)


def test_who_comes_back_since_a_position_is_good(history: History) -> None:
    receive(enter(history, "ada", info(0)), *run(1, 2))
    since = history.client("ada").since("lobby")
    assert since == {"epoch": "e", "seq": 2}
    receive(enter(history, "ada", info(4, *run(3, 4), recovered=True, head=5), since), *run(5, 6))
    history.assert_kept()


def test_redelivery_that_says_so_is_good(history: History) -> None:
    receive(enter(history, "ada", info(0)), message(1), message(2), message(1, redelivered=True))
    history.assert_kept()


def test_a_repeated_message_id_with_the_first_seq_is_good(history: History) -> None:
    ada = enter(history, "ada", info(0))
    publish(ada, 1, 1, messageId="m1")
    receive(ada, message(1), message(2))
    publish(ada, 1, 2, messageId="m1")
    history.assert_kept()


def test_a_resume_enters_its_rooms(history: History) -> None:
    ada = history.client("ada")
    ada.sent(
        {"type": "resume", "rooms": {"lobby": {"epoch": "e", "seq": 1}, "gone": {"epoch": "f", "seq": 1}}, "id": 1}
    )
    receive(ada, info(2, message(2), recovered=True), {"type": "ok", "id": 1, "missing": ["gone"]}, message(3))
    publish(ada, 4, 2)
    history.assert_kept(answered=True)


def test_a_new_epoch_begins_anew(history: History) -> None:
    receive(enter(history, "ada", info(0)), *run(1, 2))
    again = enter(history, "ada", info(0, epoch="f", recovered=False), {"epoch": "e", "seq": 2})
    receive(again, message(1, "other"))
    history.assert_kept()


def test_a_gap_leads_on(history: History) -> None:
    ada = enter(history, "ada", info(0))
    receive(ada, message(1), {"type": "gap", "room": "lobby", "epoch": "e", "seq": 9}, message(10))
    history.assert_kept()


def test_since_what_was_acked_goes_on_there(history: History) -> None:
    enter(history, "ada", info(4, *run(3, 4), recovered=True, acked=2), "acked")
    history.assert_kept()


def test_a_switch_of_rooms_is_followed(history: History) -> None:
    ada = enter(history, "ada", info(0))
    ada.sent({"type": "join", "room": " kitchen ", "username": "ada"})
    receive(ada, info(7, room="kitchen"), {"type": "message", "room": "kitchen", "seq": 8, "text": "hi"})
    publish(ada, 9, 1)
    history.assert_kept()


def test_nonsense_that_a_client_sends_is_no_violation(history: History) -> None:
    ada = enter(history, "ada", info(0))
    values: tuple[Any, ...] = ({}, [], None, 5, "\x00")
    for value in values:
        ada.sent({"type": value, "id": value, "room": value, "since": value, "messageId": value})
        ada.sent({"type": "join", "id": 1, "room": value, "since": value})
        ada.sent({"type": "resume", "rooms": value})
    history.assert_kept()


# Dense in each room


@pytest.mark.parametrize("seqs", [(2,), (1, 3), (1, 2, 4)])
def test_a_hole_is_found(history: History, seqs: tuple[int, ...]) -> None:
    receive(enter(history, "ada", info(0)), *run(*seqs))
    assert f"ada, room 'lobby', seq {seqs[-1]}: came after" in only(history)


def test_a_hole_inside_of_messages_is_found() -> None:
    assert "seq 5: came after 3: 1 are missing" in only(back(info(5, *run(3, 5), recovered=True)))


def test_a_position_that_messages_do_not_reach_is_found(history: History) -> None:
    enter(history, "ada", info(5, *run(3, 4)))
    assert "seq 5: is said to be the position, but what came ends at 4" in only(history)


def test_a_position_behind_the_head_is_found(history: History) -> None:
    enter(history, "ada", info(5, head=4))
    assert "seq 5: is behind the head, 4" in only(history)


def test_a_hole_after_a_gap_is_found(history: History) -> None:
    ada = enter(history, "ada", info(0))
    receive(ada, {"type": "gap", "room": "lobby", "epoch": "e", "seq": 9}, message(11))
    assert "seq 11: came after 9" in only(history)


def test_a_gap_may_begin_a_new_epoch(history: History) -> None:
    ada = enter(history, "ada", info(0))
    receive(ada, message(1), {"type": "gap", "room": "lobby", "epoch": "new", "seq": 0}, message(1))
    history.assert_kept()


def test_a_gap_that_leads_back_is_found(history: History) -> None:
    ada = enter(history, "ada", info(10))
    ada.received({"type": "gap", "room": "lobby", "epoch": "e", "seq": 9})
    assert "seq 9: a gap leads back from 10" in only(history)


def test_a_room_of_the_latest_only_may_have_holes_but_no_way_back() -> None:
    history = History(latest=("lobby",))
    receive(enter(history, "ada", info(8, *run(2, 7))), *run(10, 12))
    history.assert_kept()
    history.client("ada").received(message(11))
    assert "seq 11: came twice or out of order, after 12" in only(history)


def test_an_event_of_a_room_that_was_left_is_found(history: History) -> None:
    ada = enter(history, "ada", info(0))
    ada.sent({"type": "leave", "room": "lobby", "id": 1})
    receive(ada, {"type": "ok", "id": 1}, message(1))
    assert "came from a room that it is not in" in only(history)


def test_an_event_of_another_room_among_messages_is_found(history: History) -> None:
    enter(history, "ada", info(1, message(1, room="kitchen")))
    assert "is of another room" in only(history)


# One order for all


@pytest.mark.parametrize("change", [{"text": "ho"}, {"timestamp": 5}, {"messageId": "x"}])
def test_two_who_are_shown_different_events_are_found(history: History, change: Event) -> None:
    ada, bob = enter(history, "ada", info(0)), enter(history, "bob", info(0))
    ada.received(message(1))
    bob.received({**message(1), **change})
    assert "bob, room 'lobby', seq 1 of epoch e: is {" in only(history)


def test_a_replayed_event_that_is_not_as_it_was_live_is_found(history: History) -> None:
    receive(enter(history, "ada", info(0)), message(1))
    enter(history, "bob", info(1, message(1, "edited")))
    assert "somebody else was shown" in only(history)


def test_a_page_of_history_that_is_not_as_it_was_live_is_found(history: History) -> None:
    ada = enter(history, "ada", info(0))
    ada.received(message(1))
    ada.sent({"type": "history", "room": "lobby", "id": 1})
    page = [message(1, "edited"), message(3)]
    ada.received({"type": "ok", "id": 1, "room": "lobby", "epoch": "e", "messages": page, "more": False})
    assert ["was shown" in history.check()[0], "came after 1" in history.check()[1]] == [True, True]


# Nothing twice


@pytest.mark.parametrize("seq", [1, 2])
def test_what_comes_twice_is_found(history: History, seq: int) -> None:
    receive(enter(history, "ada", info(0)), *run(1, 2, seq))
    assert f"seq {seq}: came twice or out of order, after 2" in only(history)


def test_what_comes_again_after_a_reconnect_is_found() -> None:
    assert "seq 2: came twice" in only(back(info(3, *run(2, 3), recovered=True)))


def test_what_comes_live_after_it_was_replayed_is_found() -> None:
    history = back(info(3, message(3), recovered=True))
    history.client("ada").received(message(3))
    assert "seq 3: came twice" in only(history)


def test_redelivery_of_what_never_came_is_found(history: History) -> None:
    enter(history, "ada", info(0)).received(message(1, redelivered=True))
    assert "seq 1: was delivered again before the first time" in only(history)


def test_redelivery_of_something_else_is_found(history: History) -> None:
    receive(enter(history, "ada", info(0)), message(1), message(1, "ho", redelivered=True))
    assert "seq 1 of epoch e: is {" in only(history)


def test_a_message_id_that_was_published_twice_is_found(history: History) -> None:
    ada = enter(history, "ada", info(0))
    ada.sent({"type": "message", "text": "hi", "messageId": "x"})
    ada.sent({"type": "message", "text": "hi", "messageId": "x"})
    receive(ada, message(1, messageId="x"), message(2, messageId="x"))
    assert "messageId 'x' was published more than once: [1, 2]" in only(history)


def test_a_message_id_with_two_seqs_is_found(history: History) -> None:
    ada = enter(history, "ada", info(0))
    publish(ada, 1, 1, messageId="x")
    publish(ada, 2, 2, messageId="x")
    assert "seq 2 of epoch e: is told of messageId 'x', which has seq 1" in only(history)


# Nothing acknowledged and lost


@pytest.mark.parametrize("shown", [message(1, "ho"), message(1, messageId="y")])
def test_an_acknowledged_message_that_is_replaced_is_found(history: History, shown: Event) -> None:
    ada, bob = enter(history, "ada", info(0)), enter(history, "bob", info(0))
    publish(ada, 1, 1, messageId="m1")
    bob.received(shown)
    assert "seq 1 of epoch e: was acknowledged for" in only(history)


def test_an_acknowledgement_of_what_stands_there_already_is_found(history: History) -> None:
    ada, bob = enter(history, "ada", info(0)), enter(history, "bob", info(0))
    bob.received(message(1, "ho"))
    publish(ada, 1, 1)
    assert "was acknowledged for" in only(history)


@pytest.mark.parametrize("since", [None, {"epoch": "e", "seq": 0}])
def test_an_acknowledged_message_that_is_not_in_the_room_is_found(history: History, since: Event | None) -> None:
    publish(enter(history, "ada", info(0)), 1, 1)
    enter(history, "bob", info(0, recovered=None if since is None else True), since)
    assert "bob, room 'lobby', seq 1: is lost: the room ends at 0" in only(history)


def test_one_seq_for_two_messages_is_found(history: History) -> None:
    ada, bob = enter(history, "ada", info(0)), enter(history, "bob", info(0))
    publish(ada, 1, 1)
    publish(bob, 1, 1)
    assert "bob, room 'lobby', seq 1 of epoch e: was given to two" in only(history)


# Recovered


def test_recovered_with_a_hole_at_the_beginning_is_found() -> None:
    assert "seq 4: came after 2: 1 are missing" in only(back(info(4, message(4), recovered=True)))


def test_recovered_with_nothing_although_there_is_something_is_found() -> None:
    assert "seq 4: is said to be the position, but what came ends at 2" in only(back(info(4, recovered=True)))


def test_recovered_with_a_hole_in_what_follows_is_found() -> None:
    history = back(info(3, message(3), recovered=True, head=5))
    history.client("ada").received(message(5))
    assert "seq 5: came after 3" in only(history)


def test_recovered_from_another_epoch_is_found() -> None:
    assert "recovered True in e" in only(back(info(4, *run(3, 4), recovered=True), epoch="d"))


def test_a_since_that_is_not_answered_is_found() -> None:
    assert "recovered None in e" in only(back(info(4)))


def test_recovered_without_a_since_is_found(history: History) -> None:
    enter(history, "ada", info(4, recovered=True))
    assert "recovered, without a `since`" in only(history)


def test_recovered_since_what_was_acked_with_a_hole_is_found(history: History) -> None:
    enter(history, "ada", info(4, message(4), recovered=True, acked=2), "acked")
    assert "seq 4: came after 2" in only(history)


def test_not_recovered_although_nothing_is_missing_is_found() -> None:
    assert "nothing is missing" in only(back(info(2, recovered=False)))


def test_not_recovered_is_found_where_it_must_not_be() -> None:
    history = History(must_recover=True)
    enter(history, "ada", info(9, recovered=False), {"epoch": "e", "seq": 2})
    assert "seq 9: was not recovered since" in only(history)
    back(info(9, recovered=False)).assert_kept()


# One reply for each id


def test_a_second_reply_is_found(history: History) -> None:
    ada = enter(history, "ada", info(0))
    publish(ada, 1, 1)
    ada.received({"type": "error", "code": "internal", "id": 1})
    assert "a second reply to id 1" in only(history)


@pytest.mark.parametrize("id", [2, "1"])
def test_a_reply_to_nothing_is_found(history: History, id: object) -> None:
    ada = history.client("ada")
    ada.sent({"type": "ping", "id": 1})
    ada.received({"type": "ok", "id": id})
    assert "a reply to what was never asked" in only(history)


def test_replies_to_what_is_not_recorded_are_let_pass(history: History) -> None:
    ada = history.client("ada")
    ada.sends_unrecorded()
    ada.received({"type": "ok", "id": 1})
    history.assert_kept()


def test_a_ping_that_overtakes_is_found(history: History) -> None:
    ada = enter(history, "ada", info(0))
    ada.sent({"type": "message", "text": "hi", "id": 1})
    ada.sent({"type": "ping", "id": 2})
    ada.received({"type": "ok", "id": 2})
    assert ["was not answered before the ping after it" in line for line in history.check()] == [True]


def test_a_missing_reply_is_found_when_all_must_be_there(history: History) -> None:
    ada = enter(history, "ada", info(0), id=5)
    assert history.check() == []
    assert len(history.check(answered=True)) == 1
    with pytest.raises(AssertionError, match="'id': 5} was not answered"):
        history.assert_kept(answered=True)
    ada.disconnected()
    history.assert_kept(answered=True)


def test_an_event_before_its_ok_is_found(history: History) -> None:
    ada = enter(history, "ada", info(0))
    ada.sent({"type": "message", "text": "hi", "id": 1})
    receive(ada, message(1), {"type": "ok", "id": 1, "seq": 1})
    assert "seq 1: the event came before its ok" in only(history)
