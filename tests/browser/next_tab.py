"""The chat page to come in a tab, in the words of who uses it."""

from __future__ import annotations

from urllib.parse import quote

from playwright.sync_api import Locator, Page

from tests.browser.tab import Tab


class NextTab(Tab):
    """A tab and what is to be seen in it."""

    def __init__(self, page: Page) -> None:
        super().__init__(page)
        self.retry = page.locator(".connection button")
        self.countdown = page.locator(".countdown")
        self.count = page.locator(".members .count")
        log = page.get_by_role("log")
        self.texts = log.locator(".message .text")
        self.own = log.locator(".own:not(.sending) .text")
        self.sending = log.locator(".sending .text")
        self.failed = log.locator(".failed")
        self.days = log.locator(".day")
        self.typing = page.locator("p.typing")
        self.search = page.get_by_label("Search this room")
        self.matches = page.get_by_role("search").get_by_role("listitem")

    def open(self, url: str, room: str) -> NextTab:
        """Goes to the page by a link to a room."""
        self.page.goto(f"{url}/next/#{quote(room)}")
        return self

    def message(self, text: str) -> Locator:
        """The message of this text."""
        return self.page.get_by_role("article").filter(has_text=text)
