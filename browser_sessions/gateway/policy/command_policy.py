"""The decision on each command of a client, driven by `method_table`."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from types import MappingProxyType
from typing import Final

from browser_sessions.cdp.messages import Command
from browser_sessions.gateway.policy.browser_rules import BROWSER_HANDLERS
from browser_sessions.gateway.policy.client_options import Options
from browser_sessions.gateway.policy.method_table import RULES, Level, Verdict
from browser_sessions.gateway.policy.page_rules import PAGE_HANDLERS
from browser_sessions.gateway.policy.parameter_bounds import out_of_bounds
from browser_sessions.gateway.policy.parameter_types import invalid_parameters
from browser_sessions.gateway.policy.target_rules import TARGET_HANDLERS
from browser_sessions.gateway.scope.client_scope import MAX_LEVELS, Scope
from browser_sessions.gateway.scope.command_decision import (
    INVALID_PARAMS,
    NO_SESSION,
    NOT_FOUND,
    SERVER_ERROR,
    AttachBrowser,
    Decision,
    Do,
    Pass,
    Refuse,
)

Handler = Callable[[Command, Scope, Options], Decision]

HANDLERS: Final[Mapping[str, Handler]] = MappingProxyType(TARGET_HANDLERS | BROWSER_HANDLERS | PAGE_HANDLERS)
"""The functions that decide on a method's parameters. A test checks that every method with the verdict checked,
rewritten or answered has one, or a row in `parameter_bounds.BOUNDS`."""

OWN_BROWSER_HINT: Final = ": it affects all sessions of the browser; create the session with isolation: browser"
"""Appended to Chromium's message for an unknown method, which clients recognise."""


def decide(command: Command, scope: Scope, options: Options) -> Decision:
    """The decision on one command: default deny. Has no side effects.

    In this order: the session id, the method's verdict (`RULES`), types of parameters (`invalid_parameters`), the ids
    of contexts, targets and sessions (`_foreign_id_refusal`), bounds of values (`out_of_bounds`), the method's own
    rules (`HANDLERS`). Refused elsewhere: a message that `cdp.messages` cannot decode or encode, and a download setting
    that Chromium does not accept (`Actions._allow_downloads`)."""
    sent_on = command.session_id
    if scope.is_browser(sent_on):
        if command.method == "Target.setAutoAttach":
            return Refuse(INVALID_PARAMS, "Browser-level auto-attach must be sent without a sessionId")
        command = replace(command, session_id=None)
    if command.session_id is not None and scope.session(command.session_id) is None:
        return Refuse(NO_SESSION, "Session with given id not found.")
    level = Level.BROWSER if command.session_id is None else Level.PAGE
    rule = RULES.get((command.method, level))
    if rule is None or (rule.verdict is Verdict.REFUSE and not (rule.own_browser and options.own_browser)):
        hint = OWN_BROWSER_HINT if rule is not None and rule.own_browser else ""
        return Refuse(NOT_FOUND, f"'{command.method}' wasn't found{hint}")
    invalid = invalid_parameters(command.method, command.params)
    if invalid is not None:
        return Refuse(INVALID_PARAMS, "Invalid parameters", invalid)
    refusal = _foreign_id_refusal(command, scope)
    if refusal is not None:
        return refusal
    out = out_of_bounds(command.method, command.params)
    if out is not None:
        return Refuse(INVALID_PARAMS, out)
    handler = HANDLERS.get(command.method)
    decision = Pass() if handler is None else handler(command, scope, options)
    if isinstance(decision, Do) and isinstance(decision.action, AttachBrowser) and not scope.can_nest(sent_on):
        return Refuse(SERVER_ERROR, f"Browser sessions can be nested {MAX_LEVELS} levels deep: attach on one above")
    return decision


def _foreign_id_refusal(command: Command, scope: Scope) -> Refuse | None:
    """Refuses ids of contexts, targets and sessions that are not this client's, in every method. The messages are those
    of Chromium 156 for an unknown id (tests/browser/gateway/test_gateway_protocol.py). Chromium refuses or ignores what
    is not a string."""
    method, params = command.method, command.params
    context_id = params.get("browserContextId")
    if isinstance(context_id, str) and not scope.contexts.holds(context_id):
        if method in _PAGE_TAKES_NO_CONTEXT and command.session_id is not None:
            return Refuse(INVALID_PARAMS, "browserContextId is only allowed for Browser target")
        if method == "Target.createTarget":
            return Refuse(INVALID_PARAMS, "browserContextId")
        if method == "Target.disposeBrowserContext":
            if command.session_id is not None:
                return Refuse(SERVER_ERROR, "Not allowed")
            return Refuse(SERVER_ERROR, f"Failed to find context with id {context_id}")
        return Refuse(INVALID_PARAMS, f"Failed to find browser context for id {context_id}")
    target_id = params.get("targetId")
    if isinstance(target_id, str) and scope.target(target_id) is None:
        return Refuse(INVALID_PARAMS, _NO_SUCH_TARGET.get(method, "No target with given id found"))
    session_id = params.get("sessionId")
    if isinstance(session_id, str) and scope.session(session_id) is None and not scope.is_browser(session_id):
        return Refuse(INVALID_PARAMS, "No session with given id")
    return None


_PAGE_TAKES_NO_CONTEXT: Final = frozenset({"Storage.getCookies", "Storage.setCookies", "Storage.clearCookies"})
_NO_SUCH_TARGET: Final = {
    "Target.closeTarget": "No target found for targetId",
    "Target.detachFromTarget": "No session for given target id",
}
