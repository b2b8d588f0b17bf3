"""auth.tokens with several issuers, and identities that an application makes: nobody is taken for somebody else."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from hubbub.auth.gate import Application
from hubbub.auth.tokens import mint, tokens_of
from hubbub.config import Auth
from hubbub.errors import HandshakeError
from hubbub.hub.identity import Credentials, Grants, Identity

SECRET = "0123456789abcdefghijklmnopqrstuvwxyz"
A, B = "https://a.example", "https://b.example"


def user_of(issuers: str, issuer: str) -> tuple[str, str, str]:
    token = mint(SECRET.encode(), "admin", "", None, 60, lambda: 1000.0, lambda: "t1", issuer, "")
    tokens = tokens_of(Auth(jwt_secret=SECRET, jwt_issuer=issuers), lambda: 1000.0)
    identity = asyncio.run(tokens.authenticate(Credentials(token=token)))
    assert identity is not None
    return identity.user, identity.token, identity.name


def test_users_of_several_issuers_are_told_apart() -> None:
    assert user_of(f"{A} {B}", A) == (f"{A} admin", f"{A} t1", "admin")
    assert user_of(f"{A} {B}", B) == (f"{B} admin", f"{B} t1", "admin")


def test_those_of_one_issuer_are_named_as_it_names_them() -> None:
    assert user_of(A, A) == ("admin", "t1", "admin")


ODD: list[dict[str, Any]] = [
    *({"user": user} for user in (42, None, "u" * 1025, "\ud800")),
    *({"user": "u", "expires": expires} for expires in (1e308, float("nan"), float("inf"), -1.0, "soon")),
    *({"user": "u", "issued": issued} for issued in (float("nan"), -1.0)),
    {"user": "u", "grants": ["lobby"]},
    {"grants": ["lobby"]},
    {"user": "u", "name": 7},
    {"user": "u", "token": 7},
]


@pytest.mark.parametrize("fields", ODD, ids=str)
def test_an_identity_that_is_none_lets_nobody_in(fields: dict[str, Any]) -> None:
    async def hook(credentials: Credentials) -> Identity:
        return Identity(**fields)

    with pytest.raises(HandshakeError) as caught:
        asyncio.run(Application(hook, lambda: 1000.0).authenticate(Credentials()))
    assert caught.value.status == 503


def test_an_identity_in_order_is_taken() -> None:
    async def hook(credentials: Credentials) -> Identity:
        return Identity(user="u", expires=2000.0, issued=1.0, grants=Grants(()))

    identity = asyncio.run(Application(hook, lambda: 1000.0).authenticate(Credentials()))
    assert identity is not None
    assert (identity.user, identity.issued, identity.expires) == ("u", 1.0, 2000.0)
