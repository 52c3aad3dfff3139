"""Pure functions of the chromium package: values, context options, errors, titles."""

from __future__ import annotations

import pytest
from playwright.async_api import TimeoutError as PlaywrightTimeout

from browser_sessions.chromium.context.context_options import context_options, invalid_field
from browser_sessions.chromium.context.javascript_values import MAX_CHARACTERS, parse
from browser_sessions.chromium.driver.playwright_calls import translate
from browser_sessions.chromium.launch.child import DETAIL_CHARACTERS, SANDBOX_FAILED, start_error
from browser_sessions.chromium.page_registry import is_placeholder
from browser_sessions.domain.errors import BrowserTimeout, InvalidField, PageFailed
from browser_sessions.domain.limits import MAX_PIXELS
from browser_sessions.domain.session_spec import Geolocation, Proxy, SessionSpec


async def test_results_of_a_page_are_parsed_and_invalid_ones_are_errors() -> None:
    assert await parse('{"a": [1, null, "x"]}') == {"a": [1, None, "x"]}
    assert await parse("[" + "1," * 100_000 + "2]") == [1] * 100_000 + [2]
    assert await parse('"\\ud800"') == "\ud800"
    for strange in (
        "undefined",
        "\ud800",
        "[" * 5000 + "]" * 5000,
        7,
        None,
        "1" * (MAX_CHARACTERS + 1),
    ):
        with pytest.raises(PageFailed, match="JSON"):
            await parse(strange)


def test_a_default_spec_sets_only_the_defaults() -> None:
    assert context_options(SessionSpec()) == {
        "viewport": {"width": 1280, "height": 720},
        "is_mobile": False,
        "has_touch": False,
        "ignore_https_errors": False,
        "bypass_csp": False,
        "java_script_enabled": True,
        "offline": False,
        "service_workers": "allow",
        "accept_downloads": False,
    }


def test_nested_options_keep_their_parts() -> None:
    options = context_options(
        SessionSpec(geolocation=Geolocation(1.0, 2.0, 3.0), proxy=Proxy("http://p:1", username="u", password="p"))
    )
    assert options["geolocation"] == {"latitude": 1.0, "longitude": 2.0, "accuracy": 3.0}
    assert options["proxy"] == {"server": "http://p:1", "username": "u", "password": "p"}


@pytest.mark.parametrize(("scale", "fits"), [(None, True), (1.0, True), (1.01, False), (0.5, True)])
def test_too_many_pixels_are_rejected(scale: float | None, fits: bool) -> None:
    spec = SessionSpec(viewport_width=8192, viewport_height=MAX_PIXELS // 8192, device_scale_factor=scale)
    if fits:
        context_options(spec)
    else:
        with pytest.raises(InvalidField) as refused:
            context_options(spec)
        assert refused.value.loc == ("body", "device_scale_factor")


def test_an_error_is_about_a_field_that_the_spec_sets() -> None:
    message = "Invalid timezone ID: Mars/Base"
    error = invalid_field(message, SessionSpec(timezone_id="Mars/Base"))
    assert error is not None
    assert error.loc == ("body", "timezone_id")
    assert "Europe/Berlin" in error.detail
    assert invalid_field(message, SessionSpec()) is None
    assert invalid_field("net::ERR_CONNECTION_REFUSED at http://timezone.example/", SessionSpec()) is None


@pytest.mark.parametrize(
    ("title", "url", "placeholder"),
    [
        ("", "", True),
        ("about:blank", "about:blank", True),
        ("127.0.0.1:8000", "http://127.0.0.1:8000/", True),
        ("127.0.0.1:8000/a b", "http://127.0.0.1:8000/a%20b", True),
        ("https://example.com", "https://example.com/", True),
        ("Home", "http://127.0.0.1:8000/", False),
        ("example.com", "https://example.org/", False),
    ],
)
def test_a_title_that_is_only_the_url_is_a_placeholder(title: str, url: str, placeholder: bool) -> None:
    assert is_placeholder(title, url) is placeholder


@pytest.mark.parametrize(
    ("stderr", "returncode", "reason"),
    [
        ("[1:1:FATAL:zygote_host.cc(132)] No usable sandbox! Update your kernel\n", -6, SANDBOX_FAILED),
        ("[1:1:FATAL:x.cc] Running as root without --no-sandbox is not supported.\n", 1, SANDBOX_FAILED),
        ("one\n[1:2:FATAL:a.cc:3] It is too long.\ntwo\n", -6, "It is too long"),
        (
            "/x/chrome: error while loading shared libraries: libnss3.so: cannot open shared object file\n",
            127,
            "the shared library libnss3.so is missing",
        ),
        ("one\n\n two \nthree\nfour\n", 3, "two; three; four; it exited with status 3"),
        ("one\n", None, "one"),
        ("", -9, "it was killed by SIGKILL"),
        ("", None, "it wrote no error message"),
    ],
)
def test_the_start_error_is_the_relevant_part_of_standard_error(
    stderr: str, returncode: int | None, reason: str
) -> None:
    assert start_error(stderr, returncode) == reason


def test_the_start_error_is_short_whatever_chromium_writes() -> None:
    for stderr in ("x" * 10_000, f"[1:FATAL:a.cc] {'x' * 10_000}"):
        assert len(start_error(stderr, 1)) == DETAIL_CHARACTERS


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("Page.goto: Timeout 29605.00000000002ms exceeded.\nCall log:\n  - navigating", "in time. Allow more time"),
        ("Timeout 5ms exceeded while waiting", "in time (Timeout 5ms exceeded while waiting). Allow more time"),
    ],
)
def test_a_timeout_has_a_readable_message(text: str, message: str) -> None:
    error = translate(PlaywrightTimeout(text))
    assert isinstance(error, BrowserTimeout)
    assert message in error.detail
