"""Receipts of confirmed events: who was sent one, who has acknowledged it, and sending it again to the others."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Final

from hubbub.wire.codec import Item

if TYPE_CHECKING:
    from hubbub.hub.connection import Connection
    from hubbub.hub.hub import Hub
    from hubbub.hub.member import Member
    from hubbub.hub.room import Room

REDELIVERY_SECONDS: Final = 5.0
MOST_REDELIVERIES: Final = 3
# Of a room, and the names in all of them; the oldest receipts go first.
MOST_RECEIPTS: Final = 1_000
MOST_NAMES: Final = 100_000


class _Receipt:
    """One confirmed event.

    Attributes:
        names: whom it was sent to, by device.
        waiting: how often those who have not acknowledged it were sent it again on their present connection.
        due: when to send it again.
    """

    __slots__ = ("due", "item", "names", "waiting")

    def __init__(self, item: Item, names: dict[str, str], due: float) -> None:
        self.item = item
        self.names = names
        self.waiting = dict.fromkeys(names, 0)
        self.due = due

    def redeliver(self, here: dict[str, Member], now: float) -> bool:
        """Sends it again where that is due; whether it is to be sent again later."""
        mine = [(who, here[who]) for who, tries in self.waiting.items() if who in here and tries < MOST_REDELIVERIES]
        if mine and self.due <= now:
            self.due = now + REDELIVERY_SECONDS
            for who, member in mine:
                if member.reader is None and member.connection.open:
                    self.waiting[who] += 1
                    member.connection._redeliver(again(self.item))
        return bool(mine)


def again(item: Item) -> Item:
    """An event as it is sent once more."""
    return item[0], item[1][:-1] + b',"redelivered":true}'


class Receipts:
    """The receipts of one room: of those who are on this node, for events since it started.

    Attributes:
        confirmed: the seqs of the last confirmed events in the log; None while nobody has looked.
    """

    __slots__ = ("_names", "_receipts", "confirmed")

    def __init__(self) -> None:
        self.confirmed: list[int] | None = None
        self._receipts: dict[int, _Receipt] = {}
        self._names = 0

    def prepare(self, room: Room, hub: Hub) -> None:
        """A confirmed event is about to be kept: has the broker know the sessions here that have acknowledged nothing.

        From then on they get it again after a restart as well.
        """
        for member in room.members:
            if member.acked is None and member.connection.lasting:
                member.acked = member.start
                # Without a name it is nobody's acknowledgement for the others to see.
                hub.broker.acknowledge(room.name, member.key, "", member.start, lambda _: None)

    def begin(self, room: Room, seq: int, item: Item, exclude: Connection | None, hub: Hub) -> None:
        """Waits for the acknowledgements of an event that has gone out under `seq`, but not to who is excluded."""
        if self.confirmed is not None:
            self.found([*self.confirmed, seq])
        names = {}
        for member in room.members:
            if member.connection is not exclude:
                names[member.device] = member.username
        if not names:
            return
        self._receipts[seq] = _Receipt(item, names, hub.runtime.monotonic() + REDELIVERY_SECONDS)
        self._names += len(names)
        while len(self._receipts) > MOST_RECEIPTS or (self._names > MOST_NAMES and len(self._receipts) > 1):
            self._names -= len(self._receipts.pop(next(iter(self._receipts))).names)
        hub.confirm_later(room)

    def found(self, seqs: list[int]) -> None:
        """These are the confirmed events of the log."""
        self.confirmed = seqs[-MOST_RECEIPTS:]

    def acknowledge(self, device: str, seq: int) -> None:
        """Somebody has received everything up to `seq`."""
        for number, receipt in self._receipts.items():
            if number > seq:
                break
            receipt.waiting.pop(device, None)

    def returned(self, member: Member, hub: Hub) -> None:
        """Somebody is here with a new connection: what was not acknowledged is sent again there as often as before."""
        for receipt in self._receipts.values():
            if member.device in receipt.waiting:
                receipt.waiting[member.device] = 0
                hub.confirm_later(member.room)

    def redeliver(self, room: Room, now: float) -> bool:
        """Sends again what is due; whether anything is to be sent again later to those who are here."""
        waiting = [receipt for receipt in self._receipts.values() if receipt.waiting]
        here = {member.device: member for member in room.members} if waiting else {}
        again_later = [receipt.redeliver(here, now) for receipt in waiting]
        return any(again_later)

    def of(self, seq: int) -> tuple[Sequence[str], Sequence[str]]:
        """The names of those who have acknowledged a confirmed event, and of those who have not."""
        receipt = self._receipts.get(seq)
        if receipt is None:
            return (), ()
        received = [name for device, name in receipt.names.items() if device not in receipt.waiting]
        return received, [receipt.names[device] for device in receipt.waiting]
