"""Honest clients are served while others attack: benchmarks/siege.py in short."""

import subprocess
import sys

import pytest

from tests.support.server import ROOT, environment

SHORT = (
    *("--clients", "60", "--room-size", "20", "--attackers", "120", "--rounds", "1", "--seconds", "4"),
    *("--pause", "0.3", "--heartbeat", "1", "--connections", "80", "--handshakes", "100"),
    *("--option=--handshake-seconds", "--option=1"),
)


def siege(*options: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "benchmarks/siege.py", *SHORT, *options]
    return subprocess.run(command, cwd=ROOT, env=environment(()), capture_output=True, text=True, check=False)


@pytest.mark.timeout(90)
def test_attackers_get_the_promised_answers_and_the_honest_get_everything() -> None:
    done = siege()
    assert done.returncode == 0, done.stdout + done.stderr
    assert "delivered 100.000 %" in done.stdout
    assert "0 honest connections lost" in done.stdout


@pytest.mark.timeout(90)
def test_an_answer_that_is_not_the_promised_one_and_an_event_that_is_missing_are_seen() -> None:
    done = siege("--turned", "27", "--forgetful")
    assert done.returncode == 1, done.stdout + done.stderr
    assert "FAILED row 27, binary: " in done.stdout
    assert "FAILED delivered" in done.stdout
