"""The pool's state, its readiness, and the health of one session's browser."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from browser_sessions.chromium.ports import BrowserLauncher
from browser_sessions.domain.clock import Clock
from browser_sessions.domain.errors import BrowserGone, BrowserTimeout, SessionNotFound
from browser_sessions.domain.session import SessionStatus
from browser_sessions.pool.admission import Admission
from browser_sessions.pool.browsers.fleet import BrowserSlot, Fleet, Gone, Retiring, Running
from browser_sessions.pool.live_session import Live, Opened
from browser_sessions.pool.registry import Registry
from browser_sessions.pool.session_egress import TOTALS

HEALTH_TIMEOUT_S: Final = 1.5
"""Seconds for each probe; they run concurrently. docs/api.md promises a response within two seconds."""


@dataclass(frozen=True, slots=True)
class Health:
    """The result of a probe; see api.models.session_models.BrowserSessionHealth."""

    healthy: bool
    status: SessionStatus
    browser_alive: bool
    page_responsive: bool
    latency_ms: float
    pages: int
    memory_bytes: int | None
    cpu_seconds: float | None
    connections: int
    checked_at: datetime
    problem: str | None


@dataclass(frozen=True, slots=True)
class BrowserSnapshot:
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


@dataclass(frozen=True, slots=True)
class PoolSnapshot:
    node: str
    capacity: int
    taken: int
    free: int
    queue: int
    warm_spares: int
    draining: bool
    sandbox: bool
    refused_total: int
    browsers: list[BrowserSnapshot]


@dataclass(eq=False, repr=False)
class PoolReport:
    """Reads the pool's parts."""

    admission: Admission
    registry: Registry
    fleet: Fleet
    launcher: BrowserLauncher
    clock: Clock
    node: str
    ended_traffic: Counter[str]
    """Of ended sessions, live: see `Ender`."""

    async def health(self, session_id: str) -> Health:
        """Probes the live browser now, within two seconds. Raises `SessionNotFound`."""
        live = self.registry.lives.get(session_id)
        if live is not None and isinstance(live.state, Opened):
            return await self._probe(live, live.state)
        record = await self.registry.record(session_id)
        if record is None:
            raise SessionNotFound(session_id)
        why = f" ({record.end_reason.value})" if record.end_reason else ""
        return Health(
            healthy=False,
            status=record.status,
            browser_alive=False,
            page_responsive=False,
            latency_ms=0.0,
            pages=0,
            memory_bytes=None,
            cpu_seconds=None,
            connections=0,
            checked_at=self.clock.wall(),
            problem=f"the session is {record.status.value}{why}",
        )

    async def _probe(self, live: Live, opened: Opened) -> Health:
        began = self.clock.monotonic()
        problems: list[str] = []
        browser_alive, page_responsive, usage = await asyncio.gather(
            _browser_responds(opened), _page_responds(opened), _usage(opened)
        )
        pages = opened.context.pages()
        if not browser_alive:
            problems.append("the browser does not respond")
        elif not page_responsive and not (pages and pages[0].crashed):  # the page that is probed
            problems.append("the page does not respond within 1.5 s: a script keeps it busy or a dialog is open")
        if crashed := sum(page.crashed for page in pages):
            problems.append(f"{crashed} of {len(pages)} pages crashed: close them or open another")
        if live.session.status is not SessionStatus.ACTIVE:
            problems.append(f"the session is {live.session.status.value}")
        return Health(
            healthy=not problems,
            status=live.session.status,
            browser_alive=browser_alive,
            page_responsive=page_responsive,
            latency_ms=round((self.clock.monotonic() - began) * 1000, 1),
            pages=len(pages),
            memory_bytes=usage[0],
            cpu_seconds=usage[1],
            connections=len(live.attached),
            checked_at=self.clock.wall(),
            problem="; ".join(problems) or None,
        )

    def snapshot(self) -> PoolSnapshot:
        """Capacity, queue and browsers, from memory."""
        admission = self.admission
        return PoolSnapshot(
            node=self.node,
            capacity=admission.capacity,
            taken=admission.taken,
            free=max(0, admission.capacity - admission.taken),
            queue=admission.waiting,
            warm_spares=self.fleet.spares,
            draining=admission.closed,
            sandbox=self.launcher.sandbox,
            refused_total=admission.refused.total(),
            browsers=[self._browser(slot) for slot in self.fleet.slots],
        )

    def traffic(self) -> Counter[str]:
        """Through the egress proxy, of all sessions since the start."""
        total = Counter(self.ended_traffic)
        for live in self.registry.lives.values():
            if live.session.traffic is None:
                total.update({name: count for name, count in (live.traffic or {}).items() if name in TOTALS})
        return total

    def readiness(self) -> tuple[Sequence[str], Sequence[str]]:
        """(reasons why the node accepts no sessions, warnings for operators)."""
        fleet, launcher = self.fleet, self.launcher
        problems = ["the service is draining"] if self.admission.closed else []
        if not fleet.working:
            problems.append("no browser is running" + (f": {fleet.last_failure}" if fleet.last_failure else ""))
        warnings = [] if launcher.sandbox else [f"Chromium runs without its sandbox: {launcher.sandbox_reason}"]
        if self.admission.shortage:
            warnings.append(f"New sessions are rejected. {self.admission.shortage}")
        if self.registry.unsaved:
            warnings.append(f"{len(self.registry.unsaved)} records wait for the store")
        return problems, warnings

    def _browser(self, slot: BrowserSlot) -> BrowserSnapshot:
        process = slot.state.process if isinstance(slot.state, Running) else None
        return BrowserSnapshot(
            browser_id=slot.browser_id,
            pid=process.pid if process else 0,
            version=process.version if process else "",
            state="starting" if process is None else "retiring" if isinstance(slot.state, Retiring) else "running",
            principal_id=slot.partition,
            dedicated=slot.dedicated,
            sessions=slot.taken,
            places=1 if slot.dedicated else self.fleet.capacity,
            age_seconds=round(self.fleet.info(slot).age, 1),
            memory_bytes=slot.memory_bytes or None,
        )


async def _browser_responds(opened: Opened) -> bool:
    if isinstance(opened.slot.state, Gone):
        return False
    try:
        await opened.process.probe(timeout=HEALTH_TIMEOUT_S)
    except (BrowserGone, BrowserTimeout):
        return False
    return True


async def _page_responds(opened: Opened) -> bool:
    try:
        return await opened.context.responsive(timeout=HEALTH_TIMEOUT_S)
    except (BrowserGone, BrowserTimeout):
        return False


async def _usage(opened: Opened) -> tuple[int | None, float | None]:
    try:
        async with asyncio.timeout(HEALTH_TIMEOUT_S):
            return await opened.context.usage()
    except (BrowserGone, BrowserTimeout, TimeoutError):
        return None, None
