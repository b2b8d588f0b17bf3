"""SIGHUP: limits are read again while connections are open, and a mistake in them changes nothing."""

from __future__ import annotations

import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from hubbub.wire.handshake import encode_request
from tests.support.peer import Peer, command
from tests.support.server import OWN_HOSTS, STOP_SECONDS, Server, serve

KEY = b"AAAAAAAAAAAAAAAAAAAAAA=="
DONE = "the settings were read again; changed: "


@pytest.fixture(params=OWN_HOSTS)
def host(request: pytest.FixtureRequest) -> str:
    name: str = request.param
    return name


@contextmanager
def configured(folder: Path, host: str, settings: str) -> Iterator[tuple[Server, Path]]:
    """A server with these settings, and the file that they stand in."""
    file = folder / "hubbub.toml"
    file.write_text(settings)
    with serve(folder, host, "--config", str(file)) as server:
        yield server, file


def reload(server: Server, words: str) -> str:
    """Has the settings read again; what the log says of it, which has these words."""
    with Peer(server.port) as peer:  # the socket listens before the process hears signals
        assert peer.http(b"GET /healthz HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")[0] == 200
    seen = len(server.log)
    server.process.send_signal(signal.SIGHUP)
    deadline = time.monotonic() + STOP_SECONDS
    while words not in (said := server.log[seen:]):
        assert time.monotonic() < deadline, said
        time.sleep(0.02)
    return said


def asked(peer: Peer, count: int) -> list[str]:
    """What so many pings at once are answered with."""
    peer.send(b"".join(command(type="ping", id=number) for number in range(count)))
    return [next_reply(peer) for _ in range(count)]


def next_reply(peer: Peer) -> str:
    while (event := peer.event())["type"] not in ("ok", "error"):
        pass
    return str(event["type"])


def status(server: Server) -> int:
    """What one who would be a further connection is answered with; 0 for a WebSocket."""
    with Peer(server.port) as peer:
        peer.send(encode_request("127.0.0.1", "/ws", KEY))
        head = peer.socket.recv(4096)
    code = int(head.split(b" ")[1])
    return 0 if code == 101 else code


def test_a_new_rate_counts_for_open_connections_and_new_ones(tmp_path: Path, host: str) -> None:
    with configured(tmp_path, host, "[limits]\nrate_limit = 0\n") as (server, file), Peer(server.port) as ada:
        ada.join("lobby", "ada")
        assert asked(ada, 50) == ["ok"] * 50
        file.write_text("[limits]\nrate_limit = 0.001\nrate_burst = 5\n")
        assert f"{DONE}rate_limit, rate_burst\n" in reload(server, DONE)
        assert asked(ada, 7) == ["ok"] * 5 + ["error"] * 2
        with Peer(server.port) as bob:
            bob.open()
            assert asked(bob, 7) == ["ok"] * 5 + ["error"] * 2


def test_what_was_used_up_stays_used_up(tmp_path: Path, host: str) -> None:
    settings = "[limits]\nrate_limit = 0.001\nrate_burst = 5\n"
    with configured(tmp_path, host, settings) as (server, file), Peer(server.port) as ada:
        ada.open()
        assert asked(ada, 6) == ["ok"] * 5 + ["error"]
        file.write_text(settings + "max_rooms = 7\n")
        reload(server, DONE)
        assert asked(ada, 1) == ["error"]


def test_fewer_connections_are_let_in_and_nobody_is_put_out(tmp_path: Path, host: str) -> None:
    with configured(tmp_path, host, "") as (server, file), Peer(server.port) as ada, Peer(server.port) as bob:
        ada.open()
        bob.open()
        file.write_text("[limits]\nmax_connections = 1\n")
        reload(server, f"{DONE}max_connections")
        assert status(server) == 503
        assert asked(ada, 1) + asked(bob, 1) == ["ok", "ok"]
        file.write_text("[limits]\nmax_connections = 10\n")
        reload(server, f"{DONE}max_connections")
        assert status(server) == 0


def test_limits_of_http_count_on_connections_that_are_open(tmp_path: Path, host: str) -> None:
    request = f"GET /{'x' * 100} HTTP/1.1\r\nHost: 127.0.0.1\r\n".encode()
    with configured(tmp_path, host, "") as (server, file), Peer(server.port) as kept:
        kept.send(b"GET /healthz HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n")
        answer = b""
        while not answer.endswith(b"\r\n\r\nok\n"):
            answer += kept.socket.recv(65536)
        file.write_text("[limits]\nmax_url_bytes = 50\n")
        reload(server, DONE)
        assert kept.http(request + b"\r\n")[0] == 414


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ("[limits\n", "not TOML"),
        ("[limits]\nrate_limit = -1\n", "-1.0 is less than 0"),
        ("[limits]\nrate_limits = 1\n", "there is no setting limits.rate_limits"),
        (None, "No such file"),
    ],
    ids=["not TOML", "too small", "unknown", "gone"],
)
def test_a_mistake_is_one_line_and_changes_nothing(tmp_path: Path, settings: str | None, words: str) -> None:
    good = "[limits]\nrate_limit = 0.001\nrate_burst = 5\n"
    with configured(tmp_path, OWN_HOSTS[0], good) as (server, file), Peer(server.port) as ada:
        ada.open()
        file.unlink() if settings is None else file.write_text(settings)
        said = reload(server, "the old settings go on")
        assert words in said
        assert said.count("\n") == 1
        assert asked(ada, 6) == ["ok"] * 5 + ["error"]


def test_what_needs_a_restart_is_named_and_stays(tmp_path: Path) -> None:
    with configured(tmp_path, OWN_HOSTS[0], "") as (server, file):
        file.write_text("[heartbeat]\nheartbeat_seconds = 7\n[limits]\nmax_rooms = 3\n")
        for changed in ("max_rooms", "nothing"):
            said = reload(server, "need a restart")
            assert f"{DONE}{changed}\n" in said
            assert said.endswith("these settings have changed and need a restart: heartbeat_seconds\n")
        with Peer(server.port) as ada:
            ada.open()
            assert ada.event("connected")["heartbeat"] == 30_000


def test_options_still_beat_the_file(tmp_path: Path) -> None:
    file = tmp_path / "hubbub.toml"
    file.write_text("")
    with serve(tmp_path, OWN_HOSTS[0], "--config", str(file), "--max-rooms", "9") as server:
        file.write_text("[limits]\nmax_rooms = 3\n")
        assert f"{DONE}nothing\n" in reload(server, DONE)
