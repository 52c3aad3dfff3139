"""What endpoints depend on."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Final

from fastapi import Depends, Request

from browser_sessions.api.large_responses import UnsentResponses
from browser_sessions.api.request_queue import RequestQueue
from browser_sessions.auth.console_cookie import Cookies
from browser_sessions.auth.keyring import KeyRing
from browser_sessions.auth.secrets_file import Secrets
from browser_sessions.chromium.devtools.cache import DevToolsCache
from browser_sessions.console.loop_lag import LoopLag
from browser_sessions.console.overview import Overview
from browser_sessions.domain.principal import Principal
from browser_sessions.domain.session import SessionRecord
from browser_sessions.events.session_archive import Archive
from browser_sessions.gateway.gateway import Gateway
from browser_sessions.live.page_watch import PageWatch
from browser_sessions.live.thumbnails import Thumbnails
from browser_sessions.pool.manager import Pool
from browser_sessions.telemetry import Metrics

MAX_BODY_BYTES: Final = 2**20
"""Of a request body; a larger storage_state holds caches, not a sign-in."""


@dataclass(frozen=True, slots=True)
class ApiOptions:
    """Settings of the API, in seconds and bytes. With a `listen_host` on loopback, only loopback names are accepted."""

    listen_host: str = "127.0.0.1"
    public_url: str | None = None
    allowed_hosts: tuple[str, ...] = ()
    trusted_proxies: tuple[str, ...] = ()
    default_idle_timeout_seconds: float | None = 300.0
    default_max_lifetime_seconds: float = 3600.0
    max_lifetime_seconds: float | None = 86_400.0
    max_body_bytes: int = MAX_BODY_BYTES
    egress: bool = True
    """Whether sessions have the egress proxy."""


Addresses = Callable[[Request, SessionRecord, Principal], tuple[str, str]]
"""(connect_url, live_url) of a session for a caller."""


@dataclass(frozen=True, slots=True)
class Console:
    """What only the operators' console needs."""

    cookies: Cookies
    overview: Overview
    archive: Archive
    thumbnails: Thumbnails
    pages: PageWatch
    lag: LoopLag
    devtools: DevToolsCache

    @classmethod
    def over(cls, pool: Pool, keyring: KeyRing, own: Secrets, data_dir: Path, metrics: Metrics) -> Console:
        """Builds it over one pool; files go to folders in `data_dir`."""
        lag = LoopLag(metrics.loop_lag_seconds.observe)
        thumbnails = Thumbnails(pool)
        pool.ender.before_close = thumbnails.capture_last
        return cls(
            cookies=Cookies(own.token_secret, keyring),
            overview=Overview(pool, lag),
            archive=Archive(data_dir / "archive", pool.journal, thumbnails.hand_over),
            thumbnails=thumbnails,
            pages=PageWatch(pool, thumbnails),
            lag=lag,
            devtools=DevToolsCache(data_dir / "devtools"),
        )


@dataclass(eq=False, slots=True)
class Launch:
    """A session created with a ticket of `/json/version`; it ends when the last of its connections is closed."""

    principal: Principal
    session_id: asyncio.Future[str]
    keep_alive: float
    connections: int = 0
    parted: int = 0
    """How often its last connection was closed."""


@dataclass(frozen=True, slots=True)
class Services:
    pool: Pool
    keyring: KeyRing
    options: ApiOptions
    addresses: Addresses
    metrics: Metrics
    version: str
    console: Console
    gateway: Gateway
    ticket_secret: bytes = field(repr=False)
    streams: Counter[str] = field(default_factory=Counter)
    """Open event streams by principal."""
    launches: dict[str, Launch] = field(default_factory=dict, repr=False)
    """Live ones by ticket."""
    slow_requests: RequestQueue = field(default_factory=RequestQueue)
    """Actions on pages, and creates that may wait."""
    unsent: UnsentResponses = field(default_factory=UnsentResponses)


async def services_of(request: Request) -> Services:
    services: Services = request.app.state.services
    return services


Here = Annotated[Services, Depends(services_of)]
