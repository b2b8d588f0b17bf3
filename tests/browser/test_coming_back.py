"""The chat's page across connections: nothing is lost, nothing comes twice, and others see what was seen."""

import signal
from contextlib import AbstractContextManager
from pathlib import Path

import pytest
from playwright.sync_api import expect

from tests.browser.conftest import OpenTab
from tests.browser.scripted import ScriptedServer
from tests.browser.tab import Tab
from tests.support.server import CHAT, FAST, Server, serve

pytestmark = pytest.mark.timeout(90)  # servers start and stop, with several pages on them

MISSING = "Some messages may be missing here"


def serve_kept(folder: Path, port: int | None = None) -> AbstractContextManager[Server]:
    """A server whose rooms outlive it."""
    return serve(folder, FAST, "--broker", f"sqlite:///{folder / 'chat.db'}", target=CHAT, port=port)


# History


def test_who_comes_first_sees_what_was_said_before(server: Server, open_tab: OpenTab, room: str, ada: Tab) -> None:
    ada.say("one")
    ada.say("two")
    expect(ada.texts).to_have_text(["one", "two"])
    bob = open_tab().enter(server.http, "bob", room)
    expect(bob.texts).to_have_text(["one", "two"])
    ada.say("three")
    expect(bob.texts).to_have_text(["one", "two", "three"])
    expect(bob.own).to_have_count(0)


def test_a_reload_shows_the_history_and_which_messages_are_ours(ada: Tab, bob: Tab) -> None:
    ada.say("one")
    expect(bob.texts).to_have_text(["one"])
    bob.say("two")
    expect(ada.texts).to_have_text(["one", "two"])
    ada.page.reload()
    ada.expect_connected()
    expect(ada.texts).to_have_text(["one", "two"])
    expect(ada.own).to_have_text(["one"])


def test_a_reload_takes_the_session_up(alone: Tab, script: ScriptedServer) -> None:
    alone.page.reload()
    alone.expect_connected()
    assert [socket.url.partition("?")[2] for socket in script.sockets] == ["session=", "session=a+session"]


# A server that goes and comes back


def test_what_others_said_while_we_were_away_comes_in_order_and_once(tmp_path: Path, open_tab: OpenTab) -> None:
    with serve_kept(tmp_path) as server:
        ada = open_tab(frozen=True).enter(server.http, "ada", "lobby")
        bob = open_tab(frozen=True).enter(server.http, "bob", "lobby")
        ada.say("before")
        expect(bob.texts).to_have_text(["before"])
    for tab in (ada, bob):
        expect(tab.status).to_have_text("The server restarts")
    with serve_kept(tmp_path, server.port):
        ada.retry.click()
        for text in ("one", "two", "three"):
            ada.say(text)
        expect(ada.sending).to_have_count(0)
        bob.retry.click()
        expect(bob.texts).to_have_text(["before", "one", "two", "three"])
        ada.say("after")
        expect(bob.texts).to_have_text(["before", "one", "two", "three", "after"])
        expect(bob.notices).to_have_count(0)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
def test_what_is_said_while_the_server_is_down_is_delivered_once(
    tmp_path: Path, open_tab: OpenTab, number: int
) -> None:
    with serve_kept(tmp_path) as server:
        ada = open_tab().enter(server.http, "ada", "lobby")
        bob = open_tab().enter(server.http, "bob", "lobby")
        server.stop(number)
    expect(ada.status).not_to_have_text("Connected")
    ada.say("one")
    ada.say("two")
    expect(ada.sending).to_have_text(["one", "two"])
    with serve_kept(tmp_path, server.port):
        for tab in (ada, bob):
            expect(tab.texts).to_have_text(["one", "two"], timeout=20_000)
        expect(ada.sending).to_have_count(0)
        expect(ada.own).to_have_text(["one", "two"])


def test_two_browsers_in_two_rooms_catch_up_after_a_kill_without_loss_or_duplicates(
    tmp_path: Path, open_tab: OpenTab, elsewhere: Tab
) -> None:
    with serve_kept(tmp_path) as server:
        ada = open_tab().enter(server.http, "ada", "lobby")
        bob = elsewhere.enter(server.http, "bob", "lobby")
        for tab in (ada, bob):
            tab.go("kitchen")
            expect(tab.title).to_have_text("kitchen")
        ada.say("before")
        expect(bob.texts).to_have_text(["before"])
        server.stop(signal.SIGKILL)
    for tab, text in ((ada, "from ada"), (bob, "from bob")):
        expect(tab.status).not_to_have_text("Connected")
        tab.say(text)
        tab.rooms.first.click()
        tab.say(f"{text}, in the lobby")
        expect(tab.sending).to_have_text([f"{text}, in the lobby"])
    with serve_kept(tmp_path, server.port):
        for tab in (ada, bob):
            expect(tab.texts).to_have_count(2, timeout=20_000)
        assert sorted(ada.texts.all_text_contents()) == ["from ada, in the lobby", "from bob, in the lobby"]
        expect(bob.texts).to_have_text(ada.texts.all_text_contents())
        for tab in (ada, bob):
            tab.rooms.last.click()
            expect(tab.texts).to_have_count(3)
            expect(tab.sending).to_have_count(0)
        assert sorted(ada.texts.all_text_contents()) == ["before", "from ada", "from bob"]
        expect(bob.texts).to_have_text(ada.texts.all_text_contents())
        expect(ada.own).to_have_count(2)
        expect(bob.own).to_have_text(["from bob"])


def test_a_server_that_forgot_everything_is_told_of(tmp_path: Path, open_tab: OpenTab) -> None:
    with serve(tmp_path, target=CHAT) as server:
        ada = open_tab(frozen=True).enter(server.http, "ada", "lobby")
        bob = open_tab(frozen=True).enter(server.http, "bob", "lobby")
        ada.say("before")
        expect(bob.texts).to_have_text(["before"])
    for tab in (ada, bob):
        expect(tab.status).to_have_text("The server restarts")
    with serve(tmp_path, target=CHAT, port=server.port):
        ada.retry.click()
        ada.say("after")
        expect(ada.sending).to_have_count(0)
        bob.retry.click()
        expect(bob.texts).to_have_text(["before", "after"])
        expect(bob.notices).to_have_text([MISSING])


# Positions


def test_a_reconnect_joins_from_the_position_reached(alone: Tab, script: ScriptedServer) -> None:
    script.say("eve", "one")
    expect(alone.texts).to_have_text(["one"])
    script.close(4408)
    alone.wait(1150)
    alone.expect_connected()
    first, second = script.all("join")
    assert (first.get("since"), first["history"]) == (None, 50)
    assert (second["since"], second["history"]) == ({"epoch": "e", "seq": 1}, 50)


def test_what_comes_once_more_is_shown_once(alone: Tab, script: ScriptedServer) -> None:
    script.say("eve", "one")
    script.say("eve", "two")
    script.close(1011)
    messages = [script.message("eve", text, seq) for seq, text in enumerate(("one", "two", "three"), 1)]
    script.missed = {"recovered": True, "messages": messages, "seq": 3, "head": 3}
    alone.wait(1150)
    expect(alone.texts).to_have_text(["one", "two", "three"])
    expect(alone.notices).to_have_count(0)


def test_a_gap_is_told_of_and_is_where_we_go_on_from(alone: Tab, script: ScriptedServer, room: str) -> None:
    script.send("gap", room=room, epoch="e", seq=7)
    expect(alone.notices).to_have_text([MISSING])
    script.close(1011)
    alone.wait(1150)
    alone.expect_connected()
    assert script.all("join")[1]["since"] == {"epoch": "e", "seq": 7}


# Sending


def test_a_message_is_shown_as_sending_until_it_comes_back(alone: Tab, script: ScriptedServer) -> None:
    script.mute = True
    alone.say("a thought")
    expect(alone.sending).to_have_text(["a thought"])
    script.say("eve", "meanwhile")
    expect(alone.texts).to_have_text(["meanwhile", "a thought"])
    script.take(script.all("message")[0])
    expect(alone.sending).to_have_count(0)
    expect(alone.texts).to_have_text(["meanwhile", "a thought"])
    expect(alone.own).to_have_text(["a thought"])


def test_a_message_without_an_answer_is_sent_again_under_its_messageid(alone: Tab, script: ScriptedServer) -> None:
    script.mute = True
    alone.say("a thought")
    script.close(1011)
    script.mute = False
    alone.wait(1150)
    expect(alone.own).to_have_text(["a thought"])
    expect(alone.sending).to_have_count(0)
    first, second = script.all("message")
    assert first["messageId"] == second["messageId"]


def test_a_message_that_came_with_what_we_missed_is_shown_once(alone: Tab, script: ScriptedServer) -> None:
    script.mute = True
    alone.say("a thought")
    expect(alone.sending).to_have_count(1)
    script.close(1011)
    own = script.message("ada", "a thought", 1, messageId=script.all("message")[0]["messageId"])
    script.missed = {"recovered": True, "messages": [own], "seq": 1, "head": 1}
    alone.wait(1150)
    expect(alone.own).to_have_text(["a thought"])
    expect(alone.sending).to_have_count(0)
    assert len({command["messageId"] for command in script.all("message")}) == 1


def test_messages_keep_their_order_when_one_has_to_wait(alone: Tab, script: ScriptedServer) -> None:
    script.mute = True
    alone.say("one")
    alone.say("two")
    refusal = {"code": "rate_limited", "message": "Too many messages", "retryAfter": 300}
    script.send("error", id=script.all("message")[0]["id"], **refusal)
    script.mute = False
    alone.wait(299)
    assert len(script.all("message")) == 1
    alone.wait(1)
    expect(alone.own).to_have_text(["one", "two"])
    expect(alone.sending).to_have_count(0)
    expect(alone.notices).to_have_count(0)


def test_a_message_waits_for_the_room_it_was_said_in(alone: Tab, script: ScriptedServer, room: str) -> None:
    script.mute = True
    alone.say("for the first room")
    script.close(1011)
    expect(alone.send).to_be_enabled()
    alone.go("b")
    expect(alone.title).to_have_text("b")
    script.mute = False
    alone.wait(1150)
    alone.expect_connected()
    expect(alone.texts).to_have_count(0)
    alone.page.go_back()
    expect(alone.own).to_have_text(["for the first room"])
    assert [command["room"] for command in script.all("message")] == [room, room]


def test_another_member_cannot_take_our_messageid_for_its_own_words(alone: Tab, script: ScriptedServer) -> None:
    alone.say("mine")
    expect(alone.own).to_have_text(["mine"])
    script.say("ada", "not mine", messageId=script.all("message")[0]["messageId"])
    expect(alone.texts).to_have_text(["mine", "not mine"])
    expect(alone.own).to_have_text(["mine"])


def test_a_join_that_has_to_wait_is_sent_again(alone: Tab, script: ScriptedServer) -> None:
    script.refusal = {"code": "unavailable", "message": "Not now", "retryAfter": 300}
    alone.go("b")
    expect(alone.status).to_have_text("Joining…")
    alone.wait(299)
    assert len(script.all("join")) == 2
    script.refusal = {}
    alone.wait(1)
    alone.expect_connected()
    expect(alone.refusal).to_be_hidden()


# Seen


def test_a_reload_asks_who_has_seen_it(ada: Tab, bob: Tab) -> None:
    ada.say("one")
    expect(ada.seen).to_have_text("Seen by bob")
    ada.page.reload()
    expect(ada.seen).to_have_text("Seen by bob")


def test_many_who_have_seen_it_are_counted(alone: Tab, script: ScriptedServer, room: str) -> None:
    alone.say("one")
    expect(alone.own).to_have_text(["one"])
    for name in ("bob", "eve", "ada", "", "joe", "kim", "lea"):
        script.send("seen", username=name, seq=1, room=room)
    expect(alone.seen).to_have_text("Seen by bob, eve, joe +2")


def test_what_comes_is_acknowledged_once_a_second(alone: Tab, script: ScriptedServer, room: str) -> None:
    for number in range(5):
        script.say("eve", f"line {number}")
    expect(alone.texts).to_have_count(5)
    alone.wait(1000)
    alone.wait(5000)
    acks = [(command["room"], command["seq"]) for command in script.all("ack")]
    assert acks == [(room, 1), (room, 5)]


def test_what_comes_out_of_view_is_acknowledged_when_it_is_looked_at(alone: Tab, script: ScriptedServer) -> None:
    alone.look_away()
    script.say("eve", "one")
    expect(alone.texts).to_have_count(1)
    alone.wait(5000)
    assert script.all("ack") == []
    alone.look_back()
    alone.wait(1)
    assert [command["seq"] for command in script.all("ack")] == [1]


# Two tabs with one session


def test_a_duplicated_tab_takes_the_session_over_and_the_first_can_go_on_with_another(ada: Tab, bob: Tab) -> None:
    twin = ada.duplicate()
    twin.expect_connected()
    expect(ada.status).to_have_text("This chat went on in another tab")
    expect(ada.retry).to_have_text("Continue here")
    expect(bob.members).to_have_text(["ada", "bob"])
    expect(bob.notices).to_have_count(0)
    ada.retry.click()
    ada.expect_connected()
    expect(bob.notices).to_have_text(["ada joined"])
    twin.say("both are here")
    for tab in (ada, twin, bob):
        expect(tab.texts).to_have_text(["both are here"])
    expect(twin.status).to_have_text("Connected")
