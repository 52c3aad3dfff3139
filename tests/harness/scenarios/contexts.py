"""Clients open and close contexts and pages on a busy machine; the session's page count must stay correct."""

from __future__ import annotations

import asyncio
import sys
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any, Final

from playwright.async_api import Browser, Error, async_playwright

from tests.harness.service import Running

CLIENTS: Final = 2
"""Clients of one session that create contexts at the same time."""
SETTLE_S: Final = 30.0
"""How long the count may lag on a busy machine: a page that is counted wrong stays so."""
_BURN: Final = "while True: pass"


@dataclass
class Counted:
    errors: list[str] = field(default_factory=list)
    """Error messages of rounds that failed."""
    counted_wrong: list[tuple[int, int]] = field(default_factory=list)
    """(counted pages, open pages) where the two differed."""
    rounds_s: list[float] = field(default_factory=list)
    """Duration of each round."""


async def open_pages(service: Running, session_id: str) -> int:
    """The service's count of the session's pages, including those in its clients' contexts."""
    return int((await service.details(session_id))["pages"])


@asynccontextmanager
async def busy(processes: int) -> AsyncIterator[None]:
    """Runs processes that only compute."""
    burning = [await asyncio.create_subprocess_exec(sys.executable, "-c", _BURN) for _ in range(processes)]
    try:
        yield
    finally:
        for process in burning:
            process.kill()
        await asyncio.gather(*(process.wait() for process in burning))


async def contexts_come_and_go(
    service: Running, created: dict[str, Any], address: str, *, rounds: int, burners: int = 2
) -> Counted:
    """Runs new_context, new_page, goto, close `rounds` times, `CLIENTS` at a time."""
    result = Counted()
    async with busy(burners), async_playwright() as playwright:
        browsers = [await playwright.chromium.connect_over_cdp(created["connect_url"]) for _ in range(CLIENTS)]
        for number in range(0, rounds, CLIENTS):
            await asyncio.gather(*(_round(browser, address, number, result) for browser in browsers))
            await _compare(service, created["session_id"], result)
        for browser in browsers:
            await browser.close()
    return result


async def _round(browser: Browser, address: str, number: int, result: Counted) -> None:
    """Every third round closes the page first; in the others it closes with its context."""
    began = time.perf_counter()
    try:
        context = await browser.new_context()
        page = await context.new_page()
        await page.goto(address)
        if number % 3 == 0:
            await page.close()
        await context.close()
    except Error as error:
        result.errors.append(error.message)
    result.rounds_s.append(time.perf_counter() - began)


async def _compare(service: Running, session_id: str, result: Counted) -> None:
    """Waits until the service counts one page; no client context is open."""
    deadline = time.perf_counter() + SETTLE_S
    while (counted := await open_pages(service, session_id)) != 1:
        if time.perf_counter() > deadline:
            result.counted_wrong.append((counted, 1))
            return
        await asyncio.sleep(0.02)
