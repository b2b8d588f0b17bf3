"""hub.others: what other nodes keep, pass on and tell of their members, in the rooms of this node."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from typing import Any

import pytest

from hubbub.brokers.memory import MemoryBroker
from hubbub.codes import REPLACED, TRY_AGAIN_LATER, UNAUTHENTICATED
from hubbub.config import Config, Rooms
from hubbub.errors import BrokerError
from hubbub.hub import revocations
from hubbub.hub.connection import Connection
from hubbub.hub.identity import Identity
from hubbub.hub.ports import Entry, Listener, Position, Present
from hubbub.hub.publication import CONFIRM
from tests.unit.fakes import Bench, Said, heard, tape


class Shared(MemoryBroker):
    """A log that others use too: a test says what they do, and sees what they are told."""

    shared = True
    listener: Listener

    def __init__(self, *args: Any) -> None:
        super().__init__(*args)
        self.tellings: list[tuple[str, list[bytes]]] = []
        self.comings: list[tuple[list[str], list[str]]] = []

    def listen(self, listener: Listener) -> None:
        self.listener = listener

    def tell(self, room: str, payloads: Sequence[bytes]) -> None:
        self.tellings.append((room, list(payloads)))

    def come(self, room: str, entered: Sequence[Present], left: Sequence[str]) -> None:
        self.comings.append(([present.username for present in entered], list(left)))


class Node(Bench):
    """One of several nodes."""

    broker: Shared

    def __init__(self, config: Config | None = None) -> None:
        super().__init__(config, broker=Shared)
        self.others = self.broker.listener

    def keep(self, *texts: str) -> None:
        """Another node has kept these in the lobby."""
        room = self.hub.room("lobby")
        entries = [Entry(room.head + index, 1, said(text)) for index, text in enumerate(texts, 1)]
        self.broker._used["lobby"].ring.extend(1, [entry.payload for entry in entries], ())
        self.others.arrived("lobby", entries)

    def come(self, *names: str, node: str = "b", quiet: bool = False, since: int = 1) -> None:
        self.others.came("lobby", node, [Present(name, name, since, quiet) for name in names], ())

    def go(self, *names: str, node: str = "b") -> None:
        self.others.came("lobby", node, (), names)


def said(text: str) -> bytes:
    return json.dumps({"type": "said", "text": text}).encode()


@pytest.fixture
def node() -> Node:
    return Node()


def codes(connection: Connection) -> list[int]:
    """The codes that a connection was closed with."""
    return [action[0] for action in tape(connection).actions if isinstance(action, tuple)]


def counts(connection: Connection) -> list[tuple[str, str, int]]:
    """The comings and goings that a connection was told of."""
    events = [event for event in tape(connection).events if "memberCount" in event]
    return [(event["type"], event.get("username", ""), event["memberCount"]) for event in events]


def test_what_others_keep_is_delivered_in_its_place(node: Node) -> None:
    ada, _ = node.join("lobby", "ada", "bob")
    ada.room.publish(Said("one"))
    node.runtime.turn()
    node.keep("two", "three")
    ada.room.publish(Said("four"))
    node.runtime.turn()
    assert [(event["seq"], event["text"], event["room"]) for event in tape(ada).events] == [
        (1, "one", "lobby"),
        (2, "two", "lobby"),
        (3, "three", "lobby"),
        (4, "four", "lobby"),
    ]


def test_who_is_behind_reads_what_others_have_kept(node: Node) -> None:
    (ada,) = node.join("lobby", "ada")
    node.hub.writing_paused(ada)
    node.keep("one")
    assert heard(ada) == []
    node.hub.writing_resumed(ada)
    node.runtime.settle()
    assert heard(ada) == ["one", "member_count"]


def test_what_others_pass_on_is_delivered_and_not_kept(node: Node) -> None:
    (ada,) = node.join("lobby", "ada")
    node.others.told("lobby", [b"\0" + said("hi"), b"\2\x01\x02"])
    event, raw = tape(ada).events
    assert (event, raw, ada.room.head) == ({"type": "said", "text": "hi", "room": "lobby"}, b"\x01\x02", 0)


@pytest.mark.parametrize("kept", [True, False])
def test_who_says_something_on_another_node_came_before(node: Node, kept: bool) -> None:
    (ada,) = node.join("lobby", "ada")
    node.come("bob")
    if kept:
        node.keep("hi")
    else:
        node.others.told("lobby", [b"\0" + said("hi")])
    node.runtime.settle()
    assert heard(ada) == ["user_joined", "hi"]


def test_others_are_told_what_is_not_kept_but_not_who_comes_and_goes(node: Node) -> None:
    ada, bob = node.join("lobby", "ada", "bob")
    ada.room.publish(Said("hi"), keep=False)
    ada.room.publish(Said("kept"))
    node.hub.leave(bob, "lobby")
    node.runtime.settle()
    assert [(room, [json.loads(payload[1:])["text"] for payload in told]) for room, told in node.broker.tellings] == [
        ("lobby", ["hi"])
    ]


def test_nothing_is_delivered_in_a_room_that_is_not_open(node: Node) -> None:
    node.others.arrived("lobby", [Entry(1, 1, said("hi"))])
    node.others.told("lobby", [b"\0" + said("hi")])
    node.others.moved("lobby", Position("other", 5))
    node.others.came("lobby", "b", [Present("bob", "bob", 1, False)], ())
    assert (node.hub.room("lobby").head, node.hub.room("lobby").count) == (0, 0)


# A log that goes on elsewhere


def test_who_is_at_the_end_is_told_of_a_gap(node: Node) -> None:
    (ada,) = node.join("lobby", "ada")
    node.others.moved("lobby", Position(ada.room.epoch, 7))
    node.others.arrived("lobby", [Entry(8, 1, said("hi"))])
    gap, event = tape(ada).events
    assert (gap, event["seq"]) == ({"type": "gap", "room": "lobby", "epoch": "epoch", "seq": 7}, 8)


def test_a_new_epoch_is_a_gap_for_who_is_at_the_end_and_a_loss_for_who_is_not(node: Node) -> None:
    ada, bob = node.join("lobby", "ada", "bob")
    node.hub.writing_paused(bob)
    node.others.moved("lobby", Position("other", 0))
    assert tape(ada).events[0] == {"type": "gap", "room": "lobby", "epoch": "other", "seq": 0}
    assert (bob.open, codes(bob)) == (False, [TRY_AGAIN_LATER])
    assert ada.room.epoch == "other"


# Who is there


def test_everybody_counts_wherever_they_are(node: Node) -> None:
    (ada,) = node.join("lobby", "ada")
    node.come("bob", "cid")
    node.go("bob")
    node.runtime.settle()
    assert counts(ada) == [("user_joined", "bob", 2), ("user_joined", "cid", 3), ("user_left", "bob", 2)]
    assert (ada.room.count, sorted(ada.room.usernames(0, 9))) == (2, ["ada", "cid"])


def test_members_are_in_the_order_of_coming_on_every_node(node: Node) -> None:
    node.runtime.now = 5.0
    (ada,) = node.join("lobby", "ada")
    node.others.came("lobby", "b", [Present("b", "bob", 6000, False), Present("c", "cid", 4000, False)], ())
    assert ada.room.usernames(0, 9) == ["cid", "ada", "bob"]
    assert ada.room.usernames(1, 1) == ["ada"]


def test_others_are_told_who_comes_and_goes(node: Node) -> None:
    ada, _ = node.join("lobby", "ada", "bob")
    node.hub.leave(ada, "lobby")
    assert node.broker.comings == [(["ada"], []), (["bob"], []), ([], [ada.id])]


def test_who_is_not_announced_is_counted_in_silence(node: Node) -> None:
    (ada,) = node.join("lobby", "ada")
    node.come("ghost", quiet=True)
    node.go("ghost")
    node.runtime.settle()
    assert counts(ada) == []


def test_who_is_gone_from_a_list_of_all_has_left(node: Node) -> None:
    (ada,) = node.join("lobby", "ada")
    node.come("bob", "cid")
    node.come("dot", node="c")
    node.others.everybody("lobby", {"b": [Present("cid", "cid", 1, False), Present("eve", "eve", 1, False)]})
    node.runtime.settle()
    assert counts(ada)[3:] == [("user_left", "bob", 3), ("user_left", "dot", 2), ("user_joined", "eve", 3)]


def test_who_is_on_another_node_in_a_list_of_all_has_moved_and_neither_left_nor_come(node: Node) -> None:
    (ada,) = node.join("lobby", "ada")
    node.come("bob", node="b")
    node.runtime.settle()
    before = counts(ada)
    node.others.everybody("lobby", {"c": [Present("bob", "bob", 1, False)]})
    node.runtime.settle()
    assert (counts(ada), ada.room.count) == (before, 2)


def test_who_is_on_two_nodes_is_one_member_until_gone_from_both(node: Node) -> None:
    (ada,) = node.join("lobby", "ada")
    node.come("bob", node="b")
    node.come("bob", node="c")
    node.go("bob", node="b")
    node.runtime.settle()
    assert counts(ada) == [("user_joined", "bob", 2)]
    node.go("bob", node="c")
    node.runtime.settle()
    assert counts(ada)[1:] == [("user_left", "bob", 1)]


def test_nobody_is_remembered_of_a_room_that_was_closed(node: Node) -> None:
    (ada,) = node.join("lobby", "ada")
    room = ada.room
    node.come("bob")
    node.hub.lost(ada)
    node.runtime.settle()
    assert (room.epoch, room.count) == ("", 0)


# Receipts


def test_who_never_acknowledged_is_stored_before_others_confirmed_events_reach_it(node: Node) -> None:
    node.join("lobby", "ada")
    bob = node.connect("")
    member = node.hub.join(bob, "lobby", "bob")
    node.keep("plain")
    stored: list[int | BrokerError | None] = []
    node.broker.acknowledged("lobby", member.key, stored.append)
    node.others.arrived("lobby", [Entry(2, 1, said("news")[:-1] + CONFIRM)])
    node.broker.acknowledged("lobby", member.key, stored.append)
    assert stored == [None, 0]


# Sessions


def test_a_lost_session_that_comes_to_another_node_does_not_leave(node: Node) -> None:
    (ada,) = node.join("lobby", "ada")
    bob = node.connect("")
    node.hub.join(bob, "lobby", "bob")
    node.hub.lost(bob)
    node.runtime.settle()
    assert bob.session is not None
    node.come(bob.session.id, since=node.runtime.unix_ms() + 1)
    node.tick(20)
    node.runtime.settle()
    assert [kind for kind, _, _ in counts(ada)] == ["user_joined"]
    assert (ada.room.count, len(ada.room.members)) == (2, 1)


def test_a_session_that_is_connected_here_is_replaced_from_another_node(node: Node) -> None:
    bob = node.connect("")
    node.hub.join(bob, "lobby", "bob")
    assert bob.session is not None
    node.come(bob.session.id, since=node.runtime.unix_ms() + 1)
    assert (bob.open, codes(bob)) == (False, [REPLACED])
    assert node.broker.comings[-1] == ([], [bob.session.id])


def test_of_a_session_that_comes_to_two_nodes_at_once_one_connection_stays(node: Node) -> None:
    bob = node.connect("")
    member = node.hub.join(bob, "lobby", "bob")
    node.come(member.id, since=member.since - 1)
    assert bob.open  # the other node hears of a later coming, and gives way
    node.broker.node_id = "b" * 12
    node.come(member.id, since=member.since, node="a" * 32)
    assert bob.open
    node.come(member.id, since=member.since, node="c" * 32)
    assert codes(bob) == [REPLACED]


def test_a_session_that_its_last_node_has_not_let_go_yet_is_not_replaced_by_it(node: Node) -> None:
    bob = node.connect("")
    member = node.hub.join(bob, "lobby", "bob")
    left_behind = Present(member.id, "bob", member.since + 1, False)  # a clock that is ahead
    node.others.everybody("lobby", {"b": [left_behind]})
    assert (bob.open, member.room.count) == (True, 1)


def test_who_has_a_session_does_not_leave_when_a_node_ends_at_once(node: Node) -> None:
    bob = node.connect("")
    node.hub.join(bob, "lobby", "bob")
    ada = node.connect()
    node.hub.join(ada, "lobby", "ada")
    left = node.broker.comings.copy()
    node.hub.close_all()
    assert node.broker.comings[len(left) :] == [([], [ada.id])]


# One member for each user


@pytest.fixture
def by_user() -> Callable[[str], Connection]:
    node = Node(Config(rooms=Rooms(member_per="user")))

    def join(user: str) -> Connection:
        connection = node.connect()
        connection.identity = Identity(user=user, name=user)
        node.hub.join(connection, "lobby", user)
        node.runtime.settle()
        connection.data["node"] = node
        return connection

    return join


def test_the_tabs_of_a_user_are_one_member(by_user: Callable[[str], Connection]) -> None:
    ada = by_user("ada")
    first, second = by_user("bob"), by_user("bob")
    assert (counts(ada), ada.room.count, ada.room.usernames(0, 9)) == ([("user_joined", "bob", 2)], 2, ["ada", "bob"])
    node: Node = ada.data["node"]  # type: ignore[assignment]
    node.hub.lost(first)
    node.runtime.settle()
    assert len(counts(ada)) == 1
    node.hub.lost(second)
    node.runtime.settle()
    assert counts(ada)[1:] == [("user_left", "bob", 1)]
    assert node.broker.comings[-1] == ([], ["user:bob"])


# Revocations


def test_what_others_revoke_counts_here_at_once(node: Node) -> None:
    node.hub.standing.revocations.load(lambda error: None)
    ada = node.connect()
    ada.identity = Identity(user="ada", name="ada")
    revoked = {"type": "revoked", "kind": "user", "subject": "ada", "at": 2000.0}
    node.others.arrived(revocations.ROOM, [Entry(1, 1, json.dumps(revoked).encode())])
    assert codes(ada) == [UNAUTHENTICATED]
