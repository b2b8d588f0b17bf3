"""From the settings to the ways in, and why some settings are refused: whoever starts a server hears it at once."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from hubbub.auth.api_keys import ApiKeys, keys_of
from hubbub.auth.gate import Anonymous, Application, Authenticator, Hook
from hubbub.auth.origin import Origins
from hubbub.auth.proxies import Proxies
from hubbub.auth.secrets import read_secret
from hubbub.config import Auth, items_of
from hubbub.errors import ConfigError
from hubbub.hub.identity import VERBS, Grants

SCHEMES: Final = ("anonymous", "jwt", "starlette", "django")


def choose_ways(settings: Auth, hook: Hook | None, now: Callable[[], float]) -> list[Authenticator]:
    """How clients say who they are; the application's own way in place of the settings'.

    Args:
        now: Unix seconds.

    Raises:
        ConfigError: the settings do not fit together; says how to mend it.
    """
    names = items_of(settings.auth)
    for name in names:
        if name not in SCHEMES:
            raise ConfigError(f"auth {name!r}: known are {', '.join(SCHEMES)}")
    digests = keys_of(settings)
    keys: list[Authenticator] = [ApiKeys(digests)] if digests else []
    if hook is not None:
        if names:
            raise ConfigError("auth: the application says itself who clients are; leave the setting empty")
        return [*keys, Application(hook, now)]
    if "anonymous" in names[:-1]:
        raise ConfigError("auth: anonymous comes last; nobody is asked for credentials behind it")
    alone = len(names) <= 1
    return keys + [
        Anonymous(None if alone else _grants(settings)) if name == "anonymous" else _make(name, settings, now)
        for name in names or ["anonymous"]
    ]


def _grants(settings: Auth) -> Grants:
    """What those may do who do not say who they are, where others do."""
    return Grants(tuple((pattern, frozenset(VERBS)) for pattern in items_of(settings.anonymous_rooms)))


def choose_origins(settings: Auth, ways: list[Authenticator]) -> Origins:
    """Whose pages may connect.

    Raises:
        ConfigError: an origin is none, or every page could act as its visitor.
    """
    origins = Origins(items_of(settings.origins))
    if origins.everybody and any(way.uses_cookies for way in ways) and not settings.insecure_origins:
        raise ConfigError(
            "origins *: with cookies every page on the web could act as its visitor; list the origins, or say"
            " --insecure-origins"
        )
    return origins


def choose_proxies(settings: Auth) -> Proxies:
    """Whose X-Forwarded-For counts.

    Raises:
        ConfigError: a network is none, or everybody could choose their own address.
    """
    proxies = Proxies(items_of(settings.trusted_proxies))
    if proxies.everybody and not settings.insecure_proxies:
        raise ConfigError(
            "trusted_proxies *: everybody could choose the address that limits count; list the proxies' networks, or"
            " say --insecure-proxies"
        )
    return proxies


def _make(name: str, settings: Auth, now: Callable[[], float]) -> Authenticator:
    """One way; its libraries are imported here, because most servers need none of them."""
    if name == "jwt":
        from hubbub.auth.tokens import tokens_of

        return tokens_of(settings, now)
    from hubbub.auth.cookies import DjangoCookies, StarletteCookies

    secret = read_secret(settings.cookie_secret, settings.cookie_secret_file, "cookie_secret", settings.insecure_secret)
    return (StarletteCookies if name == "starlette" else DjangoCookies)(secret, settings, now)
