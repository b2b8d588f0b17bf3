"""WebSockets on uvicorn: the handshake as an ASGI call, then frames straight between the socket and the hub.

`WebSocketProtocol` is a class for uvicorn's `ws=`. It lives from the request's head to the answer. A route of ours that
finds TAKEOVER in its scope has the connection taken over by `HubTransport` and returns; any other route gets ordinary
ASGI messages through `AsgiBridge`. Neither has a task, timer, logger or read buffer of its own.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterable
from typing import Any, ClassVar, Final
from urllib.parse import unquote

from uvicorn.config import Config as UvicornConfig
from uvicorn.server import ServerState

from hubbub.auth.gate import Visitor
from hubbub.codes import INTERNAL_ERROR, NORMAL
from hubbub.config import Config
from hubbub.errors import HandshakeError
from hubbub.hub.hub import Hub
from hubbub.hub.ports import Endpoint
from hubbub.transports.frames import ABNORMAL, AsgiBridge, FrameProtocol, HubTransport
from hubbub.transports.loop import NOBODY, TAKEOVER, Ends, ends_of, linger, shared_by
from hubbub.wire.codec import FrameCodec, shared_codec
from hubbub.wire.deflate import (
    LARGEST_WINDOW,
    Deflate,
    Deflater,
    Inflater,
    accept_offer,
    shared_deflater,
    shared_inflater,
)
from hubbub.wire.handshake import Headers, Upgrade, encode_accept, encode_refusal, read_upgrade
from hubbub.wire.websocket import BINARY, TEXT, WebSocket

log: Final = logging.getLogger("hubbub")


class WebSocketProtocol(asyncio.Protocol):
    """A request for a WebSocket, until it is answered.

    Attributes:
        settings: the limits; a node serves with a subclass that has its own.
    """

    settings: ClassVar[Config] = Config()

    def __init__(
        self,
        config: UvicornConfig,
        server_state: ServerState,
        app_state: dict[str, Any],
        _loop: asyncio.AbstractEventLoop | None = None,
    ) -> None:
        self._app = config.loaded_app
        self._root_path = config.root_path
        self._asgi_version = config.asgi_version
        self._state = server_state
        self._app_state = app_state
        self._loop = _loop or asyncio.get_running_loop()
        self._shared = shared_by(self._loop)
        self._early = bytearray()
        self._upgrade: Upgrade | None = None
        self._carrier: FrameProtocol | None = None
        self._answered = False
        self._denial: dict[str, Any] | None = None
        self._slot = -1

    # asyncio's side

    def connection_made(self, transport: Any) -> None:
        self._attach(transport, ends_of(transport))

    def take_request(
        self, transport: asyncio.Transport, ends: Ends, method: str, target: str, headers: list[tuple[bytes, bytes]]
    ) -> None:
        """Begins with a request that was read already."""
        self._attach(transport, ends)
        self._start_request(method, target, headers)

    def _attach(self, transport: asyncio.Transport, ends: Ends) -> None:
        self._socket = transport
        self._ends = ends
        self._slot = self._shared.put(self, self.settings.server.handshake_seconds)
        self._state.connections.add(self)  # type: ignore[arg-type]

    def data_received(self, data: bytes) -> None:
        if self._answered:  # refused; what still comes is not read
            return
        if self._upgrade is None:
            self._start(data)
        elif len(self._early) + len(data) <= self.settings.limits.max_message_bytes:
            self._early += data  # a client that does not wait for the answer
        else:
            self._refuse(400, "too much data before the handshake was answered")

    def connection_lost(self, exc: Exception | None) -> None:
        self._done()

    def eof_received(self) -> None:
        pass

    def pause_writing(self) -> None:
        pass

    def resume_writing(self) -> None:
        pass

    def expire(self) -> None:
        """The application did not answer in time."""
        self._slot = -1
        self._refuse(503, "the handshake was not answered in time", ((b"retry-after", b"5"),))

    def shutdown(self) -> None:
        """uvicorn stops."""
        self._refuse(503, "the server is stopping", ((b"retry-after", b"1"),))

    # The handshake

    def _start(self, head: bytes) -> None:
        """Reads the head as uvicorn writes it down again, and calls the application."""
        request, *lines = head[:-4].split(b"\r\n")
        method, target, _ = request.decode("latin-1").split(" ", 2)
        headers = [(name, value) for name, _, value in (line.partition(b": ") for line in lines)]
        self._start_request(method, target, headers)

    def _start_request(self, method: str, target: str, headers: list[tuple[bytes, bytes]]) -> None:
        try:
            self._upgrade = read_upgrade(method, "1.1", headers)
        except HandshakeError as error:
            self._refuse(error.status, error.reason, error.headers)
            return
        task = self._loop.create_task(self._run(self._scope(target, headers, self._upgrade)))
        self._state.tasks.add(task)
        task.add_done_callback(self._state.tasks.discard)

    def _scope(self, target: str, headers: Headers, upgrade: Upgrade) -> dict[str, Any]:
        path, _, query = target.partition("?")
        return {
            "type": "websocket",
            "asgi": {"version": self._asgi_version, "spec_version": "2.4"},
            "http_version": "1.1",
            "scheme": "wss" if self._ends.secure else "ws",
            "server": self._ends.server,
            "client": self._ends.client,
            "root_path": self._root_path,
            "path": self._root_path + unquote(path),
            "raw_path": (self._root_path + path).encode("latin-1"),
            "query_string": query.encode("latin-1"),
            "headers": headers,
            "subprotocols": list(upgrade.subprotocols),
            "state": self._app_state.copy(),
            "extensions": {"websocket.http.response": {}, TAKEOVER: self.take_over},
        }

    async def _run(self, scope: dict[str, Any]) -> None:
        try:
            await self._app(scope, self._receive, self._send)
        except OSError:  # the application went on sending to a peer that is gone
            self._end_application()
        except Exception:
            log.exception("an ASGI application failed: path=%r", scope["path"])
            self._end_application()
        else:
            if not self._answered:
                self._refuse(500, "the application did not answer")
            elif isinstance(self._carrier, AsgiBridge):
                self._carrier.close(NORMAL, "")

    def _end_application(self) -> None:
        if self._carrier is not None:
            self._carrier.close(INTERNAL_ERROR, "")
        else:
            self._refuse(500, "Internal Server Error")

    def take_over(
        self, hub: Hub, endpoint: Endpoint, subprotocol: str | None, session: str | None, visitor: Visitor
    ) -> None:
        """Accepts, and binds the connection to the hub; the ASGI call has nothing more to do."""
        if self._answered:
            return
        agreed = self._negotiate(hub.config)
        wire = WebSocket(hub.config.limits.max_message_bytes, inflater=_inflater(agreed))
        make = FrameCodec if agreed is not None and agreed.server_takeover else shared_codec
        codec = make(msgpack=endpoint.msgpack, deflater=_deflater(agreed))
        carrier = HubTransport(self._socket, wire, self._shared, self._state.connections, hub, codec)
        carrier.open(endpoint, visitor, session, self._accept(carrier, subprotocol, agreed))
        self._feed_early(carrier)

    def _negotiate(self, config: Config) -> Deflate | None:
        """Agrees on permessage-deflate, or not."""
        assert self._upgrade is not None
        offer, settings = self._upgrade.extensions, config.websocket
        return accept_offer(offer, takeover=settings.deflate_takeover) if offer and settings.deflate else None

    def _accept(
        self, carrier: FrameProtocol, subprotocol: str | None, agreed: Deflate | None, headers: Iterable[Any] = ()
    ) -> bytes:
        """Makes the connection the carrier's; returns the bytes of the answer, which are to be written first."""
        assert self._upgrade is not None
        self._done()
        self._carrier = carrier
        extensions = agreed.header() if agreed else ""
        self._socket.set_protocol(NOBODY)
        self._socket.set_protocol(carrier)
        return encode_accept(self._upgrade, subprotocol, extensions, headers)

    def _feed_early(self, carrier: FrameProtocol) -> None:
        if self._early:
            carrier.receive(bytes(self._early))
            self._early.clear()

    def _refuse(self, status: int, reason: str | bytes, headers: Headers = ()) -> None:
        if self._answered:
            return
        self._done()
        if not self._socket.is_closing():
            self._socket.write(encode_refusal(status, reason, headers))
            linger(self._socket, self._shared, self.settings.server.close_seconds)

    def _done(self) -> None:
        self._answered = True
        self._shared.discard(self, self._slot)
        self._state.connections.discard(self)

    # Ordinary ASGI

    async def _receive(self) -> dict[str, Any]:
        if isinstance(self._carrier, AsgiBridge):
            return await self._carrier.next_message()
        if self._answered:
            return {"type": "websocket.disconnect", "code": ABNORMAL, "reason": ""}
        return {"type": "websocket.connect"}

    async def _send(self, message: dict[str, Any]) -> None:
        match message["type"]:
            case "websocket.accept" if not self._answered:
                self._accept_asgi(message)
            case "websocket.close" if not self._answered:
                self._refuse(403, "Forbidden")
            case "websocket.http.response.start" if not self._answered:
                self._denial = {**message, "body": b""}
            case "websocket.http.response.body" if self._denial is not None and not self._answered:
                self._deny(self._denial, message)
            case "websocket.send" if self._carrier is not None:
                await self._send_asgi(self._carrier, message)
            case "websocket.close" if self._carrier is not None:
                self._carrier.close(message.get("code", NORMAL), message.get("reason") or "")
            case kind if self._answered and self._carrier is None:
                raise OSError(f"{kind} to a peer that is gone")
            case kind:
                raise RuntimeError(f"ASGI message {kind!r} is out of place")

    def _accept_asgi(self, message: dict[str, Any]) -> None:
        agreed = self._negotiate(self.settings)
        longest = self.settings.limits.max_message_bytes
        wire = WebSocket(longest, inflater=_inflater(agreed), deflater=_deflater(agreed))
        carrier = AsgiBridge(self._socket, wire, self._shared, self.settings, self._state.connections)
        self._socket.write(self._accept(carrier, message.get("subprotocol"), agreed, message.get("headers", ())))
        self._feed_early(carrier)

    async def _send_asgi(self, carrier: FrameProtocol, message: dict[str, Any]) -> None:
        assert isinstance(carrier, AsgiBridge)
        text = message.get("text")
        if text is not None:
            await carrier.send_message(TEXT, text.encode())
        else:
            await carrier.send_message(BINARY, message["bytes"])

    def _deny(self, denial: dict[str, Any], message: dict[str, Any]) -> None:
        denial["body"] += message.get("body", b"")
        if not message.get("more_body", False):
            headers = [pair for pair in denial.get("headers", ()) if pair[0].lower() not in _OURS]
            self._refuse(denial["status"], denial["body"], headers)


_OURS: Final = frozenset((b"content-length", b"connection", b"transfer-encoding"))


def _inflater(agreed: Deflate | None) -> Inflater | None:
    if agreed is None:
        return None
    return Inflater(takeover=True) if agreed.client_takeover else shared_inflater()


def _deflater(agreed: Deflate | None) -> Deflater | None:
    if agreed is None:
        return None
    bits = agreed.server_window_bits or LARGEST_WINDOW
    return Deflater(takeover=True, window_bits=bits) if agreed.server_takeover else shared_deflater(bits)
