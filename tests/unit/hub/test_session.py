"""hub.session: who may come back, for how long, and what the others see of it."""

from __future__ import annotations

import pytest

from hubbub.brokers.memory import MemoryBroker
from hubbub.config import Config, Limits, Rooms, Sessions
from hubbub.hub.hub import Hub
from tests.unit.fakes import Bench, LateBroker, tape
from tests.unit.hub.rooms import Json, ask, client, flood, joined, speaking, token, types


@pytest.fixture
def bench() -> Bench:
    return speaking()


def watched(bench: Bench, session: str = "") -> tuple[list[Json], str]:
    """What somebody sees of ada, who is in the lobby with a session; and her token."""
    (ada,) = joined(bench, "ada", session=session)
    (bob,) = joined(bench, "bob")
    bench.hub.lost(ada)
    return tape(bob).events, token(ada)


def presence(events: list[Json]) -> list[str]:
    return [event["type"] for event in events if event["type"].startswith("user_")]


# Tokens


def test_without_the_parameter_there_is_no_session(bench: Bench) -> None:
    assert client(bench).session is None


def test_the_first_event_carries_the_token(bench: Bench) -> None:
    connection = bench.connect("")
    assert tape(connection).events[0]["session"] == token(connection)


def test_a_token_comes_back_unchanged(bench: Bench) -> None:
    first = client(bench, "")
    bench.hub.lost(first)
    assert token(client(bench, token(first))) == token(first)
    assert bench.hub.counters.sessions_resumed == 1


@pytest.mark.parametrize("forged", ["x", "..", "a.b.c", "é.ü.ß", "\ud800.x.y", "." * 9999])
def test_a_forged_token_is_answered_with_another(bench: Bench, forged: str) -> None:
    assert token(client(bench, forged)) != forged


def test_a_token_with_another_id_is_forged(bench: Bench) -> None:
    ada, eve = client(bench, ""), client(bench, "")
    id, (_, life, signature) = token(ada).split(".")[0], token(eve).split(".")
    assert client(bench, f"{id}.{life}.{signature}").session not in (ada.session, eve.session)
    assert ada.open


def test_a_token_of_another_secret_is_not_known(bench: Bench) -> None:
    other = token(client(speaking(), ""))
    assert token(client(bench, other)) != other


def test_a_token_lives_so_long_after_the_connections_end(bench: Bench) -> None:
    first = client(bench, "")
    bench.hub.lost(first)
    bench.tick(119)
    again = client(bench, token(first))
    assert token(again) == token(first)
    bench.hub.lost(again)
    bench.tick(120)
    assert token(client(bench, token(first))) != token(first)


def test_it_does_not_expire_while_the_connection_is_open(bench: Bench) -> None:
    first = client(bench, "")
    for _ in range(300):
        bench.hub.pong(first)
        bench.tick()
    bench.hub.lost(first)
    assert token(client(bench, token(first))) == token(first)


def test_a_proper_close_leaves_the_token_valid(bench: Bench) -> None:
    first = client(bench, "")
    bench.hub.lost(first, clean=True)
    assert token(client(bench, token(first))) == token(first)


def test_the_ones_left_longest_ago_go_when_there_are_too_many() -> None:
    bench = speaking(Config(limits=Limits(rate_limit=0), sessions=Sessions(max_sessions=2)))
    tokens = []
    for _ in range(3):
        connection = client(bench, "")
        tokens.append(token(connection))
        bench.hub.lost(connection)
    assert [token(client(bench, known)) == known for known in tokens] == [False, True, True]


def test_a_second_end_counts_anew(bench: Bench) -> None:
    first = client(bench, "")
    bench.hub.lost(first)
    bench.tick(60)
    bench.hub.lost(client(bench, token(first)))
    bench.tick(119)
    assert token(client(bench, token(first))) == token(first)


# Another life of the node, with the same broker


def reborn(bench: Bench) -> Bench:
    bench.hub = Hub(bench.runtime, bench.broker, bench.hub.config, bench.policies)
    return bench


def test_a_token_of_another_life_is_known_and_keeps_its_identity(bench: Bench) -> None:
    first = client(bench, "")
    again = client(reborn(bench), token(first))
    assert (token(again), again.key) == (token(first), first.key)


def test_only_for_so_long_after_the_start(bench: Bench) -> None:
    first = client(bench, "")
    reborn(bench).tick(120)
    assert token(client(bench, token(first))) != token(first)


def test_a_session_that_ended_in_this_life_is_over(bench: Bench) -> None:
    bench.tick(200)
    first = client(bench, "")
    bench.hub.lost(first)
    bench.tick(121)
    assert token(client(bench, token(first))) != token(first)


# Grace


def test_the_others_see_nothing_of_a_loss_within_the_grace(bench: Bench) -> None:
    seen, known = watched(bench)
    bench.tick(14)
    ask(bench, client(bench, known), "join", room="lobby", username="ada")
    bench.tick(30)
    assert (presence(seen), bench.hub.room("lobby").count) == ([], 2)


def test_after_the_grace_they_do(bench: Bench) -> None:
    seen, _ = watched(bench)
    bench.tick(15)
    bench.runtime.settle()
    assert presence(seen) == ["user_left"]


def test_a_second_loss_has_its_own_grace(bench: Bench) -> None:
    seen, known = watched(bench)
    bench.tick(10)
    back = client(bench, known)
    ask(bench, back, "join", room="lobby", username="ada")
    bench.hub.lost(back)
    bench.tick(14)
    bench.runtime.settle()
    assert presence(seen) == []
    bench.tick()
    bench.runtime.settle()
    assert presence(seen) == ["user_left"]


def test_a_close_frame_is_seen_at_once(bench: Bench) -> None:
    (ada,), (bob,) = joined(bench, "ada", session=""), joined(bench, "bob")
    bench.hub.lost(ada, clean=True)
    bench.runtime.settle()
    assert types(bob) == ["user_left"]


def test_so_is_a_loss_without_a_session(bench: Bench) -> None:
    (ada,), (bob,) = joined(bench, "ada"), joined(bench, "bob")
    bench.hub.lost(ada)
    bench.runtime.settle()
    assert types(bob) == ["user_left"]


def test_coming_back_under_another_name_is_seen(bench: Bench) -> None:
    seen, known = watched(bench)
    ask(bench, client(bench, known), "join", room="lobby", username="lovelace")
    assert presence(seen) == ["user_left", "user_joined"]


def test_coming_back_to_one_room_leaves_the_other_waiting(bench: Bench) -> None:
    (ada,) = joined(bench, "ada", session="")
    ask(bench, ada, "join", room="attic", username="ada", keep=True)
    bench.hub.lost(ada)
    ask(bench, client(bench, token(ada)), "join", room="lobby", username="ada")
    bench.tick(15)
    assert (bench.hub.room("lobby").count, bench.hub.room("attic").count) == (1, 0)


def test_what_queued_in_slices_for_who_was_away_is_not_told_twice() -> None:
    bench = speaking(Config(limits=Limits(rate_limit=0), rooms=Rooms(fanout_slice=1)))
    (ada,), _ = joined(bench, "ada", session=""), joined(bench, *"bcd")
    bench.hub.lost(ada)
    bench.hub.room("lobby").publish({"type": "said", "text": "x"})
    bench.runtime.turn()
    back = client(bench, token(ada))
    bench.receive(back, type="join", room="lobby", username="ada", since={"epoch": "epoch", "seq": 0})
    bench.runtime.settle()
    assert types(back) == ["room_info"]


# Taking over


def test_an_open_connection_is_replaced(bench: Bench) -> None:
    (ada,), (bob,) = joined(bench, "ada", session=""), joined(bench, "bob")
    back = client(bench, token(ada))
    assert (ada.open, tape(ada).actions[-1][0]) == (False, 4409)
    ask(bench, back, "join", room="lobby", username="ada")
    bench.tick(30)
    bench.runtime.settle()
    assert types(bob) == []


def test_a_room_that_the_newer_one_does_not_want_is_left_after_the_grace(bench: Bench) -> None:
    (ada,), (bob,) = joined(bench, "ada", session=""), joined(bench, "bob")
    client(bench, token(ada))
    bench.tick(15)
    bench.runtime.settle()
    assert types(bob) == ["user_left"]


def test_a_connection_that_has_ended_takes_nothing_over() -> None:
    bench = speaking(broker=LateBroker)
    known = token(client(bench, ""))
    (ada,) = joined(bench, "ada")
    bench.receive(ada, type="say", text="x")
    bench.receive(ada, type="leave", room="lobby")  # waits for the broker, and what follows for it
    bench.receive(ada, type="resume", rooms={}, session=known)
    bench.hub.lost(ada)
    back = client(bench, known)
    vars(bench.broker)["_late"].popleft()()
    assert back.open


def test_the_memory_broker_makes_a_new_secret() -> None:
    one, two = (MemoryBroker(str, lambda _: None, 1, int) for _ in range(2))  # type: ignore[arg-type, return-value]
    assert (len(one.secret), one.secret != two.secret) == (32, True)


def test_a_publish_is_known_again_on_the_next_connection(bench: Bench) -> None:
    (ada,) = joined(bench, "ada", session="")
    first = ask(bench, ada, "say", text="x", messageId="m")
    bench.hub.lost(ada)
    back = client(bench, token(ada))
    ask(bench, back, "join", room="lobby", username="ada")
    flood(bench, 2)
    assert ask(bench, back, "say", text="x", messageId="m")["seq"] == first["seq"] == 1
