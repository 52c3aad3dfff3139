"""The whole HTTP service over a real pool, a real SQLite file and a fake browser."""

from __future__ import annotations

import itertools
import os
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import httpx
from fastapi import FastAPI

from browser_sessions.api.application import build_api
from browser_sessions.api.dependencies import ApiOptions, Console, Services
from browser_sessions.api.session_addresses import TicketAddresses
from browser_sessions.auth.keyring import KeyRing
from browser_sessions.auth.secrets_file import Secrets
from browser_sessions.chromium.launch.folders import make_session
from browser_sessions.chromium.ports import (
    ANY_TIME,
    Assign,
    BrowserProcess,
    ContextEvent,
    ContextHandle,
    DownloadListener,
    Frame,
    Navigation,
    PageInfo,
    Permit,
    Picture,
    leave_unassigned,
)
from browser_sessions.chromium.uploads.session_uploads import Uploads
from browser_sessions.domain.clock import Clock, SystemClock
from browser_sessions.domain.download_ledger import Download, DownloadState
from browser_sessions.domain.errors import BrowserGone, DownloadNotFound, PageFailed, PageNotFound
from browser_sessions.domain.principal import Role
from browser_sessions.domain.session import EndReason
from browser_sessions.domain.session_spec import SessionSpec
from browser_sessions.gateway.gateway import Gateway
from browser_sessions.loop_shares import Shares
from browser_sessions.pool.manager import Pool, PoolLimits
from browser_sessions.store import EmbeddedStore
from browser_sessions.telemetry import Metrics
from tests.harness.fakes.fake_browser import EPOCH, FakeContext, FakeLauncher, FakeProcess
from tests.harness.quick_hasher import QUICK_HASHER

ADMIN_KEY = "bs_admin_0123456789abcdef0123456789abcdef"
BASE_URL = "http://127.0.0.1"
UPLOAD_QUOTA = 4 * 2**20
IPHONE = {
    "viewport": {"width": 393, "height": 659},
    "user_agent": "Mozilla/5.0 (iPhone)",
    "device_scale_factor": 3,
    "is_mobile": True,
    "has_touch": True,
    "default_browser_type": "webkit",
}


class StillScreen:
    """A page with one constant frame and no screencast."""

    def __init__(self, page_id: str) -> None:
        self.newest = Frame(page_id, 1, b"\xff\xd8\xff", 320, 180, 1280, 720, 0, 0, 1, 0.0)

    async def snapshot(self, max_width: int, *, timeout: float) -> Frame:
        return self.newest


class OneDownload:
    """A session with one completed download, which `remove` does not remove."""

    async def allow(self, context_id: str, allowed: bool, *, timeout: float) -> None: ...

    def listen(self, listener: DownloadListener) -> Callable[[], None]:
        return lambda: None

    def all(self) -> list[Download]:
        return [Download("guid-1", None, "https://a.example/report", "report.txt", EPOCH, DownloadState.COMPLETED, 6)]

    async def open(self, download_id: str) -> tuple[Download, int]:
        if download_id != "guid-1":
            raise DownloadNotFound(download_id)
        return self.all()[0], os.open(__file__, os.O_RDONLY)

    async def remove(self, download_id: str) -> None:
        os.close((await self.open(download_id))[1])


class DrivableContext(FakeContext):
    """A context whose pages can be opened and closed. `action_error` is raised by every page action while it is set."""

    def __init__(
        self, process: FakeProcess, spec: SessionSpec, folder: Path, on_event: Callable[[ContextEvent], None]
    ) -> None:
        super().__init__(process, spec, on_event)
        make_session(folder, None)
        self.uploads = Uploads(folder / "uploads", None, UPLOAD_QUOTA, on_event)
        self.action_error: Exception | None = None
        self.downloads = OneDownload()
        self.evaluated: Any = None
        self.title = "A title"
        self._numbers = itertools.count(1)
        self._pages: dict[str, PageInfo] = {}
        self._open(spec.start_url)

    def pages(self) -> list[PageInfo]:
        return list(self._pages.values())

    async def open_page(self, url: str | None, *, timeout: float) -> PageInfo:
        self._act()
        return self._open(url)

    async def close_page(self, page_id: str, *, timeout: float) -> None:
        self._page(page_id)
        del self._pages[page_id]

    async def navigate(self, page_id: str, url: str, *, wait_until: str, timeout: float) -> Navigation:
        self._page(page_id)
        page = self._pages[page_id] = PageInfo(page_id, url, self.title, EPOCH)
        return Navigation(page, 200)

    async def screenshot(self, page_id: str, picture: Picture, *, timeout: float) -> bytes:
        self._page(page_id)
        return b"\x89PNG" if picture.format == "png" else b"\xff\xd8\xff"

    async def content(self, page_id: str, *, timeout: float) -> str:
        self._page(page_id)
        return "<html><script>alert(1)</script>\ud800</html>"

    async def storage_state(self, *, timeout: float) -> dict[str, Any]:
        self._act()
        return {"cookies": [], "origins": [{"origin": "https://a.example", "localStorage": []}]}

    def screen(self, page_id: str) -> Any:
        self._page(page_id)
        return StillScreen(page_id)

    async def pdf(self, page_id: str, options: Mapping[str, Any], *, timeout: float) -> bytes:
        self._page(page_id)
        return b"%PDF-1.7"

    async def evaluate(self, page_id: str, expression: str, *, timeout: float) -> Any:
        self._page(page_id)
        if expression == "throw":
            raise PageFailed("Error: thrown")
        return self.evaluated

    def _open(self, url: str | None) -> PageInfo:
        page = PageInfo(f"page-{next(self._numbers)}", url or "about:blank", self.title, EPOCH)
        self._pages[page.page_id] = page
        return page

    def _act(self) -> None:
        if self.action_error is not None:
            raise self.action_error

    def _page(self, page_id: str) -> PageInfo:
        self._act()
        if page_id not in self._pages:
            raise PageNotFound("", page_id)
        return self._pages[page_id]


class DrivableProcess(FakeProcess):
    async def open_context(
        self,
        spec: SessionSpec,
        folder: Path,
        on_event: Callable[[ContextEvent], None],
        *,
        timeout: float,
        assign: Assign = leave_unassigned,
        permit: Permit = ANY_TIME,
    ) -> ContextHandle:
        await self.launcher.gate.wait()
        if self.launcher.open_error is not None:
            raise self.launcher.open_error
        if not self.alive:
            raise BrowserGone("it died")
        context = DrivableContext(self, spec, folder, on_event)
        self.contexts.add(context)
        self.launcher.opened.append(context)
        return context


class DrivableLauncher(FakeLauncher):
    """Launches processes whose contexts have pages that can be driven."""

    def __init__(self) -> None:
        super().__init__()
        self.devices = {"iPhone 15": IPHONE, "iPhone 15 Pro": IPHONE, "Pixel 7": IPHONE}

    async def launch(self, on_death: Callable[[BrowserProcess, EndReason], None]) -> BrowserProcess:
        if self.launch_error is not None:
            raise self.launch_error
        process = DrivableProcess(self, next(self._numbers), on_death)
        self.processes.append(process)
        return process


@dataclass
class Node:
    """One service and its parts."""

    app: FastAPI
    pool: Pool
    keyring: KeyRing
    store: EmbeddedStore
    launcher: DrivableLauncher
    metrics: Metrics
    secrets: Secrets
    console: Console
    client: httpx.AsyncClient
    """Sends no credentials by default."""

    def context(self, session_id: str) -> DrivableContext:
        handle = self.pool.context(session_id)
        assert isinstance(handle, DrivableContext)
        return handle

    async def key(self, role: Role = Role.CLIENT, principal_id: str | None = None) -> dict[str, str]:
        """Headers with a new key."""
        _, text = await self.keyring.create_key(f"a {role.value}", role, principal_id)
        return {"X-API-Key": text}


def assemble(folder: Path, clock: Clock, options: ApiOptions, max_sessions: int) -> Node:
    """A service that has not been started, sufficient for its OpenAPI document. Requests reach it in-process."""
    own = Secrets(ADMIN_KEY, False, datetime(2026, 1, 1, tzinfo=UTC), b"t" * 32, b"k" * 32)
    store = EmbeddedStore(folder / "sessions.db")
    launcher = DrivableLauncher()
    limits = PoolLimits(max_sessions, 30, {}, options.max_lifetime_seconds, 10.0)
    pool = Pool(launcher, store, clock, limits, node="test", work_dir=folder / "work")
    keyring = KeyRing(store, clock, own)
    keyring._hasher = QUICK_HASHER
    metrics = Metrics()
    addresses = TicketAddresses(own.ticket_secret, clock, options.public_url)
    keyring.on_revoked = pool.credential_revoked
    console = Console.over(pool, keyring, own, folder / "archive", metrics)
    app = build_api(
        Services(
            pool,
            keyring,
            options,
            addresses,
            metrics,
            "0.0.0",
            console,
            Gateway(pool, metrics, Shares()),
            own.ticket_secret,
        )
    )
    client = httpx.AsyncClient(transport=httpx.ASGITransport(app=app), base_url=BASE_URL)
    return Node(app, pool, keyring, store, launcher, metrics, own, console, client)


@asynccontextmanager
async def node(
    folder: Path, *, clock: Clock | None = None, options: ApiOptions | None = None, max_sessions: int = 50
) -> AsyncIterator[Node]:
    """A running service."""
    service = assemble(folder, clock or SystemClock(), options or ApiOptions(), max_sessions)
    await service.store.open()
    try:
        await service.keyring.load()
        async with service.client:
            yield service
    finally:
        await service.pool.stop()
        await service.store.close()
