"""Message types as JSON Schema, for the documents that describe the API; what their docstrings say stands in them."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any, Final

import msgspec

from hubbub.wire.messages import Command

Schema = dict[str, Any]
REFERENCE: Final = "#/components/schemas/{name}"
ELSEWHERE: Final = ("id", "room", "messageId")
"""Fields of commands that a request says in other places than its body."""
_ATTRIBUTE: Final = re.compile(r"^ {4}(\w+): (.*(?:\n {8}.*)*)", re.MULTILINE)


def schemas_of(types: Iterable[type[Any]]) -> tuple[dict[type[Any], str], dict[str, Schema]]:
    """The schemas of structs, and of those in them: names by type, and schemas by name."""
    wanted = list(dict.fromkeys(types))
    references, components = msgspec.json.schema_components(wanted, schema_hook=_anything, ref_template=REFERENCE)
    names = {kind: str(found["$ref"]).rpartition("/")[2] for kind, found in zip(wanted, references, strict=True)}
    for schema in components.values():
        _explain(schema)
        _require(schema)
    for kind, name in names.items():
        components[name] |= getattr(kind, "SCHEMA", {})
    return names, components


def _anything(kind: type[Any]) -> Schema:
    """A type that JSON Schema has no word for, an application's own perhaps."""
    return {"description": "Anything."}


def _explain(schema: Schema) -> None:
    """Has what a docstring says of attributes stand at the properties."""
    text, _, attributes = str(schema.get("description", "")).partition("Attributes:\n")
    if text.strip():
        schema["description"] = " ".join(text.split())
    properties: Mapping[str, Schema] = schema.get("properties", {})
    for name, said in _ATTRIBUTE.findall(_indented(attributes)):
        first, *rest = name.split("_")
        for spelled in (name, first + "".join(part.title() for part in rest)):
            if spelled in properties:
                properties[spelled].setdefault("description", " ".join(said.split()))


def _require(schema: Schema) -> None:
    """A field whose default is none that it may have has to be given: handlers say so in words of their own."""
    for name, field in schema.get("properties", {}).items():
        default = field.get("default")
        if isinstance(default, str) and not re.search(field.get("pattern", ""), default):
            del field["default"]
            schema.setdefault("required", []).append(name)


def _indented(attributes: str) -> str:
    """The lines of attributes, each at least four columns in, as docstrings are once they are cleaned."""
    return attributes if attributes.startswith("    ") else re.sub("^", "    ", attributes, flags=re.MULTILINE)


def body_of(kind: type[Command], components: Mapping[str, Schema], name: str, *, typed: bool) -> Schema:
    """A command as a body: without what the request says elsewhere.

    Args:
        typed: its `type` is given; else the path says it.
    """
    left_out = (*ELSEWHERE, *(() if typed else ("type",)))
    whole = components[name]
    properties = {field: schema for field, schema in whole["properties"].items() if field not in left_out}
    if not typed and "username" not in properties:
        properties["username"] = {"type": "string", "default": "", "description": "The same as in the query."}
    body: Schema = {"title": whole.get("title", name), "type": "object", "properties": properties}
    if whole.get("description"):
        body["description"] = whole["description"]
    required = [field for field in properties if field in whole.get("required", ())]
    return body | ({"required": required} if required else {})
