"""Bearer tokens (RFC 7519): all that a token cannot prove is refused before anybody is asked for a key."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

import jwt
import msgspec

from hubbub.auth.claims import identity_of, seconds_of
from hubbub.auth.keys import Key, Keys, keys_of
from hubbub.auth.refusals import token_refused
from hubbub.config import Auth, items_of
from hubbub.hub.identity import Credentials, Identity

LONGEST_TOKEN: Final = 8192
_ALGORITHMS: Final = {name: jwt.get_algorithm_by_name(name) for name in ("HS256", "RS256", "ES256", "EdDSA")}
# Three parts of base64url without padding (RFC 7515, section 3.1); an empty signature is none.
_COMPACT: Final = re.compile(r"[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+")
_KID: Final = re.compile(r"(?!.*\.\.)[A-Za-z0-9._~+/=:-]{1,128}")
# They bring keys along or say where to fetch them (RFC 7515, section 4.1), or what must be understood: we do neither.
_FOREIGN: Final = frozenset({"b64", "crit", "jku", "jwk", "x5c", "x5u"})


class Tokens:
    """Lets in who shows a token that an issuer has signed for us.

    Args:
        keys: where the issuers' keys come from.
        settings: which issuers and audience count, and what tokens allow.
        now: Unix seconds.
    """

    uses_cookies = False

    def __init__(self, keys: Keys, settings: Auth, now: Callable[[], float]) -> None:
        self._keys, self._settings, self._now = keys, settings, now
        self._issuers = frozenset(items_of(settings.jwt_issuer))

    async def authenticate(self, credentials: Credentials) -> Identity | None:
        """Who the token's user is; None without a token.

        Raises:
            HandshakeError: 401, the token does not count; 503, its issuer's keys cannot be had.
        """
        token = credentials.token
        if not token:
            return None
        algorithm, kid = self._header_of(token)
        claims = _object_of(_part(token, 1))
        issuer = self._issuer_of(claims)
        key = await self._keys.find(issuer, kid, algorithm)
        if key is None or not _is_signed(token, key, algorithm):  # which keys there are is nobody's business
            raise token_refused("The token's signature does not count")
        self._check(claims)
        identity = identity_of(claims, self._settings, self._now)
        return identity if len(self._issuers) < 2 else _of_issuer(identity, issuer)

    async def close(self) -> None:
        """Ends what is under way for those who wait."""
        await self._keys.close()

    def _header_of(self, token: str) -> tuple[str, str | None]:
        """The algorithm and the key's id, both of which can be looked for without harm."""
        if len(token) > LONGEST_TOKEN:
            raise token_refused("The token is too long")
        if not _COMPACT.fullmatch(token):
            raise token_refused("The token is none")
        header = _object_of(_part(token, 0))
        algorithm, kid = header.get("alg"), header.get("kid")
        if not isinstance(algorithm, str) or algorithm not in self._keys.algorithms:
            raise token_refused("The token is signed in a way that does not count")
        if _FOREIGN & header.keys():
            raise token_refused("The token's header asks for what is not done")
        if "kid" in header and not (isinstance(kid, str) and _KID.fullmatch(kid)):
            raise token_refused("The token's key id is none")
        return algorithm, kid

    def _issuer_of(self, claims: Mapping[str, Any]) -> str:
        """Which of the configured issuers it says it is from; empty where none is. Chooses keys, proves nothing."""
        if not self._issuers:
            return ""
        issuer = claims.get("iss")
        if not isinstance(issuer, str) or issuer not in self._issuers:
            raise token_refused("The token is from somebody else")
        return issuer

    def _check(self, claims: Mapping[str, Any]) -> None:
        """The issuer needs no second look: it stands in the bytes that are signed, and chose the key."""
        leeway, now = self._settings.jwt_leeway_seconds, self._now()
        if seconds_of(claims, "exp") is None:
            raise token_refused("The token never expires")
        if (seconds_of(claims, "nbf") or 0.0) > now + leeway:
            raise token_refused("The token is not valid yet")
        if (seconds_of(claims, "iat") or 0.0) > now + leeway:
            raise token_refused("The token was made in the future")
        if not _is_for(claims, self._settings.jwt_audience):
            raise token_refused("The token is for somebody else")


def _of_issuer(identity: Identity, issuer: str) -> Identity:
    """The same where there are several issuers: each names its own users and tokens (RFC 7519, section 4.1.2)."""
    token = identity.token and f"{issuer} {identity.token}"
    return msgspec.structs.replace(identity, user=f"{issuer} {identity.user}", token=token)


def _is_signed(token: str, key: Key, algorithm: str) -> bool:
    """Whether the key's holder has signed it: a third of the cost of decoding it once more (benchmark P6)."""
    content, _, signature = token.rpartition(".")
    try:
        return _ALGORITHMS[algorithm].verify(content.encode(), key, jwt.utils.base64url_decode(signature))
    except ValueError:
        return False


def _is_for(claims: Mapping[str, Any], audience: str) -> bool:
    """RFC 7519, section 4.1.3: who does not find itself in `aud`, which is a string or a list of them, refuses."""
    if not audience:
        return "aud" not in claims
    named = claims.get("aud")
    return named == audience or (
        isinstance(named, list) and all(isinstance(one, str) for one in named) and audience in named
    )


def _part(token: str, index: int) -> bytes:
    try:
        return jwt.utils.base64url_decode(token.split(".")[index])
    except ValueError:
        raise token_refused("The token is none") from None


def _object_of(document: bytes) -> dict[str, Any]:
    try:
        return msgspec.json.decode(document, type=dict[str, Any])
    except (msgspec.MsgspecError, RecursionError, ValueError):
        raise token_refused("The token is none") from None


def tokens_of(settings: Auth, now: Callable[[], float]) -> Tokens:
    """What verifies tokens as the settings say.

    Raises:
        ConfigError: they name no key, several kinds, or one that cannot be used.
    """
    return Tokens(keys_of(settings, now), settings, now)


def mint(
    secret: bytes,
    user: str,
    name: str,
    rooms: Sequence[str] | Mapping[str, Sequence[str]] | None,
    seconds: float,
    now: Callable[[], float],
    new_id: Callable[[], str],
    issuer: str,
    audience: str,
    rooms_claim: str = "rooms",
) -> str:
    """A token signed with HS256, to develop with; in production whoever logs users in makes them.

    Args:
        secret: at least 32 bytes.
        user: the user's id.
        name: what others are shown; empty for the id.
        rooms: patterns of rooms, or the verbs by pattern; None to leave it to `rooms_default`.
        seconds: how long it counts.
        now: Unix seconds.
        new_id: makes the id under which it can be revoked.
        issuer: `iss`; empty for none.
        audience: `aud`; empty for none.
        rooms_claim: the claim that holds the rooms.
    """
    issued = now()
    claims: dict[str, Any] = {"sub": user, "iat": int(issued), "exp": int(issued + seconds), "jti": new_id()}
    claims |= {claim: value for claim, value in (("name", name), ("iss", issuer), ("aud", audience)) if value}
    if rooms is not None:
        claims[rooms_claim] = rooms
    return jwt.encode(claims, secret, "HS256")
