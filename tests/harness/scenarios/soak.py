"""A mix of sessions that are driven, watched, killed, hung, cancelled and expired; counts what is left over."""

from __future__ import annotations

import asyncio
import contextlib
import random
import subprocess
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import psutil
from rich.progress import Progress

from browser_sessions.chromium.launch.executable import locate
from tests.harness.scenarios.leftovers import Left, at_rest
from tests.harness.scenarios.soak_lives import Lives
from tests.harness.service import serving

WORKERS: Final = 6
"""Concurrent lives: enough to interfere with each other, few enough for two cores."""
CAPACITY: Final = 8
"""Browser slots: fewer than the lives sometimes need, so that some wait."""
GROWTH_BYTES: Final = 10 * 2**20
"""Allowed memory growth in the first `FILLING` lives after the warm-up."""
FILLING: Final = 1_000
FULL_AFTER: Final = 2_500
"""Lives after which all bounded histories are full; the longest is the 2,000 ended sessions of `registry.RECENT`."""
FLAT_BYTES: Final = 5 * 2**20
"""Allowed growth from then on: allocator noise."""


@dataclass
class Report:
    before: Left
    after: Left
    lives: Counter[str] = field(default_factory=Counter)
    broken: list[str] = field(default_factory=list)
    took: dict[str, list[float]] = field(default_factory=dict)
    memory: list[int] = field(default_factory=list)
    """The server's RSS in bytes after each life."""
    foreign_alive: bool = True
    seconds: float = 0.0

    @property
    def left(self) -> dict[str, int]:
        return self.after.more_than(self.before)

    @property
    def growth(self) -> int:
        """Bytes, in the first `FILLING` lives or in all when there were fewer."""
        return (self.memory[FILLING - 1] if len(self.memory) > FILLING else self.after.rss) - self.before.rss

    @property
    def growth_when_full(self) -> int:
        """Bytes, from `FULL_AFTER` lives on; 0 when there were fewer."""
        return self.after.rss - self.memory[FULL_AFTER - 1] if len(self.memory) > FULL_AFTER else 0

    @property
    def flat(self) -> bool:
        return self.growth <= GROWTH_BYTES and self.growth_when_full <= FLAT_BYTES

    @property
    def good(self) -> bool:
        return not self.left and not self.broken and self.foreign_alive and self.flat


async def soak(
    folder: Path,
    *,
    cycles: int | None,
    seconds: float | None,
    warm_up: int,
    patient: bool = True,
    show: Progress | None = None,
) -> Report:
    """Runs lives for `cycles` or `seconds`, after `warm_up` lives that are not counted.

    `patient`: also waits for empty browsers to end.
    """
    async with serving(folder / "data", max_sessions=CAPACITY, max_sessions_per_principal="none") as service:
        assert service.process is not None
        lives = Lives(service, victims=3)
        await lives.open()
        bar = show.add_task("warm-up", total=warm_up) if show else None
        with foreign_chromium(folder) as foreign:
            await _live(lives, _Plan(warm_up, None), lambda: show.advance(bar) if show and bar is not None else None)
            await lives.drives()
            await service.http.get("/v1/browser/sessions")  # SQLite opens a file of the reader with its first read
            before = await at_rest(service, service.process, patient=patient)
            report, began = Report(before, before), time.monotonic()
            lives.took.clear()
            if show and bar is not None:
                show.reset(bar, description="lives", total=cycles or seconds)
            server = psutil.Process(service.process.pid)

            def lived() -> None:
                report.memory.append(server.memory_info().rss)
                if show and bar is not None:
                    show.update(bar, completed=sum(report.lives.values()) if cycles else time.monotonic() - began)

            await _live(lives, _Plan(cycles, seconds), lived, report)
            report.seconds = time.monotonic() - began
            await lives.drives()
            report.after = await at_rest(service, service.process, patient=patient, than=before)
            report.foreign_alive = foreign.poll() is None
        report.took = dict(lives.took)
        await lives.close()
        return report


class _Plan:
    """Limits the number or duration of lives."""

    def __init__(self, cycles: int | None, seconds: float | None) -> None:
        self._left = cycles
        self._until = None if seconds is None else time.monotonic() + seconds

    def more(self) -> bool:
        if self._until is not None and time.monotonic() >= self._until:
            return False
        if self._left is not None:
            self._left -= 1
            return self._left >= 0
        return True


async def _live(lives: Lives, plan: _Plan, lived: object, report: Report | None = None) -> None:
    kinds, weights = zip(*lives.mix(), strict=True)

    async def worker() -> None:
        while plan.more():
            life = random.choices(kinds, weights)[0]
            name = getattr(life, "__name__", "life")
            outcomes: list[BaseException | None] = await asyncio.gather(life(), return_exceptions=True)
            if report is not None:
                report.lives[name] += 1
                report.broken += [f"{name}: {type(each).__name__}: {each}" for each in outcomes if each is not None]
            assert callable(lived)
            lived()

    await asyncio.gather(*(worker() for _ in range(WORKERS)))


@contextlib.contextmanager
def foreign_chromium(folder: Path) -> Iterator[subprocess.Popen[bytes]]:
    """A Chromium of another user of the machine, which the service must not touch."""
    command = [
        str(locate(None).executable),
        "--headless",
        "--no-sandbox",
        "--remote-debugging-port=0",
        f"--user-data-dir={folder / 'foreign'}",
        "about:blank",
    ]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        yield process
    finally:
        with contextlib.suppress(psutil.Error):
            for child in psutil.Process(process.pid).children(recursive=True):
                child.kill()
        process.kill()
        process.wait()
