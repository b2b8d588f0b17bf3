"""Nodes as processes that can be killed, stopped and started again, each always on a port of its own."""

from __future__ import annotations

import signal
import sys
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path

from tests.support.server import CHAT, FAST, free_port, serve


class Node:
    """A server that is always on the same port with the same broker.

    Args:
        folder: where its log goes.
        broker: the URL of its rooms.
        options: further ones of `hubbub serve`.
    """

    def __init__(self, folder: Path, broker: str, *options: str, interpreter: str = sys.executable) -> None:
        self.port = free_port()
        self._folder = folder
        self._interpreter = interpreter
        self._options = ("--rate-limit", "0", "--max-connections-per-address", "100000", "--broker", broker, *options)
        self._stack = ExitStack()
        self.pid = 0

    def start(self) -> None:
        """Returns when it listens."""
        running = serve(self._folder, FAST, *self._options, target=CHAT, port=self.port, interpreter=self._interpreter)
        self._process = self._stack.enter_context(running).process
        self.pid = self._process.pid

    def kill(self) -> None:
        """As when the machine's memory is full: the process has no moment to do anything."""
        self._process.kill()
        self._stack.close()

    def pause(self) -> None:
        """It hangs: connections stay, and nothing is answered."""
        self._process.send_signal(signal.SIGSTOP)

    def resume(self) -> None:
        self._process.send_signal(signal.SIGCONT)

    def stop(self) -> None:
        """Ends it as an operator does; nothing where it does not run."""
        if self.pid:
            self._process.send_signal(signal.SIGCONT)
        self._stack.close()


def all_at_once(calls: Iterable[Callable[[], None]]) -> None:
    """Starts or stops nodes side by side: each takes a second, in which it does little."""
    with ThreadPoolExecutor() as pool:
        for done in [pool.submit(call) for call in calls]:
            done.result()
