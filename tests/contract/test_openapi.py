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
LISTENING = ("/sse", "/stream", "/poll")


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
    # The first two are large, the others wait; the tests around look at all of them.
    others = ("/openapi.json", "/asyncapi.json", *LISTENING)
    passed_over = [option for path in others for option in ("--exclude-path", path)]
    bounds = ["--generation-deterministic", "--max-examples", str(EXAMPLES), "--phases", "coverage,fuzzing"]
    asked = [f"{chat.http}/openapi.json", "-H", BEARER, *bounds, *passed_over]
    done = subprocess.run([*program, *asked], cwd=tmp_path, capture_output=True, text=True, timeout=SECONDS)
    assert (done.returncode, "No issues found" in done.stdout) == (0, True), done.stdout + done.stderr


def refused(chat: Server, path: str, query: dict[str, Any]) -> bool:
    """Whether a request makes no sense to the server; what makes some is not waited for."""
    with httpx.stream("GET", f"{chat.http}{path}", params=query, trust_env=False) as answer:
        assert answer.status_code in (200, 400)
        return answer.status_code == 400


@pytest.mark.parametrize("path", LISTENING)
def test_to_listen_takes_what_the_document_says_and_no_more(chat: Server, document: Any, path: str) -> None:
    described = document["paths"][path]["get"]["parameters"]
    schemas = {each["name"]: each["schema"] for each in described}
    assert [each["name"] for each in described if each.get("required")] == ["room"]
    assert refused(chat, path, {})
    rooms = [f"room {number}" for number in range(schemas["room"]["maxItems"] + 1)]
    assert (refused(chat, path, {"room": rooms}), refused(chat, path, {"room": rooms[1:]})) == (True, False)
    for name in schemas.keys() & {"history", "timeout"}:
        most = schemas[name]["maximum"]
        assert refused(chat, path, {"room": "a", name: most + 1}), name
        assert not refused(chat, path, {"room": "a", name: most}), name


@pytest.mark.parametrize("path", LISTENING)
def test_to_listen_is_answered_as_the_document_says(chat: Server, document: Any, path: str) -> None:
    answers = document["paths"][path]["get"]["responses"]["200"]["content"]
    with httpx.stream("GET", f"{chat.http}{path}", params={"room": "a"}, trust_env=False) as answer:
        assert [answer.headers["content-type"]] == list(answers)


def test_a_poll_s_answer_has_the_fields_of_the_document(chat: Server, document: Any) -> None:
    described = document["components"]["schemas"]["Polled"]
    answer = httpx.get(f"{chat.http}/poll", params={"room": "a"}, trust_env=False).json()
    assert sorted(answer) == sorted(described["required"])
    asked = {"room": "a", "username": "ada", "session": ""}
    answer = httpx.get(f"{chat.http}/poll", params=asked, trust_env=False).json()
    assert answer.keys() == described["properties"].keys()


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
