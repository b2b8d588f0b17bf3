"""Every limit: who meets it is answered with its name, it is counted, and whoever keeps to it is served."""

from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import fields
from uuid import uuid4

import pytest

from hubbub.config import Limits
from tests.hostile.limited import ROWS, Row, Scene
from tests.hostile.witness import HonestPeer
from tests.support.credentials import Issuer, bearer, secret_issuer
from tests.support.peer import command
from tests.support.server import Server


@pytest.fixture(scope="session")
def issuer(tmp_path_factory: pytest.TempPathFactory) -> Issuer:
    return secret_issuer(tmp_path_factory.mktemp("issuer"))


@pytest.fixture(params=ROWS)
def limit(request: pytest.FixtureRequest) -> str:
    """The setting's name."""
    name: str = request.param
    return name


@pytest.fixture
def row(limit: str) -> Row:
    return ROWS[limit]


@pytest.fixture
def options(row: Row, issuer: Issuer) -> tuple[str, ...]:
    settings = [word for name, value in row.settings.items() for word in (f"--{name.replace('_', '-')}", f"{value:g}")]
    return (*settings, *(issuer.options if row.users else ()))


@pytest.fixture
def headers(row: Row, issuer: Issuer) -> tuple[str, ...]:
    return (bearer(issuer.token(f"u-{uuid4()}")),) if row.users else ()


@pytest.fixture
def witness() -> None:
    """Nobody: who talks on is more than some of the limits here allow."""


@pytest.fixture
def scene(server: Server, headers: tuple[str, ...]) -> Iterator[Scene]:
    with ExitStack() as stack:
        yield Scene(server, headers, stack)
    server.wait_for_connections(0)


def test_every_limit_is_in_the_table() -> None:
    assert list(ROWS) == [field.name for field in fields(Limits)]


def test_a_limit_that_is_met_is_named_and_counted(scene: Scene, limit: str, row: Row) -> None:
    name = row.counted or limit
    before = scene.server.refused(name)
    answer = row.meet(scene)
    inside = answer.rpartition("(")[2].partition(")")[0]
    assert (name in inside.split(", ")) is row.answered, answer
    assert scene.server.refused(name) > before


def test_whoever_keeps_to_the_limits_is_served(scene: Scene, row: Row, issuer: Issuer) -> None:
    """Also next to somebody who does not, and nothing is counted for them."""
    row.meet(scene)
    scene.stack.close()
    scene.server.wait_for_connections(0)
    counted = scene.server.counters()["refused"]
    headers = [bearer(issuer.token(f"u-{uuid4()}"))] if row.users else []
    with HonestPeer(scene.server.port, headers=headers, source="127.0.2.1") as honest:
        assert honest.join(scene.room, "honest")["type"] == "room_info"
        honest.send(command(type="message", text="still here", id=1))
        assert honest.event("ok")["id"] == 1
    assert scene.server.counters()["refused"] == counted
