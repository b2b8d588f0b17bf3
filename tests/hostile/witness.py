"""An honest client that goes on talking while others attack, and the figures of the server's process."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from threading import Event, Thread
from types import TracebackType
from typing import Self
from uuid import uuid4

from hubbub.wire.websocket import FIN, PING, PONG
from tests.support.peer import Peer, command, frame
from tests.support.server import Server

# Slower than the rate that the server's default settings allow.
PACE_SECONDS = 0.15


class HonestPeer(Peer):
    """A client that answers pings, as every honest one does."""

    def next(self) -> tuple[int, bytes]:
        opcode, payload = super().next()
        if opcode == PING:
            self.send(frame(FIN | PONG, payload))
        return opcode, payload

    def round_trip(self, id: int) -> None:
        """A command and its answer."""
        self.send(command(type="ping", id=id))
        assert self.event("ok")["id"] == id


class Witness:
    """A client in a room of its own; as long as the block runs, a thread of it sends a command now and then.

    Leaving the block fails when one was not answered.
    """

    def __init__(self, port: int, headers: Sequence[str] = ()) -> None:
        self._port = port
        self._headers = headers
        self._room = f"witness-{uuid4()}"
        self._peer = HonestPeer(port, headers=headers)
        self._stopped = Event()
        self._thread = Thread(target=self._talk)
        self._failure: BaseException | None = None

    def __enter__(self) -> Self:
        self._peer.join(self._room, "witness")
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._stop()
        self._peer.socket.close()

    def _talk(self) -> None:
        try:
            trips = 0
            while not self._stopped.wait(PACE_SECONDS):
                trips += 1
                self._peer.round_trip(trips)
        except BaseException as failure:
            self._failure = failure

    def _stop(self) -> None:
        self._stopped.set()
        self._thread.join()

    def chats_with_a_newcomer(self) -> None:
        """Fails unless all was answered so far, and what the old client and a new one say reaches both."""
        self._stop()
        assert self._failure is None, f"an honest client was harmed: {self._failure!r}"
        with HonestPeer(self._port, headers=self._headers) as newcomer:
            assert newcomer.join(self._room, "newcomer")["count"] == 2
            for speaker in (self._peer, newcomer):
                speaker.send(command(type="message", text="still here"))
                assert self._peer.event("message")["text"] == "still here"
                assert newcomer.event("message")["text"] == "still here"


def memory_bytes(server: Server) -> int:
    """The server's resident memory."""
    for line in Path(f"/proc/{server.process.pid}/status").read_text().splitlines():
        if line.startswith("VmRSS:"):
            return int(line.split()[1]) * 1024
    raise AssertionError("the process is gone")


def cpu_seconds(server: Server) -> float:
    """The time for which the server's main thread, its event loop, has run."""
    return int(Path(f"/proc/{server.process.pid}/schedstat").read_text().split()[0]) / 1e9
