"""Sends unusual values in every parameter of the protocol: only the client's own renderer may crash.

Starts a service and uses its public WebSocket. One client sends unusual values in every number, string and array of
every method in the browser's protocol description. A witness, another session of the same principal in the same
browser, must keep responding. When a shared process crashes, the last commands are repeated one by one to find the one
that crashed it.
"""

from __future__ import annotations

import asyncio
import itertools
import json
import math
import random
import time
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlsplit

import httpx
import psutil
from rich.console import Console
from websockets.exceptions import ConnectionClosed

from tests.harness.clients.raw_cdp import Raw, raw
from tests.harness.service import Running, serving
from tests.harness.waiting import until

BATCH: Final = 40
"""Commands sent without waiting; after each batch the witness and the processes are checked."""
RESPONSE_S: Final = 2.0
"""Time limit of a batch. If the page does not respond afterwards, it is replaced."""
WITNESS_S: Final = 30.0
"""A shared process that does not respond to the witness for this long counts as hung: two cores, with other load."""
LARGE_BYTES: Final = 1_500_000_000
"""Resident memory of one shared process beyond which a command counts as harmful. An idle one has 0.2 GB."""

NUMBERS: Final[tuple[Any, ...]] = (
    *(0, -1, 1, 0.5, -0.5, 1e-9, 1e-308, 5e-324, -1e-308, 100, 65_536, 1e9, 2**31 - 1, 2**31, -(2**31)),
    *(2**32, 2**53, 2**63, 1e18, 1e38, 1e39, 1.7e308, -1.7e308, "NaN", "Infinity", "1e-308", True),
)
STRINGS: Final[tuple[Any, ...]] = (
    *("", "x", "\0", "A" * 100_000, "\U0001f642" * 1000, "NaN", "-1", "1e308", "../" * 50, "http://[::1", "http://:@"),
    *("about:blank", "data:,x", "%00%ff", "\n\r\t", '"', "*" * 5000, "(" * 5000, "[" * 5000, 0, {}),
)
COUNTS: Final = (0, 1, 2, 3, 7, 100, 10_000)
"""Lengths of arrays."""
DEPTH: Final = 250
"""Depth of nested lists and objects: Chromium parses 300 levels."""

EXCLUDED: Final = frozenset(
    {
        *("Browser.close", "Page.close", "Page.crash", "Page.waitForDebugger", "Debugger.pause"),
        *(
            "Target.closeTarget",
            "Target.detachFromTarget",
            "Target.disposeBrowserContext",
            "Runtime.terminateExecution",
        ),
        *("Emulation.setScriptExecutionDisabled", "Input.setIgnoreInputEvents", "Emulation.setVirtualTimePolicy"),
    }
)
"""Methods that legitimately end or stop the caller's own page or connection, so that later commands would test
nothing."""
BOTH_LEVELS: Final = frozenset({"Browser", "Target", "Storage", "IO", "Tracing", "SystemInfo", "Memory"})
ENABLED: Final = ("Page", "DOM", "CSS", "Runtime", "Network", "Debugger", "Accessibility", "Overlay", "IndexedDB")
HTML: Final = (
    b"<title>page</title><style id=s>p{color:red}</style><p id=p>text</p><input id=i value=text autofocus>"
    b"<canvas id=c></canvas><div style='overflow:scroll;height:50px'><div style='height:5000px'></div></div>"
    b"<script>document.cookie='a=b';localStorage.x=1;function f(){return 1}</script>"
)


LOADED: Final = """
new Promise(done => document.readyState === 'complete' ? done() : addEventListener('load', done)).then(() => !!self.f)
"""


@dataclass(frozen=True)
class Command:
    """One command to send."""

    method: str
    params: dict[str, Any]
    at_page: bool

    def __str__(self) -> str:
        text = json.dumps(self.params)
        return (
            f"{self.method} {text if len(text) < 300 else text[:280] + '...'} {'page' if self.at_page else 'browser'}"
        )


@dataclass
class Found:
    """Results of a run."""

    sent: int = 0
    answered: int = 0
    pages: int = 0
    """The caller's own pages that hung or crashed and were replaced."""
    methods: set[str] = field(default_factory=set)
    faults: list[str] = field(default_factory=list)
    """Harm to other sessions: what happened, and the command that caused it."""


class Protocol:
    """Chromium's description of its protocol, and values for its types."""

    def __init__(self, domains: list[dict[str, Any]]) -> None:
        self.commands = {
            f"{d['domain']}.{c['name']}": c
            for d in domains
            for c in d.get("commands", [])
            if f"{d['domain']}.{c['name']}" not in EXCLUDED
        }
        self._types = {f"{d['domain']}.{t['id']}": t for d in domains for t in d.get("types", [])}

    def valid(self, method: str, known: Mapping[str, Any]) -> dict[str, Any]:
        """The required parameters with valid values; ids are those of the caller's page."""
        domain = method.partition(".")[0]
        wanted = [p for p in self.commands[method].get("parameters", []) if not p.get("optional") or p["name"] in known]
        return {p["name"]: self._valid(domain, p, known, 0) for p in wanted}

    def _valid(self, domain: str, param: dict[str, Any], known: Mapping[str, Any], depth: int) -> Any:
        name = param.get("name", "")
        if name in known and depth == 0:
            return known[name]
        domain, param = self._resolved(domain, param)
        if "enum" in param:
            return param["enum"][0]
        kind = param.get("type", "string")
        if kind == "array":
            return [self._valid(domain, param.get("items", {}), known, depth + 1)] if depth < 6 else []
        if kind == "object":
            inside = [p for p in param.get("properties", []) if not p.get("optional")] if depth < 6 else []
            return {p["name"]: self._valid(domain, p, known, depth + 1) for p in inside}
        return {"string": "x", "integer": 1, "number": 1, "boolean": True, "any": 1, "binary": "AAAA"}.get(kind, "x")

    def unusual(self, method: str, known: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
        """Parameter sets with one unusual value each; the other values are valid."""
        domain = method.partition(".")[0]
        valid = self.valid(method, known)
        for param in self.commands[method].get("parameters", []):
            for value in self._values(domain, param, known, 0):
                yield {**valid, param["name"]: value}

    def mixed(self, method: str, known: Mapping[str, Any], rng: random.Random) -> dict[str, Any]:
        """Parameters of which about half have unusual values."""
        domain = method.partition(".")[0]
        mixed = self.valid(method, known)
        for param in self.commands[method].get("parameters", []):
            if rng.random() < 0.5:
                mixed[param["name"]] = rng.choice(list(self._values(domain, param, known, 0)))
        return mixed

    def _values(self, domain: str, param: dict[str, Any], known: Mapping[str, Any], depth: int) -> Iterator[Any]:
        domain, param = self._resolved(domain, param)
        kind = param.get("type", "string")
        if kind in ("integer", "number"):
            yield from NUMBERS
        elif kind == "boolean":
            yield from (True, False)
        elif kind == "array":
            good = self._valid(domain, param.get("items", {}), known, 1)
            for count in COUNTS:
                yield [good] * count
            yield from ([None], [[]] * 3, _deep())
            for value in self._values(domain, param.get("items", {}), known, depth + 1) if depth < 4 else ():
                yield [value]
        elif kind == "object":
            yield from ({}, _deep())
            good = self._valid(domain, param, known, 1)
            for each in param.get("properties", []) if depth < 4 else ():
                for value in self._values(domain, each, known, depth + 1):
                    yield {**good, each["name"]: value}
        else:
            yield from param.get("enum", ())
            yield from STRINGS

    def _resolved(self, domain: str, param: dict[str, Any]) -> tuple[str, dict[str, Any]]:
        while "$ref" in param:
            name = param["$ref"] if "." in param["$ref"] else f"{domain}.{param['$ref']}"
            domain, param = name.partition(".")[0], {"name": param.get("name", ""), **self._types.get(name, {})}
        return domain, param


def _deep() -> Any:
    value: Any = 1
    for level in range(DEPTH):
        value = [value] if level % 2 else {"x": value}
    return value


class Caller:
    """The client that sends the values: a session, a connection, and one page at a time."""

    def __init__(self, client: Raw, address: str) -> None:
        self.client = client
        self.address = address
        self.page = self.at_page = ""
        self.known: dict[str, Any] = {}

    async def renew(self) -> None:
        """Opens a new page with all domains enabled, after closing all others: earlier commands may have opened as many
        as a session can have."""
        await until(self._opened, within=WITNESS_S * 2, what="the caller can open a page")
        await until(self._loaded, within=WITNESS_S * 2, what="the caller's page has loaded")
        for domain in ENABLED:
            await self.client.ask(f"{domain}.enable", {}, self.at_page)
        root = (await self.client.call("DOM.getDocument", {}, self.at_page))["root"]["nodeId"]
        node = await self.client.call("DOM.querySelector", {"nodeId": root, "selector": "#i"}, self.at_page)
        value = await self.client.call("Runtime.evaluate", {"expression": "document.querySelector('#i')"}, self.at_page)
        function = await self.client.call("Runtime.evaluate", {"expression": "f"}, self.at_page)
        window = await self.client.ask("Browser.getWindowForTarget", {"targetId": self.page})
        origin = self.address.rstrip("/")
        self.known = {
            "nodeId": node["nodeId"],
            "frameId": self.page,
            "targetId": self.page,
            "objectId": value["result"]["objectId"],
            "functionObjectId": function["result"]["objectId"],
            "windowId": window.get("result", {}).get("windowId", 1),
            "origin": origin,
            "url": self.address,
            "storageKey": f"{origin}/",
            "securityOrigin": origin,
        }
        sheets = [e["params"]["header"] for e in self.client.events if e["method"] == "CSS.styleSheetAdded"]
        scripts = [e["params"]["scriptId"] for e in self.client.events if e["method"] == "Debugger.scriptParsed"]
        if sheets:
            self.known["styleSheetId"] = sheets[-1]["styleSheetId"]
        if scripts:
            self.known["scriptId"] = scripts[-1]
        self.client.events.clear()
        self.client.frames.clear()

    async def _opened(self) -> bool:
        for info in (await self.client.call("Target.getTargets"))["targetInfos"]:
            if info["type"] == "page":
                await self.client.ask("Target.closeTarget", {"targetId": info["targetId"]})
        made = await self.client.ask("Target.createTarget", {"url": "about:blank"})
        if "result" not in made:
            return False
        self.page = made["result"]["targetId"]
        self.at_page = await self.client.attach(self.page)
        return True

    async def _loaded(self) -> bool:
        """Loads the page; repeated if a navigation does not finish because the target was still being created."""
        try:
            async with asyncio.timeout(RESPONSE_S):
                await self.client.ask("Page.navigate", {"url": self.address}, self.at_page)
                return bool(await self.client.value(LOADED, self.at_page))
        except (TimeoutError, AssertionError):
            return False

    async def responds(self) -> bool:
        """Whether the page still runs scripts."""
        try:
            async with asyncio.timeout(RESPONSE_S):
                await self.client.ask("Debugger.resume", {}, self.at_page)
                return bool(await self.client.value("1 + 1", self.at_page) == 2)
        except (TimeoutError, AssertionError):
            return False

    async def send(self, commands: list[Command]) -> int:
        """Sends commands and returns the number of responses in time."""
        waiting = []
        for command in commands:
            call_id, frame = self.client.begin(
                command.method, command.params, self.at_page if command.at_page else None
            )
            waiting.append(self.client.response(call_id))
            await self.client.socket.send(frame)
        done, _ = await asyncio.wait(waiting, timeout=RESPONSE_S)
        return len(done)


class Environment:
    """The service, the witness and their shared processes."""

    def __init__(
        self, service: Running, browser: psutil.Process | None, witness: Raw, at_witness: str, address: str
    ) -> None:
        self.service = service
        self.http = service.http
        self._browser = browser
        self.address = address
        self.witness = witness
        self._at_witness = at_witness
        self._shared: dict[int, str] = {}

    def processes(self) -> dict[int, str]:
        """Pid and type of every shared process: browser, GPU, network and others. Renderers are not shared; the
        witness's renderer is checked by `harm`."""
        found = {}
        for process in self._tree():
            try:
                line = process.cmdline()
                state = process.status()
            except (psutil.NoSuchProcess, psutil.AccessDenied):
                continue
            kind = next((word.removeprefix("--type=") for word in line if word.startswith("--type=")), "browser")
            if state != psutil.STATUS_ZOMBIE and kind not in ("renderer", "zygote") and _is_chromium(line):
                found[process.pid] = kind
        return found

    def _tree(self) -> list[psutil.Process]:
        """The processes of the browser, or of all browsers of a service in its own process."""
        if self._browser is None:
            return self.service.own_process.tree()[1:]
        try:
            return [self._browser, *self._browser.children(recursive=True)]
        except psutil.NoSuchProcess:
            return []

    def remember_processes(self) -> None:
        """The processes that run now must keep running."""
        self._shared = self.processes()

    async def harm(self) -> str | None:
        """The harm to the witness and to shared processes since `remember_processes`."""
        now = self.processes()
        gone = sorted({kind for pid, kind in self._shared.items() if pid not in now and kind in KEPT})
        if gone:
            self.remember_processes()
            return f"ended: {', '.join(gone)}"
        try:
            async with asyncio.timeout(WITNESS_S):
                if await self.witness.value("kept", self._at_witness) != 42:
                    return "the witness's page has lost its state"
                await self.witness.call("Storage.getCookies")
        except TimeoutError:
            return f"the witness got no response within {WITNESS_S:g} s"
        except (AssertionError, ConnectionClosed, asyncio.CancelledError) as error:
            if task_is_cancelled():
                raise
            return f"the witness lost its page or its connection ({type(error).__name__} {error})"
        for pid, kind in now.items():
            try:
                size = psutil.Process(pid).memory_info().rss
            except psutil.NoSuchProcess:
                continue
            if size > LARGE_BYTES:
                return f"{kind} has {size / 1e9:.1f} GB"
        return None


KEPT: Final = frozenset({"browser", "gpu-process", "utility"})


def task_is_cancelled() -> bool:
    """Whether the running task itself is being cancelled: a pending response is cancelled too if the connection is
    lost."""
    task = asyncio.current_task()
    return task is not None and task.cancelling() > 0


def _is_chromium(line: list[str]) -> bool:
    return bool(line) and "chrom" in Path(line[0].split(" ")[0]).name.lower()


@asynccontextmanager
async def page_server() -> AsyncIterator[str]:
    async def respond(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            await reader.readuntil(b"\r\n\r\n")
            head = b"HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nConnection: close\r\nContent-Length: %d\r\n\r\n"
            writer.write(head % len(HTML) + HTML)
            await writer.drain()
        except (OSError, asyncio.IncompleteReadError, asyncio.LimitOverrunError):
            pass
        finally:
            writer.close()

    server = await asyncio.start_server(respond, "127.0.0.1", 0)
    try:
        yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/"
    finally:
        server.close()


@asynccontextmanager
async def environment(service: Running) -> AsyncIterator[Environment]:
    """The witness's session in a service without others."""
    async with page_server() as address:
        made = await _create(service.http, "witness")
        async with raw(made["connect_url"]) as witness:
            _, at_page = await witness.page()
            await witness.value("kept = 42", at_page)
            node, browser = service.node, None
            if node is not None:
                browser = psutil.Process(node.pool.registry.live(made["session_id"]).opened.process.pid)
            found = Environment(service, browser, witness, at_page, address)
            found.remember_processes()
            yield found


def _service(folder: Path) -> AbstractAsyncContextManager[Running]:
    return serving(folder / "data", max_sessions=6)


async def _create(http: httpx.AsyncClient, mark: str) -> dict[str, Any]:
    response = await http.post("/v1/browser/sessions", json={"metadata": {"mark": mark}})
    assert response.status_code == 201, response.text
    made: dict[str, Any] = response.json()
    return made


@asynccontextmanager
async def caller(env: Environment) -> AsyncIterator[Caller]:
    """A session in the witness's browser, and a client with a page."""
    made = await _create(env.http, "caller")
    try:
        browsers = (await env.http.get("/v1/browser/pool")).json()["browsers"]
        assert [each["sessions"] for each in browsers if each["sessions"]] == [2], "one browser for both"
        async with raw(made["connect_url"]) as client:
            found = Caller(client, env.address)
            await found.renew()
            yield found
    finally:
        await env.http.delete(f"/v1/browser/sessions/{made['session_id']}")


async def protocol(env: Environment) -> Protocol:
    """The browser's protocol description, from the service."""
    made = await _create(env.http, "protocol")
    parts = urlsplit(made["connect_url"])
    response = await env.http.get(f"{parts.path}/json/protocol?{parts.query}")
    await env.http.delete(f"/v1/browser/sessions/{made['session_id']}")
    return Protocol(response.json()["domains"])


def commands(protocol: Protocol, known: Mapping[str, Any], rng: random.Random, only: str) -> Iterator[Command]:
    """Every value of every parameter once, method by method in random order; then random combinations forever."""
    methods = [method for method in protocol.commands if only in method]
    rng.shuffle(methods)
    for method in methods:
        for params in protocol.unusual(method, known):
            for at_page in (True, False) if method.partition(".")[0] in BOTH_LEVELS else (True,):
                yield Command(method, params, at_page)
    while True:
        method = rng.choice(methods)
        at_page = method.partition(".")[0] not in BOTH_LEVELS or rng.random() < 0.5
        yield Command(method, protocol.mixed(method, known, rng), at_page)


async def find_harmful(
    folder: Path, seen: str, candidates: list[Command], old: Mapping[str, Any]
) -> list[tuple[str, str]]:
    """Repeats commands one by one with a check after each. Returns (method, description) of the harmful ones, each
    method once, or all commands in one entry if none is harmful alone."""
    causes: list[tuple[str, str]] = []
    left = list(candidates)
    number = 0
    while left:
        number += 1
        async with _service(folder / f"again-{number}") as service, environment(service) as env, caller(env) as sender:
            env.remember_processes()
            while left:
                command = left.pop(0)
                harm = await _harm_of(
                    env, sender, [Command(command.method, _renamed(command.params, old, sender.known), command.at_page)]
                )
                if harm is not None:
                    causes.append((command.method, f"{harm}: {command}"))
                    left = [other for other in left if other.method != command.method]
                    break
    return causes or [("", f"{seen}, together only: {[str(command) for command in candidates]}")]


async def _harm_of(env: Environment, sender: Caller, batch: list[Command], found: Found | None = None) -> str | None:
    """Sends commands and returns the harm to others or to their own connection. Replaces a page that hangs."""
    try:
        answered = await sender.send(batch)
        if found is not None:
            found.answered += answered
        if (harm := await env.harm()) is None and not await sender.responds():
            if found is not None:
                found.pages += 1
            await sender.renew()
        return harm
    except (ConnectionClosed, asyncio.CancelledError):
        if task_is_cancelled():
            raise
        return await env.harm() or f"the caller's own connection was lost: {sender.client.close_reason}"


async def fuzz(
    folder: Path,
    seed: int,
    console: Console,
    *,
    seconds: float = math.inf,
    most: float = math.inf,
    only: str = "",
    sample: float = 1.0,
) -> Found:
    """Runs for `seconds` or until `most` commands are sent. `sample`: the fraction of the values that is sent, for a
    short run over all methods."""
    rng = random.Random(seed)  # reproducible
    found, deadline = Found(), time.monotonic() + seconds

    def more() -> bool:
        return time.monotonic() < deadline and found.sent < most

    source: Iterator[Command] | None = None
    old: dict[str, Any] = {}
    harmful_methods: set[str] = set()
    number = 0
    while more():
        number += 1
        harm, harmful = "", list[Command]()
        async with _service(folder / str(number)) as service, environment(service) as env:
            description = await protocol(env)
            async with caller(env) as sender:
                env.remember_processes()
                if source is None:
                    old = dict(sender.known)
                    drawn = (command for command in commands(description, old, rng, only) if rng.random() < sample)
                    source = (command for command in drawn if command.method not in harmful_methods)
                harm, harmful = await _rounds(env, sender, source, old, found, more)
        if harmful:
            causes = await find_harmful(folder / str(number), harm, harmful, old)
            harmful_methods.update(method for method, _ in causes)
            found.faults += [line for _, line in causes]
            for _, line in causes:
                console.print(line, style="red", highlight=False, markup=False, soft_wrap=True)
    return found


async def _rounds(
    env: Environment,
    sender: Caller,
    source: Iterator[Command],
    old: Mapping[str, Any],
    found: Found,
    more: Callable[[], bool],
) -> tuple[str, list[Command]]:
    """Sends batches while `more`, or until one was harmful; returns the harm and that batch. `old`: the ids in the
    commands of `source`, which are of an earlier page."""
    while more():
        drawn = list(itertools.islice(source, BATCH))
        batch = [
            Command(command.method, _renamed(command.params, old, sender.known), command.at_page) for command in drawn
        ]
        found.sent += len(batch)
        found.methods.update(command.method for command in batch)
        harm = await _harm_of(env, sender, batch, found)
        if harm is not None:
            return harm, drawn
    return "", []


def _renamed(params: dict[str, Any], old: Mapping[str, Any], new: Mapping[str, Any]) -> dict[str, Any]:
    """`params` with the ids of the current page."""
    return {k: new[k] if k in new and k in old and v == old[k] else v for k, v in params.items()}
