"""Tokens and cookies that do not count, and those that count no more: who has none of ours does not come in."""

import json
import time
from collections.abc import Iterator
from contextlib import ExitStack
from typing import Any

import pytest

from hubbub.wire.websocket import CLOSE, FIN
from tests.hostile.test_handshake import request, status
from tests.hostile.witness import HonestPeer
from tests.support.canary import canary
from tests.support.credentials import (
    LEEWAY_SECONDS,
    Issuer,
    bearer,
    claims_of,
    forge,
    hs256,
    pem_issuer,
    published_issuer,
    rs256,
    rsa_key,
    secret_issuer,
    unsigned,
)
from tests.support.peer import Peer, command, frame, text
from tests.support.server import Server
from tests.unit.auth.pairs import jwk, public_pem

KEYS = ("a secret", "a PEM file", "a key set")


@pytest.fixture(scope="session", params=KEYS)
def issuer(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Issuer:
    """Whoever signs tokens for the server, with each kind of key."""
    folder = tmp_path_factory.mktemp("issuer")
    match request.param:
        case "a secret":
            return secret_issuer(folder)
        case "a PEM file":
            return pem_issuer(folder)
        case _:
            return published_issuer()


WITH_A_SECRET = pytest.mark.parametrize("issuer", KEYS[:1], indirect=True)


# Hundreds of tokens are shown here in a second, from one address.
NO_RATE = ("--handshake-rate", "0")


@pytest.fixture
def options(issuer: Issuer) -> tuple[str, ...]:
    return (*issuer.options, *NO_RATE)


@pytest.fixture
def headers(issuer: Issuer) -> tuple[str, ...]:
    return (bearer(issuer.token("u-witness", name="witness")),)


@pytest.fixture(autouse=True)
def not_one_request(issuer: Issuer, headers: tuple[str, ...], server: Server) -> Iterator[None]:
    """A token that counts has the keys fetched; nothing that is shown afterwards has anything fetched."""
    assert status(server, request(headers[0].encode())) == 101
    asked = len(issuer.asked)
    yield
    assert issuer.asked[asked:] == []


# Row 35


def forged(issuer: Issuer) -> dict[str, str]:
    """Tokens that somebody can make who does not have the key: every claim of them counts."""
    claims, good = claims_of("u-mallory"), issuer.header
    pem = public_pem(rsa_key())
    own = rsa_key(1)
    away = "http://127.0.0.1:9/keys"
    kid = {
        f"a kid of {name!r}": forge(good | {"kid": name}, claims, issuer.sign)
        for name in ("../key-1", "../../../../dev/null", "..", "keys/../key-1", "a\0b", "", "' OR 1=1", "k" * 129, 7)
    }
    algorithms = ("none", "None", "NONE", "nOnE", "none ", "", "hs256", "HS384", "RS384", "PS256", "ES512", "HS256 ")
    return {
        **{f"alg {name!r}": forge(good | {"alg": name}, claims, unsigned) for name in algorithms},
        **{f"alg {name!r}, signed": forge(good | {"alg": name}, claims, issuer.sign) for name in algorithms},
        "no alg": forge({"typ": "JWT"}, claims, issuer.sign),
        "several algs": forge(good | {"alg": [good["alg"], "none"]}, claims, issuer.sign),
        "HS256 with the public key": forge(good | {"alg": "HS256"}, claims, hs256(pem)),
        "HS256 with its first line": forge(good | {"alg": "HS256"}, claims, hs256(pem.strip())),
        "HS256 with it as JSON": forge(good | {"alg": "HS256"}, claims, hs256(json.dumps(jwk(rsa_key())).encode())),
        "HS256 with nothing": forge(good | {"alg": "HS256"}, claims, hs256(b"")),
        "another pair": forge(good | {"alg": "RS256"}, claims, rs256(own)),
        "no signature": forge(good, claims, unsigned),
        "a signature of zeros": forge(good, claims, lambda content: bytes(32)),
        "an unknown crit": forge(good | {"crit": ["exp-of-ours"], "exp-of-ours": 1}, claims, issuer.sign),
        "a crit of nothing": forge(good | {"crit": []}, claims, issuer.sign),
        "a body that is not encoded": forge(good | {"crit": ["b64"], "b64": False}, claims, issuer.sign),
        "jku": forge(good | {"jku": away}, claims, issuer.sign),
        "jku of another pair": forge(good | {"alg": "RS256", "jku": away}, claims, rs256(own)),
        "x5u": forge(good | {"x5u": away}, claims, issuer.sign),
        "x5c": forge(good | {"x5c": ["MIIB"]}, claims, issuer.sign),
        "jwk": forge(good | {"alg": "RS256", "jwk": jwk(own)}, claims, rs256(own)),
        "a header that is a list": forge(b"[]", claims, issuer.sign),
        "claims that are a list": forge(good, b"[]", issuer.sign),
        "claims deep inside": forge(good, b"[" * 4000, issuer.sign),
        **kid,
    }


def test_row_35_a_forged_token_is_401_and_counted(server: Server, issuer: Issuer) -> None:
    tokens = forged(issuer)
    before = server.counters()["handshakes_refused"]
    codes = {name: status(server, request(bearer(token).encode())) for name, token in tokens.items()}
    assert codes == dict.fromkeys(tokens, 401)
    assert server.counters()["handshakes_refused"] == before + len(tokens)


def test_row_35_a_forged_token_in_a_sub_protocol_is_401(server: Server, issuer: Issuer) -> None:
    offers = {name: f"hubbub.v1.json, hubbub.bearer.{token}" for name, token in forged(issuer).items()}
    codes = {
        name: status(server, request(f"Sec-WebSocket-Protocol: {offer}".encode())) for name, offer in offers.items()
    }
    assert codes == dict.fromkeys(offers, 401)


@WITH_A_SECRET
def test_row_35_a_token_in_a_sub_protocol_counts_and_is_never_agreed_upon(server: Server, issuer: Issuer) -> None:
    offer = f"hubbub.bearer.{issuer.token()}"
    with Peer(server.port) as peer, Peer(server.port) as alone:
        agreed = peer.open(subprotocols=(offer, "hubbub.v1.json")).lower().split(b"\r\n")
        assert [line for line in agreed if b"protocol:" in line] == [b"sec-websocket-protocol: hubbub.v1.json"]
        assert b"protocol:" not in alone.open(subprotocols=(offer,)).lower()


def ticket_request(*lines: str) -> bytes:
    """The request for a one-time ticket."""
    head = ("POST /api/ticket HTTP/1.1", "Host: 127.0.0.1", "Content-Length: 0", "Connection: close", *lines)
    return ("\r\n".join(head) + "\r\n\r\n").encode()


def test_row_35_a_forged_token_gets_no_ticket(server: Server, issuer: Issuer) -> None:
    tokens = forged(issuer)
    codes = {name: status(server, ticket_request(bearer(token))) for name, token in tokens.items()}
    assert codes == dict.fromkeys(tokens, 401)


def test_row_35_a_forged_token_refreshes_nothing(server: Server, issuer: Issuer) -> None:
    for name, token in list(forged(issuer).items())[:40]:
        with HonestPeer(server.port, headers=[bearer(issuer.token("u-mallory"))]) as peer:
            peer.open()
            peer.send(command(type="refresh", token=token, id=name))
            assert peer.event("error")["code"] == "invalid_token"
            peer.round_trip(1)


# Row 36

NOT_OURS: dict[str, dict[str, Any]] = {
    "expired": {"exp": int(time.time()) - 60},
    "never expires": {"exp": None},
    "expires at no time": {"exp": "tomorrow"},
    "expires at infinity": {"exp": float("inf")},
    "not yet valid": {"nbf": int(time.time()) + 3600},
    "made in the future": {"iat": int(time.time()) + 3600},
    "for somebody else": {"aud": "somebody-else"},
    "for others": {"aud": ["somebody-else", "and-others"]},
    "for nobody": {"aud": None},
    "from somebody else": {"iss": "https://evil.example"},
    "from one like ours": {"iss": "https://issuer.example/"},
    "from nobody": {"iss": None},
    "from a list": {"iss": ["https://issuer.example"]},
    "of nobody": {"sub": None},
    "of an empty user": {"sub": ""},
    "of a number": {"sub": 7},
    "with rooms that are none": {"rooms": "open-*"},
    "with verbs that are none": {"rooms": {"open-*": ["everything"]}},
}


def test_row_36_a_token_that_does_not_count_is_401(server: Server, issuer: Issuer) -> None:
    tokens = {name: issuer.token(**claims) for name, claims in NOT_OURS.items()}
    codes = {name: status(server, request(bearer(token).encode())) for name, token in tokens.items()}
    assert codes == dict.fromkeys(tokens, 401)


EMPTY = {"none": (), "of another scheme": ("Authorization: Basic YTpiYWJhYg==",)}


@pytest.mark.parametrize("lines", EMPTY.values(), ids=EMPTY)
def test_row_36_no_token_is_401_and_says_what_is_wanted(server: Server, lines: tuple[str, ...]) -> None:
    with Peer(server.port) as peer:
        code, answer = peer.http(request(*(line.encode() for line in lines)))
    assert code == 401
    assert b"\r\nwww-authenticate: bearer\r\n" in answer.lower()


@pytest.mark.parametrize("line", [b"Authorization: Bearer ", b"Sec-WebSocket-Protocol: hubbub.bearer."])
def test_row_36_an_empty_token_is_400(server: Server, line: bytes) -> None:
    assert status(server, request(line)) == 400


def test_row_36_two_tokens_are_400(server: Server, issuer: Issuer) -> None:
    token = issuer.token()
    offer = f"Sec-WebSocket-Protocol: hubbub.v1.json, hubbub.bearer.{token}"
    assert status(server, request(bearer(token).encode(), offer.encode())) == 400
    assert status(server, request(bearer(token).encode(), bearer(token).encode())) == 400


# Row 37

A_SECOND = 1.0
OUR_OWN_TIME = 1.0  # of this test and a busy machine


def connected(peer: Peer) -> dict[str, Any]:
    peer.open()
    return peer.event("connected")


@WITH_A_SECRET
def test_row_37_a_token_that_expires_is_4401_within_a_second(server: Server, issuer: Issuer) -> None:
    expires = int(time.time()) + 2
    with HonestPeer(server.port, headers=[bearer(issuer.token(exp=expires - LEEWAY_SECONDS))]) as peer:
        assert connected(peer)["user"]["expires"] == expires * 1000
        assert peer.event("warning")["code"] == "token_expires"
        assert peer.close_code() == 4401
    assert expires <= time.time() < expires + A_SECOND + OUR_OWN_TIME


def revoke(server: Server, issuer: Issuer, kind: str, subject: str) -> None:
    """Has the application revoke something, which is kept when this returns."""
    with HonestPeer(server.port, headers=[bearer(issuer.token("u-admin"))]) as admin:
        admin.open()
        admin.send(command(type="revoke", kind=kind, subject=subject, id="revoked"))
        assert admin.event("ok")["id"] == "revoked"


@WITH_A_SECRET
def test_row_37_a_revoked_token_is_4401_and_does_not_come_back(server: Server, issuer: Issuer, room: str) -> None:
    token, other = issuer.token(jti=room), issuer.token()
    with HonestPeer(server.port, headers=[bearer(token)]) as peer, Peer(server.port, headers=[bearer(other)]) as stays:
        connected(peer)
        connected(stays)
        revoke(server, issuer, "token", room)
        assert peer.close_code() == 4401
        assert status(server, request(bearer(token).encode())) == 401
        stays.send(command(type="ping", id=1))
        assert stays.event("ok")["id"] == 1


@WITH_A_SECRET
def test_row_37_a_revoked_user_is_4401_on_every_connection(server: Server, issuer: Issuer, room: str) -> None:
    tokens = [issuer.token(room) for _ in range(3)]
    with ExitStack() as stack:
        peers = [stack.enter_context(HonestPeer(server.port, headers=[bearer(token)])) for token in tokens]
        for peer in peers:
            connected(peer)
        revoke(server, issuer, "user", room)
        assert [peer.close_code() for peer in peers] == [4401] * 3
    assert {status(server, request(bearer(token).encode())) for token in tokens} == {401}


def wait_until(moment: float) -> None:
    """Until the clock says so, Unix seconds."""
    while (left := moment - time.time()) > 0:
        time.sleep(left)


class TestWhereClocksAreTheSame:
    """With no leeway: else it is some time until a new token is known to be newer than a revocation."""

    @pytest.fixture
    def options(self, issuer: Issuer) -> tuple[str, ...]:
        return (*issuer.options, "--jwt-leeway-seconds", "0")

    @WITH_A_SECRET
    def test_row_37_a_revoked_user_is_let_in_with_a_later_token(
        self, server: Server, issuer: Issuer, room: str
    ) -> None:
        revoke(server, issuer, "user", room)
        wait_until(int(time.time()) + 1)  # a token says when it was made in whole seconds
        assert status(server, request(bearer(issuer.token(room, iat=int(time.time()))).encode())) == 101


@WITH_A_SECRET
def test_row_37_a_revoked_session_is_4401_and_cannot_be_taken_up(server: Server, issuer: Issuer) -> None:
    headers = [bearer(issuer.token())]
    with HonestPeer(server.port, headers=headers) as peer:
        peer.open("/ws?session=")
        session = peer.event("connected")["session"]
        revoke(server, issuer, "session", session.partition(".")[0])
        assert peer.close_code() == 4401
    with HonestPeer(server.port, headers=headers) as again:
        again.open(f"/ws?session={session}")
        assert again.event("connected")["session"].partition(".")[0] != session.partition(".")[0]


# Row 38


def fail_with(server: Server, path: str) -> None:
    """Whatever can end up in a log: a handler that fails, a violation, a refusal."""
    for data in (command(type="fail", id=1), b"\x81\x00", text("nonsense") * 12):
        with Peer(server.port) as peer:
            peer.open(path)
            peer.send(data + command(type="ping", id=2) + frame(FIN | CLOSE, b""))
            peer.close_code()


@WITH_A_SECRET
def test_row_38_a_token_in_the_url_does_not_count(server: Server, issuer: Issuer) -> None:
    start = f"GET /ws?token={issuer.token()} HTTP/1.1"
    with Peer(server.port) as peer:
        code, answer = peer.http(request(start=start.encode()))
    assert code == 401
    assert not any(secret.encode() in answer for secret in canary.secrets)


@WITH_A_SECRET
def test_row_38_a_ticket_counts_once_and_is_in_no_log(server: Server, issuer: Issuer) -> None:
    with Peer(server.port) as peer:
        code, answer = peer.http(ticket_request(bearer(issuer.token())))
    assert code == 200
    ticket = canary.keep(json.loads(answer.partition(b"\r\n\r\n")[2])["ticket"], "a ticket")
    path = f"/ws?ticket={ticket}"
    with HonestPeer(server.port) as once:
        once.open(path)
        once.send(text("nonsense") * 12)
        assert once.close_code() == 4400
    assert status(server, request(start=f"GET {path} HTTP/1.1".encode())) == 401


class TestWhereTokensMayStandInTheUrl:
    """With `token_in_query`."""

    @pytest.fixture
    def options(self, issuer: Issuer) -> tuple[str, ...]:
        return (*issuer.options, *NO_RATE, "--token-in-query")

    @pytest.fixture
    def witness(self) -> None:
        """Nobody: a failed handler is a traceback in the log, which the witness would complain of."""

    @WITH_A_SECRET
    def test_row_38_a_token_in_the_url_counts_and_is_in_no_log(self, server: Server, issuer: Issuer) -> None:
        """The canary listens in all tests; this one makes noise."""
        logged = len(server.log)
        fail_with(server, f"/ws?token={issuer.token()}")
        assert "a handler failed" in server.log[logged:]
        assert "broke the protocol" in server.log[logged:]

    @WITH_A_SECRET
    def test_row_38_a_bad_token_in_the_url_is_401_and_not_said_again(self, server: Server, issuer: Issuer) -> None:
        for token in forged(issuer).values():
            with Peer(server.port) as peer:
                code, answer = peer.http(request(start=f"GET /ws?token={token} HTTP/1.1".encode()))
            assert code == 401
            assert token.encode() not in answer
