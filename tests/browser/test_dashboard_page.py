"""The dashboard's page in Chromium: what the nodes do, drawn; thresholds and a pause for all who look."""

from __future__ import annotations

import re
import signal
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, expect

from tests.browser.board import LOADING_MS, Board
from tests.support.server import FAST, ROOT, Server, serve
from tests.support.viewer import viewing

pytestmark = pytest.mark.timeout(90)

OBSERVED = "tests.support.observed:app"
OPTIONS = ("--rate-limit", "0", "--user-rate", "0")
AXE = ROOT / "web" / "node_modules" / "axe-core" / "axe.min.js"
# What Chromium itself says of a server that is down; no page can keep it from that.
UNREACHABLE = ("WebSocket connection to", "Failed to load resource: net::ERR_CONNECTION_REFUSED")

OpenBoard = Callable[..., Board]


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with serve(tmp_path_factory.mktemp("observed"), FAST, *OPTIONS, target=OBSERVED) as running:
        yield running


@pytest.fixture
def open_board(browser: Browser, server: Server) -> Iterator[OpenBoard]:
    """Opens the dashboard in browsers that share nothing; in the end none has complained of anything."""
    boards: list[Board] = []

    def open_(query: str = "", *, url: str = server.http, **options: object) -> Board:
        context = browser.new_context(locale="en-GB", timezone_id="UTC", **options)  # type: ignore[arg-type]
        boards.append(Board(context.new_page()).open(url, query))
        return boards[-1]

    yield open_
    for board in boards:
        board.page.context.close()
    assert [line for board in boards for line in board.console if not line.startswith(UNREACHABLE)] == []


@pytest.fixture
def board(open_board: OpenBoard) -> Board:
    return open_board()


# What is there


def test_the_six_values_have_their_units(board: Board) -> None:
    expect(board.value("activeUsers")).to_have_text(re.compile(r"^\d+$"))
    expect(board.value("requestsPerSecond")).to_have_text(re.compile(r"^[\d.,]+\s/s$"))
    expect(board.value("avgResponseTime")).to_have_text(re.compile(r"^[\d.,]+\sms$"))
    for metric in ("errorRate", "cpuUsage", "memoryUsage"):
        expect(board.value(metric)).to_have_text(re.compile(r"^[\d.,]+\s%$"))


def test_the_values_move_with_what_the_server_does(server: Server, board: Board) -> None:
    with viewing(server.ws), viewing(server.ws):  # with the page's own connection
        expect(board.value("activeUsers")).to_have_text("3", timeout=LOADING_MS)


def test_the_page_asks_only_its_own_server(server: Server, board: Board) -> None:
    board.range("1 h")
    assert [url for url in board.asked if url.startswith(f"{server.ws}/ws")] != []
    assert [url for url in board.asked if not url.startswith((f"{server.http}/", f"{server.ws}/"))] == []


def test_the_policy_forbids_what_is_inline(server: Server, board: Board) -> None:
    answer = board.page.request.get(f"{server.http}/dashboard/")
    assert "unsafe-inline" not in answer.headers["content-security-policy"]
    refused = "() => { const it = document.createElement('style'); document.head.append(it); return it.sheet }"
    board.page.evaluate(refused.replace("return", "it.textContent = 'p { color: red }'; return"))
    assert [line for line in board.console if "Content Security Policy" in line] != []
    board.console.clear()


# The chart


def test_the_chart_is_drawn_and_says_what_a_second_was(board: Board) -> None:
    box = board.page.locator(".u-over").bounding_box()
    assert box
    board.page.mouse.move(box["x"] + box["width"] - 2, box["y"] + 50)
    expect(board.tooltip).to_have_text(re.compile(r"^([\d.,]+\s/s|not measured)\d\d:\d\d:\d\d$"))


def test_the_chart_can_be_read_with_the_keyboard(board: Board) -> None:
    board.card("memoryUsage").click()
    expect(board.title).to_have_text("Memory")
    board.chart.focus()
    board.page.keyboard.press("End")
    expect(board.chart).to_have_attribute("aria-valuetext", re.compile(r"^\d\d:\d\d:\d\d: [\d.]+\s%$"))
    board.page.keyboard.press("Home")
    expect(board.chart).to_have_attribute("aria-valuenow", "-59")
    expect(board.tooltip).to_be_visible()


# Severity


def test_a_value_is_as_bad_as_its_threshold_says_and_everybody_sees_it(open_board: OpenBoard) -> None:
    board, other = open_board(), open_board()
    for warning, critical, word in ((0, 0.001, "Critical"), (0, 100, "Warning"), (99.8, 99.9, "OK")):
        board.set_threshold("Memory", warning, critical)
        expect(board.severity("memoryUsage")).to_have_text(word)
        expect(other.severity("memoryUsage")).to_have_text(word)
    expect(other.page.locator("form").filter(has_text="Memory").get_by_label("Warning")).to_have_value("99.8")


def test_a_threshold_that_the_server_refuses_says_why(board: Board) -> None:
    board.set_threshold("CPU", 50, 40)
    expect(board.page.get_by_role("alert")).to_have_text("A warning is 0 or more, and less than what is critical")


# The pause


@pytest.mark.parametrize("query", ["", "?transport=sse"])
def test_a_pause_holds_the_page_of_everybody(open_board: OpenBoard, query: str) -> None:
    board, other = open_board(query), open_board()
    board.pause.click()
    expect(other.held).to_contain_text("Held for everybody at")
    expect(board.held).to_have_text(other.held.inner_text())
    end = other.chart.get_attribute("aria-valuetext")
    late = open_board()
    expect(late.chart).to_have_attribute("aria-valuetext", str(end))
    other.go_on.click()
    expect(board.held).to_have_text("")
    expect(other.chart).not_to_have_attribute("aria-valuetext", str(end))


# Over SSE


def test_over_sse_the_page_is_the_same_and_opens_no_websocket(server: Server, open_board: OpenBoard) -> None:
    board = open_board("?transport=sse")
    expect(board.status).to_have_text("Connected over SSE")
    assert [url for url in board.asked if url.startswith("ws:")] == []
    board.set_threshold("Errors", 3, 7)
    with viewing(server.ws) as viewer:
        found = viewer.look("dashboard-state", history=100)["messages"]
    assert [(each["warning"], each["critical"]) for each in found if each.get("metric") == "errorRate"] == [(3, 7)]


# Coming back


def test_what_was_not_measured_is_a_gap(open_board: OpenBoard, tmp_path: Path, browser: Browser) -> None:
    log = ("--broker", f"sqlite:///{tmp_path}/log.db")
    with serve(tmp_path, FAST, *OPTIONS, *log, target=OBSERVED) as server:
        board = open_board(url=server.http)
        assert board.missing() == 0
        server.stop(signal.SIGKILL)
        expect(board.dot).to_have_css("background-color", "rgb(239, 68, 68)", timeout=LOADING_MS)
        expect(board.summary).to_contain_text("s were not measured", timeout=LOADING_MS)
        port = server.port
    with serve(tmp_path, FAST, *OPTIONS, *log, target=OBSERVED, port=port) as again:
        expect(board.dot).to_have_css("background-color", "rgb(34, 197, 94)", timeout=LOADING_MS)
        expect(board.value("activeUsers")).not_to_have_text("–", timeout=LOADING_MS)
        assert board.missing() > 0
        late = open_board(url=again.http)
        late.range("10 min")
        expect(late.summary).to_contain_text("s were not measured")


# Who looks


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_axe_finds_nothing(open_board: OpenBoard, scheme: str) -> None:
    board = open_board(color_scheme=scheme)
    board.card("cpuUsage").click()
    board.set_threshold("Memory", 0, 0.001)
    expect(board.severity("memoryUsage")).to_have_text("Critical")
    board.page.evaluate(AXE.read_text() + "; 0")
    found = board.page.evaluate("axe.run(document)")
    assert [(each["id"], [node["target"] for node in each["nodes"]]) for each in found["violations"]] == []


def test_a_phone_shows_the_whole_page_in_its_width(open_board: OpenBoard) -> None:
    board = open_board(viewport={"width": 360, "height": 640})
    assert board.page.evaluate("document.documentElement.scrollWidth") == 360
