"""Somebody who listens to rooms over HTTP, with httpx: Server-Sent Events or JSON lines; what comes is recorded."""

from __future__ import annotations

import json
from collections import deque
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import httpx

from hubbub.wire.places import format_places
from tests.support import recording
from tests.support.event_source import EventSourceParser

SECONDS = 10.0
SSE, LINES = "/sse", "/stream"
Event = dict[str, Any]


class Listener:
    """One stream.

    Attributes:
        response: its head.
        connected: the event that came first.
        infos: the `room_info` of each room.
        last_id: what a browser would come back with.
    """

    def __init__(self, response: httpx.Response, since: Mapping[str, Event | None]) -> None:
        self.response = response
        self.parser = EventSourceParser()
        self.last_id = ""
        self._bytes = response.iter_bytes()
        self._sse = response.headers["content-type"] == "text/event-stream"
        self._rest = b""
        self._events: deque[tuple[Event, str]] = deque()
        self._places: dict[str, tuple[str, int] | None] = {
            room: None if place is None else (place["epoch"], place["seq"]) for room, place in since.items()
        }
        self._record = recording.client()
        self.infos: dict[str, Event] = {}
        self.connected = self.next()
        for room, place in since.items():
            self._record.sent({"type": "subscribe", "room": room, "since": place})

    def next(self) -> Event:
        """The next event; the stream's end is an error."""
        while not self._events:
            self._events.extend(self._take(next(self._bytes)))
        event, self.last_id = self._events.popleft()
        self._record.received(event)
        if event["type"] == "room_info":
            self.infos[event["room"]] = event
        if event["type"] in ("room_info", "gap") or ("seq" in event and not event.get("redelivered")):
            epoch = event.get("epoch") or (self._places[event["room"]] or ("",))[0]
            self._places[event["room"]] = (epoch, event["seq"])
        if self._sse:
            assert self.last_id in ("", self.places)
        return event

    def _take(self, data: bytes) -> list[tuple[Event, str]]:
        if self._sse:
            found = [(json.loads(event.data), event.type, event.last_id) for event in self.parser.feed(data)]
            assert all(event["type"] == kind for event, kind, _ in found)
            return [(event, last_id) for event, _, last_id in found]
        *lines, self._rest = (self._rest + data).split(b"\n")
        return [(json.loads(line), "") for line in lines if line]

    @property
    def places(self) -> str:
        """Where it is, as the events say that were taken."""
        return format_places(self._places.values())

    def until(self, kind: str) -> Event:
        """The next event of a type; others are passed over."""
        while (event := self.next())["type"] != kind:
            pass
        return event

    def texts(self, count: int) -> list[str]:
        """The texts of so many events that have one."""
        found: list[str] = []
        while len(found) < count:
            event = self.next()
            found += [event["text"]] if "text" in event else []
        return found

    def ended(self) -> bool:
        """Whether nothing more comes, to the end of the connection."""
        return not self._events and b"".join(self._bytes).strip(b"\n:") == b""


@contextmanager
def listening(
    url: str,
    *rooms: str,
    headers: Mapping[str, str] | None = None,
    since: str = "",
    last_event_id: str = "",
    **query: str,
) -> Iterator[Listener]:
    """Somebody who listens for as long as the block runs; url is that of the path."""
    places = last_event_id or since
    asked: dict[str, Event | None] = dict.fromkeys(rooms)
    for room, place in zip(rooms, places.split(","), strict=False):
        epoch, _, seq = place.partition(":")
        asked[room] = {"epoch": epoch, "seq": int(seq)} if seq else None
    parameters = [*(("room", room) for room in rooms), *query.items(), *((("since", since),) if since else ())]
    shown = {**(headers or {}), **({"last-event-id": last_event_id} if last_event_id else {})}
    with (
        httpx.Client(timeout=SECONDS) as client,
        client.stream("GET", url, params=parameters, headers=shown) as response,
    ):
        assert response.status_code == 200, response.read()
        listener = Listener(response, asked)  # held here: with its iterator the response would end
        yield listener
