"""Settings that apply to a whole page, whichever CDP session sets them: they are restored when a client that has
changed them disconnects.

Pure. Measured with Chromium 156: the end of a session resets overrides of other sessions (metrics, touch, media,
permissions), or leaves its own behind (geolocation). Media and network conditions are reset at the end of any session,
even of one that has overridden nothing.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, Final

MethodCall = tuple[str, Mapping[str, Any]]
"""A method and its params."""

NEUTRAL: Final[Mapping[str, MethodCall]] = MappingProxyType(
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
"""By method: the command that removes the override, for settings that the session does not set."""
_ALIASES: Final = {
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
TOUCH: Final = "Emulation.setTouchEmulationEnabled"
NETWORK: Final = "Network.emulateNetworkConditions"
NETWORK_SET: Final = frozenset({NETWORK, "Network.emulateNetworkConditionsByRule", "Network.overrideNetworkState"})
"""A page is offline if any of its CDP sessions says so."""
TAKEN_ALONG: Final = frozenset({"Emulation.setEmulatedMedia", NETWORK})
"""Settings of a page that the end of any session resets."""
METRICS_SET: Final = frozenset({METRICS, "Page.setDeviceMetricsOverride"})
EXCLUSIVE: Final = frozenset({"Emulation.setLocaleOverride", "Emulation.setTimezoneOverride"})
"""Settings of a whole renderer process. Chromium rejects a second override until the first is removed."""
IN_EFFECT: Final = "override is already in effect"
"""Part of the error message of that rejection."""
NOT_WHILE_PAUSED: Final = frozenset({"Emulation.setFocusEmulationEnabled"})
"""On a window that is paused before a cross-origin navigation, this kills the renderer (Chromium 156)."""
PERMISSIONS: Final = frozenset({"Browser.grantPermissions", "Browser.setPermission", "Browser.resetPermissions"})
"""Methods that apply to a whole context."""


def overridden(method: str) -> str | None:
    """The setting (a key of `NEUTRAL`) that a method on a page's session changes, None if none."""
    method = _ALIASES.get(method, method)
    return method if method in NEUTRAL else None


def to_repeat(call: MethodCall) -> tuple[MethodCall, ...]:
    """The commands that apply a setting again after another session has changed it. Metrics are cleared first, because
    Chromium ignores those that equal the session's last."""
    return (NEUTRAL[METRICS], call) if call[0] in METRICS_SET else (call,)
