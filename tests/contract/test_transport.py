"""The WebSocket under the protocol: paths, sub-protocols, own protocols, deflate, slow readers, the server's end."""

import signal
import time
from contextlib import AbstractContextManager
from pathlib import Path

import pytest
from websockets.exceptions import InvalidStatus
from websockets.sync.client import ClientConnection, connect
from websockets.typing import Subprotocol

from hubbub.wire.websocket import parse_close
from tests.conftest import Servers
from tests.contract.conftest import Connect
from tests.support.chatter import chatting, close_of
from tests.support.peer import Peer, command
from tests.support.server import ASGI, FAST, FAST_ASYNCIO, Server, serve

JSON, MSGPACK = "hubbub.v1.json", "hubbub.v1.msgpack"
LONGEST = 65_536
SECONDS = 10.0


def dial(server: Server, path: str, *subprotocols: str) -> AbstractContextManager[ClientConnection]:
    offered = [Subprotocol(name) for name in subprotocols] or None
    return connect(f"{server.ws}{path}", subprotocols=offered, compression=None, proxy=None)


def last_words(peer: Peer) -> tuple[int, str]:
    """Code and reason of the server's close frame, once TCP has ended too."""
    assert peer.close_code() != 0
    return parse_close(peer.received[-1][1])


# Before the upgrade


@pytest.mark.parametrize("path", ["/nowhere", "/ws/", "/ws/more", "/WS", "/echo/", "//ws"])
def test_an_unknown_path_is_404(server: Server, path: str) -> None:
    with pytest.raises(InvalidStatus) as refused, dial(server, path):
        pass
    assert refused.value.response.status_code == 404


@pytest.mark.parametrize("path", ["/ws", "/echo"])
def test_unknown_subprotocols_are_400(server: Server, path: str) -> None:
    with pytest.raises(InvalidStatus) as refused, dial(server, path, "hubbub.v9.json", "soap"):
        pass
    assert refused.value.response.status_code == 400
    assert refused.value.response.body.startswith(b"none of the sub-protocols is known")


@pytest.mark.parametrize(
    ("offered", "chosen"),
    [
        ((), None),
        ((JSON,), JSON),
        ((MSGPACK,), MSGPACK),
        ((MSGPACK, JSON), MSGPACK),
        (("soap", JSON, MSGPACK), JSON),
    ],
)
def test_the_client_s_first_known_subprotocol_is_chosen(
    server: Server, offered: tuple[str, ...], chosen: str | None
) -> None:
    with dial(server, "/ws", *offered) as client:
        assert client.subprotocol == chosen


def test_a_query_does_not_matter(server: Server) -> None:
    with chatting(f"{server.ws}/ws?colour=red&%zz") as ada:
        assert ada.nothing()


# The closing handshake


@pytest.mark.parametrize(("code", "reason"), [(1000, ""), (1001, "page gone"), (3000, "é"), (4999, "x" * 123)])
def test_a_close_is_answered_with_its_own_code(server: Server, code: int, reason: str) -> None:
    with dial(server, "/ws") as client:
        client.close(code, reason)
        assert (close := client.protocol.close_rcvd) is not None
        assert close.code == code


def test_a_ping_is_answered_with_its_payload(server: Server) -> None:
    with dial(server, "/ws") as client:
        assert client.ping(b"are you there?").wait(SECONDS)
        assert client.ping(b"").wait(SECONDS)


# An application's own protocol


@pytest.mark.parametrize("message", ["hi", "", "é 日本 🎉", "x" * LONGEST, b"\x00\xff", b"", bytes(LONGEST)])
def test_an_own_protocol_gets_and_sends_texts_and_bytes(server: Server, message: str | bytes) -> None:
    with dial(server, "/echo") as client:
        client.send(message)
        assert client.recv(SECONDS) == message


def test_an_own_protocol_gets_fragmented_messages_whole(server: Server) -> None:
    with dial(server, "/echo") as client:
        client.send(["a" * 10_000, "b" * 10_000, "", "é"])
        assert client.recv(SECONDS) == "a" * 10_000 + "b" * 10_000 + "é"


def test_an_own_protocol_may_have_a_name(server: Server) -> None:
    with dial(server, "/echo", "echo.v2", "echo.v1") as client:
        assert client.subprotocol == "echo.v1"
        client.send("hi")
        assert client.recv(SECONDS) == "hi"


def test_a_message_over_the_limit_ends_an_own_protocol_too(server: Server) -> None:
    with dial(server, "/echo") as client:
        client.send(bytes(LONGEST + 1))
        assert close_of(client).code == 1009


def test_an_own_protocol_that_fails_is_closed_with_1011_and_an_id_in_the_log(server: Server) -> None:
    with dial(server, "/fail") as client:
        client.send("boom")
        close = close_of(client)
    assert close.code == 1011
    label, _, correlation_id = close.reason.partition("=")
    assert (label, server.log.count(f"correlationId={correlation_id} client=")) == ("correlationId", 1)


def test_an_own_protocol_has_rooms_in_which_nothing_else_is_said(server: Server, room: str) -> None:
    with dial(server, "/relay") as ada, dial(server, "/relay") as bob:
        for client in (ada, bob):
            client.send(room)
            assert client.recv(SECONDS) == "joined"
        bob.send(b"\x00\x01")
        assert ada.recv(SECONDS) == b"\x00\x01"
        ada.send("welcome")
        assert bob.recv(SECONDS) == "welcome"


def test_500_messages_of_an_own_protocol_arrive_complete_and_in_order(server: Server) -> None:
    with dial(server, "/echo") as client:
        for number in range(500):
            client.send(str(number) if number % 2 else str(number).encode())
        received = [client.recv(SECONDS) for _ in range(500)]
    assert received == [str(number) if number % 2 else str(number).encode() for number in range(500)]


# permessage-deflate


def test_a_client_that_deflates_chats_with_one_that_does_not(server: Server, enter: Connect) -> None:
    ada, bob, eve = enter("ada", deflate=True), enter("bob"), enter("eve", MSGPACK, deflate=True)
    assert ada.socket.response is not None
    assert "permessage-deflate" in ada.socket.response.headers["Sec-WebSocket-Extensions"]
    for text in ("short", "long " * 300, "é 日本 🎉 " * 100):
        ada.send(type="message", text=text)
        heard = [person.until("message") for person in (ada, bob, eve)]
        assert heard[0] == heard[1] == heard[2]
        assert heard[0]["text"] == text.strip()


def test_an_own_protocol_is_deflated_too(server: Server) -> None:
    with connect(f"{server.ws}/echo", compression="deflate", proxy=None) as client:
        for message in ("hi", "x" * LONGEST, b"\x00" * LONGEST):
            client.send(message)
            assert client.recv(SECONDS) == message


def test_who_does_not_offer_deflate_gets_none(enter: Connect) -> None:
    ada = enter("ada")
    assert ada.socket.response is not None
    assert "Sec-WebSocket-Extensions" not in ada.socket.response.headers


# Slow readers


FLOOD = [f"{number:060000}" for number in range(100)]
"""6 MB: more than the kernel's buffers of a connection (4 MB) and the server's (256 KB) together."""


def test_a_slow_reader_gets_everything_later_while_the_others_go_on(servers: Servers, own_host: str, room: str) -> None:
    server = servers(own_host, "--rate-limit", "0")
    with chatting(f"{server.ws}/ws") as ada, Peer(server.port) as slow:
        slow.join(room, "slow")
        assert ada.join(room, "ada")["count"] == 2
        assert [ada.ask(type="state", text=text)["text"] for text in FLOOD] == FLOOD
        heard = [slow.event("stated") for _ in FLOOD]
        first = heard[0]["seq"]
        assert [(event["text"], event["seq"] - first) for event in heard] == list(zip(FLOOD, range(100), strict=True))


# The end of the server


@pytest.mark.parametrize("host", [FAST, FAST_ASYNCIO, ASGI])
def test_sigterm_closes_clients_with_1012_while_a_handler_is_at_work(tmp_path: Path, host: str) -> None:
    with serve(tmp_path, host, "--close-seconds", "1") as server, Peer(server.port) as ada, Peer(server.port) as bob:
        ada.join("lobby", "ada")
        bob.open("/echo")
        ada.send(command(type="ping", id=1) + command(type="slow", text="never", seconds=60))
        assert ada.event("ok")["id"] == 1
        started = time.monotonic()
        server.process.send_signal(signal.SIGTERM)
        assert (last_words(ada), last_words(bob)) == ((1012, "after=500"), (1012, "after=500"))
        assert server.process.wait(SECONDS) == 0
        assert time.monotonic() - started < SECONDS
