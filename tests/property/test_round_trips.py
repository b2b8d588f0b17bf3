"""wire: what one side writes is what the other side reads."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import msgspec
from hypothesis import given
from hypothesis import strategies as st

from hubbub.errors import HandshakeError
from hubbub.wire.codec import EVENT, FrameCodec
from hubbub.wire.deflate import Deflate, Deflater, Inflater, accept_answer, accept_offer
from hubbub.wire.handshake import (
    accept_key,
    choose_subprotocol,
    encode_accept,
    encode_request,
    read_accept,
    read_upgrade,
)
from hubbub.wire.messages import Command, Event, Join, Leave, Ok, Ping, Presence, RoomInfo
from hubbub.wire.websocket import BINARY, TEXT, Message, WebSocket, apply_mask, encode_close, parse_close
from tests.property.streams import messages

LIMIT = 1 << 20
conversations = st.lists(messages, min_size=1, max_size=4)
masks = st.binary(min_size=4, max_size=4)


def carry(sender: WebSocket, receiver: WebSocket, conversation: list[Message]) -> list[Message]:
    data = b"".join(sender.send_message(opcode, payload) for opcode, payload in conversation)
    return list(receiver.receive_data(data))


# Messages


@given(conversations, masks)
def test_a_server_reads_what_a_client_writes(conversation: list[Message], mask: bytes) -> None:
    assert carry(WebSocket(LIMIT, new_mask=lambda: mask), WebSocket(LIMIT), conversation) == conversation


@given(conversations)
def test_a_client_reads_what_a_server_writes(conversation: list[Message]) -> None:
    assert carry(WebSocket(LIMIT), WebSocket(LIMIT, new_mask=lambda: bytes(4)), conversation) == conversation


@given(conversations, masks, st.booleans(), st.integers(9, 15))
def test_a_server_inflates_what_a_client_deflates(
    conversation: list[Message], mask: bytes, takeover: bool, bits: int
) -> None:
    client = WebSocket(LIMIT, new_mask=lambda: mask, deflater=Deflater(takeover=takeover, window_bits=bits))
    assert carry(client, WebSocket(LIMIT, inflater=Inflater(takeover=takeover)), conversation) == conversation


@given(conversations, st.booleans(), st.integers(9, 15))
def test_a_client_inflates_what_a_server_deflates(conversation: list[Message], takeover: bool, bits: int) -> None:
    server = WebSocket(LIMIT, deflater=Deflater(takeover=takeover, window_bits=bits))
    client = WebSocket(LIMIT, new_mask=lambda: bytes(4), inflater=Inflater(takeover=takeover))
    assert carry(server, client, conversation) == conversation


@given(conversations, conversations, st.integers(9, 15))
def test_a_deflater_without_takeover_serves_two_receivers(one: list[Message], two: list[Message], bits: int) -> None:
    server = WebSocket(LIMIT, deflater=Deflater(window_bits=bits))
    clients = [WebSocket(LIMIT, new_mask=lambda: bytes(4), inflater=Inflater(takeover=True)) for _ in range(2)]
    for first, second in zip(one, two, strict=False):
        assert carry(server, clients[0], [first]) == [first]
        assert carry(server, clients[1], [second]) == [second]


@given(st.binary(max_size=2000), masks)
def test_masking_twice_changes_nothing(data: bytes, mask: bytes) -> None:
    masked = apply_mask(data, mask)
    assert apply_mask(masked, mask) == data
    assert masked == bytes(byte ^ mask[index % 4] for index, byte in enumerate(data))


@given(st.sampled_from([1000, 1001, 1003, 1007, 1014]) | st.integers(3000, 4999), st.text(max_size=200))
def test_a_close_frame_carries_code_and_as_much_of_the_reason_as_fits(code: int, reason: str) -> None:
    payload = encode_close(code, reason)
    assert len(payload) <= 125
    parsed, cut = parse_close(payload)
    assert (parsed, reason.startswith(cut)) == (code, True)
    assert cut == reason or len(payload) > 121


# The handshake

tokens = st.text("abcXYZ019!#$%&'*+-.^_`|~", min_size=1, max_size=12)
agreements = st.builds(
    Deflate,
    server_takeover=st.booleans(),
    client_takeover=st.booleans(),
    server_window_bits=st.none() | st.integers(9, 15),
    client_window_bits=st.none() | st.integers(9, 15),
)


def headers_of(request: bytes) -> list[tuple[bytes, bytes]]:
    lines = request.removesuffix(b"\r\n\r\n").split(b"\r\n")[1:]
    pairs = (line.split(b": ", 1) for line in lines)
    return [(name.lower(), value) for name, value in pairs]


@given(st.lists(tokens, unique=True, max_size=4), st.sampled_from(["", "permessage-deflate", "a; b=1, c"]), st.data())
def test_a_handshake_arrives_on_both_sides(offered: list[str], extensions: str, data: st.DataObject) -> None:
    key = b"dGhlIHNhbXBsZSBub25jZQ=="
    upgrade = read_upgrade("GET", "1.1", headers_of(encode_request("h", "/", key, offered, extensions)))
    assert (upgrade.key, list(upgrade.subprotocols), upgrade.extensions) == (key, offered, extensions)
    chosen = choose_subprotocol(upgrade.subprotocols, offered[-1:])
    answer = read_accept(encode_accept(upgrade, chosen, extensions), key)
    assert answer["sec-websocket-accept"].encode() == accept_key(key)
    assert (answer.get("sec-websocket-protocol"), answer.get("sec-websocket-extensions", "")) == (chosen, extensions)


@given(agreements)
def test_an_agreement_is_read_from_its_header(agreed: Deflate) -> None:
    assert accept_answer(agreed.header()) == agreed


@given(agreements, st.booleans())
def test_a_server_never_takes_more_than_it_is_offered(offer: Deflate, takeover: bool) -> None:
    taken = accept_offer(offer.header(), takeover=takeover)
    assert taken is not None
    assert taken.server_window_bits == offer.server_window_bits
    assert (taken.server_takeover, taken.client_takeover) == (
        takeover and offer.server_takeover,
        takeover and offer.client_takeover,
    )


parameters = st.lists(
    st.builds(
        "{}{}{}".format,
        st.sampled_from(["server_max_window_bits", "client_max_window_bits", "client_no_context_takeover", "x", ""]),
        st.sampled_from(["", "=", " = ", '="']),
        st.sampled_from(["", "8", "9", "15", "16", "1e1", '"9"', "٩"]),
    ),
    max_size=4,
)
offers = st.lists(parameters.map(lambda them: "; ".join(["permessage-deflate", *them])), max_size=3).map(", ".join)


@given(offers | st.text(max_size=100), st.booleans())
def test_any_offer_is_taken_or_declined(offer: str, takeover: bool) -> None:
    taken = accept_offer(offer, takeover=takeover)
    assert taken is None or taken.server_window_bits in (None, *range(9, 16))


def status(read: Callable[..., object], *arguments: object) -> int:
    """The status with which a handshake is refused; 101 when it is not."""
    try:
        read(*arguments)
    except HandshakeError as error:
        return error.status
    return 101


header_names = st.sampled_from(
    [b"sec-websocket-key", b"sec-websocket-version", b"sec-websocket-protocol", b"content-length", b"x"]
)


@given(st.lists(st.tuples(header_names, st.binary(max_size=40) | st.sampled_from([b"13", b"0"])), max_size=6))
def test_any_request_is_read_or_refused(headers: list[tuple[bytes, bytes]]) -> None:
    assert status(read_upgrade, "GET", "1.1", headers) in (101, 400, 426)


@given(st.binary(max_size=200) | st.binary(max_size=100).map(lambda rest: b"HTTP/1.1 " + rest))
def test_any_answer_is_read_or_refused(head: bytes) -> None:
    assert status(read_accept, head, b"dGhlIHNhbXBsZSBub25jZQ==") >= 0


# Structs

texts = st.text(max_size=50)
ids = st.integers(-(2**63), 2**64 - 1) | st.text(max_size=64)
numbers = st.floats(allow_nan=False, allow_infinity=False)
values = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**64 - 1) | numbers | texts,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(texts, inner, max_size=4),
    max_leaves=10,
)


class Sample(Event, tag="sample"):
    """An application's event with a bit of everything."""

    some_text: str
    number: float
    flag: bool
    anything: Any
    listed: list[int]


samples = st.builds(
    Sample, texts, numbers, st.booleans(), values, st.lists(st.integers(-(2**63), 2**63 - 1), max_size=5)
)
seqs = st.integers(0, 2**63)
members = st.lists(texts, max_size=5)
recovered = st.none() | st.booleans()
infos = st.builds(RoomInfo, texts, members, seqs, texts, seqs, seqs, recovered, st.just([]), st.just(True), id=ids)
oks = st.builds(Ok, ids, seq=seqs, members=members)
events = samples | infos | oks
commands = st.one_of(
    st.builds(Join, id=ids, room=texts, username=texts, keep=st.booleans()),
    st.builds(Leave, id=ids, room=texts),
    st.builds(Ping, id=ids),
    st.builds(Presence, id=ids, room=texts, offset=st.integers(0, 2**40), limit=st.integers(1, 1000)),
)


def received(codec: FrameCodec, batch: list[Event]) -> list[Message]:
    client = WebSocket(LIMIT, new_mask=lambda: bytes(4), inflater=Inflater())
    return list(client.receive_data(codec.encode([(EVENT, msgspec.json.encode(event)) for event in batch])))


@given(st.lists(events, max_size=4), st.booleans())
def test_events_arrive_as_json(batch: list[Event], deflate: bool) -> None:
    arrived = received(FrameCodec(deflater=Deflater() if deflate else None), batch)
    decoded = [msgspec.json.decode(data, type=type(event)) for event, (_, data) in zip(batch, arrived, strict=True)]
    assert decoded == batch
    assert {opcode for opcode, _ in arrived} <= {TEXT}


@given(st.lists(events, max_size=4), st.booleans())
def test_events_arrive_as_msgpack(batch: list[Event], deflate: bool) -> None:
    arrived = received(FrameCodec(msgpack=True, deflater=Deflater() if deflate else None), batch)
    decoded = [msgspec.msgpack.decode(data, type=type(event)) for event, (_, data) in zip(batch, arrived, strict=True)]
    assert decoded == batch
    assert {opcode for opcode, _ in arrived} <= {BINARY}


@given(commands)
def test_commands_arrive_in_both_encodings(command: Command) -> None:
    kinds = Join | Leave | Ping | Presence
    assert msgspec.json.decode(msgspec.json.encode(command), type=kinds) == command
    assert msgspec.msgpack.decode(msgspec.msgpack.encode(command), type=kinds) == command
