"""A fake of the service behind the console: the same routes with canned responses.

For what the real service cannot do on demand: hostile rows, 200 sessions at once, a lost connection. It records every
call and every live message that the page sends.
"""

from __future__ import annotations

import asyncio
import functools
import json
import socket
import struct
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any, Final

import uvicorn
from fastapi import FastAPI, Request, Response, WebSocket, WebSocketDisconnect
from fastapi.responses import FileResponse, JSONResponse, StreamingResponse

from tests.harness.paths import ROOT

WEB: Final = ROOT / "browser_sessions" / "console" / "static"
KEY: Final = "bs_fake_key"
CSP: Final = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' blob: data:; connect-src 'self'; "
    "font-src 'self'; base-uri 'none'; form-action 'self'; frame-ancestors 'none'; "
    "require-trusted-types-for 'script'; report-uri /csp-report"
)
"""The service's policy plus Trusted Types: the console creates no HTML from text, so it needs no exception."""
FINAL: Final = ("closed", "expired", "crashed", "lost")
Row = dict[str, Any]


def stamp(seconds: float = 0) -> str:
    """The time `seconds` from now, as the API writes it."""
    return (datetime.now(UTC) + timedelta(seconds=seconds)).isoformat().replace("+00:00", "Z")


def row(session_id: str, **changed: Any) -> Row:
    """A row of the overview with every field."""
    return {
        "session_id": session_id, "status": "active", "owner": "p_anna", "owner_name": "anna",
        "title": "Example Domain", "url": "https://example.com/", "page_count": 1,
        "viewport_width": 1280, "viewport_height": 720, "created_at": stamp(-300), "last_activity": stamp(-5),
        "expires_at": stamp(295), "ended_at": None, "end_reason": None, "connections": 1, "viewers": 0,
        "controlled_by": None, "memory_bytes": 182_000_000, "responsive": True,
        "bytes_up": 41_000, "bytes_down": 2_300_000, "metadata": {}, "isolation": "context",
        "browser_id": "br_4f1c02a9",
    } | changed  # fmt: skip


@dataclass
class FakeConsole:
    """`frames` are JPEGs by session id, shown in a loop; those of `""` are for all other sessions."""

    rows: dict[str, Row] = field(default_factory=dict)
    frames: dict[str, list[bytes]] = field(default_factory=dict)
    sizes: dict[str, tuple[int, int]] = field(default_factory=dict)
    you: dict[str, str] = field(default_factory=lambda: {"principal_id": "p_olga", "name": "olga", "role": "operator"})
    pool: dict[str, Any] | None = None
    history: dict[str, Any] | None = None
    histories: dict[str, list[dict[str, Any]]] = field(default_factory=dict)
    pages: dict[str, list[dict[str, Any]]] = field(default_factory=dict)
    options: dict[str, Any] = field(default_factory=dict)
    frames_per_second: float = 2.0
    down: bool = False
    slow: asyncio.Event | None = None
    """When set, overviews (built at once) and DevTools are sent only after this event."""
    frozen: bool = False
    """While it is True, live sockets stay open and nothing goes through them."""
    signed_in: bool = False
    pings: int = 0
    sent: list[dict[str, Any]] = field(default_factory=list)
    calls: list[tuple[str, str]] = field(default_factory=list)
    violations: list[Any] = field(default_factory=list)
    thumbnails: dict[str, list[float]] = field(default_factory=dict)
    _seq: int = 0
    _streams: set[asyncio.Queue[str | None]] = field(default_factory=set)
    _sockets: dict[str, set[WebSocket]] = field(default_factory=dict)

    def emit(self, event: str, session_id: str | None = None, **data: Any) -> None:
        """Sends an event to every stream that is open."""
        built = self.event(event, session_id, **data)
        if session_id:
            self.histories.setdefault(session_id, []).append(built)
        text = f"id: {built['id']}\nevent: {event}\ndata: {json.dumps(built)}\n\n"
        for stream in self._streams:
            stream.put_nowait(text)

    def event(self, event: str, session_id: str | None, at: float = 0, **data: Any) -> dict[str, Any]:
        self._seq += 1
        owner = self.rows.get(session_id or "", {}).get("owner")
        return {
            "id": f"b1-{self._seq}", "type": event, "at": stamp(at), "session_id": session_id, "owner": owner,
            "data": data,
        }  # fmt: skip

    async def send_live(self, session_id: str, **message: Any) -> None:
        """Sends a message to every live socket of a session."""
        for viewer in list(self._sockets.get(session_id, ())):
            await viewer.send_text(json.dumps(message))

    async def break_off(self) -> None:
        """Simulates an outage: streams and live sockets end, calls fail until `down` is False again."""
        self.down = True
        for stream in self._streams:
            stream.put_nowait(None)
        for viewers in self._sockets.values():
            for viewer in list(viewers):
                await viewer.close(1001)

    def end(self, session_id: str, status: str = "closed", reason: str = "ended_by_request") -> None:
        self.rows[session_id] |= {
            "status": status, "end_reason": reason, "ended_at": stamp(), "connections": 0, "controlled_by": None,
        }  # fmt: skip
        self.emit("session.ended", session_id, status=status, reason=reason, seconds=300.0)

    def frame(self, session_id: str, n: int) -> bytes | None:
        frames = self.frames.get(session_id) or self.frames.get("")
        return frames[n % len(frames)] if frames else None

    async def stream(self, session_id: str | None) -> AsyncIterator[str]:
        queue: asyncio.Queue[str | None] = asyncio.Queue()
        self._streams.add(queue)
        try:
            yield ": hello\n\n"
            while (text := await queue.get()) is not None:
                if session_id is None or f'"{session_id}"' in text:
                    yield text
        finally:
            self._streams.discard(queue)

    async def live(self, socket: WebSocket, session_id: str) -> None:
        await socket.accept()
        self._sockets.setdefault(session_id, set()).add(socket)
        known = self.rows[session_id]
        pages = self.pages.get(session_id) or [
            {"page_id": "pg1", "url": known["url"], "title": known["title"], "crashed": False}
        ]
        by = known["controlled_by"]
        hello = {"type": "hello", "page_id": "pg1", "can_control": True, "controlled_by": by, "viewers": 1}
        await socket.send_text(json.dumps(hello))
        await socket.send_text(json.dumps({"type": "pages", "pages": pages, "page_id": "pg1"}))
        await socket.send_text(json.dumps({"type": "url", "url": known["url"], "title": known["title"]}))
        pump = asyncio.create_task(self._pump(socket, session_id))
        try:
            while True:
                message = json.loads(await socket.receive_text())
                if self.frozen:
                    continue
                if message["type"] == "ping":
                    self.pings += 1
                    await socket.send_text('{"type": "pong"}')
                else:
                    self.sent.append(message)
        except (WebSocketDisconnect, RuntimeError):
            pass
        finally:
            pump.cancel()
            self._sockets[session_id].discard(socket)

    async def _pump(self, socket: WebSocket, session_id: str) -> None:
        width, height = self.sizes.get(session_id, (1280, 720))
        n = 0
        while True:
            jpeg = self.frame(session_id, n)
            if jpeg and not self.frozen:
                head = {
                    "page_id": "pg1", "seq": n, "width": width, "height": height, "css_width": width,
                    "css_height": height, "scroll_x": 0, "scroll_y": 0, "scale": 1, "at": stamp(),
                }  # fmt: skip
                header = json.dumps(head).encode()
                await socket.send_bytes(struct.pack(">I", len(header)) + header + jpeg)
            n += 1
            await asyncio.sleep(1 / self.frames_per_second)


def problem(status: int, detail: str) -> JSONResponse:
    body = {"type": "about:blank", "title": "Problem", "status": status, "detail": detail}
    return JSONResponse(body, status, media_type="application/problem+json")


def make_app(console: FakeConsole) -> FastAPI:
    app = FastAPI(openapi_url=None)
    sessions = "/v1/browser/sessions/{session_id}"

    @app.middleware("http")
    async def guard(request: Request, call_next: Any) -> Response:
        path = request.url.path
        console.calls.append((request.method, path))
        if console.down and (path.startswith("/v1") or path == "/healthz"):
            return problem(503, "The service is draining.")
        public = not path.startswith("/v1") or (path == "/v1/auth/session" and request.method == "POST")
        if not public and not console.signed_in:
            return problem(401, "Sign in.")
        known = path.split("/")[4] if path.startswith("/v1/browser/sessions/") else None
        if known and known not in console.rows:
            return problem(404, "There is no such session.")
        response: Response = await call_next(request)
        response.headers["Content-Security-Policy"] = CSP
        return response

    @app.get("/healthz")
    async def healthz() -> dict[str, str]:
        return {"status": "ok"}

    @app.post("/csp-report")
    async def csp_report(request: Request) -> Response:
        console.violations.append(await request.json())
        return Response(status_code=204)

    @app.post("/v1/auth/session")
    async def sign_in(request: Request) -> Response:
        given = await request.json()
        if given.get("api_key") != KEY and given.get("password") != KEY:
            return problem(401, "Wrong.")
        console.signed_in = True
        return JSONResponse(console.you)

    @app.get("/v1/auth/session")
    async def who() -> dict[str, str]:
        return console.you

    @app.delete("/v1/auth/session")
    async def sign_out() -> Response:
        console.signed_in = False
        return Response(status_code=204)

    @app.get("/v1/browser/overview")
    async def overview() -> dict[str, Any]:
        response = {
            "sessions": [dict(each) for each in console.rows.values()], "pool": console.pool,
            "history": console.history, "you": console.you, "position": f"b1-{console._seq}",
        }  # fmt: skip
        if console.slow:
            await console.slow.wait()
        return response

    @app.get("/v1/browser/events")
    async def events() -> Response:
        return StreamingResponse(console.stream(None), media_type="text/event-stream")

    @app.get(sessions + "/events")
    async def session_events(session_id: str) -> Response:
        return StreamingResponse(console.stream(session_id), media_type="text/event-stream")

    @app.get(sessions + "/history")
    async def history(session_id: str) -> dict[str, Any]:
        return {"events": console.histories.get(session_id, []), "has_frame": console.frame(session_id, 0) is not None}

    @app.get(sessions + "/details")
    async def details(session_id: str) -> dict[str, Any]:
        known = console.rows[session_id]
        live = known["status"] not in FINAL
        host = f"ws://127.0.0.1/v1/browser/sessions/{session_id}"
        return known | {
            "user_agent": None, "node": "node-1", "pages": known["page_count"], "idle_timeout_seconds": 300.0,
            "max_lifetime_seconds": 3600.0, "options": console.options,
            "key_egress": None,
            "traffic": None,
            "connect_url": f"{host}/cdp?ticket=secret-ticket-of-this-session" if live else None,
            "live_url": f"{host}/live?ticket=secret" if live else None,
        }  # fmt: skip

    @app.get(sessions + "/health")
    async def health() -> dict[str, Any]:
        return {"healthy": True, "latency_ms": 12.4, "problem": None}

    @app.get(sessions + "/thumbnail")
    async def thumbnail(request: Request, session_id: str) -> Response:
        now = asyncio.get_running_loop().time()
        requested_at = console.thumbnails.setdefault(session_id, [])
        requested_at.append(now)
        jpeg = console.frame(session_id, int(now))
        if jpeg is None:
            return Response(status_code=204)
        tag = f'"{hash(jpeg) & 0xFFFFFFFF:x}"'
        if request.headers.get("if-none-match") == tag:
            return Response(status_code=304, headers={"ETag": tag})
        return Response(jpeg, media_type="image/jpeg", headers={"ETag": tag, "Cache-Control": "no-cache"})

    @app.get(sessions + "/frame")
    async def last_frame(session_id: str) -> Response:
        jpeg = console.frame(session_id, 0)
        return Response(jpeg, media_type="image/jpeg") if jpeg else problem(404, "No frame.")

    @app.post(sessions + "/control")
    async def control(request: Request, session_id: str) -> Response:
        taken = (await request.json())["action"] == "take"
        by = console.you["name"] if taken else None
        console.rows[session_id]["controlled_by"] = by
        await console.send_live(session_id, type="control", controlled_by=by, waiting=0)
        console.emit("control.taken" if taken else "control.released", session_id, by=console.you["name"])
        return JSONResponse({"controlled_by": by, "waiting": 0})

    @app.post(sessions + "/devtools")
    async def devtools(session_id: str) -> dict[str, str]:
        if console.slow:
            await console.slow.wait()
        return {"url": f"/v1/browser/sessions/{session_id}/devtools/inspector.html?ticket=t"}

    @app.get(sessions + "/devtools/inspector.html")
    async def inspector() -> Response:
        return Response("<title>DevTools of one session</title>", media_type="text/html")

    @app.delete(sessions)
    async def end(session_id: str) -> Row:
        console.end(session_id)
        return console.rows[session_id]

    @app.websocket(sessions + "/live")
    async def live(socket: WebSocket, session_id: str) -> None:
        if console.down or session_id not in console.rows:
            await socket.close(1011)
            return
        await console.live(socket, session_id)

    @app.get("/")
    @app.get("/sign-in")
    @app.get("/sessions/{session_id}")
    async def page() -> Response:
        return FileResponse(WEB / "index.html", headers={"Cache-Control": "no-cache"})

    @app.get("/assets/{path:path}")
    async def asset(path: str) -> Response:
        types = {".js": "text/javascript", ".css": "text/css", ".svg": "image/svg+xml"}
        file = WEB / "assets" / path
        return Response(file.read_bytes(), media_type=types[file.suffix], headers={"Cache-Control": "max-age=3600"})

    return app


@functools.cache
def listening() -> socket.socket:
    """All servers of this process have one address, for which the operator's browser has the scripts in its cache."""
    return socket.create_server(("127.0.0.1", 0))


@asynccontextmanager
async def serving(console: FakeConsole) -> AsyncIterator[str]:
    """Serves it on a port of loopback, one console at a time; yields the base URL."""
    config = uvicorn.Config(
        make_app(console), log_level="error", ws="websockets-sansio", timeout_graceful_shutdown=1, lifespan="off"
    )
    server = uvicorn.Server(config)
    task = asyncio.create_task(server.serve([listening().dup()]))
    try:
        yield f"http://127.0.0.1:{listening().getsockname()[1]}"
    finally:
        await console.break_off()
        server.should_exit = True
        await task
