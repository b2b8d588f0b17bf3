"""A client that polls, over httpx: one connection that is kept alive, the places that it has reached, what it got."""

from __future__ import annotations

import time
from collections.abc import Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from types import TracebackType
from typing import Any, Self

import httpx

from tests.support.server import Server

SECONDS = 20.0
Body = dict[str, Any]


class Poller:
    """One client.

    Attributes:
        since: the places that it has reached; empty before the first answer.
        events: all that it got, in order.
        http: what it polls with.
    """

    def __init__(
        self, server: Server, *rooms: str, headers: Mapping[str, str] | None = None, address: str = ""
    ) -> None:
        transport = httpx.HTTPTransport(local_address=address or None)
        self.http = httpx.Client(base_url=server.http, timeout=SECONDS, headers=headers, transport=transport)
        self.since = ""
        self.events: list[Body] = []
        self._server = server
        self._rooms = rooms
        self._thread = ThreadPoolExecutor(1)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.http.close()
        self._thread.shutdown()

    def get(self, **params: Any) -> httpx.Response:
        """The response to a poll of its rooms, from its places unless others are given."""
        params = {"room": self._rooms, **({"since": self.since} if self.since else {}), **params}
        return self.http.get("/poll", params=params)

    def poll(self, **params: Any) -> Body:
        """The answer; it goes on from there."""
        response = self.get(**params)
        assert response.status_code == 200, response.text
        body: Body = response.json()
        self.since = body["since"]
        self.events += body["events"]
        return body

    def begin(self, **params: Any) -> Future[httpx.Response]:
        """Polls beside the test, and returns once the server has it waiting."""
        before = waiting(self._server)
        response = self._thread.submit(self.get, **params)
        wait_for_polls(self._server, before + 1)
        return response

    @property
    def texts(self) -> list[str]:
        """What was said in the events that it got."""
        return [event["text"] for event in self.events]


def waiting(server: Server) -> int:
    """How many polls wait."""
    count: int = server.counters()["polls"]
    return count


def wait_for_polls(server: Server, count: int) -> None:
    """Returns once so many wait."""
    deadline = time.monotonic() + SECONDS
    while (found := waiting(server)) != count:
        assert time.monotonic() < deadline, f"{found} polls wait instead of {count}"
