"""Types of the parameters that the gateway reads, so that values of another type get Chromium's own error.

Chromium checks the types of all parameters before it does anything. Parameters that only Chromium reads are left to it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

_SCALARS: Final[dict[type, str]] = {str: "string", bool: "bool", int: "int32"}


@dataclass(frozen=True, slots=True)
class ListOf:
    """A list with elements of one type."""

    of: Type


@dataclass(frozen=True, slots=True)
class Fields:
    """An object. Fields that are not named are not checked: Chromium ignores those that it does not know."""

    required: Mapping[str, Type] = field(default_factory=dict)
    optional: Mapping[str, Type] = field(default_factory=dict)

    @property
    def all(self) -> dict[str, Type]:
        return {**self.required, **self.optional}


Type = type[str] | type[bool] | type[int] | ListOf | Fields

_CONTEXT: Final[dict[str, Type]] = {"browserContextId": str}
_TARGET: Final = Fields({"targetId": str})
_FILTER: Final[dict[str, Type]] = {"filter": ListOf(Fields({}, {"type": str, "exclude": bool}))}
_PERMISSION: Final = Fields(
    {"name": str},
    dict.fromkeys(
        ("sysex", "userVisibleOnly", "allowWithoutSanitization", "allowWithoutGesture", "panTiltZoom"),
        bool,
    ),
)

PARAMETERS: Final[Mapping[str, Fields]] = {
    "Target.getTargets": Fields({}, _FILTER),
    "Target.getTargetInfo": Fields({}, {"targetId": str}),
    "Target.setDiscoverTargets": Fields({"discover": bool}, _FILTER),
    "Target.setAutoAttach": Fields({"autoAttach": bool, "waitForDebuggerOnStart": bool}, {"flatten": bool, **_FILTER}),
    "Target.createTarget": Fields(
        {"url": str},
        {
            **_CONTEXT,
            **dict.fromkeys(("left", "top", "width", "height"), int),
            "windowState": str,
            **dict.fromkeys(
                ("enableBeginFrameControl", "newWindow", "background", "forTab", "hidden", "focus"),
                bool,
            ),
        },
    ),
    "Target.attachToTarget": Fields({"targetId": str}, {"flatten": bool}),
    "Target.closeTarget": _TARGET,
    "Target.activateTarget": _TARGET,
    "Target.detachFromTarget": Fields({}, {"sessionId": str, "targetId": str}),
    "Target.createBrowserContext": Fields(
        {},
        {
            "disposeOnDetach": bool,
            "proxyServer": str,
            "proxyBypassList": str,
            "originsWithUniversalNetworkAccess": ListOf(str),
        },
    ),
    "Target.disposeBrowserContext": Fields(_CONTEXT),
    "Browser.getVersion": Fields(),
    "Browser.cancelDownload": Fields({"guid": str}, _CONTEXT),
    "Browser.grantPermissions": Fields({"permissions": ListOf(str)}, {"origin": str, **_CONTEXT}),
    "Browser.setPermission": Fields(
        {"permission": _PERMISSION, "setting": str}, {"origin": str, "embeddedOrigin": str, **_CONTEXT}
    ),
    "Browser.resetPermissions": Fields({}, _CONTEXT),
    "Browser.setDownloadBehavior": Fields({"behavior": str}, {"downloadPath": str, "eventsEnabled": bool, **_CONTEXT}),
    "Page.setDownloadBehavior": Fields({"behavior": str}, {"downloadPath": str}),
    "Browser.getWindowForTarget": Fields({}, {"targetId": str}),
    "Browser.getWindowBounds": Fields({"windowId": int}),
    "Browser.setWindowBounds": Fields({"windowId": int, "bounds": Fields()}),
    "Browser.setContentsSize": Fields({"windowId": int}, {"width": int, "height": int}),
    "IO.read": Fields({"handle": str}, {"offset": int, "size": int}),
    "IO.close": Fields({"handle": str}),
    "IO.resolveBlob": Fields({"objectId": str}),
    "Storage.getCookies": Fields({}, _CONTEXT),
    "Storage.setCookies": Fields({"cookies": ListOf(Fields())}, _CONTEXT),
    "Storage.clearCookies": Fields({}, _CONTEXT),
    "Tracing.start": Fields({}, dict.fromkeys(("streamFormat", "streamCompression", "tracingBackend"), str)),
    "Page.navigate": Fields({"url": str}),
    "Page.screencastFrameAck": Fields({"sessionId": int}),
    "Network.loadNetworkResource": Fields({"url": str, "options": Fields()}),
    "DOM.setFileInputFiles": Fields({"files": ListOf(str)}),
    "Input.dispatchDragEvent": Fields({}, {"data": Fields({}, {"files": ListOf(str)})}),
}
"""All parameters of Chromium 156 for methods of `Target`, `Browser` and `IO` and for cookies; for other methods, those
that the gateway reads."""


def invalid_parameters(method: str, params: Mapping[str, Any]) -> str | None:
    """The `data` of Chromium's error "Invalid parameters" (without its byte position), or None."""
    wanted = PARAMETERS.get(method)
    found = None if wanted is None else _mismatch(params, wanted, "params")
    return None if found is None else f"Failed to deserialize {found}"


def _mismatch(value: object, wanted: Type, path: str) -> str | None:
    if isinstance(wanted, ListOf):
        if not isinstance(value, list):
            return f"{path} - CBOR: array start expected"
        return next((text for each in value if (text := _mismatch(each, wanted.of, path)) is not None), None)
    if isinstance(wanted, Fields):
        return _field_mismatch(value, wanted, path)
    return None if _is_scalar(value, wanted) else f"{path} - BINDINGS: {_SCALARS[wanted]} value expected"


def _field_mismatch(value: object, wanted: Fields, path: str) -> str | None:
    if not isinstance(value, Mapping):
        return f"{path} - CBOR: map start expected"
    types = wanted.all
    for name, each in value.items():
        if name in types and (text := _mismatch(each, types[name], f"{path}.{name}")) is not None:
            return text
    missing = sorted(wanted.required.keys() - value.keys())
    return f"{path}.{missing[0]} - BINDINGS: mandatory field missing" if missing else None


def _is_scalar(value: object, wanted: type) -> bool:
    if wanted is not int:
        return isinstance(value, wanted)
    if isinstance(value, bool) or not isinstance(value, int | float):
        return False
    return value % 1 == 0 and -(2**31) <= value < 2**31  # Chromium accepts 1.0 as 1
