"""What fails in faults.py, how long, and what of it clients may notice."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.support.fleet import Node
from tests.support.proxy import Proxy
from tests.support.redis import RedisCluster, RedisServer, Watched
from tests.support.returning import ReturningClient
from tests.support.swarm import Swarm

DURABLE = {"appendonly": "yes", "appendfsync": "always"}
Redis = RedisServer | RedisCluster | Watched
Living = dict[ReturningClient, asyncio.Task[None]]


@dataclass(slots=True)
class Stage:
    """What there is to fail.

    Attributes:
        proxy: between the first node and Redis, where there is one.
        lasting: by what the time is multiplied for which a fault lasts.
        living: what brings each client back.
    """

    redis: Any
    nodes: Sequence[Node]
    swarm: Swarm
    proxy: Proxy | None
    lasting: float
    living: Living = field(default_factory=dict)

    async def last(self, seconds: float) -> None:
        """The fault is there for so long: nothing tells when it has been there long enough."""
        await asyncio.sleep(seconds * self.lasting)

    def clients_of(self, node: Node) -> list[ReturningClient]:
        return [client for client in self.swarm.clients if client.port == node.port]


Do = Callable[[Stage], Awaitable[list[str] | None]]


@dataclass(frozen=True, slots=True)
class Fault:
    """One thing that fails.

    Attributes:
        do: has it fail, and returns when it works again; what was wrong meanwhile, a line each.
        config: of the Redis.
        loses: Redis itself loses what it held: everybody is told of a new epoch.
        quiet: nobody is told that anybody came or left.
        proxied: there is a proxy between the first node and Redis.
        options: of the nodes.
    """

    name: str
    do: Do
    config: Mapping[str, Any] = field(default_factory=dict)
    loses: bool = False
    quiet: bool = True
    proxied: bool = False
    nodes: int = 2
    options: tuple[str, ...] = ()
    kind: str = "server"

    def redis(self, folder: Path) -> Redis:
        place = folder / "redis"
        place.mkdir()
        if self.kind == "cluster":
            return RedisCluster(place, **self.config)
        return Watched(place) if self.kind == "sentinel" else RedisServer(place, **self.config)


# Redis ends


async def kill_redis(stage: Stage) -> None:
    await asyncio.to_thread(stage.redis.kill)
    await stage.last(1.5)
    await asyncio.to_thread(stage.redis.start)


async def hang_redis(stage: Stage) -> None:
    stage.redis.pause()
    await stage.last(5)
    stage.redis.resume()


async def fail_over(stage: Stage) -> None:
    watched: Watched = stage.redis
    await asyncio.to_thread(watched.master.kill)
    await asyncio.to_thread(watched.replica.wait_for, lambda: watched.replica.ask("ROLE")[0] == b"master")


async def kill_one_of_a_cluster(stage: Stage) -> None:
    server = stage.redis.servers[1]
    await asyncio.to_thread(server.kill)
    await stage.last(2.5)
    await asyncio.to_thread(server.start)
    await asyncio.to_thread(server.wait_for, lambda: b"cluster_state:ok" in bytes(server.ask("CLUSTER", "INFO")))


# Somebody does something to Redis


async def cut_the_bus(stage: Stage) -> None:
    for _ in range(10):
        await asyncio.to_thread(stage.redis.ask, "CLIENT", "KILL", "TYPE", "pubsub")
        await stage.last(0.2)


async def cut_all(stage: Stage) -> None:
    for _ in range(10):
        for kind in ("pubsub", "normal"):
            await asyncio.to_thread(stage.redis.ask, "CLIENT", "KILL", "TYPE", kind)
        await stage.last(0.2)


async def flush_scripts(stage: Stage) -> None:
    for _ in range(50):
        await asyncio.to_thread(stage.redis.ask, "SCRIPT", "FLUSH")
        await stage.last(0.04)


async def flush_all(stage: Stage) -> None:
    await asyncio.to_thread(stage.redis.ask, "FLUSHALL")


async def fill_memory(stage: Stage) -> list[str]:
    """Nothing is acknowledged while the memory is full, and rooms can be read."""
    swarm, wrong = stage.swarm, []
    acknowledged = swarm.history.ledger.acknowledged
    await asyncio.to_thread(stage.redis.ask, "CONFIG", "SET", "maxmemory", 1)
    refused_before = {client: client.unavailable for client in swarm.clients}
    await swarm.until(lambda: all(client.unavailable > refused_before[client] for client in swarm.clients))
    before = len(acknowledged)
    for client in stage.clients_of(stage.nodes[0])[::2]:
        client.reset()  # it comes back, which is reading
    await asyncio.sleep(0)
    if not await swarm.until(lambda: all(client.online for client in swarm.clients)):
        wrong.append("who came back could not read while the memory was full")
    await stage.last(2)
    if len(acknowledged) != before:
        wrong.append(f"{len(acknowledged) - before} messages were acknowledged while the memory was full")
    await asyncio.to_thread(stage.redis.ask, "CONFIG", "SET", "maxmemory", 0)
    return wrong


# A node ends, or cannot be reached


async def kill_node(stage: Stage) -> list[str]:
    """One client of each room ends with the node: that it has left is told once; of the others nothing is told."""
    node, swarm = stage.nodes[0], stage.swarm
    ghosts = [next(client for client in stage.clients_of(node) if client.room == room) for room in swarm.rooms]
    stayed = [client for client in swarm.clients if client.port != node.port]
    for ghost in ghosts:
        stage.living.pop(ghost).cancel()
    await asyncio.to_thread(node.kill)
    for ghost in ghosts:
        swarm.retire(ghost)
    left = {ghost.room: [("user_left", ghost.name)] for ghost in ghosts}
    await swarm.until(lambda: all(client.announced for client in stayed))
    await stage.last(1)
    return [
        f"{client.name} was told {client.announced}, not {left[client.room]}"
        for client in stayed
        if client.announced != left[client.room]
    ]


async def hang_node(stage: Stage) -> None:
    """Half of its clients go elsewhere; the others wait for it."""
    node = stage.nodes[0]
    node.pause()
    await stage.last(1)
    for client in stage.clients_of(node)[::2]:
        client.reset()
    await stage.last(9)
    node.resume()


def partition(*directions: str) -> Do:
    async def part(stage: Stage) -> None:
        assert stage.proxy is not None
        stage.proxy.hold(*directions)
        await stage.last(6)
        stage.proxy.release()

    return part


async def cut_off(stage: Stage) -> None:
    """The node cannot reach Redis, and what was under way is lost."""
    assert stage.proxy is not None
    stage.proxy.hold()
    await stage.last(2)
    stage.proxy.cut()
    await stage.last(2)
    stage.proxy.release()


FAULTS = (
    Fault("redis is killed and comes back empty", kill_redis, loses=True),
    Fault("redis is killed and comes back with its file", kill_redis, DURABLE),
    Fault("redis hangs", hang_redis),
    Fault("the bus is cut", cut_the_bus),
    Fault("all connections to redis are cut", cut_all),
    Fault("scripts are flushed", flush_scripts),
    Fault("everything in redis is flushed", flush_all, loses=True),
    Fault("the memory of redis is full", fill_memory, quiet=False, options=("--grace-seconds", "1")),
    Fault("a node is killed", kill_node, nodes=3, quiet=False),
    Fault("a node hangs", hang_node, nodes=3, quiet=False),
    Fault("a node is cut off from redis", partition(), proxied=True, quiet=False),
    Fault("a node can only hear redis", partition("up"), proxied=True, quiet=False),
    Fault("a node can only speak to redis", partition("down"), proxied=True, quiet=False),
    Fault("a node loses its connections to redis", cut_off, proxied=True),
    Fault("a sentinel names another master", fail_over, loses=True, kind="sentinel"),
    Fault("a server of a cluster is killed, and back with its file", kill_one_of_a_cluster, DURABLE, kind="cluster"),
)
