"""Frames that RFC 6455 forbids: the connection fails with the right code, and nothing behind them is carried out."""

from collections.abc import Iterable

import pytest

from hubbub.wire.deflate import Inflater
from hubbub.wire.websocket import BINARY, CLOSE, CONTINUATION, FIN, PING, PONG, RSV1, TEXT, WebSocket, encode_frame
from tests.support.peer import MASK, Peer, command, frame, text
from tests.support.server import Server

PING_COMMAND = b'{"type":"ping","id":1}'
DEFLATE = "permessage-deflate"


def fail(server: Server, *pieces: bytes, extensions: str = "") -> int:
    """The code with which the server closes after these bytes, each piece a TCP segment where that can be had."""
    with Peer(server.port) as peer:
        peer.wire = WebSocket(1 << 20, new_mask=lambda: MASK, inflater=Inflater())
        peer.open(extensions=extensions)
        for piece in pieces:
            peer.send(piece)
        return peer.close_code()


def answered(server: Server, pieces: Iterable[bytes]) -> bool:
    """Whether these bytes, a `ping` command among them, are answered as they should be."""
    with Peer(server.port) as peer:
        peer.open()
        for piece in pieces:
            peer.send(piece)
        return bool(peer.event("ok")["id"] == 1)


def header(first_byte: int, size: int, mask: bytes = MASK) -> bytes:
    """A masked frame's header alone, its length in 64 bits."""
    return bytes((first_byte, 0xFF)) + size.to_bytes(8, "big") + mask


# Row 13

FORBIDDEN = {
    "an unmasked text": encode_frame(FIN | TEXT, PING_COMMAND),
    "an unmasked binary": encode_frame(FIN | BINARY, PING_COMMAND),
    "an unmasked empty text": encode_frame(FIN | TEXT, b""),
    "an unmasked ping": encode_frame(FIN | PING, b""),
    "an unmasked pong": encode_frame(FIN | PONG, b""),
    "an unmasked close": encode_frame(FIN | CLOSE, b"\x03\xe8"),
    "an unmasked first fragment": encode_frame(TEXT, PING_COMMAND),
    "only the header of an unmasked frame": encode_frame(FIN | TEXT, PING_COMMAND)[:2],
    "RSV1": frame(FIN | RSV1 | TEXT, PING_COMMAND),
    "RSV2": frame(FIN | 0x20 | TEXT, PING_COMMAND),
    "RSV3": frame(FIN | 0x10 | TEXT, PING_COMMAND),
    "RSV1 to 3": frame(FIN | 0x70 | TEXT, PING_COMMAND),
    "RSV1 on a ping": frame(FIN | RSV1 | PING, b""),
    "RSV2 on a close": frame(FIN | 0x20 | CLOSE, b"\x03\xe8"),
    **{f"opcode {opcode:#x}": frame(FIN | opcode, PING_COMMAND) for opcode in (3, 4, 5, 6, 7)},
    **{f"opcode {opcode:#x}": frame(FIN | opcode, b"") for opcode in (0xB, 0xC, 0xD, 0xE, 0xF)},
}
FORBIDDEN_DEFLATED = {
    "RSV1 on a ping": frame(FIN | RSV1 | PING, b""),
    "RSV1 on a close": frame(FIN | RSV1 | CLOSE, b"\x03\xe8"),
    "RSV1 on a continuation": frame(RSV1 | TEXT, b"") + frame(FIN | RSV1 | CONTINUATION, b""),
    "RSV1 only on a continuation": frame(TEXT, b"") + frame(FIN | RSV1 | CONTINUATION, b""),
    "RSV2": frame(FIN | 0x20 | TEXT, PING_COMMAND),
    "RSV1 and RSV3": frame(FIN | RSV1 | 0x10 | TEXT, PING_COMMAND),
}


@pytest.mark.parametrize("data", FORBIDDEN.values(), ids=FORBIDDEN)
def test_row_13_a_frame_that_is_unmasked_or_reserved_is_1002(server: Server, data: bytes) -> None:
    assert fail(server, data) == 1002


@pytest.mark.parametrize("data", FORBIDDEN_DEFLATED.values(), ids=FORBIDDEN_DEFLATED)
def test_row_13_bits_that_the_extension_leaves_reserved_are_1002(server: Server, data: bytes) -> None:
    assert fail(server, data, extensions=DEFLATE) == 1002


@pytest.mark.parametrize("data", FORBIDDEN.values(), ids=FORBIDDEN)
def test_row_13_what_follows_a_forbidden_frame_is_not_carried_out(server: Server, data: bytes, room: str) -> None:
    with Peer(server.port) as attacker, Peer(server.port) as other:
        attacker.join(room, "attacker")
        other.join(room, "other")
        attacker.send(data + command(type="message", text="unheard"))
        assert attacker.close_code() == 1002
        assert other.event()["type"] == "user_left"
        other.send(command(type="message", text="heard"))
        assert other.event("message")["text"] == "heard"


# Row 14

CONTROLS = pytest.mark.parametrize("opcode", [CLOSE, PING, PONG], ids=["close", "ping", "pong"])


@CONTROLS
@pytest.mark.parametrize("size", [126, 127, 65536])
def test_row_14_a_control_frame_over_125_bytes_is_1002(server: Server, opcode: int, size: int) -> None:
    assert fail(server, frame(FIN | opcode, b"\x03\xe8" + b"a" * (size - 2))) == 1002


@CONTROLS
@pytest.mark.parametrize("length", [b"\x00\x02", b"\x00\x00\x00\x00\x00\x00\x00\x02"], ids=["16 bit", "64 bit"])
def test_row_14_a_short_control_frame_with_a_long_length_is_1002(server: Server, opcode: int, length: bytes) -> None:
    marker = 0x80 | (126 if len(length) == 2 else 127)
    assert fail(server, bytes((FIN | opcode, marker)) + length + MASK + b"ab") == 1002


@CONTROLS
def test_row_14_a_fragmented_control_frame_is_1002(server: Server, opcode: int) -> None:
    assert fail(server, frame(opcode, b"\x03\xe8"), frame(FIN | CONTINUATION, b"")) == 1002


# Row 15

LONGEST = 65536


@pytest.mark.parametrize("size", [LONGEST + 1, 1 << 31, 1 << 32, 1 << 62, (1 << 63) - 1])
@pytest.mark.parametrize("first_byte", [FIN | TEXT, FIN | BINARY, TEXT], ids=["text", "binary", "fragment"])
def test_row_15_a_length_over_the_limit_is_1009_at_its_header(server: Server, first_byte: int, size: int) -> None:
    assert fail(server, header(first_byte, size)) == 1009


@pytest.mark.parametrize("size", [1 << 63, (1 << 64) - 1])
def test_row_15_a_length_with_the_highest_bit_set_is_1002(server: Server, size: int) -> None:
    assert fail(server, header(FIN | TEXT, size)) == 1002


def test_row_15_fragments_that_come_to_more_than_the_limit_are_1009_at_the_header(server: Server) -> None:
    assert fail(server, frame(TEXT, b"a" * LONGEST), header(FIN | CONTINUATION, 1)) == 1009


def test_row_15_a_message_of_just_the_limit_is_taken(server: Server) -> None:
    assert answered(server, [text(PING_COMMAND.decode().ljust(LONGEST))])


# Row 16

OUT_OF_ORDER = {
    "a continuation first": frame(FIN | CONTINUATION, PING_COMMAND),
    "an unfinished continuation first": frame(CONTINUATION, PING_COMMAND),
    "a continuation behind a whole message": text("{}") + frame(FIN | CONTINUATION, b""),
    "a continuation behind a ping": frame(FIN | PING, b"") + frame(FIN | CONTINUATION, b""),
    "a whole message inside": frame(TEXT, PING_COMMAND) + text("{}"),
    "a binary message inside": frame(TEXT, PING_COMMAND) + frame(FIN | BINARY, b""),
    "a new first fragment inside": frame(TEXT, PING_COMMAND) + frame(TEXT, b""),
    "a message inside, behind a ping": frame(TEXT, b"") + frame(FIN | PING, b"") + text("{}"),
}


@pytest.mark.parametrize("data", OUT_OF_ORDER.values(), ids=OUT_OF_ORDER)
def test_row_16_fragments_out_of_order_are_1002(server: Server, data: bytes) -> None:
    assert fail(server, data) == 1002


# Row 20

NOT_UTF8 = {
    "a continuation byte": b"\x80",
    "an overlong slash": b"\xc0\xaf",
    "an overlong slash in three bytes": b"\xe0\x80\xaf",
    "an overlong slash in four bytes": b"\xf0\x80\x80\xaf",
    "an overlong NUL": b"\xc0\x80",
    "a high surrogate": b"\xed\xa0\x80",
    "a low surrogate": b"\xed\xbf\xbf",
    "a pair of surrogates": b"\xed\xa0\x80\xed\xb0\x80",
    "above U+10FFFF": b"\xf4\x90\x80\x80",
    "five bytes": b"\xf8\x88\x80\x80\x80",
    "FE": b"\xfe",
    "FF": b"\xff",
    "a start byte before ASCII": b"\xc3a",
}
KINDS = pytest.mark.parametrize("bad", NOT_UTF8.values(), ids=NOT_UTF8)


@KINDS
def test_row_20_a_text_that_is_not_utf_8_is_1007(server: Server, bad: bytes) -> None:
    assert fail(server, frame(FIN | TEXT, b'{"type":"' + bad + b'"}')) == 1007


@KINDS
def test_row_20_a_text_that_is_not_utf_8_is_1007_before_the_frame_ends(server: Server, bad: bytes) -> None:
    assert fail(server, frame(FIN | TEXT, b"a" + bad + b"a" * 60000)[: 8 + 1 + len(bad)]) == 1007


@KINDS
def test_row_20_bytes_split_across_fragments_that_are_not_utf_8_are_1007_before_the_end(
    server: Server, bad: bytes
) -> None:
    pieces = [frame(TEXT, b"\xe2\x82"), frame(CONTINUATION, b"\xac")]
    assert fail(server, *pieces, *(frame(CONTINUATION, bytes((byte,))) for byte in bad)) == 1007


@pytest.mark.parametrize("cut", [b"\xc3", b"\xe2\x82", b"\xf0\x9f\x98"])
def test_row_20_a_character_cut_off_by_the_end_of_the_message_is_1007(server: Server, cut: bytes) -> None:
    assert fail(server, frame(FIN | TEXT, b"a" + cut)) == 1007
    assert fail(server, frame(TEXT, b"a"), frame(FIN | CONTINUATION, cut)) == 1007


def test_row_20_a_text_inflated_to_what_is_not_utf_8_is_1007(server: Server) -> None:
    stored = b"\x00\x02\x00\xfd\xff\xed\xa0"  # a block that is not compressed (RFC 1951, section 3.2.4)
    assert fail(server, frame(FIN | RSV1 | TEXT, stored + b"\x00"), extensions=DEFLATE) == 1007


# Row 21

NEVER_SENT = [0, 1, 999, 1004, 1005, 1006, 1015, 1016, 1100, 2000, 2999, 5000, 65535]
BAD_REASONS = NOT_UTF8 | {"a character cut off": b"\xe2\x82"}


@pytest.mark.parametrize("code", NEVER_SENT)
def test_row_21_a_close_with_a_code_that_never_travels_is_1002(server: Server, code: int) -> None:
    assert fail(server, frame(FIN | CLOSE, code.to_bytes(2, "big") + b"bye")) == 1002


def test_row_21_a_close_with_half_a_code_is_1002(server: Server) -> None:
    assert fail(server, frame(FIN | CLOSE, b"\x03")) == 1002


@pytest.mark.parametrize("reason", BAD_REASONS.values(), ids=BAD_REASONS)
def test_row_21_a_close_with_a_reason_that_is_not_utf_8_is_1007(server: Server, reason: bytes) -> None:
    assert fail(server, frame(FIN | CLOSE, b"\x03\xe8" + reason)) == 1007


@pytest.mark.parametrize("code", [1000, 1001, 1003, 1014, 3000, 4999])
def test_row_21_nothing_is_carried_out_behind_a_close(server: Server, code: int, room: str) -> None:
    with Peer(server.port) as attacker, Peer(server.port) as other:
        attacker.join(room, "attacker")
        other.join(room, "other")
        attacker.send(frame(FIN | CLOSE, code.to_bytes(2, "big")) + command(type="message", text="unheard"))
        assert attacker.close_code() == code
        assert other.event()["type"] == "user_left"
        other.send(command(type="message", text="heard"))
        assert other.event("message")["text"] == "heard"
