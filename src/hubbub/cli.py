"""The command line. A user's mistake is one line and exit code 2, never a traceback."""

from __future__ import annotations

import asyncio
import importlib
import logging
import os
import sys
import time
from collections.abc import Collection
from pathlib import Path
from typing import Any

import click

from hubbub import __version__, workers
from hubbub.app import Hubbub
from hubbub.config import MOST, TOKEN_VARIABLE, Config, items_of, load, settings
from hubbub.errors import BrokerError, ConfigError, HandshakeError, HubbubError
from hubbub.node import Node, RandomIds
from hubbub.server import check_local, event_loop, listen, secure, serve, within_open_files

DEFAULT = "hubbub.apps.default:app"

LINES_A_SECOND = 20
TOKEN_SETTINGS = ("jwt_secret_file", "jwt_issuer", "jwt_audience", "rooms_claim", "insecure_secret")


class OneLine(logging.Formatter):
    """One line for each record, tracebacks included: what a client sent cannot forge another."""

    def format(self, record: logging.LogRecord) -> str:
        line = super().format(record)
        return "".join(character if character.isprintable() else repr(character)[1:-1] for character in line)


class Throttle(logging.Filter):
    """Lets so many lines a second through: what a client can cause must not fill the disk."""

    def __init__(self) -> None:
        super().__init__()
        self._second = 0
        self._lines = 0

    def filter(self, record: logging.LogRecord) -> bool:
        second = int(record.created)
        if second != self._second:
            self._second, self._lines = second, 0
        self._lines += 1
        return self._lines <= LINES_A_SECOND


def config_option() -> click.Option:
    """Where more settings stand."""
    return click.Option(
        ["config_file", "--config"],
        type=click.Path(path_type=Path),
        envvar="HUBBUB_CONFIG",
        help="a TOML file; options and HUBBUB_* variables beat it [HUBBUB_CONFIG]",
    )


def _setting_options(names: Collection[str] = ()) -> list[click.Parameter]:
    """An option for every setting there is, or for those of these names."""
    options: list[click.Parameter] = []
    for setting in settings():
        if names and setting.name not in names:
            continue
        if setting.secret:  # everybody on the machine sees the command lines of all processes
            continue
        flag = f"{setting.option}/--no-{setting.option[2:]}" if setting.type is bool else setting.option
        text = f"{setting.help} [{setting.variable}; default {setting.default}]"
        options.append(click.Option([setting.name, flag], type=setting.type, default=None, help=text))
    return options


def load_app(target: str) -> Hubbub:
    """The application that `module:name` names.

    Raises:
        ConfigError: there is none; says where the search ended.
    """
    module_name, separator, name = target.partition(":")
    if not separator or not module_name or not name:
        raise ConfigError(f"{target!r} is not of the form module:app")
    sys.path.insert(0, str(Path.cwd()))
    try:
        module = importlib.import_module(module_name)
    except (Exception, SystemExit) as error:  # an import runs the user's code: whatever it raises, one line says so
        raise ConfigError(f"cannot import {module_name}: {type(error).__name__}: {error}") from error
    app = getattr(module, name, None)
    if not isinstance(app, Hubbub):
        what = "has no" if app is None else "has another kind of"
        raise ConfigError(f"module {module_name} {what} {name!r}; it should be a Hubbub()")
    return app


def _serve(app: str, config_file: Path | None, **options: Any) -> int:
    inherited = workers.inherited()
    config = load(options, file=config_file)
    _configure_logging(several=config.server.workers > 1)
    config = within_open_files(config)
    served = load_app(app)
    asgi = Node(served, config)
    asgi.check()
    event_loop(config.server.loop)
    tls = secure(config)
    listener = inherited or listen(config)
    try:
        if not config.auth.auth and served.authenticator is None:
            check_local(listener)
        asgi.open()
    except HubbubError:
        listener.close()
        raise
    if inherited is None:
        click.echo(f"Hubbub serves {app} at {_url(config, listener.getsockname())}")
        if config.server.workers > 1:
            return workers.supervise(listener, config.server.workers)
    serve(asgi, config, listener, tls, lambda: within_open_files(load(options, file=config_file)))
    return 0


def _url(config: Config, address: tuple[Any, ...]) -> str:
    host = f"[{config.server.host}]" if ":" in config.server.host else config.server.host
    return f"{'https' if config.server.tls_cert else 'http'}://{host}:{address[1]}"


def _configure_logging(*, several: bool) -> None:
    handler = logging.StreamHandler(sys.stderr)
    process = " %(process)d" if several else ""
    handler.setFormatter(OneLine(f"%(asctime)s{process} %(levelname)s %(name)s %(message)s"))
    handler.addFilter(Throttle())
    logging.basicConfig(handlers=[handler])
    logging.getLogger("hubbub").setLevel(logging.INFO)
    logging.getLogger("uvicorn").setLevel(logging.ERROR)  # it warns of every malformed request


def _token(
    user: str, name: str, rooms: tuple[str, ...], seconds: int, config_file: Path | None, **options: Any
) -> None:
    from hubbub.auth.claims import identity_of  # only this command needs these
    from hubbub.auth.secrets import read_secret
    from hubbub.auth.tokens import mint

    auth = load(options, file=config_file).auth
    secret = read_secret(auth.jwt_secret, auth.jwt_secret_file, "jwt_secret", auth.insecure_secret)
    issuer = (items_of(auth.jwt_issuer) or [""])[0]
    try:
        identity_of({"sub": user, **({auth.rooms_claim: list(rooms)} if rooms else {})}, auth, time.time)
    except HandshakeError as error:
        raise ConfigError(f"--user or --rooms: no server would take this token: {error}") from None
    new_id = RandomIds().take
    click.echo(
        mint(secret, user, name, rooms or None, seconds, time.time, new_id, issuer, auth.jwt_audience, auth.rooms_claim)
    )


def _key(name: str) -> None:
    from hubbub.auth.api_keys import make_key  # only this command needs it

    key, entry = make_key(name)
    click.echo(f"{key}\n{entry}")
    click.echo("the key, for whoever calls; and its entry, for api_keys or a line of api_keys_file", err=True)


def _chat(url: str, room: str, username: str, token_file: Path | None) -> None:
    from hubbub.terminal import chat  # only this command needs it

    token = os.environ.get(TOKEN_VARIABLE, "")
    if token_file is not None:
        try:
            token = token_file.read_text().strip()
        except (OSError, UnicodeDecodeError) as error:
            raise ConfigError(f"{token_file}: {getattr(error, 'strerror', None) or 'not a text'}") from None
    asyncio.run(chat(url, room, username, token))


def build() -> click.Group:
    """The command line as click sees it."""
    serve_command = click.Command(
        "serve",
        callback=_serve,
        help=f"Serve an application: module:name of a Hubbub(), chat and dashboard ({DEFAULT}) by default.",
        params=[
            click.Argument(["app"], default=DEFAULT),
            config_option(),
            *_setting_options(),
        ],
    )
    chat_command = click.Command(
        "chat",
        callback=_chat,
        help="Join a room from the terminal: type to talk, Ctrl+D to leave.",
        params=[
            click.Argument(["url"]),
            click.Argument(["room"]),
            click.Option(["username", "--name"], envvar="USER", default="guest", help="who you are [USER]"),
            click.Option(
                ["token_file", "--token-file"],
                type=click.Path(path_type=Path),
                help=f"holds the token of `hubbub token`; or give it in {TOKEN_VARIABLE}",
            ),
        ],
    )
    token_command = click.Command(
        "token",
        callback=_token,
        help="Mint a token to develop with, signed with jwt_secret (HS256).",
        params=[
            click.Option(["user", "--user"], required=True, help="the user's id (`sub`)"),
            click.Option(["name", "--name"], default="", help="what others are shown; the id by default"),
            click.Option(["rooms", "--rooms"], multiple=True, help="pattern of rooms; several times for several"),
            click.Option(
                ["seconds", "--seconds"], type=click.IntRange(1, MOST), default=3600, help="how long it counts [3600]"
            ),
            config_option(),
            *_setting_options(TOKEN_SETTINGS),
        ],
    )
    key_command = click.Command(
        "key",
        callback=_key,
        help="Make an API key: prints the key, and the entry that lets it in.",
        params=[click.Argument(["name"])],
    )
    commands = [serve_command, chat_command, token_command, key_command]
    group = click.Group("hubbub", commands=commands, help="Rooms in real time.")
    return click.version_option(__version__)(group)


def main() -> None:
    """Runs the command line."""
    try:
        code = build().main(prog_name="hubbub", standalone_mode=False)
    except click.exceptions.NoArgsIsHelpError as error:
        error.show()
        sys.exit(2)
    except click.ClickException as error:
        _fail(error.format_message())
    except (ConfigError, BrokerError) as error:
        _fail(str(error))
    except (click.Abort, KeyboardInterrupt):
        sys.exit(130)
    else:
        sys.exit(code if isinstance(code, int) else 0)


def _fail(message: str) -> None:
    click.echo("hubbub: " + " ".join(message.split()), err=True)
    sys.exit(2)
