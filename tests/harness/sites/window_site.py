"""A site whose page opens windows in every way a page can, and which records what each window's first script saw."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Final
from urllib.parse import parse_qs, urlsplit

TRIGGERS: Final = (
    "blank",
    "noopener",
    "noreferrer",
    "opener",
    "open",
    "open_noopener",
    "open_then_go",
    "form_get",
    "form_post",
    "middle",
    "control",
)
"""Ids of the elements to click; `middle` and `control` are plain links, clicked with that button or key."""

FROM: Final = """<!doctype html><title>Opens windows</title>
<style>
  a, button { display: block; width: 200px; height: 22px; padding: 0; margin: 0 }
  form { margin: 0 } body { margin: 0 } iframe { position: absolute; left: 240px; top: 0; border: 0; height: 400px }
</style>
<a id=blank target=_blank>blank</a>
<a id=noopener target=_blank rel=noopener>noopener</a>
<a id=noreferrer target=_blank rel=noreferrer>noreferrer</a>
<a id=opener target=_blank rel=opener>opener</a>
<button id=open onclick="window.open(address)">open</button>
<button id=open_noopener onclick="window.open(address, '_blank', 'noopener')">open_noopener</button>
<button id=open_then_go onclick="window.open().location.href = address">open_then_go</button>
<form method=get target=_blank><input type=hidden name=id><button id=form_get>form_get</button></form>
<form method=post target=_blank><input type=hidden name=posted><button id=form_post>form_post</button></form>
<a id=middle>middle</a>
<a id=control>control</a>
<script>
  // Points an element at base?id=id. Returns its middle in coordinates of the top window.
  function aim(name, inFrame, base, id) {
    if (inFrame) {
      const [x, y] = frames[0].aim(name, false, base, id)
      const frame = document.querySelector("iframe").getBoundingClientRect()
      return [x + frame.x, y + frame.y]
    }
    window.address = `${base}?id=${id}`
    const element = document.getElementById(name)
    if (element.form) {
      element.form.action = name == "form_get" ? base : address
      element.form.elements[0].value = id
    } else element.href = address
    const { x, y, width, height } = element.getBoundingClientRect()
    return [x + width / 2, y + height / 2]
  }
  // A synthetic click, as scripts dispatch it.
  function press(name, inFrame, base, id) {
    const view = inFrame ? frames[0] : window
    view.aim(name, false, base, id)
    const how = { bubbles: true, cancelable: true, view, button: name == "middle" ? 1 : 0, ctrlKey: name == "control" }
    view.document.getElementById(name).dispatchEvent(new MouseEvent(name == "middle" ? "auxclick" : "click", how))
  }
</script>
"""
_FRAME: Final = "<iframe src=/inside></iframe>"
_WINDOW: Final = """<!doctype html>
<script>
  window.seen = {
    id: "ID", agent: navigator.userAgent, size: [innerWidth, innerHeight],
    zone: Intl.DateTimeFormat().resolvedOptions().timeZone, marker: window.marker ?? null, opener: opener !== null
  }
  addEventListener("load", () => fetch("/seen", { method: "POST", keepalive: true, body: JSON.stringify(seen) }))
</script><title>A window</title>"""


@dataclass(frozen=True, slots=True)
class Seen:
    """What a window's first script saw, and when its `load` event was reported (seconds since the epoch)."""

    loaded: float
    agent: str
    size: tuple[int, int]
    zone: str
    marker: str | None
    opener: bool


@dataclass
class WindowSite:
    url: str
    """http://127.0.0.1:port; its root is the page with the elements."""
    other: str
    """http://localhost:port: another origin."""
    seen: dict[str, Seen] = field(default_factory=dict)
    """By the window's id."""


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 128
    seen: dict[str, Seen]

    def handle_error(self, request: object, client_address: object) -> None:
        """The browser disconnected."""


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: _Server

    def do_GET(self) -> None:
        self._respond()

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        if self.path == "/seen":
            report: dict[str, Any] = json.loads(body)
            window_id, (width, height) = report.pop("id"), report.pop("size")
            self.server.seen[window_id] = Seen(loaded=time.time(), size=(width, height), **report)
        self._respond()

    def _respond(self) -> None:
        parts = urlsplit(self.path)
        window_id = parse_qs(parts.query).get("id", [""])[0]
        status, kind, body, extra = 200, "text/html; charset=utf-8", "", {}
        match parts.path:
            case "/":
                body = FROM + _FRAME
            case "/inside":
                body = FROM
            case "/window":
                body = _WINDOW.replace("ID", window_id if window_id.isalnum() else "")
            case "/attachment":
                kind, body = "text/plain", f"the file {window_id}\n"
                extra = {"Content-Disposition": f'attachment; filename="{window_id}.txt"'}
            case "/seen":
                pass
            case _:
                status = 404
        data = body.encode()
        self.send_response(status)
        for name, value in {"Content-Type": kind, "Content-Length": str(len(data)), **extra}.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the base class's name
        """Logs nothing."""


@contextmanager
def window_site() -> Iterator[WindowSite]:
    """Serves the site from threads, independent of the test's event loop."""
    servers = [_Server(("127.0.0.1", 0), _Handler) for _ in range(2)]
    threads = [threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True) for server in servers]
    first, second = (server.server_address[1] for server in servers)
    site = WindowSite(f"http://127.0.0.1:{first}", f"http://localhost:{second}")
    for server, thread in zip(servers, threads, strict=True):
        server.seen = site.seen
        thread.start()
    try:
        yield site
    finally:
        for server in servers:
            server.shutdown()
            server.server_close()
        for thread in threads:
            thread.join()
