"""All secrets of the tests that start servers, and whoever signs with them; the canary listens for each."""

from __future__ import annotations

import hmac
import json
import time
from base64 import b64encode, urlsafe_b64encode
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cache
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from secrets import token_urlsafe
from threading import Thread
from typing import Any
from uuid import uuid4

import itsdangerous
from cryptography.hazmat.primitives.asymmetric import padding, rsa
from cryptography.hazmat.primitives.hashes import SHA256
from django.conf import settings as django
from django.core import signing

from tests.support.canary import canary
from tests.unit.auth.pairs import jwk, key_set, pair, public_pem

ISSUER, AUDIENCE = "https://issuer.example", "hubbub-tests"
LEEWAY_SECONDS = 2
KEY_ID = "key-1"
DJANGO_SALT = "django.contrib.sessions.backends.signed_cookies"
if not django.configured:
    django.configure(SECRET_KEY="another key, which no test signs with: all of them name theirs")

Sign = Callable[[bytes], bytes]


@cache
def secret(name: str) -> str:
    """A secret that the tests share with a server."""
    return canary.keep(token_urlsafe(32), f"the secret {name}")


def base64url(data: bytes) -> str:
    return urlsafe_b64encode(data).rstrip(b"=").decode()


def hs256(key: bytes) -> Sign:
    return lambda content: hmac.digest(key, content, "sha256")


def rs256(key: rsa.RSAPrivateKey) -> Sign:
    return lambda content: key.sign(content, padding.PKCS1v15(), SHA256())


def unsigned(content: bytes) -> bytes:
    return b""


def forge(header: Mapping[str, Any] | bytes, claims: Mapping[str, Any] | bytes, sign: Sign) -> str:
    """A token as anybody can make one (RFC 7515, section 3.1), whatever its header says."""
    parts = [part if isinstance(part, bytes) else json.dumps(part).encode() for part in (header, claims)]
    content = ".".join(map(base64url, parts))
    return canary.keep(f"{content}.{base64url(sign(content.encode()))}", "a token")


def claims_of(user: str, **changes: Any) -> dict[str, Any]:
    """Claims that count; what is None is left out."""
    now = int(time.time())
    claims = {"sub": user, "iss": ISSUER, "aud": AUDIENCE, "iat": now, "exp": now + 3600, "jti": str(uuid4())}
    return {name: value for name, value in (claims | changes).items() if value is not None}


@dataclass(frozen=True)
class Issuer:
    """Whoever signs the tokens of a server.

    Attributes:
        options: with which the server takes them.
        header: of its tokens.
        asked: what was asked of this machine for keys.
    """

    options: tuple[str, ...]
    header: dict[str, Any]
    sign: Sign
    asked: list[str] = field(default_factory=list)

    def token(self, user: str = "u-ada", **claims: Any) -> str:
        """One that counts, unless the claims say otherwise."""
        return forge(self.header, claims_of(user, **claims), self.sign)


def _jwt(*options: str) -> tuple[str, ...]:
    accepted = ("--jwt-issuer", ISSUER, "--jwt-audience", AUDIENCE, "--jwt-leeway-seconds", str(LEEWAY_SECONDS))
    return ("--auth", "jwt", *accepted, *options)


def secret_issuer(folder: Path) -> Issuer:
    """Signs with a secret that the server has in a file."""
    file = folder / "jwt.secret"
    file.write_text(secret("of tokens") + "\n")
    options = _jwt("--jwt-secret-file", str(file))
    return Issuer(options, {"alg": "HS256", "typ": "JWT"}, hs256(secret("of tokens").encode()))


def rsa_key(which: int = 0) -> rsa.RSAPrivateKey:
    key = pair(which=which)
    assert isinstance(key, rsa.RSAPrivateKey)
    return key


def pem_issuer(folder: Path) -> Issuer:
    """Signs with a key whose public half the server has in a file."""
    file = folder / "public.pem"
    file.write_bytes(public_pem(rsa_key()))
    return Issuer(_jwt("--jwt-key-file", str(file)), {"alg": "RS256", "typ": "JWT"}, rs256(rsa_key()))


def published_issuer() -> Issuer:
    """Signs with a key whose public half it publishes on this machine, and notes who asks for anything there."""
    asked: list[str] = []

    class Keys(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            asked.append(self.path)
            body = key_set(jwk(rsa_key(), kid=KEY_ID, alg="RS256"))
            self.send_response(200)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *arguments: Any) -> None:
            """Says nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Keys)
    Thread(target=server.serve_forever, daemon=True).start()
    options = _jwt("--jwks-url", f"http://127.0.0.1:{server.server_port}/keys")
    return Issuer(options, {"alg": "RS256", "kid": KEY_ID}, rs256(rsa_key()), asked)


def bearer(token: str) -> str:
    return f"Authorization: Bearer {token}"


# Cookies


def cookie_options(folder: Path, framework: str) -> tuple[str, ...]:
    """With which a server takes the cookies of a framework."""
    file = folder / "cookie.secret"
    file.write_text(secret("of cookies"))
    return ("--auth", framework, "--cookie-secret-file", str(file))


def starlette_cookie(user: str) -> str:
    """As starlette.middleware.sessions writes it."""
    data = b64encode(json.dumps({"user": user}).encode())
    signed = itsdangerous.TimestampSigner(secret("of cookies")).sign(data).decode()
    return f"Cookie: session={canary.keep(signed, 'a cookie')}"


def django_cookie(user: str) -> str:
    """As django.contrib.sessions.backends.signed_cookies writes it."""
    signed = signing.dumps({"_auth_user_id": user}, key=secret("of cookies"), salt=DJANGO_SALT, compress=True)
    return f"Cookie: sessionid={canary.keep(signed, 'a cookie')}"


COOKIES = {"starlette": starlette_cookie, "django": django_cookie}
