"""Two server processes on one Redis: what an application asks of all nodes, from any of them."""

from __future__ import annotations

import re
import signal
import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest

from tests.support.credentials import Issuer, bearer, secret_issuer
from tests.support.peer import Peer, command
from tests.support.redis import RedisServer
from tests.support.server import FAST, Server, serve

A_SECOND = 1.0
OUR_OWN_TIME = 1.0
"""How late a test may look, where others use the machine as well."""


@pytest.fixture(scope="module")
def issuer(tmp_path_factory: pytest.TempPathFactory) -> Issuer:
    return secret_issuer(tmp_path_factory.mktemp("issuer"))


@pytest.fixture(scope="module")
def options(issuer: Issuer, redis_server: RedisServer) -> tuple[str, ...]:
    return ("--broker", redis_server.url, "--redis-prefix", f"{uuid4()}:", "--rate-limit", "0", *issuer.options)


@pytest.fixture(scope="module")
def nodes(options: tuple[str, ...], tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Server, Server]]:
    folder = tmp_path_factory.mktemp("nodes")
    with serve(folder, FAST, *options) as one, serve(folder, FAST, *options) as two:
        yield one, two


class People:
    """Users on nodes, all of whom leave in the end."""

    def __init__(self, issuer: Issuer) -> None:
        self._issuer = issuer
        self._stack = ExitStack()

    def __enter__(self) -> People:
        return self

    def __exit__(self, *ending: object) -> None:
        self._stack.close()

    def come(self, server: Server, user: str, room: str = "", path: str = "/ws") -> Person:
        peer = self._stack.enter_context(Peer(server.port, headers=[bearer(self._issuer.token(user))]))
        peer.open(path)
        return Person(peer, user, room)


class Person:
    """Somebody on a node, in a room where one is named."""

    def __init__(self, peer: Peer, user: str, room: str) -> None:
        self.peer = peer
        self.connected = peer.event("connected")
        if room:
            peer.send(command(type="join", room=room, username=user))
            peer.event("room_info")

    def ask(self, answer: str, **fields: Any) -> dict[str, Any]:
        self.peer.send(command(**fields))
        return self.peer.event(answer)


@pytest.fixture
def people(issuer: Issuer) -> Iterator[People]:
    with People(issuer) as people:
        yield people


@pytest.fixture
def name() -> str:
    """Of a user and of a room that only one test knows."""
    return str(uuid4())


Nodes = tuple[Server, Server]


def test_who_is_connected_is_known_on_every_node(nodes: Nodes, people: People, name: str) -> None:
    here = people.come(nodes[0], name, name)
    there = people.come(nodes[1], name, name, "/ws?session=")
    for asking in (here, there):
        counted = asking.ask("counted", type="census", user=name)
        assert (counted["after"], counted["silent"]) == ("", [])
        found = {info["id"]: info for info in counted["connections"]}
        nodes_of = {id: info["node"] for id, info in found.items()}
        assert nodes_of == {each.connected["clientId"]: each.connected["node"] for each in (here, there)}
        info = found[there.connected["clientId"]]
        session = there.connected["session"].partition(".")[0]
        assert (info["user"], info["session"], info["rooms"], info["address"]) == (name, session, [name], "127.0.0.1")
        assert abs(info["since"] - there.connected["timestamp"]) < 5000
    assert here.connected["node"] != there.connected["node"]
    in_room = here.ask("counted", type="census", of=name, limit=1)
    assert (len(in_room["connections"]), in_room["after"] != "") == (1, True)
    rest = here.ask("counted", type="census", of=name, after=in_room["after"])
    assert {info["id"] for info in in_room["connections"] + rest["connections"]} == set(found)


def test_a_user_on_another_node_is_put_out(nodes: Nodes, people: People, name: str) -> None:
    admin = people.come(nodes[0], "admin")
    users = [people.come(server, name, name) for server in nodes]
    assert admin.ask("put_out", type="disconnect", user=name)["count"] == 2
    assert [user.peer.close_code() for user in users] == [4403, 4403]
    assert people.come(nodes[1], name).connected["user"]["id"] == name


def test_a_session_or_a_connection_on_another_node_is_put_out(nodes: Nodes, people: People, name: str) -> None:
    admin = people.come(nodes[0], "admin")
    stays, first, second = (people.come(nodes[1], name, name, "/ws?session=") for _ in range(3))
    session = first.connected["session"].partition(".")[0]
    assert admin.ask("put_out", type="disconnect", session=session, code=4000) == {
        "type": "put_out",
        "count": 1,
        "silent": [],
    }
    assert admin.ask("put_out", type="disconnect", connection=second.connected["clientId"])["count"] == 1
    assert (first.peer.close_code(), second.peer.close_code()) == (4000, 4403)
    assert stays.ask("ok", type="ping", id=1)["id"] == 1


@pytest.mark.parametrize("keep", [True, False])
def test_what_is_published_into_a_room_without_members_here_arrives_there(
    nodes: Nodes, people: People, name: str, keep: bool
) -> None:
    admin, ada = people.come(nodes[0], "admin"), people.come(nodes[1], "ada", name)
    for number in range(3):  # the room is closed here in between
        reply = admin.ask("ok", type="proclaim", into=name, text=str(number), keep=keep, id=number)
        assert reply.get("seq") == (number + 1 if keep else None)
        assert ada.peer.event("stated")["text"] == str(number)


@pytest.mark.parametrize("kind", ["user", "token", "session"])
def test_row_37_what_is_revoked_is_4401_within_a_second_on_every_node(
    nodes: Nodes, people: People, issuer: Issuer, name: str, kind: str
) -> None:
    admin = people.come(nodes[0], "admin")
    header = bearer(issuer.token(name, jti=name))
    with Peer(nodes[0].port, headers=[header]) as here, Peer(nodes[1].port, headers=[header]) as there:
        here.open()
        there.open("/ws?session=")
        connected = there.event("connected")
        subject = connected["session"].partition(".")[0] if kind == "session" else name
        began = time.monotonic()
        admin.ask("ok", type="revoke", kind=kind, subject=subject, id=1)
        closed = [there.close_code()] + ([] if kind == "session" else [here.close_code()])
        assert (set(closed), time.monotonic() - began < A_SECOND + OUR_OWN_TIME) == ({4401}, True)
    for server in nodes if kind != "session" else ():
        with Peer(server.port, headers=[header]) as again, pytest.raises(AssertionError, match="401 Unauthorized"):
            again.open()


def test_what_is_revoked_counts_on_a_node_that_starts_later(
    nodes: Nodes, people: People, issuer: Issuer, options: tuple[str, ...], tmp_path: Path, name: str
) -> None:
    header = bearer(issuer.token(name))
    people.come(nodes[0], "admin").ask("ok", type="revoke", kind="user", subject=name, id=1)
    with (
        serve(tmp_path, FAST, *options) as late,
        Peer(late.port, headers=[header]) as again,
        pytest.raises(AssertionError, match="401 Unauthorized"),
    ):
        again.open()


def test_a_node_that_hangs_is_named_and_one_that_ended_is_not_waited_for(
    nodes: Nodes, people: People, options: tuple[str, ...], tmp_path: Path, name: str
) -> None:
    admin = people.come(nodes[0], "admin")
    with serve(tmp_path, FAST, *options) as third:
        with People(issuer=people._issuer) as others:
            there = others.come(third, name)
            third.process.send_signal(signal.SIGSTOP)
            counted = admin.ask("counted", type="census", user=name)
            third.process.send_signal(signal.SIGCONT)
            assert (counted["connections"], counted["silent"]) == ([], [there.connected["node"]])
            assert len(admin.ask("counted", type="census", user=name)["connections"]) == 1
        third.stop()
        counted = admin.ask("counted", type="census", user=name)
        assert (counted["connections"], counted["silent"]) == ([], [])


def test_rubbish_between_the_nodes_is_dropped_and_counted(
    nodes: Nodes, people: People, redis_server: RedisServer, options: tuple[str, ...]
) -> None:
    admin = people.come(nodes[0], "admin")
    prefix = options[options.index("--redis-prefix") + 1]
    (channel,) = redis_server.ask("PUBSUB", "CHANNELS", f"{prefix}*%7Bnodes%7D*bus")
    before = [server.counters()["control_dropped"] for server in nodes]
    told = b"\x01\x02" + bytes(16) + b"\0\0\0\x01" + b"\0\0\0\x02" + b"hi"
    redis_server.ask("PUBLISH", channel, told)
    assert admin.ask("counted", type="census")["silent"] == []
    assert [server.counters()["control_dropped"] for server in nodes] == [count + 1 for count in before]
    assert re.search("was dropped", nodes[1].log)
