"""The CDP browser connection with its sessions and clients, against a scripted Chromium."""

from __future__ import annotations

import asyncio
import sys
import tracemalloc
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest

from browser_sessions.cdp import (
    Browser,
    BrowserSession,
    CdpClosed,
    CdpError,
    Session,
    Target,
    browser_session,
    cdp_session,
)
from browser_sessions.cdp import browser as browser_module
from browser_sessions.cdp.browser import CLOSES
from browser_sessions.cdp.cdp_session import UNREAD_BYTES
from browser_sessions.cdp.messages import FIRST_OWN_ID, LAST_ID, encode, read, without_session
from tests.harness.fakes.scripted_chromium import Chromium, Refused, chromium, info, settled, wire
from tests.harness.waiting import until


class Client:
    """Records what a client receives. As a watcher of a context it attaches to every new target."""

    def __init__(self, session: BrowserSession, browser: Browser) -> None:
        self.session = session
        self.browser = browser
        self.messages: list[tuple[bytes, bytes | None]] = []
        self.events: list[tuple[str, dict[str, Any], str | None]] = []
        self.order: list[str] = []
        self.lost = self.failures = 0
        self.full: list[bool] = []
        self.bug: Exception | None = None
        """Raised at every message."""

    def receive(self, message: bytes, session_id: bytes | None) -> None:
        if self.bug is not None:
            raise self.bug
        self.messages.append((message, session_id))
        self.order.append("message")

    def target_event(self, method: str, params: dict[str, Any], session_id: str | None) -> None:
        self.events.append((method, params, session_id))
        self.order.append(method)

    def failed(self) -> None:
        self.failures += 1

    def browser_lost(self) -> None:
        self.lost += 1

    def browser_full(self, full: bool) -> None:
        self.full.append(full)

    def attached(self) -> list[tuple[str, str, bool]]:
        """(target, session, waitingForDebugger) of each attach."""
        return [
            (params["targetInfo"]["targetId"], params["sessionId"], params["waitingForDebugger"])
            for method, params, _ in self.events
            if method == "Target.attachedToTarget"
        ]

    def note(self, text: str) -> Callable[[Any, Any], None]:
        return lambda value, error: self.order.append(f"{text} {value} {error}")

    def target_paused(self, target: Target) -> list[object]:
        self.session.attach(target.target_id)
        return [self.session]

    def target_created(self, target: Target) -> None: ...

    def target_changed(self, target: Target) -> None: ...

    def target_destroyed(self, target: Target) -> None:
        self.session.target_gone(target.target_id)

    def target_crashed(self, target: Target, params: Any) -> None: ...


@pytest.fixture
async def opened() -> AsyncIterator[tuple[Chromium, Browser]]:
    async with chromium() as made:
        yield made


Opened = tuple[Chromium, Browser]


async def connect(browser: Browser) -> Client:
    return await browser.connect(lambda session: Client(session, browser), timeout=5)


def echo(command: dict[str, Any]) -> dict[str, Any]:
    return dict(command)


def silent(_command: dict[str, Any]) -> None:
    return None


def refuse(_command: dict[str, Any]) -> None:
    raise Refused("no such thing")


async def a_page(scripted: Chromium, browser: Browser, target_id: str = "T") -> Session:
    scripted.new_target(info(target_id), waiting=False)
    await settled(browser)
    session = await browser.page(target_id, timeout=5)
    assert session is not None
    return session


class TestCalls:
    async def test_get_ids_from_the_range_of_our_own_and_keep_no_memory(self, opened: Opened) -> None:
        connection = opened[1].root.connection
        connection.new_id()
        tracemalloc.start()
        ids = {connection.new_id() for _ in range(1000)}
        assert len(ids) == 1000
        assert all(FIRST_OWN_ID <= each <= LAST_ID for each in ids)
        del ids
        kept, _ = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        assert kept < 4000
        connection._last_id = LAST_ID
        assert connection.new_id() == FIRST_OWN_ID

    async def test_are_one_json_object_and_the_result_comes_back(self, opened: Opened) -> None:
        scripted, browser = opened
        scripted.replies["A.b"] = echo
        sent = await browser.root.call("A.b", {"c": [1, "é"]}, timeout=5)
        assert sent == {"id": sent["id"], "method": "A.b", "params": {"c": [1, "é"]}}
        assert sent["id"] >= FIRST_OWN_ID
        page = await a_page(scripted, browser)
        on_page = await page.call("A.b", timeout=5)
        assert (on_page["sessionId"], on_page["params"]) == (page.session_id, {})

    async def test_responses_out_of_order_are_matched_by_id(self, opened: Opened) -> None:
        scripted, browser = opened
        waiting: list[dict[str, Any]] = []

        def backwards(command: dict[str, Any]) -> None:
            waiting.append(command)
            if len(waiting) == 10:
                for each in reversed(waiting):
                    scripted.answer(each, each)

        scripted.replies["A.b"] = backwards
        results = await asyncio.gather(*(browser.root.call("A.b", {"n": n}, timeout=5) for n in range(10)))
        assert [result["params"]["n"] for result in results] == list(range(10))

    async def test_an_error_response_raises_code_and_message(self, opened: Opened) -> None:
        scripted, browser = opened
        scripted.replies["A.b"] = refuse
        with pytest.raises(CdpError) as refused:
            await browser.root.call("A.b", timeout=5)
        assert (refused.value.code, refused.value.message) == (-32000, "no such thing")

    async def test_time_out_and_a_late_response_is_ignored(self, opened: Opened) -> None:
        scripted, browser = opened
        scripted.replies["A.slow"] = silent
        scripted.replies["A.fast"] = echo
        with pytest.raises(TimeoutError, match=r"no response to A\.slow within 0\.05 s"):
            await browser.root.call("A.slow", timeout=0.05)
        scripted.answer(scripted.received("A.slow")[0], {"late": True})
        assert (await browser.root.call("A.fast", timeout=5))["method"] == "A.fast"
        assert browser.root._pending == {}

    async def test_cancelled_are_removed(self, opened: Opened) -> None:
        scripted, browser = opened
        scripted.replies["A.slow"] = silent
        waiting = asyncio.create_task(browser.root.call("A.slow", timeout=30))
        await until(lambda: scripted.received("A.slow"), what="the command is sent")
        waiting.cancel()
        await asyncio.wait({waiting})
        assert waiting.cancelled()
        assert browser.root._pending == {}

    async def test_larger_than_the_pipe_or_with_lone_surrogates_succeed(self, opened: Opened) -> None:
        scripted, browser = opened
        scripted.replies["A.b"] = echo
        big = "x" * (3 * 2**20)
        assert (await browser.root.call("A.b", {"big": big}, timeout=20))["params"]["big"] == big

        def surrogate(command: dict[str, Any]) -> None:
            scripted.write(b'{"id":%d,"result":{"text":"\\ud800"}}' % command["id"])

        scripted.replies["A.surrogate"] = surrogate
        assert (await browser.root.call("A.surrogate", timeout=5))["text"] == "\ud800"

    async def test_go_on_after_an_error_without_an_id(self, opened: Opened, caplog: pytest.LogCaptureFixture) -> None:
        """Chromium's response to a command that it cannot parse."""
        scripted, browser = opened

        def unreadable_before(command: dict[str, Any]) -> dict[str, Any]:
            scripted.write(b'{"error":{"code":-32700,"message":"JSON: stack limit exceeded at position 366"}}')
            return echo(command)

        scripted.replies["A.b"] = unreadable_before
        assert await browser.root.call("A.b", timeout=5)
        assert "Chromium could not read a command" in caplog.text
        assert "was not handled" not in caplog.text

    async def test_pending_fail_when_the_browser_exits_and_later_ones_at_once(self, opened: Opened) -> None:
        scripted, browser = opened
        scripted.replies["A.b"] = silent
        page = await a_page(scripted, browser)
        waiting = [asyncio.create_task(each.call("A.b", timeout=30)) for each in (browser.root, page)]
        await until(lambda: len(scripted.received("A.b")) == 2, what="both commands are sent")
        scripted.end()
        outcomes = await asyncio.gather(*waiting, return_exceptions=True)
        assert [type(each) for each in outcomes] == [CdpClosed] * 2
        assert await browser.closed == "the browser closed its pipe"
        with pytest.raises(CdpClosed, match="the browser closed its pipe"):
            await browser.root.call("A.b", timeout=5)
        with pytest.raises(CdpClosed):
            await connect(browser)

    async def test_on_a_detached_session_fail_and_others_do_not(self, opened: Opened) -> None:
        scripted, browser = opened
        scripted.replies["A.b"] = silent
        page, other = await a_page(scripted, browser), await a_page(scripted, browser, "U")
        gone = asyncio.create_task(page.call("A.b", timeout=30))
        other_call = asyncio.create_task(other.call("A.b", timeout=30))
        await until(lambda: len(scripted.received("A.b")) == 2, what="both commands are sent")
        scripted.event("Target.detachedFromTarget", {"sessionId": page.session_id, "targetId": "T"})
        with pytest.raises(CdpError, match="Session with given id not found") as refused:
            await gone
        assert refused.value.code == -32001
        assert page.closed.done()
        assert not other_call.done()
        browser.close()
        with pytest.raises(CdpClosed):
            await other_call
        browser.close()
        assert await browser.closed == "closed"


class TestEvents:
    async def test_reach_their_handlers_in_order_until_those_are_removed(self, opened: Opened) -> None:
        scripted, browser = opened
        received: list[int] = []
        page = await a_page(scripted, browser)
        off = page.on("A.happened", lambda params: received.append(params["n"]))
        for number in range(3):
            scripted.event("A.happened", {"n": number}, page.session_id)
            scripted.event("A.other", {}, page.session_id)
            scripted.event("A.happened", {"n": 100})  # on the root session
        await settled(browser)
        off()
        off()
        scripted.event("A.happened", {"n": 4}, page.session_id)
        await settled(browser)
        assert received == [0, 1, 2]

    async def test_are_in_order_with_responses(self, opened: Opened) -> None:
        scripted, browser = opened
        order: list[str] = []
        browser.root.on("A.happened", lambda params: order.append(params["when"]))

        def around(command: dict[str, Any]) -> None:
            scripted.event("A.happened", {"when": "before"})
            scripted.answer(command, {})
            scripted.event("A.happened", {"when": "after"})

        scripted.replies["A.b"] = around
        browser.root.post("A.b", None, lambda _value, _error: order.append("response"))
        await settled(browser)
        assert order == ["before", "response", "after"]

    async def test_a_failing_handler_does_not_affect_others(
        self, opened: Opened, caplog: pytest.LogCaptureFixture
    ) -> None:
        scripted, browser = opened

        def fails(_params: dict[str, Any]) -> None:
            raise RuntimeError("a bug in the handler")

        received: list[bool] = []
        browser.root.on("A.happened", fails)
        browser.root.on("A.happened", lambda _: received.append(True))
        scripted.event("A.happened", {})
        await settled(browser)
        assert received == [True]
        assert "a handler of A.happened failed" in caplog.text

    @pytest.mark.parametrize(
        ("method", "read_"), [("Runtime.consoleAPICalled", False), ("Log.entryAdded", False), ("A.large", True)]
    )
    async def test_too_long_from_a_page_are_not_decoded(
        self, opened: Opened, method: str, read_: bool, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        scripted, browser = opened
        page = await a_page(scripted, browser)
        decoded: list[int] = []

        def counted(message: bytes) -> dict[str, Any]:
            decoded.append(len(message))
            return read(message)

        monkeypatch.setattr(cdp_session, "read", counted)
        received: list[int] = []
        page.on(method, lambda params: received.append(len(params["text"])))
        scripted.event(method, {"text": "x" * UNREAD_BYTES}, page.session_id)
        scripted.event(method, {"text": "short"}, page.session_id)
        await settled(browser)
        assert received == ([UNREAD_BYTES, 5] if read_ else [5])
        assert (max(decoded) > UNREAD_BYTES) is read_

    async def test_without_a_handler_are_not_decoded(self, opened: Opened) -> None:
        scripted, browser = opened
        page = await a_page(scripted, browser)
        scripted.write(
            b'{"method":"A.odd","params":{this is no JSON},"sessionId":"%b"}' % str(page.session_id).encode()
        )
        await settled(browser)
        assert not page.closed.done()


class TestPages:
    async def test_have_one_session_of_ours(self, opened: Opened) -> None:
        scripted, browser = opened
        session_id = scripted.new_target(info("T"), waiting=False)
        await settled(browser)
        one, two = await asyncio.gather(*(browser.page("T", timeout=5) for _ in range(2)))
        assert one is two is browser.attached_page("T")
        assert one is not None
        assert (one.session_id, one.target_id) == (session_id, "T")
        assert await browser.page("U", timeout=5) is None
        assert browser.attached_page("U") is None

    async def test_discovered_before_their_attach_are_awaited(self, opened: Opened) -> None:
        scripted, browser = opened
        scripted.event("Target.targetCreated", {"targetInfo": info("T")})
        scripted.targets["T"] = info("T")
        await settled(browser)
        with pytest.raises(TimeoutError):
            await browser.page("T", timeout=0.02)
        waiting = asyncio.create_task(browser.page("T", timeout=5))
        session_id = scripted.attached("T", None)
        found = await waiting
        assert found is not None
        assert found.session_id == session_id

    @pytest.mark.parametrize("attached", [True, False])
    async def test_that_are_closed_are_none(self, opened: Opened, attached: bool) -> None:
        scripted, browser = opened
        scripted.targets["T"] = info("T")
        scripted.event("Target.targetCreated", {"targetInfo": info("T")})
        if attached:
            scripted.attached("T", None)
        await settled(browser)
        session = browser.attached_page("T")
        waiting = asyncio.create_task(browser.page("T", timeout=5))
        await asyncio.sleep(0)
        scripted.destroy("T")
        assert (await waiting is not None) is attached
        await settled(browser)
        assert await browser.page("T", timeout=5) is None
        assert browser.targets.get("T") is None
        assert session is None or session.closed.done()

    async def test_workers_of_a_page_are_sessions_below_it_and_end_with_it(self, opened: Opened) -> None:
        scripted, browser = opened
        page = await a_page(scripted, browser)
        scripted.targets["W"] = info("W", target_type="worker")
        first, second = (scripted.attached("W", page.session_id) for _ in range(2))
        await settled(browser)
        one, two = page.below(first), page.below(second)
        assert one is not None
        assert two is not None
        scripted.replies["A.b"] = echo
        assert (await one.call("A.b", timeout=5))["sessionId"] == first
        scripted.event("Target.detachedFromTarget", {"sessionId": first, "targetId": "W"}, page.session_id)
        await settled(browser)
        assert (one.closed.done(), two.closed.done(), page.below(first)) == (True, False, None)
        scripted.event("Target.detachedFromTarget", {"sessionId": page.session_id, "targetId": "T"})
        await settled(browser)
        assert two.closed.done()

    async def test_our_session_on_another_target_is_detached_after_its_pause(self, opened: Opened) -> None:
        scripted, browser = opened
        paused = scripted.new_target(info("W", target_type="service_worker"))
        running = scripted.new_target(info("V", target_type="service_worker"), waiting=False)
        page = scripted.new_target(info("T"))
        await settled(browser)
        assert scripted.resumed() == [paused, page]
        detached = [each["params"]["sessionId"] for each in scripted.received("Target.detachFromTarget")]
        assert sorted(detached) == sorted([paused, running])
        assert len(browser.pauses) == 0

    async def test_with_workers_that_are_nested_deeply_end_with_them(self, opened: Opened) -> None:
        scripted, browser = opened
        page = await a_page(scripted, browser)
        scripted.targets["W"] = info("W", target_type="worker")
        lowest = page.session_id or ""
        for _ in range(sys.getrecursionlimit()):
            lowest = scripted.attached("W", lowest)
        await settled(browser)
        worker = browser._connection.receiver(lowest)
        assert isinstance(worker, Session)
        page.end()
        assert worker.closed.done()
        assert browser._connection.receiver(lowest) is None


class TestClients:
    async def test_call_ids_of_a_client_and_of_ours_coexist(self, opened: Opened) -> None:
        scripted, browser = opened
        client = await connect(browser)
        scripted.replies["A.b"] = echo
        level = client.session.session_id
        client.session.post("A.b", {"whose": "ours"}, client.note("ours"))
        client.session.send(encode(1, "A.b", {"whose": "the client's"}, level))
        client.session.send(encode(-5, "A.b", {}, level))
        await settled(browser)
        assert [read(without_session(message))["id"] for message, _ in client.messages] == [1, -5]
        assert client.order[0].startswith("ours {")

    async def test_each_gets_its_own_messages(self, opened: Opened) -> None:
        scripted, browser = opened
        one, other = await connect(browser), await connect(browser)
        scripted.new_target(info("T"), waiting=False)
        await settled(browser)
        one.session.attach("T")
        other.session.attach("T")
        await settled(browser)
        [(_, session_id, _)], [(_, others, _)] = one.attached(), other.attached()
        assert one.session.holds(session_id)
        assert not one.session.holds(others)
        tail = f',"sessionId":"{others}"}}'
        scripted.event("Page.logged", {"text": f"a page logs {tail}"}, session_id)
        scripted.event("Page.logged", {}, one.session.session_id)
        scripted.event("Page.logged", {}, "F" * 32)  # unknown session
        scripted.event("Page.logged", {})  # root session
        await settled(browser)
        assert [session for _, session in one.messages] == [session_id.encode(), None]
        assert one.messages[0][0] == wire(
            {"method": "Page.logged", "params": {"text": f"a page logs {tail}"}, "sessionId": session_id}
        )
        assert other.messages == []

    async def test_the_attach_event_precedes_the_response(self, opened: Opened) -> None:
        scripted, browser = opened
        client = await connect(browser)
        scripted.new_target(info("T"), waiting=False)
        await settled(browser)
        client.session.attach("T", client.note("answered"))
        client.session.attach("U", client.note("refused"))
        await settled(browser)
        assert [each.split()[0] for each in client.order] == ["Target.attachedToTarget", "answered", "refused"]

    async def test_a_new_page_runs_when_its_clients_have_resumed_it(self, opened: Opened) -> None:
        scripted, browser = opened
        one, other = await connect(browser), await connect(browser)
        for client in (one, other):
            browser.targets.watch("C", client)
        root = scripted.new_target(info("T"))
        await settled(browser)
        [(_, ones, waits)], [(_, others, _)] = one.attached(), other.attached()
        assert waits
        assert scripted.resumed() == []
        ran: list[str] = []
        one.session.resume("T", lambda: ran.append("one"))
        await settled(browser)
        assert (scripted.resumed(), ran) == ([], [])
        other.session.resume("T", lambda: ran.append("other"))
        await settled(browser)
        assert sorted(scripted.resumed()) == sorted([root, ones, others])
        assert ran == ["one", "other"]

    @pytest.mark.parametrize("closed", ["by a client", "by us"])
    async def test_a_window_with_an_opener_is_closed_after_it_was_resumed(self, opened: Opened, closed: str) -> None:
        scripted, browser = opened
        client = await connect(browser)
        browser.targets.watch("C", client)
        scripted.replies["Runtime.runIfWaitingForDebugger"] = silent
        root = scripted.new_target({**info("T"), "canAccessOpener": True})
        await settled(browser)
        if closed == "by us":
            browser.close_target("T")
            client.session.resume("T", lambda: None)
        else:  # it need not resume it
            client.session.close_target("T", client.note("closed"))
        await settled(browser)
        assert root in scripted.resumed()
        assert scripted.received("Target.closeTarget") == []
        for command in scripted.received("Runtime.runIfWaitingForDebugger"):
            scripted.answer(command, {})
        await settled(browser)
        assert [each["params"] for each in scripted.received("Target.closeTarget")] == [{"targetId": "T"}]

    async def test_a_target_that_chromium_did_not_close_is_closed_again(
        self, opened: Opened, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(browser_module, "CLOSE_AGAIN_S", 0.001)
        scripted, browser = opened
        scripted.new_target(info("T"), waiting=False)
        await settled(browser)
        browser.close_target("T")
        await until(lambda: len(scripted.received("Target.closeTarget")) > 1)
        scripted.destroy("T")
        await settled(browser)
        closes = len(scripted.received("Target.closeTarget"))
        await settled(browser)
        assert len(scripted.received("Target.closeTarget")) == closes <= CLOSES

    @pytest.mark.parametrize("how", ["disconnects", "target gone"])
    async def test_a_pause_does_not_wait_for_a_disconnected_client_or_a_closed_target(
        self, opened: Opened, how: str
    ) -> None:
        scripted, browser = opened
        client = await connect(browser)
        browser.targets.watch("C", client)
        root = scripted.new_target(info("T"))
        await settled(browser)
        assert len(browser.pauses) == 1
        if how == "disconnects":
            client.session.close()
        else:
            scripted.destroy("T")
        await settled(browser)
        assert len(browser.pauses) == 0
        assert (root in scripted.resumed()) is (how == "disconnects")

    async def test_the_response_to_create_target_follows_the_attach_event(self, opened: Opened) -> None:
        _, browser = opened
        client = await connect(browser)
        browser.targets.watch("C", client)
        client.session.create_target({"url": "about:blank"}, lambda _: True, client.note("created"), resumes=True)
        await settled(browser)
        assert client.order[0] == "Target.attachedToTarget"
        assert client.order[1].startswith("created {'targetId'")

    async def test_create_target_gets_its_response_without_an_attach_event(
        self, opened: Opened, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        scripted, browser = opened
        client = await connect(browser)
        client.session.create_target({}, lambda _: False, client.note("by itself"), resumes=True)
        await settled(browser)
        monkeypatch.setattr(browser_session, "ATTACH_WAIT_S", 0.02)
        client.session.create_target({}, lambda _: True, client.note("late"), resumes=True)
        scripted.replies["Target.createTarget"] = refuse
        client.session.create_target({}, lambda _: True, client.note("refused"), resumes=True)
        await until(lambda: len(client.order) == 3, what="each command is answered")
        assert sorted(each.split(" ")[0] for each in client.order) == ["by", "late", "refused"]

    async def test_create_target_gets_its_response_when_the_target_runs_if_the_client_does_not_resume_it(
        self, opened: Opened
    ) -> None:
        scripted, browser = opened
        owner, client = await connect(browser), await connect(browser)
        browser.targets.watch("C", owner)
        client.session.create_target({}, lambda _: False, client.note("created"), resumes=False)
        await settled(browser)
        (target_id,) = scripted.targets
        assert (client.order, target_id in browser.pauses) == ([], True)
        owner.session.resume(target_id, lambda: None)
        await settled(browser)
        assert len(client.order) == 1

    async def test_create_target_gets_its_response_when_the_target_is_closed_before(self, opened: Opened) -> None:
        scripted, browser = opened
        client = await connect(browser)
        client.session.create_target({}, lambda _: True, client.note("created"), resumes=True)
        await settled(browser)
        assert client.order == []
        client.session.target_gone(next(iter(scripted.targets)))
        client.session.target_gone(next(iter(scripted.targets)))
        assert len(client.order) == 1

    async def test_a_dropped_session_is_detached_without_events(self, opened: Opened) -> None:
        scripted, browser = opened
        client = await connect(browser)
        scripted.new_target(info("T"), waiting=False)
        await settled(browser)
        client.session.attach("T")
        await settled(browser)
        [(_, session_id, _)] = client.attached()
        client.session.drop(session_id)
        scripted.event("Page.logged", {}, session_id)
        await settled(browser)
        assert client.messages == []
        assert not client.session.holds(session_id)
        detach = scripted.received("Target.detachFromTarget")[-1]
        assert (detach["params"], detach["sessionId"]) == ({"sessionId": session_id}, client.session.session_id)

    async def test_closing_detaches_it_with_all_sessions_below_and_stops_messages(self, opened: Opened) -> None:
        scripted, browser = opened
        client, other = await connect(browser), await connect(browser)
        scripted.new_target(info("T"), waiting=False)
        await settled(browser)
        for each in (client, other):
            each.session.attach("T")
        await settled(browser)
        [(_, session_id, _)] = client.attached()
        scripted.replies["A.b"] = silent
        client.session.post("A.b", None, client.note("never"))
        client.session.close()
        client.session.close()
        client.session.send(encode(1, "A.c", {}, client.session.session_id))
        seen = len(client.order)
        for level in (session_id, client.session.session_id):
            scripted.event("Page.logged", {}, level)
        await settled(browser)
        assert [each["params"]["sessionId"] for each in scripted.received("Target.detachFromTarget")] == [
            client.session.session_id
        ]
        assert scripted.received("A.c") == []
        assert (len(client.order), client.lost, other.lost) == (seen, 0, 0)
        assert browser._connection.receiver(session_id) is None

    async def test_a_bug_in_the_handling_of_its_message_reaches_nobody_else(
        self, opened: Opened, caplog: pytest.LogCaptureFixture
    ) -> None:
        scripted, browser = opened
        clients = [await connect(browser) for _ in range(3)]
        faulty, other, _ = clients
        faulty.bug = RecursionError("injected")
        batch = [(faulty, "A.b"), (other, "A.b"), (faulty, "A.c"), (other, "A.c")]
        together = [wire({"method": method, "params": {}, "sessionId": to.session.session_id}) for to, method in batch]
        scripted.write(b"\0".join(together))
        await settled(browser)
        assert [client.failures for client in clients] == [2, 0, 0]
        assert [client.lost for client in clients] == [0, 0, 0]
        assert len(other.messages) == 2
        assert f"a message on CDP session {faulty.session.session_id.encode()!r} was not handled" in caplog.text
        assert not browser.closed.done()

    async def test_a_bug_in_our_own_handling_does_not_end_the_pipe(
        self, opened: Opened, caplog: pytest.LogCaptureFixture
    ) -> None:
        browser = opened[1]
        client = await connect(browser)

        def bug(_value: object, _error: object) -> None:
            raise RecursionError("injected")

        browser.root.post("A.b", None, bug)
        client.session.post("A.b", None, bug)
        await settled(browser)
        assert caplog.text.count("was not handled") == 2
        assert client.failures == 1
        assert not browser.closed.done()

    async def test_a_client_that_chromium_detaches_is_notified(self, opened: Opened) -> None:
        scripted, browser = opened
        client, other = await connect(browser), await connect(browser)
        scripted.event("Target.detachedFromTarget", {"sessionId": client.session.session_id, "targetId": "B"})
        await settled(browser)
        assert (client.lost, other.lost) == (1, 0)

    @pytest.mark.parametrize("closed_by", ["Chromium", "us"])
    async def test_all_are_notified_once_when_the_browser_exits(self, opened: Opened, closed_by: str) -> None:
        scripted, browser = opened
        clients = [await connect(browser) for _ in range(3)]
        gone_before = clients.pop()
        gone_before.session.close()
        scripted.new_target(info("T"), waiting=False)
        await settled(browser)
        for client in clients:
            client.session.attach("T")  # a session below goes to the same client
        page = await browser.page("T", timeout=5)
        await settled(browser)
        if closed_by == "Chromium":
            scripted.end()
            await browser.closed
        else:
            browser.close()
        assert [client.lost for client in (*clients, gone_before)] == [1, 1, 0]
        assert page is not None
        assert page.closed.done()
        assert await browser.page("U", timeout=5) is None

    async def test_a_cancelled_connect_leaves_no_session(self, opened: Opened) -> None:
        scripted, browser = opened
        attach = scripted.replies.pop("Target.attachToBrowserTarget")
        scripted.replies["Target.attachToBrowserTarget"] = silent
        with pytest.raises(TimeoutError):
            await browser.connect(lambda session: Client(session, browser), timeout=0.02)
        command = scripted.received("Target.attachToBrowserTarget")[0]
        scripted.answer(command, attach(command) or {})
        await settled(browser)
        assert len(scripted.received("Target.detachFromTarget")) == 1

    async def test_a_failed_connect_leaves_no_session(self, opened: Opened) -> None:
        scripted, browser = opened

        def broken(_session: BrowserSession) -> Client:
            raise ValueError("no client")

        with pytest.raises(ValueError, match="no client"):
            await browser.connect(broken, timeout=5)
        await settled(browser)
        assert len(scripted.received("Target.detachFromTarget")) == 1
        scripted.replies["Target.attachToBrowserTarget"] = refuse
        with pytest.raises(CdpError, match="no such thing"):
            await connect(browser)

    async def test_clients_are_notified_of_backpressure(self, opened: Opened) -> None:
        _, browser = opened
        client = await connect(browser)
        browser._connection._full(True)
        browser._connection._full(False)
        assert client.full == [True, False]
