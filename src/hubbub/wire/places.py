"""Where a client is in its rooms, as a text: what `id:`, `Last-Event-ID` and `since` hold.

A place is `epoch:seq`, or `-` for none; those of several rooms stand in the order in which the request names the rooms,
with commas between: `5d1c…:17,-,77ab…:4`. Epochs are never shared by rooms, so a place of another room is known as one.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from hubbub.wire.messages import Since

NONE: Final = "-"
MOST_ROOMS: Final = 32
"""In which one request may listen."""
LONGEST_EPOCH: Final = 64
MOST_DIGITS: Final = 18


def format_places(places: Iterable[tuple[str, int] | None]) -> str:
    """The places of rooms, None for a room of which none is known."""
    return ",".join(NONE if place is None else f"{place[0]}:{place[1]}" for place in places)


def parse_places(text: str, rooms: int) -> list[Since | None]:
    """The places of so many rooms; an empty text has none.

    Raises:
        ValueError: it is no such text, or has more or fewer places than there are rooms.
    """
    if not text:
        return [None] * rooms
    places = text.split(",")
    if len(places) != rooms:
        raise ValueError(f"there are {rooms} rooms, and {len(places)} places")
    return [_parse(place) for place in places]


def _parse(text: str) -> Since | None:
    if text == NONE:
        return None
    epoch, colon, digits = text.rpartition(":")
    if not (colon and epoch and len(epoch) <= LONGEST_EPOCH and epoch.isascii() and epoch.isprintable()):
        raise ValueError("a place is epoch:seq, or - for none")
    if not (digits.isascii() and digits.isdigit() and len(digits) <= MOST_DIGITS):
        raise ValueError("a place is epoch:seq, and seq a number")
    return Since(epoch, int(digits))
