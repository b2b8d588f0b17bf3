"""Whether the server is alive and ready, however it is hosted."""

import pytest

from tests.conftest import Servers
from tests.support.peer import Peer
from tests.support.server import FAST, Server


def ask(server: Server, path: str, method: str = "GET") -> tuple[int, str, str]:
    """The status, the head in small letters, and the body of the answer."""
    with Peer(server.port) as peer:
        request = f"{method} {path} HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\nContent-Length: 0\r\n\r\n"
        status, answer = peer.http(request.encode())
    head, _, body = answer.decode().partition("\r\n\r\n")
    return status, head.lower(), body


@pytest.mark.parametrize("path", ["/healthz", "/readyz"])
def test_a_server_that_works_says_so_and_nobody_keeps_that(server: Server, path: str) -> None:
    status, head, body = ask(server, path)
    assert (status, body) == (200, "ok\n")
    assert "cache-control: no-store" in head


@pytest.mark.parametrize("path", ["/healthz", "/readyz"])
def test_the_head_alone_can_be_asked_for(server: Server, path: str) -> None:
    status, _, body = ask(server, path, "HEAD")
    assert (status, body) == (200, "")


def test_nothing_but_get_is_answered(server: Server) -> None:
    status, head, _ = ask(server, "/readyz", "POST")
    assert status == 405
    assert "allow: get, head" in head


def test_whoever_may_not_come_in_may_ask_and_no_rate_keeps_a_load_balancer_out(servers: Servers) -> None:
    server = servers(FAST, "--auth", "jwt", "--jwt-secret-file", __file__, "--handshake-burst", "1")
    assert [ask(server, "/readyz")[0] for _ in range(5)] == [200] * 5
