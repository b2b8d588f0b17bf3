"""auth.gate: what is looked at before somebody may come in, in which order, and who somebody is then."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from hubbub.auth.gate import Anonymous, Application, Authenticator, Gate, Visitor
from hubbub.auth.origin import Origins
from hubbub.auth.proxies import Proxies
from hubbub.auth.tickets import Tickets
from hubbub.errors import HandshakeError
from hubbub.hub.identity import ANONYMOUS, Credentials, Identity

ADA, BOB, EVE = (Identity(user=user, name=user) for user in ("ada", "bob", "eve"))
PEER = ("192.0.2.1", 4711)


class Way:
    """Knows these tokens and cookies; refuses other tokens."""

    def __init__(self, knows: dict[str, Identity] | None = None, *, cookies: bool = False) -> None:
        self.knows = knows or {}
        self.uses_cookies = cookies
        self.asked = 0
        self.closed = False

    async def authenticate(self, credentials: Credentials) -> Identity | None:
        self.asked += 1
        shown = credentials.cookies.get("session", "") if self.uses_cookies else credentials.token
        if shown and shown not in self.knows:
            raise HandshakeError(401, "that does not count")
        return self.knows[shown] if shown else None

    async def close(self) -> None:
        self.closed = True


class World:
    """A gate and what it asks; `steps` is what was asked so far."""

    def __init__(
        self,
        *ways: Authenticator,
        origins: str = "",
        proxies: str = "",
        local: bool = False,
        token_in_query: bool = False,
        fails: str = "",
    ) -> None:
        self.steps: list[str] = []
        self.fails = fails
        self.tickets = Tickets(30.0)
        self.gate = Gate(
            ways,
            Origins(origins.split()),
            Proxies(proxies.split()),
            self.tickets,
            local=local,
            token_in_query=token_in_query,
            knock=self._knock,
            ready=self._ready,
        )

    def _step(self, step: str, status: int) -> None:
        self.steps.append(step)
        if self.fails == step.partition(" ")[0]:
            raise HandshakeError(status, "not now")

    def _knock(self, address: str) -> None:
        self._step(f"knock {address}", 429)

    async def _ready(self) -> None:
        self._step("ready", 503)

    def admit(self, *headers: tuple[str, str], **scope: Any) -> Visitor:
        lines = [(name.encode(), value.encode()) for name, value in headers]
        asked = {
            "type": "websocket",
            "path": "/ws",
            "headers": lines,
            "query_string": b"",
            "client": PEER,
            "server": ("127.0.0.1", 8080),
            "subprotocols": [],
        }
        return asyncio.run(self.gate.admit(asked | scope))

    def refusal(self, *headers: tuple[str, str], **scope: Any) -> int:
        with pytest.raises(HandshakeError) as caught:
            self.admit(*headers, **scope)
        return caught.value.status


HOST = ("host", "hub.example")
OWN = ("origin", "https://hub.example")
ELSEWHERE = ("origin", "https://evil.example")


def bearer(token: str) -> tuple[str, str]:
    return "authorization", f"Bearer {token}"


def cookie(session: str) -> tuple[str, str]:
    return "cookie", f"session={session}"


# The order in which it looks


def test_the_address_comes_first_then_the_origin_then_what_is_revoked_then_who_it_is() -> None:
    world = World(way := Way({"a": ADA}))
    assert world.admit(HOST, OWN, bearer("a")).identity is ADA
    assert (world.steps, way.asked) == (["knock 192.0.2.1", "ready"], 1)


def test_who_knocks_too_often_is_asked_nothing_more() -> None:
    world = World(way := Way(), fails="knock", local=True)
    assert world.refusal(HOST, ELSEWHERE) == 429
    assert (len(world.steps), way.asked) == (1, 0)


def test_before_anything_is_read_who_is_elsewhere_is_refused() -> None:
    world = World(way := Way(), local=True)
    assert world.refusal(HOST, bearer("a"), bearer("b")) == 403
    assert (world.steps, way.asked) == (["knock 192.0.2.1"], 0)


def test_what_cannot_be_read_is_refused_before_its_origin() -> None:
    assert World(Way()).refusal(HOST, ELSEWHERE, bearer("a"), bearer("b")) == 400


def test_a_page_of_another_origin_is_refused_before_anybody_is_asked() -> None:
    world = World(way := Way({"a": ADA}))
    assert world.refusal(HOST, ELSEWHERE, bearer("a")) == 403
    assert ("ready" in world.steps, way.asked) == (False, 0)


def test_while_it_is_not_known_what_is_revoked_nobody_is_asked() -> None:
    world = World(way := Way({"a": ADA}), fails="ready")
    assert (world.refusal(HOST, bearer("a")), way.asked) == (503, 0)


def test_a_ticket_is_not_used_up_by_a_request_that_is_refused_before() -> None:
    world = World()
    ticket = world.tickets.issue(ADA)
    query = f"ticket={ticket}".encode()
    assert world.refusal(HOST, ELSEWHERE, query_string=query) == 403
    world.fails = "ready"
    assert world.refusal(HOST, OWN, query_string=query) == 503
    world.fails = ""
    assert world.admit(HOST, OWN, query_string=query).identity is ADA


# Origins and cookies


def test_a_cookie_counts_only_with_an_origin() -> None:
    world = World(Way({"c": ADA}, cookies=True))
    assert world.refusal(HOST, cookie("c")) == 403
    assert world.refusal(HOST, ELSEWHERE, cookie("c")) == 403
    assert world.admit(HOST, OWN, cookie("c")).identity is ADA


def test_a_token_needs_none_even_beside_a_cookie() -> None:
    world = World(Way({"a": ADA}), Way({"c": BOB}, cookies=True))
    assert world.admit(HOST, bearer("a"), cookie("c")).identity is ADA


def test_nor_does_a_ticket() -> None:
    world = World(Way({"c": BOB}, cookies=True))
    query = f"ticket={world.tickets.issue(ADA)}".encode()
    assert world.admit(HOST, cookie("c"), query_string=query).identity is ADA


def test_a_cookie_that_nobody_looks_at_needs_none() -> None:
    assert World(Anonymous()).admit(HOST, cookie("c")).identity is ANONYMOUS


OWN_PAGE, SAME_SITE = ("sec-fetch-site", "same-origin"), ("sec-fetch-site", "same-site")


@pytest.mark.parametrize("method", ["GET", "HEAD"])
def test_to_read_with_a_cookie_a_page_of_our_own_needs_no_origin(method: str) -> None:
    world = World(Way({"c": ADA}, cookies=True))
    assert world.admit(HOST, cookie("c"), OWN_PAGE, type="http", method=method).identity is ADA


@pytest.mark.parametrize(
    ("headers", "scope"),
    [
        ([OWN_PAGE], {"type": "http", "method": "POST"}),
        ([OWN_PAGE], {"type": "websocket"}),
        ([SAME_SITE], {"type": "http", "method": "GET"}),
        ([OWN_PAGE, SAME_SITE], {"type": "http", "method": "GET"}),
        ([OWN_PAGE, ELSEWHERE], {"type": "http", "method": "GET"}),
    ],
)
def test_for_anything_else_it_does(headers: list[tuple[str, str]], scope: dict[str, Any]) -> None:
    assert World(Way({"c": ADA}, cookies=True)).refusal(HOST, cookie("c"), *headers, **scope) == 403


def test_an_allowed_origin_may_come_with_a_cookie() -> None:
    world = World(Way({"c": ADA}, cookies=True), origins="https://app.example")
    assert world.admit(HOST, ("origin", "https://app.example"), cookie("c")).identity is ADA


def test_a_token_in_the_query_that_is_not_taken_is_no_way_around_the_origin() -> None:
    world = World(Way({"c": ADA}, cookies=True))
    assert world.refusal(HOST, cookie("c"), query_string=b"token=x") == 403


# Who it is


def test_a_ticket_counts_before_all_others() -> None:
    world = World(way := Way({"a": BOB}))
    query = f"ticket={world.tickets.issue(ADA)}".encode()
    assert (world.admit(HOST, bearer("a"), query_string=query).identity, way.asked) == (ADA, 0)


def test_a_wrong_ticket_is_refused_whatever_else_is_shown() -> None:
    world = World(way := Way({"a": BOB}), Anonymous())
    assert (world.refusal(HOST, bearer("a"), query_string=b"ticket=x"), way.asked) == (401, 0)


def test_a_ticket_counts_once() -> None:
    world = World()
    query = f"ticket={world.tickets.issue(ADA)}".encode()
    world.admit(HOST, query_string=query)
    assert world.refusal(HOST, query_string=query) == 401


def test_several_ways_are_asked_in_their_order() -> None:
    world = World(Way({"a": ADA}), Way({"c": BOB}, cookies=True), Anonymous())
    assert world.admit(HOST, OWN, bearer("a"), cookie("c")).identity is ADA
    assert world.admit(HOST, OWN, cookie("c")).identity is BOB
    assert world.admit(HOST, OWN).identity is ANONYMOUS


def test_what_one_way_refuses_no_other_lets_in() -> None:
    world = World(Way({"a": ADA}), last := Way({"c": BOB}, cookies=True), Anonymous())
    assert (world.refusal(HOST, OWN, bearer("x"), cookie("c")), last.asked) == (401, 0)


def test_who_shows_nothing_is_told_what_to_show() -> None:
    with pytest.raises(HandshakeError) as caught:
        World(Way({"a": ADA})).admit(HOST)
    assert (caught.value.status, caught.value.headers) == (401, ((b"www-authenticate", b"Bearer"),))


def test_a_token_in_the_query_counts_where_that_is_chosen() -> None:
    ways = Way({"a": ADA})
    assert World(ways, token_in_query=True).admit(HOST, query_string=b"token=a").identity is ADA
    assert World(ways).refusal(HOST, query_string=b"token=a") == 401


def test_a_token_among_the_subprotocols_is_none_of_them() -> None:
    visitor = World(Way({"a": ADA})).admit(HOST, subprotocols=["hubbub.bearer.a", "hubbub.v1.json"])
    assert (visitor.identity, visitor.subprotocols) == (ADA, ("hubbub.v1.json",))


def test_at_the_end_every_way_ends_what_is_under_way() -> None:
    ways = [Way(), Way(cookies=True)]
    asyncio.run(World(*ways).gate.close())
    assert [way.closed for way in ways] == [True, True]


# The application's own way


def application(identity: Identity | None) -> World:
    async def hook(credentials: Credentials) -> Identity | None:
        return identity

    return World(Application(hook, lambda: 1000.0))


def test_the_application_says_who_somebody_is() -> None:
    identity = application(Identity(user="u1", name=" Ada\u202e\0 ", token="t")).admit(HOST).identity
    assert (identity.user, identity.name, identity.token) == ("u1", "Ada", "t")


def test_without_a_name_it_is_the_id_cut_to_what_can_be_shown() -> None:
    assert application(Identity(user="u" * 40)).admit(HOST).identity.name == "u" * 30


def test_a_user_that_cannot_be_shown_is_refused() -> None:
    assert application(Identity(user="\0", name="\u202e")).refusal(HOST) == 401


def test_the_application_may_let_in_who_is_nobody_or_refuse() -> None:
    assert application(ANONYMOUS).admit(HOST).identity is ANONYMOUS
    assert application(None).refusal(HOST) == 401


def test_its_cookies_need_an_origin() -> None:
    assert application(ADA).refusal(HOST, cookie("c")) == 403


# From where


HERE = ("127.0.0.1", 4711)


def local(*headers: tuple[str, str], server: Any = ("127.0.0.1", 8080), client: Any = HERE, proxies: str = "") -> int:
    """The status of the answer where nobody has chosen who may come in; 101 for whoever may."""
    try:
        World(Anonymous(), local=True, proxies=proxies).admit(*headers, server=server, client=client)
    except HandshakeError as error:
        return error.status
    return 101


@pytest.mark.parametrize(
    "host", ["localhost", "localhost:8080", "LOCALHOST", "127.0.0.1:1", "[::1]:8080", "a.localhost"]
)
@pytest.mark.parametrize("server", [("127.0.0.1", 8080), ("::1", 8080)])
@pytest.mark.parametrize("client", [HERE, ("::1", 4711)])
def test_on_this_machine_nobody_needs_to_choose(host: str, server: Any, client: Any) -> None:
    assert local(("host", host), server=server, client=client) == 101


HOSTS = ["hub.example", "127.0.0.1.evil.example", "localhost.evil.example", "192.0.2.1", "[2001:db8::1]", "[::1", ""]


@pytest.mark.parametrize("host", HOSTS)
def test_under_another_name_nobody_comes_in_who_was_not_chosen(host: str) -> None:
    assert local(("host", host)) == 403


def test_nor_without_a_name() -> None:
    assert local() == 403


@pytest.mark.parametrize("server", [("192.0.2.9", 80), ("0.0.0.0", 80), ("2001:db8::1", 80), ("/run/hub", None), None])
def test_nor_over_another_address(server: Any) -> None:
    assert local(("host", "localhost"), server=server) == 403


@pytest.mark.parametrize("client", [PEER, ("", 0), None])
def test_nor_from_elsewhere(client: Any) -> None:
    assert local(("host", "localhost"), client=client) == 403


def test_nor_from_elsewhere_by_way_of_a_proxy_that_is_trusted() -> None:
    assert local(("host", "localhost"), ("x-forwarded-for", "203.0.113.7"), proxies="127.0.0.1") == 403


@pytest.mark.parametrize(
    "header", ["x-forwarded-for", "forwarded", "x-real-ip", "via", "x-forwarded-proto", "cf-connecting-ip"]
)
def test_nor_by_way_of_a_proxy_that_nobody_has_named(header: str) -> None:
    assert local(("host", "localhost"), (header, "127.0.0.1")) == 403


def test_one_of_two_host_headers_is_not_enough() -> None:
    assert local(("host", "localhost"), HOST) == 403


@pytest.mark.parametrize("proxies", ["", "198.51.100.0/24"])
def test_what_strangers_say_of_their_address_does_not_count(proxies: str) -> None:
    world = World(Anonymous(), proxies=proxies)
    visitor = world.admit(HOST, ("x-forwarded-for", "203.0.113.7"))
    assert (visitor.address, visitor.remote, world.steps[0]) == ("192.0.2.1", PEER, "knock 192.0.2.1")


def test_behind_a_trusted_proxy_the_clients_address_counts_everywhere() -> None:
    world = World(Anonymous(), proxies="192.0.2.0/24")
    visitor = world.admit(HOST, ("x-forwarded-for", "6.6.6.6, 203.0.113.7"))
    assert (visitor.address, visitor.remote) == ("203.0.113.7", ("203.0.113.7", 0))
    assert world.steps[0] == "knock 203.0.113.7"


def test_where_there_is_no_peer_the_address_is_not_known() -> None:
    visitor = World(Anonymous()).admit(HOST, client=None)
    assert (visitor.address, visitor.remote) == ("", None)
