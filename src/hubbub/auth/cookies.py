"""Session cookies that a web framework has signed: whoever is logged in there is known here. Never writes one."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import re
import zlib
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from typing import Any, Final, NamedTuple

import itsdangerous
import msgspec

from hubbub.auth.claims import identity_of
from hubbub.auth.refusals import cookie_refused
from hubbub.config import Auth
from hubbub.errors import HandshakeError
from hubbub.hub.identity import Credentials, Identity

LONGEST_COOKIE: Final = 8192
LONGEST_SESSION: Final = 65536


class Signed(NamedTuple):
    """What a cookie holds, once its signature was verified.

    Attributes:
        session: as JSON.
        time: when it was signed, Unix seconds.
    """

    session: bytes
    time: float


class SessionCookies(ABC):
    """Lets in who shows the session of a logged-in user.

    A session in which nobody is logged in says nothing: others may know the client.

    Args:
        secret: what the framework signs with.
        settings: the cookie, the user's key in it, and how long it counts; empty names are the framework's own.
        now: Unix seconds.
    """

    uses_cookies = True
    COOKIE: str
    USER: str

    def __init__(self, secret: bytes, settings: Auth, now: Callable[[], float]) -> None:
        self._secret, self._settings, self._now = secret, settings, now
        self._cookie = settings.cookie_name or self.COOKIE
        self._user = settings.cookie_user or self.USER

    async def authenticate(self, credentials: Credentials) -> Identity | None:
        """Who is logged in; None without the cookie, or when nobody is.

        Raises:
            HandshakeError: 401; the cookie is broken, somebody else's, or too old.
        """
        cookie = credentials.cookies.get(self._cookie)
        if not cookie:
            return None
        signed = self._verify(cookie) if len(cookie) <= LONGEST_COOKIE and cookie.isascii() else None
        if signed is None:
            raise cookie_refused("The session cookie does not count")
        self._check_age(signed.time)
        session = _read_session(signed.session)
        return self._identity_of(session, signed.time) if session.get(self._user) is not None else None

    async def close(self) -> None:
        """Nothing is under way."""
        return

    @abstractmethod
    def _verify(self, cookie: str) -> Signed | None:
        """What it holds, or None when the framework would not take it."""

    def _check_age(self, time: float) -> None:
        age = self._now() - time
        if not -self._settings.jwt_leeway_seconds <= age <= self._settings.cookie_seconds:
            raise cookie_refused("The session has expired")

    def _identity_of(self, session: Mapping[str, Any], time: float) -> Identity:
        user = session[self._user]
        if isinstance(user, int) and not isinstance(user, bool):
            user = str(user)
        # Of the session's own keys only those count that mean the same in tokens.
        names = ("name", "preferred_username", self._settings.rooms_claim)
        claims = {name: session[name] for name in names if name in session}
        try:
            identity = identity_of(claims | {"sub": user, "iat": time}, self._settings, self._now)
        except HandshakeError:
            raise cookie_refused("The session is not understood") from None
        return msgspec.structs.replace(identity, expires=time + self._settings.cookie_seconds, claims=session)


def _read_session(document: bytes) -> dict[str, Any]:
    try:
        session = json.loads(document)
    except (ValueError, RecursionError):
        session = None
    if not isinstance(session, dict):
        raise cookie_refused("The session is not understood")
    return session


class StarletteCookies(SessionCookies):
    """The cookies of `starlette.middleware.sessions.SessionMiddleware`, FastAPI's too."""

    COOKIE = "session"
    USER = "user"

    def _verify(self, cookie: str) -> Signed | None:
        try:
            data, time = itsdangerous.TimestampSigner(self._secret).unsign(cookie, return_timestamp=True)
            return Signed(base64.b64decode(data, validate=True), time.timestamp())
        except (itsdangerous.BadSignature, ValueError):
            return None


_SALT: Final = b"django.contrib.sessions.backends.signed_cookies"
_BASE62: Final = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
# What django.core.signing.dumps writes: data, seconds in base 62, HMAC-SHA256; a leading dot where compressed.
_DJANGO: Final = re.compile(
    r"(?P<signed>(?P<dot>\.?)(?P<data>[\w-]+):(?P<time>[0-9A-Za-z]{1,10})):(?P<mac>[\w-]{43})", re.ASCII
)


class DjangoCookies(SessionCookies):
    """The cookies of `django.contrib.sessions.backends.signed_cookies` with Django's JSON serializer."""

    COOKIE = "sessionid"
    USER = "_auth_user_id"

    def __init__(self, secret: bytes, settings: Auth, now: Callable[[], float]) -> None:
        super().__init__(secret, settings, now)
        # django.utils.crypto.salted_hmac, with the salt of django.core.signing.Signer.
        self._key = hashlib.sha256(_SALT + b"signer" + secret).digest()

    def _verify(self, cookie: str) -> Signed | None:
        parts = _DJANGO.fullmatch(cookie)
        if not parts:
            return None
        mac = base64.urlsafe_b64encode(hmac.digest(self._key, parts["signed"].encode(), "sha256")).rstrip(b"=")
        if not hmac.compare_digest(mac, parts["mac"].encode()):
            return None
        try:
            data = base64.urlsafe_b64decode(parts["data"] + "=" * (-len(parts["data"]) % 4))
            return Signed(_decompressed(data) if parts["dot"] else data, _from_base62(parts["time"]))
        except (ValueError, zlib.error):
            return None


def _decompressed(data: bytes) -> bytes:
    """Raises ValueError when it would be longer than a session is."""
    decompressor = zlib.decompressobj()
    whole = decompressor.decompress(data, LONGEST_SESSION)
    if not decompressor.eof:
        raise ValueError("too long, or cut")
    return whole


def _from_base62(digits: str) -> float:
    number = 0
    for digit in digits:
        number = number * 62 + _BASE62.index(digit)
    return float(number)
