"""Several processes on one port: starts them, replaces those that die, and passes signals on. It serves nobody itself.

All accept from the one socket that they inherit, and not each from a socket of its own (SO_REUSEPORT): so a connection
that waits to be accepted belongs to no worker, and none is reset when a worker ends or dies; and a new one goes to a
worker that has time for it.
"""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import socket
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Final

from hubbub.errors import ConfigError

log: Final = logging.getLogger("hubbub")
VARIABLE: Final = "HUBBUB_WORKER_SOCKET"
"""Tells a process that it is a worker: the number of the socket that it inherits. No setting."""
FIRST_SECONDS: Final = 0.1
LONGEST_SECONDS: Final = 10.0
"""Before a worker is replaced: the double each time, so that one that cannot start does not keep the machine busy."""
STEADY_SECONDS: Final = 10.0
"""Whoever has lived so long was well: the next death is the first one again."""
HURRY_SECONDS: Final = 5.0
"""How long workers have after a second signal; then they are killed."""


def inherited() -> socket.socket | None:
    """The socket to serve on, where this process is a worker. It ends with its supervisor from now on.

    Raises:
        ConfigError: there is no such socket.
    """
    number = os.environ.pop(VARIABLE, "")  # not for processes of the application
    if not number:
        return None
    try:
        listener = socket.socket(fileno=int(number))
    except (ValueError, OSError) as error:
        raise ConfigError(f"{VARIABLE}: {number!r} is no socket: it is for workers alone") from error
    threading.Thread(target=_watch_supervisor, name="hubbub-supervisor-watch", daemon=True).start()
    return listener


def _watch_supervisor() -> None:
    """Waits for the end of the pipe from the supervisor, which is its end, however it came."""
    with suppress(OSError):
        while os.read(0, 1):
            pass
    os.kill(os.getpid(), signal.SIGTERM)


def supervise(listener: socket.socket, count: int) -> int:
    """Runs so many workers until a signal ends them; the exit code, 0 when all have ended well.

    A worker is this program with the same arguments: it reads the settings, and imports the application, itself.

    Raises:
        ConfigError: the platform has no sockets that can be inherited so.
    """
    if sys.platform == "win32":
        raise ConfigError("workers: Windows cannot share a port so; start processes on ports of their own")
    return asyncio.run(Supervisor(listener, count).run())


class Supervisor:
    """Workers, and what becomes of them.

    Args:
        listener: the socket that they all accept from.
    """

    def __init__(self, listener: socket.socket, count: int) -> None:
        self._listener = listener
        self._count = count
        self._running: set[asyncio.subprocess.Process] = set()
        self._starting = asyncio.Lock()
        self._ending = asyncio.Event()
        self._told = signal.SIGTERM

    async def run(self) -> int:
        """Until a signal has come and all have ended."""
        loop = asyncio.get_running_loop()
        for number in (signal.SIGINT, signal.SIGTERM):
            loop.add_signal_handler(number, self._end, number)
        loop.add_signal_handler(signal.SIGHUP, self._pass_on, signal.SIGHUP)
        codes = await asyncio.gather(*[self._keep(number) for number in range(1, self._count + 1)])
        return 1 if any(codes) else 0

    async def _keep(self, number: int) -> int:
        """Has a worker run until the end; returns the exit code of the last one."""
        loop = asyncio.get_running_loop()
        delay = FIRST_SECONDS
        while not self._ending.is_set():
            began = loop.time()
            code = await self._run_one()
            if self._ending.is_set():
                return code
            if loop.time() - began >= STEADY_SECONDS:
                delay = FIRST_SECONDS
            log.error("worker %d has ended with %d; another one starts in %g s", number, code, delay)
            with suppress(TimeoutError):
                async with asyncio.timeout(delay):
                    await self._ending.wait()
            delay = min(delay * 2, LONGEST_SECONDS)
        return 0

    async def _run_one(self) -> int:
        """Runs a worker; its exit code, that of the shell where there are no more processes to be had."""
        try:
            worker = await self._start()
        except OSError as error:
            log.error("a worker cannot be started: %s", error)
            return 126
        self._running.add(worker)
        if self._ending.is_set():  # that was while this one was started
            worker.send_signal(self._told)
        code = await worker.wait()
        self._running.discard(worker)
        return code

    async def _start(self) -> asyncio.subprocess.Process:
        """Starts a worker. Its input is a pipe that ends with us, and the terminal's Ctrl+C is for us alone."""
        descriptor = self._listener.fileno()
        async with self._starting:  # the signals of two who start would be let through by the first
            with _held_back():
                return await asyncio.create_subprocess_exec(
                    sys.executable,
                    *sys.orig_argv[1:],
                    stdin=asyncio.subprocess.PIPE,
                    env={**os.environ, VARIABLE: str(descriptor)},
                    pass_fds=(descriptor,),
                    process_group=0,
                )

    def _end(self, number: signal.Signals) -> None:
        """The first signal drains the workers, the second ends them at once."""
        if self._ending.is_set():
            asyncio.get_running_loop().call_later(HURRY_SECONDS, self._pass_on, signal.SIGKILL)
        self._told = number
        self._ending.set()
        self._pass_on(number)

    def _pass_on(self, number: signal.Signals) -> None:
        for worker in self._running:
            with suppress(ProcessLookupError):
                worker.send_signal(number)


@contextmanager
def _held_back() -> Iterator[None]:
    """Whoever is started now gets signals once it lets them through, which the server does when it can handle them."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, (signal.SIGINT, signal.SIGTERM, signal.SIGHUP))
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
