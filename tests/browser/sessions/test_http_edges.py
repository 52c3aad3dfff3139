"""Requests that the server library refuses by itself, and bodies that are too large, over a real connection."""

from __future__ import annotations

import asyncio
import json
from urllib.parse import urlsplit

import pytest

from tests.harness.service import Running

pytestmark = pytest.mark.browser

UPGRADE = (
    "GET /v1/browser/connect HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
    "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 12\r\n\r\n"
)


@pytest.mark.parametrize("head", ["FOO / HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n", "not HTTP\r\n\r\n", UPGRADE])
async def test_what_the_server_library_refuses_is_a_problem_too(service: Running, head: str) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", urlsplit(service.url).port)
    writer.write(head.encode())
    async with asyncio.timeout(10):
        answer = await reader.read()
    writer.close()
    top, _, body = answer.decode().partition("\r\n\r\n")
    assert top.startswith("HTTP/1.1 4")
    assert "content-type: application/problem+json" in top.lower()
    assert json.loads(body)["title"] == "Bad request"


@pytest.mark.parametrize("megabytes", [0.9, 8, 20])
async def test_a_caller_gets_its_response_however_large_its_body(service: Running, megabytes: float) -> None:
    """Sent whole before anything is read, as curl and most libraries do."""
    body = json.dumps({"metadata": {"k": "x" * int(megabytes * 2**20)}})
    for _ in range(3):
        response = await service.http.post(
            "/v1/browser/sessions", content=body, headers={"Content-Type": "application/json"}
        )
        assert response.status_code == (422 if megabytes < 1 else 413)
