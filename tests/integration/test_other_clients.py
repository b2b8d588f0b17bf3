"""Clients that are not ours chat: `websockets` on asyncio, `aiohttp`, and Node's `ws`."""

import asyncio
import json
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager
from pathlib import Path
from typing import Any
from uuid import uuid4

import aiohttp
import msgspec
import pytest
from websockets.asyncio.client import ClientConnection, connect

from tests.conftest import Servers
from tests.support.server import HOSTS, Server
from tests.support.terminal import Terminal, terminal

CHAT = Path(__file__).parent / "node_ws" / "chat.mjs"
SECONDS = 10.0
CROWD = 20
Event = dict[str, Any]


@pytest.fixture(params=HOSTS)
def server(request: pytest.FixtureRequest, servers: Servers) -> Server:
    return servers(request.param, "--rate-limit", "0")


@pytest.fixture
def room() -> str:
    return f"room-{uuid4()}"


def join(room: str, username: str) -> str:
    return json.dumps({"type": "join", "room": room, "username": username})


def message(text: str) -> str:
    return json.dumps({"type": "message", "text": text})


# websockets on asyncio


async def until(client: ClientConnection, kind: str) -> Event:
    """The next event of a type."""
    async for frame in client:
        event: Event = json.loads(frame)
        if event["type"] == kind:
            return event
    raise AssertionError(f"closed while waiting for {kind}")


async def crowd(url: str, room: str) -> list[list[int]]:
    """Everybody joins, all talk at once; the numbers of the messages in the order in which each heard them."""
    async with asyncio.timeout(SECONDS), AsyncExitStack() as stack:
        dialled = [connect(url, proxy=None, max_queue=None) for _ in range(CROWD)]
        people = [await stack.enter_async_context(client) for client in dialled]
        for number, person in enumerate(people):
            await person.send(join(room, f"person {number}"))
            assert (await until(person, "room_info"))["count"] == number + 1
        await asyncio.gather(*(person.send(message("hi")) for person in people))
        return [[(await until(person, "message"))["seq"] for _ in people] for person in people]


def test_in_a_crowd_on_websockets_all_hear_all_in_one_order(server: Server, room: str) -> None:
    assert asyncio.run(crowd(f"{server.ws}/ws", room)) == [list(range(1, CROWD + 1))] * CROWD


def test_websockets_on_asyncio_pings_and_closes(server: Server) -> None:
    async def chat() -> tuple[int | None, str | None]:
        async with asyncio.timeout(SECONDS), connect(f"{server.ws}/ws", proxy=None) as ada:
            await (await ada.ping(b"hello"))
            await ada.close(4321, "enough")
            return ada.close_code, ada.close_reason

    assert asyncio.run(chat()) == (4321, "enough")


# aiohttp


@asynccontextmanager
async def dial(url: str, **options: Any) -> AsyncIterator[aiohttp.ClientWebSocketResponse]:
    async with asyncio.timeout(SECONDS), aiohttp.ClientSession() as session, session.ws_connect(url, **options) as ws:
        yield ws


@pytest.mark.parametrize("compress", [0, 15])
def test_aiohttp_chats(server: Server, room: str, compress: int) -> None:
    async def chat() -> list[Event]:
        async with dial(f"{server.ws}/ws", compress=compress) as ada:
            assert ada.compress == compress
            await ada.send_str(join(room, "ada"))
            await ada.send_str(message("é " * 500))
            return [await ada.receive_json() for _ in range(3)]

    connected, info, said = asyncio.run(chat())
    assert (connected["type"], info["members"], said["text"]) == ("connected", ["ada"], ("é " * 500).strip())


def test_aiohttp_chats_in_messagepack(server: Server, room: str) -> None:
    async def chat() -> list[Event]:
        async with dial(f"{server.ws}/ws", protocols=("hubbub.v1.msgpack", "hubbub.v1.json")) as ada:
            assert ada.protocol == "hubbub.v1.msgpack"
            await ada.send_bytes(msgspec.msgpack.encode({"type": "join", "room": room, "username": "ada"}))
            return [msgspec.msgpack.decode(await ada.receive_bytes()) for _ in range(2)]

    connected, info = asyncio.run(chat())
    assert (connected["type"], info["members"]) == ("connected", ["ada"])


def test_aiohttp_echoes_bytes_on_an_own_protocol(server: Server) -> None:
    async def echo() -> bytes:
        async with dial(f"{server.ws}/echo") as client:
            await client.send_bytes(bytes(range(256)) * 200)
            return await client.receive_bytes()

    assert asyncio.run(echo()) == bytes(range(256)) * 200


def test_aiohttp_closes(server: Server) -> None:
    async def close() -> int | None:
        async with dial(f"{server.ws}/ws") as ada:
            assert await ada.close(code=4321)
            return ada.close_code

    assert asyncio.run(close()) == 4321


# Node's ws


@contextmanager
def node(url: str, subprotocols: str = "", deflate: str = "no") -> Iterator[Terminal]:
    with terminal("node", str(CHAT), url, subprotocols, deflate) as client:
        yield client


def event(client: Terminal) -> Event:
    """The next message, a text, as the event that it is."""
    entry: Event = json.loads(json.loads(client.line())["text"])
    return entry


@pytest.mark.parametrize(("deflate", "extensions"), [("no", ""), ("yes", "permessage-deflate")])
def test_node_chats(server: Server, room: str, deflate: str, extensions: str) -> None:
    with node(f"{server.ws}/ws", "hubbub.v1.json", deflate) as ada:
        assert json.loads(ada.line()) == {"open": "hubbub.v1.json", "extensions": extensions}
        assert event(ada)["type"] == "connected"
        ada.type(join(room, "ada"))
        assert event(ada)["members"] == ["ada"]
        ada.type(message("é 日本 🎉 " * 100))
        assert event(ada)["text"] == ("é 日本 🎉 " * 100).strip()
        assert ada.end() == 0
        assert [json.loads(line) for line in ada.rest()] == [{"close": 1000, "reason": "bye"}]


def test_node_reads_messagepack(server: Server) -> None:
    with node(f"{server.ws}/ws", "hubbub.v1.msgpack") as ada:
        assert json.loads(ada.line())["open"] == "hubbub.v1.msgpack"
        connected = msgspec.msgpack.decode(bytes.fromhex(json.loads(ada.line())["binary"]))
        assert connected["type"] == "connected"


def test_node_is_told_why_it_is_closed(server: Server) -> None:
    with node(f"{server.ws}/fail") as client:
        client.line()
        client.type("boom")
        close = json.loads(client.line())
        assert (close["close"], close["reason"].startswith("correlationId=")) == (1011, True)


def test_node_is_refused_with_a_status(server: Server) -> None:
    with node(f"{server.ws}/ws", "soap") as client:
        assert json.loads(client.line()) == {"status": 400}
