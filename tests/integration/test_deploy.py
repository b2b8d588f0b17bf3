"""What deploy/ says of our server and of systemd: right, and nothing that is not."""

from __future__ import annotations

import json
import re
import shlex
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from hubbub.config import Config, load
from tests.support.peer import Peer
from tests.support.server import ROOT, environment, free_port, wait_until_listening

UNIT = ROOT / "deploy" / "systemd" / "hubbub.service"
SETTINGS = UNIT.with_name("hubbub.toml")
SYSCTL = ROOT / "deploy" / "sysctl" / "60-hubbub.conf"
WORST_EXPOSURE = 15  # tenths, of 100: systemd calls less than 20 "OK"
SECONDS = 10.0
INSTALLED = "/opt/hubbub/.venv/bin/hubbub"


def directives() -> dict[str, str]:
    """The last value of each directive of the unit."""
    return dict(re.findall(r"^([A-Za-z]+)=(.*)$", UNIT.read_text(), re.MULTILINE))


def sysctls() -> dict[str, str]:
    return dict(re.findall(r"^([a-z0-9_.-]+) = (.*)$", SYSCTL.read_text(), re.MULTILINE))


def analyze(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """What systemd says of the unit, with a program that is there."""
    unit = folder / UNIT.name
    unit.write_text(UNIT.read_text().replace(INSTALLED, sys.executable))
    command = ["systemd-analyze", *arguments, str(unit)]
    return subprocess.run(command, capture_output=True, text=True, check=False, timeout=SECONDS)


def test_systemd_knows_every_directive(tmp_path: Path) -> None:
    done = analyze(tmp_path, "verify")
    assert (done.returncode, done.stdout + done.stderr) == (0, "")


def test_systemd_finds_little_that_it_may_do(tmp_path: Path) -> None:
    options = ("--offline=yes", "--no-pager", f"--threshold={WORST_EXPOSURE}", "--json=short")
    done = analyze(tmp_path, "security", *options)
    assert done.returncode == 0, done.stdout
    assert json.loads(done.stdout)


def test_the_command_of_the_unit_serves_reloads_and_stops(tmp_path: Path) -> None:
    port, output, settings = free_port(), tmp_path / "output", tmp_path / "hubbub.toml"
    settings.write_text(re.sub(r"(?m)^port = .*", f"port = {port}", SETTINGS.read_text()))
    written = directives()["ExecStart"].replace("/etc/hubbub/hubbub.toml", str(settings))
    assert written.startswith(f"{INSTALLED} ")
    command = [sys.executable, "-m", "hubbub", *shlex.split(written)[1:]]
    variables = {name: value for name, value in environment(()).items() if not name.startswith("HUBBUB_")}
    with output.open("wb") as file:
        process = subprocess.Popen(command, cwd=tmp_path, env=variables, stdout=file, stderr=subprocess.STDOUT)
    try:
        wait_until_listening(port, process, output)
        with Peer(port) as peer:
            assert peer.http(b"GET /readyz HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")[0] == 200
        process.send_signal(reload_signal())
        with Peer(port) as ada:
            ada.join("lobby", "ada")
        process.send_signal(signal.SIGTERM)
        assert process.wait(SECONDS) == 0
    finally:
        process.kill()
    assert (tmp_path / "hubbub.db").exists()
    assert "the settings were read again; changed: nothing" in output.read_text()


def reload_signal() -> int:
    """What ExecReload sends."""
    command, flag, target = shlex.split(directives()["ExecReload"])
    assert (command, target) == ("kill", "$MAINPID")
    return signal.Signals[f"SIG{flag.removeprefix('-')}"]


@pytest.mark.parametrize("config", [Config(), load(environ={}, file=SETTINGS)], ids=["defaults", "hubbub.toml"])
def test_systemd_waits_longer_than_a_server_takes_to_end(config: Config) -> None:
    server = config.server
    longest = server.drain_notice_seconds + server.drain_seconds + 2 * server.close_seconds + 3
    assert int(directives()["TimeoutStopSec"]) > longest


def test_there_are_files_for_as_many_connections_as_may_be() -> None:
    files = int(directives()["LimitNOFILE"])
    assert files > load(environ={}, file=SETTINGS).limits.max_connections
    assert files <= int(sysctls()["fs.nr_open"]) < int(sysctls()["fs.file-max"])


def test_the_kernel_lets_as_many_wait_as_the_server_asks_for() -> None:
    assert int(sysctls()["net.core.somaxconn"]) >= Config().server.backlog


def test_the_kernel_keeps_what_a_slow_reader_may_have_waiting() -> None:
    assert int(sysctls()["net.ipv4.tcp_wmem"].split()[2]) >= Config().limits.max_buffered_bytes


@pytest.mark.parametrize("name", sysctls())
def test_the_kernel_has_such_a_setting(name: str) -> None:
    assert Path("/proc/sys", *name.split(".")).exists()
