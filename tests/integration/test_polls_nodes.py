"""Long-polls to whichever node a load balancer picks, on one Redis that may be away."""

from __future__ import annotations

import random
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from threading import Thread
from uuid import uuid4

import pytest

from tests.support.peer import Peer, command
from tests.support.poller import Poller
from tests.support.redis import RedisServer
from tests.support.server import FAST, Server, serve

MESSAGES = 300


@pytest.fixture(scope="module")
def redis(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisServer]:
    """One of its own: it hangs in a test."""
    with RedisServer(tmp_path_factory.mktemp("redis")) as server:
        yield server


@pytest.fixture(scope="module")
def nodes(redis: RedisServer, tmp_path_factory: pytest.TempPathFactory) -> Iterator[list[Server]]:
    folder: Path = tmp_path_factory.mktemp("nodes")
    options = (
        "--broker",
        redis.url,
        "--rate-limit",
        "0",
        "--redis-timeout-seconds",
        "0.5",
        "--redis-wait-seconds",
        "1",
    )
    with ExitStack() as stack:
        yield [stack.enter_context(serve(folder, FAST, *options)) for _ in range(2)]


@pytest.fixture
def room() -> str:
    return f"room {uuid4()}"


def talk(node: Server, room: str) -> None:
    """Says all messages, a few at a time."""
    with Peer(node.port) as ada:
        ada.join(room, "ada")
        for number in range(MESSAGES):
            ada.send(command(type="message", text=str(number), id=number))
            if number % 7 == 0:
                while ada.event("ok")["id"] != number:
                    pass
        while ada.event("ok")["id"] != MESSAGES - 1:
            pass


def test_polls_that_go_to_a_random_node_each_time_lose_and_double_nothing(nodes: list[Server], room: str) -> None:
    choice = random.Random(7)
    with ExitStack() as stack:
        pollers = [stack.enter_context(Poller(node, room)) for node in nodes]
        since = pollers[0].poll()["since"]
        talker = Thread(target=talk, args=(nodes[0], room))
        talker.start()
        seqs: list[int] = []
        while len(seqs) < MESSAGES:
            poller = choice.choice(pollers)
            poller.since = since
            answer = poller.poll(timeout=5)
            assert answer["recovered"] is True
            since = answer["since"]
            seqs += [event["seq"] for event in answer["events"]]
        talker.join()
    assert seqs == list(range(1, MESSAGES + 1))


def test_a_place_that_another_node_has_just_given_is_known_here(nodes: list[Server], room: str) -> None:
    with ExitStack() as stack:
        first, second = (stack.enter_context(Poller(node, room)) for node in nodes)
        first.poll()
        second.poll()
        ada = stack.enter_context(Peer(nodes[0].port))
        ada.join(room, "ada")
        for number in range(20):
            ada.send(command(type="message", text=str(number)))
            ada.event("message")
            second.since = first.poll(timeout=5)["since"]
            assert second.poll(timeout=0)["recovered"] is True


def test_who_polls_now_here_and_now_there_stays_in_the_room(nodes: list[Server], room: str) -> None:
    with ExitStack() as stack:
        ada = stack.enter_context(Peer(nodes[0].port))
        ada.join(room, "ada")
        pollers = [stack.enter_context(Poller(node, room)) for node in nodes]
        session = pollers[0].poll(username="bob", session="")["session"]
        assert ada.event()["username"] == "bob"
        for number in range(6):
            answer = pollers[number % 2].poll(timeout=0, username="bob", session=session)
            assert answer["session"] == session
        ada.send(command(type="message", text="still here?"))
        assert ada.event()["type"] == "message"  # and not that anybody left or joined
        ada.send(command(type="presence", room=room, id=1))
        assert ada.event("ok")["members"] == ["ada", "bob"]


def test_while_redis_hangs_who_waits_goes_on_waiting_and_who_asks_is_told(
    nodes: list[Server], redis: RedisServer, room: str
) -> None:
    with ExitStack() as stack:
        bob, cid = (stack.enter_context(Poller(nodes[0], room)) for _ in range(2))
        cid.since = bob.poll()["since"]
        waits = bob.begin(timeout=60)
        redis.pause()
        try:
            refused = cid.get(room=f"{room} 2", since="")
            assert (refused.status_code, refused.json()["code"]) == (503, "unavailable")
            assert refused.headers["retry-after"] == "1"
            known = cid.poll(timeout=0.2)  # of a room that is open here all is known
            assert (known["events"], known["since"]) == ([], bob.since)
        finally:
            redis.resume()
        while cid.http.get(f"{nodes[1].http}/readyz").status_code != 200:
            pass
        ada = stack.enter_context(Peer(nodes[1].port))
        ada.join(room, "ada")
        ada.send(command(type="message", text="back"))
        assert waits.result().json()["events"][0]["text"] == "back"
