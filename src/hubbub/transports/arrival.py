"""A connection until its first bytes say what it is: the usual request for a WebSocket, or anything else of HTTP.

A class for uvicorn's `http=`. Most connections ask for a WebSocket, in one piece and in the usual form: they need no
whole HTTP parser (benchmark P6). Whatever is not just that is HttpProtocol's, with all that has come.
"""

from __future__ import annotations

import asyncio
from typing import Any, ClassVar

from uvicorn.config import Config as UvicornConfig
from uvicorn.server import ServerState

from hubbub.config import Config
from hubbub.transports.http import LATE, LINGER_SECONDS, HttpProtocol
from hubbub.transports.loop import ends_of, linger, shared_by
from hubbub.wire.handshake import Request, encode_refusal, read_request


class Arrival(asyncio.BufferedProtocol):
    """A connection from which nothing has come yet.

    Attributes:
        settings: the limits; a node serves with a subclass that has its own.
        http: what takes all other requests.
    """

    __slots__ = ("_app_state", "_config", "_shared", "_slot", "_socket", "_state")

    settings: ClassVar[Config] = Config()
    http: ClassVar[type[HttpProtocol]] = HttpProtocol

    def __init__(
        self,
        config: UvicornConfig,
        server_state: ServerState,
        app_state: dict[str, Any],
        _loop: asyncio.AbstractEventLoop | None = None,
    ) -> None:
        self._config = config
        self._state = server_state
        self._app_state = app_state
        self._shared = shared_by(_loop or asyncio.get_running_loop())

    def connection_made(self, transport: Any) -> None:
        self._socket = transport
        self._slot = self._shared.put(self, self.settings.server.handshake_seconds)
        self._state.connections.add(self)  # type: ignore[arg-type]

    def get_buffer(self, sizehint: int) -> memoryview:
        return self._shared.buffer

    def buffer_updated(self, nbytes: int) -> None:
        data = bytes(self._shared.buffer[:nbytes])
        request = read_request(data)
        if request is not None and self._is_small(request) and self._config.ws_protocol_class is not None:
            self._open(request, data[request.size :])
        else:
            self._pass_on(data)

    def _is_small(self, request: Request) -> bool:
        """Whether no limit can be met; where one may be, HttpProtocol looks, and says which."""
        limits = self.settings.limits
        return (
            request.size <= min(limits.max_head_bytes, limits.max_header_line_bytes)
            and len(request.target) <= limits.max_url_bytes
            and len(request.headers) <= limits.max_header_count
        )

    def _open(self, request: Request, early: bytes) -> None:
        make: Any = self._config.ws_protocol_class
        protocol = make(config=self._config, server_state=self._state, app_state=self._app_state)
        self._done()
        self._socket.set_protocol(protocol)
        protocol.take_request(self._socket, ends_of(self._socket), "GET", request.target, request.headers)
        if early:
            protocol.data_received(early)

    def _pass_on(self, data: bytes) -> None:
        protocol = self.http(self._config, self._state, self._app_state)
        self._state.connections.discard(self)
        self._socket.set_protocol(protocol)
        protocol.go_on(self._socket, self, self._slot, data)

    def eof_received(self) -> None:
        pass

    def connection_lost(self, exc: Exception | None) -> None:
        self._done()

    def pause_writing(self) -> None:
        pass

    def resume_writing(self) -> None:
        pass

    def expire(self) -> None:
        """Nothing has come."""
        self._done()
        self._socket.write(encode_refusal(*LATE))
        linger(self._socket, self._shared, LINGER_SECONDS)

    def shutdown(self) -> None:
        """uvicorn stops."""
        self._socket.close()

    def _done(self) -> None:
        self._shared.discard(self, self._slot)
        self._state.connections.discard(self)
