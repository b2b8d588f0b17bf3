"""The canary that listens for secrets in all tests: it sings when there is one."""

from pathlib import Path

import pytest

from tests.hostile.witness import HonestPeer
from tests.support.canary import Canary
from tests.support.peer import text
from tests.support.server import FAST, Server, serve

PLANTED = "too many malformed messages"  # which the server says in its log


@pytest.fixture
def canary() -> Canary:
    """Another one than that of all tests, so that it may sing."""
    return Canary()


def test_a_secret_in_the_log_of_a_server_is_heard(server: Server, canary: Canary) -> None:
    canary.watch(server.output)
    canary.keep(PLANTED, "the planted secret")
    with HonestPeer(server.port) as peer:
        peer.open()
        peer.send(text("nonsense") * 10)
        assert peer.close_code() == 4400
    with pytest.raises(AssertionError, match=r"the planted secret in the output server-\d+"):
        canary.assert_silent()


def test_a_secret_in_the_counters_of_a_server_is_heard_at_its_end(
    tmp_path: Path, canary: Canary, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tests.support.server.canary", canary)
    canary.keep("handshakes_refused", "the planted secret")
    with serve(tmp_path, FAST, "--rate-limit", "0"):
        canary.assert_silent()
    with pytest.raises(AssertionError, match=r"secret in the counters of server-\S+: fast path --rate-limit 0"):
        canary.assert_silent()


def test_a_secret_in_the_output_of_a_server_that_has_ended_is_heard(
    tmp_path: Path, canary: Canary, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tests.support.server.canary", canary)
    with serve(tmp_path):
        canary.keep("Hubbub serves tests", "the planted secret")
    with pytest.raises(AssertionError, match="the planted secret in the output server"):
        canary.assert_silent()


def test_a_secret_is_heard_once_and_not_said_again(tmp_path: Path, canary: Canary) -> None:
    canary.keep(PLANTED, "the planted secret")
    (tmp_path / "log").write_text(f"one line\n{PLANTED}\n")
    canary.watch(tmp_path / "log")
    with pytest.raises(AssertionError) as sung:
        canary.assert_silent()
    assert PLANTED not in str(sung.value)
    canary.assert_silent()


def test_a_secret_that_is_being_written_is_heard_once_it_is(tmp_path: Path, canary: Canary) -> None:
    log = tmp_path / "log"
    log.write_text("a line\n" + PLANTED[:9])
    canary.keep(PLANTED, "the planted secret")
    canary.watch(log)
    canary.assert_silent()
    log.write_text("a line\n" + PLANTED)
    with pytest.raises(AssertionError):
        canary.assert_silent()


def test_other_words_are_not_heard(server: Server, canary: Canary) -> None:
    canary.keep("a secret that nobody has said", "the planted secret")
    canary.watch(server.output)
    canary.hear_counters("a server", server.counters)
    canary.assert_silent()
