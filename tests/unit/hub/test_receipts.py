"""hub.receipts: confirmed events come again until they are acknowledged, but not for ever."""

from __future__ import annotations

from typing import Any

import pytest

from hubbub.errors import LocalError
from hubbub.hub.connection import Connection
from tests.unit.fakes import Bench, tape
from tests.unit.hub.rooms import ask, client, flood, joined, speaking, token


@pytest.fixture
def bench() -> Bench:
    return speaking()


def alive(bench: Bench, ticks: int) -> None:
    """Time passes, and everybody answers pings."""
    for _ in range(ticks):
        bench.tick()
        for connection in bench.hub.connections:
            bench.hub.pong(connection)
    bench.runtime.settle()


def again(connection: Connection) -> list[int]:
    """The numbers of the events that came again."""
    return [event["seq"] for event in tape(connection).events if event.get("redelivered")]


def receipts(bench: Bench, connection: Connection, **options: Any) -> dict[str, Any]:
    return ask(bench, connection, "receipts", room="lobby", **options)


def test_a_confirmed_event_says_so(bench: Bench) -> None:
    (ada,) = joined(bench, "ada")
    flood(bench, 1, confirm=True)
    assert tape(ada).events == [{"type": "said", "text": "1", "confirm": True, "room": "lobby", "seq": 1}]


def test_it_comes_again_after_five_seconds_with_the_same_number(bench: Bench) -> None:
    (ada,) = joined(bench, "ada")
    flood(bench, 1, confirm=True)
    alive(bench, 4)
    assert again(ada) == []
    alive(bench, 1)
    first, second = tape(ada).events
    assert second == first | {"redelivered": True}


def test_at_most_three_times(bench: Bench) -> None:
    (ada,) = joined(bench, "ada")
    flood(bench, 1, confirm=True)
    alive(bench, 60)
    assert again(ada) == [1, 1, 1]
    assert bench.hub.counters.events_redelivered == 3


def test_not_once_it_is_acknowledged(bench: Bench) -> None:
    ada, bob = joined(bench, "ada", "bob")
    flood(bench, 1, confirm=True)
    ask(bench, ada, "ack", room="lobby", seq=1)
    alive(bench, 5)
    assert (again(ada), again(bob)) == ([], [1])


def test_an_acknowledgement_of_a_later_one_covers_it(bench: Bench) -> None:
    (ada,) = joined(bench, "ada")
    flood(bench, 2, confirm=True)
    ask(bench, ada, "ack", room="lobby", seq=2)
    alive(bench, 30)
    assert again(ada) == []


def test_one_of_an_earlier_one_does_not(bench: Bench) -> None:
    (ada,) = joined(bench, "ada")
    flood(bench, 2, confirm=True)
    ask(bench, ada, "ack", room="lobby", seq=1)
    alive(bench, 5)
    assert again(ada) == [2]


def test_an_ordinary_event_does_not_come_again(bench: Bench) -> None:
    (ada,) = joined(bench, "ada")
    flood(bench, 1)
    alive(bench, 30)
    assert again(ada) == []


def test_who_came_later_is_not_waited_for(bench: Bench) -> None:
    joined(bench, "ada")
    flood(bench, 1, confirm=True)
    (bob,) = joined(bench, "bob")
    alive(bench, 5)
    assert (again(bob), receipts(bench, bob, seq=1)["waiting"]) == ([], ["ada"])


def test_who_is_excluded_is_not_waited_for(bench: Bench) -> None:
    ada, bob = joined(bench, "ada", "bob")
    flood(bench, 1, confirm=True, exclude=ada)
    assert receipts(bench, bob, seq=1)["waiting"] == ["bob"]


def test_a_repeat_is_not_waited_for_anew(bench: Bench) -> None:
    (ada,) = joined(bench, "ada")
    for _ in range(2):
        ask(bench, ada, "say", text="x", messageId="m", confirm=True)
    alive(bench, 5)
    assert again(ada) == [1]


def test_only_what_is_kept_can_be_confirmed(bench: Bench) -> None:
    with pytest.raises(LocalError, match="only an event that is kept"):
        bench.hub.room("lobby").publish("text", confirm=True)
    with pytest.raises(LocalError, match="only an event that is kept"):
        bench.hub.room("lobby").publish({"type": "x"}, keep=False, confirm=True)


# The next connection


def returned(bench: Bench, ada: Connection, **options: Any) -> Connection:
    bench.hub.lost(ada)
    back = client(bench, token(ada))
    bench.receive(back, type="join", room="lobby", username="ada", **options)
    bench.runtime.settle()
    return back


def test_it_comes_again_on_the_next_connection_behind_the_reply(bench: Bench) -> None:
    (ada,) = joined(bench, "ada", session="")
    flood(bench, 2, confirm=True)
    back = returned(bench, ada, since={"epoch": "epoch", "seq": 2})
    assert [event["type"] for event in tape(back).events] == ["room_info", "said", "said"]
    assert again(back) == [1, 2]


def test_not_what_the_reply_holds_already(bench: Bench) -> None:
    (ada,) = joined(bench, "ada", session="")
    flood(bench, 2, confirm=True)
    assert again(returned(bench, ada, since={"epoch": "epoch", "seq": 1})) == [1]


def test_not_what_was_acknowledged_before(bench: Bench) -> None:
    (ada,) = joined(bench, "ada", session="")
    flood(bench, 2, confirm=True)
    ask(bench, ada, "ack", room="lobby", seq=1)
    assert again(returned(bench, ada)) == [2]


def test_there_it_comes_three_times_more(bench: Bench) -> None:
    (ada,) = joined(bench, "ada", session="")
    flood(bench, 1, confirm=True)
    alive(bench, 30)
    back = returned(bench, ada)
    alive(bench, 60)
    assert again(back) == [1] * 4


def test_without_a_session_nobody_is_known_again(bench: Bench) -> None:
    (ada,) = joined(bench, "ada")
    flood(bench, 1, confirm=True)
    bench.hub.lost(ada)
    (back,) = joined(bench, "ada")
    alive(bench, 30)
    assert again(back) == []


def test_who_never_acknowledged_is_stored_as_of_where_it_came_in(bench: Bench) -> None:
    (ada,) = joined(bench, "ada", session="")
    flood(bench, 3)
    flood(bench, 1, confirm=True)
    stored: list[Any] = []
    bench.broker.acknowledged("lobby", ada.key, stored.append)
    assert stored == [0]


# Who has read what


def test_receipts_of_an_event_name_both_sides(bench: Bench) -> None:
    ada, bob = joined(bench, "ada", "bob")
    flood(bench, 1, confirm=True)
    ask(bench, ada, "ack", room="lobby", seq=1)
    reply = receipts(bench, bob, seq=1)
    assert (reply["received"], reply["waiting"]) == (["ada"], ["bob"])


@pytest.mark.parametrize("seq", [0, -1, 99, 2**63])
def test_of_an_event_that_there_is_not_there_is_nothing(bench: Bench, seq: int) -> None:
    (ada,) = joined(bench, "ada")
    reply = receipts(bench, ada, seq=seq)
    assert (reply["received"], reply["waiting"]) == ([], [])


def test_readers_are_those_who_acknowledged_the_furthest_first(bench: Bench) -> None:
    ada, bob = joined(bench, "ada", "bob", session="")
    flood(bench, 3)
    ask(bench, ada, "ack", room="lobby", seq=1)
    ask(bench, bob, "ack", room="lobby", seq=3)
    readers = receipts(bench, ada)["readers"]
    assert readers == [{"username": "bob", "seq": 3}, {"username": "ada", "seq": 1}]


def test_a_reader_that_has_left_is_still_known(bench: Bench) -> None:
    ada, bob = joined(bench, "ada", "bob", session="")
    flood(bench, 1)
    ask(bench, ada, "ack", room="lobby", seq=1)
    bench.hub.close(ada, 1000)
    assert receipts(bench, bob)["readers"] == [{"username": "ada", "seq": 1}]


def test_receipts_are_for_who_is_there(bench: Bench) -> None:
    assert receipts(bench, client(bench))["code"] == "not_in_room"
