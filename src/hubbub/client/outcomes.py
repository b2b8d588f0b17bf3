"""What can come of a command or a connection but success: the exceptions of the client."""

from __future__ import annotations

from typing import Any, Self

from hubbub.codes import INTERNAL
from hubbub.errors import HubbubError


class Refused(HubbubError):
    """The server refused a command, or the entering of a room; it had no effect.

    Attributes:
        code: as in the protocol, such as `forbidden`.
        retry_seconds: when it may be tried again; None where that would not help.
        correlation_id: finds a failure in the server's log; empty for none.
    """

    def __init__(self, code: str, message: str, retry_seconds: float | None = None, correlation_id: str = "") -> None:
        super().__init__(message)
        self.code = code
        self.message = message
        self.retry_seconds = retry_seconds
        self.correlation_id = correlation_id

    @classmethod
    def of(cls, error: dict[str, Any]) -> Self:
        """The exception for an `error` of the server."""
        after = error.get("retryAfter")
        seconds = after / 1000 if isinstance(after, (int, float)) else None
        code, message = str(error.get("code", INTERNAL)), str(error.get("message", ""))
        return cls(code, message, seconds, str(error.get("correlationId", "")))


class Lost(HubbubError):
    """The connection was lost before the reply, and the command is none that may be sent twice: it may have worked."""


class QueueFull(HubbubError):
    """So many commands wait for the connection that no more are taken (`queue`)."""


class Ended(HubbubError):
    """The client is not connected any more and does not come back.

    Attributes:
        code: the close code of a WebSocket, the HTTP status of a refusal, or 0 where it is the client's own doing.
        reason: as the server gave it.
    """

    def __init__(self, code: int, reason: str) -> None:
        super().__init__(reason if code < 1000 else f"{code} {reason}".rstrip())
        self.code = code
        self.reason = reason
