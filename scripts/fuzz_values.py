"""Sends unusual values in every parameter of the protocol: only the client's own renderer may crash.

python scripts/fuzz_values.py --minutes 20 --seed 1

Starts a service and uses its public WebSocket. One client sends unusual values in every number, string and array of
every method in the browser's protocol description; a second session of the same principal in the same browser must keep
responding. When a shared process crashes, the last commands are repeated one by one to find the one that crashed it.
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
    options = parser.parse_args()
    console = Console()
    with tempfile.TemporaryDirectory() as folder:
        found = asyncio.run(
            fuzz(
                Path(folder),
                options.seed,
                console,
                seconds=options.minutes * 60,
                only=options.only,
                sample=options.sample,
            )
        )
    console.print(
        f"{found.sent} commands of {len(found.methods)} methods, {found.answered} answered, "
        f"{found.pages} own pages replaced, {len(found.faults)} faults"
    )
    return 1 if found.faults else 0


if __name__ == "__main__":
    sys.exit(main())
