"""The benches' rounds and goals, and the section and the plot of docs/performance.md that are made of their figures."""

from __future__ import annotations

import io
from typing import Any
from xml.etree import ElementTree

import pytest
from rich.console import Console
from rich.progress import Progress

from scripts.benches.report import Bench
from scripts.gen_performance_doc import render

SVG = "{http://www.w3.org/2000/svg}"


def a_bench(**options: Any) -> Bench:
    console = Console(file=io.StringIO(), width=200)
    return Bench(console, Progress(console=console, disable=True), **options)


def a_run(bench: Bench) -> dict[str, Any]:
    return bench.as_json("scripts/bench.py all") | {"date": "2026-01-02"}


async def test_sides_take_turns_in_changing_order_and_the_warm_up_is_not_counted() -> None:
    calls: list[str] = []

    async def side(name: str, number: int) -> int:
        calls.append(f"{name}{number}")
        return number

    sides = {"a": lambda number: side("a", number), "b": lambda number: side("b", number)}
    assert await a_bench().alternate("", sides, 2, warm_up=1) == {"a": [1, 2], "b": [1, 2]}
    assert calls == ["b0", "a0", "a1", "b1", "b2", "a2"]


def test_each_quantile_is_divided_by_the_same_of_the_other_side() -> None:
    bench = a_bench()
    bench.durations("POST", [0.1] * 9 + [0.9], "raw", [0.2] * 9 + [0.3], median=0.5, p95=2.0)
    assert [(each.quantile, round(each.value, 3), each.met) for each in bench.figures] == [
        ("median", 0.5, True),
        ("p95", 3.0, False),
    ]
    assert not bench.met


def test_rates_are_compared_round_by_round_and_may_have_a_minimum() -> None:
    bench = a_bench()
    bench.paired("calls", "/s", [10, 40, 90], "raw", [10, 20, 30], goal=2.0, at_least=True)
    [figure] = bench.figures
    assert (figure.value, figure.met) == (2.0, True)


def test_the_page_shows_what_was_missed_and_the_plot_every_point_of_the_curve() -> None:
    bench = a_bench()
    for contexts, ms in ((1, 20.0), (30, 50.0), (60, 90.0)):
        bench.figure(f"goto, {contexts}", "ms", ms, 20.0, "alone", goal=2.0 if contexts <= 30 else None, at=contexts)
    section, plot = render({"performance": a_run(bench), "performance-x": a_run(bench)})
    assert "### This service, 2026-01-02\n" in section
    assert "### With x as the other service, 2026-01-02\n" in section
    assert "|  | goto, 1 |  | 20 ms | alone | 20 ms | 1.00 | ≤ 2 | met |\n" in section
    assert "|  | goto, 30 |  | 50 ms | alone | 20 ms | 2.50 | ≤ 2 | **missed** |\n" in section
    assert plot is not None
    heights = [float(each.attrib["cy"]) for each in ElementTree.fromstring(plot).iter(f"{SVG}circle")]  # noqa: S314
    assert len(heights) == 3
    assert heights == sorted(heights, reverse=True)


def test_a_quick_run_is_not_published() -> None:
    with pytest.raises(SystemExit):
        render({"performance": a_run(a_bench(quick=True))})
