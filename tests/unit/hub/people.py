"""What the tests of who may do what share: clients that have said who they are, and time that passes for them."""

from __future__ import annotations

from typing import Any

from hubbub.config import Auth, Config, Limits
from hubbub.errors import HandshakeError
from hubbub.hub.connection import Connection
from hubbub.hub.identity import Credentials, Grants, Identity
from hubbub.hub.ports import Endpoint
from tests.unit.fakes import Bench, RecordingTransport, tape
from tests.unit.hub.rooms import ask

NOW = 1000.0
"""When every bench begins, Unix seconds."""


def unlimited(**auth: Any) -> Config:
    """Settings without a rate, and these of authentication."""
    return Config(limits=Limits(rate_limit=0, user_rate=0, room_rate=0), auth=Auth(**auth))


def known(user: str = "ada", **fields: Any) -> Identity:
    """Who is called as the id says."""
    return Identity(user=user, **{"name": user, **fields})


def granted(*verbs: str, room: str = "*") -> Grants:
    return Grants(((room, frozenset(verbs)),))


def enter(
    bench: Bench,
    identity: Identity | None = None,
    session: str | None = None,
    address: str = "",
    endpoint: Endpoint | None = None,
) -> Connection:
    """A connection that was let in, with all that it was told on its tape."""
    identity = identity or known()
    bench.hub.admit(address, identity)
    transport = RecordingTransport()
    remote = (address, 4711) if address else None
    connection = bench.hub.open(endpoint or bench.endpoint, transport, remote, session, identity)
    connection.data["tape"] = transport
    bench.hub.opened(connection)
    return connection


def within(bench: Bench, identity: Identity | None = None, session: str | None = None) -> Connection:
    """The same, in the lobby; what it was told until then is forgotten."""
    connection = enter(bench, identity, session)
    username = connection.identity.name or "nobody"
    assert ask(bench, connection, "join", room="lobby", username=username)["type"] == "room_info"
    tape(connection).forget()
    return connection


def live(bench: Bench, seconds: int) -> None:
    """Time passes, and everybody answers pings."""
    for _ in range(seconds):
        bench.tick()
        for connection in list(bench.hub.connections):
            bench.hub.pong(connection)
    bench.runtime.settle()


def closes(connection: Connection) -> list[Any]:
    """Code and reason of each close that its transport was asked for."""
    return [action for action in tape(connection).actions if isinstance(action, tuple)]


def warnings(connection: Connection) -> list[Any]:
    """The codes of the warnings that it was sent, with their `retryAfter`."""
    events = [event for event in tape(connection).events if isinstance(event, dict)]
    return [(event["code"], event["retryAfter"]) for event in events if event["type"] == "warning"]


class Issuer:
    """Says whose a token is: `hub.authenticate`."""

    def __init__(self, **tokens: Identity) -> None:
        self.tokens = tokens
        self.asked: list[Credentials] = []

    async def __call__(self, credentials: Credentials) -> Identity:
        self.asked.append(credentials)
        if credentials.token not in self.tokens:
            raise HandshakeError(401, "The token is none")
        return self.tokens[credentials.token]
