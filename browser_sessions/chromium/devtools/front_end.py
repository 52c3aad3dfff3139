"""Chromium's own DevTools front end: which of its files may be had, and what they are given as.

A path is checked against what such files are called before it is looked up among those that are kept.
"""

from __future__ import annotations

import re
from typing import Final

from browser_sessions.chromium.devtools.cache import NO_SUCH_FILE, DevToolsCache
from browser_sessions.chromium.devtools.crawl import START
from browser_sessions.domain.errors import NotFound

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
        raise NotFound(NO_SUCH_FILE)
    return kind


async def file(cache: DevToolsCache, version: str, path: str) -> File:
    """A file of the front end of this version of Chromium, and its type. Raises `NotFound`, `DevToolsUnavailable`."""
    kind = media_type(path)
    if path == SHIM:
        return _SHIM, kind
    body = await cache.file(version, path)
    return (with_shim(body) if path == START else body), kind


def with_shim(page: bytes) -> bytes:
    """The front end's page with its own storage before everything else. Pure."""
    found = _HEAD.search(page)
    place = found.end() if found else 0
    return page[:place] + b'<script src="./' + SHIM.encode() + b'"></script>' + page[place:]
