"""What users write against: an application's handlers and hooks. It knows no server and no broker."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Coroutine, MutableMapping
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from typing import Any, ClassVar, Protocol, TypeVar

from hubbub.config import Config, RoomPolicy
from hubbub.errors import LocalError
from hubbub.hub.commands import BUILT_IN
from hubbub.hub.connection import Connection
from hubbub.hub.dispatch import CommandEndpoint, Handler, RawEndpoint, Result
from hubbub.hub.hub import Hub
from hubbub.hub.member import Member
from hubbub.hub.ports import Endpoint
from hubbub.hub.room import Room
from hubbub.wire.codec import JSON_SUBPROTOCOL, MSGPACK_SUBPROTOCOL
from hubbub.wire.messages import Command

ASGIApp = Callable[
    [
        MutableMapping[str, Any],
        Callable[[], Awaitable[MutableMapping[str, Any]]],
        Callable[[MutableMapping[str, Any]], Awaitable[None]],
    ],
    Awaitable[None],
]

C = TypeVar("C", bound=Command)
Outcome = Result | Coroutine[Any, Any, Result] | Coroutine[Any, Any, None]
CommandHandler = Callable[[Connection, C], Outcome]
Hook = Callable[[Connection], Coroutine[Any, Any, None] | None]
AckHook = Callable[[Member, int], None]
PublishHook = Callable[[Connection, Room, dict[str, object]], bool]
RawHandler = Callable[[Connection, Any], Coroutine[Any, Any, None] | None]
H = TypeVar("H", bound=Callable[..., Any])


class Served(Protocol):
    """An application as ASGI. It starts with the first request, or before, and it may start again after it stopped."""

    async def __call__(
        self,
        scope: MutableMapping[str, Any],
        receive: Callable[[], Awaitable[MutableMapping[str, Any]]],
        send: Callable[[MutableMapping[str, Any]], Awaitable[None]],
        /,
    ) -> None:
        """ASGI, its lifespan as well."""
        ...

    def lifespan(self, host: object = None, /) -> AbstractAsyncContextManager[None]:
        """Starts it and in the end stops it: for a host that gives what it mounts no lifespan, as most do not."""
        ...


@dataclass(frozen=True, slots=True)
class Route:
    """A path and what is spoken on it: an endpoint per sub-protocol, under None for clients that offer none."""

    path: str
    endpoints: dict[str | None, Endpoint]


@dataclass(slots=True)
class _Raw:
    """A path with a protocol of the application's own."""

    path: str
    handler: RawHandler
    subprotocols: tuple[str, ...]


class Hubbub:
    """An application: what to do with commands, connections and paths.

    Args:
        path: where clients connect.
    """

    # Set by hubbub.node, which knows the concrete parts; this module need not.
    build_asgi: ClassVar[Callable[[Hubbub, Config | None], Served]]

    def __init__(self, path: str = "/ws") -> None:
        self.path = path
        self.mounts: list[tuple[str, ASGIApp]] = []
        self._hub: Hub | None = None
        self._raw: list[_Raw] = []
        self._connected: list[Handler] = []
        self._disconnected: list[Handler] = []
        self._acked: list[AckHook] = []
        self._allows_publish: PublishHook | None = None
        self._handlers: dict[type[Command], Handler] = {**BUILT_IN}
        self.patterns: list[tuple[str, dict[str, Any]]] = []

    def on(self, command: type[C]) -> Callable[[CommandHandler[C]], CommandHandler[C]]:
        """Registers the handler of a command: `def handler(conn, command)`, plain or a coroutine function.

        Plain functions run at once, coroutines of one connection in the order of its commands. What the handler
        returns is answered where the command has an `id`: a publication once it is kept, None at once.
        An exception is answered with `error`: a CommandError with its own code, any other with `internal`.

        Raises:
            LocalError: the command has a handler, or its type cannot be told from others on the wire.
        """
        tag = command.__struct_config__.tag
        if any(tag == known.__struct_config__.tag for known in self._handlers):
            raise LocalError(f"there is a handler for commands of type {tag!r} already")

        def register(handler: CommandHandler[C]) -> CommandHandler[C]:
            self._handlers[command] = handler
            return handler

        return register

    def on_connect(self, hook: Hook) -> Hook:
        """Registers a function that is called with each new connection, before its commands."""
        self._connected.append(hook)
        return hook

    def on_disconnect(self, hook: Hook) -> Hook:
        """Registers a function that is called with each connection once it has ended, after its commands.

        The connection is still in its rooms, unless one of its commands was at work when it ended.
        """
        self._disconnected.append(hook)
        return hook

    def on_ack(self, hook: AckHook) -> AckHook:
        """Registers a function that is called when a client has acknowledged more: `def hook(member, seq)`."""
        self._acked.append(hook)
        return hook

    def allow_publish(self, hook: PublishHook) -> PublishHook:
        """Registers the function that says which events clients may publish: `def hook(conn, room, event) -> bool`.

        Without one they may publish none. The event is a dict with the client's own fields, `type` among them.
        """
        self._allows_publish = hook
        return hook

    def rooms(self, pattern: str, **policy: Any) -> None:
        """Sets what is different in the rooms whose names match a pattern such as `ticker-*`; the first match counts.

        Args:
            policy: fields of `RoomPolicy`, such as `history`, `slow_readers`, `latest_only`.

        Raises:
            LocalError: there is no such field, or it cannot have the value.
        """
        try:
            RoomPolicy(**policy)
        except TypeError:
            raise LocalError(f"rooms {pattern!r}: {', '.join(policy)}: a room's policy has no such field") from None
        self.patterns.append((pattern, policy))

    def websocket(self, path: str, subprotocols: tuple[str, ...] = ()) -> Callable[[H], H]:
        """Registers a path with a protocol of the application's own: `def handler(conn, message)`, a str or bytes.

        It has the same limits, heartbeats and rooms; the application answers with `conn.send(str | bytes)`.
        An exception closes the connection with 1011.
        """

        def register(handler: H) -> H:
            self._raw.append(_Raw(path, handler, subprotocols))
            return handler

        return register

    def mount(self, path: str, app: ASGIApp) -> None:
        """Serves an ASGI application, such as static files, below a path."""
        self.mounts.append((path, app))

    def room(self, name: str) -> Room:
        """A room by name, to publish into from outside of a handler; on the event loop's thread.

        Raises:
            LocalError: the application is not being served yet.
        """
        if self._hub is None:
            raise LocalError("there are no rooms before the application is served")
        return self._hub.room(name)

    def asgi(self, config: Config | None = None) -> Served:
        """The application as ASGI, to be mounted into another or run by any ASGI server.

        Mounts get no lifespan from most hosts: give them this one, such as `FastAPI(lifespan=served.lifespan)`, so that
        clients are told of the end and handlers are waited for. Without it only what was published is kept at exit.

        Args:
            config: the settings; those of the environment by default.
        """
        return type(self).build_asgi(self, config)

    def bind(self, hub: Hub) -> list[Route]:
        """Connects the application to the hub that runs it; called by the node. Returns what it serves."""
        self._hub = hub
        hub.on_ack = self._acked
        hub.allows_publish = self._allows_publish
        hooks = (self._connected, self._disconnected)
        json = CommandEndpoint(hub, self.path, self._handlers, *hooks)
        msgpack = CommandEndpoint(hub, self.path, self._handlers, *hooks, msgpack=True)
        routes = [Route(self.path, {None: json, JSON_SUBPROTOCOL: json, MSGPACK_SUBPROTOCOL: msgpack})]
        for raw in self._raw:
            endpoint = RawEndpoint(hub, raw.path, raw.handler, *hooks)
            routes.append(Route(raw.path, {None: endpoint, **dict.fromkeys(raw.subprotocols, endpoint)}))
        return routes
