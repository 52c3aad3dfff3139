"""A small site on two loopback origins, 127.0.0.1 and localhost, with pages for the steps of real clients."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Final
from urllib.parse import parse_qs, urlsplit

HTML: Final = "text/html; charset=utf-8"
SCRIPT: Final = "text/javascript; charset=utf-8"
REPORT: Final = b"what was downloaded\n"

_PAGES: Final[dict[str, tuple[str, str]]] = {
    "/": (
        HTML,
        """<title>Home</title><h1>Home</h1>
        <button id="button" onclick="out.textContent = 'clicked'">Press</button><p id="out"></p>
        <button id="ask" onclick="out.textContent = prompt('What?')">Ask</button>
        <a id="report" href="/report.txt">Report</a>
        <button id="open" onclick="window.open('/popup' + location.search)">Open</button>""",
    ),
    "/popup": (HTML, "<script>window.first = window.marker ?? 'none'</script><title>Popup</title>"),
    "/first": (
        HTML,
        """<script>
          window.agent = navigator.userAgent, window.width = innerWidth, window.others = window.other
          window.first = window.marker ?? 'none'
        </script><title>First</title>""",
    ),
    "/inner": (
        HTML,
        """<title>Inner</title><button id="button" onclick="out.textContent = 'clicked inside'">Press</button>
        <p id="out"></p>""",
    ),
    "/worker": (
        HTML,
        "<title>Worker</title><script>window.worker = new Worker('/worker.js' + location.search)</script>",
    ),
    "/worker.js": (SCRIPT, "self.answer = 6 * 7"),
    "/sw": (
        HTML,
        """<title>Service worker</title>
        <script>
          window.ready = navigator.serviceWorker.register('/sw.js' + location.search)
            .then(() => navigator.serviceWorker.ready)
        </script>""",
    ),
    "/sw.js": (
        SCRIPT,
        """self.answer = 'in a service worker'
        self.addEventListener('activate', event => event.waitUntil(clients.claim()))""",
    ),
    "/fetch": (HTML, "<title>Fetch</title>"),
    "/data": ("text/plain", "from the site"),
}


@dataclass(frozen=True, slots=True)
class ClientSite:
    url: str
    """http://127.0.0.1:port"""
    other: str
    """http://localhost:port: another origin, and to Chromium another site."""


class _Handler(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        parts = urlsplit(self.path)
        extra: dict[str, str] = {}
        if parts.path == "/frames":
            inner = parse_qs(parts.query)["inner"][0]
            kind, body = HTML, f'<title>Frames</title><iframe name="inner" src="{inner}"></iframe>'.encode()
        elif parts.path in ("/endless", "/trickle"):
            self._endless(pause=0.0 if parts.path == "/endless" else 0.05)
            return
        elif parts.path == "/cookies":
            kind, body = "text/plain", self.headers.get("Cookie", "").encode()
        elif parts.path == "/report.txt":
            kind, body = "text/plain", REPORT
            extra["Content-Disposition"] = 'attachment; filename="report.txt"'
        else:
            kind, text = _PAGES.get(parts.path, (HTML, ""))
            body = text.encode()
        self.send_response(200 if body or parts.path == "/cookies" else 404)
        for name, value in {"Content-Type": kind, "Content-Length": str(len(body)), **extra}.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body)

    def _endless(self, pause: float) -> None:
        """Sends an endless file until the browser disconnects, with `pause` seconds after each chunk."""
        self.send_response(200)
        self.send_header("Content-Disposition", 'attachment; filename="endless.bin"')
        self.end_headers()
        while True:
            self.wfile.write(bytes(65_536 if pause == 0 else 1_024))
            time.sleep(pause)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the base class's name
        """Logs nothing."""


class _Server(ThreadingHTTPServer):
    daemon_threads = True

    def handle_error(self, request: object, client_address: object) -> None:
        """The browser disconnected."""


@contextmanager
def client_site() -> Iterator[ClientSite]:
    """Serves the site from threads, independent of the test's event loop."""
    servers = [_Server(("127.0.0.1", 0), _Handler) for _ in range(2)]
    threads = [threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True) for server in servers]
    for thread in threads:
        thread.start()
    try:
        first, second = (server.server_address[1] for server in servers)
        yield ClientSite(f"http://127.0.0.1:{first}", f"http://localhost:{second}")
    finally:
        for server in servers:
            server.shutdown()
            server.server_close()
        for thread in threads:
            thread.join()
