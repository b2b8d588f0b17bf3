"""The chat's page and its connection: it stays calm when the server does not, and says what it waits for."""

import signal
from pathlib import Path

import pytest
from playwright.sync_api import BrowserContext, expect

from tests.browser.conftest import OpenTab
from tests.browser.scripted import ScriptedServer
from tests.browser.tab import Tab
from tests.support.server import CHAT, serve


def test_both_tabs_come_back_and_chat_after_the_server_restarts(tmp_path: Path, open_tab: OpenTab) -> None:
    with serve(tmp_path, target=CHAT) as server:
        ada = open_tab().enter(server.http, "ada", "lobby")
        bob = open_tab().enter(server.http, "bob", "lobby")
    expect(ada.status).not_to_have_text("Connected")
    with serve(tmp_path, target=CHAT, port=server.port):
        ada.expect_connected()
        expect(bob.members).to_have_count(2, timeout=20_000)
        ada.say("back again")
        expect(bob.texts).to_have_text(["back again"])
        expect(ada.texts).to_have_text(["back again"])


def test_a_loss_is_shown_with_the_time_until_the_next_try(tmp_path: Path, open_tab: OpenTab) -> None:
    with serve(tmp_path, target=CHAT) as server:
        tab = open_tab(frozen=True).enter(server.http, "ada", "lobby")
        server.stop(signal.SIGKILL)
    expect(tab.status).to_have_text("Connection lost")
    expect(tab.countdown).to_have_text("Next try in 2 s")
    expect(tab.members).to_have_count(0)
    tab.wait(150)
    expect(tab.countdown).to_have_text("Next try in 1 s")
    tab.wait(1000)
    expect(tab.status).to_have_text("No connection")
    expect(tab.countdown).to_have_text("Next try in 3 s")


def test_a_try_is_made_at_once_when_the_browser_is_online_again(
    context: BrowserContext, tmp_path: Path, open_tab: OpenTab
) -> None:
    with serve(tmp_path, target=CHAT) as server:
        tab = open_tab(frozen=True).enter(server.http, "ada", "lobby")
        server.stop(signal.SIGKILL)
    expect(tab.status).to_have_text("Connection lost")
    context.set_offline(True)
    with serve(tmp_path, target=CHAT, port=server.port):
        context.set_offline(False)
        tab.expect_connected()


def test_what_is_typed_stays_while_the_user_has_to_act(alone: Tab, script: ScriptedServer) -> None:
    alone.text.fill("a thought")
    script.close(1001)
    expect(alone.send).to_be_disabled()
    alone.text.press("Enter")
    expect(alone.text).to_have_value("a thought")
    alone.retry.click()
    expect(alone.send).to_be_enabled()
    alone.text.press("Enter")
    expect(alone.texts).to_have_text(["a thought"])


@pytest.mark.parametrize(
    ("code", "words"),
    [
        (1000, "The server ended the connection: because"),
        (1001, "The server is going away: because"),
        (4400, "The server does not understand this page: because"),
        (4403, "You were removed: because"),
        (4409, "This chat went on in another tab"),
    ],
)
def test_no_try_follows_a_final_close_code(alone: Tab, script: ScriptedServer, code: int, words: str) -> None:
    script.close(code, "because")
    expect(alone.status).to_have_text(words)
    alone.wait(120_000)
    expect(alone.status).to_have_text(words)
    expect(alone.countdown).to_have_count(0)
    assert len(script.sockets) == 1


def test_the_user_can_connect_again_after_a_final_close_code(alone: Tab, script: ScriptedServer) -> None:
    script.close(4403)
    alone.retry.click()
    alone.expect_connected()
    assert script.received == ["join", "join"]


@pytest.mark.parametrize("code", [1002, 1011, 4408])
def test_other_close_codes_are_followed_by_a_try_that_joins_the_room_again(
    alone: Tab, script: ScriptedServer, room: str, code: int
) -> None:
    script.close(code)
    expect(alone.countdown).to_have_text("Next try in 2 s")
    alone.wait(1150)
    alone.expect_connected()
    assert [command["room"] for command in script.all("join")] == [room, room]


def test_a_server_that_takes_and_drops_us_is_not_asked_every_second(alone: Tab, script: ScriptedServer) -> None:
    for seconds in (2, 3, 5):
        script.close(1011)
        expect(alone.countdown).to_have_text(f"Next try in {seconds} s")
        alone.wait(seconds * 1000)
        alone.expect_connected()


def test_a_connection_that_held_starts_the_waiting_anew(alone: Tab, script: ScriptedServer) -> None:
    script.close(1011)
    alone.wait(1150)
    alone.expect_connected()
    alone.wait(5000)
    script.close(1011)
    expect(alone.countdown).to_have_text("Next try in 2 s")
