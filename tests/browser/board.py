"""The dashboard's page in a tab, in the words of who looks at it."""

from __future__ import annotations

from playwright.sync_api import Locator, Page, Request, expect

LOADING_MS = 20_000


class Board:
    """A tab with the dashboard.

    Attributes:
        console: everything that the page complained of.
        asked: the URLs of all requests and WebSockets.
    """

    def __init__(self, page: Page) -> None:
        self.page = page
        self.console: list[str] = []
        self.asked: list[str] = []
        page.on("console", lambda message: self.console.append(message.text))
        page.on("pageerror", lambda error: self.console.append(str(error)))
        page.on("request", self._note)
        page.on("websocket", lambda socket: self.asked.append(socket.url))
        self.status = page.get_by_role("status").first
        self.dot = page.locator(".dot")
        self.held = page.locator(".pause [role=status]")
        self.pause = page.get_by_role("button", name="Pause")
        self.go_on = page.get_by_role("button", name="Go on")
        self.title = page.locator("#chart")
        self.chart = page.get_by_role("slider")
        self.tooltip = page.locator(".tooltip")
        self.summary = page.locator(".summary")
        self.nodes = page.locator("tbody tr")

    def open(self, url: str, query: str = "") -> Board:
        """Goes to the page and waits until the first value is there."""
        self.page.goto(f"{url}/dashboard{query}")
        expect(self.status).to_contain_text("Connected", timeout=LOADING_MS)
        expect(self.value("activeUsers")).not_to_have_text("–", timeout=LOADING_MS)
        return self

    def card(self, metric: str) -> Locator:
        return self.page.locator(f".card[data-metric={metric}]")

    def value(self, metric: str) -> Locator:
        return self.card(metric).locator(".value")

    def severity(self, metric: str) -> Locator:
        return self.card(metric).locator(".severity")

    def range(self, name: str) -> None:
        self.page.get_by_text(name, exact=True).click()

    def set_threshold(self, label: str, warning: float, critical: float) -> None:
        form = self.page.locator("form").filter(has_text=label)
        form.get_by_label("Warning").fill(str(warning))
        form.get_by_label("Critical").fill(str(critical))
        form.get_by_role("button").click()

    def missing(self) -> int:
        """How many seconds of the range were not measured."""
        return int(self.summary.get_attribute("data-missing") or 0)

    def _note(self, request: Request) -> None:
        self.asked.append(request.url)
