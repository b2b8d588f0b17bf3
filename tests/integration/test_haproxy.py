"""What only HAProxy has: it asks nodes how they are; and the numbers of its file against Hubbub's settings."""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from hubbub.config import Config
from tests.integration.test_behind_proxies import TRUSTING
from tests.support.certificates import Authority
from tests.support.peer import Peer, TlsPeer, command
from tests.support.proxies import DEPLOY, HAPROXY, NAME, Proxy, proxied
from tests.support.server import FAST, Server, serve

FILE = (DEPLOY / "haproxy" / "haproxy.cfg").read_text()
SECONDS = 10.0
# What is asked here in place of /readyz: tests/support/behind.py answers there as it is told to.
PROBE = "/behind/probe"
Pair = tuple[Proxy, list[Server]]


def number(name: str) -> int:
    found = re.findall(rf"^\s*{name} (\d+)s?\b", FILE, re.MULTILINE)
    assert len(found) == 1
    return int(found[0])


@pytest.fixture
def pair(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Pair]:
    """HAProxy in front of two nodes."""
    files = Authority(tmp_path).issue("server")
    monkeypatch.setenv("SSL_CERT_FILE", str(files.authority))
    with ExitStack() as stack:
        nodes = [
            stack.enter_context(serve(tmp_path, FAST, *TRUSTING, target="tests.support.behind:app")) for _ in range(2)
        ]
        probing = {"uri /readyz": f"uri {PROBE}"}
        yield stack.enter_context(proxied(HAPROXY, tmp_path, nodes, files, probing)), nodes


def state(proxy: Proxy, node: str) -> str:
    """A node's state, as HAProxy sees it."""
    rows = [line.split(",") for line in proxy.administer("show stat").splitlines()]
    [found] = [row for row in rows[1:] if row[:2] == ["hubbub", node]]
    return found[rows[0].index("status")]


def wait_until(done: Callable[[], bool]) -> None:
    deadline = time.monotonic() + SECONDS
    while not done():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def dial(proxy: Proxy, stack: ExitStack) -> TlsPeer:
    peer = stack.enter_context(TlsPeer(proxy.port))
    peer.host = NAME
    peer.open()
    return peer


def not_ready(proxy: Proxy, node: Server) -> None:
    with Peer(node.port) as peer:
        peer.http(f"POST {PROBE} HTTP/1.1\r\nHost: {NAME}\r\nConnection: close\r\nContent-Length: 0\r\n\r\n".encode())
    wait_until(lambda: state(proxy, "node1") == "DOWN")


def drained(proxy: Proxy, node: Server) -> None:
    assert proxy.administer("set server hubbub/node1 state drain").strip() == ""
    assert state(proxy, "node1") == "DRAIN"


@pytest.mark.parametrize("end", [not_ready, drained])
def test_a_node_that_is_not_ready_keeps_whom_it_has_and_gets_nobody_new(
    pair: Pair, end: Callable[[Proxy, Server], None]
) -> None:
    proxy, (first, second) = pair
    with ExitStack() as stack:
        clients = [dial(proxy, stack), dial(proxy, stack)]
        assert (first.counters()["connections"], second.counters()["connections"]) == (1, 1)
        end(proxy, first)
        clients += [dial(proxy, stack) for _ in range(4)]
        assert (first.counters()["connections"], second.counters()["connections"]) == (1, 5)
        for client in clients:
            client.send(command(type="ping", id="alive"))
            assert client.event("ok")["id"] == "alive"


def test_as_shipped_it_asks_readyz() -> None:
    assert "http-check send meth GET uri /readyz ver HTTP/1.1 hdr Host chat.example.com\n" in FILE
    assert "http-check expect status 200\n" in FILE


def test_its_timeouts_are_longer_than_two_heartbeats_and_a_stall() -> None:
    longest = max(2 * Config().heartbeat.heartbeat_seconds, Config().limits.stall_seconds)
    for name in ("timeout client", "timeout server", "timeout tunnel"):
        assert number(name) > longest


def test_its_limits_let_more_pass_than_hubbubs() -> None:
    limits = Config().limits
    assert number(r"tune\.bufsize") - number(r"tune\.maxrewrite") > limits.max_head_bytes
    assert number(r"tune\.http\.maxhdr") > limits.max_header_count
    assert number("maxconn") == 2 * limits.max_connections
    assert f"sc0_conn_cur gt {2 * limits.max_connections_per_address} " in FILE
