"""The chat's page in a tab, in the words of who uses it."""

from __future__ import annotations

from urllib.parse import quote

from playwright.sync_api import Locator, Page, expect


class Tab:
    """A tab and what is to be seen in it."""

    def __init__(self, page: Page) -> None:
        self.page = page
        self.name = page.get_by_label("Your name")
        self.room = page.get_by_label("Room", exact=True)
        self.token = page.get_by_label("Token")
        self.refusal = page.get_by_role("alert")
        self.title = page.get_by_role("heading", level=1)
        self.status = page.get_by_role("status")
        self.retry = page.locator(".connection button")
        self.countdown = page.locator(".countdown")
        self.rooms = page.get_by_role("navigation", name="Rooms").get_by_role("link")
        self.members = page.get_by_role("region", name="Here").get_by_role("listitem")
        self.count = page.locator(".members .count")
        self.log = page.get_by_role("log")
        self.texts = self.log.locator(".message .text")
        self.senders = self.log.locator(".message bdi")
        self.times = self.log.locator(".message time")
        self.own = self.log.locator(".own:not(.sending) .text")
        self.sending = self.log.locator(".sending .text")
        self.failed = self.log.locator(".failed")
        self.state = self.log.locator(".sending .state")
        self.seen = self.log.locator(".seen")
        self.notices = self.log.locator(".notice p")
        self.days = self.log.locator(".day")
        self.foreign = page.locator("img[src=x], script:not([src])")
        self.typing = page.locator("p.typing")
        self.text = page.get_by_label("Message", exact=True)
        self.send = page.get_by_role("button", name="Send", exact=True)
        self.beginning = self.log.locator(".beginning")
        self.down = page.get_by_role("button", name="To the newest message")
        self.menu = page.get_by_role("button", name="Rooms and members")
        self.edit = page.get_by_label("Edit message")
        self.summary = page.get_by_role("search").locator("p")
        self.search = page.get_by_label("Search this room")
        self.matches = page.get_by_role("search").get_by_role("listitem")

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

    def message(self, text: str) -> Locator:
        """The message of this text."""
        return self.page.get_by_role("article").filter(has_text=text)

    def say(self, text: str) -> None:
        self.text.fill(text)
        self.text.press("Enter")

    def go(self, room: str) -> None:
        self.page.get_by_label("Another room").fill(room)
        self.page.get_by_role("button", name="Go").click()

    def go_by_menu(self, room: str) -> None:
        """The same on a phone, where the rooms are shown when they are asked for."""
        self.menu.click()
        self.go(room)
        expect(self.title).to_have_text(room)

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

    def wait(self, ms: int) -> None:
        """Time goes on, where it stands still otherwise."""
        self.page.evaluate("ms => pass(ms)", ms)

    def duplicate(self) -> Tab:
        """A tab that begins with all that this one stores."""
        with self.page.expect_popup() as popup:
            self.page.evaluate("() => void open(location.href)")
        return Tab(popup.value)

    def message_row(self, text: str) -> Locator:
        """The message of this text, with what stands under it."""
        return self.page.locator(".row").filter(has=self.page.locator(".text").get_by_text(text, exact=True))

    def act(self, text: str, name: str) -> None:
        """Presses a button of a message; a tab that is not in front is drawn three times a second only."""
        self.page.bring_to_front()
        self.message(text).hover()
        self.message(text).get_by_role("button", name=name).click()

    def delete(self, text: str) -> None:
        """Deletes a message, and is sure of it."""
        self.act(text, "Delete")
        self.page.get_by_role("group", name="Delete").get_by_role("button", name="Delete").click()

    def search_all(self, words: str) -> None:
        """Searches to the room's beginning."""
        self.page.get_by_role("button", name="Search", exact=True).click()
        self.search.fill(words)
        self.page.get_by_role("button", name="Search older").click()

    def stored(self, key: str) -> str:
        """What the tab has stored under a key."""
        value: str = self.page.evaluate("key => sessionStorage.getItem(`hubbub.${key}`)", key)
        return value
