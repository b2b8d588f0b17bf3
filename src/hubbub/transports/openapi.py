"""The OpenAPI 3.1 document, made from the table of operations that the routes use as well."""

from __future__ import annotations

from collections.abc import Iterable
from http import HTTPStatus
from typing import Any, Final

import msgspec
from msgspec import UNSET, UnsetType

from hubbub.transports.answers import JSON
from hubbub.transports.api_operation import IDEMPOTENCY_KEY, ROOM_NAME, AnyCommand, Described, OneCommand, Query
from hubbub.transports.schemas import REFERENCE, Schema, body_of, schemas_of
from hubbub.wire.messages import Command

REFUSED: Final = (400, 403, 429, 500, 503)
"""What every operation may be refused with, whatever it is."""
WITH_BODY: Final = (413, 415)
BUSY: Final = (429, 503)
ROOM: Final[Schema] = {
    "name": "room",
    "in": "path",
    "required": True,
    "description": "A room's name, percent-encoded: `a/b` is `a%2Fb`. As in `join`, white space at its ends does not"
    " count, nor does what follows 50 characters.",
    "schema": {"type": "string", "pattern": ROOM_NAME},
}


class Problem(msgspec.Struct, rename="camel"):
    """Why a request was refused (RFC 9457).

    Attributes:
        title: the status in words.
        detail: why, for people.
        code: the code of the protocol, where a command was refused.
        retry_after: milliseconds until it may be tried again.
        correlation_id: finds a failure in the server's log.
        epoch: of the log that there is now, where the one that was asked for is lost.
    """

    title: str
    status: int
    detail: str
    code: str | UnsetType = UNSET
    retry_after: int | UnsetType = UNSET
    correlation_id: str | UnsetType = UNSET
    epoch: str | UnsetType = UNSET


def describe(operations: Iterable[Described], version: str, root: str) -> Schema:
    """The document.

    Args:
        root: the path that the application is mounted at; empty for none.
    """
    shown = [operation for operation in operations if not operation.hidden]
    names, components = schemas_of(_types_of(shown))
    paths: dict[str, Schema] = {}
    for operation in shown:
        path = paths.setdefault(operation.path, {})
        path[operation.method.lower()] = _Rendering(operation, names, components).render()
        if "{room}" in operation.path:
            path["parameters"] = [ROOM]
    used = {REFERENCE.format(name=name) for name in components}
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "Hubbub",
            "version": version,
            "description": "Rooms over plain HTTP: what can be said and asked without a connection, and how to listen."
            " What goes over WebSockets is in `asyncapi.json`.",
        },
        "servers": [{"url": root or "/"}],
        "paths": paths,
        "components": {
            "schemas": {name: schema for name, schema in components.items() if REFERENCE.format(name=name) in used},
            "securitySchemes": {
                "bearer": {
                    "type": "http",
                    "scheme": "bearer",
                    "description": "A token of the application's users, or an API key.",
                }
            },
        },
    }


def _types_of(operations: Iterable[Described]) -> list[type[Any]]:
    types: list[type[Any]] = [Problem]
    for operation in operations:
        types += [kind for kind in (operation.answer, operation.query) if kind is not None and kind is not Query]
        match operation.body:
            case AnyCommand(kinds):
                types += kinds
            case OneCommand(kind):
                types.append(kind)
            case None:
                pass
            case struct:
                types.append(struct)
    return types


class _Rendering:
    """One operation on its way into the document."""

    def __init__(self, operation: Described, names: dict[type[Any], str], components: dict[str, Schema]) -> None:
        self._operation = operation
        self._names = names
        self._components = components

    def render(self) -> Schema:
        operation = self._operation
        described: Schema = {
            "operationId": operation.name,
            "summary": operation.summary,
            "tags": [operation.tag],
            "parameters": self._parameters(),
            "responses": self._responses(),
            "security": self._security(),
        }
        if operation.body is not None:
            body = self._body()
            optional = isinstance(operation.body, OneCommand) and "required" not in body
            described["requestBody"] = {"required": not optional, "content": {JSON.decode(): {"schema": body}}}
        return described

    def _security(self) -> list[Schema]:
        operation, needed = self._operation, {"bearer": list[str]()}
        if operation.public:
            return []
        return [needed] if operation.operator and not operation.local else [{}, needed]

    def _parameters(self) -> list[Schema]:
        operation = self._operation
        parameters: list[Schema] = []
        if operation.query is not Query:
            schema_of_query = self._components[self._names[operation.query]]
            for name, schema in schema_of_query["properties"].items():
                plain = {key: value for key, value in schema.items() if key != "description"}
                parameter: Schema = {"name": name, "in": "query", "schema": plain}
                if name in schema_of_query.get("required", ()):
                    parameter["required"] = True
                parameters.append(
                    parameter | ({"description": schema["description"]} if "description" in schema else {})
                )
        if operation.key:
            parameters.append(
                {
                    "name": "Idempotency-Key",
                    "in": "header",
                    "description": "Sent again with the same key, it is not carried out again. It is the `messageId`.",
                    "schema": {"type": "string", "pattern": f"^{IDEMPOTENCY_KEY}$"},
                }
            )
        if operation.tagged:
            parameters.append({"name": "If-None-Match", "in": "header", "schema": {"type": "string"}})
        return parameters

    def _body(self) -> Schema:
        match self._operation.body:
            case AnyCommand(kinds):
                return {"oneOf": [self._command(kind, typed=True) for kind in kinds]}
            case OneCommand(kind):
                return self._command(kind, typed=False)
            case struct:
                assert struct is not None
                return self._reference(struct)

    def _command(self, kind: type[Command], *, typed: bool) -> Schema:
        return body_of(kind, self._components, self._names[kind], typed=typed)

    def _reference(self, kind: type[Any]) -> Schema:
        return {"$ref": REFERENCE.format(name=self._names[kind])}

    def _responses(self) -> dict[str, Schema]:
        operation = self._operation
        responses: dict[str, Schema] = {}
        if operation.answer is not None or operation.text:
            kind = operation.text or JSON.decode()
            schema: Schema = {"type": "object" if kind == JSON.decode() else "string"}
            if operation.answer is not None:
                schema = self._reference(operation.answer)
            responses["200"] = {"description": "Done.", "content": {kind: {"schema": schema}}}
        if operation.empty:
            responses["204"] = {"description": "Done; there is nothing to say."}
        if operation.tagged:
            responses["200"]["headers"] = {"ETag": {"schema": {"type": "string"}}}
            responses["304"] = {"description": "It is as it was."}
        refused = {*REFUSED, *operation.refused, *(WITH_BODY if operation.body is not None else ())}
        refused |= {405} if operation.public else {401, 405}
        for status in sorted(refused):
            problem = {"application/problem+json": {"schema": self._reference(Problem)}}
            responses[str(status)] = {"description": f"{HTTPStatus(status).phrase}.", "content": problem}
            if status in BUSY:
                responses[str(status)]["headers"] = {"Retry-After": {"schema": {"type": "integer"}}}
        return responses
