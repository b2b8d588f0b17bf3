"""How requests over plain HTTP are answered: JSON, problems (RFC 9457), and what browsers of other origins are told."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from http import HTTPStatus
from typing import Any, Final

import msgspec

from hubbub import codes
from hubbub.auth.gate import Scope
from hubbub.auth.headers import values_of
from hubbub.auth.origin import Origins
from hubbub.errors import HandshakeError
from hubbub.transports.asgi import Send

JSON: Final = b"application/json"
PROBLEM: Final = b"application/problem+json"
PREFLIGHT_SECONDS: Final = 600
ALLOWED_HEADERS: Final = b"authorization, content-type, idempotency-key, if-none-match, last-event-id"
_KNOWN: Final = frozenset(HTTPStatus)
STATUSES: Final[Mapping[str, int]] = {
    codes.FORBIDDEN: 403,
    codes.INVALID_TOKEN: 401,
    codes.NOT_IN_ROOM: 404,
    codes.TOO_MANY_ROOMS: 409,
    codes.CLOSED: 409,
    codes.MESSAGE_ID_CONFLICT: 409,
    codes.RATE_LIMITED: 429,
    codes.INTERNAL: 500,
    codes.UNAVAILABLE: 503,
}
"""What a refusal of a command is over HTTP; any other, an application's own too, is 400."""
Headers = list[tuple[bytes, bytes]]


def problem(error: HandshakeError, **more: Any) -> dict[str, Any]:
    """Why a request is refused, as a body of the kind PROBLEM."""
    phrase = HTTPStatus(error.status).phrase if error.status in _KNOWN else "Refused"
    return {"title": phrase, "status": error.status, "detail": error.reason, **more}


def accepts_gzip(headers: Iterable[tuple[bytes, bytes]]) -> bool:
    """Whether a client takes gzip (RFC 9110, section 12.5.3): what is said of it counts before what is said of `*`."""
    said: dict[bytes, bool] = {}
    for value in values_of(headers, b"accept-encoding"):
        for coding in value.lower().split(b","):
            kind, _, weight = coding.replace(b" ", b"").replace(b"\t", b"").partition(b";q=")
            said[kind] = not weight or bool(weight.strip(b"0."))
    return said.get(b"gzip", said.get(b"*", False))


def cross_origin(origins: Origins, scope: Scope, methods: bytes) -> Headers:
    """What a browser must be told so that a page of an allowed origin can read the answer.

    Args:
        methods: that the path has, for a preflight.
    """
    headers: Headers = [(b"vary", b"origin"), (b"cache-control", b"no-store")]
    try:
        origins.check(scope["headers"], cookie=True)
    except HandshakeError:
        return headers
    origin = values_of(scope["headers"], b"origin")[0]
    headers += [(b"access-control-allow-origin", origin), (b"access-control-allow-credentials", b"true")]
    if scope["method"] == "OPTIONS":
        headers += [
            (b"access-control-allow-methods", methods),
            (b"access-control-allow-headers", ALLOWED_HEADERS),
            (b"access-control-max-age", b"%d" % PREFLIGHT_SECONDS),
        ]
    else:
        headers.append((b"access-control-expose-headers", b"etag, retry-after"))
    return headers


async def respond(
    send: Send, status: int, body: dict[str, Any] | None, headers: Headers | None = None, kind: bytes = JSON
) -> None:
    """Answers with JSON; without a body there is no length either (RFC 9110, section 8.6)."""
    headers, content = list(headers or ()), b""
    if body is not None:
        content = msgspec.json.encode(body)
        headers = [(b"content-type", kind), *headers, (b"content-length", b"%d" % len(content))]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": content})
