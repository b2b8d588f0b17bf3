"""The page that shows the HTTP API, in Chromium: with nothing from elsewhere, and nothing to complain of."""

from playwright.sync_api import BrowserContext, expect

from tests.support.server import Server


def test_the_page_shows_each_operation(context: BrowserContext, said: list[str], server: Server) -> None:
    page = context.new_page()
    page.goto(f"{server.http}/docs")
    operation = page.locator("#sendMessage")
    expect(operation.get_by_role("heading", level=2)).to_have_text("POST /api/rooms/{room}/messages")
    expect(operation).to_contain_text("Idempotency-Key")
    document = page.request.get(f"{server.http}/openapi.json").json()
    count = sum(method in path for path in document["paths"].values() for method in ("get", "put", "post", "delete"))
    expect(page.get_by_role("navigation", name="Operations").get_by_role("link")).to_have_count(count)
    expect(page.locator("#failure")).to_be_empty()
