"""The chat's page for everybody: without a mouse, with a screen reader, in light and in dark, on a phone."""

from __future__ import annotations

from typing import Literal

import pytest
from playwright.sync_api import BrowserContext, expect

from tests.browser.axe import complaints
from tests.browser.conftest import OpenTab
from tests.browser.line import Line
from tests.browser.tab import Tab
from tests.support.server import Server

pytestmark = pytest.mark.timeout(60)

DESK = {"width": 1280, "height": 800}
PHONE = {"width": 390, "height": 844}
MOST_TABS = 40


# Without a mouse


class Hands:
    """Somebody with a keyboard and nothing else."""

    def __init__(self, tab: Tab) -> None:
        self.tab = tab
        self.press = tab.page.keyboard.press
        self.type = tab.page.keyboard.type

    def go_to(self, role: str, name: str, key: str = "Tab") -> None:
        """Presses a key until something has the focus."""
        wanted = self.tab.page.get_by_role(role, name=name, exact=True)  # type: ignore[arg-type]
        for _ in range(MOST_TABS):
            if wanted.evaluate_all("found => found.includes(document.activeElement)"):
                return
            self.press(key)
        raise AssertionError(f"no {role} {name} can be reached with {key}")

    def expect_focus(self, role: str, name: str) -> None:
        wanted = self.tab.page.get_by_role(role, name=name, exact=True)  # type: ignore[arg-type]
        expect(wanted.and_(self.tab.page.locator(":focus"))).to_have_count(1)


def test_one_joins_talks_changes_searches_switches_and_leaves_without_a_mouse(
    server: Server, open_tab: OpenTab, room: str
) -> None:
    tab = open_tab().open(server.http, room)
    hands = Hands(tab)
    hands.expect_focus("textbox", "Your name")
    hands.type("ada")
    hands.press("Enter")
    tab.expect_connected()
    hands.expect_focus("textbox", "Message")
    for text in ("helo", "a secret"):
        hands.type(text)
        hands.press("Enter")
    expect(tab.own).to_have_text(["helo", "a secret"])

    hands.press("ArrowUp")
    hands.expect_focus("textbox", "Edit message")
    hands.press("End")
    hands.type("!")
    hands.press("Enter")
    expect(tab.own).to_have_text(["helo", "a secret!"])
    hands.expect_focus("textbox", "Message")

    hands.go_to("log", "Messages", "Shift+Tab")
    hands.go_to("button", "Edit")  # of the first message
    hands.press("Enter")
    hands.press("Control+A")
    hands.type("hello")
    hands.go_to("button", "Save")
    hands.press("Enter")
    expect(tab.own).to_have_text(["hello", "a secret!"])

    hands.press("ArrowUp")
    hands.press("Control+A")
    hands.press("Delete")
    hands.press("Enter")  # a message without a text is to be deleted
    hands.expect_focus("button", "Delete")
    hands.press("Escape")
    hands.expect_focus("textbox", "Message")
    expect(tab.own).to_have_text(["hello", "a secret!"])
    hands.go_to("button", "Delete", "Shift+Tab")
    hands.press("Enter")
    hands.expect_focus("button", "Delete")
    hands.press("Enter")
    expect(tab.own).to_have_text(["hello", "This message was deleted"])

    hands.go_to("button", "Search", "Shift+Tab")
    hands.press("Enter")
    hands.expect_focus("searchbox", "Search this room")
    hands.type("hell")
    expect(tab.matches).to_have_count(1)
    hands.press("Escape")
    hands.expect_focus("button", "Search")

    hands.go_to("textbox", "Another room", "Shift+Tab")
    hands.type(f"{room} b")
    hands.press("Enter")
    expect(tab.title).to_have_text(f"{room} b")
    hands.expect_focus("textbox", "Message")
    hands.go_to("link", room, "Shift+Tab")
    hands.press("Enter")
    expect(tab.title).to_have_text(room)
    expect(tab.own).to_have_count(2)
    hands.go_to("button", f"Leave {room} b", "Shift+Tab")
    hands.press("Enter")
    expect(tab.page.get_by_role("button", name=f"Leave {room} b")).to_have_count(0)
    expect(tab.rooms).to_have_text([room, f"{room} b"])  # it stands among those that were visited
    hands.go_to("button", "Leave", "Shift+Tab")
    hands.press("Enter")
    expect(tab.page.get_by_role("button", name="Enter")).to_be_visible()


def test_the_log_is_scrolled_with_the_keyboard(server: Server, open_tab: OpenTab, room: str) -> None:
    tab = open_tab().enter(server.http, "ada", room)
    tab.say("\n".join("the first" for _ in range(40)))
    tab.say("\n".join("the second" for _ in range(40)))
    expect(tab.own).to_have_count(2)
    hands = Hands(tab)
    hands.go_to("log", "Messages", "Shift+Tab")
    hands.press("Home")
    expect(tab.down).to_be_visible()
    hands.press("End")
    expect(tab.down).to_have_count(0)


# With a screen reader


def test_what_others_say_and_change_is_read_out_and_ones_own_is_not(ada: Tab, bob: Tab) -> None:
    aloud = ada.page.locator("[aria-live=polite]")
    ada.say("mine")
    expect(ada.own).to_have_text(["mine"])
    expect(aloud).to_have_text("")
    bob.say("helo")
    expect(aloud).to_have_text("bob: helo")
    bob.act("helo", "Edit")
    bob.edit.fill("hello")
    bob.edit.press("Enter")
    expect(aloud).to_have_text("bob edited a message: hello")
    bob.delete("hello")
    expect(aloud).to_have_text("bob deleted a message")


def test_the_page_has_its_landmarks_and_each_message_says_whose_it_is(ada: Tab, bob: Tab, room: str) -> None:
    bob.say("hello")
    bob.say("again")
    expect(ada.page.get_by_role("main").get_by_role("log", name="Messages")).to_be_visible()
    expect(ada.page.get_by_role("banner").get_by_role("heading", name=room)).to_be_visible()
    expect(ada.page.get_by_role("navigation", name="Rooms").get_by_role("link", name=room)).to_be_visible()
    expect(ada.page.get_by_role("region", name="Here")).to_contain_text("bob")
    expect(ada.message("again")).to_contain_text("bob")  # though it is not shown twice


# axe


@pytest.fixture(params=["light", "dark", "light on a phone", "dark on a phone"])
def tab(context: BrowserContext, open_tab: OpenTab, line: Line, request: pytest.FixtureRequest) -> Tab:
    scheme: Literal["light", "dark"] = "dark" if "dark" in request.param else "light"
    tab = open_tab(script=line, **(PHONE if "phone" in request.param else DESK))
    tab.page.emulate_media(color_scheme=scheme, reduced_motion="reduce")
    return tab


@pytest.fixture
def line() -> Line:
    return Line()


def test_axe_finds_nothing_at_the_entrance(server: Server, tab: Tab) -> None:
    tab.open(server.http, "lobby")
    expect(tab.name).to_be_visible()
    assert complaints(tab.page) == []


def test_axe_finds_nothing_in_the_chat_whatever_is_open(
    server: Server, open_tab: OpenTab, room: str, bob: Tab, tab: Tab, line: Line
) -> None:
    tab.enter(server.http, "carol", room)
    bob.say("hello carol")
    tab.say("hello bob")
    expect(tab.seen).to_have_text("Seen by ada, bob")
    assert complaints(tab.page) == []
    bob.text.press_sequentially("an")
    tab.act("hello bob", "Edit")
    assert complaints(tab.page) == []
    tab.edit.fill("hello all")
    tab.edit.press("Enter")
    expect(tab.message("hello all")).to_contain_text("edited")
    tab.act("hello all", "Delete")
    assert complaints(tab.page) == []
    tab.page.get_by_role("group", name="Delete").get_by_role("button", name="Delete").click()
    expect(tab.own).to_have_text(["This message was deleted"])
    tab.page.get_by_role("button", name="Search", exact=True).click()
    tab.search.fill("hello")
    expect(tab.matches).to_have_count(1)
    assert complaints(tab.page) == []
    line.cut()
    expect(tab.retry).to_be_visible()
    tab.say("later")
    expect(tab.sending).to_have_text(["later"])
    assert complaints(tab.page) == []


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_axe_finds_nothing_in_what_a_phone_opens_beside_the_room(
    open_tab: OpenTab, server: Server, room: str, ada: Tab, scheme: Literal["light", "dark"]
) -> None:
    tab = open_tab(**PHONE).enter(server.http, "bob", f"{room} b")
    tab.go_by_menu(room)
    tab.page.emulate_media(color_scheme=scheme, reduced_motion="reduce")
    ada.go(f"{room} b")
    expect(ada.title).to_have_text(f"{room} b")
    ada.say("over there")
    tab.menu.click()
    expect(tab.rooms.first).to_contain_text("1 unread")
    assert complaints(tab.page) == []


def test_a_phone_shows_all_of_it_in_its_width(open_tab: OpenTab, server: Server) -> None:
    tab = open_tab(width=360, height=640).enter(server.http, "W" * 30, "W" * 50)
    tab.say("W" * 300)
    expect(tab.own).to_have_count(1)
    expect(tab.send).to_be_in_viewport(ratio=1)
    tab.act("W", "Edit")
    expect(tab.edit).to_be_in_viewport(ratio=1)
    expect(tab.page.get_by_role("button", name="Cancel")).to_be_in_viewport(ratio=1)
    for part in ("html", ".log", "header"):
        assert tab.page.locator(part).evaluate("it => it.scrollWidth <= it.clientWidth")
