"""wire.websocket: frames to messages and back, for both sides, without a socket."""

from __future__ import annotations

import pytest

from hubbub.errors import LocalError, PeerError
from hubbub.wire.deflate import Deflater, Inflater
from hubbub.wire.websocket import (
    BINARY,
    CLOSE,
    CONTINUATION,
    FIN,
    NO_STATUS,
    PING,
    PONG,
    RSV1,
    TEXT,
    Message,
    WebSocket,
    apply_mask,
    encode_close,
    encode_frame,
    parse_close,
)

MASK = b"\x37\xfa\x21\x3d"


def masked(first_byte: int, payload: bytes = b"") -> bytes:
    return encode_frame(first_byte, payload, MASK)


def server(
    max_message_bytes: int = 1000, *, inflater: Inflater | None = None, deflater: Deflater | None = None
) -> WebSocket:
    return WebSocket(max_message_bytes, inflater=inflater, deflater=deflater)


def client() -> WebSocket:
    return WebSocket(1000, new_mask=lambda: MASK)


def receive(wire: WebSocket, *chunks: bytes) -> list[Message]:
    return [message for chunk in chunks for message in wire.receive_data(chunk)]


def failure(wire: WebSocket, *chunks: bytes) -> int:
    with pytest.raises(PeerError) as caught:
        receive(wire, *chunks)
    return caught.value.code


# Frames


def test_the_mask_is_the_one_of_the_rfc() -> None:  # RFC 6455, section 5.7
    assert apply_mask(b"Hello", MASK) == b"\x7f\x9f\x4d\x51\x58"


def test_masking_twice_changes_nothing() -> None:
    assert apply_mask(apply_mask(b"any bytes", MASK), MASK) == b"any bytes"


def test_nothing_masked_is_nothing() -> None:
    assert apply_mask(b"", MASK) == b""


def test_an_unmasked_frame_is_the_one_of_the_rfc() -> None:
    assert encode_frame(FIN | TEXT, b"Hello") == b"\x81\x05Hello"


def test_a_masked_frame_is_the_one_of_the_rfc() -> None:
    assert masked(FIN | TEXT, b"Hello") == b"\x81\x85\x37\xfa\x21\x3d\x7f\x9f\x4d\x51\x58"


@pytest.mark.parametrize(
    ("size", "header"),
    [
        (0, b"\x82\x00"),
        (125, b"\x82\x7d"),
        (126, b"\x82\x7e\x00\x7e"),
        (256, b"\x82\x7e\x01\x00"),
        (65535, b"\x82\x7e\xff\xff"),
        (65536, b"\x82\x7f\x00\x00\x00\x00\x00\x01\x00\x00"),
    ],
)
def test_a_length_takes_as_few_bytes_as_it_can(size: int, header: bytes) -> None:
    payload = bytes(size)
    assert encode_frame(FIN | BINARY, payload) == header + payload


# Close payloads


def test_a_close_payload_is_a_code_and_a_reason() -> None:
    assert encode_close(1000, "bye") == b"\x03\xe8bye"


def test_a_reason_that_is_too_long_is_cut_at_a_character() -> None:
    assert encode_close(1000, "é" * 100) == b"\x03\xe8" + "é".encode() * 61


@pytest.mark.parametrize("code", [0, 999, 1004, 1005, 1006, 1015, 1016, 2999, 5000, 65536])
def test_a_code_that_must_not_travel_is_not_encoded(code: int) -> None:
    with pytest.raises(LocalError, match=f"close code {code} "):
        encode_close(code)


def test_no_close_payload_means_no_status() -> None:
    assert parse_close(b"") == (NO_STATUS, "")


@pytest.mark.parametrize("code", [1000, 1003, 1007, 1011, 1014, 3000, 3999, 4000, 4999])
def test_a_code_that_may_travel_is_parsed(code: int) -> None:
    assert parse_close(code.to_bytes(2, "big") + "é".encode()) == (code, "é")


@pytest.mark.parametrize("code", [0, 999, 1004, 1005, 1006, 1015, 1016, 2999, 5000, 65535])
def test_a_code_that_must_not_travel_is_a_violation(code: int) -> None:
    with pytest.raises(PeerError, match="1002: invalid close code"):
        parse_close(code.to_bytes(2, "big"))


def test_half_a_close_code_is_a_violation() -> None:
    with pytest.raises(PeerError, match="1002"):
        parse_close(b"\x03")


def test_a_reason_that_is_not_utf8_is_invalid_data() -> None:
    with pytest.raises(PeerError, match="1007"):
        parse_close(b"\x03\xe8\xff")


# Receiving


def test_a_server_takes_a_masked_text() -> None:
    assert receive(server(), masked(FIN | TEXT, b"Hello")) == [(TEXT, b"Hello")]


def test_a_client_takes_an_unmasked_text() -> None:
    assert receive(client(), b"\x81\x05Hello") == [(TEXT, b"Hello")]


def test_a_server_refuses_an_unmasked_frame() -> None:
    assert failure(server(), b"\x81\x05Hello") == 1002


def test_a_client_refuses_a_masked_frame() -> None:
    assert failure(client(), masked(FIN | TEXT, b"Hello")) == 1002


def test_several_frames_of_one_read_come_in_order() -> None:
    data = masked(FIN | TEXT, b"a") + masked(FIN | PING, b"b") + masked(FIN | BINARY, b"c")
    assert receive(server(), data) == [(TEXT, b"a"), (PING, b"b"), (BINARY, b"c")]


def test_a_frame_may_arrive_in_single_bytes() -> None:
    data = masked(FIN | BINARY, bytes(range(256)))
    assert receive(server(), *(bytes((byte,)) for byte in data)) == [(BINARY, bytes(range(256)))]


def test_a_chunk_may_end_inside_of_the_next_header() -> None:
    data = masked(FIN | TEXT, b"a") + masked(FIN | BINARY, bytes(300))
    assert receive(server(), data[:10], data[10:]) == [(TEXT, b"a"), (BINARY, bytes(300))]


def test_fragments_are_joined() -> None:
    data = masked(TEXT, b"He") + masked(CONTINUATION, b"ll") + masked(FIN | CONTINUATION, b"o")
    assert receive(server(), data) == [(TEXT, b"Hello")]


def test_control_frames_may_stand_between_fragments() -> None:
    data = masked(TEXT, b"a") + masked(FIN | PONG, b"p") + masked(FIN | CONTINUATION, b"b")
    assert receive(server(), data) == [(PONG, b"p"), (TEXT, b"ab")]


def test_an_empty_message_is_a_message() -> None:
    assert receive(server(), masked(FIN | TEXT)) == [(TEXT, b"")]


def test_fragments_without_bytes_are_an_empty_message() -> None:
    assert receive(server(), masked(BINARY) + masked(FIN | CONTINUATION)) == [(BINARY, b"")]


def test_messages_of_one_read_come_before_its_violation() -> None:
    messages = server().receive_data(masked(FIN | TEXT, b"a") + masked(FIN | 0x3))
    assert next(messages) == (TEXT, b"a")
    with pytest.raises(PeerError, match="1002: reserved opcode 0x3"):
        next(messages)


def test_nothing_is_received_after_a_violation() -> None:
    wire = server()
    assert failure(wire, masked(FIN | 0x3)) == 1002
    assert receive(wire, masked(FIN | TEXT, b"a")) == []


def test_nothing_is_received_behind_a_close() -> None:
    wire = server()
    data = masked(FIN | CLOSE) + masked(FIN | TEXT, b"a")
    assert receive(wire, data, data) == [(CLOSE, b"")]
    assert wire.ended


@pytest.mark.parametrize("first_byte", [FIN | TEXT | 0x40, FIN | TEXT | 0x20, FIN | TEXT | 0x10, FIN | PING | 0x40])
def test_reserved_bits_are_refused(first_byte: int) -> None:
    assert failure(server(), masked(first_byte)) == 1002


@pytest.mark.parametrize("opcode", [0x3, 0x4, 0x5, 0x6, 0x7, 0xB, 0xC, 0xD, 0xE, 0xF])
def test_reserved_opcodes_are_refused(opcode: int) -> None:
    assert failure(server(), masked(FIN | opcode)) == 1002


def test_a_control_frame_has_at_most_125_bytes() -> None:
    assert receive(server(), masked(FIN | PING, bytes(125))) == [(PING, bytes(125))]
    assert failure(server(), masked(FIN | PING, bytes(126))) == 1002


@pytest.mark.parametrize("opcode", [CLOSE, PING, PONG])
def test_a_control_frame_is_not_fragmented(opcode: int) -> None:
    assert failure(server(), masked(opcode)) == 1002


def test_a_continuation_needs_a_start() -> None:
    assert failure(server(), masked(FIN | CONTINUATION, b"a")) == 1002


def test_a_message_does_not_start_inside_of_another() -> None:
    assert failure(server(), masked(TEXT, b"a"), masked(FIN | TEXT, b"b")) == 1002


def test_the_length_has_63_bits() -> None:
    assert failure(server(), b"\x82\xff\x80" + bytes(7)) == 1002


# Limits


def test_a_message_may_be_as_long_as_the_limit() -> None:
    assert receive(server(200), masked(FIN | BINARY, bytes(200))) == [(BINARY, bytes(200))]


def test_a_longer_one_is_refused_before_its_payload_arrives() -> None:
    assert failure(server(200), b"\x82\xfe\x00\xc9") == 1009


def test_a_small_limit_holds_for_short_frames() -> None:
    assert failure(server(3), masked(FIN | TEXT, b"four")) == 1009


def test_the_limit_holds_for_all_fragments_together() -> None:
    wire = server(5)
    assert receive(wire, masked(BINARY, b"123")) == []
    assert failure(wire, masked(FIN | CONTINUATION, b"456")[:2]) == 1009


def test_control_frames_do_not_count_towards_a_message() -> None:
    data = masked(BINARY, b"12") + masked(FIN | PING, bytes(100)) + masked(FIN | CONTINUATION, b"3")
    assert receive(server(3), data) == [(PING, bytes(100)), (BINARY, b"123")]


def test_fragments_without_bytes_cannot_go_on_for_ever() -> None:
    wire = server()
    assert receive(wire, masked(BINARY) + masked(CONTINUATION) * 1_024) == []
    assert failure(wire, masked(CONTINUATION)) == 1009


def test_a_long_message_may_come_in_more_fragments() -> None:
    data = masked(BINARY, b"a") + masked(CONTINUATION, b"a" * 16) * 3_000 + masked(FIN | CONTINUATION)
    assert receive(server(65_536), data) == [(BINARY, b"a" * 48_001)]


# UTF-8


def test_text_that_is_not_utf8_is_refused() -> None:
    assert failure(server(), masked(FIN | TEXT, b"\xff")) == 1007


def test_bytes_need_not_be_utf8() -> None:
    assert receive(server(), masked(FIN | BINARY, b"\xff")) == [(BINARY, b"\xff")]


def test_a_character_may_be_split_over_fragments() -> None:
    data = masked(TEXT, b"\xc3") + masked(FIN | CONTINUATION, b"\xa9")
    assert receive(server(), data) == [(TEXT, b"\xc3\xa9")]


def test_a_character_must_be_whole_at_the_end() -> None:
    assert failure(server(), masked(TEXT, b"\xc3"), masked(FIN | CONTINUATION)) == 1007


def test_a_bad_byte_is_refused_before_the_frame_is_whole() -> None:
    data = masked(FIN | TEXT, b"ok \xed\xa0 and much more")
    assert receive(server(), data[:10]) == []
    assert failure(server(), data[:11]) == 1007


# Deflate


def test_a_compressed_message_is_inflated() -> None:
    data = masked(FIN | RSV1 | TEXT, b"\xf2\x48\xcd\xc9\xc9\x07\x00")  # RFC 7692, section 7.2.3.1
    assert receive(server(inflater=Inflater()), data) == [(TEXT, b"Hello")]


def test_a_compressed_message_may_be_fragmented() -> None:
    data = masked(RSV1 | TEXT, b"\xf2\x48\xcd") + masked(FIN | CONTINUATION, b"\xc9\xc9\x07\x00")
    assert receive(server(inflater=Inflater()), data) == [(TEXT, b"Hello")]


def test_an_uncompressed_message_passes_beside_compressed_ones() -> None:
    assert receive(server(inflater=Inflater()), masked(FIN | TEXT, b"Hello")) == [(TEXT, b"Hello")]


def test_only_the_first_fragment_says_that_it_is_compressed() -> None:
    wire = server(inflater=Inflater())
    assert failure(wire, masked(RSV1 | TEXT, b"\xf2"), masked(FIN | RSV1 | CONTINUATION, b"\x48")) == 1002


def test_compressed_text_must_be_utf8() -> None:
    data = masked(FIN | RSV1 | TEXT, Deflater().deflate(b"\xff"))
    assert failure(server(inflater=Inflater()), data) == 1007


def test_the_limit_holds_after_inflating() -> None:
    data = masked(FIN | RSV1 | BINARY, Deflater().deflate(bytes(1001)))
    assert failure(server(inflater=Inflater()), data) == 1009


# Sending


def test_a_server_sends_unmasked() -> None:
    assert server().send_message(TEXT, b"Hello") == b"\x81\x05Hello"


def test_a_client_masks_each_frame_anew() -> None:
    masks = iter([b"abcd", b"efgh"])
    wire = WebSocket(1000, new_mask=lambda: next(masks))
    sent = wire.send_message(TEXT, b"a"), wire.send_message(PING, b"b")
    assert sent == (encode_frame(FIN | TEXT, b"a", b"abcd"), encode_frame(FIN | PING, b"b", b"efgh"))


def test_messages_are_deflated_where_agreed_upon() -> None:
    sent = server(deflater=Deflater()).send_message(TEXT, b"Hello")
    assert sent == encode_frame(FIN | RSV1 | TEXT, Deflater().deflate(b"Hello"))


def test_control_frames_are_never_deflated() -> None:
    assert server(deflater=Deflater()).send_message(PONG, b"Hello") == b"\x8a\x05Hello"


def test_the_close_frame_is_sent_once() -> None:
    wire = server()
    assert wire.send_close(1000, "bye") == b"\x88\x05\x03\xe8bye"
    assert wire.close_sent
    assert wire.send_close(1001) == b""


def test_a_close_frame_without_status_is_empty() -> None:
    assert server().send_close(NO_STATUS) == b"\x88\x00"


def test_a_clients_close_frame_is_masked() -> None:
    assert client().send_close(1000) == masked(FIN | CLOSE, b"\x03\xe8")


def test_a_close_code_that_is_refused_leaves_the_connection_open() -> None:
    wire = server()
    with pytest.raises(LocalError):
        wire.send_close(999)
    assert not wire.close_sent


def test_a_message_in_pieces_is_collected_in_one_buffer() -> None:
    """A buffer that is copied with every piece would cost four times as much for twice the bytes."""
    wire = server(1 << 20)
    list(wire.receive_data(masked(TEXT, b"a")))
    assert wire._unfinished is not None
    buffer = wire._unfinished.data
    for _ in range(1000):
        list(wire.receive_data(masked(CONTINUATION, b"a" * 999)[:-1]))
        list(wire.receive_data(b"a"))
    assert wire._unfinished.data is buffer
    assert len(buffer) == 1 + 1000 * 999
