"""The page that shows the HTTP API, in Chromium: with nothing from elsewhere, and nothing to complain of."""

from playwright.sync_api import BrowserContext, expect

from tests.browser.tab import Tab
from tests.support.server import Server


def test_the_page_shows_each_operation(context: BrowserContext, server: Server) -> None:
    tab = Tab(context.new_page())
    tab.page.goto(f"{server.http}/docs")
    operation = tab.page.locator("#sendMessage")
    expect(operation.get_by_role("heading", level=2)).to_have_text("POST /api/rooms/{room}/messages")
    expect(operation).to_contain_text("Idempotency-Key")
    document = tab.page.request.get(f"{server.http}/openapi.json").json()
    count = sum(method in path for path in document["paths"].values() for method in ("get", "put", "post", "delete"))
    expect(tab.page.get_by_role("navigation", name="Operations").get_by_role("link")).to_have_count(count)
    expect(tab.page.locator("#failure")).to_be_empty()
    assert tab.console == []
