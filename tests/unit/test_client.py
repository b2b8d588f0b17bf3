"""client: when to come back, where to connect, what to show."""

from __future__ import annotations

from typing import Any

import pytest

from hubbub.client import Closed, describe, reconnect_delay, restart_delay, socket_url
from hubbub.errors import ConfigError

# Reconnecting


def test_the_wait_doubles_from_one_second_to_thirty() -> None:
    waits = [reconnect_delay(attempt, 0.0) for attempt in range(7)]
    assert waits == [1, 2, 4, 8, 16, 30, 30]


def test_up_to_thirty_per_cent_are_added() -> None:
    assert reconnect_delay(0, 1.0) == pytest.approx(1.3)
    assert reconnect_delay(99, 0.5) == pytest.approx(34.5)


def test_however_often_it_failed_there_is_a_next_try() -> None:
    assert reconnect_delay(10**6, 0.0) == 30


@pytest.mark.parametrize(
    ("code", "reason", "attempt", "told", "seconds"),
    [
        (1012, "after=500", 0, None, 0.5),
        (1012, "after=500", 3, None, 8.0),
        (1012, "after=60000", 3, None, 60.0),
        (1012, "after=0", 0, 9.0, 0.0),
        (1012, "soon", 0, None, 1.0),
        (1011, "after=500", 0, None, 1.0),
        (1006, "", 0, None, 1.0),
        (1006, "", 0, 0.25, 0.25),
        (1011, "", 0, 0.25, 1.0),
    ],
)
def test_a_server_that_restarts_says_when_to_come_back(
    code: int, reason: str, attempt: int, told: float | None, seconds: float
) -> None:
    assert restart_delay(Closed(code, reason), attempt, 0.0, told) == seconds
    assert restart_delay(Closed(code, reason), attempt, 1.0, told) == pytest.approx(seconds * 1.3)


# URLs


@pytest.mark.parametrize(
    ("typed", "url"),
    [
        ("localhost", "ws://localhost/ws"),
        ("localhost:8080", "ws://localhost:8080/ws"),
        ("http://localhost:8080", "ws://localhost:8080/ws"),
        ("https://chat.example/", "wss://chat.example/ws"),
        ("ws://h/other", "ws://h/other"),
        ("wss://h/a/b?token=x", "wss://h/a/b?token=x"),
        ("ws://h?token=x", "ws://h/ws?token=x"),
        ("ws://h/ws#top", "ws://h/ws"),
        ("[::1]:8080", "ws://[::1]:8080/ws"),
        ("WS://H", "ws://H/ws"),
    ],
)
def test_what_people_type_becomes_a_url(typed: str, url: str) -> None:
    assert socket_url(typed) == url


@pytest.mark.parametrize(
    "typed",
    [
        "",
        "ws://",
        "ftp://h",
        "ws://:8080",
        "ws://h:http",
        "ws://h:99999",
        "ws://h:0",
        "ws://[::1",
        "ws://h/a b",
        "ws://h/é",
        "ws://exämple",
        "ws://h/\x7f",
    ],
)
def test_what_is_no_url_is_refused_by_name(typed: str) -> None:
    with pytest.raises(ConfigError) as caught:
        socket_url(typed)
    assert repr(typed) in str(caught.value)


# Lines


@pytest.mark.parametrize(
    ("event", "line"),
    [
        ({"type": "message", "username": "ada", "text": "hi", "seq": 5}, "ada: hi"),
        ({"type": "room_info", "room": "lobby", "count": 2, "members": ["a", "b"]}, "* lobby: 2 here: a, b"),
        ({"type": "user_joined", "username": "ada", "memberCount": 2}, "* ada joined (2 here)"),
        ({"type": "user_left", "username": "ada", "memberCount": 1}, "* ada left (1 here)"),
        ({"type": "error", "message": "Slower"}, "! Slower"),
        ({"type": "warning", "message": "Slower"}, "! Slower"),
    ],
)
def test_an_event_is_a_line(event: dict[str, Any], line: str) -> None:
    assert describe(event) == line


@pytest.mark.parametrize("event", [{}, {"type": "typing", "username": "ada"}, {"type": "message"}, {"type": "new"}])
def test_what_is_not_known_is_not_shown(event: dict[str, Any]) -> None:
    assert describe(event) is None


@pytest.mark.parametrize("character", ["\x1b", "\n", "\r", "\x07", "\x9b", "\u202e", "\u2028"])
def test_control_characters_do_not_reach_the_terminal(character: str) -> None:
    assert describe({"type": "message", "username": "eve", "text": f"a{character}b"}) == "eve: a�b"


def test_letters_of_all_scripts_do() -> None:
    assert describe({"type": "message", "username": "ада", "text": "日本語 👋"}) == "ада: 日本語 👋"
