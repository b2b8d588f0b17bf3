"""Whose pages may connect: the Origin of a request against the request's own host and a list."""

from __future__ import annotations

import re
from collections.abc import Sequence
from ipaddress import AddressValueError, IPv6Address
from typing import Final, NamedTuple

from hubbub.auth.headers import Headers, read_headers, values_of
from hubbub.errors import ConfigError, HandshakeError

ALL: Final = "*"
_PORTS: Final = {"http": 80, "https": 443}
_LABEL: Final = r"[a-z0-9_](?:[a-z0-9_-]{0,61}[a-z0-9_])?"
_PLACE: Final = rf"(?P<host>{_LABEL}(?:\.{_LABEL})*\.?|\[[0-9a-f:.]{{2,45}}\])(?::(?P<port>[1-9][0-9]{{0,4}}))?"
_HOST: Final = re.compile(_PLACE)
_ORIGIN: Final = re.compile(rf"(?P<scheme>https?)://{_PLACE}")
# A name has at most 253 characters; the rest is for the scheme, the last dot and the port.
_LONGEST: Final = 270


class _Origin(NamedTuple):
    scheme: str
    host: str
    port: int


class Origins:
    """The origins whose pages may connect, beside those that this server serves itself.

    Args:
        allowed: origins as browsers write them, such as `https://app.example.com`; a `*` alone for all.

    Attributes:
        everybody: whether every origin is allowed.

    Raises:
        ConfigError: one of them is no origin.
    """

    def __init__(self, allowed: Sequence[str]) -> None:
        entries = [entry for entry in map(str.strip, allowed) if entry]
        self.everybody = entries == [ALL]
        self._allowed = frozenset() if self.everybody else frozenset(map(_configured, entries))

    def check(self, headers: Headers, *, cookie: bool) -> None:
        """Lets a request pass, or not. `null` and what is not http or https never passes, even where all are allowed.

        Args:
            cookie: the request's credentials are a cookie, which a browser sends for every page that asks.

        Raises:
            HandshakeError: 403.
        """
        headers = read_headers(headers)
        origins = values_of(headers, b"origin")
        if len(origins) > 1:
            raise HandshakeError(403, "there is more than one Origin")
        if origins:
            hosts = values_of(headers, b"host")
            if not self.allows(origins[0].decode("latin-1"), hosts[0].decode("latin-1") if len(hosts) == 1 else ""):
                raise HandshakeError(403, "this Origin is not allowed")
        elif cookie:
            raise HandshakeError(403, "cookies count only with an Origin")

    def allows(self, origin: str, host: str) -> bool:
        """Whether a page of this origin may talk to this server, under the name in the request's `Host`."""
        asked = _read_origin(origin)
        if asked is None:
            return False
        return self.everybody or asked in self._allowed or _is_same(asked, host)


def _is_same(origin: _Origin, host: str) -> bool:
    """Whether host and port are the same; not the scheme, for TLS may end at a proxy that says http to us."""
    place = _match(_HOST, host)
    if place is None:
        return False
    return _place(place, _PORTS[origin.scheme]) == (origin.host, origin.port)


def _configured(entry: str) -> _Origin:
    if entry == ALL:
        raise ConfigError("origins: * allows all, so it stands alone; remove it, or the others")
    origin = _read_origin(entry)
    if origin is None:
        raise ConfigError(
            f"origins: {entry!r} is no origin; write https://host or http://host:port as browsers do, international"
            " names as xn--, each host by itself: no path, no / at the end, no user, no * in it"
        )
    return origin


def _read_origin(text: str) -> _Origin | None:
    match = _match(_ORIGIN, text)
    if match is None:
        return None
    place = _place(match, _PORTS[match["scheme"]])
    return None if place is None else _Origin(match["scheme"], *place)


def _match(pattern: re.Pattern[str], text: str) -> re.Match[str] | None:
    # Only ASCII, for some other letters become ASCII in lower case.
    return pattern.fullmatch(text.lower()) if len(text) <= _LONGEST and text.isascii() else None


def _place(match: re.Match[str], default: int) -> tuple[str, int] | None:
    """Host and port, each address in the one way of writing it; None where they cannot be."""
    host, port = match["host"], int(match["port"] or default)
    if port > 65535:
        return None
    if not host.startswith("["):
        return host, port
    try:
        return f"[{IPv6Address(host[1:-1])}]", port
    except AddressValueError:
        return None
