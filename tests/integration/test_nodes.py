"""Two servers on one Redis are one to their clients: what is said, who is here, and where somebody comes back."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from uuid import uuid4

import pytest

from tests.support.listener import SSE, listening
from tests.support.peer import Peer, command
from tests.support.redis import RedisServer
from tests.support.server import CHAT, FAST, Server, serve


@pytest.fixture(scope="module")
def nodes(redis_server: RedisServer, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Server, Server]]:
    folder: Path = tmp_path_factory.mktemp("nodes")
    options = ("--broker", redis_server.url, "--redis-prefix", f"test-{uuid4()}:")
    with ExitStack() as stack:
        first, second = (stack.enter_context(serve(folder, FAST, *options, target=CHAT)) for _ in range(2))
        yield first, second


@pytest.fixture
def peers() -> Iterator[ExitStack]:
    with ExitStack() as stack:
        yield stack


@pytest.fixture
def room() -> str:
    """A room of the test's own: those of the others may not have been left yet."""
    return f"room {uuid4()}"


def joined(
    peers: ExitStack, node: Server, room: str, name: str, session: str | None = None
) -> tuple[Peer, dict[str, object]]:
    """Somebody in a room, with the first event."""
    peer = peers.enter_context(Peer(node.port))
    peer.open("/ws" if session is None else f"/ws?session={session}")
    connected = peer.event("connected")
    peer.send(command(type="join", room=room, username=name))
    assert peer.event("room_info")["room"] == room
    return peer, connected


def test_what_is_said_on_one_is_heard_on_the_other(nodes: tuple[Server, Server], peers: ExitStack, room: str) -> None:
    ada, _ = joined(peers, nodes[0], room, "ada")
    bob, _ = joined(peers, nodes[1], room, "bob")
    assert ada.event("user_joined")["memberCount"] == 2
    ada.send(command(type="typing"))
    ada.send(command(type="message", text="hello"))
    assert bob.event("typing")["username"] == "ada"
    said = bob.event("message")
    assert (said["text"], said["seq"]) == ("hello", ada.event("message")["seq"])


def test_a_stream_goes_on_on_the_other_where_it_was(nodes: tuple[Server, Server], peers: ExitStack, room: str) -> None:
    ada, _ = joined(peers, nodes[0], room, "ada")
    with listening(nodes[1].http + SSE, room, username="bob", session="") as bob:
        assert ada.event("user_joined")["username"] == "bob"
        ada.send(command(type="message", text="one"))
        assert bob.texts(1) == ["one"]
    ada.send(command(type="message", text="two"))
    session = bob.connected["session"]
    with listening(nodes[0].http + SSE, room, username="bob", session=session, last_event_id=bob.last_id) as again:
        assert (again.texts(1), again.infos[room]["recovered"]) == (["two"], True)
        ada.send(command(type="message", text="three"))
        assert [ada.event("message")["text"] for _ in range(3)] == ["one", "two", "three"]
    kinds = [json.loads(payload)["type"] for _, payload in ada.received]
    assert (kinds.count("user_joined"), kinds.count("user_left")) == (1, 0)


def test_both_count_the_same_members(nodes: tuple[Server, Server], peers: ExitStack, room: str) -> None:
    ada, _ = joined(peers, nodes[0], room, "ada")
    bob, _ = joined(peers, nodes[1], room, "bob")
    ada.event("user_joined")
    lists = []
    for peer in (ada, bob):
        peer.send(command(type="presence", room=room, id=1))
        answer = peer.event("ok")
        lists.append((answer["members"], answer["count"]))
    assert lists[0] == lists[1] == (["ada", "bob"], 2)


def test_who_is_lost_on_one_comes_back_on_the_other_and_nobody_notices(
    nodes: tuple[Server, Server], peers: ExitStack, room: str
) -> None:
    ada, connected = joined(peers, nodes[0], room, "ada", session="")
    bob, _ = joined(peers, nodes[1], room, "bob")
    ada.send(command(type="message", text="before", id=1))
    place = {"epoch": epoch_of(bob, room), "seq": ada.event("ok")["seq"]}
    ada.reset()
    bob.send(command(type="message", text="missed"))
    assert [bob.event("message")["text"] for _ in range(2)] == ["before", "missed"]
    again = peers.enter_context(Peer(nodes[1].port))
    again.open(f"/ws?session={connected['session']}")
    assert again.event("connected")["session"] == connected["session"]
    again.send(command(type="resume", session=connected["session"], rooms={room: place}, id=2))
    info = again.event("room_info")
    assert (info["recovered"], [event["text"] for event in info["messages"]]) == (True, ["missed"])
    assert again.event("ok")["missing"] == []
    again.send(command(type="message", text="back"))
    assert bob.event()["type"] == "message"  # and not that anybody left or joined


def epoch_of(bob: Peer, room: str) -> str:
    bob.send(command(type="history", room=room, limit=1, id=9))
    epoch: str = bob.event("ok")["epoch"]
    return epoch
