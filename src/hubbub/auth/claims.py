"""From claims that are verified to an identity: whatever is not understood is refused. Verifies no signature."""

from __future__ import annotations

import unicodedata
from collections.abc import Callable, Iterable, Mapping
from typing import Any, Final

from hubbub.auth.refusals import token_refused
from hubbub.config import Auth
from hubbub.hub.identity import BIDIRECTIONAL, UNSHOWN, VERBS, Grants, Identity

LONGEST_ID: Final = 255
"""Characters of a user's id, a token's id or a pattern."""
LONGEST_NAME: Final = 30
MOST_PATTERNS: Final = 1000
ALL: Final = frozenset(VERBS)


def identity_of(claims: Mapping[str, Any], settings: Auth, now: Callable[[], float]) -> Identity:
    """Who the claims say somebody is, and what they allow.

    Args:
        claims: as RFC 7519 has them, of a token whose signature was verified.
        settings: name the claim with the rooms.
        now: Unix seconds.

    Raises:
        HandshakeError: 401; a claim is missing, expired, or not understood.
    """
    user = _user_of(claims)
    return Identity(
        user=user,
        name=_name_of(claims, user),
        token=_token_of(claims),
        issued=seconds_of(claims, "iat") or 0.0,
        expires=_expires_of(claims, settings, now),
        grants=_grants_of(claims, settings),
        claims=claims,
    )


def seconds_of(claims: Mapping[str, Any], name: str) -> float | None:
    """A claim that is a time (RFC 7519, section 2, NumericDate), Unix seconds; None where it is missing.

    Raises:
        HandshakeError: 401; it is no number, or no time.
    """
    if name not in claims:
        return None
    value = claims[name]
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value < 2**53:
        raise token_refused("The token has a time that is none")
    return float(value)


def clean_name(text: str) -> str:
    """A name that can be shown: what must not be in it is left out; at most 30 characters, may be empty."""
    # Normal form C makes at most four characters one; and putting thousands of marks in order takes seconds.
    shown = "".join(character for character in text.strip()[: LONGEST_NAME * 4] if _is_shown(character))
    return unicodedata.normalize("NFC", shown).strip()[:LONGEST_NAME].strip()


def _is_shown(character: str) -> bool:
    return character not in BIDIRECTIONAL and unicodedata.category(character) not in UNSHOWN


def _user_of(claims: Mapping[str, Any]) -> str:
    user = claims.get("sub")
    if not isinstance(user, str) or not 0 < len(user) <= LONGEST_ID or not _is_text(user):
        raise token_refused("The token does not say who the user is")
    return user


def _is_text(text: str) -> bool:
    """Whether it can be written as UTF-8: JSON can hold half a character."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def _name_of(claims: Mapping[str, Any], user: str) -> str:
    for candidate in (claims.get("name"), claims.get("preferred_username"), user):
        if isinstance(candidate, str) and (name := clean_name(candidate)):
            return name
    raise token_refused("The token's user has no name that can be shown")


def _token_of(claims: Mapping[str, Any]) -> str:
    token = claims.get("jti", "")
    # What cannot be revoked later is not let in.
    if not isinstance(token, str) or len(token) > LONGEST_ID or not _is_text(token):
        raise token_refused("The token has an id that is none")
    return token


def _expires_of(claims: Mapping[str, Any], settings: Auth, now: Callable[[], float]) -> float | None:
    expires = seconds_of(claims, "exp")
    if expires is None:
        return None
    if expires + settings.jwt_leeway_seconds <= now():
        raise token_refused("The token has expired")
    return expires + settings.jwt_leeway_seconds


def _grants_of(claims: Mapping[str, Any], settings: Auth) -> Grants | None:
    if settings.rooms_claim and settings.rooms_claim in claims:
        return _granted(claims[settings.rooms_claim])
    if settings.rooms_default == "*":
        return None
    return Grants(((settings.rooms_default, ALL),) if settings.rooms_default else ())


def _granted(rooms: object) -> Grants:
    if not isinstance(rooms, list | dict) or len(rooms) > MOST_PATTERNS:
        raise _rooms_refused()
    entries: Iterable[tuple[object, object]] = rooms.items() if isinstance(rooms, dict) else map(_entry_of, rooms)
    return Grants(tuple((_pattern_of(pattern), _verbs_of(verbs)) for pattern, verbs in entries))


def _entry_of(entry: object) -> tuple[object, object]:
    if isinstance(entry, str):
        return entry, list(VERBS)
    # Another key may be a restriction that we do not know, so it cannot be passed over.
    if not isinstance(entry, dict) or entry.keys() != {"room", "verbs"}:
        raise _rooms_refused()
    return entry["room"], entry["verbs"]


def _pattern_of(pattern: object) -> str:
    if not isinstance(pattern, str) or not 0 < len(pattern) <= LONGEST_ID:
        raise _rooms_refused()
    return pattern


def _verbs_of(verbs: object) -> frozenset[str]:
    if not isinstance(verbs, list) or not all(isinstance(verb, str) and verb in ALL for verb in verbs):
        raise _rooms_refused()
    return frozenset(verbs)


def _rooms_refused() -> Exception:
    return token_refused("The token's list of rooms is not understood")
