"""Reads a session's client certificates: a TLS context for each origin, with the certificate and its key inside."""

from __future__ import annotations

import binascii
import hashlib
import re
import ssl
from base64 import b64decode
from typing import Final

from pydantic_core import Url

from browser_sessions.domain.session_spec import ClientCertificate
from browser_sessions.egress.pem import load_cert_chain

_PRIVATE_KEY: Final = "PRIVATE KEY"
_NO_KEY: Final = "must be a private key in PEM"
_SEQUENCE: Final = rb"\x30(?:[\x00-\x7f]|\x81.|\x82..)"
_PBKDF2: Final = re.compile(
    _SEQUENCE * 2
    + rb"\x06\x09\x2a\x86\x48\x86\xf7\x0d\x01\x05\x0d"  # PBES2
    + _SEQUENCE * 2
    + rb"\x06\x09\x2a\x86\x48\x86\xf7\x0d\x01\x05\x0c"
    + _SEQUENCE
    + rb"\x04([\x00-\x7f])",
    re.DOTALL,
)
"""The beginning of a key encrypted with it, up to the length of the salt (RFC 8018, appendix A)."""
MOST_ITERATIONS: Final = 1_000_000
"""Of the derivation of a key's password: a third of a second. There is no bound otherwise."""
_RSA: Final = re.compile(rb"\x06\x09\x2a\x86\x48\x86\xf7\x0d\x01\x01.{1,64}?\x03\x82(..)\x00\x30", re.DOTALL)
"""An RSA public key and its length (RFC 8017, appendix A.1)."""
MOST_RSA_BITS: Final = 4096
"""A signature with more would stop the event loop for longer than 10 ms."""
_AROUND_MODULUS: Final = 32
"""Bytes of a public key besides it."""


class InvalidCertificate(Exception):
    """`field` is the one that is invalid. The text says why, without any of its content."""

    def __init__(self, field: str, message: str) -> None:
        super().__init__(message)
        self.field = field


def read_client_certificate(
    origin: str, cert: str, key: str, passphrase: str | None, *, ignore_https_errors: bool
) -> ClientCertificate:
    """Blocks for up to a second. Raises `InvalidCertificate`."""
    host, port = parse_origin(origin)
    chain, private_key = _certificates(cert), _private_key(key)
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    if ignore_https_errors:
        tls.check_hostname, tls.verify_mode = False, ssl.CERT_NONE
    else:
        tls.load_default_certs()
    tls.set_alpn_protocols(["http/1.1"])
    tls.set_ciphers("DEFAULT:!kDHE")  # which Chromium does not offer either; its cost is the server's choice
    wants_passphrase = False

    def password() -> str:
        nonlocal wants_passphrase
        wants_passphrase = True
        return passphrase or ""

    try:
        load_cert_chain(tls, chain, private_key, password)
    except ssl.SSLError as error:
        if error.reason == "KEY_VALUES_MISMATCH":
            raise InvalidCertificate("key", "must be the private key of cert: it belongs to another") from None
        if error.reason in ("EE_KEY_TOO_SMALL", "CA_KEY_TOO_SMALL", "CA_MD_TOO_WEAK"):
            raise InvalidCertificate("cert", "is too weak: its key or signature is no longer accepted") from None
        if wants_passphrase:
            problem = "is wrong" if passphrase else "must be given: the key is encrypted"
            raise InvalidCertificate("passphrase", problem) from None
        raise InvalidCertificate("key", _NO_KEY) from None
    except ValueError:  # it is too long, or not Unicode
        raise InvalidCertificate("passphrase", "cannot be used") from None
    material = hashlib.sha256()
    for part in (cert, key, passphrase or ""):
        material.update(hashlib.sha256(part.encode(errors="surrogatepass")).digest())
    return ClientCertificate(origin_of(host, port), material.hexdigest(), host, port, tls)


def parse_origin(text: str) -> tuple[str, int]:
    """Host and port of an https origin, as a CONNECT has them. Raises `InvalidCertificate`."""
    try:
        url = Url(text)
    except ValueError:
        url = None
    if url is None or url.scheme != "https" or not url.host:
        raise InvalidCertificate("origin", "must be an https origin, such as https://shop.example")
    if url.username or url.password or (url.path or "/") != "/" or url.query is not None or url.fragment is not None:
        raise InvalidCertificate("origin", "must end with the host or port, such as https://shop.example:8443")
    return url.host.strip("[]").removesuffix(".").lower(), url.port or 443


def origin_of(host: str, port: int) -> str:
    return f"https://{f'[{host}]' if ':' in host else host}{'' if port == 443 else f':{port}'}"


def _certificates(pem: str) -> str:
    """Those in the text, without what is around them."""
    blocks = [(label, content) for label, content in _blocks(pem) if label.endswith("CERTIFICATE")]
    chain = "".join(_pem(*block) for block in blocks)
    try:
        ders = [_decoded(content) for _, content in blocks]
        ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT).load_verify_locations(cadata=chain)
    except (ValueError, ssl.SSLError):
        raise InvalidCertificate("cert", "must be a certificate in PEM, with those between it and its root") from None
    most = MOST_RSA_BITS // 8 + _AROUND_MODULUS
    if any(int.from_bytes(length, "big") > most for der in ders for length in _RSA.findall(der)):
        raise InvalidCertificate("cert", f"has an RSA key of more than {MOST_RSA_BITS} bits")
    return chain


def _private_key(pem: str) -> str:
    """The one in the text, without what is around it."""
    blocks = [(label, content) for label, content in _blocks(pem) if label.endswith(_PRIVATE_KEY)]
    if len(blocks) != 1:
        raise InvalidCertificate("key", "must be one private key in PEM")
    label, content = blocks[0]
    if label == f"ENCRYPTED {_PRIVATE_KEY}":
        try:
            iterations = _iterations(_decoded(content))
        except ValueError:
            raise InvalidCertificate("key", _NO_KEY) from None
        if iterations is None:
            message = "must be encrypted with PBKDF2: convert it with openssl pkcs8 -topk8 -v2 aes256"
            raise InvalidCertificate("key", message)
        if iterations > MOST_ITERATIONS:
            message = f"has {iterations} iterations of PBKDF2, at most {MOST_ITERATIONS} are accepted"
            raise InvalidCertificate("key", message)
    return _pem(label, content)


def _blocks(pem: str) -> list[tuple[str, str]]:
    """(label, content) of each."""
    parts = pem.split("-----")
    return [
        (begin.removeprefix("BEGIN "), content)
        for begin, content, end in zip(parts, parts[1:], parts[2:], strict=False)
        if begin.startswith("BEGIN ") and end == begin.replace("BEGIN", "END", 1) and content.isascii()
    ]


def _pem(label: str, content: str) -> str:
    return f"-----BEGIN {label}-----{content}-----END {label}-----\n"


def _iterations(der: bytes) -> int | None:
    """None if the key is encrypted in another way."""
    found = _PBKDF2.match(der)
    rest = b"" if found is None else der[found.end() + found[1][0] :]
    return int.from_bytes(rest[2 : 2 + rest[1]], "big") if rest[:1] == b"\2" and len(rest) > 1 else None


def _decoded(content: str) -> bytes:
    try:
        return b64decode("".join(content.split()), validate=True)
    except binascii.Error as error:
        raise ValueError("not base64") from error
