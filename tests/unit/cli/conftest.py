"""The command line against a fake service."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from browser_sessions.cli import service_command
from browser_sessions.client import Client
from tests.harness.fakes.api_service import KEY, Service


@pytest.fixture
def service(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Service]:
    service = Service()
    transport = httpx.MockTransport(service)

    def client(*args: Any, **kwargs: Any) -> Client:
        return Client(*args, **kwargs, transport=transport)

    monkeypatch.setattr(service_command, "Client", client)
    for name in ("URL", "API_KEY", "ADMIN_API_KEY", "HOST", "PORT"):
        monkeypatch.delenv(f"BROWSER_SESSIONS_{name}", raising=False)
    monkeypatch.setenv("BROWSER_SESSIONS_DATA_DIR", str(tmp_path))
    monkeypatch.setenv("BROWSER_SESSIONS_API_KEY", KEY)
    yield service
    assert {request.headers.get("X-API-Key") for request in service.requests} <= {KEY, None}
