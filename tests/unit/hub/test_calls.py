"""Calls: commands of those who have no connection, with the rights, limits and repeats of those who have one."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import msgspec
import pytest

from hubbub.brokers.memory import MemoryBroker
from hubbub.config import Config, Limits
from hubbub.errors import CommandError
from hubbub.hub import calls
from hubbub.hub.calls import AskCursor, Calls
from hubbub.hub.commands import BUILT_IN, VERBS
from hubbub.hub.connection import Connection
from hubbub.hub.dispatch import CommandEndpoint
from hubbub.hub.hub import Hub
from hubbub.hub.identity import ANONYMOUS, Identity
from hubbub.hub.publication import Publication
from hubbub.wire.messages import Ack, Command, History, Presence, Publish
from tests.unit.fakes import Bench, FailingBroker, Gate, LateBroker, Said, heard, tape
from tests.unit.hub.people import granted, known, unlimited, within
from tests.unit.hub.rooms import Say, say

Json = dict[str, Any]


class Do(Command, tag="do"):
    """Whatever a test wants."""

    room: str = ""


class Desk:
    """A hub that is called; `handler` carries out `do`."""

    def __init__(
        self,
        config: Config | None = None,
        broker: Callable[..., MemoryBroker] = MemoryBroker,
        handler: Callable[[Connection, Do], Any] = lambda conn, command: None,
        verb: str | None = "publish",
    ) -> None:
        self.bench = Bench(
            config or unlimited(), broker=broker, endpoint=lambda hub: CommandEndpoint(hub, "/ws", BUILT_IN)
        )
        verbs: dict[type[Command], str] = {**VERBS, Say: "publish"}
        if verb is not None:
            verbs[Do] = verb
        self.calls = Calls(self.bench.hub, "/api", {**BUILT_IN, Say: say, Do: handler}, verbs)
        self.replies: list[Json] = []

    def ask(
        self, command: Command, identity: Identity = ANONYMOUS, session: str = "", room: str = "lobby", name: str = ""
    ) -> None:
        caller = self.calls.caller(identity, None, session)
        try:
            self.calls.call(caller, command, room, name, lambda reply: self.replies.append(_json(reply)))
        except CommandError as error:
            self.replies.append({"code": error.code, "retryAfter": error.retry_ms})
        self.bench.runtime.settle()

    def call(self, *arguments: Any, **more: Any) -> Json:
        """The reply to a command, which is the only one."""
        before = len(self.replies)
        self.ask(*arguments, **more)
        assert len(self.replies) == before + 1
        return self.replies[-1]

    def refused(self, *arguments: Any, **more: Any) -> str:
        """The code with which a command is refused."""
        code: str = self.call(*arguments, **more)["code"]
        return code


def _socket(hub: Hub) -> CommandEndpoint:
    return CommandEndpoint(hub, "/ws", BUILT_IN)


def _json(reply: calls.Reply) -> Json:
    said: Json = msgspec.json.decode(msgspec.json.encode(reply.said))
    events = [msgspec.json.decode(event) for event in reply.events]
    return {**said, "events": events} if events else said


# A message


def test_a_message_is_kept_and_heard_by_the_members() -> None:
    desk = Desk()
    ada = within(desk.bench, known("ada"))
    reply = desk.call(Say(text="hi"), known("bob"))
    assert (reply["type"], reply["seq"], reply["epoch"]) == ("ok", 1, "epoch")
    assert heard(ada) == ["hi"]


def test_who_calls_is_in_no_room_and_on_no_list() -> None:
    desk = Desk()
    ada = within(desk.bench, known("ada"))
    desk.call(Say(text="hi"), known("bob"))
    assert desk.bench.hub.connections == {ada}
    assert (desk.bench.hub.rooms["lobby"].usernames(0, 9), len(ada.rooms[0].members)) == (["ada"], 1)
    assert "user_joined" not in heard(ada)


def test_a_room_that_nobody_is_in_is_closed_again() -> None:
    desk = Desk()
    assert desk.call(Say(text="hi"), known())["seq"] == 1
    assert desk.call(Say(text="ho"), known())["seq"] == 2
    assert dict(desk.bench.hub.rooms) == {}


def test_the_reply_waits_until_the_message_is_kept() -> None:
    desk = Desk(broker=LateBroker)
    desk.ask(Say(text="hi"), known())
    assert desk.replies == []
    assert isinstance(desk.bench.broker, LateBroker)
    desk.bench.broker.answer()
    assert desk.replies[0]["seq"] == 1


def test_what_cannot_be_kept_is_unavailable() -> None:
    desk = Desk(broker=FailingBroker)
    assert desk.refused(Say(text="hi"), known(), room="bad") == "unavailable"


def test_a_message_of_a_session_and_its_repeat_by_a_call_are_one() -> None:
    desk = Desk()
    ada = within(desk.bench, ANONYMOUS, "")
    assert ada.session is not None
    said = ada.room.publish(Said("hi"), once=ada.once("m1", "hi"))
    desk.bench.runtime.settle()
    reply = desk.call(Say(text="hi", message_id="m1"), ANONYMOUS, ada.session.token, name="nobody")
    assert (reply["seq"], reply["messageId"]) == (said.seq, "m1")
    assert heard(ada) == ["hi"]


def test_a_message_of_a_user_and_its_repeat_by_a_call_are_one() -> None:
    desk = Desk()
    ada = within(desk.bench, known("ada"))
    ada.room.publish(Said("hi"), once=ada.once("m1", "hi"))
    desk.bench.runtime.settle()
    assert desk.call(Say(text="hi", message_id="m1"), known("ada"))["seq"] == 1
    assert desk.refused(Say(text="ho", message_id="m1"), known("ada")) == "message_id_conflict"
    assert desk.call(Say(text="hi", message_id="m1"), known("eve"))["seq"] == 2


def test_without_a_name_nobody_speaks() -> None:
    desk = Desk()
    assert desk.refused(Say(text="hi")) == "invalid_join"
    assert desk.call(Say(text="hi"), name="ada")["seq"] == 1


def test_a_user_speaks_under_the_name_of_its_credentials() -> None:
    names: list[str] = []
    desk = Desk(handler=lambda conn, command: names.append(conn.member("lobby").username))
    desk.call(Do(), known("ada"), name="eve")
    assert names == ["ada"]


# Rights


@pytest.mark.parametrize("verbs", [(), ("publish",), ("subscribe", "publish")])
def test_to_speak_needs_the_right_to_be_there_and_to_speak(verbs: tuple[str, ...]) -> None:
    desk = Desk()
    assert desk.refused(Say(text="hi"), known(grants=granted(*verbs))) == "forbidden"
    assert dict(desk.bench.hub.rooms) == {}  # it was not even looked up
    assert desk.refused(Say(text="hi"), known(grants=granted("join"))) == "forbidden"
    assert desk.call(Say(text="hi"), known(grants=granted("join", "publish")))["type"] == "ok"


@pytest.mark.parametrize("there", ["join", "subscribe"])
def test_to_read_needs_the_right_to_listen_and_to_read(there: str) -> None:
    desk = Desk()
    desk.call(Say(text="hi"), known())
    assert desk.refused(History(room="lobby"), known(grants=granted("history"))) == "forbidden"
    assert desk.refused(History(room="lobby"), known(grants=granted(there))) == "forbidden"
    page = desk.call(History(room="lobby"), known(grants=granted("history", there)))
    assert [message["seq"] for message in page["messages"]] == [1]


def test_a_refusal_is_the_same_for_a_room_that_there_is_and_one_that_there_is_not() -> None:
    desk = Desk()
    within(desk.bench, known("ada"))
    nobody = known("eve", grants=granted())
    said = [desk.call(Presence(room=name), nobody, room=name) for name in ("lobby", "elsewhere")]
    assert [{**each, "id": ""} for each in said] == [{**said[0], "id": ""}] * 2


def test_a_command_without_a_verb_needs_the_right_to_be_there() -> None:
    desk = Desk(verb=None)
    assert desk.refused(Do(), known(grants=granted("publish"))) == "forbidden"
    assert desk.call(Do(), known(grants=granted("join")))["type"] == "ok"


def test_the_application_is_asked_as_over_a_connection() -> None:
    desk = Desk()
    asked: list[str] = []

    async def may(conn: Connection, verb: str, room: str) -> bool:
        asked.append(verb)
        return verb == "join"

    desk.bench.hub.authorizer = may
    assert desk.refused(Say(text="hi"), known()) == "forbidden"
    assert asked == ["join", "publish"]


def test_a_session_of_somebody_else_is_refused() -> None:
    desk = Desk()
    ada = within(desk.bench, known("ada"), "")
    assert ada.session is not None
    for token in (ada.session.token, "made.up.one"):
        with pytest.raises(CommandError, match="session"):
            desk.calls.caller(known("eve"), None, token)
    assert desk.calls.caller(known("ada"), None, ada.session.token).session is ada.session
    assert ada.session.connection is ada


# Limits


def test_a_user_has_one_rate_for_calls_and_connections() -> None:
    desk = Desk(Config(limits=Limits(user_rate=1, user_burst=2)))
    assert desk.call(Say(text="hi"), known())["type"] == "ok"
    assert desk.call(Say(text="hi"), known())["type"] == "ok"
    refusal = desk.call(Say(text="hi"), known())
    assert (refusal["code"], refusal["retryAfter"]) == ("rate_limited", 1000)
    assert desk.bench.hub.counters.refused == {"user_rate": 1}


def test_what_reads_a_log_counts_as_several() -> None:
    desk = Desk(Config(limits=Limits(user_rate=1, user_burst=3, heavy_cost=2)))
    assert desk.call(History(room="lobby"), known())["type"] == "ok"
    assert desk.refused(History(room="lobby"), known()) == "rate_limited"


def test_a_room_takes_so_many_messages_of_all() -> None:
    desk = Desk(Config(limits=Limits(room_rate=1, room_burst=1)))
    within(desk.bench, known("ada"))
    assert desk.call(Say(text="hi"), known("bob"))["type"] == "ok"
    assert desk.refused(Say(text="hi"), known("eve")) == "rate_limited"


def test_so_many_calls_are_at_work_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(calls, "MOST_AT_WORK", 1)
    gate = Gate()

    async def wait(conn: Connection, command: Do) -> None:
        await gate

    desk = Desk(handler=wait)
    desk.ask(Do(), known())
    assert desk.refused(Do(), known()) == "unavailable"
    gate.open()
    desk.bench.runtime.settle()
    assert [reply.get("type") for reply in desk.replies] == [None, "ok"]
    assert desk.refused(Do(), ANONYMOUS) == "invalid_join"  # it is not full any more


# What handlers do


def test_a_coroutine_is_awaited() -> None:
    async def publish(conn: Connection, command: Do) -> Publication:
        return conn.room.publish(Said("later"))

    assert Desk(handler=publish).call(Do(), known())["seq"] == 1


def test_what_a_handler_sends_comes_with_the_reply() -> None:
    def send(conn: Connection, command: Do) -> None:
        conn.send(Said("for you"))
        conn.send("a text of another protocol")

    assert Desk(handler=send).call(Do(), known())["events"] == [{"type": "said", "text": "for you"}]


def test_no_more_is_collected_than_a_reply_may_hold() -> None:
    def send(conn: Connection, command: Do) -> None:
        for _ in range(3):
            conn.send(Said("x" * 60_000))

    assert len(Desk(handler=send).call(Do(), known())["events"]) == 2


@pytest.mark.parametrize(
    "handler",
    [
        lambda conn, command: conn.join("elsewhere", "ada"),
        lambda conn, command: conn.leave("lobby"),
        lambda conn, command: conn.close(4403, "go away"),
    ],
)
def test_a_handler_cannot_have_a_caller_enter_leave_or_be_cut_off(handler: Any) -> None:
    desk = Desk(handler=handler)
    ada = within(desk.bench, known("ada"))
    assert desk.refused(Do(), known("bob")) == "closed"
    assert (desk.bench.hub.connections, [*desk.bench.hub.rooms]) == ({ada}, ["lobby"])
    assert tape(ada).events == []


def test_a_failing_handler_is_internal_and_can_be_found_in_the_log(caplog: pytest.LogCaptureFixture) -> None:
    def fail(conn: Connection, command: Do) -> None:
        raise RuntimeError("a bug")

    refusal = Desk(handler=fail).call(Do(), known())
    assert refusal["code"] == "internal"
    assert refusal["correlationId"] in caplog.text


def test_who_is_excluded_may_be_a_caller() -> None:
    desk = Desk(handler=lambda conn, command: conn.room.publish(Said("hi"), keep=False, exclude=conn))
    ada = within(desk.bench, known("ada"))
    assert desk.call(Do(), known("bob"))["type"] == "ok"
    assert heard(ada) == ["hi"]


def test_an_event_of_ones_own_needs_the_applications_word() -> None:
    desk = Desk()
    event = Publish(room="lobby", event={"type": "mine"})
    assert desk.refused(event, known()) == "forbidden"
    desk.bench.hub.allows_publish = lambda conn, room, event: True
    assert desk.call(event, known(grants=granted("subscribe", "publish")))["seq"] == 1


# Cursors


def test_a_cursor_is_the_users_and_never_goes_back() -> None:
    desk = Desk()
    for text in ("one", "two", "three"):
        desk.call(Say(text=text), known())
    assert "seq" not in desk.call(AskCursor(room="lobby"), known())
    assert desk.call(Ack(room="lobby", seq=2), known())["unread"] == 1
    assert desk.call(Ack(room="lobby", seq=1), known())["seq"] == 2
    cursor = desk.call(AskCursor(room="lobby"), known())
    assert (cursor["seq"], cursor["unread"], cursor["epoch"]) == (2, 1, "epoch")
    assert "seq" not in desk.call(AskCursor(room="lobby"), known("eve"))


def test_who_is_nobody_has_no_cursor() -> None:
    desk = Desk()
    assert desk.refused(AskCursor(room="lobby")) == "forbidden"
    assert desk.refused(Ack(room="lobby", seq=0)) == "forbidden"


def test_moving_a_cursor_is_told_once() -> None:
    desk = Desk()
    moves: list[int] = []
    desk.bench.hub.on_ack = [lambda member, seq: moves.append(seq)]
    desk.call(Say(text="one"), known())
    desk.call(Ack(room="lobby", seq=1), known())
    desk.call(Ack(room="lobby", seq=1), known())
    assert moves == [1]


# Bodies


@pytest.mark.parametrize(
    ("body", "code"),
    [
        (b"", "invalid_json"),
        (b"[]", "invalid_json"),
        (b'{"type":"do"', "invalid_json"),
        (b'{"type":"join"}', "unknown_type"),
        (b'{"type":"nothing"}', "unknown_type"),
        (b'{"type":7}', "invalid_message"),
        (b"{}", "invalid_message"),
        (b'{"type":"say","text":7}', "invalid_message"),
        (b'{"type":"say","text":"\\ud800"}', "invalid_json"),
        (b'{"type":"do","room":"elsewhere"}', "invalid_message"),
    ],
)
def test_a_body_that_is_no_command_is_refused(body: bytes, code: str) -> None:
    with pytest.raises(CommandError) as refused:
        Desk().calls.command(body, {"room": "lobby"})
    assert refused.value.code == code


def test_what_the_request_says_elsewhere_counts() -> None:
    command = Desk().calls.command(b'{"type":"do","id":{},"room":" lobby "}', {"room": "lobby"})
    assert command == Do(room="lobby")


def test_a_call_is_counted_as_one_and_takes_its_time_only() -> None:
    desk = Desk()
    desk.bench.runtime.now += 100
    desk.call(Do())
    stats = desk.bench.hub.counters.stats("node", 0)
    assert (stats.messages, stats.handled, stats.handling_seconds) == (0, 1, 0.0)
    assert desk.bench.hub.counters.calls == 1
