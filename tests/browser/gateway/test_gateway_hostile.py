"""A hostile client tries every method of Chromium's protocol with the ids of another session.

Both sessions belong to one principal and share a browser process, so only the gateway isolates them.
"""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlsplit

import httpx
import pytest

from tests.harness.clients.raw_cdp import Raw, raw
from tests.harness.service import Running
from tests.harness.waiting import PATIENCE_S, until

pytestmark = pytest.mark.browser

SECRET: Final = "victims-secret-7391"
FILE_SECRET: Final = "content-of-a-host-file-2846"
ANSWERED: Final = 0.9
"""Share of the commands; those that stop a page are not."""

ENDING: Final = frozenset({"Browser.close"})
"""End the attacker's own connection, as intended; tried last."""
STOPPING: Final = frozenset({"Page.close", "Page.crash", "Debugger.pause", "Page.waitForDebugger"})
"""Stop the attacker's own page, as intended, so that later commands on it would have no effect; skipped there."""


@dataclass
class Victim:
    """Another session with a client, and its ids."""

    session_id: str
    client: Raw
    page: str
    at_page: str
    """Its client's CDP session."""
    context: str
    window: int
    stream: str
    blob: str
    worker: str

    @property
    def ids(self) -> tuple[str, ...]:
        return (self.page, self.at_page, self.context, self.worker, self.blob)

    async def state(self) -> dict[str, Any]:
        """State that the attack must not change."""
        expression = "[document.title, document.cookie, innerWidth, innerHeight, location.href, history.length, k.v]"
        return {
            "page": await self.client.value(expression, self.at_page),
            "cookies": (await self.client.call("Storage.getCookies"))["cookies"],
            "window": (await self.client.call("Browser.getWindowBounds", {"windowId": self.window}))["bounds"],
            "targets": sorted(
                (info["targetId"], info["type"], info["url"])
                for info in (await self.client.call("Target.getTargets"))["targetInfos"]
            ),
        }


@asynccontextmanager
async def victim(service: Running, made: dict[str, Any], address: str) -> AsyncIterator[Victim]:
    async with raw(made["connect_url"]) as client:
        page, at_page = await client.page()
        await client.call("Runtime.enable", {}, at_page)
        await client.call("Page.enable", {}, at_page)
        await client.call("Page.navigate", {"url": address}, at_page)
        await client.event("Page.loadEventFired")
        await client.value(f"k = {{v: 1}}; document.title = document.cookie = '{SECRET}'", at_page)
        await client.call(
            "Target.setAutoAttach", {"autoAttach": True, "waitForDebuggerOnStart": False, "flatten": True}, at_page
        )
        await client.value("w = new Worker(URL.createObjectURL(new Blob(['0'])));0", at_page)
        worker = await client.event("Target.attachedToTarget", lambda m: m["params"]["targetInfo"]["type"] == "worker")
        pdf = await client.call("Page.printToPDF", {"transferMode": "ReturnAsStream"}, at_page)
        blob = await client.call("Runtime.evaluate", {"expression": f"new Blob(['{SECRET}'])"}, at_page)
        uuid = (await client.call("IO.resolveBlob", {"objectId": blob["result"]["objectId"]}, at_page))["uuid"]
        window = await client.call("Browser.getWindowForTarget", {"targetId": page})
        yield Victim(
            made["session_id"],
            client,
            page,
            at_page,
            await context_of(client, page),
            window["windowId"],
            pdf["stream"],
            uuid,
            worker["params"]["targetInfo"]["targetId"],
        )


async def context_of(client: Raw, page: str) -> str:
    info = (await client.call("Target.getTargetInfo", {"targetId": page}))["targetInfo"]
    context: str = info["browserContextId"]
    return context


@asynccontextmanager
async def victim_and_attacker(service: Running) -> AsyncIterator[tuple[Victim, dict[str, Any], str]]:
    """(victim, the attacker's session, the site's address)"""
    async with site() as address:
        made, attacker = await service.create(), await service.create()
        browsers = (await service.http.get("/v1/browser/pool")).json()["browsers"]
        assert [each["sessions"] for each in browsers if each["sessions"]] == [2]
        async with victim(service, made, address) as someone:
            before = await someone.state()
            yield someone, attacker, address
            await unharmed(service, someone, before)


async def unharmed(service: Running, someone: Victim, before: dict[str, Any]) -> None:
    assert await someone.state() == before
    assert not someone.client.closed.is_set()
    another = (await someone.client.call("Target.createTarget", {"url": "about:blank"}))["targetId"]
    assert await someone.client.value("2 + 2", await someone.client.attach(another)) == 4
    # its handles still work and have been neither read nor closed
    read = await someone.client.call("IO.read", {"handle": someone.stream, "size": 8}, someone.at_page)
    assert read["data"]
    read = await someone.client.call("IO.read", {"handle": f"blob:{someone.blob}"}, someone.at_page)
    assert SECRET in json.dumps(read) or read["base64Encoded"]
    assert (await service.details(someone.session_id))["status"] == "active"
    events = {m["method"] for m in someone.client.events}
    assert (
        not {"Target.detachedFromTarget", "Inspector.targetCrashed", "Inspector.detached", "Page.frameResized"} & events
    )


@asynccontextmanager
async def site() -> AsyncIterator[str]:
    async def respond(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            await reader.readuntil(b"\r\n\r\n")
            body = b"<p>a page</p>"
            writer.write(
                b"HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nConnection: close\r\nContent-Length: %d\r\n\r\n%b"
                % (len(body), body)
            )
            await writer.drain()
        except (OSError, asyncio.IncompleteReadError):
            pass
        finally:
            writer.close()

    server = await asyncio.start_server(respond, "127.0.0.1", 0)
    try:
        yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/"
    finally:
        server.close()


async def protocol(made: dict[str, Any]) -> list[dict[str, Any]]:
    """Chromium's protocol description, fetched through the gateway."""
    parts = urlsplit(made["connect_url"])
    async with httpx.AsyncClient(trust_env=False) as http:
        response = await http.get(f"http://{parts.netloc}{parts.path}/json/protocol?{parts.query}")
    domains: list[dict[str, Any]] = response.json()["domains"]
    return domains


FILLERS: Final[dict[str, Any]] = {
    "string": "x",
    "integer": 1,
    "number": 1,
    "boolean": True,
    "array": [],
    "object": {},
    "any": 1,
    "binary": "AAAA",
}


class HostileParams:
    """Builds parameters that refer to the victim wherever a method's parameters can."""

    def __init__(self, domains: list[dict[str, Any]], someone: Victim, file: Path) -> None:
        self._types = {f"{d['domain']}.{t['id']}": t for d in domains for t in d.get("types", [])}
        self._victim = someone
        self._file = file

    def of(self, domain: str, command: dict[str, Any]) -> list[dict[str, Any]]:
        """All parameters, and the required ones only."""
        named = {p["name"]: self._value(domain, p, 0) for p in command.get("parameters", [])}
        required = {p["name"]: named[p["name"]] for p in command.get("parameters", []) if not p.get("optional")}
        return [named] if named == required else [named, required]

    def _value(self, domain: str, param: dict[str, Any], depth: int) -> Any:
        pointed = self._pointed(param)
        if pointed is not None:
            return pointed
        if "enum" in param:
            return param["enum"][0]
        ref = param.get("$ref")
        if ref is not None:
            name = ref if "." in ref else f"{domain}.{ref}"
            found = self._types.get(name, {})
            return self._value(name.split(".")[0], {"name": param.get("name", ""), **found}, depth + 1)
        if param.get("type") == "array" and depth < 4:
            return [self._value(domain, {"name": param.get("name", ""), **param.get("items", {})}, depth + 1)]
        if param.get("type") == "object" and depth < 4:
            inside = [p for p in param.get("properties", []) if not p.get("optional") or self._pointed(p) is not None]
            return {p["name"]: self._value(domain, p, depth + 1) for p in inside}
        return FILLERS.get(param.get("type", "string"), "x")

    def _pointed(self, param: dict[str, Any]) -> Any:
        name, kind = param.get("name", "").lower(), param.get("type")
        ref = param.get("$ref", "")
        someone = self._victim
        if "browsercontextid" in name or ref.endswith("BrowserContextID"):
            return someone.context
        if ref.endswith("SessionID") or (name == "sessionid" and kind == "string"):
            return someone.at_page
        if ref.endswith("WindowID"):
            return someone.window
        if name in ("handle", "stream") and (ref or kind == "string"):
            return someone.stream
        if "targetid" in name or "frameid" in name or ref.endswith(("TargetID", "FrameId")):
            return someone.page
        if name == "files":
            return [str(self._file)]
        if kind == "string" and ("path" in name or "file" in name):
            return str(self._file)
        if kind == "string" and "url" in name:
            return self._file.as_uri()
        return None


async def attack(
    client: Raw, domains: list[dict[str, Any]], hostile: HostileParams, someone: Victim, address: str
) -> int:
    """Sends every method to the browser, the attacker's page and the victim's page. Returns the number of commands."""
    at_page = await own_page(client, address)
    asked: list[asyncio.Future[dict[str, Any]]] = []
    waiting: list[asyncio.Future[dict[str, Any]]] = []
    last: list[str] = []
    count = 0
    for domain in domains:
        for command in domain.get("commands", []):
            method = f"{domain['domain']}.{command['name']}"
            for params in hostile.of(domain["domain"], command):
                for session_id in (None, at_page, someone.at_page):
                    call_id, frame = client.begin(method, params, session_id)
                    count += 1
                    if method in ENDING:
                        last.append(frame)
                    elif method not in STOPPING or session_id != at_page:
                        asked.append(client.response(call_id))
                        waiting.append(asked[-1])
                        await client.socket.send(frame)
        if len(waiting) > 40 and (await asyncio.wait(waiting, timeout=1.0))[1]:
            at_page = await own_page(client, address)  # the old page is stopped, further commands would have no effect
            waiting = []
    await until(lambda: sum(each.done() for each in asked) > ANSWERED * count, what="the commands are answered")
    for frame in last:
        if not client.closed.is_set():
            await client.socket.send(frame)
    async with asyncio.timeout(PATIENCE_S):
        await client.closed.wait()
    assert client.close_code == 1000, client.close_reason
    return count


async def own_page(client: Raw, address: str) -> str:
    """A CDP session on a new page of the attacker."""
    made = await client.call("Target.createTarget", {"url": address})
    return await client.attach(made["targetId"])


def leaks(frames: list[str], someone: Victim) -> list[str]:
    """Frames that reveal something to the attacker. An error may echo what the attacker has sent."""
    found = []
    for frame in frames:
        message = json.loads(frame)
        secrets = (SECRET, FILE_SECRET) if "error" in message else (SECRET, FILE_SECRET, *someone.ids)
        if any(secret in frame for secret in secrets):
            found.append(frame[:300])
    return found


@pytest.mark.slow
async def test_no_method_of_the_protocol_reaches_another_session(own_service: Running, tmp_path: Path) -> None:
    file = tmp_path / "secret.txt"
    file.write_text(FILE_SECRET)
    async with victim_and_attacker(own_service) as (someone, attacker, address):
        domains = await protocol(attacker)
        async with raw(attacker["connect_url"]) as client:
            count = await attack(client, domains, HostileParams(domains, someone, file), someone, address)
        responses = [message for message in map(json.loads, client.frames) if "id" in message]
        sys.stderr.write(f"{count} commands, {len(responses)} responses\n")
        assert count > 2000
        assert len(responses) > ANSWERED * count
        assert leaks(client.frames, someone) == []
        at_victims = [message for message in responses if message.get("sessionId") == someone.at_page]
        assert len(at_victims) > 600
        assert {message["error"]["code"] for message in at_victims} == {-32001}
        assert file.read_text() == FILE_SECRET
        assert sorted(path.name for path in tmp_path.iterdir()) == ["data", "secret.txt"]


def hidden(own: str, at_page: str, someone: Victim, file: str) -> list[bytes]:
    """Commands whose names or ids a plain text search would miss or misread. Their ids count from 5000."""
    v, s = someone.page, someone.at_page
    letters = "".join(f"\\u{ord(c):04x}" for c in v)
    texts = [
        '"method":"\\u0042rowser.crash"',
        ' "method" :\t"Browser.crash" , "params" : { }\n',
        '"method":"Browser.getVersion","method":"Browser.crash"',
        '"method":"Browser.crash","method":"Browser.getVersion"',
        '"m\\u0065thod":"Browser.crash","method":"Browser.getVersion"',
        '"method":"Browser.getVersion","m\\u0065thod":"Browser.crash"',
        '"method":"browser.crash"',
        '"method":"Browser.crash "',
        '"method":"Browser.crash\\u0000"',
        '"method":"Browser\\u002ecrashGpuProcess"',
        f'"method":"Target.attachToTarget","params":{{"flatten":true,"targetId":"{letters}"}}',
        f'"method":"Target.attachToTarget","params":{{"flatten":true,"targetId":"{own}","targetId":"{v}"}}',
        f'"method":"Target.attachToTarget","params":{{"flatten":true,"targetId":"{v}","targetId":"{own}"}}',
        f'"method":"Target.attachToTarget","params":{{"flatten":true,"targetId":"{own}","t\\u0061rgetId":"{v}"}}',
        f'"method":"Target.attachToTarget","params":{{"flatten":true,"targetId":"{v}","t\\u0061rgetId":"{own}"}}',
        f'"method":"Target.attachToTarget","params":{{"flatten":true,"targetId":"{own}"}},"params":{{"flatten":true,"targetId":"{v}"}}',
        f'"method":"Target.attachToTarget","params":{{"flatten":true,"targetId":["{v}"]}}',
        f'"method":"Target.closeTarget","params":{{"targetId":"{v.lower()}"}}',
        f'"method":"Target.closeTarget","params":{{"targetId":" {v}"}}',
        f'"method":"Target.closeTarget","params":{{"targetId":"{letters}"}}',
        f'"method":"Target.closeTarget","params":{{"target\\u0049d":"{v}"}}',
        f'"method":"Storage.getCookies","params":{{"browserContext\\u0049d":"{someone.context}"}}',
        '"method":"Storage.getCookies","params":{"browserContextId":""}',
        '"method":"Storage.getCookies","params":{"browserContextId":null}',
        f'"method":"Runtime.evaluate","params":{{"expression":"document.cookie"}},"sessionId":"{at_page}","sessionId":"{s}"',
        f'"method":"Runtime.evaluate","params":{{"expression":"document.cookie"}},"sessionId":"{s}","sessionId":"{at_page}"',
        f'"method":"Runtime.evaluate","params":{{"expression":"document.cookie"}},"session\\u0049d":"{s}"',
        f'"method":"Runtime.evaluate","params":{{"expression":"document.cookie"}},"sessionId":" {s}"',
        f'"method":"Target.sendMessageToTarget","params":{{"targetId":"{v}","message":"{{}}"}}',
        f'"method":"Target.sendMessageToTarget","params":{{"sessionId":"{s}","message":"{{}}"}}',
    ]
    at = f',"sessionId":"{at_page}"'
    for url in (
        file,
        " " + file,
        "\\t" + file,
        "fi\\nle" + file.removeprefix("file"),
        "FILE" + file.removeprefix("file"),
        "\\u0066ile" + file.removeprefix("file"),
        "view-source:" + file,
        "filesystem:" + file,
        "blob:" + file,
        "chrome://version",
        "devtools://devtools/bundled/inspector.html",
    ):
        texts.append(f'"method":"Page.navigate","params":{{"url":"{url}"}}{at}')
        texts.append(f'"method":"Page.navigate","params":{{"url":"about:blank","u\\u0072l":"{url}"}}{at}')
        texts.append(f'"method":"Target.createTarget","params":{{"url":"{url}"}}')
        texts.append(f'"method":"Network.loadNetworkResource","params":{{"url":"{url}","options":{{}}}}{at}')
    frames = [f'{{"id":{number},{text}}}'.encode() for number, text in enumerate(texts, 5000)]
    crash = b'{"id":4000,"method":"Browser.crash"}'
    frames += [b"\xef\xbb\xbf" + crash, crash + crash, crash + b"\0", b"[" + crash + b"]", b"/**/" + crash]
    return [*frames, crash.decode().encode("utf-16"), crash.decode().encode("utf-32")]


def responses_in(frames: list[str]) -> list[str]:
    """The responses, including those to commands without a readable id."""
    return [frame for frame in frames if "method" not in json.loads(frame)]


async def test_obfuscated_names_and_ids_do_not_bypass_the_policy(service: Running, tmp_path: Path) -> None:
    file = tmp_path / "secret.txt"
    file.write_text(FILE_SECRET)
    async with victim_and_attacker(service) as (someone, attacker, _), raw(attacker["connect_url"]) as client:
        own, at_page = await client.page()
        frames = hidden(own, at_page, someone, file.as_uri())
        for frame in frames:
            await client.socket.send(frame, text=True)
        await until(lambda: len(responses_in(client.frames)) >= len(frames), what="every command is answered")
        # no opened page has the contents of a host file
        for target in (await client.call("Target.getTargets"))["targetInfos"]:
            if target["type"] == "page":
                there = await client.attach(target["targetId"])
                body = await client.value("document.documentElement.outerHTML + location.href", there)
                assert FILE_SECRET not in body
                assert not body.endswith(("inspector.html", "version")), body[-100:]
        assert leaks(client.frames, someone) == []
        results = {each["id"] for each in map(json.loads, client.frames) if "result" in each and "id" in each}
        succeeded = [frame for number, frame in enumerate(frames[:30], 5000) if number in results]
        # parsed as the harmless one of two keys, or as the attacker's own target
        assert len(succeeded) <= 8, succeeded
        assert not any(b"closeTarget" in frame or b"sendMessage" in frame for frame in succeeded), succeeded
        await client.socket.send(b"\xd8\x5a\x00\x00\x00\x00")  # CBOR, which Chromium uses internally
        async with asyncio.timeout(PATIENCE_S):
            await client.closed.wait()
        assert client.close_code == 1003
        assert (await service.details(attacker["session_id"]))["status"] == "active"
