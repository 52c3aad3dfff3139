"""`loads`: 8 pages that load 70 resources each at once, driven by raw CDP clients that enable no Network domain: on a
bare browser with the same switches, and in sessions with and without the egress proxy."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from functools import partial
from typing import Final

import psutil

from scripts.benches.report import Bench
from scripts.benches.sides import OTHER, Sides, cpu_of, other_session, seconds, settled, tree
from tests.harness.bare_chromium import bare_chromium, browser_among, browser_of, switches_of
from tests.harness.clients.raw_cdp import Raw, raw
from tests.harness.service import Running

PAGES: Final = 8
ROUNDS: Final = 25
BARE: Final = "a bare browser"
WITHOUT: Final = "without the egress proxy"
THROUGH: Final = "through the egress proxy"
GOALS: Final = {WITHOUT: 1.05, THROUGH: 1.15}
CPU_GOAL: Final = 1.1


@dataclass(frozen=True, slots=True)
class Loading:
    """One side: its pages, and the process of its browser, if it is ours to look at."""

    pages: list[tuple[Raw, str]]
    browser: psutil.Process | None

    async def load(self, url: str, number: int) -> tuple[float, float]:
        """Seconds until all pages have loaded, and seconds of processor time of their browser."""
        before = self._cpu()
        took = await seconds(asyncio.gather(*(_load(*page, f"{url}/page?{number}") for page in self.pages)))
        return took, self._cpu() - before

    def _cpu(self) -> float:
        return cpu_of(tree(self.browser)) if self.browser is not None else 0.0


async def run(bench: Bench) -> None:
    async with Sides() as sides:
        url = await sides.site()
        services = {WITHOUT: await sides.service(WITHOUT, egress=False), THROUGH: await sides.service(THROUGH)}
        loading: dict[str, Loading] = {}
        for name, service in services.items():
            pages = [await _of_session(sides, service) for _ in range(PAGES)]
            loading[name] = Loading(pages, browser_of(service.own_process))
        switches = switches_of(services[WITHOUT].own_process)
        profile = sides.folder / "profile"
        port = await sides.enter_async_context(bare_chromium(profile, switches))
        found = browser_among(psutil.Process().children(), f"--user-data-dir={profile}")
        loading[BARE] = Loading([await _own_page(sides, port) for _ in range(PAGES)], found)
        if bench.against:
            sessions = [await sides.enter_async_context(other_session(bench.against)) for _ in range(PAGES)]
            loading[OTHER] = Loading([await _own_page(sides, address) for address, _ in sessions], None)
        for service in services.values():
            await settled(service)
        measured = {name: partial(side.load, url) for name, side in loading.items()}
        results = await bench.alternate(f"{PAGES} pages at once", measured, ROUNDS)
    wall, cpu = ({name: [each[i] for each in result] for name, result in results.items()} for i in (0, 1))
    what = f"{PAGES} pages of 70 resources at once"
    for name, goal in GOALS.items():
        bench.durations(f"{what}, {name}", wall[name], BARE, wall[BARE], median=goal)
        bench.paired(f"{what}, {name}, browser CPU", "s", cpu[name], BARE, cpu[BARE], goal=CPU_GOAL)
    if bench.against:
        bench.durations(f"{what}, {OTHER}", wall[OTHER], BARE, wall[BARE])


async def _of_session(sides: Sides, service: Running) -> tuple[Raw, str]:
    created = await service.create()
    client = await sides.enter_async_context(raw(created["connect_url"]))
    return await _enabled(client, (await client.page())[1])


async def _own_page(sides: Sides, address: str) -> tuple[Raw, str]:
    """A page in a context of its own, like that of a session."""
    client = await sides.enter_async_context(raw(address))
    return await _enabled(client, await client.attach(await client.new_page()))


async def _enabled(client: Raw, page: str) -> tuple[Raw, str]:
    await client.call("Page.enable", {}, page)
    return client, page


async def _load(client: Raw, page: str, url: str) -> None:
    client.frames.clear()
    client.events.clear()
    await client.call("Page.navigate", {"url": url}, page)
    await client.event("Page.loadEventFired")
