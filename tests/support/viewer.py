"""Somebody who looks at the dashboard, over the `websockets` library."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from websockets.sync.client import ClientConnection, connect

RECEIVE_SECONDS = 15.0
MOST_SECONDS = 30
"""How many seconds of metrics are looked at until what is waited for must have been among them."""

Event = dict[str, Any]


class Viewer:
    """One connection."""

    def __init__(self, socket: ClientConnection) -> None:
        self._socket = socket

    def send(self, **command: Any) -> None:
        self._socket.send(json.dumps(command))

    def next(self, kind: str, **fields: Any) -> Event:
        """The next event of a type and with these fields; others are passed over."""
        while not fields.items() <= (event := self.next_of(kind)).items():
            pass
        return event

    def next_of(self, *kinds: str) -> Event:
        """The next event of one of some types."""
        while True:
            event: Event = json.loads(self._socket.recv(RECEIVE_SECONDS))
            if event["type"] in kinds:
                return event

    def look(self, room: str, **fields: Any) -> Event:
        """Subscribes to a room; the answer."""
        self.send(type="subscribe", room=room, **fields)
        return self.next("room_info", room=room)

    def until(self, moved: Callable[[Event], bool]) -> Event:
        """The first metrics whose data are so."""
        for _ in range(MOST_SECONDS):
            event = self.next("metrics")
            if moved(event["data"]):
                return event
        raise AssertionError(f"after {MOST_SECONDS} s: {event}")


@contextmanager
def viewing(url: str, path: str = "/ws") -> Iterator[Viewer]:
    with connect(url + path, max_queue=None) as socket:  # what is not looked at yet must not keep a pong waiting
        yield Viewer(socket)
