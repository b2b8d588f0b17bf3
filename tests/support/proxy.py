"""A TCP proxy in the test's own event loop: holds back either direction, and cuts connections when told to."""

from __future__ import annotations

import asyncio
from typing import Self


class Proxy:
    """Between clients and one server.

    Attributes:
        held: bytes that came from the server while `hold` was in force, of all connections.
    """

    def __init__(self, port: int) -> None:
        self._target = port
        self._flows: dict[str, asyncio.Event] = {name: asyncio.Event() for name in ("up", "down", "replies", "bus")}
        self._writers: set[asyncio.StreamWriter] = set()
        self._tasks: set[asyncio.Task[None]] = set()
        self._server: asyncio.Server | None = None
        self.held = asyncio.Event()
        for flow in self._flows.values():
            flow.set()

    async def start(self) -> Self:
        self._server = await asyncio.start_server(self._connected, "127.0.0.1", 0)
        return self

    @property
    def port(self) -> int:
        assert self._server is not None
        return int(self._server.sockets[0].getsockname()[1])

    def hold(self, *directions: str) -> None:
        """Passes nothing on: `up` from clients, `down` from the server; both by default.

        `replies` and `bus` are what comes from the server on connections that have not subscribed, and that have.
        """
        self.held.clear()
        for direction in directions or ("up", "down"):
            self._flows[direction].clear()

    def release(self) -> None:
        for flow in self._flows.values():
            flow.set()

    def cut(self) -> None:
        """Drops every connection, and what is held with it."""
        for writer in list(self._writers):
            writer.transport.abort()
        for task in list(self._tasks):
            task.cancel()

    async def stop(self) -> None:
        assert self._server is not None
        self._server.close()
        self.cut()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            server_reader, server_writer = await asyncio.open_connection("127.0.0.1", self._target)
        except OSError:
            writer.transport.abort()
            return
        self._writers |= {writer, server_writer}
        kinds = ["replies"]
        for source, sink, direction in ((reader, server_writer, "up"), (server_reader, writer, "down")):
            task = asyncio.get_running_loop().create_task(self._pump(source, sink, direction, kinds))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    async def _pump(
        self, source: asyncio.StreamReader, sink: asyncio.StreamWriter, direction: str, kinds: list[str]
    ) -> None:
        try:
            while data := await source.read(1 << 16):
                if direction == "up" and b"SUBSCRIBE" in data:
                    kinds[:] = ["bus"]
                for flow in (direction, *(kinds if direction == "down" else ())):
                    if not self._flows[flow].is_set():
                        self.held.set()
                        await self._flows[flow].wait()
                sink.write(data)
                await sink.drain()
        except OSError:
            pass
        finally:
            self._writers.discard(sink)
            sink.transport.abort()
