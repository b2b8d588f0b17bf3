"""terminal: what is shown of an event."""

from __future__ import annotations

import pytest

from hubbub.client import Event
from hubbub.terminal import describe


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
def test_an_event_is_a_line(event: Event, line: str) -> None:
    assert describe(event) == line


@pytest.mark.parametrize("event", [{}, {"type": "typing", "username": "ada"}, {"type": "message"}, {"type": "new"}])
def test_what_is_not_known_is_not_shown(event: Event) -> None:
    assert describe(event) is None


@pytest.mark.parametrize("character", ["\x1b", "\n", "\r", "\x07", "\x9b", "\u202e", "\u2028"])
def test_control_characters_do_not_reach_the_terminal(character: str) -> None:
    assert describe({"type": "message", "username": "eve", "text": f"a{character}b"}) == "eve: a�b"


def test_letters_of_all_scripts_do() -> None:
    assert describe({"type": "message", "username": "ада", "text": "日本語 👋"}) == "ада: 日本語 👋"
