"""The chat page to come in Chromium: several rooms at once, and what was said in them."""

from functools import partial
from typing import Any

import pytest
from playwright.sync_api import Page, expect

from tests.browser.conftest import OpenTab
from tests.browser.next_tab import NextTab
from tests.browser.scripted import ScriptedServer
from tests.support.server import ROOT, Server

AXE = ROOT / "web" / "node_modules" / "axe-core" / "axe.min.js"


def complaints(page: Page) -> list[Any]:
    """What axe says of the page, in short. It is run beside the page's policy, as an extension would be."""
    page.evaluate(AXE.read_text())
    found: dict[str, Any] = page.evaluate("axe.run()")
    return [(each["id"], [node["html"] for node in each["nodes"]]) for each in found["violations"]]


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


# Much to see


def test_ten_thousand_messages_are_scrolled_through_and_few_are_drawn(
    server: Server, open_next: OpenTab, script: ScriptedServer, room: str
) -> None:
    script.room = room
    script.missed = {
        "messages": [script.message("eve", f"line {number}", number) for number in range(1, 10_001)],
        "seq": 10_000,
        "head": 10_000,
    }
    tab = open_next(script=script).enter(server.http, "ada", room)
    expect(tab.texts.last).to_have_text("line 10000")
    expect(tab.texts.last).to_be_in_viewport()
    tab.page.get_by_role("log").evaluate("log => { log.scrollTop = log.scrollHeight / 2; }")
    expect(tab.texts.last).not_to_have_text("line 10000")
    assert tab.texts.count() < 100
    tab.page.get_by_role("button", name="To the newest message").click()
    expect(tab.texts.last).to_have_text("line 10000")


# Everybody can use it


def test_axe_finds_nothing_to_complain_of(server: Server, open_next: OpenTab, ada: NextTab, bob: NextTab) -> None:
    ada.say("one")
    bob.say("two")
    expect(ada.texts).to_have_count(2)
    ada.page.get_by_role("button", name="Search").click()
    ada.search.fill("o")
    outside = open_next().open(server.http, "lobby")
    for page in (ada.page, outside.page):
        page.emulate_media(reduced_motion="reduce")
        assert complaints(page) == []
    ada.page.set_viewport_size({"width": 360, "height": 640})
    ada.page.get_by_role("button", name="Rooms and members").click()
    assert complaints(ada.page) == []


def test_a_phone_shows_the_whole_page_in_its_width(server: Server, open_next: OpenTab) -> None:
    tab = open_next(width=360, height=640).enter(server.http, "W" * 30, "W" * 50)
    tab.say("W" * 2000)
    expect(tab.texts).to_have_text(["W" * 2000])
    expect(tab.send).to_be_in_viewport(ratio=1)
    for part in ("html", ".log"):
        assert tab.page.locator(part).evaluate("element => element.scrollWidth") == 360
