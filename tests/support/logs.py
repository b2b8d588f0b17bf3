"""Drives a broker from a test: each call waits for its answer, on one event loop, with a deadline."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, TypeVar
from uuid import uuid4

from hubbub.brokers.memory import MemoryBroker
from hubbub.brokers.redis import RedisBroker
from hubbub.brokers.redis_link import Patience
from hubbub.brokers.redis_open import open_redis
from hubbub.brokers.redis_url import parse_url
from hubbub.brokers.sqlite import SqliteBroker
from hubbub.errors import BrokerError
from hubbub.hub.ports import Broker, Draft, Entry, Kept, Once, Portion, Position, Retention

DEADLINE_SECONDS = 20
EVERYTHING = Retention(0, 0, 0)
NOW = 1_700_000_000_000
PATIENCE = Patience(connect=2, timeout=1.5, wait=0)

T = TypeVar("T")


class Logs:
    """A broker, and a clock that is moved by hand. Answers that are errors are raised.

    Args:
        path: of the file, or the URL of a Redis; None for memory.
        loop: that of the caller, who makes nodes with `redis`; by default one of its own, and a broker on it.
    """

    broker: Broker
    ca = ""

    def __init__(
        self,
        path: Path | str | None,
        retention: Retention = EVERYTHING,
        max_logs: int = 10,
        loop: asyncio.AbstractEventLoop | None = None,
    ) -> None:
        self.loop = loop or asyncio.new_event_loop()
        self.path = path
        self.now = NOW
        self.retention = retention
        self.max_logs = max_logs
        self.prefix = f"test-{uuid4()}:"
        self._ids = itertools.count(1)
        if loop is None:
            self.broker = self._start()

    def _start(self) -> Broker:
        if self.path is None:
            return MemoryBroker(self._new_id, lambda room: self.retention, self.max_logs, lambda: self.now)
        if isinstance(self.path, str):
            return self.redis()
        post = self.loop.call_soon_threadsafe
        return SqliteBroker(self.path, lambda room: self.retention, lambda: self.now, post)

    def redis(self, patience: Patience = PATIENCE, url: str | None = None) -> RedisBroker:
        """A node on the Redis, or on what stands before it; each call makes another, and all share their rooms."""
        url = url or self.path if isinstance(self.path, str) else url
        assert url is not None
        return open_redis(
            parse_url(url),
            patience,
            self.prefix,
            lambda room: self.retention,
            lambda: self.now,
            lambda: self.loop,
            self.ca,
        )

    def _new_id(self) -> str:
        return f"epoch-{next(self._ids)}"

    def begin(self, call: Callable[..., None], *arguments: Any) -> asyncio.Future[Any]:
        """Calls a method of the port; the future gets what is answered."""
        future = self.loop.create_future()
        call(*arguments, future.set_result)
        return future

    def wait(self, future: asyncio.Future[T]) -> T:
        """The answer."""
        answer = self.loop.run_until_complete(asyncio.wait_for(future, DEADLINE_SECONDS))
        if isinstance(answer, BrokerError):
            raise answer
        return answer

    def ask(self, call: Callable[..., None], *arguments: Any) -> Any:
        return self.wait(self.begin(call, *arguments))

    def open(self, room: str = "r") -> Position:
        position: Position = self.ask(self.broker.open, room)
        return position

    def append(self, *drafts: Draft | bytes, room: str = "r") -> Kept:
        return self.wait(self.begin_append(*drafts, room=room))

    def begin_append(self, *drafts: Draft | bytes, room: str = "r") -> asyncio.Future[Kept]:
        whole = [draft if isinstance(draft, Draft) else Draft(draft) for draft in drafts]
        return self.begin(self.broker.append, room, self.now, whole)

    def read(self, after: int = 0, limit: int = 1000, max_bytes: int = 1 << 20, room: str = "r") -> Portion:
        portion: Portion = self.ask(self.broker.read, room, after, limit, max_bytes)
        return portion

    def seqs(self, after: int = 0, room: str = "r") -> tuple[list[int], bool]:
        """The seqs that are read, and whether nothing is missing."""
        entries, whole = self.read(after, room=room)
        return [entry.seq for entry in entries], whole

    def seek(self, time: int, room: str = "r") -> int:
        return int(self.ask(self.broker.seek, room, time))

    def acknowledge(self, reader: str, seq: int, name: str = "Ada", room: str = "r") -> int:
        return int(self.ask(self.broker.acknowledge, room, reader, name, seq))

    def acknowledged(self, reader: str, room: str = "r") -> int | None:
        seq: int | None = self.ask(self.broker.acknowledged, room, reader)
        return seq

    def readers(self, limit: int = 10, room: str = "r") -> Sequence[tuple[str, str, int]]:
        readers: Sequence[tuple[str, str, int]] = self.ask(self.broker.readers, room, limit)
        return readers

    def stop(self) -> None:
        self.loop.run_until_complete(asyncio.wait_for(self.broker.stop(), DEADLINE_SECONDS))

    def restart(self) -> None:
        """Stops the broker, and starts another on the same file with the room open."""
        self.stop()
        self.broker = self._start()
        self.open()

    def end(self) -> None:
        self.stop()
        self.loop.run_until_complete(self.loop.shutdown_default_executor())
        self.loop.close()


def once(id: str, payload: bytes = b"x", sender: str = "ada", fingerprint: int = (1 << 64) - 1) -> Draft:
    """A draft that may be a repeat."""
    return Draft(payload, once=Once(sender, id, fingerprint))


def entries(*payloads: bytes, first: int = 1, time: int = NOW) -> list[Entry]:
    """Entries that were kept at the same time."""
    return [Entry(seq, time, payload) for seq, payload in enumerate(payloads, first)]
