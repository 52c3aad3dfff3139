"""A small HTTP site whose pages are set by the test."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Final

from tests.harness.waiting import until

BLOCK: Final = "setTimeout(block)"
"""Blocks the page `/blocks` by a synchronous request: a page that hangs, but without using the processor."""


@asynccontextmanager
async def plain_site(host: str = "127.0.0.1", port: int = 0) -> AsyncIterator[Site]:
    site = Site()
    server = await asyncio.start_server(site.handle, host, port)
    site.url = f"http://{host}:{server.sockets[0].getsockname()[1]}"
    yield site
    server.close()
    site.release()
    await until(lambda: not site.open)
    await server.wait_closed()


class Site:
    """An HTTP site on loopback: `pages` maps a path to its HTML. Unknown paths respond 404, `/hang` never responds."""

    def __init__(self) -> None:
        self.url = ""
        self.pages: dict[str, str] = {
            "/": "<title>Home</title><h1>Home</h1>",
            "/blocks": "<title>Blocks</title><script>function block() { const hang = new XMLHttpRequest();"
            " hang.open('GET', '/hang', false); try { hang.send() } catch {} }</script>",
        }
        self.headers: dict[str, str] = {}
        """A response header more of a path."""
        self.redirects: dict[str, str] = {}
        """Where a path redirects to."""
        self.locked: dict[str, str] = {}
        """`Authorization` that a path requires."""
        self.requests: list[tuple[str, dict[str, str]]] = []
        """(path, headers in lower case) of every request so far."""
        self.keep_alive = False
        self.connections = 0
        self.open: set[asyncio.StreamWriter] = set()

    async def blocked(self) -> None:
        """Returns once `BLOCK` blocks a page."""
        await until(lambda: any(path == "/hang" for path, _ in self.requests), what="the page is blocked")

    def release(self) -> None:
        """Ends the block."""
        for writer in tuple(self.open):
            writer.transport.abort()

    async def handle(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.open.add(writer)
        self.connections += 1
        try:
            while await self._request(reader, writer) and self.keep_alive:
                pass
        except (asyncio.IncompleteReadError, ConnectionError):
            pass  # the browser disconnected
        finally:
            self.open.discard(writer)
            writer.close()

    async def _request(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
        path = head[0].split(" ")[1]
        fields = (line.partition(":") for line in head[1:] if line)
        self.requests.append((path, {name.lower(): value.strip() for name, _, value in fields}))
        if path == "/hang":
            await reader.read()
            return False
        known = path.partition("?")[0]
        html = self.pages.get(known)
        body = (html if html is not None else "<title>Not found</title>").encode()
        status = "200 OK" if html is not None else "404 Not Found"
        if self.locked.get(path, sent := self.requests[-1][1].get("authorization")) != sent:
            status = '401 Unauthorized\r\nWWW-Authenticate: Basic realm="site"'
        if known in self.redirects:
            status = f"302 Found\r\nLocation: {self.redirects[known]}"
        if more := self.headers.get(known):
            status += f"\r\n{more}"
        kind = "javascript" if known.endswith(".js") else "html"
        writer.write(
            f"HTTP/1.1 {status}\r\nContent-Type: text/{kind}; charset=utf-8\r\n"
            f"Connection: {'keep-alive' if self.keep_alive else 'close'}\r\n"
            f"Content-Length: {len(body)}\r\n\r\n".encode()
            + body
        )
        await writer.drain()
        return True
