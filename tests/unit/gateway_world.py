"""A session's world for the gateway's tests: own things, a neighbour's things, and what names them."""

from __future__ import annotations

from typing import Any

from browser_sessions.gateway.contexts import Contexts
from browser_sessions.gateway.decision import Ask, Reading
from browser_sessions.gateway.message import Command
from browser_sessions.gateway.scope import Scope

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


def attach(
    scope: Scope, info: dict[str, Any], session_id: str, parent: str | None = None, *, automatic: bool = False
) -> None:
    """As the relay does it: announced, sent, told by Chromium."""
    scope.attaching(info["targetId"], parent, automatic=automatic, waiting=False)
    params = {"sessionId": session_id, "targetInfo": info, "waitingForDebugger": False}
    assert scope.on_upstream("Target.attachedToTarget", params, parent) is not None


def world() -> Scope:
    """Two contexts with a page each, a tab, a worker and a hidden page of the browser's own; the client is attached to
    PAGE (as S-PAGE) and to the worker below it (S-WORKER), holds window 7 and the handle 1 of PAGE."""
    contexts = Contexts(OWN)
    contexts.add_nested(NESTED)
    for info in (
        target("PAGE"),
        target("TAB", target_type="tab"),
        target("PAGE-NESTED", NESTED),
        target("WORKER", target_type="worker"),
        target("HIDDEN", url="chrome://newtab/"),
    ):
        assert contexts.see(info)
    assert not contexts.see(target("FOREIGN", FOREIGN))
    scope = Scope(contexts)
    attach(scope, target("PAGE"), "S-PAGE")
    attach(scope, target("WORKER", target_type="worker"), "S-WORKER", "S-PAGE")
    scope.read(Ask({}, "S-PAGE", Reading.WINDOW), {"windowId": 7})
    scope.read(Ask({}, "S-PAGE", Reading.STREAM), {"stream": "1"})
    return scope


def say(method: str, params: dict[str, Any] | None = None, session_id: str | None = None) -> Command:
    return Command(1, method, params or {}, session_id)
