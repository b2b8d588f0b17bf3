"""Two nodes on one Redis behind nginx and behind HAProxy, over TLS: no client has to come back to the same node."""

from __future__ import annotations

import asyncio
import json
import signal
import ssl
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from uuid import uuid4

import pytest

from hubbub.wire.handshake import encode_request
from tests.integration.test_behind_proxies import BEHIND, TRUSTING
from tests.support.canary import canary
from tests.support.certificates import Authority, Files
from tests.support.credentials import bearer, secret_issuer
from tests.support.peer import Peer, TlsPeer, command
from tests.support.proxies import HAPROXY, NAME, NGINX, PROXIES, Proxy, proxied
from tests.support.redis import RedisServer
from tests.support.returning import Event, ReturningClient
from tests.support.server import FAST, STOP_SECONDS, Server, serve
from tests.support.swarm import Swarm, failures

MOST = 24
"""Connections of a node: so few that a test can fill one."""
EVERYBODY = ("--auth", "jwt,anonymous", "--anonymous-rooms", "*")
OPTIONS = (*EVERYBODY, "--rate-limit", "0", "--drain-notice-seconds", "0.5")
SENT_AWAY = "closed with (1012, 'after=500')"


class Pair:
    """Two nodes on one Redis; each may end and start again at its port.

    Attributes:
        nodes: as they run, or ran last.
        issuer: whose tokens count there; who has none is let in as well.

    Args:
        most: connections of a node.
    """

    def __init__(self, folder: Path, redis: RedisServer, most: int = MOST) -> None:
        self.nodes: list[Server] = []
        self.issuer = secret_issuer(folder)
        self._most = most
        self._redis = redis
        self._prefix = f"test-{uuid4()}:"
        self._folder = folder
        self._stack = ExitStack()

    def __enter__(self) -> Pair:
        self.nodes = [self._serve(None) for _ in range(2)]
        return self

    def __exit__(self, *ended: object) -> None:
        self._stack.close()

    def _serve(self, port: int | None) -> Server:
        shared = ("--broker", self._redis.url, "--redis-prefix", self._prefix)
        options = (*TRUSTING, *self.issuer.options, *shared, *OPTIONS, "--max-connections", str(self._most))
        return self._stack.enter_context(serve(self._folder, FAST, *options, target=BEHIND, port=port))

    def start_again(self, number: int) -> None:
        self.nodes[number] = self._serve(self.nodes[number].port)

    def connections(self) -> list[int]:
        return [node.counters()["connections"] for node in self.nodes]

    def leases(self) -> set[bytes]:
        """The nodes that count as alive."""
        return set(self._redis.ask("ZRANGE", f"{self._prefix}nodes", 0, -1))

    def wait_for_burial(self, leases: set[bytes]) -> None:
        """Returns once only one of them is left: the others' members have been told to be gone, or not."""
        self._redis.wait_for(lambda: len(leases & self.leases()) == 1)


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> Files:
    return Authority(tmp_path_factory.mktemp("authority")).issue("server")


@pytest.fixture(autouse=True)
def _trusted(files: Files, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SSL_CERT_FILE", str(files.authority))


@pytest.fixture(scope="module")
def started(redis_server: RedisServer, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Pair]:
    with Pair(tmp_path_factory.mktemp("nodes"), redis_server) as running:
        yield running


@pytest.fixture
def pair(started: Pair) -> Pair:
    """The nodes, without those who came in the test before."""
    for node in started.nodes:
        node.wait_for_connections(0)
    return started


@pytest.fixture(scope="module", params=PROXIES)
def proxy(
    request: pytest.FixtureRequest, started: Pair, files: Files, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Proxy]:
    with proxied(request.param, tmp_path_factory.mktemp("proxy"), started.nodes, files) as running:
        yield running


@pytest.fixture
def peers() -> Iterator[ExitStack]:
    with ExitStack() as stack:
        yield stack


@pytest.fixture
def room() -> str:
    return f"room {uuid4()}"


def come(proxy: Proxy, pair: Pair, peers: ExitStack, target: str) -> tuple[TlsPeer, int]:
    """Somebody who comes through the proxy, and the number of the node that they came to."""
    before = pair.connections()
    peer = peers.enter_context(TlsPeer(proxy.port))
    peer.host = NAME
    peer.open(target)
    [number] = [number for number, count in enumerate(pair.connections()) if count > before[number]]
    return peer, number


def fill(node: Server, peers: ExitStack) -> None:
    """Takes what room a node has, past the proxy, so that whoever comes has to go to the other."""
    for _ in range(MOST - node.counters()["connections"]):
        peers.enter_context(Peer(node.port)).open("/echo")


def watching(pair: Pair, peers: ExitStack, room: str) -> list[Peer]:
    """Bob on one node, and Carl on the other."""
    watchers = []
    for name, node in zip(("bob", "carl"), pair.nodes, strict=True):
        watchers.append(peers.enter_context(Peer(node.port)))
        watchers[-1].join(room, name)
    watchers[0].event("user_joined")
    return watchers


def texts_until(peer: Peer, last: str) -> list[str]:
    """What is said up to a text; fails where anything else comes, such as that somebody left."""
    texts: list[str] = []
    while last not in texts:
        texts.append(peer.event()["text"])
    return texts


def present(peer: Peer, room: str) -> tuple[list[str], int]:
    peer.send(command(type="presence", room=room, id="present"))
    answer = peer.event("ok")
    return sorted(answer["members"]), answer["count"]


def test_who_is_lost_on_one_node_resumes_on_the_other_and_nobody_notices(
    proxy: Proxy, pair: Pair, peers: ExitStack, room: str
) -> None:
    bob, carl = watching(pair, peers, room)
    ada, home = come(proxy, pair, peers, "/ws?session=")
    session = ada.event("connected")["session"]
    ada.send(command(type="join", room=room, username="ada"))
    epoch = ada.event("room_info")["epoch"]
    assert [peer.event()["type"] for peer in (bob, carl)] == ["user_joined"] * 2
    ada.send(command(type="message", text="before", id=1))
    place = {"epoch": epoch, "seq": ada.event("ok")["seq"]}
    ada.reset()
    pair.nodes[home].wait_for_connections(1)
    bob.send(command(type="message", text="missed"))
    carl.send(command(type="message", text="missed too"))
    assert [set(texts_until(peer, "missed")) - {"missed too"} for peer in (bob, carl)] == [{"before", "missed"}] * 2

    fill(pair.nodes[home], peers)
    again, now = come(proxy, pair, peers, f"/ws?session={session}")
    assert now != home
    assert again.event("connected")["session"] == session
    again.send(command(type="resume", session=session, rooms={room: place}, id=2))
    info = again.event("room_info")
    assert (info["recovered"], {event["text"] for event in info["messages"]}) == (True, {"missed", "missed too"})
    assert again.event()["missing"] == []
    again.send(command(type="message", text="back"))
    for peer in (bob, carl):
        assert set(texts_until(peer, "back")) <= {"missed too", "back"}
    assert [present(peer, room) for peer in (again, bob, carl)] == [(["ada", "bob", "carl"], 3)] * 3


# What stands in the files of deploy/ in place of counting connections, commented out there.
STICKY = {
    NGINX: {"    least_conn;\n": "", "    # hash $remote_addr consistent;": "    hash $remote_addr consistent;"},
    HAPROXY: {
        "    balance leastconn\n": "",
        "    # balance source": "    balance source",
        "    # hash-type consistent": "    hash-type consistent",
    },
}


def status_with_a_ticket(proxy: Proxy, peers: ExitStack, token: str) -> int:
    """What a handshake gets that shows a ticket, had through the proxy as well; the connection stays open."""
    giving, using = (peers.enter_context(TlsPeer(proxy.port)) for _ in range(2))
    head = (
        "POST /api/ticket HTTP/1.1",
        f"Host: {NAME}",
        "Content-Length: 0",
        "Connection: close",
        bearer(token),
        "",
        "",
    )
    code, answer = giving.http("\r\n".join(head).encode())
    assert code == 200, answer
    ticket = canary.keep(json.loads(answer.partition(b"\r\n\r\n")[2])["ticket"], "a ticket that a node gave")
    using.send(encode_request(NAME, f"/ws?ticket={ticket}", b"AAAAAAAAAAAAAAAAAAAAAA=="))
    return int(using.socket.recv(65536).split(b" ", 2)[1])


@pytest.mark.parametrize("sticky", [False, True])
@pytest.mark.parametrize("name", PROXIES)
def test_a_ticket_counts_on_whichever_node_it_is_used(
    name: str, sticky: bool, pair: Pair, peers: ExitStack, files: Files, tmp_path: Path
) -> None:
    with proxied(name, tmp_path, pair.nodes, files, STICKY[name] if sticky else {}) as proxy:
        assert [status_with_a_ticket(proxy, peers, pair.issuer.token()) for _ in range(4)] == [101] * 4
        peers.close()


class Regular(ReturningClient):
    """Comes through a proxy.

    Attributes:
        noticed: who was said to have left, or to have come though they were there.
    """

    host = NAME

    def __init__(self, *arguments: object, **named: bool) -> None:
        super().__init__(*arguments, **named)  # type: ignore[arg-type]
        self.tls = ssl.create_default_context()
        self.noticed: list[Event] = []
        self._here: set[str] = set()

    def _event(self, event: Event) -> None:
        match event["type"]:
            case "room_info":
                self._here.update(event["members"])
            case "user_joined" if event["username"] not in self._here:
                self._here.add(event["username"])
            case "user_joined" | "user_left":
                self.noticed.append(event)
        super()._event(event)


class Regulars(Swarm):
    """Six in two rooms, who talk while nodes end, and come back as soon as they are sent away or lost."""

    client_type = Regular
    SIZE = 3

    def __init__(self, proxy: Proxy) -> None:
        self._life = uuid4()
        super().__init__([proxy.port], 2 * self.SIZE, self.SIZE)

    def _add(self, name: str, room: str) -> None:
        """In rooms of this life: those of the one before may be waited for there."""
        super()._add(name, f"{room} {self._life}")

    async def live(self, change: Callable[[], None]) -> None:
        """Everybody talks and comes back while `change` runs, and has all in the end."""
        await self.come()
        changing = asyncio.ensure_future(asyncio.to_thread(change))
        await asyncio.gather(*(self._talk(client, changing) for client in self.clients))
        await self.settle()
        await changing

    async def _talk(self, client: ReturningClient, until: asyncio.Future[None]) -> None:
        while not until.done():
            await client.return_()
            self.publish(client)
            await client.stay(0.05)
        await client.return_()

    def assert_kept(self) -> None:
        """Nothing was lost or came twice, no session was lost, and nobody was noticed to go or come."""
        assert failures(self.figures()) == []
        assert [event for client in self.clients for event in client.noticed] == []  # type: ignore[attr-defined]


def counted(pair: Pair, room: str) -> list[tuple[list[str], int]]:
    """Who is in a room, as each node says to somebody who listens there."""
    lists = []
    for node in pair.nodes:
        with Peer(node.port) as guest:
            guest.open()
            guest.send(command(type="subscribe", room=room))
            guest.event("room_info")
            lists.append(present(guest, room))
    return lists


def run(swarm: Regulars, pair: Pair, change: Callable[[], None]) -> None:
    """The regulars live through a change; afterwards both nodes count them all."""

    async def life() -> None:
        try:
            await swarm.live(change)
            for room, clients in swarm.rooms.items():
                expected = sorted(client.name for client in clients), swarm.SIZE
                assert await asyncio.to_thread(counted, pair, room) == [expected] * 2
        finally:
            for client in swarm.clients:
                client.reset()

    asyncio.run(life())
    swarm.assert_kept()


def test_clients_of_a_node_that_is_killed_come_back_on_the_other_and_nothing_is_lost(proxy: Proxy, pair: Pair) -> None:
    swarm = Regulars(proxy)
    lost: list[int] = []

    def kill() -> None:
        leases = pair.leases()
        lost.append(pair.connections()[0])
        pair.nodes[0].process.kill()
        pair.nodes[0].process.wait()
        pair.nodes[1].wait_for_connections(6)
        pair.start_again(0)
        if proxy.name == HAPROXY:  # once is enough: it takes 5 s, and is no proxy's doing
            pair.wait_for_burial(leases)

    run(swarm, pair, kill)
    assert lost[0] > 0
    assert [sum(len(client.losses) for client in swarm.clients)] == lost


def test_both_nodes_are_restarted_one_after_the_other_and_nobody_tries_in_vain(proxy: Proxy, pair: Pair) -> None:
    swarm = Regulars(proxy)
    sent_away: list[int] = []

    def restart() -> None:
        for number, other in ((0, 1), (1, 0)):
            sent_away.append(pair.connections()[number])
            pair.nodes[number].process.send_signal(signal.SIGTERM)
            pair.nodes[other].wait_for_connections(6)
            assert pair.nodes[number].process.wait(STOP_SECONDS) == 0
            pair.start_again(number)
            if proxy.name == HAPROXY:
                proxy.wait_until(f"node{number + 1}", "UP")

    run(swarm, pair, restart)
    assert sent_away[0] > 0
    assert [loss for client in swarm.clients for loss in client.losses] == [SENT_AWAY] * sum(sent_away)
