"""Pages of sites in FastAPI and Django behind nginx and HAProxy: a bare EventSource and POST, in the site's session."""

from collections.abc import Iterator
from contextlib import AbstractContextManager
from pathlib import Path

import pytest
from playwright.sync_api import Browser, expect

from tests.integration.test_mounted import running
from tests.support.certificates import Authority
from tests.support.credentials import secret
from tests.support.proxies import HAPROXY, PROXIES, Proxy, proxied
from tests.support.server import FAST, Server, serve

SAY = """async ([below, text]) => {
    const headers = { "Content-Type": "application/json" }
    const said = { method: "POST", headers, body: JSON.stringify({ text }) }
    const answer = await fetch(`${below}/api/rooms/lobby/messages`, said)
    return answer.status
}"""


def served(site: str, folder: Path) -> AbstractContextManager[Server]:
    file = folder / "cookie.secret"
    file.write_text(secret("of cookies"))
    options = ("--trusted-proxies", "127.0.0.1", "--cookie-secret-file", str(file), "--auth")
    if site == "fastapi":
        return running(folder, "uvicorn with websockets", *options, "starlette", site="tests.support.site_fastapi:site")
    return serve(folder, FAST, *options, "django", target="tests.support.site_django:app")


@pytest.fixture(params=PROXIES)
def front(request: pytest.FixtureRequest, site: str, below: str, tmp_path: Path) -> Iterator[Proxy]:
    files, name = Authority(tmp_path).issue("server"), request.param
    more = {"uri /readyz": f"uri {below}/readyz"} if name == HAPROXY else {}
    with served(site, tmp_path) as node, proxied(name, tmp_path, [node], files, more) as proxy:
        yield proxy


@pytest.mark.parametrize(("site", "page", "below"), [("fastapi", "/board", "/chat"), ("django", "/site/board", "")])
def test_who_has_logged_in_there_listens_and_speaks(front: Proxy, browser: Browser, page: str, below: str) -> None:
    with browser.new_context(ignore_https_errors=True) as context:
        board = context.new_page()
        board.goto(front.http + page)
        expect(board).to_have_title("Ada")
        for number, text in enumerate(("one", "two"), 1):
            assert board.evaluate(SAY, [below, text]) == 200
            expect(board.locator("li")).to_have_count(number)
        assert board.locator("li").all_inner_texts() == ["Ada: one", "Ada: two"]
