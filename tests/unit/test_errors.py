"""errors: whose fault it is stands in the type."""

from __future__ import annotations

import pytest

from hubbub.errors import CommandError, ConfigError, HandshakeError, HubbubError, LocalError, PeerError


@pytest.mark.parametrize("kind", [CommandError, ConfigError, HandshakeError, LocalError, PeerError])
def test_every_exception_of_ours_has_one_root(kind: type[Exception]) -> None:
    assert issubclass(kind, HubbubError)


def test_a_bad_setting_is_the_callers_bug() -> None:
    assert issubclass(ConfigError, LocalError)


def test_the_peers_faults_are_not_ours() -> None:
    assert not issubclass(PeerError, LocalError)


def test_a_peers_fault_has_a_close_code_and_a_reason() -> None:
    error = PeerError(1002, "reserved bits are set")
    assert (str(error), error.code, error.reason) == ("1002: reserved bits are set", 1002, "reserved bits are set")


def test_a_failed_handshake_has_an_http_status() -> None:
    error = HandshakeError(426, "the version is 13", ((b"sec-websocket-version", b"13"),))
    assert (str(error), error.status, error.headers) == ("the version is 13", 426, ((b"sec-websocket-version", b"13"),))


def test_a_refused_command_has_a_code_and_a_message() -> None:
    error = CommandError("no", "not today")
    assert (str(error), error.code, error.message) == ("not today", "no", "not today")
