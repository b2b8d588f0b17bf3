"""hub: a broker that cannot open, append or read; nobody is told what is not so, and nobody waits for ever."""

from __future__ import annotations

import json
import logging
from typing import Any

import pytest

from hubbub.brokers.memory import MemoryBroker
from hubbub.errors import BrokerError
from hubbub.hub.ports import Answer, Position
from tests.unit.fakes import Bench, FailingBroker, heard, tape
from tests.unit.hub.rooms import BrokenReads, ask, client, flood, joined, speaking, token, types

quiet = pytest.mark.usefixtures("silence")


@pytest.fixture
def silence(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.CRITICAL, "hubbub")


class ClosedBroker(MemoryBroker):
    """Cannot be opened."""

    def open(self, room: str, opened: Answer[Position]) -> None:
        opened(BrokerError("no such disk"))


class BrokenRedelivery(BrokenReads):
    """Fails with the second read from now."""

    reads = -1

    def read(self, *args: Any) -> None:
        self.reads -= 1
        self.broken = self.reads == 0
        super().read(*args)


def breaking(bench: Bench) -> BrokenReads:
    assert isinstance(bench.broker, BrokenReads)
    return bench.broker


@quiet
def test_what_cannot_be_kept_is_unavailable_and_not_delivered() -> None:
    bench = speaking(broker=FailingBroker)
    ada, bob = joined(bench, "ada", "bob", room="bad")
    reply = ask(bench, ada, "say", text="lost")
    assert (reply["type"], reply["code"], reply["retryAfter"] > 0) == ("error", "unavailable", True)
    assert heard(bob) == heard(ada) == []


@quiet
def test_what_need_not_be_kept_is_delivered_all_the_same() -> None:
    bench = speaking(broker=FailingBroker)
    ada, bob = joined(bench, "ada", "bob", room="bad")
    bench.receive(bob, type="say", text="lost")
    assert ask(bench, ada, "say", text="brief", keep=False)["type"] == "ok"
    assert heard(bob) == ["brief"]


def test_a_room_that_cannot_be_opened_cannot_be_joined() -> None:
    bench = speaking(broker=ClosedBroker)
    ada = client(bench)
    assert ask(bench, ada, "join", room="lobby", username="ada")["code"] == "unavailable"
    assert (ada.rooms, ada.open, bench.hub.room("lobby").count) == ((), True, 0)


def test_an_application_that_joins_it_loses_the_connection() -> None:
    bench = Bench(broker=ClosedBroker)
    ada = bench.connect()
    ada.join("lobby", "ada")
    assert (ada.open, tape(ada).actions[-1][0]) == (False, 1013)


def test_what_is_published_there_fails() -> None:
    bench = Bench(broker=ClosedBroker)
    publication = bench.hub.room("lobby").publish({"type": "said"})
    bench.runtime.settle()
    assert isinstance(publication.error, BrokerError)


def test_who_cannot_be_told_what_it_missed_is_not_let_in() -> None:
    bench = speaking(broker=BrokenReads)
    ada, bob = joined(bench, "ada")[0], client(bench)
    flood(bench, 3)
    breaking(bench).broken = True
    reply = ask(bench, bob, "join", room="lobby", username="bob", history=2)
    assert (reply["code"], bob.rooms, bench.hub.room("lobby").count) == ("unavailable", (), 1)
    assert types(ada)[-2:] == ["user_joined", "user_left"]


def test_a_join_is_answered_once_though_redelivery_fails() -> None:
    bench = speaking(broker=BrokenRedelivery)
    (ada,) = joined(bench, "ada", session="")
    flood(bench, 2, confirm=True)
    bench.hub.lost(ada)
    back = client(bench, token(ada))
    vars(bench.broker)["reads"] = 1
    assert ask(bench, back, "join", room="lobby", username="ada")["type"] == "room_info"
    assert (back.open, tape(back).actions[-1][0]) == (False, 1013)


def test_a_slow_reader_that_cannot_be_read_for_is_closed() -> None:
    bench = speaking(broker=BrokenReads)
    (ada,) = joined(bench, "ada")
    bench.hub.writing_paused(ada)
    flood(bench, 3)
    breaking(bench).broken = True
    bench.hub.writing_resumed(ada)
    bench.runtime.settle()
    assert (ada.open, tape(ada).actions[-1][0]) == (False, 1013)


def test_a_history_that_cannot_be_read_is_unavailable() -> None:
    bench = speaking(broker=BrokenReads)
    (ada,) = joined(bench, "ada")
    flood(bench, 1)
    breaking(bench).broken = True
    assert ask(bench, ada, "history", room="lobby")["code"] == "unavailable"


@quiet
def test_the_room_goes_on_when_the_broker_does(monkeypatch: pytest.MonkeyPatch) -> None:
    bench = speaking(broker=FailingBroker)
    (ada,) = joined(bench, "ada", room="bad")
    bench.receive(ada, type="say", text="lost")
    bench.runtime.settle()
    monkeypatch.setattr(FailingBroker, "append", MemoryBroker.append)
    assert ask(bench, ada, "say", text="kept")["seq"] == 1
    assert json.dumps(tape(ada).events[-1]["text"]) == '"kept"'
