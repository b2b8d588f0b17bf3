"""A headless Chromium, servers and tabs for the tests of pages."""

import shutil
from collections.abc import Callable, Iterator
from itertools import count
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser, BrowserContext, ConsoleMessage, sync_playwright

from tests.browser.scripted import ScriptedServer
from tests.browser.tab import Tab
from tests.support.server import CHAT, Server, serve

ARGUMENTS = (
    "--headless",
    "--no-sandbox",  # Chromium has no sandbox for root
    "--disable-gpu",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--no-first-run",
    "--disable-quic",
)
# What Chromium itself says of a server that is down, or asks who one is; no page can keep it from that.
UNREACHABLE = (
    "WebSocket connection to",
    "Failed to load resource: net::ERR_",
    "Failed to load resource: the server responded with a status of 401",
)

STANDING_CLOCK = Path(__file__).parent / "standing_clock.js"

numbers = count(1)

OpenTab = Callable[..., Tab]


# Not for the whole session: while Playwright is at work, an event loop counts as running in this thread.
@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    chromium = shutil.which("chromium")
    if chromium is None:
        pytest.fail("the browser tests need Chromium: make browser")
    with sync_playwright() as playwright:
        launched = playwright.chromium.launch(executable_path=chromium, args=ARGUMENTS)
        yield launched
        launched.close()


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with serve(tmp_path_factory.mktemp("chat"), target=CHAT) as running:
        yield running
        assert "a handler failed" not in running.log


@pytest.fixture
def context(browser: Browser) -> Iterator[BrowserContext]:
    """One person's browser: its tabs share what it stores."""
    opened = browser.new_context(locale="en-GB", timezone_id="UTC")
    yield opened
    opened.close()


def listen(context: BrowserContext, said: list[str]) -> BrowserContext:
    """Notes all that a browser's pages say on the console: errors, and what their policy forbids."""

    def note(message: ConsoleMessage) -> None:
        if not message.location["url"].endswith("/favicon.ico"):  # asked for where a test's page has no icon
            said.append(message.text)

    context.on("console", note)
    context.on("weberror", lambda error: said.append(str(error.error)))
    return context


@pytest.fixture(autouse=True)
def said(context: BrowserContext) -> Iterator[list[str]]:
    """What pages have said on the console; in the end nothing that they could have helped."""
    lines: list[str] = []
    listen(context, lines)
    yield lines
    assert [line for line in lines if not line.startswith(UNREACHABLE)] == []


@pytest.fixture
def open_tab(context: BrowserContext, said: list[str]) -> OpenTab:
    """Opens tabs; with `frozen` time stands still in them, and what they take for random is always one half."""

    def open_(*, frozen: bool = False, script: ScriptedServer | None = None, **viewport: Any) -> Tab:
        page = context.new_page()
        if viewport:
            page.set_viewport_size(viewport)  # type: ignore[arg-type]
        if frozen:
            page.add_init_script(path=STANDING_CLOCK)
        if script:
            page.route_web_socket("**/ws?session=*", script.accept)
        return Tab(page)

    return open_


@pytest.fixture
def room() -> str:
    return f"room {next(numbers)}"


@pytest.fixture
def script() -> ScriptedServer:
    return ScriptedServer()


@pytest.fixture
def elsewhere(browser: Browser, said: list[str]) -> Iterator[Tab]:
    """A tab of another person's browser, which has a network of its own."""
    context = listen(browser.new_context(locale="en-GB", timezone_id="UTC"), said)
    yield Tab(context.new_page())
    context.close()


@pytest.fixture
def ada(server: Server, open_tab: OpenTab, room: str) -> Tab:
    return open_tab().enter(server.http, "ada", room)


@pytest.fixture
def bob(server: Server, elsewhere: Tab, room: str, ada: Tab) -> Tab:
    """Somebody else, in another browser."""
    return elsewhere.enter(server.http, "bob", room)


@pytest.fixture
def alone(server: Server, open_tab: OpenTab, room: str, script: ScriptedServer) -> Tab:
    """A tab in which time stands still, with the scripted server."""
    return open_tab(frozen=True, script=script).enter(server.http, "ada", room)
