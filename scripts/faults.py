"""Long fault tests that print their measurements; the tests in tests/e2e/faults/ are the short versions.

python scripts/faults.py kills --rounds 100    browsers and renderers killed, browsers and the driver stopped
python scripts/faults.py storm --rounds 200    the server killed while it creates sessions
python scripts/faults.py drain --rounds 50     SIGTERM at random moments under load
python scripts/faults.py burst --rounds 3      500 creates at a limit of ten, and 500 callers that disconnect
python scripts/faults.py silent --rounds 5     50 viewers and 20 CDP clients that stop reading
python scripts/faults.py pressure --rounds 2   clients that flood and do not read; many pages that load at once
python scripts/faults.py heads --rounds 3      150 MB of a header, a URL or lines; connections that say nothing
python scripts/faults.py floods --rounds 3     small messages, as fast as they are read
python scripts/faults.py expiry --rounds 3     200 sessions that reach their limits
python scripts/faults.py contexts --rounds 500 contexts that clients create and close while the CPU is busy
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

from scripts.fault_pressure import (
    FLOOD_GOAL,
    HELD_GOAL_BYTES,
    LAG_GOAL,
    LAG_S,
    PAGES,
    PULL_GOAL,
    RESOURCES,
    clients_without_reading,
    lag_while_loading,
    middle,
    pull,
    slower,
)
from scripts.figures import Promise, print_durations
from tests.harness.scenarios.burst import CALLERS, LIMIT, burst
from tests.harness.scenarios.contexts import contexts_come_and_go
from tests.harness.scenarios.drain import DRAIN_S, drain_round
from tests.harness.scenarios.expiry import expiries
from tests.harness.scenarios.floods import ATTACKS, flooded
from tests.harness.scenarios.heads import ATTACK_S, BYTES, LATENCY_GOAL_S, SILENT, SLOW, heads, promised
from tests.harness.scenarios.heads import HELD_GOAL_BYTES as HEADS_GOAL_BYTES
from tests.harness.scenarios.kills import delete_hung, kill_browsers, kill_renderers, stop_browsers, stop_driver
from tests.harness.scenarios.silent import BOUND_BYTES, FRAMES_GOAL, KEPT_BYTES, SLOWER_GOAL_S, silence
from tests.harness.scenarios.storm import storm
from tests.harness.service import serving
from tests.harness.sites.client_site import client_site

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
"""Seconds within which each fault must be reported or repaired."""
FLOODED_S: Final = 2.0
"""The longest a request may take during a flood."""
PROBES: Final = 60
"""Requests beside each flood."""


async def kills(folder: Path, rounds: int, console: Console) -> bool:
    async with serving(folder / "data", max_sessions=10) as service:
        few = max(1, rounds // 10)
        took = await kill_browsers(service, rounds) | await kill_renderers(service, rounds)
        took |= await stop_browsers(service, few) | await stop_driver(service, few) | await delete_hung(service, few)
    return print_durations("From the fault until it is reported or repaired", took, KILLS, console)


async def storms(folder: Path, rounds: int, console: Console) -> bool:
    seen = await storm(folder, rounds)
    console.print(
        f"{len(seen.acknowledged)} acknowledged, {seen.repeated} repeated; unknown afterwards {seen.unknown}, "
        f"not reported as lost {seen.not_lost}, duplicated {seen.duplicates}"
    )
    took = {"its browsers are gone": seen.gone_after, "ready": seen.ready_after}
    kept = print_durations("After a kill", took, {"ready": Promise(3.0, 3.0)}, console)
    return kept and bool(seen.acknowledged) and not (seen.unknown or seen.not_lost or seen.duplicates)


async def drains(folder: Path, rounds: int, console: Console) -> bool:
    seen = [
        await drain_round(folder / str(number), number=signal.SIGTERM)
        for number in track(range(rounds), console=console)
    ]
    took = {"readiness is 503": [each.unready_after for each in seen], "exit": [each.exit_after for each in seen]}
    promises = {"readiness is 503": Promise(0.1, 0.1), "exit": Promise(DRAIN_S + 5, DRAIN_S + 5)}
    kept = print_durations(f"From SIGTERM on, drain time {DRAIN_S:g} s", took, promises, console)
    left = [line for each in seen for line in each.left]
    late = sum(each.late_creates for each in seen)
    console.print(f"Sessions requested and made after that: {late}; left over: {left}")
    return kept and not left and not late and all(each.exit_code == 0 for each in seen)


async def bursts(folder: Path, rounds: int, console: Console) -> bool:
    kept = True
    for number in range(rounds):
        async with serving(folder / str(number) / "data", max_sessions=LIMIT, log_level="info") as service:
            seen = await burst(service, folder / str(number) / "server.log")
        console.print(
            f"{CALLERS} creates at a limit of {LIMIT}: at the most {seen.most} at once, {seen.served} served, other "
            f"responses {seen.other}; of {CALLERS} callers that disconnected, left over {seen.left}"
        )
        took = {
            "by the server's log": seen.refusals,
            "as the callers saw it": seen.latencies,
            "processor time of the server until then": seen.ran,
        }
        took = {name: seconds for name, seconds in took.items() if seconds}
        promises = dict.fromkeys(("by the server's log", "as the callers saw it"), Promise(0.1, 0.5))
        kept &= print_durations("From a request to its refusal", took, promises, console)
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
    print_durations(
        f"A healthy CDP client's median round trips (goal: {1000 * SLOWER_GOAL_S:g} ms more)", trips, {}, console
    )
    within = seen.held <= BOUND_BYTES and seen.kept <= KEPT_BYTES and not seen.left
    return within and seen.frames >= FRAMES_GOAL and seen.slower <= SLOWER_GOAL_S


async def pressure(folder: Path, rounds: int, console: Console) -> bool:
    async with serving(folder / "data", log_level="warning") as service:
        seen = await clients_without_reading(service, rounds)
        bare, ours = await pull(service, folder, 2 * rounds)  # a p95 of few samples is one stall
        within, loads = await lag_while_loading(service, 5 * rounds)
    console.print(f"Another session's client alone: {middle(seen.alone)}")
    kept = True
    for kind, trips in seen.beside.items():
        ratio, held, codes = slower(seen.alone, trips), seen.held[kind], seen.codes[kind]
        good = (
            ratio <= FLOOD_GOAL
            and held <= HELD_GOAL_BYTES
            and set(codes) <= {1013, 1006 if kind == "responses" else 1013}
        )
        console.print(
            f"Beside a client that does not read ({kind}): {middle(trips)}, {ratio:.2f} of alone (goal {FLOOD_GOAL}); "
            f"memory {held / 2**20:.0f} MB (goal {HELD_GOAL_BYTES / 2**20:.0f}), closed with {codes} (goal 1013)",
            style=None if good else "red",
        )
        kept &= good
    ratio = slower(bare, ours, 0.95)
    console.print(
        f"Beside a client that requests 20 MB responses: on a bare port {middle(bare)}; on the service {middle(ours)}; "
        f"{ratio:.2f} of its p95 (goal {PULL_GOAL})",
        style=None if ratio <= PULL_GOAL else "red",
    )
    console.print(
        f"{PAGES} pages of {RESOURCES} resources at once, {statistics.median(loads):.1f} s: {100 * within:.1f} % of "
        f"the loop's samples within {1000 * LAG_S:.0f} ms (goal {100 * LAG_GOAL:.0f} %)",
        style=None if within >= LAG_GOAL else "red",
    )
    return kept and ratio <= PULL_GOAL and within >= LAG_GOAL


async def contexts(folder: Path, rounds: int, console: Console) -> bool:
    with client_site() as site:
        async with serving(folder / "data", log_level="warning") as service:
            seen = await contexts_come_and_go(service, await service.create(), site.url, rounds=rounds)
    print_durations("new_context, new_page, goto, close", {"one round": seen.rounds_s}, {}, console)
    console.print(
        f"failed: {len(seen.errors)} {seen.errors[:3]}; counted wrong (counted, open): {seen.counted_wrong[:5]}"
    )
    return not seen.errors and not seen.counted_wrong


async def endless_heads(folder: Path, rounds: int, console: Console) -> bool:
    async with serving(folder / "data", log_level="warning") as service:
        seen = await heads(service, folder, rounds)
    console.print(
        f"Heads of {BYTES / 2**20:.0f} MB for {ATTACK_S:g} s each, then {SILENT} connections that say nothing, and "
        f"{SLOW} slow ones; {rounds} times"
    )
    kept = True
    for name, ended in seen.ended.items():
        goal = promised(name)
        good = bool(ended) and set(ended) <= goal and seen.held[name] <= HEADS_GOAL_BYTES
        console.print(
            f"{name}: ended by {dict(ended)} (goal {' or '.join(sorted(goal))}); memory "
            f"{seen.held[name] / 2**20:.0f} MB more than at the beginning (goal {HEADS_GOAL_BYTES / 2**20:.0f})",
            style=None if good else "red",
        )
        kept &= good
    promises = dict.fromkeys(seen.latencies, Promise(LATENCY_GOAL_S, 1.0))
    return print_durations("/healthz meanwhile, from another process", seen.latencies, promises, console) and kept


async def expiry(folder: Path, rounds: int, console: Console) -> bool:
    took: dict[str, list[float]] = {"until its recorded end": [], "until it is listed as such, the last": []}
    kept = True
    async with serving(folder / "data", max_sessions=200, max_sessions_per_browser=50) as service:
        for _ in range(rounds):
            seen = await expiries(service, 200, first_s=20.0)
            took["until its recorded end"] += seen.late
            took["until it is listed as such, the last"].append(seen.listed_late)
            console.print(f"early: {seen.early:.2f} s; wrong: {seen.wrong}")
            kept &= not seen.early and min(seen.late) >= 0 and not seen.wrong
    return print_durations("From a session's deadline", took, dict.fromkeys(took, Promise(1.0, 1.0)), console) and kept


async def floods(folder: Path, rounds: int, console: Console) -> bool:
    took: dict[str, list[float]] = {attack.__name__: [] for attack in ATTACKS}
    async with serving(folder / "data", log_level="warning") as service:
        for attack in ATTACKS * rounds:
            took[attack.__name__] += (await flooded(service, folder, attack, probes=PROBES)).latencies
    promises = dict.fromkeys(took, Promise(FLOODED_S, FLOODED_S))
    return print_durations("/healthz during a flood, from another process", took, promises, console)


FAULTS: Final = {
    "kills": kills,
    "storm": storms,
    "drain": drains,
    "burst": bursts,
    "silent": silent,
    "pressure": pressure,
    "heads": endless_heads,
    "floods": floods,
    "expiry": expiry,
    "contexts": contexts,
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("fault", choices=list(FAULTS))
    parser.add_argument("--rounds", type=int, default=10)
    options = parser.parse_args()
    run = FAULTS[options.fault]
    console = Console()
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # like Ctrl-C: the script's child processes end first
    with tempfile.TemporaryDirectory(prefix="faults-") as folder:
        good = asyncio.run(run(Path(folder) / "run", options.rounds, console))
    console.print("[green]All promises kept.[/]" if good else "[red]Not all promises kept.[/]")
    raise SystemExit(0 if good else 1)


if __name__ == "__main__":
    main()
