"""Out of file descriptors: who is one too many is told so, those who are in are served, and nothing spins."""

import socket
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from tests.hostile.witness import HonestPeer
from tests.support.peer import Peer
from tests.support.server import Server, serve
from tests.support.swarm import cpu_seconds

FILES = 128
RESERVED = 64
FLOOD = 300
WATCHED_SECONDS = 2.0


@pytest.fixture
def server(tmp_path: Path, host: str) -> Iterator[Server]:
    """A server that may have few open files."""
    python = tmp_path / "python"
    python.write_text(f'#!/bin/sh\nulimit -n {FILES}\nexec {sys.executable} "$@"\n')
    python.chmod(0o700)
    with serve(tmp_path, host, interpreter=str(python)) as server:
        yield server


def handshake(peer: Peer) -> bytes:
    """The head of the answer, whatever it is."""
    try:
        return peer.open()
    except AssertionError as refused:
        return str(refused).encode()


def test_row_44_who_would_need_one_file_too_many_is_503(server: Server) -> None:
    with ExitStack() as stack:
        answers = [handshake(stack.enter_context(Peer(server.port))) for _ in range(FILES - RESERVED + 3)]
    assert [b" 101 " in answer for answer in answers] == [True] * (FILES - RESERVED - 1) + [False] * 4
    assert all(b" 503 " in answer and b"retry-after" in answer for answer in answers[-4:])
    server.wait_for_connections(1)  # the witness's
    assert server.refused("max_connections") == 4


def test_row_44_a_flood_that_takes_all_files_neither_spins_nor_harms_who_is_in(server: Server) -> None:
    with HonestPeer(server.port) as ada, ExitStack() as stack:
        ada.open()
        for _ in range(FLOOD):
            stack.enter_context(socket.create_connection(("127.0.0.1", server.port)))
        used, end = cpu_seconds(server.process.pid), time.monotonic() + WATCHED_SECONDS
        while time.monotonic() < end:
            ada.round_trip(1)
            time.sleep(0.2)
        assert cpu_seconds(server.process.pid) - used < WATCHED_SECONDS / 2
