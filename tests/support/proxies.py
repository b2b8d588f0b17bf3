"""nginx and HAProxy as processes of their own, with the files of deploy/: only names, ports and numbers replaced."""

from __future__ import annotations

import getpass
import grp
import os
import random
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from tests.support.canary import canary
from tests.support.certificates import Files
from tests.support.server import ROOT, STOP_SECONDS, Server, wait_until_listening

DEPLOY = ROOT / "deploy"
UNPACKED = ROOT / "build" / "proxies"
NGINX, HAPROXY = "nginx", "haproxy"
PROXIES = (NGINX, HAPROXY)
NAME = "localhost"
TEMPORARY = ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")


@dataclass
class Proxy:
    """A proxy that runs, and speaks TLS.

    Attributes:
        plain: the port of plain HTTP.
        output: what it prints; HAProxy's log of requests too.
        folder: where its files are.
    """

    name: str
    port: int
    plain: int
    process: subprocess.Popen[bytes]
    output: Path
    folder: Path

    @property
    def http(self) -> str:
        return f"https://{NAME}:{self.port}"

    @property
    def ws(self) -> str:
        return f"wss://{NAME}:{self.port}"

    @property
    def requests(self) -> str:
        """Its log of requests."""
        log = self.folder / "hubbub.log" if self.name == NGINX else self.output
        return log.read_text(errors="replace")

    def reload(self, files: Files) -> None:
        """As `systemctl reload` does, with the certificate as it is now."""
        combined(self.folder, files)
        self.process.send_signal(signal.SIGHUP if self.name == NGINX else signal.SIGUSR2)

    def administer(self, command: str) -> str:
        """A command to HAProxy's administrator's socket."""
        with socket.socket(socket.AF_UNIX) as admin:
            admin.settimeout(STOP_SECONDS)
            admin.connect(str(self.folder / "admin.sock"))
            admin.sendall(f"{command}\n".encode())
            return b"".join(iter(lambda: admin.recv(4096), b"")).decode()

    def state(self, node: str) -> str:
        """A node's state, as HAProxy sees it: UP, DOWN, DRAIN."""
        rows = [line.split(",") for line in self.administer("show stat").splitlines()]
        [found] = [row for row in rows[1:] if row[:2] == ["hubbub", node]]
        return found[rows[0].index("status")]

    def wait_until(self, node: str, state: str) -> None:
        """Returns once HAProxy sees a node so."""
        deadline = time.monotonic() + STOP_SECONDS
        while (found := self.state(node)) != state:
            assert time.monotonic() < deadline, f"{node} is {found}"
            time.sleep(0.02)


def program(name: str) -> tuple[str, dict[str, str]]:
    """The program, and the environment that it needs: the system's, or that of `make proxies`.

    Raises:
        RuntimeError: there is none.
    """
    unpacked = UNPACKED / "usr" / "sbin" / name
    if unpacked.exists():
        libraries = [str(folder) for folder in (UNPACKED / "usr" / "lib").glob("*-linux-*")]
        return str(unpacked), {**os.environ, "LD_LIBRARY_PATH": ":".join(libraries)}
    found = shutil.which(name, path=f"{os.environ.get('PATH', '')}:/usr/sbin:/usr/local/sbin")
    if found is None:
        raise RuntimeError(f"the tests of deploy/ need {name}: make proxies")
    return found, dict(os.environ)


def replaced(file: Path, names: Mapping[str, str]) -> str:
    """What is in a file of deploy/, with names replaced; each of them must be there."""
    text = file.read_text()
    for old, new in names.items():
        assert old in text, f"{old!r} is not in {file.name}"
        text = text.replace(old, new)
    return text


def nodes_of(nodes: Sequence[Server]) -> dict[str, str]:
    first, last = nodes[0], nodes[-1]
    return {"127.0.0.1:8081": f"127.0.0.1:{first.port}", "127.0.0.1:8082": f"127.0.0.1:{last.port}"}


def render_nginx(
    folder: Path, nodes: Sequence[Server], files: Files, ports: tuple[int, int], more: Mapping[str, str]
) -> list[str]:
    """Writes the files, and returns the arguments to start with."""
    plain, port = ports
    paths = "".join(f"{kind}_temp_path {folder}/{kind};\n    " for kind in TEMPORARY)
    whole = {
        "user www-data;": f"user {getpass.getuser()} {grp.getgrgid(os.getgid()).gr_name};",
        "/run/nginx.pid": str(folder / "nginx.pid"),
        "/var/log/nginx/": f"{folder}/",
        "66000": "4096",
        "65536": "4000",
        "include /etc/nginx/conf.d/": f"{paths}include {folder}/conf.d/",
    }
    site = {
        "/etc/letsencrypt/live/chat.example.com/fullchain.pem": str(files.cert),
        "/etc/letsencrypt/live/chat.example.com/privkey.pem": str(files.key),
        "/var/log/nginx/": f"{folder}/",
        "chat.example.com": NAME,
        "listen 80;": f"listen 127.0.0.1:{plain};",
        "listen 443 ": f"listen 127.0.0.1:{port} ",
        "listen [::]:80;": f"listen [::1]:{plain};",
        "listen [::]:443 ": f"listen [::1]:{port} ",
        **nodes_of(nodes),
        **more,
    }
    (folder / "conf.d").mkdir()
    (folder / "conf.d" / "hubbub.conf").write_text(replaced(DEPLOY / "nginx" / "hubbub.conf", site))
    (folder / "nginx.conf").write_text(replaced(DEPLOY / "nginx" / "nginx.conf", whole))
    return ["-p", str(folder), "-e", "stderr", "-c", str(folder / "nginx.conf")]


def render_haproxy(
    folder: Path, nodes: Sequence[Server], files: Files, ports: tuple[int, int], more: Mapping[str, str]
) -> list[str]:
    """Writes the files, and returns the arguments to start with."""
    plain, port = ports
    names = {
        "/etc/haproxy/certs/chat.example.com.pem": str(combined(folder, files)),
        "/run/haproxy/": f"{folder}/",
        "log /dev/log local0": "log stdout format raw local0",
        "    chroot /var/lib/haproxy\n": "",
        "user haproxy": f"user {getpass.getuser()}",
        "group haproxy": f"group {grp.getgrgid(os.getgid()).gr_name}",
        "maxconn 100000": "maxconn 1000",
        "chat.example.com": NAME,
        "inter 2s fastinter 500ms": "inter 100ms fastinter 50ms",
        "bind :80\n": f"bind 127.0.0.1:{plain}\n",
        "bind :443 ": f"bind 127.0.0.1:{port} ",
        "bind [::]:80 ": f"bind [::1]:{plain} ",
        "bind [::]:443 ": f"bind [::1]:{port} ",
        **nodes_of(nodes),
        **more,
    }
    (folder / "haproxy.cfg").write_text(replaced(DEPLOY / "haproxy" / "haproxy.cfg", names))
    return ["-W", "-f", str(folder / "haproxy.cfg")]


def quiet_ports() -> tuple[int, int]:
    """Two free ports on IPv4 and IPv6 that no outgoing connection of anybody is given before they are bound."""
    first_given = int(Path("/proc/sys/net/ipv4/ip_local_port_range").read_text().split()[0])
    found = [port for port in random.sample(range(10_000, max(first_given, 20_000)), 20) if is_free(port)]
    return found[0], found[1]


def is_free(port: int) -> bool:
    for family, address in ((socket.AF_INET, "127.0.0.1"), (socket.AF_INET6, "::1")):
        with socket.socket(family) as probe:
            try:
                probe.bind((address, port))
            except OSError:
                return False
    return True


def combined(folder: Path, files: Files) -> Path:
    """Certificate and key in one file, as HAProxy has them."""
    file = folder / "server.pem"
    file.write_bytes(files.cert.read_bytes() + files.key.read_bytes())
    return file


def check(name: str, arguments: Sequence[str]) -> str:
    """What the proxy itself says of its files.

    Raises:
        CalledProcessError: they are wrong.
    """
    command, variables = program(name)
    options = ["-t", "-q"] if name == NGINX else ["-c", "-q"]
    done = subprocess.run([command, *options, *arguments], env=variables, capture_output=True, text=True, check=True)
    return done.stdout + done.stderr


@contextmanager
def proxied(
    name: str, folder: Path, nodes: Sequence[Server], files: Files, more: Mapping[str, str] | None = None
) -> Iterator[Proxy]:
    """Runs a proxy in front of one node or two until the block ends.

    Args:
        more: what else is replaced in the file with the site.
    """
    plain, port = quiet_ports()
    folder = folder / f"{name}-{port}"
    folder.mkdir()
    render = render_nginx if name == NGINX else render_haproxy
    arguments = render(folder, nodes, files, (plain, port), more or {})
    assert check(name, arguments) == ""
    command, variables = program(name)
    foreground = ["-g", "daemon off;"] if name == NGINX else []
    output = folder / "output.log"
    with output.open("wb") as file:
        process = subprocess.Popen(
            [command, *foreground, *arguments], env=variables, stdout=file, stderr=subprocess.STDOUT
        )
    proxy = Proxy(name, port, plain, process, output, folder)
    try:
        wait_until_listening(port, process, output)
        canary.watch(output)
        yield proxy
    finally:
        canary.forget(output)
        process.terminate()
        try:
            process.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
            raise
