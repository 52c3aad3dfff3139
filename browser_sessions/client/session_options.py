"""The options of a session as typed keyword arguments."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Literal, TypedDict

WaitUntil = Literal["commit", "domcontentloaded", "load", "networkidle"]
RoleName = Literal["client", "operator", "admin"]
StatusName = Literal["queued", "starting", "active", "closing", "closed", "expired", "crashed", "lost"]


class SessionOptions(TypedDict, total=False):
    """The fields of `api.models.CreateBrowserSession`, which documents them. A test compares both."""

    viewport_width: int
    viewport_height: int
    user_agent: str | None
    idle_timeout_seconds: float | None
    max_lifetime_seconds: float | None
    isolation: Literal["context", "browser"]
    device: str | None
    locale: str | None
    timezone_id: str | None
    geolocation: Mapping[str, float] | None
    permissions: Sequence[str]
    color_scheme: Literal["light", "dark", "no-preference"] | None
    extra_http_headers: Mapping[str, str]
    ignore_https_errors: bool
    java_script_enabled: bool
    proxy: Mapping[str, str | None] | None
    storage_state: Mapping[str, Any] | None
    start_url: str | None
    wait_seconds: float
    metadata: Mapping[str, str]
