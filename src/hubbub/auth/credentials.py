"""What a request shows to say who it is from: tokens, tickets and cookies, from wherever they may stand."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any, Final
from urllib.parse import parse_qsl

from hubbub.auth.headers import Headers, HeaderValues, values_of
from hubbub.errors import HandshakeError
from hubbub.hub.identity import Credentials

BEARER: Final = "hubbub.bearer."
"""Begins the sub-protocol in which a browser, which can set no header, says its token. It is never accepted as one."""

MOST_COOKIES: Final = 50
LONGEST_TOKEN: Final = 8192
_TOKEN: Final = re.compile(rf"[!-~]{{1,{LONGEST_TOKEN}}}")
# As http.cookies writes what is no letter, digit or harmless sign: \054 or \".
_ESCAPED: Final = re.compile(r"\\(?:([0-3][0-7][0-7])|(.))")


def read_credentials(
    scope: Mapping[str, Any], headers: HeaderValues, *, remote: str, token_in_query: bool, ticket: bool = False
) -> tuple[Credentials, tuple[str, ...]]:
    """The credentials of a request, and the sub-protocols that it offers beside the one that is a token.

    Args:
        scope: ASGI's, of `http` or `websocket`.
        headers: of the same request.
        remote: the client's address.
        token_in_query: whether `?token=` counts; else it is ignored.
        ticket: whether `?ticket=` counts, as it always does for a WebSocket.

    Raises:
        HandshakeError: 400 for more than one token or ticket, and for those of other characters than visible ASCII or
            of more than 8 KB.
    """
    offered: Sequence[str] = (scope.get("subprotocols") or ()) if scope["type"] == "websocket" else ()
    asked: bytes = scope.get("query_string", b"")
    query = parse_qsl(asked.decode("latin-1"), keep_blank_values=True) if asked else ()
    tokens = _authorized(headers)
    tokens += [entry.removeprefix(BEARER) for entry in offered if entry.startswith(BEARER)]
    tokens += [value for name, value in query if name == "token" and token_in_query]
    # A ticket opens a connection, and buys no other ticket.
    opens = ticket or scope["type"] == "websocket"
    tickets = [value for name, value in query if name == "ticket" and opens]
    credentials = Credentials(
        token=_only(tokens),
        ticket=_only(tickets),
        cookies=read_cookies(headers),
        headers={name.decode("latin-1"): values[-1].decode("latin-1") for name, values in headers.items()},
        path=scope["path"],
        remote=remote,
    )
    return credentials, tuple([entry for entry in offered if not entry.startswith(BEARER)])


def read_cookies(headers: Headers) -> dict[str, str]:
    """The first 50 cookies, by name; of several of one name the first, which browsers have for the longest path.

    Values are latin-1; quotes and backslashes as http.cookies writes them are taken off, percent signs stay. What is
    no cookie is passed over, and nothing raises.
    """
    cookies: dict[str, str] = {}
    for line in values_of(headers, b"cookie"):
        for pair in line.decode("latin-1").split(";"):
            name, equals, value = pair.partition("=")
            name = name.strip(" \t")
            if equals and name and name not in cookies:
                cookies[name] = _unquoted(value.strip(" \t"))
                if len(cookies) == MOST_COOKIES:
                    return cookies
    return cookies


def _authorized(headers: Headers) -> list[str]:
    """The bearer token of the Authorization header; nothing where there is another scheme or no such header."""
    lines = values_of(headers, b"authorization")
    if len(lines) > 1:
        raise HandshakeError(400, "there is more than one Authorization")
    shown = [line.strip(b" \t").partition(b" ") for line in lines]
    return [token.strip(b" \t").decode("latin-1") for scheme, _, token in shown if scheme.lower() == b"bearer"]


def _only(secrets: Sequence[str]) -> str:
    """The token or ticket; empty where none is shown. One that is empty is shown all the same, and wrong."""
    if len(secrets) > 1:
        raise HandshakeError(400, "there is more than one token or ticket")
    if secrets and not _TOKEN.fullmatch(secrets[0]):
        raise HandshakeError(400, "a token is visible ASCII, at most 8 KB")
    return secrets[0] if secrets else ""


def _unquoted(value: str) -> str:
    if len(value) < 2 or not value.startswith('"') or not value.endswith('"'):
        return value
    return _ESCAPED.sub(lambda match: chr(int(match[1], 8)) if match[1] else match[2], value[1:-1])
