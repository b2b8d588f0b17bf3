"""Servers as processes of their own, on free ports of the loopback address."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

from tests.support.canary import canary, counters_of

ROOT = Path(__file__).parent.parent.parent
START_SECONDS = 20.0
STOP_SECONDS = 20.0

CHAT = "hubbub.apps.chat:app"
TESTED = "tests.support.application:app"
PLAIN = "tests.support.plain:application"

# How the same application can be hosted: Hubbub's own server, and two servers that are not ours.
FAST = "fast path"
FAST_ASYNCIO = "fast path on asyncio's loop"
ASGI = "plain ASGI on our server"
UVICORN = "plain ASGI on uvicorn with websockets"
HYPERCORN = "plain ASGI on hypercorn"
FAST_SQLITE = "fast path with sqlite://"
FAST_REDIS = "fast path with redis://"
HOSTS = (FAST, FAST_SQLITE, FAST_REDIS, FAST_ASYNCIO, ASGI, UVICORN, HYPERCORN)
OWN_HOSTS = (FAST, ASGI)


@dataclass
class Server:
    """A server that runs.

    Attributes:
        output: where its standard output and error go.
        secure: whether it speaks TLS.
    """

    host: str
    port: int
    process: subprocess.Popen[bytes]
    output: Path
    secure: bool = False

    @property
    def http(self) -> str:
        return f"http{'s' * self.secure}://127.0.0.1:{self.port}"

    @property
    def ws(self) -> str:
        return f"ws{'s' * self.secure}://127.0.0.1:{self.port}"

    @property
    def log(self) -> str:
        return self.output.read_text(errors="replace")

    def counters(self) -> dict[str, Any]:
        """What it has counted, where it serves the tests' application; nothing once it has ended."""
        return counters_of(self.port) if self.process.poll() is None else {}

    def refused(self, limit: str) -> int:
        """How often a limit was met."""
        refused: dict[str, int] = self.counters()["refused"]
        return refused.get(limit, 0)

    def wait_for_connections(self, count: int) -> None:
        """Returns once there are so many: it takes a moment until the server knows that a peer is gone."""
        deadline = time.monotonic() + STOP_SECONDS
        while (found := self.counters()["connections"]) != count:
            assert time.monotonic() < deadline, f"{found} connections instead of {count}"

    def stop(self, number: int = signal.SIGTERM) -> int:
        """Ends the process and returns its exit code."""
        if self.process.poll() is None:
            self.process.send_signal(number)
        try:
            return self.process.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
            raise


def free_port() -> int:
    """A port that stays reserved until this process ends, so that nobody else has it before its server, or after.

    Nothing listens there; SO_REUSEADDR lets a server do so all the same.
    """
    with socket.socket() as holder:
        holder.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        holder.bind(("127.0.0.1", 0))
        port: int = holder.getsockname()[1]
        holder.detach()  # it is closed with the process
        return port


def command(
    host: str, port: int, options: tuple[str, ...], target: str, interpreter: str = sys.executable
) -> list[str]:
    python = [interpreter, "-m"]
    hubbub = [*python, "hubbub", "serve", target, "--port", str(port)]
    match host:
        case "fast path" | "fast path with sqlite://" | "fast path with redis://":
            return [*hubbub, *options]
        case "fast path on asyncio's loop":
            return [*hubbub, "--loop", "asyncio", *options]
        case "plain ASGI on our server":
            return [*hubbub, "--no-takeover", *options]
        case "plain ASGI on uvicorn with websockets":
            return [*python, "uvicorn", PLAIN, "--port", str(port), "--ws", "websockets", "--log-level", "warning"]
        case "plain ASGI on hypercorn":
            return [*python, "hypercorn", PLAIN, "--bind", f"127.0.0.1:{port}", "--log-level", "WARNING"]
        case _:
            raise ValueError(host)


def environment(options: tuple[str, ...]) -> dict[str, str]:
    """Options as variables, for servers that have a command line of their own."""
    variables = {key: value for key, value in os.environ.items() if not key.startswith("HUBBUB_")}
    for name, value in pairwise((*options, "--")):
        if name.startswith("--"):
            switch = "false" if name.startswith("--no-") else "true"
            setting = name.removeprefix("--no-").removeprefix("--").upper().replace("-", "_")
            variables[f"HUBBUB_{setting}"] = switch if value.startswith("--") else value
    variables.setdefault("HUBBUB_BROKER", "memory://")
    return {**variables, "PYTHONPATH": str(ROOT), "PYTHONUNBUFFERED": "1"}


def wait_until_listening(port: int, process: subprocess.Popen[bytes], output: Path) -> None:
    deadline = time.monotonic() + START_SECONDS
    while time.monotonic() < deadline:
        if process.poll() is not None:
            raise RuntimeError(f"the server ended with {process.returncode}: {output.read_text()}")
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                return
        time.sleep(0.02)
    raise RuntimeError(f"the server did not listen within {START_SECONDS} s: {output.read_text()}")


@contextmanager
def serve(
    folder: Path,
    host: str = FAST,
    *options: str,
    target: str = TESTED,
    port: int | None = None,
    interpreter: str = sys.executable,
) -> Iterator[Server]:
    """Runs a server until the block ends; `options` are `--name value` or `--name` of `hubbub serve`."""
    port = port or free_port()
    output = folder / f"server-{port}-{time.monotonic_ns()}.log"
    if host == FAST_SQLITE:
        options = (*options, "--broker", f"sqlite:///{output.with_suffix('.db')}")
    with output.open("wb") as file:
        process = subprocess.Popen(
            command(host, port, options, target, interpreter),
            cwd=ROOT,
            env=environment(options),
            stdout=file,
            stderr=subprocess.STDOUT,
        )
    server = Server(host, port, process, output, secure="--tls-cert" in options)
    canary.watch(output)
    try:
        wait_until_listening(port, process, output)
        yield server
        if target == TESTED and not server.secure:
            canary.hear_counters(f"{output.name}: {' '.join((host, *options))}", server.counters)
    finally:
        server.stop()
        canary.forget(output)
