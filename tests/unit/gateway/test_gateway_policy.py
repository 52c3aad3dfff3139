"""Which CDP commands a client may send, row by row."""

from __future__ import annotations

from typing import Any

import pytest

from browser_sessions.domain.limits import MAX_NESTED, MAX_PAGES
from browser_sessions.gateway.policy.client_options import Options
from browser_sessions.gateway.policy.command_policy import decide
from browser_sessions.gateway.scope.client_scope import BROWSER_TARGET, MAX_LEVELS
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
    GetWindow,
    GiveFolder,
    Pass,
    Reading,
    Refuse,
    Resume,
    SetDownloads,
)
from browser_sessions.gateway.scope.target_filters import DEFAULT_FILTER
from tests.harness.fakes.gateway_scope import FOREIGN, NESTED, OWN, attach, attach_browser, cdp, session_scope, target

FILE, FOLDER = "/data/s1/uploads/upl_1/a.txt", "/data/s1/uploads/upl_2/docs/"
SHARED = Options(uploads={FILE, FOLDER})
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
    "Memory.prepareForLeakDetection",
    "Extensions.loadUnpacked",
    "Tethering.bind",
    "Page.brandNew",
    "page.navigate",
    "Page.navigate ",
    "Page",
    "",
]


def unknown(method: str, session_id: str | None = None) -> Refuse:
    """Chromium's error for an unknown method, with a hint for those allowed in a dedicated browser."""
    with_own = method.startswith(("Tracing.", "Memory.")) or (method, session_id) == ("SystemInfo.getInfo", None)
    hint = ": it affects all sessions of the browser; create the session with isolation: browser"
    return Refuse(-32601, f"'{method}' wasn't found" + (hint if with_own else ""))


@pytest.mark.parametrize("session_id", [None, "S-PAGE", "S-WORKER"])
@pytest.mark.parametrize("method", DENIED)
def test_a_method_that_is_not_allowed_is_unknown(method: str, session_id: str | None) -> None:
    assert decide(cdp(method, {}, session_id), session_scope(), SHARED) == unknown(method, session_id)


class TestSessionOnTheBrowserTarget:
    """Created by Playwright's `newBrowserCDPSession`: equivalent to the connection's root session."""

    def test_is_created_at_browser_level_only(self) -> None:
        assert decide(cdp("Target.attachToBrowserTarget"), session_scope(), SHARED) == Do(AttachBrowser())
        refused = Refuse(-32601, "'Target.attachToBrowserTarget' wasn't found")
        assert decide(cdp("Target.attachToBrowserTarget", {}, "S-PAGE"), session_scope(), SHARED) == refused

    def test_is_created_by_the_browsers_id_if_flat(self) -> None:
        flat = {"targetId": BROWSER_TARGET["targetId"], "flatten": True}
        assert decide(cdp("Target.attachToTarget", flat), session_scope(), SHARED) == Do(AttachBrowser())
        assert isinstance(
            decide(cdp("Target.attachToTarget", flat | {"flatten": False}), session_scope(), SHARED), Refuse
        )
        assert isinstance(decide(cdp("Target.attachToTarget", flat, "S-PAGE"), session_scope(), SHARED), Refuse)

    def test_can_be_created_below_another_one(self) -> None:
        scope = session_scope()
        attach_browser(scope, "S-BROWSER")
        assert decide(cdp("Target.attachToBrowserTarget", {}, "S-BROWSER"), scope, SHARED) == Do(AttachBrowser())

    @pytest.mark.parametrize(
        "command",
        [("Target.attachToBrowserTarget", {}), ("Target.attachToTarget", {"targetId": "browser", "flatten": True})],
    )
    def test_cannot_be_nested_without_end(self, command: tuple[str, dict[str, Any]]) -> None:
        scope, lowest = session_scope(), None
        for number in range(MAX_LEVELS):
            assert decide(cdp(*command, lowest), scope, SHARED) == Do(AttachBrowser())
            attach_browser(scope, f"S-{number}", lowest)
            lowest = f"S-{number}"
        refused = Refuse(-32000, "Browser sessions can be nested 8 levels deep: attach on one above")
        assert decide(cdp(*command, lowest), scope, SHARED) == refused
        assert decide(cdp(*command), scope, SHARED) == Do(AttachBrowser())

    @pytest.mark.parametrize("method", DENIED)
    def test_allows_no_further_methods(self, method: str) -> None:
        scope = session_scope()
        attach_browser(scope, "S-BROWSER")
        assert decide(cdp(method, {}, "S-BROWSER"), scope, SHARED) == unknown(method)

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
    def test_has_the_same_decisions_as_the_connection(self, method: str, params: dict[str, Any]) -> None:
        scope = session_scope()
        attach_browser(scope, "S-BROWSER")
        assert decide(cdp(method, params, "S-BROWSER"), scope, SHARED) == decide(
            cdp(method, params), session_scope(), SHARED
        )

    def test_does_not_auto_attach(self) -> None:
        scope = session_scope()
        attach_browser(scope, "S-BROWSER")
        params = {"autoAttach": True, "waitForDebuggerOnStart": True, "flatten": True}
        assert isinstance(decide(cdp("Target.setAutoAttach", params, "S-BROWSER"), scope, SHARED), Refuse)

    def test_can_be_detached_and_is_unknown_afterwards(self) -> None:
        scope = session_scope()
        attach_browser(scope, "S-BROWSER")
        detach = cdp("Target.detachFromTarget", {"sessionId": "S-BROWSER"})
        assert decide(detach, scope, SHARED) == Do(Detach("S-BROWSER"))
        scope.on_browser_event("Target.detachedFromTarget", {"sessionId": "S-BROWSER"}, None)
        assert decide(detach, scope, SHARED) == Refuse(-32602, "No session with given id")
        assert decide(cdp("Target.getTargets", {}, "S-BROWSER"), scope, SHARED) == Refuse(
            -32001, "Session with given id not found."
        )


@pytest.mark.parametrize(
    "method", ["Fetch.enable", "Security.setIgnoreCertificateErrors", "Page.navigate", "Runtime.evaluate"]
)
def test_page_methods_are_unknown_at_browser_level(method: str) -> None:
    assert decide(cdp(method), session_scope(), SHARED) == Refuse(-32601, f"'{method}' wasn't found")


@pytest.mark.parametrize("session_id", ["S-FOREIGN", "s-page", "S-PAGE "])
def test_a_session_of_another_connection_is_unknown(session_id: str) -> None:
    decision = decide(cdp("Runtime.evaluate", {"expression": "1"}, session_id), session_scope(), SHARED)
    assert decision == Refuse(-32001, "Session with given id not found.")


@pytest.mark.parametrize(
    ("method", "session_id"),
    [("Runtime.evaluate", "S-PAGE"), ("Runtime.evaluate", "S-WORKER"), ("Page.enable", "S-PAGE")],
)
def test_methods_of_a_page_pass_unchanged(method: str, session_id: str | None) -> None:
    assert decide(cdp(method, {"expression": "1"}, session_id), session_scope(), SHARED) == Pass()


@pytest.mark.parametrize("session_id", [None, "S-PAGE"])
def test_targets_are_those_of_the_session(session_id: str | None) -> None:
    decision = decide(cdp("Target.getTargets", {"filter": [{}]}, session_id), session_scope(), SHARED)
    assert isinstance(decision, Answer)
    assert [info["targetId"] for info in decision.result["targetInfos"]] == [
        "browser",
        "PAGE",
        "TAB",
        "WORKER",
        "PAGE-NESTED",
    ]


def test_tabs_are_not_among_targets_by_default() -> None:
    decision = decide(cdp("Target.getTargets"), session_scope(), SHARED)
    assert isinstance(decision, Answer)
    assert [info["targetId"] for info in decision.result["targetInfos"]] == ["PAGE", "WORKER", "PAGE-NESTED"]


@pytest.mark.parametrize("target_id", ["FOREIGN", "HIDDEN", ""])
@pytest.mark.parametrize(
    "method", ["Target.getTargetInfo", "Target.attachToTarget", "Target.activateTarget", "Browser.getWindowForTarget"]
)
def test_a_foreign_target_is_unknown(method: str, target_id: str) -> None:
    decision = decide(cdp(method, {"targetId": target_id, "flatten": True}), session_scope(), SHARED)
    assert decision == Refuse(-32602, "No target with given id found")


def test_a_foreign_target_cannot_be_closed() -> None:
    decision = decide(cdp("Target.closeTarget", {"targetId": "FOREIGN"}), session_scope(), SHARED)
    assert decision == Refuse(-32602, "No target found for targetId")


@pytest.mark.parametrize("method", ["Page.captureScreenshot", "Runtime.evaluate", "Storage.getStorageKey"])
@pytest.mark.parametrize("params", [{"targetId": "FOREIGN"}, {"browserContextId": FOREIGN}])
def test_a_foreign_id_is_refused_in_any_method(method: str, params: dict[str, Any]) -> None:
    assert isinstance(decide(cdp(method, params, "S-PAGE"), session_scope(), SHARED), Refuse)


def test_target_info_without_an_id_is_about_the_commands_session() -> None:
    page = decide(cdp("Target.getTargetInfo", {}, "S-PAGE"), session_scope(), SHARED)
    browser = decide(cdp("Target.getTargetInfo"), session_scope(), SHARED)
    assert isinstance(page, Answer)
    assert isinstance(browser, Answer)
    assert page.result["targetInfo"]["targetId"] == "PAGE"
    assert browser.result["targetInfo"] == BROWSER_TARGET


@pytest.mark.parametrize("session_id", [None, "S-PAGE"])
def test_target_info_of_the_browser_is_available(session_id: str | None) -> None:
    about = cdp("Target.getTargetInfo", {"targetId": BROWSER_TARGET["targetId"]}, session_id)
    assert decide(about, session_scope(), SHARED) == Answer({"targetInfo": BROWSER_TARGET})


@pytest.mark.parametrize(
    ("wanted", "shown"),
    [([{"type": "browser"}], ["browser"]), ([{"type": "browser", "exclude": True}, {"type": "tab"}], ["TAB"])],
)
def test_the_browser_is_among_targets_if_the_filter_includes_it(wanted: list[dict[str, Any]], shown: list[str]) -> None:
    decision = decide(cdp("Target.getTargets", {"filter": wanted}), session_scope(), SHARED)
    assert isinstance(decision, Answer)
    assert [info["targetId"] for info in decision.result["targetInfos"]] == shown


def test_contexts_are_the_nested_ones_with_the_sessions_as_default() -> None:
    decision = decide(cdp("Target.getBrowserContexts"), session_scope(), SHARED)
    assert decision == Answer({"browserContextIds": [NESTED], "defaultBrowserContextId": OWN})


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
def test_the_sessions_context_is_filled_in(method: str, params: dict[str, Any]) -> None:
    scope = session_scope()
    attach(scope, target("PAGE-NESTED", NESTED), "S-NESTED")
    assert decide(cdp(method, params), scope, SHARED) == Pass({**params, "browserContextId": OWN})
    if not method.startswith("Storage."):  # see TestCookiesOnAPage
        at_page = decide(cdp(method, params, "S-NESTED"), scope, SHARED)
        assert at_page == Pass({**params, "browserContextId": NESTED})
    named = {**params, "browserContextId": NESTED}
    assert decide(cdp(method, named), scope, SHARED) == Pass(named)
    foreign = decide(cdp(method, {**params, "browserContextId": FOREIGN}), scope, SHARED)
    assert foreign == Refuse(-32602, f"Failed to find browser context for id {FOREIGN}")


@pytest.mark.parametrize(
    ("method", "params"),
    [("Storage.getCookies", {}), ("Storage.setCookies", {"cookies": []}), ("Storage.clearCookies", {})],
)
class TestCookiesOnAPage:
    """On a page Chromium accepts no context id and would use the profile of all contexts, so the command is sent at
    browser level."""

    def test_are_those_of_the_pages_context(self, method: str, params: dict[str, Any]) -> None:
        scope = session_scope()
        attach(scope, target("PAGE-NESTED", NESTED), "S-NESTED")
        for session_id, context_id in (("S-PAGE", OWN), ("S-WORKER", OWN), ("S-NESTED", NESTED)):
            decision = decide(cdp(method, params, session_id), scope, SHARED)
            assert decision == Ask({**params, "browserContextId": context_id}, None, Reading.NOTHING)

    @pytest.mark.parametrize("context_id", [OWN, NESTED, FOREIGN])
    def test_accept_no_context_id(self, method: str, params: dict[str, Any], context_id: str) -> None:
        decision = decide(cdp(method, {**params, "browserContextId": context_id}, "S-PAGE"), session_scope(), SHARED)
        assert decision == Refuse(-32602, "browserContextId is only allowed for Browser target")


@pytest.mark.parametrize(
    "params",
    [
        {"permissions": ["geolocation", "clipboardReadWrite"]},
        {"permissions": ["smartCard"]},
    ],
)
def test_the_shared_clipboard_is_granted_only_in_a_dedicated_browser(params: dict[str, Any]) -> None:
    assert isinstance(decide(cdp("Browser.grantPermissions", params), session_scope(), SHARED), Refuse)
    assert isinstance(decide(cdp("Browser.grantPermissions", params), session_scope(), ALONE), Pass)
    single = {"permission": {"name": "clipboard-read"}, "setting": "granted"}
    assert isinstance(decide(cdp("Browser.setPermission", single), session_scope(), SHARED), Refuse)
    assert isinstance(
        decide(cdp("Browser.setPermission", {**single, "setting": "denied"}), session_scope(), SHARED), Pass
    )


class TestCreateTarget:
    @pytest.mark.parametrize(("named", "context_id"), [({}, OWN), ({"browserContextId": NESTED}, NESTED)])
    def test_in_a_context_of_the_session(self, named: dict[str, Any], context_id: str) -> None:
        params = {"url": "http://a.test/", "newWindow": True, "unheardOf": 1, **named}
        decision = decide(cdp("Target.createTarget", params), session_scope(), SHARED)
        sent = {"newWindow": True, "browserContextId": context_id}
        assert decision == Do(CreateTarget(context_id, "http://a.test/", sent))

    def test_an_empty_address_is_a_blank_page(self) -> None:
        decision = decide(cdp("Target.createTarget", {"url": ""}), session_scope(), SHARED)
        assert decision == Do(CreateTarget(OWN, "about:blank", {"browserContextId": OWN}))

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
    def test_other_parameters_are_refused(self, params: dict[str, Any]) -> None:
        assert isinstance(decide(cdp("Target.createTarget", params), session_scope(), SHARED), Refuse)

    def test_pages_beyond_the_limit_are_refused(self) -> None:
        scope, blank = session_scope(), cdp("Target.createTarget", {"url": "about:blank"})
        scope.contexts.creating = MAX_PAGES - 3  # already being created, by any client; two are open
        assert isinstance(decide(blank, scope, SHARED), Do)
        scope.contexts.creating = MAX_PAGES - 2
        assert isinstance(decide(blank, scope, SHARED), Refuse)


class TestContexts:
    def test_a_nested_context_is_created_without_network_options(self) -> None:
        assert decide(cdp("Target.createBrowserContext", {"disposeOnDetach": False}), session_scope(), SHARED) == Do(
            CreateContext()
        )

    @pytest.mark.parametrize("name", ["proxyServer", "proxyBypassList", "originsWithUniversalNetworkAccess"])
    def test_network_options_are_refused(self, name: str) -> None:
        assert isinstance(decide(cdp("Target.createBrowserContext", {name: "x"}), session_scope(), SHARED), Refuse)

    def test_at_most_sixteen(self) -> None:
        scope = session_scope()
        for number in range(MAX_NESTED - 1):
            assert isinstance(decide(cdp("Target.createBrowserContext"), scope, SHARED), Do)
            scope.contexts.add_nested(f"N{number}")
        assert isinstance(decide(cdp("Target.createBrowserContext"), scope, SHARED), Refuse)

    @pytest.mark.parametrize(
        ("context_id", "decision"),
        [
            (NESTED, Do(DisposeContext(NESTED))),
            (OWN, Refuse(-32000, "Cannot dispose default browser context.")),
            (FOREIGN, Refuse(-32000, f"Failed to find context with id {FOREIGN}")),
        ],
    )
    def test_only_nested_contexts_can_be_disposed_of(self, context_id: str, decision: object) -> None:
        decision = decide(
            cdp("Target.disposeBrowserContext", {"browserContextId": context_id}), session_scope(), SHARED
        )
        assert decision == decision


class TestAutoAttach:
    ON = {"autoAttach": True, "waitForDebuggerOnStart": True, "flatten": True}  # noqa: RUF012 - never modified

    def test_at_browser_level_is_handled_by_the_gateway(self) -> None:
        decision = decide(cdp("Target.setAutoAttach", self.ON), session_scope(), SHARED)
        assert decision == Do(AutoAttach(DEFAULT_FILTER, wait_for_debugger=True))

    def test_can_be_turned_off(self) -> None:
        off = {"autoAttach": False, "waitForDebuggerOnStart": False, "flatten": True}
        assert decide(cdp("Target.setAutoAttach", off), session_scope(), SHARED) == Do(
            AutoAttach(None, wait_for_debugger=False)
        )

    def test_turning_off_requires_flat_except_below_a_page(self) -> None:
        off = {"autoAttach": False, "waitForDebuggerOnStart": False}
        assert decide(cdp("Target.setAutoAttach", off), session_scope(), SHARED) == Refuse(
            -32602, "Only flatten protocol is supported with browser level auto-attach"
        )
        assert decide(cdp("Target.setAutoAttach", off, "S-PAGE"), session_scope(), SHARED) == Pass(
            {**off, "flatten": True}
        )

    def test_below_a_page_passes(self) -> None:
        assert decide(cdp("Target.setAutoAttach", self.ON, "S-PAGE"), session_scope(), SHARED) == Pass(self.ON)

    @pytest.mark.parametrize("session_id", [None, "S-PAGE"])
    @pytest.mark.parametrize(
        "change",
        [{"flatten": False}, {"flatten": 1}, {"autoAttach": "yes"}, {"waitForDebuggerOnStart": 1}, {"filter": 5}],
    )
    def test_invalid_parameters_are_refused(self, change: dict[str, Any], session_id: str | None) -> None:
        decision = decide(cdp("Target.setAutoAttach", self.ON | change, session_id), session_scope(), SHARED)
        assert isinstance(decision, Refuse)
        assert decision.code == -32602

    def test_tabs_and_pages_together_are_refused(self) -> None:
        both: dict[str, Any] = {**self.ON, "filter": [{}]}
        assert isinstance(decide(cdp("Target.setAutoAttach", both), session_scope(), SHARED), Refuse)


def test_discovery_is_handled_by_the_gateway_at_every_level() -> None:
    on = cdp("Target.setDiscoverTargets", {"discover": True}, "S-PAGE")
    assert decide(on, session_scope(), SHARED) == Do(Discover(DEFAULT_FILTER))
    assert decide(cdp("Target.setDiscoverTargets", {"discover": False}), session_scope(), SHARED) == Do(Discover(None))
    odd = cdp("Target.setDiscoverTargets", {"discover": False, "filter": [{}]})
    assert isinstance(decide(odd, session_scope(), SHARED), Refuse)


def test_only_flat_attaching_is_allowed() -> None:
    flat = cdp("Target.attachToTarget", {"targetId": "PAGE", "flatten": True})
    assert decide(flat, session_scope(), SHARED) == Do(Attach("PAGE"))
    for params in ({"targetId": "PAGE"}, {"targetId": "PAGE", "flatten": False}, {"flatten": True}):
        assert isinstance(decide(cdp("Target.attachToTarget", params), session_scope(), SHARED), Refuse)


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
def test_detaching_is_allowed_from_own_sessions_only(
    params: dict[str, Any], session_id: str | None, decision: object
) -> None:
    assert decide(cdp("Target.detachFromTarget", params, session_id), session_scope(), SHARED) == decision


class TestWindows:
    def test_a_window_is_requested_without_the_target_id(self) -> None:
        request = Ask({}, "S-PAGE", Reading.WINDOW)
        assert decide(cdp("Browser.getWindowForTarget", {"targetId": "PAGE"}), session_scope(), SHARED) == request
        assert decide(cdp("Browser.getWindowForTarget", {}, "S-PAGE"), session_scope(), SHARED) == request

    def test_of_a_page_without_a_session_is_requested_on_one_of_ours(self) -> None:
        request = Do(GetWindow("PAGE-NESTED"))
        params = {"targetId": "PAGE-NESTED"}
        assert decide(cdp("Browser.getWindowForTarget", params), session_scope(), SHARED) == request

    def test_without_a_target_is_refused(self) -> None:
        assert isinstance(decide(cdp("Browser.getWindowForTarget", {}), session_scope(), SHARED), Refuse)

    @pytest.mark.parametrize(
        "method", ["Browser.getWindowBounds", "Browser.setWindowBounds", "Browser.setContentsSize"]
    )
    def test_only_reported_window_ids_are_allowed(self, method: str) -> None:
        known: dict[str, Any] = {"windowId": 7} | ({"bounds": {}} if method == "Browser.setWindowBounds" else {})
        assert decide(cdp(method, {**known, "unheardOf": 1}), session_scope(), SHARED) == Pass(known)
        decision = decide(cdp(method, {**known, "windowId": 8}), session_scope(), SHARED)
        assert decision == Refuse(-32000, "Browser window not found")
        for odd in ("7", True, None, [7]):
            decision = decide(cdp(method, {**known, "windowId": odd}), session_scope(), SHARED)
            assert isinstance(decision, Refuse)
            assert decision.message == "Invalid parameters"


class TestHandles:
    @pytest.mark.parametrize("method", ["IO.read", "IO.close"])
    def test_are_valid_only_on_the_session_they_were_reported_on(self, method: str) -> None:
        assert decide(cdp(method, {"handle": "1", "unheardOf": 1}, "S-PAGE"), session_scope(), SHARED) == Pass(
            {"handle": "1"}
        )
        for handle, session_id in (("2", "S-PAGE"), ("1", None), ("1", "S-WORKER")):
            decision = decide(cdp(method, {"handle": handle}, session_id), session_scope(), SHARED)
            assert decision == Refuse(-32602, "Invalid stream handle")

    @pytest.mark.parametrize(
        ("method", "params"),
        [
            ("Page.printToPDF", {"transferMode": "ReturnAsStream"}),
            ("Fetch.takeResponseBodyAsStream", {"requestId": "r"}),
            ("Network.loadNetworkResource", {"url": "https://a.test/", "options": {}}),
        ],
    )
    def test_responses_with_a_stream_are_read(self, method: str, params: dict[str, Any]) -> None:
        assert decide(cdp(method, params, "S-PAGE"), session_scope(), SHARED) == Ask(params, "S-PAGE", Reading.STREAM)

    def test_a_pdf_in_one_piece_passes(self) -> None:
        assert decide(cdp("Page.printToPDF", {"landscape": True}, "S-PAGE"), session_scope(), SHARED) == Pass()


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
        ],
    )
    def test_allowed(self, url: str) -> None:
        assert decide(cdp("Page.navigate", {"url": url}, "S-PAGE"), session_scope(), SHARED) == Pass()

    @pytest.mark.parametrize(
        "url",
        [
            "file:///etc/passwd",
            " \tfile:///etc/passwd",
            "\x00\x01file:///etc/passwd",
            "f\til\ne:///etc/passwd",
            "FILE:/etc/passwd",
            "view-source:http://a.test/",
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
    def test_refused(self, url: Any) -> None:
        assert isinstance(decide(cdp("Page.navigate", {"url": url}, "S-PAGE"), session_scope(), SHARED), Refuse)

    @pytest.mark.parametrize("method", ["Fetch.continueRequest", "Network.loadNetworkResource"])
    def test_requests_go_to_the_web_only(self, method: str) -> None:
        params: dict[str, Any] = {"requestId": "r", "url": "https://a.test/", "options": {}}
        assert not isinstance(decide(cdp(method, params, "S-PAGE"), session_scope(), SHARED), Refuse)
        for url in ("file:///etc/passwd", "fi\tle:///etc/passwd", "data:,x", "chrome://version", "x"):
            assert isinstance(decide(cdp(method, {**params, "url": url}, "S-PAGE"), session_scope(), SHARED), Refuse)


class TestFiles:
    @pytest.mark.parametrize(
        ("files", "pass_"),
        [
            ([], True),
            ([FILE], True),
            ([FILE, FILE], True),
            ([FOLDER], True),
            ([FOLDER.rstrip("/")], False),
            ([f"{FOLDER}b.txt"], False),
            (["/data/s1/uploads"], False),
            (["/data/s1/uploads/upl_1"], False),
            (["/data/s1/uploads/upl_2/../upl_1/a.txt"], False),
            (["/data/s1/uploads//upl_1/a.txt"], False),
            ([FILE, "/etc/passwd"], False),
            ([f"{FILE}/"], False),
            (["a.txt"], False),
            ([f"file://{FILE}"], False),
            ([f"{FILE}\0"], False),
            ([""], False),
            ([5], False),
            (FILE, False),
        ],
    )
    def test_only_uploads(self, files: Any, pass_: bool) -> None:
        wanted = Pass if pass_ else Refuse
        decision = decide(cdp("DOM.setFileInputFiles", {"files": files}, "S-PAGE"), session_scope(), SHARED)
        assert decision == Do(GiveFolder()) if files == [FOLDER] else isinstance(decision, wanted)
        drag = cdp("Input.dispatchDragEvent", {"type": "drop", "data": {"items": [], "files": files}}, "S-PAGE")
        assert isinstance(decide(drag, session_scope(), SHARED), wanted)

    def test_none_without_uploads(self) -> None:
        files = cdp("DOM.setFileInputFiles", {"files": ["/etc/passwd"]}, "S-PAGE")
        assert isinstance(decide(files, session_scope(), Options()), Refuse)


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
def test_the_download_folder_of_a_client_is_ignored(method: str, params: dict[str, Any], decision: object) -> None:
    assert decide(cdp(method, params, "S-PAGE"), session_scope(), SHARED) == decision


@pytest.mark.parametrize("session_id", [None, "S-PAGE"])
def test_closing_the_browser_ends_the_connection(session_id: str | None) -> None:
    assert decide(cdp("Browser.close", {}, session_id), session_scope(), SHARED) == Do(CloseConnection())


def test_resuming_a_target_is_not_left_to_chromium() -> None:
    assert decide(cdp("Runtime.runIfWaitingForDebugger", {}, "S-PAGE"), session_scope(), SHARED) == Do(Resume("S-PAGE"))


class TestFatalToChromium156:
    """Each of these crashes the browser process and with it all of its sessions."""

    def test_empty_display_features(self) -> None:
        command = cdp("Emulation.setDisplayFeaturesOverride", {"features": []}, "S-PAGE")
        assert isinstance(decide(command, session_scope(), SHARED), Refuse)

    @pytest.mark.parametrize("change", [{"replacementStart": -1}, {"replacementEnd": -1}, {"replacementEnd": -0.5}])
    def test_a_replacement_range_below_zero(self, change: dict[str, Any]) -> None:
        params = {"text": "a", "selectionStart": 0, "selectionEnd": 0, "replacementStart": 0, "replacementEnd": 0}
        assert decide(cdp("Input.imeSetComposition", params, "S-PAGE"), session_scope(), SHARED) == Pass()
        assert isinstance(
            decide(cdp("Input.imeSetComposition", params | change, "S-PAGE"), session_scope(), SHARED), Refuse
        )

    @pytest.mark.parametrize(
        ("size", "pass_"), [(0, True), (2**60, True), (None, True), (-1, False), (2**63, False), (1e308, False)]
    )
    def test_a_quota_that_does_not_fit(self, size: Any, pass_: bool) -> None:
        command = cdp("Storage.overrideQuotaForOrigin", {"origin": "http://a.test", "quotaSize": size}, "S-PAGE")
        assert isinstance(decide(command, session_scope(), SHARED), Pass if pass_ else Refuse)


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
    def test_a_viewport_is_limited_as_in_the_api(self, width: int, height: int, scale: float, pass_: bool) -> None:
        metrics = {"width": width, "height": height, "deviceScaleFactor": scale, "mobile": False}
        for method in ("Emulation.setDeviceMetricsOverride", "Page.setDeviceMetricsOverride"):
            assert isinstance(
                decide(cdp(method, metrics, "S-PAGE"), session_scope(), SHARED), Pass if pass_ else Refuse
            )
        clip = {"clip": {"x": 0, "y": 0, "width": width, "height": height, "scale": scale}}
        assert isinstance(
            decide(cdp("Page.captureScreenshot", clip, "S-PAGE"), session_scope(), SHARED), Pass if pass_ else Refuse
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
    def test_paste_keys_need_a_dedicated_browser(self, params: dict[str, Any]) -> None:
        command = cdp("Input.dispatchKeyEvent", {"type": "rawKeyDown", **params}, "S-PAGE")
        assert isinstance(decide(command, session_scope(), SHARED), Refuse)
        assert decide(command, session_scope(), ALONE) == Pass()

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
        command = cdp("Input.dispatchKeyEvent", {"type": "rawKeyDown", **params}, "S-PAGE")
        assert decide(command, session_scope(), SHARED) == Pass()


class TestADedicatedBrowser:
    @pytest.mark.parametrize("method", ["Tracing.end", "Memory.startSampling", "Memory.simulatePressureNotification"])
    def test_methods_refused_only_to_protect_other_sessions_pass(self, method: str) -> None:
        assert decide(cdp(method), session_scope(), ALONE) == Pass()

    def test_the_host_stays_hidden(self) -> None:
        assert decide(cdp("SystemInfo.getInfo"), session_scope(), ALONE) == Ask({}, None, Reading.COMMAND_LINE)
        for method in ("SystemInfo.getProcessInfo", "Browser.getBrowserCommandLine", "Extensions.loadUnpacked"):
            assert isinstance(decide(cdp(method), session_scope(), ALONE), Refuse)

    def test_traces_are_limited_to_the_browser(self) -> None:
        traced = decide(cdp("Tracing.start", {"categories": "x", "tracingBackend": "system"}), session_scope(), ALONE)
        assert traced == Pass({"categories": "x", "tracingBackend": "chrome", "streamCompression": "none"})
        assert isinstance(decide(cdp("Tracing.start", {"perfettoConfig": "AAAA"}), session_scope(), ALONE), Refuse)
        assert isinstance(decide(cdp("Tracing.start", {"streamFormat": "proto"}), session_scope(), ALONE), Refuse)

    def test_a_trace_can_only_be_read_sequentially(self) -> None:
        scope = session_scope()
        assert scope.on_browser_event("Tracing.tracingComplete", {"stream": "9"}, None) is not None
        read = cdp("IO.read", {"handle": "9", "size": 100})
        assert decide(read, scope, ALONE) == Ask({"handle": "9", "size": 100}, None, Reading.TRACE)
        assert isinstance(decide(cdp("IO.read", {"handle": "9", "offset": 5}), scope, ALONE), Refuse)
        assert decide(cdp("IO.close", {"handle": "9"}), scope, ALONE) == Pass({"handle": "9"})


@pytest.mark.parametrize("method", ["Network.getCertificate", "Security.enable"])
def test_the_certificate_that_a_browser_trusts_is_not_shown_where_sessions_share_it(method: str) -> None:
    command = cdp(method, {"origin": "https://a.example"} if method.startswith("Network") else {}, "S-PAGE")
    refused = decide(command, session_scope(), Options(client_certificates=True))
    assert isinstance(refused, Refuse)
    assert "isolation: browser" in refused.message
    for options in (Options(client_certificates=True, own_browser=True), SHARED):
        assert decide(command, session_scope(), options) == Pass()
