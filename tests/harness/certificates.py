"""Certificates made for a test: an authority, and what it signs."""

from __future__ import annotations

import ssl
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Any


@dataclass(frozen=True)
class Pair:
    """PEM files."""

    cert: Path
    key: Path

    def for_origin(self, origin: str, **others: str) -> dict[str, Any]:
        """As the API takes it."""
        return {"origin": origin, "cert": self.cert.read_text(), "key": self.key.read_text()} | others


class Authority:
    """Makes a new one in a folder."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self.own = Pair(folder / "authority.pem", folder / "authority.key")
        self._openssl("req", "-x509", *self._new(self.own, "Test authority"))

    def sign(self, name: str, *, server: bool = False) -> Pair:
        """For a client called `name`, or for a server on loopback."""
        made = Pair(self._folder / f"{name}.pem", self._folder / f"{name}.key")
        names = ["-addext", "subjectAltName=IP:127.0.0.1,DNS:localhost"] if server else []
        signed = ["-CA", str(self.own.cert), "-CAkey", str(self.own.key)]
        self._openssl("req", "-x509", *self._new(made, name), *names, *signed)
        return made

    def encrypted(self, pair: Pair, passphrase: str, *options: str) -> Pair:
        """The same with its key encrypted."""
        key = self._folder / f"{pair.key.stem}.encrypted.key"
        self._openssl(
            "pkcs8", "-topk8", "-in", str(pair.key), "-out", str(key), "-passout", f"pass:{passphrase}", *options
        )
        return Pair(pair.cert, key)

    def server_tls(self, *, asks: bool = True) -> ssl.SSLContext:
        """Of a server on loopback that asks for a client certificate of this authority and goes on without."""
        tls = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH, cafile=str(self.own.cert))
        server = self.sign("server", server=True)
        tls.load_cert_chain(server.cert, server.key)
        tls.verify_mode = ssl.CERT_OPTIONAL if asks else ssl.CERT_NONE
        return tls

    def _new(self, pair: Pair, name: str) -> list[str]:
        key = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "2"]
        return [*key, "-subj", f"/CN={name}", "-keyout", str(pair.key), "-out", str(pair.cert)]

    def _openssl(self, *arguments: str) -> None:
        subprocess.run(["openssl", *arguments], check=True, capture_output=True)


def common_name(certificate: dict[str, Any] | None) -> str:
    """Of a peer's certificate as `ssl` gives it; "nobody" without."""
    if not certificate:
        return "nobody"
    return next(str(value) for part in certificate["subject"] for name, value in part if name == "commonName")
