"""Layer 1 of PROTOCOL.md, field by field, over every way of hosting the application."""

import json
from typing import Any

import pytest
from websockets.sync.client import ClientConnection, connect

from tests.conftest import Servers
from tests.support.server import HOSTS, Server

UUID = r"[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}"


@pytest.fixture(params=HOSTS)
def server(request: pytest.FixtureRequest, servers: Servers) -> Server:
    return servers(request.param, "--rate-limit", "0")


@pytest.fixture
def room(request: pytest.FixtureRequest) -> str:
    return f"room-{abs(hash(request.node.name))}"


def receive(client: ClientConnection) -> dict[str, Any]:
    event: dict[str, Any] = json.loads(client.recv(5))
    return event


def test_two_people_chat(server: Server, room: str) -> None:
    with connect(f"{server.ws}/ws") as ada, connect(f"{server.ws}/ws") as bob:
        assert receive(ada)["type"] == receive(bob)["type"] == "connected"
        ada.send(json.dumps({"type": "join", "room": room, "username": "ada"}))
        assert receive(ada)["members"] == ["ada"]
        bob.send(json.dumps({"type": "join", "room": room, "username": "bob"}))
        assert receive(bob)["members"] == ["ada", "bob"]
        assert receive(ada)["username"] == "bob"
        ada.send(json.dumps({"type": "message", "text": " hi "}))
        assert receive(ada) == (said := receive(bob))
        assert said["text"] == "hi"
