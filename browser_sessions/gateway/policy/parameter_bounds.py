"""Bounds for parameters whose values crash or hang a process that sessions share, this one included.

Found by scripts/fuzz_values.py on headless shell 156. Values that only crash the client's own renderer are allowed.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final

from browser_sessions.domain.limits import MAX_COOKIES, MAX_SIDE

MAX_QUOTA_BYTES: Final = 2**60
"""An exabyte. Chromium 156 crashes on a quota of more than 63 bits."""
MAX_DURABLE_BYTES: Final = 100 * 2**20
"""Response bodies kept by the network process, which all sessions of a browser share."""
MIN_PAPER_INCHES, MAX_PAPER_INCHES = 0.001, 10_000.0
"""Paper that is a fraction of a point wide crashes the browser. PDF readers stop at 200 inches; a long page printed on
one sheet needed a thousand."""
MAX_TAPS: Final = 1000
"""Taps of one gesture. Chromium creates them all in advance: a billion hang the browser for half a minute."""
MAX_INT: Final = 2**31 - 1
MAX_VIEWPORT_SIDE, MAX_VIEWPORT_SCALE = 131_072, 100.0
"""CSS pixels of the part of a page that is shown instead of the page. The GPU process, which sessions share, crashes on
parts of 1e9 in quick succession and on 1e38 at once; after three crashes the browser ends."""


@dataclass(frozen=True, slots=True)
class Range:
    """A number from `low` to `high`, both included."""

    low: float
    high: float
    unit: str = ""

    def refused(self, value: object) -> str | None:
        """What the value must be; None if it is valid."""
        if isinstance(value, bool) or not isinstance(value, int | float) or self.low <= value <= self.high:
            return None
        return f"must be a number from {self.low:g} to {self.high:.10g} {self.unit}".rstrip()


@dataclass(frozen=True, slots=True)
class OneOf:
    """One of some strings."""

    names: tuple[str, ...]

    def refused(self, value: object) -> str | None:
        """What the value must be; None if it is valid."""
        return None if not isinstance(value, str) or value in self.names else f"must be one of {', '.join(self.names)}"


@dataclass(frozen=True, slots=True)
class NotEmpty:
    """A list that must not be empty."""

    instead: str
    """What to do instead of sending an empty list."""

    def refused(self, value: object) -> str | None:
        """What the value must be; None if it is valid."""
        return f"must not be empty; {self.instead}" if value == [] else None


@dataclass(frozen=True, slots=True)
class AtMost:
    """A list of at most so many items."""

    items: int

    def refused(self, value: object) -> str | None:
        """What the value must be; None if it is valid."""
        too_long = isinstance(value, list) and len(value) > self.items
        return f"must have at most {self.items} items" if too_long else None


Bound = Range | OneOf | NotEmpty | AtMost

_PAPER: Final = Range(MIN_PAPER_INCHES, MAX_PAPER_INCHES, "inches")
_MARGIN: Final = Range(0, MAX_PAPER_INCHES, "inches")
_KEPT: Final = Range(0, MAX_DURABLE_BYTES, "bytes")

_SIDE: Final = Range(0, MAX_SIDE, "pixels")
"""A bound on each side, because two commands may set one side each: a screencast of 65536 by 65536 crashed the GPU
process."""

_COOKIES: Final = AtMost(MAX_COOKIES)
_INPUT_TIME: Final = Range(0, 1e15, "seconds since 1970")
"""A touch at -1e18 crashes the browser. (The timestamps of keys do not.)"""
_METRICS: Final[Mapping[str, Bound]] = {
    "devicePosture.type": OneOf(("continuous", "folded")),
    "viewport.x": Range(-MAX_INT, MAX_INT, "pixels"),
    "viewport.y": Range(-MAX_INT, MAX_INT, "pixels"),
    "viewport.width": Range(0, MAX_VIEWPORT_SIDE, "pixels"),
    "viewport.height": Range(0, MAX_VIEWPORT_SIDE, "pixels"),
    "viewport.scale": Range(0, MAX_VIEWPORT_SCALE),
}

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
        "scale": Range(0.1, 2),  # Chromium's own bounds
    },
    "Page.setDeviceMetricsOverride": _METRICS,
    "Emulation.setDeviceMetricsOverride": _METRICS,
    "Emulation.setDisplayFeaturesOverride": {
        "features": NotEmpty("use Emulation.clearDisplayFeaturesOverride to remove the override")
    },
    "Input.imeSetComposition": {"replacementStart": Range(0, MAX_INT), "replacementEnd": Range(0, MAX_INT)},
    "Input.dispatchTouchEvent": {"timestamp": _INPUT_TIME},
    "Input.dispatchMouseEvent": {"timestamp": _INPUT_TIME},
    "Input.emulateTouchFromMouseEvent": {"timestamp": _INPUT_TIME},
    "Input.synthesizeTapGesture": {"tapCount": Range(0, MAX_TAPS)},
    "Network.configureDurableMessages": {"maxTotalBufferSize": _KEPT, "maxResourceBufferSize": _KEPT},
    "Network.setCookies": {"cookies": _COOKIES},
    "Storage.setCookies": {"cookies": _COOKIES},
    "Storage.overrideQuotaForOrigin": {"quotaSize": Range(0, MAX_QUOTA_BYTES, "bytes")},
}
"""Bounds by method and parameter path (`a.b`: field b of the object a; `a[].b`: of each object in the list a)."""


def out_of_bounds(method: str, params: Mapping[str, Any]) -> str | None:
    """Why the parameters are refused, or None. Values that are missing or of another type are left to Chromium."""
    for path, bound in BOUNDS.get(method, {}).items():
        for value in _values(params, path):
            if (text := bound.refused(value)) is not None:
                return f"{path}: {text}"
    return None


def _values(params: Mapping[str, Any], path: str) -> Iterator[Any]:
    """The values at a path, without null."""
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
