"""The AsyncAPI 3.0 document: what goes over the WebSocket in both directions, made from the message types."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

from hubbub.transports.schemas import Schema, schemas_of
from hubbub.wire.messages import Command, Event

KEPT: Schema = {
    "room": {"type": "string", "description": "Where; the server adds it."},
    "seq": {"type": "integer", "description": "Its number in the room's log, where it is kept; the server adds it."},
}


def describe(path: str, commands: Iterable[type[Command]], version: str) -> Schema:
    """The document.

    Args:
        path: of the WebSocket.
        commands: what clients may send.
    """
    commands, events = list(commands), list(_kinds_of(Event))
    names, components = schemas_of([*commands, *events])
    for event in events:
        properties = components[names[event]]["properties"]
        if event.__module__ != Event.__module__:  # an application's
            properties |= {name: schema for name, schema in KEPT.items() if name not in properties}
    messages = {**_messages(commands, names, components, "send"), **_messages(events, names, components, "get")}
    return {
        "asyncapi": "3.0.0",
        "info": {
            "title": "Hubbub",
            "version": version,
            "description": "Commands and events over a WebSocket, in JSON or, as the sub-protocol `hubbub.v1.msgpack`,"
            " in MessagePack.",
        },
        "defaultContentType": "application/json",
        "channels": {
            "socket": {
                "address": path,
                "messages": {name: {"$ref": f"#/components/messages/{name}"} for name in messages},
            }
        },
        "operations": {
            "takeCommands": _operation("receive", "What clients send.", "send", messages),
            "sendEvents": _operation("send", "What clients receive.", "get", messages),
        },
        "components": {"messages": messages, "schemas": components},
    }


def _kinds_of(kind: type[Any]) -> Iterator[type[Any]]:
    """All that are made of a base and have a type on the wire; of several with one type the last."""
    found: dict[str, type[Any]] = {}
    bases = [kind]
    while bases:
        for child in bases.pop().__subclasses__():
            bases.append(child)
            found[str(child.__struct_config__.tag)] = child
    return iter(found[tag] for tag in sorted(found))


def _messages(
    kinds: Iterable[type[Any]], names: dict[type[Any], str], components: dict[str, Schema], prefix: str
) -> dict[str, Schema]:
    messages = {}
    for kind in kinds:
        tag = str(kind.__struct_config__.tag)
        messages[f"{prefix}_{tag}"] = {
            "name": tag,
            "summary": components[names[kind]].get("description", ""),
            "payload": {"$ref": f"#/components/schemas/{names[kind]}"},
        }
    return messages


def _operation(action: str, summary: str, prefix: str, messages: Iterable[str]) -> Schema:
    references = [{"$ref": f"#/channels/socket/messages/{name}"} for name in messages if name.startswith(f"{prefix}_")]
    return {"action": action, "summary": summary, "channel": {"$ref": "#/channels/socket"}, "messages": references}
