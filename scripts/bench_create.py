"""Creating a session over HTTP, record on disk, page ready, and ending it: against raw Playwright's `new_context` +
`new_page` and `context.close()`."""

from __future__ import annotations

import statistics
import tempfile
import time
from pathlib import Path
from typing import Final

from playwright.async_api import Browser, async_playwright
from rich.console import Console
from rich.table import Table

from browser_sessions.chromium.launch.executable import locate
from tests.service import Running, ServerProcess

CREATE_GOAL: Final = 1.15
DELETE_GOAL: Final = 3.0
"""Medians of ours against raw, at most."""
ROUNDS: Final = 40
WARM_UP: Final = 5


async def run() -> bool:
    ours: list[tuple[float, float]] = []
    raw: list[tuple[float, float]] = []
    with tempfile.TemporaryDirectory() as folder:
        data = Path(folder) / "data"
        data.mkdir()
        server = ServerProcess(data, log_level="warning")
        service = await server.start()
        try:
            async with async_playwright() as playwright:
                browser = await playwright.chromium.launch(executable_path=locate(None).executable)
                for n in range(ROUNDS + WARM_UP):
                    ours.append(await _ours(service, n))
                    raw.append(await _raw(browser, n))
                await browser.close()
        finally:
            await service.http.aclose()
            await server.stop()
    created = _show("create", ("service: POST until 201", "raw: new_context + new_page"), ours, raw, 0, CREATE_GOAL)
    deleted = _show("delete", ("service: DELETE until 200", "raw: context.close()"), ours, raw, 1, DELETE_GOAL)
    return created and deleted


def _show(
    title: str,
    names: tuple[str, str],
    ours: list[tuple[float, float]],
    raw: list[tuple[float, float]],
    which: int,
    goal: float,
) -> bool:
    table = Table("", "median ms", "p95 ms", title=title)
    medians = []
    for name, pairs in zip(names, (ours, raw), strict=True):
        times = sorted(pair[which] for pair in pairs[WARM_UP:])
        medians.append(statistics.median(times))
        table.add_row(name, f"{medians[-1] * 1000:.1f}", f"{times[int(len(times) * 0.95)] * 1000:.1f}")
    ratio = medians[0] / medians[1]
    met = ratio <= goal
    Console().print(table, f"ratio {ratio:.2f}, goal: at most {goal}: {'met' if met else 'missed'}")
    return met


async def _ours(service: Running, n: int) -> tuple[float, float]:
    """Seconds to create and to end; each with a viewport of its own, so that nothing made ready could serve it."""
    began = time.perf_counter()
    created = await service.create(viewport_width=1000 + n, user_agent=f"bench-{n}")
    made = time.perf_counter()
    answer = await service.http.delete(f"/v1/browser/sessions/{created['session_id']}")
    ended = time.perf_counter()
    answer.raise_for_status()
    return made - began, ended - made


async def _raw(browser: Browser, n: int) -> tuple[float, float]:
    began = time.perf_counter()
    context = await browser.new_context(viewport={"width": 1000 + n, "height": 720}, user_agent=f"bench-{n}")
    await context.new_page()
    made = time.perf_counter()
    await context.close()
    return made - began, time.perf_counter() - made
