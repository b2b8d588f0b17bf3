"""API keys: what other programs show. Only their digests are stored, so that whoever reads the settings has none."""

from __future__ import annotations

import hashlib
import re
import secrets
from collections.abc import Callable, Mapping
from hmac import compare_digest
from pathlib import Path
from typing import Final

from hubbub.auth.refusals import token_refused
from hubbub.config import Auth, items_of
from hubbub.errors import ConfigError
from hubbub.hub.identity import Credentials, Identity

PREFIX: Final = "hubbub_"
"""Begins every key, so that it is not taken for a token, and is found where it should not stand."""
USER: Final = "key:"
"""With the key's name behind it, the user as whom its holder counts."""
KEY_BYTES: Final = 32
LONGEST_FILE: Final = 65536
_NAME: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,63}")
_DIGEST: Final = re.compile(r"[0-9a-f]{64}")


class ApiKeys:
    """Lets in who shows one of these keys, as an operator.

    Args:
        digests: SHA-256 of each key, by its name.
    """

    uses_cookies = False

    def __init__(self, digests: Mapping[str, bytes]) -> None:
        self._digests = dict(digests)

    async def authenticate(self, credentials: Credentials) -> Identity | None:
        if not credentials.token.startswith(PREFIX):
            return None
        shown = digest_of(credentials.token)
        # All of them are compared, each in constant time: how long it takes says nothing of which is nearly right.
        found = [name for name, digest in self._digests.items() if compare_digest(digest, shown)]
        if not found:
            raise token_refused("The API key does not count")
        return Identity(user=USER + found[0], name=found[0][:30], operator=True)

    async def close(self) -> None:
        """Nothing is under way."""


def digest_of(key: str) -> bytes:
    """What is stored of a key. It is as random as a digest, so it needs no salt and no slow hash."""
    return hashlib.sha256(key.encode("utf-8", "surrogatepass")).digest()


def make_key(name: str, token_urlsafe: Callable[[int], str] = secrets.token_urlsafe) -> tuple[str, str]:
    """A new key, and the entry for the settings.

    Raises:
        ConfigError: the name is none.
    """
    if not _NAME.fullmatch(name):
        raise ConfigError(f"{name!r}: a key's name has 1 to 64 of A-Z, a-z, 0-9, _ . and -, a letter or digit first")
    key = PREFIX + token_urlsafe(KEY_BYTES)
    return key, f"{name}:{digest_of(key).hex()}"


def keys_of(settings: Auth) -> dict[str, bytes]:
    """The digests of the settings, by name.

    Raises:
        ConfigError: an entry is none, a name stands there twice, or the file cannot be read.
    """
    if settings.api_keys and settings.api_keys_file:
        raise ConfigError("api_keys and api_keys_file are both given: leave one of them out")
    text = _content_of(settings.api_keys_file) if settings.api_keys_file else settings.api_keys
    digests: dict[str, bytes] = {}
    for number, entry in enumerate(items_of(text), 1):
        name, _, digest = entry.partition(":")
        if not _NAME.fullmatch(name) or not _DIGEST.fullmatch(digest):  # it may be a key: it is not repeated
            raise ConfigError(f"api_keys: entry {number} is not name:digest, as `hubbub key NAME` prints")
        if name in digests:
            raise ConfigError(f"api_keys: {name} stands there twice")
        digests[name] = bytes.fromhex(digest)
    return digests


def _content_of(file: str) -> str:
    """The entries of a file, a line each; what follows a `#` is for people."""
    try:
        with Path(file).open("rb") as opened:
            content = opened.read(LONGEST_FILE + 1)
        text = content.decode()
    except OSError as error:
        raise ConfigError(f"api_keys_file: {file}: {error.strerror}") from None
    except UnicodeDecodeError:
        raise ConfigError(f"api_keys_file: {file}: not a text") from None
    if len(content) > LONGEST_FILE:
        raise ConfigError(f"api_keys_file: {file}: longer than {LONGEST_FILE} bytes")
    return "\n".join(line.partition("#")[0] for line in text.splitlines())
