"""Somebody who reads a room and says something there, over each transport; with clients that are not ours."""

from __future__ import annotations

import json
import ssl
from collections import deque
from collections.abc import Iterator
from contextlib import ExitStack
from types import TracebackType
from typing import Any, ClassVar, Final, Self
from urllib.parse import quote, urlencode

import httpx
from websockets.sync.client import ClientConnection, connect

from tests.support.history import Client

SECONDS: Final = 10.0
FAR: Final = 1 << 30
"""A poll says that there is more, not how much."""
Event = dict[str, Any]


class Refused(Exception):
    """A request that was not answered with 2xx.

    Attributes:
        status: the HTTP status.
    """

    def __init__(self, status: int, content: str) -> None:
        super().__init__(f"{status}: {content}")
        self.status = status


class Reader:
    """Reads one room over one transport from a place on.

    Attributes:
        info: the `room_info` with which it began; of a poll, what would stand there.
        place: up to where it has read, as `since` takes it.

    Args:
        url: of the server, `http://host:port`.
        record: of its client in the test's history.
        place: where it begins; empty for the end of the log.
        headers: of each of its requests.
        timeout: of a poll, seconds.
    """

    transport: ClassVar[str]

    def __init__(
        self,
        url: str,
        room: str,
        record: Client,
        place: str = "",
        *,
        history: int = 0,
        headers: dict[str, str] | None = None,
        tls: ssl.SSLContext | None = None,
        timeout: float = 5,
    ) -> None:
        self.room = room
        self.place = place
        self.info: Event = {}
        self._url = url
        self._record = record
        self._history = history
        self._headers = headers or {}
        self._timeout = timeout
        self._tls = tls
        self._sockets = ExitStack()
        client = httpx.Client(base_url=url, headers=self._headers, verify=tls or True, timeout=SECONDS)
        self._http = self._sockets.enter_context(client)
        try:
            self._begin()
        except BaseException:
            self._sockets.close()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    def _begin(self) -> None:
        raise NotImplementedError

    def next(self) -> Event:
        """The next event that is kept, or `gap`."""
        raise NotImplementedError

    def read(self, count: int) -> list[Event]:
        """The next so many."""
        return [self.next() for _ in range(count)]

    def place_of(self, event: Event) -> str:
        """The place of one of its events."""
        return f"{self.place.rpartition(':')[0]}:{event['seq']}"

    def close(self) -> None:
        self._sockets.close()
        self._record.disconnected()

    def say(self, text: str, message_id: str, username: str = "ada") -> int:
        """Says something in the room, the same way; its seq, once it is kept."""
        said = self._http.post(
            f"/api/rooms/{quote(self.room, safe='')}/messages",
            json={"text": text, "username": username},
            headers={"idempotency-key": message_id},
        )
        if said.is_error:
            raise Refused(said.status_code, said.text)
        seq: int = said.json()["seq"]
        return seq

    # What subclasses share

    def _query(self) -> str:
        given: dict[str, str | int] = {"room": self.room}
        if self.place:
            given["since"] = self.place
        if self._history:
            given["history"] = self._history
        return urlencode(given)

    def _asks(self) -> None:
        """Tells the history from where it reads."""
        command: Event = {"type": "subscribe", "room": self.room}
        if self.place:
            epoch, _, seq = self.place.rpartition(":")
            command["since"] = {"epoch": epoch, "seq": int(seq)}
        self._record.connected()
        self._record.sent(command)

    def _take(self, event: Event) -> bool:
        """Notes an event; whether it is one that `next` gives."""
        self._record.received(event)
        kind = event["type"]
        if kind == "error":
            raise Refused({"forbidden": 403, "invalid_name": 400}.get(event["code"], 500), json.dumps(event))
        if kind in ("room_info", "gap"):
            self.place = f"{event['epoch']}:{event['seq']}"
        elif "seq" in event:
            self.place = self.place_of(event)
        if kind == "room_info":
            self.info = event
        return kind == "gap" or (kind != "room_info" and "seq" in event)


class WebSocketReader(Reader):
    """By `subscribe`, over the `websockets` library."""

    transport = "websocket"

    def _begin(self) -> None:
        self._ready: deque[Event] = deque()
        self._speaker: ClientConnection | None = None
        self._socket = self._connect()
        connected = json.loads(self._socket.recv(SECONDS))
        self._asks()
        self._record.received(connected)
        command: Event = {"type": "subscribe", "room": self.room, "history": self._history}
        if self.place:
            epoch, _, seq = self.place.rpartition(":")
            command["since"] = {"epoch": epoch, "seq": int(seq)}
        self._socket.send(json.dumps(command))
        while not self.info:
            self._receive()

    def _receive(self) -> None:
        event = json.loads(self._socket.recv(SECONDS))
        if self._take(event):
            self._ready.append(event)
        elif event["type"] == "room_info":
            self._ready.extend(event["messages"])

    def next(self) -> Event:
        while not self._ready:
            self._receive()
        return self._ready.popleft()

    def _connect(self) -> ClientConnection:
        url = self._url.replace("http", "ws", 1) + "/ws"
        dialled = connect(url, compression=None, proxy=None, ssl=self._tls, additional_headers=self._headers)
        return self._sockets.enter_context(dialled)

    def say(self, text: str, message_id: str, username: str = "ada") -> int:
        """By a `message` on a connection of its own."""
        if self._speaker is None:
            self._speaker = self._connect()
            self._speaker.send(json.dumps({"type": "join", "room": self.room, "username": username}))
        self._speaker.send(json.dumps({"type": "message", "text": text, "messageId": message_id, "id": message_id}))
        while (event := json.loads(self._speaker.recv(SECONDS))).get("id") != message_id:
            pass
        if event["type"] == "error":
            raise Refused(403, json.dumps(event))
        seq: int = event["seq"]
        return seq


class StreamReader(Reader):
    """Over one answer that does not end, a line an event."""

    transport = "stream"
    path: ClassVar[str] = "/stream"

    def _begin(self) -> None:
        request = self._http.build_request("GET", f"{self.path}?{self._query()}")
        self._answer = self._http.send(request, stream=True)
        if self._answer.is_error:
            raise Refused(self._answer.status_code, self._answer.read().decode())
        self._asks()
        self._events = self._read_events(self._answer.iter_lines())
        while not self.info:
            self._take(next(self._events))

    def _read_events(self, lines: Iterator[str]) -> Iterator[Event]:
        for line in lines:
            if line:
                yield json.loads(line)

    def next(self) -> Event:
        while not self._take(event := next(self._events)):
            pass
        return event

    def close(self) -> None:
        self._answer.close()
        super().close()


class SseReader(StreamReader):
    """Over Server-Sent Events, read as the HTML standard says; each id is its place."""

    transport = "sse"
    path = "/sse"

    def _read_events(self, lines: Iterator[str]) -> Iterator[Event]:
        fields: dict[str, str] = {}
        for line in lines:
            if line:
                name, _, value = line.partition(":")
                fields[name] = value.removeprefix(" ")
            elif "data" in fields:
                event = json.loads(fields["data"])
                assert fields.get("event", "message") == event["type"], fields
                yield event
                assert fields.get("id", self.place) == self.place, (fields, self.place)
                fields = {}


class PollReader(Reader):
    """By polls, one after the other, each a request of its own."""

    transport = "poll"

    def _begin(self) -> None:
        self._ready: deque[Event] = deque()
        self._poll(0)

    def _poll(self, timeout: float) -> None:
        answer = self._http.get(f"/poll?{self._query()}&timeout={timeout}")
        if answer.is_error:
            raise Refused(answer.status_code, answer.text)
        said = answer.json()
        epoch, _, seq = said["since"].rpartition(":")
        head = int(seq) + (FAR if said["more"] else 0)
        self._asks()
        info = {"type": "room_info", "room": self.room, "epoch": epoch, "seq": int(seq), "head": head}
        info |= {"recovered": said["recovered"], "messages": said["events"]}
        self._record.received(info)
        if self.info and said["recovered"] is False:
            self._ready.append({"type": "gap", "room": self.room, "epoch": epoch, "seq": int(seq)})
        self.place, self._history = said["since"], 0
        self.info = self.info or info
        self._ready.extend(said["events"])

    def next(self) -> Event:
        while not self._ready:
            self._poll(self._timeout)
        return self._ready.popleft()


READERS: Final = {reader.transport: reader for reader in (WebSocketReader, SseReader, StreamReader, PollReader)}
