"""cli: `hubbub token` prints a token that counts; and no secret is seen where others look."""

from __future__ import annotations

import asyncio
import sys
import time
from pathlib import Path
from typing import Any

import click
import pytest

from hubbub.auth.api_keys import ApiKeys, keys_of
from hubbub.auth.tokens import tokens_of
from hubbub.cli import build, main
from hubbub.config import Auth, Setting, items_of, load, settings
from hubbub.errors import ConfigError, HandshakeError
from hubbub.hub.identity import VERBS, Credentials, Identity

SECRET = "correct-horse-battery-staple-and-more"
SECRETS = [setting for setting in settings() if setting.secret]


class Program:
    """The program in this process: what it prints, or its one line about a mistake."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
        self._monkeypatch = monkeypatch
        self._capsys = capsys

    def _run(self, *arguments: str) -> tuple[object, str, str]:
        self._monkeypatch.setattr(sys, "argv", ["hubbub", *arguments])
        with pytest.raises(SystemExit) as ended:
            main()
        return ended.value.code, *self._capsys.readouterr()

    def set(self, **variables: str) -> None:
        for name, value in variables.items():
            self._monkeypatch.setenv(name, value)

    def token(self, *arguments: str) -> str:
        code, output, errors = self._run("token", *arguments)
        assert (code, errors, output.count("\n")) == (0, "", 1)
        return output.strip()

    def mistake(self, *arguments: str) -> str:
        code, output, line = self._run(*arguments)
        assert (code, output, line.count("\n"), line.startswith("hubbub: ")) == (2, "", 1, True)
        return line.removeprefix("hubbub: ").strip()


@pytest.fixture
def bare(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Program:
    """Without a secret."""
    return Program(monkeypatch, capsys)


@pytest.fixture
def program(bare: Program) -> Program:
    bare.set(HUBBUB_JWT_SECRET=SECRET)
    return bare


def whose(token: str, **settings: Any) -> Identity:
    """Whom a server with this secret takes its bearer for."""

    async def ask() -> Identity | None:
        auth = Auth(auth="jwt", jwt_secret=SECRET, **settings)
        return await tokens_of(auth, time.time).authenticate(Credentials(token=token))

    identity = asyncio.run(ask())
    assert identity is not None
    return identity


# A token


def test_a_token_counts_for_its_user_with_everything_allowed(program: Program) -> None:
    identity = whose(program.token("--user", "u1"))
    assert (identity.user, identity.name, identity.grants) == ("u1", "u1", None)
    assert len(identity.token) == 36


def test_it_has_the_name_that_others_are_shown(program: Program) -> None:
    assert whose(program.token("--user", "u1", "--name", "Ada L.")).name == "Ada L."


def test_it_is_for_the_rooms_that_are_given(program: Program) -> None:
    grants = whose(program.token("--user", "u1", "--rooms", "team-*", "--rooms", "lobby")).grants
    assert grants is not None
    assert [grants.allow("join", room) for room in ("team-1", "lobby", "attic")] == [True, True, False]
    assert all(grants.allow(verb, "lobby") for verb in VERBS)


def test_it_counts_an_hour_or_as_long_as_is_said(program: Program) -> None:
    leeway = Auth().jwt_leeway_seconds
    for arguments, seconds in (((), 3600), (("--seconds", "60"), 60)):
        identity = whose(program.token("--user", "u1", *arguments))
        assert identity.expires is not None
        assert identity.expires - identity.issued - leeway == pytest.approx(seconds, abs=1)


def test_every_token_has_an_id_of_its_own(program: Program) -> None:
    assert len({whose(program.token("--user", "u1")).token for _ in range(3)}) == 3


def test_it_is_from_the_first_issuer_and_for_the_audience_of_the_settings(program: Program) -> None:
    token = program.token("--user", "u1", "--jwt-issuer", "https://a,https://b", "--jwt-audience", "chat")
    assert whose(token, jwt_issuer="https://a", jwt_audience="chat").user == "u1"
    with pytest.raises(HandshakeError, match="somebody else"):
        whose(token, jwt_issuer="https://b", jwt_audience="chat")


def test_its_rooms_stand_in_the_claim_of_the_settings(program: Program) -> None:
    program.set(HUBBUB_ROOMS_CLAIM="groups")
    token = program.token("--user", "u1", "--rooms", "lobby")
    assert whose(token, rooms_claim="groups").grants is not None
    assert whose(token).grants is None


def test_the_secret_may_stand_in_a_file_or_in_the_file_of_settings(bare: Program, tmp_path: Path) -> None:
    secret, config = tmp_path / "secret", tmp_path / "hubbub.toml"
    secret.write_text(SECRET + "\n")
    config.write_text(f'[auth]\njwt_secret = "{SECRET}"\n')
    assert whose(bare.token("--user", "u1", "--jwt-secret-file", str(secret))).user == "u1"
    assert whose(bare.token("--user", "u1", "--config", str(config))).user == "u1"


# Mistakes are one line


def test_without_a_secret_it_says_where_to_give_it(bare: Program) -> None:
    assert bare.mistake("token", "--user", "u1") == "jwt_secret: there is none; give it or jwt_secret_file"


def test_a_secret_that_can_be_guessed_is_refused_unless_that_is_chosen(bare: Program) -> None:
    bare.set(HUBBUB_JWT_SECRET="hunter2")
    line = bare.mistake("token", "--user", "u1")
    assert (line.startswith("jwt_secret: 7 bytes, and 32 are needed"), "hunter2" in line) == (True, False)


@pytest.mark.filterwarnings("ignore:The HMAC key is 7 bytes long")
def test_it_may_be_chosen(bare: Program) -> None:
    bare.set(HUBBUB_JWT_SECRET="hunter2")
    assert bare.token("--user", "u1", "--insecure-secret").count(".") == 2


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        ((), "--user"),
        (("--user", "u1", "--seconds", "0"), "--seconds"),
        (("--user", "u1", "--seconds", "soon"), "--seconds"),
        (("--user", "u1", "--jwt-secret-file", "/nowhere"), "both given"),
        (("--user", "u1", "--config", "/nowhere"), "/nowhere: No such file"),
        (("--user", "u1", "--port", "1"), "--port"),
        (("--user", "u1", "more"), "more"),
    ],
)
def test_a_mistake_is_one_line_that_names_it(program: Program, arguments: tuple[str, ...], says: str) -> None:
    line = program.mistake("token", *arguments)
    assert (says in line, SECRET in line) == (True, False)


@pytest.mark.parametrize("arguments", [("",), ("\u202e",), ("u" * 256,), ("u", "--rooms", "")])
def test_a_token_that_no_server_would_take_is_not_made(program: Program, arguments: tuple[str, ...]) -> None:
    assert "no server would take this token" in program.mistake("token", "--user", *arguments)


@pytest.mark.parametrize("seconds", ["nan", "inf", "1e300"])
def test_an_end_that_is_none_is_refused(program: Program, seconds: str) -> None:
    assert "--seconds" in program.mistake("token", "--user", "u1", "--seconds", seconds)


# Secrets


def test_these_are_the_secrets() -> None:
    assert [setting.name for setting in SECRETS] == ["redis_password", "jwt_secret", "cookie_secret"]


@pytest.mark.parametrize("setting", SECRETS)
@pytest.mark.parametrize("command", ["serve", "token"])
def test_a_secret_has_no_option(program: Program, command: str, setting: Setting) -> None:
    line = program.mistake(command, f"{setting.option}={SECRET}x")
    assert ("No such option" in line, SECRET in line) == (True, False)
    params = build().commands[command].params
    assert setting.option not in {name for param in params for name in param.opts + param.secondary_opts}


@pytest.mark.parametrize("setting", SECRETS)
def test_no_help_shows_a_secret(setting: Setting, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(setting.variable, SECRET)
    for name, command in build().commands.items():
        assert SECRET not in command.get_help(click.Context(command, info_name=name))


@pytest.mark.parametrize("setting", SECRETS)
def test_no_representation_of_the_settings_holds_one(setting: Setting) -> None:
    config = load(environ={setting.variable: SECRET})
    assert getattr(getattr(config, setting.group), setting.name) == SECRET
    assert [
        shown for shown in (repr(config), str(config), f"{getattr(config, setting.group)}") if SECRET in shown
    ] == []


def test_no_representation_of_the_settings_holds_the_password_of_a_url() -> None:
    config = load(environ={"HUBBUB_BROKER": f"redis://:{SECRET}@localhost"})
    assert [shown for shown in (repr(config), str(config), f"{config.server}") if SECRET in shown] == []


@pytest.mark.parametrize("setting", SECRETS)
@pytest.mark.parametrize(
    "text",
    ["[auth]\n{} = ['%s']\n", "[auth]\n{}.x = '%s'\n", "{} = '%s'\n", "[auth]\n{}x = '%s'\n", "[auth]\n{} = %s\n"],
)
def test_no_mistake_in_the_file_shows_one(tmp_path: Path, setting: Setting, text: str) -> None:
    file = tmp_path / "hubbub.toml"
    file.write_text(text.format(setting.name) % SECRET)
    with pytest.raises(ConfigError) as caught:
        load(environ={}, file=file)
    assert SECRET not in str(caught.value)


def test_a_number_that_stands_for_a_secret_is_not_shown(tmp_path: Path) -> None:
    file = tmp_path / "hubbub.toml"
    file.write_text("[auth]\njwt_secret = 123454321\n")
    with pytest.raises(ConfigError) as caught:
        load(environ={}, file=file)
    assert str(caught.value) == f"{file}: auth.jwt_secret: its value is not a text"


def test_secrets_are_empty_by_default() -> None:
    assert {setting.default for setting in SECRETS} == {""}


# Lists


@pytest.mark.parametrize(
    ("text", "items"),
    [
        ("", []),
        (" , ,", []),
        ("a", ["a"]),
        ("a,b", ["a", "b"]),
        ("a b", ["a", "b"]),
        (" a ,  b,\tc\n", ["a", "b", "c"]),
    ],
)
def test_a_list_has_commas_or_spaces_between_its_items(text: str, items: list[str]) -> None:
    assert items_of(text) == items


def test_key_prints_a_key_and_the_entry_that_lets_it_in(bare: Program) -> None:
    code, output, explained = bare._run("key", "ops")
    key, entry = output.split()
    assert (code, explained.count("\n"), key in explained) == (0, 1, False)
    ways = ApiKeys(keys_of(Auth(api_keys=entry)))
    identity = asyncio.run(ways.authenticate(Credentials(token=key)))
    assert identity is not None
    assert (identity.user, identity.operator) == ("key:ops", True)


def test_a_key_has_a_name_that_can_be_written_down(bare: Program) -> None:
    assert "a key's name" in bare.mistake("key", "a b")
