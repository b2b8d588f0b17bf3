"""Every target holds for what it begins with, and for every input that it once failed for."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.fuzz import frames, handshake, messages
from tests.fuzz.targets import Target

REGRESSIONS = Path(__file__).parent / "regressions"
TARGETS: dict[str, Target] = {"frames": frames, "handshake": handshake, "messages": messages}


def regressions() -> Iterator[tuple[str, Path]]:
    for name in TARGETS:
        yield from ((name, file) for file in sorted((REGRESSIONS / name).glob("*")))


@pytest.mark.parametrize("name", TARGETS)
def test_what_a_target_begins_with_breaks_no_promise(name: str) -> None:
    seeds = [*TARGETS[name].seeds()]
    assert len(seeds) > 50
    for seed in seeds:
        TARGETS[name].target(seed)


@pytest.mark.parametrize(("name", "file"), [*regressions()], ids=lambda it: it.name if isinstance(it, Path) else it)
def test_what_was_found_once_is_mended(name: str, file: Path) -> None:
    TARGETS[name].target(file.read_bytes())


@pytest.mark.parametrize("name", TARGETS)
@pytest.mark.parametrize("data", [b"", b"\0", b"\2\0", b"\xff\xff\xff"])
def test_any_input_is_one(name: str, data: bytes) -> None:
    TARGETS[name].target(data)
