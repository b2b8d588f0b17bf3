"""auth.secrets: where a secret comes from, and which ones are none."""

from __future__ import annotations

import base64
import os
from pathlib import Path

import pytest

from hubbub.auth.secrets import read_secret
from hubbub.errors import ConfigError

GOOD = "Kx7-fW2q9RzLpT4vYb1NcE8mHs6JdU3aQ0"


def refusal(value: str = "", file: str = "", insecure: bool = False) -> str:
    with pytest.raises(ConfigError) as caught:
        read_secret(value, file, "jwt_secret", insecure)
    return str(caught.value)


def test_a_secret_comes_from_its_setting() -> None:
    assert read_secret(GOOD, "", "jwt_secret", False) == GOOD.encode()


@pytest.mark.parametrize("end", ["", "\n", "\r\n", "\n\n"])
def test_a_secret_comes_from_its_file_without_the_newline(tmp_path: Path, end: str) -> None:
    (tmp_path / "secret").write_bytes((GOOD + end).encode())
    assert read_secret("", str(tmp_path / "secret"), "jwt_secret", False) == GOOD.encode()


def test_a_file_may_hold_any_bytes(tmp_path: Path) -> None:
    content = bytes(range(200, 256))
    (tmp_path / "secret").write_bytes(content)
    assert read_secret("", str(tmp_path / "secret"), "jwt_secret", False) == content


def test_bytes_of_the_environment_are_kept() -> None:
    raw = bytes(range(200, 256))
    assert read_secret(os.fsdecode(raw), "", "jwt_secret", False) == raw


def test_a_setting_and_a_file_are_one_too_many() -> None:
    assert "jwt_secret_file" in refusal(GOOD, "/some/file")


@pytest.mark.parametrize("insecure", [False, True])
def test_no_secret_is_never_one(tmp_path: Path, insecure: bool) -> None:
    (tmp_path / "empty").write_text("\n")
    assert "there is none" in refusal("", "", insecure)
    assert "there is none" in refusal("", str(tmp_path / "empty"), insecure)


def test_a_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    assert str(tmp_path / "gone") in refusal("", str(tmp_path / "gone"))
    assert str(tmp_path) in refusal("", str(tmp_path))


def test_a_file_without_end_is_no_secret() -> None:
    assert "longer than" in refusal("", "/dev/zero")


WEAK = ["short", GOOD[:31], "a" * 64, "changeme" * 8, "secret" * 6, "Secret" * 5 + "sECRET", "change-me" * 4, "ab" * 20]


@pytest.mark.parametrize("secret", WEAK)
def test_a_secret_that_can_be_guessed_is_refused_with_the_remedy(secret: str) -> None:
    message = refusal(secret)
    assert "jwt_secret" in message
    assert "openssl rand" in message
    assert "--insecure-secret" in message
    assert secret not in message


@pytest.mark.parametrize("secret", WEAK)
def test_a_secret_that_can_be_guessed_counts_where_that_is_wanted(secret: str) -> None:
    assert read_secret(secret, "", "jwt_secret", True) == secret.encode()


def test_no_random_secret_is_taken_for_a_word() -> None:
    for _ in range(1000):
        read_secret(base64.b64encode(os.urandom(32)).decode(), "", "jwt_secret", False)
        read_secret(os.urandom(16).hex(), "", "jwt_secret", False)
