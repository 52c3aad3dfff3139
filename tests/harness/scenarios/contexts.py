"""Contexts and pages that come and go, while the processors are busy: are the session's pages counted right?"""

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
"""They make contexts at the same time, in one session."""
SETTLE_S: Final = 5.0
"""How long the number may be behind while all is busy."""
_BURN: Final = "while True: pass"


@dataclass
class Counted:
    refused: list[str] = field(default_factory=list)
    """What went wrong in a round, in the client's words."""
    counted_wrong: list[tuple[int, int]] = field(default_factory=list)
    """(pages that the service counts, pages that are open), where the two did not meet."""
    rounds_s: list[float] = field(default_factory=list)
    """What each round took."""


async def open_pages(service: Running, session_id: str) -> int:
    """What the service counts: the session's pages, those in contexts of its clients too."""
    return int((await service.details(session_id))["pages"])


@asynccontextmanager
async def busy(processes: int) -> AsyncIterator[None]:
    """So many processes that only compute."""
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
    """`rounds` times new_context, new_page, goto, close, in turns of `CLIENTS` clients."""
    told = Counted()
    async with busy(burners), async_playwright() as playwright:
        browsers = [await playwright.chromium.connect_over_cdp(created["connect_url"]) for _ in range(CLIENTS)]
        for number in range(0, rounds, CLIENTS):
            await asyncio.gather(*(_round(browser, address, number, told) for browser in browsers))
            await _compare(service, created["session_id"], told)
        for browser in browsers:
            await browser.close()
    return told


async def _round(browser: Browser, address: str, number: int, told: Counted) -> None:
    """The page is closed first in some, in others it goes with its context."""
    began = time.perf_counter()
    try:
        context = await browser.new_context()
        page = await context.new_page()
        await page.goto(address)
        if number % 3 == 0:
            await page.close()
        await context.close()
    except Error as error:
        told.refused.append(error.message)
    told.rounds_s.append(time.perf_counter() - began)


async def _compare(service: Running, session_id: str, told: Counted) -> None:
    """No context of a client is open now: one page is."""
    deadline = time.perf_counter() + SETTLE_S
    while (counted := await open_pages(service, session_id)) != 1:
        if time.perf_counter() > deadline:
            told.counted_wrong.append((counted, 1))
            return
        await asyncio.sleep(0.02)
