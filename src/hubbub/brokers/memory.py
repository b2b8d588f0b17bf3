"""memory://: a bounded ring of events per room, in this process and gone with it. Needs nothing; survives nothing."""

from __future__ import annotations

from collections import OrderedDict, deque
from collections.abc import Callable, Sequence

from hubbub.hub.ports import Position


class _Log:
    """A room's last events; `head` is the seq of the newest."""

    __slots__ = ("entries", "epoch", "head")

    def __init__(self, epoch: str, length: int) -> None:
        self.epoch = epoch
        self.head = 0
        self.entries: deque[bytes] = deque(maxlen=length)


class MemoryBroker:
    """Keeps the last events of each room.

    Args:
        new_id: names each log's epoch.
        history: events kept of a room; the oldest go first.
        max_logs: logs kept of rooms without members; the one left longest ago goes first.
    """

    def __init__(self, new_id: Callable[[], str], history: int, max_logs: int) -> None:
        self._new_id = new_id
        self._history = history
        self._max_logs = max_logs
        self._used: dict[str, _Log] = {}
        self._unused: OrderedDict[str, _Log] = OrderedDict()

    def subscribe(self, room: str) -> None:
        log = self._unused.pop(room, None) or self._used.get(room)
        self._used[room] = log or _Log(self._new_id(), self._history)

    def unsubscribe(self, room: str) -> None:
        log = self._used.pop(room, None)
        if log is not None and log.head:
            self._keep_unused(room, log)

    def position(self, room: str) -> Position:
        log = self._log(room)
        return Position(log.epoch, log.head)

    def append(self, room: str, entries: Sequence[bytes], kept: Callable[[int], None]) -> None:
        log = self._used.get(room) or self._log(room)
        first = log.head + 1
        log.head += len(entries)
        log.entries.extend(entries)
        kept(first)

    def read(self, room: str, after: int, limit: int) -> list[tuple[int, bytes]]:
        log = self._used.get(room) or self._unused.get(room)
        if log is None or limit <= 0:
            return []
        oldest = log.head - len(log.entries) + 1
        first = max(after + 1, oldest)
        stop = min(first + limit, log.head + 1)
        return [(seq, log.entries[seq - oldest]) for seq in range(first, stop)]

    def _log(self, room: str) -> _Log:
        log = self._used.get(room) or self._unused.get(room)
        if log is None:
            log = _Log(self._new_id(), self._history)
            self._keep_unused(room, log)
        return log

    def _keep_unused(self, room: str, log: _Log) -> None:
        self._unused[room] = log
        while len(self._unused) > max(self._max_logs, 1):
            self._unused.popitem(last=False)
