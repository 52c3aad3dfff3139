"""Settings that one session changes for a whole page: they are set again when a client that changed them has gone.

Pure. Tried on Chromium 156: a session that ends takes the overrides of others along (metrics, touch, media,
permissions), or leaves its own behind (geolocation). Media and network conditions go with the end of any session, also
of one that has overridden nothing.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, Final

Said = tuple[str, Mapping[str, Any]]
"""A method and its params."""

NEUTRAL: Final[Mapping[str, Said]] = MappingProxyType(
    {
        "Emulation.setAutoDarkModeOverride": ("Emulation.setAutoDarkModeOverride", {}),
        "Emulation.setCPUThrottlingRate": ("Emulation.setCPUThrottlingRate", {"rate": 1}),
        "Emulation.setDefaultBackgroundColorOverride": ("Emulation.setDefaultBackgroundColorOverride", {}),
        "Emulation.setDeviceMetricsOverride": ("Emulation.clearDeviceMetricsOverride", {}),
        "Emulation.setEmulatedMedia": ("Emulation.setEmulatedMedia", {"media": "", "features": []}),
        "Emulation.setEmulatedVisionDeficiency": ("Emulation.setEmulatedVisionDeficiency", {"type": "none"}),
        "Emulation.setFocusEmulationEnabled": ("Emulation.setFocusEmulationEnabled", {"enabled": False}),
        "Emulation.setGeolocationOverride": ("Emulation.clearGeolocationOverride", {}),
        "Emulation.setIdleOverride": ("Emulation.clearIdleOverride", {}),
        "Emulation.setLocaleOverride": ("Emulation.setLocaleOverride", {}),
        "Emulation.setScriptExecutionDisabled": ("Emulation.setScriptExecutionDisabled", {"value": False}),
        "Emulation.setTimezoneOverride": ("Emulation.setTimezoneOverride", {"timezoneId": ""}),
        "Emulation.setTouchEmulationEnabled": ("Emulation.setTouchEmulationEnabled", {"enabled": False}),
        "Emulation.setUserAgentOverride": ("Emulation.setUserAgentOverride", {"userAgent": ""}),
        "Network.emulateNetworkConditions": (
            "Network.emulateNetworkConditions",
            {"offline": False, "latency": 0, "downloadThroughput": -1, "uploadThroughput": -1},
        ),
        "Network.setBypassServiceWorker": ("Network.setBypassServiceWorker", {"bypass": False}),
        "Network.setCacheDisabled": ("Network.setCacheDisabled", {"cacheDisabled": False}),
        "Network.setExtraHTTPHeaders": ("Network.setExtraHTTPHeaders", {"headers": {}}),
        "Page.setBypassCSP": ("Page.setBypassCSP", {"enabled": False}),
        "Security.setIgnoreCertificateErrors": ("Security.setIgnoreCertificateErrors", {"ignore": False}),
    }
)
"""By method: what takes the override off, where the session's owner has said nothing."""
_ALIKE: Final = {
    "Emulation.clearDeviceMetricsOverride": "Emulation.setDeviceMetricsOverride",
    "Page.setDeviceMetricsOverride": "Emulation.setDeviceMetricsOverride",
    "Page.clearDeviceMetricsOverride": "Emulation.setDeviceMetricsOverride",
    "Emulation.clearGeolocationOverride": "Emulation.setGeolocationOverride",
    "Page.setGeolocationOverride": "Emulation.setGeolocationOverride",
    "Page.clearGeolocationOverride": "Emulation.setGeolocationOverride",
    "Emulation.clearIdleOverride": "Emulation.setIdleOverride",
    "Network.setUserAgentOverride": "Emulation.setUserAgentOverride",
    "Page.setTouchEmulationEnabled": "Emulation.setTouchEmulationEnabled",
}
METRICS: Final = "Emulation.setDeviceMetricsOverride"
TAKEN_ALONG: Final = frozenset({"Emulation.setEmulatedMedia", "Network.emulateNetworkConditions"})
"""What the end of any session on a page takes off it."""
_METRICS_SET: Final = frozenset({METRICS, "Page.setDeviceMetricsOverride"})
EXCLUSIVE: Final = frozenset({"Emulation.setLocaleOverride", "Emulation.setTimezoneOverride"})
"""Of a whole renderer process. Chromium refuses a second one: the first has to be taken off before."""
IN_EFFECT: Final = "override is already in effect"
"""How it does."""
NOT_WHILE_PAUSED: Final = frozenset({"Emulation.setFocusEmulationEnabled"})
"""On a window that is paused before it goes to another origin, this ends its renderer (Chromium 156)."""
PERMISSIONS: Final = frozenset({"Browser.grantPermissions", "Browser.setPermission", "Browser.resetPermissions"})
"""Of a whole context."""


def overridden(method: str) -> str | None:
    """The setting that a method of a page's session changes, by the method that sets it."""
    method = _ALIKE.get(method, method)
    return method if method in NEUTRAL else None


def to_repeat(said: Said) -> tuple[Said, ...]:
    """What makes a setting hold again after another session has changed it: Chromium takes no notice of metrics that
    are the same as that session's last."""
    return (NEUTRAL[METRICS], said) if said[0] in _METRICS_SET else (said,)
