"""Several processes on one port and one Redis: they serve together, are replaced when they die, and end together."""

from __future__ import annotations

import asyncio
import os
import re
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from functools import partial
from pathlib import Path
from uuid import uuid4

import pytest

from tests.support.certificates import Authority
from tests.support.peer import Peer, TlsPeer, command
from tests.support.redis import RedisServer
from tests.support.returning import ReturningClient
from tests.support.server import FAST, Server, serve
from tests.support.swarm import Swarm, failures
from tests.support.terminal import HUBBUB, run, terminal

pytestmark = pytest.mark.timeout(120)  # each worker takes a second of a core to start, which others use as well
COUNT = 2
SECONDS = 30.0


def until(condition: Callable[[], bool]) -> None:
    """Looks again and again until it is so: nobody tells of it."""
    deadline = time.monotonic() + SECONDS
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def workers(server: Server) -> list[int]:
    """The processes that the server has started."""
    pid = server.process.pid
    return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def have_started(server: Server, count: int) -> bool:
    """Whether so many workers have been there until now."""
    return server.log.count("redis is there") >= count


def lives(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


@contextmanager
def working(folder: Path, redis_server: RedisServer, *options: str) -> Iterator[Server]:
    """A server of several workers, all of which have started."""
    with starting(folder, redis_server, *options) as server:
        until(partial(have_started, server, COUNT))
        yield server


@contextmanager
def starting(folder: Path, redis_server: RedisServer, *options: str) -> Iterator[Server]:
    """The same, whose workers may not be there yet."""
    shared = ("--broker", redis_server.url, "--redis-prefix", f"{uuid4()}:", "--rate-limit", "0")
    with serve(folder, FAST, "--workers", str(COUNT), *shared, *options) as server:
        yield server


class Crowd:
    """A client on each worker, by the node that it is on; whoever comes to a worker that has one leaves again."""

    def __init__(self, port: int, room: str = "", kind: type[Peer] = Peer) -> None:
        self.peers: dict[str, Peer] = {}
        self._kind = kind
        self._port = port
        self._room = room
        self._stack = ExitStack()

    def __enter__(self) -> list[Peer]:
        with self._stack:
            until(lambda: self._come() == COUNT)
            self._stack = self._stack.pop_all()
        return list(self.peers.values())

    def __exit__(self, *ending: object) -> None:
        self._stack.close()

    def _come(self) -> int:
        """One more comes; on how many workers somebody is then."""
        with ExitStack() as leaving:
            peer = leaving.enter_context(self._kind(self._port))
            peer.open()
            node = peer.event("connected")["node"]
            if node not in self.peers:
                self._stack.push(leaving.pop_all())
                self.peers[node] = peer
                if self._room:
                    peer.send(command(type="join", room=self._room, username=f"user {len(self.peers)}"))
                    peer.event("room_info")
        return len(self.peers)


@pytest.fixture(scope="module")
def server(redis_server: RedisServer, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with working(tmp_path_factory.mktemp("workers"), redis_server) as server:
        yield server


# Together


def test_clients_on_different_workers_are_in_one_room(server: Server) -> None:
    with Crowd(server.port, room=str(uuid4())) as peers:
        assert peers[0].event("user_joined")["memberCount"] == COUNT
        peers[0].send(command(type="state", text="hello", id=1))
        assert [peer.event("stated")["text"] for peer in peers] == ["hello"] * COUNT


def test_each_worker_is_a_node_that_knows_of_the_others(server: Server) -> None:
    crowd = Crowd(server.port)
    with crowd as peers:
        for peer in peers:
            peer.send(command(type="census"))
            counted = peer.event("counted")
            assert {info["node"] for info in counted["connections"]} >= set(crowd.peers)
            assert counted["silent"] == []


def test_ctrl_c_in_a_terminal_is_for_the_supervisor_alone(server: Server) -> None:
    pids = workers(server)
    assert [os.getpgid(pid) for pid in pids] == pids
    assert len(pids) == COUNT


def test_lines_of_the_log_say_which_process_wrote_them(server: Server) -> None:
    pids = workers(server)
    said = re.findall(r"^\S+ \S+ (\d+) INFO hubbub redis is there", server.log, re.MULTILINE)
    assert sorted(map(int, said)) == sorted(pids)


def test_all_serve_over_tls(redis_server: RedisServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    files = Authority(tmp_path).issue("server")
    monkeypatch.setenv("SSL_CERT_FILE", str(files.authority))
    with working(tmp_path, redis_server, *files.options) as server, Crowd(server.port, kind=TlsPeer) as peers:
        server.process.send_signal(signal.SIGTERM)
        assert [peer.close_code() for peer in peers] == [1012] * COUNT
        assert server.process.wait(SECONDS) == 0


# Who dies is replaced


async def live(client: ReturningClient) -> None:
    while True:
        await client.return_()
        await client.stay()


async def talk(swarm: Swarm, client: ReturningClient) -> None:
    while True:
        await asyncio.sleep(0.02)
        if len(client.unanswered) < 8:
            swarm.publish(client)


async def kill_all(server: Server, swarm: Swarm) -> None:
    """Kills each worker while everybody talks, the next one when all are there again; then waits for what is owed."""
    talking = [asyncio.create_task(talk(swarm, client)) for client in swarm.clients]
    living = [asyncio.create_task(live(client)) for client in swarm.clients]
    for number, pid in enumerate(workers(server), 1):
        os.kill(pid, signal.SIGKILL)
        await asyncio.to_thread(until, partial(have_started, server, COUNT + number))
    for task in talking:
        task.cancel()
    await swarm.settle()
    for task in living:
        task.cancel()
    await asyncio.wait(talking + living)
    for client in swarm.clients:
        client.reset()
    await asyncio.sleep(0)


def test_each_worker_is_killed_and_replaced_and_nothing_is_lost(redis_server: RedisServer, tmp_path: Path) -> None:
    with working(tmp_path, redis_server) as server:
        first = workers(server)
        swarm = Swarm([server.port], 9, 9)
        asyncio.run(kill_all(server, swarm))
        figures = swarm.figures()
        assert (failures(figures), figures["losses"] > 0) == ([], True)
        assert (set(first) & set(workers(server)), len(workers(server))) == (set(), COUNT)
        assert server.log.count("has ended with -9; another one starts in 0.1 s") >= 1


FAILING = """
import pathlib
from hubbub.apps.chat import app
mark = pathlib.Path(__file__).with_suffix(".mark")
if mark.exists():
    raise SystemExit("no more")
mark.touch()
"""


def test_a_worker_that_cannot_start_is_tried_less_and_less_often(redis_server: RedisServer, tmp_path: Path) -> None:
    (tmp_path / "failing.py").write_text(FAILING)
    options = ("--workers", "2", "--port", "0", "--broker", redis_server.url)
    with terminal(*HUBBUB, "serve", "failing:app", *options, folder=tmp_path) as program:
        lines = [program.line()]
        while sum("another one starts" in line for line in lines) < 8:
            lines.append(program.line())
        found = re.findall(r"worker (\d) has ended with 2; another one starts in (.*) s", "\n".join(lines))
        assert sorted(found) == [(worker, wait) for worker in "12" for wait in ("0.1", "0.2", "0.4", "0.8")]
        assert lines.count("hubbub: cannot import failing: SystemExit: no more") >= 8
        program.process.send_signal(signal.SIGTERM)
        assert program.process.wait(SECONDS) in (0, 1)
        assert not any("Traceback" in line for line in lines + program.rest())


# The end


def test_sigterm_drains_all_and_the_exit_code_is_0(redis_server: RedisServer, tmp_path: Path) -> None:
    with working(tmp_path, redis_server) as server, Crowd(server.port) as peers:
        pids = workers(server)
        server.process.send_signal(signal.SIGTERM)
        assert [500 <= peer.event("reconnect")["after"] <= 510 for peer in peers] == [True] * COUNT
        assert [peer.close_code() for peer in peers] == [1012] * COUNT
        assert server.process.wait(SECONDS) == 0
        assert not any(map(lives, pids))


def test_a_signal_while_they_start_drains_them_as_well(redis_server: RedisServer, tmp_path: Path) -> None:
    with starting(tmp_path, redis_server) as server:
        until(lambda: len(workers(server)) == COUNT)
        assert server.stop() == 0
        assert "has ended" not in server.log


def test_a_second_signal_ends_all_at_once(redis_server: RedisServer, tmp_path: Path) -> None:
    options = ("--drain-notice-seconds", "600")
    with working(tmp_path, redis_server, *options) as server, Crowd(server.port) as peers:
        server.process.send_signal(signal.SIGTERM)
        for peer in peers:
            peer.event("reconnect")
        server.process.send_signal(signal.SIGINT)
        assert [peer.close_code() for peer in peers] == [1012] * COUNT
        assert server.process.wait(SECONDS) == 0


def test_a_worker_that_hangs_is_killed_after_a_second_signal(redis_server: RedisServer, tmp_path: Path) -> None:
    with working(tmp_path, redis_server) as server, Crowd(server.port):
        pids = workers(server)
        os.kill(pids[0], signal.SIGSTOP)
        server.process.send_signal(signal.SIGTERM)
        until(lambda: not any(map(lives, pids[1:])))
        server.process.send_signal(signal.SIGTERM)
        assert server.process.wait(SECONDS) == 1
        assert not lives(pids[0])


def test_workers_end_with_their_supervisor_however_it_ends(redis_server: RedisServer, tmp_path: Path) -> None:
    with working(tmp_path, redis_server) as server, Crowd(server.port) as peers:
        pids = workers(server)
        server.process.kill()
        assert [peer.close_code() for peer in peers] == [1012] * COUNT
        until(lambda: not any(map(lives, pids)))


def test_sighup_reaches_all(redis_server: RedisServer, tmp_path: Path) -> None:
    file = tmp_path / "hubbub.toml"
    file.write_text("")
    with working(tmp_path, redis_server, "--config", str(file)) as server, Crowd(server.port):
        file.write_text("[limits]\nmax_rooms = 7\n")
        server.process.send_signal(signal.SIGHUP)
        until(lambda: server.log.count("the settings were read again; changed: max_rooms") == COUNT)
        assert server.process.poll() is None


# Mistakes


def refusal(*arguments: str) -> str:
    """The one line about a mistake, before any worker has started."""
    done = run("serve", "--workers", "2", *arguments)
    assert (done.returncode, done.stdout, done.stderr.count("\n")) == (2, "", 1), done
    return done.stderr.removeprefix("hubbub: ").rstrip("\n")


@pytest.mark.parametrize("broker", ["memory://", "sqlite:///never.db"])
def test_a_broker_of_one_process_is_one_line_with_the_remedy(broker: str) -> None:
    kind = broker.partition(":")[0]
    expected = f"workers 2: {kind} is for one process: give --broker redis://host, or one worker"
    assert refusal("--broker", broker) == expected


def test_a_port_that_is_taken_is_one_line(redis_server: RedisServer, server: Server) -> None:
    line = refusal("--broker", redis_server.url, "--port", str(server.port))
    assert line == f"cannot listen on 127.0.0.1:{server.port}: Address already in use"


def test_others_are_not_served_before_it_is_chosen_who_may_come_in(redis_server: RedisServer) -> None:
    assert "choose who may come in" in refusal("--broker", redis_server.url, "--port", "0", "--host", "0.0.0.0")


def test_a_redis_that_is_not_there_is_one_line() -> None:
    assert refusal("--broker", "redis://127.0.0.1:1", "--port", "0").startswith("redis://127.0.0.1:1: ")


def test_an_application_that_cannot_be_had_is_one_line(redis_server: RedisServer) -> None:
    assert refusal("no_such:app", "--broker", redis_server.url, "--port", "0").startswith("cannot import no_such: ")


def test_a_socket_that_is_none_is_one_line() -> None:
    done = run("serve", extra={"HUBBUB_WORKER_SOCKET": "999"})
    assert (done.returncode, done.stderr) == (
        2,
        "hubbub: HUBBUB_WORKER_SOCKET: '999' is no socket: it is for workers alone\n",
    )
