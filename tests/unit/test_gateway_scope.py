"""What one client holds and is told, event by event."""

from __future__ import annotations

from typing import Any

import pytest

from browser_sessions.gateway.contexts import Contexts
from browser_sessions.gateway.decision import Ask, AutoAttach, Reading
from browser_sessions.gateway.filters import DEFAULT_FILTER, parse_filter
from browser_sessions.gateway.scope import MAX_SESSIONS, Scope
from tests.unit.gateway_world import FOREIGN, NESTED, OWN, attach, target, world

TABS = parse_filter([{"type": "tab"}])


def told(info: dict[str, Any], session_id: str = "S-NEW") -> dict[str, Any]:
    return {"sessionId": session_id, "targetInfo": info, "waitingForDebugger": False}


class TestContexts:
    @pytest.mark.parametrize("context_id", [FOREIGN, None, "", 5, [OWN]])
    def test_hold_nothing_of_others(self, context_id: Any) -> None:
        contexts = Contexts(OWN)
        assert not contexts.holds(context_id)
        assert not contexts.see(target("T", context_id))
        assert list(contexts.targets()) == []

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
        contexts = Contexts(OWN)
        assert contexts.see(info)
        assert contexts.target("T") is None

    def test_name_no_relatives_of_others(self) -> None:
        contexts = Contexts(OWN)
        contexts.see(
            target("T", openerId="STRANGER", openerFrameId="STRANGER", parentId="STRANGER", embedderData={"x": 1})
        )
        assert contexts.target("T") == target("T")

    def test_name_an_opener_that_discovery_told_later(self) -> None:
        contexts = Contexts(OWN)
        contexts.see(target("POPUP", openerId="PAGE", openerFrameId="F"))
        contexts.see(target("PAGE"))
        assert contexts.target("POPUP") == target("POPUP", openerId="PAGE", openerFrameId="F")

    def test_forget_a_nested_one(self) -> None:
        contexts = Contexts(OWN)
        contexts.add_nested(NESTED)
        assert contexts.holds(NESTED)
        contexts.discard_nested(NESTED)
        contexts.discard_nested(NESTED)
        assert not contexts.holds(NESTED)


class TestDiscovery:
    def test_starts_with_what_is_there(self) -> None:
        events = world().discover(None, DEFAULT_FILTER)
        assert [e.params["targetInfo"]["targetId"] for e in events] == ["PAGE", "PAGE-NESTED", "WORKER"]
        assert {e.method for e in events} == {"Target.targetCreated"}

    def test_tells_each_level_that_asked(self) -> None:
        scope = world()
        scope.discover(None, DEFAULT_FILTER)
        scope.discover("S-PAGE", TABS)
        scope.contexts.see(target("NEW"))
        assert [(e.method, e.session_id) for e in scope.on_target("NEW")] == [("Target.targetCreated", None)]
        scope.contexts.see(target("NEW-TAB", target_type="tab"))
        assert [(e.method, e.session_id) for e in scope.on_target("NEW-TAB")] == [("Target.targetCreated", "S-PAGE")]

    def test_follows_a_target_from_its_coming_to_its_going(self) -> None:
        scope = world()
        scope.discover(None, DEFAULT_FILTER)
        scope.contexts.see(target("NEW", url="chrome://newtab/"))
        names = [e.method for e in scope.on_target("NEW")]
        scope.contexts.see(target("NEW"))
        names += [e.method for e in scope.on_target("NEW")]
        scope.contexts.see(target("NEW", title="x"))
        names += [e.method for e in scope.on_target("NEW")]
        names += [e.method for e in scope.on_target_crashed("NEW", "killed", 9)]
        scope.contexts.gone("NEW")
        names += [e.method for e in scope.on_target_gone("NEW")]
        names += [e.method for e in scope.on_target_gone("NEW")]
        told_in_order = ["targetCreated", "targetInfoChanged", "targetCrashed", "targetDestroyed"]
        assert names == [f"Target.{name}" for name in told_in_order]

    def test_a_target_that_becomes_the_browser_s_own_is_gone(self) -> None:
        scope = world()
        scope.discover(None, DEFAULT_FILTER)
        scope.contexts.see(target("PAGE", url="chrome://settings/"))
        assert [e.method for e in scope.on_target("PAGE")] == ["Target.targetDestroyed"]

    def test_off_is_silent(self) -> None:
        scope = world()
        scope.discover(None, DEFAULT_FILTER)
        assert scope.discover(None, None) == []
        assert scope.on_target("PAGE") == []

    def test_ends_with_its_session(self) -> None:
        scope = world()
        scope.discover("S-PAGE", DEFAULT_FILTER)
        scope.on_upstream("Target.detachedFromTarget", {"sessionId": "S-PAGE"}, None)
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
        scope.attaching("PAGE-NESTED", None, automatic=True, waiting=True)
        event = scope.on_upstream("Target.attachedToTarget", told(target("PAGE-NESTED", NESTED)), None)
        assert event is not None
        assert event.params["waitingForDebugger"] is True
        held = scope.session("S-NEW")
        assert held is not None
        assert (held.target_id, held.context_id, held.parent, held.automatic) == ("PAGE-NESTED", NESTED, None, True)

    def test_what_was_not_announced_is_not_for_the_client(self) -> None:
        scope = world()
        assert scope.on_upstream("Target.attachedToTarget", told(target("PAGE-NESTED", NESTED)), None) is None
        assert scope.session("S-NEW") is None

    def test_nothing_of_another_context_even_when_announced(self) -> None:
        scope = world()
        for parent in (None, "S-PAGE"):
            scope.attaching("FOREIGN", parent, automatic=False, waiting=False)
            assert scope.on_upstream("Target.attachedToTarget", told(target("FOREIGN", FOREIGN)), parent) is None
        assert scope.session("S-NEW") is None

    def test_below_a_session_that_is_not_the_client_s_nothing_is(self) -> None:
        scope = world()
        assert scope.on_upstream("Target.attachedToTarget", told(target("PAGE")), "S-FOREIGN") is None

    def test_a_failed_attach_leaves_nothing_announced(self) -> None:
        scope = world()
        scope.attaching("PAGE-NESTED", None, automatic=False, waiting=False)
        scope.attach_failed("PAGE-NESTED", None)
        assert scope.on_upstream("Target.attachedToTarget", told(target("PAGE-NESTED", NESTED)), None) is None

    def test_a_page_s_relatives_come_without_announcement(self) -> None:
        scope = world()
        info = {k: v for k, v in target("W2", target_type="worker").items() if k != "browserContextId"}
        event = scope.on_upstream("Target.attachedToTarget", told(info) | {"waitingForDebugger": True}, "S-PAGE")
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
        event = scope.on_upstream("Target.detachedFromTarget", {"sessionId": "S-PAGE", "targetId": "PAGE"}, None)
        assert event is not None
        assert scope.session("S-PAGE") is None
        assert scope.session("S-WORKER") is None
        assert not scope.holds_handle("S-PAGE", "1")
        assert scope.on_download("Browser.downloadProgress", {"guid": "g"}) == []

    def test_handles_stay_while_another_session_is_on_the_target(self) -> None:
        scope = world()
        attach(scope, target("PAGE"), "S-TWO")
        scope.on_upstream("Target.detachedFromTarget", {"sessionId": "S-PAGE"}, None)
        assert scope.holds_handle("S-TWO", "1")

    @pytest.mark.parametrize("params", [{"sessionId": "S-FOREIGN"}, {}])
    def test_of_others_is_not_told(self, params: dict[str, Any]) -> None:
        assert world().on_upstream("Target.detachedFromTarget", params, None) is None


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
    assert world().on_upstream(method, {"targetInfo": target("PAGE"), "targetId": "PAGE"}, session_id) is None


class TestAnswers:
    def test_a_resource_s_stream_is_remembered(self) -> None:
        scope = world()
        answer = {"resource": {"success": True, "stream": "9"}}
        assert scope.read(Ask({}, "S-PAGE", Reading.STREAM), answer) == answer
        assert scope.holds_handle("S-PAGE", "9")
        scope.close_handle("S-PAGE", "9")
        assert not scope.holds_handle("S-PAGE", "9")

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
        assert scope.on_upstream("Tracing.tracingComplete", {"stream": "3"}, None) is not None
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


def test_what_was_attached_through_a_session_on_the_browser_is_told_there() -> None:
    scope = world()
    made = scope.attach_browser("S-BROWSER")
    assert (made.params["sessionId"], made.params["targetInfo"]["type"]) == ("S-BROWSER", "browser")
    scope.attaching("PAGE", None, automatic=False, waiting=False, told_at="S-BROWSER")
    attached = scope.on_upstream("Target.attachedToTarget", told(target("PAGE")), None)
    assert attached is not None
    assert attached.session_id == "S-BROWSER"
    assert scope.detach_browser("S-BROWSER") == ("S-NEW",)
    assert not scope.is_browser("S-BROWSER")
    gone = scope.on_upstream("Target.detachedFromTarget", {"sessionId": "S-NEW"}, None)
    assert gone is not None
    assert gone.session_id == "S-BROWSER"
    assert scope.session("S-NEW") is None
