"""The scope of one client: the sessions it holds and the events it gets."""

from __future__ import annotations

import sys
from typing import Any

import pytest

from browser_sessions.gateway.scope.client_scope import BROWSER_TARGET, MAX_SESSIONS, Scope
from browser_sessions.gateway.scope.command_decision import Ask, AutoAttach, Reading
from browser_sessions.gateway.scope.session_contexts import Contexts
from browser_sessions.gateway.scope.target_filters import DEFAULT_FILTER, parse_filter
from tests.harness.fakes.gateway_scope import (
    FOREIGN,
    NESTED,
    OWN,
    attach,
    attach_browser,
    browser_target,
    empty_tree,
    gone,
    seen,
    session_scope,
    target,
)

TABS = parse_filter([{"type": "tab"}])


def attached_params(info: dict[str, Any], session_id: str = "S-NEW") -> dict[str, Any]:
    return {"sessionId": session_id, "targetInfo": info, "waitingForDebugger": False}


def contexts_of(*infos: dict[str, Any]) -> Contexts:
    """The contexts of one session in a browser with these targets."""
    tree = empty_tree()
    for info in infos:
        tree.update(info)
    return Contexts(OWN, tree)


class TestContexts:
    @pytest.mark.parametrize("context_id", [FOREIGN, None, "", 5, [OWN]])
    def test_do_not_hold_foreign_contexts(self, context_id: Any) -> None:
        assert not contexts_of().holds(context_id)

    @pytest.mark.parametrize("context_id", [FOREIGN, ""])
    def test_do_not_show_foreign_targets(self, context_id: str) -> None:
        contexts = contexts_of(target("T", context_id))
        assert contexts.target("T") is None
        assert list(contexts.targets()) == []
        assert contexts.count("page") == 0

    @pytest.mark.parametrize("target_id", [None, 5, ["T"], ""])
    def test_find_nothing_for_an_invalid_id(self, target_id: Any) -> None:
        assert contexts_of(target("T")).target(target_id) is None

    @pytest.mark.parametrize(
        "info",
        [
            target("T", url="chrome://newtab/"),
            target("T", url="DevTools://x"),
            target("T", target_type="browser_ui"),
            target("T", target_type="other"),
        ],
    )
    def test_hide_internal_targets_of_the_browser(self, info: dict[str, Any]) -> None:
        contexts = contexts_of(info)
        assert contexts.target("T") is None
        assert list(contexts.targets()) == []
        assert contexts.count(info["type"]) == 0

    def test_do_not_name_foreign_relatives(self) -> None:
        related: dict[str, Any] = {
            "openerId": "OTHER-PAGE",
            "openerFrameId": "OTHER-PAGE",
            "parentId": "OTHER-PAGE",
            "embedderData": {"x": 1},
        }
        assert contexts_of(target("T", **related)).target("T") == target("T")
        assert contexts_of(target("OTHER-PAGE", FOREIGN), target("T", **related)).target("T") == target("T")

    def test_name_an_opener_that_was_discovered_later(self) -> None:
        popup = target("POPUP", openerId="PAGE", openerFrameId="F")
        assert contexts_of(popup, target("PAGE")).target("POPUP") == popup

    def test_count_open_targets(self) -> None:
        scope = session_scope()
        assert (scope.contexts.count("page"), scope.contexts.count("tab")) == (2, 1)
        gone(scope, "PAGE")
        gone(scope, "FOREIGN")
        assert scope.contexts.count("page") == 1

    def test_no_longer_hold_a_discarded_nested_context(self) -> None:
        contexts = contexts_of(target("T", NESTED))
        contexts.add_nested(NESTED)
        assert contexts.holds(NESTED)
        assert contexts.target("T") is not None
        contexts.discard_nested(NESTED)
        contexts.discard_nested(NESTED)
        assert not contexts.holds(NESTED)
        assert contexts.target("T") is None


class TestDiscovery:
    def test_starts_with_existing_targets(self) -> None:
        events = session_scope().discover(None, DEFAULT_FILTER)
        assert [e.params["targetInfo"]["targetId"] for e in events] == ["PAGE", "WORKER", "PAGE-NESTED"]
        assert {e.method for e in events} == {"Target.targetCreated"}

    def test_notifies_each_level_that_enabled_it(self) -> None:
        scope = session_scope()
        scope.discover(None, DEFAULT_FILTER)
        scope.discover("S-PAGE", TABS)
        seen(scope, target("NEW"))
        assert [(e.method, e.session_id) for e in scope.on_target("NEW")] == [("Target.targetCreated", None)]
        seen(scope, target("NEW-TAB", target_type="tab"))
        assert [(e.method, e.session_id) for e in scope.on_target("NEW-TAB")] == [("Target.targetCreated", "S-PAGE")]

    def test_reports_the_lifecycle_of_a_target_in_order(self) -> None:
        scope = session_scope()
        scope.discover(None, DEFAULT_FILTER)
        seen(scope, target("NEW", url="chrome://newtab/"))
        names = [e.method for e in scope.on_target("NEW")]
        seen(scope, target("NEW"))
        names += [e.method for e in scope.on_target("NEW")]
        seen(scope, target("NEW", title="x"))
        names += [e.method for e in scope.on_target("NEW")]
        names += [e.method for e in scope.on_target_crashed("NEW", "killed", 9)]
        gone(scope, "NEW")
        names += [e.method for e in scope.on_target_gone("NEW")]
        names += [e.method for e in scope.on_target_gone("NEW")]
        in_order = ["targetCreated", "targetInfoChanged", "targetCrashed", "targetDestroyed"]
        assert names == [f"Target.{name}" for name in in_order]

    def test_reports_a_target_that_becomes_internal_as_destroyed(self) -> None:
        scope = session_scope()
        scope.discover(None, DEFAULT_FILTER)
        seen(scope, target("PAGE", url="chrome://settings/"))
        assert [e.method for e in scope.on_target("PAGE")] == ["Target.targetDestroyed"]

    def test_can_be_turned_off(self) -> None:
        scope = session_scope()
        scope.discover(None, DEFAULT_FILTER)
        assert scope.discover(None, None) == []
        assert scope.on_target("PAGE") == []

    def test_with_an_unrestricted_filter_starts_with_the_browser(self) -> None:
        scope = session_scope()
        events = scope.discover(None, parse_filter([{}]))
        reported = [e.params["targetInfo"]["targetId"] for e in events]
        assert reported == ["browser", "PAGE", "TAB", "WORKER", "PAGE-NESTED"]

    def test_does_not_report_foreign_targets(self) -> None:
        scope = session_scope()
        scope.discover(None, parse_filter([{}]))
        assert scope.on_target("FOREIGN") == []
        assert scope.on_target_crashed("FOREIGN", "killed", 9) == []
        assert scope.on_target_gone("FOREIGN") == []

    def test_reports_pages_of_a_discarded_context_as_destroyed(self) -> None:
        scope = session_scope()
        scope.discover(None, DEFAULT_FILTER)
        scope.contexts.discard_nested(NESTED)
        gone(scope, "PAGE-NESTED")
        assert [e.params for e in scope.on_target_gone("PAGE-NESTED")] == [{"targetId": "PAGE-NESTED"}]

    def test_ends_with_its_session(self) -> None:
        scope = session_scope()
        scope.discover("S-PAGE", DEFAULT_FILTER)
        scope.on_browser_event("Target.detachedFromTarget", {"sessionId": "S-PAGE"}, None)
        assert scope.on_target("PAGE") == []


class TestAutoAttach:
    ON = AutoAttach(DEFAULT_FILTER, wait_for_debugger=True)

    def test_attaches_to_existing_pages_but_not_to_workers(self) -> None:
        change = session_scope().set_auto_attach(self.ON)
        assert (change.detach, change.attach) == ((), ("PAGE", "PAGE-NESTED"))

    def test_attaches_to_each_target_once(self) -> None:
        scope = session_scope()
        scope.set_auto_attach(self.ON)
        attach(scope, target("PAGE"), "S-AUTO", automatic=True)
        assert not scope.wants(target("PAGE"))
        assert scope.set_auto_attach(self.ON).attach == ("PAGE-NESTED",)

    def test_off_detaches_only_automatic_sessions(self) -> None:
        scope = session_scope()
        scope.set_auto_attach(self.ON)
        attach(scope, target("PAGE"), "S-AUTO", automatic=True)
        change = scope.set_auto_attach(AutoAttach(None, wait_for_debugger=False))
        assert (change.detach, change.attach) == (("S-AUTO",), ())
        assert not scope.wants(target("PAGE-NESTED", NESTED))

    @pytest.mark.parametrize(
        ("info", "wanted"),
        [
            (target("PAGE"), True),
            (target("TAB", target_type="tab"), False),
            (target("WORKER", target_type="worker"), False),
            (target("HIDDEN", url="chrome://newtab/"), False),
            (target("FOREIGN", FOREIGN), False),
        ],
    )
    def test_filters_new_targets(self, info: dict[str, Any], wanted: bool) -> None:
        scope = session_scope()
        assert not scope.wants(info)
        scope.set_auto_attach(self.ON)
        assert scope.wants(info) is wanted

    def test_of_tabs(self) -> None:
        scope = session_scope()
        assert scope.set_auto_attach(AutoAttach(TABS, wait_for_debugger=False)).attach == ("TAB",)


class TestAttached:
    def test_an_announced_attach_is_reported_with_its_pause(self) -> None:
        scope = session_scope()
        scope.attaching("PAGE-NESTED", None, automatic=True, waits=True)
        params = attached_params(target("PAGE-NESTED", NESTED)) | {"waitingForDebugger": True}
        event = scope.on_browser_event("Target.attachedToTarget", params, None)
        assert event is not None
        assert event.params["waitingForDebugger"] is True
        held = scope.session("S-NEW")
        assert held is not None
        assert (held.target_id, held.context_id, held.parent, held.automatic) == ("PAGE-NESTED", NESTED, None, True)

    @pytest.mark.parametrize(("waits", "waiting"), [(False, True), (True, False), (False, False)])
    def test_no_pause_is_reported_if_the_client_wants_none_or_the_target_runs(self, waits: bool, waiting: bool) -> None:
        scope = session_scope()
        scope.attaching("PAGE-NESTED", None, automatic=True, waits=waits)
        params = attached_params(target("PAGE-NESTED", NESTED)) | {"waitingForDebugger": waiting}
        event = scope.on_browser_event("Target.attachedToTarget", params, None)
        assert event is not None
        assert event.params["waitingForDebugger"] is False

    def test_an_attach_that_was_not_announced_is_not_reported(self) -> None:
        scope = session_scope()
        assert (
            scope.on_browser_event("Target.attachedToTarget", attached_params(target("PAGE-NESTED", NESTED)), None)
            is None
        )
        assert scope.session("S-NEW") is None

    def test_an_attach_in_a_foreign_context_is_not_reported_even_if_announced(self) -> None:
        scope = session_scope()
        for parent in (None, "S-PAGE"):
            scope.attaching("FOREIGN", parent, automatic=False)
            assert (
                scope.on_browser_event("Target.attachedToTarget", attached_params(target("FOREIGN", FOREIGN)), parent)
                is None
            )
        assert scope.session("S-NEW") is None

    def test_an_attach_below_a_foreign_session_is_not_reported(self) -> None:
        scope = session_scope()
        assert scope.on_browser_event("Target.attachedToTarget", attached_params(target("PAGE")), "S-FOREIGN") is None

    def test_a_failed_attach_is_no_longer_announced(self) -> None:
        scope = session_scope()
        scope.attaching("PAGE-NESTED", None, automatic=False)
        scope.attach_failed("PAGE-NESTED", None)
        assert (
            scope.on_browser_event("Target.attachedToTarget", attached_params(target("PAGE-NESTED", NESTED)), None)
            is None
        )

    def test_targets_below_a_page_need_no_announcement(self) -> None:
        scope = session_scope()
        info = {k: v for k, v in target("W2", target_type="worker").items() if k != "browserContextId"}
        event = scope.on_browser_event(
            "Target.attachedToTarget", attached_params(info) | {"waitingForDebugger": True}, "S-PAGE"
        )
        assert event is not None
        assert (event.session_id, event.params["waitingForDebugger"]) == ("S-PAGE", True)
        assert scope.context_of("S-NEW") == OWN
        assert scope.target("W2") is not None

    def test_the_number_of_sessions_is_limited(self) -> None:
        scope = session_scope()
        for number in range(MAX_SESSIONS):
            assert not scope.full or number >= MAX_SESSIONS - 2
            attach(scope, target("PAGE"), f"S{number}")
        assert scope.full


class TestDetached:
    def test_ends_all_sessions_below(self) -> None:
        scope = session_scope()
        scope.set_downloads("S-WORKER", events=True)
        event = scope.on_browser_event("Target.detachedFromTarget", {"sessionId": "S-PAGE", "targetId": "PAGE"}, None)
        assert event is not None
        assert scope.session("S-PAGE") is None
        assert scope.session("S-WORKER") is None
        assert not scope.holds_handle("S-PAGE", "1")
        assert scope.on_download("Browser.downloadProgress", {"guid": "g"}) == []

    def test_handles_stay_while_another_session_is_on_the_target(self) -> None:
        scope = session_scope()
        attach(scope, target("PAGE"), "S-TWO")
        scope.on_browser_event("Target.detachedFromTarget", {"sessionId": "S-PAGE"}, None)
        assert scope.holds_handle("S-TWO", "1")

    @pytest.mark.parametrize("session_id", [None, "S-PAGE", "S-FOREIGN"])
    def test_foreign_sessions_are_not_reported(self, session_id: str | None) -> None:
        params = {"sessionId": "S-FOREIGN", "targetId": "FOREIGN"}
        assert session_scope().on_browser_event("Target.detachedFromTarget", params, session_id) is None


@pytest.mark.parametrize(
    "method",
    [
        "Target.targetCreated",
        "Target.targetInfoChanged",
        "Target.targetDestroyed",
        "Target.targetCrashed",
        "Target.receivedMessageFromTarget",
        "Target.brandNew",
        "Browser.downloadWillBegin",
        "Browser.downloadProgress",
    ],
)
@pytest.mark.parametrize("session_id", [None, "S-PAGE"])
def test_events_that_the_gateway_generates_are_not_forwarded(method: str, session_id: str | None) -> None:
    assert (
        session_scope().on_browser_event(method, {"targetInfo": target("PAGE"), "targetId": "PAGE"}, session_id) is None
    )


class TestResponses:
    def test_the_stream_of_a_resource_becomes_a_handle(self) -> None:
        scope = session_scope()
        response = {"resource": {"success": True, "stream": "9"}}
        assert scope.read(Ask({}, "S-PAGE", Reading.STREAM), response) == response
        assert scope.holds_handle("S-PAGE", "9")

    def test_a_blob_becomes_a_handle(self) -> None:
        scope = session_scope()
        scope.read(Ask({}, "S-PAGE", Reading.BLOB), {"uuid": "u"})
        assert scope.holds_handle("S-PAGE", "blob:u")

    @pytest.mark.parametrize("reading", [Reading.STREAM, Reading.BLOB, Reading.WINDOW])
    def test_a_response_without_an_id_adds_no_handle(self, reading: Reading) -> None:
        scope = session_scope()
        odd: dict[str, Any] = {"stream": None, "uuid": 5, "windowId": "7"}
        assert scope.read(Ask({}, "S-PAGE", reading), odd) == odd
        assert not scope.holds_handle("S-PAGE", "5")

    def test_the_command_line_is_removed(self) -> None:
        response = {"gpu": {}, "commandLine": "--remote-debugging-port=9222"}
        assert session_scope().read(Ask({}, None, Reading.COMMAND_LINE), response) == {"gpu": {}, "commandLine": ""}

    def test_the_stream_of_a_trace_becomes_a_handle(self) -> None:
        scope = session_scope()
        assert scope.on_browser_event("Tracing.tracingComplete", {"stream": "3"}, None) is not None
        assert scope.holds_handle(None, "3")


def test_download_events_go_to_levels_that_enabled_them_without_the_hosts_path() -> None:
    scope = session_scope()
    progress = {"guid": "g", "state": "completed", "filePath": "/data/s1/downloads/g"}
    assert scope.on_download("Browser.downloadProgress", progress) == []
    scope.set_downloads(None, events=True)
    scope.set_downloads("S-PAGE", events=True)
    scope.set_downloads("S-PAGE", events=False)
    scope.set_downloads(None, events=None)
    events = scope.on_download("Browser.downloadProgress", progress)
    assert [(e.session_id, e.params) for e in events] == [(None, {"guid": "g", "state": "completed"})]


def test_scopes_of_one_session_share_only_targets() -> None:
    one = session_scope()
    two = Scope(one.contexts)
    assert two.target("PAGE") is not None
    assert two.session("S-PAGE") is None
    assert not two.holds_window(7)
    assert not two.holds_handle("S-PAGE", "1")


class TestSessionOnTheBrowserTarget:
    def test_is_reported_on_its_level_without_chromiums_target_id(self) -> None:
        scope = session_scope()
        scope.attaching_browser(None)
        event = scope.on_browser_event("Target.attachedToTarget", attached_params(browser_target(), "S-BROWSER"), None)
        assert event is not None
        assert event.session_id is None
        assert event.params == {"sessionId": "S-BROWSER", "targetInfo": BROWSER_TARGET, "waitingForDebugger": False}
        assert scope.is_browser("S-BROWSER")
        assert scope.session("S-BROWSER") is None

    def test_that_was_not_requested_is_not_reported(self) -> None:
        scope = session_scope()
        assert (
            scope.on_browser_event("Target.attachedToTarget", attached_params(browser_target(), "S-BROWSER"), None)
            is None
        )
        assert not scope.is_browser("S-BROWSER")

    def test_sessions_attached_through_it_are_reported_on_it_and_end_with_it(self) -> None:
        scope = session_scope()
        attach_browser(scope, "S-BROWSER")
        attach_browser(scope, "S-BELOW", "S-BROWSER")
        scope.attaching("PAGE", "S-BELOW", automatic=False)
        attached = scope.on_browser_event("Target.attachedToTarget", attached_params(target("PAGE")), "S-BELOW")
        assert attached is not None
        assert attached.session_id == "S-BELOW"
        assert scope.context_of("S-NEW") == OWN
        scope.discover("S-BELOW", DEFAULT_FILTER)
        detached = scope.on_browser_event("Target.detachedFromTarget", {"sessionId": "S-BROWSER"}, None)
        assert detached is not None
        assert (detached.session_id, detached.params["targetId"]) == (None, "browser")
        assert not scope.is_browser("S-BROWSER")
        assert not scope.is_browser("S-BELOW")
        assert scope.session("S-NEW") is None
        assert scope.on_target("PAGE") == []
        assert scope.session("S-PAGE") is not None

    def test_an_attach_through_it_that_was_not_announced_is_not_reported(self) -> None:
        scope = session_scope()
        attach_browser(scope, "S-BROWSER")
        assert scope.on_browser_event("Target.attachedToTarget", attached_params(target("PAGE")), "S-BROWSER") is None
        scope.attaching("FOREIGN", "S-BROWSER", automatic=False)
        assert (
            scope.on_browser_event("Target.attachedToTarget", attached_params(target("FOREIGN", FOREIGN)), "S-BROWSER")
            is None
        )
        assert scope.session("S-NEW") is None

    def test_sessions_below_it_end_with_it_however_deeply_they_are_nested(self) -> None:
        scope = session_scope()
        attach_browser(scope, "S-0")
        for number in range(2 * sys.getrecursionlimit()):
            attach_browser(scope, f"S-{number + 1}", f"S-{number}")
        assert scope.on_browser_event("Target.detachedFromTarget", {"sessionId": "S-0"}, None) is not None
        assert not any(scope.holds(f"S-{number}") for number in range(2 * sys.getrecursionlimit() + 1))
        assert scope.holds("S-PAGE")

    def test_counts_as_a_session_of_the_connection(self) -> None:
        scope = session_scope()
        for number in range(MAX_SESSIONS - 2):
            assert not scope.full
            attach_browser(scope, f"B{number}")
        assert scope.full
