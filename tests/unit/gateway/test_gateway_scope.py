"""What one client holds and is told, event by event."""

from __future__ import annotations

from typing import Any

import pytest

from browser_sessions.gateway.scope.client_scope import BROWSER_TARGET, MAX_SESSIONS, Scope
from browser_sessions.gateway.scope.command_decision import Ask, AutoAttach, Reading
from browser_sessions.gateway.scope.session_contexts import Contexts
from browser_sessions.gateway.scope.target_filters import DEFAULT_FILTER, parse_filter
from tests.harness.fakes.gateway_world import (
    FOREIGN,
    NESTED,
    OWN,
    attach,
    attach_browser,
    browser_target,
    empty_tree,
    gone,
    seen,
    target,
    world,
)

TABS = parse_filter([{"type": "tab"}])


def told(info: dict[str, Any], session_id: str = "S-NEW") -> dict[str, Any]:
    return {"sessionId": session_id, "targetInfo": info, "waitingForDebugger": False}


def contexts_of(*infos: dict[str, Any]) -> Contexts:
    """One session's, in a browser that has these targets."""
    tree = empty_tree()
    for info in infos:
        tree.update(info)
    return Contexts(OWN, tree)


class TestContexts:
    @pytest.mark.parametrize("context_id", [FOREIGN, None, "", 5, [OWN]])
    def test_hold_nothing_of_others(self, context_id: Any) -> None:
        assert not contexts_of().holds(context_id)

    @pytest.mark.parametrize("context_id", [FOREIGN, ""])
    def test_show_nothing_of_others(self, context_id: str) -> None:
        contexts = contexts_of(target("T", context_id))
        assert contexts.target("T") is None
        assert list(contexts.targets()) == []
        assert contexts.count("page") == 0

    @pytest.mark.parametrize("target_id", [None, 5, ["T"], ""])
    def test_know_no_target_by_what_is_no_id(self, target_id: Any) -> None:
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
    def test_hide_the_browser_s_own(self, info: dict[str, Any]) -> None:
        contexts = contexts_of(info)
        assert contexts.target("T") is None
        assert list(contexts.targets()) == []
        assert contexts.count(info["type"]) == 0

    def test_name_no_relatives_of_others(self) -> None:
        related: dict[str, Any] = {
            "openerId": "STRANGER",
            "openerFrameId": "STRANGER",
            "parentId": "STRANGER",
            "embedderData": {"x": 1},
        }
        assert contexts_of(target("T", **related)).target("T") == target("T")
        assert contexts_of(target("STRANGER", FOREIGN), target("T", **related)).target("T") == target("T")

    def test_name_an_opener_that_discovery_told_later(self) -> None:
        popup = target("POPUP", openerId="PAGE", openerFrameId="F")
        assert contexts_of(popup, target("PAGE")).target("POPUP") == popup

    def test_count_what_is_open(self) -> None:
        scope = world()
        assert (scope.contexts.count("page"), scope.contexts.count("tab")) == (2, 1)
        gone(scope, "PAGE")
        gone(scope, "FOREIGN")
        assert scope.contexts.count("page") == 1

    def test_forget_a_nested_one(self) -> None:
        contexts = contexts_of(target("T", NESTED))
        contexts.add_nested(NESTED)
        assert contexts.holds(NESTED)
        assert contexts.target("T") is not None
        contexts.discard_nested(NESTED)
        contexts.discard_nested(NESTED)
        assert not contexts.holds(NESTED)
        assert contexts.target("T") is None


class TestDiscovery:
    def test_starts_with_what_is_there(self) -> None:
        events = world().discover(None, DEFAULT_FILTER)
        assert [e.params["targetInfo"]["targetId"] for e in events] == ["PAGE", "WORKER", "PAGE-NESTED"]
        assert {e.method for e in events} == {"Target.targetCreated"}

    def test_tells_each_level_that_asked(self) -> None:
        scope = world()
        scope.discover(None, DEFAULT_FILTER)
        scope.discover("S-PAGE", TABS)
        seen(scope, target("NEW"))
        assert [(e.method, e.session_id) for e in scope.on_target("NEW")] == [("Target.targetCreated", None)]
        seen(scope, target("NEW-TAB", target_type="tab"))
        assert [(e.method, e.session_id) for e in scope.on_target("NEW-TAB")] == [("Target.targetCreated", "S-PAGE")]

    def test_follows_a_target_from_its_coming_to_its_going(self) -> None:
        scope = world()
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
        told_in_order = ["targetCreated", "targetInfoChanged", "targetCrashed", "targetDestroyed"]
        assert names == [f"Target.{name}" for name in told_in_order]

    def test_a_target_that_becomes_the_browser_s_own_is_gone(self) -> None:
        scope = world()
        scope.discover(None, DEFAULT_FILTER)
        seen(scope, target("PAGE", url="chrome://settings/"))
        assert [e.method for e in scope.on_target("PAGE")] == ["Target.targetDestroyed"]

    def test_off_is_silent(self) -> None:
        scope = world()
        scope.discover(None, DEFAULT_FILTER)
        assert scope.discover(None, None) == []
        assert scope.on_target("PAGE") == []

    def test_of_everything_begins_with_the_browser_itself(self) -> None:
        scope = world()
        events = scope.discover(None, parse_filter([{}]))
        told_first = [e.params["targetInfo"]["targetId"] for e in events]
        assert told_first == ["browser", "PAGE", "TAB", "WORKER", "PAGE-NESTED"]

    def test_tells_nothing_of_others(self) -> None:
        scope = world()
        scope.discover(None, parse_filter([{}]))
        assert scope.on_target("FOREIGN") == []
        assert scope.on_target_crashed("FOREIGN", "killed", 9) == []
        assert scope.on_target_gone("FOREIGN") == []

    def test_tells_of_a_context_s_pages_as_gone_when_they_are(self) -> None:
        scope = world()
        scope.discover(None, DEFAULT_FILTER)
        scope.contexts.discard_nested(NESTED)
        gone(scope, "PAGE-NESTED")
        assert [e.params for e in scope.on_target_gone("PAGE-NESTED")] == [{"targetId": "PAGE-NESTED"}]

    def test_ends_with_its_session(self) -> None:
        scope = world()
        scope.discover("S-PAGE", DEFAULT_FILTER)
        scope.on_browser_event("Target.detachedFromTarget", {"sessionId": "S-PAGE"}, None)
        assert scope.on_target("PAGE") == []


class TestAutoAttach:
    ON = AutoAttach(DEFAULT_FILTER, wait_for_debugger=True)

    def test_takes_pages_that_are_there_and_leaves_workers_to_their_page(self) -> None:
        change = world().set_auto_attach(self.ON)
        assert (change.detach, change.attach) == ((), ("PAGE", "PAGE-NESTED"))

    def test_takes_each_target_once(self) -> None:
        scope = world()
        scope.set_auto_attach(self.ON)
        attach(scope, target("PAGE"), "S-AUTO", automatic=True)
        assert not scope.wants(target("PAGE"))
        assert scope.set_auto_attach(self.ON).attach == ("PAGE-NESTED",)

    def test_off_detaches_what_it_attached_and_nothing_else(self) -> None:
        scope = world()
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
    def test_chooses_new_targets(self, info: dict[str, Any], wanted: bool) -> None:
        scope = world()
        assert not scope.wants(info)
        scope.set_auto_attach(self.ON)
        assert scope.wants(info) is wanted

    def test_of_tabs(self) -> None:
        scope = world()
        assert scope.set_auto_attach(AutoAttach(TABS, wait_for_debugger=False)).attach == ("TAB",)


class TestAttached:
    def test_what_was_announced_is_told_as_it_waits(self) -> None:
        scope = world()
        scope.attaching("PAGE-NESTED", None, automatic=True, waits=True)
        params = told(target("PAGE-NESTED", NESTED)) | {"waitingForDebugger": True}
        event = scope.on_browser_event("Target.attachedToTarget", params, None)
        assert event is not None
        assert event.params["waitingForDebugger"] is True
        held = scope.session("S-NEW")
        assert held is not None
        assert (held.target_id, held.context_id, held.parent, held.automatic) == ("PAGE-NESTED", NESTED, None, True)

    @pytest.mark.parametrize(("waits", "waiting"), [(False, True), (True, False), (False, False)])
    def test_no_pause_is_told_to_a_client_that_asked_for_none_or_of_a_target_that_runs(
        self, waits: bool, waiting: bool
    ) -> None:
        scope = world()
        scope.attaching("PAGE-NESTED", None, automatic=True, waits=waits)
        params = told(target("PAGE-NESTED", NESTED)) | {"waitingForDebugger": waiting}
        event = scope.on_browser_event("Target.attachedToTarget", params, None)
        assert event is not None
        assert event.params["waitingForDebugger"] is False

    def test_what_was_not_announced_is_not_for_the_client(self) -> None:
        scope = world()
        assert scope.on_browser_event("Target.attachedToTarget", told(target("PAGE-NESTED", NESTED)), None) is None
        assert scope.session("S-NEW") is None

    def test_nothing_of_another_context_even_when_announced(self) -> None:
        scope = world()
        for parent in (None, "S-PAGE"):
            scope.attaching("FOREIGN", parent, automatic=False)
            assert scope.on_browser_event("Target.attachedToTarget", told(target("FOREIGN", FOREIGN)), parent) is None
        assert scope.session("S-NEW") is None

    def test_below_a_session_that_is_not_the_client_s_nothing_is(self) -> None:
        scope = world()
        assert scope.on_browser_event("Target.attachedToTarget", told(target("PAGE")), "S-FOREIGN") is None

    def test_a_failed_attach_leaves_nothing_announced(self) -> None:
        scope = world()
        scope.attaching("PAGE-NESTED", None, automatic=False)
        scope.attach_failed("PAGE-NESTED", None)
        assert scope.on_browser_event("Target.attachedToTarget", told(target("PAGE-NESTED", NESTED)), None) is None

    def test_a_page_s_relatives_come_without_announcement(self) -> None:
        scope = world()
        info = {k: v for k, v in target("W2", target_type="worker").items() if k != "browserContextId"}
        event = scope.on_browser_event("Target.attachedToTarget", told(info) | {"waitingForDebugger": True}, "S-PAGE")
        assert event is not None
        assert (event.session_id, event.params["waitingForDebugger"]) == ("S-PAGE", True)
        assert scope.context_of("S-NEW") == OWN
        assert scope.target("W2") is not None

    def test_many_sessions_are_enough(self) -> None:
        scope = world()
        for number in range(MAX_SESSIONS):
            assert not scope.full or number >= MAX_SESSIONS - 2
            attach(scope, target("PAGE"), f"S{number}")
        assert scope.full


class TestDetached:
    def test_takes_everything_below_along(self) -> None:
        scope = world()
        scope.set_downloads("S-WORKER", events=True)
        event = scope.on_browser_event("Target.detachedFromTarget", {"sessionId": "S-PAGE", "targetId": "PAGE"}, None)
        assert event is not None
        assert scope.session("S-PAGE") is None
        assert scope.session("S-WORKER") is None
        assert not scope.holds_handle("S-PAGE", "1")
        assert scope.on_download("Browser.downloadProgress", {"guid": "g"}) == []

    def test_handles_stay_while_another_session_is_on_the_target(self) -> None:
        scope = world()
        attach(scope, target("PAGE"), "S-TWO")
        scope.on_browser_event("Target.detachedFromTarget", {"sessionId": "S-PAGE"}, None)
        assert scope.holds_handle("S-TWO", "1")

    @pytest.mark.parametrize("session_id", [None, "S-PAGE", "S-FOREIGN"])
    def test_of_others_is_not_told(self, session_id: str | None) -> None:
        params = {"sessionId": "S-FOREIGN", "targetId": "FOREIGN"}
        assert world().on_browser_event("Target.detachedFromTarget", params, session_id) is None


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
def test_what_the_hub_tells_is_not_told_twice(method: str, session_id: str | None) -> None:
    assert world().on_browser_event(method, {"targetInfo": target("PAGE"), "targetId": "PAGE"}, session_id) is None


class TestAnswers:
    def test_a_resource_s_stream_is_remembered(self) -> None:
        scope = world()
        answer = {"resource": {"success": True, "stream": "9"}}
        assert scope.read(Ask({}, "S-PAGE", Reading.STREAM), answer) == answer
        assert scope.holds_handle("S-PAGE", "9")

    def test_a_blob_becomes_a_handle(self) -> None:
        scope = world()
        scope.read(Ask({}, "S-PAGE", Reading.BLOB), {"uuid": "u"})
        assert scope.holds_handle("S-PAGE", "blob:u")

    @pytest.mark.parametrize("reading", [Reading.STREAM, Reading.BLOB, Reading.WINDOW])
    def test_an_answer_without_it_gives_nothing(self, reading: Reading) -> None:
        scope = world()
        odd: dict[str, Any] = {"stream": None, "uuid": 5, "windowId": "7"}
        assert scope.read(Ask({}, "S-PAGE", reading), odd) == odd
        assert not scope.holds_handle("S-PAGE", "5")

    def test_the_command_line_is_left_out(self) -> None:
        answer = {"gpu": {}, "commandLine": "--remote-debugging-port=9222"}
        assert world().read(Ask({}, None, Reading.COMMAND_LINE), answer) == {"gpu": {}, "commandLine": ""}

    def test_a_trace_s_stream_is_remembered(self) -> None:
        scope = world()
        assert scope.on_browser_event("Tracing.tracingComplete", {"stream": "3"}, None) is not None
        assert scope.holds_handle(None, "3")


def test_downloads_are_told_where_they_were_asked_for_and_without_the_host_s_path() -> None:
    scope = world()
    progress = {"guid": "g", "state": "completed", "filePath": "/data/s1/downloads/g"}
    assert scope.on_download("Browser.downloadProgress", progress) == []
    scope.set_downloads(None, events=True)
    scope.set_downloads("S-PAGE", events=True)
    scope.set_downloads("S-PAGE", events=False)
    scope.set_downloads(None, events=None)
    events = scope.on_download("Browser.downloadProgress", progress)
    assert [(e.session_id, e.params) for e in events] == [(None, {"guid": "g", "state": "completed"})]


def test_scopes_of_one_session_share_targets_and_nothing_else() -> None:
    one = world()
    two = Scope(one.contexts)
    assert two.target("PAGE") is not None
    assert two.session("S-PAGE") is None
    assert not two.holds_window(7)
    assert not two.holds_handle("S-PAGE", "1")


class TestSessionOnTheBrowserTarget:
    def test_is_told_where_it_was_asked_for_and_without_chromium_s_own_id(self) -> None:
        scope = world()
        scope.attaching_browser(None)
        event = scope.on_browser_event("Target.attachedToTarget", told(browser_target(), "S-BROWSER"), None)
        assert event is not None
        assert event.session_id is None
        assert event.params == {"sessionId": "S-BROWSER", "targetInfo": BROWSER_TARGET, "waitingForDebugger": False}
        assert scope.is_browser("S-BROWSER")
        assert scope.session("S-BROWSER") is None

    def test_that_nobody_asked_for_is_not_the_client_s(self) -> None:
        scope = world()
        assert scope.on_browser_event("Target.attachedToTarget", told(browser_target(), "S-BROWSER"), None) is None
        assert not scope.is_browser("S-BROWSER")

    def test_what_was_attached_through_it_is_told_there_and_goes_with_it(self) -> None:
        scope = world()
        attach_browser(scope, "S-BROWSER")
        attach_browser(scope, "S-BELOW", "S-BROWSER")
        scope.attaching("PAGE", "S-BELOW", automatic=False)
        attached = scope.on_browser_event("Target.attachedToTarget", told(target("PAGE")), "S-BELOW")
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

    def test_nothing_is_attached_through_it_that_was_not_announced(self) -> None:
        scope = world()
        attach_browser(scope, "S-BROWSER")
        assert scope.on_browser_event("Target.attachedToTarget", told(target("PAGE")), "S-BROWSER") is None
        scope.attaching("FOREIGN", "S-BROWSER", automatic=False)
        assert scope.on_browser_event("Target.attachedToTarget", told(target("FOREIGN", FOREIGN)), "S-BROWSER") is None
        assert scope.session("S-NEW") is None

    def test_counts_among_the_sessions_of_a_connection(self) -> None:
        scope = world()
        for number in range(MAX_SESSIONS - 2):
            assert not scope.full
            attach_browser(scope, f"B{number}")
        assert scope.full
