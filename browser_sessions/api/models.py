"""The JSON models of the API, shared by the server and the client SDK. Field order is part of the contract."""

from __future__ import annotations

import re
from collections.abc import Iterator
from datetime import datetime
from typing import Annotated, Any, Final, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, WithJsonSchema, model_validator

from browser_sessions.api.client_certificate_models import MAX_CLIENT_CERTIFICATES, ClientCertificateBody
from browser_sessions.api.egress_models import EgressBody, EgressResponse, Traffic
from browser_sessions.domain.download_ledger import DownloadState
from browser_sessions.domain.egress_rules import NO_RULES
from browser_sessions.domain.limits import MAX_SIDE, MAX_TIMEOUT_SECONDS, URL_CHARACTERS
from browser_sessions.domain.session_spec import Geolocation, HttpCredentials, Isolation, Proxy, SessionSpec
from browser_sessions.domain.urls import REFUSED, may_open

MAX_VIEWPORT_PIXELS: Final = MAX_SIDE * 4320
"""Area of a viewport: a full-size 8K screen; a larger one costs hundreds of megabytes a frame."""
MAX_SCALE: Final = 10.0
"""Device pixels per CSS pixel: real screens have at most 4."""
LIST_LIMIT: Final = 500
"""Sessions on one page of the list."""

MAX_NESTING: Final = 50
"""Depth of what is passed on unread (IndexedDB in a storage state): Playwright's own stays below ten."""
MAX_NUMBER: Final = 2.0**63
"""Beyond it integers are not exact in JavaScript anyway, and some JSON readers refuse them."""

_TICKET: Final = re.compile(r"ticket=[^&\s]+")
_SURROGATE: Final = re.compile(r"[\ud800-\udfff]")
_CONTROL: Final = re.compile(r"[\x00-\x1f\x7f]")
_HEADER_NAME: Final = re.compile(r"^[!#$%&'*+\-.^_`|~0-9A-Za-z]+$")
"""RFC 9110, section 5.1: a token."""
_CHROMIUMS_OWN: Final = frozenset(
    {"content-length", "cookie2", "host", "keep-alive", "set-cookie", "te", "trailer", "transfer-encoding", "upgrade"}
)
"""Headers (and `proxy-…`) with which Chromium refuses every request (ERR_INVALID_ARGUMENT): tried with 156."""


def _printable(value: str) -> str:
    if _CONTROL.search(value):
        raise ValueError("must not contain control characters")
    try:
        value.encode("utf-8")
    except UnicodeEncodeError:
        raise ValueError("must be valid Unicode (no lone surrogates)") from None
    return value


def _header_value(value: str) -> str:
    _printable(value)
    if not value.isascii():
        raise ValueError("must contain ASCII characters only")
    return value


def _address(value: str) -> str:
    if not may_open(value):
        raise ValueError(REFUSED)
    return value


def _plain(value: Any, depth: int = 0) -> bool:
    """True for what every JSON reader on the way to the browser takes."""
    if isinstance(value, dict):
        return depth < MAX_NESTING and all(_plain(k, depth) and _plain(v, depth + 1) for k, v in value.items())
    if isinstance(value, list):
        return depth < MAX_NESTING and all(_plain(item, depth + 1) for item in value)
    if isinstance(value, str):
        return not _SURROGATE.search(value)
    return not isinstance(value, int | float) or abs(value) <= MAX_NUMBER


Printable = Annotated[str, AfterValidator(_printable)]
HeaderValue = Annotated[str, Field(max_length=8192), AfterValidator(_header_value)]
Address = Annotated[
    str, Field(min_length=1, max_length=URL_CHARACTERS), AfterValidator(_printable), AfterValidator(_address)
]

_Asked = ConfigDict(extra="forbid", strict=True, frozen=True)
"""Requests: an unknown field or a wrong type is an error, never guessed at."""


class GeolocationBody(BaseModel):
    model_config = _Asked

    latitude: float = Field(ge=-90, le=90, allow_inf_nan=False)
    longitude: float = Field(ge=-180, le=180, allow_inf_nan=False)
    accuracy: float = Field(0.0, ge=0, allow_inf_nan=False)


class ProxyBody(BaseModel):
    model_config = _Asked

    server: Printable = Field(
        max_length=2048, description="`http://host:port`, `https://host:port` or `socks5://host:port`"
    )
    bypass: Printable | None = Field(None, max_length=4096, description="Comma-separated hosts that go straight")
    username: Printable | None = Field(None, max_length=256)
    password: Printable | None = Field(None, max_length=256)

    @model_validator(mode="after")
    def _known_scheme(self) -> ProxyBody:
        if not re.fullmatch(r"(?:(?:https?|socks5)://)?[A-Za-z0-9._\-\[\]:]+", self.server):
            raise ValueError("server must be http://host:port, https://host:port or socks5://host:port")
        port = re.search(r":(\d+)$", self.server)
        if port is not None and not 1 <= int(port.group(1)[:6]) <= 65535:
            raise ValueError("server's port must be 1 to 65535")
        return self


class Cookie(BaseModel):
    model_config = _Asked

    name: Printable = Field(max_length=4096)
    value: Printable = Field(max_length=4096)
    domain: Printable = Field(max_length=253)
    path: Printable = Field("/", max_length=4096)
    expires: float = Field(-1.0, allow_inf_nan=False)
    httpOnly: bool = False  # noqa: N815 - Playwright's name, part of its storage-state file format
    secure: bool = False
    sameSite: Literal["Strict", "Lax", "None"] = "Lax"  # noqa: N815 - as above
    partitionKey: str | None = Field(None, max_length=4096)  # noqa: N815 - as above
    cross_site_ancestor: bool | None = Field(None, alias="_crHasCrossSiteAncestor", description="Of a partitioned one")


class StorageItem(BaseModel):
    model_config = _Asked

    name: str = Field(max_length=65_536)
    value: str


class Origin(BaseModel):
    model_config = ConfigDict(extra="allow", strict=True, frozen=True)

    origin: Address
    localStorage: list[StorageItem] = Field(default_factory=list, max_length=10_000)  # noqa: N815 - as above

    @model_validator(mode="after")
    def _plain_extras(self) -> Origin:
        if self.model_extra and not _plain(self.model_extra):
            raise ValueError(f"must be plain JSON: valid Unicode, finite numbers, nested at most {MAX_NESTING} deep")
        return self


class StorageState(BaseModel):
    """Playwright's storage state, as `context.storage_state()` gives it."""

    model_config = _Asked

    cookies: list[Cookie] = Field(default_factory=list, max_length=5_000)
    origins: list[Origin] = Field(default_factory=list, max_length=1_000)

    def as_playwright(self) -> dict[str, Any]:
        return self.model_dump(exclude_none=True, by_alias=True)


class HttpCredentialsBody(BaseModel):
    model_config = _Asked

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

    model_config = _Asked

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
    wait_seconds: float = Field(0.0, ge=0, le=600, allow_inf_nan=False, description="How long to wait for a free place")
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


StatusName = Literal["queued", "starting", "active", "closing", "closed", "expired", "crashed", "lost"]


class WithTickets(BaseModel):
    """Its `repr`, which ends up in logs, hides the tickets of its URLs."""

    def __repr_args__(self) -> Iterator[tuple[str | None, Any]]:
        for name, value in super().__repr_args__():
            yield name, _TICKET.sub("ticket=***", value) if isinstance(value, str) else value


class BrowserSessionResponse(BaseModel):
    """Response schema for browser session information"""

    session_id: str
    status: Annotated[StatusName, WithJsonSchema({"type": "string"})]  # the contract has no enum here
    viewport_width: int
    viewport_height: int
    user_agent: str | None
    created_at: datetime
    last_activity: datetime
    expires_at: datetime | None


class BrowserSessionCreated(WithTickets, BrowserSessionResponse):
    """A new session: its eight fields, and where to connect and to watch. Both addresses hold a ticket: keep them
    secret."""

    status: StatusName
    connect_url: str
    live_url: str


class BrowserSessionDetails(WithTickets, BrowserSessionResponse):
    """All that is known about a session. The addresses are null once it has ended."""

    status: StatusName
    end_reason: str | None
    ended_at: datetime | None
    isolation: Literal["context", "browser"]
    node: str
    owner: str
    connections: int
    pages: int
    idle_timeout_seconds: float | None
    max_lifetime_seconds: float | None
    metadata: dict[str, str]
    connect_url: str | None
    live_url: str | None
    options: dict[str, Any]
    traffic: Traffic | None = Field(description="null before it starts, and where the server has the egress proxy off")


class BrowserSessionList(BaseModel):
    sessions: list[BrowserSessionResponse]
    next_cursor: str | None


class BrowserSessionHealth(BaseModel):
    """What a probe of the live browser found, now. `memory_bytes` is the JavaScript heap of the pages' renderers,
    `cpu_seconds` what their main threads have used since the pages are in them: a page that goes to another site begins
    anew."""

    healthy: bool
    status: StatusName
    browser_alive: bool
    page_responsive: bool
    latency_ms: float
    pages: int
    memory_bytes: int | None
    cpu_seconds: float | None
    connections: int
    checked_at: datetime
    problem: str | None


class KeepaliveBody(BaseModel):
    model_config = _Asked

    extend_seconds: float | None = Field(
        None, gt=0, le=MAX_TIMEOUT_SECONDS, allow_inf_nan=False, description="Moves the hard limit by so much"
    )


class PageResponse(BaseModel):
    page_id: str
    url: str
    title: str
    created_at: datetime
    crashed: bool


class PageList(BaseModel):
    pages: list[PageResponse]


class OpenPageBody(BaseModel):
    model_config = _Asked

    url: Address | None = None


class NavigateBody(BaseModel):
    model_config = _Asked

    url: Address
    wait_until: Literal["commit", "domcontentloaded", "load", "networkidle"] = "load"
    timeout_seconds: float = Field(30.0, gt=0, le=300, allow_inf_nan=False)


class NavigationResponse(BaseModel):
    page_id: str
    url: str
    title: str
    http_status: int | None
    download_id: str | None = Field(None, description="Of the file if the URL is one; the page stays where it was")


class EvaluateBody(BaseModel):
    model_config = _Asked

    expression: str = Field(min_length=1, max_length=1_000_000)
    timeout_seconds: float = Field(30.0, gt=0, le=300, allow_inf_nan=False)


class EvaluateResponse(BaseModel):
    result: Any


class ScreenshotQuery(BaseModel):
    """How to take a screenshot, with Playwright's names."""

    model_config = ConfigDict(frozen=True)

    format: Literal["png", "jpeg", "webp"] = "png"
    quality: int | None = Field(None, ge=1, le=100, description="Of jpeg and webp")
    full_page: bool = Field(False, description="The whole page, not just what the viewport shows")
    clip: Annotated[str, Field(pattern=r"^\d{1,5}(\.\d+)?(,\d{1,5}(\.\d+)?){3}$", max_length=60)] | None = Field(
        None, description="`x,y,width,height` in CSS pixels of the viewport; with `full_page`, of the page"
    )
    selector: Printable | None = Field(
        None, min_length=1, max_length=2000, description="The first element that matches, as of Playwright's locators"
    )
    omit_background: bool = Field(False, description="Transparent where the page has no background; not for jpeg")


Length = Annotated[str, Field(pattern=r"^\d{1,4}(\.\d{1,4})?(px|in|cm|mm)?$", examples=["2cm"])]
"""CSS pixels without a unit."""


class PdfQuery(BaseModel):
    """How to print a page, with Playwright's names."""

    model_config = ConfigDict(frozen=True)

    format: Literal["Letter", "Legal", "Tabloid", "Ledger", "A0", "A1", "A2", "A3", "A4", "A5", "A6"] | None = Field(
        None, description="Of the paper; Letter without width and height"
    )
    width: Length | None = None
    height: Length | None = None
    landscape: bool = False
    scale: float = Field(1.0, ge=0.1, le=2)
    margin_top: Length | None = None
    margin_right: Length | None = None
    margin_bottom: Length | None = None
    margin_left: Length | None = None
    page_ranges: str | None = Field(None, max_length=200, pattern=r"^[\d,\- ]+$", examples=["1-5, 8"])
    print_background: bool = False
    prefer_css_page_size: bool = Field(False, description="The page's own `@page` size takes precedence")
    display_header_footer: bool = False
    header_template: str | None = Field(None, max_length=10_000, description="HTML; see Playwright's `page.pdf`")
    footer_template: str | None = Field(None, max_length=10_000)
    outline: bool = False
    tagged: bool = False


class PageContent(BaseModel):
    url: str
    title: str
    content: str


class DownloadResponse(BaseModel):
    download_id: str
    page_id: str | None
    url: str
    filename: str
    state: DownloadState
    received_bytes: int
    total_bytes: int | None
    started_at: datetime


class DownloadList(BaseModel):
    downloads: list[DownloadResponse]


class TokenResponse(BaseModel):
    access_token: str = Field(repr=False)
    token_type: Literal["bearer"]
    expires_in: int
    scope: str


class SignInBody(BaseModel):
    """Either a key, or a user name and a password."""

    model_config = _Asked

    api_key: str | None = Field(None, min_length=1, max_length=1024, json_schema_extra={"format": "password"})
    username: str | None = Field(None, min_length=1, max_length=64)
    password: str | None = Field(None, min_length=1, max_length=1024, json_schema_extra={"format": "password"})


RoleName = Literal["client", "operator", "admin"]


class WhoAmI(BaseModel):
    principal_id: str
    name: str
    role: RoleName


Name = Annotated[Printable, Field(min_length=1, max_length=100)]


class CreateKeyBody(BaseModel):
    model_config = _Asked

    name: Name
    role: RoleName = "client"
    principal_id: str | None = Field(
        None,
        max_length=64,
        pattern=r"^[A-Za-z0-9_\-]+$",
        description="A second key for this principal; null: a new one",
    )
    egress: EgressBody | None = Field(
        None, description="What sessions created with it can reach; null: all that the server allows"
    )


class KeyResponse(BaseModel):
    key_id: str
    name: str
    role: RoleName
    principal_id: str
    created_at: datetime
    revoked_at: datetime | None
    egress: EgressResponse


class KeyCreated(KeyResponse):
    """The only time that the key itself is shown."""

    key: str = Field(repr=False)


class KeyList(BaseModel):
    keys: list[KeyResponse]


class CreateUserBody(BaseModel):
    model_config = _Asked

    username: str = Field(pattern=r"^[A-Za-z0-9_@\-][A-Za-z0-9._@\-]{0,63}$")  # a path has no segments . and ..
    password: str = Field(min_length=12, max_length=1024)
    role: RoleName = "client"


class UserResponse(BaseModel):
    username: str
    role: RoleName
    principal_id: str
    created_at: datetime


class UserList(BaseModel):
    users: list[UserResponse]


class BrowserState(BaseModel):
    browser_id: str
    pid: int
    version: str
    state: str
    principal_id: str | None
    dedicated: bool
    sessions: int
    places: int
    age_seconds: float
    memory_bytes: int | None


class PoolState(BaseModel):
    """The node's places and processes."""

    node: str
    capacity: int
    taken: int
    free: int
    queue: int
    warm_spares: int
    draining: bool
    sandbox: bool
    refused_total: int
    browsers: list[BrowserState]


class SessionRow(BaseModel):
    """One session in the overview. `memory_bytes` is its share of its browser's memory: that is measured for the whole
    process group, and sessions of one browser count alike. `bytes_up` and `bytes_down` have passed the
    egress proxy. `responsive` is false while its page does not respond."""

    session_id: str
    status: StatusName
    owner: str
    owner_name: str
    viewport_width: int
    viewport_height: int
    created_at: datetime
    last_activity: datetime
    expires_at: datetime | None
    ended_at: datetime | None
    end_reason: str | None
    metadata: dict[str, str]
    isolation: Literal["context", "browser"]
    title: str
    url: str
    page_count: int
    connections: int
    viewers: int
    controlled_by: str | None
    memory_bytes: int | None
    bytes_up: int | None
    bytes_down: int | None
    responsive: bool
    browser_id: str | None


class HistoryPoint(BaseModel):
    """The node at one moment. `refused` counts since the start; `loop_lag_ms` is the worst since the point before."""

    at: datetime
    active: int
    queue: int
    refused: int
    memory_bytes: int
    loop_lag_ms: float
    browsers: int


class PoolHistory(BaseModel):
    step_seconds: float
    points: list[HistoryPoint]


class OverviewResponse(BaseModel):
    sessions: list[SessionRow]
    pool: PoolState | None
    history: PoolHistory | None
    you: WhoAmI
    position: str


class SessionEvent(BaseModel):
    """See docs/events.md."""

    id: str
    type: str
    at: datetime
    session_id: str | None
    owner: str | None
    data: dict[str, Any]


class SessionHistory(BaseModel):
    events: list[SessionEvent]
    has_frame: bool


class LiveTicket(WithTickets):
    live_url: str


class ControlBody(BaseModel):
    model_config = _Asked

    action: Literal["take", "release"]


class ControlResponse(BaseModel):
    """The name of the person who has control (null: the clients), and the number of clients with a command waiting."""

    controlled_by: str | None
    waiting: int


class DevToolsBody(BaseModel):
    model_config = _Asked

    page_id: str = Field(min_length=1, max_length=64)


class DevToolsResponse(BaseModel):
    """A path to open in a new tab; it holds a ticket."""

    url: str = Field(repr=False)


class Problem(BaseModel):
    """RFC 9457 problem details."""

    type: str
    title: str
    status: int
    detail: str
    session_id: str | None = None


class HealthzResponse(BaseModel):
    status: Literal["ok"]
    version: str


class ReadyzResponse(BaseModel):
    ready: bool
    problems: list[str]
    warnings: list[str]
