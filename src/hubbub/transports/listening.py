"""What those who listen over plain HTTP ask for: rooms, places, history."""

from __future__ import annotations

import re
from typing import Final
from urllib.parse import parse_qsl

from hubbub.errors import HandshakeError
from hubbub.hub.limits import clean_room
from hubbub.hub.pages import MOST_EVENTS
from hubbub.hub.streams import Wanted
from hubbub.wire.places import MOST_ROOMS, parse_places

SSE_PATH: Final = "/sse"
LINES_PATH: Final = "/stream"
POLL_PATH: Final = "/poll"
USUAL_SECONDS: Final = 25.0
"""Shorter than the 30 s after which the most impatient proxies give up."""
MOST_SECONDS: Final = 60.0
_SECONDS: Final = re.compile(r"[0-9]{1,4}(\.[0-9]{1,3})?")
_COUNT: Final = re.compile(r"[0-9]{1,6}")


def read_wanted(text: bytes, place: str = "", most: int = MOST_ROOMS) -> tuple[Wanted, dict[str, str]]:
    """What the query of a request asks for, and its fields but for the rooms.

    Args:
        place: the header Last-Event-ID, which beats `since`.
        most: how many rooms there may be.

    Raises:
        HandshakeError: 400: there is no sense in it.
        CommandError: a room's name is none.
    """
    fields = _fields(text)
    rooms = tuple(map(clean_room, fields.pop("room", [])))
    if not 1 <= len(rooms) <= most or not all(rooms) or len(set(rooms)) < len(rooms):
        raise HandshakeError(400, f"room: 1 to {most} rooms are named, each once")
    single = {name: values[0] for name, values in fields.items() if len(values) == 1}
    if len(single) < len(fields):
        raise HandshakeError(400, "only room is given more than once")
    try:
        since = tuple(parse_places(place or single.get("since", ""), len(rooms)))
    except ValueError as error:
        raise HandshakeError(400, f"{'Last-Event-ID' if place else 'since'}: {error}") from None
    history = _number(single, "history", _COUNT, 0, MOST_EVENTS)
    return Wanted(rooms, since, int(history), single.get("username")), single


def read_seconds(fields: dict[str, str]) -> float:
    """How long a poll may wait.

    Raises:
        HandshakeError: 400: `timeout` is no such time.
    """
    return _number(fields, "timeout", _SECONDS, USUAL_SECONDS, MOST_SECONDS)


def _fields(text: bytes) -> dict[str, list[str]]:
    try:
        pairs = parse_qsl(text.decode("ascii"), keep_blank_values=True, errors="strict")
    except ValueError:
        raise HandshakeError(400, "the query is not UTF-8") from None
    fields: dict[str, list[str]] = {}
    for name, value in pairs:
        fields.setdefault(name, []).append(value)
    return fields


def _number(fields: dict[str, str], name: str, form: re.Pattern[str], usual: float, most: float) -> float:
    text = fields.get(name)
    if text is None:
        return usual
    if not form.fullmatch(text) or float(text) > most:
        raise HandshakeError(400, f"{name}: a number from 0 to {most:g}")
    return float(text)
