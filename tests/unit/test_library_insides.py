"""Private parts of libraries that we use still exist. When one of these tests fails, review the adapter that it names
before raising the upper bound in pyproject.toml."""

from __future__ import annotations

import tomllib
from importlib.metadata import version
from pathlib import Path
from types import ModuleType
from typing import Any

import playwright
import pytest
import uvicorn
from starlette.types import Receive, Scope, Send
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol
from uvicorn.protocols.websockets.websockets_sansio_impl import WebSocketsSansIOProtocol
from uvicorn.server import ServerState
from websockets import http11

from browser_sessions.chromium.driver import playwright_calls

ROOT = Path(__file__).resolve().parents[2]


async def _app(scope: Scope, receive: Receive, send: Send) -> None:
    """Never called."""


def _config() -> uvicorn.Config:
    return uvicorn.Config(_app, log_config=None)


async def _server() -> uvicorn.Server:
    return uvicorn.Server(_config())


async def _http() -> HttpToolsProtocol:
    return HttpToolsProtocol(_config(), ServerState(), {})


async def _handshake() -> ModuleType:
    return http11


async def _websocket() -> WebSocketsSansIOProtocol:
    return WebSocketsSansIOProtocol(_config(), ServerState(), {})


@pytest.mark.parametrize(
    ("make", "names"),
    [
        (_server, ("capture_signals", "shutdown", "should_exit", "force_exit")),
        (
            _http,
            (
                *("connection_made", "connection_lost", "data_received", "send_400_response"),
                *("on_message_begin", "on_header", "on_headers_complete", "on_body", "on_message_complete"),
                *("config", "client", "transport", "loop", "flow", "parser", "pipeline", "cycle", "headers"),
                *("expect_100_continue", "handle_websocket_upgrade", "_start_asgi_task"),
            ),
        ),
        (_handshake, ("MAX_LINE_LENGTH", "MAX_NUM_HEADERS")),
        (
            _websocket,
            (
                "connection_lost",
                "data_received",
                "handle_connect",
                "handshake_initiated",
                "loop",
                "run_asgi",
                "send",
                "stop_keepalive",
                "close_sent",
                "handshake_complete",
                "handle_parser_exception",
                "send_receive_event_to_app",
                "curr_msg_data_type",
                "keepalive_timeout",
                "disconnected",
                "connections",
                "transport",
            ),
        ),
    ],
    ids=["server", "http", "handshake", "websocket"],
)
async def test_uvicorn_has_what_its_adapter_uses(make: Any, names: tuple[str, ...]) -> None:
    owner = await make()
    missing = [name for name in names if not hasattr(owner, name)]
    assert not missing, (
        f"uvicorn {version('uvicorn')}, {owner!r} no longer has {', '.join(missing)}, which "
        "browser_sessions/uvicorn_adapter.py uses"
    )


@pytest.mark.parametrize("text", playwright_calls.PLAYWRIGHTS_MESSAGES)
def test_playwright_still_has_the_messages_that_errors_are_recognised_by(text: str) -> None:
    package = Path(playwright.__file__).parent
    sources = [*package.glob("_impl/*.py"), package / "driver/package/lib/coreBundle.js"]
    assert any(text in source.read_text(encoding="utf-8") for source in sources), (
        f"playwright {version('playwright')} no longer has the message {text!r}, "
        "by which browser_sessions/chromium/driver/playwright_calls.py recognises errors"
    )


@pytest.mark.parametrize("name", ["uvicorn", "playwright"])
def test_libraries_with_used_private_parts_have_an_upper_bound(name: str) -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    (requirement,) = [each for each in project["dependencies"] if each.startswith(name)]
    assert requirement.partition("<")[2].count(".") == 1, "up to the next minor version"
