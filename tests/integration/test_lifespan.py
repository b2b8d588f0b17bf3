"""A node that its host starts and stops: by ASGI's lifespan or one of the host's own, again and again, or never."""

from __future__ import annotations

import asyncio
import socket
import sqlite3
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, closing, nullcontext
from pathlib import Path
from typing import Any

import msgspec
import pytest

from hubbub import Event, Hubbub
from hubbub.config import Auth, Config, Server
from hubbub.errors import BrokerError
from hubbub.node import Node, build_asgi
from tests.support.redis import RedisServer
from tests.support.server import ROOT, environment

DEADLINE_SECONDS = 20.0


class Said(Event, tag="said"):
    text: str


class Client:
    """A WebSocket client that is nothing but ASGI messages."""

    def __init__(self, node: Node) -> None:
        self._inbox: asyncio.Queue[dict[str, Any]] = asyncio.Queue()
        self._outbox: asyncio.Queue[dict[str, Any]] = asyncio.Queue()
        self._inbox.put_nowait({"type": "websocket.connect"})
        scope = {"type": "websocket", "path": "/ws", "subprotocols": [], "query_string": b"", "headers": []}
        self._task = asyncio.ensure_future(
            node({**scope, "client": None, "root_path": ""}, self._inbox.get, self._send)
        )

    async def _send(self, message: Any) -> None:
        self._outbox.put_nowait(message)

    def say(self, **command: Any) -> None:
        self._inbox.put_nowait({"type": "websocket.receive", "text": msgspec.json.encode(command).decode()})

    async def hear(self, type: str) -> dict[str, Any]:
        """The next event of a type."""
        async with asyncio.timeout(DEADLINE_SECONDS):
            while True:
                event = msgspec.json.decode((await self._outbox.get()).get("text") or "{}")
                if event.get("type") == type:
                    return dict(event)

    async def end(self) -> tuple[int, str]:
        """Code and reason of the close that comes."""
        async with asyncio.timeout(DEADLINE_SECONDS):
            while (message := await self._outbox.get())["type"] != "websocket.close":
                pass
            return message["code"], message["reason"]

    async def go(self) -> None:
        self._inbox.put_nowait({"type": "websocket.disconnect", "code": 1000})
        await asyncio.wait_for(self._task, DEADLINE_SECONDS)


@asynccontextmanager
async def asgi_lifespan(node: Node) -> AsyncIterator[None]:
    """As a server does it."""
    inbox: asyncio.Queue[dict[str, Any]] = asyncio.Queue()
    outbox: asyncio.Queue[Any] = asyncio.Queue()
    inbox.put_nowait({"type": "lifespan.startup"})
    running = asyncio.ensure_future(node({"type": "lifespan", "state": {}}, inbox.get, outbox.put))
    assert (await asyncio.wait_for(outbox.get(), DEADLINE_SECONDS))["type"] == "lifespan.startup.complete"
    yield
    inbox.put_nowait({"type": "lifespan.shutdown"})
    await asyncio.wait_for(running, DEADLINE_SECONDS)


@pytest.fixture(params=["sqlite", "memory", "redis"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    if request.param == "redis":
        server: RedisServer = request.getfixturevalue("redis_server")
        return server.url
    return "memory://" if request.param == "memory" else f"sqlite:///{tmp_path}/rooms.db"


def node_of(url: str) -> tuple[Hubbub, Node]:
    app = Hubbub()
    return app, build_asgi(app, Config(server=Server(broker=url), auth=Auth(auth="anonymous")))


@pytest.mark.parametrize("lifespan", [asgi_lifespan, lambda node: node.lifespan(None)])
def test_a_node_without_its_redis_is_not_ready_and_is_once_it_is_there(tmp_path: Path, lifespan: Any) -> None:
    server = RedisServer(tmp_path)
    _, node = node_of(server.url)
    scope = {"type": "http", "method": "GET", "path": "/nothing", "headers": [], "query_string": b""}

    async def status() -> int:
        messages: list[Any] = []

        async def send(message: Any) -> None:
            messages.append(message)

        async def receive() -> Any:
            return {"type": "http.request", "body": b""}

        await node(scope, receive, send)
        return int(messages[0]["status"])

    async def life() -> None:
        async with lifespan(node):
            assert await status() == 503
            await asyncio.to_thread(server.start)
            async with asyncio.timeout(DEADLINE_SECONDS):
                while await status() == 503:
                    await asyncio.sleep(0.05)
            assert await status() == 404
            client = Client(node)
            client.say(type="join", room="r", username="ada")
            await client.hear("room_info")
            await client.go()

    try:
        asyncio.run(life())
    finally:
        server.kill()


@pytest.mark.parametrize("lifespan", [asgi_lifespan, lambda node: node.lifespan(None)])
def test_a_node_may_be_started_again_on_another_loop(url: str, lifespan: Any) -> None:
    app, node = node_of(url)

    async def life(text: str) -> str:
        async with lifespan(node):
            client = Client(node)
            client.say(type="join", room="r", username="ada")
            await client.hear("room_info")
            app.room("r").publish(Said(text))
            said = await client.hear("said")
            await client.go()
            return str(said["text"])

    assert [asyncio.run(life(text)) for text in ("one", "two")] == ["one", "two"]


@pytest.mark.parametrize("lifespan", [asgi_lifespan, lambda node: node.lifespan(None)])
def test_the_end_of_a_lifespan_drains(url: str, lifespan: Any) -> None:
    _, node = node_of(url)

    async def life() -> None:
        async with lifespan(node):
            clients = [Client(node) for _ in range(3)]
            for client in clients:
                await client.hear("connected")
            ended = asyncio.gather(*(hear_the_end(client) for client in clients))
        told = await ended
        assert len({after for after, _ in told}) == 3
        assert all(500 <= after <= 530 for after, _ in told)
        assert {close for _, close in told} == {(1012, "after=500")}

    async def hear_the_end(client: Client) -> tuple[int, tuple[int, str]]:
        event = await client.hear("reconnect")
        return event["after"], await client.end()

    asyncio.run(life())


def test_a_lifespan_of_the_hosts_own_starts_the_node(url: str) -> None:
    app, node = node_of(url)

    async def life() -> None:
        async with node.lifespan(None):
            assert app.room("r").count == 0

    asyncio.run(life())


def test_a_node_that_stops_ticks_no_more(monkeypatch: pytest.MonkeyPatch) -> None:
    _, node = node_of("memory://")
    cancelled: list[bool] = []

    async def stop() -> None:
        assert node._timer is not None
        cancelled.append(node._timer.cancelled())

    async def life() -> None:
        monkeypatch.setattr(node.open(), "stop", stop)
        async with node.lifespan(None):
            pass

    asyncio.run(life())
    assert cancelled == [True]


def test_stopping_twice_and_stopping_what_never_started_are_harmless(url: str) -> None:
    _, node = node_of(url)

    async def life() -> None:
        await node.stop()
        node.start()
        await node.stop()
        await node.stop()

    asyncio.run(life())


def test_what_is_published_while_a_node_stops_is_answered(tmp_path: Path) -> None:
    app, node = node_of(f"sqlite:///{tmp_path}/rooms.db")

    async def life() -> Any:
        node.start()
        settled = asyncio.get_running_loop().create_future()
        room = app.room("r")
        await node.stop()
        room.publish(Said("late")).when_settled(settled.set_result)
        return (await asyncio.wait_for(settled, DEADLINE_SECONDS)).error

    assert isinstance(asyncio.run(life()), BrokerError)


# While Redis is not there


async def ask(node: Node, path: str, root_path: str = "") -> tuple[int, str]:
    """The status and the text of an answer."""
    sent: asyncio.Queue[Any] = asyncio.Queue()
    scope = {"type": "http", "method": "GET", "path": root_path + path, "root_path": root_path, "headers": []}
    async with asyncio.timeout(DEADLINE_SECONDS):
        await node(scope, asyncio.Queue[Any]().get, sent.put)
    return (await sent.get())["status"], (await sent.get())["body"].decode()


@pytest.mark.parametrize("lifespan", [asgi_lifespan, lambda node: nullcontext()])
@pytest.mark.parametrize("root_path", ["", "/hub"])
def test_a_node_without_its_redis_is_alive_and_not_ready_until_that_is_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, lifespan: Any, root_path: str
) -> None:
    monkeypatch.setattr("hubbub.node.OPEN_SECONDS", 0.0)
    redis = RedisServer(tmp_path)
    _, node = node_of(redis.url)

    async def life() -> None:
        async with lifespan(node):
            assert await ask(node, "/healthz", root_path) == (200, "ok\n")
            for path in ("/readyz", "/api/ticket", "/anything"):
                assert await ask(node, path, root_path) == (503, "the broker is not there\n")
            with redis:
                async with asyncio.timeout(DEADLINE_SECONDS):
                    while await ask(node, "/readyz", root_path) != (200, "ok\n"):
                        await asyncio.sleep(0.01)
                assert await ask(node, "/healthz", root_path) == (200, "ok\n")
                assert (await ask(node, "/anything", root_path))[0] == 404
                await node.stop()

    asyncio.run(life())


def test_whether_it_is_alive_does_not_wait_for_a_redis_that_says_nothing() -> None:
    silent = socket.create_server(("127.0.0.1", 0))
    _, node = node_of(f"redis://127.0.0.1:{silent.getsockname()[1]}")

    async def life() -> None:
        asked = asyncio.ensure_future(ask(node, "/readyz"))
        with await asyncio.to_thread(lambda: silent.accept()[0]):  # the node waits for its answer
            assert await ask(node, "/healthz") == (200, "ok\n")
            assert not asked.done()
            silent.close()
        assert await asked == (503, "the broker is not there\n")

    asyncio.run(life())


# Never stopped


HOST = """
import asyncio, sys
from hubbub import Event, Hubbub
from hubbub.config import Auth, Config, Server
class Said(Event, tag="said"):
    text: str
app = Hubbub()
node = app.asgi(Config(server=Server(broker=f"sqlite:///{sys.argv[1]}")))
async def main():
    node.start()
    kept = asyncio.get_running_loop().create_future()
    app.room("r").publish(Said("first")).when_settled(kept.set_result)
    await kept
    for number in range(4):
        app.room("r").publish(Said(str(number)))
        await asyncio.sleep(0)
    await asyncio.sleep(0)
asyncio.run(main())
"""


def test_a_host_that_never_stops_a_node_loses_nothing_and_leaves_no_crash_behind(tmp_path: Path) -> None:
    path = tmp_path / "rooms.db"
    command = [sys.executable, "-c", HOST, str(path)]
    done = subprocess.run(command, cwd=ROOT, env=environment(()), capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    with closing(sqlite3.connect(path)) as file:
        assert file.execute("SELECT count(*) FROM event").fetchall() == [(5,)]
        assert file.execute("SELECT * FROM meta WHERE name = 'running'").fetchall() == []
