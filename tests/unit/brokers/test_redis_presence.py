"""brokers.redis_presence: what is heard while a room is read comes behind what was read, and nothing is read twice."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, cast

import pytest

from hubbub.brokers import redis_bus as bus
from hubbub.brokers.redis_link import Call, Link
from hubbub.brokers.redis_presence import MAX_MEANWHILE, STEADY_SECONDS, Presence
from hubbub.brokers.redis_room import Room
from hubbub.hub.ports import Present, Retention

OWN, OTHER = b"o" * 16, b"t" * 16


class World:
    """A presence, what it asks of Redis, and what it tells of the lobby."""

    def __init__(self) -> None:
        self.calls: list[Call] = []
        self.told: list[str] = []
        self.now = 0.0
        self.presence = Presence(OWN, "p:", b"PUBLISH", lambda key: cast(Link, self), lambda: self.now, 1.0)
        self.now += STEADY_SECONDS
        self.presence.listener = cast(Any, self)
        self.room = Room("lobby", Retention(0, 0, 0), b"bus", [b"p:{lobby}:meta"])
        self.presence.ask(self.room)

    def call(self, call: Call) -> None:
        self.calls.append(call)

    def came(self, room: str, node: str, entered: Sequence[Present], left: Sequence[str]) -> None:
        self.told += [f"+{present.id}" for present in entered] + [f"-{id}" for id in left]

    def everybody(self, room: str, others: Mapping[str, Sequence[Present]]) -> None:
        self.told.append(" ".join(present.id for presents in others.values() for present in presents))

    def hear(self, number: int, *entered: str, left: Sequence[str] = ()) -> None:
        whole = bus.write_came(OTHER, [Present(id, id, 1, False) for id in entered], left)
        head, body = whole[: bus.HEADER.size], whole[bus.HEADER.size :]
        self.presence.heard(self.room, bus.unwrap(head + bus.NUMBER.pack(number) + body))

    def answer(self, number: int, *there: str) -> None:
        """What was read last holds these, as of a change."""
        done = self.calls.pop().done
        assert done is not None
        done([number, [part for id in there for part in (OTHER + id.encode(), b"1 0 " + id.encode())]])


@pytest.fixture
def world() -> World:
    return World()


def test_what_is_heard_while_a_room_is_read_is_told_behind_it(world: World) -> None:
    world.hear(4, "ada")
    world.hear(5, "bob")
    world.hear(6, left=["ada"])
    world.answer(4, "ada")
    assert (world.told, world.calls) == (["ada", "+bob", "-ada"], [])


def test_a_room_is_read_again_where_something_was_not_heard(world: World) -> None:
    world.hear(6, "cid")
    world.hear(7, "dot")
    world.answer(4, "ada")
    assert (world.told, len(world.calls)) == (["ada"], 1)
    world.answer(7, "ada", "cid", "dot")
    assert (world.told, world.calls) == (["ada", "ada cid dot"], [])


def test_what_is_held_while_a_room_is_read_is_bounded(world: World) -> None:
    for number in range(1, MAX_MEANWHILE + 2):
        world.hear(number, "ada")
    world.answer(0)
    assert (len(world.told), len(world.calls)) == (1 + MAX_MEANWHILE, 1)
