"""Pages of other origins: which may connect, and which may ask for a ticket and read the answer."""

import pytest

from tests.hostile.test_credentials import ticket_request
from tests.hostile.test_handshake import KEY, UPGRADE, VERSION, request, status
from tests.support.credentials import Issuer, bearer, secret_issuer
from tests.support.peer import Peer
from tests.support.server import Server

LISTED = ("https://app.example.com", "http://good.com:8000")


@pytest.fixture(scope="session")
def issuer(tmp_path_factory: pytest.TempPathFactory) -> Issuer:
    return secret_issuer(tmp_path_factory.mktemp("issuer"))


@pytest.fixture
def options(issuer: Issuer) -> tuple[str, ...]:
    return (*issuer.options, "--origins", ", ".join(LISTED))


@pytest.fixture
def token(issuer: Issuer) -> str:
    return bearer(issuer.token())


@pytest.fixture
def headers(token: str) -> tuple[str, ...]:
    return (token,)


def code_of(server: Server, token: str, *origins: str) -> int:
    """The status for a page of this origin, which has a token that counts."""
    return status(server, request(token.encode(), *(f"Origin: {origin}".encode() for origin in origins)))


# Row 4

FOREIGN = (
    "null",
    "",
    "*",
    "https://evil.example",
    "http://app.example.com",
    "https://app.example.com:8443",
    "https://app.example.com.evil.example",
    "https://app.example.com@evil.example",
    "https://evil.example/https://app.example.com",
    "https://evil.example#https://app.example.com",
    "https://app.example.com/",
    "https://app.example.com evil",
    "https://app.example.com, https://evil.example",
    "https://xapp.example.com",
    "https://example.com",
    "https://app.example.comx",
    "https:app.example.com",
    "//app.example.com",
    "app.example.com",
    "file://",
    "chrome-extension://app.example.com",
    "javascript://app.example.com",
    "http://good.com",
    "http://good.com:80000",
    "http://127.0.0.1:8080",
    "http://127.0.0.1.evil.example",
    "http://127.0.0.2",
    "http://localhost",
    "http://[::1]",
    "http://0.0.0.0",
    "http://127.1",
    "http://2130706433",
)


def test_row_04_a_foreign_origin_is_403_and_counted(server: Server, token: str) -> None:
    before = server.counters()["handshakes_refused"]
    assert {origin: code_of(server, token, origin) for origin in FOREIGN} == dict.fromkeys(FOREIGN, 403)
    assert server.counters()["handshakes_refused"] == before + len(FOREIGN)


@pytest.mark.parametrize("origins", [LISTED, (LISTED[0], LISTED[0]), (LISTED[0], "null")], ids=["two", "twice", "null"])
def test_row_04_two_origins_are_403(server: Server, token: str, origins: tuple[str, ...]) -> None:
    assert code_of(server, token, *origins) == 403


@pytest.mark.parametrize("origin", [*LISTED, "HTTPS://App.Example.Com", "https://app.example.com:443"])
def test_row_04_a_listed_origin_may_connect(server: Server, token: str, origin: str) -> None:
    assert code_of(server, token, origin) == 101


OWN = {"http://127.0.0.1": "127.0.0.1", "http://me.example:81": "me.example:81", "https://me.example": "me.example"}


@pytest.mark.parametrize(("origin", "called"), OWN.items(), ids=OWN)
def test_row_04_a_page_of_the_same_host_may_connect(server: Server, token: str, origin: str, called: str) -> None:
    lines = (b"GET /ws HTTP/1.1", f"Host: {called}".encode(), *UPGRADE, VERSION, KEY, token.encode())
    assert status(server, b"\r\n".join((*lines, f"Origin: {origin}".encode(), b"", b""))) == 101


def test_row_04_who_is_no_page_may_connect(server: Server, token: str) -> None:
    assert code_of(server, token) == 101


class TestWhereAllOriginsAreAllowed:
    """With `origins = *`."""

    @pytest.fixture
    def options(self, issuer: Issuer) -> tuple[str, ...]:
        return (*issuer.options, "--origins", "*")

    def test_row_04_every_origin_of_the_web_may_connect(self, server: Server, token: str) -> None:
        origins = ("https://evil.example", "http://localhost:3000", "https://[2001:db8::1]:8443")
        assert {code_of(server, token, origin) for origin in origins} == {101}

    def test_row_04_what_is_no_origin_of_the_web_is_403(self, server: Server, token: str) -> None:
        origins = ("null", "", "*", "file://", "https://a.example, https://b.example", "https://a@b.example")
        assert {origin: code_of(server, token, origin) for origin in origins} == dict.fromkeys(origins, 403)
        assert code_of(server, token, "https://a.example", "https://b.example") == 403


# Row 12


def asked(server: Server, data: bytes) -> tuple[int, dict[str, str]]:
    """The status and the headers of an answer."""
    with Peer(server.port) as peer:
        code, answer = peer.http(data)
    lines = answer.partition(b"\r\n\r\n")[0].decode().split("\r\n")[1:]
    return code, {name.lower(): value for name, _, value in (line.partition(": ") for line in lines)}


SIMPLE = (
    "text/plain",
    "text/plain; charset=application/json",
    "application/x-www-form-urlencoded",
    "multipart/form-data",
)


@pytest.mark.parametrize("kind", [*SIMPLE, "", "application/jsonp", "text/json"])
def test_row_12_a_body_that_a_form_can_send_is_415(server: Server, token: str, kind: str) -> None:
    assert status(server, ticket_request(token, f"Content-Type: {kind}")) == 415


@pytest.mark.parametrize("kind", ["application/json", "Application/JSON; charset=utf-8"])
def test_row_12_a_body_in_json_gets_a_ticket(server: Server, token: str, kind: str) -> None:
    assert status(server, ticket_request(token, f"Content-Type: {kind}")) == 200


def preflight(origin: str) -> bytes:
    """What a browser asks before a page of this origin may ask for a ticket with a token."""
    lines = ("Access-Control-Request-Method: POST", "Access-Control-Request-Headers: authorization,content-type")
    return ticket_request(f"Origin: {origin}", *lines).replace(b"POST /", b"OPTIONS /", 1)


def test_row_12_a_preflight_from_a_foreign_origin_is_403_and_allows_nothing(server: Server) -> None:
    for origin in FOREIGN:
        code, headers = asked(server, preflight(origin))
        assert code == 403, origin
        assert not [name for name in headers if name.startswith("access-control")], origin


@pytest.mark.parametrize("origin", LISTED)
def test_row_12_a_preflight_from_a_listed_origin_is_204_and_allows_what_is_needed(server: Server, origin: str) -> None:
    code, headers = asked(server, preflight(origin))
    assert code == 204
    assert {name: value for name, value in headers.items() if name.startswith("access-control")} == {
        "access-control-allow-origin": origin,
        "access-control-allow-credentials": "true",
        "access-control-allow-methods": "POST, OPTIONS",
        "access-control-allow-headers": "authorization, content-type, idempotency-key, if-none-match, last-event-id",
        "access-control-max-age": "600",
    }
    assert "origin" in headers["vary"].lower()


def test_row_12_a_ticket_is_not_given_to_a_page_of_a_foreign_origin(server: Server, token: str) -> None:
    code, headers = asked(server, ticket_request(token, "Origin: https://evil.example"))
    assert code == 403
    assert "access-control-allow-origin" not in headers


@pytest.mark.parametrize("lines", [True, False], ids=["good", "none"])
def test_row_12_a_page_of_a_listed_origin_can_read_the_answer(server: Server, token: str, lines: bool) -> None:
    """A refusal too: else the page would know only that something failed."""
    code, headers = asked(server, ticket_request(f"Origin: {LISTED[0]}", *([token] if lines else [])))
    assert code == (200 if lines else 401)
    assert headers["access-control-allow-origin"] == LISTED[0]
    assert headers["cache-control"] == "no-store"


def test_row_12_a_preflight_without_an_origin_is_403(server: Server) -> None:
    code, headers = asked(server, preflight("x").replace(b"Origin: x\r\n", b""))
    assert code == 403
    assert "access-control-allow-origin" not in headers
