"""Session cookies of a web framework: they count for its own pages only, which say so with an Origin."""

from collections.abc import Iterator

import pytest

from tests.hostile.test_credentials import ticket_request
from tests.hostile.test_handshake import request, status
from tests.support.canary import canary
from tests.support.credentials import COOKIES, cookie_options
from tests.support.peer import Peer
from tests.support.server import Server

OWN_PAGE = "Origin: http://127.0.0.1"


@pytest.fixture(scope="session", params=COOKIES)
def framework(request: pytest.FixtureRequest) -> str:
    chosen: str = request.param
    return chosen


@pytest.fixture(scope="session")
def cookie_settings(framework: str, tmp_path_factory: pytest.TempPathFactory) -> tuple[str, ...]:
    return cookie_options(tmp_path_factory.mktemp("cookies"), framework)


@pytest.fixture
def options(cookie_settings: tuple[str, ...]) -> tuple[str, ...]:
    return cookie_settings


@pytest.fixture
def cookie(framework: str) -> str:
    return COOKIES[framework]("7")


@pytest.fixture
def headers(cookie: str) -> tuple[str, ...]:
    return (cookie, OWN_PAGE)


def code_of(server: Server, *lines: str) -> int:
    return status(server, request(*(line.encode() for line in lines)))


def test_row_39_a_cookie_without_an_origin_is_403(server: Server, cookie: str) -> None:
    assert code_of(server, cookie) == 403
    assert status(server, ticket_request(cookie)) == 403


def test_row_39_a_cookie_with_the_origin_of_our_own_page_counts(server: Server, cookie: str) -> None:
    assert code_of(server, cookie, OWN_PAGE) == 101
    assert status(server, ticket_request(cookie, OWN_PAGE)) == 200


@pytest.mark.parametrize(
    "origin", ["null", "https://evil.example", "http://127.0.0.1.evil.example", "http://127.0.0.2"]
)
def test_row_39_a_cookie_with_a_foreign_origin_is_403(server: Server, cookie: str, origin: str) -> None:
    assert code_of(server, cookie, f"Origin: {origin}") == 403
    assert status(server, ticket_request(cookie, f"Origin: {origin}")) == 403


SHOWN_BESIDE = ("Authorization: Bearer of-nobody", "Sec-WebSocket-Protocol: hubbub.v1.json, hubbub.bearer.of-nobody")


@pytest.mark.parametrize("beside", SHOWN_BESIDE, ids=["header", "sub-protocol"])
def test_row_39_a_token_beside_it_does_not_make_up_for_the_origin(server: Server, cookie: str, beside: str) -> None:
    """401: nothing is left that says who the client is."""
    assert code_of(server, cookie, beside) == 401


def test_row_39_a_ticket_beside_it_does_not_make_up_for_the_origin(server: Server, cookie: str) -> None:
    assert status(server, request(cookie.encode(), start=b"GET /ws?ticket=of-nobody HTTP/1.1")) == 401


def test_row_39_a_ticket_needs_neither_cookie_nor_origin(server: Server, cookie: str) -> None:
    with Peer(server.port) as peer:
        _, answer = peer.http(ticket_request(cookie, OWN_PAGE))
    ticket = answer.partition(b'"ticket":"')[2].partition(b'"')[0]
    canary.keep(ticket.decode(), "a ticket")
    assert status(server, request(start=b"GET /ws?ticket=" + ticket + b" HTTP/1.1")) == 101


def forged(cookie: str) -> Iterator[str]:
    """The cookie with one of its characters changed: in what it says, when, and its signature."""
    name, _, value = cookie.partition("=")
    for place in {0, 1, len(value) // 2, len(value) - 30, len(value) - 10}:
        other = "A" if value[place] != "A" else "B"
        yield f"{name}={value[:place]}{other}{value[place + 1 :]}"
    yield f"{name}={value[: len(value) // 2]}"
    yield f"{name}={value}{value}"
    yield f"{name}=" + "." * 100


def test_row_39_a_cookie_that_was_changed_is_401(server: Server, cookie: str) -> None:
    assert {code_of(server, changed, OWN_PAGE) for changed in forged(cookie)} == {401}


@pytest.mark.parametrize("lines", [(), ("Cookie: other=1",), ("Cookie: session=; sessionid=",)])
def test_row_39_without_the_cookie_it_is_401(server: Server, lines: tuple[str, ...]) -> None:
    assert code_of(server, *lines, OWN_PAGE) == 401


def test_row_39_a_cookie_of_another_framework_is_401(framework: str, server: Server) -> None:
    other = next(name for name in COOKIES if name != framework)
    value = COOKIES[other]("7").partition("=")[2]
    name = "session" if framework == "starlette" else "sessionid"
    assert code_of(server, f"Cookie: {name}={value}", OWN_PAGE) == 401
