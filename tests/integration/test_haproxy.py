"""What only HAProxy has: it asks nodes how they are; and the numbers of its file against Hubbub's settings."""

from __future__ import annotations

import re
import signal
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from hubbub.config import Config
from tests.integration.test_behind_proxies import BEHIND, TRUSTING
from tests.support.certificates import Authority
from tests.support.peer import TlsPeer, command
from tests.support.proxies import DEPLOY, HAPROXY, NAME, Proxy, proxied
from tests.support.redis import RedisServer
from tests.support.server import FAST, ROOT, Server, serve

FILE = (DEPLOY / "haproxy" / "haproxy.cfg").read_text()
Pair = tuple[Proxy, list[Server]]


def number(name: str) -> int:
    found = re.findall(rf"^\s*{name} (\d+)s?\b", FILE, re.MULTILINE)
    assert len(found) == 1
    return int(found[0])


@pytest.fixture
def redis(tmp_path: Path) -> Iterator[RedisServer]:
    """A Redis of the first node's own, which may be away."""
    folder = tmp_path / "redis"
    folder.mkdir()
    with RedisServer(folder) as running:
        yield running


@pytest.fixture
def pair(tmp_path: Path, redis: RedisServer, monkeypatch: pytest.MonkeyPatch) -> Iterator[Pair]:
    """HAProxy in front of two nodes, which have a long drain."""
    files = Authority(tmp_path).issue("server")
    monkeypatch.setenv("SSL_CERT_FILE", str(files.authority))
    with ExitStack() as stack:
        nodes = [
            stack.enter_context(
                serve(tmp_path, FAST, *TRUSTING, "--drain-notice-seconds", "60", "--broker", url, target=BEHIND)
            )
            for url in (redis.url, "memory://")
        ]
        yield stack.enter_context(proxied(HAPROXY, tmp_path, nodes, files)), nodes
        for node in nodes:
            node.process.send_signal(signal.SIGTERM)  # the second, which follows, ends it at once


def dial(proxy: Proxy, stack: ExitStack) -> TlsPeer:
    peer = stack.enter_context(TlsPeer(proxy.port))
    peer.host = NAME
    peer.open()
    return peer


def stopping(proxy: Proxy, node: Server) -> None:
    node.process.send_signal(signal.SIGTERM)
    proxy.wait_until("node1", "DOWN")


def drained(proxy: Proxy, node: Server) -> None:
    assert proxy.administer("set server hubbub/node1 state drain").strip() == ""
    assert proxy.state("node1") == "DRAIN"


def connections(nodes: list[Server]) -> list[int]:
    return [node.counters()["connections"] for node in nodes]


@pytest.mark.parametrize("end", [stopping, drained])
def test_a_node_that_stops_keeps_whom_it_has_and_gets_nobody_new(
    pair: Pair, end: Callable[[Proxy, Server], None]
) -> None:
    proxy, nodes = pair
    with ExitStack() as stack:
        clients = [dial(proxy, stack), dial(proxy, stack)]
        assert connections(nodes) == [1, 1]
        end(proxy, nodes[0])
        refused = nodes[0].counters()["handshakes_refused"]
        clients += [dial(proxy, stack) for _ in range(4)]
        assert connections(nodes) == [1, 5]
        assert nodes[0].counters()["handshakes_refused"] == refused
        for client in clients:
            client.send(command(type="ping", id="alive"))
            assert client.event("ok")["id"] == "alive"


def test_a_node_whose_redis_is_away_keeps_whom_it_has_and_gets_nobody_new_until_it_is_back(
    pair: Pair, redis: RedisServer
) -> None:
    proxy, nodes = pair
    with ExitStack() as stack:
        ada, _ = dial(proxy, stack), dial(proxy, stack)
        redis.kill()
        proxy.wait_until("node1", "DOWN")
        for _ in range(2):
            dial(proxy, stack)
        assert connections(nodes) == [1, 3]
        redis.start()
        proxy.wait_until("node1", "UP")
        for _ in range(2):
            dial(proxy, stack)
        assert connections(nodes) == [3, 3]
        ada.send(command(type="ping", id="alive"))
        assert ada.event("ok")["id"] == "alive"


def test_as_shipped_it_asks_readyz() -> None:
    assert "http-check send meth GET uri /readyz ver HTTP/1.1 hdr Host chat.example.com\n" in FILE
    assert "http-check expect status 200\n" in FILE


def test_its_timeouts_are_longer_than_two_heartbeats_and_a_stall() -> None:
    longest = max(2 * Config().heartbeat.heartbeat_seconds, Config().limits.stall_seconds)
    for name in ("timeout client", "timeout server", "timeout tunnel"):
        assert number(name) > longest


def test_nodes_are_told_to_wait_until_it_has_noticed_that_they_stop() -> None:
    [(seconds, milliseconds)] = re.findall(r" inter (\d+)s fastinter (\d+)ms fall 2 ", FILE)
    [told] = re.findall(r"--drain-notice-seconds (\d+) ", (ROOT / "docs" / "deploying.md").read_text())
    assert int(told) > int(seconds) + int(milliseconds) / 1000
    assert f"nodes have drain_notice_seconds {told}," in FILE


def test_its_limits_let_more_pass_than_hubbubs() -> None:
    limits = Config().limits
    assert number(r"tune\.bufsize") - number(r"tune\.maxrewrite") > limits.max_head_bytes
    assert number(r"tune\.http\.maxhdr") > limits.max_header_count
    assert number("maxconn") == 2 * limits.max_connections
    assert f"sc0_conn_cur gt {2 * limits.max_connections_per_address} " in FILE
