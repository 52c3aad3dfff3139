"""Invalid input, one row each: the error names the field and is never a 5xx."""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import AsyncIterator
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from browser_sessions.api.middleware import edge
from browser_sessions.api.middleware.edge import LARGE_BODY, MAX_CREATE_VALUES
from browser_sessions.api.routes.session_create import MAX_FIELDS
from tests.harness.fakes.fake_node import ADMIN_KEY, Node, node

SESSIONS = "/v1/browser/sessions"
ADMIN = {"X-API-Key": ADMIN_KEY}
DEEP = "[" * 900 + "]" * 900


@pytest.fixture
async def service(tmp_path: Path) -> AsyncIterator[Node]:
    async with node(tmp_path) as running:
        yield running


def field(*loc: str | int) -> tuple[int, list[str | int]]:
    """Expects a 422 that names this field."""
    return 422, list(loc)


UNREADABLE = (400, None)
TOO_LARGE = (413, None)
ORIGIN = '{"storage_state": {"origins": [{"origin": "https://a.example", "indexedDB": %s}]}}'

BODIES: dict[str, tuple[str | bytes, tuple[int, list[str | int] | None]]] = {
    "unknown field": ('{"viewport": 3}', field("body", "viewport")),
    "width as text": ('{"viewport_width": "1280"}', field("body", "viewport_width")),
    "width as float": ('{"viewport_width": 1280.5}', field("body", "viewport_width")),
    "width as bool": ('{"viewport_width": true}', field("body", "viewport_width")),
    "width null": ('{"viewport_width": null}', field("body", "viewport_width")),
    "width zero": ('{"viewport_width": 0}', field("body", "viewport_width")),
    "width negative": ('{"viewport_width": -1}', field("body", "viewport_width")),
    "width 8193": ('{"viewport_width": 8193}', field("body", "viewport_width")),
    "width of 4,000 digits": ('{"viewport_width": ' + "9" * 4000 + "}", field("body", "viewport_width")),
    "width of 5,000 digits": ('{"viewport_width": ' + "9" * 5000 + "}", UNREADABLE),
    "height zero": ('{"viewport_height": 0}', field("body", "viewport_height")),
    "too many pixels": ('{"viewport_width": 8192, "viewport_height": 8192}', field("body")),
    "user agent with a line break": ('{"user_agent": "a\\r\\nX: y"}', field("body", "user_agent")),
    "user agent with NUL": ('{"user_agent": "a\\u0000b"}', field("body", "user_agent")),
    "user agent not ASCII": ('{"user_agent": "brow\\u00e9ser"}', field("body", "user_agent")),
    "user agent empty": ('{"user_agent": ""}', field("body", "user_agent")),
    "user agent of 1,025": (json.dumps({"user_agent": "x" * 1025}), field("body", "user_agent")),
    "user agent half a character": ('{"user_agent": "\\ud800"}', field("body", "user_agent")),
    "header value with a line break": (
        '{"extra_http_headers": {"A": "b\\r\\nX: y"}}',
        field("body", "extra_http_headers", "A"),
    ),
    "header name with a line break": ('{"extra_http_headers": {"A\\nB": "c"}}', field("body")),
    "header of the browser's own": ('{"extra_http_headers": {"Host": "a.example"}}', field("body")),
    "header for proxies": ('{"extra_http_headers": {"Proxy-Authorization": "Basic x"}}', field("body")),
    "header name empty": ('{"extra_http_headers": {"": "c"}}', field("body")),
    "idle NaN": ('{"idle_timeout_seconds": NaN}', field("body", "idle_timeout_seconds")),
    "idle negative": ('{"idle_timeout_seconds": -5}', field("body", "idle_timeout_seconds")),
    "lifetime zero": ('{"max_lifetime_seconds": 0}', field("body", "max_lifetime_seconds")),
    "lifetime infinite": ('{"max_lifetime_seconds": Infinity}', field("body", "max_lifetime_seconds")),
    "lifetime 1e999": ('{"max_lifetime_seconds": 1e999}', field("body", "max_lifetime_seconds")),
    "lifetime beyond the server's": ('{"max_lifetime_seconds": 86401}', field("body", "max_lifetime_seconds")),
    "lifetime null where not allowed": ('{"max_lifetime_seconds": null}', field("body", "max_lifetime_seconds")),
    "wait negative": ('{"wait_seconds": -1}', field("body", "wait_seconds")),
    "wait too long": ('{"wait_seconds": 601}', field("body", "wait_seconds")),
    "isolation unknown": ('{"isolation": "machine"}', field("body", "isolation")),
    "device unknown": ('{"device": "Nokia 3310"}', field("body", "device")),
    "device half a character": ('{"device": "\\udfff"}', field("body", "device")),
    "locale empty": ('{"locale": ""}', field("body", "locale")),
    "time zone empty": ('{"timezone_id": ""}', field("body", "timezone_id")),
    "permission nonsense": ('{"permissions": ["!"]}', field("body", "permissions", 0)),
    "locale nonsense": ('{"locale": "!"}', field("body", "locale")),
    "locale unknown": ('{"locale": "xx-YY"}', field("body", "locale")),
    "time zone nonsense": ('{"timezone_id": "../etc"}', field("body", "timezone_id")),
    "latitude 91": (
        '{"geolocation": {"latitude": 91, "longitude": 0}}',
        field("body", "geolocation", "latitude"),
    ),
    "permissions no list": ('{"permissions": "camera"}', field("body", "permissions")),
    "color scheme unknown": ('{"color_scheme": "sepia"}', field("body", "color_scheme")),
    "proxy of a foreign scheme": ('{"proxy": {"server": "ftp://proxy.example"}}', field("body", "proxy", "server")),
    "proxy with a script": ('{"proxy": {"server": "javascript:alert(1)"}}', field("body", "proxy", "server")),
    "proxy with an invalid port": (
        '{"proxy": {"server": "http://a.example:65536"}}',
        field("body", "proxy", "server"),
    ),
    "proxy with a bad bypass": (
        '{"proxy": {"server": "http://a.example", "bypass": "a b"}}',
        field("body", "proxy", "bypass"),
    ),
    "proxy with a password alone": (
        '{"proxy": {"server": "http://a.example", "password": "x"}}',
        field("body", "proxy", "username"),
    ),
    "proxy as text": ('{"proxy": "http://a.example"}', field("body", "proxy")),
    "egress as a list": ('{"egress": ["a.example"]}', field("body", "egress")),
    "geolocation as text": ('{"geolocation": "here"}', field("body", "geolocation")),
    "proxy without server": ('{"proxy": {}}', field("body", "proxy", "server")),
    "proxy with a path": ('{"proxy": {"server": "http://user@proxy.example/x"}}', field("body", "proxy", "server")),
    "egress rule with a scheme": (
        '{"egress": {"allow": ["http://a.example"]}}',
        field("body", "egress", "allow", 0),
    ),
    "egress network with bits too many": ('{"egress": {"deny": ["10.0.0.1/8"]}}', field("body", "egress", "deny", 0)),
    "traffic zero": ('{"max_traffic_bytes": 0}', field("body", "max_traffic_bytes")),
    "scale zero": ('{"device_scale_factor": 0}', field("body", "device_scale_factor")),
    "scale of too many pixels": ('{"device_scale_factor": 10.1}', field("body", "device_scale_factor")),
    "reduced motion unknown": ('{"reduced_motion": true}', field("body", "reduced_motion")),
    "credentials without a password": (
        '{"http_credentials": {"username": "a"}}',
        field("body", "http_credentials", "password"),
    ),
    "credentials for a path": (
        '{"http_credentials": {"username": "a", "password": "b", "origin": "https://a.example/x"}}',
        field("body", "http_credentials", "origin"),
    ),
    "certificate without a key": (
        '{"client_certificates": [{"origin": "https://a.example", "cert": "c"}]}',
        field("body", "client_certificates", 0, "key"),
    ),
    "certificate that is none": (
        '{"client_certificates": [{"origin": "https://a.example", "cert": "c", "key": "canary"}]}',
        field("body", "client_certificates", 0, "cert"),
    ),
    "certificate for a path": (
        '{"client_certificates": [{"origin": "https://a.example/x", "cert": "c", "key": "canary"}]}',
        field("body", "client_certificates", 0, "origin"),
    ),
    "certificate for http": (
        '{"client_certificates": [{"origin": "http://a.example", "cert": "c", "key": "canary"}]}',
        field("body", "client_certificates", 0, "origin"),
    ),
    "nine certificates": (
        json.dumps({"client_certificates": [{"origin": "https://a.example", "cert": "c", "key": "canary"}] * 9}),
        field("body", "client_certificates"),
    ),
    "storage state no object": ('{"storage_state": "cookies.json"}', field("body", "storage_state")),
    "storage state cookie without value": (
        '{"storage_state": {"cookies": [{"name": "a", "domain": "b"}]}}',
        field("body", "storage_state", "cookies", 0, "value"),
    ),
    "storage state same site unknown": (
        '{"storage_state": {"cookies": [{"name": "a", "value": "b", "domain": "c", "sameSite": "lax"}]}}',
        field("body", "storage_state", "cookies", 0, "sameSite"),
    ),
    "storage state of a file": (
        '{"storage_state": {"origins": [{"origin": "file:///etc"}]}}',
        field("body", "storage_state", "origins", 0, "origin"),
    ),
    "storage state very deep": (ORIGIN % DEEP, field("body", "storage_state", "origins", 0)),
    "storage state half a character": (ORIGIN % '"\\ud800"', field("body", "storage_state", "origins", 0)),
    "storage state of 3,000 digits": (ORIGIN % ("9" * 3000), field("body", "storage_state", "origins", 0)),
    "storage state NaN": (ORIGIN % "NaN", field("body", "storage_state", "origins", 0)),
    "start at a file": ('{"start_url": "file:///etc/passwd"}', field("body", "start_url")),
    "start at a source": ('{"start_url": "view-source:https://a.example"}', field("body", "start_url")),
    "start at a file, spelled": ('{"start_url": " FI\\tLE:///etc/passwd"}', field("body", "start_url")),
    "start inside the browser": ('{"start_url": "chrome://version"}', field("body", "start_url")),
    "metadata value no text": ('{"metadata": {"a": 1}}', field("body", "metadata", "a")),
    "metadata value of 513": (json.dumps({"metadata": {"a": "x" * 513}}), field("body", "metadata", "a")),
    "metadata very deep": (json.dumps({"metadata": {"a": json.loads(DEEP)}}), field("body", "metadata", "a")),
    "metadata of 33 pairs": (json.dumps({"metadata": {str(n): "" for n in range(33)}}), field("body", "metadata")),
    "key half a character": ('{"\\ud800": 1}', field("body")),
    "no JSON": ("{", field("body", 1)),
    "a list": ("[]", field("body")),
    "a text": ('"x"', field("body")),
    "not UTF-8": (b'{"locale": "\xff"}', UNREADABLE),
    "40,000 deep": ("[" * 40_000 + "]" * 40_000, UNREADABLE),
    "200,000 deep": ("[" * 200_000 + "]" * 200_000, TOO_LARGE),
    "1 MB and more": (json.dumps({"metadata": {"a": "x" * 2**20}}), TOO_LARGE),
}


@pytest.mark.parametrize(("body", "expected"), BODIES.values(), ids=BODIES.keys())
async def test_an_invalid_body_is_refused_with_the_field(
    service: Node, body: str | bytes, expected: tuple[int, Any]
) -> None:
    headers = await service.key() | {"Content-Type": "application/json", "Idempotency-Key": "one"}
    response = await service.client.post(SESSIONS, content=body, headers=headers)
    status, loc = expected
    assert response.status_code == status, response.text
    assert len(response.content) < 5_000
    assert "canary" not in response.text
    if loc is not None:
        assert loc in [error["loc"] for error in response.json()["detail"]]
        assert all(set(error) == {"loc", "msg", "type"} for error in response.json()["detail"])
        words = [error["msg"] for error in response.json()["detail"]]
        assert not [word for word in words if "pattern" in word or "Body" in word], "explained in words"
    else:
        assert response.headers["content-type"] == "application/problem+json"
    assert not service.pool.registry.sessions, "no session may be created"


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"Content-Type": "text/plain"},
        {"Content-Type": "application/x-www-form-urlencoded"},
        {"Content-Type": "multipart/form-data"},
        {"Content-Type": "json"},
        {"Content-Type": "application/json", "Content-Encoding": "gzip"},
    ],
)
@pytest.mark.parametrize("path", [SESSIONS, f"{SESSIONS}/ses_{0:032x}/keepalive", "/v1/auth/keys"])
async def test_a_body_that_is_not_plain_json_is_refused(service: Node, path: str, headers: dict[str, str]) -> None:
    response = await service.client.post(path, content=b"{}", headers=await service.key() | headers)
    assert (response.status_code, response.json()["type"]) == (
        415,
        "urn:browser-sessions:problem:unsupported-media-type",
    )


async def test_a_token_is_asked_for_with_a_form(service: Node) -> None:
    for content_type in ("application/json", "multipart/form-data; boundary=x"):
        headers = {"Content-Type": content_type}
        response = await service.client.post("/v1/auth/token", content=b"{}", headers=headers)
        assert response.status_code == 415
        assert "application/x-www-form-urlencoded" in response.json()["detail"]


@pytest.mark.parametrize("content_type", ["application/json", "Application/JSON; charset=utf-8", "application/a+json"])
async def test_every_spelling_of_json_is_taken(service: Node, content_type: str) -> None:
    headers = await service.key() | {"Content-Type": content_type}
    assert (await service.client.post(SESSIONS, content=b"{}", headers=headers)).status_code == 201


async def test_a_path_for_websockets_says_so(service: Node) -> None:
    for path in (f"{SESSIONS}/ses_{0:032x}/cdp", "/v1/browser/connect"):
        response = await service.client.get(path, headers=await service.key())
        assert (response.status_code, response.headers["Upgrade"]) == (426, "websocket")
        assert response.headers["content-type"] == "application/problem+json"


async def test_many_or_long_unknown_fields_give_a_short_response(service: Node) -> None:
    mine = await service.key()
    for body in ({f"field{n}": 1 for n in range(20_000)}, {"x" * 500_000: 1}):
        response = await service.client.post(SESSIONS, json=body, headers=mine)
        assert response.status_code == 422
        assert len(response.content) < 50_000


async def test_a_chunked_body_is_limited_in_size(service: Node) -> None:
    sent = 0

    async def chunks() -> AsyncIterator[bytes]:
        nonlocal sent
        for _ in range(100):
            sent += 1
            yield b"x" * 100_000

    headers = await service.key() | {"Content-Type": "application/json"}
    response = await service.client.post(SESSIONS, content=chunks(), headers=headers)
    assert response.status_code == 413
    assert response.headers["content-type"] == "application/problem+json"


async def test_the_bodies_of_one_principals_requests_are_limited_together(
    service: Node, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(edge, "PRINCIPAL_BODIES", 1000)
    sending, end = asyncio.Event(), asyncio.Event()

    async def chunks() -> AsyncIterator[bytes]:
        yield b'{"metadata": {"a": "' + b"x" * 400
        sending.set()
        await end.wait()
        yield b'"}}'

    mine, other = [await service.key() | {"Content-Type": "application/json"} for _ in range(2)]
    slow = asyncio.create_task(service.client.post(SESSIONS, content=chunks(), headers=mine))
    await sending.wait()
    body = {"metadata": {"a": "x" * 500, "b": "x" * 100}}
    refused = await service.client.post(SESSIONS, json=body, headers=mine)
    assert (refused.status_code, refused.headers["retry-after"]) == (429, "1")
    assert (await service.client.post(SESSIONS, json=body, headers=other)).status_code == 201
    end.set()
    assert (await slow).status_code == 201
    assert (await service.client.post(SESSIONS, json=body, headers=mine)).status_code == 201


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        (b'{"a":[%b1]}' % (b"[]," * MAX_CREATE_VALUES), 413),
        ('{"a":[%b1]}'.replace("%b", "[]," * 2000).encode("utf-16-le"), 413),
        (b"{%b}" % b",".join(b'"k%d":1' % n for n in range(MAX_FIELDS + 1)), 422),
        (b'{"storage_state":{"cookies":[{%b}]}}' % b",".join(b'"k%d":1' % n for n in range(MAX_FIELDS + 1)), 422),
    ],
    ids=["values", "values in UTF-16", "fields", "fields of a cookie"],
)
async def test_bodies_that_would_take_long_to_read_are_refused(service: Node, body: bytes, expected: int) -> None:
    headers = ADMIN | {"Content-Type": "application/json"}
    refused = await service.client.post(SESSIONS, content=body, headers=headers)
    assert refused.status_code == expected
    assert re.search("more than [0-9]+ (values|fields)", refused.text)


async def test_invalid_items_of_a_storage_state_are_reported_until_the_first(service: Node) -> None:
    """Thousands of cookies without a name would take half a second."""
    body = {"storage_state": {"cookies": [{"wrong": 1}] * 4000}}
    refused = await service.client.post(SESSIONS, json=body, headers=ADMIN)
    assert refused.status_code == 422
    assert {error["loc"][3] for error in refused.json()["detail"]} == {0}


async def test_a_long_script_has_any_characters(service: Node) -> None:
    path = f"{SESSIONS}/ses_{'0' * 32}/pages/x/evaluate"
    script = {"expression": '[{"a": "\\", b: [1, 2, 3]}, ' * 20_000}
    assert (await service.client.post(path, json=script, headers=ADMIN)).status_code == 404


async def test_large_bodies_are_read_one_after_the_other(service: Node, monkeypatch: pytest.MonkeyPatch) -> None:
    """All that come in one iteration of the loop would otherwise be read in the next."""
    read, passed = 0, [0]
    loads = json.loads

    def counting(*args: Any, **options: Any) -> Any:
        nonlocal read
        read += 1
        return loads(*args, **options)

    async def others() -> None:
        while True:
            await asyncio.sleep(0)
            passed.append(read)

    monkeypatch.setattr("browser_sessions.api.routes.session_create.json.loads", counting)
    body = json.dumps({"user_agent": "x" * 2 * LARGE_BODY}).encode()
    headers = ADMIN | {"Content-Type": "application/json"}
    beside = asyncio.create_task(others())
    sending = [service.client.post(SESSIONS, content=body, headers=headers) for _ in range(20)]
    assert {answer.status_code for answer in await asyncio.gather(*sending)} == {422}
    beside.cancel()
    assert max(later - earlier for earlier, later in pairwise(passed)) == 1


QUERIES = {
    "status unknown": ("status=alive", ["query", "status", 0]),
    "one of two status unknown": ("status=active&status=alive", ["query", "status", 1]),
    "limit zero": ("limit=0", ["query", "limit"]),
    "limit 501": ("limit=501", ["query", "limit"]),
    "limit twice": ("limit=5&limit=6", ["query", "limit"]),
    "limit text": ("limit=many", ["query", "limit"]),
    "cursor nonsense": ("cursor=abc", ["query", "cursor"]),
    "cursor empty": ("cursor=", ["query", "cursor"]),
    "cursor too long": ("cursor=" + "a" * 201, ["query", "cursor"]),
    "cursor no UTF-8": ("cursor=%ff", ["query", "cursor"]),
    "filter misspelt": ("stauts=active", ["query", "stauts"]),
    "metadata without key": ("metadata.=x", ["query", "metadata."]),
    "33 metadata filters": ("&".join(f"metadata.k{n}=v" for n in range(33)), ["query", "metadata"]),
}


@pytest.mark.parametrize(("query", "loc"), QUERIES.values(), ids=QUERIES.keys())
async def test_an_invalid_query_is_refused_with_the_parameter(service: Node, query: str, loc: list[str]) -> None:
    response = await service.client.get(f"{SESSIONS}?{query}", headers=await service.key())
    assert response.status_code == 422, response.text
    assert loc in [error["loc"] for error in response.json()["detail"]]


async def test_no_operation_takes_a_single_value_twice(service: Node) -> None:
    mine = await service.key()
    for path, name in {
        f"{SESSIONS}/x/pages/x/screenshot": "quality",
        f"{SESSIONS}/x/events": "since",
        "/v1/browser/events": "last_event_id",
    }.items():
        response = await service.client.get(f"{path}?{name}=1&{name}=1", headers=mine)
        assert (response.status_code, response.json()["detail"][0]["loc"]) == (422, ["query", name]), response.text
    assert (await service.client.get(f"{SESSIONS}?status=active&status=queued", headers=mine)).status_code == 200


async def test_no_operation_takes_an_unknown_query_parameter(service: Node) -> None:
    document = (await service.client.get("/openapi.json")).json()
    mine = await service.key()
    open_to_all = {"/healthz", "/readyz", "/metrics"}
    for path, operations in document["paths"].items():
        address = re.sub(r"\{.*?\}", "x", path)
        for method in operations:
            response = await service.client.request(method, f"{address}?fulpage=1", headers=mine)
            assert response.status_code == 422 or path in open_to_all, (method, path, response.text)
            if response.status_code == 422:
                locs = [error["loc"] for error in response.json()["detail"]]
                assert ["query", "fulpage"] in locs or any(loc[0] == "body" for loc in locs), (method, path, locs)


@pytest.mark.parametrize("key", ["", " padded", "x" * 256, "é".encode(), b"\x01", "tab\there"])
async def test_an_invalid_idempotency_key_is_refused_with_the_header(service: Node, key: str | bytes) -> None:
    headers: dict[str, Any] = {**await service.key(), "Idempotency-Key": key}
    response = await service.client.post(SESSIONS, headers=headers)
    assert response.status_code == 422
    assert response.json()["detail"][0]["loc"] == ["header", "Idempotency-Key"]


IDS = ["nope", "ses_", "ses_" + "0" * 32, "%00", "%ff", "%ed%a0%80", "%F0%9F%98%80", "a" * 5_000, "'%20OR%201=1"]
CALLS = [
    ("GET", ""),
    ("GET", "/details"),
    ("GET", "/health"),
    ("POST", "/keepalive"),
    ("DELETE", ""),
    ("GET", "/pages"),
    ("POST", "/pages"),
    ("DELETE", "/pages/x"),
    ("GET", "/pages/x/screenshot"),
    ("GET", "/pages/x/content"),
    ("GET", "/pages/x/pdf"),
]


@pytest.mark.parametrize("session_id", IDS, ids=lambda value: str(value)[:20])
async def test_an_unknown_session_id_is_a_404_everywhere(service: Node, session_id: str) -> None:
    mine = await service.key()
    for method, path in CALLS:
        response = await service.client.request(method, f"{SESSIONS}/{session_id}{path}", headers=mine)
        assert response.status_code == 404, (method, path)
        assert response.headers["content-type"] == "application/problem+json"
        assert len(response.content) < 1_000


PAGE_BODIES: dict[str, tuple[str, dict[str, Any], list[str]]] = {
    "open a file": ("", {"url": "file:///etc/passwd"}, ["body", "url"]),
    "open with an unknown field": ("", {"address": "https://a.example"}, ["body", "address"]),
    "go nowhere": ("/page-1/navigate", {}, ["body", "url"]),
    "go to a file": ("/page-1/navigate", {"url": "view-source:file:///etc/passwd"}, ["body", "url"]),
    "wait for an unknown state": (
        "/page-1/navigate",
        {"url": "https://a.example", "wait_until": "done"},
        ["body", "wait_until"],
    ),
    "wait for ever": (
        "/page-1/navigate",
        {"url": "https://a.example", "timeout_seconds": 301},
        ["body", "timeout_seconds"],
    ),
    "evaluate nothing": ("/page-1/evaluate", {"expression": ""}, ["body", "expression"]),
    "evaluate half a character": ("/page-1/evaluate", {"expression": "\ud800"}, ["body", "expression"]),
}


@pytest.mark.parametrize(("path", "body", "loc"), PAGE_BODIES.values(), ids=PAGE_BODIES.keys())
async def test_an_invalid_page_action_is_refused_with_the_field(
    service: Node, path: str, body: dict[str, Any], loc: list[str]
) -> None:
    headers = await service.key() | {"Content-Type": "application/json"}
    made = (await service.client.post(SESSIONS, headers=headers)).json()
    url = f"{SESSIONS}/{made['session_id']}/pages{path}"
    response = await service.client.post(url, content=json.dumps(body), headers=headers)
    assert response.status_code == 422, response.text
    assert loc in [error["loc"] for error in response.json()["detail"]]


PICTURES = {
    "format unknown": ("screenshot?format=gif", "format"),
    "quality of a png": ("screenshot?quality=50", "quality"),
    "quality 0": ("screenshot?format=jpeg&quality=0", "quality"),
    "quality 101": ("screenshot?format=webp&quality=101", "quality"),
    "full page maybe": ("screenshot?full_page=maybe", "full_page"),
    "clip of three": ("screenshot?clip=1,2,3", "clip"),
    "clip before the page": ("screenshot?clip=-1,0,10,10", "clip"),
    "clip of nothing": ("screenshot?clip=0,0,10,0", "clip"),
    "selector empty": ("screenshot?selector=", "selector"),
    "selector of the full page": ("screenshot?selector=p&full_page=true", "selector"),
    "background of a jpeg": ("screenshot?format=jpeg&omit_background=true", "omit_background"),
    "paper unknown": ("pdf?format=B5", "format"),
    "paper of no width": ("pdf?width=0.0cm", "width"),
    "paper of miles": ("pdf?height=2mi", "height"),
    "scale too small": ("pdf?scale=0.01", "scale"),
    "pages of a script": ("pdf?page_ranges=all", "page_ranges"),
    "margin unknown": ("pdf?margin=1cm", "margin"),
}


@pytest.mark.parametrize(("query", "name"), PICTURES.values(), ids=PICTURES.keys())
async def test_an_invalid_screenshot_or_pdf_query_is_refused_with_the_parameter(
    service: Node, query: str, name: str
) -> None:
    mine = await service.key()
    made = (await service.client.post(SESSIONS, headers=mine)).json()
    response = await service.client.get(f"{SESSIONS}/{made['session_id']}/pages/page-1/{query}", headers=mine)
    assert response.status_code == 422
    assert ["query", name] in [error["loc"] for error in response.json()["detail"]]


ACCOUNTS: dict[str, tuple[str, dict[str, Any], list[str]]] = {
    "key without name": ("keys", {}, ["body", "name"]),
    "key with an empty name": ("keys", {"name": ""}, ["body", "name"]),
    "key of an unknown role": ("keys", {"name": "a", "role": "root"}, ["body", "role"]),
    "key for nobody": ("keys", {"name": "a", "principal_id": "prn_nobody"}, ["body", "principal_id"]),
    "user with a short password": ("users", {"username": "ann", "password": "x" * 11}, ["body", "password"]),
    "user with half a character": ("users", {"username": "ann", "password": "\ud800" * 12}, ["body", "password"]),
    "user with a path as name": ("users", {"username": "../ann", "password": "x" * 12}, ["body", "username"]),
}


@pytest.mark.parametrize(("path", "body", "loc"), ACCOUNTS.values(), ids=ACCOUNTS.keys())
async def test_an_invalid_key_or_user_is_refused_with_the_field(
    service: Node, path: str, body: dict[str, Any], loc: list[str]
) -> None:
    headers = {"X-API-Key": ADMIN_KEY, "Content-Type": "application/json"}
    response = await service.client.post(f"/v1/auth/{path}", content=json.dumps(body), headers=headers)
    assert response.status_code == 422, response.text
    assert loc in [error["loc"] for error in response.json()["detail"]]


async def test_errors_do_not_echo_input(service: Node) -> None:
    headers = {"X-API-Key": ADMIN_KEY}
    for body in ({"username": "../ann", "password": "canary-password"}, {"username": "ann", "password": ["canary-1"]}):
        response = await service.client.post("/v1/auth/users", json=body, headers=headers)
        assert response.status_code == 422
        assert "canary" not in response.text


async def test_a_url_has_a_limit_of_parameters(service: Node) -> None:
    """Reading thousands takes the loop some milliseconds, also before the credential is checked."""
    for count, status in ((edge.MAX_PARAMETERS, 401), (edge.MAX_PARAMETERS + 1, 400)):
        response = await service.client.get("/json/version?" + "&".join(f"x{number}=" for number in range(count)))
        assert response.status_code == status, response.text
