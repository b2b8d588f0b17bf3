"""Rooms over HTTP as protocol/HTTP.md has them, Server-Sent Events and JSON lines, over every way of hosting."""

import json
import signal
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from uuid import uuid4

import httpx
import pytest

from tests.conftest import Servers
from tests.contract.conftest import Connect
from tests.contract.test_transport import FLOOD
from tests.support.chatter import Chatter, chatting
from tests.support.credentials import Issuer, bearer, secret_issuer
from tests.support.history import History
from tests.support.listener import LINES, SSE, listening
from tests.support.peer import Peer, command
from tests.support.server import ASGI, FAST, Server, serve

PATHS = pytest.mark.parametrize("path", [SSE, LINES])
PLAIN = {"accept-encoding": "identity"}
PROBLEM = "application/problem+json"


def publish(chatter: Chatter, room: str, *texts: str) -> None:
    """Has a member say these, and waits until they are kept."""
    for text in texts:
        chatter.send(type="message", room=room, text=text)
    for text in texts:
        assert chatter.until("message")["text"] == text


def refusal(server: Server, target: str, method: str = "GET", **headers: str) -> tuple[int, Any]:
    response = httpx.request(method, server.http + target, headers=headers)
    if method != "HEAD":
        assert response.headers["content-type"] == PROBLEM
        assert response.json()["status"] == response.status_code
    return response.status_code, response


# What comes, and in which order


@PATHS
def test_a_stream_gets_what_a_websocket_says_in_order(server: Server, enter: Connect, room: str, path: str) -> None:
    ada = enter("ada")
    with listening(server.http + path, room) as listener:
        publish(ada, room, *map(str, range(30)))
        ada.send(type="typing", isTyping=True)
        assert listener.texts(30) == list(map(str, range(30)))
        assert listener.next()["type"] == "typing"
        assert listener.connected["heartbeat"] == 15_000
        assert (listener.infos[room]["members"], listener.infos[room]["messages"]) == (["ada"], [])


@PATHS
def test_what_was_said_before_comes_as_events_behind_room_info(
    server: Server, enter: Connect, room: str, path: str
) -> None:
    publish(enter("ada"), room, "one", "two", "three")
    with listening(server.http + path, room, history="2", headers=PLAIN) as listener:
        assert listener.texts(2) == ["two", "three"]
        assert "content-encoding" not in listener.response.headers
        assert listener.infos[room]["seq"] == listener.infos[room]["head"] - 2


def test_who_comes_back_with_the_last_id_misses_nothing_in_any_room(server: Server, enter: Connect, room: str) -> None:
    ada, rooms = enter("ada"), [f"{room}-{number}" for number in range(3)]
    for name in rooms:
        ada.ask(type="join", room=name, username="ada", keep=True)
    with listening(server.http + SSE, *rooms) as listener:
        publish(ada, rooms[0], "a1")
        publish(ada, rooms[2], "c1", "c2")
        assert listener.texts(3) == ["a1", "c1", "c2"]
    for name, texts in zip(rooms, (["a2", "a3"], ["b1"], ["c3"]), strict=True):
        publish(ada, name, *texts)
    with listening(server.http + SSE, *rooms, last_event_id=listener.last_id, since="-,-,-") as again:
        assert again.texts(4) == ["a2", "a3", "b1", "c3"]
        assert [again.infos[name]["recovered"] for name in rooms] == [True] * 3
    with listening(server.http + LINES, *rooms, since=again.last_id) as lines:
        publish(ada, rooms[1], "b2")
        assert (lines.texts(1), lines.infos[rooms[0]]["seq"]) == (["b2"], 3)


def test_a_stream_that_is_gone_before_all_rooms_were_told_comes_back_to_all(
    server: Server, enter: Connect, room: str
) -> None:
    ada, rooms = enter("ada"), [room, f"{room}-b"]
    ada.ask(type="join", room=rooms[1], username="ada", keep=True)
    with listening(server.http + SSE, *rooms) as listener:
        for name in rooms:
            publish(ada, name, "one")
        listener.texts(2)
    for name in rooms:
        publish(ada, name, "two")
    with listening(server.http + SSE, *rooms, last_event_id=listener.last_id) as broken:
        assert broken.next()["type"] == "room_info"
    with listening(server.http + SSE, *rooms, last_event_id=broken.last_id) as again:
        assert again.texts(2) == ["two", "two"]


def first_held(chatter: Chatter, room: str) -> int:
    """The seq of the first event that the room's log holds."""
    chatter.send(type="history", room=room, after=0, limit=200, id="first")
    messages: list[dict[str, int]] = chatter.until("ok")["messages"]
    return messages[0]["seq"]


def test_what_the_log_holds_no_more_is_said_to_be_missing(server: Server, enter: Connect, history: History) -> None:
    name, ada = f"short-{uuid4()}", enter()
    ada.join(name, "ada")
    with listening(server.http + SSE, name) as listener:
        publish(ada, name, "one")
        listener.texts(1)
    publish(ada, name, *map(str, range(30)))
    while first_held(ada, name) <= 2:  # a file is trimmed behind what is written
        pass
    with listening(server.http + SSE, name, last_event_id=listener.last_id, history="3") as again:
        assert again.texts(3) == ["27", "28", "29"]
        assert again.infos[name]["recovered"] is False


def test_a_slow_reader_gets_everything_later_and_the_server_keeps_little(
    server: Server, enter: Connect, room: str
) -> None:
    ada = enter("ada")
    paused = server.counters()["writing_paused"]
    with listening(server.http + SSE, room, headers=PLAIN) as slow:
        assert [ada.ask(type="state", text=text)["text"] for text in FLOOD] == FLOOD
        assert server.counters()["writing_paused"] > paused
        assert slow.texts(len(FLOOD)) == FLOOD


# Who is there


def test_a_stream_with_a_name_is_a_member_and_comes_back_unseen(server: Server, enter: Connect, room: str) -> None:
    ada = enter("ada")
    with listening(server.http + SSE, room, username="bob", session="") as bob:
        assert ada.next()["type"] == "user_joined"
        assert bob.next()["members"] == ["ada", "bob"]
    with listening(server.http + SSE, room, username="bob", session=bob.connected["session"]) as again:
        assert again.connected["session"] == bob.connected["session"]
        assert again.next()["members"] == ["ada", "bob"]
        assert ada.nothing()


def test_a_stream_without_a_session_leaves_when_it_ends(server: Server, enter: Connect, room: str) -> None:
    ada = enter("ada")
    with listening(server.http + LINES, room, username="bob"):
        assert ada.next()["username"] == "bob"
    assert ada.next()["type"] == "user_left"


@PATHS
def test_whoever_is_put_out_is_told_the_code_and_the_stream_ends(
    server: Server, enter: Connect, room: str, path: str
) -> None:
    with listening(server.http + path, room) as listener:
        enter().send(type="disconnect", connection=listener.connected["clientId"])
        assert listener.until("closed") == {"type": "closed", "code": 4403, "reason": "removed"}
        assert listener.ended()


# What is refused


@pytest.mark.parametrize(
    ("query", "status"),
    [
        ("", 400),
        ("?room=", 400),
        ("?room=a&room=a", 400),
        ("?room=a&room=%20a", 400),
        ("?room=a*", 400),
        ("?room=a&username=%20", 400),
        ("?room=a&history=1001", 400),
        ("?room=a&history=x", 400),
        ("?room=a&since=x", 400),
        ("?room=a&room=b&since=e:1", 400),
        ("?" + "&".join(f"room={number}" for number in range(33)), 400),
    ],
)
def test_a_request_that_makes_no_sense_is_a_problem(server: Server, query: str, status: int) -> None:
    assert refusal(server, SSE + query)[0] == status


def test_only_get_is_known(server: Server) -> None:
    for method in ("POST", "HEAD", "PUT"):
        status, response = refusal(server, f"{SSE}?room=a", method)
        assert (status, response.headers["allow"]) == (405, "GET, OPTIONS")


# Where our server is the host


@pytest.mark.parametrize("encoding", ["gzip", "identity", "gzip;q=0", "br"])
def test_gzip_is_for_who_takes_it(servers: Servers, own_host: str, room: str, encoding: str) -> None:
    server = servers(own_host, "--rate-limit", "0")
    deflated = encoding == "gzip"
    with (
        chatting(f"{server.ws}/ws") as ada,
        listening(server.http + SSE, room, headers={"accept-encoding": encoding}) as one,
        listening(server.http + LINES, room, headers={"accept-encoding": encoding}) as lines,
        listening(server.http + SSE, room, f"{room}-b", headers={"accept-encoding": encoding}) as two,
    ):
        encodings = [each.response.headers.get("content-encoding", "") for each in (one, lines, two)]
        assert encodings == (["gzip", "gzip", ""] if deflated else [""] * 3)
        ada.join(room, "ada")
        for text in ("one", "two " * 400, "three"):
            ada.send(type="message", text=text)
            assert [each.texts(1) for each in (one, lines, two)] == [[text.strip()]] * 3


@contextmanager
def raw(server: Server, request: bytes) -> Iterator[socket.socket]:
    with socket.create_connection(("127.0.0.1", server.port), 10.0) as connection:
        connection.sendall(request)
        yield connection


def test_a_client_of_http_1_0_reads_to_the_end(servers: Servers, room: str) -> None:
    server = servers(FAST, "--rate-limit", "0")
    with (
        raw(server, f"GET {LINES}?room={room} HTTP/1.0\r\nHost: localhost\r\n\r\n".encode()) as client,
        client.makefile("rb") as file,
    ):
        head = list(iter(file.readline, b"\r\n"))
        assert b"connection: close\r\n" in head
        assert not any(line.lower().startswith(b"transfer-encoding") for line in head)
        connected, info = json.loads(file.readline()), json.loads(file.readline())
        assert (connected["type"], info["room"]) == ("connected", room)


@pytest.fixture
def limited(servers: Servers, own_host: str) -> Server:
    options = ("--comment-seconds", "0.25", "--max-connections-per-address", "3", "--origins", "https://a.example")
    return servers(own_host, *options)


def test_a_stream_counts_as_a_connection_and_shows_that_it_lives(limited: Server, room: str) -> None:
    url = limited.http
    with listening(url + SSE, room) as one, listening(url + LINES, room), chatting(f"{limited.ws}/ws"):
        status, response = refusal(limited, f"{SSE}?room={room}")
        assert (status, "max_connections_per_address" in response.json()["detail"]) == (429, True)
        assert int(response.headers["retry-after"]) > 0
        one.next()
        while not one.parser.comments:
            one._take(next(one._bytes))


def test_a_page_of_a_listed_origin_may_listen(limited: Server, room: str) -> None:
    friend = {"origin": "https://a.example"}
    with listening(limited.http + SSE, room, headers=friend) as listener:
        allowed = [listener.response.headers[f"access-control-allow-{what}"] for what in ("origin", "credentials")]
        assert allowed == ["https://a.example", "true"]
    preflight = httpx.options(limited.http + SSE, headers=friend)
    assert "last-event-id" in preflight.headers["access-control-allow-headers"]
    status, response = refusal(limited, f"{SSE}?room=a", origin="https://b.example")
    assert (status, "access-control-allow-origin" in response.headers) == (403, False)


@pytest.mark.parametrize("host", [FAST, ASGI])
def test_a_server_that_stops_says_when_to_come_back_and_ends(tmp_path: Path, host: str) -> None:
    with serve(tmp_path, host) as server, listening(server.http + SSE, "lobby", username="ada", session="") as listener:
        listener.next()
        server.process.send_signal(signal.SIGTERM)
        assert listener.next()["type"] == "reconnect"
        closed = listener.next()
        assert (closed["code"], closed["reason"]) == (1012, "after=500")
        assert listener.parser.retry is not None
        assert listener.parser.retry >= 500
        assert listener.ended()
        assert server.process.wait(10.0) == 0


# Credentials


@pytest.fixture(scope="module")
def issuer(tmp_path_factory: pytest.TempPathFactory) -> Issuer:
    return secret_issuer(tmp_path_factory.mktemp("issuer"))


@pytest.fixture
def guarded(servers: Servers, own_host: str, issuer: Issuer) -> Server:
    return servers(own_host, *issuer.options)


def shown(issuer: Issuer, user: str = "u-ada", **claims: Any) -> dict[str, str]:
    return {"authorization": f"Bearer {issuer.token(user, **claims)}"}


def test_without_credentials_or_rights_nothing_is_told(guarded: Server, issuer: Issuer) -> None:
    status, response = refusal(guarded, f"{SSE}?room=a")
    assert (status, response.headers["www-authenticate"]) == (401, "Bearer")
    assert refusal(guarded, f"{SSE}?room=a&ticket=none")[0] == 401
    some = shown(issuer, rooms={"a": ["subscribe"]})
    for target in (f"{SSE}?room=b", f"{SSE}?room=a&username=ada", f"{SSE}?room=a&history=1", f"{SSE}?room=a&room=b"):
        status, response = refusal(guarded, target, **some)
        assert (status, response.json()["code"]) == (403, "forbidden")


def test_a_stream_that_is_refused_ends_no_other_of_its_session(guarded: Server, issuer: Issuer, room: str) -> None:
    some = shown(issuer, rooms={room: ["subscribe"]})
    with listening(guarded.http + SSE, room, headers=some, session="") as listener:
        session = listener.connected["session"]
        assert refusal(guarded, f"{SSE}?room=another&session={session}", **some)[0] == 403
        said = {"text": "still here?", "username": "ada"}
        httpx.post(f"{guarded.http}/api/rooms/{room}/messages", headers=shown(issuer), json=said).raise_for_status()
        assert listener.texts(1) == ["still here?"]
        with listening(guarded.http + SSE, room, headers=some, session=session) as again:
            assert again.connected["session"] == session
            assert listener.until("closed")["code"] == 4409


def test_a_token_says_who_listens_and_a_ticket_is_as_good_once(guarded: Server, issuer: Issuer, room: str) -> None:
    with listening(guarded.http + SSE, room, headers=shown(issuer, name="Ada"), username="mallory") as ada:
        assert (ada.connected["user"]["id"], ada.next()["members"]) == ("u-ada", ["Ada"])
    ticket = httpx.post(f"{guarded.http}/api/ticket", headers=shown(issuer)).json()["ticket"]
    with listening(guarded.http + LINES, room, ticket=ticket) as again:
        assert again.connected["user"]["id"] == "u-ada"
    assert refusal(guarded, f"{LINES}?room={room}&ticket={ticket}")[0] == 401


@PATHS
def test_credentials_that_are_revoked_end_the_stream(guarded: Server, issuer: Issuer, room: str, path: str) -> None:
    user = f"u-{uuid4()}"
    token = shown(issuer, user)
    with (
        listening(guarded.http + path, room, headers=token) as listener,
        Peer(guarded.port, headers=[bearer(issuer.token("u-operator"))]) as operator,
    ):
        operator.open()
        operator.send(command(type="revoke", kind="user", subject=user))
        assert listener.until("closed")["code"] == 4401
        assert listener.ended()
        assert refusal(guarded, f"{path}?room={room}", **token)[0] == 401
