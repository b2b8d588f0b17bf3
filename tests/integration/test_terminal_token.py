"""`hubbub token` and `hubbub chat` with what it prints: into a server that wants to know who one is."""

import secrets
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.server import FAST, Server, serve
from tests.support.terminal import HUBBUB, run, terminal


@pytest.fixture(scope="module")
def secret(tmp_path_factory: pytest.TempPathFactory) -> Path:
    file = tmp_path_factory.mktemp("secret") / "jwt"
    file.write_text(secrets.token_urlsafe(32))
    return file


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory, secret: Path) -> Iterator[Server]:
    options = ("--auth", "jwt", "--jwt-secret-file", str(secret))
    with serve(tmp_path_factory.mktemp("server"), FAST, *options) as server:
        yield server


def mint(secret: Path, *options: str) -> str:
    done = run("token", "--jwt-secret-file", str(secret), *options)
    assert (done.returncode, done.stderr) == (0, "")
    return done.stdout.strip()


def test_a_token_that_is_printed_lets_somebody_in_under_its_own_name(server: Server, secret: Path) -> None:
    extra = {"HUBBUB_TOKEN": mint(secret, "--user", "u1", "--name", "Ada")}
    with terminal(*HUBBUB, "chat", server.http, "lobby", "--name", "bob", extra=extra) as ada:
        assert ada.line() == "* lobby: 1 here: Ada"


def test_a_token_may_stand_in_a_file(server: Server, secret: Path, tmp_path: Path) -> None:
    (tmp_path / "token").write_text(mint(secret, "--user", "u2") + "\n")
    with terminal(*HUBBUB, "chat", server.http, "file", "--token-file", str(tmp_path / "token")) as ada:
        assert ada.line() == "* file: 1 here: u2"


def test_a_room_that_the_token_does_not_allow_is_said_in_one_line(server: Server, secret: Path) -> None:
    extra = {"HUBBUB_TOKEN": mint(secret, "--user", "u1", "--rooms", "team-*")}
    done = run("chat", server.http, "lobby", extra=extra)
    assert (done.returncode, done.stderr) == (2, "hubbub: Not allowed\n")


def test_without_a_token_it_is_said_in_one_line(server: Server) -> None:
    done = run("chat", server.http, "lobby")
    assert (done.returncode, done.stderr) == (2, "hubbub: the server refused: 401 Unauthorized\n")


@pytest.mark.parametrize("content", [b"two words", b"\xff\xfe", b"line\r\nX-Header: 1"])
def test_a_file_that_holds_no_token_is_said_in_one_line(server: Server, tmp_path: Path, content: bytes) -> None:
    (tmp_path / "token").write_bytes(content)
    done = run("chat", server.http, "lobby", "--token-file", str(tmp_path / "token"))
    assert done.returncode == 2
    assert done.stderr.count("\n") == 1


def test_a_short_secret_mints_nothing(tmp_path: Path) -> None:
    (tmp_path / "jwt").write_text("short")
    done = run("token", "--jwt-secret-file", str(tmp_path / "jwt"), "--user", "u1")
    assert (done.returncode, done.stdout) == (2, "")
    assert "--insecure-secret" in done.stderr


def test_a_token_needs_a_user(secret: Path) -> None:
    assert run("token", "--jwt-secret-file", str(secret)).returncode == 2
