"""The import table of ARCHITECTURE.md, enforced: who may import whom. Imports for typing and inside functions count."""

from __future__ import annotations

import ast
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import hubbub

ROOT = Path(__file__).parent.parent.parent
SOURCE = ROOT / "src" / "hubbub"

# A room of the house, and what of ours it may import: rooms, or single modules of a room.
TABLE: dict[str, set[str]] = {
    "errors": set(),
    "codes": set(),
    "config": {"errors"},
    "wire": {"errors", "codes", "wire"},
    "hub": {"errors", "codes", "config", "wire", "hub"},
    "brokers": {
        *("errors", "codes", "config", "wire.messages", "hub.ports"),
        *(
            "brokers.alone",
            "brokers.epoch",
            "brokers.ring",
            "brokers.sqlite_open",
            "brokers.sqlite_file",
            "brokers.sqlite_room",
            "brokers.redis_url",
            "brokers.redis",
            "brokers.redis_forms",
            "brokers.redis_bus",
            "brokers.redis_link",
            "brokers.redis_room",
            "brokers.redis_presence",
            "brokers.redis_routes",
            "brokers.redis_cluster",
        ),  # what they share, and parts
    },
    "auth": {
        *("errors", "codes", "config", "wire.messages", "hub.ports", "hub.identity"),
        "auth",
    },
    "transports": {
        *("errors", "codes", "config", "wire", "hub", "auth"),
        # What transports share, and the operations of the HTTP API.
        *("transports.loop", "transports.frames", "transports.asgi", "transports.answers", "transports.http"),
        *(f"transports.api_{part}" for part in ("operation", "rooms", "admin", "table")),
        *(f"transports.{part}" for part in ("asyncapi", "listening", "openapi", "schemas", "metrics")),
    },
    "app": {"hub", "wire", "errors", "config", "codes"},
    "node": {"app", "auth", "brokers", "transports", "hub", "wire", "config", "codes", "errors"},
    "server": {"node", "transports", "config", "errors"},
    "workers": {"errors"},
    "client": {"wire", "errors", "codes", "client"},
    "terminal": {"client", "errors"},
    "cli": {
        "server",
        "workers",
        "node",
        "app",
        "auth",
        "terminal",
        "hub",
        "wire",
        "config",
        "codes",
        "errors",
        "__version__",
    },
    "apps": {"hubbub", "apps", *hubbub.__all__},
    "__init__": {"node", "app", "config", "errors", "hub", "wire"},
    "__main__": {"cli"},
}

# What a room must not import of anybody else's.
NEVER: dict[str, set[str]] = {
    "wire": {"asyncio", "os", "random", "secrets", "select", "socket", "ssl", "threading", "time", "uuid"},
    "hub": {"datetime", "os", "random", "redis", "secrets", "socket", "ssl", "threading", "time", "uuid"},
    "brokers": {"starlette", "uvicorn"},
    "app": {"starlette", "uvicorn"},
}

ONLY_THE_STANDARD_LIBRARY = ("errors", "codes", "config")


def modules() -> list[Path]:
    return sorted(SOURCE.rglob("*.py"))


def examples() -> list[Path]:
    return sorted((ROOT / "examples").rglob("*.py"))


def room_of(module: Path) -> str:
    first = module.relative_to(SOURCE).parts[0]
    return first.removesuffix(".py")


def imports(module: Path) -> Iterator[str]:
    """Every module that is imported, wherever in the file; `from hubbub import x` is `hubbub.x`."""
    for node in ast.walk(ast.parse(module.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{module}:{node.lineno}: a relative import hides where it leads"
            package = node.module or ""
            is_package = package.split(".")[0] == "hubbub" and (SOURCE.parent / package.replace(".", "/")).is_dir()
            yield from (f"{package}.{alias.name}" if is_package else package for alias in node.names)


def ours(module: Path) -> set[str]:
    return {name.removeprefix("hubbub.") for name in imports(module) if name.split(".")[0] == "hubbub"}


def others(module: Path) -> set[str]:
    return {name.split(".")[0] for name in imports(module)} - {"hubbub"}


def is_allowed(name: str, allowed: set[str]) -> bool:
    """Whether a room, module or name, or what it is part of, is among the allowed."""
    parts = name.split(".")
    return any(".".join(parts[:length]) in allowed for length in range(1, len(parts) + 1))


def title(module: Path) -> str:
    return str(module.relative_to(ROOT))


def test_every_room_has_a_row_in_the_table() -> None:
    assert {room_of(module) for module in modules()} == set(TABLE)


@pytest.mark.parametrize("module", modules(), ids=title)
def test_a_room_imports_only_what_its_row_allows(module: Path) -> None:
    allowed = TABLE[room_of(module)]
    assert {name for name in ours(module) if not is_allowed(name, allowed)} == set()


@pytest.mark.parametrize("module", modules(), ids=title)
def test_a_room_imports_nothing_that_it_never_may(module: Path) -> None:
    assert others(module) & NEVER.get(room_of(module), set()) == set()


@pytest.mark.parametrize("room", ONLY_THE_STANDARD_LIBRARY)
def test_the_lowest_rooms_need_nothing_installed(room: str) -> None:
    assert others(SOURCE / f"{room}.py") <= sys.stdlib_module_names


@pytest.mark.parametrize("module", examples(), ids=title)
def test_examples_use_the_public_names(module: Path) -> None:
    assert ours(module) <= TABLE["apps"]


# The test's own eyes


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ("import hubbub.hub.room", {"hub.room"}),
        ("from hubbub.wire.codec import Batch", {"wire.codec"}),
        ("from hubbub import Room", {"Room"}),
        ("from hubbub.hub import room", {"hub.room"}),
        ("def f():\n    from hubbub.terminal import chat", {"terminal"}),
        ("if TYPE_CHECKING:\n    from hubbub.hub.room import Room", {"hub.room"}),
        ("import asyncio, hubbub.node as n", {"node"}),
        ("import hubbub", {"hubbub"}),
    ],
)
def test_an_import_is_seen_wherever_it_stands(tmp_path: Path, source: str, expected: set[str]) -> None:
    module = tmp_path / "module.py"
    module.write_text(source)
    assert ours(module) == expected
