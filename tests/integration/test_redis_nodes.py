"""Nodes on one Redis: each is told of everything once, in one order, whatever becomes of its connections."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Iterator
from pathlib import Path

import pytest

from hubbub.brokers.redis_forms import room_base
from hubbub.brokers.redis_link import Patience
from hubbub.errors import BrokerError
from hubbub.hub.ports import Draft, Entry, Portion, Retention
from tests.support.logs import NOW, once
from tests.support.nodes import Node, staged
from tests.support.proxy import Proxy
from tests.support.redis import RedisServer

PATIENT = Patience(connect=2, timeout=1.5, wait=10)
ODD_NAMES = [
    "",
    "{}",
    "}{",
    "%",
    "%7B",
    "a\r\n$3\r\nfoo\r\n",
    "*1\r\n$8\r\nFLUSHALL\r\n",
    "r:log",
    "\0\ud800",
    "r}:log{",
]


@pytest.fixture
def own_server(tmp_path: Path) -> Iterator[RedisServer]:
    """A Redis that the test may kill."""
    with RedisServer(tmp_path, appendonly="yes", appendfsync="always") as server:
        yield server


def kill_clients(server: RedisServer, kind: str) -> None:
    server.ask("CLIENT", "KILL", "TYPE", kind)


# One order for all


@pytest.mark.parametrize("seed", range(5))
def test_all_nodes_are_told_the_same_in_the_same_order(redis_server: RedisServer, seed: int) -> None:
    chance = random.Random(seed)

    async def talk(node: Node, name: str) -> list[asyncio.Future[object]]:
        futures: list[asyncio.Future[object]] = []
        for number in range(120):
            futures.append(node.begin(*[b"%s-%d" % (name.encode(), number)] * chance.randrange(3)))  # type: ignore[arg-type]
            await asyncio.sleep(chance.choice([0, 0, 0, 0.0005, 0.003]))
        return futures

    async def check() -> None:
        async with staged(redis_server.url) as stage:
            nodes = [await stage.node("r") for _ in range(3)]
            sent = await asyncio.gather(*[talk(node, str(number)) for number, node in enumerate(nodes)])
            await asyncio.gather(*[future for futures in sent for future in futures])
            head = max(node.place["r"].seq for node in nodes)
            for node in nodes:
                await node.until_head(head)
            assert nodes[0].tape["r"] == nodes[1].tape["r"] == nodes[2].tape["r"]
            assert len(nodes[0].tape["r"]) == head > 150
            for number in range(3):  # what one node appended stays in its order
                own = [p for p in nodes[0].payloads() if p.startswith(b"%d-" % number)]
                assert own == sorted(own, key=lambda payload: int(payload.partition(b"-")[2]))

    asyncio.run(check())


def test_what_is_not_kept_is_passed_on_in_its_order(redis_server: RedisServer) -> None:
    async def check() -> None:
        async with staged(redis_server.url) as stage:
            one, two = await stage.node("r"), await stage.node("r")
            for number in range(20):
                one.broker.tell("r", [b"%d" % number, b""])
            await two.until(lambda: len(two.heard.get("r", [])) == 40)
            assert two.heard["r"] == [part for number in range(20) for part in (b"%d" % number, b"")]
            assert one.heard == {}

    asyncio.run(check())


def test_what_is_not_kept_is_passed_on_however_much_of_it_there_is(redis_server: RedisServer) -> None:
    async def check() -> None:
        async with staged(redis_server.url) as stage:
            one, two = await stage.node("r"), await stage.node("r")
            said = [bytes(1 << 16)] * 100
            one.broker.tell("r", said)
            await two.until(lambda: two.heard.get("r") == said)
            assert two.drops == 0

    asyncio.run(check())


def test_a_repeat_is_known_whichever_node_it_comes_to(redis_server: RedisServer) -> None:
    async def check() -> None:
        async with staged(redis_server.url) as stage:
            one, two = await stage.node("r"), await stage.node("r")
            await one.append(once("a"), b"y")
            assert (await two.append(once("a"))).repeats == {0: 1}
            await two.until_head(2)
            assert (two.payloads(), two.place["r"].seq) == ([b"x", b"y"], 2)

    asyncio.run(check())


@pytest.mark.parametrize("name", ODD_NAMES)
def test_names_and_payloads_are_inert(redis_server: RedisServer, name: str) -> None:
    payload = b"\r\n$-1\r\n*3\r\n{}%\0\xff" + name.encode("utf-8", "surrogatepass")

    async def check() -> None:
        async with staged(redis_server.url, Retention(0, 0, 0, latest_only=True)) as stage:
            one, two = await stage.node(name, *[other for other in ODD_NAMES if other != name]), await stage.node(name)
            await one.append(Draft(payload, key=name), room=name)
            await two.until_head(1, name)
            portion = await two.ask(two.broker.read, name, 0, 10, 1000)
            assert portion == Portion([Entry(1, NOW, payload)], True)
            assert {len(tape) for room, tape in one.tape.items() if room != name} == {0}

    asyncio.run(check())


def test_events_too_large_for_the_bus_arrive(redis_server: RedisServer) -> None:
    async def check() -> None:
        async with staged(redis_server.url) as stage:
            one, two = await stage.node("r"), await stage.node("r")
            await one.append(*[b"x" * 400_000] * 8)
            await two.until_head(8)
            assert {len(payload) for payload in two.payloads()} == {400_000}

    asyncio.run(check())


def test_many_rooms_of_one_turn_are_one_pipeline(redis_server: RedisServer) -> None:
    rooms = [f"room-{number}" for number in range(300)]

    async def check() -> None:
        async with staged(redis_server.url) as stage:
            node = await stage.node(*rooms)
            before = redis_server.ask("INFO", "stats")["total_net_input_bytes"]
            kept = [node.begin(b"x", room=room) for room in rooms for _ in range(5)]
            await asyncio.gather(*kept)
            calls = redis_server.ask("INFO", "commandstats")["cmdstat_evalsha"]["calls"]
            assert redis_server.ask("INFO", "stats")["total_net_input_bytes"] > before
            assert {node.place[room].seq for room in rooms} == {5}
            assert calls > 0

    asyncio.run(check())


def test_under_load_there_are_fewer_script_calls_than_a_tenth_of_the_publishes(redis_server: RedisServer) -> None:
    async def check() -> None:
        async with staged(redis_server.url) as stage:
            node = await stage.node("r")
            redis_server.ask("CONFIG", "RESETSTAT")
            kept = []
            for _ in range(200):
                kept += [node.begin(b"x") for _ in range(20)]
                await asyncio.sleep(0)
            await asyncio.gather(*kept)
            calls = redis_server.ask("INFO", "commandstats")["cmdstat_evalsha"]["calls"]
            assert calls < len(kept) / 10

    asyncio.run(check())


def test_a_room_that_is_closed_and_opened_in_one_turn_stays_subscribed(redis_server: RedisServer) -> None:
    async def check() -> None:
        async with staged(redis_server.url) as stage:
            node = await stage.node("r")
            redis_server.ask("CONFIG", "RESETSTAT")
            for _ in range(50):
                node.broker.close("r")
                await node.open("r")
            stats = redis_server.ask("INFO", "commandstats")
            assert "cmdstat_subscribe" not in stats
            assert "cmdstat_unsubscribe" not in stats

    asyncio.run(check())


def test_nodes_hear_only_of_rooms_that_are_open_there(redis_server: RedisServer) -> None:
    async def check() -> None:
        async with staged(redis_server.url) as stage:
            one, two = await stage.node("r", "s"), await stage.node("r")
            two.broker.close("r")
            channel = two.broker._rooms["r"].channel
            await one.append(b"x", room="s")
            async with asyncio.timeout(5):
                while redis_server.ask("PUBSUB", "NUMSUB", channel) != [channel, 1]:
                    await asyncio.sleep(0.01)
            await one.append(b"x")
            assert two.tape["r"] == []

    asyncio.run(check())


def test_what_is_said_between_opening_a_room_and_the_answer_arrives(redis_server: RedisServer) -> None:
    async def check() -> None:
        async with staged(redis_server.url) as stage:
            proxy = await stage.proxy()
            one, two = await stage.node("r"), await stage.node("s", proxy=proxy)
            await two.until_ready()
            proxy.hold("replies")
            redis_server.ask("CONFIG", "RESETSTAT")
            opened = asyncio.create_task(two.open("r"))
            while "cmdstat_evalsha" not in redis_server.ask("INFO", "commandstats"):
                await asyncio.sleep(0.01)
            await one.append(b"x")
            proxy.release()
            await opened
            await two.until_head(1)

    asyncio.run(check())


@pytest.mark.parametrize("late", ["replies", "bus"])
def test_it_does_not_matter_which_connection_is_slower(redis_server: RedisServer, late: str) -> None:
    async def check() -> None:
        async with staged(redis_server.url) as stage:
            proxy = await stage.proxy()
            one, two = await stage.node("r"), await stage.node("r", proxy=proxy)
            for number in range(10):
                proxy.hold(late)
                own = two.begin(b"2-%d" % number)
                await one.append(b"1-%d" % number)
                await asyncio.sleep(0.01 * (number % 3))
                proxy.release()
                await own
            for node in (one, two):
                await node.until_head(20)
            assert one.tape == two.tape

    asyncio.run(check())


def test_nodes_share_their_secret(redis_server: RedisServer) -> None:
    async def check() -> None:
        async with staged(redis_server.url) as stage:
            assert (await stage.node()).broker.secret == (await stage.node()).broker.secret

    asyncio.run(check())


# Connections that end


@pytest.mark.parametrize("kind", ["pubsub", "normal"])
def test_nothing_is_lost_when_connections_are_killed(redis_server: RedisServer, kind: str) -> None:
    async def check() -> None:
        async with staged(redis_server.url) as stage:
            one, two = await stage.node("r", patience=PATIENT), await stage.node("r", patience=PATIENT)
            sent = []
            for number in range(60):
                sent += [one.begin(b"1-%d" % number), two.begin(b"2-%d" % number)]
                if number % 20 == 10:
                    await asyncio.to_thread(kill_clients, redis_server, kind)
                await asyncio.sleep(0.002)
            await asyncio.gather(*sent)
            for node in (one, two):
                await node.until_head(120)
            assert one.tape["r"] == two.tape["r"]
            assert len(set(one.payloads())) == 120
            assert one.moves == two.moves == {}

    asyncio.run(check())


def test_what_was_said_while_a_node_was_deaf_arrives(redis_server: RedisServer) -> None:
    async def check() -> None:
        async with staged(redis_server.url) as stage:
            proxy = await stage.proxy()
            one, two = await stage.node("r"), await stage.node("r", proxy=proxy)
            proxy.hold()
            for number in range(30):
                await one.append(b"%d" % number)
            proxy.release()
            proxy.cut()
            await two.until_head(30)
            assert two.payloads() == [b"%d" % number for number in range(30)]

    asyncio.run(check())


def test_a_call_whose_reply_was_lost_is_carried_out_once(redis_server: RedisServer) -> None:
    async def check() -> None:
        async with staged(redis_server.url) as stage:
            proxy = await stage.proxy()
            node, other = await stage.node("r", patience=PATIENT, proxy=proxy), await stage.node("r")
            proxy.hold("down")
            kept = node.begin(b"x", b"y")
            await other.until_head(2)
            proxy.release()
            proxy.cut()
            assert (await kept).first == 1
            assert (await node.append(b"z")).first == 3
            await other.until_head(3)
            assert node.payloads() == other.payloads() == [b"x", b"y", b"z"]

    asyncio.run(check())


def test_without_patience_a_lost_reply_is_an_error_and_what_was_kept_arrives(redis_server: RedisServer) -> None:
    async def check() -> None:
        async with staged(redis_server.url) as stage:
            proxy = await stage.proxy()
            node, other = await stage.node("r", proxy=proxy), await stage.node("r")
            proxy.hold("down")
            kept = node.begin(b"x")
            await other.until_head(1)
            proxy.cut()
            with pytest.raises(BrokerError):
                await kept
            proxy.release()
            await node.until_head(1)
            assert node.payloads() == [b"x"]

    asyncio.run(check())


def test_a_redis_that_hangs_is_noticed_and_found_again(own_server: RedisServer) -> None:
    async def check() -> None:
        async with staged(own_server.url) as stage:
            node = await stage.node("r")
            await node.until_ready()
            own_server.pause()
            with pytest.raises(BrokerError):
                await node.append(b"x")
            await node.until_ready(False)
            own_server.resume()
            await node.until_ready()
            await node.append(b"y")
            assert node.payloads()[-1] == b"y"

    asyncio.run(check())


def test_flushed_scripts_are_loaded_again(redis_server: RedisServer) -> None:
    async def check() -> None:
        async with staged(redis_server.url) as stage:
            node = await stage.node("r")
            for number in range(10):
                redis_server.ask("SCRIPT", "FLUSH")
                assert (await node.append(b"x")).first == number + 1
                assert await node.ask(node.broker.acknowledge, "r", "ada", "Ada", number) == number

    asyncio.run(check())


@pytest.mark.parametrize("wait", [0, 10])
@pytest.mark.parametrize("seed", range(3))
def test_whatever_becomes_of_the_connections_all_is_told_once_and_in_order(
    redis_server: RedisServer, seed: int, wait: float
) -> None:
    chance = random.Random(seed)
    ended = asyncio.Event()

    async def publish(node: Node, name: str) -> None:
        """Says each thing until it is acknowledged, as a client does."""
        for number in range(40):
            while True:
                try:
                    await node.append(once(f"{name}-{number}", b"%s-%d" % (name.encode(), number), sender=name))
                    break
                except BrokerError:
                    await asyncio.sleep(0.02)
            await asyncio.sleep(chance.random() * 0.03)

    async def disturb(proxy: Proxy) -> None:
        while not ended.is_set():
            await asyncio.sleep(chance.random() * 0.2)
            if chance.random() < 0.5:
                proxy.hold(*chance.choice([("up",), ("down",), ("up", "down")]))
                await asyncio.sleep(chance.random() * 0.1)
            proxy.cut()
            proxy.release()

    async def check() -> None:
        async with staged(redis_server.url) as stage:
            proxies = [await stage.proxy() for _ in range(3)]
            nodes = [await stage.node("r", patience=Patience(2, 1.5, wait), proxy=proxy) for proxy in proxies]
            trouble = [asyncio.create_task(disturb(proxy)) for proxy in proxies]
            await asyncio.gather(*[publish(node, str(number)) for number, node in enumerate(nodes)])
            ended.set()
            await asyncio.gather(*trouble)
            for node in nodes:
                await node.until_head(120)
            assert nodes[0].tape == nodes[1].tape == nodes[2].tape
            assert len(nodes[0].payloads()) == len(set(nodes[0].payloads())) == 120
            assert [node.moves for node in nodes] == [{}] * 3

    asyncio.run(check())


# Notes


def test_what_is_noted_is_taken_once_and_by_one_node(redis_server: RedisServer) -> None:
    async def check() -> None:
        async with staged(redis_server.url) as stage:
            one, two = await stage.node("r"), await stage.node("r")
            one.broker.note("ticket", b"ann", 60)
            assert await one.ask(one.broker.noted, "ticket") == b"ann"
            taken = await asyncio.gather(*[node.ask(node.broker.take, "ticket") for node in (one, two)])
            assert sorted(taken) == [b"", b"ann"]
            assert await two.ask(two.broker.noted, "ticket") == b""

    asyncio.run(check())


# Logs that are lost


def test_a_log_that_was_flushed_begins_a_new_epoch(redis_server: RedisServer) -> None:
    async def check() -> None:
        async with staged(redis_server.url) as stage:
            one, two = await stage.node("r"), await stage.node("r")
            await one.append(b"x", b"y")
            await two.until_head(2)
            before = two.place["r"]
            for key in redis_server.ask("KEYS", stage.logs.prefix + "*"):
                redis_server.ask("DEL", key)
            assert (await one.append(b"z")).first == 1
            await two.until(lambda: two.place["r"] == (one.place["r"].epoch, 1))
            assert one.place["r"].epoch != before.epoch
            assert [node.moves["r"] for node in (one, two)] == [[(one.place["r"].epoch, 0)]] * 2
            assert one.payloads() == two.payloads() == [b"z"]

    asyncio.run(check())


def test_a_lost_log_is_noticed_where_nothing_is_said(redis_server: RedisServer) -> None:
    async def check() -> None:
        async with staged(redis_server.url) as stage:
            node = await stage.node("r")
            await node.append(b"x")
            for key in redis_server.ask("KEYS", stage.logs.prefix + "*"):
                redis_server.ask("DEL", key)
            await node.until(lambda: bool(node.moves))
            assert node.place["r"].seq == 0
            assert redis_server.ask("GET", stage.logs.prefix + "secret") == node.broker.secret

    asyncio.run(check())


def test_a_log_that_came_back_shorter_begins_a_new_epoch(redis_server: RedisServer) -> None:
    async def check() -> None:
        async with staged(redis_server.url) as stage:
            one, two = await stage.node("r"), await stage.node("r")
            await one.append(b"1", b"2")
            meta, log = one.broker._rooms["r"].keys[:2]
            saved = redis_server.ask("DUMP", meta), redis_server.ask("DUMP", log)
            await one.append(b"3")
            await two.until_head(3)
            for key, value in zip((meta, log), saved, strict=True):
                redis_server.ask("RESTORE", key, 0, value, "REPLACE")
            await two.append(b"4")
            await one.until(lambda: one.payloads() == [b"4"])
            assert one.place == two.place
            assert one.place["r"].seq == 1

    asyncio.run(check())


def test_what_was_received_of_a_lost_log_is_not_received_of_the_next(redis_server: RedisServer) -> None:
    async def check() -> None:
        async with staged(redis_server.url) as stage:
            one, two = await stage.node("r"), await stage.node("r")
            await one.append(b"1", b"2")
            redis_server.ask("HSET", one.broker._rooms["r"].keys[0], "epoch", "another")  # as another node begins it
            assert await one.ask(one.broker.acknowledge, "r", "user:ada", "ada", 2) == 0
            assert await two.ask(two.broker.acknowledged, "r", "user:ada") is None

    asyncio.run(check())


def test_a_redis_that_comes_back_with_its_log_has_lost_nothing(own_server: RedisServer) -> None:
    async def check() -> None:
        async with staged(own_server.url) as stage:
            node = await stage.node("r")
            await node.append(b"x", b"y")
            await node.until_ready()
            own_server.kill()
            with pytest.raises(BrokerError):
                await node.append(b"lost")
            await node.until_ready(False)
            await asyncio.to_thread(own_server.start)
            await node.until_ready()
            assert ((await node.append(b"z")).first, node.moves) == (3, {})

    asyncio.run(check())


def test_a_redis_that_comes_back_empty_begins_new_epochs(own_server: RedisServer) -> None:
    async def check() -> None:
        async with staged(own_server.url) as stage:
            node = await stage.node("r", "s")
            for room in "rs":
                await node.append(b"x", room=room)
            own_server.kill()
            own_server.options["appendonly"] = "no"
            await asyncio.to_thread(own_server.start)
            await node.until(lambda: set(node.moves) == {"r", "s"})
            await node.until_ready()
            assert (await node.append(b"z")).first == 1

    asyncio.run(check())


def test_a_full_redis_fails_what_it_cannot_keep_and_is_read(own_server: RedisServer) -> None:
    async def check() -> None:
        async with staged(own_server.url) as stage:
            one, two = await stage.node("r"), await stage.node("r")
            await one.append(b"x")
            await two.until_head(1)
            own_server.ask("CONFIG", "SET", "maxmemory", "1")
            with pytest.raises(BrokerError, match="maxmemory"):
                await one.append(b"y")
            assert (await one.ask(one.broker.read, "r", 0, 10, 10)).whole
            third = await stage.node()
            assert (await third.open("r")).seq == 1
            own_server.ask("CONFIG", "SET", "maxmemory", "0")
            assert (await one.append(b"z")).first == 2
            await two.until_head(2)

    asyncio.run(check())


def test_a_hole_that_is_not_held_any_more_is_said(redis_server: RedisServer) -> None:
    async def check() -> None:
        async with staged(redis_server.url, Retention(5, 0, 0)) as stage:
            proxy = await stage.proxy()
            one, two = await stage.node("r"), await stage.node("r", proxy=proxy)
            proxy.hold()
            for number in range(1, 21):
                await one.append(b"%d" % number)
            proxy.cut()
            proxy.release()
            await two.until_head(20)
            assert two.moves["r"] == [(one.place["r"].epoch, 15)]
            assert two.payloads() == [b"%d" % number for number in range(16, 21)]

    asyncio.run(check())


# What is said on the bus by others


def test_garbage_on_the_bus_is_dropped_and_counted(redis_server: RedisServer) -> None:
    junk = [
        b"",
        b"x",
        b"\x02" * 40,
        b"\x01\x01" + b"n" * 16,
        b"\x01\x02" + b"n" * 16 + b"\xff" * 8,
        b"\x01" * 5_000_000,
    ]

    async def check() -> None:
        async with staged(redis_server.url) as stage:
            one, two = await stage.node("r"), await stage.node("r")
            channel = two.broker._rooms["r"].channel
            for message in junk:
                redis_server.ask("PUBLISH", channel, message)
            await one.append(b"y")
            await two.until_head(1)
            assert (two.payloads(), two.drops, one.broker.ready) == ([b"y"], len(junk), True)

    asyncio.run(check())


def test_what_the_bus_has_lost_is_read(redis_server: RedisServer) -> None:
    async def check() -> None:
        async with staged(redis_server.url) as stage:
            one, two = await stage.node("r"), await stage.node("r")
            channel = two.broker._rooms["r"].channel
            room = two.broker._channels.pop(channel)  # hears nothing
            await one.append(b"1", b"2")
            await two.until_ready()
            two.broker._channels[channel] = room
            await one.append(b"3")
            await two.until_head(3)
            assert two.payloads() == [b"1", b"2", b"3"]

    asyncio.run(check())


# The end


def test_a_node_stops_while_redis_is_gone(own_server: RedisServer) -> None:
    async def check() -> None:
        async with staged(own_server.url) as stage:
            node = await stage.node("r", patience=PATIENT)
            own_server.kill()
            kept = node.begin(b"x")
            await node.stop()
            with pytest.raises(BrokerError):
                await kept
            with pytest.raises(BrokerError):
                await node.append(b"y")

    asyncio.run(check())


def test_what_waits_for_redis_is_bounded(own_server: RedisServer) -> None:
    async def check() -> None:
        async with staged(own_server.url) as stage:
            node = await stage.node("r", patience=PATIENT)
            own_server.pause()
            answers = [node.begin(b"x" * (1 << 20)) for _ in range(80)]
            await asyncio.sleep(0)
            assert sum(answer.done() for answer in answers) == 0  # in their turn: those before wait still
            own_server.resume()
            results = await asyncio.gather(*answers, return_exceptions=True)
            assert sum(isinstance(result, BrokerError) for result in results) == 80 - 64

    asyncio.run(check())


def test_a_log_ends_a_day_after_its_events_and_not_while_it_is_used(redis_server: RedisServer) -> None:
    async def check() -> None:
        async with staged(redis_server.url, Retention(0, 0, 1000)) as stage:
            one = await stage.node("r")
            keys = [room_base(stage.logs.prefix, "r") + part for part in (b"meta", b"log")]
            await one.append(b"a")
            assert [redis_server.ask("TTL", key) > 87_000 for key in keys] == [True, True]
            for key in keys:
                redis_server.ask("EXPIRE", key, 50)
            stage.logs.now += 3_600_000
            await one.append(b"b")
            assert [redis_server.ask("TTL", key) > 87_000 for key in keys] == [True, True]

    asyncio.run(check())


def test_what_the_bus_has_lost_is_found_though_nothing_more_is_said(redis_server: RedisServer) -> None:
    async def check() -> None:
        async with staged(redis_server.url) as stage:
            one, two = await stage.node("r"), await stage.node("r")
            two.broker._channels.clear()  # deaf to the room, and nobody notices
            await one.append(b"a", b"b")
            await two.until_head(2)
            assert two.tape["r"] == one.tape["r"]

    asyncio.run(check())
