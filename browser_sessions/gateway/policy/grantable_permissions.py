"""What a client may grant to its pages: names and fields by allow-list. Pure.

A permission is open where it reaches no further than the page's own context or a device that Chromium would open to any
page; it is shared where it reaches what every session of the browser has in common, and then needs a browser of one's
own. Names that are not here are answered as Chromium 156 answers one that it does not know.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

_TYPES: Final = """
    ar audioCapture automaticFullscreen backgroundFetch backgroundSync cameraPanTiltZoom capturedSurfaceControl
    clipboardSanitizedWrite displayCapture durableStorage geolocation handTracking idleDetection keyboardLock localFonts
    localNetwork localNetworkAccess loopbackNetwork midi midiSysex nfc notifications paymentHandler
    periodicBackgroundSync pointerLock protectedMediaIdentifier sensors speakerSelection storageAccess
    topLevelStorageAccess videoCapture vr wakeLockScreen windowManagement
    """
TYPES: Final[frozenset[str]] = frozenset(_TYPES.split())
"""`permissions` of `Browser.grantPermissions` that anybody may grant."""

SHARED_TYPES: Final[Mapping[str, str]] = {
    "clipboardReadWrite": "the clipboard is",
    "smartCard": "card readers are",
    "wakeLockSystem": "the host's power settings are",
    "webAppInstallation": "installed apps are",
    "webPrinting": "printers are",
}
"""And those that open what all sessions share: the browser process's clipboard was read across contexts (headless shell
156); the others are the host's."""

_PLAIN: Final = """
    accelerometer ambient-light-sensor background-fetch background-sync captured-surface-control display-capture
    geolocation gyroscope idle-detection keyboard-lock local-fonts local-network local-network-access loopback-network
    magnetometer microphone nfc payment-handler periodic-background-sync persistent-storage pointer-lock
    screen-wake-lock speaker-selection storage-access system-wake-lock top-level-storage-access web-app-installation
    window-management
    """
FIELDS: Final[Mapping[str, tuple[str, ...]]] = {
    **dict.fromkeys(_PLAIN.split(), ()),
    "camera": ("panTiltZoom",),  # of the camera that the permission opens anyway
    "clipboard-read": ("allowWithoutGesture", "allowWithoutSanitization"),
    "clipboard-write": ("allowWithoutGesture", "allowWithoutSanitization"),
    "fullscreen": ("allowWithoutGesture",),  # the page's own window; Chromium takes it in this form only
    "midi": ("sysex",),  # as midiSysex of grantPermissions
    "notifications": ("userVisibleOnly",),
    "push": ("userVisibleOnly",),  # Chromium takes it in this form only
}
"""`permission.name` of `Browser.setPermission`, and the further fields that each has. A field of another name does
nothing in Chromium, and is not passed on."""

SHARED_NAMES: Final[Mapping[str, str]] = {
    "clipboard-read": "the clipboard is",
    "system-wake-lock": "the host's power settings are",
    "web-app-installation": "installed apps are",
}

_READS_CLIPBOARD: Final = ("allowWithoutGesture", "allowWithoutSanitization")
"""With either, Chromium takes clipboard-write for the permission to read and write (156)."""


def refused_types(permissions: object, own_browser: bool) -> str | None:
    """Why a list of `grantPermissions` is refused; None when it is not. What is no list Chromium refuses itself."""
    for name in permissions if isinstance(permissions, list) else ():
        if not isinstance(name, str):
            return "Invalid parameters: permissions must be a list of strings"
        if name in SHARED_TYPES:
            if not own_browser:
                return _shared(name, SHARED_TYPES[name])
        elif name not in TYPES:
            return f"Unknown permission type: {name}"
    return None


def permission_descriptor(descriptor: object, only_own: bool) -> dict[str, Any] | str:
    """The descriptor as it may be passed on, or why it is refused. `only_own`: nothing that sessions share."""
    if not isinstance(descriptor, dict) or not isinstance(descriptor.get("name"), str):
        return "Invalid parameters: permission must be an object with a name"
    name = descriptor["name"]
    if name not in FIELDS:
        return f"Invalid PermissionDescriptor name: {name}"
    if only_own and name in SHARED_NAMES:
        return _shared(name, SHARED_NAMES[name])
    known: dict[str, Any] = {"name": name}
    for field in FIELDS[name]:
        value = descriptor.get(field)
        if value is None:
            continue
        if not isinstance(value, bool):
            return f"Invalid parameters: permission.{field} must be a boolean"
        if only_own and value and name == "clipboard-write" and field in _READS_CLIPBOARD:
            return _shared(f"{name} with {field}", "the clipboard is")
        known[field] = value
    return known


def _shared(name: str, what: str) -> str:
    return f"{name}: {what} shared by every session of the browser; create the session with isolation: browser"
