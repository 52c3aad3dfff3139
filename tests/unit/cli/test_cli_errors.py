"""Exit codes, errors as text and as JSON, and what an error says about its cause."""

from __future__ import annotations

import json
import ssl
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.harness.fakes.api_service import IDS, KEY, Service, bs, problem

INVALID = httpx.Response(422, json={"detail": [{"loc": ["body", "viewport_width"], "msg": "too big", "type": "x"}]})


@pytest.mark.parametrize(
    ("response", "code", "text"),
    [
        (problem(409, "The script threw an error."), 1, "The script threw an error."),
        (problem(500, "Something went wrong."), 1, "Something went wrong."),
        (INVALID, 2, "viewport_width: too big"),
        (problem(413, "The request body is too large."), 2, "The request body is too large."),
        (problem(404, "There is no such session."), 3, "There is no such session."),
        (problem(403, "Operators only."), 4, "Operators only."),
        (problem(429, "You have 3 sessions."), 4, "You have 3 sessions."),
        (problem(503, "The pool is full."), 4, "The pool is full."),
    ],
)
def test_an_error_of_the_service_has_an_exit_code_and_is_printed_on_one_line(
    service: Service, response: httpx.Response, code: int, text: str
) -> None:
    service.refuse = lambda request: response
    result = bs("create")
    assert (result.exit_code, result.stdout, result.stderr) == (code, "", text + "\n")
    assert len(service.requests) == 1

    as_json = bs("create", "--json")
    assert (as_json.exit_code, as_json.stdout) == (code, "")
    error = json.loads(as_json.stderr)
    assert (error["exit_code"], error["detail"], error["status"]) == (code, text, response.status_code)


def unreachable(request: httpx.Request) -> httpx.Response:
    raise httpx.ConnectError("Connection refused")


def test_an_unreachable_service_is_reported_with_how_to_start_one(service: Service) -> None:
    service.refuse = unreachable
    result = bs("ls")
    assert result.exit_code == 5
    detail = "No service responds at http://127.0.0.1:8000 (Connection refused)."
    hint = "Start one with 'browser-sessions serve', or name another with --url."
    assert result.stderr == f"{detail}\n{hint}\n"
    assert json.loads(bs("ls", "--json").stderr) == {
        "title": "No service",
        "detail": detail,
        "hint": hint,
        "exit_code": 5,
    }


def test_an_untrusted_certificate_is_reported_with_how_to_trust_it(service: Service) -> None:
    def untrusted(request: httpx.Request) -> httpx.Response:
        raise httpx.ConnectError("failed") from ssl.SSLCertVerificationError(1, "self-signed certificate")

    service.refuse = untrusted
    result = bs("ls")
    assert result.exit_code == 5
    detail = "The certificate of http://127.0.0.1:8000 is not trusted: self-signed certificate."
    hint = "If it is of a private authority, set SSL_CERT_FILE to a file with the authority's certificate."
    assert result.stderr == f"{detail}\n{hint}\n"
    assert json.loads(bs("ls", "--json").stderr)["title"] == "Certificate not trusted"


@pytest.mark.parametrize("status", [200, 404, 502])
def test_another_server_at_the_address_is_no_service(service: Service, status: int) -> None:
    service.refuse = lambda request: httpx.Response(status, html="<h1>nginx</h1>")
    result = bs("show", IDS[0])
    assert result.exit_code == 5
    assert "is http://127.0.0.1:8000 its address" in result.stderr


def test_an_error_with_a_key_says_where_the_key_is_from(
    service: Service, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    service.refuse = lambda request: problem(401, "The API key is invalid or revoked.")
    refused = bs("ls")
    assert refused.exit_code == 4
    assert "does not accept the API key from BROWSER_SESSIONS_API_KEY." in refused.stderr
    (tmp_path / "key").write_text(KEY)
    file = str(tmp_path / "key")
    assert f"does not accept the API key from {file}." in bs("ls", "--api-key-file", file).stderr
    monkeypatch.delenv("BROWSER_SESSIONS_API_KEY")
    result = bs("ls")
    assert result.exit_code == 4
    assert "No API key was found: set BROWSER_SESSIONS_API_KEY" in result.stderr


def test_a_key_with_a_line_break_in_the_environment_is_named(service: Service, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BROWSER_SESSIONS_API_KEY", "one\ntwo")
    result = bs("ls")
    assert result.exit_code == 2
    assert "BROWSER_SESSIONS_API_KEY: it holds no API key" in result.stderr
    assert service.requests == []


@pytest.mark.parametrize(
    ("args", "text"),
    [
        (("create", "--json-body", "[]"), "it is valid JSON, but not an object"),
        (("create", "--json-body", "{"), "it is not valid JSON: "),
        (("create", "--json-body", "/nonexistent"), "/nonexistent is neither JSON nor a file that can be read"),
        (("end", ""), "Invalid value for 'ID...': it is empty"),
        (("screenshot", "--format", "jpg", "a"), "'--format': 'jpg' is not one of"),
        (("ls", "--url", ""), "Invalid value for '--url': it is empty"),
        (("end", "ses_g"), "ses_g is not a session id: ses_ and 1 to 32 hexadecimal digits."),
        (("end",), "Missing argument 'ID...'"),
        (("end", "-", "--api-key-file", "-"), "standard input is asked for twice"),
        (("lst",), "No such command 'lst'. Did you mean 'ls'"),
        (("--url", "http://127.0.0.1:1", "serve"), "serve has no such option"),
    ],
)
def test_a_usage_error_names_its_cause_as_text_and_as_json(service: Service, args: tuple[str, ...], text: str) -> None:
    result = bs(*args)
    assert result.exit_code == 2
    assert text in result.stderr
    as_json = bs(*args, "--json")
    assert as_json.exit_code == 2
    error: dict[str, Any] = json.loads(as_json.stderr)
    assert text in error["detail"]
    assert (error["title"], error["exit_code"]) == ("Wrong usage", 2)


def test_the_help_lists_the_exit_codes_and_every_command() -> None:
    usage = bs("--help").stdout
    for part in ("0 ok", "1 failed", "2 wrong usage", "3 not found", "4 refused", "5 no service"):
        assert part in " ".join(usage.split())
    for command in ("serve", "ls", "keys", "keepalive"):
        assert f"\n  {command} " in usage
