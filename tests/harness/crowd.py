"""What a promise in seconds means on a machine that others use too: two cores that ten processes want owe nobody a
second. The figures on a quiet machine are those of scripts/faults.py."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Final

LOAD: Final = 3.0
"""Load average (of the last minute) above which two cores are crowded."""
WAITING_PERCENT: Final = 60.0
"""Share of the last ten seconds in which somebody waited for a processor: sooner than the load tells of it."""
FACTOR: Final = 6.0
_PRESSURE: Final = Path("/proc/pressure/cpu")


def crowded() -> bool:
    return os.getloadavg()[0] > LOAD or _waiting_percent() > WAITING_PERCENT


def promised(seconds: float) -> float:
    """`seconds` as they are, or what they are worth in a crowd."""
    return seconds * (FACTOR if crowded() else 1.0)


def _waiting_percent() -> float:
    """0.0 where the system does not say."""
    try:
        some = _PRESSURE.read_text().splitlines()[0]
        return float(some.partition("avg10=")[2].split()[0])
    except (OSError, ValueError, IndexError):
        return 0.0
