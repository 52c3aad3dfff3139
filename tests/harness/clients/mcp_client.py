"""Playwright MCP with `--cdp-endpoint`, driven over its standard input and output."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, Final

from tests.harness.sites.client_site import ClientSite

CALL_S: Final = 30.0
"""Timeout of one tool call; most take 0.1 s including the wait for the page to settle."""
MESSAGE_BYTES: Final = 16 * 2**20
"""The longest line: a screenshot in base64."""

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
"""Text that each step's response contains."""


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
                response: dict[str, Any] = json.loads(line)
                if response.get("id") == self._last:
                    return response

    async def notify(self, method: str) -> None:
        await self._send({"jsonrpc": "2.0", "method": method})

    async def tool(self, name: str, /, **arguments: Any) -> str:
        """A tool's response as text. Fails on an error."""
        response = await self.call("tools/call", {"name": name, "arguments": arguments})
        assert "error" not in response, response
        assert not response["result"].get("isError"), response
        return "\n".join(part.get("text") or part.get("mimeType", "") for part in response["result"]["content"])

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
    """The response of each step, as text."""
    at = f"{site.url}{{}}?who={who}".format
    inner = f"{site.other}/inner"
    results: dict[str, str] = {}
    async with mcp_server(node, url, folder) as server:
        results["goto"] = await server.tool("browser_navigate", url=at("/"))
        results["click"] = await server.tool("browser_click", element="Press", target="#button")
        await server.tool("browser_click", element="Report", target="#report")  # the session keeps the file
        results["evaluate"] = await server.tool("browser_evaluate", function="() => out.textContent")
        results["screenshot"] = await server.tool("browser_take_screenshot", type="png")
        results["pdf"] = await server.tool("browser_pdf_save", filename=f"{who}.pdf")
        results["popup"] = await server.run(
            "const coming = page.waitForEvent('popup'); await page.click('#open'); const popup = await coming;"
            "await popup.waitForLoadState(); const title = await popup.title(); await popup.close(); return title;"
        )
        results["frame"] = await server.run(
            f"await page.goto('{at('/frames')}&inner={inner}'); const frame = page.frameLocator('[name=inner]');"
            "await frame.locator('#button').click(); return frame.locator('#out').textContent();"
        )
        results["worker"] = await server.run(
            f"const coming = page.waitForEvent('worker'); await page.goto('{at('/worker')}');"
            "return (await coming).evaluate('self.answer');"
        )
        results["service_worker"] = await server.run(
            f"const coming = page.context().waitForEvent('serviceworker'); await page.goto('{at('/sw')}');"
            "await page.evaluate('window.ready.then(() => 1)'); return (await coming).evaluate('self.answer');"
        )
        await server.tool("browser_cookie_set", name="who", value=who)
        results["cookies"] = await server.tool("browser_cookie_list")
        await server.tool("browser_route", pattern="**/data*", body="from the client")
        await server.tool("browser_navigate", url=at("/fetch"))
        results["route"] = await server.tool("browser_evaluate", function="() => fetch('/data').then(a => a.text())")
        await server.tool("browser_unroute")
        await server.tool("browser_navigate", url=at("/"))
        await server.tool("browser_click", element="Ask", target="#ask")
        await server.tool("browser_handle_dialog", accept=True, promptText="yes")
        results["dialog"] = await server.tool("browser_evaluate", function="() => out.textContent")
        # The MCP server does not enable download events itself, so this uses those of the protocol.
        results["download"] = await server.run(
            "const session = await page.context().newCDPSession(page);"
            "const wanted = { behavior: 'allow', downloadPath: '/no', eventsEnabled: true };"
            "await session.send('Browser.setDownloadBehavior', wanted);"
            "const ended = new Promise((done) => session.on('Browser.downloadProgress',"
            "(progress) => progress.state === 'inProgress' || done(progress)));"
            "await page.click('#report'); const { state, guid } = await ended; return [state, guid];"
        )
        results["new_page"] = await server.tool("browser_tabs", action="new", url=at("/popup"))
        results["tabs"] = await server.tool("browser_tabs", action="list")
    async with mcp_server(node, url, folder) as server:
        results["goto"] += await server.tool("browser_tabs", action="list")
    return results
