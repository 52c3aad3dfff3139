"""Creating a session over HTTP, record on disk, page ready: against raw Playwright's `new_context` + `new_page`."""

from __future__ import annotations

import statistics
import tempfile
import time
from pathlib import Path
from typing import Final

from playwright.async_api import Browser, async_playwright
from rich.console import Console
from rich.table import Table

from browser_sessions.browser.locate import locate
from tests.service import Running, ServerProcess

GOAL: Final = 1.3
"""Median of ours against raw, at most."""
ROUNDS: Final = 40
WARM_UP: Final = 5


async def run() -> bool:
    ours: list[float] = []
    raw: list[float] = []
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
    ours, raw = ours[WARM_UP:], raw[WARM_UP:]
    ratio = statistics.median(ours) / statistics.median(raw)
    table = Table("", "median ms", "p95 ms", title="create")
    for name, times in (("service: POST until 201", ours), ("raw: new_context + new_page", raw)):
        table.add_row(
            name, f"{statistics.median(times) * 1000:.1f}", f"{sorted(times)[int(len(times) * 0.95)] * 1000:.1f}"
        )
    met = ratio <= GOAL
    Console().print(table, f"ratio {ratio:.2f}, goal: at most {GOAL}: {'met' if met else 'missed'}")
    return met


async def _ours(service: Running, n: int) -> float:
    """Each with a viewport of its own, so that nothing made ready beforehand could serve it."""
    began = time.perf_counter()
    created = await service.create(viewport_width=1000 + n, user_agent=f"bench-{n}")
    took = time.perf_counter() - began
    await service.http.delete(f"/v1/browser/sessions/{created['session_id']}")
    return took


async def _raw(browser: Browser, n: int) -> float:
    began = time.perf_counter()
    context = await browser.new_context(viewport={"width": 1000 + n, "height": 720}, user_agent=f"bench-{n}")
    await context.new_page()
    took = time.perf_counter() - began
    await context.close()
    return took
