"""Our client in TypeScript, on Node.js, against a real server: every dialogue, and a server that is killed."""

import json
import signal
import subprocess
from collections.abc import Iterator
from contextlib import AbstractContextManager, ExitStack
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest

from tests.conftest import Servers
from tests.support.dialogue import options_of
from tests.support.server import FAST, ROOT, free_port, serve
from tests.support.terminal import Terminal, terminal

HERE = Path(__file__).parent / "node_client"
BUILD = ROOT / "web" / "packages" / "client" / "build.mjs"
DIALOGUES = sorted((ROOT / "protocol" / "dialogues").glob("*.json"))
LEFT_OUT = ("26-refused-before-the-upgrade",)  # a client offers no sub-protocols but those of the server
# Node.js 20 has a WebSocket of its own only when it is asked for.
NODE = ("node", "--experimental-websocket", "--no-warnings")
Entry = dict[str, Any]


@pytest.fixture(scope="module", autouse=True)
def built() -> None:
    subprocess.run(["node", str(BUILD)], check=True)


@pytest.fixture(scope="module")
def player(built: None) -> Iterator[Terminal]:
    with terminal(*NODE, str(HERE / "dialogues.mjs")) as running:
        yield running


@pytest.fixture(scope="module")
def secrets(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("secrets")


@pytest.mark.parametrize("file", [file for file in DIALOGUES if file.stem not in LEFT_OUT], ids=lambda file: file.stem)
def test_the_client_takes_the_dialogue(servers: Servers, player: Terminal, secrets: Path, file: Path) -> None:
    dialogue: Entry = json.loads(file.read_text())
    settings = dialogue.get("server", {})
    server = servers(FAST, *options_of(settings, secrets))
    task = {"dialogue": dialogue, "url": server.http, "secret": settings.get("jwt_secret", "")}
    player.type(json.dumps(task))
    assert json.loads(player.line()) == "taken"


def test_a_dialogue_that_expects_something_else_fails(servers: Servers, player: Terminal) -> None:
    steps = [{"client": "ada", "connect": {}}, {"client": "ada", "expect": {"type": "connected", "protocol": 2}}]
    player.type(json.dumps({"dialogue": {"steps": steps}, "url": servers().http}))
    assert json.loads(player.line()).startswith("Error: step 2, ")


# A chat


def chatting(url: str, room: str, username: str, **options: Any) -> AbstractContextManager[Terminal]:
    return terminal(*NODE, str(HERE / "chat.mjs"), url, room, username, json.dumps(options))


def until(client: Terminal, **wanted: Any) -> list[Entry]:
    """What the client prints up to an entry with these fields."""
    entries: list[Entry] = []
    while not entries or not wanted.items() <= entries[-1].items():
        entries.append(json.loads(client.line()))
    return entries


@pytest.mark.parametrize("encoding", ["json", "msgpack"])
def test_two_clients_chat(servers: Servers, encoding: str) -> None:
    server, room = servers(FAST), f"room-{uuid4()}"
    with chatting(server.http, room, "ada", encoding=encoding) as ada, chatting(server.ws, room, "bob") as bob:
        until(ada, status="connected")
        until(bob, status="connected")
        ada.type("é 日本 🎉")
        assert until(bob, heard="é 日本 🎉")[-1]["seq"] == 1
        assert until(ada, kept="é 日本 🎉")[-1]["seq"] == 1
        assert ada.end() == 0
        until(bob, left="ada")


@pytest.mark.parametrize("transport", ["stream", "poll"])
def test_two_clients_chat_over_plain_http(servers: Servers, transport: str) -> None:
    server, room = servers(FAST), f"room-{uuid4()}"
    options = {"transports": [transport]}
    with chatting(server.http, room, "ada", **options) as ada, chatting(server.http, room, "bob", **options) as bob:
        until(ada, status="connected")
        until(bob, status="connected")
        for number in range(5):
            ada.type(str(number))
        heard = [entry["heard"] for entry in until(bob, heard="4") if "heard" in entry]
        assert heard == [str(number) for number in range(5)]
        assert until(ada, kept="4")[-1]["seq"] == 5


def test_a_client_whose_websocket_is_blocked_goes_on_over_http_and_back(servers: Servers) -> None:
    server, room = servers(FAST), f"room-{uuid4()}"
    with chatting(server.http, room, "ada", blockedMs=4000) as ada, chatting(server.http, room, "bob") as bob:
        until(bob, status="connected")
        until(ada, status="connected", transport="stream")
        ada.type("over HTTP")
        heard = until(bob, heard="over HTTP")
        until(ada, status="connected", transport="websocket")
        ada.type("over WebSocket")
        heard += until(bob, heard="over WebSocket")
        until(ada, kept="over WebSocket")
    assert [entry["heard"] for entry in heard if "heard" in entry] == ["over HTTP", "over WebSocket"]
    assert [entry for entry in heard if "left" in entry] == []


@pytest.mark.parametrize("transport", ["websocket", "stream"])
def test_what_is_said_while_the_server_is_dead_is_heard_once_and_in_order(tmp_path: Path, transport: str) -> None:
    port, broker = free_port(), f"sqlite:///{tmp_path / 'log.db'}"
    url = f"http://127.0.0.1:{port}"
    with ExitStack() as stack:
        with serve(tmp_path, FAST, "--broker", broker, port=port) as first:
            ada = stack.enter_context(chatting(url, "lobby", "ada", transports=[transport]))
            bob = stack.enter_context(chatting(url, "lobby", "bob", transports=[transport]))
            until(ada, status="connected")
            until(bob, status="connected")
            for number in range(5):
                ada.type(f"before {number}")
            heard = until(bob, heard="before 4")
            first.stop(signal.SIGKILL)
            until(ada, status="waiting")
            for number in range(5):
                ada.type(f"after {number}")
        stack.enter_context(serve(tmp_path, FAST, "--broker", broker, port=port))
        heard += until(bob, heard="after 4")
        until(ada, kept="after 4")
    expected = [f"{when} {number}" for when in ("before", "after") for number in range(5)]
    assert [entry["heard"] for entry in heard if "heard" in entry] == expected
    assert [entry for entry in heard if "gap" in entry] == []
