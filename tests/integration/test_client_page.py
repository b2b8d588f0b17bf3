"""The programs of docs/client.md, run as they stand there."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.conftest import Servers
from tests.support.server import ROOT
from tests.support.terminal import SECONDS, variables

PAGE = (ROOT / "docs" / "client.md").read_text()
PROGRAMS = re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL)
PRINTED = ["ada: hello\n", "said as number 2\n", "done: one more\n", "at 0\n"]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("programs")


@pytest.fixture(scope="module")
def port(servers: Servers) -> int:
    return servers("fast path", "--rate-burst", "21").port  # a server of its own: what it prints has numbers


@pytest.mark.parametrize(("program", "printed"), list(zip(PROGRAMS, PRINTED, strict=True)))
def test_a_program_of_the_page_does_what_it_says(port: int, folder: Path, program: str, printed: str) -> None:
    assert "localhost:8080" in program
    done = subprocess.run(
        [sys.executable, "-c", program.replace("localhost:8080", f"127.0.0.1:{port}")],
        cwd=folder,
        env=variables(),
        capture_output=True,
        text=True,
        timeout=SECONDS,
        check=False,
    )
    assert (done.stdout, done.stderr) == (printed, "")


def test_where_a_program_stopped_it_goes_on(port: int, folder: Path) -> None:
    place = (folder / "place.json").read_text()
    test_a_program_of_the_page_does_what_it_says(port, folder, PROGRAMS[2], PRINTED[2])
    assert '"seq": 1' in place
    assert '"seq": 2' in (folder / "place.json").read_text()
