"""Clients whose connections are reset again and again lose nothing: benchmarks/jitter.py in short."""

import subprocess
import sys

import pytest

from tests.support.server import ROOT, environment

SHORT = ("--clients", "60", "--seconds", "6", "--every", "2", "--offline", "0.5")


def jitter(*options: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "benchmarks/jitter.py", *SHORT, *options]
    return subprocess.run(command, cwd=ROOT, env=environment(()), capture_output=True, text=True, check=False)


@pytest.mark.timeout(90)
@pytest.mark.parametrize("options", [("--broker", "memory://"), ("--broker", "sqlite"), ("--nodes", "2")], ids=" ".join)
def test_nothing_is_lost_when_connections_are_reset(options: tuple[str, ...]) -> None:
    done = jitter(*options)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "delivered 100.000 %" in done.stdout


@pytest.mark.timeout(90)
def test_who_comes_back_without_a_position_is_seen_to_miss_something() -> None:
    done = jitter("--broker", "memory://", "--forgetful")
    assert done.returncode == 1, done.stdout + done.stderr
    assert "FAILED delivered" in done.stdout
