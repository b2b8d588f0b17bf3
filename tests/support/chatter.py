"""A person in the chat over the `websockets` library, as JSON or MessagePack; refuses to skip events unless told to."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any

import msgspec
from websockets.exceptions import ConnectionClosed
from websockets.frames import Close
from websockets.sync.client import ClientConnection, connect
from websockets.typing import Subprotocol

from hubbub.wire.codec import MSGPACK_SUBPROTOCOL
from tests.support.recording import RecordedConnection

RECEIVE_SECONDS = 10.0
Event = dict[str, Any]


class Chatter:
    """One connection of one person.

    Attributes:
        connected: the event that came first.
    """

    def __init__(self, socket: ClientConnection) -> None:
        self.socket = socket
        self._msgpack = socket.subprotocol == MSGPACK_SUBPROTOCOL
        self.connected = self.next()

    def send(self, **fields: Any) -> None:
        """Sends a command; `type` among the fields."""
        self.socket.send(msgspec.msgpack.encode(fields) if self._msgpack else json.dumps(fields))

    def next(self) -> Event:
        """The next event, whatever it is."""
        frame = self.socket.recv(RECEIVE_SECONDS)
        assert isinstance(frame, bytes) == self._msgpack
        event: Event = msgspec.msgpack.decode(frame) if isinstance(frame, bytes) else json.loads(frame)
        return event

    def ask(self, **fields: Any) -> Event:
        """Sends a command and returns the next event."""
        self.send(**fields)
        return self.next()

    def until(self, kind: str) -> Event:
        """The next event of a type; others are passed over."""
        while (event := self.next())["type"] != kind:
            pass
        return event

    def nothing(self) -> bool:
        """Whether nothing is waiting: the next event is the reply to what is asked now."""
        reply = self.ask(type="ping", id="nothing")
        return (reply["type"], reply.get("id")) == ("ok", "nothing")

    def join(self, room: str, username: str, **fields: Any) -> Event:
        """Joins and returns the next event."""
        return self.ask(type="join", room=room, username=username, **fields)

    def end(self) -> Close:
        """Reads on until the server closes; the close frame that it sent."""
        return close_of(self.socket)


def close_of(socket: ClientConnection) -> Close:
    """The server's close frame; what comes before it is read and dropped."""
    with suppress(ConnectionClosed):
        while True:
            socket.recv(RECEIVE_SECONDS)
    close = socket.protocol.close_rcvd
    assert close is not None, "the connection was lost without a close frame"
    return close


@contextmanager
def chatting(url: str, *subprotocols: str, deflate: bool = False) -> Iterator[Chatter]:
    """Somebody who is connected for as long as the block runs."""
    offered = [Subprotocol(name) for name in subprotocols] or None
    compression = "deflate" if deflate else None
    with connect(
        url, subprotocols=offered, compression=compression, proxy=None, create_connection=RecordedConnection
    ) as socket:
        yield Chatter(socket)
