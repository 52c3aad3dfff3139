"""Rules for `Browser.*`, `IO.*`, cookies, tracing and system info."""

from __future__ import annotations

from dataclasses import replace
from typing import Any, Final

from browser_sessions.cdp.messages import Command
from browser_sessions.gateway.policy.client_options import Options
from browser_sessions.gateway.policy.grantable_permissions import permission_descriptor, refused_types
from browser_sessions.gateway.policy.parameter_types import PARAMETERS
from browser_sessions.gateway.scope.client_scope import Scope
from browser_sessions.gateway.scope.command_decision import (
    INVALID_PARAMS,
    NO_WEB_CONTENTS,
    SERVER_ERROR,
    Ask,
    CloseConnection,
    Decision,
    Do,
    GetWindow,
    Pass,
    Reading,
    Refuse,
    SetDownloads,
)

_DOWNLOAD_BEHAVIORS: Final = frozenset({"deny", "allow", "allowAndName", "default"})


def _known(command: Command) -> dict[str, Any]:
    """Without parameters that are not in the table, such as those that a later version of Chromium adds."""
    return {name: command.params[name] for name in PARAMETERS[command.method].all if name in command.params}


def _as_known(command: Command, scope: Scope, options: Options) -> Decision:
    return Pass(_known(command))


def _in_own_context(command: Command, scope: Scope, options: Options) -> Decision:
    """Fills in a missing context; `command_policy` has refused a foreign one."""
    context_id = command.params.get("browserContextId") or scope.context_of(command.session_id)
    return Pass(_known(command) | {"browserContextId": context_id})


def _cookies(command: Command, scope: Scope, options: Options) -> Decision:
    """On a page's session: sent at browser level with the page's own context, because there Chromium 156 accepts no
    context and uses the default profile of the browser."""
    if command.session_id is None:
        return _in_own_context(command, scope, options)
    if command.params.get("browserContextId") is not None:
        return Refuse(INVALID_PARAMS, "browserContextId is only allowed for Browser target")
    params = _known(command) | {"browserContextId": scope.context_of(command.session_id)}
    return Ask(params, None, Reading.NOTHING)


def _grant_permissions(command: Command, scope: Scope, options: Options) -> Decision:
    refused = refused_types(command.params["permissions"], options.own_browser)
    return _in_own_context(command, scope, options) if refused is None else Refuse(INVALID_PARAMS, refused)


def _set_permission(command: Command, scope: Scope, options: Options) -> Decision:
    granted = command.params["setting"] == "granted"
    descriptor = permission_descriptor(command.params["permission"], granted and not options.own_browser)
    if isinstance(descriptor, str):
        return Refuse(INVALID_PARAMS, descriptor)
    return _in_own_context(replace(command, params=command.params | {"permission": descriptor}), scope, options)


def _set_download_behavior(command: Command, scope: Scope, options: Options) -> Decision:
    behavior = command.params["behavior"]
    if behavior not in _DOWNLOAD_BEHAVIORS:
        return Refuse(INVALID_PARAMS, f"behavior: must be one of {', '.join(sorted(_DOWNLOAD_BEHAVIORS))}")
    events = None  # Page.setDownloadBehavior has no such parameter
    if command.method.startswith("Browser."):
        events = command.params.get("eventsEnabled", False)
    context_id = _known(command).get("browserContextId") or scope.context_of(command.session_id)
    return Do(SetDownloads(context_id, behavior == "deny", events))


def _get_window_for_target(command: Command, scope: Scope, options: Options) -> Decision:
    """Sent on a CDP session of the target instead of with its id: for the id of a target that has just gone, Chromium
    156 dereferences a null pointer in the browser process."""
    target_id = command.params.get("targetId")
    session_id = command.session_id if target_id is None else scope.any_session_of(target_id)
    if session_id is not None:
        return Ask({}, session_id, Reading.WINDOW)
    return Refuse(SERVER_ERROR, NO_WEB_CONTENTS) if target_id is None else Do(GetWindow(target_id))


def _own_window(command: Command, scope: Scope, options: Options) -> Decision:
    if not scope.holds_window(command.params["windowId"]):
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
            return Refuse(INVALID_PARAMS, "offset: a trace can only be read sequentially; leave it out")
        return Ask(_known(command), command.session_id, Reading.TRACE)
    return Pass(_known(command))


def _resolve_blob(command: Command, scope: Scope, options: Options) -> Decision:
    return Ask(_known(command), command.session_id, Reading.BLOB)


def _start_tracing(command: Command, scope: Scope, options: Options) -> Decision:
    """Forces the `chrome` backend, because `system`, which `auto` prefers, is the host's tracing service; and a plain
    JSON stream, from which `Scope.read` can remove the command line (events do not contain it)."""
    config = command.params.get("perfettoConfig")
    if config and isinstance(config, str):
        return Refuse(
            INVALID_PARAMS, "perfettoConfig: use traceConfig instead; a Perfetto config may name files of the host"
        )
    if command.params.get("streamFormat", "json") != "json":
        return Refuse(INVALID_PARAMS, "streamFormat: must be json; a Perfetto trace contains the command line")
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
