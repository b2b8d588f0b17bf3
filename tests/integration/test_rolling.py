"""Nodes are restarted one after the other, and nobody notices: benchmarks/rolling.py in short."""

import subprocess
import sys

import pytest

from tests.support.server import ROOT, environment


def rolling(*options: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "benchmarks/rolling.py", "--clients", "300", *options]
    return subprocess.run(command, cwd=ROOT, env=environment(()), capture_output=True, text=True, check=False)


@pytest.mark.timeout(120)
def test_a_rolling_restart_loses_nothing_leaves_nobody_behind_and_is_not_announced() -> None:
    done = rolling()
    assert done.returncode == 0, done.stdout + done.stderr
    assert "delivered 100.000 %" in done.stdout


@pytest.mark.timeout(120)
def test_who_comes_back_without_a_session_is_seen_to_be_announced() -> None:
    done = rolling("--forgetful")
    assert done.returncode == 1, done.stdout + done.stderr
    assert "were told of comings and goings" in done.stdout
