"""hub.limits: rates that are exact, and names as the protocol has them."""

from __future__ import annotations

import pytest

from hubbub.errors import CommandError
from hubbub.hub.limits import REFUSED, RateLimit, clean_room, clean_username

NOW = 1000.0


def taken(limit: RateLimit, now: float = NOW) -> int:
    """How many tokens a full bucket gives at once."""
    full_at, count = 0.0, 0
    while (next_full_at := limit.take(full_at, now)) != REFUSED:
        full_at, count = next_full_at, count + 1
    return count


def emptied(limit: RateLimit, now: float = NOW) -> float:
    full_at = 0.0
    while (next_full_at := limit.take(full_at, now)) != REFUSED:
        full_at = next_full_at
    return full_at


@pytest.mark.parametrize(("rate", "burst"), [(10.0, 20), (10.0, 1), (3.0, 7), (0.1, 5), (1000.0, 100)])
@pytest.mark.parametrize("now", [0.0, NOW, 12345.678])
def test_a_full_bucket_gives_exactly_its_burst(rate: float, burst: int, now: float) -> None:
    assert taken(RateLimit(rate, burst), now) == burst


def test_a_token_comes_back_with_the_rate() -> None:
    limit = RateLimit(10, 5)
    full_at = emptied(limit)
    assert limit.take(full_at, NOW + 0.09) == REFUSED
    assert limit.take(full_at, NOW + 0.11) != REFUSED


def test_a_bucket_that_rested_is_full_and_no_more() -> None:
    limit = RateLimit(10, 5)
    assert emptied(limit, NOW + 3600) - emptied(limit) == pytest.approx(3600)


def test_no_rate_is_no_limit() -> None:
    limit, full_at = RateLimit(0, 1), 0.0
    for _ in range(1000):
        full_at = limit.take(full_at, NOW)
        assert full_at != REFUSED


def test_the_wait_is_until_the_next_token() -> None:
    limit = RateLimit(10, 5)
    assert round(limit.wait(emptied(limit), NOW), 3) == 0.1
    assert round(limit.wait(emptied(limit), NOW + 0.04), 3) == 0.06


def test_there_is_no_wait_while_there_are_tokens() -> None:
    assert RateLimit(10, 5).wait(0.0, NOW) == 0.0


# Names


@pytest.mark.parametrize("clean", [clean_room, clean_username])
def test_a_name_is_trimmed(clean: type[str]) -> None:
    assert clean("\t ada lovelace\n") == "ada lovelace"


def test_a_room_is_cut_to_50_characters() -> None:
    assert clean_room("é" * 60) == "é" * 50


def test_a_username_is_cut_to_30_characters() -> None:
    assert clean_username("a" * 31) == "a" * 30


def test_a_name_is_trimmed_before_it_is_cut() -> None:
    assert clean_username(" " * 30 + "ada") == "ada"


@pytest.mark.parametrize("text", ["", " ", "\n\t"])
def test_a_name_may_be_empty(text: str) -> None:
    assert clean_room(text) == clean_username(text) == ""


def test_names_that_look_the_same_are_the_same() -> None:
    assert clean_room("cafe\u0301") == clean_room("caf\u00e9") == "caf\u00e9"


@pytest.mark.parametrize("text", ["a b", "a/b", "@ada", "日本", "👩‍👩‍👧", "<b>", "a\u00a0b", "O'Neill"])
def test_most_characters_may_stand_in_names(text: str) -> None:
    assert clean_room(text) == clean_username(text) == text


@pytest.mark.parametrize("character", ["\0", "\x1b", "\x7f", "\x85", "\r", "\u202e", "\u2066", "\ud800"])
def test_control_and_override_characters_must_not(character: str) -> None:
    for clean in (clean_room, clean_username):
        with pytest.raises(CommandError, match="Names must not hold") as caught:
            clean(f"a{character}b")
        assert caught.value.code == "invalid_name"


@pytest.mark.parametrize("character", "*{}")
def test_separators_must_not_stand_in_rooms(character: str) -> None:
    assert clean_username(character) == character
    with pytest.raises(CommandError, match="Names must not hold"):
        clean_room(character)


def test_what_is_cut_off_does_not_matter() -> None:
    assert clean_room("a" * 50 + "\0") == "a" * 50


@pytest.mark.parametrize("mark", ["\u200e", "\u200f", "\u061c", "\u202e", "\u2066", "\u2028", "\u2029", "\x85"])
def test_marks_that_cannot_be_seen_are_in_no_name(mark: str) -> None:
    for clean in (clean_room, clean_username):
        with pytest.raises(CommandError):
            clean(f"ann{mark}b")


def test_a_name_that_is_cut_ends_in_no_white_space_and_stays_as_it_is() -> None:
    assert clean_room("a" * 49 + " b") == clean_room(clean_room("a" * 49 + " b")) == "a" * 49
