"""hub.counters: what is handled, how long it takes and what fails, as `Stats` tell it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from hubbub.errors import CommandError
from hubbub.hub.connection import Connection
from hubbub.hub.counters import Counters, Stats
from hubbub.hub.dispatch import CommandEndpoint, Handler, RawEndpoint
from hubbub.hub.publication import Publication
from hubbub.wire.messages import Command
from hubbub.wire.websocket import TEXT
from tests.unit.fakes import Bench, FailingBroker, Gate, Said


class Do(Command, tag="do"):
    """Runs whatever the test says."""


Script = Callable[[Bench, Connection], Any]


def bench_of(script: Script, **hooks: Any) -> Bench:
    def handler(connection: Connection, command: Do) -> Any:
        return script(bench, connection)

    handlers: dict[type[Command], Handler] = {Do: handler}
    bench = Bench(broker=FailingBroker, endpoint=lambda hub: CommandEndpoint(hub, "/ws", handlers, verbs={}, **hooks))
    return bench


def stats(bench: Bench) -> Stats:
    return bench.hub.counters.stats("node", len(bench.hub.connections))


def work(bench: Bench, connection: Connection) -> None:
    bench.runtime.now += 0.5


def crash(bench: Bench, connection: Connection) -> None:
    raise RuntimeError("a bug")


def test_a_handler_counts_with_the_time_it_takes() -> None:
    bench = bench_of(work)
    ada = bench.connect()
    bench.receive(ada, type="do")
    bench.runtime.now += 7  # nobody works
    bench.receive(ada, type="do")
    assert (stats(bench).messages, stats(bench).handled, stats(bench).handling_seconds) == (2, 2, 1.0)


def test_a_coroutine_counts_when_it_ends_with_what_it_waited_for() -> None:
    gate = Gate()

    async def wait(bench: Bench, connection: Connection) -> None:
        await gate

    bench = bench_of(wait)
    bench.receive(bench.connect(), type="do")
    bench.runtime.settle()
    assert (stats(bench).messages, stats(bench).handled) == (1, 0)
    bench.runtime.now += 2
    gate.open()
    bench.runtime.settle()
    assert (stats(bench).handled, stats(bench).handling_seconds) == (1, 2.0)


def test_what_waits_behind_others_of_its_connection_counts_from_its_own_beginning() -> None:
    gates = [Gate(), Gate()]
    waiting = iter(gates)

    async def wait(bench: Bench, connection: Connection) -> None:
        await next(waiting)

    bench = bench_of(wait)
    ada = bench.connect()
    bench.receive(ada, type="do")
    bench.receive(ada, type="do")
    for gate in gates:
        bench.runtime.settle()
        bench.runtime.now += 3
        gate.open()
    bench.runtime.settle()
    assert (stats(bench).handled, stats(bench).handling_seconds) == (2, 6.0)


def test_a_command_in_several_steps_counts_once() -> None:
    bench = Bench(endpoint=lambda hub: CommandEndpoint(hub, "/ws", {Do: steps}, verbs={}))
    bench.receive(bench.connect(), type="do")
    assert (stats(bench).handled, stats(bench).handling_seconds) == (1, 0.0)


def steps(connection: Connection, command: Do) -> Any:
    yield lambda answer: answer(None)


def test_hooks_count_with_their_own_time() -> None:
    bench = Bench()

    def hook(connection: Connection) -> None:
        bench.runtime.now += 1

    bench.endpoint = CommandEndpoint(bench.hub, "/ws", {Do: steps}, (hook,), (hook,), verbs={})
    ada = bench.connect()
    bench.runtime.now += 100
    bench.hub.lost(ada)
    assert (stats(bench).handled, stats(bench).handling_seconds) == (2, 2.0)


def test_messages_of_an_application_s_own_protocol_count() -> None:
    bench = Bench(endpoint=lambda hub: RawEndpoint(hub, "/own", lambda connection, message: None))
    bench.hub.receive(bench.connect(), TEXT, b"anything")
    assert (stats(bench).messages, stats(bench).handled, stats(bench).failed) == (1, 1, 0)


def refuse(bench: Bench, connection: Connection) -> None:
    raise CommandError("no", "not today")


def lose(bench: Bench, connection: Connection) -> Publication:
    return bench.hub.room("bad").publish(Said("lost"))


@pytest.mark.parametrize(("script", "failed"), [(crash, 1), (lose, 1), (refuse, 0), (work, 0)])
def test_only_what_is_not_the_client_s_fault_has_failed(script: Script, failed: int) -> None:
    bench = bench_of(script)
    bench.receive(bench.connect(), type="do", id=1)
    bench.runtime.settle()
    assert (stats(bench).handled, stats(bench).failed) == (1, failed)


def test_a_call_over_http_is_a_request_and_no_message_besides() -> None:
    counters = Counters(messages_received=5, calls=2, requests=2)
    assert (counters.stats("n", 0).messages, counters.stats("n", 0).requests) == (3, 2)


def test_requests_are_handled_too() -> None:
    counters = Counters(handled=1, handling_seconds=1.0, requests=2, request_seconds=0.5, requests_failed=1)
    counters.handlers_failed = 3
    assert counters.stats("n", 4) == Stats(
        node="n", connections=4, messages=0, requests=2, handled=3, handling_seconds=1.5, failed=4
    )
