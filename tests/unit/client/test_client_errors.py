"""Error responses become typed exceptions."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from typing import Any

import httpx
import pytest

from browser_sessions import client
from browser_sessions.api.errors import TABLE
from browser_sessions.client import (
    ApiError,
    BrowserTimeout,
    ClientError,
    Conflict,
    Forbidden,
    InvalidRequest,
    NotFound,
    QuotaExceeded,
    ServiceFailed,
    Unauthorized,
    Unavailable,
    UnexpectedResponse,
    errors,
)
from browser_sessions.client.errors import BY_STATUS, error_from
from tests.harness.paths import ROOT

NOW = datetime(2026, 1, 31, 12, 0, 0, tzinfo=UTC)
TYPE = "urn:browser-sessions:problem:t"


def problem(status: int, **fields: object) -> httpx.Response:
    return httpx.Response(status, json={"type": TYPE, "title": "T", "status": status, "detail": "Do this.", **fields})


@pytest.mark.parametrize(
    ("status", "kind"),
    [
        (400, InvalidRequest),
        (401, Unauthorized),
        (403, Forbidden),
        (404, NotFound),
        (409, Conflict),
        (413, InvalidRequest),
        (415, InvalidRequest),
        (418, ApiError),
        (422, InvalidRequest),
        (429, QuotaExceeded),
        (500, ServiceFailed),
        (502, ServiceFailed),
        (503, Unavailable),
        (504, BrowserTimeout),
    ],
)
def test_each_status_has_its_exception(status: int, kind: type[ApiError]) -> None:
    error = error_from(problem(status, session_id="ses_1"))
    assert type(error) is kind
    assert (error.status, error.type, error.title, error.detail) == (status, TYPE, "T", "Do this.")
    assert error.session_id == "ses_1"
    assert str(error) == "Do this."


@pytest.mark.parametrize("body", [{"text": "<h1>Not Found</h1>"}, {"json": {"detail": "Not Found"}}, {"json": []}])
def test_a_404_of_another_server_says_nothing_about_a_session(body: Any) -> None:
    assert type(error_from(httpx.Response(404, **body))) is UnexpectedResponse


def test_every_error_status_of_the_service_has_its_own_exception() -> None:
    assert {kind.status for kind in TABLE.values()} - {500} <= set(BY_STATUS)


def test_a_validation_error_lists_all_fields_in_one_line() -> None:
    detail = [
        {"loc": ["body", "viewport_width"], "msg": "Input should be less than 8193", "type": "less_than"},
        {"loc": ["body", "proxy", "server"], "msg": "Field required", "type": "missing"},
        {"loc": ["body"], "msg": "JSON decode error", "type": "json_invalid"},
    ]
    error = error_from(httpx.Response(422, json={"detail": detail}))
    assert error.detail == (
        "viewport_width: Input should be less than 8193; proxy.server: Field required; body: JSON decode error"
    )
    assert [part["type"] for part in error.errors] == ["less_than", "missing", "json_invalid"]


@pytest.mark.parametrize(
    ("header", "seconds"),
    [
        ("7", 7.0),
        ("0", 0.0),
        ("-3", 0.0),
        ("Sat, 31 Jan 2026 12:00:30 GMT", 30.0),
        ("Sat, 31 Jan 2026 11:00:00 GMT", 0.0),
        ("soon", None),
        (None, None),
    ],
)
def test_retry_after_is_read_as_number_or_date(header: str | None, seconds: float | None) -> None:
    response = httpx.Response(503, headers={} if header is None else {"Retry-After": header})
    assert error_from(response, NOW).retry_after == seconds


@pytest.mark.parametrize("content", [b"<html>Bad gateway</html>", b"", b"[1]", b'"x"', b"\xff\xfe", b'{"detail": 3}'])
def test_an_error_response_of_another_server_has_a_readable_message(content: bytes) -> None:
    error = error_from(httpx.Response(502, content=content))
    assert (type(error), error.detail) == (ServiceFailed, "The service responded 502 Bad Gateway.")


def test_the_documentation_has_every_error() -> None:
    table = (ROOT / "docs" / "sdk.md").read_text().partition("## Errors")[2].partition("## Logging")[0]
    documented = re.findall(r"^\| `(\w+)` \|", table, flags=re.MULTILINE)
    defined = [name for name, kind in vars(errors).items() if isinstance(kind, type) and issubclass(kind, ClientError)]
    assert sorted([*documented, "ClientError"]) == sorted(defined)
    assert set(defined) <= set(client.__all__)
