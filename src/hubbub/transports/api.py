"""What is asked for over plain HTTP: a one-time ticket for a client that can show its credentials only here."""

from __future__ import annotations

import logging
from http import HTTPStatus
from typing import Any, Final

import msgspec

from hubbub.auth.gate import Gate, Scope
from hubbub.errors import HandshakeError
from hubbub.hub.hub import Hub
from hubbub.hub.identity import CHALLENGE
from hubbub.transports.asgi import Receive, Send

log: Final = logging.getLogger("hubbub")
TICKET_PATH: Final = "/api/ticket"
PREFLIGHT_SECONDS: Final = 600
JSON: Final = b"application/json"
PROBLEM: Final = b"application/problem+json"
_STATUSES: Final = frozenset(HTTPStatus)
Headers = list[tuple[bytes, bytes]]


class TicketRoute:
    """`POST /api/ticket`: answers with `{"ticket": …, "expiresIn": seconds}`, for `GET /ws?ticket=…`, once."""

    def __init__(self, hub: Hub, gate: Gate) -> None:
        self._hub = hub
        self._gate = gate

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        cross = self._cross_origin(scope)
        try:
            status, body = await self._answer(scope)
            headers: Headers = []
            kind = JSON
        except HandshakeError as error:
            self._hub.counters.handshakes_refused += 1
            log.info("a ticket was refused: status=%d reason=%r", error.status, error.reason)
            status, headers, kind = error.status, list(error.headers), PROBLEM
            body = {
                "title": HTTPStatus(status).phrase if status in _STATUSES else "Refused",
                "status": status,
                "detail": error.reason,
            }
        await self._send(send, status, [*headers, *cross], kind, body)

    async def _answer(self, scope: Scope) -> tuple[int, dict[str, Any]]:
        if scope["method"] == "OPTIONS":
            self._gate.origins.check(scope["headers"], cookie=True)
            return 204, {}
        if scope["method"] != "POST":
            raise HandshakeError(405, "a ticket is asked for with POST", ((b"allow", b"POST, OPTIONS"),))
        kinds = [value for name, value in scope["headers"] if name == b"content-type"]
        if any(kind.partition(b";")[0].strip().lower() != JSON for kind in kinds):
            raise HandshakeError(415, "a body is application/json")  # other pages can send all else without asking
        visitor = await self._gate.admit(scope)
        if not visitor.identity.user:
            raise HandshakeError(401, "credentials are required", CHALLENGE)
        self._hub.standing.check(visitor.identity)
        ticket = await self._gate.tickets.give(visitor.identity)
        return 200, {"ticket": ticket, "expiresIn": int(self._hub.config.auth.ticket_seconds)}

    def _cross_origin(self, scope: Scope) -> Headers:
        """What a browser must be told so that a page of an allowed origin can read the answer."""
        headers: Headers = [(b"vary", b"origin"), (b"cache-control", b"no-store")]
        try:
            self._gate.origins.check(scope["headers"], cookie=True)
        except HandshakeError:
            return headers
        origin = next(value for name, value in scope["headers"] if name == b"origin")
        headers += [(b"access-control-allow-origin", origin), (b"access-control-allow-credentials", b"true")]
        if scope["method"] == "OPTIONS":
            headers += [
                (b"access-control-allow-methods", b"POST"),
                (b"access-control-allow-headers", b"authorization, content-type"),
                (b"access-control-max-age", b"%d" % PREFLIGHT_SECONDS),
            ]
        return headers

    async def _send(self, send: Send, status: int, headers: Headers, kind: bytes, body: dict[str, Any]) -> None:
        content = msgspec.json.encode(body) if body else b""
        if body:  # without one there is no length either (RFC 9110, section 8.6)
            headers = [(b"content-type", kind), *headers, (b"content-length", b"%d" % len(content))]
        await send({"type": "http.response.start", "status": status, "headers": headers})
        await send({"type": "http.response.body", "body": content})
