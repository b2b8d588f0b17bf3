"""What holds behind nginx and behind HAProxy, with the files of deploy/: clients, addresses, origins, ends."""

from __future__ import annotations

import dataclasses
import json
import ssl
import time
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path
from socketserver import BaseRequestHandler, ThreadingTCPServer
from threading import Thread
from uuid import uuid4

import pytest
from websockets.sync.client import connect

from hubbub.wire.handshake import encode_request
from hubbub.wire.websocket import PING, PONG, TEXT
from tests.support.certificates import Authority, Files
from tests.support.chatter import chatting
from tests.support.credentials import secret
from tests.support.peer import Peer, TlsPeer, command, frame, text
from tests.support.proxies import NAME, PROXIES, Proxy, proxied
from tests.support.server import FAST, Server, serve

SECONDS = 10.0
LONGEST = 65_536
BEHIND = "tests.support.behind:app"
TRUSTING = ("--trusted-proxies", "127.0.0.1", "--auth", "anonymous")
STRANGER, OTHER = "127.0.0.2", "127.0.0.3"
KEY = b"AAAAAAAAAAAAAAAAAAAAAA=="


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> Files:
    return Authority(tmp_path_factory.mktemp("authority")).issue("server")


@pytest.fixture(autouse=True)
def _trusted(files: Files, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SSL_CERT_FILE", str(files.authority))


@pytest.fixture(scope="module")
def node(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with serve(tmp_path_factory.mktemp("node"), FAST, *TRUSTING, "--rate-limit", "0", target=BEHIND) as running:
        yield running
        assert "Traceback" not in running.log


@pytest.fixture(scope="module", params=PROXIES)
def name(request: pytest.FixtureRequest) -> str:
    chosen: str = request.param
    return chosen


@pytest.fixture(scope="module")
def proxy(name: str, node: Server, files: Files, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Proxy]:
    """In front of one node, twice: rooms of `memory://` are a node's own."""
    with proxied(name, tmp_path_factory.mktemp("proxy"), [node], files) as running:
        yield running


@contextmanager
def behind(
    name: str, folder: Path, files: Files, *options: str, count: int = 1, more: Mapping[str, str] | None = None
) -> Iterator[tuple[Proxy, list[Server]]]:
    """A proxy and nodes of a test's own; `more` is what else is replaced in the proxy's file."""
    with ExitStack() as stack:
        nodes = [stack.enter_context(serve(folder, FAST, *TRUSTING, *options, target=BEHIND)) for _ in range(count)]
        yield stack.enter_context(proxied(name, folder, nodes, files, more)), nodes


@pytest.fixture
def room() -> str:
    return f"room-{uuid4()}"


def dial(proxy: Proxy, source: str = "127.0.0.1", *headers: str) -> TlsPeer:
    peer = TlsPeer(proxy.port, source=source, headers=headers)
    peer.host = NAME
    return peer


def request(target: str, *headers: str, method: str = "GET", host: str = NAME, body: bytes = b"") -> bytes:
    lines = [f"{method} {target} HTTP/1.1", f"Host: {host}", "Connection: close", *headers, "", ""]
    return "\r\n".join(lines).encode() + body


def handshake(*headers: str, version: str = "13", target: str = "/ws") -> bytes:
    head = encode_request(NAME, target, KEY).replace(b"Version: 13", f"Version: {version}".encode())
    return b"\r\n".join([head[:-4], *(line.encode() for line in headers), b"", b""])


def status(proxy: Proxy, sent: bytes, source: str = "127.0.0.1") -> int:
    """The status that a request gets, whether the connection stays open or not."""
    with dial(proxy, source) as peer:
        peer.send(sent)
        return int(peer.socket.recv(65536).split(b" ", 2)[1])


def seen(proxy: Proxy, *headers: str, source: str = "127.0.0.1") -> dict[str, list[str]]:
    """The headers with which a request comes to the node."""
    with dial(proxy, source) as peer:
        code, answer = peer.http(request("/behind/seen", *headers))
    assert code == 200
    found: dict[str, list[str]] = {}
    for key, value in json.loads(answer.partition(b"\r\n\r\n")[2]):
        found.setdefault(key, []).append(value)
    return found


# WebSocket


@pytest.mark.parametrize("deflate", [False, True])
def test_two_people_chat(proxy: Proxy, room: str, deflate: bool) -> None:
    with chatting(f"{proxy.ws}/ws", deflate=deflate) as ada, chatting(f"{proxy.ws}/ws", deflate=deflate) as bob:
        ada.join(room, "ada")
        bob.join(room, "bob")
        assert ada.next()["username"] == "bob"
        ada.send(type="message", text="é 日本 🎉")
        assert bob.next()["text"] == "é 日本 🎉"


def test_permessage_deflate_is_agreed_on(proxy: Proxy) -> None:
    with dial(proxy) as peer:
        assert b"permessage-deflate" in peer.open("/echo", extensions="permessage-deflate")


@pytest.mark.parametrize("message", ["x" * LONGEST, bytes(LONGEST)])
def test_a_message_of_64_kb_is_echoed(proxy: Proxy, message: str | bytes) -> None:
    with connect(f"{proxy.ws}/echo", compression=None, proxy=None) as client:
        for _ in range(5):
            client.send(message)
            assert client.recv(SECONDS) == message


def test_a_message_over_the_limit_is_1009(proxy: Proxy) -> None:
    with dial(proxy) as peer:
        peer.open("/echo")
        peer.send(frame(0x82, bytes(LONGEST + 1))[:20])  # HAProxy resets who still sends when a node has closed
        assert peer.close_code() == 1009


def test_a_close_is_answered_with_its_code(proxy: Proxy) -> None:
    with connect(f"{proxy.ws}/ws", proxy=None) as client:
        client.close(4321, "enough")
        assert client.protocol.close_rcvd is not None
        assert client.protocol.close_rcvd.code == 4321


def pings_until_silence(name: str, folder: Path, files: Files, heartbeat: str, cut: str) -> int:
    """How many pings a client who only answers those gets before the proxy cuts it; 8 are enough."""
    with (
        behind(name, folder, files, "--heartbeat-seconds", heartbeat, more={"75s": cut}) as (proxy, _),
        dial(proxy) as peer,
    ):
        peer.open("/echo")
        for count in range(8):
            try:
                assert peer.next()[0] == PING
            except (EOFError, ConnectionResetError, ssl.SSLError):
                return count
            peer.send(frame(0x80 | PONG, b""))
        peer.send(text("still here"))
        while (message := peer.next())[0] == PING:
            pass
        assert message == (TEXT, b"still here")
        return 8


def test_who_only_answers_heartbeats_stays_longer_than_the_proxy_bears_silence(
    name: str, tmp_path: Path, files: Files
) -> None:
    assert pings_until_silence(name, tmp_path, files, heartbeat="0.4", cut="1s") == 8  # 3.2 s; 75 to 30 as shipped


def test_without_heartbeats_the_proxy_cuts(name: str, tmp_path: Path, files: Files) -> None:
    assert pings_until_silence(name, tmp_path, files, heartbeat="30", cut="300ms") == 0


# Addresses, hosts and origins


def test_the_address_that_counts_is_the_clients(name: str, tmp_path: Path, files: Files) -> None:
    with (
        behind(name, tmp_path, files, "--max-connections-per-address", "1") as (proxy, _),
        dial(proxy, STRANGER) as first,
        dial(proxy, OTHER) as second,
    ):
        first.open()
        second.open()
        assert status(proxy, handshake(), STRANGER) == 429
        for spoofed in ("X-Forwarded-For: 9.9.9.9", "X-Forwarded-For: 127.0.0.1, 9.9.9.9", "Forwarded: for=9.9.9.9"):
            assert status(proxy, handshake(spoofed), STRANGER) == 429


def test_a_node_hears_of_the_client_what_the_proxy_knows_and_nothing_else(proxy: Proxy) -> None:
    names = ("X-Forwarded-For", "X-Forwarded-Proto", "X-Forwarded-Host", "Forwarded", "X-Real-IP", "X_Forwarded_For")
    spoofed = [f"{header}: {value}" for header in names for value in ("9.9.9.9", "8.8.8.8")]
    found = seen(proxy, *spoofed, source=STRANGER)
    assert {key: value for key, value in found.items() if "forward" in key or key in ("x-real-ip", "host")} == {
        "host": [NAME],
        "x-forwarded-for": [STRANGER],
        "x-forwarded-proto": ["https"],
        "x-forwarded-host": [NAME],
    }


def test_nothing_but_a_websocket_is_switched_to(proxy: Proxy) -> None:
    found = seen(proxy, "Upgrade: h2c", "HTTP2-Settings: AAMAAABkAARAAAAAAAIAAAAA")
    assert "upgrade" not in found
    assert "upgrade" not in found.get("connection", [""])[0].lower()


def test_a_page_of_the_site_may_connect_and_another_may_not(proxy: Proxy) -> None:
    with dial(proxy, "127.0.0.1", f"Origin: {proxy.http}") as peer:
        peer.host = f"{NAME}:{proxy.port}"
        peer.open()
    assert status(proxy, handshake("Origin: https://evil.example")) == 403
    assert status(proxy, handshake(f"Origin: http://{NAME}:{proxy.port}")) == 403  # Host is another port's


def test_under_another_name_nobody_is_served(proxy: Proxy) -> None:
    with dial(proxy) as peer:
        assert peer.http(request("/", host="evil.example"))[0] == 421
    with pytest.raises(ssl.SSLError), Peer(proxy.port) as plain:
        ssl.create_default_context().wrap_socket(plain.socket, server_hostname="evil.example")


@pytest.mark.parametrize("path", ["/healthz", "/readyz", "/metrics/"])
def test_what_operators_ask_is_not_there_for_others(proxy: Proxy, node: Server, path: str) -> None:
    with Peer(node.port) as direct:
        assert direct.http(request(path))[0] == 200
    name = path.strip("/")
    disguised = f"/%{ord(name[0]):x}{name[1:]}"
    for target in (path, f"/{name}/", f"/{name}?x=/", f"/{name}#x", f"//{name}", f"{proxy.http}{path}", disguised):
        for method in ("GET", "HEAD", "POST"):
            assert status(proxy, request(target, "Content-Length: 0", method=method)) in (404, 400), target


# TLS


@pytest.mark.filterwarnings("ignore:ssl.TLSVersion:DeprecationWarning")
def test_tls_1_2_and_1_3_are_spoken_and_1_1_is_not(proxy: Proxy, files: Files) -> None:
    spoken: list[str | None] = []
    for version in (ssl.TLSVersion.TLSv1_1, ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3):
        client = files.client()
        client.minimum_version = ssl.TLSVersion.TLSv1
        client.set_ciphers("ALL:@SECLEVEL=0")
        client.maximum_version = version
        try:
            with Peer(proxy.port) as plain, client.wrap_socket(plain.socket, server_hostname=NAME) as secured:
                spoken.append(secured.version())
        except ssl.SSLError:
            spoken.append(None)
    assert spoken == [None, "TLSv1.2", "TLSv1.3"]


def test_plain_http_is_sent_to_https(proxy: Proxy) -> None:
    with Peer(proxy.plain) as peer:
        code, answer = peer.http(request("/a/page?with=query"))
    assert code == 301
    assert f"location: https://{NAME}/a/page?with=query\r\n".encode() in answer.lower()


# Answers


Answer = tuple[int, dict[str, str], bytes]


def answer_of(peer: Peer, sent: bytes) -> Answer:
    """Status, the headers that say something, and the body of an answer; the connection may stay open."""
    peer.send(sent)
    with peer.socket.makefile("rb") as file:
        code = int(file.readline().split(b" ", 2)[1])
        headers = dict(line.decode().strip().lower().split(": ", 1) for line in iter(file.readline, b"\r\n"))
        body = file.read(int(headers["content-length"]))
    return code, {key: headers[key] for key in headers if key in ("retry-after", "sec-websocket-version")}, body


REFUSED = {
    426: handshake(version="12"),
    431: request("/", f"X-Long: {'x' * 9000}"),
    413: request("/api/ticket", "Content-Length: 70000", method="POST", body=bytes(70_000)),
    404: request("/nowhere"),
}


@pytest.mark.parametrize("code", REFUSED)
def test_what_a_node_refuses_is_answered_in_its_words(proxy: Proxy, node: Server, code: int) -> None:
    with Peer(node.port) as direct, dial(proxy) as peer:
        answer = answer_of(peer, REFUSED[code])
        assert answer[0] == code
        assert answer == answer_of(direct, REFUSED[code])


def test_more_headers_than_a_node_takes_are_its_431(proxy: Proxy) -> None:
    with dial(proxy) as peer:
        code, answer = peer.http(request("/", *(f"X-{number}: 1" for number in range(130))))
    assert code == 431
    assert b"(max_header_count)" in answer


def test_a_full_hub_is_answered_in_its_words(name: str, tmp_path: Path, files: Files) -> None:
    with behind(name, tmp_path, files, "--max-connections", "1") as (proxy, (node,)), dial(proxy) as only:
        only.open()
        for _ in range(5):
            with dial(proxy) as peer, Peer(node.port) as direct:
                answer = answer_of(peer, handshake())
                assert (answer[0], "retry-after" in answer[1]) == (503, True)
                assert answer == answer_of(direct, handshake())


def test_a_stream_comes_event_by_event_and_is_not_compressed(proxy: Proxy) -> None:
    with dial(proxy) as peer:
        peer.send(request("/sse/stream", "Accept-Encoding: gzip", "Accept: text/event-stream"))
        came = b""
        while b"data: first" not in came or not came.rstrip().endswith(b"x"):
            part = peer.socket.recv(65536)
            assert part
            came += part
        assert status(proxy, request("/sse/stream", "Content-Length: 0", method="POST")) == 204
        came += peer.read_to_end()
    assert b"data: second" in came
    assert b"content-encoding" not in came.lower()


def test_tickets_and_session_tokens_are_not_in_the_log_of_requests(proxy: Proxy) -> None:
    hidden = secret("a ticket that is shown to a proxy")
    assert status(proxy, handshake(target=f"/ws?ticket={hidden}")) == 401
    deadline = time.monotonic() + SECONDS
    while " /ws 401 " not in proxy.requests:
        assert time.monotonic() < deadline, proxy.requests
        time.sleep(0.02)
    assert hidden not in proxy.requests


# Nodes that end


def test_clients_of_a_node_that_is_killed_come_back_to_the_other(name: str, tmp_path: Path, files: Files) -> None:
    with behind(name, tmp_path, files, count=2) as (proxy, (first, second)), ExitStack() as stack:
        clients = [stack.enter_context(dial(proxy)) for _ in range(6)]
        for client in clients:
            client.open()
        assert (first.counters()["connections"], second.counters()["connections"]) == (3, 3)
        first.process.kill()
        first.process.wait()
        lost = [client for client in clients if not lives(client)]
        assert len(lost) == 3
        for _ in lost:
            stack.enter_context(dial(proxy)).open()
        assert second.counters()["connections"] == 6


def lives(client: TlsPeer) -> bool:
    client.send(command(type="ping", id="alive"))
    try:
        while client.event().get("id") != "alive":
            pass
    except (EOFError, ConnectionError, ssl.SSLError):
        return False
    return True


def test_who_asks_a_full_node_comes_to_the_other(name: str, tmp_path: Path, files: Files) -> None:
    with (
        behind(name, tmp_path, files, "--max-connections", "2", count=2) as (proxy, nodes),
        ExitStack() as stack,
    ):
        for _ in range(2):  # past the proxy, which so does not know that the node is full
            direct = stack.enter_context(Peer(nodes[0].port))
            direct.open()
        for _ in range(2):
            stack.enter_context(dial(proxy)).open()
        assert status(proxy, handshake()) == 503


@contextmanager
def ending(node: Server) -> Iterator[tuple[Server, list[bytes]]]:
    """What looks like a node, is ready, and ends without an answer; and what it was asked then."""
    asked: list[bytes] = []

    class Ends(BaseRequestHandler):
        def handle(self) -> None:
            sent = self.request.recv(65536)
            if sent.startswith(b"GET /readyz "):
                self.request.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
            else:
                asked.append(sent)

    with ThreadingTCPServer(("127.0.0.1", 0), Ends) as server:
        Thread(target=server.serve_forever, args=(0.02,)).start()
        try:
            yield dataclasses.replace(node, port=server.server_address[1]), asked
        finally:
            server.shutdown()


def test_a_node_that_ends_before_it_answers_is_passed_over(
    name: str, node: Server, tmp_path: Path, files: Files
) -> None:
    with ending(node) as (dead, asked), proxied(name, tmp_path, [dead, node], files) as proxy, ExitStack() as stack:
        for _ in range(4):
            stack.enter_context(dial(proxy)).open()
    assert sum(request.startswith(b"GET /ws ") for request in asked) >= 3


def test_a_reload_shows_another_certificate_and_open_connections_notice_nothing(
    name: str, tmp_path: Path, room: str
) -> None:
    authority = Authority(tmp_path)
    files = authority.issue("server")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SSL_CERT_FILE", str(files.authority))
        with behind(name, tmp_path, files) as (proxy, _), chatting(f"{proxy.ws}/ws") as ada:
            ada.join(room, "ada")
            before = shown(proxy)
            authority.issue("server")
            proxy.reload(files)
            deadline = time.monotonic() + SECONDS
            while shown(proxy) == before:
                assert time.monotonic() < deadline, proxy.output.read_text()
            with chatting(f"{proxy.ws}/ws") as bob:
                bob.join(room, "bob")
                assert ada.next()["username"] == "bob"


def shown(proxy: Proxy) -> bytes | None:
    """The certificate that a new connection is shown."""
    with dial(proxy) as peer:
        return peer.certificate
