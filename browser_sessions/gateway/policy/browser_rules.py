"""`Browser.*`, `IO.*`, cookies and what a browser of one's own adds: decided within the client's own contexts. Pure."""

from __future__ import annotations

from dataclasses import replace
from typing import Any, Final

from browser_sessions.cdp.messages import Command
from browser_sessions.gateway.policy.client_options import Options
from browser_sessions.gateway.policy.grantable_permissions import permission_descriptor, refused_types
from browser_sessions.gateway.scope.client_scope import Scope
from browser_sessions.gateway.scope.command_decision import (
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


def _cookies(command: Command, scope: Scope, options: Options) -> Decision:
    """On a page's session: the cookies of the page's own context, asked for at browser level. On the page's session
    Chromium 156 itself takes no context and means the profile that all contexts of a browser stand on."""
    if command.session_id is None:
        return _in_own_context(command, scope, options)
    if command.params.get("browserContextId") is not None:
        return Refuse(INVALID_PARAMS, "browserContextId is only allowed for Browser target")
    params = _known(command) | {"browserContextId": scope.context_of(command.session_id)}
    return Ask(params, None, Reading.NOTHING)


def _grant_permissions(command: Command, scope: Scope, options: Options) -> Decision:
    refused = refused_types(command.params.get("permissions"), options.own_browser)
    return _in_own_context(command, scope, options) if refused is None else Refuse(INVALID_PARAMS, refused)


def _set_permission(command: Command, scope: Scope, options: Options) -> Decision:
    granted = command.params.get("setting") == "granted"
    descriptor = permission_descriptor(command.params.get("permission"), granted and not options.own_browser)
    if isinstance(descriptor, str):
        return Refuse(INVALID_PARAMS, descriptor)
    return _in_own_context(replace(command, params=command.params | {"permission": descriptor}), scope, options)


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
    return Pass(_known(command))


def _close(command: Command, scope: Scope, options: Options) -> Decision:
    return Do(CloseConnection())


def _own_handle(command: Command, scope: Scope, options: Options) -> Decision:
    handle = command.params.get("handle")
    if not scope.holds_handle(command.session_id, handle):
        return Refuse(INVALID_PARAMS, "Invalid stream handle")
    if command.method == "IO.read" and scope.is_trace(command.session_id, handle):
        if command.params.get("offset") is not None:
            return Refuse(INVALID_PARAMS, "offset: a trace is read from its beginning to its end; leave it out")
        return Ask(_known(command), command.session_id, Reading.TRACE)
    return Pass(_known(command))


def _resolve_blob(command: Command, scope: Scope, options: Options) -> Decision:
    return Ask(_known(command), command.session_id, Reading.BLOB)


def _start_tracing(command: Command, scope: Scope, options: Options) -> Decision:
    """Of Chromium's own processes only: the `system` backend is the host's tracing service, which `auto` prefers. A
    stream is plain JSON, from which `Scope.read` can leave out the command line; events do not hold it."""
    if command.params.get("perfettoConfig"):
        return Refuse(
            INVALID_PARAMS, "perfettoConfig: pass traceConfig instead; a Perfetto one may name files of the host"
        )
    if command.params.get("streamFormat", "json") != "json":
        return Refuse(INVALID_PARAMS, "streamFormat: must be json; a Perfetto trace holds the browser's command line")
    return Pass(command.params | {"tracingBackend": "chrome", "streamCompression": "none"})


def _system_info(command: Command, scope: Scope, options: Options) -> Decision:
    return Ask({}, None, Reading.COMMAND_LINE)


BROWSER_HANDLERS: Final = {
    "Browser.getVersion": _as_known,
    "Storage.getCookies": _cookies,
    "Storage.setCookies": _cookies,
    "Storage.clearCookies": _cookies,
    "Browser.resetPermissions": _in_own_context,
    "Browser.cancelDownload": _in_own_context,
    "Browser.grantPermissions": _grant_permissions,
    "Browser.setPermission": _set_permission,
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
