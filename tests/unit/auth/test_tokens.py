"""auth.tokens: a token counts when all of it does; whatever is wrong is 401, and asks nobody anything."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import hmac
import json
from collections.abc import Coroutine
from pathlib import Path
from typing import Any, TypeVar

import jwt
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hubbub.auth.keys import PemKey, SecretKey
from hubbub.auth.tokens import LONGEST_TOKEN, Tokens, mint, tokens_of
from hubbub.config import Auth
from hubbub.errors import ConfigError, HandshakeError
from hubbub.hub.identity import Credentials, Grants, Identity
from tests.unit.auth.pairs import EC, ED, RSA, Private, issuer, jwk, pair, public_pem, written

NOW = 1_700_000_000.0
SECRET = b"Kx7-fW2q9RzLpT4vYb1NcE8mHs6JdU3aQ0"
CLAIMS: dict[str, Any] = {"sub": "ann", "exp": NOW + 60}
Result = TypeVar("Result")


def clock() -> float:
    return NOW


def encoded(part: object) -> str:
    return base64.urlsafe_b64encode(part if isinstance(part, bytes) else json.dumps(part).encode()).decode().rstrip("=")


def forged(header: object, claims: object = CLAIMS, secret: bytes = SECRET) -> str:
    """A token with any header, signed as HS256 is."""
    signed = f"{encoded(header)}.{encoded(claims)}"
    return f"{signed}.{encoded(hmac.digest(secret, signed.encode(), hashlib.sha256))}"


def signed(key: Private | bytes = SECRET, algorithm: str = "HS256", **claims: Any) -> str:
    return jwt.encode(CLAIMS | claims, key, algorithm)


def verified(token: str, tokens: Tokens | None = None) -> Identity | None:
    tokens = tokens or Tokens(SecretKey(SECRET), Auth(), clock)
    return asyncio.run(tokens.authenticate(Credentials(token=token)))


def refused(token: str, tokens: Tokens | None = None) -> str:
    """Why it does not count."""
    with pytest.raises(HandshakeError) as caught:
        verified(token, tokens)
    assert (caught.value.status, caught.value.__cause__) == (401, None)
    assert dict(caught.value.headers) == {b"www-authenticate": b'Bearer error="invalid_token"'}
    return caught.value.reason


def with_settings(**settings: Any) -> Tokens:
    return Tokens(SecretKey(SECRET), Auth(**settings), clock)


def from_pem(folder: Path, algorithm: str) -> Tokens:
    return Tokens(PemKey(written(folder, public_pem(pair(algorithm)))), Auth(), clock)


# What counts


def test_without_a_token_there_is_nothing_to_say() -> None:
    assert verified("") is None


def test_a_token_says_who_somebody_is() -> None:
    identity = verified(signed(name="Ann", jti="t", iat=NOW - 5, rooms=["a"]))
    assert identity is not None
    assert (identity.user, identity.name, identity.token) == ("ann", "Ann", "t")
    assert (identity.issued, identity.expires) == (NOW - 5, NOW + 90)
    assert identity.grants is not None
    assert identity.grants.allow("join", "a")
    assert not identity.grants.allow("join", "b")


@pytest.mark.parametrize("algorithm", [RSA, EC, ED])
def test_a_token_is_verified_with_a_public_key(tmp_path: Path, algorithm: str) -> None:
    tokens = from_pem(tmp_path, algorithm)
    assert verified(signed(pair(algorithm), algorithm), tokens)
    assert refused(signed(pair(algorithm, 1), algorithm), tokens) == "The token's signature does not count"


@pytest.mark.parametrize("kid", ["a", "a" * 128, "k.1_~+/=:-"])
def test_a_token_may_name_its_key(kid: str) -> None:
    assert verified(forged({"alg": "HS256", "kid": kid}))


# Hostile: how it says it is signed

UNSIGNED = [f"{encoded({'alg': none})}.{encoded(CLAIMS)}." for none in ("none", "None", "nOnE", "NONE", "")]


@pytest.mark.parametrize("token", [*UNSIGNED, *(token + "AAAA" for token in UNSIGNED)])
def test_a_token_that_nobody_signed_does_not_count(token: str) -> None:
    refused(token)


@pytest.mark.parametrize(
    "algorithm", ["none", "None", "nOnE", "hs256", "HS512", RSA, EC, ED, "PS256", "", None, 7, ["HS256"]]
)
def test_another_algorithm_does_not_count_though_the_signature_is_right(algorithm: object) -> None:
    assert refused(forged({"alg": algorithm})) == "The token is signed in a way that does not count"


def test_a_header_without_an_algorithm_does_not_count() -> None:
    refused(forged({"typ": "JWT"}))


@pytest.mark.parametrize("algorithm", [RSA, EC, ED])
@pytest.mark.parametrize("named", ["HS256", RSA, EC, ED])
def test_a_public_key_is_never_a_secret(tmp_path: Path, algorithm: str, named: str) -> None:
    pem = public_pem(pair(algorithm))
    for secret in (pem, pem.rstrip(b"\n"), pem.replace(b"\n", b"\r\n")):
        refused(forged({"alg": named}, secret=secret), from_pem(tmp_path, algorithm))


def test_no_key_is_looked_for_under_another_algorithm() -> None:
    class Careless(SecretKey):
        """Says that it has what it does not have."""

        algorithms = frozenset({"HS256", RSA})

    tokens = Tokens(Careless(SECRET), Auth(), clock)
    assert refused(forged({"alg": RSA}), tokens) == "The token's signature does not count"


HOSTILE_HEADERS: list[dict[str, Any]] = [
    *({"crit": ["exp"]}, {"crit": []}, {"crit": None}, {"crit": ["b64"], "b64": False}, {"crit": ["x"], "x": 1}),
    *({"jku": "{url}"}, {"x5u": "{url}"}, {"x5c": ["MIIB"]}, {"jwk": {"kty": "oct", "k": encoded(SECRET)}}),
    *(
        {"kid": kid}
        for kid in ("../../dev/null", "a/../b", "..", "", "a" * 129, "a b", "a\n", "'; --", "é", "|id", None)
    ),
    *({"kid": kid} for kid in (7, ["a"], {"a": 1}, True, "a\x00", "..%2f", "\\\\host\\share", "a?b#c")),
]


@pytest.mark.parametrize("header", HOSTILE_HEADERS, ids=lambda header: json.dumps(header)[:30])
def test_a_header_that_asks_for_more_than_verifying_does_not_count(header: dict[str, Any]) -> None:
    assert "header" in (reason := refused(forged({"alg": "HS256"} | header))) or "key id" in reason


def test_a_payload_that_is_not_encoded_does_not_count() -> None:
    refused(forged({"alg": "HS256", "b64": False}))


@pytest.mark.parametrize("header", HOSTILE_HEADERS, ids=lambda header: json.dumps(header)[:30])
def test_a_hostile_header_makes_no_request(header: dict[str, Any]) -> None:
    async def run() -> int:
        async with issuer() as one:
            given = {"alg": RSA} | {name: one.url if value == "{url}" else value for name, value in header.items()}
            tokens = tokens_of(Auth(jwks_url=one.url), clock)
            with pytest.raises(HandshakeError):
                await tokens.authenticate(Credentials(token=forged(given)))
            return len(one.requests)

    assert asyncio.run(run()) == 0


@pytest.mark.parametrize(
    "token",
    [
        *UNSIGNED,
        *(forged({"alg": "HS256", "kid": "a"}), forged({"alg": RSA}, CLAIMS | {"iss": "other"}), forged({"alg": RSA})),
        *(forged({"alg": RSA}, {"iss": ["me"]}), forged({"alg": RSA}, b"{"), "a" * 9000, "a.b.c", "bearer"),
        forged({"alg": "HS256"}, CLAIMS | {"iss": "me"}, public_pem(pair(RSA))),
    ],
    ids=lambda token: token[:25] + str(len(token)),
)
def test_a_token_that_cannot_count_makes_no_request(token: str) -> None:
    async def run() -> int:
        async with issuer() as one:
            tokens = tokens_of(Auth(jwks_url=one.url, jwt_issuer="me"), clock)
            with pytest.raises(HandshakeError):
                await tokens.authenticate(Credentials(token=token))
            return len(one.requests)

    assert asyncio.run(run()) == 0


# Hostile: what it is made of

NO_CLAIMS: list[object] = [
    *([], "x", None, b"", b"\xff", b"[" * 2000, b"{", b'{"exp":NaN}', b'{"sub":"ann","exp":1e999}'),
]


@pytest.mark.parametrize(
    "token",
    [
        *("a", "a.b", "a.b.c.d", "..", "a..c", "é.é.é", "\ud800", "a.b.c\n", " a.b.c", "=.=.="),
        *(forged([]), forged("x"), forged(b"\xff"), forged(b"[" * 2000), forged({"alg": "HS256"}) + "="),
        *(forged({"alg": "HS256"}, claims) for claims in NO_CLAIMS),
    ],
    ids=lambda token: ascii(token)[:20] + str(len(token)),
)
def test_what_is_no_token_does_not_count(token: str) -> None:
    refused(token)


def test_a_token_longer_than_8_kb_is_not_looked_at() -> None:
    token = signed(filling="a" * LONGEST_TOKEN)
    assert refused(token) == "The token is too long"
    fitting = signed(filling="a" * 5000)
    assert verified(fitting)


def test_every_changed_character_is_noticed() -> None:
    token = signed()
    for place, character in enumerate(token):
        changed = token[:place] + ("A" if character != "A" else "B") + token[place + 1 :]
        assert refused(changed)


@given(st.text() | st.text("ab.-_=") | st.builds(forged, st.dictionaries(st.sampled_from(["alg", "kid"]), st.text())))
def test_whatever_it_is_it_is_a_refusal(token: str) -> None:
    if token:
        assert refused(token) not in token


def test_a_refusal_holds_nothing_of_the_token() -> None:
    token = signed(pair(ED), ED, sub="top-secret", iss="hidden")
    reason = refused(token)
    assert not any(part in reason for part in [*token.split("."), "top-secret", "hidden", "EdDSA"])


# Hostile: when, from whom and for whom


@pytest.mark.parametrize(
    ("claims", "reason"),
    [
        ({"exp": NOW - 30}, "The token has expired"),
        ({"exp": 0}, "The token has expired"),
        ({"nbf": NOW + 31}, "The token is not valid yet"),
        ({"iat": NOW + 31}, "The token was made in the future"),
        ({"aud": "chat"}, "The token is for somebody else"),
        ({"aud": []}, "The token is for somebody else"),
        ({"aud": None}, "The token is for somebody else"),
        ({"exp": None}, "The token has a time that is none"),
        ({"nbf": "soon"}, "The token has a time that is none"),
        ({"iat": True}, "The token has a time that is none"),
        ({"sub": ""}, "The token does not say who the user is"),
        ({"rooms": "a"}, "The token's list of rooms is not understood"),
    ],
)
def test_a_claim_that_does_not_hold_is_said(claims: dict[str, Any], reason: str) -> None:
    assert refused(forged({"alg": "HS256"}, CLAIMS | claims)) == reason


def test_a_token_must_expire() -> None:
    assert refused(forged({"alg": "HS256"}, {"sub": "ann"})) == "The token never expires"


def test_clocks_may_differ_by_the_leeway() -> None:
    assert verified(signed(exp=NOW - 29, nbf=NOW + 30, iat=NOW + 30))
    strict = with_settings(jwt_leeway_seconds=0)
    for token in (signed(exp=NOW), signed(nbf=NOW + 1), signed(iat=NOW + 1)):
        refused(token, strict)
    assert verified(signed(exp=NOW + 1, nbf=NOW, iat=NOW), strict)


@pytest.mark.parametrize("issuers", ["https://id.example", "a https://id.example", "a,https://id.example, b"])
def test_a_token_is_from_one_of_the_issuers(issuers: str) -> None:
    assert verified(signed(iss="https://id.example"), with_settings(jwt_issuer=issuers))


@pytest.mark.parametrize(
    "iss", ["", "https://id.example/", "HTTPS://id.example", ["https://id.example"], None, 7, "a b"]
)
def test_a_token_from_somebody_else_does_not_count(iss: object) -> None:
    tokens = with_settings(jwt_issuer="https://id.example, a, b")
    assert refused(forged({"alg": "HS256"}, CLAIMS | {"iss": iss}), tokens) == "The token is from somebody else"
    assert refused(signed(), tokens) == "The token is from somebody else"


def test_without_configured_issuers_it_does_not_matter_who_it_is_from() -> None:
    assert verified(signed(iss="anybody"))


@pytest.mark.parametrize("aud", ["chat", ["chat"], ["mail", "chat"]])
def test_a_token_is_for_us(aud: object) -> None:
    assert verified(signed(aud=aud), with_settings(jwt_audience="chat"))


@pytest.mark.parametrize("aud", ["mail", ["mail"], [], "", "Chat", "chat ", {"chat": 1}, 7, None, ["chat", 7]])
def test_a_token_for_somebody_else_does_not_count(aud: object) -> None:
    tokens = with_settings(jwt_audience="chat")
    assert refused(forged({"alg": "HS256"}, CLAIMS | {"aud": aud}), tokens) == "The token is for somebody else"


def test_a_token_for_nobody_in_particular_does_not_count_where_we_have_a_name() -> None:
    assert refused(signed(), with_settings(jwt_audience="chat")) == "The token is for somebody else"


# Key sets


def played(scenario: Coroutine[Any, Any, Result]) -> Result:
    return asyncio.run(scenario)


def test_a_token_is_verified_with_the_key_that_its_issuer_publishes() -> None:
    async def run() -> Identity | None:
        async with issuer() as one:
            one.serve(jwk(pair(RSA), kid="a"), jwk(pair(ED), kid="b"))
            tokens = tokens_of(Auth(jwks_url=one.url, jwt_issuer="me"), clock)
            token = jwt.encode(CLAIMS | {"iss": "me"}, pair(ED), ED, {"kid": "b"})
            return await tokens.authenticate(Credentials(token=token))

    identity = played(run())
    assert identity is not None
    assert (identity.user, identity.grants) == ("ann", None)


@pytest.mark.parametrize("kid", ["a", "b", "unknown"])
def test_a_key_that_does_not_exist_is_refused_as_one_that_does_not_fit(kid: str) -> None:
    async def run() -> str:
        async with issuer() as one:
            one.serve(jwk(pair(RSA), kid="a"), jwk(pair(ED), kid="b"))
            tokens = tokens_of(Auth(jwks_url=one.url), clock)
            token = jwt.encode(CLAIMS, pair(RSA, 1), RSA, {"kid": kid})
            with pytest.raises(HandshakeError) as caught:
                await tokens.authenticate(Credentials(token=token))
            return caught.value.reason

    assert played(run()) == "The token's signature does not count"


def test_an_issuer_cannot_sign_for_another() -> None:
    async def run() -> int:
        async with issuer() as one, issuer() as two:
            one.serve(jwk(pair(RSA), kid="a"))
            two.serve(jwk(pair(RSA, 1), kid="a"))
            tokens = tokens_of(Auth(jwks_url=f"{one.url} {two.url}", jwt_issuer="one two"), clock)
            token = jwt.encode(CLAIMS | {"iss": "one"}, pair(RSA, 1), RSA, {"kid": "a"})
            with pytest.raises(HandshakeError) as caught:
                await tokens.authenticate(Credentials(token=token))
            return caught.value.status

    assert played(run()) == 401


def test_an_issuer_whose_keys_cannot_be_had_is_503() -> None:
    tokens = tokens_of(Auth(jwks_url="http://127.0.0.1:1/keys"), clock)
    with pytest.raises(HandshakeError) as caught:
        verified(signed(pair(RSA), RSA), tokens)
    assert (caught.value.status, caught.value.headers) == (503, ((b"retry-after", b"5"),))


# Settings, and tokens of our own


def test_the_settings_make_what_verifies() -> None:
    assert verified(signed(), tokens_of(Auth(jwt_secret=SECRET.decode()), clock))


@pytest.mark.filterwarnings("ignore::jwt.warnings.InsecureKeyLengthWarning")  # it says so itself, once
def test_a_secret_that_can_be_guessed_verifies_where_that_is_wanted() -> None:
    assert verified(signed(b"short"), tokens_of(Auth(jwt_secret="short", insecure_secret=True), clock))


@pytest.mark.parametrize("settings", [Auth(), Auth(jwt_secret="short"), Auth(jwt_secret="a" * 40)])
def test_settings_without_a_usable_key_are_refused(settings: Auth) -> None:
    with pytest.raises(ConfigError):
        tokens_of(settings, clock)


def test_a_minted_token_counts() -> None:
    token = mint(SECRET, "ann", "Ann", ["team-*"], 60, clock, lambda: "id-1", "me", "chat")
    identity = verified(token, with_settings(jwt_issuer="me", jwt_audience="chat"))
    assert identity is not None
    assert (identity.user, identity.name, identity.token) == ("ann", "Ann", "id-1")
    assert (identity.issued, identity.expires) == (NOW, NOW + 90)
    assert identity.grants is not None
    assert identity.grants.allow("publish", "team-a")


def test_a_minted_token_may_leave_the_rest_to_the_settings() -> None:
    token = mint(SECRET, "ann", "", None, 60, clock, lambda: "id-1", "", "")
    identity = verified(token, with_settings(rooms_default=""))
    assert identity is not None
    assert (identity.name, identity.grants) == ("ann", Grants(()))
    assert set(identity.claims) == {"sub", "iat", "exp", "jti"}


def test_a_minted_token_has_its_rooms_where_the_settings_want_them() -> None:
    token = mint(SECRET, "ann", "", {"a": ["join"]}, 60, clock, lambda: "id-1", "", "", rooms_claim="groups")
    identity = verified(token, with_settings(rooms_claim="groups"))
    assert identity is not None
    assert identity.grants == Grants((("a", frozenset({"join"})),))
