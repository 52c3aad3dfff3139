"""What a client may say, row by row."""

from __future__ import annotations

from pathlib import PurePosixPath
from typing import Any

import pytest

from browser_sessions.domain.limits import MAX_NESTED, MAX_PAGES
from browser_sessions.gateway.policy.client_options import Options
from browser_sessions.gateway.policy.command_policy import decide
from browser_sessions.gateway.scope.client_scope import BROWSER_TARGET
from browser_sessions.gateway.scope.command_decision import (
    Answer,
    Ask,
    Attach,
    AttachBrowser,
    AutoAttach,
    CloseConnection,
    CreateContext,
    CreateTarget,
    Detach,
    Discover,
    DisposeContext,
    Do,
    Pass,
    Reading,
    Refuse,
    Resume,
    SetDownloads,
)
from browser_sessions.gateway.scope.target_filters import DEFAULT_FILTER
from tests.harness.fakes.gateway_world import FOREIGN, NESTED, OWN, attach, attach_browser, say, target, world

SHARED = Options(upload_folder=PurePosixPath("/data/s1/uploads"))
ALONE = Options(own_browser=True)

DENIED = [
    "Target.exposeDevToolsProtocol",
    "Target.setRemoteLocations",
    "Target.sendMessageToTarget",
    "Target.autoAttachRelated",
    "Browser.crash",
    "Browser.crashGpuProcess",
    "Browser.executeBrowserCommand",
    "Browser.getBrowserCommandLine",
    "SystemInfo.getInfo",
    "SystemInfo.getProcessInfo",
    "Tracing.start",
    "Memory.simulatePressureNotification",
    "Extensions.loadUnpacked",
    "Tethering.bind",
    "Page.brandNew",
    "page.navigate",
    "Page.navigate ",
    "Page",
    "",
]


def unknown(method: str, session_id: str | None = None) -> Refuse:
    """What Chromium says of a method that it does not have; of those that a browser of one's own has, that too."""
    with_own = method.startswith(("Tracing.", "Memory.")) or (method, session_id) == ("SystemInfo.getInfo", None)
    hint = ": it affects all sessions of the browser; create the session with isolation: browser"
    return Refuse(-32601, f"'{method}' wasn't found" + (hint if with_own else ""))


@pytest.mark.parametrize("session_id", [None, "S-PAGE", "S-WORKER"])
@pytest.mark.parametrize("method", DENIED)
def test_what_is_not_allowed_is_unknown(method: str, session_id: str | None) -> None:
    assert decide(say(method, {}, session_id), world(), SHARED) == unknown(method, session_id)


class TestSessionOnTheBrowserTarget:
    """Playwright's `newBrowserCDPSession` asks for one: the connection's own level under another name."""

    def test_is_made_at_browser_level_only(self) -> None:
        assert decide(say("Target.attachToBrowserTarget"), world(), SHARED) == Do(AttachBrowser())
        refused = Refuse(-32601, "'Target.attachToBrowserTarget' wasn't found")
        assert decide(say("Target.attachToBrowserTarget", {}, "S-PAGE"), world(), SHARED) == refused

    def test_is_made_by_the_browser_s_id_too_and_flat(self) -> None:
        flat = {"targetId": BROWSER_TARGET["targetId"], "flatten": True}
        assert decide(say("Target.attachToTarget", flat), world(), SHARED) == Do(AttachBrowser())
        assert isinstance(decide(say("Target.attachToTarget", flat | {"flatten": False}), world(), SHARED), Refuse)
        assert isinstance(decide(say("Target.attachToTarget", flat, "S-PAGE"), world(), SHARED), Refuse)

    def test_may_be_made_below_another_one(self) -> None:
        scope = world()
        attach_browser(scope, "S-BROWSER")
        assert decide(say("Target.attachToBrowserTarget", {}, "S-BROWSER"), scope, SHARED) == Do(AttachBrowser())

    @pytest.mark.parametrize("method", DENIED)
    def test_opens_nothing(self, method: str) -> None:
        scope = world()
        attach_browser(scope, "S-BROWSER")
        assert decide(say(method, {}, "S-BROWSER"), scope, SHARED) == unknown(method)

    @pytest.mark.parametrize(
        ("method", "params"),
        [
            ("Target.getTargets", {}),
            ("Target.attachToTarget", {"targetId": "PAGE", "flatten": True}),
            ("Target.attachToTarget", {"targetId": "FOREIGN", "flatten": True}),
            ("Target.closeTarget", {"targetId": "FOREIGN"}),
            ("Target.createTarget", {"url": "about:blank", "browserContextId": FOREIGN}),
            ("Storage.getCookies", {}),
            ("Page.navigate", {"url": "about:blank"}),
            ("Browser.close", {}),
        ],
    )
    def test_is_decided_on_as_the_connection_itself(self, method: str, params: dict[str, Any]) -> None:
        scope = world()
        attach_browser(scope, "S-BROWSER")
        assert decide(say(method, params, "S-BROWSER"), scope, SHARED) == decide(say(method, params), world(), SHARED)

    def test_does_not_auto_attach(self) -> None:
        scope = world()
        attach_browser(scope, "S-BROWSER")
        asked = {"autoAttach": True, "waitForDebuggerOnStart": True, "flatten": True}
        assert isinstance(decide(say("Target.setAutoAttach", asked, "S-BROWSER"), scope, SHARED), Refuse)

    def test_may_be_given_up_and_is_unknown_then(self) -> None:
        scope = world()
        attach_browser(scope, "S-BROWSER")
        leave = say("Target.detachFromTarget", {"sessionId": "S-BROWSER"})
        assert decide(leave, scope, SHARED) == Do(Detach("S-BROWSER"))
        scope.on_browser_event("Target.detachedFromTarget", {"sessionId": "S-BROWSER"}, None)
        assert decide(leave, scope, SHARED) == Refuse(-32602, "No session with given id")
        assert decide(say("Target.getTargets", {}, "S-BROWSER"), scope, SHARED) == Refuse(
            -32001, "Session with given id not found."
        )


@pytest.mark.parametrize(
    "method", ["Fetch.enable", "Security.setIgnoreCertificateErrors", "Page.navigate", "Runtime.evaluate"]
)
def test_a_page_s_methods_are_unknown_to_the_browser(method: str) -> None:
    assert decide(say(method), world(), SHARED) == Refuse(-32601, f"'{method}' wasn't found")


@pytest.mark.parametrize("session_id", ["S-FOREIGN", "s-page", "S-PAGE "])
def test_a_session_of_another_connection_is_unknown(session_id: str) -> None:
    answer = decide(say("Runtime.evaluate", {"expression": "1"}, session_id), world(), SHARED)
    assert answer == Refuse(-32001, "Session with given id not found.")


@pytest.mark.parametrize(
    ("method", "session_id"),
    [("Runtime.evaluate", "S-PAGE"), ("Runtime.evaluate", "S-WORKER"), ("Page.enable", "S-PAGE")],
)
def test_what_is_a_page_s_own_passes_as_it_is(method: str, session_id: str | None) -> None:
    assert decide(say(method, {"expression": "1"}, session_id), world(), SHARED) == Pass()


@pytest.mark.parametrize("session_id", [None, "S-PAGE"])
def test_targets_are_own_targets(session_id: str | None) -> None:
    answer = decide(say("Target.getTargets", {"filter": [{}]}, session_id), world(), SHARED)
    assert isinstance(answer, Answer)
    assert [info["targetId"] for info in answer.result["targetInfos"]] == [
        "browser",
        "PAGE",
        "TAB",
        "WORKER",
        "PAGE-NESTED",
    ]


def test_tabs_are_not_among_targets_unless_asked_for() -> None:
    answer = decide(say("Target.getTargets"), world(), SHARED)
    assert isinstance(answer, Answer)
    assert [info["targetId"] for info in answer.result["targetInfos"]] == ["PAGE", "WORKER", "PAGE-NESTED"]


@pytest.mark.parametrize("target_id", ["FOREIGN", "HIDDEN", ""])
@pytest.mark.parametrize(
    "method", ["Target.getTargetInfo", "Target.attachToTarget", "Target.activateTarget", "Browser.getWindowForTarget"]
)
def test_a_foreign_target_is_no_target(method: str, target_id: str) -> None:
    answer = decide(say(method, {"targetId": target_id, "flatten": True}), world(), SHARED)
    assert answer == Refuse(-32602, "No target with given id found")


def test_a_foreign_target_cannot_be_closed() -> None:
    answer = decide(say("Target.closeTarget", {"targetId": "FOREIGN"}), world(), SHARED)
    assert answer == Refuse(-32602, "No target found for targetId")


@pytest.mark.parametrize("method", ["Page.captureScreenshot", "Runtime.evaluate", "Storage.getStorageKey"])
@pytest.mark.parametrize("params", [{"targetId": "FOREIGN"}, {"browserContextId": FOREIGN}])
def test_a_foreign_id_passes_in_no_method(method: str, params: dict[str, Any]) -> None:
    assert isinstance(decide(say(method, params, "S-PAGE"), world(), SHARED), Refuse)


def test_target_info_without_an_id_is_about_the_one_that_was_asked() -> None:
    page = decide(say("Target.getTargetInfo", {}, "S-PAGE"), world(), SHARED)
    browser = decide(say("Target.getTargetInfo"), world(), SHARED)
    assert isinstance(page, Answer)
    assert isinstance(browser, Answer)
    assert page.result["targetInfo"]["targetId"] == "PAGE"
    assert browser.result["targetInfo"] == BROWSER_TARGET


@pytest.mark.parametrize("session_id", [None, "S-PAGE"])
def test_the_browser_is_a_target_that_anybody_may_ask_about(session_id: str | None) -> None:
    about = say("Target.getTargetInfo", {"targetId": BROWSER_TARGET["targetId"]}, session_id)
    assert decide(about, world(), SHARED) == Answer({"targetInfo": BROWSER_TARGET})


@pytest.mark.parametrize(
    ("wanted", "shown"),
    [([{"type": "browser"}], ["browser"]), ([{"type": "browser", "exclude": True}, {"type": "tab"}], ["TAB"])],
)
def test_the_browser_is_among_targets_where_the_filter_takes_it(wanted: list[dict[str, Any]], shown: list[str]) -> None:
    answer = decide(say("Target.getTargets", {"filter": wanted}), world(), SHARED)
    assert isinstance(answer, Answer)
    assert [info["targetId"] for info in answer.result["targetInfos"]] == shown


def test_contexts_are_the_nested_ones_and_the_own_one_by_default() -> None:
    answer = decide(say("Target.getBrowserContexts"), world(), SHARED)
    assert answer == Answer({"browserContextIds": [NESTED], "defaultBrowserContextId": OWN})


@pytest.mark.parametrize(
    ("method", "params"),
    [
        ("Storage.getCookies", {}),
        ("Storage.setCookies", {"cookies": []}),
        ("Storage.clearCookies", {}),
        ("Browser.grantPermissions", {"permissions": ["geolocation"]}),
        ("Browser.setPermission", {"permission": {"name": "midi"}, "setting": "granted"}),
        ("Browser.resetPermissions", {}),
        ("Browser.cancelDownload", {"guid": "g"}),
    ],
)
def test_the_own_context_is_filled_in(method: str, params: dict[str, Any]) -> None:
    scope = world()
    attach(scope, target("PAGE-NESTED", NESTED), "S-NESTED")
    assert decide(say(method, params), scope, SHARED) == Pass({**params, "browserContextId": OWN})
    if not method.startswith("Storage."):  # see TestCookiesOnAPage
        at_page = decide(say(method, params, "S-NESTED"), scope, SHARED)
        assert at_page == Pass({**params, "browserContextId": NESTED})
    named = {**params, "browserContextId": NESTED}
    assert decide(say(method, named), scope, SHARED) == Pass(named)
    foreign = decide(say(method, {**params, "browserContextId": FOREIGN}), scope, SHARED)
    assert foreign == Refuse(-32602, f"Failed to find browser context for id {FOREIGN}")


@pytest.mark.parametrize(
    ("method", "params"),
    [("Storage.getCookies", {}), ("Storage.setCookies", {"cookies": []}), ("Storage.clearCookies", {})],
)
class TestCookiesOnAPage:
    """Chromium takes no context there, and means the profile below all contexts; so it is asked at browser level."""

    def test_are_the_page_s_own_context_s(self, method: str, params: dict[str, Any]) -> None:
        scope = world()
        attach(scope, target("PAGE-NESTED", NESTED), "S-NESTED")
        for session_id, context_id in (("S-PAGE", OWN), ("S-WORKER", OWN), ("S-NESTED", NESTED)):
            answer = decide(say(method, params, session_id), scope, SHARED)
            assert answer == Ask({**params, "browserContextId": context_id}, None, Reading.NOTHING)

    @pytest.mark.parametrize("context_id", [OWN, NESTED, FOREIGN])
    def test_name_no_context(self, method: str, params: dict[str, Any], context_id: str) -> None:
        answer = decide(say(method, {**params, "browserContextId": context_id}, "S-PAGE"), world(), SHARED)
        assert answer == Refuse(-32602, "browserContextId is only allowed for Browser target")


@pytest.mark.parametrize(
    "params",
    [
        {"permissions": ["geolocation", "clipboardReadWrite"]},
        {"permissions": ["smartCard"]},
    ],
)
def test_the_shared_clipboard_is_granted_only_in_a_browser_of_ones_own(params: dict[str, Any]) -> None:
    assert isinstance(decide(say("Browser.grantPermissions", params), world(), SHARED), Refuse)
    assert isinstance(decide(say("Browser.grantPermissions", params), world(), ALONE), Pass)
    single = {"permission": {"name": "clipboard-read"}, "setting": "granted"}
    assert isinstance(decide(say("Browser.setPermission", single), world(), SHARED), Refuse)
    assert isinstance(decide(say("Browser.setPermission", {**single, "setting": "denied"}), world(), SHARED), Pass)


class TestCreateTarget:
    @pytest.mark.parametrize(("asked", "context_id"), [({}, OWN), ({"browserContextId": NESTED}, NESTED)])
    def test_in_an_own_context(self, asked: dict[str, Any], context_id: str) -> None:
        params = {"url": "http://a.test/", "newWindow": True, "unheardOf": 1, **asked}
        answer = decide(say("Target.createTarget", params), world(), SHARED)
        told = {"newWindow": True, "browserContextId": context_id}
        assert answer == Do(CreateTarget(context_id, "http://a.test/", told))

    def test_an_empty_address_is_a_blank_page(self) -> None:
        answer = decide(say("Target.createTarget", {"url": ""}), world(), SHARED)
        assert answer == Do(CreateTarget(OWN, "about:blank", {"browserContextId": OWN}))

    @pytest.mark.parametrize(
        "params",
        [
            {},
            {"url": 5},
            {"url": "file:///etc/passwd"},
            {"url": " chrome://version"},
            {"url": "about:blank", "hidden": True},
            {"url": "about:blank", "enableBeginFrameControl": True},
            {"url": "about:blank", "browserContextId": FOREIGN},
            {"url": "about:blank", "width": 100_000, "height": 100_000},
        ],
    )
    def test_nothing_else(self, params: dict[str, Any]) -> None:
        assert isinstance(decide(say("Target.createTarget", params), world(), SHARED), Refuse)

    def test_no_more_pages_than_the_session_may_have(self) -> None:
        scope, blank = world(), say("Target.createTarget", {"url": "about:blank"})
        scope.contexts.creating = MAX_PAGES - 3  # asked for already, by any client; two are there
        assert isinstance(decide(blank, scope, SHARED), Do)
        scope.contexts.creating = MAX_PAGES - 2
        assert isinstance(decide(blank, scope, SHARED), Refuse)


class TestContexts:
    def test_a_nested_one_is_made_without_a_word_on_the_network(self) -> None:
        assert decide(say("Target.createBrowserContext", {"disposeOnDetach": False}), world(), SHARED) == Do(
            CreateContext()
        )

    @pytest.mark.parametrize("name", ["proxyServer", "proxyBypassList", "originsWithUniversalNetworkAccess"])
    def test_the_network_is_not_the_client_s_to_choose(self, name: str) -> None:
        assert isinstance(decide(say("Target.createBrowserContext", {name: "x"}), world(), SHARED), Refuse)

    def test_sixteen_at_most(self) -> None:
        scope = world()
        for number in range(MAX_NESTED - 1):
            assert isinstance(decide(say("Target.createBrowserContext"), scope, SHARED), Do)
            scope.contexts.add_nested(f"N{number}")
        assert isinstance(decide(say("Target.createBrowserContext"), scope, SHARED), Refuse)

    @pytest.mark.parametrize(
        ("context_id", "decision"),
        [
            (NESTED, Do(DisposeContext(NESTED))),
            (OWN, Refuse(-32000, "Cannot dispose default browser context.")),
            (FOREIGN, Refuse(-32000, f"Failed to find context with id {FOREIGN}")),
        ],
    )
    def test_only_nested_ones_can_be_disposed_of(self, context_id: str, decision: object) -> None:
        answer = decide(say("Target.disposeBrowserContext", {"browserContextId": context_id}), world(), SHARED)
        assert answer == decision


class TestAutoAttach:
    ON = {"autoAttach": True, "waitForDebuggerOnStart": True, "flatten": True}  # noqa: RUF012 - never changed

    def test_at_browser_level_it_is_ours(self) -> None:
        answer = decide(say("Target.setAutoAttach", self.ON), world(), SHARED)
        assert answer == Do(AutoAttach(DEFAULT_FILTER, wait_for_debugger=True))

    def test_off(self) -> None:
        off = {"autoAttach": False, "waitForDebuggerOnStart": False, "flatten": True}
        assert decide(say("Target.setAutoAttach", off), world(), SHARED) == Do(
            AutoAttach(None, wait_for_debugger=False)
        )

    def test_off_is_flat_too_but_below_a_page(self) -> None:
        off = {"autoAttach": False, "waitForDebuggerOnStart": False}
        assert decide(say("Target.setAutoAttach", off), world(), SHARED) == Refuse(
            -32602, "Only flatten protocol is supported with browser level auto-attach"
        )
        assert decide(say("Target.setAutoAttach", off, "S-PAGE"), world(), SHARED) == Pass({**off, "flatten": True})

    def test_below_a_page_it_passes(self) -> None:
        assert decide(say("Target.setAutoAttach", self.ON, "S-PAGE"), world(), SHARED) == Pass(self.ON)

    @pytest.mark.parametrize("session_id", [None, "S-PAGE"])
    @pytest.mark.parametrize(
        "change",
        [{"flatten": False}, {"flatten": 1}, {"autoAttach": "yes"}, {"waitForDebuggerOnStart": 1}, {"filter": 5}],
    )
    def test_no_other_shape(self, change: dict[str, Any], session_id: str | None) -> None:
        answer = decide(say("Target.setAutoAttach", self.ON | change, session_id), world(), SHARED)
        assert isinstance(answer, Refuse)
        assert answer.code == -32602

    def test_tabs_and_pages_not_at_once(self) -> None:
        both: dict[str, Any] = {**self.ON, "filter": [{}]}
        assert isinstance(decide(say("Target.setAutoAttach", both), world(), SHARED), Refuse)


def test_discovery_is_ours_at_every_level() -> None:
    on = say("Target.setDiscoverTargets", {"discover": True}, "S-PAGE")
    assert decide(on, world(), SHARED) == Do(Discover(DEFAULT_FILTER))
    assert decide(say("Target.setDiscoverTargets", {"discover": False}), world(), SHARED) == Do(Discover(None))
    odd = say("Target.setDiscoverTargets", {"discover": False, "filter": [{}]})
    assert isinstance(decide(odd, world(), SHARED), Refuse)


def test_attaching_is_flat_or_not_at_all() -> None:
    flat = say("Target.attachToTarget", {"targetId": "PAGE", "flatten": True})
    assert decide(flat, world(), SHARED) == Do(Attach("PAGE"))
    for params in ({"targetId": "PAGE"}, {"targetId": "PAGE", "flatten": False}, {"flatten": True}):
        assert isinstance(decide(say("Target.attachToTarget", params), world(), SHARED), Refuse)


@pytest.mark.parametrize(
    ("params", "session_id", "decision"),
    [
        ({"sessionId": "S-PAGE"}, None, Do(Detach("S-PAGE"))),
        ({"targetId": "PAGE"}, None, Do(Detach("S-PAGE"))),
        ({"targetId": "WORKER"}, "S-PAGE", Do(Detach("S-WORKER"))),
        ({"targetId": "WORKER"}, None, Refuse(-32602, "No session with given id")),
        ({"sessionId": "S-FOREIGN"}, None, Refuse(-32602, "No session with given id")),
        ({}, None, Refuse(-32602, "Session id must be specified")),
    ],
)
def test_detaching_from_own_sessions_only(params: dict[str, Any], session_id: str | None, decision: object) -> None:
    assert decide(say("Target.detachFromTarget", params, session_id), world(), SHARED) == decision


class TestWindows:
    def test_a_window_is_asked_for_without_the_target_s_id(self) -> None:
        asked = Ask({}, "S-PAGE", Reading.WINDOW)
        assert decide(say("Browser.getWindowForTarget", {"targetId": "PAGE"}), world(), SHARED) == asked
        assert decide(say("Browser.getWindowForTarget", {}, "S-PAGE"), world(), SHARED) == asked

    def test_not_of_a_target_without_a_session(self) -> None:
        for params in ({"targetId": "PAGE-NESTED"}, {}):
            assert isinstance(decide(say("Browser.getWindowForTarget", params), world(), SHARED), Refuse)

    @pytest.mark.parametrize(
        "method", ["Browser.getWindowBounds", "Browser.setWindowBounds", "Browser.setContentsSize"]
    )
    def test_only_windows_that_were_told(self, method: str) -> None:
        known: dict[str, Any] = {"windowId": 7} | ({"bounds": {}} if method == "Browser.setWindowBounds" else {})
        assert decide(say(method, {**known, "unheardOf": 1}), world(), SHARED) == Pass(known)
        answer = decide(say(method, {**known, "windowId": 8}), world(), SHARED)
        assert answer == Refuse(-32000, "Browser window not found")
        for odd in ("7", True, None, [7]):
            answer = decide(say(method, {**known, "windowId": odd}), world(), SHARED)
            assert isinstance(answer, Refuse)
            assert answer.message == "Invalid parameters"


class TestHandles:
    @pytest.mark.parametrize("method", ["IO.read", "IO.close"])
    def test_only_where_they_were_told(self, method: str) -> None:
        assert decide(say(method, {"handle": "1", "unheardOf": 1}, "S-PAGE"), world(), SHARED) == Pass({"handle": "1"})
        for handle, session_id in (("2", "S-PAGE"), ("1", None), ("1", "S-WORKER")):
            answer = decide(say(method, {"handle": handle}, session_id), world(), SHARED)
            assert answer == Refuse(-32602, "Invalid stream handle")

    @pytest.mark.parametrize(
        ("method", "params"),
        [
            ("Page.printToPDF", {"transferMode": "ReturnAsStream"}),
            ("Fetch.takeResponseBodyAsStream", {"requestId": "r"}),
            ("Network.loadNetworkResource", {"url": "https://a.test/", "options": {}}),
            ("Page.startScreenRecording", {}),
        ],
    )
    def test_answers_with_a_stream_are_read(self, method: str, params: dict[str, Any]) -> None:
        assert decide(say(method, params, "S-PAGE"), world(), SHARED) == Ask(params, "S-PAGE", Reading.STREAM)

    def test_a_pdf_in_one_piece_passes(self) -> None:
        assert decide(say("Page.printToPDF", {"landscape": True}, "S-PAGE"), world(), SHARED) == Pass()


class TestAddresses:
    @pytest.mark.parametrize(
        "url",
        [
            "http://a.test/",
            "HTTPS://a.test/",
            "about:blank",
            "about:blank#x",
            "data:text/html,x",
            "blob:http://a.test/u",
            "javascript:1",
            "view-source:http://a.test/",
        ],
    )
    def test_open(self, url: str) -> None:
        assert decide(say("Page.navigate", {"url": url}, "S-PAGE"), world(), SHARED) == Pass()

    @pytest.mark.parametrize(
        "url",
        [
            "file:///etc/passwd",
            " \tfile:///etc/passwd",
            "\x00\x01file:///etc/passwd",
            "f\til\ne:///etc/passwd",
            "FILE:/etc/passwd",
            "view-source:file:///etc/passwd",
            "view-source:view-source:file:///etc/passwd",
            "blob:file:///u",
            "filesystem:file:///u",
            "chrome://version",
            "chrome-untrusted://x",
            "devtools://devtools/bundled/inspector.html",
            "about:version",
            "mailto:a@b.test",
            "/etc/passwd",
            "",
            5,
            None,
        ],
    )
    def test_shut(self, url: Any) -> None:
        assert isinstance(decide(say("Page.navigate", {"url": url}, "S-PAGE"), world(), SHARED), Refuse)

    @pytest.mark.parametrize("method", ["Fetch.continueRequest", "Network.loadNetworkResource"])
    def test_requests_go_to_the_web_only(self, method: str) -> None:
        asked: dict[str, Any] = {"requestId": "r", "url": "https://a.test/", "options": {}}
        assert not isinstance(decide(say(method, asked, "S-PAGE"), world(), SHARED), Refuse)
        for url in ("file:///etc/passwd", "fi\tle:///etc/passwd", "data:,x", "chrome://version", "x"):
            assert isinstance(decide(say(method, {**asked, "url": url}, "S-PAGE"), world(), SHARED), Refuse)


class TestFiles:
    @pytest.mark.parametrize(
        ("files", "pass_"),
        [
            ([], True),
            (["/data/s1/uploads/a.txt", "/data/s1/uploads/b/c.txt"], True),
            (["/data/s1/uploads"], False),
            (["/data/s1/uploads/../downloads/x"], False),
            (["/data/s1/uploads/a.txt", "/etc/passwd"], False),
            (["/data/s1/uploads-of-another/x"], False),
            (["a.txt"], False),
            (["file:///data/s1/uploads/a.txt"], False),
            (["/data/s1/uploads/a\0/../../x"], False),
            ([5], False),
            ("/data/s1/uploads/a.txt", False),
        ],
    )
    def test_only_from_the_upload_folder(self, files: Any, pass_: bool) -> None:
        wanted = Pass if pass_ else Refuse
        assert isinstance(decide(say("DOM.setFileInputFiles", {"files": files}, "S-PAGE"), world(), SHARED), wanted)
        drag = say("Input.dispatchDragEvent", {"type": "drop", "data": {"items": [], "files": files}}, "S-PAGE")
        assert isinstance(decide(drag, world(), SHARED), wanted)

    def test_none_at_all_without_one(self) -> None:
        files = say("DOM.setFileInputFiles", {"files": ["/etc/passwd"]}, "S-PAGE")
        assert isinstance(decide(files, world(), Options()), Refuse)


@pytest.mark.parametrize(
    ("method", "params", "decision"),
    [
        (
            "Browser.setDownloadBehavior",
            {"behavior": "allow", "downloadPath": "/etc", "eventsEnabled": True},
            Do(SetDownloads(OWN, deny=False, events=True)),
        ),
        (
            "Browser.setDownloadBehavior",
            {"behavior": "deny", "browserContextId": NESTED},
            Do(SetDownloads(NESTED, deny=True, events=False)),
        ),
        (
            "Page.setDownloadBehavior",
            {"behavior": "allow", "downloadPath": "/etc"},
            Do(SetDownloads(OWN, deny=False, events=None)),
        ),
    ],
)
def test_where_downloads_go_is_not_the_client_s_to_choose(
    method: str, params: dict[str, Any], decision: object
) -> None:
    assert decide(say(method, params, "S-PAGE"), world(), SHARED) == decision


@pytest.mark.parametrize("session_id", [None, "S-PAGE"])
def test_closing_the_browser_ends_the_connection(session_id: str | None) -> None:
    assert decide(say("Browser.close", {}, session_id), world(), SHARED) == Do(CloseConnection())


def test_resuming_a_target_is_not_left_to_chromium() -> None:
    assert decide(say("Runtime.runIfWaitingForDebugger", {}, "S-PAGE"), world(), SHARED) == Do(Resume("S-PAGE"))


class TestFatalToChromium156:
    """Each of these ends the browser process, and every session in it."""

    def test_no_display_features(self) -> None:
        command = say("Emulation.setDisplayFeaturesOverride", {"features": []}, "S-PAGE")
        assert isinstance(decide(command, world(), SHARED), Refuse)

    @pytest.mark.parametrize("change", [{"replacementStart": -1}, {"replacementEnd": -1}, {"replacementEnd": -0.5}])
    def test_a_replacement_range_below_zero(self, change: dict[str, Any]) -> None:
        params = {"text": "a", "selectionStart": 0, "selectionEnd": 0, "replacementStart": 0, "replacementEnd": 0}
        assert decide(say("Input.imeSetComposition", params, "S-PAGE"), world(), SHARED) == Pass()
        assert isinstance(decide(say("Input.imeSetComposition", params | change, "S-PAGE"), world(), SHARED), Refuse)

    @pytest.mark.parametrize(
        ("size", "pass_"), [(0, True), (2**60, True), (None, True), (-1, False), (2**63, False), (1e308, False)]
    )
    def test_a_quota_that_does_not_fit(self, size: Any, pass_: bool) -> None:
        command = say("Storage.overrideQuotaForOrigin", {"origin": "http://a.test", "quotaSize": size}, "S-PAGE")
        assert isinstance(decide(command, world(), SHARED), Pass if pass_ else Refuse)


class TestPixels:
    @pytest.mark.parametrize(
        ("width", "height", "scale", "pass_"),
        [
            (1280, 720, 1, True),
            (8192, 8192, 1, True),
            (0, 0, 0, True),
            (393, 852, 3, True),
            (8192, 8193, 1, False),
            (8192, 8192, 2, False),
            (1, 1, 11, False),
            (10**7, 10**7, 1, False),
            (-(10**7), 10**7, 1, False),
        ],
    )
    def test_a_viewport_is_no_larger_than_the_api_s_own_limit(
        self, width: int, height: int, scale: float, pass_: bool
    ) -> None:
        metrics = {"width": width, "height": height, "deviceScaleFactor": scale, "mobile": False}
        for method in ("Emulation.setDeviceMetricsOverride", "Page.setDeviceMetricsOverride"):
            assert isinstance(decide(say(method, metrics, "S-PAGE"), world(), SHARED), Pass if pass_ else Refuse)
        clip = {"clip": {"x": 0, "y": 0, "width": width, "height": height, "scale": scale}}
        assert isinstance(
            decide(say("Page.captureScreenshot", clip, "S-PAGE"), world(), SHARED), Pass if pass_ else Refuse
        )


class TestClipboard:
    @pytest.mark.parametrize(
        "params",
        [
            {"modifiers": 2, "windowsVirtualKeyCode": 86},
            {"modifiers": 10, "windowsVirtualKeyCode": 86.0},
            {"modifiers": 8, "windowsVirtualKeyCode": 45},
            {"key": "Paste"},
            {"code": "Paste"},
            {"commands": ["Paste"]},
            {"commands": ["copy", "pasteandmatchstyle"]},
        ],
    )
    def test_keys_that_paste_need_a_browser_of_ones_own(self, params: dict[str, Any]) -> None:
        command = say("Input.dispatchKeyEvent", {"type": "rawKeyDown", **params}, "S-PAGE")
        assert isinstance(decide(command, world(), SHARED), Refuse)
        assert decide(command, world(), ALONE) == Pass()

    @pytest.mark.parametrize(
        "params",
        [
            {"key": "v", "windowsVirtualKeyCode": 86},
            {"modifiers": 8, "windowsVirtualKeyCode": 86},
            {"modifiers": 2, "windowsVirtualKeyCode": 67},
            {"key": "Insert", "windowsVirtualKeyCode": 45},
            {"commands": ["Copy", "SelectAll"]},
        ],
    )
    def test_other_keys_pass(self, params: dict[str, Any]) -> None:
        command = say("Input.dispatchKeyEvent", {"type": "rawKeyDown", **params}, "S-PAGE")
        assert decide(command, world(), SHARED) == Pass()


class TestABrowserOfOnesOwn:
    @pytest.mark.parametrize("method", ["Tracing.end", "Memory.startSampling", "Memory.simulatePressureNotification"])
    def test_what_only_protects_neighbours_passes(self, method: str) -> None:
        assert decide(say(method), world(), ALONE) == Pass()

    def test_the_host_stays_hidden(self) -> None:
        assert decide(say("SystemInfo.getInfo"), world(), ALONE) == Ask({}, None, Reading.COMMAND_LINE)
        for method in ("SystemInfo.getProcessInfo", "Browser.getBrowserCommandLine", "Extensions.loadUnpacked"):
            assert isinstance(decide(say(method), world(), ALONE), Refuse)

    def test_traces_are_of_the_browser_not_of_the_host(self) -> None:
        traced = decide(say("Tracing.start", {"categories": "x", "tracingBackend": "system"}), world(), ALONE)
        assert traced == Pass({"categories": "x", "tracingBackend": "chrome", "streamCompression": "none"})
        assert isinstance(decide(say("Tracing.start", {"perfettoConfig": "AAAA"}), world(), ALONE), Refuse)
        assert isinstance(decide(say("Tracing.start", {"streamFormat": "proto"}), world(), ALONE), Refuse)

    def test_a_trace_is_read_from_its_beginning_to_its_end(self) -> None:
        scope = world()
        assert scope.on_browser_event("Tracing.tracingComplete", {"stream": "9"}, None) is not None
        read = say("IO.read", {"handle": "9", "size": 100})
        assert decide(read, scope, ALONE) == Ask({"handle": "9", "size": 100}, None, Reading.TRACE)
        assert isinstance(decide(say("IO.read", {"handle": "9", "offset": 5}), scope, ALONE), Refuse)
        assert decide(say("IO.close", {"handle": "9"}), scope, ALONE) == Pass({"handle": "9"})
