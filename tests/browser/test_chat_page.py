"""The chat's page in Chromium: people come, go and chat, in several rooms at once."""

from urllib.parse import quote

import pytest
from playwright.sync_api import expect

from tests.browser.conftest import OpenTab
from tests.browser.scripted import ScriptedServer
from tests.browser.tab import Tab
from tests.support.chatter import chatting
from tests.support.server import Server

SCRIPT = "<script>hacked = 1</script>"
IMAGE = "<img src=x onerror=hacked=1>"


def test_two_tabs_chat_and_see_each_other(ada: Tab, bob: Tab) -> None:
    expect(ada.members).to_have_text(["ada", "bob"])
    expect(bob.members).to_have_text(["ada", "bob"])
    expect(ada.count).to_have_text("2")
    ada.say("hello")
    expect(bob.texts).to_have_text(["hello"])
    bob.say("hi")
    for tab in (ada, bob):
        expect(tab.senders).to_have_text(["ada", "bob"])
        expect(tab.texts).to_have_text(["hello", "hi"])


def test_a_message_shows_when_the_server_got_it(alone: Tab) -> None:
    alone.say("hello")
    expect(alone.times).to_have_text(["22:13"])
    expect(alone.times).to_have_attribute("datetime", "2023-11-14T22:13:20.000Z")


def test_only_the_own_messages_stand_out_when_another_has_the_same_name(
    server: Server, open_tab: OpenTab, room: str, ada: Tab
) -> None:
    other = open_tab().enter(server.http, "ada", room)
    expect(ada.members).to_have_text(["ada", "ada"])
    ada.say("it is me")
    other.say("no, me")
    expect(ada.texts).to_have_text(["it is me", "no, me"])
    expect(ada.own).to_have_text(["it is me"])
    expect(other.own).to_have_text(["no, me"])


def test_everything_can_be_done_with_the_keyboard(server: Server, open_tab: OpenTab, room: str) -> None:
    tab = open_tab().open(server.http, room)
    expect(tab.name).to_be_focused()
    tab.page.keyboard.type("ada")
    tab.page.keyboard.press("Enter")
    tab.expect_connected()
    expect(tab.text).to_be_focused()
    tab.page.keyboard.type("hello")
    tab.page.keyboard.press("Enter")
    expect(tab.texts).to_have_text(["hello"])
    expect(tab.text).to_have_value("")


def test_blanks_are_not_sent(alone: Tab, script: ScriptedServer) -> None:
    alone.say("  ")
    alone.say("hello")
    expect(alone.texts).to_have_text(["hello"])
    assert script.received == ["join", "typing", "message"]


def test_what_is_written_and_not_sent_is_there_after_a_reload(ada: Tab, room: str) -> None:
    ada.text.fill("half a thou")
    ada.go(f"{room} b")
    expect(ada.text).to_have_value("")
    ada.rooms.first.click()
    expect(ada.text).to_have_value("half a thou")
    ada.page.reload()
    expect(ada.text).to_have_value("half a thou")


def test_what_is_searched_for_is_found_and_shown_in_its_place(ada: Tab) -> None:
    for text in ("the first line", "another", "a line like this"):
        ada.say(text)
    expect(ada.own).to_have_count(3)
    ada.page.get_by_role("button", name="Search").click()
    ada.search.fill("LINE")
    expect(ada.matches).to_have_count(2)
    ada.matches.last.get_by_role("button").click()
    expect(ada.page.locator(".row.shown .text")).to_have_text("the first line")


# Rooms


def test_two_people_chat_in_two_rooms_and_miss_nothing_in_the_other(ada: Tab, bob: Tab, room: str) -> None:
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


def test_a_room_is_left_by_its_button_and_the_other_stays(ada: Tab, bob: Tab, room: str) -> None:
    ada.go(f"{room} b")
    expect(ada.title).to_have_text(f"{room} b")
    expect(bob.notices).to_have_count(0)
    ada.page.get_by_role("button", name=f"Leave {room}", exact=True).click()
    expect(bob.notices).to_have_text(["ada left"])
    expect(bob.members).to_have_text(["bob"])
    expect(ada.title).to_have_text(f"{room} b")
    ada.page.go_back()
    expect(bob.members).to_have_text(["bob", "ada"])


def test_what_is_said_elsewhere_is_not_shown_here(alone: Tab, script: ScriptedServer, room: str) -> None:
    alone.go("b")
    expect(alone.title).to_have_text("b")
    script.say("eve", "there", room=room)
    script.say("eve", "here", room="b")
    expect(alone.texts).to_have_text(["here"])
    expect(alone.rooms.first).to_contain_text("1 unread")


def test_what_is_unread_is_counted_in_the_title_while_nobody_looks(ada: Tab, bob: Tab, room: str) -> None:
    ada.look_away()
    bob.say("one")
    bob.say("two")
    expect(ada.page).to_have_title(f"(2) {room} · Hubbub")
    ada.look_back()
    expect(ada.page).to_have_title(f"{room} · Hubbub")


@pytest.mark.parametrize("path", ["", "/index.html", "/?from=elsewhere"])
def test_a_link_to_a_room_fills_the_form(server: Server, open_tab: OpenTab, path: str) -> None:
    tab = open_tab()
    tab.page.goto(f"{server.http}{path}#{quote('caffè & più')}")
    expect(tab.room).to_have_value("caffè & più")


def test_visited_rooms_are_listed_in_every_tab_of_the_browser(
    server: Server, open_tab: OpenTab, ada: Tab, room: str
) -> None:
    ada.go(f"{room} b")
    expect(ada.rooms).to_have_text([room, f"{room} b"])
    expect(ada.rooms.last).to_have_attribute("aria-current", "page")
    other = open_tab().enter(server.http, "bob", f"{room} c")
    expect(other.rooms).to_have_text([f"{room} c", room, f"{room} b"])
    expect(ada.rooms).to_have_text([room, f"{room} b", f"{room} c"])


def test_a_room_that_cannot_be_entered_is_told_of_and_the_others_are_kept(ada: Tab, bob: Tab, room: str) -> None:
    ada.go("a*b")
    expect(ada.refusal).to_have_text("a*b: Names must not hold '*'")
    expect(ada.title).to_have_text(room)
    expect(ada.rooms).to_have_text([room])
    ada.say("still here")
    expect(bob.texts).to_have_text(["still here"])
    expect(bob.notices).to_have_count(0)
    ada.go(f"{room} b")
    expect(ada.title).to_have_text(f"{room} b")
    expect(ada.refusal).to_have_count(0)


def test_a_first_room_that_cannot_be_entered_leads_back_to_the_form(server: Server, open_tab: OpenTab) -> None:
    tab = open_tab().open(server.http, "a*b")
    tab.name.fill("ada")
    tab.page.get_by_role("button", name="Enter").click()
    expect(tab.refusal).to_have_text("Names must not hold '*'")
    expect(tab.name).to_have_value("ada")
    expect(tab.room).to_have_value("a*b")


# Who is here, who is typing


def test_who_reloads_is_back_and_the_other_sees_it_leave_and_join(ada: Tab, bob: Tab) -> None:
    ada.page.reload()
    ada.expect_connected()
    expect(bob.notices).to_have_text(["ada left", "ada joined"])
    expect(bob.members).to_have_text(["bob", "ada"])
    expect(ada.members).to_have_text(["bob", "ada"])


def test_who_leaves_is_gone_at_once(ada: Tab, bob: Tab) -> None:
    ada.page.get_by_role("button", name="Leave", exact=True).click()
    expect(ada.name).to_have_value("ada")
    expect(bob.notices).to_have_text(["ada left"])
    expect(bob.members).to_have_text(["bob"])


def test_a_count_stands_for_names_that_are_not_known_any_more(
    server: Server, open_tab: OpenTab, script: ScriptedServer, room: str
) -> None:
    script.members = ["bob", "eve"]
    tab = open_tab(script=script).enter(server.http, "ada", room)
    expect(tab.members).to_have_text(["bob", "eve", "ada"])
    script.send("member_count", room=room, memberCount=1500)
    expect(tab.count).to_have_text("1500")
    expect(tab.members).to_have_text(["ada", "and 1499 more"])


def test_a_small_room_is_asked_for_the_names_behind_a_count(alone: Tab, script: ScriptedServer, room: str) -> None:
    script.send("member_count", room=room, memberCount=3)
    expect(alone.count).to_have_text("3")
    (asked,) = script.all("presence")
    script.send("ok", id=asked["id"], room=room, members=["bob", "ada", "eve"], count=3)
    expect(alone.members).to_have_text(["bob", "ada", "eve"])


def test_typing_is_shown_to_the_other_only_and_for_four_seconds(
    server: Server, open_tab: OpenTab, room: str, ada: Tab
) -> None:
    bob = open_tab(frozen=True).enter(server.http, "bob", room)
    ada.text.press_sequentially("he")
    expect(bob.typing).to_have_text("ada is typing…")
    expect(ada.typing).to_have_text("")
    bob.wait(3999)
    expect(bob.typing).to_have_text("ada is typing…")
    bob.wait(1)
    expect(bob.typing).to_have_text("")


def test_a_message_ends_its_senders_typing(server: Server, open_tab: OpenTab, room: str, ada: Tab) -> None:
    bob = open_tab(frozen=True).enter(server.http, "bob", room)
    ada.text.press_sequentially("he")
    expect(bob.typing).to_have_text("ada is typing…")
    ada.text.press("Enter")
    expect(bob.texts).to_have_text(["he"])
    expect(bob.typing).to_have_text("")


def test_typing_is_sent_at_most_every_two_seconds(alone: Tab, script: ScriptedServer) -> None:
    alone.text.press_sequentially("ab")
    alone.wait(1999)
    alone.text.press_sequentially("c")
    alone.text.press("Enter")
    alone.wait(1)
    alone.text.press_sequentially("d")
    alone.text.press("Enter")
    expect(alone.texts).to_have_text(["abc", "d"])
    assert script.received == ["join", "typing", "message", "typing", "message"]


# Hostile words


def test_markup_in_names_and_texts_is_shown_as_text(server: Server, open_tab: OpenTab, room: str, ada: Tab) -> None:
    other = open_tab().enter(server.http, SCRIPT, room)
    expect(ada.notices).to_have_text([f"{SCRIPT} joined"])
    expect(ada.members).to_have_text(["ada", SCRIPT])
    other.text.press_sequentially(IMAGE)
    expect(ada.typing).to_have_text(f"{SCRIPT} is typing…")
    other.text.press("Enter")
    other.say(SCRIPT)
    expect(ada.senders).to_have_text([SCRIPT, SCRIPT])
    expect(ada.texts).to_have_text([IMAGE, SCRIPT])
    expect(ada.foreign).to_have_count(0)
    assert ada.page.evaluate("typeof hacked") == "undefined"


def test_control_characters_are_shown_as_the_text_that_they_are(server: Server, room: str, ada: Tab) -> None:
    text = "a\0b\a\x1b[31mc\r\nd\u202ee\u2066f</p><b>"
    with chatting(f"{server.ws}/ws") as eve:
        eve.send(type="join", room=room, username="eve")
        eve.send(type="message", room=room, text=text)
        expect(ada.texts).to_have_count(1)
        assert ada.texts.text_content() == text
    ada.say("after")
    expect(ada.texts.last).to_have_text("after")
    expect(ada.senders).to_have_text(["eve", "ada"])
    expect(ada.page.get_by_role("log").locator("b")).to_have_count(0)


@pytest.mark.parametrize(("name", "room"), [("a\x1bb", "lobby"), ("a\u202eb", "lobby"), ("ada", "a\x1bb")])
def test_control_characters_in_names_and_rooms_are_refused_in_words(
    server: Server, open_tab: OpenTab, name: str, room: str
) -> None:
    tab = open_tab().open(server.http, room)
    tab.name.fill(name)
    tab.page.get_by_role("button", name="Enter").click()
    expect(tab.refusal).to_contain_text("Names must not hold")


def test_markup_in_rooms_is_shown_as_text(server: Server, open_tab: OpenTab) -> None:
    tab = open_tab().enter(server.http, "ada", IMAGE)
    tab.go(SCRIPT)
    expect(tab.rooms).to_have_text([IMAGE, SCRIPT])
    expect(tab.title).to_have_text(SCRIPT)
    expect(tab.foreign).to_have_count(0)
    assert tab.page.evaluate("typeof hacked") == "undefined"


def test_the_page_forbids_scripts_that_are_not_its_own(ada: Tab, said: list[str]) -> None:
    ada.page.evaluate("document.body.append(Object.assign(document.createElement('script'), { text: 'hacked = 1' }))")
    ada.page.evaluate("document.body.setAttribute('onclick', 'hacked = 1')")
    ada.title.click()
    assert ada.page.evaluate("typeof hacked") == "undefined"
    # And whoever reads the console of these tests is told of it.
    assert [line for line in said if "Content Security Policy" in line] == said != []
    said.clear()


# Much to see


def test_the_newest_line_is_in_view_unless_the_reader_has_scrolled_up(alone: Tab, script: ScriptedServer) -> None:
    for number in range(30):
        script.say("eve", f"line {number}")
    expect(alone.message("line 29")).to_be_in_viewport(ratio=1)
    alone.page.set_viewport_size({"width": 360, "height": 480})
    expect(alone.message("line 29")).to_be_in_viewport(ratio=1)
    alone.log.evaluate("log => { log.scrollTop = 0; }")
    expect(alone.texts.first).to_have_text("line 0")
    script.say("eve", "news")
    expect(alone.page.get_by_text("eve: news")).to_be_attached()
    expect(alone.texts.first).to_be_in_viewport(ratio=1)
    expect(alone.message("news")).not_to_be_in_viewport()
