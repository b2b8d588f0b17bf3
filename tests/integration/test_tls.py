"""`hubbub serve` over TLS, on both loops, taken over and not: the same behaviour, and what only TLS has."""

from __future__ import annotations

import shutil
import signal
import socket
import ssl
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext, suppress
from pathlib import Path
from uuid import uuid4

import pytest
from websockets.sync.client import connect

from tests.support.certificates import DAY, Authority, Files
from tests.support.chatter import chatting, close_of
from tests.support.listener import LINES, SSE, listening
from tests.support.peer import Peer, TlsPeer, frame
from tests.support.server import ASGI, FAST, FAST_ASYNCIO, Server, serve
from tests.support.terminal import HUBBUB, run, terminal
from tests.support.tls import SharedTlsSocket

SECONDS = 10.0
LONGEST = 65_536
FLOOD = [f"{number:060000}" for number in range(100)]
WAYS = {
    "fast path": (FAST,),
    "fast path on asyncio": (FAST_ASYNCIO,),
    "ASGI": (ASGI,),
    "ASGI on asyncio": (ASGI, "--loop", "asyncio"),
}
OPTIONS = ("--close-seconds", "2", "--rate-limit", "0")
HURRIED = ("--handshake-seconds", "2")


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("authority"))


@pytest.fixture(scope="module")
def files(authority: Authority) -> Files:
    return authority.issue("server")


@contextmanager
def serving(folder: Path, way: str, files: Files, *options: str) -> Iterator[Server]:
    """A server that says nothing wrong and ends well."""
    host, *others = WAYS[way]
    with serve(folder, host, *others, *OPTIONS, *options, *files.options) as running:
        yield running
        assert "Traceback" not in running.log
        assert running.stop() == 0


@pytest.fixture(scope="module", params=WAYS)
def server(request: pytest.FixtureRequest, files: Files, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with serving(tmp_path_factory.mktemp("tls"), request.param, files) as running:
        yield running


@pytest.fixture(params=WAYS)
def hurried(request: pytest.FixtureRequest, files: Files, tmp_path: Path) -> Iterator[Server]:
    """A server that gives little time to shake hands: to those who are honest, only where the test is about that."""
    with serving(tmp_path, request.param, files, *HURRIED) as running:
        yield running


@pytest.fixture(params=["auto", "asyncio"])
def own(request: pytest.FixtureRequest, authority: Authority, tmp_path: Path) -> Iterator[tuple[Server, Files]]:
    """A server for this test alone, with a certificate of its own."""
    files = authority.issue(f"own-{uuid4()}")
    with serve(tmp_path, FAST, "--loop", request.param, *files.options) as running:
        yield running, files


@pytest.fixture
def room() -> str:
    return f"room-{uuid4()}"


@pytest.fixture(autouse=True)
def _trusted(files: Files, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ssl.SSLContext, "sslsocket_class", SharedTlsSocket)
    monkeypatch.setenv("SSL_CERT_FILE", str(files.authority))


def shown(server: Server) -> bytes | None:
    """The certificate that a new connection is shown."""
    with TlsPeer(server.port) as peer:
        return peer.certificate


def der(files: Files) -> bytes:
    return ssl.PEM_cert_to_DER_cert(files.cert.read_text())


def logged(server: Server, words: str) -> str:
    """The log's first line with these words, waited for."""
    deadline = time.monotonic() + SECONDS
    while time.monotonic() < deadline:
        for line in server.log.splitlines():
            if words in line:
                return line
        time.sleep(0.02)
    raise AssertionError(f"{words!r} is not in {server.log!r}")


# The same as without TLS


def test_two_people_chat(server: Server, room: str) -> None:
    with chatting(f"{server.ws}/ws") as ada, chatting(f"{server.ws}/ws", deflate=True) as bob:
        ada.join(room, "ada")
        bob.join(room, "bob")
        assert ada.next()["username"] == "bob"
        ada.send(type="message", text="é 日本 🎉")
        assert bob.next()["text"] == "é 日本 🎉"


@pytest.mark.parametrize("path", [SSE, LINES])
def test_a_stream_is_heard_to_its_last_event(server: Server, room: str, path: str) -> None:
    with chatting(f"{server.ws}/ws") as ada, listening(server.http + path, room) as listener:
        ada.join(room, "ada")
        assert [ada.ask(type="state", text=text)["text"] for text in FLOOD[:20]] == FLOOD[:20]
        assert listener.texts(20) == FLOOD[:20]
        ada.send(type="disconnect", connection=listener.connected["clientId"])
        assert listener.until("closed")["code"] == 4403
        assert listener.ended()


@pytest.mark.parametrize("message", ["x" * LONGEST, bytes(LONGEST)])
def test_a_message_of_64_kb_is_echoed(server: Server, message: str | bytes) -> None:
    with connect(f"{server.ws}/echo", compression=None, proxy=None) as client:
        for _ in range(5):
            client.send(message)
            assert client.recv(SECONDS) == message


def test_a_message_that_comes_with_the_request_is_read(server: Server) -> None:
    with TlsPeer(server.port) as peer:
        send = peer.send
        peer.send = lambda data: send(data + frame(0x82, b"early"))  # type: ignore[method-assign]
        peer.open("/echo")
        assert peer.next() == (2, b"early")


def test_a_message_over_the_limit_is_1009(server: Server) -> None:
    with connect(f"{server.ws}/echo", compression=None, proxy=None) as client:
        client.send(bytes(LONGEST + 1))
        assert close_of(client).code == 1009


def test_who_still_sends_hears_why_it_is_closed(server: Server) -> None:
    with TlsPeer(server.port) as peer:
        peer.open("/echo")
        for _ in range(40):
            peer.send(frame(0x82, bytes(LONGEST + 1)))
        assert peer.close_code() == 1009


def test_a_peer_that_closes_and_still_sends_ends(server: Server) -> None:
    with TlsPeer(server.port) as peer:
        peer.open("/echo")
        with suppress(OSError):  # the server may have gone before it is all written
            peer.send(frame(0x88, b"\x03\xe8") + frame(0x82, bytes(LONGEST)))
        assert peer.close_code() in (0, 1000)


def test_a_close_is_answered_with_its_code(server: Server) -> None:
    with connect(f"{server.ws}/ws", proxy=None) as client:
        client.close(4321, "enough")
        assert close_of(client).code == 4321


def test_a_slow_reader_gets_everything_later_while_the_others_go_on(server: Server, room: str) -> None:
    with chatting(f"{server.ws}/ws") as ada, TlsPeer(server.port, SO_RCVBUF=65_536) as slow:
        slow.join(room, "slow")
        ada.join(room, "ada")
        assert [ada.ask(type="state", text=text)["text"] for text in FLOOD] == FLOOD
        assert [slow.event("stated")["text"] for _ in FLOOD] == FLOOD


def test_a_request_that_is_refused_while_it_is_sent_is_answered(server: Server) -> None:
    with TlsPeer(server.port) as peer:
        status, answer = peer.http(b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 99999999\r\n\r\n" + bytes(1 << 20))
    assert (status, answer.count(b"HTTP/1.1")) == (413, 1)


# Handshakes


@pytest.mark.filterwarnings("ignore:ssl.TLSVersion:DeprecationWarning")
def test_tls_1_1_is_refused(server: Server, files: Files) -> None:
    old = files.client()
    old.minimum_version = ssl.TLSVersion.TLSv1
    old.set_ciphers("ALL:@SECLEVEL=0")
    refused: AbstractContextManager[object] = pytest.raises(ssl.SSLError)
    for version in (ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_1):
        old.maximum_version = version
        outcome = refused if version == ssl.TLSVersion.TLSv1_1 else nullcontext()
        with socket.create_connection(("127.0.0.1", server.port), SECONDS) as plain, outcome:
            old.wrap_socket(plain, server_hostname="localhost").close()


def test_plain_http_to_the_port_ends_and_is_no_news(server: Server) -> None:
    before = server.log
    with Peer(server.port) as peer:
        status, _ = peer.http(b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n")
    assert (status, server.log) == (0, before)


def test_who_says_nothing_or_asks_for_nothing_is_closed_in_time_while_others_connect(
    hurried: Server, room: str
) -> None:
    before = hurried.log
    with Peer(hurried.port) as silent, Peer(hurried.port) as slow, TlsPeer(hurried.port) as shaken:
        slow.send(b"\x16\x03\x01")
        with chatting(f"{hurried.ws}/ws") as ada:
            assert ada.join(room, "ada")["count"] == 1
        assert silent.read_to_end() + slow.read_to_end() == b""
        assert shaken.read_response()[0] == 408
    assert hurried.log == before


def test_a_peer_that_does_not_say_goodbye_ends_all_the_same(server: Server) -> None:
    with TlsPeer(server.port) as rude:
        rude.open("/echo")
        rude.send(frame(0x88, b"\x03\xe8"))
        assert rude.next() == (8, b"\x03\xe8")
        assert isinstance(rude.socket, ssl.SSLSocket)
        with socket.socket(fileno=rude.socket.detach()) as plain:  # TLS's own goodbye is not answered
            plain.settimeout(SECONDS)
            while plain.recv(65536):
                pass


# SIGHUP


def reload(server: Server, words: str) -> str:
    server.process.send_signal(signal.SIGHUP)
    return logged(server, words)


def test_sighup_shows_new_connections_the_new_certificate(own: tuple[Server, Files], authority: Authority) -> None:
    server, files = own
    with chatting(f"{server.ws}/ws") as ada:
        ada.join("lobby", "ada")
        assert shown(server) == (before := der(files))
        authority.issue(files.cert.stem)
        assert f"the certificate was read again: {files.cert}" in reload(server, "read again")
        assert shown(server) == der(files) != before
        assert ada.nothing()


@pytest.mark.parametrize(
    ("spoil", "words"),
    [
        (lambda files: files.key.write_bytes(b"nonsense"), "not PEM"),
        (lambda files: files.cert.unlink(), "No such file"),
        (lambda files: shutil.copy(files.authority, files.cert), "not the key of"),
    ],
    ids=["not PEM", "gone", "of another"],
)
def test_sighup_with_wrong_files_keeps_the_old(
    own: tuple[Server, Files], spoil: Callable[[Files], object], words: str
) -> None:
    server, files = own
    with chatting(f"{server.ws}/ws") as ada:
        before = shown(server)
        spoil(files)
        assert words in reload(server, "the old certificate goes on: tls_")
        assert shown(server) == before
        assert ada.nothing()
    assert server.log.count("the old certificate goes on") == 1


@pytest.mark.parametrize("loop", ["auto", "asyncio"])
def test_sighup_without_tls_ends_nothing(tmp_path: Path, loop: str) -> None:
    with serve(tmp_path, FAST, "--loop", loop) as server, chatting(f"{server.ws}/ws") as ada:
        server.process.send_signal(signal.SIGHUP)
        assert ada.nothing()
        assert server.stop() == 0


# The command line


def test_serve_prints_an_https_url(files: Files) -> None:
    with terminal(*HUBBUB, "serve", "--port", "0", *files.options) as program:
        assert program.line().startswith("Hubbub serves hubbub.apps.default:app at https://127.0.0.1:")


def test_serve_refuses_a_key_without_a_certificate_in_one_line(files: Files) -> None:
    done = run("serve", "--port", "0", "--tls-key", str(files.key))
    wanted = "hubbub: tls_cert is missing: tls_key is set, and TLS needs both; one file may hold both\n"
    assert (done.returncode, done.stdout, done.stderr) == (2, "", wanted)


def test_serve_warns_of_an_expired_certificate_and_serves(authority: Authority) -> None:
    with terminal(*HUBBUB, "serve", "--port", "0", *authority.issue("old", ends=-DAY).options) as program:
        assert "certificate has expired; clients will refuse it: renew it" in program.line()
        assert program.line().startswith("Hubbub serves ")


@pytest.mark.parametrize("form", ["https", "wss"])
def test_chat_talks_to_a_server_whose_authority_it_is_told(server: Server, room: str, form: str) -> None:
    with terminal(*HUBBUB, "chat", f"{form}://localhost:{server.port}", room, "--name", "ada") as ada:
        assert ada.line() == f"* {room}: 1 here: ada"
        ada.type("hello")
        assert ada.line() == "ada: hello"
        assert (ada.end(), ada.rest()) == (0, [])


def test_chat_refuses_a_certificate_that_it_cannot_verify_in_one_line(server: Server) -> None:
    url = f"wss://localhost:{server.port}"
    done = run("chat", url, "lobby", "--name", "ada", extra={"SSL_CERT_FILE": ""})
    assert (done.returncode, done.stdout, done.stderr.count("\n")) == (2, "", 1)
    assert done.stderr.startswith(f"hubbub: {url}/ws: unable to get local issuer certificate; SSL_CERT_FILE")
