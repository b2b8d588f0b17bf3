"""transports.api: what the operations on rooms and those of operators say to whom, without a server."""

from __future__ import annotations

import asyncio
import gzip
import json
import re
from collections.abc import MutableMapping
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from starlette.routing import Match

from hubbub.auth.gate import Gate
from hubbub.auth.origin import Origins
from hubbub.auth.proxies import Proxies
from hubbub.auth.tickets import Tickets
from hubbub.errors import CommandError
from hubbub.hub.calls import Calls
from hubbub.hub.commands import BUILT_IN, VERBS
from hubbub.hub.connection import Connection
from hubbub.hub.identity import Credentials, Grants, Identity
from hubbub.hub.limits import LONGEST_ROOM, clean_room
from hubbub.transports import api_rooms
from hubbub.transports.api import ApiRoute, segments_of
from hubbub.transports.api_operation import ROOM_NAME, Api
from hubbub.transports.api_table import operations_of
from tests.unit.fakes import Bench
from tests.unit.hub.people import granted, known, unlimited

EVERYTHING = Grants((("*", frozenset(("join", "presence"))),))


class Whoever:
    """Whose token is the name of an identity."""

    uses_cookies = False

    def __init__(self, **identities: Identity) -> None:
        self._identities = identities

    async def authenticate(self, credentials: Credentials) -> Identity | None:
        return self._identities[credentials.token]

    async def close(self) -> None:
        """Nothing is under way."""


class Site:
    """The API of a hub with these users."""

    def __init__(self, *, documents: bool = True, **identities: Identity) -> None:
        config = unlimited()
        self.bench = Bench(replace(config, server=replace(config.server, documents=documents)))
        hub = self.bench.hub
        self.gate = Gate(
            [Whoever(**identities)],
            Origins([]),
            Proxies(()),
            Tickets(1.0),
            local=False,
            token_in_query=False,
            knock=lambda address: None,
            ready=self._ready,
        )
        api = Api(hub, self.gate, Calls(hub, "/api", BUILT_IN, VERBS), "1", "/ws")
        self.route = ApiRoute(api, operations_of(api), alone=True)

    async def _ready(self) -> None:
        """Nothing is waited for."""

    def get(self, path: str, user: str = "ada", query: str = "", **headers: str) -> tuple[int, Any]:
        sent: list[MutableMapping[str, Any]] = []

        async def send(message: MutableMapping[str, Any]) -> None:
            sent.append(message)

        async def receive() -> MutableMapping[str, Any]:
            return {"type": "http.request", "body": b""}

        lines = {"host": "hub.example", "authorization": f"Bearer {user}", **headers}
        scope: dict[str, Any] = {
            "type": "http",
            "method": "GET",
            "path": path,
            "query_string": query.encode(),
            "client": ("192.0.2.1", 4711),
            "server": ("127.0.0.1", 80),
            "headers": [(name.encode(), value.encode()) for name, value in lines.items()],
        }
        scope |= self.route.matches(scope)[1]
        asyncio.run(self.route.handle(scope, receive, send))
        start, body = sent
        content = body["body"]
        if (b"content-encoding", b"gzip") in start["headers"]:
            content = gzip.decompress(content)
        return start["status"], json.loads(content) if content else None


def names(body: Any) -> list[str]:
    return [room["name"] for room in body["rooms"]]


# The list of rooms


def test_of_rooms_that_are_not_for_the_caller_nothing_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(api_rooms, "MOST_LOOKED_AT", 2)
    site = Site(ada=known("ada", grants=granted("join", "presence", room="team-*")))
    for room in ("aside", "secret", "team-1", "team-2", "team-3", "upstairs"):
        site.bench.join(room, "bob")
    assert site.get("/api/rooms", query="limit=2") == (
        200,
        {"rooms": [{"name": "team-1", "count": 1}, {"name": "team-2", "count": 1}], "next": "team-2"},
    )
    assert site.get("/api/rooms", query="limit=2&after=team-2")[1] == {
        "rooms": [{"name": "team-3", "count": 1}],
        "next": None,
    }


@pytest.mark.parametrize("verbs", [("join",), ("presence",), ("subscribe", "history"), ()])
def test_a_room_is_listed_for_who_may_enter_and_look(verbs: tuple[str, ...]) -> None:
    site = Site(ada=known("ada", grants=granted(*verbs)), eve=known("eve", grants=granted("subscribe", "presence")))
    site.bench.join("lobby", "bob")
    assert names(site.get("/api/rooms")[1]) == []
    assert names(site.get("/api/rooms", "eve")[1]) == ["lobby"]


def test_an_application_that_fails_shows_no_room() -> None:
    site = Site(ada=known("ada"))
    site.bench.join("lobby", "bob")

    def fail(conn: Connection, verb: str, room: str) -> bool:
        raise RuntimeError("a bug")

    site.bench.hub.authorizer = fail
    assert names(site.get("/api/rooms")[1]) == []


def test_so_many_rooms_are_looked_at(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(api_rooms, "MOST_LOOKED_AT", 1)
    site = Site(ada=known("ada", grants=granted("join", "presence", room="z")))
    for room in (*"abcdefg", "z"):
        site.bench.join(room, "bob")
    assert site.get("/api/rooms")[1] == {"rooms": [], "next": None}


# Operators


@pytest.mark.parametrize("path", ["connections", "rooms", "nodes"])
def test_a_user_is_no_operator(path: str) -> None:
    site = Site(ada=known("ada"), nobody=Identity(), root=known("root", operator=True))
    assert [site.get(f"/api/admin/{path}", user)[0] for user in ("ada", "nobody", "root")] == [403, 401, 200]


def test_figures_name_the_limits_that_were_met() -> None:
    site = Site(root=known("root", operator=True))
    site.bench.hub.counters.refuse("user_rate")
    site.bench.join("lobby", "ada", "bob")
    with pytest.raises(json.JSONDecodeError) as text:
        site.get("/metrics", "root")
    lines = text.value.doc.splitlines()
    assert 'hubbub_limits_met_total{limit="user_rate"} 1' in lines
    assert {"hubbub_connections 2", "hubbub_rooms 1", "hubbub_members 2"} <= set(lines)


# Paths


@pytest.mark.parametrize(
    ("scope", "segments"),
    [
        ({"path": "/api/a/b", "raw_path": b"/api/a%2Fb"}, ["api", "a/b"]),
        ({"path": "/api/a/b", "raw_path": b"/api/a/b"}, ["api", "a", "b"]),
        ({"path": "/api/a/b"}, ["api", "a", "b"]),
        ({"path": "/live/api/ä", "raw_path": b"/live/api/%C3%A4", "root_path": "/live"}, ["api", "ä"]),
        ({"path": "/api/x", "raw_path": b"/somewhere/else"}, ["api", "x"]),  # a middleware has rewritten it
        ({"path": "/api/\ufffd", "raw_path": b"/api/%FF"}, ["api", "\ufffd"]),
    ],
)
def test_names_in_a_path_are_read_one_by_one(scope: dict[str, Any], segments: list[str]) -> None:
    assert segments_of(scope) == segments


def test_an_application_may_have_pages_of_its_own_where_the_documents_are() -> None:
    paths = ("/docs", "/docs/docs.js", "/openapi.json", "/asyncapi.json", "/api/rooms")
    for documents in (True, False):
        route = Site(documents=documents).route
        found = [route.matches({"type": "http", "path": path})[0] is Match.FULL for path in paths]
        assert found == [*[documents] * 4, True]


def test_what_no_operation_has_is_not_found() -> None:
    site = Site(ada=known("ada"))
    assert [site.get(path)[0] for path in ("/api/", "/api/rooms/x", "/api/rooms/x/y/messages")] == [404] * 3
    assert site.route.matches({"type": "http", "path": "/else"})[0] is Match.NONE
    assert site.route.matches({"type": "websocket", "path": "/api/rooms"})[0] is Match.NONE


@given(st.text(st.characters(exclude_categories=["Cs"]), max_size=LONGEST_ROOM))
def test_the_document_says_what_rooms_are_called(name: str) -> None:
    try:
        valid = bool(clean_room(name))
    except CommandError:
        valid = False
    assert bool(re.search(ROOM_NAME, name)) == valid
