"""Serves the console's files, revalidated each time, under a strict Content-Security-Policy."""

from __future__ import annotations

import gzip
import hashlib
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from fastapi import APIRouter, Request, Response
from starlette.exceptions import HTTPException

router = APIRouter(include_in_schema=False)

WEB: Final = Path(__file__).resolve().parent / "static"
POLICY: Final = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' blob: data:; connect-src 'self'; "
    "font-src 'self'; base-uri 'none'; form-action 'self'; frame-ancestors 'none'"
)
_TYPES: Final = {
    ".html": "text/html; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".css": "text/css; charset=utf-8",
    ".svg": "image/svg+xml",
    ".png": "image/png",
    ".ico": "image/x-icon",
    ".woff2": "font/woff2",
    ".json": "application/json",
}
_COMPRESSED: Final = frozenset({".html", ".js", ".css", ".svg", ".json"})
_NAME: Final = re.compile(r"[A-Za-z0-9_\-][A-Za-z0-9_\-.]*(?:/[A-Za-z0-9_\-][A-Za-z0-9_\-.]*)*")
"""No part begins with a dot, so no path leads out of the folder."""


@dataclass(frozen=True, slots=True)
class _File:
    stamp: tuple[int, int]
    body: bytes
    gzipped: bytes
    etag: str
    media_type: str


_files: dict[str, _File] = {}


# Not async, so that FastAPI runs them in a thread: they read files.


@router.get("/")
@router.get("/sign-in")
@router.get("/sessions/{session_id}")
def page(request: Request, session_id: str = "") -> Response:
    """The console. Its script reads from the URL which of its pages to show."""
    return _serve(request, "index.html")


@router.get("/assets/{name:path}")
def asset(request: Request, name: str) -> Response:
    """A file of the console."""
    return _serve(request, f"assets/{name}")


@router.get("/favicon.ico")
def icon(request: Request) -> Response:
    """The icon that browsers request by themselves."""
    return _serve(request, "assets/icon.svg")


def _serve(request: Request, name: str) -> Response:
    file = _read(name)
    headers = {
        "Content-Security-Policy": POLICY,
        "Cache-Control": "no-cache",  # revalidated each time, so that modules of two versions never mix
        "ETag": file.etag,
        "Vary": "Accept-Encoding",
    }
    if file.etag in request.headers.get("if-none-match", ""):
        return Response(status_code=304, headers=headers)
    body = file.body
    if file.gzipped and "gzip" in request.headers.get("accept-encoding", ""):
        headers["Content-Encoding"] = "gzip"
        body = file.gzipped
    return Response(body, headers=headers, media_type=file.media_type)


def _read(name: str) -> _File:
    """The file, read again when it has changed."""
    path = WEB / name
    media_type = _TYPES.get(path.suffix)
    if media_type is None or not _NAME.fullmatch(name):
        raise HTTPException(404)
    try:
        found = path.stat()
        stamp = (found.st_mtime_ns, found.st_size)
        known = _files.get(name)
        if known is not None and known.stamp == stamp:
            return known
        body = path.read_bytes()
    except OSError:
        raise HTTPException(404) from None
    gzipped = gzip.compress(body, mtime=0) if path.suffix in _COMPRESSED else b""
    file = _File(stamp, body, gzipped, f'"{hashlib.sha256(body).hexdigest()[:20]}"', media_type)
    _files[name] = file
    return file
