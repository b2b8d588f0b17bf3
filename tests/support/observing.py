"""Servers whose dashboard is looked at: what they serve, and two of them on one Redis."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from uuid import uuid4

from tests.support.redis import RedisServer
from tests.support.server import FAST, Server, serve

OBSERVED = "tests.support.observed:app"
UNLIMITED = ("--rate-limit", "0", "--user-rate", "0")


@contextmanager
def two_nodes(redis_server: RedisServer, folder: Path) -> Iterator[list[Server]]:
    options = ("--broker", redis_server.url, "--redis-prefix", f"test-{uuid4()}:", *UNLIMITED)
    with ExitStack() as stack:
        yield [stack.enter_context(serve(folder, FAST, *options, target=OBSERVED)) for _ in range(2)]
