"""A reader of Server-Sent Events, written from the standard alone (WHATWG HTML, section 9.2.6)."""

from __future__ import annotations

import re
from typing import NamedTuple

_ENDS = re.compile(rb"\r\n|\r(?!$)|\n")


class Dispatched(NamedTuple):
    """An event as a page gets it: its type, its data, and the last id that there was."""

    type: str
    data: str
    last_id: str


class EventSourceParser:
    """Bytes in, events out.

    Attributes:
        last_id: what would be sent as `Last-Event-ID`.
        retry: milliseconds until the next attempt, as far as the server has said.
        comments: how many there were.
    """

    def __init__(self) -> None:
        self.last_id = ""
        self.retry: int | None = None
        self.comments = 0
        self._rest = b""
        self._id = self._type = ""
        self._data: list[str] = []

    def feed(self, data: bytes) -> list[Dispatched]:
        """The events that are complete with these bytes."""
        *lines, self._rest = _ENDS.split(self._rest + data)
        return [event for line in lines if (event := self._line(line.decode())) is not None]

    def _line(self, line: str) -> Dispatched | None:
        if not line:
            return self._dispatch()
        name, _, value = line.partition(":")
        value = value.removeprefix(" ")
        match name:
            case "":
                self.comments += 1
            case "event":
                self._type = value
            case "data":
                self._data.append(value)
            case "id" if "\0" not in value:
                self._id = value
            case "retry" if value.isascii() and value.isdigit():
                self.retry = int(value)
        return None

    def _dispatch(self) -> Dispatched | None:
        self.last_id = self._id
        data, self._data = self._data, []
        kind, self._type = self._type, ""
        return Dispatched(kind or "message", "\n".join(data), self.last_id) if data else None
