"""Where a server's WebSocket and its HTTP routes are, from what people type."""

from __future__ import annotations

import re
from typing import Final
from urllib.parse import quote, urlsplit

from hubbub.errors import ConfigError

_TOKEN: Final = re.compile(r"[A-Za-z0-9._~+/=-]*")  # RFC 6750, section 2.1
_SCHEMES: Final = {"http": "ws", "https": "wss"}
_HTTP: Final = {"ws": "http", "wss": "https"}


def socket_url(url: str) -> str:
    """The WebSocket's URL for what people type: http becomes ws, and no path or a folder has /ws in it.

    Raises:
        ConfigError: it is not such a URL.
    """
    try:
        parts = urlsplit(url if "://" in url else f"ws://{url}")
        port = parts.port
    except ValueError as error:
        raise ConfigError(f"{url!r}: {error}") from error
    scheme = _SCHEMES.get(parts.scheme, parts.scheme)
    if (
        not url.isascii()
        or not url.isprintable()
        or " " in url
        or scheme not in ("ws", "wss")
        or not parts.hostname
        or port == 0
    ):
        raise ConfigError(f"{url!r} is not a URL such as ws://localhost:8080/ws")
    path = f"{parts.path}ws" if parts.path.endswith("/") else parts.path or "/ws"
    return parts._replace(scheme=scheme, path=path, fragment="").geturl()


def http_url(socket: str) -> str:
    """Below which the HTTP routes are of the server that has a WebSocket at this URL: beside `/ws`."""
    parts = urlsplit(socket)
    return parts._replace(scheme=_HTTP[parts.scheme], path=parts.path.removesuffix("/ws"), query="").geturl()


def with_session(url: str, session: str) -> str:
    """The WebSocket's URL for a session; an empty one asks for a new one."""
    return f"{url}{'&' if urlsplit(url).query else '?'}session={quote(session)}"


def checked_token(token: str) -> str:
    """The token, if it can stand in a header.

    Raises:
        ConfigError: it cannot.
    """
    if not _TOKEN.fullmatch(token):
        raise ConfigError("the token is none: it has letters, digits and -._~+/= only")
    return token
