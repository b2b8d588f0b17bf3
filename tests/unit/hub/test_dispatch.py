"""hub.dispatch: from a message to its handler, and exactly one answer for each id."""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import Callable
from typing import Any

import msgspec
import pytest

from hubbub.config import Config, Limits
from hubbub.errors import CommandError
from hubbub.hub.connection import Connection
from hubbub.hub.dispatch import CommandEndpoint, Handler, RawEndpoint
from hubbub.hub.publication import Publication
from hubbub.node import AsyncioRuntime
from hubbub.wire.messages import Command, Ping
from hubbub.wire.websocket import BINARY, TEXT
from tests.unit.fakes import Bench, FailingBroker, Gate, LateBroker, Said, heard, tape


class Do(Command, tag="do"):
    """Runs whatever the test says."""

    what: str = ""


Script = Callable[[Connection, Do], Any]


def bench_of(handler: Script, config: Config | None = None, **options: Any) -> Bench:
    broker = options.pop("broker", LateBroker)
    handlers: dict[type[Command], Handler] = {Do: handler, Ping: nothing}
    return Bench(config, broker=broker, endpoint=lambda hub: CommandEndpoint(hub, "/ws", handlers, **options))


def greeted(bench: Bench) -> Connection:
    """A connection whose first event is read."""
    connection = bench.connect()
    tape(connection).forget()
    return connection


def nothing(connection: Connection, command: Command) -> None:
    """Does nothing."""


def crash(connection: Connection, command: Do) -> None:
    raise RuntimeError("a bug")


def refuse(connection: Connection, command: Do) -> None:
    raise CommandError("no", "not today")


def later(handler: Script) -> Script:
    """The same as a coroutine."""

    async def coroutine(connection: Connection, command: Do) -> Any:
        return handler(connection, command)

    return coroutine


both = pytest.mark.parametrize("form", [pytest.param(lambda it: it, id="plain"), pytest.param(later, id="coroutine")])


# Opening


def test_the_first_event_says_who_one_is() -> None:
    bench = bench_of(nothing)
    assert tape(bench.connect()).events == [
        {
            "type": "connected",
            "clientId": "id-1",
            "timestamp": 1_000_000,
            "protocol": 1,
            "heartbeat": 30_000,
            "maxMessageBytes": 65_536,
            "node": bench.broker.node_id,
        }
    ]


def test_hooks_run_behind_the_first_event_and_at_the_end() -> None:
    gone: list[str] = []
    greet = [lambda connection: connection.send(Said("welcome"))]
    bench = bench_of(nothing, connected=greet, disconnected=[lambda connection: gone.append(connection.id)])
    connection = bench.connect()
    assert (heard(connection), gone) == (["connected", "welcome"], [])
    bench.hub.lost(connection)
    assert gone == [connection.id]


def test_a_hook_that_fails_keeps_the_connection() -> None:
    bench = bench_of(nothing, connected=[lambda connection: refuse(connection, Do())])
    connection = bench.connect()
    assert heard(connection) == ["connected", "error"]
    assert connection.open


# Plain handlers


def test_a_plain_handler_runs_at_once() -> None:
    seen: list[str] = []
    bench = bench_of(lambda _, command: seen.append(command.what))
    bench.receive(greeted(bench), type="do", what="x")
    assert seen == ["x"]


@both
def test_without_an_id_there_is_no_answer(form: Callable[[Script], Script]) -> None:
    bench = bench_of(form(nothing))
    connection = greeted(bench)
    bench.receive(connection, type="do")
    bench.runtime.settle()
    assert tape(connection).events == []


@both
@pytest.mark.parametrize("id", [0, -1, 2**63, "", "x" * 64])
def test_with_an_id_there_is_exactly_one_ok(form: Callable[[Script], Script], id: int | str) -> None:
    bench = bench_of(form(nothing))
    connection = greeted(bench)
    bench.receive(connection, type="do", id=id)
    bench.runtime.settle()
    assert tape(connection).events == [{"type": "ok", "id": id}]


@both
def test_a_publication_is_answered_only_once_it_is_kept(form: Callable[[Script], Script]) -> None:
    bench = bench_of(form(lambda connection, command: connection.room.publish(Said("hi"))))
    (ada,) = bench.join("lobby", "ada")
    bench.receive(ada, type="do", id=7)
    bench.runtime.settle()
    assert tape(ada).events == []
    bench.broker.answer()  # type: ignore[attr-defined]
    assert tape(ada).events[0] == {"type": "ok", "id": 7, "seq": 1}
    assert heard(ada) == ["ok", "hi"]


@both
def test_an_ephemeral_publication_is_answered_at_once_and_without_a_seq(form: Callable[[Script], Script]) -> None:
    bench = bench_of(form(lambda connection, command: connection.room.publish(Said("hi"), keep=False)))
    (ada,) = bench.join("lobby", "ada")
    bench.receive(ada, type="do", id=7)
    bench.runtime.settle()
    assert [event for event in tape(ada).events if event["type"] == "ok"] == [{"type": "ok", "id": 7}]


def test_every_id_of_a_turn_gets_its_own_seq() -> None:
    bench = bench_of(lambda connection, command: connection.room.publish(Said("hi")))
    (ada,) = bench.join("lobby", "ada")
    for id in "abc":
        bench.receive(ada, type="do", id=id)
    bench.runtime.turn()
    bench.broker.answer()  # type: ignore[attr-defined]
    answers = [(event["id"], event["seq"]) for event in tape(ada).events if event["type"] == "ok"]
    assert answers == [("a", 1), ("b", 2), ("c", 3)]


def test_a_publication_that_cannot_be_kept_is_answered_with_an_error(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.CRITICAL, "hubbub")
    bench = bench_of(lambda connection, command: connection.room.publish(Said("hi")), broker=FailingBroker)
    (ada,) = bench.join("bad", "ada")
    bench.receive(ada, type="do", id=7)
    bench.runtime.settle()
    assert [(event["type"], event.get("code"), event.get("id")) for event in tape(ada).events] == [
        ("error", "unavailable", 7)
    ]


def test_commands_that_share_a_publication_are_all_answered() -> None:
    shared: list[Publication] = []

    def share(connection: Connection, command: Do) -> Publication:
        if not shared:
            shared.append(connection.room.publish(Said("hi")))
        return shared[0]

    bench = bench_of(share)
    (ada,) = bench.join("lobby", "ada")
    bench.receive(ada, type="do", id=1)
    bench.receive(ada, type="do", id=2)
    bench.runtime.turn()
    bench.broker.answer()  # type: ignore[attr-defined]
    assert [(event.get("id"), event["seq"]) for event in tape(ada).events] == [(1, 1), (2, 1), (None, 1)]


# Errors


@both
@pytest.mark.parametrize("id", [{}, {"id": 7}])
def test_a_refusal_is_answered_in_its_own_words(form: Callable[[Script], Script], id: dict[str, int]) -> None:
    bench = bench_of(form(refuse))
    connection = greeted(bench)
    bench.receive(connection, type="do", **id)
    bench.runtime.settle()
    assert tape(connection).events == [{"type": "error", "code": "no", "message": "not today", **id}]


@both
def test_a_bug_is_answered_with_an_id_under_which_it_is_logged_once(
    form: Callable[[Script], Script], caplog: pytest.LogCaptureFixture
) -> None:
    bench = bench_of(form(crash))
    connection = greeted(bench)
    bench.receive(connection, type="do", id=7)
    bench.runtime.settle()
    assert tape(connection).events == [
        {"type": "error", "message": "Internal error", "code": "internal", "id": 7, "correlationId": "id-2"}
    ]
    assert [record.getMessage() for record in caplog.records] == [
        "a handler failed: correlationId=id-2 client=id-1 path='/ws'",
    ]


@both
def test_a_bug_harms_neither_the_connection_nor_the_next_command(
    form: Callable[[Script], Script], caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.CRITICAL, "hubbub")
    bench = bench_of(form(lambda _, command: crash(_, command) if command.what else None))
    connection = greeted(bench)
    bench.receive(connection, type="do", what="bug", id=1)
    bench.receive(connection, type="do", id=2)
    bench.runtime.settle()
    assert [(event["type"], event["id"]) for event in tape(connection).events] == [("error", 1), ("ok", 2)]
    assert bench.hub.counters.handlers_failed == 1


@both
def test_a_handler_that_returns_what_cannot_be_answered_has_a_bug(
    form: Callable[[Script], Script], caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.CRITICAL, "hubbub")
    bench = bench_of(form(lambda _, command: command.what or None))
    connection = greeted(bench)
    bench.receive(connection, type="do", what="text", id=1)
    bench.receive(connection, type="do", id=2)
    bench.runtime.settle()
    assert [(event["type"], event["id"]) for event in tape(connection).events] == [("error", 1), ("ok", 2)]


def test_a_handler_whose_task_is_cancelled_by_others_does_not_hold_up_the_next_command(
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.CRITICAL, "hubbub")
    bench = bench_of(later(lambda _, command: cancelled() if command.what else None))

    async def talk() -> list[tuple[str, int]]:
        bench.hub.runtime = runtime = AsyncioRuntime()
        runtime.begin(asyncio.get_running_loop())
        connection = greeted(bench)
        bench.receive(connection, type="do", what="x", id=1)
        bench.receive(connection, type="do", id=2)
        await runtime.settle(1)
        return [(event["type"], event["id"]) for event in tape(connection).events]

    assert asyncio.run(talk()) == [("error", 1), ("ok", 2)]


def cancelled() -> None:
    raise asyncio.CancelledError


# Coroutine handlers


def say(bench: Bench, connection: Connection, *whats: str) -> None:
    for what in whats:
        bench.receive(connection, type="do", what=what)
    bench.runtime.settle()


class Steps:
    """A coroutine handler that waits at a gate for each command."""

    def __init__(self) -> None:
        self.bench = bench_of(self.handle, Config(limits=Limits(rate_limit=0, max_backlog=3)))
        self.gates = {what: Gate() for what in "abcdef"}
        self.log: list[str] = []

    async def handle(self, connection: Connection, command: Do) -> None:
        self.log.append(f"{command.what} begins")
        await self.gates[command.what]
        self.log.append(f"{command.what} ends")

    def say(self, connection: Connection, *whats: str) -> None:
        say(self.bench, connection, *whats)

    def open(self, *whats: str) -> None:
        for what in whats:
            self.gates[what].open()
            self.bench.runtime.settle()


@pytest.fixture
def steps() -> Steps:
    return Steps()


def test_coroutines_of_a_connection_run_one_after_the_other(steps: Steps) -> None:
    steps.say(greeted(steps.bench), "a", "b")
    assert steps.log == ["a begins"]
    steps.open("b", "a")
    assert steps.log == ["a begins", "a ends", "b begins", "b ends"]


def test_coroutines_of_other_connections_do_not_wait(steps: Steps) -> None:
    steps.say(greeted(steps.bench), "a")
    steps.say(greeted(steps.bench), "b")
    steps.open("b")
    assert steps.log == ["a begins", "b begins", "b ends"]


def test_a_backlog_pauses_reading_until_it_is_worked_off(steps: Steps) -> None:
    connection = greeted(steps.bench)
    steps.say(connection, "a", "b", "c")
    assert tape(connection).actions == []
    steps.say(connection, "d")
    assert tape(connection).actions == ["pause"]
    steps.open("a", "b")
    assert tape(connection).actions == ["pause"]
    steps.open("c")
    assert tape(connection).actions == ["pause", "resume"]


def test_what_has_arrived_before_the_pause_is_still_handled(steps: Steps) -> None:
    steps.say(greeted(steps.bench), *"abcdef")
    steps.open(*"abcdef")
    assert [line for line in steps.log if line.endswith("ends")] == [f"{what} ends" for what in "abcdef"]


def test_a_command_behind_a_coroutine_waits_even_if_its_handler_is_plain() -> None:
    log: list[str] = []

    async def finish() -> None:
        log.append("first ends")

    def handle(connection: Connection, command: Do) -> Any:
        log.append(command.what)
        return finish() if command.what == "first" else None

    bench = bench_of(handle)
    say(bench, greeted(bench), "first", "second")
    assert log == ["first", "first ends", "second"]


def test_behind_the_last_coroutine_plain_handlers_run_at_once_again() -> None:
    log: list[str] = []

    def handle(connection: Connection, command: Do) -> Any:
        log.append(command.what)
        return later(nothing)(connection, command)

    bench = bench_of(handle)
    connection = greeted(bench)
    for what in "ab":
        bench.receive(connection, type="do", what=what)
        assert log[-1] == what
        bench.runtime.settle()


def test_the_end_is_told_behind_the_last_command() -> None:
    log: list[str] = []
    bench = bench_of(later(lambda _, command: log.append(command.what)), disconnected=[lambda _: log.append("gone")])
    connection = greeted(bench)
    bench.receive(connection, type="do", what="last")
    bench.hub.lost(connection)
    assert log == []
    bench.runtime.settle()
    assert log == ["last", "gone"]


def test_a_coroutine_that_outlives_its_connection_answers_nobody(steps: Steps) -> None:
    connection = greeted(steps.bench)
    steps.bench.receive(connection, type="do", what="a", id=1)
    steps.bench.runtime.settle()
    steps.bench.hub.lost(connection)
    steps.open("a")
    assert (steps.log, tape(connection).events) == (["a begins", "a ends"], [])


# What cannot be decoded


def answers(payload: bytes, *, msgpack: bool = False) -> list[Any]:
    bench = bench_of(nothing, msgpack=msgpack)
    connection = greeted(bench)
    bench.hub.receive(connection, BINARY if msgpack else TEXT, payload)
    return tape(connection).events


@pytest.mark.parametrize(
    "payload",
    [b"", b"{", b"hi", b"[]", b'"x"', b"7", b"null", b'{"type":"do"} x', b'{"type":"\\ud800"}', b"[" * 100_000],
)
def test_what_is_not_a_json_object_is_invalid_json(payload: bytes) -> None:
    assert answers(payload) == [{"type": "error", "message": "Invalid JSON payload", "code": "invalid_json"}]


@pytest.mark.parametrize(
    ("payload", "code", "id"),
    [
        (b"{}", "invalid_message", None),
        (b'{"type":5}', "invalid_message", None),
        (b'{"type":"dance"}', "unknown_type", None),
        (b'{"type":"dance","id":7}', "unknown_type", 7),
        (b'{"type":"do","what":{},"id":"x"}', "invalid_message", "x"),
        (b'{"type":"do","id":[]}', "invalid_message", None),
        (b'{"id":7}', "invalid_message", 7),
    ],
)
def test_an_object_that_is_no_command_says_what_is_wrong(payload: bytes, code: str, id: int | str | None) -> None:
    (answer,) = answers(payload)
    assert (answer["type"], answer["code"], answer.get("id")) == ("error", code, id)


def test_an_unknown_type_is_cut_in_the_answer() -> None:
    (answer,) = answers(json.dumps({"type": "x" * 60_000}).encode())
    assert answer["message"] == f"There is no command '{'x' * 40}'"


@pytest.mark.parametrize("payload", [b"", b"\xc1", b"\x93\x01\x02\x03", b"\x81\xa4type", b"\x81\xa4type\xa1\xff"])
def test_what_is_not_a_msgpack_map_is_answered_too(payload: bytes) -> None:
    (answer,) = answers(payload, msgpack=True)
    assert answer["code"] == "invalid_json"


def test_msgpack_is_understood() -> None:
    assert answers(msgspec.msgpack.encode({"type": "do", "id": 7}), msgpack=True) == [{"type": "ok", "id": 7}]


@pytest.mark.parametrize(("msgpack", "opcode"), [(False, BINARY), (True, TEXT)])
def test_the_other_kind_of_frame_ends_the_connection(msgpack: bool, opcode: int) -> None:
    bench = bench_of(nothing, msgpack=msgpack)
    connection = greeted(bench)
    bench.hub.receive(connection, opcode, b"{}")
    assert tape(connection).actions == [(1003, "this sub-protocol has the other kind of frame")]


def test_too_many_malformed_messages_end_a_connection() -> None:
    bench = bench_of(nothing, Config(limits=Limits(max_malformed=3)))
    connection = greeted(bench)
    for _ in range(5):
        bench.hub.receive(connection, TEXT, b"?")
    assert (heard(connection), tape(connection).actions) == (
        ["error"] * 3,
        [(4400, "too many malformed messages (max_malformed)")],
    )
    assert bench.hub.counters.messages_malformed == 3


def test_a_good_message_forgives_the_bad_ones() -> None:
    bench = bench_of(nothing, Config(limits=Limits(max_malformed=2, rate_limit=0)))
    connection = greeted(bench)
    for _ in range(5):
        bench.hub.receive(connection, TEXT, b"?")
        bench.receive(connection, type="do")
    assert connection.open


# Too many


def test_the_first_excess_is_warned_of_and_each_id_answered() -> None:
    bench = bench_of(nothing, Config(limits=Limits(rate_limit=0.001, rate_burst=1)))
    connection = greeted(bench)
    for id in (1, 2, 3):
        bench.receive(connection, type="do", id=id)
    answered = [(event["type"], event.get("code"), event.get("id")) for event in tape(connection).events]
    assert answered == [
        ("ok", None, 1),
        ("warning", "rate_limited", None),
        ("error", "rate_limited", 2),
        ("error", "rate_limited", 3),
    ]


def test_an_excess_says_when_to_try_again() -> None:
    bench = bench_of(nothing, Config(limits=Limits(rate_limit=0.5, rate_burst=1)))
    connection = greeted(bench)
    for _ in range(2):
        bench.receive(connection, type="do")
    assert tape(connection).events[0]["retryAfter"] == pytest.approx(2000, abs=2)


def test_an_excess_that_cannot_be_decoded_is_only_warned_of() -> None:
    bench = bench_of(nothing, Config(limits=Limits(rate_limit=0.001, rate_burst=1)))
    connection = greeted(bench)
    for payload in (b'{"type":"do"}', b"?", b"?"):
        bench.hub.receive(connection, TEXT, payload)
    assert heard(connection) == ["warning"]


# An application's own protocol


def raw(handler: Handler, *disconnected: Handler) -> Bench:
    return Bench(endpoint=lambda hub: RawEndpoint(hub, "/raw", handler, disconnected=disconnected))


def echo(connection: Connection, message: str | bytes) -> None:
    connection.send(message)


@pytest.mark.parametrize(("opcode", "payload", "message"), [(TEXT, "é".encode(), "é"), (BINARY, b"\xff", b"\xff")])
def test_an_own_protocol_gets_texts_and_bytes(opcode: int, payload: bytes, message: str | bytes) -> None:
    bench = raw(echo)
    connection = bench.connect()
    bench.hub.receive(connection, opcode, payload)
    assert tape(connection).events == [message]


@both
def test_its_bug_ends_the_connection_and_is_logged_once(
    form: Callable[[Script], Script], caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.ERROR, "hubbub")  # whatever level another test has left behind
    bench = raw(form(crash))
    connection = bench.connect()
    bench.hub.receive(connection, TEXT, b"hi")
    bench.runtime.settle()
    assert tape(connection).actions == [(1011, "correlationId=id-2")]
    assert [record.getMessage() for record in caplog.records] == [
        "a handler failed: correlationId=id-2 client=id-1 path='/raw'"
    ]


def test_its_coroutines_run_in_order() -> None:
    log: list[str] = []

    async def handle(connection: Connection, message: str) -> None:
        log.append(message)

    bench = raw(handle)
    connection = bench.connect()
    for message in (b"a", b"b", b"c"):
        bench.hub.receive(connection, TEXT, message)
    bench.runtime.settle()
    assert log == ["a", "b", "c"]


def test_its_excess_is_dropped_silently() -> None:
    bench = Bench(
        Config(limits=Limits(rate_limit=0.001, rate_burst=1)), endpoint=lambda hub: RawEndpoint(hub, "/", echo)
    )
    connection = bench.connect()
    for _ in range(3):
        bench.hub.receive(connection, TEXT, b"hi")
    assert tape(connection).events == ["hi"]


def test_its_end_is_told() -> None:
    log: list[str] = []
    bench = raw(echo, lambda connection: log.append(connection.path))
    bench.hub.lost(bench.connect())
    assert log == ["/raw"]
