"""The CDP gateway compared with the debugging port of a bare Chromium, and how 50 clients slow the creation of a page.

The client is this process; the service and each Chromium are other processes. The bare Chromium has the switches of the
service's own browser; measurements that are compared alternate in one run.
"""

from __future__ import annotations

import asyncio
import statistics
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any, Final

from rich.console import Console
from rich.table import Table

from tests.harness.bare_chromium import bare_chromium, switches_of
from tests.harness.clients.blocking_cdp import Blocking
from tests.harness.clients.raw_cdp import Raw, raw
from tests.harness.service import Running, serving

MEDIAN_GOAL: Final = 1.30
P95_GOAL: Final = 1.5
LARGE_GOAL: Final = 1.15
CROWD_GOAL: Final = 0.9
"""Calls a second of 50 clients at once, against as many on the bare port, at least."""
PAGE_GOAL: Final = 1.5
"""A new page with 50 clients connected, against one, at most."""

CALLS: Final = 2000
WARM_UP: Final = 200
LARGE_BYTES: Final = 20 * 10**6
LARGE_ROUNDS: Final = 9
CLIENTS: Final = 50
CROWD_CALLS: Final = 40
RATE_CALLS: Final = 200
"""Of each client in a round, which then takes more than a second."""
CROWD_ROUNDS: Final = 7
PER_PAGE: Final = 5
"""Clients per page."""
PAGES: Final = 10
"""Pages created per round and side."""
ROUNDS: Final = 3

NAMES: Final = ("a bare Chromium's port", "through the gateway")
ADDITION: Final = {"expression": "1 + 1", "returnByValue": True}
_ONE_BROWSER: Final[dict[str, Any]] = {"log_level": "warning", "max_sessions": 60, "max_sessions_per_browser": 60}


async def run() -> bool:
    with tempfile.TemporaryDirectory() as folder:
        async with serving(Path(folder) / "service" / "data", **_ONE_BROWSER) as service:
            assert service.process is not None
            await service.create()
            async with bare_chromium(Path(folder) / "profile", switches_of(service.process)) as port:
                met = await _round_trips(service, port)
                met &= await _large(service, port)
                met &= await _crowd(service, port)
        async with serving(Path(folder) / "crowd" / "data", **_ONE_BROWSER) as service:
            met &= await _pages(service)
    return met


async def _round_trips(service: Running, port: str) -> bool:
    made = await service.create()
    sides = (port, made["connect_url"])
    async with AsyncExitStack() as stack:
        clients = [await stack.enter_async_context(raw(url)) for url in sides]
        pages = [(await client.page())[1] for client in clients]
        usual: tuple[list[float], list[float]] = ([], [])
        for _ in range(CALLS + WARM_UP):
            for client, page, times in zip(clients, pages, usual, strict=True):
                started_at = time.perf_counter()
                await client.call("Runtime.evaluate", ADDITION, page)
                times.append(time.perf_counter() - started_at)
    bare = await asyncio.to_thread(_bare_round_trips, sides)
    met = _show("Runtime.evaluate, a websockets client", usual, MEDIAN_GOAL, P95_GOAL)
    _show("Runtime.evaluate, bare sockets (the hard case)", bare, MEDIAN_GOAL, P95_GOAL)
    return met


def _bare_round_trips(sides: tuple[str, str]) -> tuple[list[float], list[float]]:
    clients = [Blocking(url) for url in sides]
    try:
        pages = [client.page() for client in clients]
        taken: tuple[list[float], list[float]] = ([], [])
        for number in range(10, CALLS + WARM_UP + 10):
            for client, page, times in zip(clients, pages, taken, strict=True):
                started_at = time.perf_counter()
                client.call(number, "Runtime.evaluate", ADDITION, page)
                times.append(time.perf_counter() - started_at)
        return taken
    finally:
        for client in clients:
            client.close()


async def _large(service: Running, port: str) -> bool:
    made = await service.create()
    taken: tuple[list[float], list[float]] = ([], [])
    params = {"expression": f"'x'.repeat({LARGE_BYTES})", "returnByValue": True}
    async with AsyncExitStack() as stack:
        clients = [await stack.enter_async_context(raw(url)) for url in (port, made["connect_url"])]
        pages = [(await client.page())[1] for client in clients]
        for _ in range(LARGE_ROUNDS):
            for client, page, times in zip(clients, pages, taken, strict=True):
                started_at = time.perf_counter()
                response = await client.call("Runtime.evaluate", params, page)
                times.append(time.perf_counter() - started_at)
                assert len(response["result"]["value"]) == LARGE_BYTES
                client.frames.clear()
    return _show(f"a response of {LARGE_BYTES // 10**6} MB", taken, LARGE_GOAL, None, warm_up=1)


async def _crowd(service: Running, port: str) -> bool:
    """Calls per second of 50 concurrent clients, five at each of ten pages, on both sides. Then with events: each
    client of the service must get every response and every event of its page exactly once."""
    made = [await service.create() for _ in range(CLIENTS // PER_PAGE)]
    rates: tuple[list[float], list[float]] = ([], [])
    async with AsyncExitStack() as stack:
        direct = [await stack.enter_async_context(raw(port)) for _ in range(CLIENTS)]
        targets = [await _context_page(direct[0]) for _ in range(CLIENTS // PER_PAGE)]
        at_direct = [await client.attach(targets[number // PER_PAGE]) for number, client in enumerate(direct)]
        ours = [await stack.enter_async_context(raw(each["connect_url"])) for each in made for _ in range(PER_PAGE)]
        at_ours = [(await client.page())[1] for client in ours]
        for _ in range(CROWD_ROUNDS):
            for clients, pages, found in ((direct, at_direct, rates[0]), (ours, at_ours, rates[1])):
                found.append(await _rate(clients, pages))
        missed = await _missed(ours, at_ours)
    for each in made:
        await service.http.delete(f"/v1/browser/sessions/{each['session_id']}")
    bare, gateway = (statistics.median(each) for each in rates)
    met = gateway / bare >= CROWD_GOAL and missed == 0
    table = Table("", "calls/s", title=f"{CLIENTS} clients at once")
    table.add_row(NAMES[0], f"{bare:,.0f}")
    table.add_row(NAMES[1], f"{gateway:,.0f}")
    text = f"ratio {gateway / bare:.2f}; goal: at least {CROWD_GOAL}: {'met' if met else 'missed'}"
    Console().print(
        table,
        f"{text}; {missed} frames missed of {CLIENTS * CROWD_CALLS} responses and {PER_PAGE} times as many events",
    )
    return met


async def _context_page(client: Raw) -> str:
    """The target of a page in a new context, like that of a session."""
    context = (await client.call("Target.createBrowserContext"))["browserContextId"]
    params = {"url": "about:blank", "browserContextId": context}
    target_id: str = (await client.call("Target.createTarget", params))["targetId"]
    return target_id


async def _rate(clients: list[Raw], pages: list[str]) -> float:
    """Calls a second of all together."""

    async def calls(client: Raw, page: str) -> None:
        for _ in range(CROWD_CALLS):
            await client.call("Runtime.evaluate", ADDITION, page)

    started_at = time.perf_counter()
    await asyncio.gather(*(calls(client, page) for client, page in zip(clients, pages, strict=True)))
    return len(clients) * CROWD_CALLS / (time.perf_counter() - started_at)


async def _missed(clients: list[Raw], pages: list[str]) -> int:
    """The number of responses and events that were missing, duplicated or of another client."""
    await asyncio.gather(*(c.call("Runtime.enable", {}, p) for c, p in zip(clients, pages, strict=True)))

    async def calls(number: int, client: Raw, page: str) -> int:
        names = [f"{number}.{turn}" for turn in range(CROWD_CALLS)]
        return sum([await client.value(f"(console.log('{name}'), '{name}')", page) != name for name in names])

    wrong = sum(await asyncio.gather(*(calls(n, c, p) for n, (c, p) in enumerate(zip(clients, pages, strict=True)))))
    for number, client in enumerate(clients):
        clients_of_page = range(number - number % PER_PAGE, number - number % PER_PAGE + PER_PAGE)
        expected = Counter(f"{each}.{turn}" for each in clients_of_page for turn in range(CROWD_CALLS))
        await client.value("0", pages[number])  # earlier events have arrived
        seen = Counter(m["params"]["args"][0]["value"] for m in client.events if "args" in m["params"])
        wrong += sum((expected - seen).values()) + sum((seen - expected).values())
    return wrong


async def _pages(service: Running) -> bool:
    """Creating a page in a browser of 50 sessions: with one auto-attaching client connected, and with one at each."""
    made = [await service.create() for _ in range(CLIENTS)]
    taken: tuple[list[float], list[float]] = ([], [])
    async with raw(made[0]["connect_url"]) as client:
        await client.auto_attach()
        for _ in range(5):
            await page_takes(client)
        for _ in range(ROUNDS):
            taken[0].extend([await page_takes(client) for _ in range(PAGES)])
            async with AsyncExitStack() as stack:
                for each in made[1:]:
                    await (await stack.enter_async_context(raw(each["connect_url"]))).auto_attach()
                taken[1].extend([await page_takes(client) for _ in range(PAGES)])
    names = ("one client", f"{CLIENTS} clients")
    return _show("a new page in a browser of 50 sessions", taken, PAGE_GOAL, None, warm_up=0, names=names)


async def page_takes(client: Raw) -> float:
    """Seconds until a page is made, attached to and resumed; it is closed again."""
    started_at = time.perf_counter()
    target_id = (await client.call("Target.createTarget", {"url": "about:blank"}))["targetId"]
    matches: Callable[[dict[str, Any]], bool] = lambda m: m["params"]["targetInfo"]["targetId"] == target_id  # noqa: E731
    attached = await client.event("Target.attachedToTarget", matches)
    await client.call("Runtime.runIfWaitingForDebugger", {}, attached["params"]["sessionId"])
    took = time.perf_counter() - started_at
    await client.call("Target.closeTarget", {"targetId": target_id})
    return took


def _show(
    title: str,
    taken: tuple[list[float], list[float]],
    median_goal: float,
    p95_goal: float | None,
    *,
    warm_up: int = WARM_UP,
    names: tuple[str, str] = NAMES,
) -> bool:
    table = Table("", "median ms", "p95 ms", title=title)
    figures = []
    for name, times in zip(names, taken, strict=True):
        ordered = sorted(times[warm_up:])
        median, p95 = statistics.median(ordered), ordered[int(len(ordered) * 0.95)]
        figures.append((median, p95))
        table.add_row(name, f"{median * 1000:.2f}", f"{p95 * 1000:.2f}")
    median_ratio, p95_ratio = (figures[1][i] / figures[0][i] for i in (0, 1))
    met = median_ratio <= median_goal and (p95_goal is None or p95_ratio <= p95_goal)
    goal = f"at most {median_goal}" + (f" and {p95_goal}" if p95_goal is not None else "")
    text = f"ratio {median_ratio:.2f}, of the p95 {p95_ratio:.2f}; goal: {goal}: {'met' if met else 'missed'}"
    Console().print(table, text)
    return met
