"""Public keys, and the one algorithm that each is for: from PEM, and from the key sets of issuers (RFC 7517)."""

from __future__ import annotations

import base64
import binascii
from typing import Final

import msgspec
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.ec import SECP256R1, EllipticCurvePublicKey, EllipticCurvePublicNumbers
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey, RSAPublicNumbers

PublicKey = RSAPublicKey | EllipticCurvePublicKey | Ed25519PublicKey
RSA_BITS: Final = range(2048, 16384 + 1)
"""RFC 7518, section 3.3, asks for the least; OpenSSL verifies with no longer ones."""


def algorithm_of(key: object) -> str | None:
    """The algorithm that a public key is for; None for keys that are for none of ours.

    What verifies finds keys under this name only, so that a token cannot have a key used for another algorithm.
    """
    match key:
        case RSAPublicKey():
            return "RS256" if key.key_size in RSA_BITS else None
        case EllipticCurvePublicKey():
            return "ES256" if isinstance(key.curve, SECP256R1) else None
        case Ed25519PublicKey():
            return "EdDSA"
        case _:
            return None


class _Jwk(msgspec.Struct):
    """A key as RFC 7517 and RFC 7518 write it; `oct` keys and private parts have no place in it on purpose."""

    kty: str
    kid: str | None = None
    use: str | None = None
    key_ops: list[str] | None = None
    alg: str | None = None
    crv: str = ""
    n: str = ""
    e: str = ""
    x: str = ""
    y: str = ""
    d: object = None


class _JwkSet(msgspec.Struct):
    keys: list[msgspec.Raw]


def read_key_set(document: bytes) -> list[tuple[str | None, str, PublicKey]]:
    """The keys of a JSON Web Key Set that verify signatures, as `kid`, algorithm and key; others are passed over.

    Raises:
        ValueError: it is no key set.
    """
    try:
        raw = msgspec.json.decode(document, type=_JwkSet).keys
    except (msgspec.MsgspecError, RecursionError, UnicodeDecodeError):
        raise ValueError("no JSON Web Key Set") from None
    return [found for entry in raw if (found := _read(entry))]


def _read(entry: msgspec.Raw) -> tuple[str | None, str, PublicKey] | None:
    try:
        jwk = msgspec.json.decode(entry, type=_Jwk)
        key = _public_key(jwk)
    except (msgspec.MsgspecError, RecursionError, ValueError, UnsupportedAlgorithm):
        return None  # one key that we do not know must not cost the others
    algorithm = algorithm_of(key)
    if key is None or algorithm is None or not _verifies(jwk, algorithm):
        return None
    return jwk.kid, algorithm, key


def _verifies(jwk: _Jwk, algorithm: str) -> bool:
    """Whether its issuer means it to verify with this algorithm; never one whose private part the world knows."""
    return (
        jwk.use in (None, "sig")
        and jwk.alg in (None, algorithm)
        and (jwk.key_ops is None or "verify" in jwk.key_ops)
        and jwk.d is None
    )


def _public_key(jwk: _Jwk) -> PublicKey | None:
    match jwk.kty, jwk.crv:
        case "RSA", _:
            return RSAPublicNumbers(_number(jwk.e), _number(jwk.n)).public_key()
        case "EC", "P-256":
            return EllipticCurvePublicNumbers(_number(jwk.x), _number(jwk.y), SECP256R1()).public_key()
        case "OKP", "Ed25519":
            return Ed25519PublicKey.from_public_bytes(_bytes(jwk.x))
        case _:
            return None


def _number(text: str) -> int:
    return int.from_bytes(_bytes(text))


def _bytes(text: str) -> bytes:
    """Base64url without padding (RFC 7515, section 2)."""
    try:
        return base64.b64decode(text + "=" * (-len(text) % 4), altchars=b"-_", validate=True)
    except binascii.Error:
        raise ValueError("not base64url") from None
