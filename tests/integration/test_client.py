"""hubbub.client against real servers: credentials, slow readers, cuts, cancellation, the end."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Coroutine
from contextlib import suppress
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
from websockets.asyncio.server import ServerConnection
from websockets.asyncio.server import serve as websockets_serve
from websockets.typing import Subprotocol

from hubbub.client import Ended, Event, QueueFull, Refused, Room, Status, connect
from hubbub.errors import ConfigError, LocalError
from tests.conftest import Servers
from tests.support.certificates import Authority
from tests.support.credentials import Issuer, secret_issuer
from tests.support.proxy import Proxy
from tests.support.server import FAST, HOSTS, Server, free_port, serve

SECONDS = 25.0


@pytest.fixture
def server(servers: Servers) -> Server:
    return servers()


@pytest.fixture
def room() -> str:
    return f"room-{uuid4()}"


@pytest.fixture
def issuer(tmp_path: Path) -> Issuer:
    return secret_issuer(tmp_path)


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Who is lost comes back soon."""
    monkeypatch.setattr("hubbub.client.backoff.FIRST_DELAY_SECONDS", 0.05)


def played(part: Coroutine[Any, Any, None]) -> None:
    async def run() -> None:
        async with asyncio.timeout(SECONDS):
            await part

    asyncio.run(run())


def through_proxy(server: Server, part: Callable[[Proxy], Awaitable[None]]) -> None:
    async def run() -> None:
        proxy = await Proxy(server.port).start()
        try:
            await part(proxy)
        finally:
            await proxy.stop()

    played(run())


async def next_of(room: Room, kind: str) -> Event:
    async for event in room:
        if event["type"] == kind:
            return event
    raise AssertionError(f"no {kind} came")


async def texts(room: Room, count: int) -> list[str]:
    return [(await next_of(room, "message"))["text"] for _ in range(count)]


# Rooms


@pytest.mark.parametrize("host", HOSTS)
@pytest.mark.parametrize("options", [{}, {"msgpack": True}, {"deflate": True}, {"msgpack": True, "deflate": True}])
def test_it_speaks_each_encoding_to_every_server(
    servers: Servers, room: str, host: str, options: dict[str, Any]
) -> None:
    async def part() -> None:
        async with connect(servers(host).http, **options) as hub:
            ada = hub.join(room, "ada")
            text = "é 日本 🎉 " * 50
            await ada.send(text)
            assert await texts(ada, 1) == [text.strip()]

    played(part())


def test_several_rooms_have_each_their_own_events(server: Server, room: str) -> None:
    async def part() -> None:
        async with connect(server.http) as hub:
            rooms = [hub.join(f"{room}-{number}", f"ada {number}") for number in range(12)]
            await asyncio.gather(*(each.send(each.name) for each in rooms))
            for number, each in enumerate(rooms):
                said = await next_of(each, "message")
                assert (said["text"], said["username"]) == (each.name, f"ada {number}")

    played(part())


def test_nobody_is_in_a_room_twice(server: Server, room: str) -> None:
    async def part() -> None:
        async with connect(server.http) as hub:
            hub.join(room, "ada")
            with pytest.raises(LocalError, match="already"):
                hub.join(f" {room} ", "bob")

    played(part())


def test_a_room_is_a_context_that_is_left_at_its_end(server: Server, room: str) -> None:
    async def part() -> None:
        async with connect(server.http) as hub, connect(server.http) as other:
            bob = other.join(room, "bob")
            await bob.ready()
            async with hub.join(room, "ada") as ada:
                assert ada.info["count"] == 2
            assert (await next_of(bob, "user_left"))["username"] == "ada"
            with pytest.raises(LocalError):
                await ada.history()

    played(part())


def test_commands_of_the_application_and_its_refusals(server: Server, room: str) -> None:
    async def part() -> None:
        async with connect(server.http) as hub:
            ada = hub.join(room, "ada")
            assert (await ada.command("state", text="hi"))["seq"] == 1
            with pytest.raises(Refused, match="not today") as refused:
                await ada.command("refuse")
            assert (refused.value.code, refused.value.retry_seconds) == ("no", None)
            with pytest.raises(Refused) as failed:
                await ada.command("fail")
            assert failed.value.correlation_id

    played(part())


def test_what_belongs_to_no_room_is_told_by_the_client(servers: Servers, room: str) -> None:
    server = servers(FAST, "--rate-limit", "1", "--rate-burst", "3")

    async def part() -> None:
        async with connect(server.http) as hub:
            ada = hub.join(room, "ada")
            await asyncio.gather(*(ada.send(f"{number}") for number in range(4)))
            async for event in hub.events():
                assert (event["type"], event["code"]) == ("warning", "rate_limited")
                break
            assert await texts(ada, 4) == ["0", "1", "2", "3"]

    played(part())


def test_what_is_too_long_never_leaves(server: Server, room: str) -> None:
    async def part() -> None:
        async with connect(server.http) as hub:
            ada = hub.join(room, "ada")
            await ada.ready()
            with pytest.raises(Refused, match="max_message_bytes"):
                await ada.send("x" * 70_000)
            assert (await ada.send("hi"))["seq"] == 1

    played(part())


# Slow readers


def test_a_reader_that_is_far_behind_gets_everything_and_the_client_holds_little(server: Server, room: str) -> None:
    async def part() -> None:
        async with connect(server.http, buffer=8) as hub, connect(server.http) as other:
            ada, bob = hub.join(room, "ada"), other.join(room, "bob")
            await asyncio.gather(ada.ready(), bob.ready())
            assert (await anext(ada))["type"] == "room_info"
            for number in range(40):
                await bob.send(f"{number} " + "x" * 1900)
            await bob.ack(40)
            assert len(ada._inbox._events) <= 8 + 8  # what came in one read may be more than fits
            assert [text.split()[0] for text in await texts(ada, 40)] == [str(number) for number in range(40)]

    played(part())


def test_who_waits_for_a_reply_does_not_wait_for_whoever_reads(server: Server, room: str) -> None:
    async def part() -> None:
        async with connect(server.http, buffer=2) as hub:
            ada = hub.join(room, "ada")
            async for event in ada:
                if event["type"] == "message" and event["seq"] == 1:
                    await asyncio.gather(*(ada.send(f"{number}") for number in range(9)))
                    break
                if event["type"] == "room_info":
                    await ada.send("first")
            assert await texts(ada, 9) == list("012345678")

    played(part())


def test_where_nobody_reads_the_oldest_is_dropped_and_that_is_told(server: Server, room: str) -> None:
    async def part() -> None:
        async with connect(server.http, buffer=4) as hub:
            ada = hub.join(room, "ada")
            for number in range(9):
                await ada.send(f"{number}")
            await hub.ping()  # the last reply may come before its event, and nothing after that
            gap = await anext(ada)
            assert (gap["type"], gap["seq"], gap["epoch"]) == ("gap", 5, ada.info["epoch"])
            assert await texts(ada, 4) == ["5", "6", "7", "8"]

    played(part())


# Lost and back


def test_a_cut_is_noticed_by_nobody(server: Server, room: str) -> None:
    async def part(proxy: Proxy) -> None:
        async with connect(f"127.0.0.1:{proxy.port}") as hub, connect(server.http) as other:
            ada, bob = hub.join(room, "ada"), other.join(room, "bob")
            await asyncio.gather(ada.ready(), bob.ready())
            session = hub.session
            for number in range(5):
                proxy.cut()
                await bob.send(f"{number}")
                await ada.send(f"me {number}")
            assert hub.session == session
            assert sorted(await texts(ada, 10)) == sorted(f"{who}{n}" for who in ("", "me ") for n in range(5))
            kinds = [(await anext(bob))["type"] for _ in range(11)]
            assert "user_left" not in kinds

    through_proxy(server, part)


def test_what_was_sent_and_not_answered_is_published_once(server: Server, room: str) -> None:
    async def part(proxy: Proxy) -> None:
        async with connect(f"127.0.0.1:{proxy.port}") as hub:
            ada = hub.join(room, "ada")
            await ada.ready()
            proxy.hold("down")
            saying = asyncio.create_task(ada.send("once"))
            await proxy.held.wait()
            proxy.cut()
            proxy.release()
            assert (await saying)["seq"] == 1
            assert (await ada.send("twice"))["seq"] == 2

    through_proxy(server, part)


def test_what_is_said_while_away_is_bounded_and_can_be_taken_back(room: str, tmp_path: Path) -> None:
    port = free_port()

    async def part() -> None:
        away = asyncio.Event()
        with serve(tmp_path, port=port) as first:
            hub = connect(first.http, queue=3, on_status=lambda status: None if status.online else away.set())
            async with hub:
                ada = hub.join(room, "ada")
                await ada.ready()
                await asyncio.to_thread(first.stop)
                await away.wait()
                saying = [asyncio.create_task(ada.send(f"{number}")) for number in range(3)]
                await asyncio.sleep(0)
                with pytest.raises(QueueFull):
                    await ada.send("3")
                saying.pop(1).cancel()
                await asyncio.sleep(0)
                saying.append(asyncio.create_task(ada.send("4")))
                with serve(tmp_path, port=port):
                    await asyncio.gather(*saying)
                    assert await texts(ada, 3) == ["0", "2", "4"]

    played(part())


def test_who_stops_waiting_for_an_event_does_not_lose_it(server: Server, room: str) -> None:
    async def part() -> None:
        async with connect(server.http) as hub:
            ada = hub.join(room, "ada")
            await ada.ready()
            assert (await anext(ada))["type"] == "room_info"
            heard: list[Event] = []
            for number in range(20):
                saying = asyncio.create_task(ada.send(f"{number}"))
                while not saying.done():
                    waiting = asyncio.ensure_future(anext(ada))
                    await asyncio.sleep(0)
                    waiting.cancel()
                    with suppress(asyncio.CancelledError):
                        heard.append(await waiting)
            said = [event["text"] for event in heard if event["type"] == "message"]
            assert said + await texts(ada, 20 - len(said)) == [str(number) for number in range(20)]

    played(part())


def test_after_so_many_tries_it_gives_up() -> None:
    tried: list[Status] = []

    async def part() -> None:
        with pytest.raises(Ended, match="given up after 2 tries"):
            async with connect(f"127.0.0.1:{free_port()}", attempts=2, on_status=tried.append):
                pass
        assert [status.online for status in tried] == [False]

    played(part())


def test_a_server_that_says_nonsense_is_left_and_tried_again(room: str) -> None:
    async def talk(connection: ServerConnection) -> None:
        await connection.send('{"type":"connected","session":"s"}')
        await connection.recv()
        await connection.send('{"type":"room_info","room":"r"}')
        await connection.wait_closed()

    async def part() -> None:
        seen: asyncio.Queue[Status] = asyncio.Queue()
        async with websockets_serve(talk, "127.0.0.1", 0, subprotocols=[Subprotocol("hubbub.v1.json")]) as listening:
            port = listening.sockets[0].getsockname()[1]
            async with connect(f"127.0.0.1:{port}", transports=["websocket"], on_status=seen.put_nowait) as hub:
                hub.join("r", "ada")
                while (status := await seen.get()).online:
                    pass
                assert "not what it should be" in status.why

    played(part())


# The end


def test_who_closes_leaves_at_once(server: Server, room: str) -> None:
    async def part() -> None:
        async with connect(server.http) as other:
            bob = other.join(room, "bob")
            await bob.ready()
            async with connect(server.http) as hub:
                ada = hub.join(room, "ada")
                await ada.ready()
                asking = asyncio.create_task(ada.command("slow", text="hi", seconds=5))
                await asyncio.sleep(0)
            with pytest.raises(Ended):
                await asking
            assert [event["type"] async for event in ada] == ["room_info"]
            assert (await next_of(bob, "user_left"))["username"] == "ada"

    played(part())


def test_another_client_of_the_session_ends_the_first(server: Server, room: str) -> None:
    async def part() -> None:
        async with connect(server.http) as hub:
            ada = hub.join(room, "ada")
            await ada.ready()
            async with connect(server.http, session=hub.session) as other:
                assert other.session == hub.session
                with pytest.raises(Ended) as ended:
                    async for _ in ada:
                        pass
                assert ended.value.code == 4409
                with pytest.raises(Ended):
                    await ada.send("hi")

    played(part())


def test_who_goes_on_later_goes_on_where_it_was(server: Server, room: str) -> None:
    async def part() -> None:
        async with connect(server.http) as hub:
            ada = hub.join(room, "ada")
            for number in range(3):
                await ada.send(f"{number}")
            assert await texts(ada, 2) == ["0", "1"]
            place, session = ada.position, hub.session
        async with connect(server.http, session=session) as hub:
            assert await texts(hub.join(room, "ada", since=place), 1) == ["2"]

    played(part())


@pytest.mark.parametrize("kind", ["websocket", "sse", "poll"])
def test_what_was_handled_is_acknowledged_by_itself(servers: Servers, room: str, kind: str) -> None:
    async def part(proxy: Proxy) -> None:
        async with connect(f"127.0.0.1:{proxy.port}", transports=[kind]) as hub:
            ada = hub.join(room, "ada", acknowledge=True)
            await ada.send("0")
            await ada.send("1")
            assert await texts(ada, 1) == ["0"]
            waiting = asyncio.create_task(next_of(ada, "message"))  # asks for the next one: "0" is done
            while not (await ada.receipts())["readers"]:
                pass
            assert (await ada.receipts())["readers"] == [{"username": "ada", "seq": 1}]
            await waiting

    through_proxy(servers(), part)


@pytest.mark.parametrize("kind", ["websocket", "sse", "poll"])
def test_it_begins_where_it_is_told_to(server: Server, room: str, kind: str) -> None:
    async def part() -> None:
        async with connect(server.http, transports=[kind]) as hub:
            ada = hub.join(room, "ada")
            for number in range(3):
                await ada.send(f"{number}")
            await ada.ack(1)
            said = [await next_of(ada, "message") for _ in range(3)]
            await ada.leave()
            acked = hub.join(room, "ada", since="acked")
            assert await texts(acked, 2) == ["1", "2"]
            await acked.leave()
            assert await texts(hub.join(room, "ada", since={"time": said[0]["timestamp"]}), 3) == ["0", "1", "2"]

    played(part())


# Credentials


def test_a_token_that_ends_is_replaced_before_it_does(tmp_path: Path, issuer: Issuer, room: str) -> None:
    asked: list[str] = []

    async def token() -> str:
        asked.append(issuer.token(exp=int(time.time()) + (30 if not asked else 3600), name="Ada"))
        return asked[-1]

    async def part(server: Server) -> None:
        async with connect(server.http, token) as hub:
            ada = hub.join(room)
            await ada.ready()
            while len(asked) < 2 or hub.user is None or hub.user["expires"] < (time.time() + 600) * 1000:
                await hub.ping()
                await asyncio.sleep(0.02)
            assert hub.user["id"] == "u-ada"
            assert (await ada.send("hi"))["seq"] == 1
        assert len(asked) == 2

    with serve(tmp_path, FAST, *issuer.options) as server:
        played(part(server))


@pytest.mark.parametrize("kind", ["websocket", "sse", "poll"])
def test_a_token_that_ended_is_replaced(tmp_path: Path, issuer: Issuer, room: str, kind: str) -> None:
    asked: list[str] = []

    def token() -> str:
        ends = int(time.time()) + 3 if not asked else int(time.time()) + 3600
        asked.append(issuer.token(exp=ends, name="Ada"))
        # The second time it has none yet; a poll is not warned, and knows nothing of the end before it has come.
        return asked[0] if len(asked) == 2 and kind != "poll" else asked[-1]

    async def part(server: Server) -> None:
        async with connect(server.http, token, transports=[kind]) as hub:
            ada = hub.join(room)
            await ada.ready()
            while len(asked) < (2 if kind == "poll" else 3):
                await asyncio.sleep(0.02)
            assert (await ada.send("hi"))["seq"] == 1
            assert await texts(ada, 1) == ["hi"]

    with serve(tmp_path, FAST, *issuer.options, "--jwt-leeway-seconds", "0") as server:
        played(part(server))


@pytest.mark.parametrize("kind", ["websocket", "sse", "poll"])
def test_a_token_that_does_not_count_is_the_end(tmp_path: Path, issuer: Issuer, room: str, kind: str) -> None:
    async def part(server: Server) -> None:
        with pytest.raises(Ended) as ended:
            async with connect(server.http, "no.such.token", transports=[kind]) as hub:
                await hub.join(room).ready()
        assert ended.value.code == 401

    with serve(tmp_path, FAST, *issuer.options) as server:
        played(part(server))


def test_a_room_that_a_token_does_not_allow_is_refused(tmp_path: Path, issuer: Issuer) -> None:
    async def part(server: Server) -> None:
        async with connect(server.http, issuer.token(rooms=["team-*"])) as hub:
            with pytest.raises(Refused) as refused:
                async for _ in hub.join("lobby"):
                    pass
            assert refused.value.code == "forbidden"
            await hub.join("team-a").ready()

    with serve(tmp_path, FAST, *issuer.options) as server:
        played(part(server))


def test_who_cannot_be_asked_for_a_token_is_asked_again(server: Server, room: str) -> None:
    asked: list[int] = []

    def token() -> str:
        asked.append(len(asked))
        if len(asked) == 2:
            raise RuntimeError("nobody there")
        return "token"

    async def part(proxy: Proxy) -> None:
        tried: list[str] = []
        url = f"127.0.0.1:{proxy.port}"
        async with connect(url, token, on_status=lambda status: tried.append(status.why)) as hub:
            ada = hub.join(room, "ada")
            await ada.ready()
            hub._credentials.refused()
            proxy.cut()
            await ada.send("hi")
        assert "no token: nobody there" in tried

    through_proxy(server, part)


def test_who_cannot_be_asked_at_first_is_told_so(server: Server) -> None:
    def token() -> str:
        raise RuntimeError("nobody there")

    async def part() -> None:
        with pytest.raises(RuntimeError, match="nobody there"):
            async with connect(server.http, token):
                pass

    played(part())


# On the way


@pytest.mark.parametrize("kind", ["websocket", "sse", "poll"])
def test_it_speaks_tls_to_whom_it_trusts(tmp_path: Path, room: str, kind: str) -> None:
    files = Authority(tmp_path).issue("server")

    async def part(server: Server) -> None:
        url = f"https://localhost:{server.port}"
        async with connect(url, tls=files.client(), transports=[kind]) as hub:
            assert (await hub.join(room, "ada").send("hi"))["seq"] == 1
        with pytest.raises(ConfigError, match="certificate"):
            async with connect(url):
                pass

    with serve(tmp_path, FAST, *files.options) as server:
        played(part(server))
