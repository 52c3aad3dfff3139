"""One connection of a browser to its session's proxy: requests one by one, or a tunnel."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import Final, TypeAlias

from browser_sessions.egress.dialer import CONNECT_S, Connection, Denied, Dialer, Unreachable, Untrusted
from browser_sessions.egress.failures import Failures
from browser_sessions.egress.http.framing import Malformed, UntilEnd
from browser_sessions.egress.http.heads import RequestHead, ResponseHead, Target
from browser_sessions.egress.http.own_responses import ESTABLISHED, explanation, response
from browser_sessions.egress.relay_certificate import RelayCertificate, untrusted
from browser_sessions.egress.stream import ConnectionEnded, HeadTooLarge, HeadTooSlow, Stream
from browser_sessions.egress.upstream_handshake import MOST_INTERIM, WANTS_LOGIN
from browser_sessions.egress.usage import Count, Failed, Meter
from browser_sessions.loop_shares import Share

MOST_REQUEST_HEAD_BYTES: Final = 64 * 1024
MOST_RESPONSE_HEAD_BYTES: Final = 256 * 1024
"""As Chromium."""
HEAD_S: Final = 10.0
HALF_CLOSED_S: Final = 60.0
"""A connection whose one side has closed ends when nothing comes from the other for so long."""
_LINGER_S: Final = 2.0
"""How long a request's body is still read (and dropped) after an early response, which a reset would destroy."""

_WRONG_407: Final = "The origin asked for a proxy's user name and password, which only a proxy may."

ClientTls: TypeAlias = Mapping[tuple[str, int], ssl.SSLContext]
"""For the origins (host, port) that a session shows a client certificate."""


class _OverLimit(Exception):
    """A head exceeds what is left of the session's `max_traffic_bytes`."""


@dataclass(slots=True)
class _Origin:
    """The connection that a browser's connection uses for its current host."""

    target: Target
    connection: Connection
    up: Count
    down: Count
    used: bool = False

    @property
    def stream(self) -> Stream:
        return self.connection.stream


class Relay:
    """`dialer`, `meter` and `share` are the session's; None while the port belongs to none."""

    def __init__(
        self,
        client: Stream,
        dialer: Dialer | None,
        meter: Meter | None,
        share: Share | None,
        client_tls: ClientTls,
        certificate: RelayCertificate,
        failures: Failures,
    ) -> None:
        self._client = client
        self._dialer = dialer
        self._meter = meter
        self._share = share
        self._client_tls = client_tls
        self._certificate = certificate
        self._failures = failures
        self._origin: _Origin | None = None

    async def run(self) -> None:
        """Until both sides are closed. When cancelled, they are at once."""
        try:
            with suppress(ConnectionEnded, HeadTooSlow, _OverLimit):
                while await self._request():
                    await self._client.drained()
            await self._close()
        finally:
            self._client.reset()
            if self._origin is not None:
                self._origin.stream.reset()

    async def _request(self) -> bool:
        """One request. False if the connection is used up."""
        client = self._client
        try:
            request = RequestHead.parse(await client.read_head(MOST_REQUEST_HEAD_BYTES, HEAD_S))
            has_body = not request.framing().done
        except HeadTooLarge:
            return await self._respond(None, 431, "The request's head is too large", [])
        except Malformed as error:
            return await self._respond(None, 400, "The request is invalid", [f"{error}"])
        if client.transport.is_closing():
            return False  # its origin has ended: the browser sends the request again on a new connection
        keep_alive = request.keep_alive and not has_body
        dialer, meter = self._dialer, self._meter
        if dialer is None or meter is None:
            return await self._respond(request, 403, "Denied", ["No session has this port."], keep=keep_alive)
        try:
            if meter.over_limit:
                lines = ["The session has used all of its max_traffic_bytes."]
                return await self._respond(request, 403, "Traffic limit reached", lines, keep=keep_alive)
            tls = self._client_tls.get((request.target.host, request.target.port))
            if request.method == b"CONNECT" and tls is not None:
                await self._show_certificate(request, dialer, meter, tls)
                return False
            if request.method == b"CONNECT":
                origin = await self._dial(request, dialer, meter)
                client.write(ESTABLISHED)
                await both_ways(client, origin.stream, origin.up, origin.down)
                return False
            origin = self._reusable(request) or await self._dial(request, dialer, meter)
            return await self._exchange(request, origin)
        except Denied as denied:
            meter.refused(denied.refusal, asyncio.get_running_loop().time())
            lines = [*([denied.tried] if denied.tried else []), *explanation(denied.refusal)]
            return await self._respond(request, 403, "Destination denied", lines, keep=keep_alive)
        except Unreachable as error:
            if self._origin is not None:  # the rest of what it sent is no response to the next request
                self._origin.stream.reset()
                self._origin = None
            failed = Failed(request.target.host, request.target.port, str(error))
            meter.failed(failed, asyncio.get_running_loop().time())
            return await self._respond(request, 502, "No connection", [str(error)], keep=keep_alive)

    async def _dial(self, request: RequestHead, dialer: Dialer, meter: Meter) -> _Origin:
        if self._origin is not None:
            self._origin.stream.on_event = None
            self._origin.stream.close()
            self._origin = None
        tunnel = request.method == b"CONNECT" or request.wants_upgrade
        return self._connected(request, await dialer.dial(request.target, tunnel=tunnel), meter)

    def _connected(self, request: RequestHead, connection: Connection, meter: Meter) -> _Origin:
        self._origin = _Origin(request.target, connection, *meter.connected(request.target.host))
        return self._origin

    async def _show_certificate(self, request: RequestHead, dialer: Dialer, meter: Meter, tls: ssl.SSLContext) -> None:
        """TLS ends here, and begins again with the session's client certificate."""
        client = self._client
        try:
            origin = self._connected(request, await dialer.dial_tls(request.target, tls), meter)
            certificate = self._certificate
        except Untrusted:  # the browser is to say so
            origin, certificate = None, untrusted()
        client.write(ESTABLISHED)
        try:
            async with asyncio.timeout(CONNECT_S):
                await client.start_tls(certificate.tls)
        except (OSError, TimeoutError):
            return
        if origin is not None:
            await until_one_ends(client, origin.stream, origin.up, origin.down)

    def _reusable(self, request: RequestHead) -> _Origin | None:
        origin = self._origin
        if origin is None or origin.target != request.target or origin.stream.ended or origin.stream.unread:
            return None
        return None if request.wants_upgrade and origin.connection.to_proxy else origin

    async def _exchange(self, request: RequestHead, origin: _Origin) -> bool:
        """A plain request and its response. Raises `Unreachable` while the browser has none of it."""
        client, stream, connection = self._client, origin.stream, origin.connection
        reused, origin.used = origin.used, True
        stream.on_event = None
        head = request.forwarded(proxy_authorization=connection.proxy_authorization, to_proxy=connection.to_proxy)
        if origin.up(len(head)) < len(head):
            raise _OverLimit
        body = client.pipe(stream, request.framing(), origin.up, head=head, share=self._share)
        if not body.done():
            body.add_done_callback(lambda sent: stream.reset() if sent.exception() else None)
        watch = _ClientWatch(client, stream, body)
        try:
            try:
                response_head = await self._response_head(request, origin)
                framing = response_head.framing(request.method)
                if response_head.status == 101 and not body.done():
                    raise Malformed("it switches protocols within a request")
            except ConnectionEnded:
                if reused or client.ended:
                    raise
                raise Unreachable(f"{request.target.host} closed the connection without a response.") from None
            except (Malformed, HeadTooLarge) as error:
                reason = str(error) or "the response's head is too large"
                raise Unreachable(f"{request.target.host} does not speak HTTP: {reason}.") from None
            if origin.down(len(response_head.raw)) < len(response_head.raw):
                raise _OverLimit
            if response_head.status == 101:
                client.write(response_head.raw)
                watch.stop()
                await both_ways(client, stream, origin.up, origin.down)
                return False
            try:
                await stream.pipe(client, framing, origin.down, head=response_head.raw, share=self._share)
            except (ConnectionEnded, Malformed):
                client.reset()  # a proper end would make an incomplete body look complete
                return False
        finally:
            watch.stop()
        if not body.done():
            await self._linger()
            return False
        if framing.ends_with_connection or stream.unread or stream.ended:
            return False
        stream.on_event = client.close  # an unasked response, or the end: as the browser would see it without a proxy
        return request.keep_alive and response_head.keep_alive

    async def _response_head(self, request: RequestHead, origin: _Origin) -> ResponseHead:
        """The final one, or that of an upgrade; those before it have been passed on."""
        interim = 0
        while True:
            head = ResponseHead.parse(await origin.stream.read_head(MOST_RESPONSE_HEAD_BYTES))
            if head.status == 101 and not request.wants_upgrade:
                raise Malformed("it switches protocols unasked")
            if head.status == 407:  # the browser would take it for this proxy's
                raise Unreachable(f"The session's proxy {WANTS_LOGIN}" if origin.connection.to_proxy else _WRONG_407)
            if head.status == 101 or head.status >= 200:
                return head
            interim += 1
            if interim > MOST_INTERIM:
                raise Malformed(f"it sends more than {MOST_INTERIM} interim responses")
            if origin.down(len(head.raw)) < len(head.raw):
                raise _OverLimit
            self._client.write(head.raw)
            await self._client.drained()

    async def _respond(
        self, request: RequestHead | None, status: int, title: str, lines: list[str], *, keep: bool = False
    ) -> bool:
        method, text = b"" if request is None else request.method, " ".join(lines)
        if request is not None and method == b"CONNECT":
            self._failures.add_tunnel(request.target.host, request.target.port, text)
        response_id = self._failures.add_response(text)
        self._client.write(response(status, title, lines, response_id, method=method, keep_alive=keep))
        if not keep:
            await self._linger()
        return keep

    async def _linger(self) -> None:
        """Reads what the browser still sends, since closing at once could destroy the response on its way."""
        if self._client.pipe_out is not None:
            self._client.pipe_out.finish(ConnectionEnded())
        self._client.write_eof()
        with suppress(TimeoutError, ConnectionEnded):
            async with asyncio.timeout(_LINGER_S):
                await self._client.pipe(None, UntilEnd(), lambda count: count)

    async def _close(self) -> None:
        streams = [self._client, *([self._origin.stream] if self._origin else [])]
        for stream in streams:
            stream.on_event = None
            stream.close()
        with suppress(TimeoutError):
            async with asyncio.timeout(HALF_CLOSED_S):
                for stream in streams:
                    await stream.closed()


async def both_ways(client: Stream, origin: Stream, up: Count, down: Count) -> None:
    """Bytes in both directions until both have ended; one may end earlier than the other."""
    framings = UntilEnd(), UntilEnd()
    there, back = client.pipe(origin, framings[0], up), origin.pipe(client, framings[1], down)
    targets = {there: origin, back: client}
    waiting, moved = {there, back}, -1
    while waiting:
        half_closed = len(waiting) == 1
        ended, waiting = await asyncio.wait(
            waiting, timeout=HALF_CLOSED_S if half_closed else None, return_when=asyncio.FIRST_COMPLETED
        )
        before, moved = moved, framings[0].total + framings[1].total
        if any(way.exception() for way in ended) or (half_closed and not ended and moved == before):
            client.reset()
            origin.reset()
            return
        for way in ended:
            targets[way].write_eof()


async def until_one_ends(client: Stream, origin: Stream, up: Count, down: Count) -> None:
    """Bytes in both directions until one side has ended, then the other gets what is on its way."""
    ways = client.pipe(origin, UntilEnd(), up), origin.pipe(client, UntilEnd(), down)
    await asyncio.wait(ways, return_when=asyncio.FIRST_COMPLETED)
    for stream in (client, origin):
        stream.close()


class _ClientWatch:
    """While a response is awaited, tells the origin of the client's end as if there were no proxy."""

    def __init__(self, client: Stream, origin: Stream, body: asyncio.Future[None]) -> None:
        self._client = client
        self._origin = origin
        self._body = body
        self._timer: asyncio.TimerHandle | None = None
        client.on_event = self._look
        if client.ended:
            self._look()

    def stop(self) -> None:
        self._client.on_event = None
        if self._timer is not None:
            self._timer.cancel()

    def _look(self) -> None:
        if self._client.lost:
            self._origin.reset()
        elif self._client.ended and self._body.done() and self._timer is None:
            self._origin.write_eof()
            self._timer = asyncio.get_running_loop().call_later(HALF_CLOSED_S, self._origin.reset)
