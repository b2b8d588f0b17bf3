"""A server per way of hosting, a room of one's own for each test, and people to put into it."""

from collections.abc import Iterator
from contextlib import ExitStack
from typing import Protocol
from uuid import uuid4

import pytest

from tests.conftest import Servers
from tests.support.chatter import Chatter, chatting
from tests.support.server import HOSTS, OWN_HOSTS, Server


class Connect(Protocol):
    """Connects somebody; joins them to the test's room when there is a username."""

    def __call__(self, username: str = "", *subprotocols: str, deflate: bool = False) -> Chatter: ...


@pytest.fixture(params=HOSTS)
def server(request: pytest.FixtureRequest, servers: Servers) -> Server:
    return servers(request.param, "--rate-limit", "0")


@pytest.fixture(params=OWN_HOSTS)
def own_host(request: pytest.FixtureRequest) -> str:
    host: str = request.param
    return host


@pytest.fixture
def room() -> str:
    return f"room-{uuid4()}"


@pytest.fixture
def enter(server: Server, room: str) -> Iterator[Connect]:
    with ExitStack() as stack:

        def connect(username: str = "", *subprotocols: str, deflate: bool = False) -> Chatter:
            chatter = stack.enter_context(chatting(f"{server.ws}/ws", *subprotocols, deflate=deflate))
            if username:
                chatter.join(room, username)
            return chatter

        yield connect


@pytest.fixture
def pair(enter: Connect) -> tuple[Chatter, Chatter]:
    """Ada and Bob in one room, with nothing left to read."""
    ada, bob = enter("ada"), enter("bob")
    assert ada.next()["type"] == "user_joined"
    return ada, bob
