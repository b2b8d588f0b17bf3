"""A node that is killed under load loses nothing that it acknowledged: benchmarks/kill.py in short."""

import subprocess
import sys

import pytest

from tests.support.server import ROOT, environment


@pytest.mark.timeout(120)
def test_what_was_acknowledged_survives_kill_9() -> None:
    command = [sys.executable, "benchmarks/kill.py", "--kills", "5"]
    done = subprocess.run(command, cwd=ROOT, env=environment(()), capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "0 of them are there twice" in done.stdout
