"""Pages and large responses through the egress proxy, compared with the same browser without it; then creates of a
service with it and of one without, and the lag of a service whose sessions all load at once.

The origin (Node), the browser and the proxy are processes of their own; what is compared alternates in one run.
"""

from __future__ import annotations

import asyncio
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Final

import psutil
from playwright.async_api import Browser, Page, async_playwright
from rich.console import Console
from rich.table import Table

from browser_sessions.chromium.launch.executable import locate
from browser_sessions.egress.egress import Egress
from browser_sessions.egress.rules import EgressPolicy, Rules
from scripts.bench_egress_service import creates, crowd
from tests.harness.paths import ROOT

PAGE_GOAL: Final = 1.15
"""Median of a page of 100 small and 10 large resources, against direct."""
LARGE_GOAL: Final = 1.8
"""500 MB, against direct."""

PAGES: Final = 40
WARM_UP: Final = 4
LARGE_ROUNDS: Final = 7
SCHEMES: Final = ("http", "https", "h2")
_CPU: Final = ("proxy's CPU ms", "browser's CPU ms, direct", "through the proxy")
"""Columns; processor time for one page or response."""
_ORIGIN: Final = ROOT / "tests" / "harness" / "sites" / "many_resources.mjs"
_READ_ALL: Final = """async () => {
    const started = performance.now(), reader = (await fetch('/big')).body.getReader()
    let bytes = 0
    for (let part; !(part = await reader.read()).done;) bytes += part.value.length
    return [(performance.now() - started) / 1000, bytes]
}"""


async def run() -> bool:
    with tempfile.TemporaryDirectory() as folder:
        async with _origin(Path(folder)) as ports, _proxy() as (proxy, server), async_playwright() as playwright:
            browser = await playwright.chromium.launch(executable_path=str(locate(None).executable))
            urls = [
                f"{'http' if scheme == 'http' else 'https'}://127.0.0.1:{port}/"
                for scheme, port in zip(SCHEMES, ports, strict=True)
            ]
            met = await _compare("A page of 110 resources", browser, server, proxy, urls, PAGES, PAGE_GOAL, _load)
            met &= await _compare(
                "500 MB", browser, server, proxy, urls[:2], LARGE_ROUNDS, LARGE_GOAL, _download, warm_up=1
            )
            await browser.close()
            met &= await creates(Path(folder) / "creates")
            return met & await crowd(Path(folder) / "crowd", urls[0])


async def _load(page: Page, url: str) -> float:
    started_at = time.perf_counter()
    await page.goto(url, wait_until="load")
    return time.perf_counter() - started_at


async def _download(page: Page, _: str) -> float:
    seconds, received = await page.evaluate(_READ_ALL)
    assert received == 500 << 20
    return float(seconds)


async def _compare(
    title: str,
    browser: Browser,
    server: str,
    proxy: psutil.Process,
    urls: list[str],
    rounds: int,
    goal: float,
    measure: Callable[[Page, str], Awaitable[float]],
    *,
    warm_up: int = WARM_UP,
) -> bool:
    table = Table("", "direct ms", "through the proxy ms", "ratio", *_CPU, title=title)
    met = True
    for scheme, url in zip(SCHEMES, urls, strict=False):
        contexts = [
            await browser.new_context(ignore_https_errors=True),
            await browser.new_context(ignore_https_errors=True, proxy={"server": server, "bypass": "<-loopback>"}),
        ]
        pages = [await context.new_page() for context in contexts]
        for page in pages:
            await page.goto(url)
        taken: tuple[list[float], list[float]] = ([], [])
        ran, proxy_ran = [0.0, 0.0], 0.0
        for number in range(rounds + warm_up):
            for side, page in enumerate(pages):
                before = _cpu(*_browsers()), _cpu(proxy)
                seconds = await measure(page, url)
                if number >= warm_up:
                    taken[side].append(seconds)
                    ran[side] += _cpu(*_browsers()) - before[0]
                    proxy_ran += _cpu(proxy) - before[1]
        for context in contexts:
            await context.close()
        direct, through = (statistics.median(times) for times in taken)
        ratio = through / direct
        met &= ratio <= goal
        table.add_row(
            scheme,
            f"{1000 * direct:.1f}",
            f"{1000 * through:.1f}",
            f"[{'green' if ratio <= goal else 'red'}]{ratio:.2f}[/] (≤ {goal})",
            *(f"{1000 * seconds / rounds:.1f}" for seconds in (proxy_ran, *ran)),
        )
    Console().print(table)
    return met


def _browsers() -> list[psutil.Process]:
    """The browser's processes: those of this process's descendants that are neither Node nor Python."""
    return [each for each in psutil.Process().children(recursive=True) if each.name().startswith(("chrom", "headless"))]


def _cpu(*processes: psutil.Process) -> float:
    """User and system seconds."""
    return sum(sum(process.cpu_times()[:2]) for process in processes)


@asynccontextmanager
async def _origin(folder: Path) -> AsyncIterator[list[int]]:
    key, certificate = folder / "key.pem", folder / "certificate.pem"
    made = ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "2"]
    made += ["-subj", "/CN=127.0.0.1", "-keyout", str(key), "-out", str(certificate)]
    await asyncio.to_thread(subprocess.run, made, check=True, capture_output=True)
    async with _child("node", str(_ORIGIN), str(key), str(certificate)) as (_, line):
        yield [int(port) for port in line.split()]


@asynccontextmanager
async def _proxy() -> AsyncIterator[tuple[psutil.Process, str]]:
    async with _child(sys.executable, __file__) as (pid, line):
        yield psutil.Process(pid), line.strip()


@asynccontextmanager
async def _child(*command: str) -> AsyncIterator[tuple[int, str]]:
    """Yields its id and its first line. It is killed at the end."""
    process = await asyncio.create_subprocess_exec(
        *command, stdout=asyncio.subprocess.PIPE, cwd=ROOT, env={**os.environ, "PYTHONPATH": str(ROOT)}
    )
    try:
        assert process.stdout is not None
        yield process.pid, (await process.stdout.readline()).decode()
    finally:
        process.kill()
        await process.wait()


async def _serve() -> None:
    egress = Egress(
        own_ports=set,
        browser_uid=os.geteuid(),
        on_refused=lambda *_: None,
        on_failed=lambda *_: None,
        on_traffic_limit=lambda _: None,
    )
    port = await egress.open()
    port.assign("bench", EgressPolicy.of_server(allow=Rules.parse(["127.0.0.0/8"])), None, None)
    sys.stdout.write(f"{port.server}\n")
    sys.stdout.flush()
    await asyncio.Event().wait()


if __name__ == "__main__":
    import uvloop

    uvloop.run(_serve())
