"""Two server processes on one Redis: a request may go to either, and it is the same API."""

from __future__ import annotations

from collections.abc import Iterator
from uuid import uuid4

import httpx
import pytest

from hubbub.auth.api_keys import make_key
from tests.support.canary import canary
from tests.support.chatter import chatting
from tests.support.redis import RedisServer
from tests.support.server import FAST, Server, serve

KEY, ENTRY = make_key("ops")
canary.keep(KEY, "an API key of two nodes")
BEARER = {"authorization": f"Bearer {KEY}"}


@pytest.fixture(scope="module")
def nodes(redis_server: RedisServer, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Server, Server]]:
    folder = tmp_path_factory.mktemp("nodes")
    shared = ("--broker", redis_server.url, "--redis-prefix", f"{uuid4()}:", "--rate-limit", "0")
    options = (*shared, "--auth", "anonymous", "--api-keys", ENTRY)
    with serve(folder, FAST, *options) as one, serve(folder, FAST, *options) as two:
        yield one, two


@pytest.fixture
def clients(nodes: tuple[Server, Server]) -> Iterator[tuple[httpx.Client, httpx.Client]]:
    one, two = (httpx.Client(base_url=node.http, trust_env=False, headers=BEARER) for node in nodes)
    with one, two:
        yield one, two


@pytest.fixture
def room() -> str:
    return f"room-{uuid4()}"


def test_a_message_sent_again_to_another_node_is_one(
    clients: tuple[httpx.Client, httpx.Client], nodes: tuple[Server, Server], room: str
) -> None:
    with chatting(f"{nodes[1].ws}/ws") as bob:
        bob.join(room, "bob")
        key = {"idempotency-key": "k1"}
        replies = [each.post(f"/api/rooms/{room}/messages", json={"text": "hi"}, headers=key) for each in clients]
        assert replies[0].json() == replies[1].json()
        assert bob.next()["seq"] == 1
        assert bob.nothing()
        other = clients[1].post(f"/api/rooms/{room}/messages", json={"text": "ho"}, headers=key)
        assert (other.status_code, other.json()["code"]) == (409, "message_id_conflict")


def test_what_was_kept_by_one_node_is_read_at_once_from_the_other(
    clients: tuple[httpx.Client, httpx.Client], nodes: tuple[Server, Server], room: str
) -> None:
    path = f"/api/rooms/{room}"
    with chatting(f"{nodes[1].ws}/ws") as bob:  # the room is open there: it may be behind
        bob.join(room, "bob")
        for number in range(1, 20):
            place = clients[0].post(f"{path}/messages", json={"text": str(number)}).json()
            page = clients[1].get(f"{path}/messages", params={"limit": 1}).json()
            assert (page["messages"][0]["seq"], page["epoch"]) == (place["seq"], place["epoch"])
            moved = clients[1].put(f"{path}/cursor", json={"seq": place["seq"]})
            assert (moved.status_code, moved.json()["unread"]) == (200, 0)
            assert clients[0].get(f"{path}/cursor").json()["acked"] == number
            assert bob.next()["text"] == str(number)
            assert bob.until("seen")["seq"] == number


def test_an_operator_reaches_all_nodes_from_any(
    clients: tuple[httpx.Client, httpx.Client], nodes: tuple[Server, Server], room: str
) -> None:
    ops = clients[0]
    with chatting(f"{nodes[0].ws}/ws") as ada, chatting(f"{nodes[1].ws}/ws") as bob:
        ada.join(room, "ada")
        bob.join(room, "bob")
        assert ada.next()["type"] == "user_joined"
        here = {ada.connected["node"], bob.connected["node"]}
        assert {node["id"] for node in ops.get("/api/admin/nodes").json()["nodes"]} == here
        assert {"name": room, "count": 2} in ops.get("/api/admin/rooms").json()["rooms"]
        found = ops.get("/api/admin/connections", params={"room": room}).json()["connections"]
        assert {each["node"] for each in found} == here
        assert ops.post("/api/admin/publish", json={"room": room, "event": {"type": "news"}}).json()["seq"] == 1
        assert (ada.next()["type"], bob.next()["type"]) == ("news", "news")
        out = ops.post("/api/admin/disconnect", json={"connection": bob.connected["clientId"]}).json()
        assert (out, bob.end().code) == ({"count": 1, "silent": []}, 4403)
        assert ada.next()["type"] == "user_left"


def test_a_key_that_was_revoked_counts_on_no_node(clients: tuple[httpx.Client, httpx.Client]) -> None:
    assert clients[0].post("/api/admin/revoke", json={"user": "key:ops"}).status_code == 204
    assert [each.get("/api/admin/nodes").status_code for each in clients] == [401, 401]
