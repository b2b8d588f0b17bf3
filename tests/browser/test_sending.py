"""What is said in the chat's page: it is shown as sending, sent or failed, is never lost, and is in the room once."""

from __future__ import annotations

import json
import signal
from pathlib import Path

import pytest
from playwright.sync_api import BrowserContext, expect

from tests.browser.conftest import OpenTab
from tests.browser.deaf import Deaf
from tests.browser.scripted import ScriptedServer
from tests.browser.tab import Tab
from tests.browser.test_coming_back import serve_kept
from tests.support.server import CHAT, FAST, Server, serve

pytestmark = pytest.mark.timeout(90)  # servers start and stop, with several pages on them

REFUSAL = {"code": "forbidden", "message": "You may not speak here"}


# States


def test_a_message_is_sending_until_the_server_has_it_and_sent_until_it_is_in_the_log(
    alone: Tab, script: ScriptedServer
) -> None:
    script.mute = True
    alone.say("a thought")
    expect(alone.state).to_have_text("Sending…")
    script.send("ok", id=script.all("message")[0]["id"], seq=1)
    expect(alone.state).to_have_text("Sent")
    script.say("ada", "a thought", messageId=script.all("message")[0]["messageId"])
    expect(alone.own).to_have_text(["a thought"])
    expect(alone.state).to_have_count(0)


def refuse(script: ScriptedServer) -> None:
    script.send("error", id=script.all("message")[-1]["id"], **REFUSAL)


def test_a_message_that_the_server_refuses_says_why_and_is_sent_again_under_its_id(
    alone: Tab, script: ScriptedServer
) -> None:
    script.mute = True
    alone.say("a thought")
    expect(alone.sending).to_have_text(["a thought"])
    refuse(script)
    expect(alone.failed).to_contain_text("Not sent")
    expect(alone.failed).to_contain_text("You may not speak here")
    script.mute = False
    alone.failed.get_by_role("button", name="Send again").click()
    expect(alone.own).to_have_text(["a thought"])
    expect(alone.failed).to_have_count(0)
    first, second = script.all("message")
    assert first["messageId"] == second["messageId"]


def test_a_message_that_has_failed_can_be_discarded(alone: Tab, script: ScriptedServer) -> None:
    script.mute = True
    alone.say("a thought")
    expect(alone.sending).to_have_text(["a thought"])
    refuse(script)
    alone.failed.get_by_role("button", name="Discard").click()
    expect(alone.failed).to_have_count(0)
    alone.page.reload()
    alone.expect_connected()
    expect(alone.failed).to_have_count(0)
    assert len(script.all("message")) == 1


# Over a reload


def test_what_has_no_answer_yet_outlives_a_reload(alone: Tab, script: ScriptedServer) -> None:
    script.mute = True
    alone.say("one")
    alone.say("two")
    expect(alone.sending).to_have_text(["one", "two"])
    script.mute = False
    alone.page.reload()
    expect(alone.own).to_have_text(["one", "two"])
    expect(alone.sending).to_have_count(0)
    first, *others = script.all("message")
    assert [command["text"] for command in others] == ["one", "two"]
    assert first["messageId"] == others[0]["messageId"]


def test_what_has_failed_outlives_a_reload_and_is_not_sent_by_itself(alone: Tab, script: ScriptedServer) -> None:
    script.mute = True
    alone.say("a thought")
    expect(alone.sending).to_have_text(["a thought"])
    refuse(script)
    expect(alone.failed).to_have_count(1)
    alone.page.reload()
    alone.expect_connected()
    expect(alone.failed).to_contain_text("You may not speak here")
    assert len(script.all("message")) == 1
    script.mute = False
    alone.failed.get_by_role("button", name="Send again").click()
    expect(alone.own).to_have_text(["a thought"])


def test_what_the_server_has_and_the_page_has_not_heard_of_is_in_the_room_once(
    server: Server, open_tab: OpenTab, room: str, bob: Tab
) -> None:
    eve = open_tab()
    line = Deaf(eve)
    eve.enter(server.http, "eve", room)
    line.deaf = True
    eve.say("one")
    eve.say("two")
    expect(bob.texts).to_have_text(["one"])
    expect(eve.sending).to_have_text(["one", "two"])
    line.deaf = False
    eve.page.reload()
    for tab in (eve, bob):
        expect(tab.texts).to_have_text(["one", "two"])
    expect(eve.own).to_have_text(["one", "two"])
    expect(eve.sending).to_have_count(0)
    assert [json.loads(message)["text"] for message in line.said] == ["one", "two"]


def test_who_says_more_than_the_server_takes_a_second_is_heard_in_order_and_once(
    tmp_path: Path, open_tab: OpenTab
) -> None:
    with serve(tmp_path, FAST, "--rate-limit", "5", "--rate-burst", "5", target=CHAT) as server:
        ada = open_tab().enter(server.http, "ada", "lobby")
        bob = open_tab().enter(server.http, "bob", "lobby")
        texts = [f"line {number}" for number in range(12)]
        for text in texts:
            ada.say(text)
        for tab in (ada, bob):
            expect(tab.texts).to_have_text(texts, timeout=20_000)
        expect(ada.sending).to_have_count(0)


def test_what_was_not_sent_when_one_left_waits_for_who_is_back(alone: Tab, script: ScriptedServer, room: str) -> None:
    script.mute = True
    alone.say("one")
    alone.say("two")
    expect(alone.sending).to_have_text(["one", "two"])
    alone.page.get_by_role("button", name="Leave", exact=True).click()
    script.mute = False
    script.send("ok", id=script.all("message")[0]["id"], seq=1)
    alone.page.get_by_role("button", name="Enter").click()
    expect(alone.failed).to_have_count(2)
    expect(alone.failed.last).to_contain_text("You left before it was sent")
    alone.failed.last.get_by_role("button", name="Send again").click()
    expect(alone.own).to_have_text(["two"])


# Without a network


def test_what_is_said_offline_is_sent_on_return_in_order_and_once(
    tmp_path: Path, context: BrowserContext, open_tab: OpenTab, elsewhere: Tab
) -> None:
    with serve_kept(tmp_path) as server:
        ada = open_tab().enter(server.http, "ada", "lobby")
        bob = elsewhere.enter(server.http, "bob", "lobby")
        ada.say("before")
        expect(bob.texts).to_have_text(["before"])
        context.set_offline(True)
        server.stop(signal.SIGKILL)  # Chromium leaves an open WebSocket alone when it is set offline
    expect(ada.status).to_have_text("You are offline")
    with serve_kept(tmp_path, server.port):
        bob.expect_connected()
        for text in ("one", "two", "three"):
            ada.say(text)
        bob.say("meanwhile")
        expect(bob.texts).to_have_text(["before", "meanwhile"])
        expect(ada.sending).to_have_text(["one", "two", "three"])
        expect(ada.status).to_have_text("You are offline")
        context.set_offline(False)
        for tab in (ada, bob):
            expect(tab.texts).to_have_text(["before", "meanwhile", "one", "two", "three"], timeout=10_000)
        expect(ada.sending).to_have_count(0)


# Several tabs


def test_three_tabs_of_a_browser_are_three_members_and_each_shows_everything_once(
    server: Server, open_tab: OpenTab, room: str
) -> None:
    tabs = [open_tab().enter(server.http, name, room) for name in ("ada", "bob", "eve")]
    for number, tab in enumerate(tabs):
        tab.say(f"line {number}")
        expect(tabs[0].texts).to_have_count(number + 1)
    for tab in tabs:
        expect(tab.members).to_have_text(["ada", "bob", "eve"])
        expect(tab.senders).to_have_text(["ada", "bob", "eve"])
        expect(tab.texts).to_have_text(["line 0", "line 1", "line 2"])
        expect(tab.own).to_have_count(1)


def test_of_three_tabs_with_one_session_the_last_has_it_and_nothing_is_said_twice(ada: Tab, bob: Tab) -> None:
    second = ada.duplicate()
    second.expect_connected()
    third = second.duplicate()
    third.expect_connected()
    for tab in (ada, second):
        expect(tab.status).to_have_text("This chat went on in another tab")
        expect(tab.send).to_be_disabled()
    third.say("from the third")
    expect(bob.texts).to_have_text(["from the third"])
    expect(bob.notices).to_have_count(0)
    for tab in (ada, second):
        tab.retry.click()
        tab.expect_connected()
        expect(tab.texts).to_have_text(["from the third"])
    expect(third.status).to_have_text("Connected")
    expect(bob.members).to_have_text(["ada", "bob", "ada", "ada"])
