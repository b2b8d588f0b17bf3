"""hubbub: the names that applications may rely on; a change here is a change for every user."""

from __future__ import annotations

import inspect

import pytest

import hubbub

NAMES = [
    "BrokerError",
    "Command",
    "CommandError",
    "Config",
    "ConfigError",
    "Connection",
    "ConnectionInfo",
    "ConnectionPage",
    "Credentials",
    "Disconnected",
    "Event",
    "Grants",
    "HandshakeError",
    "Hubbub",
    "HubbubError",
    "Identity",
    "LocalError",
    "Member",
    "MessageId",
    "PeerError",
    "Publication",
    "Room",
    "RoomPolicy",
    "Stats",
]
METHODS = {
    "Hubbub": [
        *("allow_publish", "asgi", "authenticate", "authorize", "bind", "build_asgi", "connections", "disconnect"),
        *("every", "include", "mount", "on", "on_ack", "on_connect", "on_disconnect", "on_told", "once", "own"),
        *("revoke", "room", "rooms", "stats", "tell", "websocket"),
    ],
    "Connection": ["allows", "close", "join", "leave", "member", "new_id", "now_ms", "once", "send"],
    "Publication": ["failed", "kept", "when_settled"],
}
PROPERTIES = {
    "Connection": ["announced", "correlation_id", "data", "device", "key", "lasting", "path", "room", "rooms"],
    "Room": ["count", "unsettled"],
}


def test_the_public_names_are_these() -> None:
    assert hubbub.__all__ == NAMES


def test_nothing_else_is_there_but_rooms_of_the_house() -> None:
    public = {name for name, value in vars(hubbub).items() if not name.startswith("_") and not inspect.ismodule(value)}
    assert public == set(NAMES)


@pytest.mark.parametrize("name", NAMES)
def test_every_public_name_says_what_it_is(name: str) -> None:
    assert inspect.getdoc(getattr(hubbub, name))


@pytest.mark.parametrize("name", METHODS)
def test_the_public_methods_are_these(name: str) -> None:
    kind = getattr(hubbub, name)
    assert [key for key, _ in inspect.getmembers(kind, inspect.isroutine) if not key.startswith("_")] == METHODS[name]


@pytest.mark.parametrize("name", PROPERTIES)
def test_the_public_properties_are_these(name: str) -> None:
    found = inspect.getmembers(getattr(hubbub, name), lambda value: isinstance(value, property))
    assert [key for key, _ in found] == PROPERTIES[name]


def test_a_publication_can_be_waited_for() -> None:
    assert "seq" in dir(hubbub.Publication)


def test_the_version_has_three_numbers() -> None:
    assert [part.isdecimal() for part in hubbub.__version__.split(".")] == [True] * 3
