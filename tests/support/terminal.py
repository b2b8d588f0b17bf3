"""A command line program and the two ends of its pipes: what is typed, what is printed, how it ends."""

from __future__ import annotations

import os
import select
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from tests.support.canary import canary
from tests.support.server import ROOT, environment

HUBBUB = (sys.executable, "-m", "hubbub")
SECONDS = 20.0


def variables(extra: Mapping[str, str] | None = None) -> dict[str, str]:
    """The environment without HUBBUB_* variables but those given."""
    return {**environment(()), **(extra or {})}


def run(
    *arguments: str, folder: Path = ROOT, extra: Mapping[str, str] | None = None
) -> subprocess.CompletedProcess[str]:
    """Runs `hubbub` to its end, with nothing on standard input."""
    done = subprocess.run(
        [*HUBBUB, *arguments],
        cwd=folder,
        env=variables(extra),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=SECONDS,
        check=False,
    )
    canary.hear(done.stdout + done.stderr, f"the output of hubbub {' '.join(arguments[:1])}")
    return done


class Terminal:
    """A program that runs; standard error goes where standard output goes."""

    def __init__(self, process: subprocess.Popen[bytes]) -> None:
        assert process.stdin is not None
        assert process.stdout is not None
        self.process = process
        self._input = process.stdin
        self._output = process.stdout.fileno()
        self._ahead = b""

    def type(self, line: str) -> None:
        """Types a line."""
        self._input.write(line.encode() + b"\n")
        self._input.flush()

    def line(self) -> str:
        """The next line that is printed.

        Raises:
            EOFError: the program printed no more.
        """
        deadline = time.monotonic() + SECONDS
        while b"\n" not in self._ahead:
            ready, _, _ = select.select([self._output], [], [], max(0.0, deadline - time.monotonic()))
            if not ready:
                raise AssertionError(f"nothing was printed for {SECONDS} s after {self._ahead!r}")
            data = os.read(self._output, 65536)
            if not data:
                raise EOFError
            self._ahead += data
        line, _, self._ahead = self._ahead.partition(b"\n")
        canary.hear(line.decode(), "the output of a program")
        return line.decode()

    def rest(self) -> list[str]:
        """All lines until the program's end."""
        lines = []
        try:
            while True:
                lines.append(self.line())
        except EOFError:
            return lines

    def end(self) -> int:
        """Ends standard input and waits; the exit code."""
        self._input.close()
        return self.process.wait(SECONDS)


@contextmanager
def terminal(*command: str, folder: Path = ROOT, extra: Mapping[str, str] | None = None) -> Iterator[Terminal]:
    """Runs a program until the block ends."""
    pipe = subprocess.PIPE
    with subprocess.Popen(
        command, cwd=folder, env=variables(extra), stdin=pipe, stdout=pipe, stderr=subprocess.STDOUT
    ) as process:
        try:
            yield Terminal(process)
        finally:
            process.kill()
