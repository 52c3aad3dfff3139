"""What Playwright's driver says and hears, against a Chromium that says what a test wants."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from typing import Any

import pytest

from browser_sessions.cdp import Browser, BrowserSession
from browser_sessions.chromium.driver import playwright_link, ready_contexts
from browser_sessions.chromium.driver.playwright_link import (
    EVENT_BYTES,
    FLOOD_EVENTS,
    RELEASE_EVERY,
    STRING_CHARACTERS,
    PlaywrightLink,
)
from tests.harness.fakes.scripted_chromium import Chromium, Refused, chromium, info, settled
from tests.harness.waiting import until


class Socket:
    """Stands in for the WebSocket to the driver."""

    def __init__(self) -> None:
        self.sent: list[bytes] = []
        self.closed: list[int] = []

    def send(self, payload: bytes) -> None:
        self.sent.append(payload)

    def close(self, code: int, _reason: str) -> None:
        self.closed.append(code)


@dataclass
class World:
    chromium: Chromium
    browser: Browser
    link: PlaywrightLink
    socket: Socket
    lost: list[bool] = field(default_factory=list)
    calls: int = 0

    def say(self, method: str, params: dict[str, Any] | None = None, session_id: str | None = None) -> int:
        """As the driver does. Returns the call's id."""
        self.calls += 1
        message: dict[str, Any] = {"id": self.calls, "method": method, "params": params or {}}
        if session_id is not None:
            message["sessionId"] = session_id
        self.link.command(json.dumps(message).encode())
        return self.calls

    async def ask(self, method: str, params: dict[str, Any] | None = None) -> dict[str, Any]:
        """The whole answer."""
        call_id = self.say(method, params)
        await settled(self.browser)
        [answer] = [each for each in self.heard() if each.get("id") == call_id]
        assert "sessionId" not in answer
        return answer

    async def context(self) -> str:
        answer = await self.ask("Target.createBrowserContext", {"disposeOnDetach": True})
        context_id: str = answer["result"]["browserContextId"]
        return context_id

    def heard(self) -> list[dict[str, Any]]:
        return [json.loads(each) for each in self.socket.sent]

    def events(self, method: str) -> list[dict[str, Any]]:
        return [each["params"] for each in self.heard() if each.get("method") == method]

    def attached(self) -> list[tuple[str, bool]]:
        """(target, whether it waits) of each attach that the driver was told of."""
        told = self.events("Target.attachedToTarget")
        return [(each["targetInfo"]["targetId"], each["waitingForDebugger"]) for each in told]

    def session_on(self, target_id: str) -> str:
        told = self.events("Target.attachedToTarget")
        return str(next(each["sessionId"] for each in told if each["targetInfo"]["targetId"] == target_id))

    async def born(self, target_id: str, context_id: str, target_type: str = "page") -> str:
        """A new paused target. Returns our root's session on it."""
        root = self.chromium.born(info(target_id, context_id, target_type))
        await settled(self.browser)
        return root


@pytest.fixture
async def world() -> AsyncIterator[World]:
    async with chromium() as (scripted, browser):
        socket = Socket()

        def make(session: BrowserSession) -> PlaywrightLink:
            link = PlaywrightLink(session, browser)
            link.socket = socket  # type: ignore[assignment]
            return link

        link = await browser.connect(make, timeout=5)
        made = World(scripted, browser, link, socket)
        link.on_lost = lambda: made.lost.append(True)
        auto_attach = {"autoAttach": True, "waitForDebuggerOnStart": True, "flatten": True}
        assert (await made.ask("Target.setAutoAttach", auto_attach))["result"] == {}  # as the driver does first
        yield made


async def test_commands_that_the_service_decides_are_not_forwarded(world: World) -> None:
    params = {"behavior": "allow", "downloadPath": "/x"}
    assert (await world.ask("Browser.setDownloadBehavior", params))["result"] == {}
    assert world.chromium.said("Browser.setDownloadBehavior") == []


async def test_root_commands_are_sent_on_its_session_and_responses_mapped_back(world: World) -> None:
    world.chromium.replies["Browser.getVersion"] = lambda command: {"level": command["sessionId"]}
    answer = await world.ask("Browser.getVersion")
    session = world.link._session
    assert session is not None
    assert answer["result"] == {"level": session.session_id}


async def test_an_error_of_chromium_is_passed_on(world: World) -> None:
    def refuse(_command: dict[str, Any]) -> None:
        raise Refused("no more contexts")

    for method in ("Target.createBrowserContext", "Target.createTarget"):
        world.chromium.replies[method] = refuse
        answer = await world.ask(method, {"url": "about:blank"})
        assert answer["error"] == {"code": -32000, "message": "no more contexts"}
    await world.born("T", "C")
    assert world.attached() == []


async def test_a_claim_finds_its_context_and_is_not_forwarded(world: World) -> None:
    one, other = await world.context(), await world.context()
    claim, others = world.link.claim(), world.link.claim()
    assert claim != others
    for origin, context_id in ((others, other), (claim, one)):
        granted = {"origin": origin, "browserContextId": context_id, "permissions": []}
        assert (await world.ask("Browser.grantPermissions", granted))["result"] == {}
    assert world.chromium.said("Browser.grantPermissions") == []
    assert (world.link.claimed(claim), world.link.claimed(others)) == (one, other)
    with pytest.raises(KeyError):
        world.link.claimed(claim)
    real = {"origin": "https://a.test", "browserContextId": one, "permissions": ["geolocation"]}
    await world.ask("Browser.grantPermissions", real)
    assert [each["params"] for each in world.chromium.said("Browser.grantPermissions")] == [real]


async def test_a_claim_of_a_context_that_is_disposed_of_is_forgotten(world: World) -> None:
    context_id, claim = await world.context(), world.link.claim()
    await world.ask("Browser.grantPermissions", {"origin": claim, "browserContextId": context_id})
    await world.ask("Target.disposeBrowserContext", {"browserContextId": context_id})
    assert len(world.chromium.said("Target.disposeBrowserContext")) == 1
    with pytest.raises(KeyError):
        world.link.claimed(claim)
    await world.born("T", context_id)
    assert world.attached() == []


async def test_it_is_attached_to_new_pages_of_its_own_contexts_and_to_nothing_else(world: World) -> None:
    own = await world.context()
    foreign = await world.born("FOREIGN", "C")
    await world.born("WORKER", own, "worker")
    await world.born("SERVICE", own, "service_worker")
    await world.born("PAGE", own)
    assert world.attached() == [("SERVICE", True), ("PAGE", True)]
    assert "FOREIGN" not in json.dumps(world.heard())
    assert foreign in world.chromium.resumed(), "nobody holds it"


async def test_its_page_runs_when_it_has_resumed_it_and_the_response_follows(world: World) -> None:
    own = await world.context()
    world.browser.targets.watch(own, Holder("other"))
    root = await world.born("PAGE", own)
    session_id = world.session_on("PAGE")
    call_id = world.say("Runtime.runIfWaitingForDebugger", {}, session_id)
    await settled(world.browser)
    assert (world.chromium.resumed(), [each for each in world.heard() if each.get("id") == call_id]) == ([], [])
    world.browser.pauses.resumed("PAGE", "other")
    await settled(world.browser)
    assert sorted(world.chromium.resumed()) == sorted([root, session_id])
    [answer] = [each for each in world.heard() if each.get("id") == call_id]
    assert answer == {"id": call_id, "result": {}, "sessionId": session_id}
    again = world.say("Runtime.runIfWaitingForDebugger", {}, session_id)  # it is Chromium's to answer now
    await settled(world.browser)
    assert world.chromium.said("Runtime.runIfWaitingForDebugger")[-1]["id"] == again


class Holder:
    """Somebody else who is waited for in a context."""

    def __init__(self, name: str) -> None:
        self.name = name

    def target_paused(self, _target: object) -> list[object]:
        return [self.name]

    def target_created(self, _target: object) -> None: ...

    def target_changed(self, _target: object) -> None: ...

    def target_destroyed(self, _target: object) -> None: ...

    def target_crashed(self, _target: object, _params: object) -> None: ...


@pytest.mark.parametrize("how", ["detaches", "leaves", "closes"])
async def test_a_pause_does_not_wait_for_a_driver_that_is_not_attached(world: World, how: str) -> None:
    own = await world.context()
    root = await world.born("PAGE", own)
    session = world.link._session
    assert session is not None
    if how == "detaches":
        assert world.chromium.resumed() == []
        told = {"sessionId": world.session_on("PAGE"), "targetId": "PAGE"}
        world.chromium.event("Target.detachedFromTarget", told, session.session_id)
        await settled(world.browser)
        assert world.events("Target.detachedFromTarget") == [told]
    elif how == "leaves":
        world.link.client_gone()
    elif how == "closes":
        world.link.close()
    await settled(world.browser)
    assert root in world.chromium.resumed()
    assert len(world.browser.pauses) == 0


async def test_the_response_to_a_new_page_follows_its_attach_event(world: World) -> None:
    own = await world.context()
    call_id = world.say("Target.createTarget", {"url": "about:blank", "browserContextId": own})
    await settled(world.browser)
    last_two = world.heard()[-2:]
    assert last_two[0]["method"] == "Target.attachedToTarget"
    assert last_two[1]["id"] == call_id
    assert last_two[1]["result"]["targetId"] == last_two[0]["params"]["targetInfo"]["targetId"]


@pytest.mark.parametrize("method", ["Log.enable", "Network.enable"])
async def test_commands_for_unused_events_are_not_forwarded(world: World, method: str) -> None:
    await world.born("PAGE", await world.context())
    call_id = world.say(method, {}, world.session_on("PAGE"))
    await settled(world.browser)
    [answer] = [each for each in world.heard() if each.get("id") == call_id]
    assert answer["result"] == {}
    assert world.chromium.said(method) == []


async def test_the_network_domain_is_enabled_for_a_navigation(world: World) -> None:
    await world.born("PAGE", await world.context())
    session_id = world.session_on("PAGE")
    world.say("Network.enable", {}, session_id)
    document = {"requestId": "L1", "loaderId": "L1", "frameId": "PAGE"}
    with world.link.navigation("PAGE", everything=False):
        await settled(world.browser)
        (enabled,) = world.chromium.said("Network.enable")
        assert enabled["sessionId"] == session_id
        world.chromium.event("Network.requestWillBeSent", {"requestId": "R2", "loaderId": "L1"}, session_id)
        world.chromium.event("Network.requestWillBeSent", document, session_id)
        world.chromium.event("Network.responseReceived", document, session_id)
        await settled(world.browser)
        assert world.events("Network.requestWillBeSent") == world.events("Network.responseReceived") == [document]
    await settled(world.browser)
    assert len(world.chromium.said("Network.disable")) == 1


class TestEvents:
    @pytest.mark.parametrize("method", ["Runtime.consoleAPICalled", "Runtime.exceptionThrown"])
    async def test_of_the_console_are_dropped_and_their_objects_released(self, world: World, method: str) -> None:
        session_id = await self.page(world)
        for _ in range(RELEASE_EVERY):
            world.chromium.event(method, {"text": "said"}, session_id)
        await settled(world.browser)
        assert world.events(method) == []
        (released,) = world.chromium.said("Runtime.releaseObjectGroup")
        assert (released["sessionId"], released["params"]) == (session_id, {"objectGroup": "console"})

    async def test_a_console_flood_disables_the_runtime_domain_for_a_while(
        self, world: World, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(playwright_link, "FLOOD_S", 0.02)
        session_id = await self.page(world)
        for _ in range(FLOOD_EVENTS + 10):
            world.chromium.event("Runtime.consoleAPICalled", {}, session_id)
        await settled(world.browser)
        assert [each["sessionId"] for each in world.chromium.said("Runtime.disable")] == [session_id]
        await until(lambda: bool(world.chromium.said("Runtime.enable")), what="it is listened to again")
        (forgotten,) = world.chromium.said("Runtime.discardConsoleEntries")
        assert forgotten["sessionId"] == session_id

    async def test_execution_contexts_are_reported_once(self, world: World) -> None:
        """Enabling the runtime domain again reports them all again: Playwright would fail what is evaluated in them."""
        session_id = await self.page(world)

        def created(unique_id: str) -> None:
            context = {"id": 1, "origin": "", "name": "", "uniqueId": unique_id}
            world.chromium.event("Runtime.executionContextCreated", {"context": context}, session_id)

        created("1.1")
        created("1.1")
        created("1.2")
        gone = {"executionContextId": 1, "executionContextUniqueId": "1.2"}
        world.chromium.event("Runtime.executionContextDestroyed", gone, session_id)
        created("1.2")
        world.chromium.event("Runtime.executionContextsCleared", {}, session_id)
        created("1.1")
        await settled(world.browser)
        heard = [each for each in world.heard() if each.get("method") == "Runtime.executionContextCreated"]
        assert [each["params"]["context"]["uniqueId"] for each in heard] == ["1.1", "1.2", "1.2", "1.1"]

    @pytest.mark.parametrize(
        "method", ["Page.javascriptDialogOpening", "Network.requestWillBeSent", "Network.webSocketFrameReceived"]
    )
    async def test_with_an_effect_are_truncated(self, world: World, method: str) -> None:
        session_id = await self.page(world)
        world.say("Network.setExtraHTTPHeaders", {}, session_id)  # which needs the network's events
        long = {"number": 1, "deep": [{"text": "x" * EVENT_BYTES, "short": "y"}], "on": True}
        world.chromium.event(method, long, session_id)
        world.chromium.event(method, {"text": "x" * (EVENT_BYTES // 2)}, session_id)
        await settled(world.browser)
        cut, whole = [each for each in world.heard() if each.get("method") == method]
        assert cut["sessionId"] == session_id
        assert cut["params"] == {"number": 1, "deep": [{"text": "x" * STRING_CHARACTERS, "short": "y"}], "on": True}
        assert len(whole["params"]["text"]) == EVENT_BYTES // 2

    async def test_and_responses_of_other_kinds_are_forwarded_completely(self, world: World) -> None:
        session_id = await self.page(world)
        world.chromium.replies["Page.captureScreenshot"] = lambda _: {"data": "x" * 2 * EVENT_BYTES}
        call_id = world.say("Page.captureScreenshot", {}, session_id)
        world.chromium.event("Page.screencastFrame", {"data": "x" * 2 * EVENT_BYTES}, session_id)
        await settled(world.browser)
        [answer] = [each for each in world.heard() if each.get("id") == call_id]
        assert len(answer["result"]["data"]) == 2 * EVENT_BYTES
        assert [len(each["data"]) for each in world.events("Page.screencastFrame")] == [2 * EVENT_BYTES]

    async def page(self, world: World) -> str:
        await world.born("PAGE", await world.context())
        return world.session_on("PAGE")


class TestTheEnd:
    async def test_a_lost_driver_is_reported_once_and_its_session_detached(self, world: World) -> None:
        await world.context()
        session = world.link._session
        assert session is not None
        world.link.client_gone()
        world.link.command(b'{"id":1,"method":"Browser.getVersion"}')
        await settled(world.browser)
        assert world.lost == [True]
        assert [each["params"]["sessionId"] for each in world.chromium.said("Target.detachFromTarget")] == [
            session.session_id
        ]
        assert world.chromium.said("Browser.getVersion") == []
        assert world.browser.targets._watchers == {}

    async def test_a_lost_browser_closes_the_connection_without_reporting_the_driver(self, world: World) -> None:
        world.say("Browser.getVersion")
        world.chromium.end()
        await world.browser.closed
        world.link.client_gone()
        assert (world.socket.closed, world.lost) == ([1001], [])

    async def test_closing_is_not_reported(self, world: World) -> None:
        world.link.close()
        world.link.close()
        world.link.client_gone()
        await asyncio.sleep(0)
        assert world.lost == []
        assert set(world.socket.closed) == {1001}

    async def test_it_is_notified_when_its_pages_close(self, world: World) -> None:
        """A page that it makes and that is gone before its attach: `newPage` is answered all the same."""
        own = await world.context()
        world.chromium.auto_attaching.clear()
        call_id = world.say("Target.createTarget", {"url": "about:blank", "browserContextId": own})
        await settled(world.browser)
        assert [each for each in world.heard() if each.get("id") == call_id] == []
        world.chromium.dies(next(iter(world.chromium.targets)))
        await settled(world.browser)
        assert len([each for each in world.heard() if each.get("id") == call_id]) == 1


class TestAReadyContext:
    """Contexts whose page was made before the driver asked."""

    @pytest.fixture(autouse=True)
    def _at_once(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(ready_contexts, "IDLE_S", 0.0)

    async def ready(self, world: World, count: int = 1) -> list[str]:
        """The pages of contexts that are ready."""
        world.link.ready.keep(count)
        await until(lambda: len(world.link.ready) == count, what="the contexts are ready")
        await settled(world.browser)
        return list(world.chromium.targets)

    async def test_is_taken_without_a_command_to_chromium(self, world: World) -> None:
        (page_id,) = await self.ready(world)
        assert (world.attached(), world.chromium.resumed()) == ([], [])
        assert len(world.link.ready.context_ids) == 1
        said = len(world.chromium.commands)
        call_id = world.say("Target.createBrowserContext", {"disposeOnDetach": True})
        (answer,) = [each for each in world.heard() if each.get("id") == call_id]
        context_id = answer["result"]["browserContextId"]
        assert (world.attached(), world.link.ready.context_ids) == ([], set())
        target = world.browser.targets.get(page_id)
        assert target is not None
        made_at = target.created_at
        call_id = world.say("Target.createTarget", {"url": "about:blank", "browserContextId": context_id})
        attached, created = world.heard()[-2:]
        assert created == {"id": call_id, "result": {"targetId": page_id}}
        assert attached["method"] == "Target.attachedToTarget"
        assert attached["params"]["targetInfo"] == info(page_id, context_id)
        assert attached["params"]["waitingForDebugger"] is True
        assert target.created_at > made_at
        assert len(world.chromium.commands) == said
        session_id = world.session_on(page_id)
        world.say("Runtime.runIfWaitingForDebugger", {}, session_id)
        await settled(world.browser)
        assert session_id in world.chromium.resumed()

    async def test_has_one_page_and_further_pages_are_created(self, world: World) -> None:
        (page_id,) = await self.ready(world)
        context_id = await world.context()
        for _ in range(2):
            await world.ask("Target.createTarget", {"url": "about:blank", "browserContextId": context_id})
        (first, _), (second, _) = world.attached()
        assert (first, second != page_id) == (page_id, True)

    async def test_is_not_used_for_a_context_with_a_proxy(self, world: World) -> None:
        await self.ready(world)
        params = {"disposeOnDetach": True, "proxyServer": "http://proxy.test"}
        answer = await world.ask("Target.createBrowserContext", params)
        assert answer["result"]["browserContextId"] not in world.link.ready.context_ids
        assert len(world.link.ready) == 1

    async def test_that_is_incomplete_is_not_used(self, world: World) -> None:
        waiting: list[dict[str, Any]] = []
        create = world.chromium.replies["Target.createTarget"]
        world.chromium.replies["Target.createTarget"] = waiting.append
        world.link.ready.keep(1)
        await until(lambda: bool(waiting), what="its page is asked for")
        assert len(world.link.ready.context_ids) == 1
        assert await world.context() not in world.link.ready.context_ids
        value = create(waiting[0])
        assert value is not None
        world.chromium.answer(waiting[0], value)
        await until(lambda: len(world.link.ready) == 1, what="the context is ready")
        assert world.attached() == []

    async def test_that_is_disposed_of_before_its_page_is_requested_is_never_reported(self, world: World) -> None:
        (page_id,) = await self.ready(world)
        context_id = await world.context()
        session = world.link._session
        assert session is not None
        (child,) = world.link._hidden
        await world.ask("Target.disposeBrowserContext", {"browserContextId": context_id})
        told = {"sessionId": child, "targetId": page_id}
        world.chromium.event("Target.detachedFromTarget", told, session.session_id)
        world.chromium.dies(page_id)
        await settled(world.browser)
        assert world.events("Target.attachedToTarget") == world.events("Target.detachedFromTarget") == []
        assert (world.link._hidden, world.link.ready._taken, len(world.browser.pauses)) == (set(), {}, 0)
        assert world.browser.targets._watchers == {}

    @pytest.mark.parametrize("how", ["crashes", "goes"])
    @pytest.mark.parametrize("taken", [False, True])
    async def test_whose_page_is_lost_is_not_used(self, world: World, how: str, taken: bool) -> None:
        (page_id,) = await self.ready(world)
        context_id = await world.context() if taken else ""
        if how == "crashes":
            crashed = {"targetId": page_id, "status": "crashed", "errorCode": 1}
            world.chromium.event("Target.targetCrashed", crashed)
        else:
            world.chromium.dies(page_id)
        await settled(world.browser)
        if not taken:
            assert [each["params"] for each in world.chromium.said("Target.disposeBrowserContext")] != []
            assert (len(world.link.ready), world.link.ready.context_ids) == (0, set())
            context_id = await world.context()
        answer = await world.ask("Target.createTarget", {"url": "about:blank", "browserContextId": context_id})
        assert answer["result"]["targetId"] != page_id
        assert [target_id for target_id, _ in world.attached()] == [answer["result"]["targetId"]]
        with world.link.ready.create(suitable=True):  # the next create, not the loss, has another one made
            assert len(world.link.ready) == 0
        await until(lambda: len(world.link.ready) == 1, what="another one is ready")

    async def test_is_not_prepared_during_a_create(self, world: World) -> None:
        with world.link.ready.create(suitable=True):
            with world.link.ready.create(suitable=True):
                world.link.ready.keep(1)
            await settled(world.browser)
            assert world.chromium.said("Target.createBrowserContext") == []
        await until(lambda: len(world.link.ready) == 1, what="it is made")

    async def test_beyond_the_wanted_number_is_disposed_of(self, world: World) -> None:
        await self.ready(world, 3)
        ids = world.link.ready.context_ids
        assert len(ids) == 3
        waiting: list[dict[str, Any]] = []
        world.chromium.replies["Target.disposeBrowserContext"] = waiting.append
        world.link.ready.keep(0)
        assert (len(world.link.ready), world.link.ready.context_ids) == (0, ids), "until they are gone"
        await until(lambda: len(waiting) == 3, what="they are disposed of")
        for command in waiting:
            world.chromium.answer(command, {})
        await settled(world.browser)
        assert world.link.ready.context_ids == set()
        assert len(world.chromium.said("Target.createBrowserContext")) == 3

    async def test_not_wanted_any_more_while_it_is_prepared_is_disposed_of(self, world: World) -> None:
        create = world.chromium.replies["Target.createTarget"]

        def then_give_up(command: dict[str, Any]) -> dict[str, Any] | None:
            world.link.ready.keep(0)
            return create(command)

        world.chromium.replies["Target.createTarget"] = then_give_up
        world.link.ready.keep(1)
        await until(lambda: bool(world.chromium.said("Target.disposeBrowserContext")), what="it is disposed of")
        await settled(world.browser)
        assert (len(world.link.ready), world.link.ready.context_ids, world.attached()) == (0, set(), [])

    @pytest.mark.parametrize("method", ["Target.createBrowserContext", "Target.createTarget"])
    async def test_that_failed_is_retried_after_the_next_create(self, world: World, method: str) -> None:
        def refuse(_command: dict[str, Any]) -> None:
            raise Refused("not now")

        usual = world.chromium.replies[method]
        world.chromium.replies[method] = refuse
        world.link.ready.keep(1)
        await until(lambda: bool(world.chromium.said(method)), what="it is tried")
        await settled(world.browser)
        assert (len(world.link.ready), world.link.ready.context_ids) == (0, set())
        world.chromium.replies[method] = usual
        with world.link.ready.create(suitable=True):
            pass
        await until(lambda: len(world.link.ready) == 1, what="it is made")

    async def test_is_disposed_of_with_the_driver(self, world: World) -> None:
        await self.ready(world)
        world.link.client_gone()
        with world.link.ready.create(suitable=True):
            world.link.ready.keep(2)
        await settled(world.browser)
        assert len(world.chromium.said("Target.createBrowserContext")) == 1
        assert (len(world.link.ready), world.browser.targets._watchers) == (0, {})
