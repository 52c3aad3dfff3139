"""Python Playwright over `connect_over_cdp`: the same steps, with the same names, as tests/node/playwright.mjs."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any, Final
from urllib.parse import quote

from playwright.async_api import Browser, BrowserContext, Page, Playwright

from tests.harness.sites.client_site import ClientSite

STEP_S: Final = 20.0
FACTS: Final = "({size: [innerWidth, innerHeight], agent: navigator.userAgent, language: navigator.language})"


def summary(data: bytes) -> Any:
    """The size of a PNG, the first four bytes of anything else."""
    if data[1:4] == b"PNG":
        return ["PNG", int.from_bytes(data[16:20]), int.from_bytes(data[20:24])]
    return data[:4].decode("latin-1")


class Driver:
    """Drives one session step by step."""

    def __init__(self, playwright: Playwright, who: str, url: str, site: ClientSite, barrier: asyncio.Barrier) -> None:
        self._playwright = playwright
        self._who = who
        self._url = url
        self._site = site
        self._barrier = barrier
        self.results: dict[str, Any] = {}

    async def drive(self) -> None:
        try:
            await self._drive()
        except BaseException:
            await self._barrier.abort()
            raise

    def _at(self, path: str) -> str:
        return f"{self._site.url}{path}?who={self._who}"

    async def _step(self, name: str, work: Callable[[], Awaitable[Any]]) -> None:
        async with asyncio.timeout(STEP_S):
            self.results[name] = await work()

    async def _connect(self) -> tuple[Browser, BrowserContext, Page]:
        browser = await self._playwright.chromium.connect_over_cdp(self._url)
        context = browser.contexts[0]
        return browser, context, context.pages[0]

    async def _drive(self) -> None:
        browser, context, page = await self._connect()
        steps = _Steps(browser, context, page, self._at, f"{self._site.other}/inner?who={self._who}", self._who)
        await self._step("options", lambda: page.evaluate(FACTS))
        await self._step("goto", steps.goto)
        await self._step("click", steps.click)
        await self._step("evaluate", lambda: page.evaluate("() => 6 * 7"))
        await self._step("screenshot", steps.screenshot)
        await self._step("pdf", steps.pdf)
        await context.add_init_script("window.marker = 'init'")
        for work in (steps.new_page, steps.popup, steps.frame, steps.worker, steps.service_worker, steps.cookies):
            await self._step(work.__name__, work)
        for work in (steps.route, steps.dialog, steps.download, steps.nested):
            await self._step(work.__name__, work)
        await self._barrier.wait()
        await self._step("targets", steps.targets)
        await self._barrier.wait()
        await page.evaluate("window.kept = 'kept'")
        await page.set_viewport_size({"width": 400, "height": 300})
        await self._step("close", steps.close)
        await self._step("reconnect", self._reconnect)

    async def _reconnect(self) -> list[Any]:
        browser, context, page = await self._connect()
        found = [len(context.pages), page.url, await page.evaluate("window.kept")]
        await browser.close()
        return found


class _Steps:
    def __init__(
        self, browser: Browser, context: BrowserContext, page: Page, at: Callable[[str], str], inner: str, who: str
    ) -> None:
        self.browser, self.context, self.page, self.at, self.inner, self.who = browser, context, page, at, inner, who

    async def goto(self) -> str:
        await self.page.goto(self.at("/"))
        return await self.page.title()

    async def click(self) -> str | None:
        await self.page.click("#button")
        return await self.page.text_content("#out")

    async def screenshot(self) -> Any:
        return summary(await self.page.screenshot())

    async def pdf(self) -> Any:
        return summary(await self.page.pdf())

    async def new_page(self) -> Any:
        opened = await self.context.new_page()
        await opened.goto(self.at("/popup"))
        facts: dict[str, Any] = await opened.evaluate(FACTS)
        first = await opened.evaluate("window.first")
        await opened.close()
        return {**facts, "first": first}

    async def popup(self) -> dict[str, Any]:
        async with self.page.expect_popup() as expected:
            await self.page.click("#open")
        popup = await expected.value
        await popup.wait_for_load_state()
        facts: dict[str, Any] = await popup.evaluate(FACTS)
        first = await popup.evaluate("window.first")
        await popup.close()
        return {**facts, "first": first}

    async def frame(self) -> str | None:
        await self.page.goto(f"{self.at('/frames')}&inner={quote(self.inner, safe='')}")
        frame = self.page.frame_locator("[name=inner]")
        await frame.locator("#button").click()
        return await frame.locator("#out").text_content()

    async def worker(self) -> Any:
        async with self.page.expect_worker() as expected:
            await self.page.goto(self.at("/worker"))
        return await (await expected.value).evaluate("self.answer")

    async def service_worker(self) -> Any:
        async with self.context.expect_event("serviceworker") as expected:
            await self.page.goto(self.at("/sw"))
            await self.page.evaluate("window.ready.then(() => 1)")
        return await (await expected.value).evaluate("self.answer")

    async def cookies(self) -> list[Any]:
        await self.context.add_cookies([{"name": "who", "value": self.who, "url": self.at("/")}])
        await self.page.goto(self.at("/cookies"))
        kept = [f"{cookie.get('name')}={cookie.get('value')}" for cookie in await self.context.cookies()]
        return [await self.page.text_content("body"), kept]

    async def route(self) -> list[Any]:
        fetch = "fetch('/data').then(answer => answer.text())"
        await self.context.route("**/data*", lambda route: route.fulfill(body="from the client"))
        await self.page.goto(self.at("/fetch"))
        text = await self.page.evaluate(fetch)
        await self.context.unroute("**/data*")
        return [text, await self.page.evaluate(fetch)]

    async def dialog(self) -> str | None:
        self.page.once("dialog", lambda dialog: dialog.accept("yes"))
        await self.page.goto(self.at("/"))
        await self.page.click("#ask")
        return await self.page.text_content("#out")

    async def download(self) -> list[Any]:
        async with self.page.expect_download() as expected:
            await self.page.click("#report")
        download = await expected.value
        return [download.suggested_filename, await download.failure(), Path(await download.path()).name]

    async def nested(self) -> list[Any]:
        nested = await self.browser.new_context(viewport={"width": 500, "height": 400}, user_agent="nested/1.0")
        inside = await nested.new_page()
        await inside.goto(self.at("/"))
        found = [await inside.evaluate(FACTS), len(await nested.cookies()), len(self.browser.contexts)]
        await nested.close()
        return [*found, len(self.browser.contexts)]

    async def targets(self) -> list[str]:
        session = await self.context.new_cdp_session(self.page)
        infos = (await session.send("Target.getTargets"))["targetInfos"]
        await session.detach()
        pages = [page.url for context in self.browser.contexts for page in context.pages]
        return pages + [info["url"] for info in infos]

    async def close(self) -> bool:
        gone = asyncio.Event()
        self.browser.once("disconnected", lambda _: gone.set())
        await self.browser.close()
        await gone.wait()
        return self.browser.is_connected()


async def drive(playwright: Playwright, sessions: dict[str, str], site: ClientSite) -> dict[str, dict[str, Any]]:
    """Drives every session (who: connect URL) at the same time. Returns the result of each step, by who."""
    barrier = asyncio.Barrier(len(sessions))
    drivers = {who: Driver(playwright, who, url, site, barrier) for who, url in sessions.items()}
    async with asyncio.TaskGroup() as group:
        for driver in drivers.values():
            group.create_task(driver.drive())
    return {who: driver.results for who, driver in drivers.items()}
