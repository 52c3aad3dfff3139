"""What the egress proxy costs a service: its creates, and the lag of its event loop while all sessions load."""

from __future__ import annotations

import asyncio
import statistics
import time
from contextlib import AsyncExitStack
from itertools import pairwise
from pathlib import Path
from typing import Final

from rich.console import Console

from tests.harness.service import Running, serving

CREATE_GOAL_S: Final = 0.002
"""Median of a create with the proxy, more than without it."""
LAG_GOAL_S: Final = 0.025
"""99 of 100 samples of the loop's lag."""
ROUNDS: Final = 40
PAUSE_S: Final = 0.3
"""Between two measurements, so that preparation and cleanup after the first do not slow the second."""
WARM_UP: Final = 5
SESSIONS: Final = 40
CROWD_S: Final = 60.0
"""600 samples: the service takes ten a second."""
_LAG: Final = 'browser_sessions_loop_lag_seconds_bucket{le="'


async def creates(folder: Path) -> bool:
    times: tuple[list[float], list[float]] = ([], [])
    async with AsyncExitStack() as stack:
        services = [
            await stack.enter_async_context(serving(folder / str(egress), log_level="warning", egress=egress))
            for egress in (False, True)
        ]
        for number in range(ROUNDS + WARM_UP):
            for service, taken in zip(services, times, strict=True):
                taken.append((await create_and_end(service, number))[0])
    without, within = (statistics.median(each[WARM_UP:]) for each in times)
    return _told(
        f"A create: {1000 * without:.1f} ms without the proxy, {1000 * within:.1f} ms with it, "
        f"{1000 * (within - without):+.1f} ms (≤ {1000 * CREATE_GOAL_S:g})",
        met=within - without <= CREATE_GOAL_S,
    )


async def crowd(folder: Path, url: str) -> bool:
    """Each session loads `url` again and again."""
    options = {"log_level": "warning", "max_sessions": SESSIONS + 2}
    async with serving(folder, **options) as service:
        created = [await service.create() for _ in range(SESSIONS)]
        paths = [
            f"/v1/browser/sessions/{each['session_id']}/pages/{await service.first_page(each['session_id'])}/navigate"
            for each in created
        ]
        await asyncio.gather(*(_load(service, path, url) for path in paths))
        assert service.process is not None
        scheduled = Path(f"/proc/{service.process.pid}/schedstat")
        before, ran, began = await _lag(service), _ran_and_waited(scheduled), time.monotonic()
        loads = await asyncio.gather(*(_load(service, path, url, began + CROWD_S) for path in paths))
        after, seconds = await _lag(service), time.monotonic() - began
        shares = [(now - then) / seconds for now, then in zip(_ran_and_waited(scheduled), ran, strict=True)]
    samples = {limit: count - before[limit] for limit, count in after.items()}
    p99 = _quantile(samples, 0.99)
    return _told(
        f"{SESSIONS} sessions that load at once, {sum(loads)} pages in {seconds:.0f} s: the loop's lag p50 "
        f"{1000 * _quantile(samples, 0.5):.1f} ms, p99 {1000 * p99:.1f} ms (≤ {1000 * LAG_GOAL_S:g}), of "
        f"{samples[float('inf')]:.0f} samples. Its thread ran {shares[0]:.0%} of the time and waited {shares[1]:.0%} "
        "for a processor: browsers, origin and this script had the same ones.",
        met=p99 <= LAG_GOAL_S,
    )


async def _load(service: Running, path: str, url: str, end: float = 0.0) -> int:
    """Once, or until `end`. Returns how many pages were loaded."""
    loaded = 0
    while not loaded or time.monotonic() < end:
        response = await service.http.post(path, json={"url": url, "timeout_seconds": 60})
        assert response.status_code == 200, response.text
        loaded += 1
    return loaded


def _ran_and_waited(scheduled: Path) -> list[float]:
    """Seconds of a process's first thread, which has the loop: on a processor, and ready but without one."""
    return [int(nanoseconds) / 1e9 for nanoseconds in scheduled.read_text().split()[:2]]


async def _lag(service: Running) -> dict[float, float]:
    """Samples so far, by the upper limit of their histogram's bucket, cumulative."""
    lines = (await service.http.get("/metrics")).text.splitlines()
    counts = (line.removeprefix(_LAG).split('"} ') for line in lines if line.startswith(_LAG))
    return {float(limit): float(count) for limit, count in counts}


def _quantile(samples: dict[float, float], part: float) -> float:
    """As Prometheus has it: linear within a bucket."""
    wanted = part * samples[float("inf")]
    for (low, below), (high, count) in pairwise([(0.0, 0.0), *sorted(samples.items())]):
        if count >= wanted:
            return low if high == float("inf") else low + (high - low) * (wanted - below) / ((count - below) or 1)
    raise AssertionError("the last bucket has all samples")


def _told(line: str, *, met: bool) -> bool:
    Console().print(f"{line} {'met' if met else 'missed'}", style=None if met else "red", highlight=False)
    return met


async def create_and_end(service: Running, number: int) -> tuple[float, float]:
    """Seconds to create and to end. Each session has a viewport and a user agent of its own."""
    await asyncio.sleep(PAUSE_S)
    started = time.perf_counter()
    created = await service.create(viewport_width=1000 + number, user_agent=f"bench-{number}")
    made = time.perf_counter()
    (await service.http.delete(f"/v1/browser/sessions/{created['session_id']}")).raise_for_status()
    return made - started, time.perf_counter() - made
