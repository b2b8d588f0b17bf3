"""The table of all operations of the HTTP API: what the routes answer, and what the OpenAPI document describes."""

from __future__ import annotations

import msgspec

from hubbub.errors import HandshakeError
from hubbub.hub.identity import CHALLENGE
from hubbub.transports.api_admin import ADMIN_OPERATIONS
from hubbub.transports.api_operation import Answer, Api, Operation, Request
from hubbub.transports.api_rooms import room_operations


class Ticket(msgspec.Struct, rename="camel"):
    """What lets its holder in once.

    Attributes:
        ticket: for `GET /ws?ticket=`.
        expires_in: seconds that it waits to be used.
    """

    ticket: str
    expires_in: int


async def give_ticket(api: Api, request: Request) -> Answer:
    """A one-time ticket, for a client that can show its credentials only here."""
    identity = request.visitor.identity
    if not identity.user:
        raise HandshakeError(401, "credentials are required", CHALLENGE)
    ticket = await api.gate.tickets.give(identity)
    return Answer({"ticket": ticket, "expiresIn": int(api.hub.config.auth.ticket_seconds)})


def operations_of(api: Api) -> list[Operation]:
    """All operations of an application."""
    return [
        *room_operations(api.calls.commands),
        Operation(
            name="getTicket",
            method="POST",
            path="/api/ticket",
            summary="A ticket with which a WebSocket can be opened once, without a header.",
            carry_out=give_ticket,
            answer=Ticket,
        ),
        *ADMIN_OPERATIONS,
    ]
