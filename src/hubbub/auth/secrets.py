"""Secrets from the settings or their files; those that can be guessed are refused. No message holds one."""

from __future__ import annotations

from pathlib import Path
from typing import Final

from hubbub.errors import ConfigError

LEAST_BYTES: Final = 32
"""As long as the digest (RFC 7518, section 3.2)."""
_LONGEST_FILE: Final = 65536
_LONGEST_UNIT: Final = 16
_REMEDY: Final = "take what `openssl rand -base64 32` prints, or accept it with --insecure-secret"


def read_secret(value: str, file: str, name: str, insecure: bool) -> bytes:
    """The secret of a setting.

    Args:
        value: the secret itself; empty where it stands in a file.
        file: the path of the file; newlines at its end do not count.
        name: the setting's, for messages; the file's setting is `{name}_file`.
        insecure: take one that can be guessed.

    Raises:
        ConfigError: there is none or there are two, the file cannot be read, or it can be guessed.
    """
    if value and file:
        raise ConfigError(f"{name} and {name}_file are both given: leave one of them out")
    # Bytes of the environment that are no UTF-8 come as halves of surrogates.
    secret = _content_of(file, name) if file else value.encode("utf-8", "surrogateescape")
    if not secret:
        raise ConfigError(f"{name}: there is none; give it or {name}_file")
    if not insecure:
        _check(secret, name)
    return secret


def _content_of(file: str, name: str) -> bytes:
    try:
        with Path(file).open("rb") as opened:
            content = opened.read(_LONGEST_FILE + 1)
    except OSError as error:
        raise ConfigError(f"{name}_file: {file}: {error.strerror}") from None
    if len(content) > _LONGEST_FILE:
        raise ConfigError(f"{name}_file: {file}: longer than {_LONGEST_FILE} bytes, so it is no secret")
    return content.rstrip(b"\r\n")


def _check(secret: bytes, name: str) -> None:
    if len(secret) < LEAST_BYTES:
        raise ConfigError(f"{name}: {len(secret)} bytes, and {LEAST_BYTES} are needed: {_REMEDY}")
    if _repeats_itself(secret.lower()):
        raise ConfigError(f"{name}: a word that repeats itself can be guessed: {_REMEDY}")


def _repeats_itself(secret: bytes) -> bool:
    """Whether it is one character, or a word as short as `changeme`, again and again; the last may be cut."""
    return any(secret[length:] == secret[:-length] for length in range(1, _LONGEST_UNIT + 1))
