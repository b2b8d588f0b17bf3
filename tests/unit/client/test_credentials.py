"""client.credentials: when a token is asked for."""

import asyncio
from collections.abc import Callable

import pytest

from hubbub.client.credentials import Credentials
from hubbub.errors import ConfigError


def counting() -> tuple[Callable[[], str], list[int]]:
    asked: list[int] = []

    def token() -> str:
        asked.append(len(asked))
        return f"token-{len(asked)}"

    return token, asked


def test_a_token_that_was_given_is_shown_for_ever() -> None:
    credentials = Credentials("given")
    assert asyncio.run(credentials.token(1e9, 0.0)) == "given"
    assert not credentials.refused()


def test_one_that_was_asked_for_is_shown_until_it_ends() -> None:
    source, asked = counting()
    credentials = Credentials(source)
    shown = [asyncio.run(credentials.token(now, expires_at=5.0)) for now in (0.0, 4.0, 5.0)]
    assert shown == ["token-1", "token-1", "token-2"]
    assert len(asked) == 2


def test_one_that_does_not_count_is_asked_for_again_once() -> None:
    source, _ = counting()
    credentials = Credentials(source)
    asyncio.run(credentials.token(0.0))
    credentials.accepted()
    assert credentials.refused()
    assert asyncio.run(credentials.token(0.0)) == "token-2"
    assert not credentials.refused()


def test_it_may_be_asked_for_without_waiting_for_it() -> None:
    async def source() -> str:
        return "later"

    assert asyncio.run(Credentials(source).token(0.0)) == "later"


@pytest.mark.parametrize("token", ["two words", "a\r\nb: c"])
def test_what_is_no_token_is_told(token: str) -> None:
    with pytest.raises(ConfigError):
        Credentials(token)
    with pytest.raises(ConfigError):
        asyncio.run(Credentials(lambda: token).token(0.0))
