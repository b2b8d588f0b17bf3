"""client.urls: where to connect."""

import pytest

from hubbub.client.urls import checked_token, http_url, socket_url, with_session
from hubbub.errors import ConfigError


@pytest.mark.parametrize(
    ("typed", "url"),
    [
        ("localhost", "ws://localhost/ws"),
        ("localhost:8080", "ws://localhost:8080/ws"),
        ("http://localhost:8080", "ws://localhost:8080/ws"),
        ("https://chat.example/", "wss://chat.example/ws"),
        ("ws://h/other", "ws://h/other"),
        ("wss://h/a/b?token=x", "wss://h/a/b?token=x"),
        ("ws://h?token=x", "ws://h/ws?token=x"),
        ("ws://h/ws#top", "ws://h/ws"),
        ("[::1]:8080", "ws://[::1]:8080/ws"),
        ("WS://H", "ws://H/ws"),
        ("https://h/live/", "wss://h/live/ws"),
    ],
)
def test_what_people_type_becomes_a_url(typed: str, url: str) -> None:
    assert socket_url(typed) == url


@pytest.mark.parametrize(
    "typed",
    [
        "",
        "ws://",
        "ftp://h",
        "ws://:8080",
        "ws://h:http",
        "ws://h:99999",
        "ws://h:0",
        "ws://[::1",
        "ws://h/a b",
        "ws://h/é",
        "ws://exämple",
        "ws://h/\x7f",
    ],
)
def test_what_is_no_url_is_refused_by_name(typed: str) -> None:
    with pytest.raises(ConfigError) as caught:
        socket_url(typed)
    assert repr(typed) in str(caught.value)


@pytest.mark.parametrize(
    ("socket", "http"),
    [
        ("ws://h:8080/ws", "http://h:8080"),
        ("wss://h/live/ws?ticket=x", "https://h/live"),
        ("wss://h/other", "https://h/other"),
    ],
)
def test_the_http_routes_are_beside_the_websocket(socket: str, http: str) -> None:
    assert http_url(socket) == http


def test_a_session_is_put_into_the_query() -> None:
    assert with_session("ws://h/ws", "") == "ws://h/ws?session="
    assert with_session("ws://h/ws?a=b", "x&y") == "ws://h/ws?a=b&session=x%26y"


@pytest.mark.parametrize("token", ["two words", "line\r\nX: 1", "ä"])
def test_what_cannot_stand_in_a_header_is_no_token(token: str) -> None:
    with pytest.raises(ConfigError):
        checked_token(token)
