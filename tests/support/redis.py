"""Redis servers of a test's own: on a free port of this machine, in a folder, ended by their process id."""

from __future__ import annotations

import signal
import socket
import subprocess
import time
from pathlib import Path
from types import TracebackType
from typing import Any

import redis

START_SECONDS = 10


def free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])


class RedisServer:
    """A running redis-server.

    Args:
        folder: where its files lie; it must exist.
        options: as in redis.conf, such as `appendonly="yes"`; `_` stands for `-`.
    """

    def __init__(self, folder: Path, *, sentinel: bool = False, **options: Any) -> None:
        self.folder = folder
        self.port = free_port()
        self.sentinel = sentinel
        self.options = {"port": self.port, **options}
        self.process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        return f"redis://127.0.0.1:{self.port}"

    def ask(self, *command: str | int | bytes) -> Any:
        """The reply to a command, of a client that is not ours."""
        with redis.Redis(port=self.port, socket_timeout=START_SECONDS, protocol=2) as client:
            return client.execute_command(*command)

    def start(self) -> None:
        """Returns once it answers, with what its files hold."""
        lines = [f"{name.replace('_', '-')} {value}" for name, value in self.options.items()]
        config = self.folder / "redis.conf"
        if not config.exists() or not self.sentinel:
            config.write_text("\n".join(["bind 127.0.0.1", f"dir {self.folder}", 'save ""', *lines]) + "\n")
        command = ["redis-server", str(config), *(["--sentinel"] if self.sentinel else [])]
        with (self.folder / "log").open("ab") as log:
            self.process = subprocess.Popen(command, stdout=log, stderr=subprocess.STDOUT)
        self.wait_for(self._answers)

    def wait_for(self, condition: Any) -> None:
        """Asks until it is so; fails after ten seconds."""
        end = time.monotonic() + START_SECONDS
        while not condition():
            assert time.monotonic() < end, (self.folder / "log").read_text()[-2000:]
            time.sleep(0.02)

    def _answers(self) -> bool:
        assert self.process is not None
        assert self.process.poll() is None, (self.folder / "log").read_text()[-2000:]
        try:
            return bool(self.ask("PING"))
        except redis.RedisError:
            return False

    def kill(self, sign: int = signal.SIGKILL) -> None:
        """Ends the process and waits for its end."""
        if self.process is not None:
            self.process.send_signal(signal.SIGCONT)
            self.process.send_signal(sign)
            self.process.wait(START_SECONDS)
            self.process = None

    def pause(self) -> None:
        """It hangs: connections stay, and nothing is answered."""
        assert self.process is not None
        self.process.send_signal(signal.SIGSTOP)

    def resume(self) -> None:
        assert self.process is not None
        self.process.send_signal(signal.SIGCONT)

    def __enter__(self) -> RedisServer:
        self.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.kill()
