"""The dashboard's page in a tab, in the words of who looks at it."""

from __future__ import annotations

from playwright.sync_api import Locator, Page, Request, expect

LOADING_MS = 20_000
LINE_AT = """share => {
    const [canvas, area] = ['.u-wrap canvas', '.u-over'].map(name => document.querySelector(name));
    const [outer, inner] = [canvas, area].map(element => element.getBoundingClientRect());
    const x = Math.round((inner.left - outer.left + share * inner.width) * canvas.width / outer.width);
    const column = Object.assign(document.createElement('canvas'), { width: 1, height: canvas.height });
    const context = column.getContext('2d', { willReadFrequently: true });
    context.drawImage(canvas, -x, 0);
    const { data } = context.getImageData(0, 0, 1, canvas.height);
    const wanted = getComputedStyle(document.body).getPropertyValue('--line').slice(1);
    const line = [0, 2, 4].map(at => parseInt(wanted.slice(at, at + 2), 16));
    const alike = at => line.every((colour, part) => Math.abs(data[at + part] - colour) < 12);
    return Array.from({ length: canvas.height }, (_, row) => row * 4).some(alike);
}"""
"""In a browser."""


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
        self.token = page.get_by_label("Token")
        self.refusal = page.get_by_role("alert")

    def go(self, url: str, query: str = "") -> Board:
        self.page.goto(f"{url}/dashboard{query}")
        return self

    def open(self, url: str, query: str = "") -> Board:
        """Goes to the page and waits until the first value is there."""
        self.go(url, query)
        return self.expect_values()

    def sign_in(self, token: str) -> None:
        self.token.fill(token)
        self.page.get_by_role("button", name="Sign in").click()

    def expect_values(self) -> Board:
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

    def threshold(self, label: str) -> tuple[float, float]:
        """The warning and the critical value that stand in the form."""
        form = self.page.locator("form").filter(has_text=label)
        warning, critical = (form.get_by_label(level).input_value() for level in ("Warning", "Critical"))
        return float(warning), float(critical)

    def drawn_at(self, share: float) -> bool:
        """Whether the chart's line is drawn at a place, 0 at the left end and 1 at the right."""
        found: bool = self.page.evaluate(LINE_AT, share)
        return found

    def reads(self, *keys: str) -> str:
        """What the chart says of the second that some keys lead to, without the time of day."""
        self.chart.focus()
        for key in keys:
            self.page.keyboard.press(key)
        return (self.chart.get_attribute("aria-valuetext") or "").partition(": ")[2]

    def missing(self) -> int:
        """How many seconds of the range were not measured."""
        return int(self.summary.get_attribute("data-missing") or 0)

    def _note(self, request: Request) -> None:
        self.asked.append(request.url)
