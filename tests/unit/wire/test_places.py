"""wire.places: where a client is in its rooms, as a text and back."""

from __future__ import annotations

from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hubbub.wire.messages import Since
from hubbub.wire.places import LONGEST_EPOCH, format_places, parse_places

EPOCHS = st.text(st.characters(codec="ascii", categories=("L", "N"), include_characters="-"), min_size=1, max_size=36)
PLACES = st.lists(st.none() | st.tuples(EPOCHS, st.integers(0, 10**18 - 1)), min_size=1, max_size=5)


@given(PLACES)
def test_what_is_written_is_read(places: list[tuple[str, int] | None]) -> None:
    read = parse_places(format_places(places), len(places))
    assert read == [None if place is None else Since(*place) for place in places]


def test_no_text_has_no_place() -> None:
    assert parse_places("", 2) == [None, None]


@pytest.mark.parametrize(
    "text",
    [
        *("e", ":5", "e:", "e:-1", "e:1.5", "e:\u0663", "e:" + "9" * 19, "e:5,", ",", "e:1,e:2", "\u00e9:1", "e\n:1"),
        "e" * (LONGEST_EPOCH + 1) + ":1",
    ],
)
def test_any_other_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="place"):
        parse_places(text, 1)


@given(st.text(max_size=200), st.integers(1, 3))
def test_any_text_is_read_or_refused(text: str, rooms: int) -> None:
    with suppress(ValueError):
        assert len(parse_places(text, rooms)) == rooms
