"""Windows opened by pages: the session's options and its clients' init scripts apply before their first script."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from typing import Any, Final

import pytest
from playwright.async_api import Playwright

from tests.harness.clients.raw_cdp import Raw, raw
from tests.harness.service import Running
from tests.harness.sites.client_site import ClientSite, client_site

pytestmark = pytest.mark.browser

POPUPS: Final = pytest.mark.parametrize("popups", [5, pytest.param(25, marks=pytest.mark.slow)])
"""Enough to notice late init scripts: without pausing windows, a third to two thirds of them run too late."""
FIRST: Final = "({marker: window.first, agent: window.agent, width: window.width, other: window.others ?? null})"
PAGE: Final = "/first"


@pytest.fixture(scope="module")
def site() -> Iterator[ClientSite]:
    with client_site() as served:
        yield served


@POPUPS
async def test_an_init_script_of_a_playwright_client_runs_before_the_first_script_of_every_popup(
    service: Running, site: ClientSite, playwright: Playwright, popups: int
) -> None:
    created = await service.create(viewport_width=700, user_agent="popups/1.0")
    browser = await playwright.chromium.connect_over_cdp(created["connect_url"])
    context = browser.contexts[0]
    await context.add_init_script("window.marker = 'init'")
    page = context.pages[0]
    await page.goto(site.url)
    results = []
    for _ in range(popups):
        async with page.expect_popup() as expected:
            await page.evaluate(f"void window.open('{PAGE}')")
        popup = await expected.value
        await popup.wait_for_load_state()
        results.append(await popup.evaluate(FIRST))
        await popup.close()
    await browser.close()
    assert results == [first(marker="init")] * popups


async def test_an_init_script_runs_in_a_blank_popup_that_the_opener_scripts(
    service: Running, site: ClientSite, playwright: Playwright
) -> None:
    created = await service.create()
    browser = await playwright.chromium.connect_over_cdp(created["connect_url"])
    page = browser.contexts[0].pages[0]
    await browser.contexts[0].add_init_script("window.marker = 'init'")
    await page.goto(site.url)
    async with page.expect_popup() as expected:
        seen = await page.evaluate("(() => { const w = window.open(''); return w.marker })()")
    popup = await expected.value
    assert seen == await popup.evaluate("window.marker") == "init"
    await browser.close()


@POPUPS
async def test_init_scripts_of_two_clients_both_run_before_a_popups_first_script(
    service: Running, site: ClientSite, popups: int
) -> None:
    created = await service.create(viewport_width=700, user_agent="popups/1.0")
    async with raw(created["connect_url"]) as one, raw(created["connect_url"]) as other:
        workers = [
            asyncio.create_task(prepare_popups(one, "window.marker = 'init'")),
            asyncio.create_task(prepare_popups(other, "window.other = 'also'", late=0.05)),
        ]
        _, page = await one.page()
        await one.call("Page.enable", {}, page)
        await one.call("Page.navigate", {"url": site.url}, page)
        await one.event("Page.loadEventFired")
        results = []
        for number in range(popups):
            await one.value(f"void (window.opened = window.open('{PAGE}?{number}'))", page)
            results.append(
                await one.value(f"new Promise(done => setInterval(() => opened.first && done({opened(FIRST)})))", page)
            )
            await one.value("opened.close()", page)
        for worker in workers:
            worker.cancel()
    assert results == [first(marker="init", other="also")] * popups


@POPUPS
async def test_popups_of_a_session_without_clients_have_its_options(
    service: Running, site: ClientSite, popups: int
) -> None:
    """The service itself resumes windows of sessions without clients, once the session's options are applied."""
    created = await service.create()
    other_session = await service.create(viewport_width=700, user_agent="popups/1.0", start_url=site.url)
    async with raw(created["connect_url"]) as client:
        await client.auto_attach()
        results = []
        for number in range(popups):
            script = f"""new Promise(done => {{
                const opened = window.open('{PAGE}?{number}')
                const timer = setInterval(() => {{
                    if (!opened.first) return
                    clearInterval(timer)
                    done({opened(FIRST)})
                    opened.close()
                }})
            }})"""
            results.append(await service.evaluate(other_session["session_id"], script))
    assert results == [first(marker="none")] * popups


def first(*, marker: str, other: str | None = None) -> dict[str, Any]:
    return {"marker": marker, "agent": "popups/1.0", "width": 700, "other": other}


def opened(expression: str) -> str:
    return expression.replace("window.", "opened.")


async def prepare_popups(client: Raw, script: str, *, late: float = 0.0) -> None:
    """Adds an init script to every new window after `late` seconds, then resumes it."""
    await client.auto_attach()
    seen = 0
    while True:
        if seen >= len(client.events):
            await client.more()
        for message in client.events[seen:]:
            seen += 1
            params = message["params"]
            if message["method"] == "Target.attachedToTarget" and params["waitingForDebugger"]:
                await asyncio.sleep(late)
                at = params["sessionId"]
                await client.call("Page.addScriptToEvaluateOnNewDocument", {"source": script}, at)
                await client.ask("Runtime.runIfWaitingForDebugger", {}, at)
