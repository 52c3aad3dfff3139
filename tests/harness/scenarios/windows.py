"""Windows in every way that pages open them, by every kind of client: what each client was told, and when.

A cell is one window. A setting is a client, the context that it works in, and the second client that stalls beside it.
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

from playwright.async_api import Page, async_playwright

from tests.harness.clients.live_client import LiveClient, watching
from tests.harness.clients.node_client import run_node
from tests.harness.clients.raw_cdp import Raw, raw
from tests.harness.service import Running
from tests.harness.sites.window_site import TRIGGERS, Seen, WindowSite
from tests.harness.waiting import until

PLACES: Final = ("page", "frame", "other", "attachment")
"""Where the element is, or what it leads to: another origin, a file."""
CLIENTS: Final = ("python", "playwright", "puppeteer", "raw_waits", "raw_runs", "raw_never")
"""`raw_waits` auto-attaches with waitForDebuggerOnStart, `raw_runs` without; `raw_never` only discovers targets."""
CLIENTLESS: Final = ("http", "hands")
"""No CDP client: scripts that the HTTP API runs (which cannot click with the middle button), clicks in a live view."""
CONTEXTS: Final = ("own", "nested", "browser")
"""The session's own, one that the client makes, and the session's own with `isolation: "browser"`."""
CLICKED_BESIDE: Final = ("middle", "control")
"""To another origin, Chromium begins such a window in one process and loads it in the next, where its first script
finds the machine's timezone: `test_a_window_that_changes_its_process_gets_its_timezone_back` is what holds then."""
STALLS: Final = ("none", "never_resumes", "never_reads")
OPTIONS: Final[dict[str, Any]] = {
    "viewport_width": 700,
    "viewport_height": 500,
    "user_agent": "windows/1.0",
    "timezone_id": "Asia/Tokyo",
}
"""Of each session."""
NESTED: Final[dict[str, Any]] = {
    "viewport": {"width": 640, "height": 480},
    "user_agent": "nested/1.0",
    "timezone_id": "Asia/Tokyo",
}
"""Of a context that a Playwright client makes; windows.mjs names the same."""
PLAYWRIGHTS: Final = ("python", "playwright")
WITH_INIT_SCRIPT: Final = ("python", "playwright", "raw_waits")
"""Clients whose init script can be in place before a window's first script; Puppeteer has none for windows."""
ANSWER_BYTES: Final = 4 * 2**20
ANSWERS: Final = 6
"""So many times so much the client that never reads asks for: more than anybody keeps for it."""

_numbers = itertools.count(1)


@dataclass(frozen=True, slots=True)
class Cell:
    id: str
    """Letters and digits; in the window's address or its form."""
    trigger: str
    frame: bool
    base: str
    """The address that is opened, without its query."""
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
    """What a client was told of a cell; seconds since the epoch, None for what did not happen."""

    id: str
    clicked: float | None = None
    event: float | None = None
    """When the client was told of the window; of an attachment, when the file was among the downloads."""
    usable: float | None = None
    """When the client saw its document loaded."""
    popup: bool = False
    """The opener's `popup` event came."""
    error: str | None = None


@dataclass(frozen=True, slots=True)
class Result:
    setting: Setting
    cell: Cell
    window: Window
    seen: Seen | None

    @property
    def took(self) -> float | None:
        """Seconds from the click until the client had been told and the document had loaded; None: never."""
        window, seen = self.window, self.seen
        if window.clicked is None or window.event is None or window.error is not None:
            return None
        if self.cell.attachment:
            return window.event - window.clicked
        return None if seen is None else max(seen.loaded, window.event) - window.clicked

    @property
    def late_init(self) -> bool:
        """The window's first script did not find what the client's init script sets."""
        wanted = self.setting.client in WITH_INIT_SCRIPT
        return wanted and self.seen is not None and self.seen.marker != "init"

    @property
    def wrong_options(self) -> dict[str, Any]:
        """What the window's first script found otherwise than the session or the context has it."""
        if self.seen is None:
            return {}
        if self.setting.context != "nested":
            size, agent, zone = (700, 500), OPTIONS["user_agent"], OPTIONS["timezone_id"]
        elif self.setting.client in PLAYWRIGHTS:
            size, agent, zone = (640, 480), NESTED["user_agent"], NESTED["timezone_id"]
        else:
            return {}  # the context's maker named none
        found = {"size": self.seen.size, "agent": self.seen.agent, "zone": self.seen.zone}
        if self.cell.trigger in CLICKED_BESIDE and self.cell.place == "other":
            del found["zone"]
        wanted = {"size": size, "agent": agent, "zone": zone}
        return {name: value for name, value in found.items() if value != wanted[name]}

    def wrong(self, within: float) -> str | None:
        """What is not as it should be, in words; `within` seconds is how long it may take."""
        cell, setting = self.cell, self.setting
        name = f"{cell.trigger}/{cell.place} by {setting.client} in {setting.context}, {setting.stall} beside it"
        if self.took is None:
            return f"{name}: {self.window.error or 'its document never loaded'}"
        if self.took > within:
            return f"{name}: {self.took:.2f} s"
        if self.late_init:
            return f"{name}: the init script came too late"
        return f"{name}: {self.wrong_options}" if self.wrong_options else None


def cell(site: WindowSite, trigger: str, place: str) -> Cell:
    origin = site.other if place == "other" else site.url
    base = f"{origin}/{'attachment' if place == 'attachment' else 'window'}"
    return Cell(f"w{next(_numbers)}x", trigger, place == "frame", base, place == "attachment")


def every_cell(site: WindowSite) -> list[Cell]:
    return [cell(site, trigger, place) for place in PLACES for trigger in TRIGGERS]


def some_cells(site: WindowSite, turn: int) -> list[Cell]:
    """Each trigger once; in four turns, each with every place."""
    return [cell(site, trigger, PLACES[(turn + n) % 4]) for n, trigger in enumerate(TRIGGERS)]


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
            asked = {"expression": f"'x'.repeat({ANSWER_BYTES})", "returnByValue": True}
            for _ in range(ANSWERS):
                await client.socket.send(client.begin("Runtime.evaluate", asked, at_page)[1])
        yield
        client.socket.transport.abort()


# -- clients ---------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Job:
    """A session, and what to open in it."""

    service: Running
    site: WindowSite
    session_id: str
    url: str
    nested: bool
    cells: list[Cell]
    patience: float
    """Seconds until a window is given up."""
    failures: int
    """So many, and no more windows are tried."""

    @property
    def downloads(self) -> str:
        return f"/v1/browser/sessions/{self.session_id}/downloads"

    async def downloaded(self, cell: Cell) -> bool:
        files = (await self.service.http.get(self.downloads)).json()["downloads"]
        return any(each["filename"] == f"{cell.id}.txt" and each["state"] == "completed" for each in files)


class Driver(Protocol):
    """One client at one session."""

    async def open(self, cell: Cell, window: Window) -> None:
        """Opens the window, and fills in what came of it; raises or hangs when nothing does."""

    async def clean(self) -> None:
        """Closes whatever the last cell opened."""


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
        except Exception as error:  # noqa: BLE001 - it is in the result
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

        async def usable(opened: Page, told: float) -> None:
            with contextlib.suppress(Exception):  # another window than this cell's
                await opened.wait_for_url(re.compile(cell.id))
                if not arrived.done():
                    arrived.set_result((told, time.time()))

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
    async with async_playwright() as playwright:
        browser = await playwright.chromium.connect_over_cdp(job.url)
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
    """`how`: waits, runs, never."""

    def __init__(self, job: Job, client: Raw, how: str) -> None:
        self._job, self._client, self._how = job, client, how
        self._target_id = self._at_page = ""
        self._context_id: str | None = None
        self._resuming: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Attaches, and goes to the page that opens windows."""
        client = self._client
        await client.call("Target.setDiscoverTargets", {"discover": True})
        if self._how == "waits":
            self._resuming = asyncio.create_task(self._prepare())
        if self._how != "never":
            await client.auto_attach(wait=self._how == "waits")
        if self._job.nested:
            self._context_id = (await client.call("Target.createBrowserContext"))["browserContextId"]
            asked = {"url": "about:blank", "browserContextId": self._context_id}
            self._target_id = (await client.call("Target.createTarget", asked))["targetId"]
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
        """Gives every new page the init script, then lets it run."""
        client, seen = self._client, 0
        while True:
            for message in client.events[seen:]:
                seen += 1
                if message["method"] == "Target.attachedToTarget" and message["params"]["waitingForDebugger"]:
                    at = message["params"]["sessionId"]
                    script = {"source": "window.marker = 'init'"}
                    # Both at once, as clients do: a window without an opener may answer only once it runs.
                    for method, params in (
                        ("Page.enable", {}),
                        ("Page.addScriptToEvaluateOnNewDocument", script),
                        ("Runtime.runIfWaitingForDebugger", {}),
                    ):
                        await client.socket.send(client.begin(method, params, at)[1])
            await asyncio.sleep(0.002)

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
    """No client at all: scripts that the HTTP API runs, or clicks in a live view."""

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


async def over_http(job: Job, *, hands: bool = False) -> list[Window]:
    service, page_id = job.service, await job.service.first_page(job.session_id)
    session = f"/v1/browser/sessions/{job.session_id}"
    answer = await service.http.post(f"{session}/pages/{page_id}/navigate", json={"url": job.site.url})
    assert answer.status_code == 200, answer.text
    if not hands:
        return await drive(OverHttp(job, page_id, None), job)
    address = f"{service.url.replace('http', 'ws', 1)}{session}/live"
    async with watching(address, {"X-API-Key": service.http.headers["X-API-Key"]}) as viewer:
        await viewer.frame()
        assert (await service.http.post(f"{session}/control", json={"action": "take"})).status_code == 200
        return await drive(OverHttp(job, page_id, viewer), job)


async def with_node(client: str, jobs: list[Job]) -> list[list[Window]]:
    job = jobs[0]
    told = {
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
    return [[Window(**window) for window in each] for each in await run_node("windows.mjs", told, within=longest)]


async def run_jobs(client: str, jobs: list[Job]) -> list[list[Window]]:
    """All jobs at once, by one kind of client."""
    if client in ("playwright", "puppeteer"):
        return await with_node(client, jobs)
    return list(await asyncio.gather(*(_run_job(client, job) for job in jobs)))


async def _run_job(client: str, job: Job) -> list[Window]:
    try:
        if client == "python":
            return await with_playwright(job)
        if client in CLIENTLESS:
            return await over_http(job, hands=client == "hands")
        return await with_raw(job, client.removeprefix("raw_"))
    except Exception as error:  # noqa: BLE001 - it is in the results
        return [Window(each.id, error=f"the client could not start: {error!r}") for each in job.cells]


async def run_settings(
    service: Running,
    site: WindowSite,
    wanted: Iterable[tuple[Setting, list[Cell]]],
    *,
    patience: float = 2.0,
    failures: int = 2,
) -> list[Result]:
    """Opens the windows of some settings of one client, all settings at once, each in a session of its own."""
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
            jobs.append(Job(service, site, *found, patience, failures))
        for (setting, cells), windows in zip(settings, await run_jobs(client, jobs), strict=True):
            for each, window in zip(cells, windows, strict=True):
                await _settled(site, each, window)
                results.append(Result(setting, each, window, site.seen.get(each.id)))
    return results


async def _settled(site: WindowSite, cell: Cell, window: Window) -> None:
    """The word of a window's `load` may come just after the client saw it; what never comes is told by `took`."""
    if window.error is None and not cell.attachment:
        with contextlib.suppress(AssertionError):
            await until(lambda: cell.id in site.seen, within=1.0)
