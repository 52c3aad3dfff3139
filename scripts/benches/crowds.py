"""`parallel` and `loop`: many clients at once, compared with raw Playwright."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from functools import partial
from typing import Any, Final

from playwright.async_api import BrowserContext, Page

from browser_sessions.chromium.launch.executable import locate
from scripts.benches.report import Bench
from scripts.benches.sides import (
    OTHER,
    Opener,
    Sides,
    end,
    options,
    raw_context,
    raw_options,
    seconds,
    session,
    settled,
)

AT_ONCE: Final = 20
BURST: Final = 8
ROUNDS: Final = 15
CLIENTS: Final = 8
LOOP_S: Final = 30.0
"""Of a turn; each side has two."""


async def parallel(bench: Bench) -> None:
    await _without_spares(bench)
    await _burst(bench)


async def _without_spares(bench: Bench) -> None:
    """20 creates at once with nothing prepared: how many a second."""
    async with Sides() as sides:
        service, browser = await sides.in_use(spare_contexts=0, ready_contexts=0), await sides.raw()

        async def create(number: int) -> Callable[[], Awaitable[Any]]:
            return partial(end, service, await service.create(**options(number)))

        async def new_page(number: int) -> Callable[[], Awaitable[Any]]:
            context = await browser.new_context(**raw_options(number))
            await context.new_page()
            return context.close

        async def rate(make: Callable[[int], Awaitable[Callable[[], Awaitable[Any]]]], number: int) -> float:
            started_at = time.perf_counter()
            closes = await asyncio.gather(*(make(AT_ONCE * number + n) for n in range(AT_ONCE)))
            took = time.perf_counter() - started_at
            await asyncio.gather(*(close() for close in closes))
            return AT_ONCE / took

        measured = {"ours": partial(rate, create), "raw": partial(rate, new_page)}
        if bench.against:
            opened = await sides.other(bench.against)

            async def connect(number: int) -> Callable[[], Awaitable[Any]]:
                session = opened(number)
                await session.__aenter__()
                return partial(session.__aexit__, None, None, None)

            measured[OTHER] = partial(rate, connect)
        rates = await bench.alternate(f"{AT_ONCE} at once", measured, ROUNDS, warm_up=2)
    compared = f"raw new_context + new_page, {AT_ONCE} at once"
    what = f"{AT_ONCE} creates at once, nothing prepared"
    bench.paired(what, "/s", rates["ours"], compared, rates["raw"], goal=0.85, at_least=True)
    if bench.against:
        bench.paired(f"{AT_ONCE} connections at once, {OTHER}", "/s", rates[OTHER], compared, rates["raw"])


async def _burst(bench: Bench) -> None:
    """8 creates at once with options of an earlier burst: the slowest."""
    async with Sides() as sides:
        service, browser = await sides.in_use(spare_contexts=BURST), await sides.raw()
        for created in await asyncio.gather(*(service.create(**options(0)) for _ in range(BURST))):
            await end(service, created)

        async def slowest(_: int) -> float:
            await settled(service, spares=BURST)
            made: list[dict[str, Any]] = []

            async def create() -> float:
                started_at = time.perf_counter()
                made.append(await service.create(**options(0)))
                return time.perf_counter() - started_at

            took = max(await asyncio.gather(*(create() for _ in range(BURST))))
            for created in made:
                await end(service, created)
            return took

        async def single(_: int) -> float:
            await settled(service, spares=BURST)
            opened: list[BrowserContext] = []

            async def make() -> None:
                opened.append(await browser.new_context(**raw_options(0)))
                await opened[0].new_page()

            took = await seconds(make())
            await opened[0].close()
            return took

        took = await bench.alternate(f"a burst of {BURST}", {"ours": slowest, "raw": single}, ROUNDS, warm_up=2)
    what, compared = f"the slowest of {BURST} creates at once, spares for all", "raw new_context + new_page, alone"
    bench.durations(what, took["ours"], compared, took["raw"], median=1.3)


async def loop(bench: Bench) -> None:
    """8 clients, each in a loop of create, connect, goto, title, delete: how many sessions a second."""
    async with Sides() as sides:
        url, service = await sides.site(), await sides.service()
        playwright, launching, browser = await sides.playwright(), await sides.playwright(), await sides.raw()

        @asynccontextmanager
        async def launched(_: int) -> AsyncIterator[Page]:
            own = await launching.chromium.launch(executable_path=locate(None).executable)
            try:
                yield await own.new_page()
            finally:
                await own.close()

        async def sessions(opened: Opener, _: int) -> float:
            started_at = time.perf_counter()
            until, done = started_at + bench.seconds(LOOP_S), 0

            async def client() -> None:
                nonlocal done
                while time.perf_counter() < until:
                    async with opened(0) as page:
                        await page.goto(url)
                        assert await page.title() == "Small"
                    done += 1

            await asyncio.gather(*(client() for _ in range(CLIENTS)))
            return done / (time.perf_counter() - started_at)

        measured = {
            "ours": partial(sessions, lambda _: session(service, playwright)),
            "launch": partial(sessions, launched),
            "context": partial(sessions, partial(raw_context, browser)),
        }
        if bench.against:
            measured[OTHER] = partial(sessions, await sides.other(bench.against))
        rates = await bench.alternate(f"{CLIENTS} clients", measured, rounds=2, warm_up=0)
    what = f"sessions of {CLIENTS} clients in a loop"
    launches = "a headless shell launched for each"
    bench.paired(what, "/s", rates["ours"], launches, rates["launch"], goal=3.0, at_least=True)
    bench.paired(what, "/s", rates["ours"], "raw contexts of one shell", rates["context"])
    if bench.against:
        bench.paired(f"{what}, {OTHER}", "/s", rates[OTHER], launches, rates["launch"])
