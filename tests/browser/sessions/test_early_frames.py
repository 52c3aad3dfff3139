"""Clients whose first frame comes in one piece with their handshake, and clients that leave during it."""

from __future__ import annotations

import asyncio
import json
from urllib.parse import urlsplit

import pytest

from browser_sessions.domain.session import EndReason
from tests.harness.clients.ws_frames import masked
from tests.harness.service import ADMIN_KEY, Running
from tests.harness.waiting import until

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
    writer.write(handshake(session_id, route) + masked(1, json.dumps(message).encode()))
    async with asyncio.timeout(20):
        await reader.readuntil(answer)
    writer.close()  # without a closing handshake, while the service closes it because the session ends
    await service.inside.pool.end(session_id, EndReason.DELETED)
    await service.http.get("/healthz")
    assert "websocket.failed" not in capsys.readouterr().out


@pytest.mark.parametrize("route", CASES)
async def test_a_client_that_leaves_during_its_handshake_is_no_failure(
    service: Running, route: str, capsys: pytest.CaptureFixture[str]
) -> None:
    session_id = (await service.create())["session_id"]
    for _ in range(5):
        _, writer = await asyncio.open_connection("127.0.0.1", urlsplit(service.url).port)
        writer.write(handshake(session_id, route))
        writer.transport.abort()
    assert await service.evaluate(session_id, "1 + 1") == 2
    await until(lambda: not service.inside.gateway._relays, what="no client is left")
    out = capsys.readouterr()
    assert "websocket.failed" not in out.out
    assert "Exception in ASGI" not in out.out + out.err


def handshake(session_id: str, route: str) -> bytes:
    return (
        f"GET /v1/browser/sessions/{session_id}/{route} HTTP/1.1\r\nHost: 127.0.0.1\r\nX-API-Key: {ADMIN_KEY}\r\n"
        "Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n"
        "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
    ).encode()
