"""Every setting, its default and the reason for it; read from a TOML file, HUBBUB_* variables and the command line."""

from __future__ import annotations

import dataclasses
import math
import os
import tomllib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, fields
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any, Final, get_type_hints

from hubbub.errors import ConfigError

PREFIX: Final = "HUBBUB_"
FILE_VARIABLE: Final = "HUBBUB_CONFIG"
TOKEN_VARIABLE: Final = "HUBBUB_TOKEN"
"""A token for the commands that are clients; no setting."""
MOST: Final = 2**31 - 1
Value = str | int | float | bool | None


def _setting(default: Value, help: str, least: float | None = None, most: float = MOST, *, shown: bool = True) -> Any:
    """A setting; one that may hold a password is not shown by a representation."""
    return field(default=default, repr=shown, metadata={"help": help, "least": least, "most": most, "secret": False})


def _secret(help: str) -> Any:
    """A setting that no option, message or representation shows."""
    return field(default="", repr=False, metadata={"help": help, "least": None, "most": MOST, "secret": True})


@dataclass(frozen=True, slots=True, kw_only=True)
class Server:
    """Where the server listens and how it starts and stops."""

    host: str = _setting("127.0.0.1", "address to listen on; only this machine unless you choose otherwise")
    port: int = _setting(8080, "port to listen on; 0 takes a free one", 0)
    broker: str = _setting(
        "sqlite:///hubbub.db",
        "where rooms keep their events: a file; memory:// ends with the process; redis:// is for many nodes",
        shown=False,
    )
    workers: int = _setting(1, "processes that share the port; more than one need redis://. One a core", 1, 1024)
    synchronous: str = _setting(
        "normal", "sqlite://: normal survives the process being killed, full also a loss of power, off neither for sure"
    )
    takeover: bool = _setting(True, "carry WebSockets past ASGI once they are open; faster, same behaviour")
    documents: bool = _setting(
        True, "serve /docs, /openapi.json and /asyncapi.json; off where the application has its own there"
    )
    loop: str = _setting("auto", "event loop: auto, asyncio or uvloop; auto takes uvloop where there is one")
    backlog: int = _setting(2048, "connections that may wait to be accepted; the kernel's usual bound is 4096", 1)
    handshake_seconds: float = _setting(5.0, "time for a request's head and handshake; honest clients take one", 1)
    body_seconds: float = _setting(30.0, "time for a request's body; 64 KB over the slowest line in use", 1)
    close_seconds: float = _setting(5.0, "time for a peer to answer a close frame", 1)
    reconnect_ms: int = _setting(500, "what clients are told to wait after a restart, in milliseconds", 0)
    drain_seconds: float = _setting(
        5.0, "longest time in which clients are sent away, one every 10 ms, when the server stops", 0, 3600
    )
    drain_notice_seconds: float = _setting(
        0.0, "time between /readyz saying no and that; longer than a load balancer takes to look", 0, 3600
    )
    tls_cert: str = _setting("", "PEM file with the certificate and those between it and the root; with it TLS is on")
    tls_key: str = _setting("", "PEM file with its private key; both are read again on SIGHUP")


@dataclass(frozen=True, slots=True, kw_only=True)
class Redis:
    """How Redis is used, where `broker` names one."""

    redis_prefix: str = _setting("hubbub:", "what all keys and channels begin with: nodes with the same share rooms")
    redis_password: str = _secret("the password, where it is not to stand in the URL of `broker`")
    redis_password_file: str = _setting("", "a file that holds redis_password")
    redis_ca: str = _setting("", "rediss://: PEM file with who signs the server's certificate; empty for the system's")
    redis_connect_seconds: float = _setting(2.0, "time to connect; twice what a lost packet costs", 0.1, 60)
    redis_timeout_seconds: float = _setting(
        3.0, "a Redis that is silent so long is gone; scripts take milliseconds", 0.5, 60
    )
    redis_wait_seconds: float = _setting(
        1.0,
        "how long a publish waits for a Redis that is gone; enough to connect anew. Then it is `unavailable`",
        0,
        60,
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """What one client may cost."""

    rate_limit: float = _setting(10.0, "messages a second and connection; 0 for no limit. A fast typist sends 2", 0)
    rate_burst: int = _setting(20, "messages at once before the rate counts; a client that catches up after a pause", 1)
    rate_patience_seconds: float = _setting(3.0, "how long the rate may be exceeded before 1008", 0)
    control_rate: float = _setting(10.0, "pings and pongs a second and connection; heartbeats need one in 30 s", 1)
    control_burst: int = _setting(100, "pings and pongs at once before that rate counts", 1)
    max_message_bytes: int = _setting(65536, "longest message; 30 times the longest chat message in UTF-8", 1)
    max_buffered_bytes: int = _setting(262144, "bytes waiting for a slow reader; about 1,500 chat messages", 1024)
    stall_seconds: float = _setting(60.0, "how long a slow reader may take nothing at all before 1008", 1)
    heavy_cost: int = _setting(2, "messages that history, presence, receipts and resume count as; each reads a log", 1)
    user_rate: float = _setting(30.0, "messages a second of a user, over all connections; three devices. 0 for none", 0)
    user_burst: int = _setting(100, "messages of a user at once before that rate counts", 1)
    room_rate: float = _setting(1000.0, "messages a second of clients into a room; nobody reads more. 0 for none", 0)
    room_burst: int = _setting(5000, "messages into a room at once before that rate counts", 1)
    handshake_rate: float = _setting(50.0, "handshakes a second of an address, tickets too; 0 for no limit", 0)
    handshake_burst: int = _setting(1000, "handshakes at once before that rate counts: all of an office come back", 1)
    max_connections: int = _setting(
        50_000, "open connections, 4 KB each; never more than open files (ulimit -n). Above, 503", 1
    )
    max_connections_per_address: int = _setting(
        500, "of an IPv4 address or IPv6 /64; an office behind one. Behind a proxy, see trusted_proxies", 1
    )
    max_connections_per_user: int = _setting(50, "of a user; some devices with some tabs each", 1)
    max_malformed: int = _setting(10, "malformed messages in a row before 4400", 1)
    max_rooms: int = _setting(100, "rooms a connection may be in", 1)
    max_backlog: int = _setting(32, "commands waiting for a connection's coroutine handler before reading pauses", 1)
    max_header_count: int = _setting(128, "headers in a request; browsers send about 20", 1)
    max_header_line_bytes: int = _setting(8192, "longest header line; as nginx", 64)
    max_head_bytes: int = _setting(32768, "all of a request's head; as nginx's four buffers of 8 KB", 256)
    max_url_bytes: int = _setting(8192, "longest request target; as nginx", 16)
    max_body_bytes: int = _setting(65536, "longest body of an HTTP request; as a message", 0)


@dataclass(frozen=True, slots=True, kw_only=True)
class Heartbeat:
    """How a dead peer is found."""

    heartbeat_seconds: float = _setting(
        30.0, "between pings; shorter than the 60 s after which proxies cut, at most an hour", 0.05, 3600
    )
    comment_seconds: float = _setting(
        15.0, "between comments on a stream over HTTP; some proxies cut after 20 s of silence", 0.25, 600
    )
    idle_seconds: float = _setting(0.0, "close connections that send no message for so long; 0 for never", 0)


@dataclass(frozen=True, slots=True, kw_only=True)
class Auth:
    """Who gets in, and from where."""

    auth: str = _setting(
        "",
        "how clients say who they are: a list of anonymous, jwt, starlette, django, tried in this order; empty for"
        " the application's own way, or anonymous where both ends are this machine",
    )
    jwt_secret: str = _secret("HS256: the secret that tokens are signed with, at least 32 bytes")
    jwt_secret_file: str = _setting("", "a file that holds jwt_secret")
    jwt_key_file: str = _setting("", "PEM file with the public key: RS256, ES256 or EdDSA, as the key is")
    jwks_url: str = _setting("", "https URL of the issuer's key set; a list, in the order of jwt_issuer")
    jwks_seconds: float = _setting(600.0, "how long a key set counts; then it is fetched again", 1)
    jwks_timeout_seconds: float = _setting(3.0, "time to fetch a key set; handshakes have 5 s and may wait for it", 0.1)
    jwt_issuer: str = _setting("", "who tokens must come from (`iss`); a list. Empty: not looked at")
    jwt_audience: str = _setting("", "whom tokens must be for (`aud`); empty: tokens with an `aud` are refused")
    jwt_leeway_seconds: float = _setting(30.0, "how far the issuer's clock may be off", 0)
    rooms_claim: str = _setting("rooms", "the claim that lists the rooms a user may use")
    anonymous_rooms: str = _setting(
        "", "patterns of the rooms for anonymous clients, where others say who they are; a list. Alone they may use all"
    )
    rooms_default: str = _setting("*", "pattern of the rooms for users without that claim; empty for none")
    cookie_name: str = _setting("", "the session cookie; empty: session (starlette), sessionid (django)")
    cookie_user: str = _setting("", "the user's key in it; empty: user (starlette), _auth_user_id (django)")
    cookie_secret: str = _secret("the secret that the framework signs cookies with, at least 32 bytes")
    cookie_secret_file: str = _setting("", "a file that holds cookie_secret")
    cookie_seconds: float = _setting(1_209_600.0, "how long a cookie counts; two weeks, as both frameworks", 1)
    api_keys: str = _setting(
        "", "API keys of other programs: a list of name:digest, as `hubbub key NAME` prints; no key itself", shown=False
    )
    api_keys_file: str = _setting("", "a file that holds api_keys, one a line")
    ticket_seconds: float = _setting(30.0, "how long a one-time ticket waits to be used", 1)
    token_in_query: bool = _setting(False, "take tokens from ?token= too; they end up in the logs of others")
    display_names: bool = _setting(False, "let authenticated users join under names of their own")
    origins: str = _setting(
        "", "origins whose pages may connect beside our own: a list such as https://app.example.com; * for all"
    )
    trusted_proxies: str = _setting("", "networks whose X-Forwarded-For counts: a list such as 10.0.0.0/8")
    revocation_seconds: float = _setting(
        2_592_000.0, "how long a revocation is kept, at least the life of the longest token; 30 days", 60
    )
    insecure_origins: bool = _setting(False, "allow origins * together with cookies: every page acts as its visitor")
    insecure_secret: bool = _setting(False, "allow a secret that can be guessed")
    insecure_proxies: bool = _setting(False, "allow trusted_proxies *: everybody chooses their own address")


def items_of(text: str) -> list[str]:
    """The items of a setting that is a list, with commas, spaces or both between them."""
    return text.replace(",", " ").split()


SLOW_READERS: Final = ("catch_up", "latest", "disconnect")
MEMBER_PER: Final = ("connection", "user")


@dataclass(frozen=True, slots=True, kw_only=True)
class RoomPolicy:
    """What a room keeps, and what becomes of its slow readers.

    Attributes:
        history: events kept; 0 for the broker's own number.
        history_bytes: of all their payloads; 0 for no bound.
        history_seconds: since they were published; 0 for ever.
        slow_readers: `catch_up`, `latest` or `disconnect`.
        latest_only: of each key only the last event is kept; who joins gets all of them.
        member_per: `connection`, or `user`: then all connections of a user are one member.
    """

    history: int = 0
    history_bytes: int = 0
    history_seconds: float = 0.0
    slow_readers: str = "catch_up"
    latest_only: bool = False
    member_per: str = "connection"

    def __post_init__(self) -> None:
        if self.member_per not in MEMBER_PER:
            raise ConfigError(f"member_per: {self.member_per!r} is none of {', '.join(MEMBER_PER)}")
        if self.slow_readers not in SLOW_READERS:
            raise ConfigError(f"slow_readers: {self.slow_readers!r} is none of {', '.join(SLOW_READERS)}")


class Policies:
    """The policy of each room, by its name.

    Args:
        default: where no pattern matches.
        patterns: a glob pattern such as `ticker-*` and what is different there; the first that matches counts.
    """

    def __init__(self, default: RoomPolicy, patterns: Sequence[tuple[str, Mapping[str, Any]]] = ()) -> None:
        self._default = default
        self._patterns = [(pattern, dataclasses.replace(default, **changes)) for pattern, changes in patterns]

    def __call__(self, room: str) -> RoomPolicy:
        for pattern, policy in self._patterns:
            if fnmatchcase(room, pattern):
                return policy
        return self._default


@dataclass(frozen=True, slots=True, kw_only=True)
class Rooms:
    """How rooms behave."""

    history: int = _setting(
        0, "events kept of a room; 0 for the broker's own: 1,000 in memory, 10,000 in a file or Redis", 0
    )
    history_bytes: int = _setting(16_777_216, "bytes kept of a room; 100,000 chat messages. 0 for no bound", 0)
    history_seconds: float = _setting(604_800.0, "how long a room keeps events; a week. 0 for ever", 0)
    slow_readers: str = _setting(
        "catch_up", "who reads too slowly gets: catch_up, all from the log; latest, the newest; disconnect, 4408"
    )
    member_per: str = _setting(
        "connection", "what counts as one member: each connection, or each user, however many tabs are open"
    )
    max_logs: int = _setting(1_000, "empty rooms whose events memory:// keeps", 0)
    members_shown: int = _setting(200, "members listed in room_info; the rest by `presence`, a page at a time", 1)
    presence_detail: int = _setting(1000, "above so many members only counts are announced, one a second", 1)
    fanout_slice: int = _setting(1000, "members written to before others get a turn; about 7 ms of send()", 1)

    def policy(self) -> RoomPolicy:
        """What these settings say of every room."""
        return RoomPolicy(
            history=self.history,
            history_bytes=self.history_bytes,
            history_seconds=self.history_seconds,
            slow_readers=self.slow_readers,
            member_per=self.member_per,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Sessions:
    """How long a lost client is waited for."""

    grace_seconds: float = _setting(15.0, "how long the others see a lost client stay; a change of network takes 10", 0)
    session_seconds: float = _setting(120.0, "how long a lost session can be taken up", 0)
    max_sessions: int = _setting(100_000, "sessions that are waited for; about 1 KB each", 1)


@dataclass(frozen=True, slots=True, kw_only=True)
class WebSocket:
    """The protocol's extension."""

    deflate: bool = _setting(True, "agree to permessage-deflate where a client offers it")
    deflate_takeover: bool = _setting(False, "keep a window per connection: smaller messages for 300 KB of memory")


@dataclass(frozen=True, slots=True, kw_only=True)
class Http:
    """The rooms over plain HTTP."""

    gzip: bool = _setting(
        True, "deflate streams and large answers where a client takes gzip: once for all who share the bytes"
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Config:
    """All settings of a node; the names are unique over all groups."""

    server: Server = Server()
    redis: Redis = Redis()
    limits: Limits = Limits()
    heartbeat: Heartbeat = Heartbeat()
    rooms: Rooms = Rooms()
    sessions: Sessions = Sessions()
    auth: Auth = Auth()
    websocket: WebSocket = WebSocket()
    http: Http = Http()


@dataclass(frozen=True, slots=True)
class Setting:
    """One setting as the command line, the environment and the file see it."""

    group: str
    name: str
    type: type
    default: Value
    help: str
    least: float | None
    most: float
    secret: bool

    @property
    def variable(self) -> str:
        return PREFIX + self.name.upper()

    @property
    def option(self) -> str:
        return "--" + self.name.replace("_", "-")


def settings() -> Iterator[Setting]:
    """Every setting there is, group by group."""
    for group in fields(Config):
        kind = type(getattr(Config(), group.name))
        hints = get_type_hints(kind)
        for item in fields(kind):
            default: Value = getattr(kind(), item.name)
            meta = item.metadata
            yield Setting(
                group.name,
                item.name,
                hints[item.name],
                default,
                meta["help"],
                meta["least"],
                meta["most"],
                meta["secret"],
            )


def differences(old: Config, new: Config) -> list[Setting]:
    """The settings that have other values in the one than in the other."""
    return [
        setting
        for setting in settings()
        if getattr(getattr(old, setting.group), setting.name) != getattr(getattr(new, setting.group), setting.name)
    ]


def load(
    options: Mapping[str, Value] | None = None,
    environ: Mapping[str, str] | None = None,
    file: Path | None = None,
) -> Config:
    """The settings in force: an option beats a variable, a variable the file, the file the default.

    Args:
        options: by name, as given on the command line; None where not given.
        environ: the environment; the process's own by default.
        file: TOML with a table per group, such as `[limits]`.

    Raises:
        ConfigError: a setting that does not exist or cannot have its value; says which, where and why.
    """
    environ = os.environ if environ is None else environ
    _check_variables(environ)
    written = _read_file(file) if file else {}
    groups: dict[str, dict[str, Value]] = {}
    for setting in settings():
        value: Value = None
        for source, candidate in (
            (setting.option, (options or {}).get(setting.name)),
            (setting.variable, environ.get(setting.variable)),
            (f"{file}: {setting.group}.{setting.name}", written.get(setting.group, {}).get(setting.name)),
        ):
            if candidate is not None:
                value = _convert(setting, candidate, source)
                groups.setdefault(setting.group, {})[setting.name] = value
                break
    changed: dict[str, Any] = {
        name: dataclasses.replace(getattr(Config(), name), **values) for name, values in groups.items()
    }
    return dataclasses.replace(Config(), **changed)


def _check_variables(environ: Mapping[str, str]) -> None:
    known = {FILE_VARIABLE, TOKEN_VARIABLE, *(setting.variable for setting in settings())}
    for name in environ:
        if name.startswith(PREFIX) and name not in known:
            raise ConfigError(f"{name}: there is no such setting")


def _read_file(file: Path) -> dict[str, dict[str, Value]]:
    try:
        tables = tomllib.loads(file.read_text())
    except OSError as error:
        raise ConfigError(f"{file}: {error.strerror}") from error
    except ValueError as error:
        raise ConfigError(f"{file}: not TOML: {error}") from error
    known = {(setting.group, setting.name) for setting in settings()}
    for group, table in tables.items():
        if not isinstance(table, dict):
            raise ConfigError(f"{file}: {group} stands outside of a table such as [server]")
        for name in table:
            if (group, name) not in known:
                raise ConfigError(f"{file}: there is no setting {group}.{name}")
    return tables


_WORDS: Final = {
    "true": True,
    "yes": True,
    "on": True,
    "1": True,
    "false": False,
    "no": False,
    "off": False,
    "0": False,
}


def _convert(setting: Setting, value: Value, source: str) -> Value:
    try:
        converted = _typed(setting.type, value)
    except (TypeError, ValueError):
        shown = "its value" if setting.secret else repr(value)
        raise ConfigError(f"{source}: {shown} is not {_NAMES[setting.type]}") from None
    if isinstance(converted, int | float) and converted > setting.most:
        raise ConfigError(f"{source}: {converted:g} is more than {setting.most}")
    if setting.least is not None and isinstance(converted, int | float) and not converted >= setting.least:
        raise ConfigError(f"{source}: {converted} is less than {setting.least:g}")
    return converted


_NAMES: Final = {int: "a whole number", float: "a number", bool: "true or false", str: "a text"}


def _typed(kind: type, value: Value) -> Value:
    if kind is bool:
        return (
            value if isinstance(value, bool) else _WORDS[str(value).lower()] if str(value).lower() in _WORDS else _no()
        )
    if isinstance(value, bool) or (kind is str and not isinstance(value, str)):
        _no()
    if kind is int and isinstance(value, float):
        _no()
    converted = value if kind is str else kind(value)
    if isinstance(converted, float) and not math.isfinite(converted):
        _no()
    return converted


def _no() -> bool:
    raise ValueError
