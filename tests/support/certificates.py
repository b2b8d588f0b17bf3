"""Certificates for tests: an authority of our own, and what it signs."""

from __future__ import annotations

import ssl
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    KeySerializationEncryption,
    NoEncryption,
    PrivateFormat,
)

Key = ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey
DAY = timedelta(days=1)
HOSTS = x509.SubjectAlternativeName([x509.DNSName("localhost"), x509.IPAddress(ip_address("127.0.0.1"))])


def new_key() -> Key:
    return ec.generate_private_key(ec.SECP256R1())


def named(name: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, name)])


def key_pem(key: Key, encryption: KeySerializationEncryption | None = None) -> bytes:
    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, encryption or NoEncryption())


def encrypted(key: Key) -> bytes:
    return key_pem(key, BestAvailableEncryption(b"secret"))


@dataclass
class Files:
    """The two files of a server, and the authority's, by which clients know it."""

    cert: Path
    key: Path
    authority: Path

    @property
    def options(self) -> tuple[str, ...]:
        """For `hubbub serve`."""
        return ("--tls-cert", str(self.cert), "--tls-key", str(self.key))

    def client(self) -> ssl.SSLContext:
        """A client that trusts the authority."""
        return ssl.create_default_context(cafile=self.authority)


class Authority:
    """Signs; its own certificate is in `folder`."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._key = new_key()
        self._file = folder / "authority.pem"
        self._cert = self._sign("authority", self._key, datetime.now(UTC) + DAY, authority=True)
        self._file.write_bytes(self._cert.public_bytes(Encoding.PEM))

    def issue(self, name: str, *, key: Key | None = None, ends: timedelta = DAY) -> Files:
        """A server's certificate and key, written over those of the same name."""
        files = Files(self._folder / f"{name}.pem", self._folder / f"{name}.key", self._file)
        key = key or new_key()
        files.cert.write_bytes(self._sign(name, key, datetime.now(UTC) + ends).public_bytes(Encoding.PEM))
        files.key.write_bytes(key_pem(key))
        return files

    def _sign(self, name: str, key: Key, ends: datetime, *, authority: bool = False) -> x509.Certificate:
        builder = (
            x509.CertificateBuilder(named("authority"), named(name), key.public_key(), x509.random_serial_number())
            .not_valid_before(ends - 2 * DAY)
            .not_valid_after(ends)
            .add_extension(x509.BasicConstraints(ca=authority, path_length=None), critical=True)
            .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        )
        if authority:
            builder = builder.add_extension(SIGNS, critical=True)
        else:
            issuer = x509.AuthorityKeyIdentifier.from_issuer_public_key(self._key.public_key())
            builder = builder.add_extension(HOSTS, critical=False).add_extension(issuer, critical=False)
        return builder.sign(self._key, hashes.SHA256())


SIGNS = x509.KeyUsage(
    digital_signature=True,
    content_commitment=False,
    key_encipherment=False,
    data_encipherment=False,
    key_agreement=False,
    key_cert_sign=True,
    crl_sign=True,
    encipher_only=False,
    decipher_only=False,
)
