"""auth.tickets: tickets count once, for a while, and are no memory that anybody can fill."""

from __future__ import annotations

import asyncio
import re
from itertools import count

import msgspec
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from hubbub.auth.tickets import MOST_PER_USER, Tickets
from hubbub.brokers.memory import MemoryBroker
from hubbub.errors import BrokerError, HandshakeError
from hubbub.hub.identity import Grants, Identity
from hubbub.hub.ports import Answer, Retention

SECONDS = 30.0
ANN, BOB = Identity(user="ann"), Identity(user="bob")


class Clock:
    """A clock that goes when it is told to."""

    def __init__(self) -> None:
        self.time = 1000.0

    def __call__(self) -> float:
        return self.time


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def tickets(clock: Clock) -> Tickets:
    return Tickets(SECONDS, now=clock, most=250)


def refused(tickets: Tickets, ticket: str) -> tuple[int, str, tuple[tuple[bytes, bytes], ...]]:
    with pytest.raises(HandshakeError) as caught:
        tickets.redeem(ticket)
    return caught.value.status, caught.value.reason, caught.value.headers


def refusal(tickets: Tickets, identity: Identity) -> tuple[int, bytes]:
    """Status and retry-after of a ticket that is not issued."""
    with pytest.raises(HandshakeError) as caught:
        tickets.issue(identity)
    return caught.value.status, dict(caught.value.headers)[b"retry-after"]


def fill(tickets: Tickets, most: int) -> list[str]:
    return [tickets.issue(Identity(user=f"user {number // MOST_PER_USER}")) for number in range(most)]


# One ticket


def test_a_ticket_is_who_it_was_issued_to(tickets: Tickets) -> None:
    of_ann, of_bob = tickets.issue(ANN), tickets.issue(BOB)
    assert tickets.redeem(of_bob) is BOB
    assert tickets.redeem(of_ann) is ANN


def test_a_ticket_counts_once(tickets: Tickets) -> None:
    ticket = tickets.issue(ANN)
    tickets.redeem(ticket)
    assert refused(tickets, ticket)[0] == 401


def test_a_ticket_counts_until_its_time_is_over(tickets: Tickets, clock: Clock) -> None:
    first, second = tickets.issue(ANN), tickets.issue(ANN)
    clock.time += SECONDS - 0.001
    assert tickets.redeem(first) is ANN
    clock.time += 0.001
    assert refused(tickets, second)[0] == 401


def test_whatever_is_wrong_with_a_ticket_the_answer_is_the_same(tickets: Tickets, clock: Clock) -> None:
    used, expired = tickets.issue(ANN), tickets.issue(ANN)
    tickets.redeem(used)
    clock.time += SECONDS
    answers = {refused(tickets, ticket) for ticket in ("", "no-such-ticket", used, expired, used[:-1])}
    assert answers == {(401, "the ticket is not valid", ((b"www-authenticate", b"Bearer"),))}


def test_a_ticket_needs_no_escaping_and_is_no_other() -> None:
    tickets = Tickets(SECONDS)
    issued = [tickets.issue(ANN) for _ in range(MOST_PER_USER)]
    assert len(set(issued)) == MOST_PER_USER
    assert all(re.fullmatch(r"[A-Za-z0-9_-]{43}", ticket) for ticket in issued)


def test_a_ticket_is_all_of_the_random_bytes_it_asked_for(clock: Clock) -> None:
    asked: list[int] = []

    def token_bytes(length: int) -> bytes:
        asked.append(length)
        return b"\xff" * length

    assert Tickets(SECONDS, token_bytes=token_bytes, now=clock).issue(ANN) == "_" * 42 + "8"
    assert asked == [32]


def test_what_is_kept_is_not_the_ticket(tickets: Tickets) -> None:
    ticket = tickets.issue(ANN)
    assert ticket not in repr(vars(tickets))
    assert ticket not in repr(tickets)


# Many tickets


def test_a_user_has_so_many_tickets(tickets: Tickets) -> None:
    for _ in range(MOST_PER_USER):
        tickets.issue(ANN)
    assert refusal(tickets, ANN) == (429, b"30")
    assert tickets.redeem(tickets.issue(BOB)) is BOB


def test_who_uses_a_ticket_gets_another(tickets: Tickets) -> None:
    issued = [tickets.issue(ANN) for _ in range(MOST_PER_USER)]
    tickets.redeem(issued[50])
    tickets.issue(ANN)
    assert refusal(tickets, ANN)[0] == 429


def test_all_have_so_many_tickets(tickets: Tickets, clock: Clock) -> None:
    first, *_ = fill(tickets, 250)
    clock.time += 10.5
    assert refusal(tickets, BOB) == (503, b"20")
    tickets.redeem(first)
    tickets.issue(BOB)
    assert refusal(tickets, ANN)[0] == 503


def test_expired_tickets_make_room(tickets: Tickets, clock: Clock) -> None:
    fill(tickets, 250)
    clock.time += SECONDS
    assert tickets.redeem(tickets.issue(ANN)) is ANN
    assert len(tickets) == 0


def test_only_expired_tickets_go(tickets: Tickets, clock: Clock) -> None:
    tickets.issue(ANN)
    clock.time += SECONDS / 2
    later = tickets.issue(ANN)
    clock.time += SECONDS / 2
    tickets.issue(BOB)
    assert len(tickets) == 2
    assert tickets.redeem(later) is ANN


def test_a_refused_user_is_not_remembered(tickets: Tickets) -> None:
    fill(tickets, 250)
    for number in range(50):
        assert refusal(tickets, Identity(user=f"stranger {number}")) == (503, b"30")
    assert "stranger" not in repr(vars(tickets))


def test_users_without_tickets_are_not_remembered(tickets: Tickets, clock: Clock) -> None:
    tickets.redeem(tickets.issue(ANN))
    tickets.issue(ANN)
    clock.time += SECONDS
    refused(tickets, tickets.issue(BOB)[::-1])
    assert "ann" not in repr(vars(tickets))


# Several nodes


class Shared(MemoryBroker):
    """What nodes find of each other; `away` when it cannot be asked, `full` when it takes nothing."""

    shared = True
    away = full = False

    def __init__(self) -> None:
        super().__init__(lambda: "epoch", lambda room: Retention(1, 0, 0), 1, lambda: 1)
        self.notes: dict[str, bytes] = {}

    def note(self, key: str, value: bytes, seconds: float) -> None:
        if not self.full:
            self.notes[key] = value

    def noted(self, key: str, done: Answer[bytes]) -> None:
        done(BrokerError("away") if self.away else self.notes.get(key, b""))

    def take(self, key: str, done: Answer[bytes]) -> None:
        done(BrokerError("away") if self.away else self.notes.pop(key, b""))


@pytest.fixture
def shared() -> Shared:
    return Shared()


@pytest.fixture
def nodes(shared: Shared, clock: Clock) -> tuple[Tickets, Tickets]:
    return Tickets(SECONDS, shared, now=clock), Tickets(SECONDS, shared, now=clock)


def give(tickets: Tickets, identity: Identity) -> str:
    return asyncio.run(tickets.give(identity))


def take(tickets: Tickets, ticket: str) -> Identity | int:
    """Who it was issued to, or the status of the refusal."""
    try:
        return asyncio.run(tickets.take(ticket))
    except HandshakeError as error:
        return error.status


def test_a_ticket_counts_once_on_whichever_node(nodes: tuple[Tickets, Tickets]) -> None:
    for first, second in (nodes, nodes[::-1]):
        ticket = give(nodes[0], ANN)
        found = take(first, ticket)
        assert isinstance(found, Identity)
        assert found.user == "ann"
        assert [take(second, ticket), take(first, ticket)] == [401, 401]


def test_another_node_knows_all_of_who_it_was_issued_to(nodes: tuple[Tickets, Tickets]) -> None:
    grants = Grants((("lobby-*", frozenset(("join", "ack"))),))
    claims = {"sub": "ann", "aud": ["a", "b"], "nested": {"n": 1.5}}
    ann = Identity(user="ann", name="Ann", token="t", issued=1.0, expires=2.5, grants=grants, claims=claims)
    found = take(nodes[1], give(nodes[0], ann))
    assert isinstance(found, Identity)
    assert msgspec.structs.asdict(found) == msgspec.structs.asdict(ann)


def test_what_other_nodes_can_read_is_not_the_ticket(nodes: tuple[Tickets, Tickets], shared: Shared) -> None:
    ticket = give(nodes[0], ANN)
    assert ticket not in repr(shared.notes)


@pytest.mark.parametrize("identity", [ANN, Identity(user="ann", claims={"n": object()}), Identity(user="\ud800")])
def test_a_ticket_that_other_nodes_cannot_know_is_not_given(
    nodes: tuple[Tickets, Tickets], shared: Shared, identity: Identity
) -> None:
    shared.full = identity is ANN
    with pytest.raises(HandshakeError) as caught:
        give(nodes[0], identity)
    assert (caught.value.status, len(nodes[0])) == (503, 0)


def test_without_the_others_nobody_can_say_whose_a_ticket_is(nodes: tuple[Tickets, Tickets], shared: Shared) -> None:
    ticket = give(nodes[0], ANN)
    shared.away = True
    assert [take(tickets, ticket) for tickets in nodes] == [503, 503]


def test_what_is_noted_in_another_form_is_nobody(nodes: tuple[Tickets, Tickets], shared: Shared) -> None:
    ticket = give(nodes[0], ANN)
    shared.notes = dict.fromkeys(shared.notes, b"\xc1")
    assert take(nodes[1], ticket) == 401


# Anything at all


@given(st.lists(st.tuples(st.sampled_from(["issue", "redeem", "wait"]), st.integers(0, 20)), max_size=60))
def test_a_ticket_counts_exactly_once_within_its_time(steps: list[tuple[str, int]]) -> None:
    clock, serial = Clock(), count()
    tickets = Tickets(SECONDS, token_bytes=lambda length: next(serial).to_bytes(length), now=clock)
    issued: list[tuple[str, Identity, float]] = []
    for step, number in steps:
        if step == "issue":
            identity = Identity(user=str(number))
            issued.append((tickets.issue(identity), identity, clock.time + SECONDS))
        elif step == "wait":
            clock.time += number
        elif issued:
            ticket, identity, expires = issued.pop(number % len(issued))
            if clock.time < expires:
                assert tickets.redeem(ticket) is identity
            assert refused(tickets, ticket)[0] == 401


@given(st.text(max_size=100))
@example("\ud800")
def test_whatever_is_shown_is_refused_in_the_same_way(ticket: str) -> None:
    assert refused(Tickets(SECONDS), ticket)[0] == 401
