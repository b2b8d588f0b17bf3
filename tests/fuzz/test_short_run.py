"""Each target is fuzzed for some seconds, and a run that finds something says so. `make fuzz` goes on for longer."""

from __future__ import annotations

import platform
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent.parent
# As in pyproject.toml: what there are wheels of atheris for.
HAS_WHEEL = sys.version_info < (3, 14) and sys.platform == "linux" and platform.machine() == "x86_64"

pytestmark = [
    pytest.mark.skipif(not HAS_WHEEL, reason="there is no atheris for this Python on this machine"),
    pytest.mark.timeout(90),
]

BROKEN = """
def target(data):
    assert not data.startswith(b"bad"), "it is bad"
def seeds():
    return [b"good", b"ba"]
def words():
    return [b"bad"]
"""


def fuzz(name: str, folder: Path, *options: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "tests.fuzz.run", name, str(folder), "-seed=1", *options]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, errors="replace", timeout=80, check=False)


@pytest.mark.parametrize("name", ["frames", "handshake", "messages"])
def test_a_short_run_finds_nothing(name: str, tmp_path: Path) -> None:
    run = fuzz(f"tests.fuzz.{name}", tmp_path, "-runs=20000", "-max_total_time=15")
    assert run.returncode == 0, run.stderr[-4000:]
    assert not list(tmp_path.glob("*-crash-*"))


def test_code_of_ours_is_looked_at_branch_by_branch(tmp_path: Path) -> None:
    run = fuzz("tests.fuzz.frames", tmp_path, "-runs=300", "-print_final_stats=1")
    covered = max(int(line.split("cov: ")[1].split()[0]) for line in run.stderr.splitlines() if "cov: " in line)
    assert covered > 50


def test_what_fails_is_kept_and_ends_the_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "broken.py").write_text(BROKEN)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path), prepend=":")
    run = fuzz("broken", tmp_path, "-runs=100000", "-max_total_time=15")
    assert run.returncode != 0
    assert "it is bad" in run.stdout + run.stderr
    (crash,) = tmp_path.glob("broken-crash-*")
    assert crash.read_bytes().startswith(b"bad")
