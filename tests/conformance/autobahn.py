"""`make conformance`: runs the Autobahn TestSuite against both ways of carrying a WebSocket, and judges its report."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Final

sys.path.insert(0, str(Path(__file__).parent.parent.parent))

from tests.support.server import ASGI, FAST, ROOT, serve

BUILD: Final = ROOT / "build" / "autobahn"
WSTEST: Final = BUILD / "venv" / "bin" / "wstest"
CONSTRAINTS: Final = ROOT / "tests" / "conformance" / "constraints.txt"
SUITE: Final = "autobahntestsuite==0.8.2"
VIRTUALENV: Final = "virtualenv==20.15.1"  # the last that knows Python 2.7
AGENTS: Final = {"hubbub": FAST, "hubbub-asgi": ASGI}
CASES: Final = 517
PASSED: Final = frozenset(("OK", "INFORMATIONAL"))
LONGEST_SECONDS: Final = 3600
# The suite sends messages of 16 MB and as many pings as it can; what is judged here is the protocol, not the limits.
OPTIONS: Final = (
    *("--rate-limit", "0"),
    *("--max-message-bytes", "20000000"),
    *("--max-buffered-bytes", "200000000"),
    *("--control-rate", "100000"),
    *("--control-burst", "100000"),
)

Results = dict[str, dict[str, dict[str, object]]]
"""Agent, case, and what the suite says of it: `behavior`, `behaviorClose` and more."""


def pythons() -> Iterator[str]:
    """Where a Python 2.7 may be."""
    on_path = shutil.which("python2.7")
    if on_path is not None:
        yield on_path
    for home in (os.environ.get("PYENV_ROOT"), "~/.pyenv"):
        if home:
            yield from map(str, sorted(Path(home).expanduser().glob("versions/2.7.*/bin/python2.7")))


def works(python: str) -> bool:
    """Whether it is a Python 2.7 with pip, not a pyenv shim for a version that is not switched on."""
    check = "import pip, sys; sys.exit(sys.version_info[:2] != (2, 7))"
    return subprocess.run([python, "-c", check], capture_output=True, check=False).returncode == 0


def install(python: str) -> None:
    """Puts the suite into build/autobahn/venv; Python 2.7 itself stays as it is."""
    tool = BUILD / "tool"
    pip = ["-m", "pip", "--disable-pip-version-check", "install", "--quiet", "--no-warn-script-location"]
    quiet = {**os.environ, "PYTHONWARNINGS": "ignore"}
    subprocess.run([python, *pip, "--target", str(tool), "--upgrade", VIRTUALENV], check=True, env=quiet)
    make = [python, "-m", "virtualenv", "--quiet", "--clear", str(BUILD / "venv")]
    subprocess.run(make, check=True, env={**quiet, "PYTHONPATH": str(tool)})
    inside = str(BUILD / "venv" / "bin" / "python")
    subprocess.run([inside, *pip, "--constraint", str(CONSTRAINTS), SUITE], check=True, env=quiet)


def fuzz(cases: list[str]) -> Results:
    """Serves the echo both ways, and has the suite run its cases against each."""
    with ExitStack() as stack:
        servers = [
            {"agent": agent, "url": f"{stack.enter_context(serve(BUILD, host, *OPTIONS)).ws}/echo"}
            for agent, host in AGENTS.items()
        ]
        specification = BUILD / "spec.json"
        reports = {"outdir": str(BUILD), "servers": servers, "cases": cases}
        specification.write_text(json.dumps({**reports, "exclude-cases": [], "exclude-agent-cases": {}}, indent=2))
        with (BUILD / "wstest.log").open("wb") as log:
            command = [str(WSTEST), "-m", "fuzzingclient", "-s", str(specification)]
            subprocess.run(command, stdout=log, stderr=log, check=True, timeout=LONGEST_SECONDS)
    results: Results = json.loads((BUILD / "index.json").read_text())
    return results


def clear() -> None:
    """Removes the last run's reports and logs, so that none is taken for this run's."""
    BUILD.mkdir(parents=True, exist_ok=True)
    for old in [*BUILD.glob("*.json"), *BUILD.glob("*.html"), *BUILD.glob("*.log")]:
        old.unlink()


def judge(results: Results, expected: int) -> bool:
    """Prints a summary; whether every agent passed every case, and there were as many as expected."""
    passed = True
    for agent in AGENTS:
        cases = results.get(agent, {})
        print(f"{agent}: {len(cases)} cases")
        for aspect in ("behavior", "behaviorClose"):
            counts = Counter(str(case[aspect]) for case in cases.values())
            print(f"  {aspect}: " + ", ".join(f"{count} {word}" for word, count in sorted(counts.items())))
        failed = [name for name, case in cases.items() if not {case["behavior"], case["behaviorClose"]} <= PASSED]
        for name in sorted(failed, key=lambda name: [int(part) for part in name.split(".")]):
            print(f"  {name}: {cases[name]['behavior']}, close {cases[name]['behaviorClose']}")
        if len(cases) < expected:
            print(f"  {expected - len(cases)} of {expected} cases are missing")
        passed = passed and not failed and len(cases) >= expected
    return passed


def main() -> int:
    """Runs all cases, or those given as arguments, such as `6.*`; the exit code says whether all passed."""
    cases = sys.argv[1:]
    expected = 1 if cases else CASES
    python = next(filter(works, pythons()), None)
    if python is None:
        print("conformance: no Python 2.7 with pip, which the Autobahn TestSuite needs: pyenv install 2.7.18")
        return 0
    clear()
    try:
        if not WSTEST.exists():
            install(python)
        passed = judge(fuzz(cases or ["*"]), expected)
    except (subprocess.SubprocessError, OSError) as error:
        print(f"conformance: {error}")
        return 1
    print(f"{'passed' if passed else 'NOT passed'}; reports: {BUILD.relative_to(ROOT) / 'index.html'}")
    return 0 if passed else 1


if __name__ == "__main__":
    sys.exit(main())
