"""Maps a session's spec to the arguments of Playwright's `new_context`, and error messages back to the invalid field.
Pure."""

from __future__ import annotations

import re
from dataclasses import asdict
from typing import Any, Final

from browser_sessions.domain.errors import InvalidField
from browser_sessions.domain.limits import MAX_PIXELS
from browser_sessions.domain.session_spec import SessionSpec

_INVALID_FIELDS: Final[tuple[tuple[re.Pattern[str], str, str], ...]] = tuple(
    (re.compile(pattern, re.IGNORECASE), field, requirement)
    for pattern, field, requirement in (
        (r"timezone", "timezone_id", "must be a time zone of the IANA list, such as Europe/Berlin"),
        (r"locale", "locale", "must be a BCP 47 language tag, such as de-DE"),
        (r"permission", "permissions", "must be permissions that Chromium knows, such as geolocation or notifications"),
        (r"geolocation|latitude|longitude|accuracy", "geolocation", "must be a valid latitude, longitude and accuracy"),
        (r"useragent|user_agent", "user_agent", "must be printable characters without line breaks"),
        (r"header", "extra_http_headers", "must be valid HTTP header names and values"),
        (r"color_?scheme", "color_scheme", "must be light, dark or no-preference"),
        (r"storage[_ ]?state|cookie|localstorage", "storage_state", "must be a storage state as Playwright exports it"),
        (r"proxy|socks", "proxy", "must be a proxy that Chromium can use, such as http://proxy.example:3128"),
        (r"device_?scale_?factor", "device_scale_factor", "must be a positive number"),
        (r"isMobile|is_mobile", "is_mobile", "is not supported by this browser"),
        (r"hasTouch|has_touch", "has_touch", "is not supported by this browser"),
        (r"viewport|devicemetrics", "viewport_width", "must be a size that Chromium can draw"),
    )
)


def context_options(spec: SessionSpec) -> dict[str, Any]:
    """Keyword arguments for `Browser.new_context`. Raises `InvalidField` for a viewport with too many pixels.

    Without the permissions: with an unknown one, `new_context` fails and leaves its context behind.
    """
    _check_pixels(spec)
    options: dict[str, Any] = {
        "viewport": {"width": spec.viewport_width, "height": spec.viewport_height},
        "is_mobile": spec.is_mobile,
        "has_touch": spec.has_touch,
        "ignore_https_errors": spec.ignore_https_errors,
        "bypass_csp": spec.bypass_csp,
        "java_script_enabled": spec.java_script_enabled,
        "offline": spec.offline,
        "service_workers": "allow",
        "accept_downloads": False,  # handled without Playwright, see session_downloads
    }
    optional = {
        "user_agent": spec.user_agent,
        "device_scale_factor": spec.device_scale_factor,
        "locale": spec.locale,
        "timezone_id": spec.timezone_id,
        "color_scheme": spec.color_scheme,
        "reduced_motion": spec.reduced_motion,
        "forced_colors": spec.forced_colors,
        "storage_state": spec.storage_state,
        "extra_http_headers": dict(spec.extra_http_headers) or None,
    }
    options |= {name: value for name, value in optional.items() if value is not None}
    if spec.geolocation is not None:
        options["geolocation"] = asdict(spec.geolocation)
    for name, parts in (("proxy", spec.proxy), ("http_credentials", spec.http_credentials)):
        if parts is not None:
            options[name] = {part: value for part, value in asdict(parts).items() if value is not None}
    return options


def invalid_field(message: str, spec: SessionSpec) -> InvalidField | None:
    """The error for the field that a message of Chromium or Playwright is about; None if the spec sets no such
    field."""
    for pattern, field, requirement in _INVALID_FIELDS:
        if pattern.search(message) and getattr(spec, field) not in (None, (), False):
            return InvalidField(("body", field), f"{requirement} ({message[:200]})")
    if "Invalid URL" in message and spec.proxy is not None:
        return InvalidField(("body", "proxy", "server"), "must be an address such as http://proxy.example:3128")
    return None


def _check_pixels(spec: SessionSpec) -> None:
    scale = spec.device_scale_factor or 1.0
    if spec.viewport_width * spec.viewport_height * scale * scale > MAX_PIXELS:
        raise InvalidField(
            ("body", "device_scale_factor"),
            f"viewport_width x viewport_height x device_scale_factor squared must not exceed {MAX_PIXELS} pixels",
        )
