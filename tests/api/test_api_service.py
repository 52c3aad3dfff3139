"""Middleware, health, metrics, logs and documents of the HTTP service."""

from __future__ import annotations

import asyncio
import html
import io
import json
import re
from collections.abc import AsyncIterator, Iterator
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest
from prometheus_client.parser import text_string_to_metric_families
from starlette.routing import WebSocketRoute

from browser_sessions.api import application
from browser_sessions.api.dependencies import ApiOptions
from browser_sessions.api.middleware.edge import STATUS_ROUTE
from browser_sessions.domain.clock import SystemClock
from browser_sessions.domain.session import EndReason
from browser_sessions.events.log_and_metrics import project
from browser_sessions.telemetry import ANONYMOUS, RESTART_REASONS, RETIREMENT_REASONS
from tests.harness.documents import codes, rows
from tests.harness.fakes.fake_node import ADMIN_KEY, Node, assemble, node
from tests.harness.log_lines import json_lines

SESSIONS = "/v1/browser/sessions"
ADMIN = {"X-API-Key": ADMIN_KEY}


@pytest.fixture
async def service(tmp_path: Path) -> AsyncIterator[Node]:
    async with node(tmp_path) as running:
        yield running


@pytest.fixture
def lines() -> Iterator[io.StringIO]:
    with json_lines("info") as lines:
        yield lines


async def test_health_and_readiness_need_no_credential(service: Node) -> None:
    assert (await service.client.get("/healthz")).json() == {"status": "ok", "version": "0.0.0"}
    await service.pool.fleet.first()
    ready = await service.client.get("/readyz")
    assert (ready.status_code, ready.json()["ready"]) == (200, True)
    service.pool.drain()
    draining = await service.client.get("/readyz")
    assert (draining.status_code, draining.json()["ready"]) == (503, False)
    assert draining.json()["problems"]


async def test_operators_can_read_the_pools_state(service: Node) -> None:
    await service.client.post(SESSIONS, headers=await service.key())
    state = (await service.client.get("/v1/browser/pool", headers=ADMIN)).json()
    assert (state["capacity"], state["taken"], state["free"], state["queue"]) == (50, 1, 49, 0)
    assert state["browsers"][0]["sessions"] == 1
    assert not state["draining"]


def counted(service: Node, route: str, status: int) -> float | None:
    return service.metrics.registry.get_sample_value(
        "browser_sessions_http_request_seconds_count", {"method": "GET", "route": route, "status": str(status)}
    )


async def test_metrics_have_current_state_and_count_requests_by_route(service: Node) -> None:
    mine = await service.key()
    made = (await service.client.post(SESSIONS, headers=mine)).json()["session_id"]
    for _ in range(3):
        await service.client.get(f"{SESSIONS}/{made}", headers=mine)
    await service.client.get(f"{SESSIONS}/ses_unknown", headers=mine)
    await service.client.get("/no/such/address/7")
    await service.client.get(f"{SESSIONS}/ses_unknown")
    response = await service.client.get("/metrics")
    assert response.headers["content-type"].startswith("text/plain")
    assert 'browser_sessions_sessions{status="active"} 1.0' in response.text
    assert "browser_sessions_capacity 50.0" in response.text
    assert (counted(service, STATUS_ROUTE, 200), counted(service, STATUS_ROUTE, 404)) == (3, 1)
    method, route, status = ANONYMOUS
    labels = {"method": method, "route": route, "status": status}
    assert service.metrics.registry.get_sample_value("browser_sessions_http_request_seconds_count", labels) == 2
    assert made not in response.text
    assert "ses_unknown" not in response.text


async def test_metrics_have_the_labels_and_values_of_the_docs(service: Node) -> None:
    await service.client.get("/healthz")
    text = (await service.client.get("/metrics")).text
    found: dict[str, dict[str, set[str]]] = {}
    for metric in text_string_to_metric_families(text):
        labels = found[metric.name + ("_total" if metric.type == "counter" else "")] = {}
        for sample in metric.samples:
            for label in sample.labels.keys() - {"le"}:
                labels.setdefault(label, set()).add(sample.labels[label])
    shown = rows("docs/telemetry.md", "metric", "type", "labels", "meaning")
    assert {codes(name)[0]: set(codes(labels)) for name, _, labels, _ in shown} == {
        name: set(labels) for name, labels in found.items()
    }
    for label, name, values in rows("docs/telemetry.md", "label", "of", "values"):
        if re.fullmatch("(`[^`]+`(, |$))+", values):  # a list of them all
            assert set(codes(values)) == found[codes(name)[0]][codes(label)[0]], name


async def test_the_duration_of_an_end_is_measured_once_per_session(service: Node) -> None:
    project(service.pool.journal, service.metrics)
    mine = await service.key()
    made = (await service.client.post(SESSIONS, headers=mine)).json()["session_id"]
    for _ in range(2):
        await service.client.delete(f"{SESSIONS}/{made}", headers=mine)
    assert service.metrics.registry.get_sample_value("browser_sessions_end_seconds_count") == 1


def series(scraped: str) -> set[str]:
    return {line.rsplit(" ", 1)[0] for line in scraped.splitlines() if not line.startswith("#")}


async def test_counters_begin_with_a_zero_for_every_reason(service: Node) -> None:
    found = series((await service.client.get("/metrics")).text)
    refusals = (
        "draining",
        "egress-unavailable",
        "no-browser",
        "overloaded",
        "pool-full",
        "quota-exceeded",
        "store-unavailable",
    )
    for name, label, values in (
        ("refused", "reason", refusals),
        ("sessions_ended", "reason", [reason.value for reason in EndReason]),
        ("browser_restarts", "reason", RESTART_REASONS),
        ("browsers_retired", "reason", RETIREMENT_REASONS),
        ("gateway_bytes", "direction", ("to_browser", "to_client")),
        ("file_bytes", "direction", ("upload", "download")),
    ):
        started = {each for each in found if each.startswith(f"browser_sessions_{name}_total")}
        assert started == {f'browser_sessions_{name}_total{{{label}="{value}"}}' for value in values}


async def test_a_scrape_stays_short(service: Node) -> None:
    """At rest, and after ordinary calls."""
    for path in ("/healthz", "/readyz", "/metrics"):
        await service.client.get(path)
    assert len((await service.client.get("/metrics")).text.splitlines()) <= 400, "at rest"
    made = (await service.client.post(SESSIONS, headers=ADMIN)).json()["session_id"]
    for path in ("", "/details", "/health", "/pages", "/thumbnail", "/history", "/downloads"):
        await service.client.get(f"{SESSIONS}/{made}{path}", headers=ADMIN)
    for path in (SESSIONS, f"{SESSIONS}/ses_unknown", "/v1/browser/overview", "/v1/browser/pool", "/", "/favicon.ico"):
        await service.client.get(path, headers=ADMIN)
    await service.client.delete(f"{SESSIONS}/{made}", headers=ADMIN)
    scraped = (await service.client.get("/metrics")).text
    assert scraped.count("browser_sessions_http_request_seconds_count{") >= 15, "the calls must be counted"
    assert len(scraped.splitlines()) <= 400


async def test_no_caller_input_becomes_a_label(service: Node) -> None:
    await service.client.request("BREW", "/coffee/0")
    await service.client.request("BREW", SESSIONS)
    before = series((await service.client.get("/metrics")).text)
    for number in range(50):
        await service.client.request(f"BREW{number}", f"/coffee/{number}")
        await service.client.request(f"BREW{number}", SESSIONS)
    after = (await service.client.get("/metrics")).text
    assert series(after) == before
    assert "BREW" not in after


# -- the edge ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("path", ["/healthz", SESSIONS, f"{SESSIONS}/ses_1", "/nothing", "/docs"])
async def test_every_response_has_a_request_id_and_security_headers(service: Node, path: str) -> None:
    headers = (await service.client.get(path)).headers
    assert re.fullmatch(r"[0-9a-f]{16}", headers["x-request-id"])
    assert headers["x-content-type-options"] == "nosniff"
    assert headers["x-frame-options"] == "DENY"
    assert headers["referrer-policy"] == "no-referrer"
    assert "default-src 'none'" in headers["content-security-policy"]
    assert "access-control-allow-origin" not in headers
    assert len(headers.get_list("content-security-policy")) == 1


@pytest.mark.parametrize(
    "path", ["/healthz", "/docs", SESSIONS, f"{SESSIONS}/ses_unknown", f"{SESSIONS}/ID", "/nothing"]
)
async def test_head_is_get_without_the_body(service: Node, path: str) -> None:
    mine = await service.key()
    made = (await service.client.post(SESSIONS, headers=mine)).json()["session_id"]
    whole = await service.client.get(path.replace("ID", made), headers=mine)
    bare = await service.client.head(path.replace("ID", made), headers=mine)
    assert bare.status_code == whole.status_code
    assert bare.content == b""
    expected = {name: value for name, value in whole.headers.items() if name != "x-request-id"}
    assert {name: value for name, value in bare.headers.items() if name != "x-request-id"} == expected


async def test_head_of_a_stream_ends(service: Node) -> None:
    mine = await service.key()
    made = (await service.client.post(SESSIONS, headers=mine)).json()["session_id"]
    async with asyncio.timeout(10):
        response = await service.client.head(f"{SESSIONS}/{made}/events", headers=mine)
    assert (response.status_code, response.content) == (200, b"")
    assert response.headers["content-type"].startswith("text/event-stream")


async def test_a_missing_json_content_type_is_named_in_the_error(service: Node) -> None:
    headers = await service.key() | {"Content-Type": "text/plain"}
    response = await service.client.post(SESSIONS, content="{}", headers=headers)
    assert response.status_code == 415
    assert "Content-Type: application/json" in response.json()["detail"]


@pytest.mark.parametrize(
    ("sent", "kept"),
    [("my-request_1.2", True), ("x" * 64, True), ("x" * 65, False), ("a b", False), ("a\tb", False), ("", False)],
)
async def test_a_callers_request_id_is_kept_if_valid(service: Node, sent: str, kept: bool) -> None:
    response = await service.client.get("/healthz", headers={"X-Request-ID": sent})
    assert (response.headers["x-request-id"] == sent) is kept


@pytest.mark.parametrize("path", ["/healthz", f"{SESSIONS}/ses_1", "/nothing"])
async def test_a_foreign_host_name_is_refused_before_anything_else(service: Node, path: str) -> None:
    response = await service.client.get(path, headers={"Host": "evil.example"} | ADMIN)
    assert response.status_code == 421
    assert response.headers["content-type"] == "application/problem+json"


async def test_several_hosts_are_refused(service: Node) -> None:
    for count in (2, 3):
        response = await service.client.get("/healthz", headers=[("Host", "127.0.0.1")] * count)
        assert (response.status_code, response.json()["title"]) == (400, "Bad request")


async def test_more_hosts_can_be_allowed(tmp_path: Path) -> None:
    options = ApiOptions(public_url="https://browsers.example.com", allowed_hosts=("lab.example",))
    async with node(tmp_path, options=options) as service:
        for host, status in [("browsers.example.com", 200), ("lab.example:8000", 200), ("other.example", 421)]:
            assert (await service.client.get("/healthz", headers={"Host": host})).status_code == status


async def test_forwarded_headers_are_applied_from_trusted_proxies_only(tmp_path: Path) -> None:
    forwarded = {"X-Forwarded-Proto": "https", "X-Forwarded-Host": "browsers.example.com"}
    for trusted, begins in [((), "ws://127.0.0.1/"), (("127.0.0.1",), "wss://browsers.example.com/")]:
        options = ApiOptions(trusted_proxies=trusted, allowed_hosts=("browsers.example.com",))
        async with node(tmp_path / str(len(trusted)), options=options) as service:
            made = await service.client.post(SESSIONS, headers=await service.key() | forwarded)
            assert made.json()["connect_url"].startswith(begins)


@pytest.mark.parametrize(
    ("method", "path", "status", "allow"),
    [
        ("GET", "/nothing", 404, None),
        ("GET", f"{SESSIONS}/", 404, None),
        ("GET", f"{SESSIONS}/a/b/c", 404, None),
        ("PUT", f"{SESSIONS}/ses_1", 405, "DELETE, GET, HEAD"),
        ("PATCH", SESSIONS, 405, "GET, HEAD, POST"),
        ("POST", "/healthz", 405, "GET, HEAD"),
    ],
)
async def test_unknown_paths_and_methods_are_problems(
    service: Node, method: str, path: str, status: int, allow: str | None
) -> None:
    response = await service.client.request(method, path, headers=ADMIN)
    assert response.status_code == status
    assert response.headers["content-type"] == "application/problem+json"
    assert response.headers.get("allow") == allow


async def test_an_internal_error_is_a_500_without_details_and_is_logged_with_its_traceback(
    service: Node, lines: io.StringIO, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(_session_id: str) -> None:
        raise RuntimeError("an internal detail")

    monkeypatch.setattr(service.pool.registry, "known", broken)
    mine = await service.key()
    for path in (f"{SESSIONS}/ses_1", f"{SESSIONS}/ses_1/details"):
        response = await service.client.get(path, headers=mine)
        assert response.status_code == 500
        assert response.headers["content-type"] == "application/problem+json"
        assert "internal detail" not in response.text
    failed = [line for line in map(json.loads, lines.getvalue().splitlines()) if line["event"] == "http.failed"]
    assert len(failed) == 2
    assert "an internal detail" in failed[0]["exception"]
    assert failed[0]["request_id"]


async def test_requests_are_logged_except_frequent_successful_reads(service: Node, lines: io.StringIO) -> None:
    mine = await service.key()
    made = await service.client.post(SESSIONS, headers=mine | {"X-Request-ID": "the-create"})
    path = made.headers["location"]
    await service.client.get(path, headers=mine)
    await service.client.get("/healthz")
    await service.client.get("/metrics")
    await service.client.get(f"{SESSIONS}/ses_unknown", headers=mine)
    await service.client.delete(path, headers=mine)
    logged = [line for line in map(json.loads, lines.getvalue().splitlines()) if line["event"] == "http.request"]
    assert [(line["method"], line["status"]) for line in logged] == [("POST", 201), ("GET", 404), ("DELETE", 200)]
    assert logged[0]["request_id"] == "the-create"
    assert logged[0]["principal_id"].startswith("prn_")
    assert logged[0]["client"] == "127.0.0.1"
    assert [line["session_id"] for line in logged] == [path[-36:], "ses_unknown", path[-36:]]


async def test_no_secret_is_logged(service: Node, lines: io.StringIO) -> None:
    password = "canary-password"
    made = (await service.client.post("/v1/auth/keys", json={"name": "ci"}, headers=ADMIN)).json()
    user = {"username": "ann", "password": password}
    await service.client.post("/v1/auth/users", json=user, headers=ADMIN)
    token = (await service.client.post("/v1/auth/token", data=user)).json()["access_token"]
    await service.client.post("/v1/auth/token", data=user | {"password": "canary-wrong"})
    session = (await service.client.post(SESSIONS, headers={"X-API-Key": made["key"]})).json()
    await service.client.get(f"{SESSIONS}?api_key={made['key']}&ticket={token}", headers={"Authorization": token})
    secrets = [ADMIN_KEY, made["key"].split("_", 2)[2], token, session["connect_url"].split("=")[1], "canary"]
    assert "auth.signed_in" in lines.getvalue()
    assert [secret for secret in secrets if secret in lines.getvalue()] == []


# -- websockets --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("hosts", "status"), [([b"evil.example"], 421), ([b"127.0.0.1", b"127.0.0.1"], 400)])
async def test_a_websocket_to_a_foreign_or_a_second_host_is_refused_with_an_http_response(
    service: Node, hosts: list[bytes], status: int
) -> None:
    sent: list[dict[str, Any]] = []

    async def send(message: Any) -> None:
        sent.append(message)

    async def receive() -> dict[str, Any]:
        return {"type": "websocket.connect"}

    scope = {
        "type": "websocket",
        "path": f"{SESSIONS}/ses_1/cdp",
        "scheme": "ws",
        "query_string": b"",
        "root_path": "",
        "client": ("127.0.0.1", 5),
        "headers": [(b"host", host) for host in hosts],
        "extensions": {"websocket.http.response": {}},
    }
    await service.app(scope, receive, send)
    assert [message["type"] for message in sent] == ["websocket.http.response.start", "websocket.http.response.body"]
    assert sent[0]["status"] == status


# -- documents ---------------------------------------------------------------------------------------------------------


class Page(HTMLParser):
    """Collects what a browser would fetch or run."""

    def __init__(self) -> None:
        super().__init__()
        self.scripts = 0
        self.fetched: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.scripts += tag == "script" or any(name.startswith("on") for name, _ in attrs)
        self.fetched += [value or "" for name, value in attrs if name == "src" or (tag == "link" and name == "href")]


async def test_the_docs_page_runs_no_script_and_fetches_nothing(service: Node) -> None:
    response = await service.client.get("/docs")
    assert response.status_code == 200
    page = Page()
    page.feed(response.text)
    assert page.scripts == 0
    assert page.fetched == []
    assert "unsafe-inline" not in response.headers["content-security-policy"]
    for call in ("/v1/browser/sessions/{session_id}", "/v1/auth/token", "/v1/browser/pool"):
        assert call in response.text


async def test_every_websocket_address_is_described(service: Node) -> None:
    document = (await service.client.get("/openapi.json")).json()
    described = {re.sub(r"\{\w+\}", "{}", path) for path in document["x-websockets"]}
    routes = [route for router in application._ROUTERS for route in router.routes]
    served = {re.sub(r"\{\w+\}", "{}", each.path) for each in routes if isinstance(each, WebSocketRoute)}
    assert described == served
    page = (await service.client.get("/docs")).text
    assert all(html.escape(path) in page for path in document["x-websockets"])


@pytest.mark.parametrize(
    ("public_url", "server"), [(None, "/"), ("https://browsers.example", "https://browsers.example")]
)
async def test_the_openapi_document_has_its_server(tmp_path: Path, public_url: str | None, server: str) -> None:
    app = assemble(tmp_path, SystemClock(), ApiOptions(public_url=public_url), 1).app
    assert app.openapi()["servers"] == [{"url": server}]


async def test_every_operation_has_a_description_and_error_responses(service: Node) -> None:
    document = (await service.client.get("/openapi.json")).json()
    assert document["openapi"].startswith("3.1")
    for path, operations in document["paths"].items():
        for method, operation in operations.items():
            assert operation["description"], (method, path)
            if path.startswith("/v1/") and operation["operationId"] != "get_browser_session":  # the contract has no 401
                assert "401" in operation["responses"], (method, path)
