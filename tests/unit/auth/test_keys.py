"""auth.keys: each key verifies with its own algorithm only; key sets are fetched seldom, and only from their issuer."""

from __future__ import annotations

import asyncio
import base64
import gzip
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from hubbub.auth.jwk import PublicKey, read_key_set
from hubbub.auth.keys import LONGEST_SET, KeySets, PemKey, SecretKey, _tls, checked_url, keys_of
from hubbub.config import Auth
from hubbub.errors import ConfigError, HandshakeError
from tests.unit.auth.pairs import (
    EC,
    ED,
    RSA,
    Issuer,
    issuer,
    jwk,
    key_set,
    pair,
    private_pem,
    public_pem,
    response,
    self_signed,
    written,
)

ALGORITHMS = ["HS256", RSA, EC, ED, "none", "RS512", "PS256", "ES384", "HS512", "", "rs256"]
SECRET = b"Kx7-fW2q9RzLpT4vYb1NcE8mHs6JdU3aQ0"


DEADLINE = 10.0
"""Seconds; less than a fetch may take, so that whoever waits for one without need is noticed."""


class Clock:
    def __init__(self) -> None:
        self.time = 1_700_000_000.0

    def __call__(self) -> float:
        return self.time


Scenario = Callable[[Issuer, KeySets, Clock], Awaitable[None]]


def play(scenario: Scenario, timeout_seconds: float = 20.0) -> None:
    """Runs the scenario against an issuer `me` that serves the key `a`."""

    async def run() -> None:
        async with issuer() as one:
            one.serve(jwk(pair(RSA), kid="a"))
            clock = Clock()
            keys = KeySets({"me": one.url}, 600, timeout_seconds, clock)
            await scenario(one, keys, clock)
            await keys.close()

    asyncio.run(run())


async def status(keys: KeySets, kid: str | None = "a", algorithm: str = RSA) -> int:
    """200 where the key is found, 401 where not, 503 where that cannot be said."""
    try:
        return 200 if await keys.find("me", kid, algorithm) else 401
    except HandshakeError as error:
        return error.status


# One key


@pytest.mark.parametrize("asked", ALGORITHMS)
def test_a_secret_is_for_hs256_only(asked: str) -> None:
    key = asyncio.run(SecretKey(SECRET).find("", "any", asked))
    assert key == (SECRET if asked == "HS256" else None)


@pytest.mark.parametrize("algorithm", [RSA, EC, ED])
@pytest.mark.parametrize("asked", ALGORITHMS)
def test_a_public_key_is_for_its_own_algorithm_only(tmp_path: Path, algorithm: str, asked: str) -> None:
    keys = PemKey(written(tmp_path, public_pem(pair(algorithm))))
    assert keys.algorithms == {algorithm}
    assert (asyncio.run(keys.find("", None, asked)) is not None) == (asked == algorithm)


@pytest.mark.parametrize("algorithm", [RSA, EC, ED])
def test_a_public_key_is_no_secret(algorithm: str) -> None:
    with pytest.raises(ConfigError, match="key of a pair"):
        SecretKey(public_pem(pair(algorithm)))


@pytest.mark.parametrize("algorithm", [RSA, EC, ED])
def test_a_private_key_does_not_belong_here(tmp_path: Path, algorithm: str) -> None:
    for pem in (private_pem(pair(algorithm)), public_pem(pair(algorithm)) + private_pem(pair(algorithm))):
        with pytest.raises(ConfigError, match="private key"):
            PemKey(written(tmp_path, pem))


OTHERS: dict[str, Callable[[], PublicKey]] = {
    "a short RSA key": lambda: pair(RSA, bits=1024).public_key(),
    "P-384": lambda: ec.generate_private_key(ec.SECP384R1()).public_key(),
    "secp256k1": lambda: ec.generate_private_key(ec.SECP256K1()).public_key(),
}


@pytest.mark.parametrize("kind", OTHERS)
def test_other_keys_are_refused_with_those_that_can_be(tmp_path: Path, kind: str) -> None:
    pem = OTHERS[kind]().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    with pytest.raises(ConfigError, match="at least 2048 bits, EC P-256 or Ed25519"):
        PemKey(written(tmp_path, pem))


def test_a_file_that_is_no_key_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"key\.pem holds no public key"):
        PemKey(written(tmp_path, b"hello"))
    with pytest.raises(ConfigError, match="gone"):
        PemKey(str(tmp_path / "gone"))


# What a key set holds


@pytest.mark.parametrize("algorithm", [RSA, EC, ED])
def test_a_key_of_a_set_has_its_algorithm(algorithm: str) -> None:
    (found,) = read_key_set(key_set(jwk(pair(algorithm), kid="a", use="sig", alg=algorithm)))
    assert found == ("a", algorithm, pair(algorithm).public_key())


SECRET_JWK = {"kty": "oct", "kid": "b", "k": base64.urlsafe_b64encode(SECRET).decode()}
PASSED_OVER: list[dict[str, Any]] = [
    *(SECRET_JWK, SECRET_JWK | {"alg": "HS256"}, {}, {"kty": "RSA"}, {"kty": 7}),
    *(jwk(pair(RSA), use="enc"), jwk(pair(RSA), alg="HS256"), jwk(pair(RSA), alg="RS512"), jwk(pair(RSA), alg="PS256")),
    *(jwk(pair(RSA), key_ops=["encrypt"]), jwk(pair(RSA), d="AQAB"), jwk(pair(RSA), n="!!"), jwk(pair(RSA), e="AQ")),
    *(jwk(pair(RSA), kid=7), jwk(pair(RSA, bits=1024))),
    *(jwk(pair(EC), alg="RS256"), jwk(pair(EC), crv="P-384"), jwk(pair(EC), x="AA"), jwk(pair(EC), y="A")),
    *(jwk(pair(ED), crv="Ed448"), jwk(pair(ED), x="AA"), jwk(pair(ED), alg="ES256")),
]


@pytest.mark.parametrize("other", PASSED_OVER, ids=[str(number) for number in range(len(PASSED_OVER))])
def test_a_key_that_is_for_something_else_is_passed_over_and_costs_no_other(other: dict[str, Any]) -> None:
    assert [kid for kid, _, _ in read_key_set(key_set(other, jwk(pair(ED), kid="a")))] == ["a"]


@pytest.mark.parametrize(
    "document", [b"", b"[]", b"{}", b'{"keys":{}}', b'{"keys":7}', b"<html>", b"\xff\xfe", b'{"keys":' + b"[" * 100_000]
)
def test_what_is_no_key_set_is_said_to_be_none(document: bytes) -> None:
    with pytest.raises(ValueError, match="no JSON Web Key Set"):
        read_key_set(document)


# Where it may come from


@pytest.mark.parametrize(
    "url",
    ["https://id.example/keys", "http://127.0.0.1:9/k", "http://localhost/k", "http://[::1]/k", "https://10.0.0.1/"],
)
def test_a_key_set_comes_over_tls_or_from_this_machine(url: str) -> None:
    assert checked_url(url) == url


@pytest.mark.parametrize(
    "url",
    [
        *("http://id.example/keys", "http://127.0.0.1.example/k", "http://10.0.0.1/", "ftp://127.0.0.1/k"),
        *(
            "file:///etc/passwd",
            "id.example/keys",
            "",
            "https://",
            "https://me:pass@id.example/k",
            "http://[::1",
            "//x/y",
        ),
        "http://localhost.example/",
    ],
)
def test_other_urls_are_refused(url: str) -> None:
    with pytest.raises(ConfigError, match="jwks_url") as caught:
        checked_url(url)
    assert "pass@" not in str(caught.value)


# When it is fetched


def test_a_set_is_fetched_once_and_then_known() -> None:
    async def scenario(one: Issuer, keys: KeySets, clock: Clock) -> None:
        for _ in range(10):
            assert await status(keys) == 200
        assert len(one.requests) == 1

    play(scenario)


def test_a_set_is_fetched_again_when_it_is_old() -> None:
    async def scenario(one: Issuer, keys: KeySets, clock: Clock) -> None:
        assert await status(keys) == 200
        one.serve(jwk(pair(RSA, 1), kid="b"))
        clock.time += 599
        assert (await status(keys), len(one.requests)) == (200, 1)
        clock.time += 1
        assert (await status(keys, "a"), await status(keys, "b"), len(one.requests)) == (401, 200, 2)

    play(scenario)


def test_a_key_of_a_set_is_for_its_own_algorithm_only() -> None:
    async def scenario(one: Issuer, keys: KeySets, clock: Clock) -> None:
        assert [asked for asked in ALGORITHMS if await keys.find("me", "a", asked)] == [RSA]

    play(scenario)


def test_a_key_without_an_id_is_the_only_one_of_its_algorithm() -> None:
    async def scenario(one: Issuer, keys: KeySets, clock: Clock) -> None:
        one.serve(jwk(pair(RSA), kid="a"), jwk(pair(EC), kid="b"), jwk(pair(EC, 1), kid="c"))
        assert (await status(keys, None, RSA), await status(keys, None, EC)) == (200, 401)

    play(scenario)


def test_invented_key_ids_make_one_request_in_30_seconds() -> None:
    async def scenario(one: Issuer, keys: KeySets, clock: Clock) -> None:
        assert await status(keys) == 200
        for second in range(60):
            assert await status(keys, f"invented-{second}") == 401
            clock.time += 1
        assert len(one.requests) == 1 + 2

    play(scenario)


def test_a_new_key_is_found_although_the_set_is_not_old() -> None:
    async def scenario(one: Issuer, keys: KeySets, clock: Clock) -> None:
        assert await status(keys) == 200
        one.serve(jwk(pair(RSA), kid="a"), jwk(pair(ED), kid="new"))
        assert (await status(keys, "new", ED), len(one.requests)) == (200, 2)

    play(scenario)


def test_a_key_that_is_not_in_a_set_just_fetched_is_not_asked_for_again() -> None:
    async def scenario(one: Issuer, keys: KeySets, clock: Clock) -> None:
        assert (await status(keys, "invented"), len(one.requests)) == (401, 1)

    play(scenario)


def test_other_algorithms_and_issuers_make_no_request() -> None:
    async def scenario(one: Issuer, keys: KeySets, clock: Clock) -> None:
        for algorithm in ("HS256", "none", "RS512"):
            assert await keys.find("me", "a", algorithm) is None
        for name in ("", "ME", one.url, "http://127.0.0.1:9/"):
            assert await keys.find(name, "a", RSA) is None
        assert one.requests == []

    play(scenario)


def test_keys_of_one_issuer_are_not_those_of_another_though_their_ids_are_the_same() -> None:
    async def run() -> None:
        async with issuer() as one, issuer() as two:
            one.serve(jwk(pair(RSA), kid="a"))
            two.serve(jwk(pair(RSA, 1), kid="a"))
            keys = KeySets({"one": one.url, "two": two.url}, 600, 20, Clock())
            assert await keys.find("one", "a", RSA) == pair(RSA).public_key()
            assert await keys.find("two", "a", RSA) == pair(RSA, 1).public_key()

    asyncio.run(run())


def test_handshakes_that_wait_share_one_request() -> None:
    async def scenario(one: Issuer, keys: KeySets, clock: Clock) -> None:
        one.open.clear()
        waiting = [asyncio.create_task(status(keys)) for _ in range(50)]
        await one.asked.wait()
        one.open.set()
        assert (await asyncio.gather(*waiting), len(one.requests)) == ([200] * 50, 1)

    play(scenario)


def test_who_gives_up_waiting_does_not_end_it_for_the_others() -> None:
    async def scenario(one: Issuer, keys: KeySets, clock: Clock) -> None:
        one.open.clear()
        first, second = asyncio.create_task(status(keys)), asyncio.create_task(status(keys))
        await one.asked.wait()
        first.cancel()
        one.open.set()
        assert (await second, first.cancelled(), len(one.requests)) == (200, True, 1)

    play(scenario)


def test_known_keys_do_not_wait_for_a_fetch_that_an_invented_id_began() -> None:
    async def scenario(one: Issuer, keys: KeySets, clock: Clock) -> None:
        assert await status(keys) == 200
        one.open.clear()
        one.asked.clear()
        stranger = asyncio.create_task(status(keys, "invented"))
        await one.asked.wait()
        assert await status(keys) == 200
        assert not stranger.done()
        one.open.set()
        assert await stranger == 401

    play(scenario)


# When it cannot be had

CHUNK = b"8000\r\n" + b" " * 32768 + b"\r\n"
BAD_ANSWERS = {
    "an error": response(key_set(), "500 Internal Server Error"),
    "not there": response(key_set(), "404 Not Found"),
    "created": response(key_set(), "201 Created"),
    "no JSON": response(b"<html>"),
    "too much": response(b" " * LONGEST_SET + key_set()),
    "too much without saying so": b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" + CHUNK * 9,
    "compressed": response(gzip.compress(key_set(jwk(pair(RSA), kid="a"))), headers="Content-Encoding: gzip\r\n"),
    "no HTTP": b"SSH-2.0-OpenSSH\r\n\r\nContent-Length",
    "cut": response(key_set())[:-1],
    "nothing": b"",
}


@pytest.mark.parametrize("kind", BAD_ANSWERS)
def test_a_bad_answer_is_no_key_set_and_503(kind: str) -> None:
    async def scenario(one: Issuer, keys: KeySets, clock: Clock) -> None:
        one.answer = BAD_ANSWERS[kind]
        with pytest.raises(HandshakeError) as caught:
            await keys.find("me", "a", RSA)
        assert (caught.value.status, caught.value.headers) == (503, ((b"retry-after", b"5"),))

    play(scenario)


@pytest.mark.parametrize("status_line", ["301 Moved Permanently", "302 Found", "307 Temporary Redirect"])
def test_a_redirect_is_not_followed(status_line: str) -> None:
    async def scenario(one: Issuer, keys: KeySets, clock: Clock) -> None:
        async with issuer() as other:
            other.serve(jwk(pair(RSA), kid="a"))
            one.answer = response(b"", status_line, f"Location: {other.url}\r\n")
            assert (await status(keys), len(one.requests), other.requests) == (503, 1, [])

    play(scenario)


@pytest.mark.parametrize("answer", [b"", b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\n \r\n"])
def test_an_issuer_that_stalls_is_given_up(answer: bytes) -> None:
    async def scenario(one: Issuer, keys: KeySets, clock: Clock) -> None:
        one.answer = answer
        if not answer:
            one.open.clear()
        assert await asyncio.wait_for(status(keys), DEADLINE) == 503

    play(scenario, timeout_seconds=0.1)


def test_an_issuer_that_nobody_reaches_is_503() -> None:
    keys = KeySets({"me": "http://127.0.0.1:1/keys"}, 600, 20, Clock())
    assert asyncio.run(status(keys)) == 503


def test_after_a_failure_nobody_asks_for_5_seconds() -> None:
    async def scenario(one: Issuer, keys: KeySets, clock: Clock) -> None:
        good, one.answer = one.answer, response(b"", "500 Internal Server Error")
        for _ in range(5):
            assert await status(keys) == 503
            clock.time += 0.99
        assert len(one.requests) == 1
        one.answer, clock.time = good, clock.time + 0.06
        assert (await status(keys), len(one.requests)) == (200, 2)

    play(scenario)


def test_old_keys_go_on_counting_while_the_issuer_is_away() -> None:
    async def scenario(one: Issuer, keys: KeySets, clock: Clock) -> None:
        assert await status(keys) == 200
        one.answer = response(b"", "500 Internal Server Error")
        clock.time += 3600
        assert (await status(keys), len(one.requests)) == (200, 2)
        clock.time += 4.9
        assert (await status(keys), await status(keys, "invented"), len(one.requests)) == (200, 401, 2)

    play(scenario)


def test_only_the_first_wait_for_an_issuer_that_is_away() -> None:
    async def scenario(one: Issuer, keys: KeySets, clock: Clock) -> None:
        assert await status(keys) == 200
        one.answer = response(b"", "500 Internal Server Error")
        clock.time += 3600
        assert await status(keys) == 200
        clock.time += 5
        one.open.clear()
        one.asked.clear()
        assert await asyncio.wait_for(status(keys), DEADLINE) == 200
        await one.asked.wait()
        assert len(one.requests) == 3

    play(scenario)


def test_a_failure_of_long_ago_does_not_let_old_keys_count_without_asking() -> None:
    async def scenario(one: Issuer, keys: KeySets, clock: Clock) -> None:
        assert await status(keys) == 200
        one.answer = response(b"", "500 Internal Server Error")
        clock.time += 3600
        assert await status(keys) == 200
        one.serve(jwk(pair(RSA, 1), kid="b"))
        clock.time += 3600
        assert await status(keys, "a") == 401

    play(scenario)


def test_an_issuer_that_is_back_gives_its_new_keys() -> None:
    async def scenario(one: Issuer, keys: KeySets, clock: Clock) -> None:
        assert await status(keys) == 200
        one.answer = response(b"", "500 Internal Server Error")
        clock.time += 3600
        assert await status(keys) == 200
        clock.time += 5
        one.serve(jwk(pair(RSA, 1), kid="b"))
        assert (await status(keys, "b"), await status(keys, "a")) == (200, 401)

    play(scenario)


def test_who_waits_when_the_node_stops_is_told() -> None:
    async def scenario(one: Issuer, keys: KeySets, clock: Clock) -> None:
        one.open.clear()
        waiting = asyncio.create_task(status(keys))
        await one.asked.wait()
        await keys.close()
        assert await waiting == 503

    play(scenario)


def test_proxies_of_the_environment_are_not_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    async def scenario(one: Issuer, keys: KeySets, clock: Clock) -> None:
        async with issuer() as proxy:
            for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY"):
                monkeypatch.setenv(name, proxy.url)
            monkeypatch.delenv("NO_PROXY", raising=False)
            monkeypatch.delenv("no_proxy", raising=False)
            assert (await status(keys), proxy.requests) == (200, [])

    play(scenario)


def test_an_issuer_that_vouches_for_itself_is_not_asked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async def run() -> tuple[int, int]:
        tls, certificate = self_signed(tmp_path)
        monkeypatch.setenv("SSL_CERT_FILE", certificate)
        async with issuer(tls) as one:
            one.serve(jwk(pair(RSA), kid="a"))
            return await status(KeySets({"me": one.url}, 600, 20, Clock())), len(one.requests)

    _tls.cache_clear()
    assert asyncio.run(run()) == (503, 0)


def test_a_failure_is_logged_without_what_the_server_said(caplog: pytest.LogCaptureFixture) -> None:
    async def scenario(one: Issuer, keys: KeySets, clock: Clock) -> None:
        one.answer = response(b"<html>private")
        assert await status(keys) == 503

    play(scenario)
    assert "issuer='me' error=no JSON Web Key Set" in caplog.text
    assert "private" not in caplog.text


# What the settings name


def test_the_settings_name_one_kind_of_key(tmp_path: Path) -> None:
    pem = written(tmp_path, public_pem(pair(RSA)))
    assert isinstance(keys_of(Auth(jwt_secret=SECRET.decode()), Clock()), SecretKey)
    assert isinstance(keys_of(Auth(jwt_key_file=pem), Clock()), PemKey)
    assert isinstance(keys_of(Auth(jwks_url="https://id.example/keys"), Clock()), KeySets)


@pytest.mark.parametrize(
    "settings",
    [
        Auth(),
        Auth(jwt_secret=SECRET.decode(), jwt_key_file="key.pem"),
        Auth(jwt_secret_file="secret", jwks_url="https://id.example/keys"),
        Auth(jwks_url="https://id.example/keys", jwt_issuer="a, b"),
        Auth(jwks_url="https://a.example/keys https://b.example/keys", jwt_issuer="a"),
        Auth(jwks_url="https://a.example/keys https://b.example/keys", jwt_issuer="a,a"),
        Auth(jwks_url="https://a.example/keys, https://b.example/keys"),
    ],
)
def test_settings_that_name_no_key_or_too_many_are_refused(settings: Auth) -> None:
    with pytest.raises(ConfigError, match="jwks_url"):
        keys_of(settings, Clock())


def test_each_issuer_has_its_own_set() -> None:
    async def run() -> None:
        async with issuer() as one, issuer() as two:
            two.serve(jwk(pair(RSA), kid="a"))
            keys = keys_of(Auth(jwt_issuer="a, b", jwks_url=f"{one.url}, {two.url}"), Clock())
            assert await keys.find("a", "a", RSA) is None
            assert await keys.find("b", "a", RSA) == pair(RSA).public_key()

    asyncio.run(run())
