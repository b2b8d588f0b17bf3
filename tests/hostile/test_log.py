"""Attacks on the log: readers that do not read, positions that cannot be, everybody back at once, a full disk."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from tests.hostile.crowd import Crowd
from tests.hostile.witness import HonestPeer, memory_bytes
from tests.support.peer import Peer, command
from tests.support.server import FAST, FAST_SQLITE, Server, serve

MEGABYTE = 1 << 20

# Row 23

BUSY = pytest.mark.parametrize("options", [("--rate-limit", "0", "--history", "50")], ids=["busy"])
LONG = [f"{number:060000}" for number in range(200)]
"""12 MB; the kernel holds some 4 MB of a connection, the log 3 MB."""


@BUSY
def test_row_23_those_who_never_read_occupy_their_buffers_and_no_more(server: Server, room: str) -> None:
    """Ten of them: a quarter of a megabyte each, twice that over ASGI, and the log's 3 MB; 120 MB were for them."""
    with HonestPeer(server.port) as ada, Crowd(server.port, 10) as crowd:
        ada.join(room, "ada")
        for peer in crowd.peers:
            peer.join(room, "sloth")
        before = memory_bytes(server)
        for text in LONG:
            ada.send(command(type="state", text=text))
            assert ada.event("stated")["text"] == text
        assert memory_bytes(server) - before < 16 * MEGABYTE


@BUSY
def test_row_23_who_reads_too_late_is_told_of_the_gap_and_gets_the_rest(server: Server, room: str) -> None:
    with HonestPeer(server.port) as ada, HonestPeer(server.port) as late:
        ada.join(room, "ada")
        late.join(room, "late")
        for text in LONG:
            ada.send(command(type="state", text=text))
            ada.event("stated")
        while (event := late.event())["type"] != "gap":
            assert event["type"] in ("stated", "member_count")
        assert event["room"] == room
        seqs = [late.event("stated")["seq"] for _ in range(len(LONG) - event["seq"])]
        assert seqs == list(range(event["seq"] + 1, len(LONG) + 1))


@pytest.mark.parametrize("options", [("--rate-limit", "0", "--stall-seconds", "1")], ids=["impatient"])
def test_row_23_who_takes_nothing_for_too_long_is_ended(server: Server, room: str) -> None:
    with HonestPeer(server.port) as ada, Peer(server.port) as sloth:
        ada.join(room, "ada")
        sloth.join(room, "sloth")
        for text in LONG:
            ada.send(command(type="state", text=text))
            ada.event("stated")
        assert ada.event("user_left")["username"] == "sloth"


# Row 33

ODD: dict[str, Any] = {
    "the future": {"seq": 1 << 40},
    "2^63": {"seq": 1 << 63},
    "2^64": {"seq": 1 << 64},
    "negative": {"seq": -1},
    "very negative": {"seq": -(1 << 70)},
    "no seq": {},
    "another epoch": {"epoch": "another", "seq": 0},
    "an endless epoch": {"epoch": "x" * 10_000, "seq": 0},
}


@pytest.mark.parametrize("host", [FAST, FAST_SQLITE])
@pytest.mark.parametrize("since", ODD.values(), ids=ODD)
def test_row_33_a_position_that_cannot_be_is_not_recovered(server: Server, room: str, since: dict[str, Any]) -> None:
    with HonestPeer(server.port) as ada, HonestPeer(server.port) as eve:
        epoch = ada.join(room, "ada")["epoch"]
        ada.send(command(type="message", text="hi", id=1))
        assert ada.event("ok")["seq"] == 1
        eve.open()
        eve.send(command(type="join", room=room, username="eve", since={"epoch": epoch, **since}))
        info = eve.event("room_info")
        assert (info["recovered"], info["messages"], info["seq"], info["head"]) == (False, [], 1, 1)


@pytest.mark.parametrize("host", [FAST, FAST_SQLITE])
@pytest.mark.parametrize("number", [-(1 << 70), -1, 1 << 63, 1 << 70], ids=str)
@pytest.mark.parametrize("field", ["before", "after", "time"])
def test_row_33_pages_at_odd_places_are_answered(server: Server, room: str, field: str, number: int) -> None:
    with HonestPeer(server.port) as ada:
        ada.join(room, "ada")
        ada.send(command(type="message", text="hi"))
        ada.send(command(type="history", room=room, id=2, **{field: number}))
        texts = [message["text"] for message in ada.event("ok")["messages"]]
        everything = number > 0 if field == "before" else number < 0
        assert texts == ["hi"] * everything


@pytest.mark.parametrize("host", [FAST, FAST_SQLITE])
@pytest.mark.parametrize("time", [-(1 << 70), 0, 1 << 63, 1 << 70], ids=str)
def test_row_33_a_time_that_cannot_be_is_answered(server: Server, room: str, time: int) -> None:
    with HonestPeer(server.port) as ada:
        ada.open()
        ada.send(command(type="join", room=room, username="ada", since={"time": time}))
        assert ada.event("room_info")["messages"] == []


@pytest.mark.parametrize("seq", [-1, 2, 1 << 63, 1 << 70], ids=str)
def test_row_33_what_is_not_there_cannot_be_acknowledged(server: Server, room: str, seq: int) -> None:
    with HonestPeer(server.port) as ada:
        ada.join(room, "ada")
        ada.send(command(type="message", text="hi", id=1))
        ada.event("ok")
        ada.send(command(type="ack", room=room, seq=seq, id=2))
        assert ada.event("error")["code"] == "invalid_message"


TOKENS = ["x", "a.b.c", "..", "%00", "%ff.%ff.%ff", "a" * 4000, ".".join("a" * 40), "%2e%2e%2f"]


@pytest.mark.parametrize("token", TOKENS, ids=range(len(TOKENS)))
def test_a_session_that_was_made_up_is_another_one(server: Server, token: str) -> None:
    with HonestPeer(server.port) as eve:
        eve.open(f"/ws?session={token}")
        assert eve.event("connected")["session"] not in (token, "")


def test_a_session_whose_signature_is_changed_is_another_one(server: Server) -> None:
    with HonestPeer(server.port) as ada, HonestPeer(server.port) as eve:
        ada.open("/ws?session=")
        token = ada.event("connected")["session"]
        forged = token[:-1] + ("0" if token[-1] != "0" else "1")
        eve.open(f"/ws?session={forged}")
        assert eve.event("connected")["session"] not in (token, forged)
        ada.round_trip(1)


# Row 34


@pytest.mark.parametrize("host", [FAST, FAST_SQLITE])
def test_row_34_a_thousand_that_come_back_at_once_get_all_that_they_missed(server: Server, room: str) -> None:
    with HonestPeer(server.port) as ada, Crowd(server.port, 1000) as crowd:
        epoch = ada.join(room, "ada")["epoch"]
        for number in range(10):
            ada.send(command(type="message", text=str(number), id=number))
            ada.event("ok")
        crowd.open()
        back = command(type="join", room=room, username="back", since={"epoch": epoch, "seq": 3})
        crowd.send(back)
        for peer in crowd.peers:
            info = peer.event("room_info")
            assert (info["recovered"], [event["seq"] for event in info["messages"]]) == (True, list(range(4, 11)))


# Row 44


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of two megabytes, where we may make one."""
    disk = tmp_path / "disk"
    disk.mkdir()
    mount = shutil.which("mount")
    if (
        os.geteuid() != 0
        or mount is None
        or subprocess.run([mount, "-t", "tmpfs", "-o", "size=2m", "none", disk]).returncode
    ):
        pytest.skip("only root may mount")
    yield disk
    subprocess.run(["umount", disk], check=True)


def fill(file: Path) -> None:
    """Writes until there is no space left."""
    with file.open("wb", buffering=0) as out, suppress(OSError):
        while True:
            out.write(bytes(4096))


def say(peer: Peer, text: str) -> dict[str, Any]:
    """The answer to a message."""
    peer.send(command(type="message", text=text, id=1))
    while (event := peer.event())["type"] not in ("ok", "error"):
        pass
    return event


def test_row_44_a_full_disk_refuses_new_messages_and_loses_none(tmp_path: Path, small_disk: Path, room: str) -> None:
    options = ("--broker", f"sqlite:///{small_disk / 'chat.db'}", "--rate-limit", "0", "--history", "10")
    ballast = small_disk / "ballast"
    with serve(tmp_path, FAST, *options) as server, HonestPeer(server.port) as ada, HonestPeer(server.port) as bob:
        ada.join(room, "ada")
        assert say(ada, "before")["seq"] == 1
        fill(ballast)
        answers = [say(ada, "x" * 2000) for _ in range(20)]
        refused = [answer for answer in answers if answer["type"] == "error"]
        assert {(answer["code"], "retryAfter" in answer) for answer in refused} == {("unavailable", True)}
        ballast.unlink()
        kept = [answer["seq"] for answer in answers if answer["type"] == "ok"]
        assert say(ada, "after")["seq"] == len(kept) + 2
        bob.open()
        bob.send(command(type="join", room=room, username="bob", history=3))
        assert bob.event("room_info")["messages"][-1]["text"] == "after"
