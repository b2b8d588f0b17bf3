"""The exceptions of Hubbub: their type says who is to blame. Nothing here knows how an error is shown."""


class HubbubError(Exception):
    """The root of every exception that Hubbub raises on purpose."""


class LocalError(HubbubError):
    """The caller's bug: the API was used in a way that it does not allow."""


class ConfigError(LocalError):
    """A setting has a value that it cannot have; the message names the setting and the remedy."""


class PeerError(HubbubError):
    """The peer broke the protocol; the connection ends with `code`.

    Args:
        code: a WebSocket close code (RFC 6455, section 7.4).
        reason: at most 123 bytes of UTF-8, sent to the peer.
    """

    def __init__(self, code: int, reason: str) -> None:
        super().__init__(f"{code}: {reason}")
        self.code = code
        self.reason = reason


class HandshakeError(HubbubError):
    """A request that cannot become a WebSocket; it is answered with the HTTP `status`."""

    def __init__(self, status: int, reason: str, headers: tuple[tuple[bytes, bytes], ...] = ()) -> None:
        super().__init__(reason)
        self.status = status
        self.reason = reason
        self.headers = headers

    @property
    def retry_seconds(self) -> int | None:
        """When it may be tried again, as `Retry-After` says; None where it does not."""
        given = dict(self.headers).get(b"retry-after", b"")
        return int(given) if given.isdigit() and len(given) < 6 else None


class CommandError(HubbubError):
    """A command that is refused: raise it in a handler, and the client gets an `error` with this code and message.

    Args:
        retry_ms: milliseconds until it may be tried again; None when that would not help.
    """

    def __init__(self, code: str, message: str, retry_ms: int | None = None) -> None:
        super().__init__(message)
        self.code = code
        self.message = message
        self.retry_ms = retry_ms


class BrokerError(HubbubError):
    """The broker cannot keep or read: a full disk, a damaged file, a server that does not answer. Nothing was kept."""


class BrokerAwayError(BrokerError):
    """The broker's server is not there; it may be there soon."""
