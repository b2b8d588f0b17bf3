"""app: what a node knows of itself, what it tells the others, and what only one of them publishes."""

from __future__ import annotations

import logging
from typing import Any

import msgspec
import pytest

from hubbub import Hubbub, LocalError
from hubbub.hub import control
from tests.unit.fakes import Bench, Said, Wired, heard


class Node(Bench):
    """A node that others hear, with an application of its own."""

    broker: Wired

    def __init__(self) -> None:
        super().__init__(broker=Wired)
        self.app = Hubbub()
        self.heard: list[tuple[str, str]] = []
        self.hub.nodes.open(lambda error: None)

    def listen(self) -> Node:
        @self.app.on_told(Said)
        def hear(node: str, said: Said) -> None:
            self.heard.append((node, said.text))

        return self.serve()

    def serve(self) -> Node:
        self.app.bind(self.hub)
        return self


def introduce(*nodes: Node) -> None:
    for node in nodes:
        node.broker.others = [other.broker for other in nodes if other is not node]


def test_what_a_node_tells_reaches_all_others_and_not_itself() -> None:
    one, two, three = (Node().listen() for _ in range(3))
    introduce(one, two, three)
    one.app.tell(Said("hi"))
    said = [(one.broker.node_id, "hi")]
    assert (one.heard, two.heard, three.heard) == ([], said, said)


class Other(msgspec.Struct, tag="other"):
    text: str


class Untold(msgspec.Struct):
    text: str


@pytest.mark.parametrize("call", [lambda app: app.tell(Untold("hi")), lambda app: app.on_told(Untold)])
def test_what_has_no_tag_cannot_be_told(call: Any) -> None:
    with pytest.raises(LocalError, match="Untold has no tag"):
        call(Node().serve().app)


def test_what_nobody_listens_to_is_passed_over() -> None:
    one, two = Node().listen(), Node().listen()
    introduce(one, two)
    one.app.tell(Other("hi"))
    assert (two.heard, two.hub.counters.control_dropped, two.hub.counters.handlers_failed) == ([], 0, 0)


def test_a_handler_that_fails_is_logged_and_hears_the_next(caplog: pytest.LogCaptureFixture) -> None:
    one, two = Node().serve(), Node()

    @two.app.on_told(Said)
    def hear(node: str, said: Said) -> None:
        two.heard.append((node, said.text))
        raise RuntimeError("a bug")

    introduce(one, two.serve())
    with caplog.at_level(logging.ERROR):
        one.app.tell(Said("a"))
        one.app.tell(Said("b"))
    assert ([text for _, text in two.heard], two.hub.counters.handlers_failed) == (["a", "b"], 2)
    assert one.broker.node_id in caplog.text


def test_what_another_version_tells_in_other_words_is_logged(caplog: pytest.LogCaptureFixture) -> None:
    node = Node().listen()
    told = msgspec.msgpack.encode(control.Told(1, "abc", "said", b"\xc1"))
    node.broker.listener.told(control.ROOM, [told])
    assert (node.heard, node.hub.counters.handlers_failed) == ([], 1)


def test_before_the_others_are_reached_nothing_is_told() -> None:
    one, two = Node().serve(), Node().listen()
    introduce(one, two)
    one.hub.nodes.opened = False
    one.app.tell(Said("hi"))
    assert two.heard == []


def test_an_event_is_told_to_one_handler() -> None:
    node = Node().listen()
    with pytest.raises(LocalError, match="said"):
        node.app.on_told(Said)


def test_of_what_is_published_once_the_first_counts() -> None:
    node = Node().serve()
    (ada,) = node.join("lobby", "ada")
    first = node.app.room("lobby").publish(Said("one"), once=node.app.once("second 7"))
    again = node.app.room("lobby").publish(Said("two"), once=node.app.once("second 7"))
    node.app.room("lobby").publish(Said("three"), once=node.app.once("second 8"))
    node.runtime.settle()
    assert (first.repeated, again.repeated, again.seq) == (False, True, first.seq)
    assert heard(ada) == ["one", "three"]


def test_a_node_s_numbers_are_its_own() -> None:
    node = Node().serve()
    node.join("lobby", "ada", "bob")
    stats = node.app.stats()
    assert (stats.node, stats.connections) == (node.broker.node_id, 2)


@pytest.mark.parametrize("call", [lambda app: app.stats(), lambda app: app.tell(Said("hi"))])
def test_before_it_is_served_an_application_knows_no_node(call: Any) -> None:
    with pytest.raises(LocalError, match="not being served yet"):
        call(Hubbub())
