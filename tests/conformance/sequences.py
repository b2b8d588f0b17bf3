"""Byte sequences of a client and what a server that echoes must answer, grouped as the Autobahn TestSuite groups them.

Frames are written here by hand, not with the code under test; section numbers are those of RFC 6455 and RFC 7692.
"""

from __future__ import annotations

import json
import random
import zlib
from collections.abc import Iterable
from typing import NamedTuple

MASK = b"\x37\xfa\x21\x3d"
CONTINUATION, TEXT, BINARY, CLOSE, PING, PONG = 0x0, 0x1, 0x2, 0x8, 0x9, 0xA
FIN, RSV1, RSV2, RSV3 = 0x80, 0x40, 0x20, 0x10
NO_STATUS = 1005
LIMIT = 1 << 18

Answer = tuple[int, bytes] | int
"""A message, or the code of a close frame."""


class Deflated(NamedTuple):
    """What was agreed upon: whether the client keeps its window."""

    takeover: bool = False


class Case(NamedTuple):
    """What the client sends, and what it must get, in order; the last answer may be the end of the connection."""

    name: str
    sent: bytes
    answers: tuple[Answer, ...]
    deflate: Deflated | None = None
    max_message_bytes: int = LIMIT

    @property
    def ends(self) -> bool:
        return bool(self.answers) and isinstance(self.answers[-1], int)


def frame(first_byte: int, payload: bytes = b"") -> bytes:
    """A client's frame (section 5.2)."""
    size = len(payload)
    if size < 126:
        header = bytes((first_byte, 0x80 | size))
    elif size < 65536:
        header = bytes((first_byte, 0xFE)) + size.to_bytes(2, "big")
    else:
        header = bytes((first_byte, 0xFF)) + size.to_bytes(8, "big")
    repeated = MASK * (size // 4 + 1)
    return header + MASK + bytes(byte ^ key for byte, key in zip(payload, repeated, strict=False))


def text(payload: bytes) -> bytes:
    return frame(FIN | TEXT, payload)


def fragments(first_byte: int, *parts: bytes) -> bytes:
    """A message in as many frames as there are parts."""
    opcodes = [first_byte, *[CONTINUATION] * (len(parts) - 1)]
    fins = [*[0] * (len(parts) - 1), FIN]
    return b"".join(frame(fin | opcode, part) for fin, opcode, part in zip(fins, opcodes, parts, strict=True))


def ended(code: int, reason: bytes = b"") -> bytes:
    return frame(FIN | CLOSE, code.to_bytes(2, "big") + reason)


HELLO = text(b"Hello")
ECHO = (TEXT, b"Hello")


# 1: framing (section 5.2)


def framing() -> Iterable[Case]:
    for size in (0, 1, 125, 126, 127, 128, 65535, 65536):
        yield Case(f"text of {size} bytes", text(b"*" * size), ((TEXT, b"*" * size),))
        yield Case(f"{size} bytes", frame(FIN | BINARY, b"\xfe" * size), ((BINARY, b"\xfe" * size),))
    yield Case("three messages", HELLO * 3, (ECHO, ECHO, ECHO))
    yield Case("unmasked text", b"\x81\x05Hello", (1002,))
    yield Case("unmasked bytes of no length", b"\x82\x00", (1002,))
    yield Case("unmasked close", b"\x88\x02\x03\xe8", (1002,))
    yield Case("nothing", b"", ())


# 2: pings and pongs (sections 5.5.2 and 5.5.3)


def pings() -> Iterable[Case]:
    for name, payload in {
        "empty": b"",
        "text": b"Hello, world!",
        "not UTF-8": b"\x00\xff\xfe\xfd\xfc\xfb\x00\xff",
        "125 bytes": b"\xfe" * 125,
    }.items():
        yield Case(f"ping: {name}", frame(FIN | PING, payload), ((PONG, payload),))
        yield Case(f"unsolicited pong: {name}", frame(FIN | PONG, payload), ())
    yield Case("ping of 126 bytes", frame(FIN | PING, b"\xfe" * 126), (1002,))
    yield Case("pong of 126 bytes", frame(FIN | PONG, b"\xfe" * 126), (1002,))
    yield Case("ping of 65,536 bytes", frame(FIN | PING, bytes(65536)), (1002,))
    yield Case("pong, then ping", frame(FIN | PONG, b"a") + frame(FIN | PING, b"b"), ((PONG, b"b"),))
    many = [b"payload %d" % number for number in range(10)]
    yield Case("ten pings", b"".join(frame(FIN | PING, body) for body in many), tuple((PONG, body) for body in many))


# 3: reserved bits (section 5.2)


def reserved_bits() -> Iterable[Case]:
    for bits in (RSV1, RSV2, RSV3, RSV1 | RSV2, RSV1 | RSV3, RSV2 | RSV3, RSV1 | RSV2 | RSV3):
        for name, opcode in {"text": TEXT, "bytes": BINARY, "ping": PING, "close": CLOSE}.items():
            yield Case(f"{name} with {bits >> 4:03b}", frame(FIN | bits | opcode), (1002,))
    sandwich = HELLO + frame(FIN | RSV2 | TEXT, b"Hello") + frame(FIN | PING)
    yield Case("between a text and a ping", sandwich, (ECHO, 1002))
    deflated = Deflated()
    yield Case("compressed ping", frame(FIN | RSV1 | PING), (1002,), deflated)
    yield Case("compressed close", frame(FIN | RSV1 | CLOSE), (1002,), deflated)
    yield Case("second bit beside deflate", frame(FIN | RSV1 | RSV2 | TEXT), (1002,), deflated)
    continued = frame(RSV1 | TEXT, b"\xf2\x48") + frame(FIN | RSV1 | CONTINUATION, b"\xcd\xc9\xc9\x07\x00")
    yield Case("compressed continuation", continued, (1002,), deflated)


# 4: opcodes (section 5.2)


def opcodes() -> Iterable[Case]:
    for opcode in (0x3, 0x4, 0x5, 0x6, 0x7, 0xB, 0xC, 0xD, 0xE, 0xF):
        yield Case(f"opcode {opcode:#x}", frame(FIN | opcode), (1002,))
        yield Case(f"opcode {opcode:#x} with a payload", frame(FIN | opcode, b"payload"), (1002,))
        yield Case(f"opcode {opcode:#x} behind a text", HELLO + frame(FIN | opcode) + frame(FIN | PING), (ECHO, 1002))


# 5: fragmentation (section 5.4)


def fragmentation() -> Iterable[Case]:
    ping = frame(FIN | PING, b"ping")
    pong = (PONG, b"ping")
    last = frame(FIN | CONTINUATION, b"lo")
    yield Case("ping in fragments", fragments(PING, b"a", b"b"), (1002,))
    yield Case("pong in fragments", fragments(PONG, b"a", b"b"), (1002,))
    yield Case("close in fragments", fragments(CLOSE, b"\x03", b"\xe8"), (1002,))
    yield Case("text in two", fragments(TEXT, b"Hel", b"lo"), (ECHO,))
    yield Case("bytes in three", fragments(BINARY, b"\xff", b"", b"\xfe"), ((BINARY, b"\xff\xfe"),))
    yield Case("text in single bytes", fragments(TEXT, b"H", b"e", b"l", b"l", b"o"), (ECHO,))
    yield Case("empty first and last", fragments(TEXT, b"", b"Hello", b""), (ECHO,))
    yield Case("a thousand fragments", fragments(BINARY, *[b"x"] * 1000), ((BINARY, b"x" * 1000),))
    yield Case("ping inside", frame(TEXT, b"Hel") + ping + last, (pong, ECHO))
    yield Case("pong inside", frame(TEXT, b"Hel") + frame(FIN | PONG) + last, (ECHO,))
    yield Case("two pings inside", frame(TEXT, b"Hel") + ping + frame(CONTINUATION) + ping + last, (pong, pong, ECHO))
    yield Case("close inside", frame(TEXT, b"Hel") + ended(1000), (1000,))
    yield Case("continuation of nothing", frame(FIN | CONTINUATION, b"Hello"), (1002,))
    yield Case("continuation of nothing, to be continued", frame(CONTINUATION, b"Hello"), (1002,))
    yield Case("continuation behind a whole message", HELLO + last, (ECHO, 1002))
    again = fragments(TEXT, b"Hel", b"lo") + frame(CONTINUATION, b"x") + HELLO
    yield Case("continuation behind the last fragment", again, (ECHO, 1002))
    yield Case("text inside a text", frame(TEXT, b"Hel") + HELLO, (1002,))
    yield Case("bytes inside a text", frame(TEXT, b"Hel") + frame(FIN | BINARY, b"x"), (1002,))
    yield Case("fragment inside a text", frame(TEXT, b"Hel") + frame(TEXT, b"lo"), (1002,))
    yield Case("two messages in fragments", fragments(TEXT, b"Hel", b"lo") * 2, (ECHO, ECHO))
    yield Case("unfinished", frame(TEXT, b"Hel"), ())


# 6: UTF-8 (section 8.1, RFC 3629)

VALID = {
    "letters of many scripts": "Hello-µ@ßöäüàá-UTF-8!!".encode(),
    "κόσμε": b"\xce\xba\xe1\xbd\xb9\xcf\x83\xce\xbc\xce\xb5",
    "NUL": b"\x00",
    "last of one byte": b"\x7f",
    "first of two": b"\xc2\x80",
    "last of two": b"\xdf\xbf",
    "first of three": b"\xe0\xa0\x80",
    "last of three": b"\xef\xbf\xbf",
    "first of four": b"\xf0\x90\x80\x80",
    "last before the surrogates": b"\xed\x9f\xbf",
    "first behind the surrogates": b"\xee\x80\x80",
    "replacement character": b"\xef\xbf\xbd",
    "last of all": b"\xf4\x8f\xbf\xbf",
    "U+FFFE": b"\xef\xbf\xbe",
    "U+1FFFF": b"\xf0\x9f\xbf\xbf",
    "byte order mark": b"\xef\xbb\xbf",
}
# Up to and with the first byte that cannot be: a server must not wait for more.
INVALID = {
    "behind κόσμε": b"\xce\xba\xe1\xbd\xb9\xcf\x83\xce\xbc\xce\xb5\xed\xa0",
    "first continuation byte": b"\x80",
    "last continuation byte": b"\xbf",
    "FE": b"\xfe",
    "FF": b"\xff",
    "start of two bytes, then a space": b"\xc3 ",
    "start of three bytes, then a space": b"\xe2 ",
    "start of four bytes, then a space": b"\xf0 ",
    "two of three bytes, then a letter": b"\xe2\x82A",
    "three of four bytes, then a letter": b"\xf0\x9f\x91A",
    "start of five bytes": b"\xf8",
    "start of six bytes": b"\xfc",
    "overlong slash in two bytes": b"\xc0",
    "overlong in two bytes, the last": b"\xc1",
    "overlong slash in three bytes": b"\xe0\x80",
    "overlong in three bytes, the last": b"\xe0\x9f",
    "overlong slash in four bytes": b"\xf0\x80",
    "overlong in four bytes, the last": b"\xf0\x8f",
    "first high surrogate": b"\xed\xa0",
    "last low surrogate": b"\xed\xbf",
    "above U+10FFFF": b"\xf4\x90",
    "U+140000": b"\xf5",
}
INCOMPLETE = {"one of two": b"\xc3", "two of three": b"\xe1\xbd", "three of four": b"\xf0\x9f\x91"}


def utf8() -> Iterable[Case]:
    yield Case("empty text", text(b""), ((TEXT, b""),))
    yield Case("empty fragments", fragments(TEXT, b"", b"", b""), ((TEXT, b""),))
    for name, payload in VALID.items():
        yield Case(f"valid: {name}", text(payload), ((TEXT, payload),))
        single = fragments(TEXT, *(bytes((byte,)) for byte in payload))
        yield Case(f"valid in single bytes: {name}", single, ((TEXT, payload),))
    for name, payload in INVALID.items():
        yield Case(f"invalid: {name}", text(payload + b" and on"), (1007,))
        yield Case(f"at once, in a fragment: {name}", frame(TEXT, b"good ") + frame(CONTINUATION, payload), (1007,))
        begun = frame(FIN | TEXT, payload + b"!" * 100)[: 6 + len(payload)]
        yield Case(f"at once, in a frame that goes on: {name}", begun, (1007,))
    for name, payload in INCOMPLETE.items():
        yield Case(f"incomplete: {name}", text(b"good " + payload), (1007,))
        yield Case(f"incomplete in the last fragment: {name}", fragments(TEXT, b"good ", payload, b""), (1007,))
        yield Case(f"not yet incomplete: {name}", frame(TEXT, payload), ())
    yield Case("not UTF-8 in bytes", frame(FIN | BINARY, b"\xff\xc0"), ((BINARY, b"\xff\xc0"),))


# 7: closing (sections 5.5.1, 7.1 and 7.4)

CODES = (1000, 1001, 1002, 1003, 1007, 1008, 1009, 1010, 1011, 1012, 1013, 1014, 3000, 3999, 4000, 4999)
NOT_CODES = (0, 999, 1004, 1005, 1006, 1015, 1016, 1100, 2000, 2999, 5000, 65535)


def closing() -> Iterable[Case]:
    yield Case("behind a text", HELLO + ended(1000), (ECHO, 1000))
    yield Case("twice", ended(1000) * 2, (1000,))
    yield Case("then a ping", ended(1000) + frame(FIN | PING), (1000,))
    yield Case("then a text", ended(1000) + HELLO, (1000,))
    yield Case("then the rest of a text", frame(TEXT, b"Hel") + ended(1000) + frame(FIN | CONTINUATION), (1000,))
    yield Case("empty", frame(FIN | CLOSE), (NO_STATUS,))
    yield Case("half a code", frame(FIN | CLOSE, b"\x03"), (1002,))
    yield Case("with a reason", ended(1000, b"Hello World!"), (1000,))
    yield Case("with the longest reason", ended(1000, b"*" * 123), (1000,))
    yield Case("with too long a reason", ended(1000, b"*" * 124), (1002,))
    yield Case("with a reason that is not UTF-8", ended(1000, b"\xce\xba\xed\xa0\x80"), (1007,))
    yield Case("with half a character as reason", ended(1000, b"\xc3"), (1007,))
    yield from (Case(f"code {code}", ended(code), (code,)) for code in CODES)
    yield from (Case(f"code {code} with a reason", ended(code, b"why"), (code,)) for code in CODES)
    yield from (Case(f"impossible code {code}", ended(code), (1002,)) for code in NOT_CODES)
    yield from (Case(f"impossible code {code} with a reason", ended(code, b"why"), (1002,)) for code in NOT_CODES)


# 9: limits


def limits() -> Iterable[Case]:
    block = b"*" * 1000
    yield Case("as long as the limit", text(block), ((TEXT, block),), max_message_bytes=1000)
    yield Case("one byte longer", frame(FIN | BINARY, block + b"*"), (1009,), max_message_bytes=1000)
    yield Case("longer, says the header", frame(FIN | BINARY, block + b"*")[:4], (1009,), max_message_bytes=1000)
    yield Case("longer than memory, says the header", b"\x82\xff\x7f" + b"\xff" * 7, (1009,))
    yield Case("longer than possible, says the header", b"\x82\xff\x80" + bytes(7), (1002,))
    yield Case("ping longer than possible", b"\x89\xff\x80" + bytes(7), (1002,))
    halves = fragments(BINARY, block[:500], block[500:])
    yield Case("fragments as long as the limit", halves, ((BINARY, block),), max_message_bytes=1000)
    more = frame(BINARY, block) + frame(FIN | CONTINUATION, b"*")[:2]
    yield Case("fragments one byte longer, says the header", more, (1009,), max_message_bytes=1000)
    yield Case("a short frame over a shorter limit", text(b"Hello"), (1009,), max_message_bytes=4)
    inside = frame(BINARY, block) + frame(FIN | PING, b"p" * 125) + frame(FIN | CONTINUATION)
    yield Case("pings do not count", inside, ((PONG, b"p" * 125), (BINARY, block)), max_message_bytes=1000)
    endless = frame(BINARY) + frame(CONTINUATION) * 1100
    yield Case("empty fragments without end", endless, (1009,), max_message_bytes=100)
    yield Case("good, then too long", HELLO + text(block), (ECHO, 1009), max_message_bytes=100)
    yield Case("a message of 256 KB", frame(FIN | BINARY, b"*" * LIMIT), ((BINARY, b"*" * LIMIT),))
    parts = fragments(TEXT, *[b"*" * 4096] * 64)
    yield Case("the same in fragments of 4 KB", parts, ((TEXT, b"*" * LIMIT),))


# 12: deflated payloads (RFC 7692, sections 7.2.1 to 7.2.3)


def deflate(*payloads: bytes, level: int = 6, bits: int = 15, takeover: bool = False) -> list[bytes]:
    """What a client sends for each; takeover: later payloads may refer to earlier ones."""
    stream = zlib.compressobj(level, zlib.DEFLATED, -bits)
    flush = zlib.Z_SYNC_FLUSH if takeover else zlib.Z_FULL_FLUSH
    return [(stream.compress(payload) + stream.flush(flush))[:-4] for payload in payloads]


def prose(size: int) -> bytes:
    """A JSON text of that many bytes that deflates well."""
    return json.dumps([{"id": number, "name": f"name {number}", "flag": True} for number in range(size)])[
        :size
    ].encode()


def noise(size: int) -> bytes:
    """Bytes that do not."""
    return random.Random(size).randbytes(size)


RFC_EXAMPLES = {
    "one block": b"\xf2\x48\xcd\xc9\xc9\x07\x00",
    "no compression": b"\x00\x05\x00\xfa\xff\x48\x65\x6c\x6c\x6f\x00",
    "a final block": b"\xf3\x48\xcd\xc9\xc9\x07\x00\x00",
    "two blocks": b"\xf2\x48\x05\x00\x00\x00\xff\xff\xca\xc9\xc9\x07\x00",
}


def deflated_payloads() -> Iterable[Case]:
    agreed = Deflated()
    for size in (0, 16, 64, 256, 1024, 4096, 16384, 65536):
        for name, opcode, payload in (("text", TEXT, prose(size)), ("noise", BINARY, noise(size))):
            (packed,) = deflate(payload)
            yield Case(f"{name} of {size} bytes", frame(FIN | RSV1 | opcode, packed), ((opcode, payload),), agreed)
    for name, packed in RFC_EXAMPLES.items():
        yield Case(f"example: {name}", frame(FIN | RSV1 | TEXT, packed), (ECHO,), agreed)
    (packed,) = deflate(prose(5000))
    parts = [packed[start : start + 100] for start in range(0, len(packed), 100)]
    yield Case("in fragments", fragments(RSV1 | TEXT, *parts), ((TEXT, prose(5000)),), agreed)
    ping = frame(FIN | PING, b"ping")
    inside = frame(RSV1 | TEXT, packed[:50]) + ping + frame(FIN | CONTINUATION, packed[50:])
    yield Case("with a ping inside", inside, ((PONG, b"ping"), (TEXT, prose(5000))), agreed)
    yield Case("not compressed", HELLO, (ECHO,), agreed)
    mixed = HELLO + frame(FIN | RSV1 | TEXT, RFC_EXAMPLES["one block"]) + HELLO
    yield Case("compressed between others", mixed, (ECHO, ECHO, ECHO), agreed)
    yield Case("not deflate", frame(FIN | RSV1 | TEXT, b"\xff\xff\xff"), (1007,), agreed)
    yield Case("not UTF-8", frame(FIN | RSV1 | TEXT, deflate(b"\xff")[0]), (1007,), agreed)
    yield Case("not agreed upon", frame(FIN | RSV1 | TEXT, RFC_EXAMPLES["one block"]), (1002,))
    bomb = frame(FIN | RSV1 | BINARY, deflate(bytes(LIMIT + 1))[0])
    yield Case("inflates to more than the limit", bomb, (1009,), agreed)


# 13: parameters of deflate (RFC 7692, sections 7.1.1 and 7.1.2)


def deflate_parameters() -> Iterable[Case]:
    conversation = [prose(300), b"", noise(100), prose(300), prose(5000)]
    for takeover in (False, True):
        for bits in range(9, 16):
            packed = deflate(*conversation, bits=bits, takeover=takeover)
            sent = b"".join(frame(FIN | RSV1 | BINARY, payload) for payload in packed)
            answers = tuple((BINARY, payload) for payload in conversation)
            name = f"window of {bits} bits, {'takeover' if takeover else 'no takeover'}"
            yield Case(name, sent, answers, Deflated(takeover))
    again = frame(FIN | RSV1 | TEXT, RFC_EXAMPLES["one block"]) + frame(FIN | RSV1 | TEXT, b"\xf2\x00\x11\x00\x00")
    yield Case("a reference to the message before", again, (ECHO, ECHO), Deflated(takeover=True))
    yield Case("the same without takeover", again, (ECHO, 1007), Deflated())
    final = frame(FIN | RSV1 | TEXT, RFC_EXAMPLES["a final block"]) * 2
    yield Case("final blocks, takeover", final, (ECHO, ECHO), Deflated(takeover=True))
    yield Case("final blocks, no takeover", final, (ECHO, ECHO), Deflated())
    for level in (0, 1, 9):
        packed = deflate(prose(2000), prose(2000), level=level, takeover=True)
        sent = b"".join(frame(FIN | RSV1 | TEXT, payload) for payload in packed)
        yield Case(f"level {level}", sent, ((TEXT, prose(2000)),) * 2, Deflated(takeover=True))


FAMILIES = {
    "framing": framing,
    "pings": pings,
    "reserved bits": reserved_bits,
    "opcodes": opcodes,
    "fragmentation": fragmentation,
    "UTF-8": utf8,
    "closing": closing,
    "limits": limits,
    "deflated payloads": deflated_payloads,
    "deflate parameters": deflate_parameters,
}
CASES = {f"{family}: {case.name}": case for family, cases in FAMILIES.items() for case in cases()}
