"""Whether the API does what its documents say: tried out by a program that knows nothing else of it."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from openapi_spec_validator import validate

from hubbub.auth.api_keys import make_key
from tests.support.canary import canary
from tests.support.server import CHAT, FAST, Server, serve

KEY, ENTRY = make_key("schemathesis")
canary.keep(KEY, "an API key that others try out")
BEARER = f"Authorization: Bearer {KEY}"
SETTINGS = Path(__file__).with_name("schemathesis.toml")
SECONDS = 110
EXAMPLES = 4


@pytest.fixture(scope="module")
def chat(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """The chat, without a bound on how often one may ask."""
    unbounded = ("--handshake-rate", "0", "--user-rate", "0", "--rate-limit", "0", "--room-rate", "0")
    options = (*unbounded, "--auth", "anonymous", "--api-keys", ENTRY)
    with serve(tmp_path_factory.mktemp("openapi"), FAST, *options, target=CHAT) as server:
        yield server


@pytest.fixture(scope="module")
def document(chat: Server) -> Any:
    return httpx.get(f"{chat.http}/openapi.json", trust_env=False).json()


def test_the_document_is_openapi(document: Any) -> None:
    validate(document)


def test_no_operation_has_the_name_of_another(document: Any) -> None:
    names = [each["operationId"] for path in document["paths"].values() for each in path.values() if "summary" in each]
    assert len(names) == len(set(names)) > 15


@pytest.mark.timeout(SECONDS + 10)
def test_every_answer_is_one_that_the_document_promises(chat: Server, tmp_path: Path) -> None:
    program = [sys.executable, "-m", "schemathesis.cli", "--no-color", "--config-file", str(SETTINGS), "run"]
    others = ("/openapi.json", "/asyncapi.json")  # large, and looked at by the tests around
    passed_over = [option for path in others for option in ("--exclude-path", path)]
    bounds = ["--generation-deterministic", "--max-examples", str(EXAMPLES), "--phases", "coverage,fuzzing"]
    asked = [f"{chat.http}/openapi.json", "-H", BEARER, *bounds, *passed_over]
    done = subprocess.run([*program, *asked], cwd=tmp_path, capture_output=True, text=True, timeout=SECONDS)
    assert (done.returncode, "No issues found" in done.stdout) == (0, True), done.stdout + done.stderr


# AsyncAPI


def references(value: object) -> Iterator[str]:
    if isinstance(value, dict):
        for name, inner in value.items():
            if name == "$ref":
                yield inner
            yield from references(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from references(inner)


def test_what_goes_over_websockets_is_described_without_loose_ends(chat: Server) -> None:
    document = httpx.get(f"{chat.http}/asyncapi.json", trust_env=False).json()
    assert document["asyncapi"] == "3.0.0"
    for reference in references(document):
        found = document
        for part in reference.removeprefix("#/").split("/"):
            assert part in found, reference
            found = found[part]
    said = json.dumps(document["components"]["schemas"])
    assert "Attributes:" not in said  # what docstrings say of fields stands at the fields
