"""What the pool tells about itself and about one session's browser."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Final

from browser_sessions.domain.errors import BrowserGone, BrowserTimeout
from browser_sessions.domain.session import SessionStatus
from browser_sessions.pool.browsers.fleet import Berth, Fleet
from browser_sessions.pool.live_session import Live

if TYPE_CHECKING:
    from browser_sessions.pool.manager import Pool

HEALTH_TIMEOUT_S: Final = 1.5
"""For each of the probes, which run side by side: docs/api.md promises an answer in two seconds, of hung pages too."""


@dataclass(frozen=True, slots=True)
class Health:
    """What a probe found now; see api.models.BrowserSessionHealth."""

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


async def check(pool: Pool, live: Live) -> Health:
    """Probes the browser and the first page of an active session, now."""
    began = pool.clock.monotonic()
    problems: list[str] = []
    browser_alive, page_responsive, usage = await asyncio.gather(
        _browser_answers(live), _page_answers(live), _usage(live), return_exceptions=False
    )
    pages = live.handle.pages() if live.handle else []
    if not browser_alive:
        problems.append("the browser does not answer")
    elif not page_responsive:
        problems.append("the page does not answer within 1.5 s: a script keeps it busy or a dialog is open")
    if crashed := sum(page.crashed for page in pages):
        problems.append(f"{crashed} of {len(pages)} pages crashed: close them or open another")
    if live.session.status is not SessionStatus.ACTIVE:
        problems.append(f"the session is {live.session.status.value}")
    return Health(
        healthy=not problems,
        status=live.session.status,
        browser_alive=browser_alive,
        page_responsive=page_responsive,
        latency_ms=round((pool.clock.monotonic() - began) * 1000, 1),
        pages=len(pages),
        memory_bytes=usage[0],
        cpu_seconds=usage[1],
        connections=len(live.attached),
        checked_at=pool.clock.wall(),
        problem="; ".join(problems) or None,
    )


def ended(pool: Pool, status: SessionStatus, reason: str | None) -> Health:
    """The health of a session that has no browser (any more, or yet)."""
    return Health(
        healthy=False,
        status=status,
        browser_alive=False,
        page_responsive=False,
        latency_ms=0.0,
        pages=0,
        memory_bytes=None,
        cpu_seconds=None,
        connections=0,
        checked_at=pool.clock.wall(),
        problem=f"the session is {status.value}" + (f" ({reason})" if reason else ""),
    )


def snapshot(pool: Pool) -> PoolSnapshot:
    """Places, queue and browsers, from memory."""
    admission = pool.admission
    return PoolSnapshot(
        node=pool.node,
        capacity=admission.capacity,
        taken=admission.taken,
        free=max(0, admission.capacity - admission.taken),
        queue=admission.waiting,
        warm_spares=pool.fleet.spares,
        draining=admission.closed,
        sandbox=pool.sandbox,
        refused_total=admission.refused.total(),
        browsers=[_browser(pool.fleet, berth) for berth in pool.fleet.berths],
    )


def readiness(pool: Pool) -> tuple[list[str], list[str]]:
    """(what keeps the node from taking sessions, what an operator should know)."""
    problems = ["the service is draining"] if pool.admission.closed else []
    if not pool.fleet.working:
        problems.append("no browser is running" + (f": {pool.fleet.last_failure}" if pool.fleet.last_failure else ""))
    warnings = [] if pool.sandbox else [f"Chromium runs without its sandbox: {pool.sandbox_reason}"]
    if pool.admission.shortage:
        warnings.append(f"New sessions are refused for now. {pool.admission.shortage}")
    if pool.registry.unsaved:
        warnings.append(f"{len(pool.registry.unsaved)} records wait for the store")
    return problems, warnings


def _browser(fleet: Fleet, berth: Berth) -> BrowserSnapshot:
    seat = fleet.seat(berth)
    return BrowserSnapshot(
        browser_id=berth.browser_id,
        pid=berth.process.pid if berth.process else 0,
        version=berth.process.version if berth.process else "",
        state="starting" if berth.process is None else "retiring" if berth.retiring else "running",
        principal_id=berth.partition,
        dedicated=berth.dedicated,
        sessions=berth.taken,
        places=1 if berth.dedicated else fleet.places,
        age_seconds=round(seat.age, 1),
        memory_bytes=berth.memory_bytes or None,
    )


async def _browser_answers(live: Live) -> bool:
    if live.berth is None or live.berth.process is None or live.berth.dead:
        return False
    try:
        await live.berth.process.probe(timeout=HEALTH_TIMEOUT_S)
    except (BrowserGone, BrowserTimeout):
        return False
    return True


async def _page_answers(live: Live) -> bool:
    if live.handle is None:
        return False
    try:
        return await live.handle.responsive(timeout=HEALTH_TIMEOUT_S)
    except (BrowserGone, BrowserTimeout):
        return False


async def _usage(live: Live) -> tuple[int | None, float | None]:
    if live.handle is None:
        return None, None
    try:
        async with asyncio.timeout(HEALTH_TIMEOUT_S):
            return await live.handle.usage()
    except (BrowserGone, BrowserTimeout, TimeoutError):
        return None, None
