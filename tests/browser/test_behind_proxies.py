"""The chat page behind nginx and HAProxy, over HTTPS and HTTP/2 as Chromium chooses, with the Origin that it sends."""

from collections.abc import Iterator

import pytest
from playwright.sync_api import Browser, BrowserContext

from tests.browser.conftest import OpenTab
from tests.browser.tab import Tab
from tests.browser.test_event_source import LISTEN
from tests.support.certificates import Authority
from tests.support.proxies import PROXIES, Proxy, proxied
from tests.support.server import serve


@pytest.fixture(params=PROXIES)
def proxy(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Proxy]:
    folder = tmp_path_factory.mktemp("proxy")
    files = Authority(folder).issue("server")
    options = ("--trusted-proxies", "127.0.0.1", "--auth", "anonymous")
    with (
        serve(folder, "fast path", *options, target="tests.support.behind:app") as node,
        proxied(request.param, folder, [node], files) as running,
    ):
        yield running


@pytest.fixture
def context(browser: Browser) -> Iterator[BrowserContext]:
    """A browser that does not ask who signed the certificate."""
    opened = browser.new_context(locale="en-GB", timezone_id="UTC", ignore_https_errors=True)
    yield opened
    opened.close()


def test_two_people_chat(proxy: Proxy, open_tab: OpenTab, room: str) -> None:
    ada, bob = open_tab().enter(proxy.http, "ada", room), open_tab().enter(proxy.http, "bob", room)
    ada.say("hello")
    bob.texts.filter(has_text="hello").wait_for()
    assert bob.page.evaluate("performance.getEntriesByType('navigation')[0].nextHopProtocol") == "h2"
    assert ada.page.evaluate("isSecureContext")


def test_an_event_source_gets_each_event_as_it_comes(proxy: Proxy, context: BrowserContext, room: str) -> None:
    page = context.new_page()
    page.goto(proxy.http)
    page.evaluate(LISTEN, [room])
    page.wait_for_function("() => recovered.length === 1")
    ada = context.new_page()
    tab = Tab(ada).enter(proxy.http, "ada", room)
    for number, text in enumerate(("one", "two"), 1):
        tab.say(text)
        page.wait_for_function("count => heard.length === count", arg=number)
