"""transports.tls: what of a certificate and a key is refused, in which words, and what a handshake agrees on."""

from __future__ import annotations

import dataclasses
import logging
import re
import ssl
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import rsa

from hubbub.config import Server
from hubbub.errors import ConfigError
from hubbub.transports.tls import Tls, read_context, read_settings
from tests.support.certificates import DAY, Authority, Files, encrypted, new_key


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    return Authority(tmp_path)


@pytest.fixture
def files(authority: Authority) -> Files:
    return authority.issue("server")


def settings(files: Files, **changes: Any) -> Server:
    return dataclasses.replace(Server(tls_cert=str(files.cert), tls_key=str(files.key)), **changes)


def complaint(server: Server) -> str:
    """The one line by which settings are refused."""
    with pytest.raises(ConfigError) as refused:
        read_settings(server)
    assert "\n" not in str(refused.value)
    return str(refused.value)


def shake_hands(server: ssl.SSLContext, client: ssl.SSLContext) -> ssl.SSLObject:
    """The client's side of a handshake in memory."""
    to_client, to_server = ssl.MemoryBIO(), ssl.MemoryBIO()
    ours = client.wrap_bio(to_client, to_server, server_hostname="localhost")
    ends = ours, server.wrap_bio(to_server, to_client, server_side=True)
    for _ in range(4):
        for end in ends:
            with suppress(ssl.SSLWantReadError):
                end.do_handshake()
    return ours


def seen(tls: Tls, client: ssl.SSLContext) -> bytes | None:
    """The certificate that a client is shown now."""
    return shake_hands(tls.context, client).getpeercert(binary_form=True)


# What is agreed on


def test_without_both_files_there_is_no_tls() -> None:
    assert read_settings(Server()) is None


def test_a_client_that_trusts_the_authority_gets_tls_1_3_and_http_1_1(files: Files) -> None:
    client = files.client()
    client.set_alpn_protocols(["h2", "http/1.1"])
    ours = shake_hands(read_context(settings(files)), client)
    assert (ours.version(), ours.selected_alpn_protocol(), ours.compression()) == ("TLSv1.3", "http/1.1", None)


def test_a_client_of_tls_1_2_gets_it(files: Files) -> None:
    client = files.client()
    client.maximum_version = ssl.TLSVersion.TLSv1_2
    assert shake_hands(read_context(settings(files)), client).version() == "TLSv1.2"


def test_tls_1_1_is_refused(files: Files) -> None:
    assert read_context(settings(files)).minimum_version == ssl.TLSVersion.TLSv1_2


def test_all_ciphers_have_forward_secrecy_and_aead(files: Files) -> None:
    ciphers = read_context(settings(files)).get_ciphers()
    assert ciphers
    assert {cipher["kea"] for cipher in ciphers} <= {"kx-ecdhe", "kx-any"}
    assert all(cipher["aead"] and cipher["auth"] != "auth-null" for cipher in ciphers)


def test_neither_compression_nor_renegotiation_is_offered(files: Files) -> None:
    wanted = ssl.OP_NO_COMPRESSION | ssl.OP_NO_RENEGOTIATION
    assert read_context(settings(files)).options & wanted == wanted


# What is refused


@pytest.mark.parametrize(("name", "other"), [("tls_cert", "tls_key"), ("tls_key", "tls_cert")])
def test_one_file_without_the_other_is_refused(files: Files, name: str, other: str) -> None:
    server = settings(files, **{name: ""})
    assert complaint(server) == f"{name} is missing: {other} is set, and TLS needs both; one file may hold both"


@pytest.mark.parametrize("name", ["tls_cert", "tls_key"])
def test_a_file_that_is_not_there_is_named(files: Files, name: str) -> None:
    server = settings(files, **{name: "/nowhere.pem"})
    wanted = f"{name} '/nowhere.pem': No such file or directory; it must be a file that the server may read"
    assert complaint(server) == wanted


@pytest.mark.parametrize("name", ["tls_cert", "tls_key"])
def test_a_name_that_no_file_can_have_is_refused(files: Files, name: str) -> None:
    assert complaint(settings(files, **{name: "a\0b"})).startswith(f"{name} 'a\\x00b': ")


@pytest.mark.parametrize("name", ["tls_cert", "tls_key"])
@pytest.mark.parametrize("content", [b"", b"\x30\x82\x01\x00" * 50])
def test_a_file_that_is_not_pem_is_refused(files: Files, name: str, content: bytes) -> None:
    Path(getattr(settings(files), name)).write_bytes(content)
    assert re.match(rf"{name} '.*': not PEM, which has a line -----BEGIN", complaint(settings(files)))


def test_files_in_each_others_place_are_refused(files: Files) -> None:
    swapped = Server(tls_cert=str(files.key), tls_key=str(files.cert))
    assert complaint(swapped).startswith(f"tls_cert '{files.key}': not PEM, which has a line -----BEGIN CERTIFICATE")


@pytest.mark.parametrize("name", ["tls_cert", "tls_key"])
def test_a_damaged_file_is_named(files: Files, name: str) -> None:
    file = Path(getattr(settings(files), name))
    head, line, rest = file.read_bytes().split(b"\n", 2)
    file.write_bytes(b"\n".join((head, line.replace(b"M", b"*"), rest)))
    assert re.fullmatch(rf"{name} '.*': it cannot be read \(.*\); copy it again", complaint(settings(files)))


def test_a_key_of_another_certificate_is_refused(files: Files, authority: Authority) -> None:
    files.key.write_bytes(authority.issue("other").key.read_bytes())
    assert complaint(settings(files)).startswith(f"tls_key '{files.key}': not the key of tls_cert '{files.cert}'")


def test_a_key_of_another_kind_is_refused(files: Files, authority: Authority) -> None:
    files.key.write_bytes(authority.issue("other", key=rsa.generate_private_key(65537, 2048)).key.read_bytes())
    assert complaint(settings(files)).startswith(f"tls_key '{files.key}': not the key of tls_cert '{files.cert}'")


def test_an_encrypted_key_is_refused_and_nobody_is_asked_for_its_password(files: Files) -> None:
    files.key.write_bytes(encrypted(new_key()))
    assert complaint(settings(files)).startswith(f"tls_key '{files.key}': it is encrypted; `openssl pkey ")


def test_a_key_that_is_too_short_is_refused(authority: Authority) -> None:
    weak = authority.issue("weak", key=rsa.generate_private_key(65537, 1024))
    assert complaint(settings(weak)).startswith(f"tls_cert '{weak.cert}': its key or digest is too weak")


def test_one_file_may_hold_both(files: Files) -> None:
    files.cert.write_bytes(files.cert.read_bytes() + files.key.read_bytes())
    assert read_settings(Server(tls_cert=str(files.cert), tls_key=str(files.cert))) is not None


# What is warned of


def test_an_expired_certificate_is_a_warning(authority: Authority, caplog: pytest.LogCaptureFixture) -> None:
    old = authority.issue("old", ends=-DAY)
    read_context(settings(old))
    wanted = f"tls_cert '{old.cert}': certificate has expired; clients will refuse it: renew it"
    assert [(record.levelno, record.getMessage()) for record in caplog.records] == [(logging.WARNING, wanted)]


def test_a_certificate_that_is_not_valid_yet_is_a_warning(
    authority: Authority, caplog: pytest.LogCaptureFixture
) -> None:
    read_context(settings(authority.issue("early", ends=9 * DAY)))
    assert ["certificate is not yet valid" in line for line in caplog.messages] == [True]


def test_a_good_certificate_is_no_news(files: Files, caplog: pytest.LogCaptureFixture) -> None:
    read_context(settings(files))
    assert caplog.messages == []


# Reading again


@pytest.mark.parametrize("kind", [new_key, lambda: rsa.generate_private_key(65537, 2048)], ids=["ecdsa", "rsa"])
@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
def test_what_is_read_again_is_shown_whatever_its_kind(
    authority: Authority, kind: Callable[[], rsa.RSAPrivateKey], version: ssl.TLSVersion
) -> None:
    files = authority.issue("server", key=rsa.generate_private_key(65537, 2048))
    client = files.client()
    client.maximum_version = version
    tls = Tls(settings(files))
    for _ in range(3):
        authority.issue("server", key=kind())
        tls.reload()
        assert seen(tls, client) == ssl.PEM_cert_to_DER_cert(files.cert.read_text())


def test_a_client_that_names_no_server_sees_the_new_one_too(authority: Authority) -> None:
    files = authority.issue("server")
    client = files.client()
    client.check_hostname = False
    tls = Tls(settings(files))
    authority.issue("server")
    tls.reload()
    assert seen(tls, client) == ssl.PEM_cert_to_DER_cert(files.cert.read_text())


def test_when_the_new_files_are_wrong_the_old_go_on(files: Files, caplog: pytest.LogCaptureFixture) -> None:
    tls = Tls(settings(files))
    before = seen(tls, files.client())
    files.key.write_bytes(b"")
    tls.reload()
    assert seen(tls, files.client()) == before
    assert [line[:53] for line in caplog.messages] == [f"the old certificate goes on: tls_key '{files.key}"[:53]]
