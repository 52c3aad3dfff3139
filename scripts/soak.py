"""A mixed life of sessions for minutes: made, driven, watched, killed, hung, cancelled, expired. What is left of it?

python scripts/soak.py                     ten minutes
python scripts/soak.py --seconds 60
python scripts/soak.py --cycles 1000       so many lives, however long they take

Exit code 1 when something is left over, a promise was broken, or the server's memory grew: by more than 10 MB in the
first thousand lives, while it fills its histories, or by more than 5 MB once they are full.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import random
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

import psutil
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table

from browser_sessions.chromium.launch.executable import locate
from scripts.figures import Promise
from scripts.figures import tell as show_figures
from scripts.soak_left import Left, at_rest
from scripts.soak_lives import Lives
from tests.harness.service import serving

WORKERS: Final = 6
"""Lives at once: enough to meet each other, few enough for two cores."""
CAPACITY: Final = 8
"""Places: fewer than the lives sometimes want, so that some wait."""
GROWTH_BYTES: Final = 10 * 2**20
"""What the server's memory may grow in the first `FILLING` lives after its warm-up."""
FILLING: Final = 1_000
FULL_AFTER: Final = 2_500
"""Lives after which every history is full: the longest are the 2,000 ended sessions of `registry.RECENT`."""
FLAT_BYTES: Final = 5 * 2**20
"""What it may grow from then on, however long: what an allocator does, and nothing that is kept."""
TOLD: Final = Promise(0.5, 1.0)
PROMISES: Final = {
    "browser killed, told": TOLD,
    "renderer killed, told": TOLD,
    "hung page, deleted": Promise(1.0, 2.0),
    "hung browser, deleted": Promise(5.0, 5.0),
    "hung browser, told": Promise(5.0, 5.0),
    "expired after due": Promise(1.0, 1.0),
}
"""Shown beside the figures, not enforced: six lives at once share two cores. scripts/faults.py holds them to it."""


@dataclass
class Report:
    before: Left
    after: Left
    lives: Counter[str] = field(default_factory=Counter)
    broken: list[str] = field(default_factory=list)
    took: dict[str, list[float]] = field(default_factory=dict)
    memory: list[int] = field(default_factory=list)
    """RSS of the server in bytes, after each life."""
    foreigner_lives: bool = True
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
        return not self.left and not self.broken and self.foreigner_lives and self.flat


async def soak(
    folder: Path,
    *,
    cycles: int | None,
    seconds: float | None,
    warm_up: int,
    patient: bool = True,
    show: Progress | None = None,
) -> Report:
    """Lives until so many `cycles` or `seconds` are over, after `warm_up` lives that are not counted.

    `patient`: rest is when empty browsers have ended too.
    """
    async with serving(folder / "data", max_sessions=CAPACITY, max_sessions_per_principal="none") as service:
        assert service.process is not None
        lives = Lives(service, victims=3)
        await lives.open()
        bar = show.add_task("warm-up", total=warm_up) if show else None
        with foreign_chromium(folder) as foreigner:
            await _live(lives, _Plan(warm_up, None), lambda: show.advance(bar) if show and bar is not None else None)
            await lives.drives()
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
            report.foreigner_lives = foreigner.poll() is None
        report.took = dict(lives.took)
        await lives.close()
        return report


class _Plan:
    """Which life comes next, until there are enough."""

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
    """Somebody else's Chromium on the same machine: nothing of ours may touch it."""
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


def tell(report: Report, console: Console) -> None:
    """The report for people."""
    show_figures("What was promised", report.took, PROMISES, console)
    console.print(f"{sum(report.lives.values())} lives in {report.seconds:.0f} s: {dict(report.lives)}")
    table = Table("left over", "before", "after", title="What is left over")
    for name in Left.__dataclass_fields__:
        if name != "rss":
            table.add_row(name, str(getattr(report.before, name)), str(getattr(report.after, name)))
    console.print(table)
    mega = 2**20
    console.print(
        f"Memory of the server: {report.before.rss / mega:.1f} MB after the warm-up, {report.after.rss / mega:.1f} MB "
        f"at the end; {report.growth / mega:+.1f} in the first {FILLING:,} lives (of {GROWTH_BYTES / mega:.0f}), "
        f"{report.growth_when_full / mega:+.1f} after {FULL_AFTER:,} (of {FLAT_BYTES / mega:.0f})"
    )
    on_the_way = [max(1, len(report.memory) * n // 8) for n in range(1, 9)] if report.memory else []
    shown = [f"{report.memory[lives - 1] / mega:.1f} after {lives}" for lives in on_the_way]
    console.print(f"On the way, in MB after so many lives: {', '.join(shown)}")
    console.print(f"The foreign Chromium {'lives' if report.foreigner_lives else 'IS DEAD'}.")
    for line in report.broken[:20]:
        console.print(f"[red]broken[/] {line}", markup=True, highlight=False)
    if report.good:
        console.print("[green]Nothing is left over.[/]")
    else:
        memory = "did not stay flat" if not report.flat else "is well"
        console.print(f"[red]Not well:[/] left over {report.left}, broken {len(report.broken)}, memory {memory}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=None, help="how long; 600 when --cycles is not given")
    parser.add_argument("--cycles", type=int, default=None, help="how many lives")
    parser.add_argument("--warm-up", type=int, default=100, help="lives before anything is counted (default 100)")
    options = parser.parse_args()
    seconds = options.seconds if options.seconds or options.cycles else 600.0
    console = Console()
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with tempfile.TemporaryDirectory(prefix="soak-") as folder:
        with Progress(*columns, console=console) as show:
            report = asyncio.run(
                soak(Path(folder), cycles=options.cycles, seconds=seconds, warm_up=options.warm_up, show=show)
            )
        tell(report, console)
        if not report.good:
            console.print((Path(folder) / "server.log").read_text()[-2000:], markup=False, highlight=False)
    raise SystemExit(0 if report.good else 1)


if __name__ == "__main__":
    main()
