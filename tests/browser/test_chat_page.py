"""The chat's page in Chromium: people chat, come and go, and it stays calm when the server does not."""

import signal
from pathlib import Path

import pytest
from playwright.sync_api import Browser, BrowserContext, expect

from tests.browser.conftest import OpenTab
from tests.browser.scripted import ScriptedServer
from tests.browser.tab import Tab
from tests.support.server import CHAT, Server, serve

SCRIPT = "<script>hacked = 1</script>"
IMAGE = "<img src=x onerror=hacked=1>"


@pytest.fixture(scope="module")
def page(server: Server, browser: Browser) -> Tab:
    """Somewhere to call the page's own functions, which remember nothing."""
    return Tab(browser.new_page()).open(server.http, "lobby")


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


def test_a_chat_leaves_nothing_on_the_console(ada: Tab, bob: Tab) -> None:
    ada.say("hello")
    expect(bob.texts).to_have_text(["hello"])
    ada.page.reload()
    expect(bob.notices).to_have_text(["ada left", "ada joined"])
    assert ada.console + bob.console == []


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


def test_a_phone_shows_the_whole_page_in_its_width(server: Server, open_tab: OpenTab) -> None:
    tab = open_tab(width=360, height=640).enter(server.http, "W" * 30, "W" * 50)
    tab.say("W" * 2000)
    expect(tab.texts).to_have_text(["W" * 2000])
    expect(tab.send).to_be_in_viewport(ratio=1)
    for part in ("html", "#log"):
        assert tab.page.locator(part).evaluate("element => element.scrollWidth") == 360


# Rooms


def test_a_link_to_a_room_fills_the_form(server: Server, open_tab: OpenTab) -> None:
    tab = open_tab().open(server.http, "caffè & più")
    expect(tab.room).to_have_value("caffè & più")


def test_switching_rooms_leaves_one_and_joins_the_other(ada: Tab, bob: Tab, room: str) -> None:
    ada.go(f"{room} b")
    expect(ada.title).to_have_text(f"{room} b")
    expect(ada.members).to_have_text(["ada"])
    expect(bob.notices).to_have_text(["ada left"])
    expect(bob.members).to_have_text(["bob"])
    bob.say("is anybody here?")
    ada.rooms.filter(has_text=room).first.click()
    expect(ada.members).to_have_text(["bob", "ada"])
    expect(bob.members).to_have_text(["bob", "ada"])


def test_who_switches_back_finds_the_lines_and_what_was_said_meanwhile(ada: Tab, bob: Tab, room: str) -> None:
    bob.say("before")
    expect(ada.texts).to_have_text(["before"])
    ada.go(f"{room} b")
    expect(bob.notices).to_have_text(["ada left"])
    expect(ada.texts).to_have_count(0)
    bob.say("meanwhile")
    expect(bob.texts).to_have_count(2)
    ada.page.go_back()
    expect(ada.texts).to_have_text(["before", "meanwhile"])


def test_visited_rooms_are_listed_in_every_tab_of_the_browser(
    server: Server, open_tab: OpenTab, ada: Tab, room: str
) -> None:
    ada.go(f"{room} b")
    expect(ada.rooms).to_have_text([room, f"{room} b"])
    expect(ada.rooms.last).to_have_attribute("aria-current", "page")
    other = open_tab().enter(server.http, "bob", f"{room} c")
    expect(other.rooms).to_have_text([room, f"{room} b", f"{room} c"])
    expect(ada.rooms).to_have_text([room, f"{room} b", f"{room} c"])


def test_a_name_that_the_server_refuses_leads_back_to_the_form(ada: Tab) -> None:
    ada.go("a*b")
    expect(ada.refusal).to_have_text("Names must not hold '*'")
    expect(ada.name).to_have_value("ada")
    expect(ada.room).to_have_value("a*b")


def test_what_still_comes_from_the_room_before_is_not_shown(alone: Tab, script: ScriptedServer, room: str) -> None:
    alone.go("b")
    expect(alone.title).to_have_text("b")
    script.send("user_left", room=room, username="ada", memberCount=0)
    script.say("eve", "too late", room=room)
    info = {"members": ["eve"], "count": 1, "epoch": "e", "seq": 0, "head": 0, "recovered": None, "messages": []}
    script.send("room_info", id=1, room=room, **info)
    script.say("eve", "here", room="b")
    expect(alone.texts).to_have_text(["here"])
    expect(alone.title).to_have_text("b")
    expect(alone.members).to_have_text(["ada"])


def test_the_newest_line_is_in_view_unless_the_reader_has_scrolled_up(alone: Tab, script: ScriptedServer) -> None:
    for number in range(30):
        script.say("eve", f"line {number}")
    expect(alone.texts.last).to_be_in_viewport(ratio=1)
    alone.page.set_viewport_size({"width": 360, "height": 480})
    expect(alone.texts.last).to_be_in_viewport(ratio=1)
    alone.texts.first.scroll_into_view_if_needed()
    expect(alone.texts.first).to_be_in_viewport(ratio=1)
    script.say("eve", "news")
    expect(alone.texts).to_have_count(31)
    expect(alone.texts.first).to_be_in_viewport(ratio=1)
    expect(alone.texts.last).not_to_be_in_viewport()


# Who is here, who is typing


def test_who_reloads_is_back_and_the_other_sees_it_leave_and_join(ada: Tab, bob: Tab) -> None:
    ada.page.reload()
    ada.expect_connected()
    expect(bob.notices).to_have_text(["ada left", "ada joined"])
    expect(bob.members).to_have_text(["bob", "ada"])
    expect(ada.members).to_have_text(["bob", "ada"])


def test_who_leaves_is_gone_at_once(ada: Tab, bob: Tab) -> None:
    ada.page.get_by_role("button", name="Leave").click()
    expect(ada.name).to_have_value("ada")
    expect(bob.notices).to_have_text(["ada left"])
    expect(bob.members).to_have_text(["bob"])


def test_a_count_stands_for_names_that_are_not_known_any_more(
    server: Server, open_tab: OpenTab, script: ScriptedServer, room: str
) -> None:
    script.members = ["bob", "eve"]
    tab = open_tab(script=script).enter(server.http, "ada", room)
    expect(tab.members).to_have_text(["bob", "eve", "ada"])
    script.send("member_count", memberCount=1500)
    expect(tab.count).to_have_text("1500")
    expect(tab.members).to_have_text(["ada", "and 1499 more"])


def test_a_small_room_is_asked_for_the_names_behind_a_count(alone: Tab, script: ScriptedServer, room: str) -> None:
    script.send("member_count", memberCount=3)
    expect(alone.count).to_have_text("3")
    (asked,) = script.all("presence")
    script.send("ok", id=asked["id"], room=room, members=["bob", "ada", "eve"], count=3)
    expect(alone.members).to_have_text(["bob", "ada", "eve"])


def test_typing_is_shown_to_the_other_only_and_for_three_seconds(
    server: Server, open_tab: OpenTab, room: str, ada: Tab
) -> None:
    bob = open_tab(frozen=True).enter(server.http, "bob", room)
    ada.text.press_sequentially("he")
    expect(bob.typing).to_have_text("ada is typing…")
    expect(ada.typing).to_have_text("")
    bob.page.clock.run_for(2999)
    expect(bob.typing).to_have_text("ada is typing…")
    bob.page.clock.run_for(1)
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
    alone.page.clock.run_for(1999)
    alone.text.press_sequentially("c")
    alone.text.press("Enter")
    alone.page.clock.run_for(1)
    alone.text.press_sequentially("d")
    alone.text.press("Enter")
    expect(alone.texts).to_have_text(["abc", "d"])
    assert script.received == ["join", "typing", "message", "typing", "message"]


def test_blanks_are_not_sent(alone: Tab, script: ScriptedServer) -> None:
    alone.say("  ")
    alone.say("hello")
    expect(alone.texts).to_have_text(["hello"])
    assert script.received == ["join", "typing", "message"]


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


def test_markup_in_rooms_is_shown_as_text(server: Server, open_tab: OpenTab) -> None:
    tab = open_tab().enter(server.http, "ada", IMAGE)
    tab.go(SCRIPT)
    expect(tab.rooms).to_have_text([IMAGE, SCRIPT])
    expect(tab.title).to_have_text(SCRIPT)
    expect(tab.foreign).to_have_count(0)
    assert tab.page.evaluate("typeof hacked") == "undefined"


def test_the_page_forbids_scripts_that_are_not_its_own(server: Server, open_tab: OpenTab, room: str) -> None:
    tab = open_tab().open(server.http, room)
    policy = tab.page.locator("meta[http-equiv=Content-Security-Policy]")
    expect(policy).to_have_attribute("content", "default-src 'self'; connect-src 'self' ws: wss:")


# The connection


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
    tab.page.clock.run_for(150)
    expect(tab.countdown).to_have_text("Next try in 1 s")
    tab.page.clock.run_for(1000)
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


def test_a_text_that_the_server_refuses_comes_back_with_the_reason(alone: Tab, script: ScriptedServer) -> None:
    script.mute = True
    alone.say("a thought")
    expect(alone.text).to_have_value("")
    script.send("error", code="invalid_message", message="That is no message", id=script.commands[-1]["id"])
    expect(alone.notices).to_have_text(["That is no message"])
    expect(alone.texts).to_have_count(0)
    expect(alone.text).to_have_value("a thought")


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
    alone.page.clock.run_for(120_000)
    expect(alone.status).to_have_text(words)
    expect(alone.countdown).to_have_text("")
    assert len(script.sockets) == 1


def test_the_user_can_connect_again_after_a_final_close_code(alone: Tab, script: ScriptedServer) -> None:
    script.close(4403)
    alone.retry.click()
    alone.expect_connected()
    assert script.received == ["join", "join"]


@pytest.mark.parametrize("code", [1002, 1008, 1011, 4401, 4408])
def test_other_close_codes_are_followed_by_a_try_that_joins_the_room_again(
    alone: Tab, script: ScriptedServer, room: str, code: int
) -> None:
    script.close(code)
    expect(alone.countdown).to_have_text("Next try in 2 s")
    alone.page.clock.run_for(1150)
    alone.expect_connected()
    assert [command["room"] for command in script.all("join")] == [room, room]


def test_a_server_that_takes_and_drops_us_is_not_asked_every_second(alone: Tab, script: ScriptedServer) -> None:
    for seconds in (2, 3, 5):
        script.close(1011)
        expect(alone.countdown).to_have_text(f"Next try in {seconds} s")
        alone.page.clock.run_for(seconds * 1000)
        alone.expect_connected()


def test_a_connection_that_held_starts_the_waiting_anew(alone: Tab, script: ScriptedServer) -> None:
    script.close(1011)
    alone.page.clock.run_for(1150)
    alone.expect_connected()
    alone.page.clock.run_for(5000)
    script.close(1011)
    expect(alone.countdown).to_have_text("Next try in 2 s")


# The page's own functions


@pytest.mark.parametrize(
    ("code", "reason", "attempt", "wait"),
    [
        (1006, "", 0, 1000),
        (1012, "after=500", 0, 500),
        (1012, "after=500", 3, 8000),
        (1012, "after=60000", 3, 60000),
        (1012, "soon", 0, 1000),
        (1013, "", 0, 30000),
    ],
)
def test_the_close_code_decides_how_long_to_wait(page: Tab, code: int, reason: str, attempt: int, wait: int) -> None:
    assert page.run("retryDelay", code, reason, attempt, 0) == wait
    assert page.run("retryDelay", code, reason, attempt, 1) == pytest.approx(wait * 1.3)


@pytest.mark.parametrize(
    ("code", "reason", "wait"), [(1006, "", 1500), (1012, "after=250", 250), (1011, "", 1000), (4408, "", 1000)]
)
def test_a_connection_that_is_cut_after_it_was_to_end_comes_back_when_it_was_told(
    page: Tab, code: int, reason: str, wait: int
) -> None:
    script = """async ([code, reason]) => {
        const { lost, receive, start } = await import('./state.js');
        const told = receive(start(), { type: "reconnect", after: 2000 }, 10_000);
        const after = lost(told, code, reason, 10_500, 0);
        return [after.retryAt - 10_500, lost(after, 1006, "", 10_500, 0).retryAt - 10_500];
    }"""
    assert page.page.evaluate(script, [code, reason]) == [wait, 2000]


def test_the_wait_doubles_from_one_second_to_thirty(page: Tab) -> None:
    waits = [page.run("backoff", attempt, 0) for attempt in (0, 1, 2, 3, 4, 5, 6, 1_000_000)]
    assert waits == [1000, 2000, 4000, 8000, 16000, 30000, 30000, 30000]


def test_the_wait_has_up_to_thirty_percent_of_jitter(page: Tab) -> None:
    assert [page.run("backoff", 0, random) for random in (0, 0.5, 1)] == [1000, 1150, 1300]
    assert page.run("backoff", 9, 1) == 39000


@pytest.mark.parametrize(
    ("address", "socket"),
    [
        ("http://localhost:8080/", "ws://localhost:8080/ws?session=a.b%26c"),
        ("https://example.org/chat/index.html?a=b#lobby", "wss://example.org/chat/ws?session=a.b%26c"),
    ],
)
def test_the_socket_is_beside_the_page(page: Tab, address: str, socket: str) -> None:
    assert page.run("socketUrl", address, "a.b&c") == socket


@pytest.mark.parametrize(
    ("address", "room"),
    [("", ""), ("#lobby", "lobby"), ("#caf%C3%A9%20%26", "café &"), ("#100%", "100%"), ("#" + "a" * 60, "a" * 50)],
)
def test_the_address_names_the_room(page: Tab, address: str, room: str) -> None:
    assert page.run("roomOf", address) == room


def test_the_oldest_of_too_many_rooms_is_forgotten(page: Tab) -> None:
    rooms = [f"room {number}" for number in range(12)]
    assert page.run("remember", rooms, "room 3") == rooms
    assert page.run("remember", rooms, "one more") == [*rooms[1:], "one more"]
