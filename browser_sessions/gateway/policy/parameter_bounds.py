"""Values that end or hang a process which other sessions share: what a parameter may be at most. A table, and one check
for all of it. Pure.

Found by scripts/fuzz_values.py on headless shell 156. A renderer that dies of its own client's values is that client's
affair and has no row here.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from math import isfinite
from typing import Any, Final

from browser_sessions.domain.limits import MAX_SIDE

MAX_QUOTA_BYTES: Final = 2**60
"""Chromium 156 ends when a quota does not fit 63 bits; an exabyte is enough for everybody."""
MAX_DURABLE_BYTES: Final = 100 * 2**20
"""Response bodies kept by the network process, which all sessions of a browser share."""
MIN_PAPER_INCHES, MAX_PAPER_INCHES = 0.001, 10_000.0
"""Paper that is a fraction of a point wide ends the browser. PDF readers stop at 200 inches; a long page printed on one
sheet was seen to need a thousand."""
MAX_TAPS: Final = 1000
"""Of one gesture. Chromium makes them all beforehand: a thousand million stop the browser for half a minute."""
MAX_INT: Final = 2**31 - 1


@dataclass(frozen=True, slots=True)
class Range:
    """A number, both ends included."""

    low: float
    high: float
    unit: str = ""

    def refused(self, value: object) -> str | None:
        """What it must be, when it is not."""
        fits = isinstance(value, int | float) and not isinstance(value, bool) and isfinite(value)
        if fits and self.low <= value <= self.high:  # type: ignore[operator]
            return None
        return f"must be a number from {self.low:g} to {self.high:.10g} {self.unit}".rstrip()


@dataclass(frozen=True, slots=True)
class OneOf:
    """One of some strings."""

    names: tuple[str, ...]

    def refused(self, value: object) -> str | None:
        """What it must be, when it is not."""
        return None if value in self.names else f"must be one of {', '.join(self.names)}"


@dataclass(frozen=True, slots=True)
class NotEmpty:
    """A list with something in it; it may not be left out."""

    instead: str
    """What to do where nothing is meant."""

    def refused(self, value: object) -> str | None:
        """What it must be, when it is not."""
        return None if isinstance(value, list) and value else f"must name one; {self.instead}"


Bound = Range | OneOf | NotEmpty

_PAPER: Final = Range(MIN_PAPER_INCHES, MAX_PAPER_INCHES, "inches")
_MARGIN: Final = Range(0, MAX_PAPER_INCHES, "inches")
_POSTURE: Final = OneOf(("continuous", "folded"))
_KEPT: Final = Range(0, MAX_DURABLE_BYTES, "bytes")

_SIDE: Final = Range(0, MAX_SIDE, "pixels")
"""By sides, since one command may name one side and the next the other: a screencast of 65536 by 65536 ended the GPU
process."""

BOUNDS: Final[Mapping[str, Mapping[str, Bound]]] = {
    "Browser.setContentsSize": {"width": _SIDE, "height": _SIDE},
    "Browser.setWindowBounds": {"bounds.width": _SIDE, "bounds.height": _SIDE},
    "Target.createTarget": {"width": _SIDE, "height": _SIDE},
    "Page.printToPDF": {
        "paperWidth": _PAPER,
        "paperHeight": _PAPER,
        "marginTop": _MARGIN,
        "marginBottom": _MARGIN,
        "marginLeft": _MARGIN,
        "marginRight": _MARGIN,
        "scale": Range(0.1, 2),  # as Chromium itself says
    },
    "Page.setDeviceMetricsOverride": {"devicePosture.type": _POSTURE},
    "Emulation.setDeviceMetricsOverride": {"devicePosture.type": _POSTURE},
    "Emulation.setDisplayFeaturesOverride": {
        "features": NotEmpty("use Emulation.clearDisplayFeaturesOverride to take it away")
    },
    "Input.imeSetComposition": {"replacementStart": Range(0, MAX_INT), "replacementEnd": Range(0, MAX_INT)},
    "Input.synthesizeTapGesture": {"tapCount": Range(0, MAX_TAPS)},
    "Network.configureDurableMessages": {"maxTotalBufferSize": _KEPT, "maxResourceBufferSize": _KEPT},
    "Storage.overrideQuotaForOrigin": {"quotaSize": Range(0, MAX_QUOTA_BYTES, "bytes")},
}
"""Method: parameter (`a.b`: field b of the object a; `a[].b`: of each object in the list a): what it may be."""


def out_of_bounds(method: str, params: Mapping[str, Any]) -> str | None:
    """Why the parameters of a method are refused; None when they are not. What is left out or null is not looked at,
    but by `NotEmpty`; what has another shape Chromium refuses itself."""
    for path, bound in BOUNDS.get(method, {}).items():
        found = list(_values(params, path))
        if isinstance(bound, NotEmpty) and not found:
            return f"{path}: {bound.refused(None)}"
        for value in found:
            if (text := bound.refused(value)) is not None:
                return f"{path}: {text}"
    return None


def _values(params: Mapping[str, Any], path: str) -> Iterator[Any]:
    """What stands at a path, null left out."""
    name, _, rest = path.partition(".")
    value = params.get(name.removesuffix("[]"))
    if value is None:
        return
    if not rest:
        yield value
        return
    for each in value if name.endswith("[]") and isinstance(value, list) else [value]:
        if isinstance(each, dict):
            yield from _values(each, rest)
