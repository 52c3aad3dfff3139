"""`create`, `connect` and `release`: a session over HTTP, compared with a context of a running browser.

Each service has another session, which keeps its browser. Before each measurement, whichever side it is of, they have
prepared their contexts (`sides.settled`); raw Playwright prepares nothing. "Options never seen" are a new user agent
and viewport each time.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from functools import partial
from typing import Final

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
from tests.harness.service import Running

ROUNDS: Final = 60
CREATES: Final = 100
"""More, for a p99 that is not the slowest of all."""
SEEN: Final = "options seen before"
NEVER: Final = "options never seen"
UNPREPARED: Final = "nothing prepared"
RAW: Final = "raw"


async def create(bench: Bench) -> None:
    """POST until 201; the page is ready then."""
    async with Sides() as sides:
        seen, never = await _seen(sides), await sides.in_use(NEVER)
        unprepared = await sides.in_use(UNPREPARED, ready_contexts=0, spare_contexts=0)
        browser = await sides.raw()

        async def quiet() -> None:
            await asyncio.gather(settled(seen, spares=1), settled(never))

        async def post(service: Running, number: int) -> float:
            await quiet()
            started_at = time.perf_counter()
            created = await service.create(**options(number))
            took = time.perf_counter() - started_at
            await end(service, created)
            return took

        async def new_page(number: int) -> float:
            await quiet()
            started_at = time.perf_counter()
            context = await browser.new_context(**raw_options(number))
            await context.new_page()
            took = time.perf_counter() - started_at
            await context.close()
            return took

        measured: dict[str, Callable[[int], Awaitable[float]]] = {
            SEEN: lambda _: post(seen, 0),
            NEVER: partial(post, never),
            UNPREPARED: partial(post, unprepared),
            RAW: new_page,
        }
        took = await bench.alternate("POST", measured, CREATES)
    what, compared = "POST until 201", "raw new_context + new_page"
    bench.durations(f"{what}, {SEEN}", took[SEEN], compared, took[RAW], median=0.25, p99=0.6)
    bench.durations(f"{what}, {NEVER}", took[NEVER], compared, took[RAW], median=1.1)
    bench.durations(f"{what}, {UNPREPARED}", took[UNPREPARED], compared, took[RAW])


async def connect(bench: Bench) -> None:
    """POST until the first evaluated result of a client that connects with `connect_over_cdp`."""
    async with Sides() as sides:
        seen, never, playwright = await _seen(sides), await sides.in_use(NEVER), await sides.playwright()
        browser = await sides.raw()

        async def first_result(opened: Opener, number: int) -> float:
            await asyncio.gather(settled(seen, spares=1), settled(never))
            started_at = time.perf_counter()
            async with opened(number) as page:
                assert await page.evaluate("1 + 1") == 2
                return time.perf_counter() - started_at

        measured = {
            SEEN: partial(first_result, lambda _: session(seen, playwright, **options(0))),
            NEVER: partial(first_result, lambda number: session(never, playwright, **options(number))),
            RAW: partial(first_result, partial(raw_context, browser)),
        }
        if bench.against:
            measured[OTHER] = partial(first_result, await sides.other(bench.against))
        took = await bench.alternate("POST to the first result", measured, ROUNDS)
    what, compared = "POST to the first result", "raw new_context + new_page + evaluate"
    bench.durations(f"{what}, {SEEN}", took[SEEN], compared, took[RAW], median=1.0, p95=1.5)
    bench.durations(f"{what}, {NEVER}", took[NEVER], compared, took[RAW], median=1.8)
    if bench.against:
        bench.durations(f"connect to the first result, {OTHER}", took[OTHER], compared, took[RAW])


async def release(bench: Bench) -> None:
    """DELETE until 200."""
    async with Sides() as sides:
        service, browser = await _seen(sides), await sides.raw()

        async def deleted(_: int) -> float:
            created = await service.create(**options(0))
            await settled(service, spares=1)
            return await seconds(end(service, created))

        async def closed(number: int) -> float:
            context = await browser.new_context(**raw_options(number))
            await context.new_page()
            await settled(service, spares=1)
            return await seconds(context.close())

        took = await bench.alternate("DELETE", {SEEN: deleted, RAW: closed}, ROUNDS)
    bench.durations("DELETE until 200", took[SEEN], "raw context.close()", took[RAW], median=1.5)


async def _seen(sides: Sides) -> Running:
    """A service that keeps a spare for the options of number 0, which two creates had."""
    service = await sides.in_use(SEEN)
    for _ in range(2):
        await end(service, await service.create(**options(0)))
        await settled(service)
    return service
