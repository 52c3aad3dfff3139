"""The link between Playwright's driver and a browser, against a scripted Chromium."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from typing import Any

import pytest

from browser_sessions.cdp import Browser, BrowserSession
from browser_sessions.cdp.messages import MAX_DEPTH
from browser_sessions.chromium.driver import driver_runtime, playwright_link, ready_contexts
from browser_sessions.chromium.driver.driver_runtime import FLOOD_EVENTS, RELEASE_EVERY
from browser_sessions.chromium.driver.playwright_link import (
    EVENT_BYTES,
    STRING_CHARACTERS,
    PlaywrightLink,
)
from tests.harness.fakes.scripted_chromium import Chromium, Refused, chromium, info, settled
from tests.harness.waiting import until


class Socket:
    """A fake of the WebSocket to the driver."""

    def __init__(self) -> None:
        self.sent: list[bytes] = []
        self.closed: list[int] = []

    def send(self, payload: bytes) -> None:
        self.sent.append(payload)

    def close(self, code: int, _reason: str) -> None:
        self.closed.append(code)


@dataclass
class DriverLink:
    chromium: Chromium
    browser: Browser
    link: PlaywrightLink
    socket: Socket
    lost: list[bool] = field(default_factory=list)
    calls: int = 0

    def send(self, method: str, params: dict[str, Any] | None = None, session_id: str | None = None) -> int:
        """Sends a command as the driver does. Returns its id."""
        self.calls += 1
        message: dict[str, Any] = {"id": self.calls, "method": method, "params": params or {}}
        if session_id is not None:
            message["sessionId"] = session_id
        self.link.command(json.dumps(message).encode())
        return self.calls

    async def call(self, method: str, params: dict[str, Any] | None = None) -> dict[str, Any]:
        """The whole response."""
        call_id = self.send(method, params)
        await settled(self.browser)
        [response] = [each for each in self.messages() if each.get("id") == call_id]
        assert "sessionId" not in response
        return response

    async def context(self) -> str:
        response = await self.call("Target.createBrowserContext", {"disposeOnDetach": True})
        context_id: str = response["result"]["browserContextId"]
        return context_id

    def messages(self) -> list[dict[str, Any]]:
        return [json.loads(each) for each in self.socket.sent]

    def events(self, method: str) -> list[dict[str, Any]]:
        return [each["params"] for each in self.messages() if each.get("method") == method]

    def attached(self) -> list[tuple[str, bool]]:
        """(target, waitingForDebugger) of each attach event that the driver got."""
        events = self.events("Target.attachedToTarget")
        return [(each["targetInfo"]["targetId"], each["waitingForDebugger"]) for each in events]

    def session_on(self, target_id: str) -> str:
        events = self.events("Target.attachedToTarget")
        return str(next(each["sessionId"] for each in events if each["targetInfo"]["targetId"] == target_id))

    async def new_target(self, target_id: str, context_id: str, target_type: str = "page") -> str:
        """A new paused target. Returns our root's session on it."""
        root = self.chromium.new_target(info(target_id, context_id, target_type))
        await settled(self.browser)
        return root


def nested(value: Any) -> Any:
    """Almost as deeply as Chromium can send it."""
    for _ in range(MAX_DEPTH - 5):
        value = [value]
    return value


@pytest.fixture
async def driver() -> AsyncIterator[DriverLink]:
    async with chromium() as (scripted, browser):
        socket = Socket()

        def make(session: BrowserSession) -> PlaywrightLink:
            link = PlaywrightLink(session, browser)
            link.socket = socket  # type: ignore[assignment]
            return link

        link = await browser.connect(make, timeout=5)
        made = DriverLink(scripted, browser, link, socket)
        link.on_lost = lambda: made.lost.append(True)
        auto_attach = {"autoAttach": True, "waitForDebuggerOnStart": True, "flatten": True}
        assert (await made.call("Target.setAutoAttach", auto_attach))["result"] == {}  # as the driver does first
        yield made


async def test_a_bug_in_the_handling_of_a_message_does_not_disconnect_the_driver(
    driver: DriverLink, monkeypatch: pytest.MonkeyPatch
) -> None:
    def bug(*_: object) -> None:
        raise RecursionError("injected")

    await driver.new_target("PAGE", await driver.context())
    session_id = driver.session_on("PAGE")
    with monkeypatch.context() as patch:
        patch.setattr(driver.link._network, "forwards_command", bug)
        patch.setattr(driver.link._network, "forwards_event", bug)
        driver.send("Page.enable", {}, session_id)
        driver.chromium.event("Network.responseReceived", {}, session_id)
        await settled(driver.browser)
        assert driver.events("Network.responseReceived") == []
    assert driver.socket.closed == []
    assert driver.lost == []
    assert await driver.context()


async def test_commands_that_the_service_decides_are_not_forwarded(driver: DriverLink) -> None:
    params = {"behavior": "allow", "downloadPath": "/x"}
    assert (await driver.call("Browser.setDownloadBehavior", params))["result"] == {}
    assert driver.chromium.received("Browser.setDownloadBehavior") == []


async def test_root_commands_are_sent_on_its_session_and_responses_mapped_back(driver: DriverLink) -> None:
    driver.chromium.replies["Browser.getVersion"] = lambda command: {"level": command["sessionId"]}
    response = await driver.call("Browser.getVersion")
    session = driver.link._session
    assert session is not None
    assert response["result"] == {"level": session.session_id}


async def test_an_error_of_chromium_is_passed_on(driver: DriverLink) -> None:
    def refuse(_command: dict[str, Any]) -> None:
        raise Refused("no more contexts")

    for method in ("Target.createBrowserContext", "Target.createTarget"):
        driver.chromium.replies[method] = refuse
        response = await driver.call(method, {"url": "about:blank"})
        assert response["error"] == {"code": -32000, "message": "no more contexts"}
    await driver.new_target("T", "C")
    assert driver.attached() == []


async def test_a_claim_finds_its_context_and_is_not_forwarded(driver: DriverLink) -> None:
    one, other = await driver.context(), await driver.context()
    claim, others = driver.link.claim(), driver.link.claim()
    assert claim != others
    for origin, context_id in ((others, other), (claim, one)):
        granted = {"origin": origin, "browserContextId": context_id, "permissions": []}
        assert (await driver.call("Browser.grantPermissions", granted))["result"] == {}
    assert driver.chromium.received("Browser.grantPermissions") == []
    assert (driver.link.claimed(claim), driver.link.claimed(others)) == (one, other)
    with pytest.raises(KeyError):
        driver.link.claimed(claim)
    real = {"origin": "https://a.test", "browserContextId": one, "permissions": ["geolocation"]}
    await driver.call("Browser.grantPermissions", real)
    assert [each["params"] for each in driver.chromium.received("Browser.grantPermissions")] == [real]


async def test_a_claim_of_a_context_that_is_disposed_of_is_forgotten(driver: DriverLink) -> None:
    context_id, claim = await driver.context(), driver.link.claim()
    await driver.call("Browser.grantPermissions", {"origin": claim, "browserContextId": context_id})
    await driver.call("Target.disposeBrowserContext", {"browserContextId": context_id})
    assert len(driver.chromium.received("Target.disposeBrowserContext")) == 1
    with pytest.raises(KeyError):
        driver.link.claimed(claim)
    await driver.new_target("T", context_id)
    assert driver.attached() == []


async def test_the_driver_is_attached_only_to_new_pages_of_its_own_contexts(driver: DriverLink) -> None:
    own = await driver.context()
    foreign = await driver.new_target("FOREIGN", "C")
    await driver.new_target("WORKER", own, "worker")
    await driver.new_target("SERVICE", own, "service_worker")
    await driver.new_target("PAGE", own)
    assert driver.attached() == [("SERVICE", True), ("PAGE", True)]
    assert "FOREIGN" not in json.dumps(driver.messages())
    assert foreign in driver.chromium.resumed(), "it must not be paused"


async def test_the_response_to_resume_follows_when_the_page_runs(driver: DriverLink) -> None:
    own = await driver.context()
    driver.browser.targets.watch(own, Holder("other"))
    root = await driver.new_target("PAGE", own)
    session_id = driver.session_on("PAGE")
    call_id = driver.send("Runtime.runIfWaitingForDebugger", {}, session_id)
    await settled(driver.browser)
    assert (driver.chromium.resumed(), [each for each in driver.messages() if each.get("id") == call_id]) == ([], [])
    driver.browser.pauses.resumed("PAGE", "other")
    await settled(driver.browser)
    assert sorted(driver.chromium.resumed()) == sorted([root, session_id])
    [response] = [each for each in driver.messages() if each.get("id") == call_id]
    assert response == {"id": call_id, "result": {}, "sessionId": session_id}
    again = driver.send("Runtime.runIfWaitingForDebugger", {}, session_id)  # Chromium itself responds to the second one
    await settled(driver.browser)
    assert driver.chromium.received("Runtime.runIfWaitingForDebugger")[-1]["id"] == again


class Holder:
    """Another client that is waited for in a context."""

    def __init__(self, name: str) -> None:
        self.name = name

    def target_paused(self, _target: object) -> list[object]:
        return [self.name]

    def target_created(self, _target: object) -> None: ...

    def target_changed(self, _target: object) -> None: ...

    def target_destroyed(self, _target: object) -> None: ...

    def target_crashed(self, _target: object, _params: object) -> None: ...


@pytest.mark.parametrize("how", ["detaches", "disconnects", "closes"])
async def test_a_pause_does_not_wait_for_a_driver_that_is_not_attached(driver: DriverLink, how: str) -> None:
    own = await driver.context()
    root = await driver.new_target("PAGE", own)
    session = driver.link._session
    assert session is not None
    if how == "detaches":
        assert driver.chromium.resumed() == []
        detached = {"sessionId": driver.session_on("PAGE"), "targetId": "PAGE"}
        driver.chromium.event("Target.detachedFromTarget", detached, session.session_id)
        await settled(driver.browser)
        assert driver.events("Target.detachedFromTarget") == [detached]
    elif how == "disconnects":
        driver.link.client_gone()
    elif how == "closes":
        driver.link.close()
    await settled(driver.browser)
    assert root in driver.chromium.resumed()
    assert len(driver.browser.pauses) == 0


async def test_the_response_to_a_new_page_follows_its_attach_event(driver: DriverLink) -> None:
    own = await driver.context()
    call_id = driver.send("Target.createTarget", {"url": "about:blank", "browserContextId": own})
    await settled(driver.browser)
    last_two = driver.messages()[-2:]
    assert last_two[0]["method"] == "Target.attachedToTarget"
    assert last_two[1]["id"] == call_id
    assert last_two[1]["result"]["targetId"] == last_two[0]["params"]["targetInfo"]["targetId"]


@pytest.mark.parametrize("method", ["Log.enable", "Network.enable"])
async def test_commands_for_unused_events_are_not_forwarded(driver: DriverLink, method: str) -> None:
    await driver.new_target("PAGE", await driver.context())
    call_id = driver.send(method, {}, driver.session_on("PAGE"))
    await settled(driver.browser)
    [response] = [each for each in driver.messages() if each.get("id") == call_id]
    assert response["result"] == {}
    assert driver.chromium.received(method) == []


async def test_the_network_domain_is_enabled_for_a_navigation(driver: DriverLink) -> None:
    await driver.new_target("PAGE", await driver.context())
    session_id = driver.session_on("PAGE")
    driver.send("Network.enable", {}, session_id)
    document = {"requestId": "L1", "loaderId": "L1", "frameId": "PAGE"}
    async with driver.link.navigation("PAGE", everything=False):
        await settled(driver.browser)
        (enabled,) = driver.chromium.received("Network.enable")
        assert enabled["sessionId"] == session_id
        driver.chromium.event("Network.requestWillBeSent", {"requestId": "R2", "loaderId": "L1"}, session_id)
        driver.chromium.event("Network.requestWillBeSent", document, session_id)
        driver.chromium.event("Network.responseReceived", document, session_id)
        await settled(driver.browser)
        assert driver.events("Network.requestWillBeSent") == driver.events("Network.responseReceived") == [document]
    await settled(driver.browser)
    assert len(driver.chromium.received("Network.disable")) == 1


async def test_a_navigation_until_network_idle_starts_when_the_network_domain_is_enabled(driver: DriverLink) -> None:
    await driver.new_target("PAGE", await driver.context())
    driver.send("Network.enable", {}, driver.session_on("PAGE"))
    async with driver.link.navigation("PAGE", everything=True):
        assert driver.chromium.received("Network.enable")


async def test_a_hung_page_can_be_navigated_until_network_idle(
    driver: DriverLink, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(playwright_link, "ENABLED_S", 0.02)
    await driver.new_target("PAGE", await driver.context())
    driver.chromium.replies["Network.enable"] = lambda _: None
    async with driver.link.navigation("PAGE", everything=True):
        assert driver.chromium.received("Network.enable")


class TestEvents:
    @pytest.mark.parametrize("method", ["Runtime.consoleAPICalled", "Runtime.exceptionThrown"])
    async def test_of_the_console_are_dropped_and_their_objects_released(self, driver: DriverLink, method: str) -> None:
        session_id = await self.page(driver)
        for _ in range(RELEASE_EVERY):
            driver.chromium.event(method, {"text": "logged"}, session_id)
        await settled(driver.browser)
        assert driver.events(method) == []
        (released,) = driver.chromium.received("Runtime.releaseObjectGroup")
        assert (released["sessionId"], released["params"]) == (session_id, {"objectGroup": "console"})

    async def test_a_console_flood_disables_the_runtime_domain_for_a_while(
        self, driver: DriverLink, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(driver_runtime, "FLOOD_S", 0.02)
        session_id = await self.page(driver)
        for _ in range(FLOOD_EVENTS + 10):
            driver.chromium.event("Runtime.consoleAPICalled", {}, session_id)
        await settled(driver.browser)
        assert [each["sessionId"] for each in driver.chromium.received("Runtime.disable")] == [session_id]
        await until(
            lambda: bool(driver.chromium.received("Runtime.enable")), what="the runtime domain is enabled again"
        )
        (discarded,) = driver.chromium.received("Runtime.discardConsoleEntries")
        assert discarded["sessionId"] == session_id

    async def test_execution_contexts_are_reported_once(self, driver: DriverLink) -> None:
        """Enabling the runtime domain reports all contexts again, on which Playwright would fail pending
        evaluations."""
        session_id = await self.page(driver)

        def created(unique_id: str) -> None:
            context = {"id": 1, "origin": "", "name": "", "uniqueId": unique_id}
            driver.chromium.event("Runtime.executionContextCreated", {"context": context}, session_id)

        created("1.1")
        created("1.1")
        created("1.2")
        gone = {"executionContextId": 1, "executionContextUniqueId": "1.2"}
        driver.chromium.event("Runtime.executionContextDestroyed", gone, session_id)
        created("1.2")
        driver.chromium.event("Runtime.executionContextsCleared", {}, session_id)
        created("1.1")
        await settled(driver.browser)
        created_events = [each for each in driver.messages() if each.get("method") == "Runtime.executionContextCreated"]
        assert [each["params"]["context"]["uniqueId"] for each in created_events] == ["1.1", "1.2", "1.2", "1.1"]

    @pytest.mark.parametrize(
        "method", ["Page.javascriptDialogOpening", "Network.requestWillBeSent", "Network.webSocketFrameReceived"]
    )
    async def test_with_an_effect_are_truncated(self, driver: DriverLink, method: str) -> None:
        session_id = await self.page(driver)
        driver.send("Network.setExtraHTTPHeaders", {}, session_id)  # needs network events
        kind = {"type": "prompt"}
        long = {**kind, "number": 1, "deep": nested({"text": "x" * EVENT_BYTES, "short": "y"}), "on": True}
        driver.chromium.event(method, long, session_id)
        driver.chromium.event(method, {**kind, "text": "x" * (EVENT_BYTES // 2)}, session_id)
        await settled(driver.browser)
        cut, whole = [each for each in driver.messages() if each.get("method") == method]
        assert cut["sessionId"] == session_id
        deep = nested({"text": "x" * STRING_CHARACTERS, "short": "y"})
        assert cut["params"] == {**kind, "number": 1, "deep": deep, "on": True}
        assert len(whole["params"]["text"]) == EVENT_BYTES // 2

    async def test_and_responses_of_other_kinds_are_forwarded_completely(self, driver: DriverLink) -> None:
        session_id = await self.page(driver)
        driver.chromium.replies["Page.captureScreenshot"] = lambda _: {"data": "x" * 2 * EVENT_BYTES}
        call_id = driver.send("Page.captureScreenshot", {}, session_id)
        driver.chromium.event("Page.screencastFrame", {"data": "x" * 2 * EVENT_BYTES}, session_id)
        await settled(driver.browser)
        [response] = [each for each in driver.messages() if each.get("id") == call_id]
        assert len(response["result"]["data"]) == 2 * EVENT_BYTES
        assert [len(each["data"]) for each in driver.events("Page.screencastFrame")] == [2 * EVENT_BYTES]

    async def page(self, driver: DriverLink) -> str:
        await driver.new_target("PAGE", await driver.context())
        return driver.session_on("PAGE")


class TestTheEnd:
    async def test_a_lost_driver_is_reported_once_and_its_session_detached(self, driver: DriverLink) -> None:
        await driver.context()
        session = driver.link._session
        assert session is not None
        driver.link.client_gone()
        driver.link.command(b'{"id":1,"method":"Browser.getVersion"}')
        await settled(driver.browser)
        assert driver.lost == [True]
        assert [each["params"]["sessionId"] for each in driver.chromium.received("Target.detachFromTarget")] == [
            session.session_id
        ]
        assert driver.chromium.received("Browser.getVersion") == []
        assert driver.browser.targets._watchers == {}

    async def test_a_lost_browser_closes_the_connection_without_reporting_the_driver(self, driver: DriverLink) -> None:
        driver.send("Browser.getVersion")
        driver.chromium.end()
        await driver.browser.closed
        driver.link.client_gone()
        assert (driver.socket.closed, driver.lost) == ([1001], [])

    async def test_closing_is_not_reported(self, driver: DriverLink) -> None:
        driver.link.close()
        driver.link.close()
        driver.link.client_gone()
        await asyncio.sleep(0)
        assert driver.lost == []
        assert set(driver.socket.closed) == {1001}

    async def test_it_is_notified_when_its_pages_close(self, driver: DriverLink) -> None:
        """`newPage` gets a response even if the page is gone before its attach event."""
        own = await driver.context()
        driver.chromium.auto_attaching.clear()
        call_id = driver.send("Target.createTarget", {"url": "about:blank", "browserContextId": own})
        await settled(driver.browser)
        assert [each for each in driver.messages() if each.get("id") == call_id] == []
        driver.chromium.destroy(next(iter(driver.chromium.targets)))
        await settled(driver.browser)
        assert len([each for each in driver.messages() if each.get("id") == call_id]) == 1


class TestAReadyContext:
    """Spare contexts, whose page is created before the driver requests it."""

    @pytest.fixture(autouse=True)
    def _at_once(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(ready_contexts, "IDLE_S", 0.0)

    async def ready(self, driver: DriverLink, count: int = 1) -> list[str]:
        """The pages of the spare contexts."""
        driver.link.ready.keep(count)
        await until(lambda: len(driver.link.ready) == count, what="the contexts are ready")
        await settled(driver.browser)
        return list(driver.chromium.targets)

    async def test_is_used_without_a_command_to_chromium(self, driver: DriverLink) -> None:
        (page_id,) = await self.ready(driver)
        assert (driver.attached(), driver.chromium.resumed()) == ([], [])
        assert len(driver.link.ready.context_ids) == 1
        sent = len(driver.chromium.commands)
        call_id = driver.send("Target.createBrowserContext", {"disposeOnDetach": True})
        (response,) = [each for each in driver.messages() if each.get("id") == call_id]
        context_id = response["result"]["browserContextId"]
        assert (driver.attached(), driver.link.ready.context_ids) == ([], set())
        target = driver.browser.targets.get(page_id)
        assert target is not None
        made_at = target.created_at
        call_id = driver.send("Target.createTarget", {"url": "about:blank", "browserContextId": context_id})
        attached, created = driver.messages()[-2:]
        assert created == {"id": call_id, "result": {"targetId": page_id}}
        assert attached["method"] == "Target.attachedToTarget"
        assert attached["params"]["targetInfo"] == info(page_id, context_id)
        assert attached["params"]["waitingForDebugger"] is True
        assert target.created_at > made_at
        assert len(driver.chromium.commands) == sent
        session_id = driver.session_on(page_id)
        driver.send("Runtime.runIfWaitingForDebugger", {}, session_id)
        await settled(driver.browser)
        assert session_id in driver.chromium.resumed()

    async def test_has_one_page_and_further_pages_are_created(self, driver: DriverLink) -> None:
        (page_id,) = await self.ready(driver)
        context_id = await driver.context()
        for _ in range(2):
            await driver.call("Target.createTarget", {"url": "about:blank", "browserContextId": context_id})
        (first, _), (second, _) = driver.attached()
        assert (first, second != page_id) == (page_id, True)

    async def test_is_not_used_for_a_context_with_a_proxy(self, driver: DriverLink) -> None:
        await self.ready(driver)
        params = {"disposeOnDetach": True, "proxyServer": "http://proxy.test"}
        response = await driver.call("Target.createBrowserContext", params)
        assert response["result"]["browserContextId"] not in driver.link.ready.context_ids
        assert len(driver.link.ready) == 1

    async def test_that_is_incomplete_is_not_used(self, driver: DriverLink) -> None:
        waiting: list[dict[str, Any]] = []
        create = driver.chromium.replies["Target.createTarget"]
        driver.chromium.replies["Target.createTarget"] = waiting.append
        driver.link.ready.keep(1)
        await until(lambda: bool(waiting), what="its page is requested")
        assert len(driver.link.ready.context_ids) == 1
        assert await driver.context() not in driver.link.ready.context_ids
        value = create(waiting[0])
        assert value is not None
        driver.chromium.answer(waiting[0], value)
        await until(lambda: len(driver.link.ready) == 1, what="the context is ready")
        assert driver.attached() == []

    async def test_that_is_disposed_of_before_its_page_is_requested_is_never_reported(self, driver: DriverLink) -> None:
        (page_id,) = await self.ready(driver)
        context_id = await driver.context()
        session = driver.link._session
        assert session is not None
        (child,) = driver.link._hidden
        await driver.call("Target.disposeBrowserContext", {"browserContextId": context_id})
        detached = {"sessionId": child, "targetId": page_id}
        driver.chromium.event("Target.detachedFromTarget", detached, session.session_id)
        driver.chromium.destroy(page_id)
        await settled(driver.browser)
        assert driver.events("Target.attachedToTarget") == driver.events("Target.detachedFromTarget") == []
        assert (driver.link._hidden, driver.link.ready._taken, len(driver.browser.pauses)) == (set(), {}, 0)
        assert driver.browser.targets._watchers == {}

    @pytest.mark.parametrize("how", ["crashes", "closes"])
    @pytest.mark.parametrize("taken", [False, True])
    async def test_whose_page_is_lost_is_not_used(self, driver: DriverLink, how: str, taken: bool) -> None:
        (page_id,) = await self.ready(driver)
        context_id = await driver.context() if taken else ""
        if how == "crashes":
            crashed = {"targetId": page_id, "status": "crashed", "errorCode": 1}
            driver.chromium.event("Target.targetCrashed", crashed)
        else:
            driver.chromium.destroy(page_id)
        await settled(driver.browser)
        if not taken:
            assert [each["params"] for each in driver.chromium.received("Target.disposeBrowserContext")] != []
            assert (len(driver.link.ready), driver.link.ready.context_ids) == (0, set())
            context_id = await driver.context()
        response = await driver.call("Target.createTarget", {"url": "about:blank", "browserContextId": context_id})
        assert response["result"]["targetId"] != page_id
        assert [target_id for target_id, _ in driver.attached()] == [response["result"]["targetId"]]
        with driver.link.ready.create(suitable=True):  # the next create, not the loss, triggers a new one
            assert len(driver.link.ready) == 0
        await until(lambda: len(driver.link.ready) == 1, what="another spare context")

    async def test_is_not_prepared_during_a_create(self, driver: DriverLink) -> None:
        with driver.link.ready.create(suitable=True):
            with driver.link.ready.create(suitable=True):
                driver.link.ready.keep(1)
            await settled(driver.browser)
            assert driver.chromium.received("Target.createBrowserContext") == []
        await until(lambda: len(driver.link.ready) == 1, what="the spare context is ready")

    async def test_beyond_the_wanted_number_is_disposed_of(self, driver: DriverLink) -> None:
        await self.ready(driver, 3)
        ids = driver.link.ready.context_ids
        assert len(ids) == 3
        waiting: list[dict[str, Any]] = []
        driver.chromium.replies["Target.disposeBrowserContext"] = waiting.append
        driver.link.ready.keep(0)
        assert (len(driver.link.ready), driver.link.ready.context_ids) == (0, ids), "listed until they are gone"
        await until(lambda: len(waiting) == 3, what="the contexts are disposed of")
        for command in waiting:
            driver.chromium.answer(command, {})
        await settled(driver.browser)
        assert driver.link.ready.context_ids == set()
        assert len(driver.chromium.received("Target.createBrowserContext")) == 3

    async def test_no_longer_wanted_during_its_preparation_is_disposed_of(self, driver: DriverLink) -> None:
        create = driver.chromium.replies["Target.createTarget"]

        def cancel_and_create(command: dict[str, Any]) -> dict[str, Any] | None:
            driver.link.ready.keep(0)
            return create(command)

        driver.chromium.replies["Target.createTarget"] = cancel_and_create
        driver.link.ready.keep(1)
        await until(
            lambda: bool(driver.chromium.received("Target.disposeBrowserContext")), what="the context is disposed of"
        )
        await settled(driver.browser)
        assert (len(driver.link.ready), driver.link.ready.context_ids, driver.attached()) == (0, set(), [])

    @pytest.mark.parametrize("method", ["Target.createBrowserContext", "Target.createTarget"])
    async def test_that_failed_is_retried_after_the_next_create(self, driver: DriverLink, method: str) -> None:
        def refuse(_command: dict[str, Any]) -> None:
            raise Refused("not now")

        usual = driver.chromium.replies[method]
        driver.chromium.replies[method] = refuse
        driver.link.ready.keep(1)
        await until(lambda: bool(driver.chromium.received(method)), what="it is attempted")
        await settled(driver.browser)
        assert (len(driver.link.ready), driver.link.ready.context_ids) == (0, set())
        driver.chromium.replies[method] = usual
        with driver.link.ready.create(suitable=True):
            pass
        await until(lambda: len(driver.link.ready) == 1, what="the spare context is ready")

    async def test_is_disposed_of_with_the_driver(self, driver: DriverLink) -> None:
        await self.ready(driver)
        driver.link.client_gone()
        with driver.link.ready.create(suitable=True):
            driver.link.ready.keep(2)
        await settled(driver.browser)
        assert len(driver.chromium.received("Target.createBrowserContext")) == 1
        assert (len(driver.link.ready), driver.browser.targets._watchers) == (0, {})
