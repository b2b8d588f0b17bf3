"""The opening handshake (RFC 6455, section 4) as headers in, headers out, for a server or a client. No I/O."""

from __future__ import annotations

import base64
import binascii
import hashlib
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from http import HTTPStatus
from typing import Final, NamedTuple

from hubbub.errors import HandshakeError

Headers = Iterable[tuple[bytes, bytes]]
"""Names in lower case and values, as they stood on the wire."""

VERSION: Final = b"13"
_STATUSES: Final = frozenset(HTTPStatus)
_GUID: Final = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
_STATUS: Final = re.compile("[1-9][0-9]{2}")
_TOKEN: Final = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
# Nothing in it can be read in two ways, and no part is given back: it takes as long as the head. More headers than most
# servers take are not looked at here.
_REQUEST: Final = re.compile(
    rb"GET (/[A-Za-z0-9._~!$&'()*+,;=:@/?%-]*+) HTTP/1\.1\r\n"
    rb"((?:[!#$%&'*+.^_`|~0-9A-Za-z-]++:[\t -~]*+\r\n){1,100}+)\r\n"
)
_WITH_BODY: Final = frozenset((b"content-length", b"transfer-encoding", b"expect"))


@dataclass(frozen=True, slots=True)
class Upgrade:
    """A valid request for a WebSocket.

    Args:
        key: the value of Sec-WebSocket-Key.
        subprotocols: what the client offers, best first.
        extensions: the value of Sec-WebSocket-Extensions, several joined by commas; may be empty.
    """

    key: bytes
    subprotocols: tuple[str, ...]
    extensions: str


class Request(NamedTuple):
    """A request for a WebSocket, as it stood on the wire.

    Attributes:
        headers: names in lower case, values without the blanks around them.
        size: of the whole head, bytes.
    """

    target: str
    headers: list[tuple[bytes, bytes]]
    size: int


def read_request(data: bytes) -> Request | None:
    """The request for a WebSocket that some bytes begin with.

    It takes what clients send: a whole head, in the usual form, each header once, no body. What is anything else, right
    or wrong, is for a whole HTTP parser, which reads the same in all that is taken here.
    """
    found = _REQUEST.match(data)
    if found is None:
        return None
    headers = [
        (name.lower(), value.strip(b" \t"))
        for name, _, value in (line.partition(b":") for line in found[2].split(b"\r\n")[:-1])
    ]
    values = dict(headers)
    if (
        len(values) < len(headers)
        or b"host" not in values
        or values.get(b"upgrade", b"").lower() != b"websocket"
        or b"upgrade" not in map(bytes.strip, values.get(b"connection", b"").lower().split(b","))
        or not _WITH_BODY.isdisjoint(values)
    ):
        return None
    return Request(found[1].decode("ascii"), headers, found.end())


def accept_key(key: bytes) -> bytes:
    """The value of Sec-WebSocket-Accept for a key (RFC 6455, section 4.2.2)."""
    return base64.b64encode(hashlib.sha1(key + _GUID, usedforsecurity=False).digest())


def read_upgrade(method: str, http_version: str, headers: Headers) -> Upgrade:
    """Checks a request that has `Upgrade: websocket`.

    Raises:
        HandshakeError: 400, 405 or 426, with a reason for the response's body.
    """
    if method != "GET":
        raise HandshakeError(405, "a WebSocket is opened with GET", ((b"allow", b"GET"),))
    if http_version != "1.1":
        raise HandshakeError(400, "a WebSocket is opened over HTTP/1.1")
    values = _collect(headers)
    if values.get(b"transfer-encoding") or values.get(b"content-length", [b"0"]) != [b"0"]:
        raise HandshakeError(400, "a request for a WebSocket has no body")
    if values.get(b"sec-websocket-version") != [VERSION]:
        raise HandshakeError(426, "the WebSocket version is 13", ((b"sec-websocket-version", VERSION),))
    keys = values.get(b"sec-websocket-key", [])
    if len(keys) != 1 or not _is_key(keys[0]):
        raise HandshakeError(400, "Sec-WebSocket-Key must be there once, with 16 bytes in base64")
    subprotocols = _tokens(values.get(b"sec-websocket-protocol", []))
    return Upgrade(keys[0], subprotocols, b", ".join(values.get(b"sec-websocket-extensions", [])).decode("ascii"))


def _collect(headers: Headers) -> dict[bytes, list[bytes]]:
    values: dict[bytes, list[bytes]] = {}
    for name, value in headers:
        if not value.isascii() and name.startswith(b"sec-websocket-"):
            raise HandshakeError(400, f"{name.decode('ascii', 'replace')} is not ASCII")
        values.setdefault(name, []).append(value.strip())
    return values


def _is_key(key: bytes) -> bool:
    try:
        return len(base64.b64decode(key, validate=True)) == 16
    except binascii.Error:
        return False


def _tokens(values: list[bytes]) -> tuple[str, ...]:
    tokens = tuple([token.strip() for value in values for token in value.decode("ascii").split(",")])
    if not all(map(_TOKEN.fullmatch, tokens)) or len(set(tokens)) != len(tokens):
        raise HandshakeError(400, "Sec-WebSocket-Protocol must hold distinct tokens")
    return tokens


def choose_subprotocol(offered: Sequence[str], supported: Sequence[str]) -> str | None:
    """The client's first choice that we know; None when it offers none.

    Raises:
        HandshakeError: 400: it offers only ones that we do not know.
    """
    for subprotocol in offered:
        if subprotocol in supported:
            return subprotocol
    if offered and supported:
        raise HandshakeError(400, f"none of the sub-protocols is known; known are {', '.join(supported)}")
    return None


def encode_accept(upgrade: Upgrade, subprotocol: str | None, extensions: str, headers: Headers = ()) -> bytes:
    """The bytes of the 101 response."""
    lines = [
        b"HTTP/1.1 101 Switching Protocols",
        b"Upgrade: websocket",
        b"Connection: Upgrade",
        b"Sec-WebSocket-Accept: " + accept_key(upgrade.key),
    ]
    if subprotocol is not None:
        lines.append(b"Sec-WebSocket-Protocol: " + subprotocol.encode("ascii"))
    if extensions:
        lines.append(b"Sec-WebSocket-Extensions: " + extensions.encode("ascii"))
    lines += [name + b": " + value for name, value in headers]
    return b"\r\n".join(lines) + b"\r\n\r\n"


def encode_refusal(status: int, reason: str | bytes, headers: Headers = ()) -> bytes:
    """The bytes of a whole HTTP response that refuses a request and closes the connection.

    Args:
        reason: a line of text; or bytes whose type is among the headers.
    """
    if isinstance(reason, str):
        body, headers = reason.encode() + b"\n", [(b"content-type", b"text/plain; charset=utf-8"), *headers]
    else:
        body = reason
    phrase = HTTPStatus(status).phrase if status in _STATUSES else ""
    lines = [
        f"HTTP/1.1 {status} {phrase}".encode("ascii"),
        b"content-length: %d" % len(body),
        b"connection: close",
        *(name + b": " + value for name, value in headers),
    ]
    return b"\r\n".join(lines) + b"\r\n\r\n" + body


def encode_request(
    host: str,
    path: str,
    key: bytes,
    subprotocols: Sequence[str] = (),
    extensions: str = "",
    token: str = "",
) -> bytes:
    """The bytes of a client's request.

    Args:
        key: 16 random bytes in base64.
        token: a bearer token (RFC 6750); empty for none.
    """
    lines = [
        f"GET {path} HTTP/1.1",
        f"Host: {host}",
        "Upgrade: websocket",
        "Connection: Upgrade",
        f"Sec-WebSocket-Version: {VERSION.decode()}",
        f"Sec-WebSocket-Key: {key.decode('ascii')}",
    ]
    if subprotocols:
        lines.append(f"Sec-WebSocket-Protocol: {', '.join(subprotocols)}")
    if extensions:
        lines.append(f"Sec-WebSocket-Extensions: {extensions}")
    if token:
        lines.append(f"Authorization: Bearer {token}")
    return ("\r\n".join(lines) + "\r\n\r\n").encode("ascii")


def read_accept(head: bytes, key: bytes) -> dict[str, str]:
    """The headers of the server's 101 response, names in lower case, for a client that sent `key`.

    Raises:
        HandshakeError: with the server's status when it refused; 502 when the response is not a valid acceptance.
    """
    status_line, *lines = head.decode("latin-1").rstrip("\r\n").split("\r\n")
    parts = status_line.split(" ", 2)
    if len(parts) < 2 or not parts[0].startswith("HTTP/1.") or not _STATUS.fullmatch(parts[1]):
        raise HandshakeError(502, "the answer is not HTTP")
    headers = {name.strip().lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
    if parts[1] != "101":
        told = tuple((name.encode("latin-1"), value.encode("latin-1")) for name, value in headers.items())
        raise HandshakeError(int(parts[1]), f"the server refused: {' '.join(parts[1:])}", told)
    if headers.get("sec-websocket-accept", "").encode("latin-1") != accept_key(key):
        raise HandshakeError(502, "the answer does not prove that the server understood the handshake")
    return headers
