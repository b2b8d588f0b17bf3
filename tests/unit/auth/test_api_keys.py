"""auth.api_keys: who shows a key that is known by its digest is its holder, and an operator."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from hubbub.auth.api_keys import PREFIX, ApiKeys, digest_of, keys_of, make_key
from hubbub.auth.choose import choose_ways
from hubbub.auth.gate import Anonymous
from hubbub.config import Auth
from hubbub.errors import ConfigError, HandshakeError
from hubbub.hub.identity import Credentials, Identity

KEY, ENTRY = make_key("ops")


def ask(token: str, entry: str = ENTRY) -> Identity | None:
    ways = ApiKeys(keys_of(Auth(api_keys=entry)))
    return asyncio.run(ways.authenticate(Credentials(token=token)))


def test_who_shows_a_key_is_its_holder_and_an_operator() -> None:
    identity = ask(KEY)
    assert identity is not None
    assert (identity.user, identity.name, identity.operator, identity.grants) == ("key:ops", "ops", True, None)


@pytest.mark.parametrize(
    "key",
    [KEY[:-1], KEY + "A", PREFIX, ENTRY.replace("ops:", PREFIX)],
    ids=["shorter", "longer", "no more than the prefix", "the digest"],  # the same in each process: the key is random
)
def test_another_key_is_401_and_is_not_repeated(key: str) -> None:
    with pytest.raises(HandshakeError) as refused:
        ask(key)
    assert (refused.value.status, key in str(refused.value)) == (401, False)


@pytest.mark.parametrize("token", ["", "eyJhbGciOiJIUzI1NiJ9.e30.x", "Hubbub_x"])
def test_what_is_no_key_is_for_others_to_know(token: str) -> None:
    assert ask(token) is None


def test_keys_are_random_and_long() -> None:
    assert KEY.startswith(PREFIX)
    assert len({make_key("ops")[0] for _ in range(100)} | {KEY}) == 101
    assert len(KEY) == len(PREFIX) + 43


def test_what_is_stored_is_a_digest() -> None:
    assert f"ops:{digest_of(KEY).hex()}" == ENTRY
    assert KEY not in repr(Auth(api_keys=ENTRY))


@pytest.mark.parametrize("name", ["", "a b", "ops:x", "-ops", "x" * 65, "ä"])
def test_a_name_that_cannot_be_written_down_is_refused(name: str) -> None:
    with pytest.raises(ConfigError, match="a key's name"):
        make_key(name)


@pytest.mark.parametrize(
    "entry",
    ["ops", KEY, f"ops:{KEY}", "ops:12", ENTRY.upper(), ENTRY + "0"],
    ids=["a name", "a key", "a name and a key", "too short", "capitals", "too long"],
)
def test_an_entry_that_is_none_is_refused_and_not_repeated(entry: str) -> None:
    with pytest.raises(ConfigError, match="entry 1 is not name:digest") as refused:
        keys_of(Auth(api_keys=entry))
    assert entry not in str(refused.value)


def test_a_name_stands_there_once() -> None:
    with pytest.raises(ConfigError, match="ops stands there twice"):
        keys_of(Auth(api_keys=f"{ENTRY}, {make_key('ops')[1]}"))


def test_a_file_holds_them_a_line_each(tmp_path: Path) -> None:
    file = tmp_path / "keys"
    file.write_text(f"# who reads the figures\n{ENTRY}  # since May\n\n{make_key('ci')[1]}\n")
    assert list(keys_of(Auth(api_keys_file=str(file)))) == ["ops", "ci"]


def test_a_file_that_cannot_be_read_is_a_line(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="No such file"):
        keys_of(Auth(api_keys_file=str(tmp_path / "none")))
    with pytest.raises(ConfigError, match="both given"):
        keys_of(Auth(api_keys=ENTRY, api_keys_file="x"))


def test_they_are_looked_at_first_and_open_nothing_for_others() -> None:
    ways = choose_ways(Auth(auth="anonymous", api_keys=ENTRY), None, lambda: 0.0)
    assert [type(way) for way in ways] == [ApiKeys, Anonymous]
    assert [type(way) for way in choose_ways(Auth(auth="anonymous"), None, lambda: 0.0)] == [Anonymous]
