"""A fake of the HTTP API behind the SDK, and the command line run in this process."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import httpx
from typer.testing import CliRunner, Result

from browser_sessions.cli import app

KEY = "bs_key_that-must-not-be-shown"
IDS = ["ses_" + digit * 32 for digit in "abc"] + ["ses_ab" + "0" * 30]
LIVE_URL = "wss://browsers.example.com/v1/browser/sessions/x/live?ticket=t"
PROBLEM = {
    "type": "urn:browser-sessions:problem:session-not-found",
    "title": "T",
    "status": 404,
    "detail": "There is no such session.",
}


def session_body(session_id: str, status: str = "active") -> dict[str, Any]:
    return {
        "session_id": session_id,
        "status": status,
        "viewport_width": 1280,
        "viewport_height": 720,
        "user_agent": None,
        "created_at": "2026-01-31T12:00:00Z",
        "last_activity": "2026-01-31T12:00:00Z",
        "expires_at": None,
    }


ROW = {"owner_name": "ann", "title": "Cart", "url": "https://shop.example.com/cart", "responsive": True}


PAGES = ["4C1E" + "0" * 28, "4C1F" + "0" * 28]
PICTURE = b"\x89PNG\r\n\x1a\n\xff"
DOWNLOAD = {
    "download_id": "dl_1",
    "page_id": PAGES[0],
    "url": "https://example.com/a",
    "filename": "../../report\x1b.pdf",
    "state": "completed",
    "received_bytes": 9,
    "total_bytes": 9,
    "started_at": "2026-01-31T12:00:00Z",
}
UPLOAD = {"upload_id": "upl_1", "name": "a\x1b.txt", "size": 5, "path": "/work/uploads/upl_1/a.txt"}
HEALTH = {
    "status": "active",
    "browser_alive": True,
    "page_responsive": True,
    "latency_ms": 12.3,
    "pages": 1,
    "memory_bytes": None,
    "cpu_seconds": None,
    "connections": 0,
    "checked_at": "2026-01-31T12:00:00Z",
    "problem": None,
}


def event(number: int, kind: str, **data: Any) -> dict[str, Any]:
    at = f"2026-01-31T12:00:0{number}.118000Z"
    return {"id": f"5f1c09aa-{number}", "type": kind, "at": at, "session_id": IDS[0], "owner": "p", "data": data}


EVENTS = [
    event(1, "page.navigated", page_id=PAGES[0], url="https://example.org/", title="An example\x1b[2J"),
    event(2, "console", page_id=PAGES[0], level="error", text="two words", url=None, line=3),
    event(3, "session.ended", status="closed", reason="deleted"),
]


def page(page_id: str) -> dict[str, Any]:
    return {"page_id": page_id, "url": "u", "title": "t", "created_at": "2026-01-31T12:00:00Z", "crashed": False}


def problem(status: int, detail: str, slug: str = "some-problem") -> httpx.Response:
    kind = f"urn:browser-sessions:problem:{slug}"
    return httpx.Response(status, json={"type": kind, "title": "Problem", "status": status, "detail": detail})


class Service:
    """A fake service with four sessions. A response of `refuse` takes precedence."""

    def __init__(self) -> None:
        self.requests: list[httpx.Request] = []
        self.healthy = True
        self.pages = [page(each) for each in PAGES]
        self.idle_timeout: float | None = 300.0
        self.refuse: Callable[[httpx.Request], httpx.Response | None] = lambda request: None

    def __call__(self, request: httpx.Request) -> httpx.Response:
        self.requests.append(request)
        if (refusal := self.refuse(request)) is not None:
            return refusal
        path, method = request.url.path, request.method
        if path == "/v1/browser/sessions" and method == "POST":
            created = session_body(IDS[0]) | json.loads(request.content)
            return httpx.Response(201, json=created | {"connect_url": "ws://x/cdp?ticket=t", "live_url": LIVE_URL})
        if path == "/v1/browser/overview":
            return httpx.Response(200, json={"sessions": [ROW | session_body(each) for each in IDS]})
        if path == "/v1/browser/sessions":
            first = int(request.url.params.get("cursor", 0))
            limit = int(request.url.params["limit"])
            more = first + limit < len(IDS)
            page = [session_body(each) for each in IDS[first : first + limit]]
            return httpx.Response(200, json={"sessions": page, "next_cursor": str(first + limit) if more else None})
        if path.endswith("/details"):
            limits = {"idle_timeout_seconds": self.idle_timeout, "max_lifetime_seconds": 3600.0}
            return httpx.Response(200, json=DETAILS | session_body(IDS[0]) | limits)
        if path.endswith("/pages") and method == "GET":
            return httpx.Response(200, json={"pages": self.pages})
        if path.endswith(("/screenshot", "/pdf")):
            return httpx.Response(200, content=PICTURE)
        if path.endswith("/content"):
            found = {"url": "u", "title": "t", "content": "<p>"}
            return httpx.Response(200, json=found)
        if path.endswith("/evaluate"):
            return httpx.Response(200, text=f'{{"result": {json.loads(request.content)["expression"]}}}')
        if path.endswith("/downloads"):
            return httpx.Response(200, json={"downloads": [DOWNLOAD]})
        if path.endswith("/downloads/dl_1"):
            return httpx.Response(200, content=PICTURE)
        if path.endswith("/uploads") and method == "POST":
            made = {"name": request.url.params["name"], "size": len(request.content)}
            return httpx.Response(201, json=UPLOAD | made)
        if path.endswith("/uploads"):
            return httpx.Response(200, json={"uploads": [UPLOAD]})
        if path.endswith("/uploads/upl_1"):
            return httpx.Response(204)
        if path.endswith("/storage-state"):
            return httpx.Response(200, json={"cookies": [], "origins": []})
        if path.endswith("/history"):
            return httpx.Response(200, json={"events": EVENTS, "has_frame": False})
        if path.endswith("/health"):
            return httpx.Response(200, json=HEALTH | {"healthy": self.healthy})
        if method == "DELETE" and path.removeprefix("/v1/browser/sessions/") in IDS:
            return httpx.Response(200, json=session_body(path.rpartition("/")[2], "closed"))
        if path == "/v1/auth/keys" and method == "POST":
            return httpx.Response(201, json={**json.loads(request.content), **KEY_CREATED})
        if path == "/v1/auth/users" and method == "POST":
            made = {"username": "ann", "role": "client", "principal_id": "p", "created_at": "2026-01-31T12:00:00Z"}
            return httpx.Response(201, json=made)
        return httpx.Response(404, json=PROBLEM)


DETAILS: dict[str, Any] = {
    "end_reason": None,
    "ended_at": None,
    "isolation": "context",
    "node": "n1",
    "owner": "prn_1",
    "connections": 0,
    "pages": 1,
    "metadata": {},
    "connect_url": "wss://browsers.example.com/v1/browser/sessions/x/cdp?ticket=t",
    "live_url": LIVE_URL,
    "options": {},
    "key_egress": None,
    "traffic": None,
}
KEY_CREATED: dict[str, Any] = {
    "key_id": "k1",
    "principal_id": "p",
    "created_at": "2026-01-31T12:00:00Z",
    "revoked_at": None,
    "egress": {"allow": None, "deny": []},
    "key": "bs_k1_secret",
}


def bs(*args: str, typed: str | None = None) -> Result:
    result = CliRunner().invoke(app, list(args), input=typed)
    assert KEY not in result.output
    assert "Traceback" not in result.output
    return result
