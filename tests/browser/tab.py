"""The chat page in a tab, in the words of who uses it."""

from __future__ import annotations

from typing import Any
from urllib.parse import quote

from playwright.sync_api import Page, expect


class Tab:
    """A tab and what is to be seen in it.

    Attributes:
        console: everything that the page complained of.
    """

    def __init__(self, page: Page) -> None:
        self.page = page
        self.console: list[str] = []
        page.on("console", lambda message: self.console.append(message.text))
        page.on("pageerror", lambda error: self.console.append(str(error)))
        self.name = page.get_by_label("Your name")
        self.room = page.get_by_label("Room", exact=True)
        self.refusal = page.get_by_role("alert")
        self.title = page.get_by_role("heading", level=1)
        self.status = page.get_by_role("status")
        self.retry = page.locator("#retry")
        self.countdown = page.locator("#countdown")
        self.rooms = page.get_by_role("navigation", name="Rooms").get_by_role("link")
        self.members = page.get_by_role("region", name="Here").get_by_role("listitem")
        self.count = page.locator("#count")
        log = page.get_by_role("log")
        self.texts = log.locator(".message > p:last-child")
        self.senders = log.locator(".message bdi")
        self.times = log.locator(".message time")
        self.own = log.locator(".own:not(.sending) > p:last-child")
        self.sending = log.locator(".sending > p:last-child")
        self.seen = log.locator(".seen")
        self.notices = log.locator(".notice p")
        self.foreign = page.locator("img[src=x], script:not([src])")
        self.typing = page.locator("#typing")
        self.text = page.get_by_label("Message", exact=True)
        self.send = page.get_by_role("button", name="Send")

    def open(self, url: str, room: str) -> Tab:
        """Goes to the page by a link to a room."""
        self.page.goto(f"{url}/#{quote(room)}")
        return self

    def enter(self, url: str, name: str, room: str) -> Tab:
        """Goes to the page and into a room."""
        self.open(url, room)
        self.name.fill(name)
        self.page.get_by_role("button", name="Enter").click()
        self.expect_connected()
        return self

    def expect_connected(self) -> None:
        """Waits until it is in a room; as long as a server takes to start, and the wait before a second try."""
        expect(self.status).to_have_text("Connected", timeout=20_000)

    def say(self, text: str) -> None:
        self.text.fill(text)
        self.text.press("Enter")

    def go(self, room: str) -> None:
        self.page.get_by_label("Another room").fill(room)
        self.page.get_by_role("button", name="Go").click()

    def look_away(self) -> None:
        """Another tab comes in front of it."""
        self._show(hidden=True)

    def look_back(self) -> None:
        """It is in front again."""
        self._show(hidden=False)

    def _show(self, *, hidden: bool) -> None:
        script = "hidden => Object.defineProperty(document, 'hidden', { configurable: true, value: hidden })"
        self.page.evaluate(script, hidden)
        self.page.evaluate("document.dispatchEvent(new Event('visibilitychange'))")

    def duplicate(self) -> Tab:
        """A tab that begins with all that this one stores."""
        with self.page.expect_popup() as popup:
            self.page.evaluate("() => void open(location.href)")
        return Tab(popup.value)

    def run(self, function: str, *arguments: Any) -> Any:
        """Calls one of the page's own functions."""
        script = "async ([name, given]) => (await import('./state.js'))[name](...given)"
        return self.page.evaluate(script, [function, list(arguments)])
