"""`density`: sessions that share a browser: what further ones take, their memory, and page loads by their number."""

from __future__ import annotations

import asyncio
import time
from functools import partial
from typing import Final

import psutil
from playwright.async_api import Page

from browser_sessions.settings import Settings
from scripts.benches.report import Bench
from scripts.benches.sides import Sides, end, raw_options, seconds, session, settled, tree
from scripts.figures import quantile
from tests.harness.bare_chromium import browser_among, browser_of
from tests.harness.service import Running

LIVE: Final = 100
CREATES: Final = 30
SESSIONS: Final = 20
"""For memory; in one browser on both sides."""
CONTEXTS: Final = (1, 5, 10, 20, 30, 40, 50, 60)
DEFAULT: Final[int] = Settings.model_fields["max_sessions_per_browser"].default
EVERY_S: Final = 2.0
PHASE_S: Final = 20.0
CURVE_GOAL: Final = 2.0
"""Up to the default of MAX_SESSIONS_PER_BROWSER."""


async def run(bench: Bench) -> None:
    await _creates(bench)
    await _memory(bench)
    await _curve(bench)


async def _creates(bench: Bench) -> None:
    """In a service with 100 live sessions and in one with a single one; options seen before."""
    live = 5 if bench.quick else LIVE
    async with Sides() as sides:
        few, many = await sides.service("few"), await sides.service("many")
        for service, count in ((few, 1), (many, live)):
            for _ in bench.track(f"{count} live sessions", range(count)):
                await service.create()

        async def create(service: Running, _: int) -> float:
            await asyncio.gather(settled(few), settled(many))
            started_at = time.perf_counter()
            created = await service.create()
            took = time.perf_counter() - started_at
            await end(service, created)
            return took

        took = await bench.alternate("create", {"many": partial(create, many), "few": partial(create, few)}, CREATES)
    bench.durations(f"create with {live} live sessions", took["many"], "with one", took["few"], median=1.3)


async def _memory(bench: Bench) -> None:
    """PSS that each session with a small page adds to the browser, and each context with one to a bare shell."""
    count = 3 if bench.quick else SESSIONS
    async with Sides() as sides:
        url, browser = await sides.site(), await sides.raw()
        shell = browser_among(psutil.Process().children(recursive=True), "--headless")
        service = await sides.service(ready_contexts=0, spare_contexts=0, max_sessions_per_browser=count + 1)
        server = service.own_process

        async def add(number: int) -> None:
            path = f"/v1/browser/sessions/{(await service.create())['session_id']}/pages"
            page_id = (await service.http.get(path)).json()["pages"][0]["page_id"]
            (await service.http.post(f"{path}/{page_id}/navigate", json={"url": url})).raise_for_status()
            context = await browser.new_context(**raw_options(number))
            await (await context.new_page()).goto(url)

        def pss() -> tuple[float, float, float]:
            return _pss(tree(browser_of(server))), _pss(server.tree()), _pss(tree(shell))

        await add(0)
        before = pss()
        for number in bench.track(f"memory of {count} sessions", range(1, count + 1)):
            await add(number)
        ours, everything, raw = ((after - was) / count for was, after in zip(before, pss(), strict=True))
    what, compared = "PSS of a session with a small page", "a raw context of one shell"
    bench.figure(f"{what}, browser", "MB", ours, raw, compared, goal=1.1)
    bench.figure(f"{what}, with the service and its driver", "MB", everything)


async def _curve(bench: Bench) -> None:
    """Each session loads a small page every two seconds. Alone: one session of another browser, while these rest."""
    counts = CONTEXTS[:2] if bench.quick else CONTEXTS
    async with Sides() as sides:
        url, playwright = await sides.site(), await sides.playwright()
        settings = {"ready_contexts": 0, "spare_contexts": 0, "max_sessions_per_browser": max(counts)}
        crowd, alone = await sides.service("crowd", **settings), await sides.service("alone", **settings)
        single = await sides.enter_async_context(session(alone, playwright))
        pages: list[Page] = []
        base: list[float] = []
        took: dict[int, list[float]] = {}
        for count in bench.track("contexts in one process", counts):
            while len(pages) < count:
                pages.append(await sides.enter_async_context(session(crowd, playwright)))
            base += await _loads(single, url, 0.0, bench.seconds(PHASE_S))
            delays = (EVERY_S * number / count for number in range(count))
            phases = [
                _loads(page, url, delay, bench.seconds(PHASE_S)) for page, delay in zip(pages, delays, strict=True)
            ]
            took[count] = [each for phase in await asyncio.gather(*phases) for each in phase]
    for count, each in took.items():
        what = f"goto, {count} context{'s' if count > 1 else ''} in one process"
        goal = CURVE_GOAL if count <= DEFAULT else None
        p95 = 1000 * quantile(each, 0.95), 1000 * quantile(base, 0.95)
        bench.figure(what, "ms", *p95, "one alone", goal=goal, quantile="p95", at=count)


async def _loads(page: Page, url: str, delay: float, for_s: float) -> list[float]:
    """Seconds of each load. One begins every `EVERY_S`, or when the one before has ended."""
    loop = asyncio.get_running_loop()
    began = loop.time()
    took: list[float] = []
    await page.goto(url)
    while (now := loop.time()) - began < for_s or not took:
        await asyncio.sleep(max(0.0, began + delay + len(took) * EVERY_S - now))
        took.append(await seconds(page.goto(url)))
    return took


def _pss(processes: list[psutil.Process]) -> float:
    """MB."""
    return sum(process.memory_full_info().pss for process in processes) / 1e6
