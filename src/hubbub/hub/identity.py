"""Who a client is, what it shows to prove it, and what it may do: plain values, made by whoever authenticates."""

from __future__ import annotations

from collections.abc import Mapping
from fnmatch import fnmatchcase
from typing import Any, Final

import msgspec

VERBS: Final = ("join", "subscribe", "publish", "history", "presence", "ack")
"""What there is to be allowed in a room."""


class Grants(msgspec.Struct, frozen=True):
    """What somebody may do in which rooms.

    Args:
        patterns: a glob pattern for the names of rooms, and the verbs that are allowed in them.
    """

    patterns: tuple[tuple[str, frozenset[str]], ...]

    def allow(self, verb: str, room: str) -> bool:
        """Whether one of them allows it."""
        return any(
            verb in verbs and (room == pattern or fnmatchcase(room, pattern)) for pattern, verbs in self.patterns
        )


class Identity(msgspec.Struct, frozen=True, kw_only=True, eq=False):
    """Who a client is, as authentication has found.

    Attributes:
        user: names the user for ever; empty when anonymous.
        name: what others are shown, at most 30 characters without control characters; the user's id by default.
        token: the id of the token (`jti`), under which it can be revoked; empty where it has none.
        issued: when the credentials were made, Unix seconds; 0 where that is not known.
        expires: until when they count, Unix seconds, with what the clocks may be apart; None for ever.
        grants: what it may do in rooms; None for everything.
        claims: all that the credentials say, for the application.
        operator: it may use what the HTTP API has for operators, on all rooms and users.
    """

    user: str = ""
    name: str = ""
    token: str = ""
    issued: float = 0.0
    expires: float | None = None
    grants: Grants | None = None
    claims: Mapping[str, Any] = {}
    operator: bool = False


NOTHING: Final = Grants(())
ANONYMOUS: Final = Identity()
BIDIRECTIONAL: Final = frozenset("\u061c\u200e\u200f\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069")
"""Characters that turn the direction of text: in a name they make it look like another."""
UNSHOWN: Final = ("Cc", "Cs", "Zl", "Zp")
"""Categories of characters that names must not have either: controls, halves of surrogates, ends of lines."""
CHALLENGE: Final = ((b"www-authenticate", b"Bearer"),)
REFUSED_TOKEN: Final = ((b"www-authenticate", b'Bearer error="invalid_token"'),)
"""Headers of a 401: what would count, and that what was shown does not (RFC 6750, section 3)."""


class Credentials(msgspec.Struct, frozen=True, kw_only=True):
    """What a client shows. Its representation holds none of the secrets.

    Attributes:
        token: the bearer token, from whichever place it stood in; empty where there is none.
        ticket: the one-time ticket; empty where there is none.
        cookies: by name.
        headers: by name in lower case, the last of several; empty when an open connection refreshes.
        path: what is asked for.
        remote: the client's address, behind trusted proxies too; empty where it is not known.
    """

    token: str = ""
    ticket: str = ""
    cookies: Mapping[str, str] = {}
    headers: Mapping[str, str] = {}
    path: str = ""
    remote: str = ""

    def __repr__(self) -> str:
        return f"Credentials(path={self.path!r}, remote={self.remote!r})"
