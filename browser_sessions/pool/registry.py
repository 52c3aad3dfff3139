"""The sessions of this node: live ones in memory, their records in the store, the two always consistent."""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime
from typing import Final

import structlog

from browser_sessions.domain.clock import Clock
from browser_sessions.domain.errors import Conflict, SessionNotFound, StoreUnavailable
from browser_sessions.domain.ports import SessionQuery, SessionStore
from browser_sessions.domain.session import FINAL, Session, SessionRecord, SessionStatus, require_active
from browser_sessions.events.journal import Journal
from browser_sessions.pool.live_session import Live

log = structlog.get_logger()

RECENT: Final = 2_000
"""Ended records kept in memory, so that status requests seldom need the store: about 3 MB."""


class Registry:
    """Live sessions and their records. Reads of live sessions touch memory only."""

    def __init__(self, store: SessionStore, clock: Clock, journal: Journal) -> None:
        self.sessions: dict[str, Session] = {}
        """By id."""
        self.lives: dict[str, Live] = {}
        self.recent: OrderedDict[str, SessionRecord] = OrderedDict()
        self.unsaved: dict[str, SessionRecord] = {}
        """Final records that the store has not accepted yet."""
        self._empty = asyncio.Event()
        self._empty.set()
        self._store = store
        self._clock = clock
        self._journal = journal

    def __repr__(self) -> str:
        return f"<Registry {len(self.sessions)} live, {len(self.recent)} recent, {len(self.unsaved)} unsaved>"

    async def emptied(self) -> None:
        """Returns when no session is left."""
        await self._empty.wait()

    def enlist(self, live: Live) -> None:
        self._empty.clear()
        self.lives[live.session.session_id] = live
        self.sessions[live.session.session_id] = live.session

    def known(self, session_id: str) -> Session | SessionRecord | None:
        """The live session, else a recently ended record. Memory only."""
        return self.sessions.get(session_id) or self.recent.get(session_id)

    async def record(self, session_id: str) -> SessionRecord | None:
        """The current snapshot, from memory or the store."""
        found = self.known(session_id)
        if isinstance(found, Session):
            return found.record(self._clock)
        return found or await self._store.get(session_id)

    async def by_idempotency_key(self, owner: str, key: str) -> SessionRecord | None:
        earlier = await self._store.by_idempotency_key(owner, key)
        return None if earlier is None else await self.record(earlier.session_id) or earlier

    def live(self, session_id: str) -> Live:
        """Raises `WrongState` when the session is not active, `SessionNotFound` when it is not known in memory."""
        known = self.known(session_id)
        if known is None:
            raise SessionNotFound(session_id)
        require_active(known)
        return self.lives[session_id]

    def connections(self, session_id: str) -> int:
        """Number of CDP clients and viewers."""
        live = self.lives.get(session_id)
        return len(live.attached) if live else 0

    async def list(self, query: SessionQuery) -> Sequence[SessionRecord]:
        """Newest first. Live sessions from memory, which is always current, ended ones from the store."""
        mine = {s.session_id: s.record(self._clock) for s in self.sessions.values()} | self.unsaved
        wanted = [record for record in mine.values() if _matches(record, query)]
        ended = FINAL if query.statuses is None else query.statuses & FINAL
        if ended:
            stored = await self._store.list(replace(query, statuses=ended, limit=query.limit + len(mine)))
            wanted += [record for record in stored if record.session_id not in mine]
        wanted.sort(key=lambda record: (record.created_at, record.session_id), reverse=True)
        return wanted[: query.limit]

    async def save(self, live: Live) -> None:
        """Stores the current record; saves of one session are serialised. Raises as the store does."""
        async with live.saving:
            version = live.session.version + 1
            try:
                await self._write(live, version)
            except Conflict:  # an earlier write was applied although it failed for us
                stored = await self._store.get(live.session.session_id)
                if stored is None or stored.status.final:
                    raise
                await self._write(live, stored.version + 1)
            live.session.dirty = False

    async def _write(self, live: Live, version: int) -> None:
        record = replace(live.session.record(self._clock), version=version)
        await (self._store.insert(record) if version == 1 else self._store.update(record))
        live.session.version = version

    async def retire(self, live: Live) -> SessionRecord:
        """Stores the final record and removes the session from the live ones; it stays known throughout."""
        session = live.session
        stored = False
        try:
            await self.save(live)
            stored = True
        except (StoreUnavailable, Conflict) as error:
            log.error("session.not_stored", session_id=session.session_id, reason=error.detail)
        record = replace(session.record(self._clock), version=session.version)
        if not stored:
            self.unsaved[session.session_id] = record
        self.recent[session.session_id] = record
        while len(self.recent) > RECENT:
            old, _ = self.recent.popitem(last=False)
            self._journal.forget(old)
        self.lives.pop(session.session_id, None)
        self.sessions.pop(session.session_id, None)
        if not self.sessions:
            self._empty.set()
        return record

    async def save_late(self) -> None:
        """Retries the records that the store did not accept. Raises as the store does; the rest waits for the next
        call."""
        for session_id, record in list(self.unsaved.items()):
            stored = await self._store.get(session_id)
            if stored is None:
                await self._store.insert(replace(record, version=1))
            elif not stored.status.final:
                await self._store.update(replace(record, version=stored.version + 1))
            self.unsaved.pop(session_id, None)

    def forget_before(self, moment: datetime) -> None:
        """Removes sessions that ended before `moment` from memory, as the store's purge does from disk."""
        for session_id in [r.session_id for r in self.recent.values() if r.ended_at and r.ended_at < moment]:
            del self.recent[session_id]
            self._journal.forget(session_id)

    async def flush_activity(self) -> None:
        """Stores when live sessions were last used, in one transaction."""
        moved = [s for s in self.sessions.values() if (s.dirty or s.in_use) and s.status is SessionStatus.ACTIVE]
        if not moved:
            return
        for session in moved:
            session.dirty = False
        records = [s.record(self._clock) for s in moved]
        await self._store.flush_activity([(r.session_id, r.last_activity, r.expires_at) for r in records])


def _matches(record: SessionRecord, query: SessionQuery) -> bool:
    return (
        (query.owner is None or record.owner == query.owner)
        and (query.statuses is None or record.status in query.statuses)
        and (query.before is None or (record.created_at, record.session_id) < query.before)
        and all(record.metadata.get(key) == value for key, value in query.metadata)
    )
