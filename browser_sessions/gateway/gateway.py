"""All CDP clients of this node: opens their relays, and closes clients that are silent or too slow."""

from __future__ import annotations

import asyncio
from typing import Final

import structlog

from browser_sessions.background_tasks import every
from browser_sessions.cdp import BrowserSession, CdpClosed, CdpError
from browser_sessions.cdp.websocket import TOO_SLOW, ClientSocket, PauseReason
from browser_sessions.domain.close_codes import PING_TIMEOUT
from browser_sessions.domain.errors import BrowserGone, Conflict
from browser_sessions.domain.principal import Principal
from browser_sessions.domain.session_spec import Isolation
from browser_sessions.gateway.policy.client_options import Options
from browser_sessions.gateway.relay import CALL_TIMEOUT_S, Relay, Traffic
from browser_sessions.gateway.shared_session import SharedSession
from browser_sessions.loop_shares import Shares
from browser_sessions.pool.manager import Pool
from browser_sessions.telemetry import Metrics

TAKE_OVER: Final = "browser_sessions.take_over"
"""The key in a WebSocket scope's `extensions` under which the server puts the function that hands its transport over:
docs/decisions/0003-gateway-data-path.md."""
TICK_S: Final = 1.0
PING_AFTER_S: Final = 20.0
"""Seconds of silence before a ping. A pong does not count as activity of the session."""
SILENCE_TIMEOUT_S: Final = 50.0
"""Then the connection counts as half-open: one is found within a minute."""
STALL_TIMEOUT_S: Final = 30.0
"""How long a client may read nothing while messages wait for it (docs/limits.md)."""
MAX_PRINCIPAL_BYTES: Final = 48 * 2**20
"""Unread messages for all clients of a principal's sessions, besides the largest message of each: half as much again as
the limit of one client. A client that reads has little more than one message in transit, so hundreds stay far below.

The same again for what they send, besides the largest: incomplete messages, and commands that wait for control."""
MAX_UNREAD_BYTES: Final = 96 * 2**20
"""All unread messages for a principal's clients, besides the largest of them all: a client whose next large one would
exceed it is closed. More than what clients that read have in transit."""
MAX_CLIENTS: Final = 16
"""Clients of one session: a few tools and a person's DevTools; each uses memory in the browser."""

log = structlog.get_logger()


class Gateway:
    """The CDP clients of the sessions of one pool."""

    def __init__(self, pool: Pool, metrics: Metrics, shares: Shares) -> None:
        self._pool = pool
        self._shares = shares
        self._metrics = metrics
        self._shared: dict[str, SharedSession] = {}
        """Sessions with clients, by session id."""
        self._relays: set[Relay] = set()
        self._traffic = Traffic()
        self._reported = Traffic()

    def __repr__(self) -> str:
        return f"<Gateway {len(self._shared)} sessions, {len(self._relays)} clients>"

    async def open(self, session_id: str, principal: Principal, page_id: str | None = None) -> Relay:
        """A relay to a session, or to one of its pages, that is connected to the browser but not to its client yet: the
        caller hands `relay.socket` the transport and calls `begin`. Raises `WrongState`, `SessionNotFound`,
        `PageNotFound`, `BrowserGone`, `Conflict` (too many clients)."""
        live = self._pool.registry.live(session_id)
        if live.clients >= MAX_CLIENTS:
            raise Conflict(
                f"The session has reached its limit of {MAX_CLIENTS} clients. Close one first.", session_id=session_id
            )
        handle, cdp = live.opened.context, live.opened.process.cdp
        options = Options(
            own_browser=live.session.spec.isolation is Isolation.BROWSER,
            client_certificates=bool(live.session.spec.client_certificates),
            uploads=handle.uploads.paths,
        )
        devtools_of = None if page_id is None else principal.principal_id

        def make(session: BrowserSession) -> Relay:
            shared = self._shared.get(session_id)
            if shared is None or not shared.clients:
                shared = self._shared[session_id] = SharedSession(
                    cdp, handle.context_id, handle.proxy or live.session.spec.proxy
                )
            share = self._shares.of(f"cdp {principal.principal_id}")
            return Relay(session, live, handle, shared, options, self._pool.clock, self._traffic, share, devtools_of)

        try:
            relay = await cdp.connect(make, timeout=CALL_TIMEOUT_S)
        except (CdpClosed, CdpError, TimeoutError) as error:
            raise BrowserGone("The browser does not accept a new connection. Try again.") from error
        try:
            live.attach(relay)
            if page_id is not None:
                await relay.attach_root(page_id)
        except BaseException:
            relay.client_gone()
            raise
        self._relays.add(relay)
        relay.socket.on_backlog = lambda: self._check_principal(live.session.owner)
        relay.socket.may_send = lambda size: self._has_room(live.session.owner, size)
        relay.socket.on_half_message = lambda: self._pace(live.session.owner)
        return relay

    def session_of(self, page_id: str) -> str | None:
        """The session with clients that has this page, in its own context or in one that a client has created."""
        found = (each for each, shared in self._shared.items() if shared.contexts.target(page_id) is not None)
        return next(found, None)

    async def run(self) -> None:
        """Until cancelled."""
        await every(TICK_S, self._tick)

    async def _tick(self) -> None:
        """Sends pings, closes clients that timed out, drops sessions without clients, updates metrics."""
        now = asyncio.get_running_loop().time()
        for relay in tuple(self._relays):
            if relay.gone:
                if not relay.socket.waiting:  # until then its memory counts
                    self._relays.discard(relay)
                continue
            side = relay.socket
            if side.stalled_for(now) > STALL_TIMEOUT_S:
                side.close(TOO_SLOW, "the client does not read")
            elif not side.paused and now - side.last_received > SILENCE_TIMEOUT_S:
                log.info("gateway.client_silent", session_id=relay.live.session.session_id)
                side.close(PING_TIMEOUT, "the client does not respond to pings")
            elif not side.paused and now - side.last_received > PING_AFTER_S:
                side.ping()
        for owner in {relay.live.session.owner for relay in self._relays if relay.socket.half_message}:
            self._pace(owner)
        self._shared = {session_id: shared for session_id, shared in self._shared.items() if shared.clients}
        self._update_metrics()

    def _check_principal(self, owner: str) -> None:
        """Closes the owner's client with the most unread messages if all of its clients exceed the limit together."""
        sockets = [relay.socket for relay in self._relays if not relay.gone and relay.live.session.owner == owner]
        if sum(socket.backlog for socket in sockets) > MAX_PRINCIPAL_BYTES:
            most = max(sockets, key=lambda socket: socket.backlog)
            most.close(TOO_SLOW, "this principal's clients have too many unread messages")

    def _has_room(self, owner: str, size: int) -> bool:
        """Whether another large message may wait for one of the owner's clients. Drops what waits for those that are
        closed already, if that makes room."""
        relays = [relay for relay in self._relays if relay.live.session.owner == owner]
        if _fits([relay.socket for relay in relays], size):
            return True
        for relay in relays:
            if relay.gone:
                relay.socket.abort()
        return _fits([relay.socket for relay in relays if not relay.gone], size)

    def _pace(self, owner: str) -> None:
        """Stops reading from the owner's clients that send large messages while all of them exceed the limit together,
        besides the largest: that one goes on, so that every message completes."""
        relays = [relay for relay in self._relays if not relay.gone and relay.live.session.owner == owner]
        sending = [relay.socket for relay in relays if relay.socket.half_message]
        largest = max(sending, key=lambda socket: socket.half_message, default=None)
        excess = sum(relay.received for relay in relays) - (largest.half_message if largest else 0)
        for socket in sending:
            socket.pause(PauseReason.PRINCIPAL_FULL, excess > MAX_PRINCIPAL_BYTES and socket is not largest)

    async def stop(self) -> None:
        """Closes every client (1001)."""
        for relay in tuple(self._relays):
            relay.socket.shutdown()
            relay.client_gone()
        self._relays.clear()
        self._shared.clear()

    def _update_metrics(self) -> None:
        total, reported, metrics = self._traffic, self._reported, self._metrics
        metrics.gateway_bytes.labels("to_browser").inc(total.bytes_up - reported.bytes_up)
        metrics.gateway_bytes.labels("to_client").inc(total.bytes_down - reported.bytes_down)
        metrics.gateway_messages.labels("to_browser", "refused").inc(total.refused - reported.refused)
        passed = (total.commands - total.refused) - (reported.commands - reported.refused)
        metrics.gateway_messages.labels("to_browser", "passed").inc(passed)
        metrics.gateway_clients.set(sum(not relay.gone for relay in self._relays))
        reported.bytes_up, reported.bytes_down = total.bytes_up, total.bytes_down
        reported.commands, reported.refused = total.commands, total.refused


def _fits(sockets: list[ClientSocket], size: int) -> bool:
    unread = size + sum(socket.waiting for socket in sockets)
    return unread - max(size, *(socket.largest for socket in sockets), 0) <= MAX_UNREAD_BYTES
