"""The built pages in a browser: they run under their policy, connect, and ask nobody else for anything."""

import pytest
from playwright.sync_api import Request, expect

from tests.browser.conftest import OpenTab
from tests.support.server import Server

FIRST_LOAD_BYTES = 120 * 1024
LOADED_BYTES = """() => ["navigation", "resource"]
    .flatMap((type) => performance.getEntriesByType(type))
    .reduce((sum, { encodedBodySize }) => sum + encodedBodySize, 0)"""


@pytest.mark.parametrize("path", ["/"])
def test_a_page_runs_under_its_policy_and_asks_only_its_own_server(
    server: Server, open_tab: OpenTab, path: str
) -> None:
    page = open_tab().page
    asked: list[str] = []

    def note(request: Request) -> None:
        asked.append(request.url)

    page.on("request", note)
    page.on("websocket", lambda socket: asked.append(socket.url))
    page.goto(f"{server.http}{path}")
    expect(page.get_by_role("status")).to_contain_text("connected", ignore_case=True)
    assert f"{server.ws}/ws?session=" in asked
    assert page.evaluate(LOADED_BYTES) <= FIRST_LOAD_BYTES
    assert [url for url in asked if not url.startswith((f"{server.http}/", f"{server.ws}/"))] == []
