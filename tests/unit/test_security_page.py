"""SECURITY.md names a test for every threat, and each of those is there; no row of the hostile tests is left out."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent.parent
PAGE = (ROOT / "SECURITY.md").read_text()
HEAD = "| threat | what stops it | the test |"
NAMED = re.compile(r"`(tests/[\w/]+\.py)::(test_\w+)`")
ROW = re.compile(r"rows?_(\d\d)(?:_(and|to)_(\d\d))?")


def threats(page: str) -> list[str]:
    """The rows of the tables of threats."""
    tables = [part.split("\n\n", 1)[0] for part in page.split(HEAD)[1:]]
    return [line for table in tables for line in table.split("\n")[2:] if line]


def names_in(file: Path) -> set[str]:
    """The names of the tests of a file, those in classes too; empty where there is no such file."""
    if not file.exists():
        return set()
    nodes = ast.walk(ast.parse(file.read_text()))
    return {
        node.name
        for node in nodes
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and node.name.startswith("test_")
    }


def rows_of(name: str) -> Iterator[int]:
    """The rows that a test is for."""
    for first, between, last in ROW.findall(name):
        yield from range(int(first), int(last) + 1) if between == "to" else (int(first), int(last or first))


def without_tests(page: str) -> list[str]:
    """Threats that nothing proves to be stopped."""
    return [row for row in threats(page) if row.count(" | ") != 2 or not NAMED.search(row.rpartition(" | ")[2])]


def not_there(page: str) -> list[str]:
    """Tests that the page names and nobody has written."""
    return [f"{file}::{name}" for file, name in NAMED.findall(page) if name not in names_in(ROOT / file)]


def test_every_threat_names_a_test() -> None:
    assert len(threats(PAGE)) > 50
    assert without_tests(PAGE) == []


def test_every_test_that_is_named_is_there() -> None:
    assert not_there(PAGE) == []


@pytest.mark.parametrize(
    "file", sorted((ROOT / "tests" / "hostile").glob("test_*.py")), ids=lambda file: str(file.stem)
)
def test_every_row_of_the_hostile_tests_is_on_the_page(file: Path) -> None:
    named = {row for _, name in NAMED.findall(PAGE) for row in rows_of(name)}
    assert {row for name in names_in(file) for row in rows_of(name)} <= named


# The test's own eyes


@pytest.mark.parametrize("proof", ["", "none", "`tests/unit`", "`test_it`"])
def test_a_threat_without_a_test_is_seen(proof: str) -> None:
    assert without_tests(f"{HEAD}\n|---|---|---|\n| a flood | a limit | {proof} |\n\nMore") != []


@pytest.mark.parametrize("name", ["tests/unit/test_security_page.py::test_that_is_not", "tests/no.py::test_it"])
def test_a_test_that_is_not_there_is_seen(name: str) -> None:
    assert not_there(f"{HEAD}\n|---|---|---|\n| a flood | a limit | `{name}` |") == [name]


def test_the_rows_of_a_test_are_read_from_its_name() -> None:
    assert set(rows_of("test_rows_06_to_09_are_said")) == {6, 7, 8, 9}
    assert set(rows_of("test_rows_25_and_28_are_1009")) == {25, 28}
    assert set(rows_of("test_row_13_is_1002")) == {13}
