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
from redis.crc import key_slot

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

    def __init__(self, folder: Path, *, sentinel: bool = False, tls: bool = False, **options: Any) -> None:
        self.folder = folder
        self.port = free_port()
        self.sentinel = sentinel
        self.tls = tls
        self.options = {"port": 0 if tls else self.port, **({"tls-port": self.port} if tls else {}), **options}
        self.process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        return f"redis://127.0.0.1:{self.port}"

    def ask(self, *command: str | int | bytes) -> Any:
        """The reply to a command, of a client that is not ours."""
        password = self.options.get("requirepass")
        with redis.Redis(
            *("127.0.0.1", self.port, 0, password),
            socket_timeout=START_SECONDS,
            protocol=2,
            ssl=self.tls,
            ssl_cert_reqs="none",
        ) as client:
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


class RedisCluster:
    """Three nodes that share the slots between them, without replicas; `config` is that of each."""

    def __init__(self, folder: Path, **config: Any) -> None:
        self.servers: list[RedisServer] = []
        for number in range(3):
            (folder / str(number)).mkdir()
            options: dict[str, Any] = {
                "cluster_enabled": "yes",
                "cluster_port": free_port(),
                "cluster_node_timeout": 1000,
                **config,
            }
            self.servers.append(RedisServer(folder / str(number), **options))

    @property
    def url(self) -> str:
        return "redis+cluster://" + ",".join(f"127.0.0.1:{server.port}" for server in self.servers[:2])

    def __enter__(self) -> RedisCluster:
        bounds = [0, 5461, 10923, 16384]
        for number, server in enumerate(self.servers):
            server.start()
            server.ask("CLUSTER", "ADDSLOTSRANGE", bounds[number], bounds[number + 1] - 1)
        for server in self.servers[1:]:
            first = self.servers[0]
            server.ask("CLUSTER", "MEET", "127.0.0.1", first.port, first.options["cluster_port"])
        for server in self.servers:
            server.wait_for(lambda server=server: self._whole(server))
        return self

    def give_away(self, key: bytes) -> None:
        """Moves the slot of a key, and all that is in it, to another node."""
        slot = key_slot(key)
        ids = [server.ask("CLUSTER", "MYID") for server in self.servers]
        source = next(at for at, server in enumerate(self.servers) if server.ask("CLUSTER", "COUNTKEYSINSLOT", slot))
        target = (source + 1) % len(self.servers)
        giver, taker = self.servers[source], self.servers[target]
        taker.ask("CLUSTER", "SETSLOT", slot, "IMPORTING", ids[source])
        giver.ask("CLUSTER", "SETSLOT", slot, "MIGRATING", ids[target])
        for name in giver.ask("CLUSTER", "GETKEYSINSLOT", slot, 1000):
            giver.ask("MIGRATE", "127.0.0.1", taker.port, name, 0, 5000)
        for server in (taker, giver):
            server.ask("CLUSTER", "SETSLOT", slot, "NODE", ids[target])

    def _whole(self, server: RedisServer) -> bool:
        return b"cluster_state:ok" in bytes(server.ask("CLUSTER", "INFO")) and len(server.ask("CLUSTER", "SLOTS")) == 3

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        for server in self.servers:
            server.kill()


class Watched:
    """A master, a replica, and a Sentinel that makes the replica the master when the master is gone."""

    def __init__(self, folder: Path) -> None:
        for name in ("master", "replica", "sentinel"):
            (folder / name).mkdir()
        self.master = RedisServer(folder / "master", repl_diskless_sync_delay=0)
        self.replica = RedisServer(
            folder / "replica", replicaof=f"127.0.0.1 {self.master.port}", repl_diskless_sync_delay=0
        )
        self.sentinel = RedisServer(folder / "sentinel", sentinel=True)
        self.sentinel.options |= {
            "sentinel monitor rooms": f"127.0.0.1 {self.master.port} 1",
            "sentinel down-after-milliseconds rooms": 500,
            "sentinel failover-timeout rooms": 3000,
        }

    @property
    def url(self) -> str:
        return f"redis+sentinel://127.0.0.1:1,127.0.0.1:{self.sentinel.port}/rooms"

    def __enter__(self) -> Watched:
        self.master.start()
        self.replica.start()
        self.replica.wait_for(lambda: self.replica.ask("ROLE")[3] == b"connected")
        self.sentinel.start()
        self.sentinel.wait_for(lambda: len(self.sentinel.ask("SENTINEL", "REPLICAS", "rooms")) == 1)
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        for server in (self.sentinel, self.replica, self.master):
            server.kill()
