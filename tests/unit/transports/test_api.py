"""transports.api: a ticket for who is somebody, and why there is none, as browsers and programs can read it."""

from __future__ import annotations

import asyncio
import json
from collections.abc import MutableMapping
from typing import Any, NamedTuple

import pytest

from hubbub.auth.gate import Anonymous, Gate
from hubbub.auth.origin import Origins
from hubbub.auth.proxies import Proxies
from hubbub.auth.tickets import MOST_PER_USER, Tickets
from hubbub.config import Auth, Config, Limits
from hubbub.errors import HandshakeError
from hubbub.hub.calls import Calls
from hubbub.hub.commands import BUILT_IN, VERBS
from hubbub.hub.identity import Credentials, Identity
from hubbub.transports import api_operation
from hubbub.transports.api import ApiRoute
from hubbub.transports.api_table import operations_of
from tests.unit.fakes import Bench
from tests.unit.hub.people import NOW, known

HOST = ("host", "hub.example")
OWN = ("origin", "https://hub.example")
FRIEND = ("origin", "https://app.example")
ELSEWHERE = ("origin", "https://evil.example")
TOKEN = ("authorization", "Bearer ada")
JSON = ("content-type", "application/json")


class Response(NamedTuple):
    status: int
    headers: dict[str, str]
    content: bytes

    def json(self) -> Any:
        return json.loads(self.content)


class Names:
    """Whose token is the user's own name; the cookie `session` as well."""

    uses_cookies = True

    def __init__(self, **identities: Identity) -> None:
        self.identities = identities

    async def authenticate(self, credentials: Credentials) -> Identity | None:
        shown = credentials.token or credentials.cookies.get("session", "")
        if shown and shown not in self.identities:
            raise HandshakeError(401, "The token is none", ((b"www-authenticate", b'Bearer error="invalid_token"'),))
        return self.identities.get(shown)

    async def close(self) -> None:
        """Nothing is under way."""


class Api:
    """The route of a hub whose users are ada, who stays, and bob, whose credentials have ended."""

    def __init__(self, *, ready: HandshakeError | None = None, origins: str = "https://app.example") -> None:
        self.bench = Bench(Config(auth=Auth(ticket_seconds=12), limits=Limits(handshake_burst=200)))
        self.hub = self.bench.hub
        self.tickets = Tickets(12.0)
        names = Names(ada=known("ada", token="t"), bob=known("bob", expires=NOW))
        self.gate = Gate(
            [names, Anonymous()],
            Origins(origins.split()),
            Proxies(()),
            self.tickets,
            local=False,
            token_in_query=False,
            knock=lambda address: self.hub.admission.knock(address, NOW),
            ready=self._ready,
        )
        self._error = ready

    async def _ready(self) -> None:
        if self._error is not None:
            raise self._error

    def __call__(self, *headers: tuple[str, str], method: str = "POST", query: str = "") -> Response:
        sent: list[MutableMapping[str, Any]] = []

        async def send(message: MutableMapping[str, Any]) -> None:
            sent.append(message)

        async def receive() -> MutableMapping[str, Any]:
            raise AssertionError("the body is not read")

        scope = {
            "type": "http",
            "method": method,
            "path": "/api/ticket",
            "query_string": query.encode(),
            "client": ("192.0.2.1", 4711),
            "server": ("127.0.0.1", 80),
            "headers": [(name.encode(), value.encode()) for name, value in (HOST, *headers)],
        }
        api = api_operation.Api(self.hub, self.gate, Calls(self.hub, "/api", BUILT_IN, VERBS), "1", "/ws")
        route = ApiRoute(api, operations_of(api))
        scope |= route.matches(scope)[1]
        asyncio.run(route.handle(scope, receive, send))
        start, body = sent
        lines = [(name.decode(), value.decode()) for name, value in start["headers"]]
        assert len(dict(lines)) == len(lines), "a header stands there twice"
        return Response(start["status"], dict(lines), body["body"])


@pytest.fixture
def api() -> Api:
    return Api()


# A ticket


def test_who_is_somebody_gets_a_ticket_and_hears_how_long_it_counts(api: Api) -> None:
    response = api(TOKEN)
    assert (response.status, response.headers["content-type"]) == (200, "application/json")
    assert response.json() == {"ticket": response.json()["ticket"], "expiresIn": 12}
    assert api.tickets.redeem(response.json()["ticket"]).user == "ada"


def test_no_cache_keeps_it(api: Api) -> None:
    assert api(TOKEN).headers["cache-control"] == "no-store"


def test_a_cookie_is_worth_one_with_an_origin_alone(api: Api) -> None:
    cookie = ("cookie", "session=ada")
    assert (api(OWN, cookie).status, api(FRIEND, cookie).status) == (200, 200)
    assert (api(cookie).status, api(ELSEWHERE, cookie).status) == (403, 403)


@pytest.mark.parametrize("kind", ["application/json", "Application/JSON; charset=utf-8"])
def test_a_body_may_be_json(api: Api, kind: str) -> None:
    assert api(TOKEN, ("content-type", kind)).status == 200


# Why there is none


def refused(response: Response) -> int:
    """The status of a refusal, which is a problem as RFC 9457 has it."""
    assert response.headers["content-type"] == "application/problem+json"
    problem = response.json()
    assert problem.keys() == {"title", "status", "detail"}
    assert (problem["status"], response.headers["content-length"]) == (response.status, str(len(response.content)))
    return response.status


def test_who_is_nobody_gets_none(api: Api) -> None:
    response = api()
    assert refused(response) == 401
    assert response.json() == {"title": "Unauthorized", "status": 401, "detail": "credentials are required"}
    assert response.headers["www-authenticate"] == "Bearer"


def test_a_wrong_token_gets_none_and_is_not_repeated(api: Api) -> None:
    response = api(("authorization", "Bearer s3cret"))
    assert (refused(response), b"s3cret" in response.content) == (401, False)
    assert response.headers["www-authenticate"] == 'Bearer error="invalid_token"'


def test_two_tokens_are_not_understood(api: Api) -> None:
    assert refused(api(TOKEN, TOKEN)) == 400


def test_credentials_that_have_ended_get_none(api: Api) -> None:
    response = api(("authorization", "Bearer bob"))
    assert (refused(response), response.json()["detail"]) == (401, "the credentials have expired")


def test_nor_do_those_that_have_been_revoked(api: Api) -> None:
    api.hub.standing.revoke("token", "t")
    assert refused(api(TOKEN)) == 401
    assert len(api.tickets) == 0


@pytest.mark.parametrize("kind", ["text/plain", "application/x-www-form-urlencoded", "multipart/form-data", ""])
def test_a_form_that_any_page_can_send_is_refused(api: Api, kind: str) -> None:
    assert refused(api(TOKEN, OWN, ("content-type", kind))) == 415


@pytest.mark.parametrize("method", ["GET", "PUT", "DELETE", "PATCH"])
def test_it_is_asked_for_with_post(api: Api, method: str) -> None:
    response = api(TOKEN, method=method)
    assert (refused(response), response.headers["allow"]) == (405, "POST, OPTIONS")


def test_too_many_who_knock_hear_when_to_come_back() -> None:
    api = Api()
    for _ in range(200):
        api.hub.admission.knock("192.0.2.1", NOW)
    response = api(TOKEN)
    assert (refused(response), response.headers["retry-after"]) == (429, "1")


def test_too_many_unused_tickets_are_enough(api: Api) -> None:
    for _ in range(MOST_PER_USER):
        api.tickets.issue(known("ada"))
    response = api(TOKEN)
    assert (refused(response), response.headers["retry-after"]) == (429, "12")


def test_while_it_is_not_known_what_is_revoked_there_is_none() -> None:
    api = Api(ready=HandshakeError(503, "not now", ((b"retry-after", b"5"),)))
    response = api(TOKEN)
    assert (refused(response), response.headers["retry-after"]) == (503, "5")


def test_a_refusal_is_counted(api: Api) -> None:
    api(TOKEN)
    api()
    assert api.hub.counters.handshakes_refused == 1


# Pages of other origins

ALLOWS = "access-control-allow-origin"


@pytest.mark.parametrize("origin", [OWN, FRIEND])
@pytest.mark.parametrize("headers", [(TOKEN,), ()])
def test_an_allowed_page_can_read_the_answer_and_the_refusal(
    api: Api, origin: tuple[str, str], headers: tuple[tuple[str, str], ...]
) -> None:
    response = api(origin, *headers)
    assert response.headers[ALLOWS] == origin[1]
    assert response.headers["access-control-allow-credentials"] == "true"
    assert response.headers["vary"].startswith("origin")


@pytest.mark.parametrize("origin", [ELSEWHERE, ("origin", "null"), ("origin", "")])
def test_another_page_cannot(api: Api, origin: tuple[str, str]) -> None:
    response = api(origin, TOKEN)
    assert refused(response) == 403
    assert (ALLOWS in response.headers, "origin" in response.headers["vary"]) == (False, True)


def test_without_an_origin_nothing_is_said_of_them(api: Api) -> None:
    assert not [name for name in api(TOKEN).headers if name.startswith("access-control")]


def test_every_origin_is_told_its_own_name_where_all_are_allowed() -> None:
    assert Api(origins="*")(ELSEWHERE, TOKEN).headers[ALLOWS] == ELSEWHERE[1]


def test_a_browser_may_ask_before(api: Api) -> None:
    response = api(FRIEND, ("access-control-request-method", "POST"), method="OPTIONS")
    assert (response.status, response.content) == (204, b"")
    assert response.headers["access-control-allow-methods"] == "POST, OPTIONS"
    allowed = response.headers["access-control-allow-headers"]
    assert allowed == "authorization, content-type, idempotency-key, if-none-match, last-event-id"
    assert response.headers["access-control-max-age"] == "600"


def test_an_answer_without_content_has_neither_length_nor_type(api: Api) -> None:
    headers = api(FRIEND, method="OPTIONS").headers  # RFC 9110, section 8.6
    assert headers.keys().isdisjoint({"content-length", "content-type"})


@pytest.mark.parametrize("origin", [(), (ELSEWHERE,)])
def test_another_page_may_not(api: Api, origin: tuple[tuple[str, str], ...]) -> None:
    response = api(*origin, method="OPTIONS")
    assert (refused(response), ALLOWS in response.headers) == (403, False)


def test_to_ask_before_is_no_knock_and_makes_no_ticket(api: Api) -> None:
    api(FRIEND, TOKEN, method="OPTIONS")
    assert (len(api.tickets), api.hub.admission._knocks) == (0, {})
