"""Windows that pages open: the session's options and its clients' init scripts come first."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from typing import Any, Final

import pytest
from playwright.async_api import async_playwright

from tests.harness.clients.raw_cdp import Raw, raw
from tests.harness.service import Running
from tests.harness.sites.client_site import ClientSite, client_site

pytestmark = pytest.mark.browser

POPUPS: Final = 25
"""Before windows were held, a third to two thirds of the init scripts came too late."""
FIRST: Final = "({marker: window.first, agent: window.agent, width: window.width, other: window.others})"
PAGE: Final = "/first"


@pytest.fixture(scope="module")
def site() -> Iterator[ClientSite]:
    with client_site() as served:
        yield served


async def test_an_init_script_of_a_playwright_client_runs_before_the_first_script_of_every_popup(
    service: Running, site: ClientSite
) -> None:
    created = await service.create(viewport_width=700, user_agent="popups/1.0")
    async with async_playwright() as playwright:
        browser = await playwright.chromium.connect_over_cdp(created["connect_url"])
        context = browser.contexts[0]
        await context.add_init_script("window.marker = 'init'")
        page = context.pages[0]
        await page.goto(site.url)
        told = []
        for _ in range(POPUPS):
            async with page.expect_popup() as coming:
                await page.evaluate(f"void window.open('{PAGE}')")
            popup = await coming.value
            await popup.wait_for_load_state()
            told.append(await popup.evaluate(FIRST))
            await popup.close()
        await browser.close()
    assert told == [first(marker="init")] * POPUPS


async def test_an_init_script_holds_in_a_popup_that_the_opener_writes_itself(
    service: Running, site: ClientSite
) -> None:
    created = await service.create()
    async with async_playwright() as playwright:
        browser = await playwright.chromium.connect_over_cdp(created["connect_url"])
        page = browser.contexts[0].pages[0]
        await browser.contexts[0].add_init_script("window.marker = 'init'")
        await page.goto(site.url)
        async with page.expect_popup() as coming:
            seen = await page.evaluate("(() => { const w = window.open(''); return w.marker })()")
        popup = await coming.value
        assert seen == await popup.evaluate("window.marker") == "init"
        await browser.close()


async def test_two_clients_of_a_session_both_have_their_scripts_in_before_a_popup_runs(
    service: Running, site: ClientSite
) -> None:
    created = await service.create(viewport_width=700, user_agent="popups/1.0")
    async with raw(created["connect_url"]) as one, raw(created["connect_url"]) as other:
        workers = [
            asyncio.create_task(prepares_popups(one, "window.marker = 'init'")),
            asyncio.create_task(prepares_popups(other, "window.other = 'also'", late=0.05)),
        ]
        _, page = await one.page()
        await one.call("Page.enable", {}, page)
        await one.call("Page.navigate", {"url": site.url}, page)
        await one.event("Page.loadEventFired")
        told = []
        for number in range(POPUPS):
            await one.value(f"void (window.opened = window.open('{PAGE}?{number}'))", page)
            told.append(
                await one.value(f"new Promise(done => setInterval(() => opened.first && done({opened(FIRST)})))", page)
            )
            await one.value("opened.close()", page)
        for worker in workers:
            worker.cancel()
    assert told == [first(marker="init", other="also")] * POPUPS


async def test_a_neighbour_without_a_client_has_its_own_options_in_its_popups(
    service: Running, site: ClientSite
) -> None:
    """The service lets windows of sessions without a client run: not before the session's options hold."""
    created = await service.create()
    neighbour = await service.create(viewport_width=700, user_agent="popups/1.0", start_url=site.url)
    async with raw(created["connect_url"]) as client:
        await client.auto_attach()
        told = []
        for number in range(POPUPS):
            script = f"""new Promise(done => {{
                const opened = window.open('{PAGE}?{number}')
                const timer = setInterval(() => {{
                    if (!opened.first) return
                    clearInterval(timer)
                    done({opened(FIRST)})
                    opened.close()
                }})
            }})"""
            told.append(await service.evaluate(neighbour["session_id"], script))
    assert told == [first(marker="none")] * POPUPS


def first(*, marker: str, other: str | None = None) -> dict[str, Any]:
    return {"marker": marker, "agent": "popups/1.0", "width": 700, "other": other}


def opened(expression: str) -> str:
    return expression.replace("window.", "opened.")


async def prepares_popups(client: Raw, script: str, *, late: float = 0.0) -> None:
    """Adds an init script to every window that opens, after `late` seconds, then lets it run."""
    await client.auto_attach()
    seen = 0
    while True:
        for message in client.events[seen:]:
            seen += 1
            params = message["params"]
            if message["method"] == "Target.attachedToTarget" and params["waitingForDebugger"]:
                await asyncio.sleep(late)
                at = params["sessionId"]
                await client.call("Page.addScriptToEvaluateOnNewDocument", {"source": script}, at)
                await client.ask("Runtime.runIfWaitingForDebugger", {}, at)
        await asyncio.sleep(0.002)
