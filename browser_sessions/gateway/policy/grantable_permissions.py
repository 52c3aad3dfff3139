"""Permissions that clients may grant to their pages: an allow-list of names and fields.

Permissions whose effect is limited to the page's own context, or to a device that any page may use, are always allowed.
Those that open something shared by all sessions of a browser need `isolation: "browser"`. Other names are refused as
Chromium 156 refuses an unknown one.
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
"""`permissions` of `Browser.grantPermissions` that are always allowed."""

SHARED_TYPES: Final[Mapping[str, str]] = {
    "clipboardReadWrite": "the clipboard is",
    "smartCard": "card readers are",
    "wakeLockSystem": "the host's power settings are",
    "webAppInstallation": "installed apps are",
    "webPrinting": "printers are",
}
"""Those that open something shared: the browser process's clipboard was read across contexts (headless shell 156), the
others belong to the host."""

_PLAIN: Final = """
    accelerometer ambient-light-sensor background-fetch background-sync captured-surface-control display-capture
    geolocation gyroscope idle-detection keyboard-lock local-fonts local-network local-network-access loopback-network
    magnetometer microphone nfc payment-handler periodic-background-sync persistent-storage pointer-lock
    screen-wake-lock speaker-selection storage-access system-wake-lock top-level-storage-access web-app-installation
    window-management
    """
FIELDS: Final[Mapping[str, tuple[str, ...]]] = {
    **dict.fromkeys(_PLAIN.split(), ()),
    "camera": ("panTiltZoom",),  # of the camera that the permission opens
    "clipboard-read": ("allowWithoutGesture", "allowWithoutSanitization"),
    "clipboard-write": ("allowWithoutGesture", "allowWithoutSanitization"),
    "fullscreen": ("allowWithoutGesture",),  # the page's own window; Chromium accepts it in this form only
    "midi": ("sysex",),  # as midiSysex of grantPermissions
    "notifications": ("userVisibleOnly",),
    "push": ("userVisibleOnly",),  # Chromium accepts it in this form only
}
"""`permission.name` of `Browser.setPermission`, and the other fields that each has. Chromium ignores further fields;
they are not forwarded."""

SHARED_NAMES: Final[Mapping[str, str]] = {
    "clipboard-read": "the clipboard is",
    "system-wake-lock": "the host's power settings are",
    "web-app-installation": "installed apps are",
}

_READS_CLIPBOARD: Final = ("allowWithoutGesture", "allowWithoutSanitization")
"""With either, Chromium 156 treats clipboard-write as the permission to read and write."""


def refused_types(permissions: list[str], own_browser: bool) -> str | None:
    """Why `permissions` of `grantPermissions` is refused, or None."""
    for name in permissions:
        if name in SHARED_TYPES:
            if not own_browser:
                return _shared(name, SHARED_TYPES[name])
        elif name not in TYPES:
            return f"Unknown permission type: {name}"
    return None


def permission_descriptor(descriptor: dict[str, Any], only_own: bool) -> dict[str, Any] | str:
    """The descriptor to forward, or why it is refused. `only_own`: refuse what sessions share."""
    name = descriptor["name"]
    if name not in FIELDS:
        return f"Invalid PermissionDescriptor name: {name}"
    if only_own and name in SHARED_NAMES:
        return _shared(name, SHARED_NAMES[name])
    known: dict[str, Any] = {"name": name}
    for field in FIELDS[name]:
        if field not in descriptor:
            continue
        if only_own and descriptor[field] and name == "clipboard-write" and field in _READS_CLIPBOARD:
            return _shared(f"{name} with {field}", "the clipboard is")
        known[field] = descriptor[field]
    return known


def _shared(name: str, what: str) -> str:
    return f"{name}: {what} shared by every session of the browser; create the session with isolation: browser"
