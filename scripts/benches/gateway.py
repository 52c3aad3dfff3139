"""`gateway`: the CDP gateway compared with the debugging port of a bare Chromium, and how 50 clients slow the creation
of a page.

The client is this process; the service and each Chromium are other processes. The bare Chromium has the switches of the
service's own browser.
"""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import Callable
from contextlib import AsyncExitStack
from functools import partial
from typing import Any, Final

from scripts.benches.report import Bench
from scripts.benches.sides import Sides, end, seconds
from tests.harness.bare_chromium import bare_chromium, switches_of
from tests.harness.clients.blocking_cdp import Blocking
from tests.harness.clients.raw_cdp import Raw, raw
from tests.harness.service import Running

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
"""Of each client in a round, which then takes more than a second."""
QUICK_CALLS: Final = 5
CROWD_ROUNDS: Final = 7
PER_PAGE: Final = 5
"""Clients per page."""
PAGES: Final = 10
"""Pages created per round and side."""
ROUNDS: Final = 3

BARE: Final = "a bare Chromium's port"
OURS: Final = "through the gateway"
ADDITION: Final = {"expression": "1 + 1", "returnByValue": True}
LARGE: Final = {"expression": f"'x'.repeat({LARGE_BYTES})", "returnByValue": True}


async def run(bench: Bench) -> None:
    async with Sides() as sides:
        service = await sides.service(max_sessions_per_browser=60)
        await service.create()
        switches = switches_of(service.own_process)
        port = await sides.enter_async_context(bare_chromium(sides.folder / "profile", switches))
        await _round_trips(bench, service, port)
        await _crowd(bench, service, port)
    async with Sides() as sides:
        await _pages(bench, await sides.service(max_sessions_per_browser=60))


async def _round_trips(bench: Bench, service: Running, port: str) -> None:
    urls = {BARE: port, OURS: (await service.create())["connect_url"]}
    async with AsyncExitStack() as stack:
        clients = {name: await stack.enter_async_context(raw(url)) for name, url in urls.items()}
        pages = {name: (await client.page())[1] for name, client in clients.items()}

        async def call(name: str, params: dict[str, Any], _: int) -> float:
            took = await seconds(clients[name].call("Runtime.evaluate", params, pages[name]))
            clients[name].frames.clear()
            return took

        for what, params, rounds, warm_up, goals in (
            ("", ADDITION, CALLS, WARM_UP, (MEDIAN_GOAL, P95_GOAL)),
            (f" of {LARGE_BYTES // 10**6} MB", LARGE, LARGE_ROUNDS, 1, (LARGE_GOAL, None)),
        ):
            took = await bench.alternate(
                f"calls{what}", {name: partial(call, name, params) for name in urls}, rounds, warm_up=warm_up
            )
            name = f"Runtime.evaluate{what}, a websockets client"
            bench.durations(name, took[OURS], BARE, took[BARE], median=goals[0], p95=goals[1])
    blocking = {name: Blocking(url) for name, url in urls.items()}
    try:
        at = {name: client.page() for name, client in blocking.items()}

        async def call_blocking(name: str, number: int) -> float:
            started_at = time.perf_counter()
            blocking[name].call(number + 10, "Runtime.evaluate", ADDITION, at[name])
            return time.perf_counter() - started_at

        took = await bench.alternate(
            "calls, bare sockets", {name: partial(call_blocking, name) for name in urls}, CALLS, warm_up=WARM_UP
        )
    finally:
        for client in blocking.values():
            client.close()
    bench.durations("Runtime.evaluate, bare sockets (the hard case)", took[OURS], BARE, took[BARE])


async def _crowd(bench: Bench, service: Running, port: str) -> None:
    """Calls per second of 50 concurrent clients, five at each of ten pages, on both sides. Then with events: each
    client of the service must get every response and every event of its page exactly once."""
    made = [await service.create() for _ in range(CLIENTS // PER_PAGE)]
    async with AsyncExitStack() as stack:
        direct = [await stack.enter_async_context(raw(port)) for _ in range(CLIENTS)]
        targets = [await direct[0].new_page() for _ in made]
        at_direct = [await client.attach(targets[number // PER_PAGE]) for number, client in enumerate(direct)]
        ours = [await stack.enter_async_context(raw(each["connect_url"])) for each in made for _ in range(PER_PAGE)]
        at_ours = [(await client.page())[1] for client in ours]
        each_calls = QUICK_CALLS if bench.quick else CROWD_CALLS
        measured = {
            BARE: partial(_rate, direct, at_direct, each_calls),
            OURS: partial(_rate, ours, at_ours, each_calls),
        }
        rates = await bench.alternate(f"{CLIENTS} clients", measured, CROWD_ROUNDS, warm_up=1)
        missed = await _missed(ours, at_ours, each_calls)
    for each in made:
        await end(service, each)
    what = f"calls of {CLIENTS} clients at once"
    bench.paired(what, "/s", rates[OURS], BARE, rates[BARE], goal=CROWD_GOAL, at_least=True)
    frames = f"missed of {CLIENTS * each_calls:,} responses and {PER_PAGE} times as many events"
    bench.figure(frames, "frames", missed, goal=0)


async def _rate(clients: list[Raw], pages: list[str], count: int, _: int) -> float:
    """Calls a second of all together."""

    async def calls(client: Raw, page: str) -> None:
        for _ in range(count):
            await client.call("Runtime.evaluate", ADDITION, page)

    took = await seconds(asyncio.gather(*(calls(client, page) for client, page in zip(clients, pages, strict=True))))
    return len(clients) * count / took


async def _missed(clients: list[Raw], pages: list[str], count: int) -> int:
    """The number of responses and events that were missing, duplicated or of another client."""
    await asyncio.gather(*(c.call("Runtime.enable", {}, p) for c, p in zip(clients, pages, strict=True)))

    async def calls(number: int, client: Raw, page: str) -> int:
        names = [f"{number}.{turn}" for turn in range(count)]
        return sum([await client.value(f"(console.log('{name}'), '{name}')", page) != name for name in names])

    wrong = sum(await asyncio.gather(*(calls(n, c, p) for n, (c, p) in enumerate(zip(clients, pages, strict=True)))))
    for number, client in enumerate(clients):
        clients_of_page = range(number - number % PER_PAGE, number - number % PER_PAGE + PER_PAGE)
        expected = Counter(f"{each}.{turn}" for each in clients_of_page for turn in range(count))
        await client.value("0", pages[number])  # earlier events have arrived
        seen = Counter(m["params"]["args"][0]["value"] for m in client.events if "args" in m["params"])
        wrong += sum((expected - seen).values()) + sum((seen - expected).values())
    return wrong


async def _pages(bench: Bench, service: Running) -> None:
    """Creating a page in a browser of 50 sessions: with one auto-attaching client connected, and with one at each."""
    made = [await service.create() for _ in range(CLIENTS)]
    async with raw(made[0]["connect_url"]) as client:
        await client.auto_attach()

        async def alone(_: int) -> list[float]:
            return [await _page_takes(client) for _ in range(PAGES)]

        async def beside(number: int) -> list[float]:
            async with AsyncExitStack() as stack:
                for each in made[1:]:
                    await (await stack.enter_async_context(raw(each["connect_url"]))).auto_attach()
                return await alone(number)

        took = await bench.alternate("new pages", {"alone": alone, "beside": beside}, ROUNDS, warm_up=1)
    each = {name: [page for turn in turns for page in turn] for name, turns in took.items()}
    what = f"a new page in a browser of {CLIENTS} sessions, {CLIENTS} clients"
    bench.durations(what, each["beside"], "one client", each["alone"], median=PAGE_GOAL)


async def _page_takes(client: Raw) -> float:
    """Seconds until a page is made, attached to and resumed; it is closed again."""
    started_at = time.perf_counter()
    target_id = (await client.call("Target.createTarget", {"url": "about:blank"}))["targetId"]
    matches: Callable[[dict[str, Any]], bool] = lambda m: m["params"]["targetInfo"]["targetId"] == target_id  # noqa: E731
    attached = await client.event("Target.attachedToTarget", matches)
    await client.call("Runtime.runIfWaitingForDebugger", {}, attached["params"]["sessionId"])
    took = time.perf_counter() - started_at
    await client.call("Target.closeTarget", {"targetId": target_id})
    return took
