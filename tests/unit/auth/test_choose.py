"""auth.choose: which ways in the settings make, and which settings a server does not start with."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest

from hubbub.auth.choose import choose_origins, choose_proxies, choose_ways
from hubbub.auth.cookies import DjangoCookies, StarletteCookies
from hubbub.auth.gate import Anonymous, Application, Authenticator
from hubbub.auth.tokens import Tokens
from hubbub.config import Auth
from hubbub.errors import ConfigError
from hubbub.hub.identity import ANONYMOUS, Credentials, Identity

SECRET = "0123456789abcdefghijklmnopqrstuvwxyz"


async def hook(credentials: Credentials) -> Identity:
    return ANONYMOUS


def ways(*, hooked: bool = False, **settings: Any) -> list[Authenticator]:
    return choose_ways(Auth(**settings), hook if hooked else None, lambda: 0.0)


def choose(auth: Auth, *, hooked: bool) -> None:
    """As a server does before it starts."""
    made = choose_ways(auth, hook if hooked else None, lambda: 0.0)
    choose_origins(auth, made)
    choose_proxies(auth)


def complaint(*, hooked: bool = False, **settings: Any) -> str:
    """Why a server does not start with these; no secret is in it."""
    auth = Auth(**settings)
    with pytest.raises(ConfigError) as caught:
        choose(auth, hooked=hooked)
    assert not [
        value for name, value in settings.items() if name.endswith("secret") and str(value) in str(caught.value)
    ]
    return str(caught.value)


# Ways


def test_without_a_choice_everybody_is_anonymous() -> None:
    assert [type(way) for way in ways()] == [Anonymous]


def test_the_applications_way_takes_the_place_of_all() -> None:
    assert [type(way) for way in ways(hooked=True)] == [Application]


def test_ways_come_in_the_order_of_the_list() -> None:
    made = ways(auth="django, jwt starlette,anonymous", jwt_secret=SECRET, cookie_secret=SECRET)
    assert [type(way) for way in made] == [DjangoCookies, Tokens, StarletteCookies, Anonymous]


def test_only_cookies_and_the_applications_way_use_cookies() -> None:
    made = ways(auth="jwt starlette django anonymous", jwt_secret=SECRET, cookie_secret=SECRET)
    assert [way.uses_cookies for way in made] == [False, True, True, False]
    assert ways(hooked=True)[0].uses_cookies


def test_behind_anonymous_nobody_would_be_asked() -> None:
    assert "anonymous comes last" in complaint(auth="anonymous, jwt", jwt_secret=SECRET)


def identity_without_credentials(auth: str, **settings: Any) -> Identity:
    last = ways(auth=auth, jwt_secret=SECRET, **settings)[-1]
    identity = asyncio.run(last.authenticate(Credentials()))
    assert identity is not None
    return identity


def test_alone_anonymous_clients_may_do_everything() -> None:
    assert identity_without_credentials("anonymous").grants is None


def test_where_others_say_who_they_are_anonymous_clients_may_do_nothing_that_is_not_listed() -> None:
    grants = identity_without_credentials("jwt, anonymous").grants
    assert grants is not None
    assert not grants.allow("join", "lobby")
    opened = identity_without_credentials("jwt, anonymous", anonymous_rooms="lobby, open-*").grants
    assert opened is not None
    assert [opened.allow("publish", room) for room in ("lobby", "open-1", "team")] == [True, True, False]


def test_a_secret_may_stand_in_a_file(tmp_path: Path) -> None:
    file = tmp_path / "secret"
    file.write_text(SECRET + "\n")
    assert len(ways(auth="jwt", jwt_secret_file=str(file))) == 1


@pytest.mark.parametrize("names", ["jwtt", "JWT", "anonymous jwtt", "none"])
def test_a_way_that_there_is_not_is_named(names: str) -> None:
    wrong = names.rsplit(maxsplit=1)[-1]
    assert complaint(auth=names) == f"auth {wrong!r}: known are anonymous, jwt, starlette, django"


def test_two_who_say_who_clients_are_is_one_too_many() -> None:
    assert "leave the setting empty" in complaint(hooked=True, auth="anonymous")


@pytest.mark.parametrize("name", ["starlette", "django"])
def test_cookies_need_a_secret(name: str) -> None:
    assert complaint(auth=name) == "cookie_secret: there is none; give it or cookie_secret_file"


def test_tokens_need_a_key() -> None:
    assert "jwt_secret" in complaint(auth="jwt")


def test_there_is_one_kind_of_key() -> None:
    assert complaint(auth="jwt", jwt_secret=SECRET, jwks_url="https://issuer.example/keys")


@pytest.mark.parametrize(("name", "setting"), [("jwt", "jwt_secret"), ("django", "cookie_secret")])
@pytest.mark.parametrize("secret", ["short", "changeme" * 8, "a" * 64])
def test_a_secret_that_can_be_guessed_is_refused_unless_that_is_chosen(name: str, setting: str, secret: str) -> None:
    settings: dict[str, Any] = {"auth": name, setting: secret}
    assert complaint(**settings).startswith(f"{setting}: ")
    assert len(ways(insecure_secret=True, **settings)) == 1


@pytest.mark.parametrize(("name", "setting"), [("jwt", "jwt_secret"), ("starlette", "cookie_secret")])
def test_two_secrets_are_one_too_many(name: str, setting: str) -> None:
    settings: dict[str, Any] = {"auth": name, setting: SECRET, f"{setting}_file": "/dev/null"}
    assert complaint(**settings) == f"{setting} and {setting}_file are both given: leave one of them out"


def test_a_file_that_is_not_there_is_named() -> None:
    assert complaint(auth="jwt", jwt_secret_file="/nowhere") == "jwt_secret_file: /nowhere: No such file or directory"


# Origins


COOKIES: list[dict[str, Any]] = [
    {"hooked": True},
    {"auth": "django", "cookie_secret": SECRET},
    {"auth": "starlette anonymous", "cookie_secret": SECRET},
]


@pytest.mark.parametrize("settings", COOKIES)
def test_all_origins_together_with_cookies_are_refused_unless_that_is_chosen(settings: dict[str, Any]) -> None:
    assert "--insecure-origins" in complaint(origins="*", **settings)
    auth = {name: value for name, value in settings.items() if name != "hooked"}
    chosen = Auth(origins="*", insecure_origins=True, **auth)
    assert choose_origins(chosen, ways(**settings)).everybody


def test_all_origins_without_cookies_are_allowed() -> None:
    assert choose_origins(Auth(origins="*"), ways(auth="jwt", jwt_secret=SECRET)).everybody


@pytest.mark.parametrize(
    "origins", ["app.example", "https://app.example/", "https://*.example", "* https://app.example"]
)
def test_what_is_no_origin_is_refused(origins: str) -> None:
    assert complaint(origins=origins).startswith("origins: ")


def test_origins_are_a_list() -> None:
    origins = choose_origins(Auth(origins="https://a.example, http://b.example:8080"), ways())
    asked = ("https://a.example", "http://b.example:8080", "http://a.example")
    assert [origins.allows(origin, "") for origin in asked] == [True, True, False]


# Proxies


@pytest.mark.parametrize("proxies", ["*", "0.0.0.0/0", "::/0", "10.0.0.0/8 0.0.0.0/1 128.0.0.0/1"])
def test_to_trust_everybody_is_refused_unless_that_is_chosen(proxies: str) -> None:
    assert "--insecure-proxies" in complaint(trusted_proxies=proxies)
    assert choose_proxies(Auth(trusted_proxies=proxies, insecure_proxies=True)).everybody


@pytest.mark.parametrize("proxies", ["proxy", "10.0.0.1/8", "10.0.0.0/33", "* 10.0.0.0/8", "fe80::1%eth0"])
def test_what_is_no_network_is_refused(proxies: str) -> None:
    assert complaint(trusted_proxies=proxies).startswith("trusted_proxies: ")


def test_networks_are_a_list() -> None:
    proxies = choose_proxies(Auth(trusted_proxies="10.0.0.0/8,fd00::/8"))
    forwarded = [(b"x-forwarded-for", b"203.0.113.7")]
    assert [proxies.client(peer, forwarded) for peer in ("10.1.1.1", "fd00::1")] == ["203.0.113.7"] * 2
