"""Playwright MCP with `--cdp-endpoint`, spoken to over its standard input and output."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, Final

from tests.harness.sites.client_site import ClientSite

CALL_S: Final = 30.0
"""For one tool; most take a tenth of a second, a page's settling included."""
MESSAGE_BYTES: Final = 16 * 2**20
"""The longest line: a picture in base64."""

WANTED: Final = {
    "goto": "Home",
    "click": "#button",
    "evaluate": "clicked",
    "screenshot": "image/png",
    "pdf": ".pdf",
    "new_page": "/popup?who=WHO",
    "popup": "Popup",
    "frame": "clicked inside",
    "worker": "42",
    "service_worker": "in a service worker",
    "cookies": "who=WHO",
    "route": "from the client",
    "dialog": "yes",
    "download": "completed",
    "tabs": "who=WHO",
}
"""What is in the answer of each step."""


class Server:
    """One process of the MCP server."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self._process = process
        self._last = 0

    async def call(self, method: str, params: dict[str, Any]) -> dict[str, Any]:
        self._last += 1
        await self._send({"jsonrpc": "2.0", "id": self._last, "method": method, "params": params})
        assert self._process.stdout is not None
        async with asyncio.timeout(CALL_S):
            while True:
                line = await self._process.stdout.readline()
                assert line, "the MCP server has ended"
                answer: dict[str, Any] = json.loads(line)
                if answer.get("id") == self._last:
                    return answer

    async def notify(self, method: str) -> None:
        await self._send({"jsonrpc": "2.0", "method": method})

    async def tool(self, name: str, /, **arguments: Any) -> str:
        """The whole answer of a tool as text; an error fails."""
        answer = await self.call("tools/call", {"name": name, "arguments": arguments})
        assert "error" not in answer, answer
        assert not answer["result"].get("isError"), answer
        return "\n".join(part.get("text") or part.get("mimeType", "") for part in answer["result"]["content"])

    async def run(self, code: str) -> str:
        return await self.tool("browser_run_code_unsafe", code=f"async (page) => {{ {code} }}")

    async def _send(self, message: dict[str, Any]) -> None:
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps(message).encode() + b"\n")
        await self._process.stdin.drain()


@asynccontextmanager
async def mcp_server(node: Path, url: str, folder: Path) -> AsyncIterator[Server]:
    """`node`: the folder of the Node clients. Files that the tools write go to `folder`."""
    process = await asyncio.create_subprocess_exec(
        *("node", str(node / "node_modules/@playwright/mcp/cli.js"), "--cdp-endpoint", url),
        *("--caps", "pdf,network,storage", "--output-dir", str(folder)),
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.DEVNULL,
        cwd=folder,
        limit=MESSAGE_BYTES,
    )
    try:
        server = Server(process)
        me = {"name": "test", "version": "1"}
        await server.call("initialize", {"protocolVersion": "2025-03-26", "capabilities": {}, "clientInfo": me})
        await server.notify("notifications/initialized")
        yield server
        assert process.stdin is not None
        process.stdin.close()
        async with asyncio.timeout(CALL_S):
            await process.wait()
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()


async def drive_mcp(node: Path, url: str, site: ClientSite, who: str, folder: Path) -> dict[str, str]:
    """The answer of each step, as text."""
    at = f"{site.url}{{}}?who={who}".format
    inner = f"{site.other}/inner"
    told: dict[str, str] = {}
    async with mcp_server(node, url, folder) as server:
        told["goto"] = await server.tool("browser_navigate", url=at("/"))
        told["click"] = await server.tool("browser_click", element="Press", target="#button")
        await server.tool("browser_click", element="Report", target="#report")  # its file is the session's
        told["evaluate"] = await server.tool("browser_evaluate", function="() => out.textContent")
        told["screenshot"] = await server.tool("browser_take_screenshot", type="png")
        told["pdf"] = await server.tool("browser_pdf_save", filename=f"{who}.pdf")
        told["popup"] = await server.run(
            "const coming = page.waitForEvent('popup'); await page.click('#open'); const popup = await coming;"
            "await popup.waitForLoadState(); const title = await popup.title(); await popup.close(); return title;"
        )
        told["frame"] = await server.run(
            f"await page.goto('{at('/frames')}&inner={inner}'); const frame = page.frameLocator('[name=inner]');"
            "await frame.locator('#button').click(); return frame.locator('#out').textContent();"
        )
        told["worker"] = await server.run(
            f"const coming = page.waitForEvent('worker'); await page.goto('{at('/worker')}');"
            "return (await coming).evaluate('self.answer');"
        )
        told["service_worker"] = await server.run(
            f"const coming = page.context().waitForEvent('serviceworker'); await page.goto('{at('/sw')}');"
            "await page.evaluate('window.ready.then(() => 1)'); return (await coming).evaluate('self.answer');"
        )
        await server.tool("browser_cookie_set", name="who", value=who)
        told["cookies"] = await server.tool("browser_cookie_list")
        await server.tool("browser_route", pattern="**/data*", body="from the client")
        await server.tool("browser_navigate", url=at("/fetch"))
        told["route"] = await server.tool("browser_evaluate", function="() => fetch('/data').then(a => a.text())")
        await server.tool("browser_unroute")
        await server.tool("browser_navigate", url=at("/"))
        await server.tool("browser_click", element="Ask", target="#ask")
        await server.tool("browser_handle_dialog", accept=True, promptText="yes")
        told["dialog"] = await server.tool("browser_evaluate", function="() => out.textContent")
        # The server connects without asking for downloads, so there is no "download" event; the protocol has them.
        told["download"] = await server.run(
            "const session = await page.context().newCDPSession(page);"
            "const wanted = { behavior: 'allow', downloadPath: '/no', eventsEnabled: true };"
            "await session.send('Browser.setDownloadBehavior', wanted);"
            "const ended = new Promise((done) => session.on('Browser.downloadProgress',"
            "(told) => told.state === 'inProgress' || done(told)));"
            "await page.click('#report'); const { state, guid } = await ended; return [state, guid];"
        )
        told["new_page"] = await server.tool("browser_tabs", action="new", url=at("/popup"))
        told["tabs"] = await server.tool("browser_tabs", action="list")
    async with mcp_server(node, url, folder) as server:
        told["goto"] += await server.tool("browser_tabs", action="list")
    return told
