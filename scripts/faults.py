"""Faults at length, with their figures; the tests in tests/integration/test_faults_*.py are the short versions.

python scripts/faults.py kills --rounds 100    browsers and renderers killed, browsers and the driver stopped
python scripts/faults.py storm --rounds 200    the server killed while it creates
python scripts/faults.py drain --rounds 50     SIGTERM at random moments under load
python scripts/faults.py silent --rounds 5     fifty viewers and twenty CDP clients that stop reading
"""

from __future__ import annotations

import argparse
import asyncio
import signal
import statistics
import sys
import tempfile
from pathlib import Path

if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from rich.console import Console
from rich.progress import track
from rich.table import Table

from scripts.fault_drain import DRAIN_S, drain_round
from scripts.fault_kills import delete_hung, kill_browsers, kill_renderers, stop_browsers, stop_driver
from scripts.fault_silent import BOUND_BYTES, FRAMES_GOAL, KEPT_BYTES, SLOWER_GOAL_S, silence
from scripts.fault_storm import storm
from tests.service import serving


def figures(title: str, took: dict[str, list[float]], console: Console) -> None:
    table = Table("what", "times", "p50 ms", "p99 ms", "worst ms", title=title)
    for name, seconds in took.items():
        ordered = sorted(seconds)
        shown = [ordered[len(ordered) // 2], ordered[min(len(ordered) - 1, int(len(ordered) * 0.99))], ordered[-1]]
        table.add_row(name, str(len(ordered)), *(f"{1000 * each:.0f}" for each in shown))
    console.print(table)


async def kills(folder: Path, rounds: int, console: Console) -> bool:
    async with serving(folder / "data", max_sessions=10) as service:
        few = max(1, rounds // 10)
        took = await kill_browsers(service, rounds) | await kill_renderers(service, rounds)
        took |= await stop_browsers(service, few) | await stop_driver(service, few) | await delete_hung(service, few)
    figures("From the fault until it is told", took, console)
    killed = [each for name, seconds in took.items() if "killed" in name for each in seconds]
    stopped = [each for name, seconds in took.items() if "replaced" in name for each in seconds]
    return max(killed) <= 1.0 and max(stopped) <= 5.0 and max(took["hung page, deleted"]) <= 1.0


async def storms(folder: Path, rounds: int, console: Console) -> bool:
    seen = await storm(folder, rounds)
    console.print(
        f"{len(seen.acknowledged)} acknowledged, {seen.repeated} repeated; unknown afterwards {seen.unknown}, "
        f"not told as lost {seen.not_lost}, doubled {seen.duplicates}"
    )
    figures("After a kill", {"its browsers are gone": seen.gone_after, "ready": seen.ready_after}, console)
    return not (seen.unknown or seen.not_lost or seen.duplicates) and max(seen.ready_after) <= 3.0


async def drains(folder: Path, rounds: int, console: Console) -> bool:
    seen = [
        await drain_round(folder / str(number), number=signal.SIGTERM)
        for number in track(range(rounds), console=console)
    ]
    took = {"readiness is 503": [each.unready_after for each in seen], "exit": [each.exit_after for each in seen]}
    figures(f"From SIGTERM on, drain time {DRAIN_S:g} s", took, console)
    left = [line for each in seen for line in each.left]
    late = sum(each.late_creates for each in seen)
    console.print(f"Sessions made after the signal: {late}; left over: {left}")
    return not left and not late and max(took["exit"]) <= DRAIN_S + 5


async def silent(folder: Path, rounds: int, console: Console) -> bool:
    async with serving(folder / "data") as service:
        seen = await silence(service, rounds)
    mega = 2**20
    console.print(
        f"Server: {seen.before / mega:.0f} MB before, {seen.held / mega:.0f} MB more at the most (bound "
        f"{BOUND_BYTES / mega:.0f}), {seen.kept / mega:.0f} MB more afterwards (bound {KEPT_BYTES / mega:.0f}); "
        f"left over {seen.left}"
    )
    console.print(
        f"A healthy viewer: {statistics.median(seen.frames_alone):.1f} frames/s alone, "
        f"{statistics.median(seen.frames_beside):.1f} beside them, {seen.frames:.2f} of it (goal {FRAMES_GOAL})"
    )
    trips = {"alone": seen.trip_alone, "beside": seen.trip_beside}
    figures(f"A healthy CDP client's median round trips (goal: {1000 * SLOWER_GOAL_S:g} ms more)", trips, console)
    within = seen.held <= BOUND_BYTES and seen.kept <= KEPT_BYTES and not seen.left
    return within and seen.frames >= FRAMES_GOAL and seen.slower <= SLOWER_GOAL_S


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("fault", choices=["kills", "storm", "drain", "silent"])
    parser.add_argument("--rounds", type=int, default=10)
    options = parser.parse_args()
    run = {"kills": kills, "storm": storms, "drain": drains, "silent": silent}[options.fault]
    console = Console()
    with tempfile.TemporaryDirectory(prefix="faults-") as folder:
        good = asyncio.run(run(Path(folder) / "run", options.rounds, console))
    console.print("[green]All promises kept.[/]" if good else "[red]Not all promises kept.[/]")
    raise SystemExit(0 if good else 1)


if __name__ == "__main__":
    main()
