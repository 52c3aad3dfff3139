"""Benchmarks: ratios between the service and the bare components that it consists of, measured in one run.

python scripts/bench.py status    # the status endpoint : a bare FastAPI endpoint with the same model
python scripts/bench.py create    # create and DELETE : raw Playwright new_context + new_page and context.close()
python scripts/bench.py gateway   # a client through the gateway : one on the debugging port of a bare Chromium
python scripts/bench.py egress    # a page and 500 MB through the egress proxy : the same browser without it
"""

from __future__ import annotations

import asyncio
import importlib
import sys
from pathlib import Path
from typing import Final

from rich.console import Console

BENCHES: Final = {
    "status": "scripts.benches.status",
    "create": "scripts.benches.lifecycle",
    "gateway": "scripts.benches.gateway",
    "live": "scripts.benches.live",
    "egress": "scripts.bench_egress",
}
"""Modules by name; each has `async def run() -> bool`: true if its goals are met."""


def main() -> None:
    console = Console()
    names = sys.argv[1:] or list(BENCHES)
    if unknown := [name for name in names if name not in BENCHES]:
        console.print(f"There is no benchmark {unknown[0]!r}; choose from {', '.join(BENCHES)}.")
        raise SystemExit(2)
    met = [asyncio.run(importlib.import_module(BENCHES[name]).run()) for name in names]
    raise SystemExit(0 if all(met) else 1)


if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).resolve().parent.parent))
    main()
