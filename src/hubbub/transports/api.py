"""What is asked for over plain HTTP: a one-time ticket for a client that can show its credentials only here."""

from __future__ import annotations

import logging
from typing import Any, Final

from hubbub.auth.gate import Gate, Scope
from hubbub.errors import HandshakeError
from hubbub.hub.hub import Hub
from hubbub.hub.identity import CHALLENGE
from hubbub.transports.answers import JSON, PROBLEM, cross_origin, problem, respond
from hubbub.transports.asgi import Receive, Send

log: Final = logging.getLogger("hubbub")
TICKET_PATH: Final = "/api/ticket"


class TicketRoute:
    """`POST /api/ticket`: answers with `{"ticket": …, "expiresIn": seconds}`, for `GET /ws?ticket=…`, once."""

    def __init__(self, hub: Hub, gate: Gate) -> None:
        self._hub = hub
        self._gate = gate

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        cross = cross_origin(self._gate.origins, scope, b"POST")
        try:
            status, body = await self._answer(scope)
            await respond(send, status, body, cross)
        except HandshakeError as error:
            self._hub.counters.handshakes_refused += 1
            log.info("a ticket was refused: status=%d reason=%r", error.status, error.reason)
            await respond(send, error.status, problem(error), [*error.headers, *cross], PROBLEM)

    async def _answer(self, scope: Scope) -> tuple[int, dict[str, Any] | None]:
        if scope["method"] == "OPTIONS":
            self._gate.origins.check(scope["headers"], cookie=True)
            return 204, None
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
