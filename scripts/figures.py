"""Tables of durations, with a check against promised limits."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from rich.console import Console
from rich.table import Table


@dataclass(frozen=True, slots=True)
class Promise:
    """Limits in seconds: for 99 of 100 cases, and for all."""

    p99: float
    worst: float


def quantile(seconds: Sequence[float], part: float) -> float:
    """The quantile `part` by nearest rank."""
    return sorted(seconds)[max(0, math.ceil(len(seconds) * part) - 1)]


def print_durations(
    title: str, took: Mapping[str, Sequence[float]], promises: Mapping[str, Promise], console: Console
) -> bool:
    """Prints a table, with broken promises in red. True if all were kept; a promise without a measurement was not."""
    table = Table("what", "times", "p50 ms", "p99 ms", "worst ms", "promised (p99, worst)", title=title)
    kept = True
    for name, seconds in sorted(took.items()):
        figures = [quantile(seconds, 0.5), quantile(seconds, 0.99), max(seconds)]
        promise = promises.get(name)
        within = promise is None or (figures[1] <= promise.p99 and figures[2] <= promise.worst)
        kept = kept and within
        limits = "" if promise is None else f"{1000 * promise.p99:.0f}, {1000 * promise.worst:.0f}"
        table.add_row(
            name,
            str(len(seconds)),
            *(f"{1000 * each:.0f}" for each in figures),
            limits,
            style=None if within else "red",
        )
    console.print(table)
    missing = sorted(promises.keys() - took.keys())
    if missing:
        console.print(f"[red]not measured:[/] {', '.join(missing)}")
    return kept and not missing
