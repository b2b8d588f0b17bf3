"""client.machine: rooms and commands over connections that come and go, without any."""

from __future__ import annotations

import pytest

from hubbub.client.outcomes import Ended, Lost, QueueFull, Refused
from tests.unit.client.player import Player, entered, info, message, ok, refusal


def kinds(commands: list[dict[str, object]]) -> list[object]:
    return [command["type"] for command in commands]


# Entering


def test_nothing_is_said_before_the_server_has_greeted() -> None:
    player = Player()
    entry = player.enter("lobby")
    player.say(entry, "hi")
    assert player.output() == []


def test_all_rooms_are_entered_when_it_has() -> None:
    player = Player()
    player.enter("lobby")
    player.enter("news", None)
    joins = player.connect()
    assert [(command["type"], command["room"]) for command in joins] == [("join", "lobby"), ("subscribe", "news")]
    assert all(command.get("keep") for command in joins if command["type"] == "join")


def test_what_is_said_in_a_room_waits_for_it() -> None:
    player = Player()
    entry = player.enter("lobby")
    player.say(entry, "hi")
    (join,) = player.connect()
    assert player.output() == []
    player.receive(info(id=join["id"]))
    assert [command["text"] for command in player.output()] == ["hi"]


def test_a_room_that_is_refused_takes_with_it_what_was_to_be_said_there() -> None:
    player = Player()
    entry = player.enter("lobby")
    player.say(entry, "hi")
    (join,) = player.connect()
    player.receive(refusal(join, "forbidden"))
    assert isinstance(player.outcomes["hi"], Refused)
    assert player.refused["lobby"].code == "forbidden"
    assert player.machine.entries == {}


def test_a_room_whose_log_cannot_be_read_now_is_tried_again_then() -> None:
    player = Player()
    player.enter("lobby")
    (join,) = player.connect()
    player.receive(refusal(join, "unavailable", retryAfter=1500))
    assert player.output(after=1.4) == []
    assert kinds(player.output(after=0.2)) == ["join"]
    assert player.refused == {}


def test_no_more_rooms_are_entered_at_once_than_the_server_lets_through() -> None:
    player = Player()
    for number in range(20):
        player.enter(f"room {number}")
    joins = player.connect()
    assert len(joins) == 8
    player.receive(info("room 0", id=joins[0]["id"]))
    assert [command["room"] for command in player.output()] == ["room 8"]


def test_a_name_that_the_server_spells_otherwise_is_its_own() -> None:
    player = Player()
    entry = player.enter("long name")
    (join,) = player.connect()
    player.receive(info("long", id=join["id"]), message(1, "long"))
    assert entry.room == "long"
    assert [event["type"] for event in player.heard["long name"]] == ["room_info", "message"]


# Coming back


def test_all_rooms_are_resumed_in_one_round_trip() -> None:
    player = Player()
    entered(player, "lobby", 4)
    entered(player, "kitchen", 9)
    player.receive(message(5))
    player.lose()
    (resume,) = player.connect()
    rooms = {"lobby": {"epoch": "e", "seq": 5}, "kitchen": {"epoch": "e", "seq": 9}}
    assert resume == {"type": "resume", "rooms": rooms, "id": resume["id"]}


def test_what_a_resume_misses_is_joined() -> None:
    player = Player()
    entered(player, "lobby", 4)
    entered(player, "kitchen", 9)
    player.lose()
    (resume,) = player.connect()
    player.receive(info("lobby", 4, recovered=True), ok(resume, session="s", missing=["kitchen"]))
    (join,) = player.output()
    assert (join["type"], join["room"], join["since"]) == ("join", "kitchen", {"epoch": "e", "seq": 9})


def test_a_session_that_the_server_does_not_know_joins_each() -> None:
    player = Player()
    entered(player, "lobby", 4)
    player.lose()
    (join,) = player.connect(session="another")
    assert (join["type"], join["since"]) == ("join", {"epoch": "e", "seq": 4})


def test_without_the_right_to_history_it_comes_back_without_since() -> None:
    player = Player()
    entered(player, "lobby", 4)
    player.lose()
    (join,) = player.connect(session="another")
    player.receive(refusal(join))
    (plain,) = player.output()
    assert "since" not in plain
    player.receive(info(seq=7, id=plain["id"]))
    assert [event["type"] for event in player.heard["lobby"]] == ["room_info", "room_info", "gap"]


def test_without_any_right_it_is_out() -> None:
    player = Player()
    entered(player, "lobby", 4)
    player.lose()
    (join,) = player.connect(session="another")
    player.receive(refusal(join))
    player.receive(refusal(player.output()[0]))
    assert player.refused["lobby"].code == "forbidden"


def test_a_room_that_was_left_while_away_is_not_entered() -> None:
    player = Player()
    entry = entered(player)
    player.lose()
    player.leave(entry)
    assert player.outcomes["leave"] == {}
    assert player.connect() == []


def test_a_room_that_was_left_while_it_was_resumed_is_left_there() -> None:
    player = Player()
    entry = entered(player)
    player.lose()
    (resume,) = player.connect()
    player.leave(entry)
    player.receive(info(seq=0, recovered=True), ok(resume, missing=[]))
    assert "leave" in kinds(player.output())
    assert [event["type"] for event in player.heard["lobby"]] == ["room_info"]


# Speaking


def test_messages_of_a_room_are_said_one_after_the_other() -> None:
    player = Player()
    entry = entered(player)
    for name in ("1", "2", "3"):
        player.say(entry, name)
    said = []
    while commands := player.output():
        (command,) = commands
        said.append(command["text"])
        player.receive(ok(command, seq=len(said)))
    assert said == ["1", "2", "3"]
    assert player.outcomes["3"] == {"seq": 3}


def test_as_many_are_under_way_as_the_user_allows() -> None:
    player = Player()
    entry = entered(player, width=4)
    for name in "abcdef":
        player.say(entry, name)
    assert len(player.output()) == 4


def test_what_was_said_while_away_is_said_in_order_once_it_is_back() -> None:
    player = Player()
    entry = entered(player)
    player.lose()
    for name in ("1", "2"):
        player.say(entry, name)
    assert player.output() == []
    (resume,) = player.connect()
    player.receive(info(recovered=True), ok(resume, missing=[]))
    (first,) = player.output()
    player.receive(ok(first, seq=1))
    (second,) = player.output()
    assert [first["text"], second["text"]] == ["1", "2"]


def test_what_had_no_answer_is_said_again_first() -> None:
    player = Player()
    entry = entered(player)
    player.say(entry, "1")
    player.say(entry, "2")
    (before,) = player.output()
    player.lose()
    (resume,) = player.connect()
    player.receive(info(recovered=True), ok(resume, missing=[]))
    (again,) = player.output()
    assert again["messageId"] == before["messageId"] == "1"


def test_what_must_not_be_done_twice_is_not_sent_again() -> None:
    player = Player()
    entry = entered(player)
    player.say(entry, "1", repeat=False)
    player.output()
    player.lose()
    assert isinstance(player.outcomes["1"], Lost)


def test_what_was_not_sent_yet_may_be_sent_later_whatever_it_is() -> None:
    player = Player()
    entry = entered(player)
    player.say(entry, "1", repeat=False)
    player.lose()
    (resume,) = player.connect()
    player.receive(info(recovered=True), ok(resume, missing=[]))
    assert [command["text"] for command in player.output()] == ["1"]


@pytest.mark.parametrize("code", [1003, 1007, 1009])
def test_what_may_have_ended_the_connection_is_not_sent_again(code: int) -> None:
    player = Player()
    entry = entered(player)
    player.say(entry, "1")
    player.output()
    assert player.lose(code) == 1.0
    assert isinstance(player.outcomes["1"], Lost)


def test_too_many_that_wait_are_not_taken() -> None:
    player = Player(most=2)
    entry = player.enter("lobby")
    player.say(entry, "1")
    player.say(entry, "2")
    with pytest.raises(QueueFull):
        player.say(entry, "3")


def test_who_takes_back_what_waits_makes_room() -> None:
    player = Player(most=1)
    entry = player.enter("lobby")
    player.machine.withdraw(player.machine.say(entry, {"type": "message"}, lambda outcome: None))
    player.say(entry, "1")
    assert len(entry.speech.waiting) == 1


def test_what_the_rate_limit_drops_is_said_again_before_what_comes_after_it() -> None:
    player = Player()
    entry = entered(player)
    player.say(entry, "1")
    player.say(entry, "2")
    (first,) = player.output()
    player.receive(refusal(first, "rate_limited", retryAfter=300))
    assert player.output(after=0.2) == []
    assert player.machine.wake_at() == pytest.approx(player.now + 0.1)
    assert [command["text"] for command in player.output(after=0.2)] == ["1"]


def test_who_asks_not_to_try_again_is_told_when_to() -> None:
    player = Player()
    entry = entered(player)
    player.say(entry, "1", retry=False)
    player.receive(refusal(player.output()[0], "rate_limited", retryAfter=300))
    outcome = player.outcomes["1"]
    assert isinstance(outcome, Refused)
    assert (outcome.code, outcome.retry_seconds) == ("rate_limited", 0.3)


def test_a_refusal_says_how_to_find_it_in_the_log() -> None:
    player = Player()
    entry = entered(player)
    player.say(entry, "1")
    player.receive(refusal(player.output()[0], "internal", correlationId="c"))
    outcome = player.outcomes["1"]
    assert isinstance(outcome, Refused)
    assert (outcome.code, outcome.correlation_id, outcome.retry_seconds) == ("internal", "c", None)


# Another session: the server does not know the messageIds of the old one


def said_and_lost(player: Player) -> None:
    entry = entered(player, seq=4)
    player.say(entry, "1")
    player.output()
    player.lose()


def test_what_is_found_in_the_log_was_kept() -> None:
    player = Player()
    said_and_lost(player)
    (join,) = player.connect("another")
    player.receive(info(seq=5, id=join["id"], recovered=True, messages=[message(5, messageId="1")]))
    assert player.outcomes["1"] == {"messageId": "1", "seq": 5}
    assert player.output() == []


def test_what_is_not_found_there_was_not_and_is_said_again() -> None:
    player = Player()
    said_and_lost(player)
    (join,) = player.connect("another")
    player.receive(info(seq=5, head=6, id=join["id"], recovered=True, messages=[message(5, messageId="x")]))
    assert player.output() == []
    player.receive(message(6, messageId="y"))
    assert [command["messageId"] for command in player.output()] == ["1"]


def test_where_the_log_does_not_show_it_nobody_knows() -> None:
    player = Player()
    said_and_lost(player)
    (join,) = player.connect("another")
    player.receive(info(seq=9, id=join["id"], recovered=False))
    assert isinstance(player.outcomes["1"], Lost)


def test_a_users_messages_are_known_in_every_session() -> None:
    player = Player()
    said_and_lost(player)
    (join,) = player.connect("another", user={"id": "u", "name": "Ada"})
    player.receive(info(seq=9, id=join["id"], recovered=False))
    assert [command["messageId"] for command in player.output()] == ["1"]


# Acknowledging


def test_what_was_read_is_acknowledged_once_a_second() -> None:
    player = Player()
    entry = entered(player)
    entry.taken = 3
    (ack,) = player.output()
    assert (ack["type"], ack["seq"]) == ("ack", 3)
    entry.taken = 5
    assert player.output(after=0.5) == []
    assert player.machine.wake_at() == pytest.approx(player.now + 0.5)
    assert [command["seq"] for command in player.output(after=0.6)] == [5]


def test_an_acknowledgement_that_was_perhaps_lost_is_said_again() -> None:
    player = Player()
    entry = entered(player)
    entry.taken = 3
    player.output()
    player.lose()
    (resume,) = player.connect()
    player.receive(info(seq=3, recovered=True), ok(resume, missing=[]))
    assert [command["seq"] for command in player.output(after=2)] == [3]


def test_a_confirmed_event_that_comes_again_is_acknowledged_again() -> None:
    player = Player()
    entry = entered(player)
    player.receive(message(1))
    entry.taken = 1
    player.output()
    player.receive(message(1, redelivered=True))
    assert [command["type"] for command in player.output(after=2)] == ["ack"]


# Its end


def test_the_wait_grows_until_it_is_in_its_rooms_again() -> None:
    player = Player()
    player.enter("lobby")
    assert [player.lose() for _ in range(3)] == [1.0, 2.0, 4.0]
    (join,) = player.connect()
    player.receive(info(id=join["id"]))
    assert player.lose() == 1.0


def test_the_server_says_when_to_come_back() -> None:
    player = Player()
    entered(player)
    player.receive({"type": "reconnect", "after": 1500})
    player.now += 1
    assert player.lose() == pytest.approx(0.5)
    assert player.lose(1012, "after=0") == 2.0


def test_nothing_is_answered_after_the_end() -> None:
    player = Player()
    entry = entered(player)
    player.say(entry, "1")
    player.ask("2")
    player.ask("3", entry)
    player.machine.end(Ended(4403, ""))
    assert all(isinstance(player.outcomes[name], Ended) for name in "123")


# Credentials


def test_new_credentials_are_asked_for_before_the_old_ones_end() -> None:
    player = Player()
    player.connect(user={"id": "u", "name": "Ada", "expires": 60_000})
    assert player.machine.expires_at == player.now + 60
    player.receive({"type": "warning", "code": "token_expires", "message": "", "retryAfter": 60_000})
    assert player.expiring == 1


def test_new_credentials_end_later_and_may_allow_less() -> None:
    player = Player()
    player.connect(user={"id": "u", "name": "Ada", "expires": 60_000})
    entered(player, "lobby")
    player.machine.renewed({"missing": ["lobby"], "user": {"id": "u", "name": "Ada", "expires": 90_000}})
    assert player.machine.expires_at == player.now + 90
    assert player.refused["lobby"].code == "forbidden"


def test_who_hears_only_of_a_session_is_who_it_was() -> None:
    player = Player()
    player.connect(user={"id": "u", "name": "Ada", "expires": 60_000})
    player.lose()
    player.receive({"type": "connected", "session": "another"})
    assert player.machine.user == {"id": "u", "name": "Ada", "expires": 60_000}
    assert player.machine.session == "another"


# Events of no room


def test_events_of_no_room_are_told_and_those_of_unknown_rooms_are_not() -> None:
    player = Player()
    player.connect()
    player.receive({"type": "news", "n": 1}, {"type": "error", "code": "x", "message": "y"}, message(1, "attic"))
    assert [event["type"] for event in player.told] == ["news", "error"]
