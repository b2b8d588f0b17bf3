"""Servers that many tests share, started once; and the rules that whoever talks to one sees kept in every test."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path
from typing import Protocol
from uuid import uuid4

import pytest

from tests.support import recording
from tests.support.canary import canary
from tests.support.history import History
from tests.support.redis import RedisCluster, RedisServer
from tests.support.server import FAST, FAST_REDIS, Server, serve

ENDED_AT_ONCE = 8


class Servers(Protocol):
    """Starts a server, or finds the one that runs already with the same options."""

    def __call__(self, host: str = FAST, *options: str) -> Server: ...


@pytest.fixture(autouse=True)
def history() -> Iterator[History]:
    """What all clients of the test send and receive; a test says here which rooms are `latest`, or what must not be."""
    kept = History()
    recording.begin(kept)
    yield kept
    kept.assert_kept()


@pytest.fixture(scope="session", autouse=True)
def silent_to_the_end() -> Iterator[None]:
    """What servers print when they end holds no secret either, nor what those have counted that all tests share."""
    yield
    canary.assert_silent()


@pytest.fixture(autouse=True)
def silent() -> Iterator[None]:
    """No secret of the tests appears in what a server prints, or in the counters of one that has ended."""
    yield
    canary.assert_silent()


@pytest.fixture(scope="session")
def servers(
    silent_to_the_end: None, redis_server: RedisServer, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Servers]:
    folder: Path = tmp_path_factory.mktemp("servers")
    running: dict[tuple[str, ...], Server] = {}
    stacks: list[ExitStack] = []

    def start(host: str = FAST, *options: str) -> Server:
        key = (host, *options)
        if key not in running or running[key].process.poll() is not None:
            stacks.append(ExitStack())
            alone = ("--broker", redis_server.url, "--redis-prefix", f"{uuid4()}:") if host == FAST_REDIS else ()
            running[key] = stacks[-1].enter_context(serve(folder, host, *options, *alone))
        return running[key]

    yield start
    with ThreadPoolExecutor(ENDED_AT_ONCE) as pool:  # each takes a moment, in which it does nothing
        list(pool.map(ExitStack.close, stacks))


@pytest.fixture(scope="session")
def redis_cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisCluster]:
    """A Cluster of three nodes."""
    with RedisCluster(tmp_path_factory.mktemp("cluster")) as cluster:
        yield cluster


@pytest.fixture(scope="session")
def redis_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisServer]:
    """A Redis that tests share, each with a prefix of its own."""
    with RedisServer(tmp_path_factory.mktemp("redis")) as server:
        yield server
