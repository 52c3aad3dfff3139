"""A WebSocket on loopback for Playwright's driver, which can speak to a browser in no other way.

Every connection is announced first, and needs a secret of its own in its path, which is good for that connection alone.
Pages of the machine's browsers reach the port too: they get nothing from it.
"""

from __future__ import annotations

import asyncio
import contextlib
import hmac
import http
import logging
import secrets
from collections.abc import Iterator
from typing import Final, cast

from websockets.http11 import Request
from websockets.server import ServerProtocol

SECRET_BYTES: Final = 32
HANDSHAKE_S: Final = 5.0
"""For a handshake on loopback, which takes a millisecond."""
STRANGERS_AT_MOST: Final = 64
"""Connections without a handshake at once; beyond, they are closed at once."""
_GET: Final = b"GET "
_HOST: Final = "127.0.0.1"
_UNLOGGED: Final = logging.Logger("handshake", level=logging.CRITICAL + 1)  # noqa: LOG001 - no configuration finds it
"""Requests hold the secret, and the library writes them to its log at the level DEBUG."""


class LocalEndpoint:
    """Of one service. Made with `open`."""

    def __init__(self) -> None:
        self._server: asyncio.Server | None = None
        self._expected: dict[str, asyncio.Protocol] = {}
        """By path."""
        self._strangers: set[_Handshake] = set()

    def __repr__(self) -> str:
        return f"<LocalEndpoint, {len(self._expected)} expected>"

    @classmethod
    async def open(cls) -> LocalEndpoint:
        """Raises `OSError`."""
        endpoint = cls()
        endpoint._server = await asyncio.get_running_loop().create_server(lambda: _Handshake(endpoint), _HOST, 0)
        return endpoint

    @contextlib.contextmanager
    def expect(self, socket: asyncio.Protocol) -> Iterator[str]:
        """The address that `socket` is reached at, once, while the block runs. It holds a secret: not for logs."""
        assert self._server is not None, "made with open()"
        path = f"/{secrets.token_urlsafe(SECRET_BYTES)}"
        self._expected[path] = socket
        try:
            yield f"ws://{_HOST}:{self._server.sockets[0].getsockname()[1]}{path}"
        finally:
            self._expected.pop(path, None)

    def close(self) -> None:
        if self._server is not None:
            self._server.close()
        for stranger in tuple(self._strangers):
            stranger.abort()

    # -- for handshakes --------------------------------------------------------------------------------------------

    def came(self, stranger: _Handshake) -> bool:
        """False when there are too many already."""
        self._strangers.add(stranger)
        return len(self._strangers) <= STRANGERS_AT_MOST

    def left(self, stranger: _Handshake) -> None:
        self._strangers.discard(stranger)

    def take(self, request: Request) -> asyncio.Protocol | None:
        """Who is expected with this request; None: nobody. A page's request always has an origin, the driver's none."""
        found = None
        for path in tuple(self._expected):
            if hmac.compare_digest(path.encode(), request.path.encode()):
                found = path
        return None if found is None or "Origin" in request.headers else self._expected.pop(found)


class _Handshake(asyncio.Protocol):
    """A connection until its handshake is made or refused."""

    def __init__(self, endpoint: LocalEndpoint) -> None:
        self._endpoint = endpoint
        self._protocol = ServerProtocol(logger=_UNLOGGED)
        self._begun = False
        self._transport: asyncio.Transport | None = None
        self._timer: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)  # uvloop's is none by its class
        if not self._endpoint.came(self):
            self._transport.abort()
            return
        self._timer = asyncio.get_running_loop().call_later(HANDSHAKE_S, self._transport.abort)

    def data_received(self, data: bytes) -> None:
        transport = self._transport
        assert transport is not None
        if not self._begun and not data.startswith(_GET[: len(data)]):
            transport.abort()  # no HTTP: it would be waited for until its time is over
            return
        self._begun = True
        self._protocol.receive_data(data)
        requests = [event for event in self._protocol.events_received() if isinstance(event, Request)]
        if requests:
            self._answer(requests[0], transport)
        elif self._protocol.handshake_exc is not None:
            transport.close()

    def connection_lost(self, exc: Exception | None) -> None:
        self._done()

    def abort(self) -> None:
        if self._transport is not None:
            self._transport.abort()

    def _answer(self, request: Request, transport: asyncio.Transport) -> None:
        socket = self._endpoint.take(request)
        if socket is None:
            response = self._protocol.reject(http.HTTPStatus.NOT_FOUND, "Nobody is expected here.\n")
        else:
            response = self._protocol.accept(request)
        self._protocol.send_response(response)
        for data in self._protocol.data_to_send():
            if data:
                transport.write(data)
        if socket is None or response.status_code != http.HTTPStatus.SWITCHING_PROTOCOLS:
            transport.close()
            return
        self._done()
        transport.set_protocol(socket)
        socket.connection_made(transport)

    def _done(self) -> None:
        self._endpoint.left(self)
        if self._timer is not None:
            self._timer.cancel()
