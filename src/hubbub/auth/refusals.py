"""What somebody is told whose credentials do not count: fixed sentences that hold nothing of them."""

from __future__ import annotations

from hubbub.errors import HandshakeError
from hubbub.hub.identity import REFUSED_TOKEN

# RFC 6750, section 3: tells a client that another token may help.


def token_refused(reason: str) -> HandshakeError:
    """A token that does not count, as 401; raise it `from None`, for causes may quote the token."""
    return HandshakeError(401, reason, REFUSED_TOKEN)


def cookie_refused(reason: str) -> HandshakeError:
    """A cookie that does not count, as 401; no scheme of HTTP's asks for cookies, so there is no challenge."""
    return HandshakeError(401, reason)


def keys_missing(seconds: int) -> HandshakeError:
    """The issuer's keys cannot be had, as 503; worth another try after so many seconds."""
    return HandshakeError(503, "Tokens cannot be verified at the moment", ((b"retry-after", b"%d" % seconds),))
