"""A server per way of hosting, and what must hold after every attack: it lives, says nothing wrong, and people chat."""

import resource
from collections.abc import Iterator
from uuid import uuid4

import pytest

from tests.conftest import Servers
from tests.hostile.witness import Witness
from tests.support.server import OWN_HOSTS, Server

OPEN_FILES = 16_384


@pytest.fixture(scope="session", autouse=True)
def open_files() -> None:
    """Room for thousands of sockets, here and in the servers that are started from here."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    allowed = OPEN_FILES if hard == resource.RLIM_INFINITY else min(OPEN_FILES, hard)
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, allowed), hard))


@pytest.fixture(params=OWN_HOSTS)
def host(request: pytest.FixtureRequest) -> str:
    chosen: str = request.param
    return chosen


@pytest.fixture
def options() -> tuple[str, ...]:
    """The server's settings; tests replace it by parametrizing `options`."""
    return ()


@pytest.fixture
def headers() -> tuple[str, ...]:
    """What lets an honest client in; tests of credentials replace it."""
    return ()


@pytest.fixture
def server(open_files: None, servers: Servers, host: str, options: tuple[str, ...]) -> Server:
    return servers(host, *options)


@pytest.fixture
def room() -> str:
    return f"room-{uuid4()}"


@pytest.fixture(autouse=True)
def witness(server: Server, headers: tuple[str, ...]) -> Iterator[Witness]:
    """Somebody honest, connected before the attack, whose every command is answered during it."""
    logged = len(server.log)
    with Witness(server.port, headers) as witness:
        yield witness
        witness.chats_with_a_newcomer()
    assert server.process.poll() is None
    assert "Traceback" not in server.log[logged:]
    assert all(line.isprintable() for line in server.log[logged:].split("\n"))
