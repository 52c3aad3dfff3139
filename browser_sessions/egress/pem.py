"""Gives OpenSSL certificates and keys that are only in memory: `ssl` takes them from files."""

from __future__ import annotations

import os
import ssl
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager


def load_cert_chain(
    context: ssl.SSLContext, certificate: str, key: str, password: Callable[[], str] | None = None
) -> None:
    """`password` is called if the key is encrypted. Raises `ssl.SSLError`, and what `password` raises."""
    with ExitStack() as files:
        certificate_path, key_path = (files.enter_context(_in_memory(text)) for text in (certificate, key))
        context.load_cert_chain(certificate_path, key_path, password)


@contextmanager
def _in_memory(text: str) -> Iterator[str]:
    """The path of an anonymous file, which no file system has."""
    descriptor = os.memfd_create("pem")
    with os.fdopen(descriptor, "wb") as file:
        file.write(text.encode())
        file.flush()
        yield f"/proc/self/fd/{descriptor}"
