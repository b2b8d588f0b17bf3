"""The dialogues of protocol/dialogues, said by the client's own transport, wherever a client could say them."""

from __future__ import annotations

import asyncio
import json
from collections import deque
from contextlib import ExitStack
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest

from hubbub.client.lane import Event
from hubbub.client.transport import Closed, Opening
from hubbub.client.websocket import WebSocketTransport
from hubbub.wire.codec import MSGPACK_SUBPROTOCOL
from tests.conftest import Servers
from tests.support.dialogue import Stage, Step, options_of
from tests.support.server import FAST, ROOT

DIALOGUES = sorted((ROOT / "protocol" / "dialogues").glob("*.json"))
SECONDS = 10.0
SAID = frozenset(("connect", "send", "expect", "expectClose", "drop", "post"))
TOKENS = "hubbub.bearer."


def can_be_said(step: Step) -> bool:
    """Whether a client takes such a step: it has a session, closes with 1000 only, and says nothing malformed."""
    if not SAID & step.keys() and step.get("close", {}).get("code") != 1000:
        return False
    request = step.get("connect", {})
    offered = request.get("subprotocols", [])
    named = [name for name in offered if name != MSGPACK_SUBPROTOCOL and not name.startswith("hubbub.v1")]
    return not named and "status" not in request and not request.get("headers", {}).keys() - {"Authorization"}


def is_for_clients(dialogue: dict[str, Any]) -> bool:
    steps = dialogue["steps"]
    without = {
        step["client"] for step in steps if "connect" in step and "session" not in step["connect"].get("path", "")
    }
    lost = {step["client"] for step in steps if "drop" in step}
    return all(map(can_be_said, steps)) and not without & lost


FOR_CLIENTS = [file for file in DIALOGUES if is_for_clients(json.loads(file.read_text()))]


class Client:
    """One of a dialogue: the transport, and the events that came and were not looked at."""

    def __init__(self, runner: asyncio.Runner) -> None:
        self.transport = WebSocketTransport()
        self.events: deque[Event] = deque()
        self.runner = runner

    def end(self) -> None:
        self.runner.run(self.transport.abort())

    def next(self) -> Event:
        async def receive() -> list[Event]:
            async with asyncio.timeout(SECONDS):
                return await self.transport.receive()

        while not self.events:
            self.events += self.runner.run(receive())
        return self.events.popleft()


class ClientStage(Stage):
    """People who talk with the client's transport."""

    def __init__(self, runner: asyncio.Runner, *arguments: Any) -> None:
        super().__init__(*arguments)
        self._runner = runner
        self._clients: dict[str, Client] = {}

    def _take(self, client: str, action: str, step: Step, stack: ExitStack) -> None:
        match action:
            case "post":
                super()._take(client, action, step, stack)
            case "connect":
                self._dial(client, step["connect"], stack)
            case "send" | "close":
                self._say(client, step)
            case "expect":
                expected = step["expect"]
                for event in expected if isinstance(expected, list) else [expected]:
                    got = self._clients[client].next()
                    if "session" not in event:  # this client always has one
                        got.pop("session", None)
                    self._compare(event, got, step.get("exact", False))
            case "expectClose":
                with pytest.raises(Closed) as closed:
                    self._clients[client].next()
                self._compare(step["expectClose"], {"code": closed.value.code, "reason": closed.value.reason}, False)
            case _:
                self._clients[client].end()

    def _dial(self, name: str, request: Step, stack: ExitStack) -> None:
        client = self._clients[name] = Client(self._runner)
        stack.callback(client.end)
        path = urlsplit(str(self._filled(request.get("path", "/ws"))))
        query = parse_qs(path.query)
        session = query.pop("session", [""])[0]
        rest = "&".join(f"{name}={value}" for name, values in query.items() for value in values)
        token = str(self._filled(request.get("headers", {}).get("Authorization", ""))).removeprefix("Bearer ")
        opening = Opening(
            f"ws://127.0.0.1:{self._port}{path.path}" + (f"?{rest}" if rest else ""),
            session,
            token,
            msgpack=MSGPACK_SUBPROTOCOL in request.get("subprotocols", []),
        )
        self._runner.run(client.transport.open(opening))

    def _say(self, name: str, step: Step) -> None:
        async def say() -> None:
            commands = step.get("send", [])
            for command in commands if isinstance(commands, list) else [commands]:
                self._clients[name].transport.send(self._filled(command))
            if "close" in step:
                await self._clients[name].transport.close()

        self._runner.run(say())


@pytest.fixture(scope="module")
def secrets(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("secrets")


@pytest.mark.parametrize("file", FOR_CLIENTS, ids=[file.stem for file in FOR_CLIENTS])
def test_the_client_says_its_part(servers: Servers, secrets: Path, file: Path) -> None:
    dialogue: dict[str, Any] = json.loads(file.read_text())
    settings = dialogue.get("server", {})
    server = servers(FAST, *options_of(settings, secrets))
    with asyncio.Runner() as runner:
        ClientStage(runner, server.port, dialogue.get("tokens"), settings.get("jwt_secret", "")).run(dialogue["steps"])


def test_most_dialogues_are_for_clients() -> None:
    assert len(FOR_CLIENTS) > 2 * len(DIALOGUES) // 3
