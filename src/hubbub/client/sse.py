"""The body of a stream of Server-Sent Events to events, as its bytes come. No I/O.

https://html.spec.whatwg.org/multipage/server-sent-events.html; a Hubbub server writes each event's JSON in one line of
`data:`, which says all that `event:` and `id:` say.
"""

from __future__ import annotations

from typing import Final

import msgspec

from hubbub.client.lane import Event
from hubbub.codes import INVALID_DATA, MESSAGE_TOO_BIG
from hubbub.errors import PeerError

LONGEST_LINE: Final = 1 << 24
_decode = msgspec.json.Decoder(dict[str, object]).decode


class SseReader:
    """One stream.

    Attributes:
        retry_ms: when to come back after its end; None where it has not said so.
    """

    def __init__(self) -> None:
        self.retry_ms: int | None = None
        self._rest = b""

    def feed(self, data: bytes) -> list[Event]:
        """The events that these bytes complete.

        Raises:
            PeerError: they are none.
        """
        *lines, self._rest = (self._rest + data).split(b"\n")
        if len(self._rest) > LONGEST_LINE:
            raise PeerError(MESSAGE_TOO_BIG, f"a line of more than {LONGEST_LINE} bytes")
        return [event for line in lines if (event := self._line(line.rstrip(b"\r"))) is not None]

    def _line(self, line: bytes) -> Event | None:
        name, _, value = line.partition(b":")
        value = value.removeprefix(b" ")
        if name == b"retry" and value.isdigit():
            self.retry_ms = int(value)
        if name != b"data":
            return None
        try:
            return _decode(value)
        except msgspec.DecodeError as error:
            raise PeerError(INVALID_DATA, "the server's event is no object") from error
