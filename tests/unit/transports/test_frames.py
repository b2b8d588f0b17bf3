"""transports.frames: what one connection may have done for it in a turn, and that nothing is lost at its end."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from hubbub.auth.gate import Visitor
from hubbub.config import Config
from hubbub.hub.identity import ANONYMOUS
from hubbub.transports import frames
from hubbub.transports.frames import ABUSED, PIECE_BYTES, FrameProtocol, HubTransport
from hubbub.transports.loop import shared_by
from hubbub.wire.codec import shared_codec
from hubbub.wire.websocket import CLOSE, FIN, PING, TEXT, WebSocket, encode_close, encode_frame
from tests.fuzz.socket import FakeSocket
from tests.unit.fakes import Bench

MASK = b"mask"
ENOUGH = 40


class Recorder(FrameProtocol):
    """Writes down what arrives; reads on unless a test says otherwise."""

    def __init__(self, socket: FakeSocket) -> None:
        shared = shared_by(asyncio.get_running_loop())
        super().__init__(socket, WebSocket(65536), shared, Config(), set())
        self.messages: list[bytes] = []
        self.pings = 0
        self.ends = 0
        self.wanted = True

    def _wants_more(self) -> bool:
        return self.wanted

    def _on_message(self, opcode: int, payload: bytes) -> None:
        self.messages.append(payload)

    def _on_control(self) -> bool:
        self.pings += 1
        return True

    def _on_lost(self, code: int, reason: str) -> None:
        self.ends += 1


def text(payload: bytes) -> bytes:
    return encode_frame(FIN | TEXT, payload, MASK)


TEXTS = [b"message %d" % number for number in range(200)]
FLOOD = b"".join(map(text, TEXTS))


@pytest.fixture
def slow(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every look at the clock finds the turn over."""
    clock: Iterator[int] = itertools.count()
    monkeypatch.setattr(frames, "perf_counter", lambda: float(next(clock)))


def talk(steps: Callable[[FakeSocket, Recorder], Any]) -> Recorder:
    """Runs steps that yield where a turn of the loop ends, and then turns enough for everything."""

    async def run() -> Recorder:
        socket = FakeSocket()
        recorder = Recorder(socket)
        socket._protocol = recorder
        for _ in steps(socket, recorder):
            await asyncio.sleep(0)
        for _ in range(ENOUGH):
            await asyncio.sleep(0)
        return recorder

    return asyncio.run(run())


@pytest.mark.usefixtures("slow")
def test_a_turn_ends_with_a_piece_and_the_rest_follows_in_order() -> None:
    def steps(socket: FakeSocket, recorder: Recorder) -> Iterator[None]:
        socket.arrive(FLOOD)
        assert 0 < len(recorder.messages) <= PIECE_BYTES // len(text(TEXTS[0]))
        yield

    assert talk(steps).messages == TEXTS


@pytest.mark.usefixtures("slow")
def test_what_arrives_meanwhile_is_behind_the_rest() -> None:
    def steps(socket: FakeSocket, recorder: Recorder) -> Iterator[None]:
        recorder.receive(FLOOD)
        yield
        recorder.receive(text(b"last"))

    assert talk(steps).messages == [*TEXTS, b"last"]


@pytest.mark.usefixtures("slow")
def test_a_large_message_is_no_more_pieces_than_it_came_in() -> None:
    def steps(socket: FakeSocket, recorder: Recorder) -> Iterator[None]:
        socket.arrive(text(b"a" * 10_000))
        yield  # its header's piece, and then all of it

    recorder = talk(steps)
    assert [len(payload) for payload in recorder.messages] == [10_000]


def test_who_is_quick_has_all_in_one_turn(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(frames, "perf_counter", lambda: 0.0)

    def steps(socket: FakeSocket, recorder: Recorder) -> Iterator[None]:
        socket.arrive(FLOOD)
        assert recorder.messages == TEXTS
        yield

    talk(steps)


@pytest.mark.usefixtures("slow")
def test_the_rest_waits_while_nothing_more_is_wanted() -> None:
    def steps(socket: FakeSocket, recorder: Recorder) -> Iterator[None]:
        recorder.wanted = False
        socket.arrive(FLOOD)
        few = len(recorder.messages)
        for _ in range(ENOUGH):
            yield
        assert len(recorder.messages) == few < len(TEXTS)
        recorder.wanted = True
        recorder._read_more()
        assert len(recorder.messages) == few, "called back from inside"

    assert talk(steps).messages == TEXTS


@pytest.mark.usefixtures("slow")
def test_the_peers_close_frame_is_found_behind_a_flood() -> None:
    def steps(socket: FakeSocket, recorder: Recorder) -> Iterator[None]:
        recorder.wanted = False
        socket.arrive(FLOOD + encode_frame(FIN | CLOSE, encode_close(1000), MASK))
        recorder.close(1008, "too many messages")
        yield

    recorder = talk(steps)
    assert (recorder._wire.ended, recorder.ends) == (True, 1)


@pytest.mark.usefixtures("slow")
def test_nothing_is_read_behind_a_violation() -> None:
    def steps(socket: FakeSocket, recorder: Recorder) -> Iterator[None]:
        socket.arrive(FLOOD[:600] + b"\xff\xff" + FLOOD)
        yield

    recorder = talk(steps)
    assert (recorder._unread, recorder.ends) == (b"", 1)
    assert len(recorder.messages) < len(TEXTS)


@pytest.mark.usefixtures("slow")
def test_a_flood_of_pings_has_its_turns_too() -> None:
    def steps(socket: FakeSocket, recorder: Recorder) -> Iterator[None]:
        socket.arrive(encode_frame(FIN | PING, b"", MASK) * 1000)
        assert recorder.pings <= PIECE_BYTES // 6 + 1
        yield

    assert talk(steps).pings == 1000


@pytest.mark.parametrize("code", sorted(ABUSED))
def test_nothing_more_is_read_of_who_is_closed_for_abuse(code: int) -> None:
    bench = Bench()

    async def run() -> tuple[bytes, bool, int]:
        socket = FakeSocket()
        shared = shared_by(asyncio.get_running_loop())
        transport = HubTransport(
            socket, WebSocket(65536), shared, set(), bench.hub, shared_codec(msgpack=False, deflater=None)
        )
        socket._protocol = transport
        transport.open(bench.endpoint, Visitor(ANONYMOUS, "", None, ()), None, b"")
        bench.hub.close(transport._connection, code, "too much")
        socket.arrive(FLOOD)
        return bytes(socket.written), socket.ends, bench.hub.counters.messages_received

    written, ends, received = asyncio.run(run())
    assert written.endswith(encode_frame(FIN | CLOSE, encode_close(code, "too much")))
    assert (ends, received) == (True, 0)
