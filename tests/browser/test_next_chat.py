"""The chat page to come in Chromium: several rooms at once, and what was said in them."""

from functools import partial

import pytest
from playwright.sync_api import expect

from tests.browser.conftest import OpenTab
from tests.browser.next_tab import NextTab
from tests.support.server import Server


@pytest.fixture
def open_next(open_tab: OpenTab) -> OpenTab:
    return partial(open_tab, kind=NextTab)


@pytest.fixture
def ada(server: Server, open_next: OpenTab, room: str) -> NextTab:
    return open_next().enter(server.http, "ada", room)  # type: ignore[return-value]


@pytest.fixture
def bob(server: Server, open_next: OpenTab, room: str, ada: NextTab) -> NextTab:
    return open_next().enter(server.http, "bob", room)  # type: ignore[return-value]


def test_two_people_chat_in_two_rooms_and_miss_nothing_in_the_other(ada: NextTab, bob: NextTab, room: str) -> None:
    for tab in (ada, bob):
        tab.go(f"{room} b")
        expect(tab.title).to_have_text(f"{room} b")
    expect(ada.members).to_have_text(["ada", "bob"])
    ada.rooms.first.click()
    expect(ada.title).to_have_text(room)
    bob.say("in the second room")
    expect(ada.rooms.last).to_contain_text("1 unread")
    ada.say("in the first room")
    expect(bob.rooms.first).to_contain_text("1 unread")
    ada.rooms.last.click()
    expect(ada.texts).to_have_text(["in the second room"])
    expect(ada.rooms.last).not_to_contain_text("unread")
    bob.rooms.first.click()
    expect(bob.texts).to_have_text(["in the first room"])
    expect(bob.members).to_have_text(["ada", "bob"])


def test_what_is_unread_is_counted_in_the_title_while_nobody_looks(ada: NextTab, bob: NextTab, room: str) -> None:
    ada.look_away()
    bob.say("one")
    bob.say("two")
    expect(ada.page).to_have_title(f"(2) {room} · Hubbub")
    ada.look_back()
    expect(ada.page).to_have_title(f"{room} · Hubbub")


def test_what_is_written_and_not_sent_is_there_after_a_reload(ada: NextTab, room: str) -> None:
    ada.text.fill("half a thou")
    ada.go(f"{room} b")
    expect(ada.text).to_have_value("")
    ada.rooms.first.click()
    expect(ada.text).to_have_value("half a thou")
    ada.page.reload()
    expect(ada.text).to_have_value("half a thou")


def test_typing_is_shown_to_the_other(ada: NextTab, bob: NextTab) -> None:
    ada.text.press_sequentially("he")
    expect(bob.typing).to_have_text("ada is typing…")
    expect(ada.typing).to_have_text("")
    ada.text.press("Enter")
    expect(bob.texts).to_have_text(["he"])
    expect(bob.typing).to_have_text("")


def test_what_is_searched_for_is_found_and_shown_in_its_place(ada: NextTab) -> None:
    for text in ("the first line", "another", "a line like this"):
        ada.say(text)
    expect(ada.own).to_have_count(3)
    ada.page.get_by_role("button", name="Search").click()
    ada.search.fill("LINE")
    expect(ada.matches).to_have_count(2)
    ada.matches.last.get_by_role("button").click()
    expect(ada.page.locator(".row.shown .text")).to_have_text("the first line")
