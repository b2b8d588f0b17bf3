"""The command line and who may come in: what is insecure refuses to start, unless it is asked for by name."""

from pathlib import Path

import pytest

from tests.hostile.test_handshake import KEY, UPGRADE, VERSION, status
from tests.integration.test_cli import refusal, serving
from tests.support.credentials import cookie_options, secret
from tests.support.server import FAST, ROOT, Server
from tests.support.terminal import Terminal

GUESSED = {
    "empty": ("", "there is none"),
    "newlines": ("\n\n", "there is none"),
    "short": ("not-so-long-a-secret", "20 bytes, and 32 are needed"),
    "one letter": ("a" * 64, "a word that repeats itself can be guessed"),
    "a word again and again": ("changeme" * 8, "a word that repeats itself can be guessed"),
}


def in_file(folder: Path, content: str) -> str:
    (folder / "secret").write_text(content)
    return str(folder / "secret")


def running(program: Terminal, address: str) -> Server:
    return Server(FAST, int(address.rpartition(":")[2]), program.process, ROOT)


def answer(server: Server, host: str = "127.0.0.1", *lines: bytes) -> int:
    """The status of a handshake under a name of the server."""
    head = (b"GET /ws HTTP/1.1", f"Host: {host}".encode(), *UPGRADE, VERSION, KEY, *lines)
    return status(server, b"\r\n".join((*head, b"", b"")))


# Row 45


@pytest.mark.parametrize(("content", "says"), GUESSED.values(), ids=GUESSED)
@pytest.mark.parametrize("way", ["jwt", "starlette", "django"])
def test_row_45_a_secret_that_can_be_guessed_is_refused(tmp_path: Path, way: str, content: str, says: str) -> None:
    name = "jwt-secret-file" if way == "jwt" else "cookie-secret-file"
    line = refusal("serve", "--port", "0", "--auth", way, f"--{name}", in_file(tmp_path, content))
    assert says in line
    assert not content.strip() or content.strip() not in line


def test_row_45_a_short_secret_starts_where_that_is_asked_for(tmp_path: Path) -> None:
    file = in_file(tmp_path, "short")
    with serving("--auth", "jwt", "--jwt-secret-file", file, "--insecure-secret") as (program, _, address):
        assert answer(running(program, address)) == 401


def test_row_45_a_secret_in_a_variable_is_not_quoted() -> None:
    line = refusal("serve", "--auth", "jwt", extra={"HUBBUB_JWT_SECRET": "quite-a-short-secret"})
    assert "32 are needed" in line
    assert "quite-a-short-secret" not in line


def test_row_45_a_secret_is_no_option() -> None:
    """Everybody on the machine sees the command lines of all processes."""
    assert "No such option" in refusal("serve", "--jwt-secret", "x" * 40)
    assert "No such option" in refusal("serve", "--cookie-secret", "x" * 40)


@pytest.mark.parametrize("framework", ["starlette", "django"])
def test_row_45_all_origins_with_cookies_are_refused(tmp_path: Path, framework: str) -> None:
    options = (*cookie_options(tmp_path, framework), "--origins", "*")
    assert "--insecure-origins" in refusal("serve", "--port", "0", *options)
    with serving(*options, "--insecure-origins") as (program, _, address):
        assert answer(running(program, address), "127.0.0.1", b"Origin: https://evil.example") == 401


def test_row_45_all_origins_with_an_application_s_own_way_are_refused(tmp_path: Path) -> None:
    """It may look at cookies."""
    source = (
        "from hubbub import Hubbub\napp = Hubbub()\n@app.authenticate\nasync def nobody(credentials): return None\n"
    )
    (tmp_path / "own.py").write_text(source)
    assert "--insecure-origins" in refusal("serve", "own:app", "--port", "0", "--origins", "*", folder=tmp_path)


def test_row_45_all_origins_without_cookies_start(tmp_path: Path) -> None:
    file = in_file(tmp_path, secret("of the command line"))
    with serving("--auth", "jwt", "--jwt-secret-file", file, "--origins", "*") as (program, _, address):
        assert answer(running(program, address), "127.0.0.1", b"Origin: https://any.example") == 401


@pytest.mark.parametrize("networks", ["*", "0.0.0.0/0", "::/0", "0.0.0.0/1 128.0.0.0/1", "::ffff:0:0/96"])
def test_row_45_proxies_that_are_everybody_are_refused(networks: str) -> None:
    assert "--insecure-proxies" in refusal("serve", "--port", "0", "--trusted-proxies", networks)


def test_row_45_proxies_that_are_everybody_start_where_that_is_asked_for() -> None:
    with serving("--trusted-proxies", "*", "--insecure-proxies") as (program, _, address):
        assert answer(running(program, address)) == 101


@pytest.mark.parametrize("host", ["0.0.0.0", "::"])
def test_row_45_others_are_not_served_before_it_is_chosen_who_may_come_in(host: str) -> None:
    line = refusal("serve", "--port", "0", "--host", host)
    assert line.startswith(f"host {host}: others can reach it, so choose who may come in: --auth")


def test_row_45_anonymous_by_choice_starts_under_every_name() -> None:
    with serving("--auth", "anonymous") as (program, _, address):
        server = running(program, address)
        assert [answer(server, host) for host in ("127.0.0.1", "chat.example", "chat.example:81")] == [101] * 3


OWN_NAMES = ("127.0.0.1", "127.0.0.1:8080", "localhost", "LOCALHOST:80", "app.localhost", "[::1]:8080", "127.8.9.1")
OTHER_NAMES = (
    "chat.example",
    "localhost.evil.example",
    "127.0.0.1.evil.example",
    "0.0.0.0",
    "192.168.1.7",
    "xlocalhost",
)


def test_row_45_by_default_only_this_machine_s_names_count() -> None:
    """A page elsewhere may have its own name point here, and be the same origin."""
    with serving() as (program, _, address):
        server = running(program, address)
        assert {host: answer(server, host) for host in OWN_NAMES} == dict.fromkeys(OWN_NAMES, 101)
        assert {host: answer(server, host) for host in OTHER_NAMES} == dict.fromkeys(OTHER_NAMES, 403)


MISFITS = {
    "two keys": ("--auth", "jwt", "--jwt-key-file", "a", "--jwks-url", "https://issuer.example"),
    "no key": ("--auth", "jwt"),
    "http": ("--auth", "jwt", "--jwks-url", "http://issuer.example/keys"),
    "no such way": ("--auth", "password"),
    "an origin that is none": ("--auth", "anonymous", "--origins", "https://*.example.com"),
    "a network that is none": ("--trusted-proxies", "10.0.0.1/8"),
    "no such file": ("--auth", "jwt", "--jwt-secret-file", "/no/such/file"),
}


@pytest.mark.parametrize("options", MISFITS.values(), ids=MISFITS)
def test_row_45_settings_that_do_not_fit_together_are_one_line(options: tuple[str, ...]) -> None:
    assert refusal("serve", "--port", "0", *options)
