"""Our client in TypeScript in Chromium: from a script of type module, without a build, over each of its transports."""

import subprocess
from uuid import uuid4

import pytest
from playwright.sync_api import BrowserContext, Page, Route, expect

from tests.support.server import ROOT, Server

CLIENT = ROOT / "web" / "packages" / "client"
# Beside the client, so that the Content-Security-Policy of any page allows it.
SCRIPT = """
import { connect } from "/client/hubbub.js";
const { room, transports } = Object.fromEntries(new URLSearchParams(location.search));
const hub = connect({ url: "/", ...(transports && { transports: [transports] }) });
const lobby = hub.join(room, { username: "ada" });
const heard = document.body.appendChild(document.createElement("output"));
const show = () => { document.title = `${hub.state.status} ${hub.state.transport}`; };
hub.watch(show);
show();
lobby.on("message", ({ text }) => { heard.textContent += `${text};`; });
window.lobby = lobby;
"""
NO_WEBSOCKET = """window.WebSocket = class {
    constructor() { setTimeout(() => this.onclose({ code: 1006, reason: "" })); }
    close() {}
};"""


@pytest.fixture(scope="module", autouse=True)
def built() -> None:
    subprocess.run(["node", str(CLIENT / "build.mjs")], check=True)


@pytest.fixture
def tab(context: BrowserContext) -> Page:
    """A tab whose pages find the client beside the server's own files."""

    def serve(route: Route) -> None:
        name = route.request.url.rpartition("/")[2]
        if name == "page.js":
            route.fulfill(body=SCRIPT, content_type="text/javascript")
        else:
            route.fulfill(path=CLIENT / "dist" / name)

    context.route("**/client/*.js", serve)
    return context.new_page()


def show(tab: Page, server: Server, transport: str = "") -> None:
    """A page of the server's that has nothing but the client."""
    tab.goto(f"{server.http}/healthz?room=room-{uuid4()}&transports={transport}")
    tab.add_script_tag(url="/client/page.js", type="module")


@pytest.mark.parametrize("transport", ["websocket", "stream", "poll"])
def test_a_page_chats(tab: Page, server: Server, transport: str) -> None:
    show(tab, server, transport)
    expect(tab).to_have_title(f"connected {transport}", timeout=20_000)
    assert tab.evaluate("lobby.send('hi')")["seq"] == 1
    expect(tab.get_by_role("status")).to_have_text("hi;")


def test_a_page_remembers_what_got_through(tab: Page, server: Server) -> None:
    tab.add_init_script(NO_WEBSOCKET)
    show(tab, server)
    expect(tab).to_have_title("connected stream", timeout=20_000)
    show(tab, server)
    assert tab.title().endswith(" stream")


def test_a_page_that_is_offline_sends_what_was_said_on_its_return(tab: Page, server: Server) -> None:
    show(tab, server)
    expect(tab).to_have_title("connected websocket", timeout=20_000)
    tab.context.set_offline(True)
    tab.evaluate("void lobby.send('away')")
    tab.context.set_offline(False)
    expect(tab.get_by_role("status")).to_have_text("away;", timeout=20_000)
