"""What only nginx has: the numbers of its files against Hubbub's settings."""

from __future__ import annotations

import re

from hubbub.config import Config
from tests.support.proxies import DEPLOY

SITE = (DEPLOY / "nginx" / "hubbub.conf").read_text()
WHOLE = (DEPLOY / "nginx" / "nginx.conf").read_text()
KB = 1024
KEPT_SECONDS = 5  # how long uvicorn keeps a connection on which nothing is asked
DEFAULTS = Config()


def numbers(name: str, text: str = SITE) -> list[list[int]]:
    """The numbers of each line with a directive."""
    lines = re.findall(rf"^\s*{name}\s+([^;]*);", text, re.MULTILINE)
    assert lines, f"there is no {name}"
    return [list(map(int, re.findall(r"\d+", line))) for line in lines]


def test_its_timeouts_are_longer_than_two_heartbeats_and_a_stall() -> None:
    longest = max(2 * DEFAULTS.heartbeat.heartbeat_seconds, DEFAULTS.limits.stall_seconds)
    for name in ("proxy_read_timeout", "proxy_send_timeout", "send_timeout"):
        assert all(seconds > longest for [seconds] in numbers(name))


def test_its_limits_let_more_pass_than_hubbubs() -> None:
    limits = DEFAULTS.limits
    [[count, size]] = numbers("large_client_header_buffers")
    assert size * KB > limits.max_header_line_bytes
    assert count * size * KB > limits.max_head_bytes
    assert numbers("client_max_body_size") == numbers("client_body_buffer_size") == [[128]]
    assert limits.max_body_bytes < 128 * KB
    assert numbers("limit_conn hubbub_addresses") == [[2 * limits.max_connections_per_address]]


def test_its_workers_take_the_connections_of_two_nodes() -> None:
    [[connections]], [[files]] = numbers("worker_connections", WHOLE), numbers("worker_rlimit_nofile", WHOLE)
    assert 4 * connections > 2 * 2 * DEFAULTS.limits.max_connections
    assert files > connections


def test_it_drops_kept_connections_before_a_node_does() -> None:
    assert numbers(r"    keepalive_timeout") < [[KEPT_SECONDS]]
