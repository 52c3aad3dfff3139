"""Formatting of sessions, times and facts for terminals."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from rich.console import Console

from browser_sessions.api.models.account_models import KeyResponse
from browser_sessions.api.models.egress_models import EgressResponse
from browser_sessions.api.models.session_models import (
    BrowserSessionDetails,
    BrowserSessionHealth,
    BrowserSessionResponse,
)
from browser_sessions.cli.output import plain
from browser_sessions.cli.tables import (
    console_address,
    details_table,
    duration,
    end_of,
    facts,
    keys_table,
    moment,
    sessions_table,
)
from browser_sessions.domain.session import SessionStatus

NOW = datetime(2026, 1, 31, 12, 0, 0, tzinfo=UTC)


def text(what: Any) -> str:
    console = Console(width=200, highlight=False, markup=False, emoji=False)
    with console.capture() as captured:
        console.print(what, soft_wrap=True)
    return "\n".join(line.rstrip() for line in captured.get().splitlines())


def session(**fields: Any) -> BrowserSessionResponse:
    values: dict[str, Any] = {
        "session_id": "ses_" + "a" * 32,
        "status": "active",
        "viewport_width": 800,
        "viewport_height": 600,
        "user_agent": None,
        "created_at": NOW - timedelta(minutes=5, seconds=4),
        "last_activity": NOW - timedelta(seconds=61),
        "expires_at": NOW + timedelta(seconds=239.9),
    } | fields
    return BrowserSessionResponse(**values)


def details(**fields: Any) -> BrowserSessionDetails:
    return BrowserSessionDetails(
        **session().model_dump()
        | {
            "end_reason": None,
            "ended_at": None,
            "isolation": "context",
            "node": "n1",
            "owner": "prn_1",
            "connections": 2,
            "pages": 1,
            "idle_timeout_seconds": 300.0,
            "max_lifetime_seconds": None,
            "metadata": {"job": "42"},
            "connect_url": "ws://here/cdp?ticket=" + "t" * 300,
            "live_url": "ws://here/base/v1/browser/sessions/x/live?ticket=t",
            "options": {"locale": "de-CH", "is_mobile": False, "java_script_enabled": True, "permissions": []},
            "key_egress": None,
            "traffic": None,
        }
        | fields
    )


@pytest.mark.parametrize(
    ("seconds", "expected"),
    [
        (-5, "0 s"),
        (0, "0 s"),
        (0.99, "0 s"),
        (59.99, "59 s"),
        (60, "1 m"),
        (245, "4 m 5 s"),
        (3600, "1 h"),
        (3661, "1 h 1 m"),
        (3605, "1 h"),
        (86_399, "23 h 59 m"),
        (90_000, "1 d 1 h"),
        (86_400 * 3 + 59, "3 d"),
    ],
)
def test_durations_have_two_units_and_are_rounded_down(seconds: float, expected: str) -> None:
    assert duration(seconds) == expected


def test_a_time_has_its_distance_from_now() -> None:
    assert moment(NOW - timedelta(seconds=90), NOW) == "2026-01-31 11:58:30Z (1 m 30 s ago)"
    assert moment(NOW + timedelta(hours=1), NOW) == "2026-01-31 13:00:00Z (in 1 h)"
    assert moment(None, NOW) == "never"


TITLE = "Cart (3 items) - Example Shop of many things"
ROW = {
    "status": "active",
    "responsive": True,
    "owner_name": "ann",
    "url": "https://shop.example.com/cart",
    "title": TITLE,
}


def table(shown: BrowserSessionResponse, row: dict[str, Any] | None = None, *, width: int = 200) -> list[str]:
    rows = {} if row is None else {shown.session_id: row}
    console = Console(width=width, highlight=False, markup=False, emoji=False)
    with console.capture() as captured:
        console.print(sessions_table([shown], rows, NOW, width=width))
    return [line.rstrip() for line in captured.get().splitlines()]


@pytest.mark.parametrize("width", [80, 99, 100, 119, 120, 200])
@pytest.mark.parametrize("status", [each.value for each in SessionStatus])
def test_ids_are_complete_from_80_columns_on_and_only_host_and_page_are_truncated(width: int, status: str) -> None:
    heading, line = table(session(status=status), ROW, width=width)
    assert max(map(len, (heading, line))) <= width
    cells = re.split(r"\s{2,}", line)
    assert cells[:2] == ["ses_" + "a" * 32, status]
    assert cells[-3] == "ann"
    for cell, whole in zip(cells[-2:], ("shop.example.com", TITLE), strict=True):
        assert whole.startswith(cell.removesuffix("…"))
        assert len(cell) >= 10


def test_a_wide_terminal_shows_time_columns() -> None:
    heading, line = table(session(), ROW)
    assert re.split(r"\s{2,}", heading) == ["SESSION", "STATUS", "ENDS IN", "AGE", "IDLE", "OWNER", "HOST", "PAGE"]
    assert re.split(r"\s{2,}", line)[2:5] == ["3 m 59 s", "5 m 4 s", "1 m 1 s"]
    assert "ENDS IN" in table(session(), ROW, width=100)[0]


def test_a_page_that_does_not_respond_is_shown_as_the_status() -> None:
    assert "unresponsive" in table(session(), ROW | {"responsive": False})[1]


@pytest.mark.parametrize(
    ("url", "host", "page"),
    [
        ("data:text/html,<h1>1</h1>", "data:", "data:text/html,<h1>1</h1>"),
        ("about:blank", "about:", "about:blank"),
        ("http://[", "", "http://["),
    ],
)
def test_a_page_without_a_title_is_shown_by_its_address(url: str, host: str, page: str) -> None:
    line = table(session(), ROW | {"url": url, "title": ""})[1]
    assert line.split("ann", 1)[1].split() == [*([host] if host else []), page]


def test_a_session_that_the_overview_does_not_have_is_shown_without_its_page() -> None:
    assert table(session(status="closed"))[1].split()[:2] == ["ses_" + "a" * 32, "closed"]


@pytest.mark.parametrize("status", [each.value for each in SessionStatus])
def test_an_ended_session_has_no_time_left(status: str) -> None:
    assert ("3 m 59 s" in table(session(status=status), ROW)[1]) is not SessionStatus(status).final


def test_a_session_without_limits_never_ends() -> None:
    assert "never" in table(session(expires_at=None), ROW)[1]


def test_a_title_cannot_control_the_terminal() -> None:
    evil = "\x1b]0;owned\x07\x1b[2J[red]bold[/red] \u202egnp.exe \x9b31m :skull:"
    shown = table(session(), ROW | {"title": evil, "owner_name": evil, "url": evil})[1]
    assert not set(shown) & {"\x1b", "\x07", "\u202e", "\x9b"}
    assert shown.count("[red]bold[/red]") == 2
    assert ":skull:" in shown


def test_plain_keeps_printable_text() -> None:
    assert plain("Zürich 東京 ñ 👋 a\tb") == "Zürich 東京 ñ 👋 a\N{REPLACEMENT CHARACTER}b"


def test_details_list_only_options_that_differ_from_the_defaults() -> None:
    shown = text(details_table(details(), None, NOW))
    for fact in (
        "status         active",
        "owner          prn_1",
        "ends           2026-01-31 12:03:59Z (in 3 m 59 s)",
        "limits         after 5 m without use",
        "user agent     the browser's default",
        "metadata job   42",
        "locale         de-CH",
    ):
        assert fact in shown, fact
    for absent in ("is_mobile", "java_script_enabled", "permissions", "health", "ended"):
        assert absent not in shown
    narrowed = details(key_egress={"allow": ["*.shop.example"], "deny": []})
    assert "egress of its key  only *.shop.example" in text(details_table(narrowed, None, NOW))


def test_a_session_is_watched_in_the_console_at_the_public_address() -> None:
    session_id = "ses_" + "a" * 32
    assert f"watch          http://here/base/sessions/{session_id}" in text(details_table(details(), None, NOW))
    public = console_address(session_id, "wss://browsers.example.com/v1/browser/sessions/x/live?ticket=t")
    assert public == f"https://browsers.example.com/sessions/{session_id}"


@pytest.mark.parametrize(
    ("idle", "lifetime", "expected"),
    [
        (300.0, 3600.0, "after 5 m without use, 1 h after its creation at the latest"),
        (None, 3600.0, "1 h after its creation"),
        (300.0, None, "after 5 m without use"),
        (None, None, "never by itself"),
    ],
)
def test_the_end_of_a_session_is_told_by_its_limits(idle: float | None, lifetime: float | None, expected: str) -> None:
    assert end_of(details(idle_timeout_seconds=idle, max_lifetime_seconds=lifetime)) == expected


def test_a_url_is_printed_on_one_line() -> None:
    assert "connect        ws://here/cdp?ticket=" + "t" * 300 in text(details_table(details(), None, NOW)).splitlines()


def test_details_of_an_ended_session_have_reason_and_time_and_no_urls() -> None:
    ended = details(
        status="crashed",
        end_reason="browser_died",
        ended_at=NOW - timedelta(seconds=3),
        connect_url=None,
        live_url=None,
        options={"java_script_enabled": False},
    )
    shown = text(details_table(ended, None, NOW))
    assert "status               crashed (browser_died)" in shown
    assert "why                  Its Chromium process died. Check the kernel log for out-of-memory kills." in shown
    assert "ended                2026-01-31 11:59:57Z (3 s ago)" in shown
    assert "java_script_enabled  False" in shown
    assert "connect " not in shown


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ({"healthy": True, "memory_bytes": 3 * 2**20}, "healthy, responded in 12 ms, 3.0 MiB"),
        ({"healthy": True, "memory_bytes": None}, "healthy, responded in 12 ms"),
        ({"healthy": False, "problem": "the page hangs"}, "unhealthy: the page hangs"),
        ({"healthy": False, "problem": None}, "unhealthy: no reason given"),
    ],
)
def test_health_is_described_in_one_line(fields: dict[str, Any], expected: str) -> None:
    values: dict[str, Any] = {
        "status": "active",
        "browser_alive": True,
        "page_responsive": True,
        "latency_ms": 12.3,
        "pages": 1,
        "memory_bytes": None,
        "cpu_seconds": None,
        "connections": 0,
        "checked_at": NOW,
        "problem": None,
    }
    health = BrowserSessionHealth(**values | fields)
    assert f"health         {expected}" in text(details_table(details(), health, NOW)).splitlines()


def test_facts_are_aligned_in_columns() -> None:
    assert text(facts([("name", "one"), ("n", "\x1bx")])) == "name  one\nn     �x"


@pytest.mark.parametrize(
    ("allow", "deny", "expected"),
    [
        (None, [], ""),
        ([], [], "only nothing"),
        (["*.a.example", "b.example:443"], [], "only *.a.example, b.example:443"),
        (None, ["c.example"], "not c.example"),
        (["a.example"], ["b.example"], "only a.example; not b.example"),
    ],
)
def test_a_keys_egress_rules_are_in_its_row(allow: list[str] | None, deny: list[str], expected: str) -> None:
    key = KeyResponse(
        key_id="key_1",
        name="n",
        role="client",
        principal_id="prn_1",
        created_at=NOW,
        revoked_at=None,
        egress=EgressResponse(allow=allow, deny=deny),
    )
    console = Console(width=200, highlight=False, markup=False, emoji=False)
    with console.capture() as captured:
        console.print(keys_table([key], NOW))
    heading, row = captured.get().splitlines()
    assert row[heading.index("EGRESS") :].rstrip() == expected
