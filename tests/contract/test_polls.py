"""Long-polling as protocol/HTTP.md has it, over every way of hosting."""

import json
import signal
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any, Protocol

import pytest

from tests.conftest import Servers
from tests.contract.conftest import Connect
from tests.support.chatter import Chatter
from tests.support.credentials import Issuer, secret_issuer
from tests.support.peer import Peer, command
from tests.support.poller import Poller, wait_for_polls
from tests.support.server import OWN_HOSTS, Server, serve

BIG = "x" * 1900
BOUNDED = ("--max-connections-per-address", "2", "--grace-seconds", "0.5")


class Polls(Protocol):
    """A client that polls the test's room, or others."""

    def __call__(self, *rooms: str) -> Poller: ...


@pytest.fixture
def poller(server: Server, room: str) -> Iterator[Polls]:
    with ExitStack() as stack:

        def make(*rooms: str) -> Poller:
            return stack.enter_context(Poller(server, *(rooms or (room,))))

        yield make


def says(ada: Chatter, *texts: str, **more: Any) -> None:
    """Returns once it is kept, with nothing left to read."""
    for text in texts:
        ada.send(type="message", text=text, **more)
    heard(ada, texts[-1])


def heard(ada: Chatter, text: str) -> None:
    while ada.until("message")["text"] != text:
        pass


# At once, or later


def test_the_first_answer_is_the_place_to_go_on_from(poller: Polls) -> None:
    answer = poller().poll()
    assert answer.keys() == {"events", "since", "recovered", "more"}
    assert (answer["events"], answer["recovered"], answer["more"]) == ([], None, False)
    epoch, _, seq = answer["since"].rpartition(":")
    assert (bool(epoch), seq) == (True, "0")


def test_what_was_said_meanwhile_is_answered_at_once(enter: Connect, poller: Polls, room: str) -> None:
    bob = poller()
    bob.poll()
    says(enter("ada"), "one", "two")
    answer = bob.poll()
    assert [(event["type"], event["text"], event["room"], event["seq"]) for event in answer["events"]] == [
        ("message", "one", room, 1),
        ("message", "two", room, 2),
    ]
    assert (answer["recovered"], answer["since"].rpartition(":")[2]) == (True, "2")


def test_where_nothing_was_said_the_answer_waits_for_it(enter: Connect, poller: Polls) -> None:
    ada, bob = enter("ada"), poller()
    bob.poll()
    waits = bob.begin()
    ada.send(type="typing")
    says(ada, "hello")
    body = waits.result().json()
    assert ([event["text"] for event in body["events"]], body["recovered"], body["more"]) == (["hello"], True, False)


def test_where_nothing_is_said_at_all_the_answer_is_the_same_place_once_time_is_up(poller: Polls) -> None:
    bob = poller()
    first = bob.poll()
    for timeout in ("0", "0.1"):
        assert bob.poll(timeout=timeout) == {**first, "recovered": True}


def test_nothing_is_lost_and_nothing_comes_twice_while_much_is_said(enter: Connect, poller: Polls) -> None:
    ada, bob = enter("ada"), poller()
    bob.poll()
    for number in range(300):
        ada.send(type="message", text=str(number))
    while len(bob.events) < 300:
        bob.poll()
    heard(ada, "299")
    assert bob.texts == [str(number) for number in range(300)]
    assert [event["seq"] for event in bob.events] == list(range(1, 301))


def test_one_poll_is_for_several_rooms(enter: Connect, poller: Polls, room: str) -> None:
    rooms = [room, f"{room}-2"]
    ada, bob = enter("ada"), poller(*rooms)
    ada.join(rooms[1], "ada", keep=True)
    bob.poll()
    waits = bob.begin()
    says(ada, "here", room=rooms[1])
    bob.since = waits.result().json()["since"]
    says(ada, "there", room=rooms[0])
    bob.poll()
    assert [(event["room"], event["text"]) for event in bob.events] == [(rooms[0], "there")]
    assert [place.rpartition(":")[2] for place in bob.since.split(",")] == ["1", "1"]
    assert bob.poll(timeout=0)["events"] == []


def test_several_that_wait_are_all_woken(enter: Connect, poller: Polls) -> None:
    ada, pollers = enter("ada"), [poller() for _ in range(5)]
    for each in pollers:
        each.poll()
    responses = [each.begin() for each in pollers]
    says(ada, "all")
    bodies = [response.result().json() for response in responses]
    assert [body["events"][0]["text"] for body in bodies] == ["all"] * 5


def test_a_kept_alive_connection_polls_again_and_again(enter: Connect, poller: Polls) -> None:
    ada, bob = enter("ada"), poller()
    bob.poll()
    for number in range(5):
        waits = bob.begin()
        says(ada, str(number))
        bob.since = waits.result().json()["since"]
    assert bob.since.endswith(":5")
    assert len(bob.http._transport._pool.connections) == 1  # type: ignore[attr-defined]


# What is not there


def test_the_last_events_come_to_who_asks_for_history(enter: Connect, poller: Polls) -> None:
    says(enter("ada"), "one", "two", "three")
    bob = poller()
    bob.poll(history=2)
    assert bob.texts == ["two", "three"]
    assert bob.poll(timeout=0, history=2)["events"] == []


@pytest.mark.parametrize("since", ["{epoch}:9", "ffff:1"])
def test_a_place_that_is_none_is_told_and_a_new_one_given(enter: Connect, poller: Polls, since: str) -> None:
    says(enter("ada"), "one")
    bob = poller()
    bob.poll()
    epoch = bob.since.rpartition(":")[0]
    answer = bob.poll(since=since.format(epoch=epoch))
    assert answer == {"events": [], "since": f"{epoch}:1", "recovered": False, "more": False}
    assert bob.poll(since=f"{epoch}:9", history=1)["events"][0]["text"] == "one"


def test_what_is_no_longer_held_is_told(enter: Connect, poller: Polls, room: str) -> None:
    ada, bob = enter(), poller(f"short-{room}")
    ada.join(f"short-{room}", "ada")
    bob.poll()
    says(ada, *map(str, range(20)))
    answer = bob.poll(history=2)
    assert (answer["recovered"], bob.texts) == (False, ["18", "19"])
    assert bob.poll(timeout=0)["recovered"] is True


def test_more_than_fits_comes_in_the_next_answers(enter: Connect, poller: Polls) -> None:
    bob = poller()
    bob.poll()
    says(enter("ada"), *(f"{number} {BIG}" for number in range(100)))
    first = bob.poll()
    assert first["more"]
    while bob.poll(timeout=0)["more"]:
        pass
    assert [int(text.split()[0]) for text in bob.texts] == list(range(100))


def test_a_large_answer_is_deflated_where_the_client_takes_that(enter: Connect, poller: Polls) -> None:
    bob = poller()
    bob.poll()
    says(enter("ada"), *(f"{number} {BIG}" for number in range(5)))
    plain = (
        bob.get(),
        bob.http.get("/poll", params={"room": bob._rooms, "since": bob.since}, headers={"accept-encoding": "identity"}),
    )
    assert [response.headers.get("content-encoding") for response in plain] == ["gzip", None]
    assert plain[0].json() == plain[1].json()
    assert int(plain[0].headers["content-length"]) < 5000


# Who is gone, and who is there


def test_of_a_client_that_is_gone_nothing_stays(server: Server, poller: Polls, room: str) -> None:
    poller().poll()
    before = server.counters()["connections"]
    with Peer(server.port) as peer:
        since = poller().poll()["since"]
        peer.send(f"GET /poll?room={room}&since={since} HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n".encode())
        wait_for_polls(server, 1)
    wait_for_polls(server, 0)
    server.wait_for_connections(before)


def test_who_polls_with_a_session_and_a_name_is_somebody_in_the_room(enter: Connect, poller: Polls, room: str) -> None:
    ada, bob = enter("ada"), poller()
    session = bob.poll(username="bob", session="")["session"]
    joined = ada.next()
    assert (joined["type"], joined["username"], joined["memberCount"]) == ("user_joined", "bob", 2)
    waits = bob.begin(username="bob", session=session)
    assert ada.ask(type="presence", room=room, id=1)["members"] == ["ada", "bob"]
    says(ada, "hello")
    body = waits.result().json()
    assert (body["events"][0]["text"], body["session"]) == ("hello", session)
    bob.poll(timeout=0, username="bob", session=session)
    assert ada.nothing()  # it neither left nor joined


def test_a_newer_poll_of_a_session_replaces_the_older_one(poller: Polls) -> None:
    bob, again = poller(), poller()
    session = bob.poll(username="bob", session="")["session"]
    waits = bob.begin(username="bob", session=session)
    again.since = bob.since
    assert again.poll(timeout=0, username="bob", session=session)["session"] == session
    assert (waits.result().status_code, waits.result().headers["content-type"]) == (409, "application/problem+json")


# Other origins


def test_pages_of_our_origin_may_read_answers_and_others_may_not(server: Server, poller: Polls) -> None:
    bob = poller()
    ours = bob.http.get("/poll", params={"room": "r"}, headers={"origin": server.http})
    assert ours.headers["access-control-allow-origin"] == server.http
    preflight = bob.http.options("/poll", headers={"origin": server.http, "access-control-request-method": "GET"})
    assert (preflight.status_code, preflight.headers["access-control-allow-methods"]) == (204, "GET")
    assert bob.http.get("/poll", params={"room": "r"}, headers={"origin": "https://evil.example"}).status_code == 403
    assert bob.http.post("/poll", params={"room": "r"}).status_code == 405


# Limits and rights, where the server is ours


@pytest.fixture(scope="session")
def issuer(tmp_path_factory: pytest.TempPathFactory) -> Issuer:
    return secret_issuer(tmp_path_factory.mktemp("issuer"))


def authorization(token: str) -> dict[str, str]:
    return {"authorization": f"Bearer {token}"}


def test_a_poll_needs_credentials_and_rights(servers: Servers, own_host: str, issuer: Issuer, room: str) -> None:
    server = servers(own_host, *issuer.options)
    token = issuer.token(rooms={room: ["subscribe"]})
    with Poller(server, room) as nobody, Poller(server, room, headers=authorization(token)) as ada:
        refused = nobody.get()
        assert (refused.status_code, refused.headers["www-authenticate"]) == (401, "Bearer")
        assert refused.json()["status"] == 401
        assert ada.poll()["events"] == []
        forbidden = [ada.get(), ada.get(history=1, since=""), ada.get(room=f"{room}-2")]
        assert [(each.status_code, each.json()["code"]) for each in forbidden] == [(403, "forbidden")] * 3


def test_who_is_locked_out_while_waiting_is_told(servers: Servers, own_host: str, issuer: Issuer, room: str) -> None:
    server = servers(own_host, *issuer.options)
    with (
        Poller(server, room, headers=authorization(issuer.token("u-bob"))) as bob,
        Peer(server.port, headers=[f"Authorization: Bearer {issuer.token('u-eve')}"]) as eve,
    ):
        eve.open()
        bob.poll()
        waits = bob.begin()
        eve.send(command(type="revoke", kind="user", subject="u-bob", id=1))
        assert waits.result().status_code == 401
        assert bob.get().status_code == 401


def test_who_is_put_out_while_waiting_is_told(servers: Servers, own_host: str, issuer: Issuer, room: str) -> None:
    server = servers(own_host, *issuer.options)
    with (
        Poller(server, room, headers=authorization(issuer.token("u-cid"))) as cid,
        Peer(server.port, headers=[f"Authorization: Bearer {issuer.token('u-eve')}"]) as eve,
    ):
        eve.open()
        cid.poll()
        waits = cid.begin()
        eve.send(command(type="disconnect", user="u-cid", id=1))
        assert (waits.result().status_code, waits.result().json()["detail"]) == (403, "removed")


def test_polls_that_wait_count_as_connections(servers: Servers, own_host: str, room: str) -> None:
    server = servers(own_host, *BOUNDED)
    with ExitStack() as stack:
        first, second, third = (stack.enter_context(Poller(server, room)) for _ in range(3))
        place = first.poll()["since"]
        waits = [each.begin(since=place, timeout=1) for each in (first, second)]
        refused = third.get(since=place)
        assert (refused.status_code, refused.headers["retry-after"]) == (429, "5")
        assert "max_connections_per_address" in refused.json()["detail"]
        assert [each.result().status_code for each in waits] == [200, 200]
        assert third.get(since=place, timeout=0).status_code == 200


def test_who_does_not_poll_again_has_left_when_the_grace_is_over(servers: Servers, own_host: str, room: str) -> None:
    server = servers(own_host, *BOUNDED)
    with Poller(server, room) as bob, Peer(server.port) as ada:
        ada.join(room, "ada")
        bob.poll(username="bob", session="")
        assert ada.event("user_joined")["username"] == "bob"
        assert ada.event("user_left")["username"] == "bob"


@pytest.mark.parametrize("host", OWN_HOSTS)
def test_a_server_that_ends_answers_all_that_wait(tmp_path: Path, host: str, room: str) -> None:
    with serve(tmp_path, host) as server, ExitStack() as stack:
        pollers = [stack.enter_context(Poller(server, room)) for _ in range(5)]
        place = pollers[0].poll()["since"]
        waits = [each.begin(since=place) for each in pollers]
        server.process.send_signal(signal.SIGTERM)
        for response in (each.result() for each in waits):
            assert (response.json()["since"], response.json()["events"]) == (place, [])
            assert response.headers["connection"] == "close"
        assert server.stop() == 0


def test_a_server_that_is_about_to_end_refuses_new_polls(tmp_path: Path, room: str) -> None:
    with serve(tmp_path, OWN_HOSTS[0], "--drain-notice-seconds", "60") as server, Poller(server, room) as bob:
        place = bob.poll()["since"]
        waits = bob.begin()
        server.process.send_signal(signal.SIGTERM)
        while (response := late_poll(server, room))[0] != 503:  # the signal takes a moment
            pass
        assert b"retry-after" in response[1].lower()
        assert json.loads(response[1].partition(b"\r\n\r\n")[2])["detail"] == "the server is stopping"
        server.process.send_signal(signal.SIGTERM)  # at once
        assert waits.result().json()["since"] == place


def late_poll(server: Server, room: str) -> tuple[int, bytes]:
    """A poll on a connection of its own."""
    with Peer(server.port) as peer:
        head = f"GET /poll?room={room}&timeout=0 HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n\r\n"
        return peer.http(head.encode())
