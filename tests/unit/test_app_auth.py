"""app: the application says who clients are and what they may do, and ends what they were given; through a node."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, MutableMapping
from contextlib import asynccontextmanager
from typing import Any

import pytest

from hubbub.app import Hubbub
from hubbub.config import Auth, Config, Limits, Server
from hubbub.errors import ConfigError, LocalError
from hubbub.hub.hub import Hub
from hubbub.hub.identity import Credentials, Identity
from hubbub.node import Node

Message = MutableMapping[str, Any]


class Visit:
    """One request of a client to a node, as ASGI."""

    def __init__(self, node: Node, token: str, host: str) -> None:
        self._said: asyncio.Queue[Message] = asyncio.Queue()
        self._heard: asyncio.Queue[Message] = asyncio.Queue()
        self._said.put_nowait({"type": "websocket.connect"})
        headers = [(b"host", host.encode()), *([(b"authorization", b"Bearer " + token.encode())] if token else [])]
        self.scope: Message = {
            "type": "websocket",
            "path": "/ws",
            "headers": headers,
            "query_string": b"",
            "client": ("127.0.0.1", 4711),
            "server": ("127.0.0.1", 8080),
            "subprotocols": [],
            "extensions": {"websocket.http.response": {}},
        }
        self.task = asyncio.ensure_future(node(self.scope, self._said.get, self._heard.put))

    async def hear(self) -> Message:
        """The next that the node sends; events as dicts."""
        message = await asyncio.wait_for(self._heard.get(), 10)
        event: Message = json.loads(message["text"]) if message["type"] == "websocket.send" else message
        return event

    async def say(self, **command: Any) -> Message:
        """The answer to a command."""
        await self._said.put({"type": "websocket.receive", "text": json.dumps({"id": 1, **command})})
        return await self.hear()

    async def leave(self) -> None:
        await self._said.put({"type": "websocket.disconnect", "code": 1000})
        await self.task


class World:
    """A node with an application that knows users by tokens of their names."""

    def __init__(self, app: Hubbub, limits: Limits | None = None) -> None:
        self.app = app
        self.node = Node(app, Config(server=Server(broker="memory://"), auth=Auth(), limits=limits or Limits()))

    @property
    def hub(self) -> Hub:
        assert self.node.hub is not None
        return self.node.hub

    @asynccontextmanager
    async def visit(self, token: str = "", host: str = "localhost") -> AsyncIterator[Visit]:
        visit = Visit(self.node, token, host)
        yield visit
        await visit.leave()

    async def status(self, token: str = "", host: str = "localhost") -> int:
        """With which a client is answered: 101 for one that comes in."""
        async with self.visit(token, host) as visit:
            answer = await visit.hear()
            return 101 if answer["type"] == "websocket.accept" else int(answer["status"])


def knowing(*users: str) -> Hubbub:
    app = Hubbub()

    @app.authenticate
    async def authenticate(credentials: Credentials) -> Identity | None:
        return Identity(user=credentials.token) if credentials.token in users else None

    return app


async def entered(visit: Visit) -> Message:
    """The first event of who is let in."""
    assert (await visit.hear())["type"] == "websocket.accept"
    return await visit.hear()


# Who they are


def test_the_application_says_who_a_client_is() -> None:
    async def told() -> Message:
        world = World(knowing("ada"))
        async with world.node.lifespan(), world.visit("ada", "hub.example") as visit:
            return await entered(visit)

    assert asyncio.run(told())["user"] == {"id": "ada", "name": "ada"}


@pytest.mark.parametrize(("token", "status"), [("ada", 101), ("eve", 401), ("", 401)])
def test_whom_it_does_not_know_is_answered_with_401(token: str, status: int) -> None:
    async def answer() -> int:
        world = World(knowing("ada"))
        async with world.node.lifespan():
            return await world.status(token)

    assert asyncio.run(answer()) == status


def test_without_a_choice_only_this_machine_comes_in() -> None:
    async def answers() -> list[int]:
        world = World(Hubbub())
        async with world.node.lifespan():
            return [await world.status(host=host) for host in ("localhost", "hub.example")]

    assert asyncio.run(answers()) == [101, 403]


def test_it_is_asked_again_when_a_client_refreshes() -> None:
    async def answers() -> list[Message]:
        world = World(knowing("ada", "bob"))
        async with world.node.lifespan(), world.visit("ada") as visit:
            await entered(visit)
            return [await visit.say(type="refresh", token=token) for token in ("ada", "bob", "eve")]

    ada, bob, eve = asyncio.run(answers())
    assert (ada["type"], ada["user"]) == ("ok", {"id": "ada", "name": "ada"})
    assert (bob["code"], eve["code"]) == ("invalid_token", "invalid_token")


def test_a_user_who_would_be_one_too_many_is_answered_with_429() -> None:
    async def answers() -> list[int]:
        world = World(knowing("ada"), Limits(max_connections_per_user=1))
        async with world.node.lifespan(), world.visit("ada") as visit:
            await entered(visit)
            return [await world.status("ada")]

    assert asyncio.run(answers()) == [429]


def test_the_settings_must_not_say_it_too() -> None:
    node = Node(knowing("ada"), Config(server=Server(broker="memory://"), auth=Auth(auth="anonymous")))
    with pytest.raises(ConfigError, match="leave the setting empty"):
        node.check()


# What they may do


def test_the_application_says_what_is_allowed() -> None:
    app = knowing("ada")

    @app.authorize
    async def authorize(connection: object, verb: str, room: str) -> bool:
        await asyncio.sleep(0)
        return room == "open"

    async def answers() -> list[str]:
        world = World(app)
        async with world.node.lifespan(), world.visit("ada") as visit:
            await entered(visit)
            return [(await visit.say(type="join", room=room))["type"] for room in ("closed", "open")]

    assert asyncio.run(answers()) == ["error", "room_info"]


# What ends


def test_who_is_revoked_is_closed_and_does_not_come_in_again() -> None:
    async def ended() -> tuple[Message, int]:
        world = World(knowing("ada"))
        async with world.node.lifespan(), world.visit("ada") as visit:
            await entered(visit)
            world.app.revoke(user="ada")
            return await visit.hear(), await world.status("ada")

    closed, status = asyncio.run(ended())
    assert (closed["type"], closed["code"], status) == ("websocket.close", 4401, 401)


MISTAKES: list[dict[str, str]] = [
    {},
    {"token": ""},
    {"token": "a", "user": "b"},
    {"user": "a", "session": "b"},
    {"token": "a", "user": "b", "session": "c"},
]


@pytest.mark.parametrize("subjects", MISTAKES)
def test_one_thing_is_revoked_at_a_time(subjects: dict[str, str]) -> None:
    async def revoke() -> None:
        world = World(knowing("ada"))
        async with world.node.lifespan():
            with pytest.raises(LocalError, match="revoke one of token, user and session"):
                world.app.revoke(**subjects)
            assert world.hub.standing.revocations._at == {}

    asyncio.run(revoke())


def test_who_is_disconnected_is_closed_and_may_come_in_again() -> None:
    async def ended() -> tuple[Message, int, int]:
        world = World(knowing("ada"))
        async with world.node.lifespan(), world.visit("ada") as visit:
            id = (await entered(visit))["clientId"]
            (info,) = (await world.app.connections()).connections
            assert (info.id, info.user, info.address) == (id, "ada", "127.0.0.1")
            result = await world.app.disconnect(connection=id)
            return await visit.hear(), result.count, await world.status("ada")

    closed, count, status = asyncio.run(ended())
    assert (closed["code"], closed["reason"], count, status) == (4403, "removed", 1, 101)


@pytest.mark.parametrize("subjects", [{}, {"user": ""}, {"user": "a", "session": "b"}])
def test_one_thing_is_disconnected_at_a_time(subjects: dict[str, Any]) -> None:
    with pytest.raises(LocalError, match="disconnect one of user, session and connection"):
        asyncio.run(Hubbub().disconnect(**subjects))


@pytest.mark.parametrize("limit", [0, 1001])
def test_a_page_of_connections_has_a_bound(limit: int) -> None:
    with pytest.raises(LocalError, match="1 to 1000"):
        asyncio.run(Hubbub().connections(limit=limit))


def test_nobody_is_connected_before_the_application_is_served() -> None:
    with pytest.raises(LocalError, match="before the application is served"):
        asyncio.run(Hubbub().connections())


def test_nothing_is_revoked_before_the_application_is_served() -> None:
    with pytest.raises(LocalError, match="of an application that is served"):
        Hubbub().revoke(user="ada")
