"""transports.metrics: every figure says what it is."""

from __future__ import annotations

from dataclasses import fields

from hubbub.hub.counters import Counters
from hubbub.transports.metrics import HELP


def test_each_counter_has_its_words() -> None:
    assert HELP.keys() == {item.name for item in fields(Counters)} - {"refused"}
