"""Faults at length, with their figures; the tests in tests/integration/test_faults_*.py are the short versions.

python scripts/faults.py kills --rounds 100    browsers and renderers killed, browsers and the driver stopped
python scripts/faults.py storm --rounds 200    the server killed while it creates
python scripts/faults.py drain --rounds 50     SIGTERM at random moments under load
python scripts/faults.py herd --rounds 3       five hundred creates at a limit of ten, and as many who leave
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
from typing import Final

if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from rich.console import Console
from rich.progress import track

from scripts.fault_drain import DRAIN_S, drain_round
from scripts.fault_herd import HERD, LIMIT, herd
from scripts.fault_kills import delete_hung, kill_browsers, kill_renderers, stop_browsers, stop_driver
from scripts.fault_silent import BOUND_BYTES, FRAMES_GOAL, KEPT_BYTES, SLOWER_GOAL_S, silence
from scripts.fault_storm import storm
from scripts.figures import Promise, tell
from tests.service import serving

KILLED: Final = Promise(0.5, 1.0)
DELETED_HUNG_PAGE: Final = Promise(1.0, 2.0)
FIVE_SECONDS: Final = Promise(5.0, 5.0)
KILLS: Final = {
    "browser killed, in status": KILLED,
    "browser killed, in events": KILLED,
    "browser killed, client closed": KILLED,
    "renderer killed, in pages": KILLED,
    "renderer killed, in events": KILLED,
    "browser stopped, replaced": FIVE_SECONDS,
    "driver stopped, replaced": FIVE_SECONDS,
    "hung page, deleted": DELETED_HUNG_PAGE,
    "hung browser, deleted": FIVE_SECONDS,
}
"""Issue 5, "Must show" 2."""


async def kills(folder: Path, rounds: int, console: Console) -> bool:
    async with serving(folder / "data", max_sessions=10) as service:
        few = max(1, rounds // 10)
        took = await kill_browsers(service, rounds) | await kill_renderers(service, rounds)
        took |= await stop_browsers(service, few) | await stop_driver(service, few) | await delete_hung(service, few)
    return tell("From the fault until it is told", took, KILLS, console)


async def storms(folder: Path, rounds: int, console: Console) -> bool:
    seen = await storm(folder, rounds)
    console.print(
        f"{len(seen.acknowledged)} acknowledged, {seen.repeated} repeated; unknown afterwards {seen.unknown}, "
        f"not told as lost {seen.not_lost}, doubled {seen.duplicates}"
    )
    took = {"its browsers are gone": seen.gone_after, "ready": seen.ready_after}
    kept = tell("After a kill", took, {"ready": Promise(3.0, 3.0)}, console)
    return kept and bool(seen.acknowledged) and not (seen.unknown or seen.not_lost or seen.duplicates)


async def drains(folder: Path, rounds: int, console: Console) -> bool:
    seen = [
        await drain_round(folder / str(number), number=signal.SIGTERM)
        for number in track(range(rounds), console=console)
    ]
    took = {"readiness is 503": [each.unready_after for each in seen], "exit": [each.exit_after for each in seen]}
    promises = {"readiness is 503": Promise(0.1, 0.1), "exit": Promise(DRAIN_S + 5, DRAIN_S + 5)}
    kept = tell(f"From SIGTERM on, drain time {DRAIN_S:g} s", took, promises, console)
    left = [line for each in seen for line in each.left]
    late = sum(each.late_creates for each in seen)
    console.print(f"Sessions made after the signal: {late}; left over: {left}")
    return kept and not left and not late and all(each.exit_code == 0 for each in seen)


async def herds(folder: Path, rounds: int, console: Console) -> bool:
    kept = True
    for number in range(rounds):
        async with serving(folder / str(number) / "data", max_sessions=LIMIT, log_level="info") as service:
            seen = await herd(service, folder / str(number) / "server.log")
        console.print(
            f"{HERD} creates at a limit of {LIMIT}: at the most {seen.most} at once, {seen.served} served, other "
            f"answers {seen.other}; of {HERD} who left, left over {seen.left}"
        )
        took = {
            "by the server's log": seen.refusals,
            "as the callers saw it": seen.told,
            "processor time of the server until then": seen.ran,
        }
        took = {name: seconds for name, seconds in took.items() if seconds}
        promises = dict.fromkeys(("by the server's log", "as the callers saw it"), Promise(0.1, 0.5))
        kept &= tell("From a request to its refusal", took, promises, console)
        kept &= seen.most <= LIMIT <= seen.served and not seen.left and not seen.other
    return kept


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
    tell(f"A healthy CDP client's median round trips (goal: {1000 * SLOWER_GOAL_S:g} ms more)", trips, {}, console)
    within = seen.held <= BOUND_BYTES and seen.kept <= KEPT_BYTES and not seen.left
    return within and seen.frames >= FRAMES_GOAL and seen.slower <= SLOWER_GOAL_S


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("fault", choices=["kills", "storm", "drain", "herd", "silent"])
    parser.add_argument("--rounds", type=int, default=10)
    options = parser.parse_args()
    run = {"kills": kills, "storm": storms, "drain": drains, "herd": herds, "silent": silent}[options.fault]
    console = Console()
    with tempfile.TemporaryDirectory(prefix="faults-") as folder:
        good = asyncio.run(run(Path(folder) / "run", options.rounds, console))
    console.print("[green]All promises kept.[/]" if good else "[red]Not all promises kept.[/]")
    raise SystemExit(0 if good else 1)


if __name__ == "__main__":
    main()
