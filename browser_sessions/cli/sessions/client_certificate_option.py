"""The option `--client-certificate`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Final

import typer

ClientCertificate = Annotated[
    list[str] | None,
    typer.Option(
        metavar="origin=URL,cert=FILE,key=FILE",
        help="PEM files of a certificate for one site; passphrase=FILE if the key is encrypted. May be given again.",
    ),
]
_OPTION: Final = "--client-certificate"
_NAMES: Final = ("origin", "cert", "key", "passphrase")


def client_certificates(given: list[str]) -> list[dict[str, Any]]:
    """The field of a create. Raises `BadParameter`."""
    return [_read(text) for text in given]


def _read(text: str) -> dict[str, Any]:
    parts = dict(item.strip().partition("=")[::2] for item in text.split(","))
    if not {"origin", "cert", "key"} <= parts.keys() <= set(_NAMES):
        raise typer.BadParameter("must be origin=URL,cert=FILE,key=FILE, with passphrase=FILE", param_hint=_OPTION)
    return {name: value if name == "origin" else _content(name, value) for name, value in parts.items()}


def _content(name: str, file: str) -> str:
    try:
        text = Path(file).read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is no text"
        raise typer.BadParameter(f"{name}: {file} cannot be read: {reason}", param_hint=_OPTION) from None
    return text.rstrip("\r\n") if name == "passphrase" else text
