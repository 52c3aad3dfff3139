"""Every client of this node: a hub a browser, a relay a client, one loop that looks after all."""

from __future__ import annotations

import asyncio
from pathlib import Path, PurePosixPath
from typing import Final
from urllib.parse import urlsplit

import httpx
import structlog

from browser_sessions.cdp import CdpClosed, CdpError
from browser_sessions.gateway.codes import TOO_SLOW, WENT_SILENT
from browser_sessions.gateway.hub import Hub
from browser_sessions.gateway.options import Options
from browser_sessions.gateway.page import PageRelay
from browser_sessions.gateway.relay import Relay, Traffic
from browser_sessions.gateway.upstream import Upstream
from browser_sessions.model.errors import BrowserGone, Conflict
from browser_sessions.model.ports import BrowserProcess
from browser_sessions.model.spec import Isolation
from browser_sessions.pool.fleet import Berth
from browser_sessions.pool.pool import Pool
from browser_sessions.telemetry import Metrics

TURN_S: Final = 1.0
PING_AFTER_S: Final = 20.0
"""Of silence. An answered ping is a sign of life, not an activity."""
SILENT_S: Final = 50.0
"""After which a connection is half open: GATEWAY.md wants it found within a minute."""
SLOW_S: Final = 30.0
"""How long a client may be behind with reading (GATEWAY.md, "Limits")."""
EMPTY_HUB_S: Final = 5.0
"""How long a hub without clients stays, for those that reconnect; it costs each new page of its browser a moment."""
MAX_CLIENTS: Final = 16
"""Clients of one session at once: a few tools and a person's DevTools; each holds memory in the browser."""

PROTOCOL_TIMEOUT_S: Final = 5.0
"""For two megabytes over loopback."""

log = structlog.get_logger()


class Gateway:
    """Opens relays; ends those that are silent or slow."""

    def __init__(self, pool: Pool, folders: Path, metrics: Metrics) -> None:
        self._pool = pool
        self._folders = folders
        self._metrics = metrics
        self._hubs: dict[Berth, asyncio.Task[Hub]] = {}
        self._empty_since: dict[Berth, float] = {}
        self._relays: set[Relay] = set()
        self._protocols: dict[str, bytes] = {}
        self._traffic = Traffic()
        self._counted = Traffic()

    def __repr__(self) -> str:
        return f"<Gateway {len(self._hubs)} hubs, {len(self._relays)} clients>"

    async def open(self, session_id: str, page_id: str | None = None) -> Relay:
        """A relay to a session, or to one of its pages, connected to its browser and not to its client yet: hand
        `relay.downstream` the transport, then call `begin`. Raises `WrongState`, `SessionNotFound`, `PageNotFound`,
        `BrowserGone`, `Conflict` (too many clients)."""
        live = self._pool.registry.live(session_id)
        if live.clients >= MAX_CLIENTS:
            raise Conflict(
                f"The session has {MAX_CLIENTS} clients, as many as it may. Close one.", session_id=session_id
            )
        berth, handle = live.berth, live.handle
        assert berth is not None
        assert handle is not None
        assert berth.process is not None
        hub = await self._hub(berth)
        upstream = await Upstream.connect(berth.process.endpoint)
        folder = PurePosixPath(self._folders / session_id)
        options = Options(
            own_browser=live.session.spec.isolation is Isolation.BROWSER,
            upload_folder=folder / "uploads",
        )
        room = hub.room(handle.context_id)
        kind = Relay if page_id is None else PageRelay
        relay = kind(live, hub, room, upstream, options, self._pool.clock, self._traffic)
        try:
            live.attach(relay)
        except BaseException:
            upstream.abort()
            hub.leave(handle.context_id, relay)
            raise
        room.clients.append(relay)
        self._relays.add(relay)
        if isinstance(relay, PageRelay) and page_id is not None:
            try:
                await relay.attach(page_id)
            except BaseException:
                relay.client_gone()
                raise
        return relay

    async def protocol(self, process: BrowserProcess) -> bytes:
        """Chromium's description of the protocol, as JSON; asked once a version. Raises `BrowserGone`."""
        known = self._protocols.get(process.version)
        if known is None:
            port = urlsplit(process.endpoint).netloc
            try:
                async with httpx.AsyncClient(trust_env=False, timeout=PROTOCOL_TIMEOUT_S) as http:
                    answer = (await http.get(f"http://{port}/json/protocol")).raise_for_status()
            except httpx.HTTPError as error:
                raise BrowserGone("The browser does not tell its protocol.") from error
            known = self._protocols[process.version] = answer.content
        return known

    async def turn(self) -> None:
        """Once a second: pings, time-outs, hubs that nobody needs, and what went through."""
        now = asyncio.get_running_loop().time()
        for relay in tuple(self._relays):
            if relay.gone:
                self._relays.discard(relay)
                continue
            side = relay.downstream
            if side.stalled_for(now) > SLOW_S:
                log.info("gateway.client_slow", session_id=relay.live.session.session_id)
                side.close(TOO_SLOW, "the client does not read")
            elif not side.paused and now - side.heard > SILENT_S:
                log.info("gateway.client_silent", session_id=relay.live.session.session_id)
                side.close(WENT_SILENT, "the client does not answer pings")
            elif not side.paused and now - side.heard > PING_AFTER_S:
                side.ping()
        for berth, opening in list(self._hubs.items()):
            await self._look_after(berth, opening, now)
        self._measure()

    async def stop(self) -> None:
        """Closes every client (1001) and every hub."""
        for relay in tuple(self._relays):
            relay.downstream.shutdown()
            relay.client_gone()
        self._relays.clear()
        hubs, self._hubs = self._hubs, {}
        for opening in hubs.values():
            opening.cancel()
            hub = (await asyncio.gather(opening, return_exceptions=True))[0]
            if isinstance(hub, Hub):
                await hub.close()

    async def _hub(self, berth: Berth) -> Hub:
        assert berth.process is not None
        opening = self._hubs.get(berth)
        if opening is None or (opening.done() and (opening.cancelled() or opening.exception() or not _usable(opening))):
            opening = self._hubs[berth] = asyncio.create_task(Hub.open(berth.process))
        self._empty_since.pop(berth, None)
        try:
            return await asyncio.shield(opening)
        except (CdpClosed, CdpError, TimeoutError) as error:
            raise BrowserGone("The browser takes no connection.") from error

    async def _look_after(self, berth: Berth, opening: asyncio.Task[Hub], now: float) -> None:
        if not opening.done():
            return
        if opening.cancelled() or opening.exception() is not None:
            self._forget(berth)
            return
        hub = opening.result()
        if not hub.usable:
            self._forget(berth)
            for relay in [r for r in self._relays if r.hub is hub]:
                relay.downstream.close(1011, "the browser's side of the connection was lost")
            await hub.close()
        elif not hub.empty:
            self._empty_since.pop(berth, None)
        elif now - self._empty_since.setdefault(berth, now) > EMPTY_HUB_S:
            self._forget(berth)
            await hub.close()

    def _forget(self, berth: Berth) -> None:
        self._hubs.pop(berth, None)
        self._empty_since.pop(berth, None)

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


def _usable(opening: asyncio.Task[Hub]) -> bool:
    return opening.result().usable
