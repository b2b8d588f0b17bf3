"""hub.connection: what an application does with a connection."""

from __future__ import annotations

import pytest

from hubbub.errors import CommandError, LocalError
from tests.unit.fakes import Bench, RecordingEndpoint, Said, heard, tape


@pytest.fixture
def bench() -> Bench:
    return Bench()


def test_every_connection_has_an_id_of_its_own(bench: Bench) -> None:
    assert [bench.connect().id, bench.connect().id] == ["id-1", "id-2"]


def test_a_new_connection_is_open_and_nowhere(bench: Bench) -> None:
    connection = bench.connect()
    assert (connection.open, connection.username, connection.rooms) == (True, "", ())


def test_it_knows_its_path(bench: Bench) -> None:
    assert bench.connect().path == RecordingEndpoint.path


def test_the_time_is_the_nodes(bench: Bench) -> None:
    assert bench.connect().now_ms() == 1_000_000


def test_it_has_a_place_for_the_applications_data(bench: Bench) -> None:
    ada, bob = bench.connect(), bench.connect()
    ada.data["score"] = 5
    assert (ada.data["score"], "score" in bob.data) == (5, False)


def test_the_room_is_the_one_joined_last(bench: Bench) -> None:
    ada = bench.connect()
    ada.join("one", "ada")
    ada.join("other", "ada", keep=True)
    assert ada.room.name == "other"


def test_outside_of_rooms_there_is_no_room(bench: Bench) -> None:
    with pytest.raises(CommandError, match="Join a room first") as caught:
        _ = bench.connect().room
    assert caught.value.code == "not_in_room"


def test_an_event_is_sent_at_once(bench: Bench) -> None:
    ada = bench.connect()
    ada.send(Said("hi"))
    assert tape(ada).events == [{"type": "said", "text": "hi"}]


@pytest.mark.parametrize("message", ["text é", b"\xff bytes"])
def test_an_own_protocol_is_sent_as_it_is(bench: Bench, message: str | bytes) -> None:
    ada = bench.connect()
    ada.send(message)
    assert tape(ada).events == [message]


def test_what_is_sent_comes_before_what_is_published_in_the_same_turn(bench: Bench) -> None:
    (ada,) = bench.join("lobby", "ada")
    ada.room.publish(Said("published"))
    ada.send(Said("sent"))
    bench.runtime.turn()
    assert heard(ada) == ["sent", "published"]


def test_after_a_close_nothing_is_sent(bench: Bench) -> None:
    ada = bench.connect()
    ada.close(4000, "bye")
    ada.send(Said("hi"))
    assert (tape(ada).actions, heard(ada), ada.open) == ([(4000, "bye")], [], False)


@pytest.mark.parametrize("code", [0, 999, 1005, 1006, 1015, 2999, 5000])
def test_a_code_that_must_not_be_sent_is_the_callers_bug(bench: Bench, code: int) -> None:
    (ada,) = bench.join("lobby", "ada")
    with pytest.raises(LocalError, match=f"close code {code} "):
        ada.close(code)
    assert (ada.open, ada.room.name, tape(ada).actions) == (True, "lobby", [])
