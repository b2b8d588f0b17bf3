"""Attacks of siege.py with messages: what makes no sense, is not allowed or not theirs, and what is too much."""

from __future__ import annotations

import json
from typing import Any, Final

from siege_peer import Peer, command, frame, text
from siege_rows import Attack, Attacker, bearer, frames, message

from hubbub.wire.websocket import BINARY, FIN

DEEP: Final = 30_000
MORE_THAN_A_SECOND: Final = 60
# Beyond a hundred bursts of 20, the flood ends whatever the time.
FLOOD: Final = 2100
BAD_NAMES: Final = ("a\0b", "a\r\nb", "*", "a{}b", "\u202eroom")


def _right(name: str, answers: dict[str, Any], expected: dict[str, Any]) -> str:
    """The name of what is right, or what is not."""
    wrong = {key: answers.get(key) for key, value in expected.items() if answers.get(key) != value}
    return f"other: {wrong}" if wrong else name


async def _joined(attacker: Attacker, peer: Peer, room: str, username: str) -> dict[str, Any]:
    """Opens with a token, joins, and returns the room_info."""
    await peer.open(headers=bearer(attacker.token()))
    peer.send(command(type="join", room=room, username=username))
    return await peer.event("room_info")


def _bad_name(room: str) -> Attack:
    data = command(type="join", room=room, username="mallory", id=1)
    return message(28, f"room {json.dumps(room)}", data, "error invalid_name")


def _forbidden(name: str, **fields: Any) -> Attack:
    """A command for a room to which the attacker has no right, though it exists."""

    async def run(attacker: Attacker) -> str:
        async with attacker.peer() as peer:
            await peer.open(headers=bearer(attacker.token()))
            room = attacker.busy_room()
            return await peer.reply(command(**fields, room=room, id=1))

    return Attack(29, name, frozenset(("error forbidden",)), run)


async def _of_another(attacker: Attacker) -> str:
    """Claims of a message that only the server may make."""
    own = f"siege {attacker.name}"
    claims = {"username": "client 1", "clientId": "me", "seq": 1 << 62, "timestamp": 1, "epoch": "mine"}
    async with attacker.peer() as peer:
        before = await _joined(attacker, peer, own, "client 1")
        peer.send(command(**{**claims, "type": "message", "text": "hi", "room": own}))
        said = await peer.event("message", "error")
    return _right("own values", said, {"username": attacker.name, "seq": before["seq"] + 1, "room": own})


async def _warned(attacker: Attacker) -> str:
    async with attacker.peer() as peer:
        await peer.open()
        peer.send(command(type="ping") * MORE_THAN_A_SECOND)
        warning = await peer.event("warning", "error")
        return warning["type"] if warning.get("retryAfter", 0) > 0 else f"other: {warning}"


def _odd_position(name: str, **since: Any) -> Attack:
    """Comes back to where nobody can have been."""

    async def run(attacker: Attacker) -> str:
        async with attacker.peer() as peer:
            epoch = (await _joined(attacker, peer, f"siege {attacker.name}", "mallory"))["epoch"]
            odd = {"epoch": epoch, **since}
            peer.send(command(type="join", room=f"siege {attacker.name}", username="mallory", since=odd))
            info = await peer.event("room_info", "error")
        return f"recovered {info.get('recovered')}"

    return Attack(33, name, frozenset(("recovered False",)), run)


async def _all_resume(attacker: Attacker) -> str:
    """Everybody wants what the same room said last."""
    async with attacker.peer() as peer:
        await peer.open()
        room = attacker.target.busy_rooms[0]
        peer.send(command(type="subscribe", room=room))
        info = await peer.event("room_info", "error")
        since = {"epoch": info["epoch"], "seq": max(info["seq"] - 20, 0)}
        peer.send(command(type="subscribe", room=room, since=since))
        info = await peer.event("room_info", "error")
        numbers = [event["seq"] for event in info["messages"]]
        if numbers != list(range(since["seq"] + 1, info["seq"] + 1)):
            return f"other: {numbers} since {since['seq']}"
        return f"recovered {info['recovered']}"


MESSAGES: Final = (
    message(25, "deep JSON", text("[" * DEEP), "error invalid_json"),
    message(25, "60,000 digits", text('{"type":"ping","id":' + "1" * 60_000 + "}"), "error invalid_message"),
    message(25, "lone surrogate", text(r'{"type":"message","text":"\ud800"}'), "error invalid_json"),
    message(25, "trailing garbage", text('{"type":"ping","id":1} x'), "error invalid_json"),
    frames(25, "ten in a row", text("[") * 10, "4400"),
    message(26, "unknown type", command(type="nope", id=1), "error unknown_type"),
    message(26, "room {}", command(type="join", room={}, username="a", id=1), "error invalid_message"),
    message(26, "id of 60,000 characters", command(type="ping", id="a" * 60_000), "error invalid_message"),
    frames(26, "message of a megabyte", command(type="ping", id="a" * (1 << 20)), "1009", share=0.1),
    frames(26, "ten in a row", command(type="nope") * 10, "4400"),
    frames(27, "binary", frame(FIN | BINARY, b"\x81\xa4type\xa4ping"), "1003"),
    *map(_bad_name, BAD_NAMES),
    frames(28, "flood of joins", command(type="join", room="siege all", username="m") * FLOOD, "1008", share=0.1),
    _forbidden("message", type="message", text="hi"),
    _forbidden("history", type="history"),
    _forbidden("presence", type="presence"),
    _forbidden("join", type="join", username="mallory"),
    _forbidden("subscribe", type="subscribe"),
    Attack(30, "claims to be another", frozenset(("own values",)), _of_another),
    Attack(31, "sixty at once", frozenset(("warning",)), _warned),
    frames(31, "keeps it up", command(type="ping") * FLOOD, "1008", share=0.1),
    _odd_position("the future", seq=1 << 40),
    _odd_position("negative", seq=-1),
    _odd_position("2^63", seq=1 << 63),
    _odd_position("another epoch", epoch="another", seq=0),
    Attack(34, "all resume one room", frozenset(("recovered True",)), _all_resume),
)
