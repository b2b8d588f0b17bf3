"""What every transport promises, over every broker: order, resuming, gaps, slow readers, who gets in, and how many."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack, suppress
from pathlib import Path
from threading import Thread
from typing import Any, NamedTuple
from uuid import uuid4

import pytest
from websockets.exceptions import InvalidStatus

from tests.conftest import Servers
from tests.contract.test_transport import FLOOD
from tests.support.chatter import chatting
from tests.support.credentials import Issuer, secret_issuer
from tests.support.history import History
from tests.support.readers import READERS, Event, Reader, Refused
from tests.support.redis import RedisServer
from tests.support.server import ASGI, FAST, FAST_REDIS, FAST_SQLITE, Server

MEMORY, SQLITE, REDIS = "memory", "sqlite", "redis"
UNLIMITED = ("--rate-limit", "0", "--handshake-rate", "0")
Begin = Callable[..., Reader]


class Way(NamedTuple):
    """A transport, whether the connection is taken over, and what keeps the rooms."""

    transport: str
    taken_over: bool
    broker: str

    def __str__(self) -> str:
        return f"{self.transport}{'' if self.taken_over else ' over ASGI'}, {self.broker}"


BROKERS = (MEMORY, SQLITE, REDIS)
WAYS = [
    *(Way(transport, True, broker) for transport in READERS for broker in BROKERS),
    *(Way("websocket", False, broker) for broker in BROKERS),
    *(Way(transport, False, MEMORY) for transport in READERS if transport != "websocket"),
]


class Start:
    """Starts the server of a way, or finds it."""

    def __init__(self, servers: Servers, redis: RedisServer, folder: Path) -> None:
        self._servers = servers
        self._asgi = {
            MEMORY: (),
            SQLITE: ("--broker", f"sqlite:///{folder / 'asgi.db'}"),
            REDIS: ("--broker", redis.url, "--redis-prefix", f"{folder.name}:"),
        }

    def __call__(self, way: Way, *options: str) -> Server:
        if way.taken_over:
            host = {MEMORY: FAST, SQLITE: FAST_SQLITE, REDIS: FAST_REDIS}[way.broker]
            return self._servers(host, *UNLIMITED, *options)
        return self._servers(ASGI, *UNLIMITED, *self._asgi[way.broker], *options)


@pytest.fixture(scope="session")
def start(servers: Servers, redis_server: RedisServer, tmp_path_factory: pytest.TempPathFactory) -> Start:
    return Start(servers, redis_server, tmp_path_factory.mktemp("transports"))


@pytest.fixture(params=WAYS, ids=str)
def way(request: pytest.FixtureRequest) -> Way:
    chosen: Way = request.param
    return chosen


@pytest.fixture
def begin(way: Way, start: Start, room: str, history: History) -> Iterator[Begin]:
    """Has somebody read the test's room over the way's transport, from a place on."""
    with ExitStack() as stack:

        def reader(place: str = "", server: Server | None = None, room: str = room, **options: Any) -> Reader:
            record = history.client(f"reader {uuid4()}")
            url = (server or start(way)).http
            return stack.enter_context(READERS[way.transport](url, room, record, place, **options))

        yield reader


def texts(events: list[Event]) -> list[str]:
    return [event["text"] for event in events]


def say(reader: Reader, *said: str) -> list[int]:
    return [reader.say(text, str(uuid4())) for text in said]


def test_who_reads_a_room_gets_what_is_said_there_in_its_order(begin: Begin) -> None:
    ada, bob = begin(), begin()
    assert (ada.info["recovered"], ada.info["messages"]) == (None, [])
    seqs = say(ada, "one", "two", "three")
    events = ada.read(3)
    assert texts(events) == ["one", "two", "three"]
    assert [event["seq"] for event in events] == seqs == [1, 2, 3]
    assert bob.read(3) == events


def test_what_many_say_at_once_has_one_order_for_all(begin: Begin) -> None:
    readers = [begin(), begin(), begin()]

    def talk(reader: Reader, name: str) -> None:
        say(reader, *(f"{name} {number}" for number in range(10)))

    talkers = [Thread(target=talk, args=(reader, name)) for reader, name in zip(readers, "abc", strict=True)]
    for talker in talkers:
        talker.start()
    heard = [reader.read(30) for reader in readers]
    for talker in talkers:
        talker.join()
    assert heard[0] == heard[1] == heard[2]
    for name in "abc":
        assert [text for text in texts(heard[0]) if text[0] == name] == [f"{name} {number}" for number in range(10)]


def test_a_repeat_is_known_and_not_said_again(begin: Begin) -> None:
    ada = begin()
    once = str(uuid4())
    assert [ada.say("one", once), ada.say("one", once), *say(ada, "two")] == [1, 1, 2]
    assert texts(ada.read(2)) == ["one", "two"]


def test_who_comes_back_gets_what_it_missed_and_nothing_twice(begin: Begin) -> None:
    ada = begin()
    say(ada, "one", "two")
    assert texts(ada.read(2)) == ["one", "two"]
    ada.close()
    say(begin(), "three", "four", "five")
    back = begin(ada.place)
    assert back.info["recovered"] is True
    assert texts(back.read(3)) == ["three", "four", "five"]
    say(back, "six")
    assert texts(back.read(1)) == ["six"]


def test_who_read_nothing_comes_back_to_where_it_was(begin: Begin) -> None:
    ada, bob = begin(), begin()
    ada.close()
    say(bob, "missed")
    back = begin(ada.place)
    assert back.info["recovered"] is True
    assert texts(back.read(1)) == ["missed"]


def test_the_last_events_are_there_for_who_asks_for_them(begin: Begin) -> None:
    say(begin(), "one", "two", "three")
    assert texts(begin(history=2).read(2)) == ["two", "three"]


def test_a_place_that_is_not_held_any_more_is_said_openly(begin: Begin) -> None:
    room = f"short-{uuid4()}"
    ada = begin(room=room)
    say(ada, "one", "two")
    ada.read(2)
    old = ada.place
    say(ada, *map(str, range(8)))
    back = begin(old, room=room)
    assert back.info["recovered"] is False
    say(back, "new")
    while (event := back.next()).get("text") != "new":
        assert event["seq"] > 2
    assert event["seq"] == 11


def test_a_place_of_another_life_of_the_log_is_said_openly(begin: Begin) -> None:
    ada = begin()
    say(ada, "one")
    ada.read(1)
    back = begin(f"{uuid4()}:1")
    assert back.info["recovered"] is False
    say(back, "two")
    assert texts(back.read(1)) == ["two"]


def test_a_reader_that_does_not_read_for_a_while_loses_nothing(way: Way, start: Start, begin: Begin, room: str) -> None:
    server = start(way)
    replayed = server.counters()["events_replayed"]
    slow = begin(headers={"accept-encoding": "identity"})  # compressed it would all fit into the buffers on the way
    with chatting(f"{server.ws}/ws") as ada:
        ada.join(room, "ada")
        for text in FLOOD:
            ada.ask(type="state", text=text)
    assert texts(slow.read(len(FLOOD))) == FLOOD
    assert way.transport == "poll" or server.counters()["events_replayed"] > replayed


# Who gets in


@pytest.fixture(scope="session")
def issuer(tmp_path_factory: pytest.TempPathFactory) -> Issuer:
    return secret_issuer(tmp_path_factory.mktemp("issuer"))


AUTHORIZED = [way for way in WAYS if way.broker == MEMORY]


def status_of(call: Callable[[], Any]) -> int:
    """The HTTP status with which something is refused, or what stands for it."""
    try:
        call()
    except InvalidStatus as refused:
        return refused.response.status_code
    except Refused as refused:
        return refused.status
    raise AssertionError("it was not refused")


@pytest.mark.parametrize("way", AUTHORIZED, ids=str, indirect=True)
def test_only_who_may_read_a_room_does(way: Way, start: Start, begin: Begin, issuer: Issuer, room: str) -> None:
    server = start(way, *issuer.options)
    readable = {room: ["subscribe", "history"], "elsewhere": ["subscribe"]}
    reader = {"authorization": f"Bearer {issuer.token('ada', rooms=readable)}"}
    writer = {"authorization": f"Bearer {issuer.token('bob', rooms=[room])}"}
    assert status_of(lambda: begin(server=server)) == 401
    assert status_of(lambda: begin(server=server, headers={"authorization": "Bearer made.up.token"})) == 401
    assert status_of(lambda: begin(server=server, headers=reader, room="another")) == 403
    ada, bob = begin(server=server, headers=reader), begin(server=server, headers=writer)
    assert say(bob, "hello") == [1]
    assert [(event["username"], event["text"]) for event in ada.read(1)] == [("bob", "hello")]
    assert status_of(lambda: say(ada, "not mine to say")) == 403


@pytest.mark.parametrize("way", AUTHORIZED, ids=str, indirect=True)
def test_an_address_has_so_many_connections_and_no_more(way: Way, start: Start, begin: Begin, history: History) -> None:
    server = start(way, "--max-connections-per-address", "2")
    held = [begin(server=server) for _ in range(2)] if way.transport != "poll" else hold_polls(begin, server, 2)
    assert status_of(lambda: begin(server=server)) == 429
    for reader in held:
        reader.close()
    server.wait_for_connections(0)
    begin(server=server)
    assert server.refused("max_connections_per_address") >= 1


def hold_polls(begin: Begin, server: Server, count: int) -> list[Reader]:
    """Readers whose polls wait."""
    readers = [begin(server=server, timeout=3) for _ in range(count)]
    for reader in readers:
        Thread(target=_wait, args=(reader,), daemon=True).start()
    server.wait_for_connections(count)
    return readers


def _wait(reader: Reader) -> None:
    with suppress(Exception):  # it is closed meanwhile
        reader.next()
