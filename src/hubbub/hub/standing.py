"""Whose credentials count still: looked at on entry, renewed, warned of before they end, and ended."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import TYPE_CHECKING, Final

import msgspec

from hubbub.codes import TOKEN_EXPIRES, UNAUTHENTICATED
from hubbub.errors import HandshakeError
from hubbub.hub.expiry import WARNING_SECONDS, Expiry
from hubbub.hub.identity import NOTHING, REFUSED_TOKEN, Identity
from hubbub.hub.ports import Entry
from hubbub.hub.publication import Publication
from hubbub.hub.revocations import Kind, Revocations
from hubbub.wire.messages import Warning as WarningEvent

if TYPE_CHECKING:
    from hubbub.hub.connection import Connection
    from hubbub.hub.hub import Hub

log: Final = logging.getLogger("hubbub")


class Standing:
    """What becomes of credentials over time.

    Attributes:
        revocations: those in force.
    """

    def __init__(self, hub: Hub) -> None:
        self.revocations = Revocations(hub)
        self._hub = hub
        self._expiry = Expiry(hub.runtime.call_soon, self._warn, self._expired)

    def check(self, identity: Identity) -> None:
        """Whether credentials count.

        Raises:
            HandshakeError: 401.
        """
        if self.revocations.covers(identity):
            raise HandshakeError(401, "the credentials have been revoked", REFUSED_TOKEN)
        if identity.expires is not None and identity.expires <= self._now():
            raise HandshakeError(401, "the credentials have expired", REFUSED_TOKEN)

    def watch(self, connection: Connection) -> None:
        """Ends a connection when its credentials end."""
        if connection.identity.expires is not None:
            self._expiry.watch(connection, self._now())

    def forget(self, connection: Connection) -> None:
        """The connection has ended."""
        self._expiry.forget(connection)

    def tick(self) -> None:
        """At least once a second."""
        self._expiry.tick(self._now())

    def renew(self, connection: Connection, identity: Identity) -> list[str]:
        """Gives a connection new credentials of the same user; returns the rooms that it had to leave.

        Raises:
            HandshakeError: 401: they count no more.
        """
        self.check(identity)
        connection.identity = identity
        self._expiry.watch(connection, self._now())
        grants = identity.grants
        left = [
            member
            for member in connection.members
            if grants is not None and not grants.allow("join" if member.username else "subscribe", member.room.name)
        ]
        for member in left:
            self._hub.forget(member)
        return [member.room.name for member in left]

    def revoke(self, kind: Kind, subject: str) -> Publication:
        """Ends the credentials of a token, a user or a session at once, and the connections that have them."""
        answer = self.revocations.add(kind, subject)
        self._end(kind, subject)
        return answer

    def heard(self, entries: Sequence[Entry]) -> None:
        """Other nodes have revoked something."""
        for kind, subject in self.revocations.note(entries):
            self._end(kind, subject)

    def _end(self, kind: Kind, subject: str) -> None:
        for connection in [
            connection
            for connection in self._hub.connections
            if self.revocations.covers(connection.identity)
            or (kind == "session" and connection.session is not None and connection.session.id == subject)
        ]:
            self._hub.counters.credentials_revoked += 1
            try:
                self._lock_out(connection, "the credentials have been revoked")
            except Exception:  # one connection's failure must not keep the others in
                log.exception("a connection whose credentials were revoked could not be closed")
        if kind == "session":
            self._hub.sessions.revoke(subject)

    def _now(self) -> float:
        """Unix seconds."""
        return self._hub.runtime.unix_ms() / 1000

    def _warn(self, connection: Connection) -> None:
        expires = connection.identity.expires
        if connection.announced and expires is not None:
            left_ms = max(int((expires - self._now()) * 1000), 0)
            text = f"The credentials end within {WARNING_SECONDS} seconds; refresh them"
            connection.send(WarningEvent(TOKEN_EXPIRES, text, left_ms))

    def _expired(self, connection: Connection) -> None:
        self._hub.counters.credentials_expired += 1
        self._lock_out(connection, "the credentials have expired")

    def _lock_out(self, connection: Connection, reason: str) -> None:
        """Ends a connection; what it has sent and waits to be carried out is not."""
        connection._backlog = None
        self._hub.close(connection, UNAUTHENTICATED, reason)
        connection.identity = msgspec.structs.replace(connection.identity, grants=NOTHING)
