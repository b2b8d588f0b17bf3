"""Requests for a WebSocket that must be refused before the upgrade, each with its status."""

import base64

import pytest

from tests.support.peer import Peer
from tests.support.server import Server

KEY = b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ=="
VERSION = b"Sec-WebSocket-Version: 13"
HOST = b"Host: 127.0.0.1"
UPGRADE = (b"Upgrade: websocket", b"Connection: Upgrade")


def request(*extra: bytes, start: bytes = b"GET /ws HTTP/1.1", key: bytes = KEY, version: bytes = VERSION) -> bytes:
    """A request for a WebSocket; empty lines are left out."""
    lines = (start, HOST, *UPGRADE, version, key, *extra)
    return b"\r\n".join(line for line in lines if line) + b"\r\n\r\n"


def status(server: Server, data: bytes) -> int:
    """The status of the answer; the server has closed the connection behind it, unless it is a 101."""
    with Peer(server.port) as peer:
        peer.send(data)
        status_line = peer.socket.recv(len("HTTP/1.1 101"))
        if not status_line.endswith(b" 101"):
            peer.read_to_end()
        return int(status_line[-3:])


def key(size: int) -> bytes:
    return b"Sec-WebSocket-Key: " + base64.b64encode(b"k" * size)


KEYS = {
    "missing": b"",
    "empty": b"Sec-WebSocket-Key:",
    "15 bytes": key(15),
    "17 bytes": key(17),
    "a kilobyte": key(1024),
    "not base64": b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZ!==",
    "without padding": b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ",
    "twice": KEY + b"\r\n" + KEY,
    "twice, different": KEY + b"\r\n" + key(16),
    "two in one": KEY + b", dGhlIHNhbXBsZSBub25jZQ==",
}


@pytest.mark.parametrize("key", KEYS.values(), ids=KEYS)
def test_row_01_a_request_without_exactly_one_good_key_is_400(server: Server, key: bytes) -> None:
    assert status(server, request(key=key)) == 400


VERSIONS = {
    "7": b"Sec-WebSocket-Version: 7",
    "8": b"Sec-WebSocket-Version: 8",
    "0": b"Sec-WebSocket-Version: 0",
    "-13": b"Sec-WebSocket-Version: -13",
    "013": b"Sec-WebSocket-Version: 013",
    "13.0": b"Sec-WebSocket-Version: 13.0",
    "a list": b"Sec-WebSocket-Version: 13, 8",
    "twice": VERSION + b"\r\n" + VERSION,
    "a huge number": b"Sec-WebSocket-Version: " + b"9" * 5000,
    "empty": b"Sec-WebSocket-Version:",
    "none": b"",
}


@pytest.mark.parametrize("version", VERSIONS.values(), ids=VERSIONS)
def test_row_02_another_version_is_426_with_the_one_that_is_spoken(server: Server, version: bytes) -> None:
    with Peer(server.port) as peer:
        code, answer = peer.http(request(version=version))
    assert code == 426
    assert b"\r\nsec-websocket-version: 13\r\n" in answer


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "HEAD", "OPTIONS", "PATCH", "CONNECT"])
def test_row_03_an_upgrade_with_another_method_is_405(server: Server, method: str) -> None:
    with Peer(server.port) as peer:
        code, answer = peer.http(request(start=method.encode() + b" /ws HTTP/1.1"))
    assert code == 405
    assert b"\r\nallow: GET\r\n" in answer


@pytest.mark.parametrize("version", [b" HTTP/1.0", b" HTTP/0.9", b" HTTP/2.0", b" HTTP/1.2", b" HTTP/11", b""])
def test_row_03_an_upgrade_over_another_version_of_http_is_400(server: Server, version: bytes) -> None:
    assert status(server, request(start=b"GET /ws" + version)) == 400


BODIES = {
    "of a length": (b"Content-Length: 5", b"hello"),
    "of frames": (b"Content-Length: 6", b"\x81\x80\0\0\0\0"),
    "that never comes": (b"Content-Length: 5", b""),
    "in chunks": (b"Transfer-Encoding: chunked", b"5\r\nhello\r\n0\r\n\r\n"),
    "of no chunks": (b"Transfer-Encoding: chunked", b"0\r\n\r\n"),
}


@pytest.mark.parametrize(("header", "body"), BODIES.values(), ids=BODIES)
def test_row_03_an_upgrade_with_a_body_is_400(server: Server, header: bytes, body: bytes) -> None:
    assert status(server, request(header) + body) == 400


def with_hosts(*hosts: bytes) -> bytes:
    return b"\r\n".join((b"GET /ws HTTP/1.1", *hosts, *UPGRADE, VERSION, KEY)) + b"\r\n\r\n"


@pytest.mark.parametrize("hosts", [(), (HOST, HOST), (HOST, b"Host: evil.example")], ids=["none", "twice", "two"])
def test_row_01_a_request_without_exactly_one_host_is_400(server: Server, hosts: tuple[bytes, ...]) -> None:
    """RFC 9112, section 3.2."""
    assert status(server, with_hosts(*hosts)) == 400


SUBPROTOCOLS = {
    "unknown": b"soap",
    "empty": b"",
    "only commas": b",,,",
    "not a token": b"hubbub v1 json",
    "in quotes": b'"hubbub.v1.json"',
    "twice": b"hubbub.v1.json, hubbub.v1.json",
    "in other case": b"HUBBUB.V1.JSON",
    "a thousand": b", ".join(b"p%d" % number for number in range(1000)),
}


@pytest.mark.parametrize("offer", SUBPROTOCOLS.values(), ids=SUBPROTOCOLS)
def test_row_05_a_sub_protocol_that_is_no_token_or_not_known_is_400(server: Server, offer: bytes) -> None:
    assert status(server, request(b"Sec-WebSocket-Protocol: " + offer)) == 400


# A tab may stand in a header's value (RFC 9110, section 5.5).
FORBIDDEN = [*range(0x09), *range(0x0A, 0x20), *range(0x7F, 0x100)]
PLACES = {
    "the sub-protocol": b"Sec-WebSocket-Protocol: hubbub.v1.json%b",
    "the extensions": b"Sec-WebSocket-Extensions: permessage-deflate%b",
    "the origin": b"Origin: http://127.0.0.1%b",
    "a cookie": b"Cookie: a=b%b; c=d",
    "any header": b"X-Any: a%bb",
    "a name": b"X-A%bny: ab",
}


@pytest.mark.parametrize("place", PLACES.values(), ids=PLACES)
def test_row_05_every_byte_that_is_not_printable_ascii_in_a_header_is_400(server: Server, place: bytes) -> None:
    codes = {byte: status(server, request(place % bytes((byte,)))) for byte in FORBIDDEN}
    assert codes == dict.fromkeys(FORBIDDEN, 400)


def test_row_05_every_byte_that_is_not_printable_ascii_in_the_target_is_400(server: Server) -> None:
    targets = {byte: b"GET /ws?a" + bytes((byte,)) + b"b HTTP/1.1" for byte in FORBIDDEN}
    codes = {byte: status(server, request(start=target)) for byte, target in targets.items()}
    assert codes == dict.fromkeys(FORBIDDEN, 400)


@pytest.mark.parametrize("path", [b"/nope", b"//ws", b"/ws/", b"/ws%00", b"/ws%ff", b"/../ws", b"*"])
def test_row_03_an_upgrade_of_a_path_that_there_is_not_is_404(server: Server, path: bytes) -> None:
    assert status(server, request(start=b"GET " + path + b" HTTP/1.1")) == 404


EXTENSIONS = {
    "a thousand parameters": b"permessage-deflate" + b"; server_no_context_takeover" * 270,
    "a huge window": b"permessage-deflate; server_max_window_bits=" + b"9" * 5000,
    "an unclosed quote": b'permessage-deflate; server_max_window_bits="15',
    "another one": b"permessage-bzip2; x=y",
    "only separators": b",;,;=,;;==",
}


@pytest.mark.parametrize("offer", EXTENSIONS.values(), ids=EXTENSIONS)
def test_row_05_an_offer_of_extensions_that_makes_no_sense_is_passed_over(server: Server, offer: bytes) -> None:
    with Peer(server.port) as peer:
        assert b"Sec-WebSocket-Extensions" not in peer.open(extensions=offer.decode())
