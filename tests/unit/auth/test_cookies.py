"""auth.cookies: the sessions that Starlette and Django themselves sign; no other."""

from __future__ import annotations

import asyncio
import hmac
import zlib
from base64 import b64encode, urlsafe_b64encode
from typing import Any

import itsdangerous
import pytest
from django.conf import settings as django
from django.core import signing
from hypothesis import given
from hypothesis import strategies as st
from starlette.middleware.sessions import SessionMiddleware
from starlette.types import Message, Receive, Scope, Send

from hubbub.auth.cookies import DjangoCookies, SessionCookies, StarletteCookies
from hubbub.config import Auth
from hubbub.errors import HandshakeError
from hubbub.hub.identity import Credentials, Grants, Identity

NOW = 1_700_000_000.0
SECRET = "Kx7-fW2q9RzLpT4vYb1NcE8mHs6JdU3aQ0-é"
DJANGO_SALT = "django.contrib.sessions.backends.signed_cookies"
KINDS: list[type[SessionCookies]] = [StarletteCookies, DjangoCookies]

if not django.configured:
    django.configure(SECRET_KEY="another key, which no test signs with: all of them name theirs")


@pytest.fixture(autouse=True)
def _frozen(monkeypatch: pytest.MonkeyPatch) -> None:
    """Both frameworks take the time from `time.time`."""
    monkeypatch.setattr("time.time", lambda: NOW)


def starlette_cookie(session: dict[str, Any], secret: str = SECRET) -> str:
    """What the real middleware sets when an application fills the session."""
    sent: list[Message] = []

    async def application(scope: Scope, receive: Receive, send: Send) -> None:
        scope["session"].update(session)
        await send({"type": "http.response.start", "status": 200, "headers": []})

    async def receive() -> Message:
        raise AssertionError("there is no body")

    async def send(message: Message) -> None:
        sent.append(message)

    asyncio.run(SessionMiddleware(application, secret)({"type": "http", "headers": []}, receive, send))
    cookie: bytes = dict(sent[0]["headers"])[b"set-cookie"]
    return cookie.decode().removeprefix("session=").split(";")[0]


def django_cookie(session: dict[str, Any], secret: str = SECRET, compress: bool = True) -> str:
    """As django.contrib.sessions.backends.signed_cookies makes it."""
    return str(signing.dumps(session, key=secret, salt=DJANGO_SALT, compress=compress))


def cookie_of(kind: type[SessionCookies], session: dict[str, Any], secret: str = SECRET) -> str:
    return django_cookie(session, secret) if kind is DjangoCookies else starlette_cookie(session, secret)


def found(
    kind: type[SessionCookies], cookie: str | None, now: float = NOW, name: str = "", **settings: Any
) -> Identity | None:
    cookies = {} if cookie is None else {name or kind.COOKIE: cookie}
    authenticator = kind(SECRET.encode(), Auth(**settings), lambda: now)
    return asyncio.run(authenticator.authenticate(Credentials(cookies=cookies)))


def user_of(kind: type[SessionCookies], cookie: str, now: float = NOW, **settings: Any) -> str:
    identity = found(kind, cookie, now, **settings)
    return identity.user if identity else ""


def refused(kind: type[SessionCookies], cookie: str, now: float = NOW, **settings: Any) -> str:
    with pytest.raises(HandshakeError) as caught:
        found(kind, cookie, now, **settings)
    assert (caught.value.status, caught.value.__cause__) == (401, None)
    return caught.value.reason


# Both


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("cookie", [None, ""])
def test_without_the_cookie_there_is_nothing_to_say(kind: type[SessionCookies], cookie: str | None) -> None:
    assert found(kind, cookie) is None
    assert found(kind, "broken", name="other") is None


@pytest.mark.parametrize("kind", KINDS)
def test_a_session_says_who_is_logged_in(kind: type[SessionCookies]) -> None:
    session = {kind.USER: "ann", "theme": "dark"}
    identity = found(kind, cookie_of(kind, session))
    assert identity is not None
    assert (identity.user, identity.name, identity.token, identity.grants) == ("ann", "ann", "", None)
    assert (identity.issued, identity.expires) == (NOW, NOW + 1_209_600)
    assert identity.claims == session


@pytest.mark.parametrize("kind", KINDS)
def test_a_user_may_be_a_number(kind: type[SessionCookies]) -> None:
    assert user_of(kind, cookie_of(kind, {kind.USER: 42})) == "42"


@pytest.mark.parametrize("kind", KINDS)
def test_a_session_in_which_nobody_is_logged_in_says_nothing(kind: type[SessionCookies]) -> None:
    assert found(kind, cookie_of(kind, {"cart": [1]})) is None
    assert found(kind, cookie_of(kind, {kind.USER: None})) is None


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("user", ["", True, 1.5, ["ann"], {"id": 1}, "a" * 256, "\ud800"])
def test_a_user_that_is_none_does_not_get_in(kind: type[SessionCookies], user: object) -> None:
    assert refused(kind, cookie_of(kind, {kind.USER: user})) == "The session is not understood"


@pytest.mark.parametrize("kind", KINDS)
def test_the_cookie_and_the_key_have_the_names_of_the_settings(kind: type[SessionCookies]) -> None:
    cookie = cookie_of(kind, {"uid": "ann", kind.USER: "bob"})
    identity = found(kind, cookie, name="sid", cookie_name="sid", cookie_user="uid")
    assert identity is not None
    assert identity.user == "ann"
    assert found(kind, cookie, cookie_name="sid", cookie_user="uid") is None


@pytest.mark.parametrize("kind", KINDS)
def test_a_session_may_name_the_user_and_the_rooms(kind: type[SessionCookies]) -> None:
    identity = found(kind, cookie_of(kind, {kind.USER: 1, "name": "Ann", "rooms": {"a": ["join"]}}))
    assert identity is not None
    assert (identity.name, identity.grants) == ("Ann", Grants((("a", frozenset({"join"})),)))
    assert refused(kind, cookie_of(kind, {kind.USER: 1, "rooms": "all"})) == "The session is not understood"


@pytest.mark.parametrize("kind", KINDS)
def test_other_claims_of_tokens_mean_nothing_in_a_session(kind: type[SessionCookies]) -> None:
    identity = found(kind, cookie_of(kind, {kind.USER: 1, "sub": "root", "exp": 0, "iat": 0, "jti": 7}))
    assert identity is not None
    assert (identity.user, identity.token, identity.issued) == ("1", "", NOW)


@pytest.mark.parametrize("kind", KINDS)
def test_a_cookie_counts_for_its_time(kind: type[SessionCookies]) -> None:
    cookie = cookie_of(kind, {kind.USER: "ann"})
    assert user_of(kind, cookie, NOW + 60, cookie_seconds=60.0) == "ann"
    assert refused(kind, cookie, NOW + 60.5, cookie_seconds=60.0) == "The session has expired"


@pytest.mark.parametrize("kind", KINDS)
def test_a_cookie_from_the_future_does_not_count(kind: type[SessionCookies]) -> None:
    cookie = cookie_of(kind, {kind.USER: "ann"})
    assert user_of(kind, cookie, NOW - 30) == "ann"
    assert refused(kind, cookie, NOW - 31) == "The session has expired"


@pytest.mark.parametrize("kind", KINDS)
def test_a_cookie_that_others_signed_does_not_count(kind: type[SessionCookies]) -> None:
    cookie = cookie_of(kind, {kind.USER: "ann"}, "x" + SECRET)
    assert refused(kind, cookie) == "The session cookie does not count"


@pytest.mark.parametrize("kind", KINDS)
def test_the_cookie_of_one_framework_is_none_of_the_other(kind: type[SessionCookies]) -> None:
    other = KINDS[1 - KINDS.index(kind)]
    refused(kind, cookie_of(other, {kind.USER: "ann"}))


@pytest.mark.parametrize("kind", KINDS)
def test_every_changed_character_is_noticed_but_for_unused_bits_of_the_last(kind: type[SessionCookies]) -> None:
    cookie = cookie_of(kind, {kind.USER: "ann"})
    for place, character in enumerate(cookie[:-1]):
        refused(kind, cookie[:place] + ("A" if character != "A" else "B") + cookie[place + 1 :])


@pytest.mark.parametrize("kind", KINDS)
@given(text=st.text(min_size=1) | st.text("ab.:-_=A1", min_size=1))
def test_whatever_a_cookie_is_it_is_a_refusal(kind: type[SessionCookies], text: str) -> None:
    assert refused(kind, text) == "The session cookie does not count"


@pytest.mark.parametrize("kind", KINDS)
def test_a_long_cookie_is_not_looked_at(kind: type[SessionCookies], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kind, "_verify", lambda self, cookie: pytest.fail("looked at"))
    assert refused(kind, "a" * 8193) == "The session cookie does not count"


def compared(kind: type[SessionCookies], cookie: str, monkeypatch: pytest.MonkeyPatch) -> int:
    """How many comparisons in constant time are made."""
    calls: list[object] = []
    real = hmac.compare_digest
    monkeypatch.setattr(hmac, "compare_digest", lambda one, other: calls.append(one) or real(one, other))  # type: ignore[func-returns-value]
    found(kind, cookie)
    return len(calls)


@pytest.mark.parametrize("kind", KINDS)
def test_signatures_are_compared_in_constant_time(kind: type[SessionCookies], monkeypatch: pytest.MonkeyPatch) -> None:
    assert compared(kind, cookie_of(kind, {kind.USER: "ann"}), monkeypatch) == 1


# Starlette


def starlette_signed(data: bytes) -> str:
    return itsdangerous.TimestampSigner(SECRET).sign(data).decode()


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"!", "The session cookie does not count"),
        (b64encode(b"[]"), "The session is not understood"),
        (b64encode(b"\xff"), "The session is not understood"),
        (b64encode(b"[" * 5000), "The session is not understood"),
    ],
)
def test_a_signed_session_that_is_none_does_not_count(data: bytes, reason: str) -> None:
    assert refused(StarletteCookies, starlette_signed(data)) == reason


def test_a_signature_without_a_time_does_not_count() -> None:
    cookie = itsdangerous.Signer(SECRET, salt=itsdangerous.TimestampSigner(SECRET).salt).sign("e30=").decode()
    assert refused(StarletteCookies, cookie) == "The session cookie does not count"


# Django


@pytest.mark.parametrize("filling", ["", "a" * 3000])
def test_a_django_session_may_be_compressed(filling: str) -> None:
    session = {"_auth_user_id": "7", "é": filling}
    whole, small = django_cookie(session, compress=False), django_cookie(session, compress=True)
    assert small.startswith(".") == bool(filling)
    assert (user_of(DjangoCookies, whole), user_of(DjangoCookies, small)) == ("7", "7")


def test_what_django_signs_for_something_else_is_no_session() -> None:
    cookie = str(signing.dumps({"_auth_user_id": "7"}, key=SECRET, salt="password-reset"))
    assert refused(DjangoCookies, cookie) == "The session cookie does not count"


def django_signed(data: bytes, compressed: bool) -> str:
    text = ("." if compressed else "") + urlsafe_b64encode(data).decode().rstrip("=")
    return str(signing.TimestampSigner(key=SECRET, salt=DJANGO_SALT).sign(text))


@pytest.mark.parametrize(
    ("data", "compressed", "reason"),
    [
        (b"[]", False, "The session is not understood"),
        (b"[" * 5000, False, "The session is not understood"),
        (zlib.compress(b"[" * 65535), True, "The session is not understood"),
        (zlib.compress(b" " * 65537 + b"{}"), True, "The session cookie does not count"),
        (zlib.compress(b"a" * 5_000_000), True, "The session cookie does not count"),
        (zlib.compress(b"{}")[:-1], True, "The session cookie does not count"),
        (b"{}", True, "The session cookie does not count"),
    ],
)
def test_a_django_session_that_is_none_does_not_count(data: bytes, compressed: bool, reason: str) -> None:
    assert refused(DjangoCookies, django_signed(data, compressed)) == reason
