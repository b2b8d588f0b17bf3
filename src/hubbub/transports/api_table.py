"""The table of all operations of the HTTP API: what the routes answer, and what the OpenAPI document describes."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Final

import msgspec

from hubbub.errors import HandshakeError
from hubbub.hub.calls import OF_CONNECTIONS
from hubbub.hub.identity import CHALLENGE
from hubbub.transports import asyncapi, metrics, openapi
from hubbub.transports.answers import JSON
from hubbub.transports.api_admin import ADMIN_OPERATIONS
from hubbub.transports.api_operation import Answer, Api, Described, Operation, Request
from hubbub.transports.api_rooms import room_operations
from hubbub.transports.listening import LISTENING

FILES: Final = Path(__file__).parent / "docs_page"
PAGES: Final = (
    ("/docs", "index.html", "text/html; charset=utf-8"),
    ("/docs/docs.js", "docs.js", "text/javascript; charset=utf-8"),
    ("/docs/docs.css", "docs.css", "text/css; charset=utf-8"),
    ("/docs/icon.svg", "icon.svg", "image/svg+xml"),
)
SHOWN_SAFELY: Final = (
    b"content-security-policy",
    b"default-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'; object-src 'none'",
)


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
    operations = [
        *room_operations(api.calls.commands),
        Operation(
            name="getTicket",
            method="POST",
            path="/api/ticket",
            summary="A ticket with which a WebSocket can be opened once, without a header.",
            carry_out=give_ticket,
            answer=Ticket,
            tag="credentials",
        ),
        *ADMIN_OPERATIONS,
        Operation(
            name="readMetrics",
            method="GET",
            path="/metrics",
            summary="What has happened on this node and what it has, as Prometheus reads it.",
            carry_out=read_metrics,
            text=metrics.KIND,
            tag="operators",
            operator=True,
            local=True,
        ),
    ]
    if api.hub.config.server.documents:
        operations += _documents([*operations, *LISTENING])
        operations += [_page(path, file, kind) for path, file, kind in PAGES]
    return operations


async def read_metrics(api: Api, request: Request) -> Answer:
    """The figures of this node."""
    return Answer(metrics.render(api.hub, api.version).encode(), metrics.KIND)


def _documents(described: list[Described]) -> list[Operation]:
    """The documents that describe all of it, themselves among it."""

    async def read_openapi(api: Api, request: Request) -> Answer:
        root = request.scope.get("root_path", "")
        return Answer(openapi.describe([*described, *documents], api.version, root))

    async def read_asyncapi(api: Api, request: Request) -> Answer:
        commands = {*api.calls.commands.values(), *OF_CONNECTIONS}
        ordered = sorted(commands, key=lambda kind: str(kind.__struct_config__.tag))
        return Answer(asyncapi.describe(api.path, ordered, api.version))

    documents = [
        Operation(
            name="readOpenapi",
            method="GET",
            path="/openapi.json",
            summary="This document: what goes over plain HTTP.",
            carry_out=_once(read_openapi),
            text=JSON.decode(),
            tagged=True,
            tag="documents",
            public=True,
        ),
        Operation(
            name="readAsyncapi",
            method="GET",
            path="/asyncapi.json",
            summary="What goes over the WebSocket, as AsyncAPI 3.0.",
            carry_out=_once(read_asyncapi),
            text=JSON.decode(),
            tagged=True,
            tag="documents",
            public=True,
        ),
    ]
    return documents


def _once(make: Callable[[Api, Request], Awaitable[Answer]]) -> Callable[[Api, Request], Awaitable[Answer]]:
    """Has a document made once for each path that the application is mounted at."""
    made: dict[str, Answer] = {}

    async def read(api: Api, request: Request) -> Answer:
        root = request.scope.get("root_path", "")
        if root not in made:
            made.clear()  # a host has one; nobody fills the memory with others
            made[root] = Answer(msgspec.json.encode((await make(api, request)).body), JSON.decode())
        return made[root]

    return read


def _page(path: str, file: str, kind: str) -> Operation:
    """A file of the page that shows the document."""

    async def read(api: Api, request: Request) -> Answer:
        return Answer((FILES / file).read_bytes(), kind, (SHOWN_SAFELY,))

    return Operation(
        name=path,
        method="GET",
        path=path,
        summary="",
        carry_out=read,
        text=kind,
        tagged=True,
        public=True,
        hidden=True,
    )
