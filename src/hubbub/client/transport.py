"""What the client needs of a way to its server: commands go in, events come out, in order, until it ends."""

from __future__ import annotations

import ssl
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final, Protocol

from hubbub.client.lane import Event
from hubbub.errors import HubbubError

CONNECT_SECONDS: Final = 10.0
"""Within these there is a connection and its first event, or it counts as unreachable."""
CLOSE_SECONDS: Final = 2.0
"""So long a server has to answer a close frame."""


class Closed(HubbubError):
    """The server ended the connection; LOST without a close frame."""

    def __init__(self, code: int, reason: str) -> None:
        super().__init__(f"{code} {reason}".rstrip())
        self.code = code
        self.reason = reason


class Blocked(HubbubError):
    """The network or the server does not let this kind of connection through; another kind may get through.

    Attributes:
        status: of the HTTP response; 0 without one.
    """

    def __init__(self, why: str, status: int = 0) -> None:
        super().__init__(why)
        self.status = status


@dataclass(frozen=True, slots=True)
class Opening:
    """How to reach the server.

    Args:
        url: the WebSocket's.
        session: to take up; empty for a new one.
        token: says who the client is; empty for none.
        headers: further ones, for proxies.
        tls: whom to trust; None for the system's authorities.
        msgpack, deflate: what to offer.
    """

    url: str
    session: str = ""
    token: str = field(default="", repr=False)
    headers: Sequence[tuple[str, str]] = ()
    tls: ssl.SSLContext | None = None
    msgpack: bool = False
    deflate: bool = False


class Transport(Protocol):
    """One connection. It is opened once; whoever opened it ends it, whatever happened.

    Attributes:
        proven: something has come over it from the server.
        resumes: it knows the command `resume`; else each room is joined.
    """

    @property
    def proven(self) -> bool: ...

    @property
    def resumes(self) -> bool: ...

    async def open(self, opening: Opening) -> None:
        """Connects.

        Raises:
            Blocked: this kind of connection does not get through.
            HandshakeError: the server refuses the client, whichever way it comes.
            OSError: nobody is there; TimeoutError is one.
        """
        ...

    def send(self, command: Event) -> None:
        """Sends a command, after those before it. Nothing happens once the connection has ended: `receive` tells so."""
        ...

    async def receive(self) -> list[Event]:
        """The next events, at least one. What is not asked for stays with the server.

        Raises:
            Closed: it has ended.
            Blocked, HandshakeError, OSError: as in `open`, where that shows later.
        """
        ...

    async def close(self) -> None:
        """Says goodbye, so that the client's rooms are left at once."""
        ...

    async def abort(self) -> None:
        """Lets go of everything at once; the server takes it for a loss, and waits for the session."""
        ...
