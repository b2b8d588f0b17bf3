"""Every dialogue of protocol/dialogues, word for word, over every way of hosting the application."""

import json
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import Servers
from tests.support.dialogue import Stage, options_of
from tests.support.server import HOSTS, HYPERCORN, ROOT

DIALOGUES = sorted((ROOT / "protocol" / "dialogues").glob("*.json"))
# Hypercorn tells its application of a client's close frame as if the connection had been lost.
LEFT_OUT = {("33-a-session-is-closed", HYPERCORN)}
CASES = [(file, host) for file in DIALOGUES for host in HOSTS if (file.stem, host) not in LEFT_OUT]


@pytest.fixture(scope="session")
def secrets(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where the secrets of the dialogues' servers are; one place, so that dialogues share servers."""
    return tmp_path_factory.mktemp("secrets")


@pytest.mark.parametrize(("file", "host"), CASES, ids=[f"{file.stem}-{host}" for file, host in CASES])
def test_the_server_says_its_part(servers: Servers, secrets: Path, file: Path, host: str) -> None:
    dialogue: dict[str, Any] = json.loads(file.read_text())
    settings = dialogue.get("server", {})
    server = servers(host, *options_of(settings, secrets))
    Stage(server.port, dialogue.get("tokens"), settings.get("jwt_secret", "")).run(dialogue["steps"])


@pytest.mark.parametrize(
    "expected",
    [
        {"type": "connected", "timestamp": "<uuid>"},
        {"type": "connected", "clientId": "<ms>"},
        {"type": "connected", "protocol": 2},
        {"type": "connected", "colour": "<any>"},
        {"type": "room_info"},
    ],
)
def test_a_dialogue_that_expects_something_else_fails(servers: Servers, expected: dict[str, Any]) -> None:
    steps = [{"client": "ada", "connect": {}}, {"client": "ada", "expect": expected}]
    with pytest.raises(AssertionError, match=r"^step 2, "):
        Stage(servers().port).run(steps)


def test_a_dialogue_that_expects_exactly_less_fails(servers: Servers) -> None:
    expected = {"client": "ada", "expect": {"type": "connected"}, "exact": True}
    with pytest.raises(AssertionError, match=r"^step 2, .*clientId"):
        Stage(servers().port).run([{"client": "ada", "connect": {}}, expected])
