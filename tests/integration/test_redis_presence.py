"""Nodes on one Redis know who is in a room on the others, whatever becomes of a node, of Redis, or of what was said."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from hubbub.brokers import redis_bus as bus
from hubbub.brokers.redis_forms import room_base
from hubbub.errors import BrokerError
from hubbub.hub.ports import Present
from tests.support.nodes import Node, Stage, staged
from tests.support.redis import RedisServer


def present(name: str) -> Present:
    return Present(f"id of {name}", name, 1, False)


def come(node: Node, *names: str, room: str = "r") -> None:
    node.broker.come(room, [present(name) for name in names], ())


def go(node: Node, *names: str, room: str = "r") -> None:
    node.broker.come(room, (), [present(name).id for name in names])


@pytest.fixture
def own_server(tmp_path: Path) -> Iterator[RedisServer]:
    """A Redis that the test may kill."""
    with RedisServer(tmp_path, appendonly="yes", appendfsync="always") as server:
        yield server


@asynccontextmanager
async def pair(server: RedisServer) -> AsyncIterator[tuple[Stage, Node, Node]]:
    """Two nodes in a room."""
    async with staged(server.url) as stage:
        yield stage, await stage.node("r"), await stage.node("r")


def test_others_hear_who_comes_and_goes(redis_server: RedisServer) -> None:
    async def check() -> None:
        async with pair(redis_server) as (_, one, two):
            come(one, "ada", "bob")
            come(two, "cid")
            await two.until(lambda: two.names() == ["ada", "bob"])
            await one.until(lambda: one.names() == ["cid"])
            go(one, "ada")
            await two.until(lambda: two.names() == ["bob"])

    asyncio.run(check())


def test_who_opens_a_room_knows_who_is_there_when_it_is_open(redis_server: RedisServer) -> None:
    async def check() -> None:
        async with staged(redis_server.url) as stage:
            one = await stage.node("r")
            come(one, "ada")
            two = await stage.node()
            await two.open("other")  # what the first has told is carried out by now
            await two.open("r")
            assert two.names() == ["ada"]

    asyncio.run(check())


def test_odd_names_are_told_as_they_are(redis_server: RedisServer) -> None:
    odd = ["", " ", "a b", "\0", "\r\n$1\r\n", "é\ud800", "x" * 30]

    async def check() -> None:
        async with pair(redis_server) as (stage, one, two):
            come(one, *odd)
            await two.until(lambda: len(two.names()) == len(odd))
            three = await stage.node("r")
            assert two.names() == three.names() == sorted(odd)

    asyncio.run(check())


def test_what_comes_and_goes_in_one_turn_is_told_once(redis_server: RedisServer) -> None:
    async def check() -> None:
        async with pair(redis_server) as (stage, one, two):
            come(one, "ada", "bob")
            go(one, "ada")
            await two.until(lambda: two.names() == ["bob"])
            key = room_base(stage.logs.prefix, "r") + b"here"
            assert redis_server.ask("HGET", key, "") == b"1"

    asyncio.run(check())


def test_a_change_that_was_missed_is_found_with_the_next(redis_server: RedisServer) -> None:
    async def check() -> None:
        async with pair(redis_server) as (stage, one, two):
            redis_server.ask("HINCRBY", room_base(stage.logs.prefix, "r") + b"here", "", 1)
            come(one, "ada")
            await two.until(lambda: two.names() == ["ada"])

    asyncio.run(check())


def test_many_at_once_are_read(redis_server: RedisServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bus, "MAX_ENTRIES_BYTES", 100)

    async def check() -> None:
        async with pair(redis_server) as (_, one, two):
            come(one, *map(str, range(100)))
            await two.until(lambda: len(two.names()) == 100)

    asyncio.run(check())


# The ends of nodes


async def crash(node: Node, stage: Stage) -> None:
    """The node says nothing more, and closes nothing properly."""
    stage.nodes.remove(node)
    for link in node.broker._routes.links:
        for task in link._tasks:
            task.cancel()
        await asyncio.gather(*link._tasks, return_exceptions=True)


def test_who_was_on_a_node_that_died_has_left_once(redis_server: RedisServer) -> None:
    async def check() -> None:
        async with staged(redis_server.url) as stage:
            one, two, three = [await stage.node("r", "s") for _ in range(3)]
            come(one, "ada", "bob")
            come(one, "ada", room="s")
            come(two, "cid")
            await three.until(lambda: three.names() == ["ada", "bob", "cid"])
            await crash(one, stage)
            await three.until(lambda: three.names() == ["cid"] and three.names("s") == [])
            await two.until(lambda: two.names() == two.names("s") == [])
            gone = [("r", "id of ada"), ("r", "id of bob"), ("s", "id of ada")]
            assert sorted(three.left) == sorted(two.left) == gone

    asyncio.run(check())


def test_many_who_were_on_a_node_that_died_have_left(
    redis_server: RedisServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bus, "MAX_ENTRIES_BYTES", 100)
    monkeypatch.setattr(bus, "MAX_MESSAGE_BYTES", 300)

    async def check() -> None:
        async with pair(redis_server) as (stage, one, two):
            come(one, *(f"name {number}" for number in range(20)))
            await two.until(lambda: len(two.names()) == 20)
            await crash(one, stage)
            await two.until(lambda: two.names() == [])

    asyncio.run(check())


def test_a_node_that_was_taken_for_dead_tells_of_itself_again(redis_server: RedisServer) -> None:
    async def check() -> None:
        async with pair(redis_server) as (stage, one, two):
            come(one, "ada")
            await two.until(lambda: two.names() == ["ada"])
            redis_server.ask("ZADD", f"{stage.logs.prefix}nodes", "XX", 1, one.broker.node)
            redis_server.ask("DEL", f"{stage.logs.prefix}node:{one.broker.node.hex()}:rooms")
            key = room_base(stage.logs.prefix, "r") + b"here"
            redis_server.ask("HDEL", key, one.broker.node + b"id of ada")
            await two.open("other")
            come(two, "bob")
            three = await stage.node("r")
            await three.until(lambda: three.names() == ["ada", "bob"])
            rooms = f"{stage.logs.prefix}node:{one.broker.node.hex()}:rooms"
            redis_server.wait_for(lambda: redis_server.ask("SMEMBERS", rooms))

    asyncio.run(check())


# Which nodes live


def test_nodes_know_who_lives_and_who_has_ended_is_not_among_them_at_once(redis_server: RedisServer) -> None:
    async def check() -> None:
        async with pair(redis_server) as (_, one, two):
            assert await one.ask(one.broker.nodes) == sorted([one.broker.node_id, two.broker.node_id])
            await two.stop()
            assert await one.ask(one.broker.nodes) == [one.broker.node_id]

    asyncio.run(check())


def test_who_ends_well_leaves_nothing_behind(redis_server: RedisServer) -> None:
    async def check() -> None:
        async with pair(redis_server) as (stage, one, two):
            come(two, "ada")
            await one.until(lambda: one.names() == ["ada"])
            go(two, "ada")
            await two.stop()
            leases = f"{stage.logs.prefix}nodes"
            await asyncio.to_thread(redis_server.wait_for, lambda: redis_server.ask("ZCARD", leases) == 1)
            assert redis_server.ask("EXISTS", f"{stage.logs.prefix}node:{two.broker.node.hex()}:rooms") == 0

    asyncio.run(check())


def test_who_ends_without_a_word_has_left_the_rooms(redis_server: RedisServer) -> None:
    async def check() -> None:
        async with pair(redis_server) as (_, one, two):
            come(two, "ada")
            await one.until(lambda: one.names() == ["ada"])
            await two.stop()
            await one.until(lambda: one.names() == [])

    asyncio.run(check())


# The ends of Redis


def test_a_redis_that_comes_back_empty_is_told_again(own_server: RedisServer) -> None:
    async def check() -> None:
        async with pair(own_server) as (stage, one, two):
            come(one, "ada")
            come(two, "bob")
            await two.until(lambda: two.names() == ["ada"])
            own_server.kill()
            own_server.options["appendonly"] = "no"
            await asyncio.to_thread(own_server.start)
            await one.until_ready()
            await two.until_ready()
            three = await stage.node("r")
            await three.until(lambda: three.names() == ["ada", "bob"])

    asyncio.run(check())


def test_nobody_leaves_when_redis_was_away_for_longer_than_the_leases(own_server: RedisServer) -> None:
    async def check() -> None:
        async with pair(own_server) as (_, one, two):
            come(one, "ada")
            await two.until(lambda: two.names() == ["ada"])
            own_server.pause()
            await asyncio.sleep(6)  # the leases are over, and that is what it is about
            own_server.resume()
            await one.until_ready()
            await two.until_ready()
            come(one, "cid")
            await two.until(lambda: two.names() == ["ada", "cid"])
            assert two.left == []

    asyncio.run(check())


def test_nobody_leaves_when_redis_forgets_who_is_there(own_server: RedisServer) -> None:
    async def check() -> None:
        async with pair(own_server) as (_, one, two):
            come(one, "ada")
            come(two, "bob")
            await two.until(lambda: two.names() == ["ada"])
            await one.until(lambda: one.names() == ["bob"])
            readings = one.readings, two.readings
            own_server.ask("FLUSHALL")
            await one.until(lambda: one.readings > readings[0])
            await two.until(lambda: two.readings > readings[1])
            assert (one.names(), two.names(), one.left, two.left) == (["bob"], ["ada"], [], [])

    asyncio.run(check())


def test_who_is_there_is_read_once_when_redis_has_forgotten_it(own_server: RedisServer) -> None:
    async def check() -> None:
        async with pair(own_server) as (_, one, two):
            names: list[str] = []
            for name in "abcdefgh":
                names.append(name)
                come(one, name)
                await two.until(lambda: two.names() == names)
            own_server.ask("FLUSHALL")
            own_server.ask("CONFIG", "RESETSTAT")
            come(two, "bob")
            await one.until(lambda: one.names() == ["bob"])
            readings = two.readings
            await two.until(lambda: two.readings > readings)
            for _ in range(100):
                await asyncio.to_thread(own_server.ask, "PING")
            assert own_server.ask("INFO", "commandstats")["cmdstat_evalsha"]["calls"] < 100

    asyncio.run(check())


def test_what_redis_had_no_memory_for_is_told_once_it_has(own_server: RedisServer) -> None:
    async def check() -> None:
        async with pair(own_server) as (_, one, two):
            own_server.ask("CONFIG", "RESETSTAT")
            own_server.ask("CONFIG", "SET", "maxmemory", 1)
            come(one, "ada")
            await asyncio.to_thread(
                own_server.wait_for, lambda: "errorstat_OOM" in own_server.ask("INFO", "errorstats")
            )
            own_server.ask("CONFIG", "SET", "maxmemory", 0)
            await two.until(lambda: two.names() == ["ada"])

    asyncio.run(check())


def test_who_leaves_a_room_that_closes_while_redis_hangs_is_taken_back(own_server: RedisServer) -> None:
    async def check() -> None:
        async with pair(own_server) as (_, one, two):
            come(one, "ada")
            await two.until(lambda: two.names() == ["ada"])
            own_server.pause()
            with pytest.raises(BrokerError):
                await one.append(b"x")
            go(one, "ada")
            one.broker.close("r")
            own_server.resume()
            await two.until(lambda: two.names() == [])

    asyncio.run(check())


def test_what_changed_while_a_node_was_cut_off_is_known_when_it_is_back(redis_server: RedisServer) -> None:
    async def check() -> None:
        async with staged(redis_server.url) as stage:
            proxy = await stage.proxy()
            one, two = await stage.node("r", proxy=proxy), await stage.node("r")
            come(two, "ada")
            await one.until(lambda: one.names() == ["ada"])
            proxy.hold()
            proxy.cut()
            go(two, "ada")
            come(two, "bob")
            come(one, "cid")
            await one.until_ready(False)
            proxy.release()
            await one.until(lambda: one.names() == ["bob"])
            await two.until(lambda: two.names() == ["cid"])

    asyncio.run(check())


def test_who_left_a_room_for_good_while_a_node_was_cut_off_is_not_there_for_ever(redis_server: RedisServer) -> None:
    async def check() -> None:
        async with staged(redis_server.url) as stage:
            proxy = await stage.proxy()
            one, two = await stage.node("r", proxy=proxy), await stage.node("r")
            come(one, "ada")
            await two.until(lambda: two.names() == ["ada"])
            proxy.hold()
            proxy.cut()
            await one.until_ready(False)
            with pytest.raises(BrokerError):
                await one.append(b"fails once nothing waits for Redis any more")
            go(one, "ada")
            one.broker.close("r")
            proxy.release()
            await two.until(lambda: two.names() == [])

    asyncio.run(check())
