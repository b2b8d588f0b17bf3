"""wire.deflate: what is agreed upon, inflating within a bound, deflating."""

from __future__ import annotations

import pytest

from hubbub.errors import PeerError
from hubbub.wire.deflate import (
    Deflate,
    Deflater,
    Inflater,
    accept_answer,
    accept_offer,
    shared_deflater,
    shared_inflater,
)

TEXT = b"the same words again and again, the same words again and again"
NO_TAKEOVER = "permessage-deflate; server_no_context_takeover; client_no_context_takeover"


def accepted(offers: str, *, takeover: bool = False) -> str | None:
    agreed = accept_offer(offers, takeover=takeover)
    return None if agreed is None else agreed.header()


# Agreeing


def test_by_default_no_side_keeps_its_window() -> None:
    assert accepted("permessage-deflate") == NO_TAKEOVER


def test_both_sides_keep_their_windows_where_that_is_switched_on() -> None:
    assert accepted("permessage-deflate", takeover=True) == "permessage-deflate"


@pytest.mark.parametrize("side", ["server", "client"])
def test_a_client_may_ask_for_no_takeover(side: str) -> None:
    offer = f"permessage-deflate; {side}_no_context_takeover"
    assert accepted(offer, takeover=True) == offer


def test_a_smaller_server_window_is_granted() -> None:
    assert accepted("permessage-deflate; server_max_window_bits=9") == f"{NO_TAKEOVER}; server_max_window_bits=9"


def test_the_largest_server_window_is_confirmed_when_asked_for() -> None:  # RFC 7692, section 7.1.2.1
    assert accepted("permessage-deflate; server_max_window_bits=15") == f"{NO_TAKEOVER}; server_max_window_bits=15"


@pytest.mark.parametrize("bits", ["", "=8", "=10", "=15", '="12"'])
def test_a_client_may_say_that_its_window_can_be_limited(bits: str) -> None:
    assert accepted(f"permessage-deflate; client_max_window_bits{bits}") == NO_TAKEOVER


def test_the_first_offer_that_can_be_taken_is_taken() -> None:
    offers = "permessage-deflate; server_max_window_bits=8, permessage-deflate; server_max_window_bits=10"
    assert accepted(offers) == f"{NO_TAKEOVER}; server_max_window_bits=10"


def test_other_extensions_are_passed_over() -> None:
    assert accepted("x-webkit-deflate-frame, permessage-deflate") == NO_TAKEOVER


@pytest.mark.parametrize(
    "offer",
    [
        "",
        "permessage-bzip2",
        "permessage-deflate; unknown",
        "permessage-deflate; server_no_context_takeover; server_no_context_takeover",
        "permessage-deflate; server_no_context_takeover=true",
        "permessage-deflate; server_max_window_bits",
        "permessage-deflate; server_max_window_bits=7",
        "permessage-deflate; server_max_window_bits=8",
        "permessage-deflate; server_max_window_bits=16",
        "permessage-deflate; server_max_window_bits=+9",
        "permessage-deflate; client_max_window_bits=7",
        "permessage-deflate; client_max_window_bits=abc",
    ],
)
def test_an_offer_that_cannot_be_taken_is_declined(offer: str) -> None:
    assert accept_offer(offer) is None


def test_an_answer_says_what_the_server_wants() -> None:
    agreed = Deflate(server_takeover=True, client_window_bits=10, server_window_bits=11)
    assert accept_answer(agreed.header()) == agreed


def test_no_answer_means_no_compression() -> None:
    assert accept_answer(" ") is None


@pytest.mark.parametrize(
    "answer",
    [
        "x-other",
        "permessage-deflate; x=1",
        "permessage-deflate; client_max_window_bits=8",
        "permessage-deflate, x-other",
    ],
)
def test_an_answer_that_was_not_offered_is_a_violation(answer: str) -> None:
    with pytest.raises(PeerError, match="1010"):
        accept_answer(answer)


# Inflating


@pytest.mark.parametrize(
    "payload",
    [
        pytest.param(b"\xf2\x48\xcd\xc9\xc9\x07\x00", id="one block"),
        pytest.param(b"\x00\x05\x00\xfa\xff\x48\x65\x6c\x6c\x6f\x00", id="no compression"),
        pytest.param(b"\xf3\x48\xcd\xc9\xc9\x07\x00\x00", id="final block"),
        pytest.param(b"\xf2\x48\x05\x00\x00\x00\xff\xff\xca\xc9\xc9\x07\x00", id="two blocks"),
    ],
)
@pytest.mark.parametrize("takeover", [False, True])
def test_the_examples_of_the_rfc_inflate(payload: bytes, takeover: bool) -> None:  # RFC 7692, section 7.2.3
    inflater = Inflater(takeover=takeover)
    assert [inflater.inflate(payload, 5), inflater.inflate(payload, 5)] == [b"Hello", b"Hello"]


def test_with_takeover_the_window_is_kept() -> None:  # RFC 7692, section 7.2.3.2
    inflater = Inflater(takeover=True)
    inflater.inflate(b"\xf2\x48\xcd\xc9\xc9\x07\x00", 5)
    assert inflater.inflate(b"\xf2\x00\x11\x00\x00", 5) == b"Hello"


def test_without_takeover_it_is_not() -> None:
    inflater = Inflater()
    inflater.inflate(b"\xf2\x48\xcd\xc9\xc9\x07\x00", 5)
    with pytest.raises(PeerError, match="1007"):
        inflater.inflate(b"\xf2\x00\x11\x00\x00", 5)


@pytest.mark.parametrize("takeover", [False, True])
def test_a_message_may_inflate_to_the_limit_and_no_further(takeover: bool) -> None:
    payload = Deflater().deflate(bytes(1000))
    assert Inflater(takeover=takeover).inflate(payload, 1000) == bytes(1000)
    with pytest.raises(PeerError, match="1009: message inflates to more than 999 bytes"):
        Inflater(takeover=takeover).inflate(payload, 999)


def test_what_is_not_deflate_is_refused() -> None:
    with pytest.raises(PeerError, match="1007: not a deflated message"):
        Inflater().inflate(b"\xff\xff\xff", 100)


# Deflating


@pytest.mark.parametrize("takeover", [False, True])
@pytest.mark.parametrize("window_bits", range(9, 16))
def test_what_is_deflated_inflates(takeover: bool, window_bits: int) -> None:
    deflater, inflater = Deflater(takeover=takeover, window_bits=window_bits), Inflater(takeover=takeover)
    messages = [TEXT, b"", b"x", TEXT * 50, b""]
    assert [inflater.inflate(deflater.deflate(message), 10_000) for message in messages] == messages


def test_without_takeover_every_message_stands_alone() -> None:
    deflater = Deflater()
    assert deflater.deflate(TEXT) == deflater.deflate(TEXT)


def test_with_takeover_a_repeated_message_is_short() -> None:
    deflater = Deflater(takeover=True)
    deflater.deflate(TEXT)
    assert len(deflater.deflate(TEXT)) < 10


def test_an_empty_message_is_one_byte() -> None:  # RFC 7692, section 7.2.3.6
    deflater = Deflater()
    assert [deflater.deflate(b""), deflater.deflate(b"")] == [b"\0", b"\0"]


def test_connections_without_takeover_share() -> None:
    assert shared_inflater() is shared_inflater()
    assert shared_deflater(15) is shared_deflater(15)
    assert shared_deflater(15) is not shared_deflater(9)


FINAL = b"\xf3\x48\xcd\xc9\xc9\x07\x00"  # "Hello" in a final block, RFC 7692, section 7.2.3.4


@pytest.mark.parametrize("takeover", [False, True])
def test_what_follows_a_final_block_belongs_to_the_message(takeover: bool) -> None:
    inflater = Inflater(takeover=takeover)
    assert [inflater.inflate(FINAL + FINAL + b"\x00", 100) for _ in range(2)] == [b"HelloHello"] * 2


def test_a_message_of_nothing_but_final_blocks_is_refused() -> None:
    with pytest.raises(PeerError, match="more than 8 final blocks"):
        Inflater().inflate(FINAL * 9 + b"\x00", 1000)


def test_final_blocks_do_not_lead_around_the_limit() -> None:
    with pytest.raises(PeerError, match="1009"):
        Inflater().inflate(FINAL * 3 + b"\x00", 14)
