"""Whatever fails between nodes and Redis: nothing is lost, doubled or reordered. benchmarks/faults.py in short."""

import subprocess
import sys

import pytest

from tests.support.server import ROOT, environment


def faults(*options: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "benchmarks/faults.py", "--load", "300", *options]
    return subprocess.run(command, cwd=ROOT, env=environment(()), capture_output=True, text=True, check=False)


@pytest.mark.timeout(90)
@pytest.mark.parametrize(
    "fault",
    [
        "redis is killed and comes back empty",
        "redis is killed and comes back with its file",
        "redis hangs",
        "the bus is cut",
        "all connections to redis are cut",
        "scripts are flushed",
        "everything in redis is flushed",
        "the memory of redis is full",
        "a node is killed",
        "a node hangs",
        "a node is cut off from redis",
        "a node can only hear redis",
        "a node can only speak to redis",
        "a node loses its connections to redis",
        "a sentinel names another master",
        "a server of a cluster is killed, and back with its file",
    ],
)
def test_nothing_is_lost_doubled_or_reordered_when(fault: str) -> None:
    done = faults("--fault", fault)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "delivered 100.000 %" in done.stdout


@pytest.mark.timeout(90)
def test_clients_that_come_back_without_a_position_are_seen_to_miss_something() -> None:
    done = faults("--fault", "a node is killed", "--forgetful")
    assert done.returncode == 1, done.stdout + done.stderr
    assert "FAILED delivered" in done.stdout
