"""A session: a client across its connections. Its memberships wait for it to come back; its token says who it is."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from hashlib import blake2b
from hmac import compare_digest
from math import inf
from typing import TYPE_CHECKING, Final

import msgspec

from hubbub.errors import BrokerError
from hubbub.hub.ports import Broker
from hubbub.hub.steps import Steps

if TYPE_CHECKING:
    from hubbub.config import Sessions as Settings
    from hubbub.hub.connection import Connection
    from hubbub.hub.member import Member
    from hubbub.hub.ports import Runtime
    from hubbub.hub.room import Room

SIGNATURE_BYTES: Final = 16
CONNECTED_SECONDS: Final = 604_800.0
"""How long the other nodes find where somebody is who is connected here; a dashboard may hang on a wall for days."""
_names = msgspec.json.Decoder(dict[str, str]).decode


class Session:
    """One client.

    Attributes:
        id: names it in what is stored; the token begins with it.
        token: with which the client comes back.
        correlation_id: the id of its first connection.
        connection: the present one; None while it is away.
        members: memberships of a lost connection that nothing has taken over yet, and until when they wait.
        usernames: under which name it was in its rooms last; empty for a subscription.
    """

    __slots__ = ("away_since", "connection", "correlation_id", "id", "members", "token", "usernames")

    def __init__(self, id: str, token: str, correlation_id: str) -> None:
        self.id = id
        self.token = token
        self.correlation_id = correlation_id
        self.connection: Connection | None = None
        self.members: dict[Member, float] = {}
        self.usernames: dict[str, str] = {}
        self.away_since = 0.0

    def claim(self, room: Room) -> Member | None:
        """Takes what it was in a room out of the memberships that wait."""
        for member in self.members:
            if member.room is room:
                del self.members[member]
                return member
        return None


class Sessions:
    """The sessions of a node.

    A token is signed, and carries the life of the node in which it was made: with a broker that outlives the node, a
    client that comes back after a restart is still known, though its memberships are gone. The signature covers the
    user as well: a session is taken up by whom it belongs to. Where nodes share a broker, each of them takes up the
    sessions of all, and finds under which names these were in their rooms.

    Args:
        leave: called with each membership that nobody came back for.
        revoked: whether the session of an id can be taken up no more.
    """

    def __init__(
        self,
        runtime: Runtime,
        broker: Broker,
        settings: Settings,
        leave: Callable[[Member], None],
        revoked: Callable[[str], bool],
    ) -> None:
        self._runtime = runtime
        self._broker = broker
        self._settings = settings
        self._leave = leave
        self._revoked = revoked
        self._sessions: dict[str, Session] = {}
        self._life = ""
        self._started = runtime.monotonic()
        self._graces: deque[tuple[float, Session]] = deque()
        self._away: dict[Session, None] = {}
        self._changed: dict[Session, None] = {}

    def attach(self, connection: Connection, token: str) -> Connection | None:
        """Gives a connection the session of its token, or a new one; returns the connection that it replaces."""
        session = self._known(token, connection) or self._new(connection)
        self._away.pop(session, None)
        self._sessions[session.id] = session
        replaced, session.connection = session.connection, connection
        connection.session = session
        return replaced

    def find(self, connection: Connection, token: str) -> Session | None:
        """The session of a token, which is not taken up; None where it is another user's, or was not made by us.

        It may have ended: who it was for what is stored it is still.
        """
        id, life = self._verified(token, connection.identity.user)
        return (self._sessions.get(id) or Session(id, token, connection.id)) if life else None

    def _verified(self, token: str, user: str) -> tuple[str, str]:
        """The session's id, and the life of the node that made it; nothing where the token does not count."""
        id, _, rest = token.partition(".")
        life, _, signature = rest.partition(".")
        signed = self._sign(id, life, user)
        if not compare_digest(signed.encode(), signature.encode(errors="replace")) or self._revoked(id):
            return "", ""
        return id, life

    def _known(self, token: str, connection: Connection) -> Session | None:
        id, life = self._verified(token, connection.identity.user)
        if not life:
            return None
        session = self._sessions.get(id)
        elsewhere = life != self._life and not self._forgotten(self._started)
        if session is None and (elsewhere or self._broker.shared):
            session = Session(id, token, connection.id)
        return session

    def _forgotten(self, since: float) -> bool:
        return self._runtime.monotonic() - since >= self._settings.session_seconds

    def _new(self, connection: Connection) -> Session:
        self._life = self._life or self._runtime.new_id()
        id = self._runtime.new_id()
        signature = self._sign(id, self._life, connection.identity.user)
        return Session(id, f"{id}.{self._life}.{signature}", connection.id)

    def _sign(self, id: str, life: str, user: str) -> str:
        content = f"{id}.{life}.{user}".encode(errors="replace")
        return blake2b(content, key=self._broker.secret, digest_size=SIGNATURE_BYTES).hexdigest()

    def remember(self, session: Session, room: str, username: str, most: int) -> None:
        """Notes under which name it is in a room, in the room joined last at the end; forgets the first of too many."""
        session.usernames.pop(room, None)
        session.usernames[room] = username
        while len(session.usernames) > most:
            del session.usernames[next(iter(session.usernames))]
        self._changed[session] = None

    def forget(self, session: Session, room: str) -> None:
        """It has left a room."""
        session.usernames.pop(room, None)
        self._changed[session] = None

    def usernames(self, session: Session) -> Steps:
        """Under which name it was in each of its rooms last, on whichever node that was."""
        stored = b""
        if self._broker.shared:
            with suppress(BrokerError):
                stored = yield partial(self._broker.noted, _key(session))
        return {**(_names(stored) if stored else {}), **session.usernames}

    def _note(self, session: Session, seconds: float) -> None:
        self._changed.pop(session, None)
        if self._broker.shared:
            self._broker.note(_key(session), msgspec.json.encode(session.usernames), seconds)

    def detach(self, connection: Connection, members: tuple[Member, ...]) -> None:
        """The connection has ended: its session is away, and these memberships wait for it."""
        session = connection.session
        if session is None:
            return
        now = self._runtime.monotonic()
        if members:
            until = now + self._settings.grace_seconds
            session.members.update(dict.fromkeys(members, until))
            self._graces.append((until, session))
        if session.connection is connection:
            session.connection = None
            session.away_since = now
            self._note(session, self._settings.session_seconds)
            self._away[session] = None
            if len(self._away) > self._settings.max_sessions:
                self._end(next(iter(self._away)))

    def tick(self) -> None:
        """Ends what has waited long enough."""
        now = self._runtime.monotonic()
        for session in list(self._changed):
            self._note(session, CONNECTED_SECONDS)
        while self._graces and self._graces[0][0] <= now:
            self.give_up(self._graces.popleft()[1], now)
        while self._away and self._forgotten(next(iter(self._away)).away_since):
            self._end(next(iter(self._away)))

    def waiting(self) -> list[Member]:
        """Memberships that wait for somebody who is not connected."""
        return [member for session in self._away for member in session.members]

    def give_up(self, session: Session, until: float = inf) -> None:
        """Ends the memberships that have waited long enough, or all."""
        for member in [member for member, end in session.members.items() if end <= until]:
            del session.members[member]
            self._leave(member)

    def revoke(self, id: str) -> None:
        """Ends a session that nobody is connected with; those who were in rooms leave."""
        session = self._sessions.get(id)
        if session is not None and session in self._away:
            self._end(session)

    def _end(self, session: Session) -> None:
        del self._away[session]
        del self._sessions[session.id]
        self._changed.pop(session, None)
        self.give_up(session)


def _key(session: Session) -> str:
    return f"session:{session.id}"
