"""Who talks to a server in a test is recorded: a rule that the server breaks is found without the test's doing."""

import json
from collections.abc import Iterator
from threading import Thread

import pytest
from websockets.sync.server import ServerConnection, serve

from tests.support import recording
from tests.support.chatter import chatting
from tests.support.history import History
from tests.support.peer import Peer, command

INFO = {"type": "room_info", "room": "lobby", "members": [], "count": 0, "epoch": "e", "seq": 0}


def skip_a_number(connection: ServerConnection) -> None:
    """A server that loses the first message of the lobby."""
    if connection.request is not None and connection.request.path == "/ws":
        connection.send(json.dumps({"type": "connected", "clientId": "c"}))
    connection.recv()
    connection.send(json.dumps(INFO))
    connection.send(json.dumps({"type": "message", "room": "lobby", "text": "hi", "messageId": "m", "seq": 2}))
    connection.recv()


@pytest.fixture
def port() -> Iterator[int]:
    with serve(skip_a_number, "127.0.0.1", 0) as server:
        thread = Thread(target=server.serve_forever)
        thread.start()
        yield server.socket.getsockname()[1]
        server.shutdown()
        thread.join()


@pytest.fixture
def recorded() -> History:
    """Instead of the test's own history, which must be without violations."""
    instead = History()
    recording.begin(instead)
    return instead


def test_a_chatter_finds_it(port: int, recorded: History) -> None:
    with chatting(f"ws://127.0.0.1:{port}/ws") as ada:
        ada.join("lobby", "ada")
        assert recorded.check() == []
        ada.next()
    assert recorded.check() == ["connection 1, room 'lobby', seq 2: came after 0: 1 are missing"]


def test_a_peer_finds_it(port: int, recorded: History) -> None:
    with Peer(port) as ada:
        ada.join("lobby", "ada")
        assert recorded.check() == []
        ada.event("message")
        ada.send(command(type="ping"))
    assert recorded.check() == ["connection 1, room 'lobby', seq 2: came after 0: 1 are missing"]


def test_who_speaks_another_protocol_is_not_judged(port: int, recorded: History) -> None:
    with Peer(port) as ada:
        ada.open("/other")
        ada.send(command(type="join", room="lobby", username="ada"))
        assert ada.event("message")["seq"] == 2
        ada.send(command(type="ping"))
    assert recorded.check() == []
