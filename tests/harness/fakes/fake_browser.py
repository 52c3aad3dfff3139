"""A fake launcher, browser, context and clock for tests that inject faults or control time."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from browser_sessions.cdp import Browser
from browser_sessions.chromium.ports import (
    ANY_TIME,
    Assign,
    BrowserProcess,
    ContextEvent,
    ContextHandle,
    PageInfo,
    Permit,
    leave_unassigned,
)
from browser_sessions.domain.errors import BrowserGone, BrowserTimeout, NoBrowser
from browser_sessions.domain.session import EndReason
from browser_sessions.domain.session_spec import SessionSpec
from browser_sessions.egress.usage import Usage

EPOCH = datetime(2026, 1, 1, tzinfo=UTC)
VERSION = "1.0.0.0"
"""The Chromium version that the fakes report."""


class ManualClock:
    """Time stands still until `advance`."""

    def __init__(self) -> None:
        self.now = 1000.0
        self.jump = timedelta()

    def monotonic(self) -> float:
        return self.now

    def wall(self, at: float | None = None) -> datetime:
        return EPOCH + self.jump + timedelta(seconds=self.now if at is None else at)

    def advance(self, seconds: float) -> None:
        self.now += seconds


class FakeContext:
    """A context with one page; `close` waits until `closing` is set."""

    def __init__(self, process: FakeProcess, spec: SessionSpec, on_event: Callable[[ContextEvent], None]) -> None:
        self.process = process
        self.spec = spec
        self.on_event = on_event
        self.context_id = f"context-{id(self):x}"
        self.proxy = None
        self.traffic: Usage | None = None
        self.closed = False
        self.closing = asyncio.Event()
        self.closing.set()

    def connections_changed(self, *, clients: int, viewers: int, controlled: bool) -> None: ...

    def close_dialog(self, page_id: str) -> None: ...

    def pages(self) -> list[PageInfo]:
        return [PageInfo("page-1", "about:blank", "", EPOCH)]

    async def responsive(self, *, timeout: float) -> bool:
        return not self.process.hung

    async def usage(self) -> tuple[int | None, float | None]:
        return 1, 0.5

    async def close(self, *, timeout: float) -> None:
        await self.closing.wait()
        if not self.closed:
            self.closed = True
            self.process.contexts.discard(self)

    def __getattr__(self, name: str) -> Any:
        raise AssertionError(f"a fake context has no {name}")


class FakeProcess:
    def __init__(self, launcher: FakeLauncher, number: int, on_death: Callable[[Any, EndReason], None]) -> None:
        self.launcher = launcher
        self.browser_id = f"fake-{number}"
        self.pid = 100_000 + number
        self.version = VERSION
        self.cdp = Browser(lambda: datetime.now(UTC))
        self.started = 0.0
        self.exit: str | None = None
        self.alive = True
        self.loud = 0
        """Pages that overload it; it responds again once they are killed."""
        self.hung = False
        self.working = False
        self.work = 0.0
        self.contexts: set[FakeContext] = set()
        self.keeps_ready = True
        self._on_death = on_death

    @property
    def context_count(self) -> int:
        return len(self.contexts)

    @property
    def ready_count(self) -> int:
        return int(self.keeps_ready)

    @property
    def spare_count(self) -> int:
        return 0

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
        self.launcher.asked += 1
        async with permit:
            self.launcher.opening += 1
            self.launcher.most_opening = max(self.launcher.most_opening, self.launcher.opening)
            try:
                await self.launcher.gate.wait()
                await asyncio.sleep(0)
                if self.launcher.open_error is not None:
                    raise self.launcher.open_error
                if not self.alive:
                    raise BrowserGone("it died")
            finally:
                self.launcher.opening -= 1
        if spec.start_url is not None:
            await self.launcher.site.wait()
        context = FakeContext(self, spec, on_event)
        self.contexts.add(context)
        self.launcher.opened.append(context)
        return context

    def keep_ready(self, on: bool) -> None:
        self.keeps_ready = on

    async def probe(self, *, timeout: float) -> None:
        if self.hung:
            raise BrowserTimeout("it hangs")
        if not self.alive:
            raise BrowserGone("it died")

    def cpu_seconds(self) -> tuple[float, ...]:
        self.work += 1.0 if self.working else 0.0
        return self.work, self.launcher.driver_work

    async def sample_renderers(self) -> None: ...

    async def kill_busiest_renderer(self) -> int | None:
        if not self.loud:
            return None
        self.loud -= 1
        self.hung = self.loud > 0
        return 4711

    async def memory_bytes(self) -> int:
        return 50_000_000

    async def close(self, *, timeout: float) -> None:
        self.alive = False
        self.contexts.clear()

    def kill(self) -> None:
        self.alive = False

    def die(self, reason: EndReason = EndReason.BROWSER_DIED) -> None:
        """As after `kill -9`."""
        self.alive = False
        self.contexts.clear()
        self._on_death(self, reason)


class FakeLauncher:
    """Contexts open only while `gate` is set, browsers start only while `starting` is, start pages load only while
    `site` is. `launch_error` and `open_error` are raised when set."""

    sandbox = True
    sandbox_reason = ""

    def __init__(self) -> None:
        self.devices: dict[str, dict[str, Any]] = {}
        self.processes: list[FakeProcess] = []
        self.opened: list[FakeContext] = []
        self.gate = asyncio.Event()
        self.gate.set()
        self.starting = asyncio.Event()
        self.starting.set()
        self.site = asyncio.Event()
        self.site.set()
        self.asked = 0
        """Contexts that were asked for."""
        self.opening = 0
        self.most_opening = 0
        self.launch_error: Exception | None = None
        self.open_error: Exception | None = None
        self._driver_work = itertools.count(1)
        self._numbers = itertools.count(1)

    async def start(self) -> None: ...

    async def launch(self, on_death: Callable[[BrowserProcess, EndReason], None]) -> BrowserProcess:
        await asyncio.sleep(0)
        await self.starting.wait()
        if self.launch_error is not None:
            raise self.launch_error
        process = FakeProcess(self, next(self._numbers), on_death)
        self.processes.append(process)
        return process

    async def stop(self) -> None: ...

    @property
    def driver_work(self) -> float:
        """Always grows: the driver serves other browsers too."""
        return float(next(self._driver_work))

    @property
    def running(self) -> list[FakeProcess]:
        return [p for p in self.processes if p.alive]


def no_browser() -> NoBrowser:
    return NoBrowser("no browser starts")
