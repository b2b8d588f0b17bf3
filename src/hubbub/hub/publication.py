"""An event on its way: from `Room.publish` until the broker has kept it or could not."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import msgspec

from hubbub.errors import LocalError
from hubbub.hub.ports import Draft, Once
from hubbub.wire.codec import EVENT
from hubbub.wire.messages import Event
from hubbub.wire.websocket import BINARY, TEXT

if TYPE_CHECKING:
    from hubbub.hub.connection import Connection

_encode = msgspec.json.Encoder().encode
CONFIRM = b',"confirm":true}'


class Publication:
    """An event on its way; returned by `Room.publish`, and the answer to a command when its handler returns it.

    Attributes:
        seq: its place in the room's log; None until it is kept, and for ever when it is not to be kept.
        error: why it could not be kept; then it was not delivered either.
        repeated: it was published before, under `seq`, and is not published again.
    """

    __slots__ = ("_waiting", "error", "exclude", "keep", "key", "kind", "once", "payload", "repeated", "seq")

    def __init__(self, kind: int, payload: bytes, keep: bool, exclude: Connection | None) -> None:
        self.kind = kind
        self.payload = payload
        self.keep = keep
        self.exclude = exclude
        self.key = ""
        self.once: Once | None = None
        self.seq: int | None = None
        self.error: Exception | None = None
        self.repeated = False
        self._waiting: list[Callable[[Publication], None]] | None = None

    @property
    def confirm(self) -> bool:
        """Whether its receipt is to be acknowledged."""
        return self.payload.endswith(CONFIRM)

    def draft(self) -> Draft:
        """As the broker takes it."""
        return Draft(self.payload, self.key, self.once)

    def when_settled(self, callback: Callable[[Publication], None]) -> None:
        """Calls back once the event is kept or cannot be; at once when that is known, or it need not be."""
        if not self.keep or self.seq is not None or self.error is not None:
            callback(self)
        elif self._waiting is None:
            self._waiting = [callback]
        else:
            self._waiting.append(callback)

    def kept(self, seq: int) -> None:
        """The broker holds it."""
        self.seq = seq
        for callback in self._waiting or ():
            callback(self)

    def failed(self, error: Exception) -> None:
        """The broker does not hold it."""
        self.error = error
        for callback in self._waiting or ():
            callback(self)


def prepare(
    event: Event | dict[str, object] | str | bytes, keep: bool, exclude: Connection | None, confirm: bool
) -> Publication:
    """An event as it is published.

    Raises:
        LocalError: it cannot be kept, and is to be confirmed.
    """
    if confirm and not (keep and isinstance(event, Event | dict)):
        raise LocalError("only an event that is kept can be confirmed")
    if isinstance(event, Event | dict):
        payload = _encode(event)
        return Publication(EVENT, payload[:-1] + CONFIRM if confirm else payload, keep, exclude)
    if isinstance(event, str):
        return Publication(TEXT, event.encode(), False, exclude)
    return Publication(BINARY, event, False, exclude)
