"""What waiting polls cost: memory and CPU of each, and the CPU and the time when one event wakes them all."""

from __future__ import annotations

import argparse
import json
import os
import resource
import selectors
import socket
import sys
import tempfile
import time
from collections.abc import Callable
from contextlib import ExitStack, suppress
from pathlib import Path
from statistics import median

from tests.support.chatter import chatting
from tests.support.server import TESTED, Server, serve

SERVER_CORE, LOAD_CORE = 0, 1
OPTIONS = ("--handshake-rate", "0", "--max-connections-per-address", "100000", "--rate-limit", "0")
# Of one address there are some 28,000 ports; each source address has its own.
CLIENTS_AN_ADDRESS = 1000
# Until heartbeats and the sweeps of the collector have come.
SETTLE_SECONDS = 3.0
DEADLINE_SECONDS = 90.0
TICKS = os.sysconf("SC_CLK_TCK")


class Pollers:
    """Clients that each wait for an answer on a connection of their own.

    Attributes:
        since: the place that all of them have reached.
    """

    def __init__(self, port: int, room: str) -> None:
        self._port = port
        self._room = room
        self._sockets: list[socket.socket] = []
        self._selector = selectors.EpollSelector()
        self.since = json.loads(self.ask_one("timeout=0"))["since"]

    def _request(self, query: str) -> bytes:
        return f"GET /poll?room={self._room}&{query} HTTP/1.1\r\nhost: 127.0.0.1\r\n\r\n".encode()

    def ask_one(self, query: str) -> bytes:
        """The body of an answer."""
        with socket.create_connection(("127.0.0.1", self._port), DEADLINE_SECONDS) as client:
            client.sendall(self._request(query).replace(b"\r\n\r\n", b"\r\nconnection: close\r\n\r\n"))
            return client.makefile("rb").read().partition(b"\r\n\r\n")[2]

    def connect(self, count: int) -> None:
        for number in range(count):
            self._sockets.append(self._open(number))
            self._sockets[-1].sendall(self._request(f"since={self.since}&timeout=60"))

    def _open(self, number: int) -> socket.socket:
        address = f"127.0.1.{1 + number // CLIENTS_AN_ADDRESS}"
        client = socket.create_connection(("127.0.0.1", self._port), DEADLINE_SECONDS, (address, 0))
        self._selector.register(client, selectors.EVENT_READ)
        return client

    def ask(self) -> None:
        """All poll again, on the same connections; what was idle for too long has ended, and is opened anew."""
        request = self._request(f"since={self.since}&timeout=60")
        for key, _ in self._selector.select(0):
            assert isinstance(key.fileobj, socket.socket)
            number = self._sockets.index(key.fileobj)
            self._selector.unregister(key.fileobj)
            key.fileobj.close()
            self._sockets[number] = self._open(number)
        for client in self._sockets:
            client.sendall(request)

    def collect(self) -> None:
        """Returns once everybody has an answer with one event."""
        left = len(self._sockets)
        received: dict[int, bytes] = {}
        deadline = time.monotonic() + DEADLINE_SECONDS
        while left:
            assert time.monotonic() < deadline, f"{left} polls were not answered"
            for key, _ in self._selector.select(1):
                assert isinstance(key.fileobj, socket.socket)
                received[key.fd] = received.get(key.fd, b"") + key.fileobj.recv(65536)
                head, _, body = received[key.fd].partition(b"\r\n\r\n")
                left -= f"content-length: {len(body)}".encode() in head
        answers = [json.loads(answer.partition(b"\r\n\r\n")[2]) for answer in received.values()]
        assert all(len(answer["events"]) == 1 for answer in answers)
        self.since = answers[0]["since"]

    def close(self) -> None:
        for client in self._sockets:
            self._selector.unregister(client)
            client.close()
        self._sockets.clear()


def memory(pid: int) -> int:
    """Bytes that are the process's: Pss."""
    lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith("Pss:"))


def cpu_seconds(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / TICKS


def wait_for(server: Server, connections: int) -> None:
    """Returns once so many are there; it asks seldom, for its questions are answered between the polls."""
    deadline = time.monotonic() + DEADLINE_SECONDS
    found = -1
    while found != connections:
        assert time.monotonic() < deadline, f"{found} connections instead of {connections}"
        time.sleep(0.1)
        with suppress(TimeoutError):  # it is busy with them
            found = server.counters()["connections"]


def spent(server: Server, work: Callable[[], None]) -> tuple[float, float]:
    """CPU seconds of the server, and seconds, that something takes."""
    cpu, begin = cpu_seconds(server.process.pid), time.monotonic()
    work()
    return cpu_seconds(server.process.pid) - cpu, time.monotonic() - begin


def measure(server: Server, polls: int, rounds: int) -> dict[str, float]:
    os.sched_setaffinity(server.process.pid, {SERVER_CORE})
    with chatting(f"{server.ws}/ws") as ada:
        ada.join("polled", "ada")

        def speak() -> None:
            ada.send(type="message", text="x" * 64)

        pollers = Pollers(server.port, "polled")
        pollers.connect(200)  # what is made once is not counted
        wait_for(server, 201)
        speak()
        pollers.collect()
        pollers.close()
        before = memory(server.process.pid)

        def connect() -> None:
            pollers.connect(polls)
            wait_for(server, polls + 1)

        def ask() -> None:
            pollers.ask()
            wait_for(server, polls + 1)

        connecting, _ = spent(server, connect)
        time.sleep(SETTLE_SECONDS)
        waiting = memory(server.process.pid)
        idle, _ = spent(server, lambda: time.sleep(SETTLE_SECONDS))
        wakes, times, asks = [], [], []
        for _ in range(rounds):
            speak()
            wake, seconds = spent(server, pollers.collect)
            asking, _ = spent(server, ask)
            wakes.append(wake)
            times.append(seconds)
            asks.append(asking)
        again = memory(server.process.pid)
        pollers.close()
        wait_for(server, 1)
        time.sleep(SETTLE_SECONDS)
        after = memory(server.process.pid)
    return {
        "polls": polls,
        "bytes_each": (waiting - before) / polls,
        "bytes_each_after_rounds": (again - before) / polls,
        "bytes_left_each": (after - before) / polls,
        "us_connect_and_poll": connecting / polls * 1e6,
        "us_poll_again": median(asks) / polls * 1e6,
        "us_wake": median(wakes) / polls * 1e6,
        "seconds_until_all_were_answered": median(times),
        "us_idle_each_second": idle / SETTLE_SECONDS / polls * 1e6,
    }


def main() -> int:
    """A line of JSON; fails where a waiting poll takes more than is promised."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--polls", type=int, default=15_000, help="that wait at once (15,000)")
    parser.add_argument("--rounds", type=int, default=5, help="how often all are woken (5)")
    parser.add_argument("--most", type=int, default=8192, help="bytes that one may take (8,192)")
    arguments = parser.parse_args()
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = arguments.polls + 100
    if soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (min(wanted, hard), hard))
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        server = stack.enter_context(serve(folder, "fast path", *OPTIONS, "--broker", "memory://", target=TESTED))
        os.sched_setaffinity(0, {LOAD_CORE})
        figures = measure(server, arguments.polls, arguments.rounds)
    print(json.dumps({name: round(value, 2) for name, value in figures.items()}))
    return int(figures["bytes_each_after_rounds"] > arguments.most)


if __name__ == "__main__":
    sys.exit(main())
