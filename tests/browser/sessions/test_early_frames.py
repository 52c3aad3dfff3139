"""Clients whose first frame comes in one piece with their handshake."""

from __future__ import annotations

import asyncio
import json
from urllib.parse import urlsplit

import pytest

from browser_sessions.domain.session import EndReason
from tests.harness.clients.ws_frames import masked
from tests.harness.service import ADMIN_KEY, Running

pytestmark = pytest.mark.browser

CASES = {
    "cdp": ({"id": 7, "method": "Browser.getVersion"}, b'"id":7'),
    "live": ({"type": "ping", "id": 7}, b'"pong"'),
}


@pytest.mark.parametrize("route", CASES)
async def test_a_frame_in_one_piece_with_the_handshake_is_answered(
    service: Running, route: str, capsys: pytest.CaptureFixture[str]
) -> None:
    message, answer = CASES[route]
    session_id = (await service.create())["session_id"]
    reader, writer = await asyncio.open_connection("127.0.0.1", urlsplit(service.url).port)
    head = (
        f"GET /v1/browser/sessions/{session_id}/{route} HTTP/1.1\r\nHost: 127.0.0.1\r\nX-API-Key: {ADMIN_KEY}\r\n"
        "Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n"
        "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
    )
    writer.write(head.encode() + masked(1, json.dumps(message).encode()))
    async with asyncio.timeout(20):
        await reader.readuntil(answer)
    writer.close()  # without a closing handshake, while the service closes it because the session ends
    await service.inside.pool.end(session_id, EndReason.DELETED)
    await service.http.get("/healthz")
    assert "websocket.failed" not in capsys.readouterr().out
