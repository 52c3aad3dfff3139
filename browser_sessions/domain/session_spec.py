"""The resolved options of a session: device values and defaults are filled in."""

from __future__ import annotations

import ssl
from dataclasses import asdict, dataclass, field, fields
from enum import StrEnum
from typing import Any, Final

from browser_sessions.domain.egress_rules import NO_RULES, EgressRules
from browser_sessions.domain.urls import without_password

MASK: Final = "***"


class Isolation(StrEnum):
    CONTEXT = "context"
    """A browser context of its own in a Chromium process shared with other sessions of the same principal."""
    BROWSER = "browser"
    """A Chromium process of its own."""


@dataclass(frozen=True, slots=True)
class Geolocation:
    latitude: float
    longitude: float
    accuracy: float = 0.0


@dataclass(frozen=True, slots=True)
class Proxy:
    server: str
    bypass: str | None = None
    username: str | None = None
    password: str | None = field(default=None, repr=False)


@dataclass(frozen=True, slots=True)
class HttpCredentials:
    username: str
    password: str = field(repr=False)
    origin: str | None = None
    send: str = "unauthorized"


@dataclass(frozen=True, slots=True)
class ClientCertificate:
    """What a session shows to one origin. Certificate and key are only inside `tls`, which is not printed."""

    origin: str
    fingerprint: str = field(repr=False)
    """SHA-256 of all that was given."""
    host: str
    port: int
    tls: ssl.SSLContext = field(repr=False, compare=False)


@dataclass(frozen=True, slots=True)
class SessionSpec:
    """Every option of a session. Times in seconds, sizes in CSS pixels; None means the browser's default or none."""

    viewport_width: int = 1280
    viewport_height: int = 720
    user_agent: str | None = None
    idle_timeout_seconds: float | None = 300.0
    max_lifetime_seconds: float | None = 3600.0
    isolation: Isolation = Isolation.CONTEXT
    device: str | None = None
    device_scale_factor: float | None = None
    is_mobile: bool = False
    has_touch: bool = False
    locale: str | None = None
    timezone_id: str | None = None
    geolocation: Geolocation | None = None
    permissions: tuple[str, ...] = ()
    color_scheme: str | None = None
    reduced_motion: str | None = None
    forced_colors: str | None = None
    extra_http_headers: tuple[tuple[str, str], ...] = field(default=(), repr=False)
    http_credentials: HttpCredentials | None = None
    client_certificates: tuple[ClientCertificate, ...] = ()
    ignore_https_errors: bool = False
    bypass_csp: bool = False
    java_script_enabled: bool = True
    offline: bool = False
    proxy: Proxy | None = None
    egress: EgressRules = NO_RULES
    max_traffic_bytes: int | None = None
    storage_state: dict[str, Any] | None = field(default=None, repr=False, hash=False)
    start_url: str | None = None
    metadata: tuple[tuple[str, str], ...] = ()

    def options(self) -> dict[str, Any]:
        """The options without those that the API returns as fields of their own, as JSON values with secrets masked."""
        shown = {f.name: getattr(self, f.name) for f in fields(self) if f.name not in _SEPARATE_FIELDS}
        shown["permissions"] = list(self.permissions)
        shown["start_url"] = None if self.start_url is None else without_password(self.start_url)
        shown["geolocation"] = None if self.geolocation is None else asdict(self.geolocation)
        shown["egress"] = None if self.egress == NO_RULES else asdict(self.egress)
        shown["extra_http_headers"] = {name: MASK for name, _ in self.extra_http_headers}
        if self.proxy is not None:
            shown["proxy"] = asdict(self.proxy) | {"password": None if self.proxy.password is None else MASK}
        if self.http_credentials is not None:
            shown["http_credentials"] = asdict(self.http_credentials) | {"password": MASK}
        shown["client_certificates"] = [{"origin": each.origin} for each in self.client_certificates]
        if self.storage_state is not None:
            shown["storage_state"] = {
                "cookies": len(self.storage_state.get("cookies", ())),
                "origins": len(self.storage_state.get("origins", ())),
            }
        return shown


_SEPARATE_FIELDS: Final = frozenset(
    {
        "viewport_width",
        "viewport_height",
        "user_agent",
        "idle_timeout_seconds",
        "max_lifetime_seconds",
        "isolation",
        "metadata",
    }
)
