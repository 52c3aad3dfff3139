"""Nasty values through every parameter of the protocol: no process may die but the caller's own renderer.

python scripts/fuzz_values.py --minutes 20 --seed 1

Starts a service of its own and drives it through its public WebSocket. One client tries every number, string and array
of every method in the browser's own protocol description; a witness, another session of the same principal in the same
browser, has to go on answering. What ends a shared process is tried again command by command, and named.
"""

from __future__ import annotations

import argparse
import asyncio
import sys
import tempfile
from pathlib import Path

if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from rich.console import Console

from tests.harness.scenarios.nasty_values import fuzz


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--minutes", type=float, default=20)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--only", default="", help="methods whose name contains this")
    parser.add_argument("--sample", type=float, default=1.0, help="part of the values to try, 0 to 1")
    told = parser.parse_args()
    console = Console()
    with tempfile.TemporaryDirectory() as folder:
        found = asyncio.run(
            fuzz(Path(folder), told.minutes * 60, told.seed, console, only=told.only, sample=told.sample)
        )
    console.print(
        f"{found.sent} commands of {len(found.methods)} methods, {found.answered} answered, "
        f"{found.pages} own pages replaced, {len(found.faults)} faults"
    )
    return 1 if found.faults else 0


if __name__ == "__main__":
    sys.exit(main())
