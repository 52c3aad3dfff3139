"""Traces over OTLP/HTTP from a real server to a test collector: spans, their parents, and no secrets in them."""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from tests.harness.clients.raw_cdp import raw
from tests.harness.service import ADMIN_KEY, ServerProcess
from tests.harness.waiting import until

pytestmark = pytest.mark.browser
TRACE = "0af7651916cd43dd8448eb211c80319c"
CALLER = "b7ad6b7169203331"


class Receiver:
    """A collector that records every span."""

    def __init__(self) -> None:
        self.bodies: list[bytes] = []
        self.resource: dict[str, str] = {}
        self.spans: list[Any] = []
        self.others: list[str] = []
        """Paths of requests other than spans."""

    async def handle(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while True:
                head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").lower()
                length = int(head.partition("content-length:")[2].split("\r\n")[0])
                self._keep(head.split(" ")[1], await reader.readexactly(length))
                writer.write(b"HTTP/1.1 200 OK\r\nContent-Type: application/x-protobuf\r\nContent-Length: 0\r\n\r\n")
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            writer.close()

    def _keep(self, path: str, body: bytes) -> None:
        self.bodies.append(body)
        if path != "/v1/traces":
            self.others.append(path)
            return
        for each in ExportTraceServiceRequest.FromString(body).resource_spans:
            self.resource = {fact.key: fact.value.string_value for fact in each.resource.attributes}
            self.spans += [span for scope in each.scope_spans for span in scope.spans]

    def named(self, name: str) -> list[Any]:
        return [span for span in self.spans if span.name == name]

    async def one(self, name: str) -> Any:
        await until(lambda: self.named(name), what=f"a span {name}")
        return self.named(name)[-1]


@asynccontextmanager
async def receiving() -> AsyncIterator[tuple[Receiver, str]]:
    receiver = Receiver()
    server = await asyncio.start_server(receiver.handle, "127.0.0.1", 0)
    async with server:
        yield receiver, f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"


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


async def test_a_missing_collector_does_not_delay_start_or_exit(tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    server = ServerProcess(tmp_path / "data")
    service = await server.start(["env", "OTEL_EXPORTER_OTLP_ENDPOINT=http://127.0.0.1:9"])
    await service.create()
    await service.http.aclose()
    began = asyncio.get_running_loop().time()
    assert await server.stop() == 0
    assert asyncio.get_running_loop().time() - began < 10


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
