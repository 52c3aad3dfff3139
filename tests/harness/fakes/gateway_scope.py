"""Targets of a session and of another one, and the ids that name them, for the gateway's unit tests."""

from __future__ import annotations

from typing import Any

from browser_sessions.cdp import TargetTree
from browser_sessions.cdp.messages import Command
from browser_sessions.gateway.scope.client_scope import Scope
from browser_sessions.gateway.scope.command_decision import Ask, Reading
from browser_sessions.gateway.scope.session_contexts import Contexts
from tests.harness.fakes.fake_browser import EPOCH

OWN, NESTED, FOREIGN = "CONTEXT-OWN", "CONTEXT-NESTED", "CONTEXT-FOREIGN"


def target(target_id: str, context_id: str = OWN, target_type: str = "page", **more: Any) -> dict[str, Any]:
    return {
        "targetId": target_id,
        "type": target_type,
        "title": "",
        "url": "about:blank",
        "attached": False,
        "canAccessOpener": False,
        "browserContextId": context_id,
        **more,
    }


def empty_tree() -> TargetTree:
    """The tree of a browser that has just started."""
    return TargetTree(lambda: EPOCH)


def seen(scope: Scope, info: dict[str, Any]) -> None:
    """Chromium reports a new or changed target."""
    scope.contexts._tree.update(info)


def gone(scope: Scope, target_id: str) -> None:
    scope.contexts._tree.destroyed(target_id)


def attach(
    scope: Scope, info: dict[str, Any], session_id: str, parent: str | None = None, *, automatic: bool = False
) -> None:
    """Attaches as the relay does: announced to the scope, then reported by Chromium."""
    scope.attaching(info["targetId"], parent, automatic=automatic)
    params = {"sessionId": session_id, "targetInfo": info, "waitingForDebugger": False}
    assert scope.on_browser_event("Target.attachedToTarget", params, parent) is not None


def attach_browser(scope: Scope, session_id: str, parent: str | None = None) -> None:
    """The same for the browser target, under Chromium's own id."""
    scope.attaching_browser(parent)
    params = {"sessionId": session_id, "targetInfo": browser_target(), "waitingForDebugger": False}
    assert scope.on_browser_event("Target.attachedToTarget", params, parent) is not None


def browser_target() -> dict[str, Any]:
    """As Chromium reports it. Its id identifies a process of this machine and must not reach a client."""
    info = target("0f30c7a2-FOREIGN-browser", target_type="browser", attached=True)
    del info["browserContextId"]
    return info


def session_scope() -> Scope:
    """Two contexts with a page each, a tab, a worker and a hidden page of the browser; the client is attached to
    PAGE (as S-PAGE) and to the worker below it (S-WORKER), holds window 7 and the handle 1 of PAGE."""
    tree = empty_tree()
    contexts = Contexts(OWN, tree)
    contexts.add_nested(NESTED)
    for info in (
        target("PAGE"),
        target("TAB", target_type="tab"),
        target("PAGE-NESTED", NESTED),
        target("WORKER", target_type="worker"),
        target("HIDDEN", url="chrome://newtab/"),
        target("FOREIGN", FOREIGN),
    ):
        tree.update(info)
    scope = Scope(contexts)
    attach(scope, target("PAGE"), "S-PAGE")
    attach(scope, target("WORKER", target_type="worker"), "S-WORKER", "S-PAGE")
    scope.read(Ask({}, "S-PAGE", Reading.WINDOW), {"windowId": 7})
    scope.read(Ask({}, "S-PAGE", Reading.STREAM), {"stream": "1"})
    return scope


def cdp(method: str, params: dict[str, Any] | None = None, session_id: str | None = None) -> Command:
    """A command of a client."""
    return Command(1, method, params or {}, session_id)
