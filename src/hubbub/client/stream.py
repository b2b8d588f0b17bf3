"""Server-Sent Events to listen to, and POST to speak: for networks that let no WebSocket through."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Final

import httpx

from hubbub.client.backoff import LOST
from hubbub.client.http import Group, HttpTransport, path_of, refusal_of
from hubbub.client.sse import SseReader
from hubbub.client.transport import CONNECT_SECONDS, Blocked, Closed
from hubbub.codes import SERVICE_RESTART

PATH: Final = "/sse"
KIND: Final = "text/event-stream"
SILENCES: Final = 2
"""After so many comments that did not come a stream counts as lost."""


class StreamTransport(HttpTransport):
    """A stream for each group of rooms."""

    async def _carry(self, group: Group) -> None:
        request = self.client.build_request("GET", path_of(self._base, PATH, group.query()), headers={"accept": KIND})
        response = await self._begin(request)
        try:
            if response.status_code != 200:
                await response.aread()
                raise refusal_of(response)
            if not response.headers.get("content-type", "").startswith(KIND):
                raise Blocked("something else answers in place of the server")
            await self._read(group, response.aiter_bytes())
        finally:
            await response.aclose()

    async def _begin(self, request: httpx.Request) -> httpx.Response:
        """Sends the request; who is cut off, or hears nothing, is not let through."""
        try:
            async with asyncio.timeout(CONNECT_SECONDS):
                return await self.client.send(request, stream=True)
        except TimeoutError:
            raise Blocked("nobody answered the request for a stream") from None
        except (httpx.ReadError, httpx.RemoteProtocolError) as error:
            raise Blocked(f"the request for a stream was cut off: {error}") from None

    async def _read(self, group: Group, parts: AsyncIterator[bytes]) -> None:
        reader = SseReader()
        seconds, begun = CONNECT_SECONDS, False
        while True:
            try:
                async with asyncio.timeout(seconds):
                    part = await anext(parts, b"")
            except TimeoutError:
                raise Closed(LOST, "the stream is silent") if begun else Blocked("the stream is held back") from None
            if not part:
                raise Closed(LOST, "connection lost")
            for event in reader.feed(part):
                begun = self.proven = True
                if event.get("type") == "connected":
                    seconds = self._connected(group, event)
                else:
                    self._take(group, event, reader)
            await self._taking()

    def _connected(self, group: Group, event: dict[str, object]) -> float:
        """The stream has begun; in how many seconds it is silent for too long."""
        if group.session is not None:
            session = str(event.get("session", ""))
            if group is self._groups[0]:
                self._session = session
                self._emit(event)
            group.session = session
        return SILENCES * float(str(event.get("heartbeat", 15_000))) / 1000 + 1

    def _take(self, group: Group, event: dict[str, object], reader: SseReader) -> None:
        match event:
            case {"type": "room_info"}:
                self._in(group, event)
            case {"type": "closed", "code": int(code), "reason": str(reason)}:
                restart = code == SERVICE_RESTART and reader.retry_ms is not None
                raise Closed(code, f"after={reader.retry_ms}" if restart else reason)
            case _:
                self._pass(group, event)
