"""What one turn published in a room, on its way through the broker to the members."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Final

import msgspec

from hubbub.codes import MESSAGE_ID_CONFLICT
from hubbub.errors import BrokerError, CommandError
from hubbub.hub.ports import CONFLICT, Kept
from hubbub.hub.publication import Publication
from hubbub.wire.codec import EVENT, Batch, Item

if TYPE_CHECKING:
    from hubbub.hub.connection import Connection
    from hubbub.hub.room import Room

log: Final = logging.getLogger("hubbub")
NOTHING: Final = Kept(0, {})
"""The broker's answer where nothing is to be kept."""


class Flight(msgspec.Struct, eq=False):
    """It waits for the broker's answer, and for the flights before it.

    Attributes:
        answer: the broker's; None until it is there.
        newcomers: members that came while it was under way, and how many of its publications were there before them:
            those of them that are not kept are not for them.
        leavers: members that left while it was under way; it is still for them.
        landed: called once it has gone out.
    """

    room: Room
    publications: list[Publication]
    newcomers: dict[Connection, int]
    leavers: list[Connection] | None = None
    answer: Kept | BrokerError | None = None
    landed: list[Callable[[None], None]] | None = None
    _items: list[Any] = []
    _special: dict[Connection, int] | None = None
    _partial: bool = False

    def answered(self, answer: Kept | BrokerError) -> None:
        """The broker has kept its events, or has not."""
        self.answer = answer
        self.room.land()

    def settle(self, answer: Kept | BrokerError) -> int:
        """Tells publishers what became of their events; returns the log's end behind them."""
        if isinstance(answer, BrokerError):
            log.error("events of a room could not be kept: room=%r error=%s", self.room.name, answer)
            self._items = [self._refuse(publication, answer) for publication in self.publications]
            self._partial = True
            return self.room.head
        seq, repeats = answer.first, answer.repeats
        prefix, items, index = self.room.seq_prefix, self._items, 0
        for publication in self.publications:
            if publication.exclude is not None:
                self._exclude(publication.exclude)
            if not publication.keep:
                items.append(self._ephemeral(publication))
                continue
            if index in repeats:
                items.append(self._repeat(publication, repeats[index]))
                self._partial = True
            else:
                items.append((EVENT, b"%b%b%d}" % (publication.payload[:-1], prefix, seq)))
                publication.kept(seq)
                seq += 1
            index += 1
        return max(seq - 1, self.room.head)

    def _exclude(self, connection: Connection) -> None:
        if self._special is None:
            self._special = {}
        self._special[connection] = 0

    def _ephemeral(self, publication: Publication) -> Item:
        if publication.kind == EVENT:
            return EVENT, publication.payload[:-1] + self.room.suffix
        return publication.kind, publication.payload

    def _refuse(self, publication: Publication, error: BrokerError) -> Item | None:
        if not publication.keep:
            return self._ephemeral(publication)
        publication.failed(error)
        return None

    def _repeat(self, publication: Publication, seq: int) -> Item | None:
        if seq == CONFLICT:
            publication.failed(CommandError(MESSAGE_ID_CONFLICT, "This messageId stands for another message"))
        else:
            publication.repeated = True
            publication.kept(seq)
        return None

    def tell_landed(self) -> None:
        """It has gone out."""
        for callback in self.landed or ():
            try:
                callback(None)
            except Exception:  # one who waits must not keep the room from going on
                log.exception("who waited for events to go out failed: room=%r", self.room.name)

    def batch(self) -> Batch:
        """What members get."""
        return Batch([item for item in self._items if item is not None] if self._partial else self._items)

    def personal(self) -> dict[Connection, Batch]:
        """What those get who are excluded from a part, or came too late for it."""
        if self._special is None and not self.newcomers:
            return NOBODY
        special = {**(self._special or {}), **self.newcomers}
        return {connection: Batch(self._share(connection, first)) for connection, first in special.items()}

    def _share(self, connection: Connection, first: int) -> list[Item]:
        """What is kept is for everyone, the rest not for who came later or is excluded."""
        return [
            item
            for index, (publication, item) in enumerate(zip(self.publications, self._items, strict=True))
            if item is not None and publication.exclude is not connection and (publication.keep or index >= first)
        ]


NOBODY: Final[dict[Connection, Batch]] = {}
