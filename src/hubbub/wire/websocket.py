"""RFC 6455 after the handshake: bytes in, messages out, for a server or a client. No I/O, clock or randomness."""

from __future__ import annotations

import codecs
from collections.abc import Callable, Iterator
from struct import Struct
from typing import Final

from hubbub.codes import INVALID_DATA, MESSAGE_TOO_BIG, PROTOCOL_ERROR
from hubbub.errors import LocalError, PeerError
from hubbub.wire.deflate import Deflater, Inflater

CONTINUATION: Final = 0x0
TEXT: Final = 0x1
BINARY: Final = 0x2
CLOSE: Final = 0x8
PING: Final = 0x9
PONG: Final = 0xA

FIN: Final = 0x80
RSV1: Final = 0x40
RSV2_AND_3: Final = 0x30
MASKED: Final = 0x80
LONGEST_CONTROL: Final = 125
NO_STATUS: Final = 1005

_WHOLE: Final = frozenset((FIN | TEXT, FIN | BINARY))
_WHOLE_CONTROL: Final = frozenset((FIN | PING, FIN | PONG))
_OPCODES: Final = frozenset((CONTINUATION, TEXT, BINARY, CLOSE, PING, PONG))
# RFC 6455, section 7.4, and the IANA registry; 1004-1006 and 1015 never travel.
_CLOSE_CODES: Final = frozenset((1000, 1001, 1002, 1003, 1007, 1008, 1009, 1010, 1011, 1012, 1013, 1014))

_pack_short: Final = Struct("!BB").pack
_pack_medium: Final = Struct("!BBH").pack
_pack_long: Final = Struct("!BBQ").pack
_from_bytes: Final = int.from_bytes
_utf8_decoder = codecs.getincrementaldecoder("utf-8")

Message = tuple[int, bytes]
"""An opcode (TEXT, BINARY, CLOSE, PING or PONG) and the payload: whole, unmasked, inflated; TEXT is valid UTF-8."""


def apply_mask(data: bytes, mask: bytes) -> bytes:
    """`data` XOR the repeated four bytes of `mask` (RFC 6455, section 5.3); its own inverse."""
    size = len(data)
    words = (size + 3) >> 2
    masked = _from_bytes(data, "little") ^ _from_bytes(mask * words, "little")
    return masked.to_bytes(words * 4, "little")[:size]


def encode_frame(first_byte: int, payload: bytes, mask: bytes = b"") -> bytes:
    """One frame (RFC 6455, section 5.2).

    Args:
        first_byte: FIN, the reserved bits and the opcode.
        mask: four bytes for a client's frame, none for a server's.
    """
    size = len(payload)
    bit = MASKED if mask else 0
    if size < 126:
        header = _pack_short(first_byte, bit | size)
    elif size < 65536:
        header = _pack_medium(first_byte, bit | 126, size)
    else:
        header = _pack_long(first_byte, bit | 127, size)
    return header + mask + apply_mask(payload, mask) if mask else header + payload


def encode_close(code: int, reason: str = "") -> bytes:
    """The payload of a close frame; a reason that is too long is cut at a character.

    Raises:
        LocalError: `code` may not be sent.
    """
    if not _is_close_code(code):
        raise LocalError(f"close code {code} must not be sent; use 1000 to 1003, 1007 to 1014 or 3000 to 4999")
    cut = reason.encode()[: LONGEST_CONTROL - 2].decode(errors="ignore")
    return code.to_bytes(2, "big") + cut.encode()


def parse_close(payload: bytes) -> tuple[int, str]:
    """Code and reason of a close frame; 1005 where it has none (RFC 6455, section 7.1.5).

    Raises:
        PeerError: 1002 for a code that may not be sent or half a code, 1007 for a reason that is not UTF-8.
    """
    if not payload:
        return NO_STATUS, ""
    code = int.from_bytes(payload[:2], "big")
    if len(payload) < 2 or not _is_close_code(code):
        raise PeerError(PROTOCOL_ERROR, f"invalid close code {code}")
    try:
        return code, payload[2:].decode()
    except UnicodeDecodeError as error:
        raise PeerError(INVALID_DATA, "close reason is not UTF-8") from error


def _is_close_code(code: int) -> bool:
    return code in _CLOSE_CODES or 3000 <= code <= 4999


class _Frame:
    """The frame whose payload is arriving."""

    __slots__ = ("control", "fin", "mask", "opcode", "remaining")

    def __init__(self, first_byte: int, remaining: int, mask: bytes) -> None:
        self.fin = bool(first_byte & FIN)
        self.opcode = first_byte & 0x0F
        self.remaining = remaining
        self.mask = mask
        self.control = bytearray() if self.opcode >= CLOSE else None

    def unmask(self, chunk: bytes) -> bytes:
        """The chunk's plain bytes; the mask turns so that the next chunk goes on where this one ended."""
        self.remaining -= len(chunk)
        if not self.mask or not chunk:
            return chunk
        plain = apply_mask(chunk, self.mask)
        turn = len(chunk) % 4
        self.mask = self.mask[turn:] + self.mask[:turn]
        return plain


# Of a message: so many fragments, and one more for each so many bytes. Beyond it is an attack: others wait meanwhile.
FREE_FRAGMENTS: Final = 1024
LEAST_FRAGMENT_BYTES: Final = 16


class _Unfinished:
    """The message whose frames are arriving: one buffer, however many fragments."""

    __slots__ = ("compressed", "data", "fragments", "opcode", "utf8")

    def __init__(self, opcode: int, compressed: bool) -> None:
        self.opcode = opcode
        self.compressed = compressed
        self.data = bytearray()
        self.fragments = 0
        self.utf8 = _utf8_decoder() if opcode == TEXT and not compressed else None

    def append(self, chunk: bytes, final: bool) -> None:
        self.data += chunk
        if self.utf8 is not None:  # fail at the first bad byte, not at the message's end (RFC 6455, section 8.1)
            try:
                self.utf8.decode(chunk, final)
            except UnicodeDecodeError as error:
                raise PeerError(INVALID_DATA, "text is not UTF-8") from error
            waiting = self.utf8.getstate()[0]
            if waiting[:1] == b"\xed" and waiting[1:] >= b"\xa0":  # half a surrogate; the decoder waits for the rest
                raise PeerError(INVALID_DATA, "text is not UTF-8")


class WebSocket:
    """One side of a connection.

    Attributes:
        close_sent: our close frame is on its way; data must not follow it.
        ended: the peer's close frame has come, or it broke the protocol; nothing more is read.

    Args:
        max_message_bytes: the longest message taken, before and after inflating.
        new_mask: for a client: makes the four unpredictable bytes that mask a frame. A server has none.
        inflater: where permessage-deflate was agreed upon.
        deflater: the same for what is sent.
    """

    __slots__ = (
        "_deflater",
        "_frame",
        "_inflater",
        "_mask_bit",
        "_max_bytes",
        "_new_mask",
        "_rest",
        "_short_header",
        "_unfinished",
        "close_sent",
        "ended",
    )

    def __init__(
        self,
        max_message_bytes: int,
        *,
        new_mask: Callable[[], bytes] | None = None,
        inflater: Inflater | None = None,
        deflater: Deflater | None = None,
    ) -> None:
        self._max_bytes = max_message_bytes
        self._new_mask = new_mask
        self._mask_bit = 0 if new_mask else MASKED
        self._short_header = 2 if new_mask else 6
        self._inflater = inflater
        self._deflater = deflater
        self._rest = b""
        self._frame: _Frame | None = None
        self._unfinished: _Unfinished | None = None
        self.close_sent = False
        self.ended = False

    @property
    def outstanding(self) -> int:
        """How many bytes of a frame that has begun are still to come; 0 between frames."""
        return 0 if self._frame is None else self._frame.remaining

    def receive_data(self, data: bytes) -> Iterator[Message]:
        """What the peer's bytes complete, in order. Nothing is read behind a close frame or a violation.

        Raises:
            PeerError: after the messages before it: the protocol is violated, and the connection must be failed.
        """
        try:
            yield from self._receive(data)
        except PeerError:
            self.ended = True
            raise

    def _receive(self, data: bytes) -> Iterator[Message]:
        if self._rest:
            data, self._rest = self._rest + data, b""
        position, end = 0, len(data)
        while position < end and not self.ended:
            if self._frame is None:
                stop = self._whole_message_end(data, position)
                if stop:  # the usual case at a third of the cost; benchmark P3
                    opcode = data[position] & 0x0F
                    payload = data[position + self._short_header : stop]
                    if self._mask_bit:
                        payload = apply_mask(payload, data[position + 2 : position + 6])
                    if opcode == TEXT and not payload.isascii():
                        _check_utf8(payload)
                    position = stop
                    yield opcode, payload
                    continue
                start = self._begin_frame(data, position)
                if not start:
                    self._rest = data[position:]
                    return
                position = start
            frame = self._frame
            assert frame is not None
            chunk = data[position : position + frame.remaining]
            position += len(chunk)
            message = self._receive_payload(frame, chunk)
            if message is not None:
                yield message

    def _whole_message_end(self, data: bytes, position: int) -> int:
        """Where the frame at `position` ends if it is a whole short message that lies in `data`; else 0."""
        if len(data) < position + 2:
            return 0
        size = data[position + 1] ^ self._mask_bit
        if data[position] not in _WHOLE:
            if data[position] not in _WHOLE_CONTROL or size > LONGEST_CONTROL:
                return 0
        elif self._unfinished is not None or size > LONGEST_CONTROL or size > self._max_bytes:
            return 0
        stop = position + self._short_header + size
        return stop if stop <= len(data) else 0

    def _begin_frame(self, data: bytes, position: int) -> int:
        """Reads a frame's header; where its payload begins, or 0 while the header is not all there."""
        if len(data) < position + 2:
            return 0
        first, second = data[position], data[position + 1]
        self._check_header(first, second)
        size = second & 0x7F
        position += 2
        if size >= 126:
            extended = 2 if size == 126 else 8
            if len(data) < position + extended:
                return 0
            size = int.from_bytes(data[position : position + extended], "big")
            position += extended
        self._check_size(first, size)
        if self._mask_bit:
            if len(data) < position + 4:
                return 0
            position += 4
        self._frame = _Frame(first, size, data[position - 4 : position] if self._mask_bit else b"")
        if self._frame.control is None:
            self._begin_data(first)
        return position

    def _check_header(self, first: int, second: int) -> None:
        opcode = first & 0x0F
        if opcode not in _OPCODES:
            raise PeerError(PROTOCOL_ERROR, f"reserved opcode {opcode:#x}")
        if first & RSV2_AND_3 or (first & RSV1 and (self._inflater is None or opcode not in (TEXT, BINARY))):
            raise PeerError(PROTOCOL_ERROR, "reserved bits are set")
        if second & MASKED != self._mask_bit:
            raise PeerError(PROTOCOL_ERROR, "a client must mask, a server must not")
        if opcode >= CLOSE:
            if not first & FIN or second & 0x7F > LONGEST_CONTROL:
                raise PeerError(PROTOCOL_ERROR, "a control frame is fragmented or longer than 125 bytes")
        elif (opcode == CONTINUATION) != (self._unfinished is not None):
            raise PeerError(PROTOCOL_ERROR, "a continuation without a start, or a start inside a message")

    def _check_size(self, first: int, size: int) -> None:
        """Refuses a message that is too long before anything is allocated for it."""
        if size >> 63:
            raise PeerError(PROTOCOL_ERROR, "the length's highest bit is set")
        if first & 0x0F >= CLOSE:
            return
        held = self._unfinished
        total = size + (len(held.data) if held else 0)
        if total > self._max_bytes:
            raise PeerError(MESSAGE_TOO_BIG, f"message longer than {self._max_bytes} bytes (max_message_bytes)")
        # A fragment of a byte is as much work as one of a thousand, and an empty one costs its sender next to nothing.
        if held and held.fragments > FREE_FRAGMENTS + len(held.data) // LEAST_FRAGMENT_BYTES:
            raise PeerError(MESSAGE_TOO_BIG, "message in too many fragments for its size")

    def _begin_data(self, first: int) -> None:
        if self._unfinished is None:
            self._unfinished = _Unfinished(first & 0x0F, bool(first & RSV1))
        self._unfinished.fragments += 1

    def _receive_payload(self, frame: _Frame, chunk: bytes) -> Message | None:
        plain = frame.unmask(chunk)
        if frame.control is not None:
            frame.control += plain
            return None if frame.remaining else self._end_control(frame.opcode, bytes(frame.control))
        unfinished = self._unfinished
        assert unfinished is not None
        final = frame.fin and not frame.remaining
        unfinished.append(plain, final)
        if not frame.remaining:
            self._frame = None
        return self._end_message(unfinished) if final else None

    def _end_control(self, opcode: int, payload: bytes) -> Message:
        self._frame = None
        if opcode == CLOSE:
            parse_close(payload)
            self.ended = True
        return opcode, payload

    def _end_message(self, unfinished: _Unfinished) -> Message:
        self._unfinished = None
        payload = bytes(unfinished.data)
        if unfinished.compressed:
            assert self._inflater is not None
            payload = self._inflater.inflate(payload, self._max_bytes)
            if unfinished.opcode == TEXT:
                _check_utf8(payload)
        return unfinished.opcode, payload

    def send_message(self, opcode: int, payload: bytes) -> bytes:
        """The bytes of a frame with this whole message, ping or pong; deflated where that was agreed upon."""
        first = FIN | opcode
        if self._deflater is not None and opcode < CLOSE:
            payload, first = self._deflater.deflate(payload), first | RSV1
        return encode_frame(first, payload, self._new_mask() if self._new_mask else b"")

    def send_close(self, code: int, reason: str = "") -> bytes:
        """The bytes of the close frame; none when one was sent before. 1005 sends it without a code."""
        if self.close_sent:
            return b""
        payload = b"" if code == NO_STATUS else encode_close(code, reason)
        self.close_sent = True
        return encode_frame(FIN | CLOSE, payload, self._new_mask() if self._new_mask else b"")


def _check_utf8(payload: bytes) -> None:
    try:
        payload.decode()
    except UnicodeDecodeError as error:
        raise PeerError(INVALID_DATA, "text is not UTF-8") from error
