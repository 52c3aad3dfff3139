"""An HTTPS site that says which client certificate it was shown, over HTTP and in a WebSocket."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from http import HTTPStatus

from websockets.asyncio.server import ServerConnection, serve
from websockets.datastructures import Headers
from websockets.http11 import Request, Response

from tests.harness.certificates import Authority, common_name


@dataclass
class CertificateSite:
    url: str = ""
    redirects: dict[str, str] = field(default_factory=dict)
    """Where a path redirects to."""
    shown: list[tuple[str, str]] = field(default_factory=list)
    """(path, name in the client's certificate) of every request so far."""

    def answer(self, connection: ServerConnection, request: Request) -> Response | None:
        name = common_name(connection.transport.get_extra_info("peercert"))
        self.shown.append((request.path, name))
        if "Upgrade" in request.headers:
            return None
        headers = Headers({"Access-Control-Allow-Origin": "*", "Connection": "close"})
        if request.path in self.redirects:
            headers["Location"] = self.redirects[request.path]
            return Response(HTTPStatus.FOUND, "", headers)
        headers["Content-Type"] = "text/html"
        return Response(HTTPStatus.OK, "", headers, f"<title>{name}</title><body>{name}</body>".encode())

    async def talk(self, socket: ServerConnection) -> None:
        await socket.send(common_name(socket.transport.get_extra_info("peercert")))


@asynccontextmanager
async def certificate_site(authority: Authority) -> AsyncIterator[CertificateSite]:
    site = CertificateSite()
    tls = authority.server_tls()
    async with serve(site.talk, "127.0.0.1", 0, ssl=tls, process_request=site.answer) as server:
        port = next(iter(server.sockets)).getsockname()[1]
        site.url = f"https://127.0.0.1:{port}"
        yield site
