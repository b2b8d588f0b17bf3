"""wire.handshake: requests and answers, both sides, as bytes."""

from __future__ import annotations

import pytest

from hubbub.errors import HandshakeError
from hubbub.wire.handshake import (
    Upgrade,
    accept_key,
    choose_subprotocol,
    encode_accept,
    encode_refusal,
    encode_request,
    read_accept,
    read_request,
    read_upgrade,
)

KEY = b"dGhlIHNhbXBsZSBub25jZQ=="  # with its answer from RFC 6455, section 1.3
ACCEPT = b"s3pPLMBiTxaQ9kYGzzhZRbK+xOo="
HEADERS = {b"sec-websocket-version": b"13", b"sec-websocket-key": KEY}


def upgrade(*more: tuple[bytes, bytes], method: str = "GET", version: str = "1.1", **changed: bytes | None) -> Upgrade:
    headers = {**HEADERS, **{name.replace("_", "-").encode(): value for name, value in changed.items()}}
    present = [(name, value) for name, value in headers.items() if value is not None]
    return read_upgrade(method, version, [*present, *more])


REQUEST = encode_request("a:80", "/ws?x=%20", KEY, ["a", "b"], "x", "a.b.c")


def test_the_usual_request_is_read_with_what_comes_behind_it() -> None:
    assert read_request(REQUEST + b"early") == (
        "/ws?x=%20",
        [
            (b"host", b"a:80"),
            (b"upgrade", b"websocket"),
            (b"connection", b"Upgrade"),
            (b"sec-websocket-version", b"13"),
            (b"sec-websocket-key", KEY),
            (b"sec-websocket-protocol", b"a, b"),
            (b"sec-websocket-extensions", b"x"),
            (b"authorization", b"Bearer a.b.c"),
        ],
        len(REQUEST),
    )


@pytest.mark.parametrize(
    ("usual", "other"),
    [
        (b"Upgrade: websocket", b"UPGRADE:WebSocket"),
        (b"Connection: Upgrade", b"connection: \t keep-alive, upgrade \t"),
    ],
)
def test_the_same_is_read_however_it_is_written(usual: bytes, other: bytes) -> None:
    read = read_request(REQUEST.replace(usual, other))
    assert read is not None
    assert (read.target, len(read.headers)) == ("/ws?x=%20", 8)
    assert all(name.islower() and value == value.strip() for name, value in read.headers)


@pytest.mark.parametrize(
    ("usual", "other"),
    [
        (b"GET ", b"POST "),
        (b" HTTP/1.1", b" HTTP/1.0"),
        (b"/ws", b"ws"),
        (b"/ws", b"/w#s"),
        (b"/ws", b"/w s"),
        (b"/ws", b"/w\x80s"),
        (b"Host: a:80\r\n", b""),
        (b"Host: a:80", b"Host: a:80\r\nHost: b"),
        (b"Host: a:80", b"Host : a:80"),
        (b"Host: a:80", b"Host: a\x80"),
        (b"Host: a:80", b"Host: a\0"),
        (b"Host: a:80", b"Host: a\r\n b"),
        (b"Host: a:80\r\n", b"Host: a:80\n"),
        (b"Host: a:80", b"Host: a:80\r\nContent-Length: 0"),
        (b"Host: a:80", b"Host: a:80\r\nTransfer-Encoding: chunked"),
        (b"Host: a:80", b"Host: a:80\r\nExpect: 100-continue"),
        (b"Upgrade: websocket\r\n", b""),
        (b"Upgrade: websocket", b"Upgrade: h2c"),
        (b"Connection: Upgrade\r\n", b""),
        (b"Connection: Upgrade", b"Connection: close"),
        (b"\r\n\r\n", b"\r\n"),
        (b"Host: a:80", b"Host: a:80\r\n" + b"".join(b"X-%d: a\r\n" % number for number in range(93)) + b"X: a"),
    ],
)
def test_anything_else_is_for_a_whole_parser(usual: bytes, other: bytes) -> None:
    changed = REQUEST.replace(usual, other)
    assert changed != REQUEST
    assert read_request(changed) is None


def test_the_accept_key_is_the_one_of_the_rfc() -> None:
    assert accept_key(KEY) == ACCEPT


def test_a_valid_request_is_read() -> None:
    assert upgrade() == Upgrade(KEY, (), "")


def test_offers_are_read_in_order_over_several_headers() -> None:
    read = upgrade((b"sec-websocket-protocol", b"a, b"), (b"sec-websocket-protocol", b"c"))
    assert read.subprotocols == ("a", "b", "c")


def test_extensions_of_several_headers_are_joined() -> None:
    read = upgrade((b"sec-websocket-extensions", b"x"), (b"sec-websocket-extensions", b"y; z=1"))
    assert read.extensions == "x, y; z=1"


def test_another_method_is_answered_with_the_right_one() -> None:
    with pytest.raises(HandshakeError) as caught:
        upgrade(method="POST")
    assert (caught.value.status, caught.value.headers) == (405, ((b"allow", b"GET"),))


@pytest.mark.parametrize("version", [b"7", b"", b"13, 13", None])
def test_another_version_is_answered_with_ours(version: bytes | None) -> None:
    with pytest.raises(HandshakeError) as caught:
        upgrade(sec_websocket_version=version)
    assert (caught.value.status, caught.value.headers) == (426, ((b"sec-websocket-version", b"13"),))


@pytest.mark.parametrize("key", [None, b"", b"c2hvcnQ=", KEY + b"AAAA", b"not base64, not at all..", KEY[:-1]])
def test_a_key_that_is_not_16_bytes_is_refused(key: bytes | None) -> None:
    with pytest.raises(HandshakeError, match="16 bytes in base64"):
        upgrade(sec_websocket_key=key)


def test_a_second_key_is_refused() -> None:
    with pytest.raises(HandshakeError, match="must be there once"):
        upgrade((b"sec-websocket-key", KEY))


@pytest.mark.parametrize("version", ["1.0", "2"])
def test_another_http_version_is_refused(version: str) -> None:
    with pytest.raises(HandshakeError, match=r"HTTP/1\.1"):
        upgrade(version=version)


@pytest.mark.parametrize("header", [(b"content-length", b"5"), (b"transfer-encoding", b"chunked")])
def test_a_body_is_refused(header: tuple[bytes, bytes]) -> None:
    with pytest.raises(HandshakeError, match="no body"):
        upgrade(header)


def test_a_body_of_no_bytes_is_no_body() -> None:
    assert upgrade((b"content-length", b"0")).key == KEY


@pytest.mark.parametrize("value", [b"a, a", b"a,,b", b"", b"a b", b"a/b", b"\xe9"])
def test_subprotocols_are_distinct_tokens(value: bytes) -> None:
    with pytest.raises(HandshakeError) as caught:
        upgrade((b"sec-websocket-protocol", value))
    assert caught.value.status == 400


def test_extensions_are_ascii() -> None:
    with pytest.raises(HandshakeError, match="sec-websocket-extensions is not ASCII"):
        upgrade((b"sec-websocket-extensions", b"\xff"))


# Choosing a sub-protocol


def test_the_clients_first_choice_that_we_know_is_chosen() -> None:
    assert choose_subprotocol(("x", "b", "a"), ("a", "b")) == "b"


def test_none_is_chosen_when_none_is_offered() -> None:
    assert choose_subprotocol((), ("a",)) is None


def test_offers_are_ignored_by_a_path_that_has_none() -> None:
    assert choose_subprotocol(("x",), ()) is None


def test_only_unknown_ones_are_refused() -> None:
    with pytest.raises(HandshakeError, match="known are a, b"):
        choose_subprotocol(("x",), ("a", "b"))


# Answers


def test_the_shortest_acceptance() -> None:
    assert encode_accept(Upgrade(KEY, (), ""), None, "") == (
        b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        b"Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n"
    )


def test_an_acceptance_with_everything() -> None:
    answer = encode_accept(Upgrade(KEY, (), ""), "chat", "permessage-deflate", [(b"set-cookie", b"a=1")])
    assert answer.endswith(
        b"\r\nSec-WebSocket-Protocol: chat\r\nSec-WebSocket-Extensions: permessage-deflate\r\nset-cookie: a=1\r\n\r\n"
    )


def test_a_refusal_is_a_whole_response() -> None:
    assert encode_refusal(426, "the version is 13", [(b"sec-websocket-version", b"13")]) == (
        b"HTTP/1.1 426 Upgrade Required\r\ncontent-length: 18\r\nconnection: close\r\n"
        b"content-type: text/plain; charset=utf-8\r\nsec-websocket-version: 13\r\n\r\nthe version is 13\n"
    )


def test_a_refusal_of_an_application_keeps_its_status_type_and_bytes() -> None:
    answer = encode_refusal(460, b"{}", [(b"content-type", b"application/json")])
    assert answer.startswith(b"HTTP/1.1 460 \r\n")
    assert answer.endswith(b"content-type: application/json\r\n\r\n{}")


# The client's side


def test_the_shortest_request() -> None:
    assert encode_request("example.org", "/ws", KEY) == (
        b"GET /ws HTTP/1.1\r\nHost: example.org\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
    )


def test_a_request_with_offers() -> None:
    request = encode_request("example.org", "/ws", KEY, ("a", "b"), "permessage-deflate")
    assert request.endswith(b"\r\nSec-WebSocket-Protocol: a, b\r\nSec-WebSocket-Extensions: permessage-deflate\r\n\r\n")


def test_an_acceptance_is_read() -> None:
    headers = read_accept(encode_accept(Upgrade(KEY, (), ""), "chat", ""), KEY)
    assert headers["sec-websocket-protocol"] == "chat"


@pytest.mark.parametrize(
    "head", [b"", b"SSH-2.0-OpenSSH", b"HTTP/1.1\r\n", b"HTTP/1.1 abc\r\n", b"\xff\xff", b"HTTP/1.1 " + b"9" * 5000]
)
def test_what_is_not_http_is_refused(head: bytes) -> None:
    with pytest.raises(HandshakeError, match="not HTTP"):
        read_accept(head, KEY)


def test_a_refusal_keeps_its_status() -> None:
    with pytest.raises(HandshakeError, match="503 Service Unavailable") as caught:
        read_accept(encode_refusal(503, "full"), KEY)
    assert caught.value.status == 503


@pytest.mark.parametrize("accept", [b"", b"Sec-WebSocket-Accept: c29tZXRoaW5nIGVsc2U=\r\n"])
def test_an_acceptance_must_prove_itself(accept: bytes) -> None:
    with pytest.raises(HandshakeError, match="does not prove"):
        read_accept(b"HTTP/1.1 101 Switching Protocols\r\n" + accept + b"\r\n", KEY)
