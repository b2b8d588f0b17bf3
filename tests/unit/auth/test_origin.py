"""auth.origin: which pages may connect."""

from __future__ import annotations

from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hubbub.auth.origin import Origins
from hubbub.errors import ConfigError, HandshakeError

Headers = list[tuple[bytes, bytes]]
APP = "https://app.example.com"


def asking(*origins: str | bytes, host: str | None = "hub.example.com") -> Headers:
    headers = [] if host is None else [(b"host", host.encode("latin-1"))]
    return headers + [(b"origin", origin.encode() if isinstance(origin, str) else origin) for origin in origins]


def refused(origins: Origins, headers: Headers, *, cookie: bool = False) -> str:
    with pytest.raises(HandshakeError) as caught:
        origins.check(headers, cookie=cookie)
    assert (caught.value.status, caught.value.headers) == (403, ())
    return caught.value.reason


# What is in the list


@pytest.mark.parametrize("origin", [APP, "HTTPS://APP.Example.com", "https://app.example.com:443"])
@pytest.mark.parametrize("listed", [APP, "https://APP.example.com:443", " https://app.example.com "])
def test_a_listed_origin_passes_however_it_is_written(listed: str, origin: str) -> None:
    Origins([listed]).check(asking(origin), cookie=True)


@pytest.mark.parametrize(
    "origin",
    [
        "http://app.example.com",
        "https://app.example.com:8443",
        "https://app.example.com:80",
        "https://app.example.com.evil.com",
        "https://xapp.example.com",
        "https://example.com",
        "https://a.app.example.com",
        "https://app.example.com.",
        "https://appxexample.com",
    ],
)
def test_an_origin_that_is_only_like_a_listed_one_does_not_pass(origin: str) -> None:
    assert refused(Origins([APP]), asking(origin)) == "this Origin is not allowed"


@pytest.mark.parametrize(
    "origin",
    [
        *("", " ", "null", "NULL", "*", "https://", "https:///", "app.example.com", "//app.example.com"),
        *("https://app.example.com/", "https://app.example.com/path", "https://app.example.com?", f"{APP}#"),
        *("https://good@app.example.com", "https://app.example.com@evil.com", "https://user:word@app.example.com"),
        *(f" {APP}", f"{APP} ", f"{APP}\n", f"{APP} {APP}", f"{APP}, {APP}", f"{APP},{APP}", f"{APP}\0"),
        *("https://app.example.com:", "https://app.example.com:0443", "https://app.example.com:0"),
        *("https://app.example.com:65536", "https://app.example.com:+443", "https://app.example.com:4 43"),
        *("wss://app.example.com", "file://", "chrome-extension://abc", "https:app.example.com", "https:\\\\a"),
        *("https://app..example.com", "https://.example.com", "https://-app.example.com", f"https://{'a' * 64}.com"),
        *("https://[::1", "https://::1", "https://[:::]", "https://[1.2.3.4]", "https://[::1%lo]", "https://[::1]x"),
        *("https://app%2eexample.com", "https://*.example.com", "https://\u212aexample.com", "https://b\u00fccher.de"),
        *("https://" + ".".join(["a" * 60] * 5), "https://app.example.com\\@evil.com", "https://app.example.com:٤٤٣"),
    ],
)
@pytest.mark.parametrize("origins", [Origins([APP]), Origins(["*"])], ids=["list", "all"])
def test_what_is_no_origin_does_not_pass_even_where_all_are_allowed(origins: Origins, origin: str) -> None:
    assert refused(origins, asking(origin, host=origin.encode().decode("latin-1"))) == "this Origin is not allowed"


def test_a_letter_that_is_ascii_only_in_lower_case_is_no_other_host() -> None:
    kelvin = "https://\u212aernel.org"
    assert kelvin.lower() == "https://kernel.org"
    assert not Origins(["https://kernel.org"]).allows(kelvin, "")


@pytest.mark.parametrize("origin", ["http://evil.com", "https://evil.com:8443", "http://[::1]:3000"])
def test_a_star_allows_every_origin(origin: str) -> None:
    Origins(["*"]).check(asking(origin), cookie=True)


def test_one_way_of_writing_an_ipv6_address_is_all_ways() -> None:
    assert Origins(["http://[0:0:0:0:0:0:0:1]:80"]).allows("http://[::1]", "")
    assert Origins([]).allows("http://[::ffff:1.2.3.4]", "[::ffff:102:304]")


@pytest.mark.parametrize("origins", [(APP, APP), (APP, "https://evil.com"), ("null", APP)])
def test_two_origins_do_not_pass(origins: tuple[str, str]) -> None:
    assert refused(Origins(["*"]), asking(*origins)) == "there is more than one Origin"
    assert refused(Origins([APP]), asking(*origins)) == "there is more than one Origin"


def test_headers_may_be_such_as_can_be_read_once() -> None:
    Origins([]).check(iter(asking("https://hub.example.com")[::-1]), cookie=True)
    with pytest.raises(HandshakeError):
        Origins([APP]).check(iter([(b"Origin", APP.encode()), (b"origin", APP.encode())]), cookie=False)


# The same origin


@pytest.mark.parametrize(
    ("origin", "host"),
    [
        ("https://hub.example.com", "hub.example.com"),
        ("http://hub.example.com", "hub.example.com"),
        ("https://hub.example.com", "Hub.Example.com:443"),
        ("http://hub.example.com", "hub.example.com:80"),
        ("http://localhost:8080", "localhost:8080"),
        ("https://127.0.0.1:8443", "127.0.0.1:8443"),
        ("http://[::1]:8080", "[0::1]:8080"),
    ],
)
def test_a_page_of_our_own_passes(origin: str, host: str) -> None:
    Origins([]).check(asking(origin, host=host), cookie=True)


@pytest.mark.parametrize(
    ("origin", "host"),
    [
        ("https://hub.example.com", "hub.example.com:80"),
        ("http://hub.example.com", "hub.example.com:443"),
        ("http://localhost:8080", "localhost:8081"),
        ("http://localhost:8080", "localhost"),
        ("http://localhost", "localhost:8080"),
        ("http://localhost", "127.0.0.1"),
        ("https://hub.example.com", "hub.example.com.evil.com"),
        ("https://hub.example.com", "hub.example.com, hub.example.com"),
        ("https://hub.example.com", "hub.example.com/"),
        ("https://hub.example.com", ""),
        ("https://hub.example.com", "[:::]"),
    ],
)
def test_a_page_of_another_host_or_port_does_not_pass(origin: str, host: str) -> None:
    assert refused(Origins([]), asking(origin, host=host)) == "this Origin is not allowed"


@pytest.mark.parametrize("hosts", [[], [b"hub.example.com", b"hub.example.com"], [b"evil.com", b"hub.example.com"]])
def test_a_request_without_one_host_has_no_pages_of_its_own(hosts: list[bytes]) -> None:
    headers = [(b"host", host) for host in hosts] + asking("https://hub.example.com", host=None)
    assert refused(Origins([]), headers) == "this Origin is not allowed"


# No origin


def test_programs_need_no_origin() -> None:
    Origins([]).check(asking(), cookie=False)
    Origins([APP]).check([], cookie=False)


@pytest.mark.parametrize("origins", [Origins([]), Origins([APP]), Origins(["*"])], ids=["none", "list", "all"])
def test_a_cookie_without_an_origin_does_not_pass(origins: Origins) -> None:
    assert refused(origins, asking(), cookie=True) == "cookies count only with an Origin"


# The setting


@pytest.mark.parametrize(
    "entry",
    [
        *("https://app.example.com/", "https://app.example.com/path", "https://user@app.example.com"),
        *("https://*.example.com", "https://*", "*.example.com", "app.example.com", "wss://app.example.com", "null"),
        *("ftp://app.example.com", "https://app.example.com:0", "https://a b", "https://b\u00fccher.example"),
    ],
)
def test_a_setting_that_is_no_origin_says_the_remedy(entry: str) -> None:
    with pytest.raises(ConfigError, match=r"^origins: .* is no origin; write https://host"):
        Origins([APP, entry])


def test_a_star_beside_others_says_the_remedy() -> None:
    with pytest.raises(ConfigError, match="remove it, or the others"):
        Origins(["*", APP])


def test_only_a_star_is_everybody() -> None:
    assert [Origins(allowed).everybody for allowed in ([], [""], [APP], ["*"], [" * "])] == [False] * 3 + [True] * 2


# Anything at all

pieces = st.sampled_from(
    ["http", "https", "://", ":", "//", "[", "]", "::1", "a.b", "@", "*", "99999", "443", ",", "."]
)
values = st.one_of(st.binary(max_size=300), st.lists(pieces, max_size=8).map(lambda parts: "".join(parts).encode()))
lines = st.lists(st.tuples(st.sampled_from([b"origin", b"host", b"Origin"]), values), max_size=4)


@given(lines, st.booleans(), st.sampled_from([[], [APP], ["*"]]))
def test_whatever_stands_in_the_headers_is_passed_or_refused(lines: Headers, cookie: bool, allowed: list[str]) -> None:
    with suppress(HandshakeError):
        Origins(allowed).check(lines, cookie=cookie)


@given(values)
def test_where_nothing_is_allowed_only_the_own_host_passes(value: bytes) -> None:
    assert not Origins([]).allows(value.decode("latin-1"), "hub.invalid")
    assert not Origins([APP]).allows(value.decode("latin-1"), "hub.invalid")
