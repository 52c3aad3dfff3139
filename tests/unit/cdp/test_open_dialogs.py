"""Which dialogs are open and which pages navigate, as Chromium's events say."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from browser_sessions.cdp.open_dialogs import EVENTS, OpenDialogs


def received(dialogs: OpenDialogs, method: str, **params: Any) -> None:
    message = json.dumps({"method": method, "params": params}, separators=(",", ":")).encode()
    assert message.startswith(EVENTS)
    dialogs.receive(message, "s1", "p1")


def test_a_dialog_is_open_until_it_is_closed_by_anybody_and_closed_once() -> None:
    posted: list[tuple[str, str, Mapping[str, Any]]] = []
    dialogs = OpenDialogs(lambda *command: posted.append(command))
    received(dialogs, "Page.javascriptDialogOpening", type="prompt")
    assert dialogs.kind("p1") == "prompt"
    received(dialogs, "Page.javascriptDialogClosed", result=True)
    assert (dialogs.kind("p1"), dialogs.close("p1")) == (None, None)
    for kind, accepted in (("confirm", False), ("beforeunload", True)):
        received(dialogs, "Page.javascriptDialogOpening", type=kind)
        assert (dialogs.close("p1"), dialogs.close("p1")) == (accepted, None)
        assert posted.pop() == ("s1", "Page.handleJavaScriptDialog", {"accept": accepted})
    assert posted == []


def test_a_page_navigates_until_its_own_document_is_committed_or_fails() -> None:
    dialogs = OpenDialogs(lambda *_: None)
    for end, params in (
        ("Page.frameNavigated", {"frame": {"id": "p1"}}),
        ("Page.frameStoppedLoading", {"frameId": "p1"}),
    ):
        received(dialogs, "Page.frameStartedNavigating", frameId="p1", navigationType="sameDocument")
        received(dialogs, "Page.frameStartedNavigating", frameId="child", navigationType="differentDocument")
        assert not dialogs.is_navigating("p1")
        received(dialogs, "Page.frameStartedNavigating", frameId="p1", navigationType="reload")
        received(dialogs, "Page.frameStoppedLoading", frameId="child")
        assert dialogs.is_navigating("p1")
        received(dialogs, end, **params)
        assert not dialogs.is_navigating("p1")
