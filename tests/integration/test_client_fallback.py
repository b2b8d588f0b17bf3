"""hubbub.client on networks that let no WebSocket through: what it finds, what it remembers, what it does not lose."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Awaitable, Callable
from pathlib import Path
from uuid import uuid4

import pytest

from hubbub.client import Ended, Event, Hub, Refused, Room, Status, connect
from hubbub.client.choice import Networks
from tests.conftest import Servers
from tests.integration.test_mounted import running
from tests.support.firewall import CUT, EAT, PASS, REFUSE, Firewall, Rule, no_websockets, only_short_answers
from tests.support.server import HOSTS, Server

SECONDS = 25.0
KINDS = {"websocket": lambda head: PASS, "sse": no_websockets(REFUSE), "poll": only_short_answers}


@pytest.fixture
def server(servers: Servers) -> Server:
    return servers()


@pytest.fixture
def room() -> str:
    return f"room-{uuid4()}"


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody waits long for what never comes; and what one test learns of 127.0.0.1 says nothing of the next."""
    for module in ("link", "stream", "poll", "websocket"):
        monkeypatch.setattr(f"hubbub.client.{module}.CONNECT_SECONDS", 1.0)
    monkeypatch.setattr("hubbub.client.link.NETWORKS", Networks())


def behind(server: Server, rule: Rule, part: Callable[[Firewall], Awaitable[None]]) -> None:
    async def run() -> None:
        async with asyncio.timeout(SECONDS), Firewall(server.port, rule) as firewall:
            await part(firewall)

    asyncio.run(run())


async def next_of(room: Room, kind: str) -> Event:
    async for event in room:
        if event["type"] == kind:
            return event
    raise AssertionError(f"no {kind} came")


@pytest.mark.parametrize("how", [REFUSE, EAT, CUT])
def test_what_lets_no_websocket_through_lets_a_stream(server: Server, room: str, how: str) -> None:
    async def part(firewall: Firewall) -> None:
        async with connect(f"127.0.0.1:{firewall.port}") as hub:
            ada = hub.join(room, "ada")
            await ada.ready()
            assert hub.transport == "sse"
            assert (await ada.send("hi"))["seq"] == 1
            assert (await next_of(ada, "message"))["text"] == "hi"

    behind(server, no_websockets(how), part)


def test_where_streams_are_held_back_polls_are_not(server: Server, room: str) -> None:
    async def part(firewall: Firewall) -> None:
        async with connect(f"127.0.0.1:{firewall.port}") as hub:
            ada = hub.join(room, "ada")
            await ada.ready()
            assert hub.transport == "poll"
            assert (await ada.send("hi"))["seq"] == 1
            assert (await next_of(ada, "message"))["text"] == "hi"

    behind(server, only_short_answers, part)


def test_what_was_found_is_remembered_for_the_next_client(server: Server, room: str) -> None:
    async def part(firewall: Firewall) -> None:
        asked: list[bytes] = []

        def look(head: bytes) -> str:
            asked.append(head.partition(b" HTTP")[0])
            return no_websockets(REFUSE)(head)

        firewall.rule = look
        for _ in range(2):
            async with connect(f"127.0.0.1:{firewall.port}") as hub:
                await hub.join(room, "ada").ready()
        assert sum(b"/ws" in line for line in asked) == 1

    behind(server, no_websockets(REFUSE), part)


def test_who_is_refused_is_refused_whichever_way_it_comes(servers: Servers, tmp_path: Path) -> None:
    (tmp_path / "secret").write_text(secrets.token_urlsafe(32))
    server = servers("fast path", "--auth", "jwt", "--jwt-secret-file", str(tmp_path / "secret"))

    async def part(firewall: Firewall) -> None:
        with pytest.raises(Ended) as ended:
            async with connect(f"127.0.0.1:{firewall.port}"):
                pass
        assert ended.value.code == 401
        assert all(b"/ws" in line for line in firewall.passed)

    behind(server, KINDS["websocket"], part)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("host", HOSTS)
def test_every_kind_does_the_same_on_every_server(servers: Servers, room: str, host: str, kind: str) -> None:
    async def part(firewall: Firewall) -> None:
        url = f"127.0.0.1:{firewall.port}"
        async with connect(url, transports=[kind]) as one, connect(url, transports=[kind]) as other:
            ada, bob = one.join(room, "ada"), other.join(room, "bob")
            attic = one.subscribe(f"{room}-attic")
            await asyncio.gather(ada.ready(), bob.ready(), attic.ready())
            for number in range(5):
                await ada.send(f"{number}")
            assert [(await next_of(bob, "message"))["text"] for _ in range(5)] == list("01234")
            assert (await bob.ack())["seq"] == 5
            assert sorted((await ada.presence())["members"]) == ["ada", "bob"]
            assert [event["text"] for event in (await ada.history(limit=2))["messages"]] == ["3", "4"]
            with pytest.raises(Refused, match="A message has 1 to 2000 characters"):
                await ada.send("")
            await bob.leave()
            bob = other.join(room, "bob", history=2)
            assert [(await next_of(bob, "message"))["text"] for _ in range(2)] == ["3", "4"]
            await say_nothing_of(one)

    behind(servers(host), KINDS["websocket"], part)


async def say_nothing_of(hub: Hub) -> None:
    """A round trip."""
    assert (await hub.ping())["timestamp"] > 0


@pytest.mark.parametrize("kind", ["sse", "poll"])
def test_a_room_that_is_refused_does_not_take_the_others_with_it(server: Server, room: str, kind: str) -> None:
    async def part(firewall: Firewall) -> None:
        async with connect(f"127.0.0.1:{firewall.port}", transports=[kind]) as hub:
            good, bad = hub.join(room, "ada"), hub.join("{none}", "ada")
            with pytest.raises(Refused) as refused:
                await bad.ready()
            assert refused.value.code == "invalid_name"
            await good.ready()
            assert (await good.send("hi"))["seq"] == 1

    behind(server, KINDS["websocket"], part)


def test_when_a_websocket_gets_through_again_it_is_taken(
    server: Server, room: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("hubbub.client.choice.REMEMBERED_SECONDS", 0.2)
    monkeypatch.setattr("hubbub.client.hub.LOOK_SECONDS", 0.1)

    async def part(firewall: Firewall) -> None:
        kinds: list[str] = []
        back = asyncio.Event()

        def look(status: Status) -> None:
            kinds.append(status.transport)
            if kinds.count("websocket") == 1:
                back.set()

        async with connect(f"127.0.0.1:{firewall.port}", on_status=look) as hub:
            ada = hub.join(room, "ada")
            session = (await ada.ready(), hub.session)[1]
            await ada.send("before")
            firewall.rule = KINDS["websocket"]
            await back.wait()
            await ada.send("after")
            assert [(await next_of(ada, "message"))["text"] for _ in range(2)] == ["before", "after"]
            assert (hub.session, hub.transport, kinds) == (session, "websocket", ["sse", "websocket"])
            assert ada.info["members"] == ["ada"]

    behind(server, no_websockets(REFUSE), part)


def test_one_websocket_that_is_cut_is_no_reason_to_fall_back_where_they_got_through(server: Server, room: str) -> None:
    async def part(firewall: Firewall) -> None:
        seen: list[Status] = []
        async with connect(f"127.0.0.1:{firewall.port}", on_status=seen.append) as hub:
            ada = hub.join(room, "ada")
            await ada.ready()
            cut = iter([CUT])
            firewall.rule = lambda head: next(cut, PASS)
            firewall.cut()
            await ada.send("hi")
            assert [status.transport for status in seen if status.online] == ["websocket", "websocket"]

    behind(server, KINDS["websocket"], part)


def test_where_nothing_gets_through_it_says_what_stood_in_the_way_first(room: str) -> None:
    async def part() -> None:
        async def refuse(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            await reader.readuntil(b"\r\n\r\n")
            writer.write(b"HTTP/1.1 404 Not Found\r\ncontent-length: 0\r\nconnection: close\r\n\r\n")
            writer.close()

        async with asyncio.timeout(SECONDS), await asyncio.start_server(refuse, "127.0.0.1", 0) as listening:
            port = listening.sockets[0].getsockname()[1]
            async with connect(f"127.0.0.1:{port}") as hub:
                with pytest.raises(Ended, match="404 Not Found"):
                    await hub.join(room, "ada").ready()

    asyncio.run(part())


@pytest.mark.parametrize("kind", KINDS)
def test_below_a_path_of_somebody_elses_application(tmp_path: Path, room: str, kind: str) -> None:
    with running(tmp_path, "uvicorn with websockets") as server:

        async def part() -> None:
            async with (
                asyncio.timeout(SECONDS),
                connect(f"{server.http}/hub/ws", transports=[kind]) as hub,
            ):
                ada = hub.join(room, "ada")
                await ada.send("hi")
                assert (await next_of(ada, "message"))["text"] == "hi"

        asyncio.run(part())


@pytest.mark.parametrize("kind", ["sse", "poll"])
def test_more_rooms_than_a_request_holds_under_several_names(server: Server, room: str, kind: str) -> None:
    async def part(firewall: Firewall) -> None:
        async with connect(f"127.0.0.1:{firewall.port}", transports=[kind]) as hub:
            rooms = [hub.join(f"{room}-{number}", f"ada {number % 2}") for number in range(70)]
            news = hub.subscribe(f"{room}-0-news")
            await asyncio.gather(*(each.ready() for each in (*rooms, news)))
            for number in (0, 1, 68, 69):
                await rooms[number].send("hi")
                assert (await next_of(rooms[number], "message"))["username"] == f"ada {number % 2}"
            firewall.cut()
            await rooms[69].send("back")
            assert (await next_of(rooms[69], "message"))["text"] == "back"

    behind(server, KINDS["websocket"], part)


@pytest.mark.parametrize("kind", KINDS)
def test_who_is_told_when_to_come_back_comes_back_then(servers: Servers, room: str, kind: str) -> None:
    server = servers("fast path", "--max-connections-per-address", "1")

    async def part(firewall: Firewall) -> None:
        waits: list[float] = []
        url = f"127.0.0.1:{firewall.port}"
        told = asyncio.Event()

        def look(status: Status) -> None:
            if not status.online:
                waits.append(status.retry_seconds)
                told.set()

        async with connect(url, transports=["websocket"]) as first:
            await first.ping()

            async def come() -> None:
                async with connect(url, transports=[kind], on_status=look) as hub:
                    await hub.join(room, "ada").ready()

            coming = asyncio.create_task(come())
            await told.wait()
            assert waits[0] >= 1.0
            coming.cancel()
            await asyncio.gather(coming, return_exceptions=True)

    behind(server, KINDS["websocket"], part)
