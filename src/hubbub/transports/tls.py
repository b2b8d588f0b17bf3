"""TLS: a certificate and its key as an SSLContext, read again while it is in use; and listening with both."""

from __future__ import annotations

import asyncio
import logging
import re
import socket
import ssl
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Final

from hubbub.config import Server
from hubbub.errors import ConfigError

log: Final = logging.getLogger("hubbub")
# Forward secrecy and AEAD only; those of TLS 1.3 are all of this kind.
CIPHERS: Final = "@SECLEVEL=2:ECDHE+AESGCM:ECDHE+CHACHA20:!aNULL:!aPSK"
_CERTIFICATE: Final = re.compile(rb"-----BEGIN (X509 |TRUSTED )?CERTIFICATE-----")
_KEY: Final = re.compile(rb"-----BEGIN ([A-Z]+ )*PRIVATE KEY-----")
_MOST_ROUNDS: Final = 4
_NO_MATCH: Final = frozenset(("KEY_VALUES_MISMATCH", "KEY_TYPE_MISMATCH", "NO_CERTIFICATE_ASSIGNED"))
_WEAK: Final = frozenset(("EE_KEY_TOO_SMALL", "CA_KEY_TOO_SMALL", "CA_MD_TOO_WEAK"))


class Tls:
    """What a server shows of itself in handshakes.

    Attributes:
        context: for the listening socket; it stays the same, whatever is read later.

    Raises:
        ConfigError: certificate or key cannot be used; says which, and why.
    """

    def __init__(self, settings: Server) -> None:
        self._settings = settings
        self.context = self._newest = read_context(settings)
        self.context.sni_callback = self._choose

    def reload(self) -> None:
        """Reads both files again, for handshakes from now on; when they are wrong, the old ones go on."""
        try:
            self._newest = read_context(self._settings)
        except ConfigError as error:
            log.error("the old certificate goes on: %s", error)
        else:
            log.info("the certificate was read again: %s", self._settings.tls_cert)

    async def listen(
        self, listener: socket.socket, make: Callable[[], asyncio.Protocol], backlog: int
    ) -> asyncio.Server:
        """Serves on a bound socket, with a bound on handshakes and goodbyes: asyncio's own are 60 s and 30 s."""
        return await asyncio.get_running_loop().create_server(
            lambda: _Handshake(make),
            sock=listener,
            ssl=self.context,
            backlog=backlog,
            ssl_handshake_timeout=self._settings.handshake_seconds,
            ssl_shutdown_timeout=self._settings.close_seconds,
        )

    def _choose(self, handshake: ssl.SSLObject, _name: str | None, _context: ssl.SSLContext) -> None:
        """Called in every handshake, with a server name or without.

        Loading into the context in use would leave an RSA certificate beside the ECDSA one that replaces it.
        """
        if self._newest is not self.context:
            handshake.context = self._newest


def read_settings(settings: Server) -> Tls | None:
    """The TLS that the settings ask for; None when they ask for none.

    Raises:
        ConfigError: only one of the two files is named, or they cannot be used.
    """
    if not settings.tls_cert and not settings.tls_key:
        return None
    for name, other in (("tls_cert", "tls_key"), ("tls_key", "tls_cert")):
        if not getattr(settings, name):
            raise ConfigError(f"{name} is missing: {other} is set, and TLS needs both; one file may hold both")
    return Tls(settings)


def read_context(settings: Server) -> ssl.SSLContext:
    """A context with the certificate and the key of the two files, tried out; a warning where it is out of date.

    Raises:
        ConfigError: they cannot be used; says which, and why.
    """
    cert, key = settings.tls_cert, settings.tls_key
    _check_file("tls_cert", cert, _CERTIFICATE, "-----BEGIN CERTIFICATE-----")
    _check_file("tls_key", key, _KEY, "-----BEGIN PRIVATE KEY-----")
    client = _trusting(cert)
    context = _empty_context()
    try:
        context.load_cert_chain(cert, key, lambda: _refuse_encrypted(key))
    except ssl.SSLError as error:
        raise ConfigError(_explain(error, cert, key)) from error
    except OSError as error:  # it was there just now
        raise ConfigError(f"tls_cert {cert!r}, tls_key {key!r}: {error.strerror}") from error
    _try_out(context, client, cert)
    return context


def _check_file(name: str, file: str, begin: re.Pattern[bytes], shown: str) -> None:
    try:
        content = Path(file).read_bytes()
    except OSError as error:
        raise ConfigError(f"{name} {file!r}: {error.strerror}; it must be a file that the server may read") from error
    except ValueError as error:
        raise ConfigError(f"{name} {file!r}: {error}") from error
    if not begin.search(content):
        raise ConfigError(f"{name} {file!r}: not PEM, which has a line {shown}; openssl converts other forms")


def _refuse_encrypted(key: str) -> bytes:
    """Without it OpenSSL would ask for the password on the terminal."""
    raise ConfigError(f"tls_key {key!r}: it is encrypted; `openssl pkey -in ... -out ...` writes it without a password")


def _explain(error: ssl.SSLError, cert: str, key: str) -> str:
    """Why the two were refused; that the certificate can be read is known."""
    if error.reason in _NO_MATCH:
        return f"tls_key {key!r}: not the key of tls_cert {cert!r}, whose first certificate must be the server's own"
    if error.reason in _WEAK:
        return f"tls_cert {cert!r}: its key or digest is too weak; have one made with 2048 bits of RSA or with ECDSA"
    return f"tls_key {key!r}: it cannot be read ({error.reason or 'damaged'}); copy it again"


def _empty_context() -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.set_ciphers(CIPHERS)
    context.options |= ssl.OP_NO_COMPRESSION | ssl.OP_NO_RENEGOTIATION
    context.set_alpn_protocols(["http/1.1"])
    return context


def _trusting(cert: str) -> ssl.SSLContext:
    """A client that asks nothing of a certificate but its dates and what it is for."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN
    try:
        context.load_verify_locations(cert)
    except OSError as error:
        raise ConfigError(f"tls_cert {cert!r}: it cannot be read ({_reason(error)}); copy it again") from error
    return context


def _try_out(server: ssl.SSLContext, client: ssl.SSLContext, cert: str) -> None:
    """Shakes hands in memory: the standard library has no other way to look at a certificate's dates."""
    to_client, to_server = ssl.MemoryBIO(), ssl.MemoryBIO()
    ends = client.wrap_bio(to_client, to_server), server.wrap_bio(to_server, to_client, server_side=True)
    try:
        for _ in range(_MOST_ROUNDS):
            for end in ends:
                with suppress(ssl.SSLWantReadError):
                    end.do_handshake()
    except ssl.SSLCertVerificationError as error:
        log.warning("tls_cert %r: %s; clients will refuse it: renew it", cert, error.verify_message)
    except ssl.SSLError as error:
        raise ConfigError(f"tls_cert {cert!r}: no client can use it ({_reason(error)}); have another made") from error


def _reason(error: OSError) -> str:
    return getattr(error, "reason", None) or error.strerror or "damaged"


class _Handshake(asyncio.Protocol):
    """Stands for the HTTP protocol until the handshake is done: one that fails leaves no parser to the collector."""

    def __init__(self, make: Callable[[], asyncio.Protocol]) -> None:
        self._make = make

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        protocol = self._make()
        transport.set_protocol(protocol)
        protocol.connection_made(transport)
