"""Places in a room's log, and pages of it, as replies hold them."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

import msgspec

from hubbub.hub.ports import Broker, Entry, Portion
from hubbub.hub.room import MOST_BYTES, MOST_EVENTS, Room
from hubbub.hub.steps import Steps
from hubbub.wire.messages import Since


def has(room: Room, since: Since) -> bool:
    """Whether a position is one of the room's log, as far as this node was told of it."""
    return since.epoch == room.epoch and 0 <= since.seq <= room.head


def last(room: Room, history: int, *, may_read: bool) -> int:
    """Where the last events begin that somebody gets who goes by no position.

    A latest-only room gives all that it holds, however few are asked for: a state is told as a whole.

    Args:
        may_read: whether they may know what was said before.
    """
    if room.policy.latest_only:
        return 0 if may_read else room.head
    return max(room.head - history, 0)


def out(room: Room, portion: Portion) -> Sequence[Entry]:
    """Those that have gone out to members."""
    return [entry for entry in portion.entries if entry.seq <= room.head]


def messages(room: Room, entries: Sequence[Entry]) -> list[msgspec.Raw]:
    """Entries as members get them."""
    return [msgspec.Raw(room.item(entry.seq, entry.payload)[1]) for entry in entries]


def between(broker: Broker, room: Room, after: int, last: int, limit: int | None = None) -> Steps:
    """The entries behind `after` up to `last`; with a limit no more than one portion of them."""
    entries: list[Entry] = []
    while after < last:
        portion: Portion = yield partial(broker.read, room.name, after, limit or MOST_EVENTS, MOST_BYTES)
        entries += [entry for entry in portion.entries if entry.seq <= last]
        if limit or not portion.entries:
            break
        after = portion.entries[-1].seq
    return entries


def newest(entries: Sequence[Entry], limit: int) -> Sequence[Entry]:
    """The last entries, at most `limit`, and no more than fit into a reply but at least one."""
    size = 0
    for count, entry in enumerate(reversed(entries)):
        size += len(entry.payload)
        if count == limit or (count and size > MOST_BYTES):
            return entries[len(entries) - count :]
    return entries
