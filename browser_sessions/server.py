"""Runs the application on uvicorn: the socket, the signals, and a drain that nothing cuts short."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import signal
import socket
from collections.abc import Callable, Iterator
from importlib.metadata import version
from types import FrameType
from typing import Final

import structlog
import uvicorn
from fastapi import FastAPI
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from browser_sessions import tracing
from browser_sessions.app import Service, build
from browser_sessions.domain.errors import SettingsError
from browser_sessions.gateway.websocket_takeover import TakeOverProtocol
from browser_sessions.settings import Settings

log = structlog.get_logger()

LAST_REQUESTS_S: Final = 3
"""How long answers under way may take after every session has ended: a stop takes five seconds beyond the drain at
most."""

KEEP_ALIVE_S: Final = 75
"""How long an idle connection stays: longer than the minute that proxies and clients keep theirs, so that they close
first and no request meets a connection that is just being closed."""
_IN_LOWER_CASE: Final = frozenset({b"get ", b"put "})
"""Methods of `/json/…` as tools may write them."""
VIEWER_MESSAGE_BYTES: Final = 2**20
"""Of what a live view's viewer sends; `live.viewer` has a lower limit of its own. CDP connections are taken over from
uvicorn and have the limit of `cdp.websocket_frames`."""


class Server(uvicorn.Server):
    """uvicorn, less its own idea of signals: the first SIGTERM or Ctrl-C drains, the second ends at once."""

    def __init__(self, config: uvicorn.Config, service: Service) -> None:
        super().__init__(config)
        self._service = service
        self._draining: asyncio.Task[None] | None = None

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self._signalled)
        try:
            yield
        finally:
            for number in (signal.SIGTERM, signal.SIGINT):
                loop.remove_signal_handler(number)

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        self._signalled()

    def _signalled(self) -> None:
        if self._draining is None:
            log.info("server.draining", seconds=self._service.settings.drain_seconds)
            self._service.pool.drain()
            self._draining = asyncio.create_task(self._drain())
        else:
            log.warning("server.stopping_now", why="a second signal came")
            self._service.pool.fleet.kill()
            self.force_exit = True
            self.should_exit = True

    async def _drain(self) -> None:
        try:
            await self._service.drain()
        finally:
            self.should_exit = True

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        await super().shutdown(sockets)
        if self.force_exit:  # uvicorn leaves the lifespan hanging then, and its end is a traceback
            await self.lifespan.shutdown()


class AnyCaseProtocol(HttpToolsProtocol):
    """uvicorn's own, for tools that write `get /json/version`: Chromium takes that, and a strict parser does not.

    Only the first request of a connection is looked at: what comes later may be the middle of a body.
    """

    _begun = False

    def data_received(self, data: bytes) -> None:
        if not self._begun:
            self._begun = True
            if data[:4] in _IN_LOWER_CASE:
                data = data[:4].upper() + data[4:]
        super().data_received(data)


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


def uvicorn_config(app: FastAPI) -> uvicorn.Config:
    """How uvicorn runs the application: our own log, no banner, no trust in headers that nobody vouched for."""
    return uvicorn.Config(
        app,
        http=AnyCaseProtocol,
        ws=TakeOverProtocol,
        log_config=None,
        access_log=False,
        server_header=False,
        proxy_headers=False,
        timeout_graceful_shutdown=LAST_REQUESTS_S,
        timeout_keep_alive=KEEP_ALIVE_S,
        ws_max_size=VIEWER_MESSAGE_BYTES,
        ws_per_message_deflate=False,
    )


async def serve(settings: Settings, on_ready: Callable[[Service, str], None]) -> None:
    """Serves until a signal ends it. `on_ready` hears the node and its address once sessions are taken.

    Raises what `Service.start` raises, and `SettingsError` when the port is taken.
    """
    listener = listen(settings.host, settings.port)
    service = Service(settings)
    tracing.start(version("browser-sessions"), service.pool.node)
    try:
        await service.start()
        host, port = listener.getsockname()[:2]
        shown = f"[{host}]" if ":" in host else host
        on_ready(service, f"http://{shown}:{port}")
        await Server(uvicorn_config(build(settings, service)), service).serve(sockets=[listener])
    finally:
        await service.stop()
        await tracing.stop()
        listener.close()
