"""Checks the assumptions behind the gateway's tables against a live Chromium."""

from __future__ import annotations

import asyncio
import itertools
import json
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any, Final

import httpx
import pytest
import pytest_asyncio
from websockets.asyncio.client import ClientConnection, connect

from browser_sessions.cdp.messages import InvalidMessage, decode, event_method, session_of
from browser_sessions.chromium.launch.executable import locate, sandbox_expected
from browser_sessions.gateway.policy.client_options import Options
from browser_sessions.gateway.policy.command_policy import decide
from browser_sessions.gateway.policy.method_table import METHODS, RULES, Level, Verdict
from browser_sessions.gateway.scope.command_decision import Answer, Ask, Do, Pass, Refuse
from tests.harness.fakes.gateway_scope import cdp, session_scope
from tests.harness.paths import ROOT
from tests.harness.waiting import until

pytestmark = pytest.mark.browser

RESPONSE_S: Final = 20.0
"""Timeout of one call, including the page's own work on a busy machine."""


class Browser:
    """A Chromium and one connection to it that records every frame."""

    def __init__(self, process: asyncio.subprocess.Process, address: str, socket: ClientConnection) -> None:
        self.process = process
        self.address = address
        self.socket = socket
        self.frames: list[bytes] = []
        self._ids: Iterator[int] = itertools.count(1)

    async def call(
        self, method: str, params: dict[str, Any] | None = None, session_id: str | None = None
    ) -> dict[str, Any]:
        """The whole response, which may be an error."""
        call_id = next(self._ids)
        message: dict[str, Any] = {"id": call_id, "method": method, "params": params or {}}
        if session_id is not None:
            message["sessionId"] = session_id
        await self.socket.send(json.dumps(message))
        async with asyncio.timeout(RESPONSE_S):
            while True:
                response = await self.receive()
                if response.get("id") == call_id:
                    return response

    async def receive(self) -> dict[str, Any]:
        frame = await self.socket.recv(decode=False)
        self.frames.append(frame)
        message: dict[str, Any] = json.loads(frame)
        return message

    async def page(self, html: str) -> tuple[str, str]:
        """A loaded page in a new context: its target id and a session on it."""
        context = await self.call("Target.createBrowserContext", {"disposeOnDetach": True})
        params = {"url": f"data:text/html,{html}", "browserContextId": context["result"]["browserContextId"]}
        target_id = (await self.call("Target.createTarget", params))["result"]["targetId"]
        attached = await self.call("Target.attachToTarget", {"targetId": target_id, "flatten": True})
        session_id: str = attached["result"]["sessionId"]
        loaded = {"expression": "location.protocol == 'data:' && document.readyState == 'complete'"}

        async def is_loaded() -> bool:
            response = await self.call("Runtime.evaluate", loaded, session_id)
            return response.get("result", {}).get("result", {}).get("value") is True

        await until(is_loaded, within=RESPONSE_S, what="the page has loaded")
        return target_id, session_id


@pytest_asyncio.fixture(loop_scope="session")
async def browser(tmp_path: Path) -> AsyncIterator[Browser]:
    found = locate(None)
    flags = ["--remote-debugging-port=0", f"--user-data-dir={tmp_path / 'profile'}", "about:blank"]
    flags += [] if sandbox_expected()[0] else ["--no-sandbox"]
    flags += ["--headless"] if found.kind == "full" else []
    process = await asyncio.create_subprocess_exec(
        found.executable, *flags, stdout=asyncio.subprocess.DEVNULL, stderr=asyncio.subprocess.DEVNULL
    )
    try:
        port = tmp_path / "profile" / "DevToolsActivePort"
        await until(
            lambda: port.exists() and port.read_text().count("\n") == 1, within=RESPONSE_S, what="the debugging port"
        )
        number, path = port.read_text().split("\n")
        address = f"ws://127.0.0.1:{number}{path}"
        async with connect(address, max_size=None, compression=None, proxy=None, close_timeout=1) as socket:
            browser = Browser(process, address, socket)
            yield browser
            await browser.call("Browser.close")
        async with asyncio.timeout(RESPONSE_S):
            await process.wait()
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()


async def protocol(browser: Browser) -> list[dict[str, Any]]:
    port = browser.address.split("/")[2]
    async with httpx.AsyncClient() as client:
        response = await client.get(f"http://{port}/json/protocol", timeout=RESPONSE_S)
    domains: list[dict[str, Any]] = response.json()["domains"]
    return domains


async def test_every_method_of_this_browser_is_decided_on(browser: Browser) -> None:
    names = {f"{d['domain']}.{c['name']}" for d in await protocol(browser) for c in d.get("commands", [])}
    known = set((ROOT / "tests" / "data" / "cdp-methods-156.txt").read_text().split())
    assert len(names) > 500
    for method in names:
        for session_id in (None, "S-PAGE"):
            decision = decide(cdp(method, {}, session_id), session_scope(), Options())
            assert isinstance(decision, Pass | Answer | Ask | Do | Refuse)
            if method not in METHODS:
                assert decision == Refuse(-32601, f"'{method}' wasn't found")
    product = (await browser.call("Browser.getVersion"))["result"]["product"]
    if "/156." in product:
        assert names == known == METHODS


def _names_a_frame(command: dict[str, Any]) -> str | None:
    for param in command.get("parameters", []):
        if param.get("$ref", "").endswith("FrameId"):
            name: str = param["name"]
            return name
    return None


FILLERS: Final[dict[str, Any]] = {
    "string": "x",
    "integer": 1,
    "number": 1,
    "boolean": False,
    "array": [],
    "object": {},
    "any": 1,
    "binary": "AAAA",
}
EMPTY_RESULTS: Final[dict[str, dict[str, Any]]] = {
    "Network.getSecurityIsolationStatus": {"status": {}},
    "Page.getAdScriptAncestry": {},
}
"""Results of Chromium 156 for an unknown frame id where that is no error."""


async def test_a_frame_id_of_another_context_is_useless_on_a_pages_session(browser: Browser) -> None:
    victim, on_victim = await browser.page("<title>victim</title><p>SECRET</p>")
    _, session_id = await browser.page("<p>attacker</p>")
    for domain in ("Page", "DOM", "Network", "CSS", "Runtime"):
        assert "result" in await browser.call(f"{domain}.enable", {}, session_id)
    tried = []
    for domain_ in await protocol(browser):
        for command in domain_.get("commands", []):
            method, name = f"{domain_['domain']}.{command['name']}", _names_a_frame(command)
            rule = RULES.get((method, Level.PAGE))
            if name is None or rule is None or rule.verdict is Verdict.REFUSE:
                continue
            params = {
                p["name"]: FILLERS.get(p.get("type"), "x") for p in command["parameters"] if not p.get("optional")
            }
            params |= {name: victim} | ({"url": "data:text/html,taken"} if method == "Page.navigate" else {})
            response = await browser.call(method, params, session_id)
            assert "error" in response or response["result"] == EMPTY_RESULTS.get(method), (method, response)
            assert "SECRET" not in json.dumps(response)
            tried.append(method)
    assert len(tried) > 15, tried
    body = {"expression": "document.title + document.body.innerText", "returnByValue": True}
    left = await browser.call("Runtime.evaluate", body, on_victim)
    assert left["result"]["result"]["value"] == "victimSECRET"


VERSION: Final = b'"method":"Browser.getVersion"'


FRAMES: Final = (
    b"",
    b"xx",
    b"[1]",
    b"/*c*/{}",
    b"{%b}" % VERSION,
    b'{"id":"1",%b}' % VERSION,
    b'{"id":1.5,%b}' % VERSION,
    b'{"id":2147483648,%b}' % VERSION,
    b'{"id":1}',
    b'{"id":1,"method":""}',
    b'{"id":1,"method":5}',
    b'{"id":1,%b,"sessionId":null}' % VERSION,
    b'{"id":1,%b,"sessionId":7}' % VERSION,
    b'{"id":1,%b,"extra":1}' % VERSION,
    b'{"id":1,%b,}' % VERSION,
    b'{"id":1,%b,"params":{"x":"\\u0041","y":1e400}}' % VERSION,
    b'{"id":1,%b}' % VERSION,
    b'{"id":1.0,%b}' % VERSION,
    b'{"id":-9999,%b}' % VERSION,
    b'{"id":1,%b,"params":null}' % VERSION,
    b'{"id":1,%b,"params":[]}' % VERSION,
    b'{"id":1,%b,"sessionId":""}' % VERSION,
    b'{"id":1,"method":"\\u0042rowser.getVersion"}',
)


def meaning(frame: bytes) -> tuple[int | None, int | None]:
    """The id of the response to a frame and its error code, as our decoder reads it."""
    try:
        return decode(frame).call_id, None
    except InvalidMessage as malformed:
        return malformed.call_id, malformed.code


async def test_frames_are_decoded_as_by_chromium(browser: Browser) -> None:
    for frame in FRAMES:
        await browser.socket.send(frame.decode())
        theirs = await browser.receive()
        assert meaning(frame) == (theirs.get("id"), theirs.get("error", {}).get("code")), frame


async def test_chromiums_messages_begin_and_end_as_the_routing_expects(browser: Browser) -> None:
    """`sessionId` is last, the method or id is first: routing reads nothing else of a message."""
    await browser.call("Target.setDiscoverTargets", {"discover": True})
    await browser.call("Target.setAutoAttach", {"autoAttach": True, "waitForDebuggerOnStart": False, "flatten": True})
    _, session_id = await browser.page("<title>x</title><iframe srcdoc='<p>y'></iframe>")
    for method in ("Page.enable", "Runtime.enable", "Network.enable", "Page.nothing", "Target.nothing"):
        await browser.call(method, {}, session_id)
    await browser.call("Page.navigate", {"url": "data:text/html,again"}, session_id)
    logged = json.dumps("""},"sessionId":"0123456789ABCDEF0123456789ABCDEF"}""")
    await browser.call("Runtime.evaluate", {"expression": f"console.log({logged}, 'x'.repeat(100000))"}, session_id)
    seen = set()
    for frame in browser.frames:
        message, tail, head = json.loads(frame), session_of(frame), event_method(frame)
        assert message.get("sessionId") == (None if tail is None else tail.decode()), frame[-100:]
        assert message.get("method") == (None if head is None else head.decode()), frame[:100]
        seen.add(message.get("method", "answer").partition(".")[0])
    assert {"answer", "Target", "Page", "Runtime", "Network"} <= seen


REFUSED_AS_CHROMIUM_DOES: Final[list[tuple[str, dict[str, Any], str | None]]] = [
    ("No.such", {}, None),
    ("Fetch.nothing", {}, None),
    ("Target.attachToTarget", {"targetId": "none", "flatten": True}, None),
    ("Target.activateTarget", {"targetId": "none"}, None),
    ("Target.closeTarget", {"targetId": "none"}, None),
    ("Target.getTargetInfo", {"targetId": "none"}, None),
    ("Target.detachFromTarget", {"sessionId": "none"}, None),
    ("Target.detachFromTarget", {}, None),
    ("Target.disposeBrowserContext", {"browserContextId": "none"}, None),
    ("Storage.getCookies", {"browserContextId": "none"}, None),
    ("Browser.grantPermissions", {"permissions": [], "browserContextId": "none"}, None),
    ("Browser.getWindowBounds", {"windowId": 999}, None),
    ("IO.read", {"handle": "999"}, None),
    ("IO.close", {"handle": "999"}, None),
    ("Runtime.evaluate", {"expression": "1"}, "none"),
    ("Target.setDiscoverTargets", {"discover": False, "filter": [{}]}, None),
    (
        "Target.setAutoAttach",
        {"autoAttach": True, "waitForDebuggerOnStart": False, "flatten": True, "filter": [{}]},
        None,
    ),
]


ID_TYPES: Final = ("BrowserContextID", "TargetID", "SessionID", "WindowID", "StreamHandle", "FrameId")
UNKNOWN: Final = "F" * 32
SANE: Final[dict[str, Any]] = {
    "url": "http://127.0.0.1:9/",
    "permission": {"name": "midi"},
    "setting": "granted",
    "behavior": "deny",
    "bounds": {"width": 100, "height": 100},
    "flatten": True,
    "options": {"disableCache": False, "includeCredentials": False},
}
"""Valid values for the other parameters, so that Chromium checks the id."""
FATAL_IDS: Final = frozenset({"Browser.getWindowForTarget"})
"""An unknown id crashes Chromium 156, so there is nothing to compare with."""


def ids_of(command: dict[str, Any]) -> list[str]:
    """Names of the parameters that take a context, target, session, window, stream or frame id."""
    named = []
    for param in command.get("parameters", []):
        name, is_text = param["name"].lower(), param.get("type") == "string"
        if param.get("$ref", "").endswith(ID_TYPES) or (
            is_text and name.endswith(("browsercontextid", "targetid", "frameid"))
        ):
            named.append(param["name"])
    return named


def with_unknown(command: dict[str, Any], name: str) -> dict[str, Any]:
    params = {p["name"]: FILLERS.get(p.get("type"), "x") for p in command["parameters"] if not p.get("optional")}
    params |= {key: value for key, value in SANE.items() if any(p["name"] == key for p in command["parameters"])}
    return params | {name: 999 if name == "windowId" else UNKNOWN}


async def test_a_foreign_id_is_refused_like_an_unknown_one(browser: Browser) -> None:
    """For each id parameter of each allowed method at each level, the gateway refuses as a bare Chromium refuses an
    unknown id; on a page's session the refusal may be left to Chromium."""
    _, at_page = await browser.page("<p>x")
    compared = set()
    for domain in await protocol(browser):
        for command in domain.get("commands", []):
            method = f"{domain['domain']}.{command['name']}"
            for level, theirs_at, ours_at in ((Level.BROWSER, None, None), (Level.PAGE, at_page, "S-PAGE")):
                rule = RULES.get((method, level))
                if rule is None or rule.verdict is Verdict.REFUSE or method in FATAL_IDS:
                    continue
                for name in ids_of(command):
                    params = with_unknown(command, name)
                    ours = decide(cdp(method, params, ours_at), session_scope(), Options())
                    theirs = await browser.call(method, params, theirs_at)
                    if isinstance(ours, Refuse):
                        error = theirs["error"]
                        assert (ours.code, ours.message) == (error["code"], error["message"]), (method, level, name)
                        compared.add((method, level, name))
                    else:
                        assert level is Level.PAGE, (method, name, ours)
                        assert name.lower().endswith("frameid"), (method, name, ours)
                        assert isinstance(ours, Pass | Ask), (method, name, ours)
                        result = theirs.get("result", "an error")
                        assert result in ("an error", EMPTY_RESULTS.get(method)), (method, theirs)
    assert len(compared) > 35, sorted(compared)


async def test_refusals_have_chromiums_exact_code_and_message(browser: Browser) -> None:
    for method, params, session_id in REFUSED_AS_CHROMIUM_DOES:
        theirs = (await browser.call(method, params, session_id))["error"]
        ours = decide(cdp(method, params, session_id), session_scope(), Options())
        assert ours == Refuse(theirs["code"], theirs["message"]), method
