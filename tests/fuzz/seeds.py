"""Inputs to begin with, taken from protocol/dialogues, and the words of the protocol."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

from hubbub.apps.chat import app
from hubbub.hub.commands import BUILT_IN

DIALOGUES = Path(__file__).parent.parent.parent / "protocol" / "dialogues"
PLACEHOLDER = re.compile(r"<[a-z]+:([a-z0-9]+)>")
EPOCH = "epoch"
SESSION = "<session>"
"""Stands for the token of who sends it."""

Step = dict[str, Any]


@cache
def dialogues() -> tuple[tuple[Step, ...], ...]:
    """The steps of each dialogue, with names in place of placeholders."""
    return tuple(tuple(json.loads(_named(file.read_text()))["steps"]) for file in sorted(DIALOGUES.glob("*.json")))


def _named(text: str) -> str:
    for field, value in (("epoch", EPOCH), ("session", SESSION)):
        text = re.sub(rf'"{field}": ?"<[^"]*>"', f'"{field}": "{value}"', text)
    return PLACEHOLDER.sub(r"\1", text)


def sent_in(step: Step) -> list[bytes]:
    """The messages that a step sends, as JSON."""
    sent = step.get("send", [])
    texts = [json.dumps(command) for command in (sent if isinstance(sent, list) else [sent])]
    return [text.encode() for text in (*texts, *([step["sendText"]] if "sendText" in step else ()))]


@cache
def commands() -> tuple[tuple[str, bytes], ...]:
    """Each different message of the dialogues, with the name of who sends it."""
    found = {payload: step["client"] for steps in dialogues() for step in steps for payload in sent_in(step)}
    return tuple((client, payload) for payload, client in found.items())


def protocol_words() -> Iterator[bytes]:
    """The types of commands and the names of their fields, as they stand in JSON."""
    for command in dict.fromkeys((*BUILT_IN, *app._handlers)):
        yield json.dumps(command.__struct_config__.tag).encode()
        yield from (f'"{name}":'.encode() for name in command.__struct_encode_fields__)
    yield from (b'"epoch":', b'"seq":', b'"time":', b'"acked"', SESSION.encode(), b'"epoch"', b"true", b"null", b"-1")
