"""Mixed creates, closes, crashes, hangs, cancellations and kills must leave nothing behind."""

from __future__ import annotations

import asyncio
import gc
import os
import random
import signal
from pathlib import Path

import psutil
import pytest

from browser_sessions.chromium.context.context import Context
from browser_sessions.chromium.launcher import PlaywrightLauncher
from browser_sessions.chromium.ports import ContextHandle
from browser_sessions.chromium.process import ChromiumProcess
from browser_sessions.domain.errors import BrowserGone, BrowserSessionsError, BrowserTimeout
from browser_sessions.domain.session_spec import SessionSpec
from tests.harness.waiting import until

pytestmark = [pytest.mark.browser, pytest.mark.slow]

CYCLES = int(os.environ.get("SOAK_CYCLES", "120"))
"""1,000 cycles take three minutes on two idle cores."""
AT_ONCE = 4
KINDS = ("plain", "plain", "plain", "crash", "hang", "cancel", "cancel", "popups")


class Soak:
    """One browser at a time, replaced when it dies."""

    def __init__(self, launcher: PlaywrightLauncher, folder: Path) -> None:
        self.rng = random.Random(11)
        self._launcher = launcher
        self._folder = folder
        self._browser: ChromiumProcess | None = None
        self._lock = asyncio.Lock()

    async def browser(self) -> ChromiumProcess:
        async with self._lock:
            if self._browser is None or not self._browser.alive:
                fresh = await self._launcher.launch(lambda *_: None)
                assert isinstance(fresh, ChromiumProcess)
                self._browser = fresh
            return self._browser

    async def cycle(self, number: int) -> None:
        """One session's lifecycle. Only errors explained by a killed browser are allowed."""
        browser = await self.browser()
        kind = "kill" if number % 50 == 49 else self.rng.choice(KINDS)
        opening = asyncio.create_task(
            browser.open_context(SessionSpec(), self._folder / str(number), lambda _: None, timeout=30)
        )
        if kind == "cancel":
            await asyncio.sleep(self.rng.uniform(0, 0.1))
            opening.cancel()
        await asyncio.wait({opening})
        if opening.cancelled():
            return
        try:
            handle = opening.result()
        except BrowserGone:
            return  # killed by another cycle
        try:
            await self.use(kind, browser, handle)
        except BrowserSessionsError:
            assert not browser.alive
        finally:
            await handle.close(timeout=10)

    async def use(self, kind: str, browser: ChromiumProcess, handle: ContextHandle) -> None:
        assert isinstance(handle, Context)
        page_id = handle.pages()[0].page_id
        if kind == "kill":
            os.kill(browser.pid, signal.SIGKILL)
            await until(lambda: not browser.alive)
        elif kind == "crash":
            crash = asyncio.ensure_future(handle._inner.pages[0].goto("chrome://crash"))
            await until(lambda: not browser.alive or handle.pages()[0].crashed)
            await asyncio.wait({crash})
            crash.exception()
        elif kind == "hang":
            with pytest.raises((BrowserTimeout, BrowserGone)):
                await handle.evaluate(page_id, "while (true);", timeout=0.2)
        elif kind == "popups":
            await handle.evaluate(page_id, "for (let i = 0; i < 3; i++) window.open('about:blank')", timeout=20)
        else:
            await handle.navigate(page_id, "data:text/html,<title>x</title>", wait_until="load", timeout=20)


def zombies(me: psutil.Process) -> set[int]:
    """Children that have exited and are not reaped yet."""
    return {child.pid for child in me.children(recursive=True) if child.status() == psutil.STATUS_ZOMBIE}


async def test_mixed_session_lifecycles_leave_nothing_behind(launcher: PlaywrightLauncher, tmp_path: Path) -> None:
    me = psutil.Process()
    # orphans of servers killed by earlier tests, adopted by this process; they may end only now
    others = {child.pid for child in await asyncio.to_thread(me.children, recursive=True)}
    folder = tmp_path / "sessions"
    folder.mkdir()
    soak = Soak(launcher, folder)
    await soak.cycle(0)
    descriptors = me.num_fds()

    for first in range(1, CYCLES, AT_ONCE):
        await asyncio.gather(*(soak.cycle(number) for number in range(first, first + AT_ONCE)))

    browser = await soak.browser()

    async def no_context() -> bool:
        response = await browser.cdp.root.call("Target.getBrowserContexts", timeout=10)
        return set(response["browserContextIds"]) <= browser.unused_contexts

    await until(no_context, what="the end of every context")
    await until(lambda: not browser._calls._tasks, what="the end of every abandoned call")
    await until(lambda: list(folder.iterdir()) == [], what="the end of every folder")
    gc.collect()
    assert me.num_fds() <= descriptors + 2
    await until(lambda: zombies(me) <= others, what="all children are reaped")
    processes = [child for child in await asyncio.to_thread(me.children, recursive=True) if child.pid not in others]
    groups = {os.getpgid(child.pid) for child in processes}
    assert groups <= {browser.process_group, os.getpgid(browser.driver.pid)}
