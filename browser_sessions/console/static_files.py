"""The console's files, revalidated on each load and under a strict content security policy."""

from __future__ import annotations

import mimetypes
import os
from pathlib import Path
from typing import Final

from starlette.middleware import Middleware
from starlette.middleware.gzip import GZipMiddleware
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route
from starlette.staticfiles import PathLike, StaticFiles
from starlette.types import Scope

WEB: Final = Path(__file__).resolve().parent / "static"
_HEADERS: Final = {
    "Content-Security-Policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' blob: data:; connect-src 'self'; "
        "font-src 'self'; base-uri 'none'; form-action 'self'; frame-ancestors 'none'"
    ),
    "Cache-Control": "no-cache",  # kept, and revalidated each time: modules of two versions never meet
    "Vary": "Accept-Encoding",
}
mimetypes.add_type("text/javascript", ".js")  # RFC 9239; Python 3.11 has the older type, which has no charset


class _Files(StaticFiles):
    def file_response(
        self, full_path: PathLike, stat_result: os.stat_result, scope: Scope, status_code: int = 200
    ) -> Response:
        response = super().file_response(full_path, stat_result, scope, status_code)
        response.headers.update(_HEADERS)  # also of a 304: the browser replaces the headers it has stored
        return response


_pages: Final = _Files(directory=WEB)
_assets: Final = _Files(directory=WEB / "assets")


async def _page(request: Request) -> Response:
    """The console. Its scripts decide by the address what to show."""
    return await _pages.get_response("index.html", request.scope)


async def _asset(request: Request) -> Response:
    return await _assets.get_response(request.path_params["name"], request.scope)


async def _icon(request: Request) -> Response:
    return await _assets.get_response("icon.svg", request.scope)


ROUTES: Final = [
    Route(path, endpoint, methods=["GET"], include_in_schema=False, middleware=[Middleware(GZipMiddleware)])
    for path, endpoint in {
        "/": _page,
        "/sign-in": _page,
        "/sessions/{session_id}": _page,
        "/assets/{name:path}": _asset,
        "/favicon.ico": _icon,
    }.items()
]
