"""Creating a session over HTTP (record on disk, page ready) and ending it, compared with raw Playwright's `new_context`
+ `new_page` and `context.close()`.

By default the service prepares a context with a page between two creates, so that a create only sets its options. A
second service prepares none: the duration of a create that immediately follows others. Raw Playwright creates
everything on request.
"""

from __future__ import annotations

import asyncio
import statistics
import tempfile
import time
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Final

from playwright.async_api import Browser, async_playwright
from rich.console import Console
from rich.table import Table

from browser_sessions.chromium.launch.executable import locate
from tests.harness.service import Running, serving

CREATE_GOAL: Final = 1.15
DELETE_GOAL: Final = 3.0
"""Medians of the service divided by those of raw Playwright, at most."""
ROUNDS: Final = 40
WARM_UP: Final = 5
PAUSE_S: Final = 0.3
"""Pause between two measurements, so that preparation and cleanup after the first do not slow the second."""

Times = list[tuple[float, float]]
"""Seconds to create and to end."""


async def run() -> bool:
    service_times: Times = []
    unprepared: Times = []
    raw_times: Times = []
    async with AsyncExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        service = await stack.enter_async_context(serving(folder / "ready", log_level="warning"))
        without = await stack.enter_async_context(serving(folder / "unprepared", log_level="warning", ready_contexts=0))
        playwright = await stack.enter_async_context(async_playwright())
        browser = await playwright.chromium.launch(executable_path=locate(None).executable)
        for n in range(ROUNDS + WARM_UP):
            service_times.append(await _with_service(service, n))
            unprepared.append(await _with_service(without, n))
            raw_times.append(await _with_playwright(browser, n))
        await browser.close()
    made, ended = "raw: new_context + new_page", "raw: context.close()"
    created = _show("create", ("service: POST until 201", made), service_times, raw_times, 0, CREATE_GOAL)
    _show("create, no prepared context", ("service: POST until 201", made), unprepared, raw_times, 0, CREATE_GOAL)
    deleted = _show("delete", ("service: DELETE until 200", ended), service_times, raw_times, 1, DELETE_GOAL)
    return created and deleted


def _show(title: str, names: tuple[str, str], service_times: Times, raw_times: Times, which: int, goal: float) -> bool:
    table = Table("", "median ms", "p95 ms", title=title)
    medians = []
    for name, pairs in zip(names, (service_times, raw_times), strict=True):
        times = sorted(pair[which] for pair in pairs[WARM_UP:])
        medians.append(statistics.median(times))
        table.add_row(name, f"{medians[-1] * 1000:.1f}", f"{times[int(len(times) * 0.95)] * 1000:.1f}")
    ratio = medians[0] / medians[1]
    met = ratio <= goal
    Console().print(table, f"ratio {ratio:.2f}, goal: at most {goal}: {'met' if met else 'missed'}")
    return met


async def _with_service(service: Running, n: int) -> tuple[float, float]:
    """Each session has a different viewport and user agent."""
    await asyncio.sleep(PAUSE_S)
    started_at = time.perf_counter()
    created = await service.create(viewport_width=1000 + n, user_agent=f"bench-{n}")
    made = time.perf_counter()
    response = await service.http.delete(f"/v1/browser/sessions/{created['session_id']}")
    ended = time.perf_counter()
    response.raise_for_status()
    return made - started_at, ended - made


async def _with_playwright(browser: Browser, n: int) -> tuple[float, float]:
    await asyncio.sleep(PAUSE_S)
    started_at = time.perf_counter()
    context = await browser.new_context(viewport={"width": 1000 + n, "height": 720}, user_agent=f"bench-{n}")
    await context.new_page()
    made = time.perf_counter()
    await context.close()
    return made - started_at, time.perf_counter() - made
