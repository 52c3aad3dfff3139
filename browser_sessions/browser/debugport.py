"""The browser's debugging port: chosen by us, used by nobody else, known to listen."""

from __future__ import annotations

import asyncio
import http.client
import json
import socket
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

import psutil

from browser_sessions.browser.deadline import Deadline

PORT_SECONDS: Final = 1.0
"""How long after its start a browser may take to listen. The headless shell does so before it answers on its pipe, a
full Chromium some milliseconds later; one whose port was taken never does."""
ANSWER_SECONDS: Final = 3.0
"""For one HTTP answer of the browser on loopback; it takes 2 ms."""
_LOOK_SECONDS: Final = 0.005
_LOOPBACK: Final = "127.0.0.1"
_PORT_FILE: Final = "DevToolsActivePort"
"""In the profile folder: the port, and the path of the browser's WebSocket. A full Chromium with a pipe writes none."""


class PortTaken(Exception):
    """Somebody else got the port between our choosing it and Chromium's using it."""


def free_port() -> int:
    """A port on loopback that is free now. Somebody may take it before Chromium does: see `PortTaken`."""
    with socket.socket() as probe:
        probe.bind((_LOOPBACK, 0))
        return int(probe.getsockname()[1])


async def endpoint(pid: int, profile: Path, port: int) -> str:
    """The ws:// address of browser `pid`. Raises `PortTaken`, `psutil.Error`, `OSError`.

    With its port taken on 127.0.0.1, Chromium falls back to [::1] and says nothing: so the system is asked who listens.
    """
    deadline = Deadline(PORT_SECONDS)
    while not await asyncio.to_thread(_listens, pid, port):
        if deadline.left <= 0:
            raise PortTaken
        await asyncio.sleep(_LOOK_SECONDS)
    path = await asyncio.to_thread(_path_from_file, profile, port) or await asyncio.to_thread(_path_from_http, port)
    return f"ws://{_LOOPBACK}:{port}{path}"


def _listens(pid: int, port: int) -> bool:
    return any(
        each.status == psutil.CONN_LISTEN and each.laddr == (_LOOPBACK, port)
        for each in psutil.Process(pid).net_connections("tcp4")
    )


def _path_from_file(profile: Path, port: int) -> str | None:
    try:
        lines = (profile / _PORT_FILE).read_text().split()
    except FileNotFoundError:
        return None
    return lines[1] if len(lines) == 2 and lines[0] == str(port) else None


def _path_from_http(port: int) -> str:
    """As Chromium's discovery page tells it."""
    connection = http.client.HTTPConnection(_LOOPBACK, port, timeout=ANSWER_SECONDS)
    try:
        connection.request("GET", "/json/version")
        told = json.loads(connection.getresponse().read())
        return urlsplit(str(told["webSocketDebuggerUrl"])).path
    finally:
        connection.close()
