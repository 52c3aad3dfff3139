"""Traces over OTLP/HTTP from a real server to a test collector: spans, their parents, and no secrets in them."""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.harness.clients.raw_cdp import raw
from tests.harness.service import ADMIN_KEY, ServerProcess
from tests.harness.span_collector import receiving
from tests.harness.waiting import until

pytestmark = pytest.mark.browser
TRACE = "0af7651916cd43dd8448eb211c80319c"
CALLER = "b7ad6b7169203331"


def facts(span: Any) -> dict[str, Any]:
    return {fact.key: getattr(fact.value, str(fact.value.WhichOneof("value"))) for fact in span.attributes}


async def test_a_sessions_spans_continue_the_callers_trace_and_contain_no_secret(tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    server = ServerProcess(tmp_path / "data")
    async with receiving() as (receiver, endpoint):
        variables = {"OTEL_EXPORTER_OTLP_ENDPOINT": endpoint, "OTEL_BSP_SCHEDULE_DELAY": "100"}
        variables["FASTAPI_OTEL_AUTO_CONFIGURE"] = (
            "true"  # would send FastAPI's own spans, metrics and logs, with full URLs
        )
        service = await server.start(["env", *(f"{name}={value}" for name, value in variables.items())])
        try:
            traceparent = {"traceparent": f"00-{TRACE}-{CALLER}-01"}
            response = await service.http.post("/v1/browser/sessions", json={}, headers=traceparent)
            made = response.json()
            session_id, tickets = made["session_id"], {made["connect_url"].partition("ticket=")[2]}
            async with raw(made["connect_url"]) as client:
                await client.call("Browser.getVersion")
            await service.http.delete(f"/v1/browser/sessions/{session_id}")
            assert (await service.http.get("/v1/browser/sessions/nobody")).status_code == 404

            request = await receiver.one("POST /v1/browser/sessions")
            assert (request.trace_id.hex(), request.parent_span_id.hex()) == (TRACE, CALLER)
            assert facts(request) == {
                "http.request.method": "POST",
                "http.route": "/v1/browser/sessions",
                "http.response.status_code": 201,
                "browser_sessions.session_id": session_id,
                "browser_sessions.request_id": response.headers["x-request-id"],
            }
            create = await receiver.one("session.create")
            assert create.parent_span_id == request.span_id
            assert facts(create) == {"browser_sessions.session_id": session_id}
            for part in ("session.admit", "browser.take", "context.open"):
                inside = await receiver.one(part)
                assert inside.parent_span_id == create.span_id, part
                assert create.start_time_unix_nano <= inside.start_time_unix_nano <= inside.end_time_unix_nano
            assert facts(await receiver.one("browser.launch"))["browser_sessions.browser_id"] == "browser-1"

            ended = await receiver.one("session.end")
            delete = await receiver.one("DELETE /v1/browser/sessions/{session_id}")
            assert ended.parent_span_id == delete.span_id
            assert facts(ended)["browser_sessions.reason"] == "deleted"
            driven = await until(
                lambda: [each for each in receiver.spans if facts(each).get("http.response.status_code") == 101],
                what="the span of a WebSocket",
            )
            assert facts(driven[0])["browser_sessions.session_id"] == session_id
            assert receiver.resource["service.name"] == "browser-sessions"
        finally:
            await service.http.aclose()
            assert await server.stop() == 0
        sent = b"".join(receiver.bodies)
        for secret in (ADMIN_KEY, *tickets):
            assert secret
            assert secret.encode() not in sent
        assert not receiver.named("GET /readyz")
        assert receiver.others == [], "FastAPI's own telemetry must stay off"


@pytest.mark.slow
async def test_a_missing_collector_does_not_delay_start_or_exit(tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    server = ServerProcess(tmp_path / "data")
    service = await server.start(
        ["env", "OTEL_EXPORTER_OTLP_ENDPOINT=http://127.0.0.1:9", "OTEL_EXPORTER_OTLP_TIMEOUT=60"]
    )
    await service.create()
    await service.http.aclose()
    began = asyncio.get_running_loop().time()
    assert await server.stop() == 0
    assert asyncio.get_running_loop().time() - began < 30


def test_neither_sdk_nor_exporter_is_loaded_unless_configured() -> None:
    # FastAPI itself loads the OpenTelemetry API if installed.
    code = (
        "import json, sys, browser_sessions.server\n"
        "from browser_sessions import tracing\n"
        "tracing.start('1', 'n')\n"
        "loaded = [each for each in sys.modules if each.startswith(('opentelemetry.sdk', 'opentelemetry.exporter'))]\n"
        "print(json.dumps([tracing.tracer() is None, loaded]))"
    )
    response = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True, env={})
    assert json.loads(response.stdout) == [True, []]
