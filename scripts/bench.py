"""Speed, as ratios between two things measured in one run: what we are against the bare parts that we are made of.

python scripts/bench.py status    # our status endpoint : a bare FastAPI endpoint of the same model
python scripts/bench.py create    # our create and DELETE : raw Playwright new_context + new_page and context.close()
python scripts/bench.py gateway   # a client through the gateway : on the debugging port of a bare Chromium
"""

from __future__ import annotations

import asyncio
import importlib
import sys
from pathlib import Path
from typing import Final

from rich.console import Console

BENCHES: Final = {
    "status": "scripts.bench_status",
    "create": "scripts.bench_create",
    "gateway": "scripts.bench_gateway",
    "live": "scripts.bench_live",
}
"""Name to module; each has `async def run() -> bool`: true when its goals are met."""


def main() -> None:
    console = Console()
    names = sys.argv[1:] or list(BENCHES)
    if unknown := [name for name in names if name not in BENCHES]:
        console.print(f"There is no bench {unknown[0]!r}; there are {', '.join(BENCHES)}.")
        raise SystemExit(2)
    met = [asyncio.run(importlib.import_module(BENCHES[name]).run()) for name in names]
    raise SystemExit(0 if all(met) else 1)


if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).resolve().parent.parent))
    main()
