"""The chat's history in Chromium: read back to the beginning without losing one's place, seen, edited, deleted."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest
from playwright.sync_api import expect

from tests.browser.conftest import OpenTab
from tests.browser.line import Line
from tests.browser.tab import Tab
from tests.support.chatter import chatting
from tests.support.server import FAST, Server, serve

pytestmark = pytest.mark.timeout(90)

OPTIONS = ("--rate-limit", "0", "--user-rate", "0", "--room-rate", "0")
DAY_MS = 86_400_000
MIDNIGHT_MS = 1_700_006_400_000  # the first day of what was said, 15 November 2023
SENTENCE = "It was said at some length, as people do who have the time. "
MOST_PAGES = 200  # the same one more than once, while it comes
PEOPLE = ("eve", "mallory", "trent")

TO_TOP = """async log => {
    log.scrollTop = 0;
    for (let more = 3; more; more--) await new Promise(requestAnimationFrame);
}"""

# The numbers of all lines, read from the first to the last.
READ = """async log => {
    const found = [];
    log.scrollTop = 0;
    for (let before = -1; before !== log.scrollTop; ) {
        for (let more = 3; more; more--) await new Promise(requestAnimationFrame);
        for (const text of log.querySelectorAll("article .text")) {
            const number = Number(text.textContent.match(/^line (\\d+)\\./)?.[1]);
            if (number > (found.at(-1) ?? 0)) found.push(number);
        }
        before = log.scrollTop;
        log.scrollTop += 300;
    }
    return found;
}"""

# How many messages are drawn at places from the first to the last.
SCROLL_ALL = """async log => {
    const drawn = [];
    for (let part = 0; part <= 50; part++) {
        log.scrollTop = log.scrollHeight * part / 60;
        for (let more = 3; more; more--) await new Promise(requestAnimationFrame);
        drawn.push(log.querySelectorAll("article").length);
    }
    return drawn;
}"""

# Scrolls up to where older messages are loaded, and follows the first message in view through all frames until they are
# there; how far it has moved at most, in pixels, and how far one can scroll up then.
FOLLOW = """async log => {
    const rows = () => [...log.querySelectorAll("[data-key]")].filter(row => row.querySelector("article"));
    const top = row => row.getBoundingClientRect().top;
    const frame = () => new Promise(requestAnimationFrame);
    const frames = async count => { while (count--) await frame(); };
    log.scrollTop = 900;
    await frames(5);
    const [first] = rows();
    log.scrollTop = 390;
    await frame();
    const edge = log.getBoundingClientRect().top;
    const { key } = rows().find(row => top(row) >= edge).dataset;
    const find = () => rows().find(row => row.dataset.key === key);
    const begin = top(find());
    let moved = 0;
    for (let more = 10; more; more -= rows()[0].dataset.key !== first.dataset.key) {
        await frame();
        moved = Math.max(moved, find() ? Math.abs(top(find()) - begin) : Infinity);
    }
    return [moved, log.scrollTop];
}"""


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with serve(tmp_path_factory.mktemp("history"), FAST, *OPTIONS, target="tests.support.staged:app") as running:
        yield running


Tell = Callable[[str, int], None]


@pytest.fixture
def tell(server: Server) -> Tell:
    """Fills a room with so many messages of three people over some days, longer and shorter ones."""

    def event(number: int, count: int) -> dict[str, Any]:
        at = MIDNIGHT_MS + number * 3 * DAY_MS // count
        text = f"line {number}. {SENTENCE * (number % 4)}"
        return {"type": "message", "username": PEOPLE[number // 3 % 3], "text": text, "messageId": f"m-{number}"} | {
            "timestamp": at
        }

    def fill(room: str, count: int) -> None:
        events = [event(number, count) for number in range(1, count + 1)]
        with chatting(f"{server.ws}/ws") as chatter:
            chatter.join(room, "eve")
            for first in range(0, count, 200):
                chatter.send(type="tell", events=events[first : first + 200], id=first)
                chatter.until("ok")

    return fill


def to_beginning(tab: Tab) -> None:
    """Scrolls up until nothing older can be had."""
    tab.page.bring_to_front()
    for _ in range(MOST_PAGES):
        if tab.beginning.is_visible():
            break
        tab.log.evaluate(TO_TOP)
        expect(tab.log).to_have_attribute("aria-busy", "false")
    expect(tab.beginning).to_be_in_viewport()


# Reading back


def test_what_one_reads_stays_in_its_place_while_older_messages_come(
    server: Server, open_tab: OpenTab, room: str, tell: Tell
) -> None:
    tell(room, 220)
    ada = open_tab().enter(server.http, "ada", room)
    expect(ada.texts.last).to_contain_text("line 220.")
    for _ in range(4):
        moved, left = ada.log.evaluate(FOLLOW)
        assert moved < 1
        assert left > 390


def test_one_can_read_back_to_the_beginning_and_each_message_is_there_once(
    server: Server, open_tab: OpenTab, room: str, tell: Tell
) -> None:
    tell(room, 220)
    ada = open_tab().enter(server.http, "ada", room)
    to_beginning(ada)
    expect(ada.beginning).to_have_text(f"Here {room} begins")
    assert ada.log.evaluate(READ) == list(range(1, 221))


def test_a_log_that_holds_no_more_says_so(server: Server, open_tab: OpenTab, room: str, tell: Tell) -> None:
    tell(room, 1100)  # of which the server holds 1,000
    ada = open_tab().enter(server.http, "ada", room)
    ada.search_all("line 1099.")
    expect(ada.summary).to_have_text("1 found in all 1000 messages", timeout=15_000)
    to_beginning(ada)
    expect(ada.beginning).to_have_text("What was said before is no longer kept")


def test_each_day_begins_with_its_name(server: Server, open_tab: OpenTab, room: str, tell: Tell) -> None:
    tell(room, 9)
    ada = open_tab().enter(server.http, "ada", room)
    ada.say("now")
    dates = [f"{day} November 2023" for day in ("Wednesday, 15", "Thursday, 16", "Friday, 17", "Saturday, 18")]
    expect(ada.days).to_have_text([*dates, "Today"])


def test_who_reads_back_stays_there_is_told_of_what_is_new_and_comes_to_it(
    server: Server, open_tab: OpenTab, room: str, tell: Tell
) -> None:
    tell(room, 100)
    ada = open_tab().enter(server.http, "ada", room)
    expect(ada.down).to_have_count(0)
    ada.log.hover()
    ada.page.mouse.wheel(0, -600)
    expect(ada.down).to_be_visible()
    bob = open_tab().enter(server.http, "bob", room)
    ada.page.bring_to_front()
    place = ada.texts.nth(10).bounding_box()
    bob.say("news")
    expect(ada.down).to_have_text("To the newest message 1 new")
    assert ada.texts.nth(10).bounding_box() == place
    ada.down.click()
    expect(ada.texts.last).to_have_text("news")
    expect(ada.texts.last).to_be_in_viewport(ratio=1)
    expect(ada.down).to_have_count(0)
    ada.page.mouse.wheel(0, -600)
    expect(ada.down).to_be_visible()
    ada.say("mine")
    expect(ada.texts.last).to_have_text("mine")
    expect(ada.texts.last).to_be_in_viewport(ratio=1)


@pytest.mark.timeout(120)
def test_ten_thousand_messages_are_loaded_searched_and_scrolled_through_with_few_of_them_drawn(
    server: Server, open_tab: OpenTab, room: str, tell: Tell
) -> None:
    tell(f"long {room}", 10_000)
    ada = open_tab().enter(server.http, "ada", f"long {room}")
    ada.search_all("line 77.")
    expect(ada.summary).to_have_text("1 found in all 10000 messages", timeout=90_000)
    ada.matches.first.get_by_role("button").click()
    expect(ada.page.locator(".row.shown .text")).to_contain_text("line 77.")
    expect(ada.page.locator(".row.shown")).to_be_in_viewport(ratio=1)
    drawn = ada.log.evaluate(SCROLL_ALL)
    assert max(drawn) < 100
    assert min(drawn) > 3
    ada.down.click()
    expect(ada.texts.last).to_contain_text("line 10000.")
    expect(ada.texts.last).to_be_in_viewport(ratio=1)


# Who has seen it


def test_who_has_read_how_far_is_shown_under_ones_own_messages_as_it_happens(
    server: Server, open_tab: OpenTab, room: str, ada: Tab, bob: Tab
) -> None:
    ada.say("one")
    expect(ada.message_row("one").locator(".seen")).to_have_text("Seen by bob")
    bob.look_away()
    ada.say("two")
    expect(bob.texts).to_have_text(["one", "two"])
    carol = open_tab().enter(server.http, "carol", room)
    expect(ada.message_row("two").locator(".seen")).to_have_text("Seen by carol")
    expect(ada.message_row("one").locator(".seen")).to_have_text("Seen by bob")
    expect(carol.seen).to_have_count(0)
    bob.look_back()
    expect(ada.message_row("two").locator(".seen")).to_have_text("Seen by bob, carol")
    expect(ada.seen).to_have_count(1)
    ada.go(f"{room} b")
    expect(ada.title).to_have_text(f"{room} b")
    ada.page.go_back()
    expect(ada.message_row("two").locator(".seen")).to_have_text("Seen by bob, carol")


def test_what_comes_while_one_reads_further_up_is_seen_once_one_goes_there(
    server: Server, room: str, ada: Tab, bob: Tab
) -> None:
    with chatting(f"{server.ws}/ws") as eve:
        eve.join(room, "eve")
        for number in range(60):
            eve.send(type="message", text=f"line {number}. {SENTENCE * 3}")
        expect(bob.texts.last).to_contain_text("line 59.")
    bob.log.evaluate("log => log.scrollTop = 0")
    expect(bob.down).to_be_visible()
    ada.say("look")
    expect(bob.down).to_contain_text("1 new")
    ada.say("here")
    expect(bob.down).to_contain_text("2 new")
    expect(ada.seen.filter(has_text="bob")).to_have_count(0)
    bob.down.click()
    expect(ada.message_row("here").locator(".seen")).to_have_text("Seen by bob")


# Changing what was said


def test_what_one_said_can_be_edited_and_is_seen_by_the_other_at_once(ada: Tab, bob: Tab) -> None:
    ada.say("helo")
    bob.say("mine")
    expect(bob.texts).to_have_text(["helo", "mine"])
    expect(bob.message("helo").get_by_role("button")).to_have_count(0)
    ada.act("helo", "Edit")
    ada.edit.fill("hello")
    ada.edit.press("Enter")
    for tab in (ada, bob):
        expect(tab.texts).to_have_text(["hello", "mine"])
        expect(tab.message("hello")).to_contain_text("edited")
    expect(ada.text).to_be_focused()


def test_what_one_said_can_be_deleted_once_one_is_sure(ada: Tab, bob: Tab) -> None:
    ada.say("hello")
    ada.act("hello", "Delete")
    ada.page.get_by_role("button", name="Keep").click()
    expect(ada.texts).to_have_text(["hello"])
    ada.delete("hello")
    for tab in (ada, bob):
        expect(tab.texts).to_have_text(["This message was deleted"])
    expect(ada.message("deleted").get_by_role("button")).to_have_count(0)
    expect(ada.text).to_be_focused()


def test_what_was_changed_is_seen_by_who_comes_later_and_by_who_loads_older_messages(
    server: Server, open_tab: OpenTab, room: str, ada: Tab, tell: Tell
) -> None:
    for text in ("first", "second"):
        ada.say(text)
    expect(ada.own).to_have_text(["first", "second"])
    tell(room, 70)
    expect(ada.texts.last).to_contain_text("line 70.")
    to_beginning(ada)
    ada.act("first", "Edit")
    ada.edit.fill("1st")
    ada.edit.press("Enter")
    expect(ada.message("1st")).to_contain_text("edited")
    ada.delete("second")
    expect(ada.texts.nth(1)).to_have_text("This message was deleted")
    bob = open_tab().enter(server.http, "bob", room)
    expect(bob.texts.last).to_contain_text("line 70.")
    to_beginning(bob)
    expect(bob.texts.first).to_have_text("1st")
    expect(bob.texts.nth(1)).to_have_text("This message was deleted")


def test_what_was_changed_while_one_was_away_is_seen_on_return(
    server: Server, open_tab: OpenTab, room: str, ada: Tab
) -> None:
    line = Line()
    bob = open_tab(script=line).enter(server.http, "bob", room)
    for text in ("one", "two"):
        ada.say(text)
    expect(bob.texts).to_have_text(["one", "two"])
    line.cut()
    expect(bob.retry).to_be_visible()
    ada.act("one", "Edit")
    ada.edit.fill("uno")
    ada.edit.press("Enter")
    ada.delete("two")
    changed = ["uno", "This message was deleted"]
    expect(ada.texts).to_have_text(changed)
    expect(bob.texts).to_have_text(["one", "two"])
    line.mend()
    bob.retry.click()
    expect(bob.texts).to_have_text(changed)


def test_what_another_said_cannot_be_changed_by_a_page_that_takes_it_for_its_own(
    server: Server, open_tab: OpenTab, room: str, ada: Tab
) -> None:
    ada.say("mine")
    expect(ada.own).to_have_text(["mine"])
    eve = open_tab().open(server.http, room)
    eve.page.evaluate("own => sessionStorage.setItem('hubbub.own', own)", ada.stored("own"))
    eve.page.reload()
    eve.enter(server.http, "ada", room)
    expect(eve.own).to_have_text(["mine"])  # it believes that
    eve.act("mine", "Edit")
    eve.edit.fill("yours")
    eve.edit.press("Enter")
    expect(eve.message("").get_by_role("alert")).to_have_text("Only your own messages can be changed")
    eve.edit.press("Escape")
    for tab in (ada, eve):
        expect(tab.texts).to_have_text(["mine"])
