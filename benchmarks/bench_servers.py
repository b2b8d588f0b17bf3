"""Builds, installs, starts and stops the benchmarked servers; it measures nothing and ends only what it started."""

from __future__ import annotations

import base64
import contextlib
import hmac
import json
import os
import random
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

HERE = Path(__file__).resolve().parent
REPOSITORY = HERE.parent
BUILD = REPOSITORY / "build" / "bench"
COMPILER_FLAGS = ("-std=c11", "-D_GNU_SOURCE", "-O2", "-Wall", "-Wextra", "-Werror")
SERVER_CORE, LOAD_CORE = 0, 1
START_SECONDS = 20.0
STOP_SECONDS = 5.0

# The one place that knows Hubbub's command line. The limits are features that stay on, set beyond what the load does.
HUBBUB_LIMITS = (
    *("--rate-limit", "1000000", "--control-rate", "1000000", "--room-rate", "1000000", "--handshake-rate", "1000000"),
    *("--max-connections-per-address", "1000000"),
)
HUBBUB_COMMAND = (str(BUILD / "hubbub/bin/hubbub"), "serve", "--host", "127.0.0.1", "--port", "PORT", *HUBBUB_LIMITS)
MEMORY = ("--broker", "memory://")
# On the disk of the repository: a /tmp in memory would flatter it.
SQLITE = ("--broker", "sqlite:///FOLDER/bench.db")
# Signs nothing but the token of the load, who is one user with all its connections.
SECRET = "of benchmarks: 0123456789abcdefghijklmn"
JWT = ("--auth", "jwt", "--max-connections-per-user", "1000000", "--user-rate", "1000000")


class Unavailable(Exception):
    """A server cannot be built or started here; the text says why."""


@dataclass(frozen=True, slots=True)
class Server:
    """A benchmarked server: name on the command line, title in tables, command (PORT and FOLDER are replaced)."""

    name: str
    title: str
    command: tuple[str, ...]
    load_options: tuple[str, ...] = ()
    # Tells each join to each member: 15,000 connections in one room would be 112 million deliveries.
    tells_all_joins: bool = True


def token() -> str:
    """A token for a day, signed with HS256 (RFC 7519); made here because the load starts without Hubbub's libraries."""
    claims = {"sub": "load", "exp": int(time.time()) + 86_400}
    parts = [json.dumps(part).encode() for part in ({"alg": "HS256"}, claims)]
    content = b".".join(map(_base64url, parts))
    return (content + b"." + _base64url(hmac.digest(SECRET.encode(), content, "sha256"))).decode()


def _base64url(data: bytes) -> bytes:
    return base64.urlsafe_b64encode(data).rstrip(b"=")


SERVERS = (
    Server("floor", "C floor, batches", (str(BUILD / "floor"), "PORT"), tells_all_joins=False),
    Server("plain", "C floor, one send() a message", (str(BUILD / "floor"), "PORT", "plain"), tells_all_joins=False),
    Server("hubbub", "**Hubbub**", (*HUBBUB_COMMAND, *MEMORY), tells_all_joins=False),
    Server("hubbub-sqlite", "**Hubbub**, `sqlite://`", (*HUBBUB_COMMAND, *SQLITE), tells_all_joins=False),
    Server(
        "hubbub-jwt",
        "**Hubbub**, each connect with a token",
        (*HUBBUB_COMMAND, *MEMORY, *JWT),
        ("--header", f"Authorization: Bearer {token()}"),
        tells_all_joins=False,
    ),
    Server(
        "hubbub-sse",
        "**Hubbub**, Server-Sent Events",
        (*HUBBUB_COMMAND, *MEMORY),
        ("--stream", "/sse"),
        tells_all_joins=False,
    ),
    Server(
        "hubbub-lines",
        "**Hubbub**, JSON lines",
        (*HUBBUB_COMMAND, *MEMORY),
        ("--stream", "/stream"),
        tells_all_joins=False,
    ),
    Server("bun", "Bun, topics", (str(BUILD / "bun/node_modules/.bin/bun"), str(BUILD / "bun/server.js"), "PORT")),
    Server("node", "Node `ws`, plain loop", ("node", str(BUILD / "node_ws/server.js"), "PORT")),
    Server(
        "websockets",
        "websockets `broadcast()`, uvloop",
        (str(BUILD / "venv/bin/python"), str(HERE / "peers/websockets_server.py"), "PORT"),
    ),
    Server(
        "fastapi",
        "FastAPI on uvicorn",
        (str(BUILD / "venv/bin/python"), str(HERE / "peers/fastapi_server.py"), "PORT"),
    ),
)


def run_quietly(command: list[str], directory: Path, what: str) -> None:
    """Run a build step; raises Unavailable with the last lines of what it printed."""
    try:
        done = subprocess.run(command, cwd=directory, capture_output=True, text=True, check=False, timeout=600)
    except (OSError, subprocess.TimeoutExpired) as error:
        raise Unavailable(f"{what}: {error}") from error
    if done.returncode != 0:
        lines = (done.stdout + done.stderr).strip().splitlines()
        raise Unavailable(f"{what}: " + " / ".join(lines[-3:]))


def build_c_programs() -> None:
    """Compile `load` and `floor` into build/bench."""
    BUILD.mkdir(parents=True, exist_ok=True)
    sources = {"load": sorted(HERE.glob("load*.c")), "floor": [HERE / "floor.c"]}
    for name, files in sources.items():
        command = ["cc", *COMPILER_FLAGS, *map(str, files), "-o", str(BUILD / name)]
        run_quietly(command, HERE, f"compiling {name}")


def install_python(name: str, requirements: Path, python: str) -> None:
    """Make build/bench/<name>, an environment of this Python, unless it was made from the same requirements."""
    venv, stamp = BUILD / name, BUILD / name / "requirements.txt"
    wanted = f"# {python}\n{requirements.read_text()}"
    if stamp.exists() and stamp.read_text() == wanted:
        return
    run_quietly([python, "-m", "venv", "--clear", str(venv)], HERE, f"making the environment {name}")
    pip = [str(venv / "bin/python"), "-m", "pip", "install", "--quiet"]
    run_quietly([*pip, "-r", str(requirements)], HERE, f"installing into {name}")
    if name == "hubbub":
        run_quietly([*pip, "--no-build-isolation", "--no-deps", "-e", str(REPOSITORY)], HERE, "installing Hubbub")
    stamp.write_text(wanted)


def install_node_peer(folder: str) -> None:
    """Copy peers/<folder> to build/bench and install what its lock file names, unless that has been done."""
    source, target = HERE / "peers" / folder, BUILD / folder
    if shutil.which("node") is None or shutil.which("npm") is None:
        raise Unavailable(f"{folder}: node or npm is not installed")
    lock = "package-lock.json"
    fresh = not (target / "node_modules").exists() or (target / lock).read_text() != (source / lock).read_text()
    shutil.copytree(source, target, dirs_exist_ok=True)
    if fresh:
        run_quietly(["npm", "ci", "--no-audit", "--no-fund"], target, f"installing {folder}")


def prepare(server: Server, python: str) -> None:
    """Make sure that the server can be started, on this Python if it is written in it. Raises: Unavailable."""
    if server.name.startswith("hubbub"):
        install_python("hubbub", REPOSITORY / "requirements/serve.txt", python)
    elif server.name in ("websockets", "fastapi"):
        install_python("venv", HERE / "peers/requirements.txt", python)
    elif server.name in ("node", "bun"):
        install_node_peer("node_ws" if server.name == "node" else "bun")
    program = server.command[0]
    if shutil.which(program, path=None) is None and not (REPOSITORY / program).exists():
        raise Unavailable(f"{server.name}: there is no {Path(program).name}")


@contextlib.contextmanager
def on_core(core: int) -> Iterator[None]:
    """Processes started inside inherit the core; a pin after the start would miss threads."""
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {core})
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)


def free_port() -> int:
    """A loopback port that nobody listens on, below those that outgoing connections take by themselves."""
    for port in random.sample(range(10_000, 30_000), 100):
        with socket.socket() as probe, contextlib.suppress(OSError):
            probe.bind(("127.0.0.1", port))
            return port
    raise Unavailable("no free port")


def await_port(process: subprocess.Popen[bytes], port: int, name: str) -> None:
    """Return once the server accepts. Raises: Unavailable when it ends or stays silent."""
    deadline = time.monotonic() + START_SECONDS
    while time.monotonic() < deadline:
        if process.poll() is not None:
            raise Unavailable(f"{name}: ended at once with status {process.returncode}, see build/bench/log/{name}.log")
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=1):
            return
        time.sleep(0.05)
    raise Unavailable(f"{name}: does not accept after {START_SECONDS:.0f} s")


def stop(process: subprocess.Popen[bytes]) -> None:
    """End a process group that this program started, politely at first."""
    for number in (signal.SIGTERM, signal.SIGKILL):
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, number)
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(STOP_SECONDS)


@contextlib.contextmanager
def running(server: Server) -> Iterator[tuple[int, list[int]]]:
    """A fresh server on its core, with an empty folder; yields its port and the ids of all its processes."""
    log = BUILD / "log" / f"{server.name}.log"
    log.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="data-", dir=BUILD) as folder:
        port = free_port()
        command = [word.replace("PORT", str(port)).replace("FOLDER", folder) for word in server.command]
        with log.open("wb") as output, on_core(SERVER_CORE):
            process = subprocess.Popen(
                command,
                cwd=REPOSITORY,
                env={**os.environ, "HUBBUB_JWT_SECRET": SECRET},
                stdout=output,
                stderr=output,
                start_new_session=True,
            )
        try:
            await_port(process, port, server.name)
            time.sleep(0.5)  # imports and workers that come after the first accept
            yield port, family(process.pid)
        finally:
            stop(process)


def family(pid: int) -> list[int]:
    """The process and all its descendants."""
    found = [pid]
    for parent in found:
        for children in Path(f"/proc/{parent}/task").glob("*/children"):
            found.extend(int(child) for child in children.read_text().split())
    return found
