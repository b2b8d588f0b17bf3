"""transports.poll: a poll that was taken over, and a peer that does not read its answer."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

from hubbub.auth.gate import Visitor
from hubbub.hub.identity import ANONYMOUS
from hubbub.hub.polls import Query
from hubbub.transports.http import KeptAlive, Taken
from hubbub.transports.loop import shared_by
from hubbub.transports.poll import AskedPoll, PollEndpoint, Request, WaitingPoll, poll_codec
from hubbub.wire.messages import Since
from tests.fuzz.socket import FakeSocket
from tests.unit.fakes import Bench, Said


class FullSocket(FakeSocket):
    """A socket whose peer reads nothing, until the test says so."""

    def __init__(self) -> None:
        super().__init__()
        self.unread = 1 << 20

    def get_write_buffer_size(self) -> int:
        return self.unread

    def get_write_buffer_limits(self) -> tuple[int, int]:
        return 1 << 14, 1 << 16


class Waiting:
    """A poll that waits in the room `r` on a socket of its own."""

    def __init__(self) -> None:
        self.bench = Bench()
        self.socket = FullSocket()
        asked = AskedPoll(self.bench.hub)
        request = Request(Query(("r",), (Since("epoch", 0),)), None, 25)
        asked.begin(Visitor(ANONYMOUS, "", None, ()), PollEndpoint(announced=False), request)
        shared = shared_by(asyncio.get_running_loop())
        self.connections: set[Any] = set()
        taken = Taken(self.socket, self.connections, shared, _nobody, 60.0)
        self.poll = WaitingPoll(asked, taken, shared, poll_codec((), False, False), 25)

    def say(self) -> None:
        self.bench.hub.room("r").publish(Said("hello"))
        self.bench.runtime.settle()


def _nobody() -> Any:
    raise AssertionError("nothing has arrived")


def with_a_poll(check: Callable[[Waiting], None]) -> None:
    """Checks something of a poll, on a loop."""

    async def run() -> None:
        check(Waiting())

    asyncio.run(run())


def test_the_connection_goes_on_once_most_of_the_answer_was_read() -> None:
    def check(waiting: Waiting) -> None:
        waiting.say()
        assert b"hello" in waiting.socket.written
        assert waiting.socket.get_protocol() is waiting.poll
        waiting.poll.resume_writing()
        assert isinstance(waiting.socket.get_protocol(), KeptAlive)

    with_a_poll(check)


def test_a_connection_whose_peer_reads_nothing_ends() -> None:
    def check(waiting: Waiting) -> None:
        waiting.say()
        waiting.poll.expire()
        assert waiting.socket.ends

    with_a_poll(check)


def test_who_is_answered_is_no_connection_any_more_though_it_reads_nothing() -> None:
    def check(waiting: Waiting) -> None:
        assert len(waiting.bench.hub.connections) == 1
        waiting.say()
        assert (waiting.bench.hub.connections, waiting.bench.hub.polls.waiting) == (set(), 0)

    with_a_poll(check)


def test_of_who_is_gone_nothing_stays() -> None:
    def check(waiting: Waiting) -> None:
        waiting.socket.lose()
        assert (waiting.bench.hub.connections, waiting.bench.hub.polls.waiting) == (set(), 0)
        assert waiting.connections == set()
        waiting.say()
        assert waiting.socket.written == b""

    with_a_poll(check)


def test_what_comes_behind_a_poll_is_not_read_without_end() -> None:
    def check(waiting: Waiting) -> None:
        waiting.socket.arrive(b"x" * 100_000)
        assert waiting.socket._paused
        assert len(waiting.poll._early) <= 50_000

    with_a_poll(check)
