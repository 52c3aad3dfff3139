"""Soak test: sessions are created, driven, watched, killed, hung, cancelled and expired for minutes; then leftovers
are counted.

python scripts/soak.py                     ten minutes
python scripts/soak.py --seconds 60
python scripts/soak.py --cycles 1000       this many lifecycles, however long they take

Exit code 1 if something is left over, a promise was broken, or the server's memory grew: by more than 10 MB in the
first thousand lifecycles, while its histories fill, or by more than 5 MB once they are full.
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

from scripts.figures import Promise, print_durations
from tests.harness.scenarios.leftovers import COUNTED
from tests.harness.scenarios.soak import FILLING, FLAT_BYTES, FULL_AFTER, GROWTH_BYTES, Report, soak

REPORTED: Final = Promise(0.5, 1.0)
PROMISES: Final = {
    "browser killed, reported": REPORTED,
    "renderer killed, reported": REPORTED,
    "hung page, deleted": Promise(1.0, 2.0),
    "hung browser, deleted": Promise(5.0, 5.0),
    "hung browser, reported": Promise(5.0, 5.0),
    "expired after due": Promise(1.0, 1.0),
}
"""Shown, not enforced: six concurrent lifecycles share two cores. scripts/faults.py enforces such limits."""


def print_report(report: Report, console: Console) -> None:
    """Prints the report."""
    print_durations("Durations and promises", report.took, PROMISES, console)
    console.print(f"{sum(report.lives.values())} lifecycles in {report.seconds:.0f} s: {dict(report.lives)}")
    table = Table("left over", "before", "after", title="What is left over")
    for name in COUNTED:
        table.add_row(name, str(getattr(report.before, name)), str(getattr(report.after, name)))
    console.print(table)
    mega = 2**20
    console.print(
        f"Memory of the server: {report.before.rss / mega:.1f} MB after the warm-up, {report.after.rss / mega:.1f} MB "
        f"at the end; {report.growth / mega:+.1f} in the first {FILLING:,} lifecycles (limit "
        f"{GROWTH_BYTES / mega:.0f}), "
        f"{report.growth_when_full / mega:+.1f} after {FULL_AFTER:,} (limit {FLAT_BYTES / mega:.0f})"
    )
    points = [max(1, len(report.memory) * n // 8) for n in range(1, 9)] if report.memory else []
    shown = [f"{report.memory[lives - 1] / mega:.1f} after {lives}" for lives in points]
    console.print(f"During the run, in MB after this many lifecycles: {', '.join(shown)}")
    console.print(f"The foreign Chromium {'is alive' if report.foreign_alive else 'IS DEAD'}.")
    for line in report.broken[:20]:
        console.print(f"[red]broken[/] {line}", markup=True, highlight=False)
    if report.good:
        console.print("[green]Nothing is left over.[/]")
    else:
        memory = "grew" if not report.flat else "did not grow"
        console.print(f"[red]Failed:[/] left over {report.left}, broken {len(report.broken)}, memory {memory}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=None, help="duration; 600 without --cycles")
    parser.add_argument("--cycles", type=int, default=None, help="number of lifecycles")
    parser.add_argument("--warm-up", type=int, default=100, help="lifecycles before anything is counted (default 100)")
    options = parser.parse_args()
    seconds = options.seconds if options.seconds or options.cycles else 600.0
    console = Console()
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with tempfile.TemporaryDirectory(prefix="soak-") as folder:
        with Progress(*columns, console=console) as show:
            report = asyncio.run(
                soak(Path(folder), cycles=options.cycles, seconds=seconds, warm_up=options.warm_up, show=show)
            )
        print_report(report, console)
        if not report.good:
            console.print((Path(folder) / "server.log").read_text()[-2000:], markup=False, highlight=False)
    raise SystemExit(0 if report.good else 1)


if __name__ == "__main__":
    main()
