"""A small HTTP site whose pages are set by the test."""

from __future__ import annotations

import asyncio


class Site:
    """An HTTP site on loopback: `pages` maps a path to its HTML. Unknown paths respond 404, `/hang` never responds."""

    def __init__(self) -> None:
        self.url = ""
        self.pages: dict[str, str] = {"/": "<title>Home</title><h1>Home</h1>"}
        self.requests: list[tuple[str, dict[str, str]]] = []
        """(path, headers in lower case) of every request so far."""
        self.open: set[asyncio.StreamWriter] = set()

    async def handle(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.open.add(writer)
        try:
            head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
            path = head[0].split(" ")[1]
            fields = (line.partition(":") for line in head[1:] if line)
            self.requests.append((path, {name.lower(): value.strip() for name, _, value in fields}))
            if path == "/hang":
                await reader.read()
                return
            html = self.pages.get(path.partition("?")[0])
            body = (html if html is not None else "<title>Not found</title>").encode()
            status = "200 OK" if html is not None else "404 Not Found"
            writer.write(
                f"HTTP/1.1 {status}\r\nContent-Type: text/html; charset=utf-8\r\nConnection: close\r\n"
                f"Content-Length: {len(body)}\r\n\r\n".encode()
                + body
            )
            await writer.drain()
        except (asyncio.IncompleteReadError, ConnectionError):
            pass  # the browser disconnected
        finally:
            self.open.discard(writer)
            writer.close()
