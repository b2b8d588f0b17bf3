"""The HTTP API over every way of hosting: what is said by POST is heard over WebSocket, and read with GET."""

from __future__ import annotations

import json
import ssl
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote

import httpx
import pytest

from hubbub.auth.api_keys import make_key
from tests.conftest import Servers
from tests.contract.conftest import Connect
from tests.support.canary import canary
from tests.support.chatter import chatting
from tests.support.server import FAST, UVICORN, Server

Json = dict[str, Any]
KEY, ENTRY = make_key("ops")
canary.keep(KEY, "an API key")
BEARER = {"authorization": f"Bearer {KEY}"}
ADA = {"username": "ada"}


@pytest.fixture(scope="module")
def tls() -> ssl.SSLContext:
    """That no test needs; each client would make one for itself."""
    return ssl.create_default_context()


@pytest.fixture
def api(server: Server, tls: ssl.SSLContext) -> Iterator[httpx.Client]:
    """A client of a server, however it is hosted."""
    with httpx.Client(base_url=server.http, trust_env=False, verify=tls) as client:
        yield client


@pytest.fixture
def one(servers: Servers, tls: ssl.SSLContext) -> Iterator[httpx.Client]:
    """A client of one server, for what has nothing to do with how it is hosted."""
    with httpx.Client(base_url=servers(FAST, "--rate-limit", "0").http, trust_env=False, verify=tls) as client:
        yield client


@pytest.fixture(params=[FAST, UVICORN])
def keyed(request: pytest.FixtureRequest, servers: Servers) -> Server:
    """A server that lets everybody in, and knows an API key."""
    return servers(request.param, "--rate-limit", "0", "--auth", "anonymous", "--api-keys", ENTRY)


@pytest.fixture
def ops(keyed: Server, tls: ssl.SSLContext) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=keyed.http, trust_env=False, headers=BEARER, verify=tls) as client:
        yield client


def at(room: str, what: str) -> str:
    return f"/api/rooms/{quote(room, safe='')}/{what}"


def say(api: httpx.Client, room: str, text: str, key: str = "", **query: str) -> httpx.Response:
    headers = {"idempotency-key": key} if key else {}
    return api.post(at(room, "messages"), json={"text": text}, params={**ADA, **query}, headers=headers)


def problem(response: httpx.Response) -> Json:
    """A refusal, which is a problem as RFC 9457 has it."""
    assert response.headers["content-type"] == "application/problem+json"
    body: Json = response.json()
    assert body["status"] == response.status_code
    return body


def refused(response: httpx.Response) -> tuple[int, str]:
    return response.status_code, problem(response).get("code", "")


# To say something


def test_what_is_posted_is_heard_by_the_members(api: httpx.Client, enter: Connect, room: str) -> None:
    bob = enter("bob")
    reply = say(api, room, "hi")
    assert (reply.status_code, reply.json()["seq"]) == (200, 1)
    said = bob.next()
    assert (said["type"], said["username"], said["text"], said["seq"]) == ("message", "ada", "hi", 1)
    assert bob.ask(type="presence", room=room, id=1)["members"] == ["bob"]


def test_the_name_may_stand_in_the_body(one: httpx.Client, room: str) -> None:
    assert one.post(at(room, "messages"), json={"text": "hi", "username": "eve"}).status_code == 200
    assert one.get(at(room, "messages")).json()["messages"][0]["username"] == "eve"


def test_typing_is_heard_and_has_no_answer(api: httpx.Client, enter: Connect, room: str) -> None:
    bob = enter("bob")
    reply = api.post(at(room, "typing"), json=ADA)
    assert (reply.status_code, reply.content) == (204, b"")
    assert bob.next() == {"type": "typing", "username": "ada", "room": room}


def test_any_command_of_the_application_can_be_sent(api: httpx.Client, enter: Connect, room: str) -> None:
    bob = enter("bob")
    for command in ({"type": "state", "text": "now"}, {"type": "slow", "text": "later", "seconds": 0.01}):
        assert api.post(at(room, "commands"), json=command, params=ADA).status_code == 200
        assert bob.next()["text"] == command["text"]
    census = api.post(at(room, "commands"), json={"type": "census", "of": room}, params=ADA).json()
    assert [event["type"] for event in census["events"]] == ["counted"]


def test_a_message_is_published_once_under_its_key(api: httpx.Client, enter: Connect, room: str) -> None:
    bob = enter("bob")
    session = new_session(api)
    first, again = (say(api, room, "hi", "k1", session=session) for _ in range(2))
    assert first.json() == again.json() == {"seq": 1, "messageId": "k1", "epoch": first.json()["epoch"]}
    assert refused(say(api, room, "ho", "k1", session=session)) == (409, "message_id_conflict")
    assert bob.next()["messageId"] == "k1"
    assert bob.nothing()


def new_session(api: httpx.Client) -> str:
    """The token of a session of nobody in particular."""
    with chatting(f"{str(api.base_url).replace('http', 'ws', 1)}/ws?session=") as other:
        token: str = other.connected["session"]
    return token


def test_over_a_websocket_and_by_post_it_is_one_message(api: httpx.Client, server: Server, room: str) -> None:
    with chatting(f"{server.ws}/ws?session=") as ada:
        ada.join(room, "ada")
        sent = ada.ask(type="message", text="hi", messageId="m1", id=1)
        assert ada.next()["text"] == "hi"
        again = say(api, room, "hi", "m1", session=ada.connected["session"])
        assert (again.json()["seq"], sent["seq"]) == (1, 1)
        assert ada.nothing()


def test_a_room_may_have_any_name_that_a_join_takes(api: httpx.Client, server: Server, room: str) -> None:
    with chatting(f"{server.ws}/ws") as bob:
        for odd in ("a/b", "%2F", "Käse ☕", "e\N{COMBINING ACUTE ACCENT}", "a b?c#d", "..", "a;b"):
            info = bob.join(f"  {room[-8:]} {odd}  ", "bob")
            assert say(api, f" {room[-8:]} {odd} ", "hi").status_code == 200
            assert bob.next()["room"] == info["room"]


def test_typing_needs_no_body(one: httpx.Client, room: str) -> None:
    assert one.post(at(room, "typing"), params=ADA).status_code == 204
    assert refused(one.post(at(room, "messages"), params=ADA)) == (400, "invalid_message")


# Refusals


@pytest.mark.parametrize(
    ("body", "code"),
    [
        (b"{", "invalid_json"),
        (b"", "invalid_message"),
        (b'["text"]', "invalid_json"),
        (b'{"text":7}', "invalid_message"),
        (b'{"text":"hi","username":7}', "invalid_message"),
        (b'{"text":"   "}', "invalid_message"),
        (b'{"text":"hi","room":"another"}', "invalid_message"),
        (b"[" * 5000, "invalid_json"),
    ],
)
def test_a_body_that_is_no_message_is_400(one: httpx.Client, room: str, body: bytes, code: str) -> None:
    response = one.post(at(room, "messages"), content=body, params=ADA, headers={"content-type": "application/json"})
    assert refused(response) == (400, code)


@pytest.mark.parametrize("name", ["%00", "a%0Ab", "a*", "%E2%80%AEx", "%20", "{x}"])
def test_a_room_that_no_join_takes_is_400(one: httpx.Client, name: str) -> None:
    response = one.post(f"/api/rooms/{name}/messages", json={"text": "hi"}, params=ADA)
    assert refused(response) == (400, "invalid_name")


def test_each_refusal_has_the_code_of_the_socket_and_its_status(one: httpx.Client, room: str) -> None:
    def commands(**command: Any) -> httpx.Response:
        return one.post(at(room, "commands"), json=command, params=ADA)

    assert refused(commands(type="join", username="ada")) == (400, "unknown_type")
    assert refused(commands(type="refuse")) == (400, "no")
    assert refused(commands(type="history", limit=0)) == (400, "invalid_message")
    assert refused(one.post(at(room, "events"), json={"event": {"type": "x"}}, params=ADA)) == (403, "forbidden")
    assert refused(one.get(at(room, "messages"), params={"session": "made.up"})) == (401, "invalid_token")
    assert refused(one.get(at(room, "messages"), params={"limit": "many"})) == (400, "invalid_message")
    assert refused(one.post(at(room, "messages"), json={"text": "hi"})) == (400, "invalid_join")
    for key in ("x" * 65, "a b", '""'):
        assert refused(say(one, room, "hi", key)) == (400, "invalid_message")


@pytest.mark.parametrize("kind", ["fail", "fail_later"])
def test_a_bug_of_the_application_is_500_and_can_be_found(
    api: httpx.Client, server: Server, room: str, kind: str
) -> None:
    body = problem(api.post(at(room, "commands"), json={"type": kind}, params=ADA))
    assert (body["status"], body["code"]) == (500, "internal")
    assert body["correlationId"] in server.log


@pytest.mark.parametrize("kind", ["text/plain", "application/x-www-form-urlencoded", "multipart/form-data"])
def test_what_a_form_can_send_is_415(one: httpx.Client, room: str, kind: str) -> None:
    response = one.post(at(room, "messages"), content=b'{"text":"hi"}', params=ADA, headers={"content-type": kind})
    assert refused(response) == (415, "")
    untyped = one.post(at(room, "messages"), content=b'{"text":"hi"}', params=ADA)
    assert refused(untyped) == (415, "")


def test_a_page_of_another_site_is_403_and_can_read_nothing(one: httpx.Client, room: str) -> None:
    elsewhere = {"origin": "https://evil.example"}
    response = one.post(at(room, "messages"), json={"text": "hi"}, params=ADA, headers=elsewhere)
    assert refused(response) == (403, "")
    assert "access-control-allow-origin" not in response.headers
    assert one.options(at(room, "messages"), headers=elsewhere).status_code == 403


def test_a_page_of_this_server_hears_what_it_may_do(api: httpx.Client, server: Server, room: str) -> None:
    response = api.options(at(room, "cursor"), headers={"origin": server.http})
    assert response.status_code == 204
    assert response.headers["access-control-allow-methods"] == "GET, PUT, HEAD, OPTIONS"


def test_another_method_is_405_and_says_which_there_are(one: httpx.Client, room: str) -> None:
    response = one.delete(at(room, "messages"))
    assert (response.status_code, response.headers["allow"]) == (405, "GET, POST, HEAD, OPTIONS")


def test_a_body_that_is_too_long_is_413(api: httpx.Client, room: str) -> None:
    response = api.post(at(room, "messages"), json={"text": "x" * 70_000}, params=ADA)
    assert response.status_code == 413


# History


def test_history_is_read_by_the_page_the_newest_first(api: httpx.Client, room: str) -> None:
    for number in range(1, 6):
        say(api, room, str(number))
    texts: list[str] = []
    place: str | None = "999"
    while place:
        page = api.get(at(room, "messages"), params={"limit": 2, "before": place}).json()
        texts += [message["text"] for message in page["messages"]]
        assert page["more"] == bool(page["next"])
        place = page["next"]
    assert texts == ["5", "4", "3", "2", "1"]


def test_behind_a_place_the_oldest_come_first(one: httpx.Client, room: str) -> None:
    for number in range(1, 5):
        say(one, room, str(number))
    page = one.get(at(room, "messages"), params={"limit": 2, "after": 1}).json()
    assert [message["seq"] for message in page["messages"]] == [2, 3]
    assert page["next"] == f"{page['epoch']}:3"
    rest = one.get(at(room, "messages"), params={"after": page["next"]}).json()
    assert ([message["seq"] for message in rest["messages"]], rest["more"], rest["next"]) == ([4], False, None)


def test_a_place_of_another_log_is_gone(one: httpx.Client, room: str) -> None:
    say(one, room, "hi")
    body = problem(one.get(at(room, "messages"), params={"before": "another-life:2"}))
    epoch = one.get(at(room, "messages")).json()["epoch"]
    assert (body["status"], body["epoch"]) == (410, epoch)


def test_a_page_that_is_known_is_not_sent_again(api: httpx.Client, room: str) -> None:
    say(api, room, "hi")
    first = api.get(at(room, "messages"))
    tag = first.headers["etag"]
    known = api.get(at(room, "messages"), headers={"if-none-match": f'"x", {tag}'})
    assert (known.status_code, known.content, known.headers["etag"]) == (304, b"", tag)
    say(api, room, "ho")
    assert api.get(at(room, "messages"), headers={"if-none-match": tag}).status_code == 200


def test_long_answers_are_compressed_for_those_who_can_read_it(one: httpx.Client, room: str) -> None:
    for _ in range(3):
        say(one, room, "x" * 1000)
    short, plain = ({"accept-encoding": coding} for coding in ("gzip", "gzip;q=0"))
    packed = one.get(at(room, "messages"), headers=short)
    assert packed.headers["content-encoding"] == "gzip"
    assert int(packed.headers["content-length"]) < 1000
    unpacked = one.get(at(room, "messages"), headers=plain)
    assert "content-encoding" not in unpacked.headers
    assert packed.json() == unpacked.json()


def test_where_compression_is_off_nothing_is_compressed(servers: Servers, tls: ssl.SSLContext) -> None:
    document = httpx.get(f"{servers(FAST, '--no-gzip').http}/openapi.json", trust_env=False, verify=tls)
    assert document.request.headers["accept-encoding"].startswith("gzip")
    assert (document.status_code, document.headers.get("content-encoding")) == (200, None)


def test_the_head_alone_can_be_asked_for(api: httpx.Client, room: str) -> None:
    whole, head = (api.request(method, at(room, "messages")) for method in ("GET", "HEAD"))
    assert (head.status_code, head.content) == (200, b"")
    assert head.headers["content-length"] == whole.headers["content-length"]


# Who is there, and how far they have read


def test_members_are_listed_by_the_page(api: httpx.Client, enter: Connect, room: str) -> None:
    enter("bob"), enter("eve")
    assert api.get(at(room, "members")).json() == {"room": room, "members": ["bob", "eve"], "count": 2}
    assert api.get(at(room, "members"), params={"offset": 1, "limit": 1}).json()["members"] == ["eve"]


def test_rooms_are_listed_that_somebody_is_in(api: httpx.Client, enter: Connect, room: str) -> None:
    enter("bob")
    rooms = api.get("/api/rooms", params={"after": room[:-1], "limit": 200}).json()
    assert {"name": room, "count": 1} in rooms["rooms"]


def test_a_cursor_is_moved_and_read(api: httpx.Client, server: Server, room: str) -> None:
    for text in ("one", "two"):
        say(api, room, text)
    session = {"session": new_session(api)}
    assert refused(api.get(at(room, "cursor"))) == (403, "forbidden")
    assert api.get(at(room, "cursor"), params=session).json()["acked"] is None
    assert api.put(at(room, "cursor"), json={"seq": 1}, params=session).json()["unread"] == 1
    assert api.put(at(room, "cursor"), json={"seq": 0}, params=session).json()["acked"] == 1
    assert api.get(at(room, "cursor"), params=session).json()["acked"] == 1
    assert refused(api.put(at(room, "cursor"), json={"seq": 3}, params=session)) == (409, "invalid_message")


# Operators


@pytest.mark.parametrize("path", ["connections", "rooms", "nodes"])
def test_without_a_key_an_operators_path_is_401(keyed: Server, path: str) -> None:
    assert refused(httpx.get(f"{keyed.http}/api/admin/{path}", trust_env=False)) == (401, "")
    wrong = {"authorization": "Bearer hubbub_wrong-wrong-wrong-wrong"}
    assert refused(httpx.get(f"{keyed.http}/api/admin/{path}", headers=wrong, trust_env=False)) == (401, "")


def test_an_operator_sees_who_is_where(ops: httpx.Client, keyed: Server, room: str) -> None:
    with chatting(f"{keyed.ws}/ws") as ada:
        ada.join(room, "ada")
        found = ops.get("/api/admin/connections", params={"room": room}).json()
        assert [each["id"] for each in found["connections"]] == [ada.connected["clientId"]]
        rooms = ops.get("/api/admin/rooms", params={"after": room[:-1]}).json()
        assert {"name": room, "count": 1} in rooms["rooms"]
        nodes = ops.get("/api/admin/nodes").json()
        assert (nodes["this"], nodes["silent"]) == (ada.connected["node"], [])
        assert [node["id"] for node in nodes["nodes"]] == [ada.connected["node"]]


def test_an_operator_publishes_once_under_a_key(ops: httpx.Client, keyed: Server, room: str) -> None:
    with chatting(f"{keyed.ws}/ws") as ada:
        ada.join(room, "ada")
        body = {"room": room, "event": {"type": "news", "text": "hear, hear"}}
        kept = [ops.post("/api/admin/publish", json=body, headers={"idempotency-key": "n1"}) for _ in range(2)]
        assert [reply.json()["seq"] for reply in kept] == [1, 1]
        assert ada.next() == {"type": "news", "text": "hear, hear", "room": room, "seq": 1}
        assert ops.post("/api/admin/publish", json={**body, "keep": False}).json() == {"seq": None, "epoch": None}
        assert ada.next() == {"type": "news", "text": "hear, hear", "room": room}
        assert refused(ops.post("/api/admin/publish", json={**body, "event": {"type": "ok"}})) == (
            400,
            "invalid_message",
        )
        assert ada.nothing()


def test_an_operator_puts_somebody_out(ops: httpx.Client, keyed: Server) -> None:
    with chatting(f"{keyed.ws}/ws") as ada:
        whom = {"connection": ada.connected["clientId"]}
        assert ops.post("/api/admin/disconnect", json={**whom, "reason": "ü" * 100}).json() == {
            "count": 1,
            "silent": [],
        }
        close = ada.end()
        assert (close.code, close.reason) == (4403, "ü" * 61)
    assert refused(ops.post("/api/admin/disconnect", json={})) == (400, "invalid_message")


def test_an_operator_locks_a_session_out(ops: httpx.Client, keyed: Server) -> None:
    with chatting(f"{keyed.ws}/ws?session=") as ada:
        session = ada.connected["session"].partition(".")[0]
        assert ops.post("/api/admin/revoke", json={"session": session}).status_code == 204
        assert ada.end().code == 4401
    token = ada.connected["session"]
    assert refused(ops.get(at("lobby", "messages"), params={"session": token})) == (401, "invalid_token")


def test_the_holder_of_a_key_speaks_under_its_name(ops: httpx.Client, room: str) -> None:
    ops.post(at(room, "messages"), json={"text": "hi", "username": "somebody else"})
    assert ops.get(at(room, "messages")).json()["messages"][0]["username"] == "ops"


# Figures and documents


def test_figures_are_for_this_machine_and_for_operators(ops: httpx.Client, keyed: Server) -> None:
    def figures(**headers: str) -> int:
        return httpx.get(f"{keyed.http}/metrics", headers=headers, trust_env=False).status_code

    assert (figures(), figures(host="hub.example"), figures(**BEARER, host="hub.example")) == (200, 401, 200)
    lines = ops.get("/metrics").text.splitlines()
    assert "# TYPE hubbub_connections gauge" in lines
    assert any(line.startswith("hubbub_connections_opened_total ") for line in lines)


def test_the_documents_describe_what_there_is(api: httpx.Client, server: Server) -> None:
    document = api.get("/openapi.json").json()
    assert document["openapi"] == "3.1.0"
    assert "post" in document["paths"]["/api/rooms/{room}/messages"]
    messages = api.get("/asyncapi.json").json()["components"]["messages"]
    assert {"send_join", "send_message", "get_room_info", "get_message"} <= messages.keys()


def test_the_page_allows_nothing_from_elsewhere(one: httpx.Client) -> None:
    page = one.get("/docs")
    assert "default-src 'self'" in page.headers["content-security-policy"]
    for path, kind in (("docs.js", "text/javascript"), ("docs.css", "text/css")):
        assert f"docs/{path}" in page.text
        assert one.get(f"/docs/{path}").headers["content-type"].startswith(kind)
    assert "://" not in page.text.replace("<!--", "")


def test_an_unknown_path_of_the_api_is_404(one: httpx.Client) -> None:
    assert refused(one.get("/api/nothing")) == (404, "")
    assert json.loads(one.get("/api/rooms/x/nothing").content)["status"] == 404


def test_who_may_not_come_in_gets_a_problem(servers: Servers, room: str, tmp_path: Path) -> None:
    secret = tmp_path / "secret"
    secret.write_text("a secret of this test, which nobody signs with")
    server = servers(FAST, "--auth", "jwt", "--jwt-secret-file", str(secret))
    response = httpx.get(f"{server.http}{at(room, 'messages')}", trust_env=False)
    assert (refused(response), response.headers["www-authenticate"]) == ((401, ""), "Bearer")
