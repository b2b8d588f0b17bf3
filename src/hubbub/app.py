"""What users write against: an application's handlers and hooks. It knows no server and no broker."""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable, Coroutine, MutableMapping
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from typing import Any, ClassVar, Final, Protocol, TypeVar, cast

import msgspec

from hubbub.codes import REMOVED
from hubbub.config import Config, RoomPolicy
from hubbub.errors import CommandError, LocalError
from hubbub.hub.authorization import Authorizer as AuthorizeHook
from hubbub.hub.calls import Calls
from hubbub.hub.commands import BUILT_IN, VERBS
from hubbub.hub.connection import Connection
from hubbub.hub.control import ConnectionPage, Disconnected
from hubbub.hub.counters import Stats
from hubbub.hub.dispatch import CommandEndpoint, Handler, Hooks, RawEndpoint, Result
from hubbub.hub.hub import Hub
from hubbub.hub.identity import VERBS as VERB_NAMES
from hubbub.hub.identity import Credentials, Identity
from hubbub.hub.limits import LONGEST_ROOM, clean_room
from hubbub.hub.member import Member
from hubbub.hub.operator import Operator
from hubbub.hub.ports import Endpoint, Once
from hubbub.hub.publication import Publication
from hubbub.hub.room import Room
from hubbub.wire.codec import JSON_SUBPROTOCOL, MSGPACK_SUBPROTOCOL
from hubbub.wire.messages import Command, Publish

log: Final = logging.getLogger("hubbub")
SHORTEST_SECONDS: Final = 0.01
"""Of what is done by the clock: more often is a task of its own."""

ASGIApp = Callable[
    [
        MutableMapping[str, Any],
        Callable[[], Awaitable[MutableMapping[str, Any]]],
        Callable[[MutableMapping[str, Any]], Awaitable[None]],
    ],
    Awaitable[None],
]

CALLS_PATH: Final = "/api"
"""What handlers find as the path of somebody who calls over HTTP."""
C = TypeVar("C", bound=Command)
T = TypeVar("T", bound=msgspec.Struct)
Outcome = Result | Coroutine[Any, Any, Result] | Coroutine[Any, Any, None]
CommandHandler = Callable[[Connection, C], Outcome]
Hook = Callable[[Connection], Coroutine[Any, Any, None] | None]
AckHook = Callable[[Member, int], None]
PublishHook = Callable[[Connection, Room, dict[str, object]], bool]
AuthenticateHook = Callable[[Credentials], Awaitable[Identity | None]]
TellHandler = Callable[[str, T], None]
Work = Callable[[], Coroutine[Any, Any, None] | None]
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
        self._authorizer: AuthorizeHook | None = None
        self.authenticator: AuthenticateHook | None = None
        self._handlers: dict[type[Command], Handler] = {**BUILT_IN}
        self._verbs: dict[type[Command], str] = {**VERBS}
        self._registrars: dict[type[Command], Hubbub] = {}
        self._owners: dict[str, Hubbub] = {}
        self.patterns: list[tuple[str, dict[str, Any]]] = []
        self.works: list[tuple[float, Work]] = []
        self._hears: dict[str, tuple[type[msgspec.Struct], TellHandler[Any]]] = {}
        self._included: list[Hubbub] = []

    def on(self, command: type[C], *, verb: str | None = "publish") -> Callable[[CommandHandler[C]], CommandHandler[C]]:
        """Registers the handler of a command: `def handler(conn, command)`, plain or a coroutine function.

        Plain functions run at once, coroutines of one connection in the order of its commands. What the handler
        returns is answered where the command has an `id`: a publication once it is kept, None at once.
        An exception is answered with `error`: a CommandError with its own code, any other with `internal`.

        Args:
            verb: what a client must be allowed for it in the room that the command names in its field `room`, or
                without one in the room that it joined last; None for a command that has nothing to do with a room.

        Raises:
            LocalError: the command has a handler, its type cannot be told from others on the wire, or there is no such
                verb.
        """
        if verb is not None and verb not in VERB_NAMES:
            raise LocalError(f"verb {verb!r}: known are {', '.join(VERB_NAMES)}")
        tag = command.__struct_config__.tag
        if any(tag == known.__struct_config__.tag for known in self._handlers):
            raise LocalError(f"there is a handler for commands of type {tag!r} already")

        def register(handler: CommandHandler[C]) -> CommandHandler[C]:
            self._handlers[command] = handler
            self._registrars[command] = self
            if verb is not None:
                self._verbs[command] = verb
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
        self._registrars[Publish] = self
        return hook

    def authenticate(self, hook: AuthenticateHook) -> AuthenticateHook:
        """Registers the function that says who a client is: `async def hook(credentials) -> Identity | None`.

        It is asked before the WebSocket is accepted, in place of the settings' ways; None is answered with 401. It is
        asked again with the new token when a client refreshes.
        """
        self.authenticator = hook
        return hook

    def authorize(self, hook: AuthorizeHook) -> AuthorizeHook:
        """Registers the function that says what is allowed: `def hook(conn, verb, room) -> bool`, plain or async.

        It is asked with every command, after the client's own grants: `join`, `subscribe`, `publish`, `history`,
        `presence` or `ack`, and the room's name. Only True allows; an exception does not.
        """
        self._authorizer = hook
        return hook

    def revoke(self, *, token: str = "", user: str = "", session: str = "") -> Publication:
        """Ends a token (its `jti`), all that a user has been given so far, or a session; now, and for who comes back.

        Connections close with 4401. On the event loop's thread.

        Returns:
            the publication that keeps it, so that it counts after a restart as well.

        Raises:
            LocalError: not exactly one of them is given, or the application is not being served yet.
        """
        return Operator(self._hub).revoke(token=token, user=user, session=session)

    async def disconnect(
        self, *, user: str = "", session: str = "", connection: str = "", code: int = REMOVED, reason: str = "removed"
    ) -> Disconnected:
        """Closes the connections of a user or a session, or one by its `clientId`, on whichever nodes they are.

        What they were in rooms is over as well. It keeps nobody from coming back: see `revoke`.

        Args:
            code: of the close frame; 4403 tells clients to stay away.
            reason: shown to whom it concerns.

        Raises:
            LocalError: not exactly one of them is given, the code may not be sent, or the application is not being
                served yet.
            BrokerError: the other nodes cannot be asked.
        """
        whom = {"user": user, "session": session, "connection": connection}
        return await Operator(self._hub).disconnect(**whom, code=code, reason=reason)

    async def connections(self, *, user: str = "", room: str = "", after: str = "", limit: int = 100) -> ConnectionPage:
        """Who is connected, on all nodes: a page in the order of the ids, of one user, in one room, or of all.

        Args:
            after: that of the page before.
            limit: 1 to 1000; a page may have fewer though more follow.

        Raises:
            LocalError: the limit is none, or the application is not being served yet.
            BrokerError: the other nodes cannot be asked.
        """
        return await Operator(self._hub).connections(user=user, room=room, after=after, limit=limit)

    def stats(self) -> Stats:
        """What this node has done since its start, in numbers; it costs less than a microsecond.

        Raises:
            LocalError: the application is not being served yet.
        """
        hub = self._served()
        return hub.counters.stats(hub.broker.node_id, len(hub.connections))

    def every(self, seconds: float) -> Callable[[Work], Work]:
        """Registers what is done every so many seconds for as long as the application is served, on the event loop.

        It is done at the whole multiples of the time of day, so that all nodes do it in the same moment. A coroutine is
        waited for: what falls into its time is left out. An exception is logged, and it goes on.

        Raises:
            LocalError: that is more often than a hundred times a second.
        """
        if not seconds >= SHORTEST_SECONDS:
            raise LocalError(f"every {seconds:g} s: at most every {SHORTEST_SECONDS:g}")

        def register(work: Work) -> Work:
            self.works.append((seconds, work))
            return work

        return register

    def tell(self, word: msgspec.Struct) -> None:
        """Tells the other nodes something; each calls its `on_told`. It is not kept and may be lost.

        Args:
            word: of a msgspec.Struct with a `tag`.

        Raises:
            LocalError: it has no tag, or the application is not being served yet.
        """
        self._served().nodes.tell(_tag_of(type(word)), msgspec.msgpack.encode(word))

    def on_told(self, word: type[T]) -> Callable[[TellHandler[T]], TellHandler[T]]:
        """Registers what is called with what other nodes `tell`: `def handler(node, word)`, with the node's id.

        An exception is logged. What has no handler here is passed over.

        Raises:
            LocalError: what is told under this tag has a handler, or there is no tag.
        """
        tag = _tag_of(word)
        if tag in self._hears:
            raise LocalError(f"there is a handler for what is told as {tag!r} already")

        def register(handler: TellHandler[T]) -> TellHandler[T]:
            self._hears[tag] = word, handler
            return handler

        return register

    def once(self, id: str) -> Once:
        """What keeps nodes from publishing the same thing twice: pass it to `Room.publish` as `once`.

        Of all that is published in a room under one id within 5 minutes, by whichever node, the first is kept; the
        others are `repeated`, whatever they say.
        """
        return Once("", id, 0)

    def include(self, other: Hubbub) -> None:
        """Takes in all that another application does so far, as if it stood here; where that connects does not count.

        Raises:
            LocalError: both have a handler for the same, or a hook of which there is one, or own the same room.
        """
        for command, handler in other._handlers.items():
            if command not in BUILT_IN:
                self.on(command, verb=other._verbs.get(command))(cast(CommandHandler[Command], handler))
        for word, hear in other._hears.values():
            self.on_told(word)(hear)
        taken = {raw.path for raw in self._raw} & {raw.path for raw in other._raw}
        if taken:
            raise LocalError(f"both applications have the path {', '.join(sorted(taken))}")
        both = self._owners.keys() & other._owners.keys()
        if both:
            raise LocalError(f"both applications own the room {', '.join(sorted(both))}")
        self._owners |= other._owners
        self._allows_publish = _only_one(self._allows_publish, other._allows_publish, "allow_publish")
        self._registrars |= other._registrars
        self._authorizer = _only_one(self._authorizer, other._authorizer, "authorize")
        self.authenticator = _only_one(self.authenticator, other.authenticator, "authenticate")
        self._raw += other._raw
        self._connected += other._connected
        self._disconnected += other._disconnected
        self._acked += other._acked
        self.mounts += other.mounts
        self.patterns += other.patterns
        self.works += other.works
        self._included.append(other)

    def _served(self) -> Hub:
        if self._hub is None:
            raise LocalError("the application is not being served yet")
        return self._hub

    def _hear(self, node: str, tag: str, data: bytes) -> None:
        """Another node has told something."""
        if tag not in self._hears:
            return
        kind, handler = self._hears[tag]
        try:
            handler(node, msgspec.msgpack.decode(data, type=kind))
        except Exception:  # it comes out of the broker, whose business it is not
            self._served().counters.handlers_failed += 1
            log.exception("what node %s has told as %r could not be handled", node, tag)

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

    def own(self, *rooms: str) -> None:
        """Keeps rooms for what is registered here: where applications are put together, commands of the others, and
        `publish` where it is another's `allow_publish` that says what may be, are answered with `forbidden` there.
        """
        self._owners |= dict.fromkeys(rooms, self)

    def websocket(self, path: str, subprotocols: tuple[str, ...] = ()) -> Callable[[H], H]:
        """Registers a path with a protocol of the application's own: `def handler(conn, message)`, a str or bytes.

        It has the same limits, heartbeats and rooms; the application answers with `conn.send(str | bytes)`, and asks
        `conn.allows` itself where that matters: what a message means, nobody else knows.
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
            LocalError: the application is not being served yet, or no room can have this name.
        """
        if self._hub is None:
            raise LocalError("there are no rooms before the application is served")
        try:
            clean = clean_room(name)
        except CommandError as error:
            raise LocalError(str(error)) from None
        if not name or clean != name:
            raise LocalError(f"a room's name has 1 to {LONGEST_ROOM} characters, no white space at its ends: {name!r}")
        return self._hub.room(name)

    def asgi(self, config: Config | None = None) -> Served:
        """The application as ASGI, to be mounted into another or run by any ASGI server.

        Mounts get no lifespan from most hosts: give them this one, such as `FastAPI(lifespan=served.lifespan)`, so that
        clients are told of the end and handlers are waited for. Without it only what was published is kept at exit.

        Args:
            config: the settings; those of the environment by default.
        """
        return type(self).build_asgi(self, config)

    @property
    def hooks(self) -> tuple[Hooks, Hooks]:
        """What is called with each connection that has come, and that has ended."""
        return self._connected, self._disconnected

    def bind(self, hub: Hub) -> list[Route]:
        """Connects the application to the hub that runs it; called by the node. Returns what it serves."""
        self._belong(hub)
        hub.nodes.hear = self._hear
        hub.on_ack = self._acked
        hub.allows_publish = self._allows_publish
        hub.authorizer = self._authorizer
        hub.closed_rooms = self._closed_rooms()
        json = CommandEndpoint(hub, self.path, self._handlers, *self.hooks, verbs=self._verbs)
        msgpack = CommandEndpoint(hub, self.path, self._handlers, *self.hooks, verbs=self._verbs, msgpack=True)
        routes = [Route(self.path, {None: json, JSON_SUBPROTOCOL: json, MSGPACK_SUBPROTOCOL: msgpack})]
        for raw in self._raw:
            endpoint = RawEndpoint(hub, raw.path, raw.handler, *self.hooks)
            routes.append(Route(raw.path, {None: endpoint, **dict.fromkeys(raw.subprotocols, endpoint)}))
        return routes

    def _closed_rooms(self) -> dict[type[Command], frozenset[str]]:
        """By the command, the rooms that another application has for itself."""
        return {
            command: frozenset(room for room, owner in self._owners.items() if owner is not registrar)
            for command, registrar in self._registrars.items()
        }

    def _belong(self, hub: Hub) -> None:
        self._hub = hub
        for other in self._included:
            other._belong(hub)


def _tag_of(word: type[msgspec.Struct]) -> str:
    """What tells it from others.

    Raises:
        LocalError: it has none.
    """
    tag = word.__struct_config__.tag
    if tag is None:
        raise LocalError(f"{word.__name__} has no tag, by which other nodes know it")
    return str(tag)


def _only_one(own: H | None, other: H | None, name: str) -> H | None:
    """The hook that one of two applications has.

    Raises:
        LocalError: both have it.
    """
    if own is not None and other is not None:
        raise LocalError(f"both applications have {name}: write one that asks both")
    return own if own is not None else other


def calls_of(app: Hubbub, hub: Hub) -> Calls:
    """An application's commands for those who have no connection."""
    return Calls(hub, CALLS_PATH, app._handlers, app._verbs)
