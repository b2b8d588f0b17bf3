"""hubbub.client.sync: the client for scripts, against a real server."""

import threading
from uuid import uuid4

import pytest

from hubbub.client import Ended, Refused
from hubbub.client.sync import connect
from hubbub.errors import ConfigError
from tests.conftest import Servers
from tests.support.server import Server

SECONDS = 10


@pytest.fixture
def server(servers: Servers) -> Server:
    return servers()


@pytest.fixture
def room() -> str:
    return f"room-{uuid4()}"


def test_a_script_joins_says_and_hears(server: Server, room: str) -> None:
    with connect(server.http) as hub:
        lobby = hub.join(room, username="ada")
        assert lobby.info["members"] == ["ada"]
        assert lobby.send("hi")["seq"] == 1
        heard = []
        for event in lobby:
            heard.append(event["type"])
            if event["type"] == "message":
                break
        assert heard == ["room_info", "message"]
        assert lobby.ack()["seq"] == 1
        assert lobby.presence()["members"] == ["ada"]
        assert [event["text"] for event in lobby.history(limit=1)["messages"]] == ["hi"]
        assert lobby.receipts()["readers"] == [{"username": "ada", "seq": 1}]
        assert hub.ping()["timestamp"] > 0
        assert (hub.transport, hub.user) == ("websocket", None)


def test_a_script_is_seen_typing(server: Server, room: str) -> None:
    with connect(server.http) as hub, connect(server.http) as other:
        lobby, heard = hub.join(room, username="ada"), other.subscribe(room)
        lobby.typing()
        assert [heard.next()["type"], heard.next()["type"]] == ["room_info", "typing"]  # type: ignore[index]


def test_a_room_that_is_left_has_no_more_events(server: Server, room: str) -> None:
    with connect(server.http) as hub:
        news = hub.subscribe(room)
        news.leave()
        assert [event["type"] for event in news] == ["room_info"]


def test_who_waits_for_too_long_is_told(server: Server, room: str) -> None:
    with connect(server.http) as hub:
        news = hub.subscribe(room)
        assert news.next() == news.info
        with pytest.raises(TimeoutError):
            news.next(timeout_seconds=0.01)


def test_a_refusal_is_an_exception(server: Server) -> None:
    with connect(server.http) as hub, pytest.raises(Refused) as refused:
        hub.join("{none}", username="ada")
    assert refused.value.code == "invalid_name"


def test_what_cannot_connect_leaves_no_thread(server: Server) -> None:
    before = set(threading.enumerate())
    with pytest.raises(Ended), connect(f"{server.ws}/nowhere", transports=["websocket"]):
        pass
    with pytest.raises(ConfigError):
        connect("ftp://localhost")
    connect(server.http)  # which nobody enters
    left = set(threading.enumerate()) - before
    for thread in left:  # whoever is about to end does
        thread.join(SECONDS)
    assert not any(thread.is_alive() for thread in left)
