"""transports.stream: what is written on a socket, in which pieces; comments, backpressure, and the ends."""

from __future__ import annotations

import asyncio
import socket as sockets
from collections.abc import Callable
from typing import Any

import pytest

from hubbub.errors import CommandError, HandshakeError
from hubbub.hub.connection import GONE, Connection
from hubbub.hub.streams import StreamEndpoint, Wanted
from hubbub.transports.answers import accepts_gzip
from hubbub.transports.stream import MOST_CORKED, MOST_IGNORED, Stream, _watch, wanted_of
from hubbub.wire.messages import Since
from hubbub.wire.sse import Format, JsonLines, RoomEvents
from tests.fuzz.socket import FakeSocket
from tests.support.event_source import EventSourceParser
from tests.unit.fakes import Bench, Said

HEAD = b"HTTP/1.1 200 OK\r\n\r\n"


class Socket(FakeSocket):
    """Notes each write by itself, and may have bytes that wait."""

    def __init__(self) -> None:
        super().__init__()
        self.writes: list[bytes] = []
        self.waiting = 0

    def write(self, data: Any) -> None:
        super().write(data)
        self.writes.append(bytes(data))

    def get_write_buffer_size(self) -> int:
        return self.waiting


class Scene:
    """A stream of the room `a` on a socket of its own."""

    def __init__(self, *, history: int = 0, before: tuple[str, ...] = (), form: Format | None = None) -> None:
        self.bench = Bench()
        self.socket = Socket()
        self.connections: set[Any] = set()
        for text in before:
            self.say(text)
        endpoint = StreamEndpoint(self.bench.hub, "/stream", Wanted(["a"], [None], history))
        self.connection: Connection = self.bench.hub.open(endpoint, GONE, None)
        self.stream = Stream(self.bench.hub, self.socket, self.connections, self.connection, form or JsonLines())
        self.stream.begin(HEAD)
        self.bench.runtime.settle()

    def say(self, text: str) -> None:
        self.bench.hub.room("a").publish(Said(text))
        self.bench.runtime.settle()


def on_a_loop(steps: Callable[[], None]) -> None:
    async def run() -> None:
        steps()

    asyncio.run(run())


def test_the_first_events_leave_with_the_head_in_one_write() -> None:
    def steps() -> None:
        scene = Scene(history=2, before=("one", "two"))
        (first,) = scene.socket.writes
        assert first.startswith(HEAD)
        assert first.count(b"\n{") + 1 == 4 + 1  # connected, room_info, two events; and the head's empty line

    on_a_loop(steps)


def test_what_is_too_much_for_one_write_does_not_wait_for_the_rest() -> None:
    def steps() -> None:
        scene = Scene(history=3, before=("a" * MOST_CORKED, "b", "c"))
        assert len(scene.socket.writes) == 1  # what was missed is one batch
        assert scene.stream._corked == b""

    on_a_loop(steps)


def test_who_is_behind_gets_no_batch_but_all_of_it_later() -> None:
    def steps() -> None:
        scene = Scene()
        scene.stream.pause_writing()
        scene.say("one")
        scene.stream.expire()
        assert len(scene.socket.writes) == 1
        scene.stream.resume_writing()
        scene.bench.runtime.settle()
        assert b'"text":"one"' in scene.socket.writes[1]

    on_a_loop(steps)


def test_a_comment_says_that_it_lives() -> None:
    def steps() -> None:
        scene = Scene()
        scene.stream.expire()
        assert scene.socket.writes[1:] == [b"\n"]

    on_a_loop(steps)


def test_the_end_is_said_and_waited_for_a_while() -> None:
    def steps() -> None:
        scene = Scene()
        scene.bench.hub.close(scene.connection, 4403, "removed")
        scene.say("too late")
        assert scene.socket.writes[-1] == b'{"type":"closed","code":4403,"reason":"removed"}\n'
        assert (scene.socket.ends, scene.connections) == (True, {scene.stream})
        scene.stream.expire()  # it does not go by itself
        assert scene.socket.is_closing()
        scene.stream.connection_lost(None)
        assert scene.connections == set()

    on_a_loop(steps)


@pytest.mark.parametrize("draining_seconds", [0.0, 3.0])
def test_a_browser_comes_back_when_the_server_is_gone(draining_seconds: float) -> None:
    def steps() -> None:
        scene = Scene(form=RoomEvents())
        if draining_seconds:
            scene.bench.hub.draining.begin(draining_seconds)
        scene.bench.hub.send_away(scene.connection)
        parser = EventSourceParser()
        parser.feed(scene.socket.writes[-1])
        assert parser.retry is not None
        assert 500 + draining_seconds * 1000 <= parser.retry <= 600 + draining_seconds * 1000

    on_a_loop(steps)


@pytest.mark.parametrize("end", ["eof", "lost"])
def test_who_is_gone_is_forgotten_at_once(end: str) -> None:
    def steps() -> None:
        scene = Scene()
        scene.stream.eof_received() if end == "eof" else scene.stream.connection_lost(None)
        assert not scene.connection.open
        scene.say("too late")
        scene.bench.hub.close_all()
        assert len(scene.socket.writes) == 1

    on_a_loop(steps)


def test_a_little_behind_the_request_is_passed_over_and_more_ends_it() -> None:
    def steps() -> None:
        scene = Scene()
        scene.socket.set_protocol(scene.stream)
        scene.socket.arrive(b"a" * MOST_IGNORED)
        assert scene.connection.open
        scene.socket.arrive(b"a")
        assert b"1008" in scene.socket.writes[-1]

    on_a_loop(steps)


def test_a_peer_that_confirms_nothing_is_ended_by_the_kernel() -> None:
    with sockets.socket() as raw:

        class Real(FakeSocket):
            def get_extra_info(self, name: str, default: Any = None) -> Any:
                return raw if name == "socket" else default

        _watch(Real(), 90.0)
        assert raw.getsockopt(sockets.IPPROTO_TCP, sockets.TCP_USER_TIMEOUT) == 90_000


# What is asked for


def scope(query: str, *headers: tuple[str, str]) -> dict[str, Any]:
    return {"query_string": query.encode(), "headers": [(name.encode(), value.encode()) for name, value in headers]}


@pytest.mark.parametrize(
    ("query", "header", "wanted"),
    [
        ("room=a", "", Wanted(("a",), (None,))),
        ("room=%C3%A9+b&history=7&username=", "", Wanted(("é b",), (None,), 7, "")),
        ("room=a&room=b&since=e:1,-", "", Wanted(("a", "b"), (Since("e", 1), None))),
        ("room=a&since=e:1", "f:2", Wanted(("a",), (Since("f", 2),))),
    ],
)
def test_a_request_says_what_it_wants(query: str, header: str, wanted: Wanted) -> None:
    headers = [("last-event-id", header)] if header else []
    assert wanted_of(scope(query, *headers)) == wanted


@pytest.mark.parametrize(
    "query",
    [
        *("", "room=", "room=a&room=a", "room={", "room=%ff", "room=a&history=-1"),
        *("room=a&since=1", "room=a&since=e:1&since=f:2"),
    ],
)
def test_what_makes_no_sense_is_refused(query: str) -> None:
    with pytest.raises((HandshakeError, CommandError)):
        wanted_of(scope(query))


@pytest.mark.parametrize(
    ("value", "accepted"),
    [
        ("gzip", True),
        ("br, GZIP;q=0.5", True),
        ("gzip;q=0", False),
        ("gzip; q=0.000", False),
        ("x-gzip", False),
        ("*", True),
        ("*, gzip;q=0", False),
        ("", False),
    ],
)
def test_gzip_is_for_who_takes_it(value: str, accepted: bool) -> None:
    assert accepts_gzip([(b"accept-encoding", value.encode())]) is accepted
