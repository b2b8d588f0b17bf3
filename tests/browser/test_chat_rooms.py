"""The chat's rooms in Chromium: links that lead to them, who types in them, and what is told of them elsewhere."""

from __future__ import annotations

import re
from contextlib import ExitStack

from playwright.sync_api import BrowserContext, expect

from tests.browser.conftest import OpenTab
from tests.browser.line import Line
from tests.browser.tab import Tab
from tests.support.chatter import chatting
from tests.support.server import Server

# Notes down each notification that the page shows.
NOTE = """
    globalThis.told = [];
    globalThis.Notification = class extends Notification {
        constructor(title, options) {
            super(title, options);
            told.push({ title, body: options.body, click: () => this.onclick() });
        }
    };
"""


def told(tab: Tab) -> list[list[str]]:
    found: list[list[str]] = tab.page.evaluate("told.map(({ title, body }) => [title, body])")
    return found


# Links


def test_a_link_leads_to_a_room_and_the_way_back_to_the_one_before(
    server: Server, open_tab: OpenTab, room: str, ada: Tab
) -> None:
    ada.say("in the first")
    expect(ada.own).to_have_text(["in the first"])
    ada.page.evaluate("room => { location.hash = encodeURIComponent(room); }", f"{room} / 100 % ö")
    expect(ada.title).to_have_text(f"{room} / 100 % ö")
    ada.say("in the second")
    expect(ada.own).to_have_text(["in the second"])
    ada.page.go_back()
    expect(ada.title).to_have_text(room)
    expect(ada.own).to_have_text(["in the first"])
    ada.page.reload()
    ada.expect_connected()
    expect(ada.title).to_have_text(room)
    link = ada.rooms.last.get_attribute("href")
    bob = open_tab()
    bob.page.goto(f"{server.http}/{link}")
    bob.name.fill("bob")
    bob.page.get_by_role("button", name="Enter").click()
    expect(bob.title).to_have_text(f"{room} / 100 % ö")
    expect(bob.texts).to_have_text(["in the second"])


# Who types


def test_several_who_type_are_told_of_together(server: Server, room: str, ada: Tab) -> None:
    with ExitStack() as stack:
        people = [stack.enter_context(chatting(f"{server.ws}/ws")) for _ in range(4)]
        for person, name in zip(people, ("bob", "carol", "dave", "eve"), strict=True):
            person.join(room, name)
        expect(ada.members).to_have_count(5)
        for person in people[:3]:
            person.send(type="typing")
        expect(ada.typing).to_have_text("bob, carol and dave are typing…")
        expect(ada.page.locator(".members .types")).to_have_text(["bob", "carol", "dave"])
        people[3].send(type="typing")
        expect(ada.typing).to_have_text("Several people are typing…")
        people[0].send(type="message", text="hello")
        expect(ada.typing).to_have_text("carol, dave and eve are typing…")


# Elsewhere


def test_what_is_edited_or_deleted_elsewhere_is_not_unread(ada: Tab, bob: Tab, room: str) -> None:
    bob.say("one")
    bob.say("two")
    expect(ada.texts).to_have_text(["one", "two"])
    ada.go(f"{room} b")
    expect(ada.title).to_have_text(f"{room} b")
    bob.delete("one")
    bob.act("two", "Edit")
    bob.edit.fill("2")
    bob.edit.press("Enter")
    bob.say("three")
    expect(ada.rooms.first).to_contain_text("1 unread")
    expect(ada.page).to_have_title(f"(1) {room} b · Hubbub")
    ada.rooms.first.click()
    expect(ada.texts).to_have_text(["This message was deleted", "2", "three"])


def test_who_looks_elsewhere_is_notified_of_what_others_say_and_a_click_leads_there(
    context: BrowserContext, server: Server, open_tab: OpenTab, room: str
) -> None:
    context.grant_permissions(["notifications"])
    ada, bob = open_tab(), open_tab()
    ada.page.add_init_script(NOTE)
    bob.enter(server.http, "bob", room).say("before she came")
    ada.enter(server.http, "ada", room).go(f"{room} b")
    expect(ada.title).to_have_text(f"{room} b")
    bob.say("while she looks")
    expect(ada.rooms.first).to_contain_text("unread")
    assert told(ada) == []
    ada.look_away()
    bob.say("one")
    bob.say("two")
    ada.page.wait_for_function("() => told.length === 2")
    assert told(ada) == [[room, "bob: one"], [room, "bob: two"]]
    expect(ada.page).to_have_title(re.compile(r"^\(\d\) "))
    ada.page.evaluate("told[0].click()")
    ada.look_back()
    expect(ada.title).to_have_text(room)
    expect(ada.page).to_have_title(f"{room} · Hubbub")


def test_what_was_said_before_one_came_is_no_news_and_what_was_missed_is(
    context: BrowserContext, server: Server, open_tab: OpenTab, room: str, ada: Tab
) -> None:
    context.grant_permissions(["notifications"])
    ada.say("before")
    line = Line()
    bob = open_tab(script=line)
    bob.page.add_init_script(f"{NOTE} Object.defineProperty(document, 'hidden', {{ value: true }});")
    bob.enter(server.http, "bob", room)
    expect(bob.texts).to_have_text(["before"])
    line.cut()
    expect(bob.retry).to_be_visible()
    ada.say("while he was away")
    expect(ada.own).to_have_count(2)
    line.mend()
    bob.retry.click()
    expect(bob.texts).to_have_count(2)
    assert told(bob) == [[room, "ada: while he was away"]]


def test_notifications_are_asked_for_with_a_button_and_without_permission_none_are_shown(
    context: BrowserContext, server: Server, open_tab: OpenTab, room: str, ada: Tab
) -> None:
    bob = open_tab()
    bob.page.add_init_script(
        NOTE + "Object.defineProperty(Notification, 'permission', { get: () => globalThis.given ?? 'default' });"
        "Notification.requestPermission = async () => (globalThis.given = 'granted');"
    )
    bob.enter(server.http, "bob", room).look_away()
    ada.say("unheard")
    expect(bob.page).to_have_title(f"(1) {room} · Hubbub")
    assert told(bob) == []
    bob.page.get_by_role("button", name="Notify me").click()
    expect(bob.page.get_by_role("button", name="Notify me")).to_have_count(0)
    ada.say("heard")
    bob.page.wait_for_function("() => told.length === 1")
    assert told(bob) == [[room, "ada: heard"]]
