"""Windows that pages open, in every way, with every kind of client: how long they take and whether their options apply.

python scripts/windows.py --rounds 20                                   everything: hours
python scripts/windows.py --rounds 20 --clients python --stalls none    one client alone: minutes

Each row is a client, its context, and the behaviour of a second client. Times: from the click until the client has
received the event of the window and its document has loaded, or until the file is listed as a download.
"""

from __future__ import annotations

import argparse
import asyncio
import statistics
import sys
import tempfile
from collections import Counter
from pathlib import Path
from typing import Final

if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from playwright.async_api import Playwright, async_playwright
from rich.console import Console
from rich.table import Table

from tests.harness.scenarios.windows import (
    CLIENTLESS,
    CLIENTS,
    CONTEXTS,
    PLACES,
    STALLS,
    Cell,
    Result,
    Setting,
    cell,
    run_settings,
    some_cells,
    stalling,
)
from tests.harness.service import Running, serving
from tests.harness.sites.window_site import TRIGGERS, WindowSite, window_site

WORST_GOAL_S: Final = 1.0
MEDIAN_GOAL_S: Final = 0.25
GIVEN_UP_S: Final = 3.0
TABLE_WIDTH: Final = 120
FAILURES: Final = 20
"""Failures of one row after which its other windows are skipped."""


async def measure(options: argparse.Namespace, console: Console) -> bool:
    settings = [
        Setting(client, context, stall)
        for client in options.clients
        for context in (options.contexts if client in CLIENTS else ("own",))
        for stall in options.stalls
    ]
    results: list[Result] = []
    table = Table(
        *(
            "client",
            "context",
            "beside it",
            "n",
            "median ms",
            "worst ms",
            "never or late",
            "late init",
            "wrong options",
        ),
        title=f"Windows; goals: each in {WORST_GOAL_S:g} s, median {1000 * MEDIAN_GOAL_S:g} ms, nothing late or wrong",
    )
    good = True
    with tempfile.TemporaryDirectory(prefix="windows-") as folder, window_site() as site:
        async with serving(Path(folder) / "data", log_level="warning") as service, async_playwright() as playwright:
            for setting in settings:
                cells = [each for _ in range(options.rounds) for each in _cells(site, options, setting)]
                row = await _run(service, site, playwright, setting, cells)
                results += row
                good &= _row(table, setting, row)
                console.print(".", end="")
    console.print()
    console.print(table)
    by_way = Counter((each.cell.trigger, each.cell.place) for each in results if each.wrong(WORST_GOAL_S) is not None)
    for (trigger, place), count in by_way.most_common():
        console.print(f"{trigger}/{place}: {count} failed")
    for text in [text for each in results if (text := each.wrong(WORST_GOAL_S)) is not None][: options.show]:
        console.print(f"[red]{text}[/]")
    return good


async def _run(
    service: Running, site: WindowSite, playwright: Playwright, setting: Setting, cells: list[Cell]
) -> list[Result]:
    """For a session without a CDP client the stalling client is in another session of the browser."""
    if setting.client in CLIENTS:
        return await run_settings(service, site, playwright, [(setting, cells)], patience=GIVEN_UP_S, failures=FAILURES)
    other = await service.create()
    async with stalling(other["connect_url"], setting.stall):
        alone = Setting(setting.client, "own", "none")
        row = await run_settings(service, site, playwright, [(alone, cells)], patience=GIVEN_UP_S, failures=FAILURES)
    await service.http.delete(f"/v1/browser/sessions/{other['session_id']}")
    return row


def _cells(site: WindowSite, options: argparse.Namespace, setting: Setting) -> list[Cell]:
    triggers = [each for each in options.triggers if setting.client != "http" or each != "middle"]
    if options.quick:
        return [each for each in some_cells(site, CONTEXTS.index(setting.context)) if each.trigger in triggers]
    return [cell(site, trigger, place) for place in options.places for trigger in triggers]


def _row(table: Table, setting: Setting, results: list[Result]) -> bool:
    took = [each.took for each in results if each.took is not None]
    late = sum(each.took is None or each.took > WORST_GOAL_S for each in results)
    inits, options = (
        sum(map(bool, each)) for each in zip(*((r.late_init, r.wrong_options) for r in results), strict=True)
    )
    median, worst = (statistics.median(took), max(took)) if took else (float("inf"), float("inf"))
    good = not late and not inits and not options and median <= MEDIAN_GOAL_S
    figures = [str(len(results)), f"{1000 * median:.0f}", f"{1000 * worst:.0f}", str(late), str(inits), str(options)]
    table.add_row(setting.client, setting.context, setting.stall, *figures, style=None if good else "red")
    return good


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    clients = (*CLIENTS, *CLIENTLESS)
    for name, chosen in (
        ("clients", clients),
        ("contexts", CONTEXTS),
        ("stalls", STALLS),
        ("places", PLACES),
        ("triggers", TRIGGERS),
    ):
        parser.add_argument(f"--{name}", nargs="+", choices=chosen, default=list(chosen))
    parser.add_argument("--rounds", type=int, default=20, help="windows per trigger and place in each row")
    parser.add_argument("--quick", action="store_true", help="each trigger with one place only")
    parser.add_argument("--show", type=int, default=20, help="how many failures to print")
    good = asyncio.run(measure(parser.parse_args(), Console(width=TABLE_WIDTH)))
    raise SystemExit(0 if good else 1)


if __name__ == "__main__":
    main()
