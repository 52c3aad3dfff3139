"""Opens windows in every way a page can, with every kind of client, and records what each client was notified of and
when.

A cell is one window. A setting is a client, the context it uses, and a second client that stalls.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import re
import time
from collections.abc import AsyncIterator, Iterable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import asdict, dataclass
from typing import Any, Final, Protocol

from playwright.async_api import Page, Playwright

from tests.harness.clients.live_client import LiveClient, watching
from tests.harness.clients.node_client import run_node
from tests.harness.clients.raw_cdp import Raw, raw
from tests.harness.service import Running
from tests.harness.sites.window_site import TRIGGERS, Seen, WindowSite
from tests.harness.waiting import until

PLACES: Final = ("page", "frame", "other", "attachment")
"""Where the element is (page, frame), or what it opens (another origin, a file)."""
CLIENTS: Final = ("python", "playwright", "puppeteer", "raw_waits", "raw_runs", "raw_never")
"""`raw_waits` auto-attaches with waitForDebuggerOnStart, `raw_runs` without; `raw_never` only discovers targets."""
CLIENTLESS: Final = ("http", "viewer")
"""No CDP client: scripts run by the HTTP API (which cannot click with the middle button), clicks in a live view."""
CONTEXTS: Final = ("own", "nested", "browser")
"""The session's context, one created by the client, and the session's with `isolation: "browser"`."""
CLICKED_BESIDE: Final = ("middle", "control")
"""For another origin, Chromium starts such a window in one process and loads it in another, where its first script sees
the machine's timezone; `test_a_window_that_changes_its_process_gets_its_timezone_back` covers that case."""
STALLS: Final = ("none", "never_resumes", "never_reads")
OPTIONS: Final[dict[str, Any]] = {
    "viewport_width": 700,
    "viewport_height": 500,
    "user_agent": "windows/1.0",
    "timezone_id": "Asia/Tokyo",
}
"""Options of each session."""
NESTED: Final[dict[str, Any]] = {
    "viewport": {"width": 640, "height": 480},
    "user_agent": "nested/1.0",
    "timezone_id": "Asia/Tokyo",
}
"""Options of a context created by a Playwright client; the same as in windows.mjs."""
PLAYWRIGHTS: Final = ("python", "playwright")
WITH_INIT_SCRIPT: Final = ("python", "playwright", "raw_waits")
"""Clients whose init script can run before a window's first script; Puppeteer cannot do this for windows."""
RESPONSE_BYTES: Final = 4 * 2**20
RESPONSES: Final = 6
"""The client that never reads requests `RESPONSES` times `RESPONSE_BYTES`: more than is buffered for it."""

_numbers = itertools.count(1)


@dataclass(frozen=True, slots=True)
class Cell:
    id: str
    """Alphanumeric; sent in the window's address or form."""
    trigger: str
    frame: bool
    base: str
    """The address to open, without its query."""
    attachment: bool

    @property
    def place(self) -> str:
        return (
            "attachment"
            if self.attachment
            else "frame"
            if self.frame
            else "other"
            if "localhost" in self.base
            else "page"
        )


@dataclass(frozen=True, slots=True)
class Setting:
    client: str
    context: str
    stall: str


@dataclass(slots=True)
class Window:
    """What a client was notified of for a cell; times in seconds since the epoch, None if it did not happen."""

    id: str
    clicked: float | None = None
    event: float | None = None
    """When the client was notified of the window, or the attachment was listed as a download."""
    usable: float | None = None
    """When the client saw the document loaded."""
    popup: bool = False
    """Whether the opener's `popup` event was received."""
    error: str | None = None


@dataclass(frozen=True, slots=True)
class Result:
    setting: Setting
    cell: Cell
    window: Window
    seen: Seen | None

    @property
    def took(self) -> float | None:
        """Seconds from the click until the client was notified and the document had loaded; None if never."""
        window, seen = self.window, self.seen
        if window.clicked is None or window.event is None or window.error is not None:
            return None
        if self.cell.attachment:
            return window.event - window.clicked
        return None if seen is None else max(seen.loaded, window.event) - window.clicked

    @property
    def late_init(self) -> bool:
        """Whether the window's first script ran before the client's init script."""
        wanted = self.setting.client in WITH_INIT_SCRIPT
        return wanted and self.seen is not None and self.seen.marker != "init"

    @property
    def wrong_options(self) -> dict[str, Any]:
        """Values seen by the window's first script that differ from the session's or context's options."""
        if self.seen is None:
            return {}
        if self.setting.context != "nested":
            size, agent, zone = (700, 500), OPTIONS["user_agent"], OPTIONS["timezone_id"]
        elif self.setting.client in PLAYWRIGHTS:
            size, agent, zone = (640, 480), NESTED["user_agent"], NESTED["timezone_id"]
        else:
            return {}  # the client set no options
        found = {"size": self.seen.size, "agent": self.seen.agent, "zone": self.seen.zone}
        if self.cell.trigger in CLICKED_BESIDE and self.cell.place == "other":
            del found["zone"]
        wanted = {"size": size, "agent": agent, "zone": zone}
        return {name: value for name, value in found.items() if value != wanted[name]}

    def wrong(self, within: float) -> str | None:
        """Describes what is wrong, or None. `within` is the time limit in seconds."""
        cell, setting = self.cell, self.setting
        name = f"{cell.trigger}/{cell.place} by {setting.client} in {setting.context}, stall: {setting.stall}"
        if self.took is None:
            return f"{name}: {self.window.error or 'its document never loaded'}"
        if self.took > within:
            return f"{name}: {self.took:.2f} s"
        if self.late_init:
            return f"{name}: the init script ran too late"
        return f"{name}: {self.wrong_options}" if self.wrong_options else None


def cell(site: WindowSite, trigger: str, place: str) -> Cell:
    origin = site.other if place == "other" else site.url
    base = f"{origin}/{'attachment' if place == 'attachment' else 'window'}"
    return Cell(f"w{next(_numbers)}x", trigger, place == "frame", base, place == "attachment")


def every_cell(site: WindowSite) -> list[Cell]:
    return [cell(site, trigger, place) for place in PLACES for trigger in TRIGGERS]


def some_cells(site: WindowSite, round_number: int) -> list[Cell]:
    """Each trigger once; four rounds cover every place of each trigger."""
    return [cell(site, trigger, PLACES[(round_number + n) % 4]) for n, trigger in enumerate(TRIGGERS)]


# -- the second client -----------------------------------------------------------------------------------------------


@asynccontextmanager
async def stalling(url: str, how: str) -> AsyncIterator[None]:
    if how == "none":
        yield
        return
    async with raw(url, close_timeout=0.1) as client:
        await client.auto_attach(wait=True)
        if how == "never_reads":
            _, at_page = await client.page()
            client.socket.transport.pause_reading()
            params = {"expression": f"'x'.repeat({RESPONSE_BYTES})", "returnByValue": True}
            for _ in range(RESPONSES):
                await client.socket.send(client.begin("Runtime.evaluate", params, at_page)[1])
        yield
        client.socket.transport.abort()


# -- clients ---------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Job:
    """A session and the windows to open in it."""

    service: Running
    site: WindowSite
    playwright: Playwright
    session_id: str
    url: str
    nested: bool
    cells: list[Cell]
    patience: float
    """Timeout of each window in seconds."""
    failures: int
    """After this many failures no more windows are opened."""

    @property
    def downloads(self) -> str:
        return f"/v1/browser/sessions/{self.session_id}/downloads"

    async def downloaded(self, cell: Cell) -> bool:
        files = (await self.service.http.get(self.downloads)).json()["downloads"]
        return any(each["filename"] == f"{cell.id}.txt" and each["state"] == "completed" for each in files)


class Driver(Protocol):
    """One client of one session."""

    async def open(self, cell: Cell, window: Window) -> None:
        """Opens the window and records the outcome; raises or hangs on failure."""

    async def clean(self) -> None:
        """Closes what the last cell opened."""


async def drive(driver: Driver, job: Job) -> list[Window]:
    windows: list[Window] = []
    failed = 0
    for each in job.cells:
        window = Window(each.id)
        windows.append(window)
        if failed >= job.failures:
            window.error = "not tried"
            continue
        try:
            async with asyncio.timeout(job.patience):
                await driver.open(each, window)
        except Exception as error:  # noqa: BLE001 - recorded in the result
            window.error = str(error) or f"not within {job.patience:g} s"
            failed += 1
        with contextlib.suppress(Exception):
            async with asyncio.timeout(job.patience):
                await driver.clean()
    return windows


class WithPlaywright:
    """The Python client."""

    def __init__(self, job: Job, page: Page) -> None:
        self._job, self._page = job, page

    async def open(self, cell: Cell, window: Window) -> None:
        page, context = self._page, self._page.context
        loop = asyncio.get_running_loop()
        arrived: asyncio.Future[tuple[float, float]] = loop.create_future()
        waiting: set[asyncio.Task[None]] = set()

        async def usable(opened: Page, notified_at: float) -> None:
            with contextlib.suppress(Exception):  # a window of another cell
                await opened.wait_for_url(re.compile(cell.id))
                if not arrived.done():
                    arrived.set_result((notified_at, time.time()))

        def opened(page: Page) -> None:
            waiting.add(asyncio.create_task(usable(page, time.time())))

        def popup(_: Page) -> None:
            window.popup = True

        context.on("page", opened)
        page.on("popup", popup)
        try:
            x, y = await page.evaluate("args => aim(...args)", [cell.trigger, cell.frame, cell.base, cell.id])
            window.clicked = time.time()
            if cell.trigger == "control":
                await page.keyboard.down("Control")
            await page.mouse.click(x, y, button="middle" if cell.trigger == "middle" else "left")
            if cell.trigger == "control":
                await page.keyboard.up("Control")
            if cell.attachment:
                await until(lambda: self._job.downloaded(cell), every=0.02)
                window.event = window.usable = time.time()
            else:
                window.event, window.usable = await arrived
        finally:
            context.remove_listener("page", opened)
            page.remove_listener("popup", popup)
            for task in waiting:
                task.cancel()
            await asyncio.gather(*waiting, return_exceptions=True)

    async def clean(self) -> None:
        for page in self._page.context.pages:
            if page is not self._page:
                await page.close()


async def with_playwright(job: Job) -> list[Window]:
    browser = await job.playwright.chromium.connect_over_cdp(job.url)
    context = await browser.new_context(**NESTED) if job.nested else browser.contexts[0]
    await context.add_init_script("window.marker = 'init'")
    page = await context.new_page() if job.nested else context.pages[0]
    await page.goto(job.site.url)
    windows = await drive(WithPlaywright(job, page), job)
    with contextlib.suppress(Exception):
        async with asyncio.timeout(job.patience):
            if job.nested:
                await context.close()
            await browser.close()
    return windows


class WithRaw:
    """`how`: "waits", "runs" or "never"."""

    def __init__(self, job: Job, client: Raw, how: str) -> None:
        self._job, self._client, self._how = job, client, how
        self._target_id = self._at_page = ""
        self._context_id: str | None = None
        self._resuming: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Attaches and opens the page that opens windows."""
        client = self._client
        await client.call("Target.setDiscoverTargets", {"discover": True})
        if self._how == "waits":
            self._resuming = asyncio.create_task(self._prepare())
        if self._how != "never":
            await client.auto_attach(wait=self._how == "waits")
        if self._job.nested:
            self._context_id = (await client.call("Target.createBrowserContext"))["browserContextId"]
            params = {"url": "about:blank", "browserContextId": self._context_id}
            self._target_id = (await client.call("Target.createTarget", params))["targetId"]
            self._at_page = await client.attach(self._target_id)
        else:
            self._target_id, self._at_page = await client.page()
        await client.call("Page.enable", {}, self._at_page)
        await client.call("Page.navigate", {"url": self._job.site.url}, self._at_page)
        await client.event("Page.loadEventFired")

    async def stop(self) -> None:
        if self._resuming is not None:
            self._resuming.cancel()
        if self._context_id is not None:
            await self._client.ask("Target.disposeBrowserContext", {"browserContextId": self._context_id})

    async def _prepare(self) -> None:
        """Adds the init script to every new page, then resumes it."""
        client, seen = self._client, 0
        while True:
            if seen >= len(client.events):
                await client.more()
            for message in client.events[seen:]:
                seen += 1
                if message["method"] == "Target.attachedToTarget" and message["params"]["waitingForDebugger"]:
                    at = message["params"]["sessionId"]
                    script = {"source": "window.marker = 'init'"}
                    # Pipelined, as clients do: a window without an opener may respond only once it is resumed.
                    for method, params in (
                        ("Page.enable", {}),
                        ("Page.addScriptToEvaluateOnNewDocument", script),
                        ("Runtime.runIfWaitingForDebugger", {}),
                    ):
                        await client.socket.send(client.begin(method, params, at)[1])

    async def open(self, cell: Cell, window: Window) -> None:
        client = self._client
        client.events.clear() if self._how != "waits" else None
        known = {info["targetId"] for info in await self._targets()}
        arguments = f"{cell.trigger!r}, {str(cell.frame).lower()}, {cell.base!r}, {cell.id!r}"
        x, y = await client.value(f"aim({arguments})", self._at_page)
        window.clicked = time.time()
        middle = cell.trigger == "middle"
        mouse = {
            "x": x,
            "y": y,
            "button": "middle" if middle else "left",
            "clickCount": 1,
            "modifiers": 2 if cell.trigger == "control" else 0,
        }
        pressed = {**mouse, "type": "mousePressed", "buttons": 4 if middle else 1}
        await client.call("Input.dispatchMouseEvent", pressed, self._at_page)
        await client.call("Input.dispatchMouseEvent", {**mouse, "type": "mouseReleased"}, self._at_page)
        if cell.attachment:
            await until(lambda: self._job.downloaded(cell), every=0.02)
            window.event = window.usable = time.time()
            return
        method = "Target.targetCreated" if self._how == "never" else "Target.attachedToTarget"
        event = await client.event(method, lambda message: self._is_new(message["params"]["targetInfo"], known))
        window.event = time.time()
        info = event["params"]["targetInfo"]
        window.popup = "openerId" in info

        await until(lambda: cell.id in self._job.site.seen)
        window.usable = time.time()

    def _is_new(self, info: dict[str, Any], known: set[str]) -> bool:
        return info["type"] == "page" and info["targetId"] not in known

    async def _targets(self) -> list[dict[str, Any]]:
        infos = (await self._client.call("Target.getTargets"))["targetInfos"]
        return [each for each in infos if each["type"] == "page"]

    async def clean(self) -> None:
        for info in await self._targets():
            if info["targetId"] != self._target_id and self._mine(info):
                await self._client.ask("Target.closeTarget", {"targetId": info["targetId"]})

    def _mine(self, info: dict[str, Any]) -> bool:
        return self._context_id is None or info.get("browserContextId") == self._context_id


async def with_raw(job: Job, how: str) -> list[Window]:
    async with raw(job.url) as client:
        driver = WithRaw(job, client, how)
        await driver.start()
        try:
            return await drive(driver, job)
        finally:
            await driver.stop()


class OverHttp:
    """Without a CDP client: scripts run by the HTTP API, or clicks in a live view."""

    def __init__(self, job: Job, page_id: str, viewer: LiveClient | None) -> None:
        self._job, self._page_id, self._viewer = job, page_id, viewer

    async def open(self, cell: Cell, window: Window) -> None:
        arguments = f"({cell.trigger!r}, {str(cell.frame).lower()}, {cell.base!r}, {cell.id!r})"
        service, session_id = self._job.service, self._job.session_id
        if self._viewer is None:
            window.clicked = time.time()
            await service.evaluate(session_id, "press" + arguments, self._page_id)
        else:
            x, y = await service.evaluate(session_id, "aim" + arguments, self._page_id)
            window.clicked = time.time()
            middle, modifiers = cell.trigger == "middle", 2 if cell.trigger == "control" else 0
            button: dict[str, Any] = {"button": "middle" if middle else "left", "click_count": 1}
            for action, buttons in (("down", 4 if middle else 1), ("up", 0)):
                where: dict[str, Any] = {"x": x, "y": y, "buttons": buttons, "modifiers": modifiers}
                await self._viewer.send("mouse", action=action, **where, **button)
        if cell.attachment:
            await until(lambda: self._job.downloaded(cell), every=0.02)
        else:
            await until(self._there, every=0.02)
        window.event = time.time()
        if not cell.attachment:
            await until(lambda: cell.id in self._job.site.seen)
        window.usable = time.time()

    async def _there(self) -> bool:
        return len(await self._pages()) > 1

    async def _pages(self) -> list[dict[str, Any]]:
        path = f"/v1/browser/sessions/{self._job.session_id}/pages"
        pages: list[dict[str, Any]] = (await self._job.service.http.get(path)).json()["pages"]
        return pages

    async def clean(self) -> None:
        for page in await self._pages():
            if page["page_id"] != self._page_id:
                path = f"/v1/browser/sessions/{self._job.session_id}/pages/{page['page_id']}"
                await self._job.service.http.delete(path)


async def over_http(job: Job, *, by_viewer: bool = False) -> list[Window]:
    service, page_id = job.service, await job.service.first_page(job.session_id)
    session = f"/v1/browser/sessions/{job.session_id}"
    response = await service.http.post(f"{session}/pages/{page_id}/navigate", json={"url": job.site.url})
    assert response.status_code == 200, response.text
    if not by_viewer:
        return await drive(OverHttp(job, page_id, None), job)
    address = f"{service.url.replace('http', 'ws', 1)}{session}/live"
    async with watching(address, {"X-API-Key": service.http.headers["X-API-Key"]}) as viewer:
        await viewer.frame()
        assert (await service.http.post(f"{session}/control", json={"action": "take"})).status_code == 200
        return await drive(OverHttp(job, page_id, viewer), job)


async def with_node(client: str, jobs: list[Job]) -> list[list[Window]]:
    job = jobs[0]
    arguments = {
        "client": client,
        "key": job.service.http.headers["X-API-Key"],
        "page": job.site.url,
        "patience": job.patience,
        "failures": job.failures,
        "jobs": [
            {
                "url": each.url,
                "downloads": job.service.url + each.downloads,
                "nested": each.nested,
                "cells": [asdict(cell) for cell in each.cells],
            }
            for each in jobs
        ],
    }
    longest = max(len(each.cells) for each in jobs) * (1 + job.patience) + 60
    return [[Window(**window) for window in each] for each in await run_node("windows.mjs", arguments, within=longest)]


async def run_jobs(client: str, jobs: list[Job]) -> list[list[Window]]:
    """Runs all jobs concurrently, with one kind of client."""
    if client in ("playwright", "puppeteer"):
        return await with_node(client, jobs)
    return list(await asyncio.gather(*(_run_job(client, job) for job in jobs)))


async def _run_job(client: str, job: Job) -> list[Window]:
    try:
        if client == "python":
            return await with_playwright(job)
        if client in CLIENTLESS:
            return await over_http(job, by_viewer=client == "viewer")
        return await with_raw(job, client.removeprefix("raw_"))
    except Exception as error:  # noqa: BLE001 - recorded in the results
        return [Window(each.id, error=f"the client could not start: {error!r}") for each in job.cells]


async def run_settings(
    service: Running,
    site: WindowSite,
    playwright: Playwright,
    wanted: Iterable[tuple[Setting, list[Cell]]],
    *,
    patience: float,
    failures: int = 2,
) -> list[Result]:
    """Opens the windows of several settings of one client, concurrently, each setting in its own session."""
    settings = list(wanted)
    (client,) = {setting.client for setting, _ in settings}
    results: list[Result] = []
    async with AsyncExitStack() as stack:
        jobs = []
        for setting, cells in settings:
            isolation = "browser" if setting.context == "browser" else "context"
            made = await service.create(isolation=isolation, **OPTIONS)
            stack.push_async_callback(service.http.delete, f"/v1/browser/sessions/{made['session_id']}")
            await stack.enter_async_context(stalling(made["connect_url"], setting.stall))
            nested = setting.context == "nested"
            found = (made["session_id"], made["connect_url"], nested, cells)
            jobs.append(Job(service, site, playwright, *found, patience, failures))
        for (setting, cells), windows in zip(settings, await run_jobs(client, jobs), strict=True):
            for each, window in zip(cells, windows, strict=True):
                await _settled(site, each, window)
                results.append(Result(setting, each, window, site.seen.get(each.id)))
    return results


async def _settled(site: WindowSite, cell: Cell, window: Window) -> None:
    """The report of a window's `load` may arrive just after the client saw it; `took` is None if it never does."""
    if window.error is None and not cell.attachment:
        with contextlib.suppress(AssertionError):
            await until(lambda: cell.id in site.seen, within=10.0)
