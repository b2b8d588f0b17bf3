"""What those who listen over plain HTTP ask for: rooms, places, history; as requests say it, and as OpenAPI does."""

from __future__ import annotations

import re
from typing import Annotated, Any, Final
from urllib.parse import parse_qsl

import msgspec
from msgspec import UNSET, Meta, UnsetType

from hubbub.errors import HandshakeError
from hubbub.hub.limits import clean_room
from hubbub.hub.room import MOST_EVENTS
from hubbub.hub.streams import Wanted
from hubbub.transports.api_operation import ROOM_NAME, Described, Query
from hubbub.wire.places import MOST_ROOMS, parse_places
from hubbub.wire.sse import JsonLines, RoomEvents

SSE_PATH: Final = "/sse"
LINES_PATH: Final = "/stream"
POLL_PATH: Final = "/poll"
USUAL_SECONDS: Final = 25.0
"""Shorter than the 30 s after which the most impatient proxies give up."""
MOST_SECONDS: Final = 60.0
_SECONDS: Final = re.compile(r"[0-9]{1,4}(\.[0-9]{1,3})?")
_COUNT: Final = re.compile(r"[0-9]{1,6}")


# As requests say it


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


# As OpenAPI does


class Streaming(Query):
    """What a stream asks for."""

    room: Annotated[
        list[Annotated[str, Meta(pattern=ROOM_NAME)]],
        Meta(min_length=1, max_length=MOST_ROOMS, description="The rooms, each once: `room=a&room=b`."),
    ]
    since: Annotated[
        str,
        Meta(
            description="Where to begin: of each room `epoch:seq` or `-`, with commas between. Last-Event-ID beats it."
        ),
    ] = ""
    history: Annotated[
        int, Meta(ge=0, le=MOST_EVENTS, description="So many of the last events of each room where there is no place.")
    ] = 0
    username: Annotated[str, Meta(description="Is a member of the rooms under this name.")] | UnsetType = UNSET
    session: Annotated[str, Meta(description="The token of a session; empty for a new one.")] | UnsetType = UNSET


class Polling(Streaming):
    """What a poll asks for."""

    since: Annotated[str, Meta(description="The last answer's `since`.")] = ""
    timeout: Annotated[float, Meta(ge=0, le=MOST_SECONDS, description="How many seconds the answer may wait.")] = (
        USUAL_SECONDS
    )


class Polled(msgspec.Struct):
    """What a poll is answered with.

    Attributes:
        events: kept events behind the places, as members get them.
        since: the places to go on from.
        recovered: false where something is missing before the events; null where no place was given.
        more: there is more already.
        session: the token, where one was asked for.
    """

    events: list[dict[str, Any]]
    since: str
    recovered: bool | None
    more: bool
    session: str | UnsetType = UNSET


LISTENING: Final = (
    Described(
        name="listen",
        method="GET",
        path=SSE_PATH,
        summary="What happens in rooms, as Server-Sent Events: a response that goes on.",
        query=Streaming,
        text=RoomEvents.kind.decode(),
        tag="listening",
    ),
    Described(
        name="listenToLines",
        method="GET",
        path=LINES_PATH,
        summary="The same as JSON, one object a line.",
        query=Streaming,
        text=JsonLines.kind.decode(),
        tag="listening",
    ),
    Described(
        name="poll",
        method="GET",
        path=POLL_PATH,
        summary="What rooms have kept behind a place, as soon as there is something.",
        query=Polling,
        answer=Polled,
        refused=(409,),
        tag="listening",
    ),
)
"""Carried out by stream.py and poll.py; for those that carry themselves out see `api_table`."""
