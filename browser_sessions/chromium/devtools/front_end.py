"""Serves files of Chromium's DevTools front end: validates their paths and determines their media types."""

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
"""Segment of a path: no parent folder, no percent-encoding, no hidden file."""
_PARTS: Final = 8

SHIM: Final = "own-storage.js"
_SHIM: Final = b"""
// The front end stores settings and images, which a sandboxed frame cannot: here they last as long as the tab.
class Store {
  getItem(name) { return Object.hasOwn(this, name) ? this[name] : null; }
  setItem(name, value) { this[name] = String(value); }
  removeItem(name) { delete this[name]; }
  clear() { for (const name of Object.keys(this)) delete this[name]; }
  key(index) { return Object.keys(this)[index] ?? null; }
  get length() { return Object.keys(this).length; }
}
const none = { match: async () => undefined, put: async () => {}, delete: async () => false, keys: async () => [] };
const caches = { ...none, open: async () => none, has: async () => false };
for (const [name, value] of Object.entries({ localStorage: new Store(), sessionStorage: new Store(), caches })) {
  Object.defineProperty(window, name, { value, configurable: true });
}
"""
_LOADING: Final = (
    "<style>body:not(:has(> *))::before { content: 'Loading DevTools…'; "
    "position: fixed; left: 16px; top: 16px; font: 13px sans-serif; color: gray }</style>"
)
"""Shown until the front end has added elements to its page: its files take a second or more."""
_HEAD: Final = re.compile(rb"<head[^>]*>|<meta charset[^>]*>", re.IGNORECASE)

File = tuple[bytes, str]


def media_type(path: str) -> str:
    """The media type of a valid path. Raises `NotFound` for all others. Pure."""
    parts = path.split("/")
    kind = _TYPES.get(parts[-1].rpartition(".")[2])
    if kind is None or len(parts) > _PARTS or not all(_PART.fullmatch(part) for part in parts):
        raise NotFound(NO_SUCH_FILE)
    return kind


async def file(cache: DevToolsCache, version: str, path: str) -> File:
    """(body, media type) of a file of this version's front end. Raises `NotFound`, `DevToolsUnavailable`."""
    kind = media_type(path)
    if path == SHIM:
        return _SHIM, kind
    body = await cache.file(version, path)
    return (with_shim(body) if path == START else body), kind


def with_shim(page: bytes) -> bytes:
    """The front end's page with the storage shim as its first script, and a text until it has loaded. Pure."""
    found = _HEAD.search(page)
    position = found.end() if found else 0
    return page[:position] + b'<script src="./' + SHIM.encode() + b'"></script>' + _LOADING.encode() + page[position:]
