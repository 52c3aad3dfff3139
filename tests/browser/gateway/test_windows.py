"""Windows that pages open in every way, with every kind of client: each loads promptly, with options and init scripts.

A quick run uses each way once: a third of them with every second client, each in another kind of context and beside
another second client. `make test-slow` combines each way and client with each place, context and second client;
scripts/windows.py combines all of them many times and prints how long they took.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AsyncExitStack
from typing import Any

import pytest
from playwright.async_api import Playwright

from browser_sessions.cdp import pauses
from tests.harness.clients.node_client import needs_node
from tests.harness.clients.raw_cdp import raw
from tests.harness.scenarios.windows import (
    CLICKED_BESIDE,
    CLIENTLESS,
    CLIENTS,
    CONTEXTS,
    OPTIONS,
    STALLS,
    Result,
    Setting,
    run_settings,
    some_cells,
    stalling,
)
from tests.harness.service import Running
from tests.harness.sites.window_site import WindowSite, window_site
from tests.harness.waiting import until

pytestmark = pytest.mark.browser

LOADED_S = 30.0
"""Limit from the click until the client is notified and the document has loaded: only a window that never loads takes
longer on a busy machine. scripts/windows.py checks how fast they are."""
HOLD_S = 3.0
"""Instead of 0.6 s, after which the init script of a client that is slow on a busy machine would run too late."""
MARKED = {"playwright": [pytest.mark.node, needs_node], "puppeteer": [pytest.mark.node, needs_node]}


@pytest.fixture(scope="module", autouse=True)
def patient_pauses() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(pauses, "HOLD_S", HOLD_S)
        yield


@pytest.fixture(scope="module")
def site() -> Iterator[WindowSite]:
    with window_site() as site:
        yield site


def check(results: list[Result]) -> None:
    wrong = [text for result in results if (text := result.wrong(LOADED_S)) is not None]
    assert not wrong, f"{len(wrong)} of {len(results)} windows:\n" + "\n".join(wrong)


def pairs(*, every: bool) -> Iterator[Any]:
    """Every client in every kind of context, or every second one in one of them."""
    for round_number, client in list(enumerate(CLIENTS))[:: 1 if every else 2]:
        for where in CONTEXTS if every else [CONTEXTS[round_number % len(CONTEXTS)]]:
            yield pytest.param(client, where, marks=MARKED.get(client, []), id=f"{client}-{where}")


@pytest.mark.parametrize(("client", "where"), list(pairs(every=False)))
async def test_every_window_loads_and_the_client_is_notified(
    service: Running, site: WindowSite, playwright: Playwright, client: str, where: str
) -> None:
    """A third of the ways."""
    n = CONTEXTS.index(where)
    cells = some_cells(site, CLIENTS.index(client) + n)[n :: len(CONTEXTS)]
    wanted = [(Setting(client, where, STALLS[(n + 1) % 3]), cells)]
    check(await run_settings(service, site, playwright, wanted, patience=LOADED_S))


@pytest.mark.slow
@pytest.mark.parametrize(("client", "where"), list(pairs(every=True)))
async def test_every_window_loads_beside_every_second_client(
    service: Running, site: WindowSite, playwright: Playwright, client: str, where: str
) -> None:
    """Half of the ways in each of three sessions. Of a client's nine, four or five have each way, in four places."""
    wanted = []
    for n, stall in enumerate(STALLS, 3 * CONTEXTS.index(where)):
        cells = some_cells(site, CLIENTS.index(client) + n // 2)
        wanted.append((Setting(client, where, stall), cells[n % 2 :: 2]))
    check(await run_settings(service, site, playwright, wanted, patience=LOADED_S))


@pytest.mark.parametrize("beside", ["stalled clients", pytest.param("no clients", marks=pytest.mark.slow)])
@pytest.mark.parametrize(
    "driver", [pytest.param(each, marks=[pytest.mark.slow] * (each != "http")) for each in CLIENTLESS]
)
async def test_a_session_without_a_client_opens_its_windows(
    service: Running, site: WindowSite, playwright: Playwright, driver: str, beside: str
) -> None:
    """The stalled clients belong to another session in the same browser."""
    other_session = await service.create()
    async with AsyncExitStack() as stack:
        for how in ("never_resumes", "never_reads") if beside == "stalled clients" else ():
            await stack.enter_async_context(stalling(other_session["connect_url"], how))
        cells = some_cells(site, 1 if driver == "viewer" else 2)
        cells = [cell for cell in cells if driver == "viewer" or cell.trigger != "middle"]
        if (driver, beside) == ("http", "stalled clients"):
            cells = cells[::2]  # the other quick test opens a window in each way
        setting = Setting(driver, "own", "none")
        check(await run_settings(service, site, playwright, [(setting, cells)], patience=LOADED_S))


@pytest.mark.parametrize("trigger", CLICKED_BESIDE)
async def test_a_window_that_changes_its_process_gets_its_timezone_back(
    service: Running, site: WindowSite, trigger: str
) -> None:
    made = await service.create(**OPTIONS, start_url=site.url)
    async with raw(made["connect_url"]) as client:
        _, at_page = await client.page()
        await until(lambda: client.value("typeof aim == 'function'", at_page), what="the page has loaded")
        x, y = await client.value(f"aim('{trigger}', false, '{site.other}/window', 'zone-{trigger}')", at_page)
        button, modifiers = ("middle", 0) if trigger == "middle" else ("left", 2)
        for kind in ("mousePressed", "mouseReleased"):
            mouse = {"type": kind, "x": x, "y": y, "button": button, "modifiers": modifiers, "clickCount": 1}
            await client.call("Input.dispatchMouseEvent", mouse, at_page)

        async def opened() -> list[str]:
            pages = (await service.http.get(f"/v1/browser/sessions/{made['session_id']}/pages")).json()["pages"]
            return [page["page_id"] for page in pages if page["url"].startswith(site.other)]

        await until(opened, what="the window has loaded")
        (page_id,) = await opened()
        zone = "Intl.DateTimeFormat().resolvedOptions().timeZone"

        async def right() -> bool:
            return bool(await service.evaluate(made["session_id"], zone, page_id) == OPTIONS["timezone_id"])

        await until(right, what="the session's timezone")
