"""auth.credentials: what a request shows, and what is not unmistakable."""

from __future__ import annotations

from contextlib import suppress
from http.cookies import SimpleCookie
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hubbub.auth.credentials import LONGEST_TOKEN, MOST_COOKIES, read_cookies, read_credentials
from hubbub.auth.headers import HeaderValues
from hubbub.errors import HandshakeError
from hubbub.hub.identity import Credentials

TOKEN = "eyJh.eyJz.c2ln"

Headers = list[tuple[bytes, bytes]]


def asking(
    *headers: tuple[str, str], offered: list[str] | None = None, query: str = "", kind: str = "websocket"
) -> dict[str, Any]:
    """The scope of a request."""
    return {
        "type": kind,
        "path": "/ws",
        "query_string": query.encode("latin-1"),
        "headers": [(name.encode("latin-1"), value.encode("latin-1")) for name, value in headers],
        "subprotocols": offered or [],
    }


def read(scope: dict[str, Any], *, token_in_query: bool = False) -> Credentials:
    credentials, _ = read_credentials(
        scope, HeaderValues(scope["headers"]), remote="203.0.113.9", token_in_query=token_in_query
    )
    return credentials


def bearer(token: str = TOKEN) -> tuple[str, str]:
    return "authorization", f"Bearer {token}"


def refused(scope: dict[str, Any]) -> str:
    with pytest.raises(HandshakeError) as caught:
        read(scope, token_in_query=True)
    assert (caught.value.status, caught.value.headers) == (400, ())
    return caught.value.reason


# Nothing in particular


def test_a_request_that_shows_nothing_has_a_path_and_an_address() -> None:
    assert read(asking()) == Credentials(path="/ws", remote="203.0.113.9")


def test_a_scope_without_a_query_or_subprotocols_is_one() -> None:
    scope = {"type": "http", "path": "/ticket"}
    expected = Credentials(path="/ticket", remote=""), ()
    assert read_credentials(scope, HeaderValues(()), remote="", token_in_query=True) == expected


def test_of_a_header_the_last_counts_in_latin_1() -> None:
    shown = read(asking(("X-Name", "a"), ("x-name", "\xe9"), ("host", "hub")))
    assert shown.headers == {"x-name": "\xe9", "host": "hub"}


def test_nothing_secret_is_in_the_representation() -> None:
    shown = read(asking(bearer(), ("cookie", f"session={TOKEN}"), query=f"ticket={TOKEN}"))
    assert TOKEN not in repr(shown)


# Tokens


@pytest.mark.parametrize("value", [f"Bearer {TOKEN}", f"bearer {TOKEN}", f"BEARER   {TOKEN}", f" Bearer {TOKEN} "])
def test_a_token_is_in_the_authorization(value: str) -> None:
    assert read(asking(("authorization", value))).token == TOKEN
    assert read(asking(("Authorization", value), kind="http")).token == TOKEN


@pytest.mark.parametrize("value", ["Basic YTpi", f"Bearer2 {TOKEN}", f"Token {TOKEN}", TOKEN, "", f"Bearer,{TOKEN}"])
def test_another_scheme_is_no_token(value: str) -> None:
    assert read(asking(("authorization", value))).token == ""


def test_a_token_is_in_a_subprotocol_which_is_not_offered_any_further() -> None:
    scope = asking(offered=["hubbub.v1", f"hubbub.bearer.{TOKEN}", "hubbub.v1.msgpack"])
    shown, offered = read_credentials(scope, HeaderValues(scope["headers"]), remote="", token_in_query=False)
    assert (shown.token, offered) == (TOKEN, ("hubbub.v1", "hubbub.v1.msgpack"))


def test_a_request_that_is_no_websocket_offers_no_subprotocols() -> None:
    scope = asking(offered=[f"hubbub.bearer.{TOKEN}"], kind="http")
    shown, offered = read_credentials(scope, HeaderValues(scope["headers"]), remote="", token_in_query=False)
    assert (shown.token, offered) == ("", ())


def test_a_token_in_the_query_counts_only_where_that_is_allowed() -> None:
    scope = asking(query=f"a=b&token={TOKEN}")
    assert read(scope).token == ""
    assert read(scope, token_in_query=True).token == TOKEN


def test_a_token_in_the_query_disturbs_no_other_where_it_does_not_count() -> None:
    assert read(asking(bearer(), query="token=1&token=%00")).token == TOKEN


def test_an_authorization_of_another_scheme_disturbs_no_token() -> None:
    scope = asking(("authorization", "Basic YTpi"), offered=[f"hubbub.bearer.{TOKEN}"])
    assert read(scope).token == TOKEN


@pytest.mark.parametrize(
    "scope",
    [
        asking(bearer(), offered=[f"hubbub.bearer.{TOKEN}"]),
        asking(bearer(), query=f"token={TOKEN}"),
        asking(offered=[f"hubbub.bearer.{TOKEN}"], query=f"token={TOKEN}"),
        asking(offered=[f"hubbub.bearer.{TOKEN}", "hubbub.v1", "hubbub.bearer.other"]),
        asking(query=f"token={TOKEN}&token={TOKEN}"),
        asking(query="ticket=a&ticket=b"),
    ],
)
def test_two_tokens_or_tickets_are_refused(scope: dict[str, Any]) -> None:
    assert refused(scope) == "there is more than one token or ticket"


@pytest.mark.parametrize("second", [bearer(), ("Authorization", "Basic YTpi"), ("authorization", "")])
def test_two_authorizations_are_refused(second: tuple[str, str]) -> None:
    assert refused(asking(bearer(), second)) == "there is more than one Authorization"


def test_a_token_of_8_kb_is_the_longest() -> None:
    longest = "x" * LONGEST_TOKEN
    assert read(asking(bearer(longest))).token == longest
    assert refused(asking(bearer(longest + "x"))) == "a token is visible ASCII, at most 8 KB"


@pytest.mark.parametrize("token", ["", "a b", "a\tb", "a\0", "\x7f", "\xe9", "a\n", "\x80"])
def test_a_token_of_other_characters_is_refused_wherever_it_stands(token: str) -> None:
    escaped = "".join(f"%{byte:02x}" for byte in token.encode())
    for scope in (
        asking(("authorization", f"Bearer {token}")),
        asking(offered=[f"hubbub.bearer.{token}"]),
        asking(query=f"token={escaped}"),
        asking(query=f"ticket={escaped}"),
    ):
        assert refused(scope) == "a token is visible ASCII, at most 8 KB"


def test_bearer_without_a_token_is_refused() -> None:
    assert refused(asking(("authorization", "Bearer"))) == "a token is visible ASCII, at most 8 KB"


def test_a_ticket_is_in_the_query() -> None:
    assert read(asking(query="session=1&ticket=a-b_c")).ticket == "a-b_c"


# Cookies


def cookies(*lines: str) -> dict[str, str]:
    return read_cookies([(b"cookie", line.encode("latin-1")) for line in lines])


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("a=1; b=2", {"a": "1", "b": "2"}),
        ("a=1;b=2;", {"a": "1", "b": "2"}),
        (" a = 1 ;\tb=2", {"a": "1", "b": "2"}),
        ("a=", {"a": ""}),
        ("a=b=c==", {"a": "b=c=="}),
        ("a=1; a=2", {"a": "1"}),
        ("a=1; A=2", {"a": "1", "A": "2"}),
        ("a=%41+b", {"a": "%41+b"}),
        ("a=\xe9", {"a": "\xe9"}),
        ('a="1"', {"a": "1"}),
        ('a="', {"a": '"'}),
        ('a="1', {"a": '"1'}),
        (r'a="\"\\\054\x"', {"a": r'"\,x'}),
        (r"a=\054", {"a": r"\054"}),
        (r'a="\477\400"', {"a": "477400"}),
        ("$Version=1; path=/; a=1, b=2", {"$Version": "1", "path": "/", "a": "1, b=2"}),
        ("a; =1; ; =; b=2", {"b": "2"}),
        ("", {}),
    ],
)
def test_cookies_are_read_as_they_stand(line: str, expected: dict[str, str]) -> None:
    assert cookies(line) == expected


def test_cookies_of_several_lines_are_read_and_the_first_of_a_name_counts() -> None:
    assert cookies("a=1; b=2", "b=3; c=4") == {"a": "1", "b": "2", "c": "4"}


def test_only_so_many_cookies_are_read() -> None:
    line = "; ".join(f"c{number}={number}" for number in range(MOST_COOKIES + 1))
    assert list(cookies(line)) == [f"c{number}" for number in range(MOST_COOKIES)]


def test_a_request_has_its_cookies() -> None:
    assert read(asking(("Cookie", "session=abc"), kind="http")).cookies == {"session": "abc"}


# Anything at all


@given(st.text(alphabet=st.characters(max_codepoint=255, exclude_categories=["Cc"])))
def test_what_http_cookies_writes_is_read(value: str) -> None:
    written: SimpleCookie = SimpleCookie()
    written["name"] = value
    assert cookies(written["name"].OutputString()) == {"name": value}


names = st.sampled_from([b"authorization", b"cookie", b"Cookie", b"x"])
values = st.one_of(st.binary(max_size=40), st.sampled_from([b"Bearer x", b"bearer", b"Basic x", b'a="\\', b"a=b;c"]))
queries = st.one_of(st.binary(max_size=40), st.sampled_from([b"token=%", b"ticket=a&ticket", b"token=%ff", b"&&;="]))
subprotocols = st.lists(st.one_of(st.text(max_size=9), st.text(max_size=9).map("hubbub.bearer.".__add__)), max_size=3)


@given(st.lists(st.tuples(names, values), max_size=4), queries, subprotocols, st.booleans())
def test_whatever_a_request_shows_is_read_or_refused(
    headers: Headers, query: bytes, offered: list[str], token_in_query: bool
) -> None:
    scope = {**asking(offered=offered), "headers": headers, "query_string": query}
    with suppress(HandshakeError):
        shown, left = read_credentials(scope, HeaderValues(scope["headers"]), remote="", token_in_query=token_in_query)
        assert all(not entry.startswith("hubbub.bearer.") for entry in left)
        assert (shown.token + shown.ticket).isascii()
