"""A bare EventSource in Chromium: it comes back by itself, loses nothing and gets nothing twice."""

import signal
from pathlib import Path

import pytest
from playwright.sync_api import BrowserContext, Page

from tests.browser.test_coming_back import serve_kept
from tests.support.chatter import Chatter, chatting
from tests.support.server import Server

LISTEN = """rooms => {
    window.heard = []; window.recovered = []; window.ends = []
    const events = new EventSource("/sse?" + new URLSearchParams(rooms.map(room => ["room", room])))
    const on = (type, take) => events.addEventListener(type, event => take(JSON.parse(event.data)))
    on("message", event => heard.push(event.room + " " + event.text))
    on("room_info", event => recovered.push(event.recovered))
    on("closed", event => ends.push(event.code))
}"""


def listen(context: BrowserContext, server: Server, *rooms: str) -> Page:
    """A page that listens to rooms, and knows nothing of how to come back."""
    page = context.new_page()
    page.goto(f"{server.http}/healthz")
    page.evaluate(LISTEN, rooms)
    page.wait_for_function("count => recovered.length === count", arg=len(rooms))
    return page


def say(chatter: Chatter, *rooms: str, text: str) -> None:
    for room in rooms:
        chatter.send(type="join", room=room, username="ada", keep=True)
        chatter.send(type="message", room=room, text=text)
        chatter.until("message")


@pytest.mark.parametrize(
    ("number", "rooms", "codes"),
    [(signal.SIGTERM, ("lobby",), [1012]), (signal.SIGKILL, ("lobby", "kitchen"), [])],
    ids=["one room, which is deflated, and a restart", "two rooms and a crash"],
)
def test_it_comes_back_through_a_restart_and_misses_nothing(
    tmp_path: Path, context: BrowserContext, number: signal.Signals, rooms: tuple[str, ...], codes: list[int]
) -> None:
    with serve_kept(tmp_path) as server:
        page = listen(context, server, *rooms)
        with chatting(f"{server.ws}/ws") as ada:
            say(ada, *rooms, text="before")
        page.wait_for_function("count => heard.length === count", arg=len(rooms))
        server.stop(number)
    with serve_kept(tmp_path, server.port), chatting(f"{server.ws}/ws") as ada:
        say(ada, *rooms, text="meanwhile")
        page.wait_for_function("count => recovered.length === count", arg=2 * len(rooms), timeout=20_000)
        say(ada, *rooms, text="after")
        page.wait_for_function("count => heard.length >= count", arg=3 * len(rooms))
        heard = page.evaluate("heard")
        for room in rooms:
            assert [line for line in heard if line.startswith(room)] == [
                f"{room} {text}" for text in ("before", "meanwhile", "after")
            ]
        assert page.evaluate("[recovered, ends]") == [[None] * len(rooms) + [True] * len(rooms), codes]
