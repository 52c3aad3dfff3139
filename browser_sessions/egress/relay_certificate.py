"""The certificate with which the relay ends TLS of one browser, for the origins that get a client certificate.

The browser is started with the hash of its public key (`--ignore-certificate-errors-spki-list`) and accepts it for
every name. The private key is only in this process, and the public one is shown to that browser only, over TLS 1.3: a
chain that merely contains it is accepted too (Chromium 156).

Chromium compares the key and looks at nothing else, so the certificate has no valid signature, and a library that signs
certificates is not needed.
"""

from __future__ import annotations

import hashlib
import secrets
import ssl
from base64 import b64encode
from functools import cache
from typing import Final, TypeAlias

from browser_sessions.egress.pem import load_cert_chain

Point: TypeAlias = tuple[int, int]

# P-256 (FIPS 186-4, D.1.2.3).
_P: Final = 2**256 - 2**224 + 2**192 + 2**96 - 1
_ORDER: Final = 0xFFFFFFFF00000000FFFFFFFFFFFFFFFFBCE6FAADA7179E84F3B9CAC2FC632551
_BASE: Final[Point] = (
    0x6B17D1F2E12C4247F8BCE6E563A440F277037D812DEB33A0F4A13945D898C296,
    0x4FE342E2FE1A7F9B8EE7EB4A7C0F9E162BCE33576B315ECECBB6406837BF51F5,
)

_SEQUENCE, _SET, _INTEGER, _BITS, _OCTETS, _TIME, _TEXT = 0x30, 0x31, 0x02, 0x03, 0x04, 0x18, 0x0C
_P256: Final = bytes.fromhex("06082a8648ce3d030107")
_EC_KEY: Final = bytes.fromhex("06072a8648ce3d0201")
_ECDSA_SHA256: Final = bytes.fromhex("300a06082a8648ce3d040302")
_COMMON_NAME: Final = bytes.fromhex("0603550403")
NAME: Final = "browser-sessions"
"""What the certificate's details show."""


class RelayCertificate:
    """`spki_hash` is what Chromium's switch takes, `tls` the server's side of a handshake."""

    def __init__(self) -> None:
        secret = secrets.randbelow(_ORDER - 1) + 1
        public = b"\0\4" + b"".join(part.to_bytes(32, "big") for part in _times(secret, _BASE))
        spki = _der(_SEQUENCE, _der(_SEQUENCE, _EC_KEY, _P256), _der(_BITS, public))
        key = _der(_SEQUENCE, _der(_INTEGER, b"\1"), _der(_OCTETS, secret.to_bytes(32, "big")), _der(0xA0, _P256))
        self.spki_hash = b64encode(hashlib.sha256(spki).digest()).decode()
        self.tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self.tls.minimum_version = ssl.TLSVersion.TLSv1_3  # encrypts the certificate
        self.tls.set_alpn_protocols(["http/1.1"])
        load_cert_chain(self.tls, ssl.DER_cert_to_PEM_cert(_certificate(spki)), _pem("EC PRIVATE KEY", key))

    def __repr__(self) -> str:
        return "<RelayCertificate>"


@cache
def untrusted() -> RelayCertificate:
    """One that no browser accepts, for origins whose own certificate is not trusted."""
    return RelayCertificate()


def _certificate(spki: bytes) -> bytes:
    name = _der(_SEQUENCE, _der(_SET, _der(_SEQUENCE, _COMMON_NAME, _der(_TEXT, NAME.encode()))))
    always = _der(_SEQUENCE, _der(_TIME, b"20000101000000Z"), _der(_TIME, b"99991231235959Z"))
    serial = _der(_INTEGER, b"\1" + secrets.token_bytes(8))
    content = _der(_SEQUENCE, _der(0xA0, _der(_INTEGER, b"\2")), serial, _ECDSA_SHA256, name, always, name, spki)
    return _der(_SEQUENCE, content, _ECDSA_SHA256, _der(_BITS, b"\0" + bytes(64)))


def _der(tag: int, *parts: bytes) -> bytes:
    body = b"".join(parts)
    size = len(body)
    length = (
        bytes([size])
        if size < 0x80
        else bytes([0x82, *size.to_bytes(2, "big")])
        if size > 0xFF
        else bytes([0x81, size])
    )
    return bytes([tag]) + length + body


def _pem(label: str, der: bytes) -> str:
    return f"-----BEGIN {label}-----\n{b64encode(der).decode()}\n-----END {label}-----\n"


def _times(factor: int, point: Point) -> Point:
    """How long it takes depends on the secret factor: some ten milliseconds at a browser's launch, which nobody else
    can measure."""
    result = None
    for bit in f"{factor:b}":
        if result is not None:
            result = _sum(result, result)
        if bit == "1":
            result = point if result is None else _sum(result, point)
    assert result is not None
    return result


def _sum(one: Point, other: Point) -> Point:
    if one == other:
        slope = 3 * (one[0] ** 2 - 1) * pow(2 * one[1], -1, _P)  # a = -3
    else:
        slope = (other[1] - one[1]) * pow(other[0] - one[0], -1, _P)
    x = (slope**2 - one[0] - other[0]) % _P
    return x, (slope * (one[0] - x) - one[1]) % _P
