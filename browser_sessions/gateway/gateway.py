"""Every client of this node: a room a session, a relay a client, one loop that looks after all."""

from __future__ import annotations

import asyncio
from pathlib import Path, PurePosixPath
from typing import Final

import structlog

from browser_sessions.cdp import BrowserSession, CdpClosed, CdpError
from browser_sessions.cdp.websocket import TOO_SLOW
from browser_sessions.domain.close_codes import PING_TIMEOUT
from browser_sessions.domain.errors import BrowserGone, Conflict
from browser_sessions.domain.principal import Principal
from browser_sessions.domain.session_spec import Isolation
from browser_sessions.gateway.policy.client_options import Options
from browser_sessions.gateway.relay import CONNECT_S, Relay, Traffic
from browser_sessions.gateway.shared_session import Room
from browser_sessions.pool.manager import Pool
from browser_sessions.telemetry import Metrics

TURN_S: Final = 1.0
PING_AFTER_S: Final = 20.0
"""Of silence. An answered ping is a sign of life, not an activity."""
SILENT_S: Final = 50.0
"""After which a connection is half open: it is found within a minute."""
SLOW_S: Final = 30.0
"""How long a client may take nothing of what waits for it (docs/limits.md)."""
PRINCIPAL_BYTES: Final = 48 * 2**20
"""Of unread messages for all clients of one principal's sessions, besides the largest of each: half as much again as
one client may have. A client that reads has one message on its way and little more: hundreds of them stay far below."""
MAX_CLIENTS: Final = 16
"""Clients of one session at once: a few tools and a person's DevTools; each holds memory in the browser."""

log = structlog.get_logger()


class Gateway:
    """Opens relays; ends those that are silent or slow."""

    def __init__(self, pool: Pool, folders: Path, metrics: Metrics) -> None:
        self._pool = pool
        self._folders = folders
        self._metrics = metrics
        self._rooms: dict[str, Room] = {}
        """Of sessions with clients, by session id."""
        self._relays: set[Relay] = set()
        self._traffic = Traffic()
        self._counted = Traffic()

    def __repr__(self) -> str:
        return f"<Gateway {len(self._rooms)} sessions, {len(self._relays)} clients>"

    async def open(self, session_id: str, principal: Principal, page_id: str | None = None) -> Relay:
        """A relay to a session, or to one of its pages, connected to its browser and not to its client yet: hand
        `relay.socket` the transport, then call `begin`. Raises `WrongState`, `SessionNotFound`, `PageNotFound`,
        `BrowserGone`, `Conflict` (too many clients)."""
        live = self._pool.registry.live(session_id)
        if live.clients >= MAX_CLIENTS:
            raise Conflict(
                f"The session has {MAX_CLIENTS} clients, as many as it may. Close one.", session_id=session_id
            )
        handle, cdp = live.opened.context, live.opened.process.cdp
        options = Options(
            own_browser=live.session.spec.isolation is Isolation.BROWSER,
            upload_folder=PurePosixPath(self._folders / session_id / "uploads"),
        )
        devtools_of = None if page_id is None else principal.principal_id

        def make(session: BrowserSession) -> Relay:
            room = self._rooms.get(session_id)
            if room is None or not room.clients:
                room = self._rooms[session_id] = Room(cdp, handle.context_id, live.session.spec.proxy)
            return Relay(session, live, handle, room, options, self._pool.clock, self._traffic, devtools_of)

        try:
            relay = await cdp.connect(make, timeout=CONNECT_S)
        except (CdpClosed, CdpError, TimeoutError) as error:
            raise BrowserGone("The browser takes no connection.") from error
        try:
            live.attach(relay)
            if page_id is not None:
                await relay.stand_at(page_id)
        except BaseException:
            relay.client_gone()
            raise
        self._relays.add(relay)
        relay.socket.on_behind = lambda: self._check_principal(live.session.owner)
        return relay

    def session_of(self, page_id: str) -> str | None:
        """The session with clients that has this page, in its own context or in one that a client has made."""
        found = (session_id for session_id, room in self._rooms.items() if room.contexts.target(page_id) is not None)
        return next(found, None)

    async def turn(self) -> None:
        """Once a second: pings, time-outs, rooms without clients, and what went through."""
        now = asyncio.get_running_loop().time()
        for relay in tuple(self._relays):
            if relay.gone:
                self._relays.discard(relay)
                continue
            side = relay.socket
            if side.stalled_for(now) > SLOW_S:
                side.close(TOO_SLOW, "the client does not read")
            elif not side.paused and now - side.heard > SILENT_S:
                log.info("gateway.client_silent", session_id=relay.live.session.session_id)
                side.close(PING_TIMEOUT, "the client does not answer pings")
            elif not side.paused and now - side.heard > PING_AFTER_S:
                side.ping()
        self._rooms = {session_id: room for session_id, room in self._rooms.items() if room.clients}
        self._measure()

    def _check_principal(self, owner: str) -> None:
        """Closes the client that is furthest behind when too much waits for all of its principal's."""
        sockets = [relay.socket for relay in self._relays if not relay.gone and relay.live.session.owner == owner]
        if sum(socket.behind for socket in sockets) > PRINCIPAL_BYTES:
            max(sockets, key=lambda socket: socket.behind).close(TOO_SLOW, "the client does not read")

    async def stop(self) -> None:
        """Closes every client (1001)."""
        for relay in tuple(self._relays):
            relay.socket.shutdown()
            relay.client_gone()
        self._relays.clear()
        self._rooms.clear()

    def _measure(self) -> None:
        seen, told, metrics = self._traffic, self._counted, self._metrics
        metrics.gateway_bytes.labels("to_browser").inc(seen.bytes_up - told.bytes_up)
        metrics.gateway_bytes.labels("to_client").inc(seen.bytes_down - told.bytes_down)
        metrics.gateway_messages.labels("to_browser", "refused").inc(seen.refused - told.refused)
        passed = (seen.commands - seen.refused) - (told.commands - told.refused)
        metrics.gateway_messages.labels("to_browser", "passed").inc(passed)
        metrics.gateway_clients.set(len(self._relays))
        told.bytes_up, told.bytes_down = seen.bytes_up, seen.bytes_down
        told.commands, told.refused = seen.commands, seen.refused
