"""Key pairs, made once; and issuers on this machine that serve their public halves and count who asks."""

from __future__ import annotations

import asyncio
import json
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from functools import cache
from ipaddress import ip_address
from pathlib import Path
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat
from jwt.algorithms import ECAlgorithm, OKPAlgorithm, RSAAlgorithm

Private = rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey | ed25519.Ed25519PrivateKey
RSA, EC, ED = "RS256", "ES256", "EdDSA"


@cache
def pair(algorithm: str = RSA, which: int = 0, bits: int = 2048) -> Private:
    """A private key for the algorithm; `which` of several."""
    if algorithm == RSA:
        return rsa.generate_private_key(65537, bits)
    return ec.generate_private_key(ec.SECP256R1()) if algorithm == EC else ed25519.Ed25519PrivateKey.generate()


def public_pem(key: Private) -> bytes:
    return key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)


def private_pem(key: Private) -> bytes:
    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())


def written(folder: Path, pem: bytes) -> str:
    (folder / "key.pem").write_bytes(pem)
    return str(folder / "key.pem")


def jwk(key: Private, **fields: Any) -> dict[str, Any]:
    """The public half as RFC 7517 writes it."""
    public = key.public_key()
    if isinstance(public, rsa.RSAPublicKey):
        return RSAAlgorithm.to_jwk(public, as_dict=True) | {"key_ops": ["verify"]} | fields
    if isinstance(public, ec.EllipticCurvePublicKey):
        return ECAlgorithm.to_jwk(public, as_dict=True) | fields
    return OKPAlgorithm.to_jwk(public, as_dict=True) | fields


def key_set(*keys: dict[str, Any]) -> bytes:
    return json.dumps({"keys": keys}).encode()


def response(body: bytes, status: str = "200 OK", headers: str = "") -> bytes:
    return f"HTTP/1.1 {status}\r\nContent-Length: {len(body)}\r\n{headers}\r\n".encode() + body


class Issuer:
    """Answers every request with `answer`, once `open` is set; an answer without an end drips for as long as asked."""

    def __init__(self) -> None:
        self.answer = response(key_set())
        self.open = asyncio.Event()
        self.open.set()
        self.asked = asyncio.Event()
        self.requests: list[bytes] = []
        self.url = ""

    def serve(self, *keys: dict[str, Any]) -> None:
        self.answer = response(key_set(*keys))

    async def receive(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            self.requests.append(await reader.readuntil(b"\r\n\r\n"))
            self.asked.set()
            await self.open.wait()
            writer.write(self.answer)
            await writer.drain()
            while b"chunked" in self.answer:  # it never ends by itself
                writer.write(b"1\r\n \r\n")
                await writer.drain()
                await asyncio.sleep(0.01)
        except (ConnectionError, asyncio.IncompleteReadError):
            pass
        finally:
            writer.close()


def self_signed(folder: Path) -> tuple[ssl.SSLContext, str]:
    """What a server that vouches for itself speaks TLS with, and the file of its certificate."""
    key, name = pair(EC), x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "127.0.0.1")])
    day, today = timedelta(days=1), datetime.now(UTC)
    builder = x509.CertificateBuilder().subject_name(name).issuer_name(name).serial_number(1)
    builder = builder.public_key(key.public_key()).not_valid_before(today - day).not_valid_after(today + day)
    address = x509.SubjectAlternativeName([x509.IPAddress(ip_address("127.0.0.1"))])
    certificate = builder.add_extension(address, critical=False).sign(key, hashes.SHA256())
    (folder / "tls.pem").write_bytes(certificate.public_bytes(Encoding.PEM) + private_pem(key))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(folder / "tls.pem")
    return context, str(folder / "tls.pem")


@asynccontextmanager
async def issuer(tls: ssl.SSLContext | None = None) -> AsyncIterator[Issuer]:
    one = Issuer()
    server = await asyncio.start_server(one.receive, "127.0.0.1", 0, ssl=tls)
    one.url = f"{'https' if tls else 'http'}://127.0.0.1:{server.sockets[0].getsockname()[1]}/keys"
    try:
        yield one
    finally:
        one.open.set()
        server.close()
        await server.wait_closed()
