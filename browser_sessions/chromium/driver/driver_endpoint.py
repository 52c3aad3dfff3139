"""A loopback WebSocket server for Playwright's driver, which can connect to a browser in no other way.

Each connection is announced first and authenticates with a one-time secret in its path, because pages of browsers on
this machine can reach the port too.
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
"""Limit for a handshake on loopback, which takes a millisecond."""
MAX_HANDSHAKES: Final = 64
"""Concurrent connections before their handshake. Further ones are closed at once."""
_GET: Final = b"GET "
_HOST: Final = "127.0.0.1"
_UNLOGGED: Final = logging.Logger("handshake", level=logging.CRITICAL + 1)  # noqa: LOG001 - must not be configurable
"""The library logs requests, which contain the secret, at level DEBUG."""


class LocalEndpoint:
    """One per service. Create it with `open`."""

    def __init__(self, server: asyncio.Server) -> None:
        self._server = server
        self._expected: dict[str, asyncio.Protocol] = {}
        """By path."""
        self._handshakes: set[_Handshake] = set()

    def __repr__(self) -> str:
        return f"<LocalEndpoint, {len(self._expected)} expected>"

    @classmethod
    async def open(cls) -> LocalEndpoint:
        """Raises `OSError`."""
        endpoint: LocalEndpoint
        loop = asyncio.get_running_loop()
        server = await loop.create_server(lambda: _Handshake(endpoint), _HOST, 0, start_serving=False)
        endpoint = cls(server)
        await server.start_serving()
        return endpoint

    @property
    def port(self) -> int:
        return int(self._server.sockets[0].getsockname()[1])

    @contextlib.contextmanager
    def expect(self, socket: asyncio.Protocol) -> Iterator[str]:
        """The address at which one connection is passed to `socket`, valid within the block. Contains a secret: never
        log it."""
        path = f"/{secrets.token_urlsafe(SECRET_BYTES)}"
        self._expected[path] = socket
        try:
            yield f"ws://{_HOST}:{self.port}{path}"
        finally:
            self._expected.pop(path, None)

    def close(self) -> None:
        self._server.close()
        for handshake in tuple(self._handshakes):
            handshake.abort()

    # -- for handshakes --------------------------------------------------------------------------------------------

    def add(self, handshake: _Handshake) -> bool:
        """Returns False if there are too many."""
        self._handshakes.add(handshake)
        return len(self._handshakes) <= MAX_HANDSHAKES

    def remove(self, handshake: _Handshake) -> None:
        self._handshakes.discard(handshake)

    def take(self, request: Request) -> asyncio.Protocol | None:
        """The protocol that this connection is for, None if it was not announced. Requests from pages always have an
        `Origin` header, the driver's never do."""
        found = None
        for path in tuple(self._expected):
            if hmac.compare_digest(path.encode(), request.path.encode()):
                found = path
        return None if found is None or "Origin" in request.headers else self._expected.pop(found)


class _Handshake(asyncio.Protocol):
    """A connection until its handshake is complete or rejected."""

    def __init__(self, endpoint: LocalEndpoint) -> None:
        self._endpoint = endpoint
        self._protocol = ServerProtocol(logger=_UNLOGGED)
        self._started = False
        self._transport: asyncio.Transport | None = None
        self._timer: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)  # uvloop's transports do not subclass it
        if not self._endpoint.add(self):
            self._transport.abort()
            return
        self._timer = asyncio.get_running_loop().call_later(HANDSHAKE_S, self._transport.abort)

    def data_received(self, data: bytes) -> None:
        transport = self._transport
        assert transport is not None
        if not self._started and not data.startswith(_GET[: len(data)]):
            transport.abort()  # not HTTP: the parser would wait until the timeout
            return
        self._started = True
        self._protocol.receive_data(data)
        requests = [event for event in self._protocol.events_received() if isinstance(event, Request)]
        if requests:
            self._respond(requests[0], transport)
        elif self._protocol.handshake_exc is not None:
            transport.close()

    def connection_lost(self, exc: Exception | None) -> None:
        self._done()

    def abort(self) -> None:
        if self._transport is not None:
            self._transport.abort()

    def _respond(self, request: Request, transport: asyncio.Transport) -> None:
        socket = self._endpoint.take(request)
        if socket is None:
            response = self._protocol.reject(http.HTTPStatus.NOT_FOUND, "Not found.\n")
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
        self._endpoint.remove(self)
        if self._timer is not None:
            self._timer.cancel()
