"""The dashboard's page in Chromium: what the nodes do, drawn; thresholds and a pause for all who look."""

from __future__ import annotations

import re
import signal
from collections.abc import Callable, Iterator
from pathlib import Path

import httpx
import pytest
from playwright.sync_api import Browser, WebSocketRoute, expect

from hubbub.auth.api_keys import make_key
from tests.browser.axe import complaints
from tests.browser.board import LOADING_MS, Board
from tests.browser.scripted import DEFAULTS, ScriptedBoard
from tests.support.credentials import Issuer, secret_issuer
from tests.support.observing import OBSERVED, UNLIMITED, two_nodes
from tests.support.redis import RedisServer
from tests.support.server import FAST, Server, serve
from tests.support.viewer import viewing

pytestmark = pytest.mark.timeout(90)

# What Chromium itself says of a server that is down; no page can keep it from that.
UNREACHABLE = ("WebSocket connection to", "Failed to load resource: net::ERR_CONNECTION_REFUSED")
SOCKETS = re.compile(r"/ws(\?|$)")
GREEN, YELLOW, RED = "rgb(34, 197, 94)", "rgb(234, 179, 8)", "rgb(239, 68, 68)"
# A busy machine may have missed more than the test took out; before the hour's last page is there, 199 are missing.
EIGHTY = re.compile(r"^([89]|1[01])\d$")
LABELS = {"avgResponseTime": "Response time", "errorRate": "Errors", "cpuUsage": "CPU", "memoryUsage": "Memory"}

OPERATOR, ENTRY = make_key("ops")

OpenBoard = Callable[..., Board]


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with serve(tmp_path_factory.mktemp("observed"), FAST, *UNLIMITED, target=OBSERVED) as running:
        yield running


@pytest.fixture(scope="module")
def old_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """One that has measured for an hour, but for 80 s two minutes ago."""
    with serve(tmp_path_factory.mktemp("old"), FAST, *UNLIMITED, target=OBSERVED) as running:
        with viewing(running.ws) as viewer:
            viewer.look("dashboard")
            viewer.next("metrics")
            viewer.send(type="past", seconds=3600, missing=(220, 140), id=1)
            viewer.next("ok")
        yield running


@pytest.fixture
def new_board(browser: Browser) -> Iterator[Callable[..., Board]]:
    """A tab in a browser of its own; in the end none has complained of anything."""
    boards: list[Board] = []

    def new(**options: object) -> Board:
        context = browser.new_context(locale="en-GB", timezone_id="UTC", **options)  # type: ignore[arg-type]
        boards.append(Board(context.new_page()))
        return boards[-1]

    yield new
    for board in boards:
        board.page.context.close()
    assert [line for board in boards for line in board.console if not line.startswith(UNREACHABLE)] == []


@pytest.fixture
def open_board(new_board: Callable[..., Board], server: Server) -> OpenBoard:
    """Opens the dashboard in browsers that share nothing."""

    def open_(query: str = "", *, url: str = server.http, **options: object) -> Board:
        return new_board(**options).open(url, query)

    return open_


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


def test_what_the_page_loads_is_kept_for_good_and_the_page_itself_is_asked_for_anew(
    server: Server, board: Board
) -> None:
    get = board.page.request.get
    assets = [url for url in board.asked if "/assets/" in url]
    assert {url.rpartition(".")[2] for url in assets} >= {"js", "css"}
    assert {get(url).headers["cache-control"] for url in assets} == {"public, max-age=31536000, immutable"}
    page = get(f"{server.http}/dashboard/")
    again = get(f"{server.http}/dashboard/", headers={"if-none-match": page.headers["etag"]})
    assert (page.headers["cache-control"], again.status) == ("no-cache", 304)


def test_the_policy_forbids_what_is_inline(server: Server, board: Board) -> None:
    answer = board.page.request.get(f"{server.http}/dashboard/")
    assert "unsafe-inline" not in answer.headers["content-security-policy"]
    refused = "() => { const it = document.createElement('style'); document.head.append(it); return it.sheet }"
    board.page.evaluate(refused.replace("return", "it.textContent = 'p { color: red }'; return"))
    assert [line for line in board.console if "Content Security Policy" in line] != []
    board.console.clear()


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_the_dot_says_how_the_connection_stands(server: Server, new_board: Callable[..., Board], scheme: str) -> None:
    board = new_board(color_scheme=scheme)
    board.page.clock.install(time=0)
    board.page.clock.pause_at(1000)  # so that it waits for the next try
    tries: list[WebSocketRoute] = []
    board.page.route_web_socket(SOCKETS, lambda socket: socket.connect_to_server() if tries else tries.append(socket))
    board.go(server.http)
    expect(board.status).to_have_text("Connecting…")
    expect(board.dot).to_have_css("background-color", YELLOW)
    tries[0].close(code=1011)
    expect(board.status).to_have_text("Disconnected")
    expect(board.dot).to_have_css("background-color", RED)
    expect(board.page.locator(".countdown")).to_have_text(re.compile(r"^next try in \d s$"))
    board.page.get_by_role("button", name="Try now").click()
    board.expect_values()
    expect(board.dot).to_have_css("background-color", GREEN)


def test_who_loses_the_server_asks_it_for_nothing_before_the_next_try(
    server: Server, new_board: Callable[..., Board]
) -> None:
    board, script = new_board(), ScriptedBoard()
    board.page.clock.install(time=0)
    board.page.clock.pause_at(1000)  # so that it waits for the next try
    tries: list[WebSocketRoute] = []

    def answer(socket: WebSocketRoute) -> None:
        tries.append(socket)
        script.accept(socket) if len(tries) == 1 else socket.close(code=1006)

    board.page.route_web_socket(SOCKETS, answer)
    board.go(server.http)
    expect(board.status).to_have_text("Connected")
    tries[0].close(code=1006)
    expect(board.status).to_have_text("Disconnected")
    question = f"{server.http}/api/rooms?limit=1"
    with board.page.expect_request(question):
        board.page.get_by_role("button", name="Try now").click()
    assert board.asked.count(question) == 1


# The chart


def test_the_chart_has_an_axis_of_values_and_one_of_times(server: Server, new_board: Callable[..., Board]) -> None:
    board = new_board()
    board.page.add_init_script(
        "const { prototype } = CanvasRenderingContext2D, write = prototype.fillText; window.written = new Set();"
        "prototype.fillText = function (text, ...at) { written.add(text); return write.call(this, text, ...at) }"
    )
    board.open(server.http).card("memoryUsage").click()
    expect(board.title).to_have_text("Memory")
    texts = board.page.evaluate("[...written]")
    assert {"0", "20", "40", "60", "80", "100"} <= set(texts)
    assert [text for text in texts if re.fullmatch(r"\d\d:\d\d:\d\d", text)] != []


@pytest.mark.parametrize("query", ["", "?transport=sse"])
def test_ten_minutes_and_an_hour_are_there_on_opening_with_their_gap(
    old_server: Server, open_board: OpenBoard, query: str
) -> None:
    board = open_board(query, url=old_server.http)
    board.card("memoryUsage").click()
    board.range("10 min")
    expect(board.summary).to_have_attribute("data-missing", EIGHTY)
    assert board.reads("End", "PageDown", "PageDown", "PageDown") == "not measured"
    assert (board.drawn_at(1 - 180 / 600), board.drawn_at(1 - 400 / 600)) == (False, True)
    board.range("1 h")
    expect(board.summary).to_have_attribute("data-missing", EIGHTY)
    assert board.reads("Home") == "50\u202f%"
    assert {metric: board.threshold(label) for metric, label in LABELS.items()} == DEFAULTS


@pytest.mark.parametrize("way", ["over SSE", "by polling"])
def test_where_no_websocket_gets_through_the_page_is_the_same(
    old_server: Server, new_board: Callable[..., Board], way: str
) -> None:
    board = new_board()
    board.page.route_web_socket(SOCKETS, lambda socket: socket.close(code=1006))
    if way == "by polling":  # somebody on the way lets no streams through either
        board.page.route("**/sse?*", lambda route: route.fulfill(content_type="text/html", body="Not here"))
    board.open(old_server.http)
    expect(board.status).to_have_text(f"Connected {way}")
    board.range("1 h")
    board.card("memoryUsage").click()
    expect(board.summary).to_have_attribute("data-missing", EIGHTY)
    assert board.reads("Home") == "50\u202f%"
    board.set_threshold("Memory", 0, 0.5)
    expect(board.severity("memoryUsage")).to_have_text("Critical")


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


def test_a_new_dashboard_has_these_thresholds(new_board: Callable[..., Board], tmp_path: Path) -> None:
    with serve(tmp_path, FAST, *UNLIMITED, target=OBSERVED) as server:
        board = new_board().open(server.http)
        assert {metric: board.threshold(label) for metric, label in LABELS.items()} == DEFAULTS


def test_a_value_is_a_warning_or_critical_from_its_threshold_on(
    server: Server, new_board: Callable[..., Board]
) -> None:
    board, script = new_board(), ScriptedBoard()
    board.page.clock.install(time=0)
    board.page.clock.pause_at(1000)  # what it is told stays what it was told last
    board.page.route_web_socket(SOCKETS, script.accept)
    board.go(server.http)
    expect(board.status).to_have_text("Connected")
    for word, level, less in (("OK", 0, 0.01), ("Warning", 0, 0), ("Warning", 1, 0.01), ("Critical", 1, 0)):
        script.measure({metric: levels[level] - less for metric, levels in DEFAULTS.items()})
        for metric in DEFAULTS:
            expect(board.severity(metric)).to_have_text(word)


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
    with serve(tmp_path, FAST, *UNLIMITED, *log, target=OBSERVED) as server:
        board = open_board(url=server.http)
        before = board.missing()
        server.stop(signal.SIGKILL)
        expect(board.dot).to_have_css("background-color", RED, timeout=LOADING_MS)
        expect(board.summary).to_contain_text("s were not measured", timeout=LOADING_MS)
        port = server.port
    with serve(tmp_path, FAST, *UNLIMITED, *log, target=OBSERVED, port=port) as again:
        expect(board.dot).to_have_css("background-color", GREEN, timeout=LOADING_MS)
        expect(board.value("activeUsers")).not_to_have_text("–", timeout=LOADING_MS)
        assert board.missing() > before
        late = open_board(url=again.http)
        late.range("10 min")
        expect(late.summary).to_contain_text("s were not measured")


# Of several nodes


def test_each_of_two_nodes_can_be_looked_at_and_who_looks_at_one_is_told_what_is_set_at_the_other(
    redis_server: RedisServer, open_board: OpenBoard, tmp_path: Path
) -> None:
    with two_nodes(redis_server, tmp_path) as servers, viewing(servers[0].ws), viewing(servers[0].ws):
        here, there = (open_board(url=server.http) for server in servers)
        for board in (here, there):
            expect(board.nodes).to_have_count(2, timeout=LOADING_MS)
            expect(board.value("activeUsers")).to_have_text("4", timeout=LOADING_MS)
            for server, users in zip(servers, ("3", "1"), strict=True):
                board.nodes.get_by_role("button", name=re.compile(rf" {server.process.pid}$")).click()
                expect(board.title).to_contain_text(f"process {server.process.pid}")
                expect(board.value("activeUsers")).to_have_text(users)
            board.page.get_by_role("button", name="Show all together").click()
            expect(board.value("activeUsers")).to_have_text("4")
        here.set_threshold("Memory", 0, 0.5)
        expect(there.severity("memoryUsage")).to_have_text("Critical")
        there.pause.click()
        expect(here.held).to_contain_text("Held for everybody at")


# Who may look


@pytest.fixture(scope="module")
def issuer(tmp_path_factory: pytest.TempPathFactory) -> Issuer:
    return secret_issuer(tmp_path_factory.mktemp("issuer"))


@pytest.fixture(scope="module")
def guarded(tmp_path_factory: pytest.TempPathFactory, issuer: Issuer) -> Iterator[Server]:
    with serve(
        tmp_path_factory.mktemp("guarded"), FAST, *issuer.options, "--api-keys", ENTRY, target=OBSERVED
    ) as running:
        yield running


@pytest.fixture
def outside(guarded: Server, new_board: Callable[..., Board]) -> Iterator[Callable[[str], Board]]:
    """The page for somebody whom the server does not know. The browser itself says that it is refused."""
    boards: list[Board] = []

    def go(query: str) -> Board:
        boards.append(new_board().go(guarded.http, query))
        return boards[-1]

    yield go
    for board in boards:
        board.console = [line for line in board.console if "status of 401" not in line and "of 403" not in line]


@pytest.mark.parametrize("query", ["", "?transport=sse"])
def test_who_is_asked_for_a_token_signs_in_once(outside: Callable[[str], Board], issuer: Issuer, query: str) -> None:
    board = outside(query)
    expect(board.token).to_be_visible()
    assert complaints(board.page) == []
    board.sign_in("no.token.atall")
    expect(board.refusal).to_have_text("The server does not take this token.")
    board.sign_in(issuer.token(name="Ada"))
    board.expect_values()
    board.page.reload()
    board.expect_values().set_threshold("Memory", 0, 0.5)
    expect(board.severity("memoryUsage")).to_have_text("Critical")
    board.pause.click()
    expect(board.held).to_contain_text("by Ada")
    board.go_on.click()
    expect(board.held).to_have_text("")


@pytest.mark.parametrize("query", ["", "?transport=sse"])
def test_who_may_not_look_is_told_and_may_come_as_somebody_else(
    outside: Callable[[str], Board], issuer: Issuer, query: str
) -> None:
    board = outside(query)
    board.sign_in(issuer.token(rooms={"lobby": ["join"]}))
    expect(board.refusal).to_have_text("Not allowed")
    board.sign_in(issuer.token())
    board.expect_values()


def test_who_is_put_out_is_asked_for_another_token(
    outside: Callable[[str], Board], guarded: Server, issuer: Issuer
) -> None:
    board = outside("")
    board.sign_in(issuer.token("u-eve"))
    board.expect_values()
    revoke = f"{guarded.http}/api/admin/revoke"
    answer = httpx.post(
        revoke, json={"user": "u-eve"}, headers={"authorization": f"Bearer {OPERATOR}"}, trust_env=False
    )
    assert answer.status_code == 204
    expect(board.refusal).to_have_text("The server does not take this token.")
    board.sign_in(issuer.token())
    board.expect_values()


def test_who_may_look_and_set_nothing_is_told_so(outside: Callable[[str], Board], issuer: Issuer) -> None:
    board = outside("")
    board.sign_in(issuer.token(rooms={"dashboard*": ["join", "subscribe", "history"]}))
    board.expect_values().set_threshold("CPU", 1, 2)
    expect(board.refusal).to_have_text("Not allowed")


# Whoever looks


@pytest.mark.parametrize(("scheme", "width"), [("light", 1280), ("dark", 1280), ("light", 360), ("dark", 360)])
def test_axe_finds_nothing(open_board: OpenBoard, scheme: str, width: int) -> None:
    board = open_board(color_scheme=scheme, viewport={"width": width, "height": 640})
    board.card("cpuUsage").click()
    board.set_threshold("Memory", 0, 0.001)
    expect(board.severity("memoryUsage")).to_have_text("Critical")
    assert complaints(board.page) == []


def test_a_phone_shows_the_whole_page_in_its_width(open_board: OpenBoard) -> None:
    board = open_board(viewport={"width": 360, "height": 640})
    assert board.page.evaluate("document.documentElement.scrollWidth") == 360
