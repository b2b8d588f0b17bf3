"""Rows 41 and 42: names and texts of clients are nothing to Redis, and what strangers say on the bus is dropped."""

from __future__ import annotations

import pickle
import time
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest

from tests.hostile.witness import HonestPeer
from tests.support.peer import command
from tests.support.redis import RedisServer
from tests.support.server import Server

PREFIX = "hostile:"
ROOMS = [
    "FLUSHALL",
    "$3",
    "+OK",
    "-ERR",
    ":1",
    "r:log",
    "r",
    "hostile:secret",
    "%7B",
    "%",
    "a b",
    "../r",
    "r\u00ad:meta",
    "\\r\\n",
]
TEXTS = [
    *(
        "\r\nFLUSHALL\r\n",
        "*1\r\n$8\r\nFLUSHALL\r\n",
        "$-1\r\n",
        "x\0x",
        "{r}",
        "return redis.call('FLUSHALL')",
        "x\u2028x",
    ),
    *("0-0", "9999999999-0", "]]; redis.call('FLUSHALL') --", "%s%n", "\U0001f600"),
]
DEADLINE_SECONDS = 10
LASTING, LONG_SECONDS = -1, 60


@pytest.fixture
def options(redis_server: RedisServer) -> tuple[str, ...]:
    return ("--broker", redis_server.url, "--redis-prefix", PREFIX, "--rate-limit", "0", "--user-rate", "0")


def keys_of_others(redis_server: RedisServer) -> set[bytes]:
    """What is in Redis and not this server's."""
    return {key for key in redis_server.ask("KEYS", "*") if not key.startswith(PREFIX.encode())}


def stays(redis_server: RedisServer, key: bytes) -> bool:
    """Whether a key does not run out by itself while the test runs, as other servers' remembered calls do."""
    seconds: int = redis_server.ask("TTL", key)
    return seconds == LASTING or seconds > LONG_SECONDS


def test_row_41_names_and_texts_are_inert_for_redis(server: Server, redis_server: RedisServer) -> None:
    secret = f"secret:{uuid4().hex}"
    redis_server.ask("SET", secret, "kept")
    before = {key for key in keys_of_others(redis_server) if stays(redis_server, key)}
    assert secret.encode() in before
    rooms = [f"{room}{uuid4().hex[:6]}" for room in ROOMS] + ROOMS
    for room in rooms:
        with HonestPeer(server.port) as peer:
            peer.join(room, "ada")
            for text in TEXTS:
                peer.send(command(type="message", room=room, text=text))
                said = peer.event("message")
                assert (said["room"], said["text"]) == (room, text.strip())
    assert keys_of_others(redis_server) >= before
    assert redis_server.ask("GET", secret) == b"kept"
    logs = redis_server.ask("KEYS", f"{PREFIX}*:log")
    assert len(logs) >= len(rooms)


class Trap:
    """Whoever unpickles it makes a file."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> Any:
        return Path.touch, (self.path,)


def test_row_42_what_is_no_message_of_ours_on_the_bus_is_dropped(
    server: Server, redis_server: RedisServer, tmp_path: Path, room: str
) -> None:
    trap = tmp_path / "unpickled"
    node = b"n" * 16
    junk = [b"", b"\x01", b"\x02" + b"\x01" * 90, b"\x01\x01" + node + b"\xff" * 90, b"{}", b"\x01" * 20_000_000]
    junk += [pickle.dumps(Trap(trap)), b"\x01\x01" + pickle.dumps(Trap(trap)), b"\x01\x02" + node + b"\xff" * 4]
    channel = f"{PREFIX}{{{room}}}:bus"
    with HonestPeer(server.port) as peer:
        peer.join(room, "ada")
        heard = [redis_server.ask("PUBLISH", channel, message) for message in junk]
        assert set(heard) == {1}
        peer.send(command(type="message", text="still here"))
        assert peer.event("message")["text"] == "still here"
        deadline = time.monotonic() + DEADLINE_SECONDS
        while "a message on the bus was dropped" not in server.log:
            assert time.monotonic() < deadline
    assert not trap.exists()
