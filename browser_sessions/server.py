"""Runs the application on uvicorn: the socket, the signals, and a drain that nothing cuts short."""

from __future__ import annotations

import asyncio
import contextlib
import ctypes
import errno
import gc
import socket
from collections.abc import Callable
from importlib.metadata import version
from typing import Final

import structlog
import uvicorn
from fastapi import FastAPI

from browser_sessions import tracing
from browser_sessions.app import Service, build
from browser_sessions.connections import Connections
from browser_sessions.domain.errors import SettingsError
from browser_sessions.loop_priority import raise_priority
from browser_sessions.loop_shares import Shares
from browser_sessions.settings import Settings
from browser_sessions.uvicorn_adapter import SIGNALS, Config, Server

log = structlog.get_logger()

LAST_REQUESTS_S: Final = 3
"""Seconds that responses under way may take after every session has ended."""

KEEP_ALIVE_S: Final = 75
"""Seconds that an idle connection stays open: longer than the minute that proxies and clients keep theirs, so that they
close first and no request meets a connection that is being closed."""
VIEWER_MESSAGE_BYTES: Final = 2**20
"""Of one message of a live view's viewer; `live.viewer` has a lower limit. CDP connections are taken over from uvicorn
and have the limit of `cdp.websocket_frames`."""

MMAP_BYTES: Final = 2**20
"""Blocks of this size and more are returned to the system as soon as they are freed."""
_M_TRIM_THRESHOLD: Final = -1  # <malloc.h>
_M_MMAP_THRESHOLD: Final = -3

ACCEPTORS: Final = 4
"""uvloop accepts one connection for each listener in an iteration of the loop. More of them are asked in vain for each
connection, at a microsecond each."""


class DrainingServer(Server):
    """The first signal drains, the second stops at once."""

    def __init__(self, config: uvicorn.Config, service: Service) -> None:
        super().__init__(config)
        self._service = service
        self._draining: asyncio.Task[None] | None = None

    def signalled(self) -> None:
        if self._draining is None:
            log.info("server.draining", seconds=self._service.settings.drain_seconds)
            self._service.pool.drain()
            self._draining = asyncio.create_task(self._drain())
        else:
            log.warning("server.stopping_now", why="a second signal came")
            self._service.pool.fleet.kill()
            self.exit_now()

    async def _drain(self) -> None:
        try:
            await self._service.drain()
        finally:
            self.exit()


class _Start:
    """Handles signals until uvicorn does: the first cancels the current task, the second kills every Chromium."""

    def __init__(self, service: Service) -> None:
        self.cancelled = False
        self._service = service
        self._task = asyncio.current_task()
        for number in SIGNALS:
            asyncio.get_running_loop().add_signal_handler(number, self._signalled)

    def _signalled(self) -> None:
        if self.cancelled or self._task is None:
            self._service.pool.fleet.kill()
        else:
            self.cancelled = True
            self._task.cancel()


def listen(host: str, port: int) -> socket.socket:
    """A listening socket. Raises `SettingsError` when the port is taken or the address is not this machine's."""
    try:
        family = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0][0]
        listener = socket.socket(family, socket.SOCK_STREAM)
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind((host, port))
        listener.listen(2048)
    except OSError as error:
        if error.errno in (errno.EADDRNOTAVAIL, errno.EAFNOSUPPORT) or isinstance(error, socket.gaierror):
            raise SettingsError(
                f"BROWSER_SESSIONS_HOST: {host} is no address of this machine ({error.strerror or error}). "
                "Name one of its own with --host: 127.0.0.1 for itself alone, 0.0.0.0 for all."
            ) from None
        why = "is in use" if error.errno == errno.EADDRINUSE else f"cannot be used ({error.strerror or error})"
        raise SettingsError(
            f"BROWSER_SESSIONS_PORT: {host}:{port} {why}. Name another with --port, or 0 for any that is free."
        ) from None
    return listener


def uvicorn_config(app: FastAPI, settings: Settings, shares: Shares) -> Config:
    """How uvicorn runs the application: our own log, no banner; `api.middleware.origin` reads proxy headers."""
    return Config(
        app,
        Connections(settings.max_connections, settings.connections_per_address, settings.trusted_proxies),
        shares,
        log_config=None,
        access_log=False,
        server_header=False,
        proxy_headers=False,
        timeout_graceful_shutdown=LAST_REQUESTS_S,
        timeout_keep_alive=KEEP_ALIVE_S,
        ws_max_size=VIEWER_MESSAGE_BYTES,
        ws_per_message_deflate=False,
    )


def return_large_blocks() -> None:
    """glibc raises its threshold up to 32 MiB as larger blocks are freed, and then keeps them in a heap for each
    thread: after large responses, 100 MiB and more. Other C libraries have no such call."""
    with contextlib.suppress(OSError, AttributeError):
        mallopt = ctypes.CDLL(None).mallopt
        mallopt(_M_MMAP_THRESHOLD, MMAP_BYTES)
        mallopt(_M_TRIM_THRESHOLD, 2 * MMAP_BYTES)  # glibc's own ratio; 128 KiB otherwise, now that it adapts no more


async def serve(settings: Settings, on_ready: Callable[[Service, str], None]) -> None:
    """Serves until a signal ends it, also during the start. `on_ready` is called with the node and its URL once it
    accepts sessions.

    Raises what `Service.start` raises, and `SettingsError` when the port is taken.
    """
    listener = listen(settings.host, settings.port)
    raise_priority()
    return_large_blocks()
    service = Service(settings)
    tracing.start(version("browser-sessions"), service.pool.node)
    start = _Start(service)
    try:
        host, port = listener.getsockname()[:2]
        service.own_ports.add(port)
        await service.start()
        server = DrainingServer(uvicorn_config(build(settings, service), settings, service.shares), service)
        gc.collect()
        gc.freeze()  # what stays for ever: a full collection of its 110,000 objects would block the loop for 50 ms
        shown = f"[{host}]" if ":" in host else host
        on_ready(service, f"http://{shown}:{port}")
        await server.serve(sockets=[listener, *(listener.dup() for _ in range(ACCEPTORS - 1))])
    except asyncio.CancelledError:
        if not start.cancelled:
            raise
        log.info("server.start_cancelled", why="a signal came")
    finally:
        await service.stop()
        await tracing.stop()
        listener.close()
