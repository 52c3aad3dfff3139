"""The body of a create: the options of a session."""

from __future__ import annotations

import re
from typing import Annotated, Any, Final, Literal

from pydantic import BaseModel, Field, field_validator, model_validator

from browser_sessions.api.models.client_certificate_models import MAX_CLIENT_CERTIFICATES, ClientCertificateBody
from browser_sessions.api.models.egress_models import EgressBody
from browser_sessions.api.models.model_parts import REQUEST, Address, HeaderValue, Printable
from browser_sessions.api.models.storage_models import StorageState
from browser_sessions.domain.egress_rules import NO_RULES
from browser_sessions.domain.limits import MAX_SIDE, MAX_TIMEOUT_SECONDS
from browser_sessions.domain.session_spec import Geolocation, HttpCredentials, Isolation, Proxy, SessionSpec

MAX_VIEWPORT_PIXELS: Final = MAX_SIDE * 4320
"""Area of a viewport: a full-size 8K screen; a larger one costs hundreds of megabytes a frame."""
MAX_SCALE: Final = 10.0
"""Device pixels per CSS pixel: real screens have at most 4."""

_HEADER_NAME: Final = re.compile(r"^[!#$%&'*+\-.^_`|~0-9A-Za-z]+$")
"""RFC 9110, section 5.1: a token."""
_CHROMIUMS_OWN: Final = frozenset(
    {"content-length", "cookie2", "host", "keep-alive", "set-cookie", "te", "trailer", "transfer-encoding", "upgrade"}
)
"""Headers (and `proxy-…`) with which Chromium refuses every request (ERR_INVALID_ARGUMENT): tried with 156."""


class GeolocationBody(BaseModel):
    model_config = REQUEST

    latitude: float = Field(ge=-90, le=90, allow_inf_nan=False)
    longitude: float = Field(ge=-180, le=180, allow_inf_nan=False)
    accuracy: float = Field(0.0, ge=0, allow_inf_nan=False)


class ProxyBody(BaseModel):
    model_config = REQUEST

    server: Printable = Field(
        max_length=2048, description="`http://host:port`, `https://host:port` or `socks5://host:port`"
    )
    bypass: Printable | None = Field(None, max_length=4096, description="Comma-separated hosts that go straight")
    username: Printable | None = Field(None, max_length=256)
    password: Printable | None = Field(None, max_length=256)

    @field_validator("server")
    @classmethod
    def _known_scheme(cls, server: str) -> str:
        if not re.fullmatch(r"(?:(?:https?|socks5)://)?[A-Za-z0-9._\-\[\]:]+", server):
            raise ValueError("must be http://host:port, https://host:port or socks5://host:port")
        port = re.search(r":(\d+)$", server)
        if port is not None and not 1 <= int(port.group(1)[:6]) <= 65535:
            raise ValueError("must have a port of 1 to 65535")
        return server


class HttpCredentialsBody(BaseModel):
    model_config = REQUEST

    username: Printable = Field(max_length=256)
    password: Printable = Field(max_length=256)
    origin: str | None = Field(
        None, max_length=300, pattern=r"^https?://[^/?#@\s]+$", description="Of the only site that gets them"
    )
    send: Literal["unauthorized", "always"] = Field("unauthorized", description="`always`: not only after a 401")


Permission = Annotated[str, Field(pattern=r"^[a-z][a-z\-]{1,40}$")]
Seconds = Annotated[float, Field(ge=0.1, le=MAX_TIMEOUT_SECONDS, allow_inf_nan=False)]


class CreateBrowserSession(BaseModel):
    """What a session shall be. Everything has a default; an unknown field is an error."""

    model_config = REQUEST

    viewport_width: int = Field(1280, ge=1, le=MAX_SIDE, description="CSS pixels")
    viewport_height: int = Field(720, ge=1, le=MAX_SIDE, description="CSS pixels")
    user_agent: HeaderValue | None = Field(None, max_length=1024, min_length=1, description="null: the browser's own")
    idle_timeout_seconds: Seconds | None = Field(
        300.0, description="Ends after so long without use; null: never for that"
    )
    max_lifetime_seconds: Seconds | None = Field(
        3600.0, description="Ends so long after it was created; null only where the server allows it"
    )
    isolation: Literal["context", "browser"] = Field("context", description="`browser`: a Chromium process of its own")
    device: Printable | None = Field(None, max_length=100, description="A Playwright device name, such as `iPhone 15`")
    device_scale_factor: float | None = Field(
        None, ge=0.1, le=MAX_SCALE, allow_inf_nan=False, description="Device pixels per CSS pixel; null: 1"
    )
    is_mobile: bool = Field(False, description="Follows the page's `meta viewport`, and has a phone's scroll bars")
    has_touch: bool = False
    locale: str | None = Field(None, max_length=35, pattern=r"^[A-Za-z]{2,8}([-_][A-Za-z0-9]{1,8})*$")
    timezone_id: str | None = Field(None, max_length=64, pattern=r"^[A-Za-z][A-Za-z0-9_+\-/]*$")
    geolocation: GeolocationBody | None = None
    permissions: list[Permission] = Field(default_factory=list, max_length=32)
    color_scheme: Literal["light", "dark", "no-preference"] | None = None
    reduced_motion: Literal["reduce", "no-preference"] | None = None
    forced_colors: Literal["active", "none"] | None = None
    extra_http_headers: dict[str, HeaderValue] = Field(default_factory=dict, max_length=64)
    http_credentials: HttpCredentialsBody | None = Field(None, description="For HTTP authentication (401)")
    client_certificates: list[ClientCertificateBody] = Field(
        default_factory=list, max_length=MAX_CLIENT_CERTIFICATES, description="For sites that ask for one"
    )
    ignore_https_errors: bool = False
    bypass_csp: bool = Field(False, description="Ignores the pages' Content-Security-Policy")
    java_script_enabled: bool = True
    offline: bool = False
    proxy: ProxyBody | None = None
    egress: EgressBody | None = Field(None, description="What it can reach; null: all that the server allows")
    max_traffic_bytes: int | None = Field(
        None, ge=1, le=2**53, description="Sent and received together; then its connections are closed. null: no limit"
    )
    storage_state: StorageState | None = None
    start_url: Address | None = None
    wait_seconds: float = Field(
        0.0, ge=0, le=600, allow_inf_nan=False, description="How long to wait for free capacity"
    )
    metadata: dict[
        Annotated[Printable, Field(min_length=1, max_length=64)], Annotated[Printable, Field(max_length=512)]
    ] = Field(default_factory=dict, max_length=32)

    @model_validator(mode="after")
    def _sane(self) -> CreateBrowserSession:
        if self.viewport_width * self.viewport_height > MAX_VIEWPORT_PIXELS:
            raise ValueError(f"viewport_width x viewport_height must be at most {MAX_VIEWPORT_PIXELS} pixels")
        for name in self.extra_http_headers:
            if len(name) > 256 or not _HEADER_NAME.match(name):
                raise ValueError(f"extra_http_headers: {name[:64]!r} is not a header name")
            if name.lower() in _CHROMIUMS_OWN or name.lower().startswith("proxy-"):
                raise ValueError(f"extra_http_headers: {name[:64]!r} is the browser's own; with it no page would load")
        return self

    def spec(self, **resolved: Any) -> SessionSpec:
        """The options as the domain knows them; `resolved` replaces what a device or the server's defaults decide."""
        values: dict[str, Any] = {
            "viewport_width": self.viewport_width,
            "viewport_height": self.viewport_height,
            "user_agent": self.user_agent,
            "idle_timeout_seconds": self.idle_timeout_seconds,
            "max_lifetime_seconds": self.max_lifetime_seconds,
            "isolation": Isolation(self.isolation),
            "device": self.device,
            "device_scale_factor": self.device_scale_factor,
            "is_mobile": self.is_mobile,
            "has_touch": self.has_touch,
            "locale": self.locale,
            "timezone_id": self.timezone_id,
            "geolocation": Geolocation(**self.geolocation.model_dump()) if self.geolocation else None,
            "permissions": tuple(self.permissions),
            "color_scheme": self.color_scheme,
            "reduced_motion": self.reduced_motion,
            "forced_colors": self.forced_colors,
            "extra_http_headers": tuple(self.extra_http_headers.items()),
            "http_credentials": HttpCredentials(**self.http_credentials.model_dump())
            if self.http_credentials
            else None,
            "ignore_https_errors": self.ignore_https_errors,
            "bypass_csp": self.bypass_csp,
            "java_script_enabled": self.java_script_enabled,
            "offline": self.offline,
            "proxy": Proxy(**self.proxy.model_dump()) if self.proxy else None,
            "egress": self.egress.rules() if self.egress else NO_RULES,
            "max_traffic_bytes": self.max_traffic_bytes,
            "storage_state": self.storage_state.as_playwright() if self.storage_state else None,
            "start_url": self.start_url,
            "metadata": tuple(self.metadata.items()),
        }
        return SessionSpec(**(values | resolved))
