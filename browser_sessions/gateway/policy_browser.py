"""`Browser.*`, `IO.*`, cookies and what a browser of one's own adds: decided within the client's own contexts. Pure."""

from __future__ import annotations

from typing import Any, Final

from browser_sessions.gateway.decision import (
    INVALID_PARAMS,
    SERVER_ERROR,
    Ask,
    CloseConnection,
    Decision,
    Do,
    Pass,
    Reading,
    Refuse,
    SetDownloads,
)
from browser_sessions.gateway.message import Command
from browser_sessions.gateway.options import Options
from browser_sessions.gateway.policy_page import MAX_PIXELS, too_large
from browser_sessions.gateway.scope import Scope

_SHARED_PERMISSIONS: Final = frozenset(
    {"clipboardReadWrite", "clipboard-read", "smartCard", "smart-card", "webPrinting", "web-printing"}
)
"""Names of `grantPermissions` and `setPermission` that open what all contexts share: the browser process's clipboard
(read across contexts on headless shell 156), card readers and printers of the host."""

_DOWNLOAD_BEHAVIORS: Final = frozenset({"deny", "allow", "allowAndName", "default"})


_TAKES: Final[dict[str, tuple[str, ...]]] = {
    "Browser.getVersion": (),
    "Browser.cancelDownload": ("guid",),
    "Browser.grantPermissions": ("permissions", "origin"),
    "Browser.setPermission": ("permission", "setting", "origin", "embeddedOrigin"),
    "Browser.resetPermissions": (),
    "Browser.getWindowBounds": ("windowId",),
    "Browser.setWindowBounds": ("windowId", "bounds"),
    "Browser.setContentsSize": ("windowId", "width", "height"),
    "IO.read": ("handle", "offset", "size"),
    "IO.close": ("handle",),
    "IO.resolveBlob": ("objectId",),
    "Storage.getCookies": (),
    "Storage.setCookies": ("cookies",),
    "Storage.clearCookies": (),
}
"""The parameters that these methods have in Chromium 156. One that a later version adds does not pass unseen."""


def _known(command: Command) -> dict[str, Any]:
    return {name: command.params[name] for name in _TAKES[command.method] if name in command.params}


def _as_known(command: Command, scope: Scope, options: Options) -> Decision:
    return Pass(_known(command))


def _in_own_context(command: Command, scope: Scope, options: Options) -> Decision:
    """Fills in the context that the client means; a foreign one has been refused before."""
    context_id = command.params.get("browserContextId") or scope.context_of(command.session_id)
    return Pass(_known(command) | {"browserContextId": context_id})


def _permissions(command: Command, scope: Scope, options: Options) -> Decision:
    named = command.params.get("permissions", [])
    descriptor = command.params.get("permission")
    asked: list[Any] = list(named) if isinstance(named, list) else []
    if isinstance(descriptor, dict) and command.params.get("setting") == "granted":
        asked.append(descriptor.get("name"))
    shared = [name for name in asked if isinstance(name, str) and name in _SHARED_PERMISSIONS]
    if shared and not options.own_browser:
        text = f"{shared[0]}: shared by every session of the browser; create the session with isolation: browser"
        return Refuse(INVALID_PARAMS, text)
    return _in_own_context(command, scope, options)


def _set_download_behavior(command: Command, scope: Scope, options: Options) -> Decision:
    behavior, events = command.params.get("behavior"), command.params.get("eventsEnabled")
    if not isinstance(behavior, str) or behavior not in _DOWNLOAD_BEHAVIORS:
        return Refuse(INVALID_PARAMS, f"behavior: must be one of {', '.join(sorted(_DOWNLOAD_BEHAVIORS))}")
    if not (events is None or isinstance(events, bool)):
        return Refuse(INVALID_PARAMS, "Invalid parameters: eventsEnabled must be a boolean")
    if command.method.startswith("Browser."):
        events = bool(events)  # as Chromium reads it when it is left out; Page's own method does not have it
    context_id = command.params.get("browserContextId") or scope.context_of(command.session_id)
    return Do(SetDownloads(context_id, behavior == "deny", events))


def _get_window_for_target(command: Command, scope: Scope, options: Options) -> Decision:
    """Asked on a CDP session of the target, without its id: a target that has just gone is then a missing session to
    Chromium 156, where its id would be a null pointer in the browser process."""
    target_id = command.params.get("targetId")
    session_id = command.session_id if target_id is None else scope.any_session_of(target_id)
    if session_id is None:
        return Refuse(SERVER_ERROR, "No web contents for the given target id: attach to the target first")
    return Ask({}, session_id, Reading.WINDOW)


def _own_window(command: Command, scope: Scope, options: Options) -> Decision:
    if not scope.holds_window(command.params.get("windowId")):
        return Refuse(SERVER_ERROR, "Browser window not found")
    bounds = command.params.get("bounds")
    size = bounds if isinstance(bounds, dict) else command.params
    if too_large(size.get("width"), size.get("height")):
        return Refuse(INVALID_PARAMS, f"width and height: at most {MAX_PIXELS} pixels")
    return Pass(_known(command))


def _close(command: Command, scope: Scope, options: Options) -> Decision:
    return Do(CloseConnection())


def _own_handle(command: Command, scope: Scope, options: Options) -> Decision:
    if not scope.holds_handle(command.session_id, command.params.get("handle")):
        return Refuse(INVALID_PARAMS, "Invalid stream handle")
    return Pass(_known(command))


def _resolve_blob(command: Command, scope: Scope, options: Options) -> Decision:
    return Ask(_known(command), command.session_id, Reading.BLOB)


def _start_tracing(command: Command, scope: Scope, options: Options) -> Decision:
    """Of Chromium's own processes only: the `system` backend is the host's tracing service, which `auto` prefers."""
    if command.params.get("perfettoConfig"):
        return Refuse(
            INVALID_PARAMS, "perfettoConfig: pass traceConfig instead; a Perfetto one may name files of the host"
        )
    return Pass(command.params | {"tracingBackend": "chrome"})


def _system_info(command: Command, scope: Scope, options: Options) -> Decision:
    return Ask({}, None, Reading.COMMAND_LINE)


BROWSER_HANDLERS: Final = {
    "Browser.getVersion": _as_known,
    "Storage.getCookies": _in_own_context,
    "Storage.setCookies": _in_own_context,
    "Storage.clearCookies": _in_own_context,
    "Browser.resetPermissions": _in_own_context,
    "Browser.cancelDownload": _in_own_context,
    "Browser.grantPermissions": _permissions,
    "Browser.setPermission": _permissions,
    "Browser.setDownloadBehavior": _set_download_behavior,
    "Page.setDownloadBehavior": _set_download_behavior,
    "Browser.getWindowForTarget": _get_window_for_target,
    "Browser.getWindowBounds": _own_window,
    "Browser.setWindowBounds": _own_window,
    "Browser.setContentsSize": _own_window,
    "Browser.close": _close,
    "IO.read": _own_handle,
    "IO.close": _own_handle,
    "IO.resolveBlob": _resolve_blob,
    "Tracing.start": _start_tracing,
    "SystemInfo.getInfo": _system_info,
}
