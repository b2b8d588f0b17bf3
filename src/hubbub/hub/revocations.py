"""What counts no more though it has not expired: tokens, users, sessions. Kept in a log, as everything that is kept."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Final, Literal

import msgspec

from hubbub.errors import BrokerError
from hubbub.hub.identity import Identity
from hubbub.hub.pages import between
from hubbub.hub.ports import Entry
from hubbub.hub.publication import Publication
from hubbub.hub.steps import Steps, Walk
from hubbub.wire.messages import Event

if TYPE_CHECKING:
    from hubbub.hub.hub import Hub
    from hubbub.hub.room import Room

log: Final = logging.getLogger("hubbub")
ROOM: Final = "{revocations}"
"""The room that they are kept in: no client can name it."""
MOST: Final = 100_000
Kind = Literal["token", "user", "session"]


class Revoked(Event, tag="revoked"):
    """Something counts no more.

    Attributes:
        at: since when, Unix seconds: a user's credentials that were made later count.
    """

    kind: Kind
    subject: str
    at: float


_decode = msgspec.json.Decoder(Revoked).decode


class Revocations:
    """Those in force.

    Attributes:
        loaded: the log has been read; nobody may be let in before.
    """

    def __init__(self, hub: Hub) -> None:
        self.loaded = False
        self._hub = hub
        self._room: Room | None = None
        self._at: dict[tuple[str, str], float] = {}
        self._waiting: list[Callable[[BrokerError | None], None]] = []

    def load(self, loaded: Callable[[BrokerError | None], None]) -> None:
        """Reads the log where it has not been read, and calls back."""
        if self.loaded:
            loaded(None)
            return
        self._waiting.append(loaded)
        if len(self._waiting) == 1:
            Walk(self._read(), self._was_read).go_on()

    def _read(self) -> Steps:
        room = self._room = self._hub.room(ROOM)
        room.holds = 1  # for ever: what other nodes revoke is told of open rooms
        yield room.open
        entries = yield from between(self._hub.broker, room, 0, room.head)
        self.note(entries)
        self._at = dict(sorted(self._at.items(), key=lambda noted: noted[1]))  # some may have been added meanwhile

    def note(self, entries: Sequence[Entry]) -> list[tuple[Kind, str]]:
        """Puts what was kept in force; returns what it is."""
        found = [_decode(entry.payload) for entry in entries]
        for revoked in found:
            self._note(revoked)
        return [(revoked.kind, revoked.subject) for revoked in found]

    def _was_read(self, result: object) -> None:
        error = BrokerError(f"revocations cannot be read: {result}") if isinstance(result, Exception) else None
        self.loaded = error is None
        waiting, self._waiting = self._waiting, []
        for loaded in waiting:
            loaded(error)

    def add(self, kind: Kind, subject: str) -> Publication:
        """Puts one in force at once; the answer is known once it is kept, and counts after a restart as well."""
        revoked = Revoked(kind, subject, self._hub.runtime.unix_ms() / 1000)
        self._note(revoked)
        return self._hub.room(ROOM).publish(revoked)

    def _note(self, revoked: Revoked) -> None:
        key = revoked.kind, revoked.subject
        self._at[key] = max(revoked.at, self._at.pop(key, 0.0))  # one may be in force already that is read later
        oldest = self._hub.runtime.unix_ms() / 1000 - self._hub.config.auth.revocation_seconds
        while len(self._at) > MOST or next(iter(self._at.values())) < oldest:
            if len(self._at) > MOST:
                log.warning("more than %d revocations are in force: the oldest counts no more", MOST)
            del self._at[next(iter(self._at))]
            if not self._at:
                break

    def covers(self, identity: Identity) -> bool:
        """Whether these credentials count no more."""
        if not self._at:
            return False
        if identity.token and ("token", identity.token) in self._at:
            return True
        at = self._at.get(("user", identity.user)) if identity.user else None
        # Whoever made them may have a clock that is ahead of ours.
        return at is not None and identity.issued <= at + self._hub.config.auth.jwt_leeway_seconds

    def covers_session(self, id: str) -> bool:
        """Whether a session can be taken up no more."""
        return ("session", id) in self._at
