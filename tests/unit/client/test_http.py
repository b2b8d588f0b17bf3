"""client.http: what it asks for, and what it keeps to itself."""

import logging

import httpx
import pytest

from hubbub.client.http import Group, RoomRefused, Wanted, refusal_of
from hubbub.client.transport import Blocked
from hubbub.errors import HandshakeError


def test_sessions_are_not_logged(caplog: pytest.LogCaptureFixture) -> None:
    secret = "a-secret-token"
    with caplog.at_level(logging.INFO):
        client = httpx.Client(transport=httpx.MockTransport(lambda request: httpx.Response(204)))
        client.get("http://h/sse", params={"room": "a", "session": secret, "username": "ada"})
    assert "username=ada" in caplog.text
    assert secret not in caplog.text


def test_a_request_names_its_rooms_and_where_it_is_in_each() -> None:
    group = Group("ada", "s")
    group.rooms["a"] = Wanted({"type": "join", "since": {"epoch": "e", "seq": 3}})
    group.rooms["b"] = Wanted({"type": "join", "history": 5})
    assert group.query() == [
        *(("room", "a"), ("room", "b"), ("since", "e:3,-")),
        *(("history", "5"), ("username", "ada"), ("session", "s")),
    ]


def test_a_subscription_has_no_name() -> None:
    group = Group(None, None)
    group.rooms["a"] = Wanted({"type": "subscribe"})
    assert group.query(timeout="0") == [("room", "a"), ("timeout", "0")]


@pytest.mark.parametrize(
    ("response", "kind"),
    [
        (httpx.Response(403, text="<h1>Blocked by your company</h1>"), Blocked),
        (httpx.Response(403, headers={"content-type": "application/problem+json"}, text="<h1>"), Blocked),
        (httpx.Response(503, headers={"content-type": "application/problem+json"}, json={}), HandshakeError),
        (
            httpx.Response(403, headers={"content-type": "application/problem+json"}, json={"code": "forbidden"}),
            RoomRefused,
        ),
    ],
)
def test_a_refusal_is_the_servers_only_when_it_speaks_as_the_server_does(
    response: httpx.Response, kind: type[Exception]
) -> None:
    assert type(refusal_of(response)) is kind


def test_when_to_come_back_is_found_in_the_headers() -> None:
    headers = {"content-type": "application/problem+json", "Retry-After": "7"}
    refused = refusal_of(httpx.Response(503, headers=headers, json={"title": "Busy"}))
    assert isinstance(refused, HandshakeError)
    assert refused.retry_seconds == 7
