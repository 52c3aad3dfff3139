"""The JSON model of a client certificate."""

from __future__ import annotations

from typing import Annotated, Final

from pydantic import BaseModel, Field

from browser_sessions.api.models.model_parts import REQUEST

MAX_CLIENT_CERTIFICATES: Final = 8
"""Of one session: each loads its own copy of the system's trusted certificates."""

Pem = Annotated[str, Field(min_length=1, max_length=32_768, repr=False)]


class ClientCertificateBody(BaseModel):
    """Playwright's fields, with PEM as text."""

    model_config = REQUEST

    origin: str = Field(max_length=300, description="The only site that sees it, such as `https://shop.example:8443`")
    cert: Pem = Field(description="PEM, with the certificates between it and its root")
    key: Pem = Field(description="PEM")
    passphrase: str | None = Field(None, max_length=1000, repr=False, description="Of an encrypted `key`")
