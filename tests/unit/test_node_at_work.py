"""node: what it counts of HTTP, and what it does by the clock, on a loop of its own."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import pytest
from starlette.responses import PlainTextResponse
from starlette.staticfiles import StaticFiles
from starlette.types import Receive, Scope, Send

from hubbub import Config, Hubbub, LocalError
from hubbub.config import Server
from hubbub.node import Node

MEMORY = Config(server=Server(broker="memory://"))


def answering(status: int, text: str = "") -> Any:
    return PlainTextResponse(text, status)


async def crash(scope: Scope, receive: Receive, send: Send) -> None:
    raise RuntimeError("a bug")


async def crash_late(scope: Scope, receive: Receive, send: Send) -> None:
    await send({"type": "http.response.start", "status": 200, "headers": []})
    raise RuntimeError("a bug")


async def answer_elsewhere(scope: Scope, receive: Receive, send: Send) -> None:
    """As a route that has taken the socket over."""


def get(app: Hubbub, *paths: str) -> Node:
    """The node, after requests for these."""
    return ask(app, *paths)[0]


def ask(app: Hubbub, *paths: str, method: str = "GET", below: str = "") -> tuple[Node, list[httpx.Response]]:
    """The node, and what it answers; `below` is the path that it is mounted at."""
    node = Node(app, MEMORY)

    async def answers() -> list[httpx.Response]:
        transport = httpx.ASGITransport(node, raise_app_exceptions=False, root_path=below)
        async with node.lifespan(), httpx.AsyncClient(transport=transport, base_url="http://hub") as client:
            return [await client.request(method, below + path) for path in paths]

    return node, asyncio.run(answers())


@pytest.mark.parametrize(
    ("served", "failed"),
    [(answering(200), 0), (answering(404), 0), (answering(500), 1), (answering(503), 1), (crash, 1), (crash_late, 0)],
)
def test_a_request_counts_once_and_has_failed_from_500_on(served: Any, failed: int) -> None:
    app = Hubbub()
    app.mount("/", served)
    counters = get(app, "/any").counters
    assert (counters.requests, counters.requests_failed, counters.request_seconds > 0) == (1, failed, True)


def test_a_request_that_is_answered_on_the_socket_itself_counts() -> None:
    app = Hubbub()
    app.mount("/", answer_elsewhere)
    node = Node(app, MEMORY)

    async def call() -> None:
        async with node.lifespan():
            scope = {"type": "http", "method": "GET", "path": "/x", "headers": [], "query_string": b""}
            await node(scope, nothing, nothing)

    asyncio.run(call())
    assert (node.counters.requests, node.counters.requests_failed) == (1, 0)


async def nothing(*_: Any) -> Any:
    raise AssertionError("nobody is called")


def test_refusals_and_probes_count() -> None:
    assert get(Hubbub(), "/healthz", "/nowhere").counters.requests == 2


def test_what_is_mounted_below_another_path_is_found_in_whatever_order() -> None:
    app = Hubbub()
    app.mount("/", answering(500))
    app.mount("/a/", answering(500))
    app.mount("/a/b", answering(200))
    assert get(app, "/a/b/c").counters.requests_failed == 0


# Files


@pytest.fixture
def pages(tmp_path: Path) -> Hubbub:
    """An application with pages, below a path and below all others."""
    (tmp_path / "index.html").write_text("a page")
    app = Hubbub()
    for path in ("/pages", "/more/pages/", "/"):
        app.mount(path, StaticFiles(directory=tmp_path, html=True))
    return app


@pytest.mark.parametrize("method", ["GET", "HEAD"])
@pytest.mark.parametrize("below", ["", "/chat"])
@pytest.mark.parametrize(
    ("path", "location"),
    [
        ("/pages", "pages/"),
        ("/pages?transport=sse&x=%2F", "pages/?transport=sse&x=%2F"),
        ("/more/pages", "pages/"),
    ],
)
def test_a_page_that_is_a_folder_is_where_its_path_ends_with_a_slash(
    pages: Hubbub, path: str, location: str, below: str, method: str
) -> None:
    (answer,) = ask(pages, path, method=method, below=below)[1]
    assert (answer.status_code, answer.headers["location"]) == (307, location)
    there = str(answer.next_request.url.copy_with(query=None)) if answer.next_request else ""
    assert there == f"http://hub{below}{path.partition('?')[0]}/"


def test_where_the_slash_is_there_is_the_page(pages: Hubbub) -> None:
    answers = ask(pages, "/pages/", "/more/pages/", "/")[1]
    assert [(each.status_code, each.text) for each in answers] == [(200, "a page")] * 3


def test_a_folder_of_pages_takes_nothing_else(pages: Hubbub) -> None:
    answers = ask(pages, "/pages", "/pages/", method="POST")[1]
    assert [each.status_code for each in answers] == [405, 405]


# By the clock


def during(app: Hubbub, until: Callable[[], bool]) -> Node:
    """Serves the application until it is so; whatever it does by the clock wakes this up."""
    node = Node(app, MEMORY)

    async def serve() -> None:
        async with node.lifespan(), asyncio.timeout(10):
            while not until():
                await asyncio.sleep(0)

    asyncio.run(serve())
    return node


def test_what_is_done_by_the_clock_is_done_again_and_again() -> None:
    app, done = Hubbub(), [0, 0]

    @app.every(0.01)
    def plain() -> None:
        done[0] += 1

    @app.every(0.01)
    async def coroutine() -> None:
        await asyncio.sleep(0)
        done[1] += 1

    during(app, lambda: min(done) >= 3)
    assert min(done) >= 3


def test_what_fails_is_logged_and_done_again(caplog: pytest.LogCaptureFixture) -> None:
    app, done = Hubbub(), []

    @app.every(0.01)
    def fail() -> None:
        done.append(1)
        raise RuntimeError("a bug")

    with caplog.at_level(logging.ERROR):
        node = during(app, lambda: len(done) >= 2)
    assert node.counters.handlers_failed == len(done)
    assert "what is done every 0.01 s failed" in caplog.text


def test_a_coroutine_is_never_at_work_twice() -> None:
    app, at_work, most, done = Hubbub(), 0, 0, 0

    @app.every(0.01)
    async def slow() -> None:
        nonlocal at_work, most, done
        at_work += 1
        most = max(most, at_work)
        await asyncio.sleep(0.025)
        at_work -= 1
        done += 1

    during(app, lambda: done >= 2)
    assert most == 1


def test_it_ends_with_the_node_whatever_it_waits_for() -> None:
    app, begun = Hubbub(), []

    @app.every(0.01)
    async def wait_for_ever() -> None:
        begun.append(asyncio.current_task())
        await asyncio.Event().wait()

    during(app, lambda: bool(begun))
    assert [task is not None and task.cancelled() for task in begun] == [True]


@pytest.mark.parametrize("seconds", [0, -1, 0.009, float("nan")])
def test_it_is_not_done_more_often_than_a_hundred_times_a_second(seconds: float) -> None:
    with pytest.raises(LocalError, match=r"0\.01"):
        Hubbub().every(seconds)
