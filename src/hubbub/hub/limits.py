"""How much one client may ask for: rates as GCRA, and what a name may hold. Time is passed in."""

from __future__ import annotations

import unicodedata
from typing import Final

from hubbub.codes import INVALID_JOIN, INVALID_NAME
from hubbub.errors import CommandError
from hubbub.hub.identity import BIDIRECTIONAL, UNSHOWN

REFUSED: Final = -1.0
# A thousandth of a token, so that adding and taking away of floats never costs a whole one.
ROUNDING: Final = 1e-3
LONGEST_ROOM: Final = 50
LONGEST_USERNAME: Final = 30
# Separators of glob patterns and of Redis hash tags: inert today, and never worth the doubt.
_NOT_IN_ROOMS: Final = frozenset("*{}")


class RateLimit:
    """A token bucket whose whole state is one number, the time at which it is full again (GCRA, ITU-T I.371).

    Args:
        rate: tokens a second; 0 for no limit.
        burst: tokens that a full bucket holds.
    """

    __slots__ = ("_interval", "_tolerance")

    def __init__(self, rate: float, burst: int) -> None:
        self._interval = 1.0 / rate if rate else 0.0
        self._tolerance = self._interval * (burst + ROUNDING)

    def take(self, full_at: float, now: float, tokens: int = 1) -> float:
        """The bucket's new state, or REFUSED when it does not hold so many tokens."""
        taken = (full_at if full_at > now else now) + self._interval * tokens
        return taken if taken - now <= self._tolerance else REFUSED

    def wait(self, full_at: float, now: float, tokens: int = 1) -> float:
        """Seconds until the bucket holds so many tokens; 0 when it does."""
        return max(0.0, full_at + self._interval * tokens - self._tolerance - now)


def names_of(room: str, username: str) -> tuple[str, str]:
    """The names of a join as they count.

    Raises:
        CommandError: one is empty, or has characters that it must not have.
    """
    room, username = clean_room(room), clean_username(username)
    if not room or not username:
        raise CommandError(INVALID_JOIN, "Room and username are required")
    return room, username


def clean_room(text: str) -> str:
    """A room's name as the protocol has it: trimmed, at most 50 characters; may be empty.

    Raises:
        CommandError: it holds control or bidirectional-override characters, `*`, `{` or `}`.
    """
    return _clean(text, LONGEST_ROOM, _NOT_IN_ROOMS)


def clean_username(text: str) -> str:
    """A username as the protocol has it: trimmed, at most 30 characters; may be empty.

    Raises:
        CommandError: it holds control or bidirectional-override characters.
    """
    return _clean(text, LONGEST_USERNAME, frozenset())


def _clean(text: str, longest: int, forbidden: frozenset[str]) -> str:
    # Normal form C makes at most four characters one; and putting thousands of marks in order takes seconds.
    name = unicodedata.normalize("NFC", text.strip()[: longest * 4])[:longest].rstrip()
    if name.isalnum():  # the usual name needs no closer look
        return name
    for character in name:
        if character in forbidden or character in BIDIRECTIONAL or unicodedata.category(character) in UNSHOWN:
            raise CommandError(INVALID_NAME, f"Names must not hold {character!r}")
    return name
