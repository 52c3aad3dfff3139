"""The options of a session as typed keyword arguments."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from inspect import cleandoc
from typing import Any, Literal, Required, TypedDict, TypeVar

from browser_sessions.api.models.account_models import RoleName
from browser_sessions.api.models.session_models import StatusName

__all__ = [
    "ClientCertificateOptions",
    "EgressOptions",
    "RoleName",
    "SessionOptions",
    "StatusName",
    "WaitUntil",
    "documented",
]

F = TypeVar("F", bound=Callable[..., Any])
WaitUntil = Literal["commit", "domcontentloaded", "load", "networkidle"]


class EgressOptions(TypedDict, total=False):
    """Hosts, `*.hosts`, addresses and networks, each with an optional `:port`.

    allow: only these can be reached; None: all that the server and the key allow
    deny: these cannot be reached
    """

    allow: Sequence[str] | None
    deny: Sequence[str]


class ClientCertificateOptions(TypedDict, total=False):
    """PEM texts of a certificate that one site sees.

    origin: such as "https://shop.example:8443"
    cert, key: the certificate, with those between it and its root, and its private key
    passphrase: of an encrypted key
    """

    origin: Required[str]
    cert: Required[str]
    key: Required[str]
    passphrase: str | None


class SessionOptions(TypedDict, total=False):
    """Options of a session, all of them optional:

    viewport_width, viewport_height: CSS pixels; 1280 and 720
    user_agent: by default the browser's own
    idle_timeout_seconds: the session ends after this time without use; 300; None: no idle timeout
    max_lifetime_seconds: it ends this long after its creation; 3600; None only where the server allows it
    isolation: "context", or "browser" for a Chromium process of its own
    device: a Playwright device name, such as "iPhone 15"; options that are given as well take precedence
    device_scale_factor: device pixels per CSS pixel; 1
    is_mobile, has_touch: a phone's layout, touch events; False
    locale, timezone_id: such as "de-CH" and "Europe/Zurich"
    geolocation: {"latitude": 47.4, "longitude": 8.5}, with "accuracy" in metres
    permissions: such as ["geolocation"]
    color_scheme: "light", "dark" or "no-preference"
    reduced_motion, forced_colors: "reduce" or "no-preference"; "active" or "none"
    extra_http_headers: sent with every request of its pages
    http_credentials: {"username": ..., "password": ..., "origin": the only site that gets them, "send": ...}
    client_certificates: [{"origin": "https://shop.example", "cert": PEM, "key": PEM, "passphrase": ...}]
    ignore_https_errors: accept invalid certificates; False
    bypass_csp: ignore the pages' Content-Security-Policy; False
    java_script_enabled: True
    offline: False
    proxy: {"server": "http://host:port", "bypass": ..., "username": ..., "password": ...}
    egress: {"allow": ["*.shop.example", "198.51.100.0/24:443"], "deny": [...]}: what it can reach of what is allowed
    max_traffic_bytes: its connections are closed once it has sent and received that much; None: no limit
    storage_state: cookies and local storage, as `storage_state()` returns them
    start_url: the page is navigated there before the call returns
    wait_seconds: how long to wait for free capacity; 0
    metadata: pairs of strings, to find the session by
    """

    viewport_width: int
    viewport_height: int
    user_agent: str | None
    idle_timeout_seconds: float | None
    max_lifetime_seconds: float | None
    isolation: Literal["context", "browser"]
    device: str | None
    device_scale_factor: float | None
    is_mobile: bool
    has_touch: bool
    locale: str | None
    timezone_id: str | None
    geolocation: Mapping[str, float] | None
    permissions: Sequence[str]
    color_scheme: Literal["light", "dark", "no-preference"] | None
    reduced_motion: Literal["reduce", "no-preference"] | None
    forced_colors: Literal["active", "none"] | None
    extra_http_headers: Mapping[str, str]
    http_credentials: Mapping[str, str | None] | None
    client_certificates: Sequence[ClientCertificateOptions]
    ignore_https_errors: bool
    bypass_csp: bool
    java_script_enabled: bool
    offline: bool
    proxy: Mapping[str, str | None] | None
    egress: EgressOptions | None
    max_traffic_bytes: int | None
    storage_state: Mapping[str, Any] | None
    start_url: str | None
    wait_seconds: float
    metadata: Mapping[str, str]


def documented(options: type) -> Callable[[F], F]:
    """Adds the options to a method's docstring: `help` shows no more of them than `**options`."""

    def decorate(method: F) -> F:
        method.__doc__ = f"{cleandoc(method.__doc__ or '')}\n\n{cleandoc(options.__doc__ or '')}"
        return method

    return decorate
