"""The built pages, as `make pages` has left them: how much is loaded, and from where."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from hubbub.apps.static import BUILT

CHAT_BYTES = 120 * 1024
PAGES = ("index.html", "dashboard.html")
REFERENCE = re.compile(r'(?:src|href)="([^"]+)"')
IMPORT = re.compile(r'(?:\bfrom|\bimport)\s*"([^"]+)"')
STYLED = re.compile(r'url\(\s*["\']?([^"\')]+)')


@pytest.fixture(autouse=True)
def built() -> None:
    if not (BUILT / "index.html").exists():
        pytest.fail("there are no pages: make pages")


def loaded_by(page: str) -> set[Path]:
    """The page, and all that is loaded before it can be used."""
    found: set[Path] = set()
    left = [BUILT / page]
    while left:
        file = left.pop()
        if file in found:
            continue
        found.add(file)
        pattern = {".html": REFERENCE, ".js": IMPORT, ".css": STYLED}.get(file.suffix)
        if pattern:
            left += ((file.parent / name).resolve() for name in pattern.findall(file.read_text()))
    return found


def test_the_first_load_of_the_chat_is_at_most_120_kb_gzipped() -> None:
    files = loaded_by("index.html")
    assert any(file.suffix == ".js" for file in files)
    assert any(file.suffix == ".css" for file in files)
    # What has no copy goes out as it is.
    sent = [copy if (copy := file.with_name(f"{file.name}.gz")).exists() else file for file in files]
    assert sum(file.stat().st_size for file in sent) <= CHAT_BYTES


@pytest.mark.parametrize("page", PAGES)
def test_a_page_loads_files_beside_it_with_a_hash_in_their_names(page: str) -> None:
    for file in loaded_by(page) - {BUILT / page}:
        assert file.parent == BUILT / "assets"
        assert re.fullmatch(r"[\w-]+-[\w-]{8}\.\w+", file.name)


@pytest.mark.parametrize("page", PAGES)
def test_a_page_has_nothing_inline_that_the_policy_forbids(page: str) -> None:
    html = (BUILT / page).read_text()
    assert re.search(r"<style|\sstyle=|\son\w+=|<script(?![^>]*\ssrc=)|javascript:|data:", html) is None


def test_only_what_is_built_now_is_there() -> None:
    names = {path.name for path in BUILT.iterdir()}
    assert names == {"assets", *PAGES, *(f"{page}.gz" for page in PAGES)}
