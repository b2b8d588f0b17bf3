"""examples/private_rooms.py, served as its first line says: who comes in, and into which rooms."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from hubbub.wire.handshake import encode_request
from tests.support.peer import Peer, command
from tests.support.server import Server, serve


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    folder: Path = tmp_path_factory.mktemp("example")
    with serve(folder, target="examples.private_rooms:app") as server:
        yield server


@pytest.fixture
def bob(server: Server) -> Iterator[Peer]:
    with Peer(server.port, headers=["Authorization: Bearer the-key-of-bob"]) as peer:
        peer.open()
        assert peer.event("connected")["user"] == {"id": "u-bob", "name": "Bob"}
        yield peer


def test_nobody_comes_in_without_a_key(server: Server) -> None:
    with Peer(server.port) as peer:
        status, _ = peer.http(encode_request("127.0.0.1", "/ws", b"AAAAAAAAAAAAAAAAAAAAAA=="))
    assert status == 401


def test_a_member_speaks_in_the_room(bob: Peer) -> None:
    bob.send(command(type="join", room="team-blue") + command(type="say", text="hi"))
    said = bob.event("said")
    assert (said["who"], said["text"], said["room"]) == ("Bob", "hi", "team-blue")


@pytest.mark.parametrize("room", ["team-red", "team-that-is-not"])
def test_others_do_not_get_into_it(bob: Peer, room: str) -> None:
    bob.send(command(type="join", room=room, id=1))
    assert bob.event("error") == {"type": "error", "message": "Not allowed", "code": "forbidden", "id": 1}
