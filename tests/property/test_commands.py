"""hub.dispatch: whatever a client sends, it is answered, and nothing is raised."""

from __future__ import annotations

import json

import msgspec
from hypothesis import given
from hypothesis import strategies as st

from hubbub import Hubbub
from hubbub.hub.hub import Hub
from hubbub.hub.ports import Endpoint
from hubbub.wire.websocket import BINARY, TEXT
from tests.unit.fakes import Bench, tape


def values(integers: st.SearchStrategy[int]) -> st.SearchStrategy[object]:
    return st.recursive(
        st.none() | st.booleans() | integers | st.floats(allow_nan=False, allow_infinity=False) | st.text(max_size=20),
        lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
        max_leaves=6,
    )


def commands(integers: st.SearchStrategy[int]) -> st.SearchStrategy[dict[str, object]]:
    """Objects that look like commands, more or less."""
    anything = values(integers)
    types = st.sampled_from(["join", "leave", "ping", "presence", "dance"])
    optional = dict.fromkeys(("room", "username", "keep", "offset", "limit", "extra"), anything)
    return st.fixed_dictionaries(
        {}, optional={**optional, "type": types | anything, "id": integers | st.text(max_size=70) | anything}
    )


integers_of_msgpack = st.integers(-(2**63), 2**64 - 1)


def endpoint(hub: Hub, *, msgpack: bool) -> Endpoint:
    (route,) = Hubbub().bind(hub)
    return route.endpoints["hubbub.v1.msgpack" if msgpack else None]


def answers(payload: bytes, *, msgpack: bool = False) -> list[tuple[str, str | None]]:
    """Type and code of every event that the bytes are answered with."""
    bench = Bench(endpoint=lambda hub: endpoint(hub, msgpack=msgpack))
    connection = bench.connect()
    tape(connection).forget()
    bench.hub.receive(connection, BINARY if msgpack else TEXT, payload)
    bench.runtime.settle()
    return [(event["type"], event.get("code")) for event in tape(connection).events]


def has_answerable_id(command: dict[str, object]) -> bool:
    id = command.get("id")
    return (isinstance(id, str) and len(id) <= 64) or (type(id) is int and -(2**63) <= id < 2**64)


@given(st.binary(max_size=200), st.booleans())
def test_any_bytes_have_at_most_one_answer(payload: bytes, msgpack: bool) -> None:
    assert len(answers(payload, msgpack=msgpack)) <= 1


@given(commands(st.integers()))
def test_any_object_with_an_id_has_exactly_one_answer(command: dict[str, object]) -> None:
    expected = 1 if has_answerable_id(command) else None
    assert expected in (None, len(answers(json.dumps(command).encode())))


@given(commands(integers_of_msgpack))
def test_both_encodings_are_answered_alike(command: dict[str, object]) -> None:
    assert answers(msgspec.msgpack.encode(command), msgpack=True) == answers(msgspec.json.encode(command))
