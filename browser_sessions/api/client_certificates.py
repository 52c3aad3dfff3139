"""Reads the client certificates of a create."""

from __future__ import annotations

import asyncio
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import Final

from browser_sessions.api.models.client_certificate_models import ClientCertificateBody
from browser_sessions.api.models.create_body import CreateBrowserSession
from browser_sessions.domain.errors import InvalidField
from browser_sessions.domain.session_spec import ClientCertificate, SessionSpec
from browser_sessions.egress.client_certificates import InvalidCertificate, read_client_certificate

_FIELD: Final = "client_certificates"
_READER: Final = ThreadPoolExecutor(1, "client-certificates")
"""A thread of their own: passwords of keys are slow on purpose."""


async def with_client_certificates(spec: SessionSpec, asked: CreateBrowserSession) -> SessionSpec:
    """Raises `InvalidField`, without anything that was given."""
    loop = asyncio.get_running_loop()
    found: dict[str, ClientCertificate] = {}
    for index, body in enumerate(asked.client_certificates):
        try:
            read = await loop.run_in_executor(_READER, _read, body, spec.ignore_https_errors)
        except InvalidCertificate as error:
            raise InvalidField(("body", _FIELD, index, error.field), str(error)) from None
        if read.origin in found:
            raise InvalidField(("body", _FIELD, index, "origin"), "is given twice: an origin gets one certificate")
        found[read.origin] = read
    return replace(spec, client_certificates=tuple(found.values()))


def _read(body: ClientCertificateBody, ignore_https_errors: bool) -> ClientCertificate:
    return read_client_certificate(
        body.origin, body.cert, body.key, body.passphrase, ignore_https_errors=ignore_https_errors
    )
