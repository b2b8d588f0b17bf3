"""`hubbub serve` on a Redis: what it says where there is none, and what is there after a restart."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.support.chatter import chatting
from tests.support.redis import RedisServer
from tests.support.server import FAST, serve
from tests.support.terminal import run

URLS = ["redis://:{}@127.0.0.1:1", "redis+sentinel://:{}@127.0.0.1:1/rooms", "redis+cluster://:{}@127.0.0.1:1"]


@pytest.mark.parametrize(
    "url", [*URLS, "redis://:{}@/x y", "redis+sentinel://:{}@h", "reddis://:{}@h", "rediss://:{}@127.0.0.1:1"]
)
def test_a_redis_that_cannot_be_had_is_one_line_and_shows_no_password(url: str) -> None:
    done = run("serve", "--port", "0", extra={"HUBBUB_BROKER": url.format("geheim")})
    assert (done.returncode, done.stdout, done.stderr.count("\n")) == (2, "", 1)
    assert done.stderr.startswith("hubbub: ")
    assert "geheim" not in done.stderr


def test_a_prefix_with_braces_is_refused(redis_server: RedisServer) -> None:
    extra = {"HUBBUB_BROKER": redis_server.url, "HUBBUB_REDIS_PREFIX": "{a}:"}
    assert "redis_prefix" in run("serve", "--port", "0", extra=extra).stderr


def test_a_room_is_there_after_a_restart_of_the_node(redis_server: RedisServer, tmp_path: Path) -> None:
    options = ("--broker", redis_server.url, "--redis-prefix", "restart:")
    with serve(tmp_path, FAST, *options) as server, chatting(f"{server.ws}/ws") as ada:
        first = ada.join("r", "ada")
        assert ada.ask(type="message", text="before", id=1)["type"] in ("ok", "message")
    with serve(tmp_path, FAST, *options) as server, chatting(f"{server.ws}/ws") as ada:
        info = ada.join("r", "ada", since={"epoch": first["epoch"], "seq": first["head"]})
        assert (info["recovered"], [event["text"] for event in info["messages"]]) == (True, ["before"])


def test_commands_are_unavailable_while_redis_is_gone_and_nothing_is_acknowledged(tmp_path: Path) -> None:
    (tmp_path / "redis").mkdir()
    with (
        RedisServer(tmp_path / "redis", appendonly="yes", appendfsync="always") as redis,
        serve(tmp_path, FAST, "--broker", redis.url, "--rate-limit", "0", "--user-rate", "0") as server,
        chatting(f"{server.ws}/ws") as ada,
    ):
        ada.join("r", "ada")
        redis.kill()
        assert ada.ask(type="message", text="lost", id=1)["code"] == "unavailable"
        redis.start()
        while (reply := ada.ask(type="message", text="kept", id=2)).get("code") == "unavailable":
            pass  # it takes a moment until the node has found it
        assert (reply["type"], ada.next()["seq"]) == ("ok", 1)
