"""An event on its way: from `Room.publish` until the broker has kept it or could not."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import TYPE_CHECKING, Final

import msgspec

from hubbub.errors import LocalError
from hubbub.hub.ports import Draft, Once
from hubbub.wire.codec import EVENT
from hubbub.wire.messages import Event
from hubbub.wire.websocket import BINARY, TEXT

if TYPE_CHECKING:
    from hubbub.hub.connection import Connection

log: Final = logging.getLogger("hubbub")
_encode = msgspec.json.Encoder().encode
CONFIRM = b',"confirm":true}'


class Publication(Draft, eq=False, kw_only=True):
    """An event on its way; returned by `Room.publish`, and the answer to a command when its handler returns it.

    Attributes:
        seq: its place in the room's log; None until it is kept, and for ever when it is not to be kept.
        error: why it could not be kept; then it was not delivered either.
        repeated: it was published before, under `seq`, and is not published again.
        here: it is for this node alone: the others say the same for themselves.
    """

    kind: int
    keep: bool
    exclude: Connection | None = None
    confirm: bool = False
    seq: int | None = None
    error: Exception | None = None
    repeated: bool = False
    here: bool = False
    _waiting: list[Callable[[Publication], None]] | None = None

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
        if self._waiting is not None:
            self._tell()

    def failed(self, error: Exception) -> None:
        """The broker does not hold it."""
        self.error = error
        if self._waiting is not None:
            self._tell()

    def _tell(self) -> None:
        waiting, self._waiting = self._waiting, None
        for callback in waiting or ():
            try:
                callback(self)
            except Exception:  # one who is told must not keep the event from all others
                log.exception("a callback of a publication failed")


def prepare(
    event: Event | dict[str, object] | str | bytes,
    keep: bool,
    exclude: Connection | None,
    key: str,
    once: Once | None,
    confirm: bool,
) -> Publication:
    """An event as it is published.

    Raises:
        LocalError: it cannot be kept, and is to be confirmed or told from its repeat; or it has no type.
    """
    if (confirm or once) and not (keep and isinstance(event, Event | dict)):
        raise LocalError("only an event that is kept can be confirmed, or told from its repeat")
    if isinstance(event, str):
        return Publication(event.encode(), kind=TEXT, keep=False, exclude=exclude)
    if isinstance(event, bytes):
        return Publication(event, kind=BINARY, keep=False, exclude=exclude)
    if isinstance(event, dict) and not isinstance(event.get("type"), str):
        raise LocalError("an event has a type")
    payload = _encode(event)
    if confirm:
        payload = payload[:-1] + CONFIRM
    return Publication(payload, key, once, kind=EVENT, keep=keep, exclude=exclude, confirm=confirm)
