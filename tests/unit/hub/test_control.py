"""hub.control: what is asked of all nodes, by whichever of them; who does not answer is named."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgspec
import pytest

from hubbub.brokers.memory import MemoryBroker
from hubbub.codes import REMOVED
from hubbub.errors import BrokerError, CommandError, LocalError
from hubbub.hub import control
from hubbub.hub.connection import Connection
from hubbub.hub.control import ConnectionPage, Disconnect, Disconnected, Find, page_of, sum_of
from hubbub.hub.dispatch import run
from hubbub.hub.identity import Identity
from hubbub.hub.limits import clean_room
from hubbub.hub.ports import Answer, Listener
from tests.unit.fakes import Bench, FakeRuntime, tape


class Web(MemoryBroker):
    """A broker whose nodes the test names, and carries messages between."""

    listener: Listener

    def __init__(self, *args: Any) -> None:
        super().__init__(*args)
        self.alive: list[str] | BrokerError = [self.node_id]
        self.said: list[bytes] = []

    def listen(self, listener: Listener) -> None:
        self.listener = listener

    def nodes(self, done: Answer[Sequence[str]]) -> None:
        done(self.alive)

    def tell(self, room: str, payloads: Sequence[bytes]) -> None:
        assert room == control.ROOM
        self.said += payloads


class Node(Bench):
    """One of several nodes."""

    broker: Web

    def __init__(self, runtime: FakeRuntime | None = None) -> None:
        super().__init__(broker=Web, runtime=runtime)

    def person(self, user: str = "", room: str = "", session: str | None = None) -> Connection:
        connection = self.connect(session)
        connection.identity = Identity(user=user)
        if room:
            self.hub.join(connection, room, user or "guest")
        return connection

    def hear(self, *payloads: bytes) -> None:
        self.broker.listener.told(control.ROOM, payloads)


class Cluster:
    """Nodes that hear each other when the test says so.

    Attributes:
        results: the answers to what was asked, and who is silent.
    """

    def __init__(self, count: int) -> None:
        runtime = FakeRuntime()
        self.nodes = [Node(runtime) for _ in range(count)]
        for node in self.nodes:
            node.broker.alive = [each.broker.node_id for each in self.nodes]
        self.results: list[tuple[Any, tuple[str, ...]]] = []

    def ask(self, question: control.Question) -> None:
        self.nodes[0].hub.nodes.ask(question, lambda answers, silent: self.results.append((answers, silent)))

    def carry(self, *deaf: Node) -> None:
        """All that was said reaches all others, and what they say then."""
        while any(node.broker.said for node in self.nodes):
            for node in self.nodes:
                said, node.broker.said = node.broker.said, []
                for other in self.nodes:
                    if other is not node and other not in deaf:
                        other.hear(*said)

    def find(self, *, user: str = "", room: str = "", after: str = "", limit: int = 100) -> ConnectionPage:
        self.ask(Find(user, room, after, limit))
        self.carry()
        answers, silent = self.results[-1]
        return page_of(limit, answers, silent)

    def disconnect(self, **whom: str) -> Disconnected:
        fields: dict[str, Any] = {"user": "", "session": "", "connection": "", "code": REMOVED, "reason": "", **whom}
        self.ask(Disconnect(**fields))
        self.carry()
        return sum_of(*self.results[-1])


@pytest.fixture
def cluster() -> Cluster:
    return Cluster(3)


def codes(connection: Connection) -> list[int]:
    return [action[0] for action in tape(connection).actions if isinstance(action, tuple)]


# Who is connected


def test_a_node_alone_answers_at_once() -> None:
    node = Node()
    ada = node.person("ada", "lobby")
    results: list[Any] = []
    node.hub.nodes.ask(Find("", "", "", 10), lambda answers, silent: results.append((answers, silent)))
    page = page_of(10, *results[0])
    assert ([info.id for info in page.connections], page.after, page.silent) == ([ada.id], "", ())
    assert node.broker.said == []


def test_a_connection_says_who_where_and_since_when(cluster: Cluster) -> None:
    node = cluster.nodes[1]
    ada = node.person("ada", "lobby", session="")
    ada.remote = ("192.0.2.1", 5)
    node.hub.join(ada, "hall", "ada", keep=True)
    (info,) = cluster.find().connections
    assert ada.session is not None
    assert msgspec.structs.asdict(info) == {
        "id": ada.id,
        "node": node.broker.node_id,
        "user": "ada",
        "session": ada.session.id,
        "rooms": ("lobby", "hall"),
        "address": "192.0.2.1",
        "since": 1_000_000,
    }


def test_connections_are_found_by_user_and_by_room_on_all_nodes(cluster: Cluster) -> None:
    for number, node in enumerate(cluster.nodes):
        node.person("ada", "lobby" if number else "")
        node.person("bob", "lobby")
        node.person()
    found = [cluster.find(), cluster.find(user="ada"), cluster.find(room="lobby")]
    assert [len(page.connections) for page in found] == [9, 3, 5]
    assert len(cluster.find(user="ada", room="lobby").connections) == 2
    assert cluster.find(user="eve") == ConnectionPage((), "", ())
    assert cluster.find(room="attic").connections == ()


def test_a_lost_connection_that_is_waited_for_is_not_connected(cluster: Cluster) -> None:
    bob = cluster.nodes[1].person("bob", "lobby", session="")
    cluster.nodes[1].hub.lost(bob)
    assert cluster.find(room="lobby").connections == ()


@pytest.mark.parametrize("limit", [1, 2, 3, 7, 100])
def test_pages_have_everybody_once_in_the_order_of_ids(cluster: Cluster, limit: int) -> None:
    everybody = sorted(node.person().id for node in cluster.nodes for _ in range(7))
    found: list[str] = []
    page = cluster.find(limit=limit)
    while page.after:
        assert len(page.connections) <= limit
        found += [info.id for info in page.connections]
        page = cluster.find(limit=limit, after=page.after)
    assert found + [info.id for info in page.connections] == everybody


def test_an_answer_is_bounded_in_bytes_and_nobody_is_left_out(cluster: Cluster) -> None:
    node = cluster.nodes[1]
    for number in range(60):
        connection = node.person()
        for room in range(100):
            node.hub.join(connection, f"{room}-{number}-{'x' * 40}", "guest", keep=True)
    everybody = sorted(connection.id for each in cluster.nodes for connection in each.hub.connections)
    found: list[str] = []
    page = cluster.find(limit=1000)
    while page.after:
        found += [info.id for info in page.connections]
        page = cluster.find(limit=1000, after=page.after)
    assert (found + [info.id for info in page.connections], 0 < len(found) < 60) == (everybody, True)


# Putting somebody out


def test_a_user_is_put_out_on_all_nodes_and_nobody_else_is(cluster: Cluster) -> None:
    adas = [node.person("ada", "lobby") for node in cluster.nodes[1:]]
    bob = cluster.nodes[1].person("bob", "lobby")
    assert cluster.disconnect(user="ada") == Disconnected(2, ())
    assert [codes(ada) for ada in adas] == [[REMOVED], [REMOVED]]
    assert (bob.open, [member.connection for member in bob.room.members]) == (True, [bob])


def test_a_connection_or_a_session_is_put_out_by_its_id(cluster: Cluster) -> None:
    ada, bob, cid = (cluster.nodes[2].person(name, "lobby", session="") for name in ("ada", "bob", "cid"))
    assert bob.session is not None
    assert cluster.disconnect(connection=ada.id).count == cluster.disconnect(session=bob.session.id).count == 1
    assert (codes(ada), codes(bob), codes(cid)) == ([REMOVED], [REMOVED], [])


def test_anonymous_clients_are_not_one_user(cluster: Cluster) -> None:
    guest = cluster.nodes[0].person()
    assert cluster.disconnect(user="ada").count == 0
    assert guest.open


def test_who_is_waited_for_is_put_out_of_the_rooms(cluster: Cluster) -> None:
    node = cluster.nodes[1]
    bob = node.person("bob", "lobby", session="")
    room = bob.room
    node.hub.lost(bob)
    assert cluster.disconnect(user="bob") == Disconnected(0, ())
    node.runtime.settle()
    assert room.count == 0


def test_what_somebody_sent_and_waits_is_not_carried_out(cluster: Cluster) -> None:
    ada = cluster.nodes[0].person("ada")
    ada._working = True
    ran: list[str] = []
    run(ada, (lambda: ran.append("late"), (), None))
    cluster.disconnect(user="ada")
    assert (ran, ada._backlog) == ([], None)


def test_the_code_and_the_reason_can_be_chosen(cluster: Cluster) -> None:
    ada = cluster.nodes[1].person("ada")
    cluster.ask(Disconnect("ada", "", "", 4000, "away with you"))
    cluster.carry()
    assert tape(ada).actions == [(4000, "away with you")]


def test_a_code_that_may_not_be_sent_is_the_callers_mistake(cluster: Cluster) -> None:
    with pytest.raises(LocalError, match="close code 1006"):
        cluster.ask(Disconnect("ada", "", "", 1006, ""))
    assert cluster.nodes[0].broker.said == []


# Nodes that do not answer


def test_who_does_not_answer_in_time_is_named(cluster: Cluster) -> None:
    first, second, third = cluster.nodes
    ada, bob = second.person("ada"), third.person("bob")
    cluster.ask(Find("", "", "", 10))
    cluster.carry(third)
    assert cluster.results == []
    first.tick(round(control.ANSWER_SECONDS / first.hub.tick_seconds) + 1)
    page = page_of(10, *cluster.results[0])
    assert ([info.id for info in page.connections], page.silent) == ([ada.id], (third.broker.node_id,))
    assert bob.open


def test_an_answer_that_comes_too_late_is_forgotten(cluster: Cluster) -> None:
    first, second, _ = cluster.nodes
    cluster.ask(Find("", "", "", 10))
    first.tick(10)
    cluster.carry()
    assert len(cluster.results) == 1
    assert second.broker.said == []


def test_a_node_that_stops_answers_with_what_it_knows(cluster: Cluster) -> None:
    ada = cluster.nodes[0].person("ada")
    cluster.ask(Find("", "", "", 10))
    cluster.nodes[0].hub.close_all()
    ((answers, silent),) = cluster.results
    assert ([info.id for info in answers[0].connections], len(silent)) == ([ada.id], 2)


def test_a_broker_that_does_not_know_the_nodes_is_an_error(cluster: Cluster) -> None:
    cluster.nodes[0].broker.alive = BrokerError("away")
    cluster.ask(Find("", "", "", 10))
    assert str(cluster.results[0][0]) == "away"


def test_questions_that_wait_are_bounded(cluster: Cluster) -> None:
    for _ in range(control.MOST_ASKED):
        cluster.ask(Find("", "", "", 10))
    assert cluster.results == []
    cluster.ask(Find("", "", "", 10))
    assert isinstance(cluster.results[0][0], BrokerError)


# What is no message


def asked(**changed: Any) -> bytes:
    find = {"type": "find", "user": "", "room": "", "after": "", "limit": 10}
    return msgspec.msgpack.encode({"type": "asked", "version": 1, "nonce": "n", "question": find} | changed)


KICK = {"type": "disconnect", "user": "ada", "session": "", "connection": "", "code": 1006, "reason": ""}


@pytest.mark.parametrize(
    "message",
    [
        b"",
        b"\xc1",
        b"\xa2hi",
        b"\x81" * 2000,
        asked()[:-1],
        asked(version=2),
        asked(type="told"),
        asked(nonce=None),
        asked(question={"type": "stop"}),
        asked(question=KICK),
        asked(question=KICK | {"code": 4403, "user": b"\xff"}),
    ],
)
def test_what_is_no_question_of_this_version_is_dropped_and_counted(cluster: Cluster, message: bytes) -> None:
    node = cluster.nodes[1]
    ada = node.person("ada")
    node.hear(message, asked())
    assert (node.hub.counters.control_dropped, len(node.broker.said), ada.open) == (1, 1, True)


def test_an_answer_to_nothing_or_from_a_stranger_changes_nothing(cluster: Cluster) -> None:
    cluster.ask(Disconnect("ada", "", "", REMOVED, ""))
    (question,) = cluster.nodes[0].broker.said
    nonce = msgspec.msgpack.decode(question)["nonce"]
    for who, of in (("stranger", nonce), (cluster.nodes[1].broker.node_id, "other")):
        closed = {"type": "closed", "count": 7}
        answer = {"type": "answered", "version": 1, "nonce": of, "node": who, "answer": closed}
        cluster.nodes[0].hear(msgspec.msgpack.encode(answer))
    cluster.carry()
    assert sum_of(*cluster.results[0]) == Disconnected(0, ())


def test_nobody_can_name_the_room(cluster: Cluster) -> None:
    with pytest.raises(CommandError):
        clean_room(control.ROOM)
