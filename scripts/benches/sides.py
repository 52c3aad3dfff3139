"""What is compared: sessions of the service, contexts of a browser that raw Playwright has launched, and sessions of
any other CDP service.

Each side has a Playwright driver of its own. The service is a process of its own, as users start it.
"""

from __future__ import annotations

import asyncio
import os
import tempfile
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any, Final, TypeAlias

import httpx
import psutil
from playwright.async_api import Browser, Page, Playwright, async_playwright

from browser_sessions.chromium.launch.executable import locate
from tests.harness.paths import ROOT
from tests.harness.service import Running, serving
from tests.harness.waiting import until

Opened: TypeAlias = AbstractAsyncContextManager[Page]
Opener: TypeAlias = Callable[[int], Opened]
"""Opens the session of a number; the options of each number are different, unless the side says otherwise."""

OTHER: Final = "the other service"
SETTLE_S: Final = 0.6
"""Preparation begins 0.2 s after a create and takes 0.1 s."""


def options(number: int) -> dict[str, Any]:
    return {"viewport_width": 1000 + number, "viewport_height": 720, "user_agent": f"bench-{number}"}


def raw_options(number: int) -> dict[str, Any]:
    """The same for raw Playwright."""
    return {"viewport": {"width": 1000 + number, "height": 720}, "user_agent": f"bench-{number}"}


class Sides(AsyncExitStack):
    """Starts and ends them."""

    async def __aenter__(self) -> Sides:
        await super().__aenter__()
        self.folder = Path(self.enter_context(tempfile.TemporaryDirectory(ignore_cleanup_errors=True)))
        return self

    async def service(self, name: str = "service", **settings: Any) -> Running:
        """One of its own for each name."""
        settings = {"log_level": "warning", "max_sessions": 120} | settings
        return await self.enter_async_context(serving(self.folder / name / "data", **settings))

    async def in_use(self, name: str = "service", **settings: Any) -> Running:
        """A service with a live session: a browser that is empty for 30 s ends, and what it has prepared with it."""
        service = await self.service(name, **settings)
        await service.create()
        return service

    async def playwright(self) -> Playwright:
        return await self.enter_async_context(async_playwright())

    async def raw(self) -> Browser:
        playwright = await self.playwright()
        browser = await playwright.chromium.launch(executable_path=locate(None).executable)
        self.push_async_callback(browser.close)
        return browser

    async def other(self, url: str) -> Opener:
        playwright = await self.playwright()

        @asynccontextmanager
        async def opened(number: int) -> AsyncIterator[Page]:
            async with other_session(url) as (address, whole):
                browser = await playwright.chromium.connect_over_cdp(address)
                try:
                    if whole:
                        yield browser.contexts[0].pages[0]
                    else:
                        context = await browser.new_context(**raw_options(number))
                        yield await context.new_page()
                        await context.close()
                finally:
                    await browser.close()

        return opened

    async def site(self) -> str:
        """The address of a server in a process of its own: /page has 70 scripts, every other path is a small page."""
        line = await self.child("node", str(Path(__file__).with_name("site.mjs")))
        return f"http://127.0.0.1:{line}"

    async def child(self, *command: str) -> str:
        """Starts a process; returns its first line."""
        process = await asyncio.create_subprocess_exec(*command, stdout=asyncio.subprocess.PIPE, cwd=ROOT)

        async def end() -> None:
            process.kill()
            await process.wait()

        self.push_async_callback(end)
        assert process.stdout is not None
        return (await process.stdout.readline()).decode().strip()


@asynccontextmanager
async def session(service: Running, playwright: Playwright, **chosen: Any) -> AsyncIterator[Page]:
    created = await service.create(**chosen)
    browser = await playwright.chromium.connect_over_cdp(created["connect_url"])
    try:
        yield browser.contexts[0].pages[0]
        await end(service, created)
    finally:
        await browser.close()


async def end(service: Running, created: dict[str, Any]) -> None:
    (await service.http.delete(f"/v1/browser/sessions/{created['session_id']}")).raise_for_status()


@asynccontextmanager
async def raw_context(browser: Browser, number: int) -> AsyncIterator[Page]:
    context = await browser.new_context(**raw_options(number))
    try:
        yield await context.new_page()
    finally:
        await context.close()


@asynccontextmanager
async def other_session(url: str) -> AsyncIterator[tuple[str, bool]]:
    """The WebSocket address to connect to for one session of another service, and whether its browser is made for that
    session and has a page: a WebDriver's. Without one, `url` itself, or what `/json/version` names."""
    if url.startswith("ws"):
        yield url, False
        return
    async with httpx.AsyncClient(base_url=url, timeout=60.0, trust_env=False) as http:
        if (response := await http.get("/json/version")).is_success:
            yield response.json()["webSocketDebuggerUrl"], False
            return
        response = (await http.post("/session", json=_WEBDRIVER)).raise_for_status()
        made = response.json()["value"]
        try:
            capabilities = made["capabilities"]
            if "se:cdp" in capabilities:
                yield capabilities["se:cdp"], True
                return
            at = f"http://{capabilities['goog:chromeOptions']['debuggerAddress']}/json/version"
            yield (await http.get(at)).json()["webSocketDebuggerUrl"], True
        finally:
            (await http.delete(f"/session/{made['sessionId']}")).raise_for_status()


_ARGUMENTS: Final = ["--headless", *(["--no-sandbox"] if os.geteuid() == 0 else [])]
_WEBDRIVER: Final = {
    "capabilities": {
        "alwaysMatch": {"goog:chromeOptions": {"binary": str(locate(None).executable), "args": _ARGUMENTS}}
    }
}
"""A session with the same browser; the WebDriver is on this machine."""


async def settled(service: Running, *, spares: int = 0, ready: int = 1) -> None:
    """Returns once the service has prepared at least so many contexts, and probably nothing more is to prepare."""
    await asyncio.sleep(SETTLE_S)

    async def prepared() -> bool:
        text = (await service.http.get("/metrics")).text
        found = dict(line.rsplit(" ", 1) for line in text.splitlines() if not line.startswith("#"))
        return (
            float(found["browser_sessions_spare_contexts"]) >= spares
            and float(found["browser_sessions_ready_contexts"]) >= ready
        )

    await until(prepared, within=60.0, every=0.05, what="contexts are prepared")


async def seconds(work: Awaitable[Any]) -> float:
    loop = asyncio.get_running_loop()
    started_at = loop.time()
    await work
    return loop.time() - started_at


def tree(process: psutil.Process) -> list[psutil.Process]:
    return [process, *process.children(recursive=True)]


def cpu_of(processes: Iterable[psutil.Process]) -> float:
    """Processor seconds so far."""
    total = 0.0
    for each in processes:
        try:
            times: Any = each.cpu_times()
        except psutil.Error:
            continue
        total += times.user + times.system
    return total
