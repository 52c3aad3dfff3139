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
import sys
import tempfile
from pathlib import Path
from typing import Final

if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table

from scripts.figures import Promise
from scripts.figures import tell as show_figures
from tests.harness.scenarios.leftovers import COUNTED
from tests.harness.scenarios.soak import FILLING, FLAT_BYTES, FULL_AFTER, GROWTH_BYTES, Report, soak

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


def tell(report: Report, console: Console) -> None:
    """The report for people."""
    show_figures("What was promised", report.took, PROMISES, console)
    console.print(f"{sum(report.lives.values())} lives in {report.seconds:.0f} s: {dict(report.lives)}")
    table = Table("left over", "before", "after", title="What is left over")
    for name in COUNTED:
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
