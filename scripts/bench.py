"""Benchmarks: ratios between the service and the bare components that it consists of, measured in one run.

python scripts/bench.py status     the status endpoint : a bare FastAPI endpoint; the reaper
python scripts/bench.py create     POST until 201 : raw Playwright's new_context + new_page
python scripts/bench.py connect    POST to the first result of a client : the same with raw Playwright
python scripts/bench.py release    DELETE until 200 : raw Playwright's context.close()
python scripts/bench.py parallel   20 creates at once, and bursts of 8 : raw Playwright
python scripts/bench.py loop       8 clients that create, load and delete : 8 loops that launch a browser each
python scripts/bench.py loads      8 pages of 70 resources at once : a bare Chromium
python scripts/bench.py density    100 sessions : one; memory of a session; page loads by sessions in one browser
python scripts/bench.py gateway    a client through the gateway : one on the debugging port of a bare Chromium
python scripts/bench.py live       viewers: frames, delay, a stalled one
python scripts/bench.py egress     a page, 500 MB and a create with the egress proxy : without it; the loop's lag
python scripts/bench.py all        all of them

Exit code 1 if a goal was missed. docs/performance.md says how to read the figures.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import shlex
import sys
from pathlib import Path
from typing import Final

if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from scripts import bench_egress
from scripts.benches import crowds, density, gateway, lifecycle, live, loads, status
from scripts.benches.report import Bench


async def egress(bench: Bench) -> None:
    if bench.quick:
        vars(bench_egress).update(PAGES=1, LARGE_ROUNDS=1)
    met = await bench_egress.run()
    bench.figure("the goals of its own table are met", "", float(met), goal=1.0, at_least=True)


BENCHES: Final = {
    "status": status.run,
    "create": lifecycle.create,
    "connect": lifecycle.connect,
    "release": lifecycle.release,
    "parallel": crowds.parallel,
    "loop": crowds.loop,
    "loads": loads.run,
    "density": density.run,
    "gateway": gateway.run,
    "live": live.run,
    "egress": egress,
}
AGAINST: Final = ("connect", "parallel", "loop", "loads")
"""Those that another CDP service can take part in."""


async def run(bench: Bench, names: list[str]) -> None:
    for bench.name in names:
        await BENCHES[bench.name](bench)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="+", choices=[*BENCHES, "all"], metavar="name")
    parser.add_argument("--json", type=Path, metavar="FILE", help="also write the figures to this file")
    parser.add_argument("--quick", action="store_true", help="a few rounds, to check that it runs; goals do not count")
    parser.add_argument(
        "--against",
        metavar="URL",
        help=f"another CDP service to compare in {', '.join(AGAINST)}: its WebSocket address, an http address whose "
        "/json/version names it, or that of a WebDriver (chromedriver, a Grid node)",
    )
    options = parser.parse_args()
    names = list(AGAINST if options.against else BENCHES) if "all" in options.names else options.names
    if options.against and (others := set(names) - set(AGAINST)):
        parser.error(f"--against is for {', '.join(AGAINST)}, not {', '.join(sorted(others))}")
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True) as progress:
        bench = Bench(Console(), progress, quick=options.quick, against=options.against)
        asyncio.run(run(bench, names))
    bench.print_table()
    if options.json is not None:
        command = shlex.join(each.partition("?")[0] for each in sys.argv)  # a query may have a token
        options.json.write_text(json.dumps(bench.as_json(command), indent=1) + "\n", encoding="utf-8")
    raise SystemExit(0 if bench.met or options.quick else 1)


if __name__ == "__main__":
    main()
