"""Hubbub inside of somebody else's application on three servers, and theirs inside of ours."""

import json
import signal
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from websockets.exceptions import InvalidStatus
from websockets.sync.client import connect
from websockets.typing import Subprotocol

from tests.support.chatter import chatting, close_of
from tests.support.listener import LINES, SSE, listening
from tests.support.peer import Peer
from tests.support.peer import command as join_frame
from tests.support.server import ASGI, FAST, ROOT, Server, environment, free_port, serve, wait_until_listening

MOUNTED = "tests.support.mounted:application"
SECONDS = 10.0


def command(host: str, port: int, site: str) -> list[str]:
    match host:
        case "uvicorn with our WebSocket class":
            arguments = ["tests.support.handed_over", str(port)]
        case "uvicorn with websockets":
            arguments = ["uvicorn", site, "--port", str(port), "--ws", "websockets", "--log-level", "warning"]
        case "uvicorn with wsproto":
            arguments = ["uvicorn", site, "--port", str(port), "--ws", "wsproto", "--log-level", "warning"]
        case _:
            arguments = ["hypercorn", site, "--bind", f"127.0.0.1:{port}", "--log-level", "WARNING"]
    return [sys.executable, "-m", *arguments]


@contextmanager
def running(folder: Path, host: str, *options: str, site: str = MOUNTED) -> Iterator[Server]:
    """Runs somebody else's server with a site that has Hubbub in it; `options` are those of `hubbub serve`."""
    port, output = free_port(), folder / "server.log"
    with output.open("wb") as file:
        process = subprocess.Popen(
            command(host, port, site), cwd=ROOT, env=environment(options), stdout=file, stderr=subprocess.STDOUT
        )
    server = Server(host, port, process, output)
    try:
        wait_until_listening(port, process, output)
        yield server
    finally:
        server.stop()


@pytest.fixture(
    scope="module",
    params=["uvicorn with our WebSocket class", "uvicorn with websockets", "uvicorn with wsproto", "hypercorn"],
)
def outside(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with running(tmp_path_factory.mktemp("mounted"), request.param) as server:
        yield server


@pytest.fixture(scope="module", params=[FAST, ASGI])
def inside(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with serve(tmp_path_factory.mktemp("beside"), request.param, target="tests.support.beside:app") as server:
        yield server


def get(url: str) -> Any:
    with urllib.request.urlopen(url, timeout=SECONDS) as answer:
        return json.load(answer)


# Ours inside of theirs


def test_the_chat_works_below_a_path(outside: Server) -> None:
    with chatting(f"{outside.ws}/hub/ws") as ada, chatting(f"{outside.ws}/hub/ws", "hubbub.v1.msgpack") as bob:
        assert ada.join("below", "ada")["members"] == ["ada"]
        assert bob.join("below", "bob")["members"] == ["ada", "bob"]
        assert ada.next()["type"] == "user_joined"
        assert ada.ask(type="message", text="hi") == bob.next()
        bob.socket.close()
        assert ada.next()["type"] == "user_left"


def test_streams_work_below_a_path(outside: Server) -> None:
    with chatting(f"{outside.ws}/hub/ws") as ada, listening(f"{outside.http}/hub{SSE}", "streams") as listener:
        ada.join("streams", "ada")
        with listening(f"{outside.http}/hub{LINES}", "streams", username="bob") as lines:
            ada.send(type="message", text="hi")
            assert (listener.texts(1), lines.texts(1)) == (["hi"], ["hi"])
        assert ada.until("user_left")["username"] == "bob"


def test_an_own_protocol_works_below_a_path(outside: Server) -> None:
    with connect(f"{outside.ws}/hub/echo", proxy=None) as client:
        client.send(b"\x00\xff")
        assert client.recv(SECONDS) == b"\x00\xff"


def test_the_others_websockets_go_on(outside: Server) -> None:
    with connect(f"{outside.ws}/ordinary", proxy=None) as client:
        for text in ("hello", "é" * 1000, ""):
            client.send(text)
            assert client.recv(SECONDS) == text.upper()


def test_the_others_pages_go_on(outside: Server) -> None:
    assert get(f"{outside.http}/hello") == {"hello": "world"}


def test_a_lost_connection_is_noticed_below_a_path(outside: Server) -> None:
    with chatting(f"{outside.ws}/hub/ws") as ada, Peer(outside.port) as bob:
        ada.join("lost", "ada")
        bob.open("/hub/ws")
        bob.send(join_frame(type="join", room="lost", username="bob"))
        assert ada.next()["type"] == "user_joined"
        bob.reset()
        assert ada.next()["type"] == "user_left"


def test_all_of_it_stops_within_seconds(tmp_path: Path) -> None:
    with running(tmp_path, "uvicorn with our WebSocket class") as server, Peer(server.port) as ada:
        ada.open("/hub/ws")
        assert ada.event()["type"] == "connected"
        server.process.send_signal(signal.SIGTERM)
        assert ada.close_code() == 1012
        server.process.wait(SECONDS)


# Theirs inside of ours


def test_an_ordinary_websocket_route_works(inside: Server) -> None:
    with connect(f"{inside.ws}/site/ordinary", proxy=None) as client:
        for text in ("hello", "é" * 1000, "x" * 65_536, ""):
            client.send(text)
            assert client.recv(SECONDS) == text.upper()


def test_an_ordinary_websocket_route_takes_many_messages_in_order(inside: Server) -> None:
    with connect(f"{inside.ws}/site/bytes", proxy=None, max_queue=None) as client:
        for number in range(500):
            client.send(number.to_bytes(2, "big") * 100)
        assert [client.recv(SECONDS) for _ in range(500)] == [n.to_bytes(2, "big") * 100 for n in range(500)]


def test_an_ordinary_websocket_route_chooses_its_subprotocol(inside: Server) -> None:
    offered = [Subprotocol("other"), Subprotocol("upper.v1")]
    with connect(f"{inside.ws}/site/ordinary", subprotocols=offered, proxy=None) as client:
        assert client.subprotocol == "upper.v1"


def test_an_ordinary_websocket_route_closes_with_its_own_code(inside: Server) -> None:
    with connect(f"{inside.ws}/site/ordinary", proxy=None) as client:
        client.send("go away")
        close = close_of(client)
        assert (close.code, close.reason) == (4001, "as you wish")


def test_an_ordinary_websocket_route_may_refuse(inside: Server) -> None:
    with pytest.raises(InvalidStatus) as refused, connect(f"{inside.ws}/site/closed", proxy=None):
        pass
    assert refused.value.response.status_code == 403


def test_an_ordinary_websocket_route_that_fails_is_closed_with_1011(inside: Server) -> None:
    with connect(f"{inside.ws}/site/broken", proxy=None) as client:
        client.send("boom")
        assert close_of(client).code == 1011
    assert inside.log.count("RuntimeError: a bug in an ordinary WebSocket route") == 1


def test_ordinary_pages_and_our_own_paths_work_beside_it(inside: Server) -> None:
    assert get(f"{inside.http}/site/hello") == {"hello": "world"}
    with connect(f"{inside.ws}/echo", proxy=None) as client, chatting(f"{inside.ws}/ws") as ada:
        client.send("hi")
        assert client.recv(SECONDS) == "hi"
        assert ada.join("beside", "ada")["members"] == ["ada"]


def test_an_unknown_path_is_404_where_nothing_is_mounted(inside: Server) -> None:
    with pytest.raises(InvalidStatus) as refused, connect(f"{inside.ws}/nowhere", proxy=None):
        pass
    assert refused.value.response.status_code == 404
