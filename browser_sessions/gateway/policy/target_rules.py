"""Rules for `Target.*`: answered for the client's own contexts, or performed by the relay."""

from __future__ import annotations

from typing import Any, Final

from browser_sessions.cdp.messages import Command
from browser_sessions.domain.errors import TOO_MANY_PAGES
from browser_sessions.domain.limits import MAX_NESTED, MAX_PAGES
from browser_sessions.domain.urls import REFUSED, may_open
from browser_sessions.gateway.policy.client_options import Options
from browser_sessions.gateway.policy.parameter_types import PARAMETERS
from browser_sessions.gateway.scope.client_scope import BROWSER_TARGET, Scope
from browser_sessions.gateway.scope.command_decision import (
    INVALID_PARAMS,
    SERVER_ERROR,
    Answer,
    Attach,
    AttachBrowser,
    AutoAttach,
    CloseTarget,
    CreateContext,
    CreateTarget,
    Decision,
    Detach,
    Discover,
    DisposeContext,
    Do,
    Pass,
    Refuse,
)
from browser_sessions.gateway.scope.target_filters import BadFilter, TargetFilter, parse_filter

_UNSUPPORTED: Final = ("hidden", "enableBeginFrameControl")
"""Parameters of `createTarget` that would make a page that other clients cannot use."""

_NETWORK_OPTIONS: Final = ": proxy, or client_certificates instead of a context's clientCertificates"
"""Playwright replaces the latter by a proxy in its own process."""

_ONLY_FLAT: Final = Refuse(INVALID_PARAMS, "Only flatten protocol is supported: pass flatten: true")


def _filter(command: Command) -> TargetFilter | Refuse:
    try:
        return parse_filter(command.params.get("filter"))
    except BadFilter as error:
        return Refuse(INVALID_PARAMS, str(error))


def _set_auto_attach(command: Command, scope: Scope, options: Options) -> Decision:
    attach, wait = command.params["autoAttach"], command.params["waitForDebuggerOnStart"]
    if not command.params.get("flatten"):
        if command.session_id is None:
            return Refuse(INVALID_PARAMS, "Only flatten protocol is supported with browser level auto-attach")
        if attach:
            return _ONLY_FLAT
    wanted = _filter(command)
    if isinstance(wanted, Refuse):
        return wanted
    if command.session_id is not None:  # on a target's session Chromium attaches only related targets
        params = {"autoAttach": attach, "waitForDebuggerOnStart": wait, "flatten": True}
        return Pass(params | {"filter": wanted.as_params()} if "filter" in command.params else params)
    if attach and wanted.takes_tabs_and_pages:
        text = 'Filter should not simultaneously allow "tab" and "page", page targets are attached via tab targets'
        return Refuse(INVALID_PARAMS, text)
    return Do(AutoAttach(wanted if attach else None, wait))


def _set_discover_targets(command: Command, scope: Scope, options: Options) -> Decision:
    if not command.params["discover"]:
        if command.params.get("filter"):
            return Refuse(INVALID_PARAMS, "Filter should not be present with `discover` is off")
        return Do(Discover(None))
    wanted = _filter(command)
    return wanted if isinstance(wanted, Refuse) else Do(Discover(wanted))


def _get_targets(command: Command, scope: Scope, options: Options) -> Decision:
    wanted = _filter(command)
    if isinstance(wanted, Refuse):
        return wanted
    return Answer(
        {"targetInfos": [i for i in (BROWSER_TARGET, *scope.contexts.targets()) if wanted.matches(i["type"])]}
    )


def _get_target_info(command: Command, scope: Scope, options: Options) -> Decision:
    target_id = command.params.get("targetId")
    if target_id is None:
        held = scope.session(command.session_id)
        if held is None:
            return Answer({"targetInfo": BROWSER_TARGET})
        target_id = held.target_id
    info = scope.target(target_id)
    if info is None:
        return Refuse(INVALID_PARAMS, "No target with given id found")
    return Answer({"targetInfo": info})


def _get_browser_contexts(command: Command, scope: Scope, options: Options) -> Decision:
    contexts = scope.contexts
    return Answer({"browserContextIds": list(contexts.nested), "defaultBrowserContextId": contexts.own})


def _create_target(command: Command, scope: Scope, options: Options) -> Decision:
    url = command.params["url"]
    if url and not may_open(url):
        return Refuse(INVALID_PARAMS, f"url: {REFUSED}")
    for name in _UNSUPPORTED:
        if command.params.get(name):
            return Refuse(INVALID_PARAMS, f"{name} is not supported: all clients of the session must see the page")
    if scope.contexts.count("page") + scope.contexts.creating >= MAX_PAGES:
        return Refuse(SERVER_ERROR, TOO_MANY_PAGES)
    context_id = command.params.get("browserContextId") or scope.contexts.own
    forwarded = PARAMETERS[command.method].all.keys() - {"url", *_UNSUPPORTED}
    params: dict[str, Any] = {name: value for name, value in command.params.items() if name in forwarded}
    return Do(CreateTarget(context_id, url or "about:blank", params | {"browserContextId": context_id}))


def _attach_to_target(command: Command, scope: Scope, options: Options) -> Decision:
    target_id = command.params["targetId"]
    if not command.params.get("flatten"):
        return _ONLY_FLAT
    if scope.full:
        return Refuse(SERVER_ERROR, "Too many sessions on this connection: detach from some first")
    if target_id != BROWSER_TARGET["targetId"]:
        return Do(Attach(target_id))
    if command.session_id is not None:  # attachToBrowserTarget does not exist on pages either
        return Refuse(INVALID_PARAMS, "No target with given id found")
    return Do(AttachBrowser())


def _attach_to_browser_target(command: Command, scope: Scope, options: Options) -> Decision:
    if scope.full:
        return Refuse(SERVER_ERROR, "Too many sessions on this connection: detach from some first")
    return Do(AttachBrowser())


def _close_target(command: Command, scope: Scope, options: Options) -> Decision:
    return Do(CloseTarget(command.params["targetId"]))


def _activate_target(command: Command, scope: Scope, options: Options) -> Decision:
    return Pass({"targetId": command.params["targetId"]})


def _detach_from_target(command: Command, scope: Scope, options: Options) -> Decision:
    session_id, target_id = command.params.get("sessionId"), command.params.get("targetId")
    if session_id is None and target_id is not None:
        held = scope.sessions_of(target_id, command.session_id)
        if len(held) > 1:
            return Refuse(SERVER_ERROR, "Multiple sessions attached, specify id.")
        session_id = held[0] if held else ""
    if session_id is None:
        return Refuse(INVALID_PARAMS, "Session id must be specified")
    if not scope.holds(session_id):
        return Refuse(INVALID_PARAMS, "No session with given id")
    return Do(Detach(session_id))


def _create_browser_context(command: Command, scope: Scope, options: Options) -> Decision:
    for name in ("proxyServer", "proxyBypassList", "originsWithUniversalNetworkAccess"):
        if command.params.get(name):
            hint = _NETWORK_OPTIONS if name == "proxyServer" else ""
            return Refuse(INVALID_PARAMS, f"{name}: set the network options when you create the session{hint}")
    if len(scope.contexts.nested) >= MAX_NESTED:
        return Refuse(
            SERVER_ERROR, f"The session has reached its limit of {MAX_NESTED} browser contexts: dispose of one first"
        )
    return Do(CreateContext())


def _dispose_browser_context(command: Command, scope: Scope, options: Options) -> Decision:
    context_id = command.params["browserContextId"]
    if not scope.contexts.is_nested(context_id):
        return Refuse(SERVER_ERROR, "Cannot dispose default browser context.")
    return Do(DisposeContext(context_id))


TARGET_HANDLERS: Final = {
    "Target.setAutoAttach": _set_auto_attach,
    "Target.setDiscoverTargets": _set_discover_targets,
    "Target.getTargets": _get_targets,
    "Target.getTargetInfo": _get_target_info,
    "Target.getBrowserContexts": _get_browser_contexts,
    "Target.createTarget": _create_target,
    "Target.attachToTarget": _attach_to_target,
    "Target.attachToBrowserTarget": _attach_to_browser_target,
    "Target.closeTarget": _close_target,
    "Target.activateTarget": _activate_target,
    "Target.detachFromTarget": _detach_from_target,
    "Target.createBrowserContext": _create_browser_context,
    "Target.disposeBrowserContext": _dispose_browser_context,
}
