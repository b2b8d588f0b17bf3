"""hub.session on several nodes: who was lost on one of them comes back to another."""

from __future__ import annotations

from typing import Any

import pytest

from hubbub.brokers.memory import MemoryBroker
from hubbub.errors import BrokerError
from hubbub.hub.ports import Answer
from tests.unit.fakes import Bench
from tests.unit.hub.rooms import ask, client, joined, speaking, token

SECRET = b"s" * 32


class Shared(MemoryBroker):
    """What nodes find of each other; `away` when it cannot be asked."""

    shared = True
    notes: dict[str, tuple[bytes, float]]
    away = False

    def __init__(self, *args: Any) -> None:
        super().__init__(*args)
        self.secret = SECRET
        self.notes = {}

    def note(self, key: str, value: bytes, seconds: float) -> None:
        self.notes[key] = value, seconds

    def noted(self, key: str, done: Answer[bytes]) -> None:
        done(BrokerError("away") if self.away else self.notes.get(key, (b"", 0))[0])


@pytest.fixture
def nodes() -> tuple[Bench, Bench]:
    """Two nodes of which each finds what the other notes."""
    first, second = speaking(broker=Shared), speaking(broker=Shared)
    second.broker.notes = first.broker.notes  # type: ignore[attr-defined]
    return first, second


def notes(bench: Bench) -> list[tuple[bytes, float]]:
    broker = bench.broker
    assert isinstance(broker, Shared)
    return list(broker.notes.values())


def test_a_session_is_taken_up_on_another_node(nodes: tuple[Bench, Bench]) -> None:
    first, second = nodes
    (ada,) = joined(first, "ada", session="")
    again = client(second, token(ada))
    assert (token(again), second.hub.counters.sessions_resumed) == (token(ada), 1)


def test_it_comes_back_after_the_node_that_made_it_has_forgotten_it(nodes: tuple[Bench, Bench]) -> None:
    first, _ = nodes
    (ada,) = joined(first, "ada", session="")
    first.hub.lost(ada)
    first.tick(200)
    assert token(client(first, token(ada))) == token(ada)


def test_another_node_knows_the_names_in_all_rooms(nodes: tuple[Bench, Bench]) -> None:
    first, second = nodes
    (ada,) = joined(first, "ada", session="")
    ask(first, ada, type="subscribe", room="news")
    first.hub.lost(ada)
    again = client(second, token(ada))
    answer = ask(second, again, type="resume", session=token(ada), rooms={"lobby": {}, "news": {}, "attic": {}})
    assert (answer["type"], answer["missing"]) == ("ok", ["attic"])
    assert [(member.room.name, member.username) for member in again.members] == [("lobby", "ada"), ("news", "")]


def test_what_cannot_be_asked_is_missing(nodes: tuple[Bench, Bench]) -> None:
    first, second = nodes
    (ada,) = joined(first, "ada", session="")
    first.hub.lost(ada)
    second.broker.away = True  # type: ignore[attr-defined]
    answer = ask(second, client(second, token(ada)), type="resume", session=token(ada), rooms={"lobby": {}})
    assert answer["missing"] == ["lobby"]


def test_names_are_noted_once_a_tick_for_a_week_and_for_as_long_as_a_session_once_it_is_lost(
    nodes: tuple[Bench, Bench],
) -> None:
    first, _ = nodes
    (ada,) = joined(first, "ada", session="")
    assert notes(first) == []
    first.tick()
    assert notes(first) == [(b'{"lobby":"ada"}', 604_800.0)]
    first.hub.leave(ada, "lobby")
    first.hub.lost(ada)
    assert notes(first) == [(b"{}", 120.0)]


def test_nothing_is_noted_where_there_are_no_other_nodes() -> None:
    bench = speaking(broker=Unshared)
    (ada,) = joined(bench, "ada", session="")
    bench.tick()
    bench.hub.lost(ada)
    assert notes(bench) == []


class Unshared(Shared):
    shared = False
