"""A network that lets some kinds of connection through and others not: a proxy that looks at the first request."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Self

Rule = Callable[[bytes], str]
"""What becomes of a connection, given the head of its first request: PASS, REFUSE, EAT, CUT or HOLD."""

PASS, REFUSE, EAT, CUT, HOLD = "pass", "refuse", "eat", "cut", "hold"
REFUSAL = b"HTTP/1.1 400 Bad Request\r\ncontent-length: 0\r\nconnection: close\r\n\r\n"


def no_websockets(how: str) -> Rule:
    """Deals so with WebSockets, and lets all else through."""
    return lambda head: how if b"\r\nupgrade: websocket" in head.lower() else PASS


def only_short_answers(head: bytes) -> str:
    """Refuses WebSockets, and holds back what does not end."""
    return HOLD if head.startswith(b"GET /sse") else no_websockets(REFUSE)(head)


class Firewall:
    """Between clients and one server.

    Attributes:
        rule: what it does; may be changed at any time, for connections that come later.
        passed: the first lines of the requests that it let through, one a connection.
    """

    def __init__(self, port: int, rule: Rule) -> None:
        self._target = port
        self.rule = rule
        self.passed: list[bytes] = []
        self._tasks: set[asyncio.Task[None]] = set()
        self._writers: set[asyncio.StreamWriter] = set()
        self._server: asyncio.Server | None = None

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._connected, "127.0.0.1", 0)
        return self

    async def __aexit__(self, *error: object) -> None:
        assert self._server is not None
        self._server.close()
        self.cut()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    @property
    def port(self) -> int:
        assert self._server is not None
        return int(self._server.sockets[0].getsockname()[1])

    def cut(self) -> None:
        """Drops every connection."""
        for writer in list(self._writers):
            writer.transport.abort()
        for task in list(self._tasks):
            task.cancel()

    async def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        self._writers.add(writer)
        try:
            await self._decide(reader, writer)
        except (OSError, asyncio.IncompleteReadError, asyncio.CancelledError):
            pass
        finally:
            self._tasks.discard(task)
            self._writers.discard(writer)
            writer.transport.abort()

    async def _decide(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = await reader.readuntil(b"\r\n\r\n")
        match self.rule(head):
            case "refuse":
                writer.write(REFUSAL)
                await writer.drain()
                writer.close()
                await writer.wait_closed()
            case "eat":
                await reader.read()
            case "cut":
                return
            case decision:
                self.passed.append(head.partition(b"\r\n")[0])
                await self._pass(head, reader, writer, held=decision == HOLD)

    async def _pass(
        self, head: bytes, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, *, held: bool
    ) -> None:
        server_reader, server_writer = await asyncio.open_connection("127.0.0.1", self._target)
        self._writers.add(server_writer)
        try:
            server_writer.write(head)
            async with asyncio.TaskGroup() as pumps:
                pumps.create_task(_pump(reader, server_writer))
                pumps.create_task(_pump(server_reader, None if held else writer))
        except* OSError:
            pass
        finally:
            self._writers.discard(server_writer)
            server_writer.transport.abort()


async def _pump(source: asyncio.StreamReader, sink: asyncio.StreamWriter | None) -> None:
    while data := await source.read(1 << 16):
        if sink is not None:
            sink.write(data)
            await sink.drain()
    if sink is not None and sink.can_write_eof():
        sink.write_eof()
    raise ConnectionResetError("one side has ended")
