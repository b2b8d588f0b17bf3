"""The chat's page where the server asks who one is: signing in, out, and in again when the token has ended."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import expect

from tests.browser.conftest import OpenTab
from tests.browser.deaf import Deaf
from tests.browser.tab import Tab
from tests.support.credentials import Issuer, secret_issuer
from tests.support.server import CHAT, FAST, Server, serve

pytestmark = pytest.mark.timeout(90)  # servers start and stop, with several pages on them

TOKEN_SECONDS = 12


@pytest.fixture(scope="module")
def issuer(tmp_path_factory: pytest.TempPathFactory) -> Issuer:
    return secret_issuer(tmp_path_factory.mktemp("issuer"))


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory, issuer: Issuer) -> Iterator[Server]:
    folder: Path = tmp_path_factory.mktemp("chat")
    options = ("--jwt-leeway-seconds", "0", "--member-per", "user")
    with serve(folder, FAST, *issuer.options, *options, target=CHAT) as running:
        yield running


def sign_in(tab: Tab, token: str) -> None:
    tab.token.fill(token)
    tab.token.press("Enter")


def enter(tab: Tab, server: Server, token: str, room: str) -> Tab:
    """Signs in and goes into a room."""
    tab.open(server.http, room)
    sign_in(tab, token)
    tab.page.get_by_role("button", name="Enter").click()
    tab.expect_connected()
    return tab


def test_a_server_that_asks_who_one_is_gets_a_token(
    server: Server, issuer: Issuer, open_tab: OpenTab, room: str
) -> None:
    tab = open_tab().open(server.http, room)
    expect(tab.token).to_be_focused()
    expect(tab.name).to_have_count(0)
    expect(tab.status).to_have_count(0)
    sign_in(tab, "no.such.token")
    expect(tab.refusal).to_have_text("The server does not take the token that was given; it may have ended.")
    sign_in(tab, issuer.token(name="Ada"))
    expect(tab.page.get_by_text("You are signed in as Ada")).to_be_visible()
    expect(tab.name).to_have_count(0)
    tab.page.get_by_role("button", name="Enter").click()
    expect(tab.members).to_have_text(["Ada"])
    tab.say("it is me")
    expect(tab.senders).to_have_text(["Ada"])


def test_who_has_signed_in_is_signed_in_after_a_reload(
    server: Server, issuer: Issuer, open_tab: OpenTab, room: str
) -> None:
    tab = enter(open_tab(), server, issuer.token(name="Ada"), room)
    tab.say("before")
    expect(tab.own).to_have_text(["before"])
    tab.page.reload()
    tab.expect_connected()
    expect(tab.own).to_have_text(["before"])


def test_who_signs_out_leaves_and_leaves_nothing_behind(
    server: Server, issuer: Issuer, open_tab: OpenTab, room: str
) -> None:
    bob = enter(open_tab(), server, issuer.token("u-bob", name="Bob"), room)
    ada = enter(open_tab(), server, issuer.token(name="Ada"), room)
    ada.text.fill("a secret thou")
    expect(bob.members).to_have_text(["Bob", "Ada"])
    ada.page.get_by_role("button", name="Sign out").click()
    expect(ada.token).to_be_visible()
    expect(bob.members).to_have_text(["Bob"])
    assert "secret" not in ada.page.evaluate("JSON.stringify(sessionStorage) + JSON.stringify(localStorage)")
    ada.page.reload()
    expect(ada.token).to_be_visible()


def test_who_signs_in_again_after_the_token_has_ended_is_back_with_all_that_was_written(
    server: Server, issuer: Issuer, open_tab: OpenTab, room: str
) -> None:
    tab = enter(open_tab(), server, issuer.token(name="Ada", exp=int(time.time()) + TOKEN_SECONDS), room)
    tab.say("before")
    expect(tab.own).to_have_text(["before"])
    tab.text.fill("half a thou")
    expect(tab.token).to_be_visible(timeout=2000 * TOKEN_SECONDS)
    expect(tab.refusal).to_contain_text("it may have ended")
    sign_in(tab, issuer.token(name="Ada"))
    tab.expect_connected()
    expect(tab.title).to_have_text(room)
    expect(tab.own).to_have_text(["before"])
    expect(tab.text).to_have_value("half a thou")


def test_what_was_said_before_the_token_ended_is_there_once_and_the_rest_waits_for_a_word(
    server: Server, issuer: Issuer, open_tab: OpenTab, room: str
) -> None:
    bob = enter(open_tab(), server, issuer.token("u-bob", name="Bob"), room)
    ada = open_tab()
    line = Deaf(ada)
    enter(ada, server, issuer.token(name="Ada", exp=int(time.time()) + TOKEN_SECONDS), room)
    line.deaf = True
    ada.say("one")
    ada.say("two")
    expect(bob.texts).to_have_text(["one"])
    expect(ada.token).to_be_visible(timeout=2000 * TOKEN_SECONDS)
    line.deaf = False
    sign_in(ada, issuer.token(name="Ada"))
    expect(ada.own).to_have_text(["one"])
    expect(ada.failed).to_contain_text("Not sent")
    ada.failed.get_by_role("button", name="Send again").click()
    for tab in (ada, bob):
        expect(tab.texts).to_have_text(["one", "two"])


def test_a_page_that_comes_back_with_a_token_that_does_not_count_loses_nothing(
    server: Server, issuer: Issuer, open_tab: OpenTab, room: str
) -> None:
    tab = open_tab()
    line = Deaf(tab)
    enter(tab, server, issuer.token(name="Ada"), room)
    line.deaf = True
    tab.say("one")
    tab.say("two")
    expect(tab.sending).to_have_text(["one", "two"])
    tab.page.evaluate("sessionStorage.setItem('hubbub.token', 'no.such.token')")
    line.deaf = False
    tab.page.reload()
    sign_in(tab, issuer.token(name="Ada"))
    expect(tab.own).to_have_text(["one"])
    expect(tab.failed).to_have_count(1)
    expect(tab.failed).to_contain_text("two")


def test_who_may_only_listen_is_told_so_and_keeps_the_text(
    server: Server, issuer: Issuer, open_tab: OpenTab, room: str
) -> None:
    tab = enter(open_tab(), server, issuer.token(name="Ada", rooms={room: ["join", "history"]}), room)
    tab.say("a thought")
    expect(tab.failed).to_contain_text("Not sent")
    expect(tab.failed).to_contain_text("a thought")
    expect(tab.failed.get_by_role("alert")).not_to_be_empty()
    tab.failed.get_by_role("button", name="Discard").click()
    expect(tab.failed).to_have_count(0)


def test_three_tabs_of_a_user_are_one_member(server: Server, issuer: Issuer, open_tab: OpenTab, room: str) -> None:
    tabs = [enter(open_tab(), server, issuer.token(name="Ada"), room) for _ in range(3)]
    tabs[0].say("from teh first")
    tabs[1].act("from teh first", "Edit")  # what one has said in any of them is one's own in all
    tabs[1].edit.fill("from the first")
    tabs[1].edit.press("Enter")
    for tab in tabs:
        expect(tab.texts).to_have_text(["from the first"])
        expect(tab.members).to_have_text(["Ada"])
        expect(tab.notices).to_have_count(0)
