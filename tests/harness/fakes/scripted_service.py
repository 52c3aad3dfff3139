"""A service that returns prepared responses, as a transport of httpx."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

import httpx

ID: Final = "ses_" + "0" * 32
SESSION: Final = {
    "session_id": ID,
    "status": "active",
    "viewport_width": 1280,
    "viewport_height": 720,
    "user_agent": None,
    "created_at": "2026-01-31T12:00:00Z",
    "last_activity": "2026-01-31T12:00:00Z",
    "expires_at": None,
}
CREATED: Final = SESSION | {"connect_url": "ws://x/cdp?ticket=secret", "live_url": "ws://x/live?ticket=secret"}
BUSY: Final = httpx.Response(503, headers={"Retry-After": "1"}, json={"detail": "The pool is full."})

Response = httpx.Response | Exception | Callable[[httpx.Request], httpx.Response]


class ScriptedService(httpx.AsyncBaseTransport, httpx.BaseTransport):
    """Returns the given responses in order and records the `requests`."""

    def __init__(self, *responses: Response) -> None:
        self.responses = list(responses)
        self.requests: list[httpx.Request] = []

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        await request.aread()
        return self._next(request)

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        request.read()
        return self._next(request)

    def _next(self, request: httpx.Request) -> httpx.Response:
        self.requests.append(request)
        response = self.responses.pop(0)
        if isinstance(response, Exception):
            raise response
        if isinstance(response, httpx.Response):
            return httpx.Response(response.status_code, headers=response.headers, content=response.content)
        return response(request)

    @property
    def lines(self) -> list[str]:
        return [f"{request.method} {request.url.raw_path.decode()}" for request in self.requests]


def ok(body: Any, status: int = 200) -> httpx.Response:
    return httpx.Response(status, json=body)
