"""permessage-deflate (RFC 7692): negotiation, inflating within a bound, deflating. No I/O."""

from __future__ import annotations

import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from typing import Final

from hubbub.codes import INVALID_DATA, MESSAGE_TOO_BIG
from hubbub.errors import PeerError

NAME: Final = "permessage-deflate"
TAIL: Final = b"\x00\x00\xff\xff"
"""Every deflated message ends so; it is left out on the wire (RFC 7692, section 7.2.1)."""
LARGEST_WINDOW: Final = 15
# zlib cannot write a raw stream with a window of 2^8 bytes, so an offer that asks for it is passed over.
SMALLEST_WINDOW: Final = 9
MEMORY_LEVEL: Final = 8
# Final blocks in one message: there is no use for two, and each costs the set-up of a stream.
MOST_STREAMS: Final = 8

_WINDOW_BITS: Final = frozenset(str(bits) for bits in range(8, LARGEST_WINDOW + 1))


@dataclass(frozen=True, slots=True, kw_only=True)
class Deflate:
    """What two peers agreed upon.

    Args:
        server_takeover: the server's compressor keeps its window from message to message.
        client_takeover: the client's compressor does.
        server_window_bits: base-2 logarithm of the server's window, 9 to 15; None where nothing was said of it, for 15.
        client_window_bits: the same of the client's.
    """

    server_takeover: bool = False
    client_takeover: bool = False
    server_window_bits: int | None = None
    client_window_bits: int | None = None

    def header(self) -> str:
        """The value of Sec-WebSocket-Extensions that says this."""
        parameters = [NAME]
        if not self.server_takeover:
            parameters.append("server_no_context_takeover")
        if not self.client_takeover:
            parameters.append("client_no_context_takeover")
        if self.server_window_bits is not None:
            parameters.append(f"server_max_window_bits={self.server_window_bits}")
        if self.client_window_bits is not None:
            parameters.append(f"client_max_window_bits={self.client_window_bits}")
        return "; ".join(parameters)


def accept_offer(offers: str, *, takeover: bool = False) -> Deflate | None:
    """The server's answer to the client's Sec-WebSocket-Extensions, or None where no offer can be taken.

    Args:
        offers: the header's value; several headers joined by commas.
        takeover: both sides may keep their windows (costs about 300 KB a connection).
    """
    for parameters in _parse(offers):
        bits = _window_bits(parameters, "server_max_window_bits")
        if bits is None or bits >= SMALLEST_WINDOW:
            return Deflate(
                server_takeover=takeover and "server_no_context_takeover" not in parameters,
                client_takeover=takeover and "client_no_context_takeover" not in parameters,
                server_window_bits=bits,
            )
    return None


def accept_answer(answer: str) -> Deflate | None:
    """What the server's Sec-WebSocket-Extensions means for a client that offered `permessage-deflate`.

    Raises:
        PeerError: the answer names another extension or impossible parameters.
    """
    if not answer.strip():
        return None
    for parameters in _parse(answer) if "," not in answer else ():
        client = _window_bits(parameters, "client_max_window_bits")
        if client is None or client >= SMALLEST_WINDOW:
            return Deflate(
                server_takeover="server_no_context_takeover" not in parameters,
                client_takeover="client_no_context_takeover" not in parameters,
                server_window_bits=_window_bits(parameters, "server_max_window_bits"),
                client_window_bits=client,
            )
    raise PeerError(1010, f"unknown extension in the answer: {answer[:60]!r}")


def _parse(header: str) -> Iterator[dict[str, str]]:
    """The parameters of each well-formed permessage-deflate in the header; an empty value where none is given."""
    for extension in header.split(","):
        name, *parameters = (part.strip() for part in extension.split(";"))
        if name != NAME:
            continue
        found: dict[str, str] = {}
        for parameter in parameters:
            key, _, value = (part.strip() for part in parameter.partition("="))
            if len(value) >= 2 and value[0] == value[-1] == '"':
                value = value[1:-1]
            if key in found or not _is_known(key, value):
                break
            found[key] = value
        else:
            yield found


def _is_known(key: str, value: str) -> bool:
    match key:
        case "server_no_context_takeover" | "client_no_context_takeover":
            return not value
        case "server_max_window_bits":
            return value in _WINDOW_BITS
        case "client_max_window_bits":
            return not value or value in _WINDOW_BITS
        case _:
            return False


def _window_bits(parameters: dict[str, str], key: str) -> int | None:
    """The window that a parameter names; None where it is not there or names none."""
    return int(parameters[key]) if parameters.get(key) else None


class Inflater:
    """Inflates the messages of one peer. Without takeover it holds nothing, so one serves every connection."""

    __slots__ = ("_stream", "_takeover")

    def __init__(self, *, takeover: bool = False) -> None:
        self._takeover = takeover
        self._stream = zlib.decompressobj(-LARGEST_WINDOW) if takeover else None

    def inflate(self, data: bytes, max_bytes: int) -> bytes:
        """The message behind `data`.

        Raises:
            PeerError: 1009 when it is longer than `max_bytes` (never more is allocated), 1007 when it is not deflate.
        """
        message, rest = b"", data + TAIL
        stream = self._stream or zlib.decompressobj(-LARGEST_WINDOW)
        for _ in range(MOST_STREAMS):
            try:
                message += stream.decompress(rest, max_bytes + 1 - len(message))
            except zlib.error as error:
                raise PeerError(INVALID_DATA, "not a deflated message") from error
            if len(message) > max_bytes:
                raise PeerError(MESSAGE_TOO_BIG, f"message inflates to more than {max_bytes} bytes (max_message_bytes)")
            if not stream.eof:
                return message
            # A final block ends the stream (RFC 7692, section 7.2.3.4); what follows is another one.
            rest, stream = stream.unused_data, zlib.decompressobj(-LARGEST_WINDOW)
            if self._takeover:
                self._stream = stream
        raise PeerError(INVALID_DATA, f"more than {MOST_STREAMS} final blocks in a message")


class Deflater:
    """Deflates messages for one peer or, without takeover, for all peers with the same window."""

    __slots__ = ("_flush", "_stream")

    def __init__(self, *, takeover: bool = False, window_bits: int = LARGEST_WINDOW) -> None:
        self._stream = zlib.compressobj(zlib.Z_DEFAULT_COMPRESSION, zlib.DEFLATED, -window_bits, MEMORY_LEVEL)
        # A full flush forgets the window: the next message stands alone, and the 268 KB of state are made once.
        self._flush = zlib.Z_SYNC_FLUSH if takeover else zlib.Z_FULL_FLUSH

    def deflate(self, message: bytes) -> bytes:
        """The payload of a frame with RSV1 set."""
        return (self._stream.compress(message) + self._stream.flush(self._flush))[: -len(TAIL)]


@cache
def shared_inflater() -> Inflater:
    """The inflater of all connections without takeover."""
    return Inflater()


@cache
def shared_deflater(window_bits: int) -> Deflater:
    """The deflater of all connections without takeover and with this window; one event loop's thread at a time."""
    return Deflater(window_bits=window_bits)
