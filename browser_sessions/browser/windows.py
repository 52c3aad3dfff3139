"""Holds Playwright's driver back from letting a window run that a page has opened.

Chromium pauses a new window for every connection that auto-attaches with `waitForDebuggerOnStart`. A window that is
made from outside runs when all of them have resumed it; one that a page opens (`window.open`) waits in its renderer,
and runs when the first one has (`content/browser/devtools/protocol/target_handler.cc`). Playwright's driver is one of
them, has no option for it, and is done before a client has so much as heard of the window. So `driver_hook.cjs` sits
in the driver and asks here first, over a socket that only we know the name of; whoever keeps windows
(`BrowserProcess.keep_windows`) answers when all is in place.
"""

from __future__ import annotations

import asyncio
import os
import secrets
import socket
import struct
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Final, cast

from browser_sessions.model.ports import WindowKeeper

HOOK: Final = Path(__file__).with_name("driver_hook.cjs")
LINE_BYTES: Final = 200
"""A process group and a target's id have fifty."""
_CREDENTIALS: Final = struct.Struct("3i")
"""`struct ucred` of unix(7): pid, uid, gid."""


class Windows:
    """One driver's hook. Made with `open`; nothing is held when the hook is not there."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._keepers: dict[int, WindowKeeper] = {}
        """By the process group of the browser, whose leader the driver has started."""
        self._server: asyncio.AbstractServer | None = None
        self._hook: _Hook | None = None

    def __repr__(self) -> str:
        return f"<Windows {'held' if self.held else 'not held'}, {len(self._keepers)} keepers>"

    @classmethod
    async def open(cls) -> Windows:
        """Listens on a socket without a file (unix(7), "abstract"). Raises `OSError`."""
        windows = cls(f"browser-sessions-{secrets.token_hex(16)}")
        listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_NONBLOCK)
        try:
            listener.bind(f"\0{windows._name}")
            loop = asyncio.get_running_loop()
            windows._server = await loop.create_unix_server(lambda: _Hook(windows), sock=listener)
        except BaseException:
            listener.close()
            raise
        return windows

    @property
    def held(self) -> bool:
        """Whether the driver asks before it lets a window run."""
        return self._hook is not None

    @property
    def environment(self) -> Mapping[str, str]:
        """What makes a driver ask."""
        path = str(HOOK).replace("\\", "\\\\").replace('"', '\\"')
        return {"BROWSER_SESSIONS_WINDOWS": self._name, "NODE_OPTIONS": f'--require "{path}"'}

    def keep(self, process_group: int, keeper: WindowKeeper | None) -> None:
        """As `BrowserProcess.keep_windows`."""
        if keeper is None:
            self._keepers.pop(process_group, None)
        else:
            self._keepers[process_group] = keeper

    def close(self) -> None:
        self._keepers.clear()
        if self._server is not None:
            self._server.close()
        if self._hook is not None:
            self._hook.close()

    def came(self, hook: _Hook) -> None:
        self._hook = hook

    def went(self, hook: _Hook) -> None:
        if self._hook is hook:
            self._hook = None

    def asked(self, hook: _Hook, line: bytes) -> None:
        process_group, _, target_id = line.decode("latin-1").partition(" ")
        keeper = self._keepers.get(int(process_group)) if process_group.isdigit() else None
        if keeper is None:
            hook.let_go(line)
        else:
            keeper(target_id, partial(hook.let_go, line))


class _Hook(asyncio.Protocol):
    """The driver's end of the line: it sends the name of a window, and gets the name back when the window may run."""

    def __init__(self, windows: Windows) -> None:
        self._windows = windows
        self._transport: asyncio.Transport | None = None
        self._rest = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        peer = transport.get_extra_info("socket").getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _CREDENTIALS.size)
        if _CREDENTIALS.unpack(peer)[1] != os.getuid():
            transport.close()
            return
        self._transport = cast(asyncio.Transport, transport)  # uvloop's is none by its class
        self._windows.came(self)

    def data_received(self, data: bytes) -> None:
        *lines, self._rest = (self._rest + data).split(b"\n")
        if len(self._rest) > LINE_BYTES:
            self.close()
            return
        for line in lines:
            self._windows.asked(self, line)

    def connection_lost(self, exc: Exception | None) -> None:
        self._transport = None
        self._windows.went(self)

    def let_go(self, line: bytes) -> None:
        if self._transport is not None:
            self._transport.write(line + b"\n")

    def close(self) -> None:
        if self._transport is not None:
            self._transport.close()
