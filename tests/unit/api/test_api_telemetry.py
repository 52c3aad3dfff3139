"""Log events have documented names and contain no secrets."""

from __future__ import annotations

import io
import json
import logging
import re
import unicodedata
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal

import pytest
import structlog

import browser_sessions
from browser_sessions import telemetry
from browser_sessions.domain import event_types
from browser_sessions.events.log_and_metrics import LOGGED, NOT_LOGGED
from browser_sessions.telemetry import EVENTS, configure_logging, keep_secret, masked
from tests.harness.log_lines import json_lines

KEY = "bs_0123456789abcdef_abcdefghijklmnopqrstuvwxyz0123456789ABCDEFG"
TOKEN = "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiJhbm4ifQ.c2lnbmF0dXJl"
CANARIES = (KEY, TOKEN, "hunter2hunter2")


@pytest.fixture
def lines() -> Iterator[io.StringIO]:
    with json_lines("debug") as lines:
        yield lines


@pytest.mark.parametrize(
    "value",
    [
        KEY,
        f"GET /x?api_key={KEY}&a=1",
        f"ws://127.0.0.1/cdp?ticket={TOKEN}",
        f"Authorization: Bearer {TOKEN}",
        {"authorization": f"Basic {CANARIES[2]}"},
        {"Cookie": CANARIES[2]},
        {"X-API-Key": CANARIES[2]},
        {"password": CANARIES[2]},
        {"proxy": {"password": CANARIES[2]}},
        [{"headers": {"set-cookie": CANARIES[2]}}],
        f"http://user:{CANARIES[2]}@proxy.example:3128",
        f"password={CANARIES[2]}",
        ValueError(f"bad token {TOKEN}"),
    ],
    ids=str,
)
def test_secrets_are_masked_in_any_position(value: Any) -> None:
    shown = repr(masked(value))
    assert not any(canary in shown for canary in CANARIES)
    assert telemetry.MASK in shown


@pytest.mark.parametrize(
    "value", ["a session ses_0123456789abcdef0123456789abcdef", 7, 1.5, None, True, {"a": [1, "b"]}]
)
def test_other_values_are_not_masked(value: Any) -> None:
    assert masked(value) == value


def test_a_registered_secret_of_any_form_is_masked(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(telemetry, "_known_secrets", set())
    keep_secret("my own admin key")
    assert "my own" not in masked("it was my own admin key, sorry")


def test_a_json_line_has_all_fields_and_no_secret(lines: io.StringIO) -> None:
    structlog.get_logger().info("http.request", status=200, url=f"/x?ticket={TOKEN}")
    line = json.loads(lines.getvalue())
    assert line["event"] == "http.request"
    assert (line["level"], line["status"]) == ("info", 200)
    assert TOKEN not in lines.getvalue()


def test_tracebacks_and_lines_of_libraries_are_masked(lines: io.StringIO) -> None:
    try:
        raise ValueError(f"cannot read {KEY}")
    except ValueError:
        structlog.get_logger().exception("http.failed")
        logging.getLogger("uvicorn.error").exception("broken")
    logging.getLogger("some.library").warning("sent %s", {"authorization": f"Bearer {TOKEN}"})
    records = [json.loads(line) for line in lines.getvalue().splitlines()]
    assert len(records) == 3
    assert "ValueError" in records[0]["exception"]
    assert "ValueError" in records[1]["exception"]
    assert not any(canary in lines.getvalue() for canary in CANARIES)


@pytest.mark.parametrize("log_format", ["console", "json"])
def test_control_characters_are_escaped(lines: io.StringIO, log_format: Literal["console", "json"]) -> None:
    configure_logging(log_format, "info", lines)
    sent = "ses\x00\x1b[2J\x7f\x9b\u2028\nx\r\t\u061c\u200b\u202egnp\u2066\ufeff\ud800\U000e0041"
    structlog.get_logger().info("http.request", session_id=sent, names=[sent], facts={sent: sent})
    logging.getLogger("some.library").warning("sent %s", sent)
    assert len(lines.getvalue().splitlines()) == 2
    try:
        raise ValueError(sent)
    except ValueError:
        structlog.get_logger().exception("http.failed")
    text = lines.getvalue()
    assert {each for each in text if unicodedata.category(each) in ("Cc", "Cf", "Cs", "Zl", "Zp")} <= {"\n", "\t"}
    assert [line for line in text.splitlines() if not line.startswith((" ", "{", "20"))] == [], "no line is forged"
    assert "[2J" in text
    assert r"\u202egnp" in text


def test_every_logged_event_is_documented() -> None:
    source = Path(browser_sessions.__file__).parent
    logged = re.compile(r"log\.(?:debug|info|warning|error|exception)\(\s*\"([a-z_]+\.[a-z_.]+)\"")
    names = {name for file in source.rglob("*.py") for name in logged.findall(file.read_text())}
    assert "http.request" in names, "the pattern must find events"
    assert names - set(EVENTS) == set()


def test_every_event_of_the_journal_that_is_logged_is_documented() -> None:
    assert {name for name in event_types.EVENTS if name.startswith(LOGGED)} - NOT_LOGGED - set(EVENTS) == set()
