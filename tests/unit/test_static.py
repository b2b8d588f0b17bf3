"""apps.static: what the built pages are served with."""

from __future__ import annotations

import asyncio
import gzip
from pathlib import Path

import httpx
import pytest
from starlette.applications import Starlette

from hubbub.apps.static import NOT_BUILT, Pages

SCRIPT = b"console.log(1)"
FILES = {
    "index.html": b"chat",
    "dashboard.html": b"dashboard",
    "assets/a-1a2b.js": SCRIPT,
    "assets/b-3c.svg": b"<svg/>",
}
COPIES = ("index.html", "assets/a-1a2b.js")


@pytest.fixture
def built(tmp_path: Path) -> Path:
    (tmp_path / "assets").mkdir()
    for name, content in FILES.items():
        (tmp_path / name).write_bytes(content)
    for name in COPIES:
        (tmp_path / f"{name}.gz").write_bytes(gzip.compress(FILES[name]))
    return tmp_path


def ask(folder: Path, path: str, method: str = "GET", **headers: str) -> httpx.Response:
    async def request() -> httpx.Response:
        app = Starlette()
        app.mount("/", Pages(folder))
        transport = httpx.ASGITransport(app)
        async with httpx.AsyncClient(transport=transport, base_url="http://hub.test") as client:
            return await client.request(method, path, headers={"accept-encoding": "identity", **headers})

    return asyncio.run(request())


@pytest.mark.parametrize(("path", "page"), [("/", b"chat"), ("/dashboard", b"dashboard"), ("/?room=x", b"chat")])
def test_a_page_has_a_path_without_an_ending(built: Path, path: str, page: bytes) -> None:
    answer = ask(built, path)
    assert (answer.status_code, answer.content) == (200, page)
    assert answer.headers["content-type"] == "text/html; charset=utf-8"


def test_pages_are_asked_for_anew_and_what_has_a_hash_never_again(built: Path) -> None:
    assert ask(built, "/").headers["cache-control"] == "no-cache"
    assert ask(built, "/dashboard").headers["cache-control"] == "no-cache"
    assert ask(built, "/assets/a-1a2b.js").headers["cache-control"] == "public, max-age=31536000, immutable"


def test_a_page_that_has_not_changed_is_not_sent_again(built: Path) -> None:
    again = ask(built, "/", **{"if-none-match": ask(built, "/").headers["etag"]})
    assert (again.status_code, again.content, again.headers["cache-control"]) == (304, b"", "no-cache")


@pytest.mark.parametrize("path", ["/", "/dashboard", "/assets/a-1a2b.js", "/assets/b-3c.svg"])
def test_the_policy_allows_nothing_of_others_and_nothing_inline(built: Path, path: str) -> None:
    headers = ask(built, path).headers
    rules = dict(rule.split(" ", 1) for rule in headers["content-security-policy"].split("; "))
    assert rules["default-src"] == "'none'"
    assert set(rules.values()) == {"'none'", "'self'"}
    assert {rule for rule, source in rules.items() if source == "'none'"} >= {"base-uri", "frame-ancestors"}
    assert headers["x-content-type-options"] == "nosniff"


@pytest.mark.parametrize("accepts", ["gzip", "br, gzip;q=0.5", "deflate,gzip, br"])
def test_what_has_a_gzipped_copy_goes_out_gzipped(built: Path, accepts: str) -> None:
    answer = ask(built, "/assets/a-1a2b.js", **{"accept-encoding": accepts})
    assert (answer.headers["content-encoding"], answer.content) == ("gzip", SCRIPT)
    assert answer.headers["content-type"].startswith("text/javascript")
    assert answer.headers["vary"] == "Accept-Encoding"


@pytest.mark.parametrize("accepts", ["identity", "br", "gzip;q=0", "gzip; q=0.0, br", "xgzip", ""])
def test_whoever_does_not_take_gzip_gets_it_plain(built: Path, accepts: str) -> None:
    answer = ask(built, "/assets/a-1a2b.js", **{"accept-encoding": accepts})
    assert "content-encoding" not in answer.headers
    assert (answer.content, answer.headers["vary"]) == (SCRIPT, "Accept-Encoding")


def test_what_has_no_copy_goes_out_plain(built: Path) -> None:
    answer = ask(built, "/assets/b-3c.svg", **{"accept-encoding": "gzip"})
    assert (answer.content, answer.headers.get("content-encoding")) == (b"<svg/>", None)


@pytest.mark.parametrize("path", ["/other", "/assets/none.js", "/assets", "/index.html.gz", "/..%2Fsecret", "/%00"])
def test_what_is_not_there_is_404(built: Path, path: str) -> None:
    (built.parent / "secret.html").write_text("secret")
    assert ask(built, path).status_code == 404


def test_a_page_with_a_slash_behind_it_is_the_page(built: Path) -> None:
    answer = ask(built, "/dashboard/")
    assert (answer.status_code, answer.headers["location"]) == (307, "../dashboard")


def test_nothing_is_posted_to_it(built: Path) -> None:
    assert ask(built, "/", "POST").status_code == 405


def test_where_the_pages_are_not_built_it_says_how(tmp_path: Path) -> None:
    answer = ask(tmp_path / "none", "/")
    assert (answer.status_code, answer.text) == (503, NOT_BUILT)
