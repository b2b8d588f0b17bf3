"""The URLs of Redis: a server, the master that Sentinels name, or a Cluster. What is printed has no password."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Final, NamedTuple
from urllib.parse import unquote

from hubbub.errors import ConfigError

SCHEMES: Final = re.compile(r"(redis|rediss|unix|rediss?\+sentinel|rediss?\+cluster)://(.*)", re.DOTALL)
FORMS: Final = (
    "write redis://host:6379/0, rediss://host:6379/0, unix:///path, redis+sentinel://host:26379,host:26379/service/0"
    " or redis+cluster://host:6379,host:6379"
)
PORT: Final = 6379
SENTINEL_PORT: Final = 26379
Address = tuple[str, int]


class Target(NamedTuple):
    """Where Redis is.

    Attributes:
        kind: `redis`, `unix`, `sentinel` or `cluster`.
        addresses: of the server, of Sentinels, or of some of the Cluster's nodes.
        path: of the socket of `unix`.
        service: the name under which Sentinels know the master.
    """

    kind: str
    tls: bool
    addresses: Sequence[Address]
    path: str
    service: str
    db: int
    user: str
    password: str

    def __repr__(self) -> str:
        """As a URL, without a name and password."""
        if self.kind == "unix":
            return f"unix://{self.path}"
        scheme = ("rediss" if self.tls else "redis") + ("" if self.kind == "redis" else f"+{self.kind}")
        hosts = ",".join(f"[{host}]:{port}" if ":" in host else f"{host}:{port}" for host, port in self.addresses)
        return f"{scheme}://{hosts}{f'/{self.service}' if self.service else ''}{f'/{self.db}' if self.db else ''}"


def names_redis(url: str) -> bool:
    """Whether a broker's URL has one of the schemes here."""
    return SCHEMES.fullmatch(url) is not None


def parse_url(url: str, password: str = "") -> Target:
    """What a URL says.

    Args:
        password: from another setting, where the URL has none.

    Raises:
        ConfigError: it cannot be read; the message has nothing of the URL but its scheme.
    """
    found = SCHEMES.fullmatch(url)
    if found is None:
        raise ConfigError(f"the broker's URL has no scheme of Redis: {FORMS}")
    scheme, rest = found.groups()
    secure, kind = scheme.startswith("rediss"), scheme.rpartition("+")[2].replace("rediss", "redis")
    try:
        return _parse(kind, secure, rest, password)
    except ValueError as error:
        raise ConfigError(f"the broker's {scheme}:// URL cannot be read, {error}: {FORMS}") from None


def _parse(kind: str, secure: bool, rest: str, password: str) -> Target:
    if set(rest) & set("?#\0"):
        raise ValueError("it has one of ? and #, which stand in a password as %3F and %23")
    place, slash, path = rest.partition("/")
    login, _, hosts = place.rpartition("@")
    user, _, secret = login.partition(":")
    user, secret = unquote(user), unquote(secret) or password
    if kind == "unix":
        if hosts or not path:
            raise ValueError("it names no socket")
        return Target(kind, False, (), unquote(slash + path), "", 0, user, secret)
    default = SENTINEL_PORT if kind == "sentinel" else PORT
    addresses = [_address(host, default) for host in hosts.split(",")]
    if kind == "redis" and len(addresses) > 1:
        raise ValueError("it names several servers")
    service, db = "", path.rstrip("/")
    if kind == "sentinel":
        service, _, db = db.partition("/")
        service = unquote(service)
        if not service:
            raise ValueError("it names no service")
    if kind == "cluster" and db:
        raise ValueError("a Cluster has no databases")
    if db and not re.fullmatch("[0-9]{1,5}", db):
        raise ValueError("its database is no number")
    return Target(kind, secure, addresses, "", service, int(db or 0), user, secret)


def _address(text: str, default: int) -> Address:
    found = re.fullmatch(r"(\[[0-9a-fA-F:.]+\]|[^:\[\]\s]+)(?::([0-9]{1,5}))?", text)
    if found is None:
        raise ValueError("a host or port is missing or odd")
    port = int(found[2] or default)
    if not 0 < port < 65536:
        raise ValueError("ports go from 1 to 65535")
    return unquote(found[1].strip("[]")), port


def read_password(value: str, file: str) -> str:
    """The password of the settings `redis_password` and `redis_password_file`; empty where there is none.

    Raises:
        ConfigError: both are given, or the file cannot be read.
    """
    if value and file:
        raise ConfigError("redis_password and redis_password_file are both given: leave one of them out")
    if not file:
        return value
    try:
        return Path(file).read_text().rstrip("\r\n")
    except (OSError, ValueError) as error:
        raise ConfigError(f"redis_password_file: {file}: {getattr(error, 'strerror', None) or 'not a text'}") from None
