"""Chromium's own DevTools front end, as the session's browser serves it on its debugging port: static files only.

The debugging port itself is never reached from outside: a path is checked against what such files are called, asked for
with a GET of our own, and the answer is kept for the next one.
"""

from __future__ import annotations

import re
from collections import OrderedDict
from typing import Final
from urllib.parse import urlsplit

import httpx

from browser_sessions.model.errors import BrowserGone, BrowserTimeout, NotFound
from browser_sessions.model.ports import BrowserProcess

START: Final = "inspector.html"
FETCH_S: Final = 10.0
"""The largest file has some megabytes and takes 20 ms."""
KEPT_BYTES: Final = 48 * 2**20
"""Of files kept: the whole front end of one version of Chromium has about 30 MB."""

_TYPES: Final = {
    "html": "text/html; charset=utf-8",
    "js": "text/javascript; charset=utf-8",
    "css": "text/css; charset=utf-8",
    "json": "application/json",
    "svg": "image/svg+xml",
    "png": "image/png",
    "avif": "image/avif",
    "webp": "image/webp",
    "gif": "image/gif",
    "wasm": "application/wasm",
    "woff2": "font/woff2",
}
_PART: Final = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.\-]{0,120}")
"""Of a path: nothing that leads up, nothing encoded, no name that is hidden."""
_PARTS: Final = 8
_MISSING: Final = "Chromium's DevTools has no such file."

SHIM: Final = "own-storage.js"
_SHIM: Final = b"""
// The front end keeps settings and pictures where a sandbox has no place for them: here they live as long as the tab.
class Store {
  getItem(name) { return Object.hasOwn(this, name) ? this[name] : null; }
  setItem(name, value) { this[name] = String(value); }
  removeItem(name) { delete this[name]; }
  clear() { for (const name of Object.keys(this)) delete this[name]; }
  key(place) { return Object.keys(this)[place] ?? null; }
  get length() { return Object.keys(this).length; }
}
const none = { match: async () => undefined, put: async () => {}, delete: async () => false, keys: async () => [] };
const caches = { ...none, open: async () => none, has: async () => false };
for (const [name, value] of Object.entries({ localStorage: new Store(), sessionStorage: new Store(), caches })) {
  Object.defineProperty(window, name, { value, configurable: true });
}
"""
_HEAD: Final = re.compile(rb"<head[^>]*>|<meta charset[^>]*>", re.IGNORECASE)

File = tuple[bytes, str]


def media_type(path: str) -> str:
    """The type of a file that the front end may have. Raises `NotFound` for every other path. Pure."""
    parts = path.split("/")
    kind = _TYPES.get(parts[-1].rpartition(".")[2])
    if kind is None or len(parts) > _PARTS or not all(_PART.fullmatch(part) for part in parts):
        raise NotFound(_MISSING)
    return kind


class FrontEnd:
    """Files by version of Chromium and path, the ones that were wanted last."""

    def __init__(self) -> None:
        self._kept: OrderedDict[tuple[str, str], bytes] = OrderedDict()
        self._bytes = 0

    async def file(self, process: BrowserProcess, path: str) -> File:
        """A file and its type. Raises `NotFound`, `BrowserGone`, `BrowserTimeout`."""
        kind = media_type(path)
        if path == SHIM:
            return _SHIM, kind
        key = (process.version, path)
        body = self._kept.get(key)
        if body is None:
            body = await self._fetch(process, path)
            if path == START:
                body = with_shim(body)
            self._keep(key, body)
        else:
            self._kept.move_to_end(key)
        return body, kind

    async def _fetch(self, process: BrowserProcess, path: str) -> bytes:
        url = f"http://{urlsplit(process.endpoint).netloc}/devtools/{path}"
        try:
            async with httpx.AsyncClient(trust_env=False, timeout=FETCH_S, follow_redirects=False) as http:
                answer = await http.get(url)
        except httpx.TimeoutException:
            raise BrowserTimeout("The browser did not give its DevTools in time.") from None
        except httpx.HTTPError:
            raise BrowserGone("The browser is gone.") from None
        if answer.status_code != 200 or not answer.content:  # Chromium answers 200 and nothing for what it has not
            raise NotFound(_MISSING)
        return answer.content

    def _keep(self, key: tuple[str, str], body: bytes) -> None:
        if key in self._kept or len(body) > KEPT_BYTES // 4:
            return
        self._kept[key] = body
        self._bytes += len(body)
        while self._bytes > KEPT_BYTES:
            _, oldest = self._kept.popitem(last=False)
            self._bytes -= len(oldest)


def with_shim(page: bytes) -> bytes:
    """The front end's page with its own storage before everything else. Pure."""
    found = _HEAD.search(page)
    place = found.end() if found else 0
    return page[:place] + b'<script src="./' + SHIM.encode() + b'"></script>' + page[place:]
