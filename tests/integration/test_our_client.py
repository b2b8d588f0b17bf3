"""Our client side of the wire against a server that is not ours, the `websockets` library's."""

import asyncio
import json
from collections.abc import Awaitable, Callable
from http import HTTPStatus
from typing import Any

import pytest
from websockets.asyncio.server import ServerConnection, serve
from websockets.http11 import Request, Response
from websockets.typing import Subprotocol

from hubbub.client.transport import Blocked, Closed, Opening
from hubbub.client.websocket import WebSocketTransport
from hubbub.errors import HandshakeError

SECONDS = 10.0
JSON = "hubbub.v1.json"
Event = dict[str, Any]
Talk = Callable[[WebSocketTransport], Awaitable[Any]]


def converse(server_part: Callable[[ServerConnection], Awaitable[Any]], client_part: Talk) -> tuple[Any, Any]:
    """Runs a server for one connection; what both parts of the conversation returned."""

    async def run() -> tuple[Any, Any]:
        served: asyncio.Future[Any] = asyncio.get_running_loop().create_future()

        async def handler(connection: ServerConnection) -> None:
            served.set_result(await server_part(connection))

        server = serve(handler, "127.0.0.1", 0, subprotocols=[Subprotocol(JSON)])
        async with asyncio.timeout(SECONDS), server as listening:
            client = await dialled(listening, "?a=b")
            try:
                said = await client_part(client)
            finally:
                await client.close()
            return await served, said

    return asyncio.run(run())


async def dialled(listening: Any, query: str = "", **options: Any) -> WebSocketTransport:
    client = WebSocketTransport()
    try:
        await client.open(Opening(f"ws://127.0.0.1:{listening.sockets[0].getsockname()[1]}/ws{query}", **options))
    except BaseException:
        await client.abort()
        raise
    return client


async def first(client: WebSocketTransport) -> Event:
    return (await client.receive())[0]


async def end(client: WebSocketTransport) -> str:
    """How the connection ended."""
    try:
        while True:
            await client.receive()
    except Closed as closed:
        return str(closed)


async def stay(connection: ServerConnection) -> None:
    await connection.wait_closed()


def test_it_offers_its_subprotocol_and_asks_for_the_whole_target() -> None:
    async def look(connection: ServerConnection) -> tuple[str | None, str]:
        assert connection.request is not None
        return connection.subprotocol, connection.request.path

    async def nothing(client: WebSocketTransport) -> None:
        return None

    assert converse(look, nothing)[0] == (JSON, "/ws?a=b&session=")


@pytest.mark.parametrize("text", ["", "hi", "é 日本 🎉", "x" * 125, "x" * 126, "x" * 65_536, "x" * 1_000_000])
def test_messages_of_any_length_go_both_ways(text: str) -> None:
    async def echo(connection: ServerConnection) -> None:
        await connection.send(await connection.recv())
        await connection.wait_closed()

    async def talk(client: WebSocketTransport) -> Event:
        client.send({"type": "message", "text": text})
        return await first(client)

    assert converse(echo, talk)[1] == {"type": "message", "text": text}


def test_a_fragmented_message_arrives_whole() -> None:
    async def send(connection: ServerConnection) -> None:
        await connection.send(['{"type":', '"mess', "", 'age"}'])
        await connection.wait_closed()

    assert converse(send, first)[1] == {"type": "message"}


def test_what_it_sends_is_masked_text() -> None:
    async def receive(connection: ServerConnection) -> Any:
        message = await connection.recv()
        assert isinstance(message, str)  # the library fails the connection when a client does not mask
        return json.loads(message)

    async def send(client: WebSocketTransport) -> None:
        client.send({"type": "typing"})

    assert converse(receive, send)[0] == {"type": "typing"}


def test_it_answers_pings() -> None:
    async def ping(connection: ServerConnection) -> bool:
        latency = await (await connection.ping(b"are you there?"))
        await connection.send('{"type":"done"}')
        return latency >= 0

    assert converse(ping, first) == (True, {"type": "done"})


@pytest.mark.parametrize(("code", "reason"), [(1000, ""), (1012, "after=500"), (4400, "é" * 60)])
def test_it_says_how_the_server_closed(code: int, reason: str) -> None:
    async def close(connection: ServerConnection) -> int | None:
        await connection.close(code, reason)
        return connection.close_code

    assert converse(close, end) == (code, f"{code} {reason}".rstrip())


def test_it_says_when_the_connection_was_lost() -> None:
    async def lose(connection: ServerConnection) -> None:
        connection.transport.abort()

    assert converse(lose, end)[1] == "1006 connection lost"


def test_it_closes_cleanly() -> None:
    async def wait(connection: ServerConnection) -> tuple[int | None, int]:
        await connection.wait_closed()
        assert connection.protocol.close_rcvd is not None
        return connection.close_code, connection.protocol.close_rcvd.code

    async def nothing(client: WebSocketTransport) -> None:
        return None

    assert converse(wait, nothing)[0] == (1000, 1000)


def test_a_refusal_is_told_with_its_status() -> None:
    def refuse(connection: ServerConnection, request: Request) -> Response:
        return connection.respond(HTTPStatus.FORBIDDEN, "not you\n")

    async def dial() -> None:
        async with asyncio.timeout(SECONDS), serve(stay, "127.0.0.1", 0, process_request=refuse) as listening:
            await dialled(listening)

    with pytest.raises(HandshakeError, match="the server refused: 403 Forbidden") as refused:
        asyncio.run(dial())
    assert refused.value.status == 403


def test_what_is_no_websocket_server_is_told_so() -> None:
    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"220 mail.example.org ESMTP\r\n\r\n")
        await writer.drain()
        writer.close()

    async def dial() -> None:
        async with asyncio.timeout(SECONDS), await asyncio.start_server(answer, "127.0.0.1", 0) as listening:
            await dialled(listening)

    with pytest.raises(Blocked, match="the answer is not HTTP"):
        asyncio.run(dial())
