"""Attacks of siege.py with frames: what RFC 6455 forbids, what is too big or too much, and peers that do not read."""

from __future__ import annotations

import asyncio
import zlib
from typing import Final

from siege_peer import DROPPED, MASK, Ended, command, frame, text
from siege_rows import Attack, Attacker, frames

from hubbub.wire.websocket import BINARY, CLOSE, CONTINUATION, FIN, PING, PONG, RSV1, TEXT, encode_frame

DEFLATE: Final = "permessage-deflate"
PING_COMMAND: Final = b'{"type":"ping","id":1}'
BOMB_BYTES: Final = 1 << 24
SLOTH_SECONDS: Final = 5.0
ASKED: Final = 10
# A heartbeat may come a tick late, and so may the look at its answer.
TICKS_SECONDS: Final = 3.0


def _deflated(data: bytes) -> bytes:
    squeeze = zlib.compressobj(9, zlib.DEFLATED, -15)
    return (squeeze.compress(data) + squeeze.flush(zlib.Z_SYNC_FLUSH))[:-4]


def _header(first_byte: int, size: int) -> bytes:
    """A masked frame's header alone, its length in 64 bits."""
    return bytes((first_byte, 0xFF)) + size.to_bytes(8, "big") + MASK


def _close(code: int, reason: bytes = b"") -> bytes:
    return frame(FIN | CLOSE, code.to_bytes(2, "big") + reason)


async def _bytes_one_by_one(attacker: Attacker) -> str:
    async with attacker.peer() as peer:
        await peer.open()
        for byte in text(PING_COMMAND.decode().ljust(80)):
            peer.send(bytes((byte,)))
            await asyncio.sleep(0)
        return str((await peer.event("ok", "error"))["type"])


async def _sloth(attacker: Attacker) -> str:
    """Asks for more than a small buffer holds and reads nothing for a while; then all must be there, in order."""
    async with attacker.peer(small=True) as peer:
        await peer.open()
        room = attacker.busy_room()
        peer.send(command(type="subscribe", room=room, history=100))
        peer.send(b"".join(command(type="history", room=room, limit=100, id=number) for number in range(ASKED)))
        await asyncio.sleep(SLOTH_SECONDS)
        info = await peer.event("room_info")
        position, replies = info["seq"], 0
        while replies < ASKED:
            event = await peer.event()
            if "id" in event:
                replies += 1
            elif event["type"] == "message":
                if event["seq"] != position + 1:
                    return f"{event['seq']} after {position}"
                position = event["seq"]
        return "caught up"


async def _half_open(attacker: Attacker) -> str:
    """Says nothing and answers no ping, as if it were gone: two heartbeats later the connection must have ended."""
    async with attacker.peer() as peer:
        await peer.open()
        peer.send(command(type="join", room=f"siege {attacker.name}", username="gone"))
        try:
            async with asyncio.timeout(2 * attacker.target.heartbeat + TICKS_SECONDS):
                while True:
                    await peer.next()
        except TimeoutError:
            return "still open"
        except Ended as ended:
            return str(ended)


_BOMB: Final = _deflated(bytes(BOMB_BYTES))
_ENDLESS: Final = frame(TEXT, b"a" * 64) + frame(CONTINUATION, b"a" * 64) * 1024
_TINY: Final = frame(TEXT, b"a") + frame(CONTINUATION, b"a") * 131_000

FRAMES: Final = (
    frames(13, "unmasked", encode_frame(FIN | TEXT, PING_COMMAND), "1002"),
    frames(13, "RSV1 without an extension", frame(FIN | RSV1 | TEXT, PING_COMMAND), "1002"),
    frames(13, "RSV2 with an extension", frame(FIN | 0x20 | TEXT, PING_COMMAND), "1002", extensions=DEFLATE),
    frames(13, "reserved opcode", frame(FIN | 3, b""), "1002"),
    frames(14, "ping of 126 bytes", frame(FIN | PING, b"a" * 126), "1002"),
    frames(14, "fragmented ping", frame(PING, b""), "1002"),
    frames(15, "one byte over the limit", _header(FIN | TEXT, 65537), "1009"),
    frames(15, "2^62 bytes announced", _header(FIN | BINARY, 1 << 62), "1009"),
    frames(16, "continuation without a start", frame(FIN | CONTINUATION, b""), "1002"),
    frames(16, "message inside a message", frame(TEXT, b"{") + text("{}"), "1002"),
    frames(17, "never ends", _ENDLESS, "1009", share=0.5),
    frames(17, "131,000 fragments of a byte", _TINY, "1009", share=0.01),
    Attack(18, "a byte at a time", frozenset(("ok",)), _bytes_one_by_one),
    frames(19, "bomb", frame(FIN | RSV1 | TEXT, _BOMB), "1009", extensions=DEFLATE),
    frames(19, "not deflate", frame(FIN | RSV1 | TEXT, b"\xff\xff\xff"), "1007", extensions=DEFLATE),
    frames(20, "overlong", frame(FIN | TEXT, b"\xc0\xaf"), "1007"),
    frames(20, "surrogate over two fragments", frame(TEXT, b"\xed") + frame(CONTINUATION, b"\xa0"), "1007"),
    frames(20, "before the frame ends", frame(FIN | TEXT, b"a\xff" + b"a" * 60_000)[:10], "1007"),
    frames(21, "half a code", frame(FIN | CLOSE, b"\x03"), "1002"),
    frames(21, "code 1005", _close(1005), "1002"),
    frames(21, "reason that is not UTF-8", _close(1000, b"\xff"), "1007"),
    frames(22, "flood of pings", frame(FIN | PING, b"?") * 2000, "1008", share=0.5),
    frames(22, "flood of pongs", frame(FIN | PONG, b"") * 2000, "1008", share=0.5),
    Attack(23, "never reads", frozenset(("caught up", "4408")), _sloth, 0.5),
    Attack(24, "half-open", frozenset((DROPPED,)), _half_open, 0.5),
)
