"""What all benches share: rounds that alternate, figures with goals, one table, JSON."""

from __future__ import annotations

import asyncio
import os
import platform
import statistics
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from importlib.metadata import version
from itertools import groupby
from pathlib import Path
from typing import Any, Final, TypeVar

import psutil
from rich import box
from rich.console import Console
from rich.progress import Progress
from rich.table import Table

from browser_sessions.chromium.launch.executable import locate
from browser_sessions.chromium.launch.executable import version as browser_version
from scripts import figures

QUICK_ROUNDS: Final = 1
QUICK_S: Final = 2.0
"""With --quick, which only shows that a bench runs."""
P99_FROM: Final = 100
"""Rounds; with fewer, a p99 is the slowest of them, and is shown only if it has a goal."""

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Figure:
    """`value` is judged: `ours` divided by that of `compared`, if there is such a thing, else `ours`."""

    bench: str
    what: str
    quantile: str
    """Its name, if the figure is one of several."""
    unit: str
    ours: float
    compared: str | None
    base: float | None
    value: float
    goal: float | None
    at_least: bool
    """The goal is a minimum; else a maximum."""
    at: int | None
    """The place on the horizontal axis, of a figure that is a point of a curve."""

    @property
    def met(self) -> bool | None:
        if self.goal is None:
            return None
        return self.value >= self.goal if self.at_least else self.value <= self.goal


class Bench:
    """One run of some benches."""

    def __init__(
        self, console: Console, progress: Progress, *, quick: bool = False, against: str | None = None
    ) -> None:
        self.console = console
        self.quick = quick
        self.against = against
        self.name = ""
        """Of the bench that runs."""
        self.figures: list[Figure] = []
        self._progress = progress
        self._load = os.getloadavg()[0]

    # -- rounds ----------------------------------------------------------------------------------------------------

    def rounds(self, full: int) -> int:
        return min(full, QUICK_ROUNDS) if self.quick else full

    def seconds(self, full: float) -> float:
        return min(full, QUICK_S) if self.quick else full

    def track(self, title: str, items: Sequence[T]) -> Iterator[T]:
        """The items, while a progress bar shows how many are done."""
        return iter(self._progress.track(items, description=f"{self.name}: {title}"))

    async def alternate(
        self, title: str, sides: Mapping[str, Callable[[int], Awaitable[T]]], rounds: int, *, warm_up: int = 3
    ) -> dict[str, list[T]]:
        """The results of each side, which take turns and change their order every round; without those of the warm-up.
        A side is given the number of the round."""
        rounds, warm_up = self.rounds(rounds), 0 if self.quick else warm_up
        results: dict[str, list[T]] = {name: [] for name in sides}
        for number in self.track(title, range(warm_up + rounds)):
            for name in sides if number % 2 else reversed(tuple(sides)):
                results[name].append(await sides[name](number))
        return {name: each[warm_up:] for name, each in results.items()}

    # -- figures ---------------------------------------------------------------------------------------------------

    def figure(
        self,
        what: str,
        unit: str,
        ours: float,
        base: float | None = None,
        compared: str | None = None,
        *,
        value: float | None = None,
        goal: float | None = None,
        at_least: bool = False,
        quantile: str = "",
        at: int | None = None,
    ) -> None:
        if value is None:
            value = ours if base is None else ours / max(base, 1e-9)
        self.figures.append(Figure(self.name, what, quantile, unit, ours, compared, base, value, goal, at_least, at))

    def durations(
        self,
        what: str,
        ours: Sequence[float],
        compared: str,
        base: Sequence[float],
        *,
        median: float | None = None,
        p95: float | None = None,
        p99: float | None = None,
    ) -> None:
        """Seconds: the ratio of each quantile to the same of the other side, and the goals of these."""
        for name, part, goal in (("median", 0.5, median), ("p95", 0.95, p95), ("p99", 0.99, p99)):
            if name == "p99" and goal is None and len(ours) < P99_FROM:
                continue
            self.figure(
                what,
                "ms",
                1000 * _quantile(ours, part),
                1000 * _quantile(base, part),
                compared,
                goal=goal,
                quantile=name,
            )

    def paired(
        self,
        what: str,
        unit: str,
        ours: Sequence[float],
        compared: str,
        base: Sequence[float],
        *,
        goal: float | None = None,
        at_least: bool = False,
    ) -> None:
        """One figure a round: the median of the ratios of the rounds."""
        ratio = statistics.median(a / max(b, 1e-9) for a, b in zip(ours, base, strict=True))
        medians = statistics.median(ours), statistics.median(base)
        self.figure(what, unit, *medians, compared, value=ratio, goal=goal, at_least=at_least)

    # -- the whole -------------------------------------------------------------------------------------------------

    @property
    def met(self) -> bool:
        return all(figure.met is not False for figure in self.figures)

    def as_json(self, command: str) -> dict[str, Any]:
        return {
            "date": datetime.now(UTC).date().isoformat(),
            "command": f"python {command}",
            "quick": self.quick,
            "against": self.against and self.against.partition("?")[0],
            "machine": {
                "processor": _processor(),
                "cores": len(os.sched_getaffinity(0)),
                "memory_gib": round(psutil.virtual_memory().total / 2**30, 1),
                "load_before": round(self._load, 1),
                "python": platform.python_version(),
                "playwright": version("playwright"),
                "browser": asyncio.run(browser_version(locate(None))),
            },
            "figures": [{**asdict(figure), "met": figure.met} for figure in self.figures],
        }

    def print_table(self) -> None:
        """A row for all that was compared at once, a line of it for each quantile."""
        table = Table("figure", "", "measured", "other", "ratio", "goal", "", box=box.SIMPLE)
        for (name, what, compared), group in groupby(self.figures, lambda each: (each.bench, each.what, each.compared)):
            lines = [(*cells(asdict(each)), _RESULTS[each.met]) for each in group]
            text = f"[bold]{name}[/] {what}" + (f" : [dim]{compared}[/]" if compared else "")
            table.add_row(text, *("\n".join(column) for column in zip(*lines, strict=True)))
        self.console.print(table)


_RESULTS: Final = {True: "[green]ok[/]", False: "[red]missed[/]", None: ""}


def cells(figure: Mapping[str, Any]) -> tuple[str, str, str, str, str]:
    """Of a figure's JSON: quantile, measured, that of the other, ratio, goal."""
    unit, goal, base = figure["unit"], figure["goal"], figure["base"]
    bound = "" if goal is None else f"{'≥' if figure['at_least'] else '≤'} {goal:g}{f' {unit}' if base is None else ''}"
    return (
        figure["quantile"],
        f"{_rounded(figure['ours'])} {unit}",
        "" if base is None else f"{_rounded(base)} {unit}",
        "" if base is None else f"{figure['value']:.2f}",
        bound,
    )


def _rounded(number: float) -> str:
    return f"{number:,.0f}" if abs(number) >= 100 else f"{number:.3g}"


def _quantile(seconds: Sequence[float], part: float) -> float:
    return statistics.median(seconds) if part == 0.5 else figures.quantile(seconds, part)


def _processor() -> str:
    for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines():
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    return platform.processor()
