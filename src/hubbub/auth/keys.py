"""Where the keys come from that tokens are verified with: a secret, a file, the key sets of issuers."""

from __future__ import annotations

import asyncio
import ipaddress
import logging
import ssl
from collections.abc import Callable, Mapping
from functools import cache
from pathlib import Path
from typing import Final, Protocol

import httpx
import jwt
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.serialization import load_pem_public_key

from hubbub.auth.jwk import PublicKey, algorithm_of, read_key_set
from hubbub.auth.refusals import keys_missing
from hubbub.auth.secrets import read_secret
from hubbub.config import Auth, items_of
from hubbub.errors import ConfigError

log: Final = logging.getLogger("hubbub")

Key = bytes | PublicKey
ASYMMETRIC: Final = frozenset({"RS256", "ES256", "EdDSA"})
LONGEST_SET: Final = 262_144
UNKNOWN_SECONDS: Final = 30.0
"""Between two fetches for keys that a set does not have: whoever invents key ids must not have us ask without end."""
RETRY_SECONDS: Final = 5.0
"""Between a fetch that failed and the next."""
AWAY_SECONDS: Final = 30.0
"""How much longer a failure says that the issuer is away; older keys than that are not taken without asking."""


class Keys(Protocol):
    """Finds the key that a token says it was signed with."""

    @property
    def algorithms(self) -> frozenset[str]:
        """The algorithms that there can be keys for; tokens with others need not be looked at."""
        ...

    async def find(self, issuer: str, kid: str | None, algorithm: str) -> Key | None:
        """The key, or None where there is none; never one of a type that is for another algorithm.

        Args:
            issuer: one of the configured issuers; empty where none is.
            kid: the key's id, as the token's header has it.
            algorithm: a name of RFC 7518 or RFC 8037.

        Raises:
            HandshakeError: 503; the keys cannot be had at the moment.
        """
        ...

    async def close(self) -> None:
        """Ends what is under way; who waits for it is told as when it fails."""
        ...


class SecretKey:
    """A secret shared with the issuer: HS256 and nothing else.

    Raises:
        ConfigError: it is a key pair's: whoever knows the public key could sign with it.
    """

    algorithms = frozenset({"HS256"})

    def __init__(self, secret: bytes) -> None:
        try:
            self._secret = bytes(jwt.get_algorithm_by_name("HS256").prepare_key(secret))
        except jwt.InvalidKeyError:
            raise ConfigError("jwt_secret: is a key of a pair, not a secret; give jwt_key_file a public key") from None

    async def find(self, issuer: str, kid: str | None, algorithm: str) -> Key | None:
        return self._secret if algorithm == "HS256" else None

    async def close(self) -> None:
        pass


class PemKey:
    """A public key in a PEM file: RSA for RS256, EC P-256 for ES256, Ed25519 for EdDSA.

    Raises:
        ConfigError: the file cannot be read, or holds something else.
    """

    def __init__(self, file: str) -> None:
        self._key, self._algorithm = _read_pem(file)
        self.algorithms = frozenset({self._algorithm})

    async def find(self, issuer: str, kid: str | None, algorithm: str) -> Key | None:
        return self._key if algorithm == self._algorithm else None

    async def close(self) -> None:
        pass


def _read_pem(file: str) -> tuple[PublicKey, str]:
    try:
        pem = Path(file).read_bytes()
    except OSError as error:
        raise ConfigError(f"jwt_key_file: {file}: {error.strerror}") from None
    if b"PRIVATE KEY" in pem:
        raise ConfigError(
            f"jwt_key_file: {file} holds a private key, which belongs to the issuer alone;"
            " `openssl pkey -pubout` makes the public one of it"
        )
    try:
        key = load_pem_public_key(pem)
    except (ValueError, UnsupportedAlgorithm):
        raise ConfigError(f"jwt_key_file: {file} holds no public key in PEM") from None
    algorithm = algorithm_of(key)
    if algorithm is None or not isinstance(key, PublicKey):
        raise ConfigError(f"jwt_key_file: {file}: RSA of at least 2048 bits, EC P-256 or Ed25519 is needed")
    return key, algorithm


class KeySets:
    """The key sets that issuers publish, fetched when they are needed and kept for a while.

    Every issuer's keys are found under its own name only. A set is fetched again after `jwks_seconds`, and, at most
    every 30 s, for a key that it does not have; there is one fetch at a time, which everybody waits for. When it
    fails the keys of before go on counting, and the next is at least 5 s later.

    Args:
        urls: where each issuer's set is; https, or a loopback address.
        seconds: how long a set counts.
        timeout_seconds: for all of a fetch.
        now: seconds; a clock that never goes back is best.

    Raises:
        ConfigError: a URL that would let others choose the keys.
    """

    algorithms = ASYMMETRIC

    def __init__(
        self, urls: Mapping[str, str], seconds: float, timeout_seconds: float, now: Callable[[], float]
    ) -> None:
        fetcher = _Fetcher(timeout_seconds)
        self._sets = {issuer: _KeySet(issuer, checked_url(url), seconds, fetcher, now) for issuer, url in urls.items()}

    async def find(self, issuer: str, kid: str | None, algorithm: str) -> Key | None:
        keys = self._sets.get(issuer)
        return await keys.find(kid, algorithm) if keys and algorithm in ASYMMETRIC else None

    async def close(self) -> None:
        for keys in self._sets.values():
            await keys.close()


def checked_url(url: str) -> str:
    """The URL of a key set, when nobody on the way can change what it says.

    Raises:
        ConfigError: it is neither https nor this machine's.
    """
    try:
        parsed = httpx.URL(url)
    except (httpx.InvalidURL, ValueError):
        raise ConfigError("jwks_url: is no URL") from None
    if parsed.userinfo:
        raise ConfigError("jwks_url: a key set is public; leave user and password out")
    if not parsed.host or not (parsed.scheme == "https" or (parsed.scheme == "http" and _is_loopback(parsed.host))):
        raise ConfigError(f"jwks_url: {url} is not https: whoever is on the way could give us keys of their own")
    return url


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


@cache
def _tls() -> ssl.SSLContext:
    """Made once: reading all the world's authorities takes a tenth of a second."""
    return httpx.create_ssl_context(trust_env=False)


class _Fetcher:
    """Gets the document at a URL, or says why not; follows nothing, and reads no more than there is room for."""

    def __init__(self, timeout_seconds: float) -> None:
        self._timeout_seconds = timeout_seconds

    async def fetch(self, url: str) -> bytes:
        """Raises whatever goes wrong."""
        seconds = self._timeout_seconds
        async with (
            asyncio.timeout(seconds),  # httpx counts each read for itself: a drip would last for ever
            # Proxies and certificates of the environment could give us keys of their own.
            httpx.AsyncClient(verify=_tls(), trust_env=False, follow_redirects=False, timeout=seconds) as client,
            # What is small compressed may be large: nothing compressed is asked for, or unpacked when it comes.
            client.stream("GET", url, headers={"accept-encoding": "identity"}) as response,
        ):
            if response.status_code != httpx.codes.OK:
                raise ValueError(f"status {response.status_code}")
            return await _read_all(response)


async def _read_all(response: httpx.Response) -> bytes:
    document = bytearray()
    async for chunk in response.aiter_raw():
        document += chunk
        if len(document) > LONGEST_SET:
            raise ValueError(f"longer than {LONGEST_SET} bytes")
    return bytes(document)


class _KeySet:
    """One issuer's keys."""

    def __init__(self, issuer: str, url: str, seconds: float, fetcher: _Fetcher, now: Callable[[], float]) -> None:
        self._issuer, self._url, self._seconds = issuer, url, seconds
        self._fetcher, self._now = fetcher, now
        self._keys: dict[tuple[str | None, str], PublicKey] | None = None
        self._stale_at = self._retry_at = self._unknown_at = float("-inf")
        self._fetch: asyncio.Task[None] | None = None

    async def find(self, kid: str | None, algorithm: str) -> PublicKey | None:
        if self._is_stale():
            fetch = self._fetching()
            # Where the issuer was away just now the old keys count; only the first ones wait to see whether it is.
            if self._keys is None or self._now() >= self._retry_at + AWAY_SECONDS:
                await asyncio.wait([fetch])
                return self._known(kid, algorithm)
        key = self._known(kid, algorithm)
        if key is None and (self._fetch or self._may_ask()):
            await asyncio.wait([self._fetching()])
            key = self._known(kid, algorithm)
        return key

    async def close(self) -> None:
        if self._fetch:
            self._fetch.cancel()
            await asyncio.wait([self._fetch])
            self._fetch = None

    def _known(self, kid: str | None, algorithm: str) -> PublicKey | None:
        if self._keys is None:
            raise keys_missing(int(RETRY_SECONDS))
        if kid is not None:
            return self._keys.get((kid, algorithm))
        fitting = [key for (_, its), key in self._keys.items() if its == algorithm]
        return fitting[0] if len(fitting) == 1 else None

    def _is_stale(self) -> bool:
        return self._now() >= max(self._stale_at, self._retry_at)

    def _may_ask(self) -> bool:
        """Whether a fetch for a key that is not there may be made; counts it as made."""
        now = self._now()
        if now < max(self._unknown_at, self._retry_at):
            return False
        self._unknown_at = now + UNKNOWN_SECONDS
        return True

    def _fetching(self) -> asyncio.Task[None]:
        """The fetch that is under way; begins one where none is. Who gives up waiting must not end it for others."""
        if self._fetch is None:
            self._fetch = asyncio.create_task(self._fetch_set())
        return self._fetch

    async def _fetch_set(self) -> None:
        try:
            found = read_key_set(await self._fetcher.fetch(self._url))
        except Exception as error:  # whatever goes wrong, it is tried again later, and not with every handshake
            log.warning("the keys of an issuer cannot be fetched: issuer=%r error=%s", self._issuer, _cause(error))
            self._retry_at = self._now() + RETRY_SECONDS
        else:
            self._keys = {(kid, algorithm): key for kid, algorithm, key in found}
            self._retry_at, self._stale_at = float("-inf"), self._now() + self._seconds
        finally:
            self._fetch = None


def _cause(error: Exception) -> str:
    """In one line; what the server said is not quoted."""
    return str(error) if isinstance(error, ValueError) else type(error).__name__


def keys_of(settings: Auth, now: Callable[[], float]) -> Keys:
    """The keys that the settings name.

    Raises:
        ConfigError: none or several kinds are named, or there is something wrong with the one.
    """
    secret = settings.jwt_secret or settings.jwt_secret_file
    kinds = [bool(secret), bool(settings.jwt_key_file), bool(settings.jwks_url)]
    if sum(kinds) != 1:
        raise ConfigError("auth: jwt needs exactly one of jwt_secret, jwt_key_file and jwks_url")
    if settings.jwt_key_file:
        return PemKey(settings.jwt_key_file)
    if settings.jwks_url:
        return KeySets(_urls_of(settings), settings.jwks_seconds, settings.jwks_timeout_seconds, now)
    return SecretKey(read_secret(settings.jwt_secret, settings.jwt_secret_file, "jwt_secret", settings.insecure_secret))


def _urls_of(settings: Auth) -> dict[str, str]:
    """By issuer; without issuers there can be one set only, for whoever signs with its keys."""
    issuers, urls = items_of(settings.jwt_issuer) or [""], items_of(settings.jwks_url)
    if len(issuers) != len(urls) or len(set(issuers)) != len(issuers):
        raise ConfigError(f"jwks_url: {len(urls)} URLs for {len(set(issuers))} of jwt_issuer; each issuer has one")
    return dict(zip(issuers, urls, strict=True))
