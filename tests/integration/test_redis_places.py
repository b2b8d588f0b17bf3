"""Where Redis may be: behind Sentinels, in a Cluster, behind TLS, on a socket; and what is said where it is not."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest

from hubbub.brokers.redis_link import Patience
from hubbub.brokers.redis_open import open_redis
from hubbub.brokers.redis_url import parse_url
from hubbub.errors import BrokerAwayError, BrokerError
from tests.support.certificates import Authority
from tests.support.logs import EVERYTHING, PATIENCE
from tests.support.nodes import staged
from tests.support.redis import RedisCluster, RedisServer, Watched

PATIENT = Patience(connect=2, timeout=1.5, wait=20)


def open_at(url: str, ca: str = "") -> None:
    open_redis(parse_url(url), PATIENCE, "test:", lambda room: EVERYTHING, lambda: 0, asyncio.new_event_loop, ca)


# Sentinel


@pytest.mark.timeout(60)
def test_another_master_begins_new_epochs_and_takes_what_waits(tmp_path: Path) -> None:
    async def check(watched: Watched) -> None:
        async with staged(watched.url) as stage:
            one, two = await stage.node("r", patience=PATIENT), await stage.node("r", patience=PATIENT)
            await one.append(b"x")
            await two.until_head(1)
            before = two.place["r"].epoch
            watched.master.kill()
            kept = one.begin(b"y")
            async with asyncio.timeout(30):
                await kept
            await two.until(lambda: two.payloads() == [b"y"])
            assert one.place == two.place
            assert one.place["r"].epoch != before
            assert one.place["r"].seq == 1

    with Watched(tmp_path) as watched:
        asyncio.run(check(watched))


# Cluster


def test_nodes_on_a_cluster_are_told_the_same(redis_cluster: RedisCluster) -> None:
    rooms = [f"room-{number}" for number in range(12)]

    async def check() -> None:
        async with staged(redis_cluster.url) as stage:
            one, two = await stage.node(*rooms), await stage.node(*rooms)
            assert len({one.broker._link(room) for room in one.broker._rooms.values()}) == 3
            sent = [node.begin(b"x", room=room) for room in rooms for node in (one, two) for _ in range(5)]
            one.broker.tell(rooms[0], [b"typing"])
            await asyncio.gather(*sent)
            for room in rooms:
                await one.until_head(10, room)
                await two.until_head(10, room)
            await two.until(lambda: two.heard == {rooms[0]: [b"typing"]})
            assert one.tape == two.tape
            await one.until_ready()

    asyncio.run(check())


def test_a_room_whose_slot_moves_to_another_node_goes_on_there(tmp_path: Path) -> None:
    async def check(cluster: RedisCluster) -> None:
        async with staged(cluster.url) as stage:
            one, two = await stage.node("r", patience=PATIENT), await stage.node("r", patience=PATIENT)
            await one.append(b"x")
            await two.until_head(1)
            await asyncio.to_thread(cluster.give_away, one.broker._rooms["r"].keys[0])
            await one.append(b"y")
            await two.until(lambda: two.payloads() == [b"y"])
            assert (await two.append(b"z")).first == 2
            await one.until_head(2)
            assert one.payloads() == [b"y", b"z"]

    with RedisCluster(tmp_path) as cluster:
        asyncio.run(check(cluster))


def test_while_a_node_of_a_cluster_is_gone_the_rooms_of_others_go_on(tmp_path: Path) -> None:
    rooms = [f"room-{number}" for number in range(12)]

    async def check(cluster: RedisCluster) -> None:
        async with staged(cluster.url) as stage:
            node = await stage.node(*rooms)
            gone = cluster.servers[2]
            for server in cluster.servers:
                server.ask("CONFIG", "SET", "cluster-require-full-coverage", "no")
            gone.kill()
            results: dict[bool, list[str]] = {True: [], False: []}
            for room in rooms:
                there = not node.broker._link(node.broker._rooms[room]).title.endswith(f":{gone.port})")
                results[there].append(room)
            for room in results[True]:
                await node.append(b"x", room=room)
            with pytest.raises(BrokerError):
                await node.append(b"x", room=results[False][0])
            await node.until_ready(False)
            await asyncio.to_thread(gone.start)
            await node.until_ready()

    with RedisCluster(tmp_path) as cluster:
        asyncio.run(check(cluster))


# TLS, sockets, passwords


def test_rooms_are_kept_behind_tls_and_a_password(tmp_path: Path) -> None:
    files = Authority(tmp_path).issue("redis")
    options: dict[str, Any] = {
        "tls_cert_file": files.cert,
        "tls_key_file": files.key,
        "tls_auth_clients": "no",
        "requirepass": "geheim",
    }

    async def check(server: RedisServer) -> None:
        url = f"rediss://:geheim@127.0.0.1:{server.port}"
        async with staged(url) as stage:
            stage.logs.ca = str(files.authority)
            node = await stage.node("r")
            assert (await node.append(b"x")).first == 1
        with pytest.raises(BrokerAwayError, match="certificate"):
            await asyncio.to_thread(open_at, url)
        with pytest.raises(BrokerAwayError) as caught:
            await asyncio.to_thread(open_at, url.replace("geheim", "falsch"), str(files.authority))
        assert "falsch" not in str(caught.value)

    with RedisServer(tmp_path, tls=True, **options) as server:
        asyncio.run(check(server))


def test_rooms_are_kept_over_a_socket(tmp_path: Path) -> None:
    async def check() -> None:
        async with staged(f"unix://{tmp_path}/redis.sock") as stage:
            node = await stage.node("r")
            assert (await node.append(b"x")).first == 1

    with RedisServer(tmp_path, unixsocket=f"{tmp_path}/redis.sock"):
        asyncio.run(check())


@pytest.mark.parametrize(
    "url",
    [
        "redis://:geheim@127.0.0.1:1",
        "rediss://:geheim@127.0.0.1:1",
        "redis+sentinel://:geheim@127.0.0.1:1/rooms",
        "redis+cluster://:geheim@127.0.0.1:1",
        "unix:///nowhere/redis.sock",
    ],
)
def test_a_redis_that_is_not_there_is_one_line_without_a_password(url: str) -> None:
    with pytest.raises(BrokerAwayError) as caught:
        open_at(url)
    assert "geheim" not in str(caught.value)
    assert "\n" not in str(caught.value)
    assert str(caught.value).startswith(url.replace(":geheim@", ""))
