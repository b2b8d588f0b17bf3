"""codes: the catalogue is protocol/codes.json, nothing more and nothing less."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from hubbub import codes
from hubbub.wire.websocket import encode_close

CATALOGUE: dict[str, list[dict[str, Any]]] = json.loads(
    (Path(__file__).parent.parent.parent / "protocol" / "codes.json").read_text()
)


def constants(kind: type) -> dict[str, Any]:
    return {name: value for name, value in vars(codes).items() if name.isupper() and isinstance(value, kind)}


def test_the_close_codes_are_those_of_the_catalogue() -> None:
    assert constants(int) == {entry["name"]: entry["code"] for entry in CATALOGUE["close"]}


def test_the_error_codes_are_those_of_the_catalogue() -> None:
    assert constants(str) == {entry["code"].upper(): entry["code"] for entry in CATALOGUE["error"]}


def test_no_code_is_there_twice() -> None:
    for entries in CATALOGUE.values():
        numbers = [entry["code"] for entry in entries]
        assert len(set(numbers)) == len(numbers)


def test_every_close_code_may_be_sent() -> None:
    for code in constants(int).values():
        assert encode_close(code) == code.to_bytes(2, "big")
