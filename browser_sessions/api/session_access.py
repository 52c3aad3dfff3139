"""Finds sessions for a caller. A foreign session looks exactly like one that does not exist."""

from __future__ import annotations

from operator import attrgetter
from typing import Any

from browser_sessions.api.models.session_models import BrowserSessionResponse
from browser_sessions.domain.clock import Clock
from browser_sessions.domain.errors import SessionNotFound
from browser_sessions.domain.principal import Action, Principal, may
from browser_sessions.domain.session import Session, SessionRecord, new_session_id, require_active
from browser_sessions.domain.session_view import SessionView
from browser_sessions.pool.manager import Pool


async def find(
    pool: Pool, principal: Principal, session_id: str, action: Action = Action.VIEW
) -> Session | SessionRecord:
    """The live session, else its record. Raises `SessionNotFound`.

    A foreign session in memory costs a query of the store all the same, so that timing does not tell it from an unknown
    one.
    """
    known = pool.registry.known(session_id)
    found = known if known is not None else await pool.registry.record(session_id)
    if found is not None:
        if may(principal, action, found.owner):
            return found
        if known is not None:
            await pool.registry.record(new_session_id())
    raise SessionNotFound(session_id)


async def find_record(pool: Pool, principal: Principal, session_id: str, action: Action = Action.VIEW) -> SessionRecord:
    """As `find`, as a snapshot."""
    found = await find(pool, principal, session_id, action)
    return found.record(pool.clock) if isinstance(found, Session) else found


async def find_view(pool: Pool, principal: Principal, session_id: str) -> SessionView:
    """As `find`, as a view."""
    found = await find(pool, principal, session_id)
    if isinstance(found, Session):
        return pool.registry.lives[session_id].view(pool.clock)
    return SessionView.of_ended(found)


async def find_active(pool: Pool, principal: Principal, session_id: str) -> None:
    """Checks that the caller may use the session now. Raises `SessionNotFound`, `WrongState`."""
    require_active(await find(pool, principal, session_id, Action.DRIVE))


def summary(record: SessionRecord) -> dict[str, Any]:
    """The eight fields of `BrowserSessionResponse`, in their order."""
    return dict(zip(BrowserSessionResponse.model_fields, _summarized(record), strict=True))


def live_summary(session: Session, clock: Clock) -> dict[str, Any]:
    """As `summary`, without a record: most of what the most frequent request would cost."""
    last_activity, expires_at = session.times(clock)
    return {
        "session_id": session.session_id,
        "status": session.status,
        "viewport_width": session.spec.viewport_width,
        "viewport_height": session.spec.viewport_height,
        "user_agent": session.spec.user_agent,
        "created_at": session.created_at,
        "last_activity": last_activity,
        "expires_at": expires_at,
    }


_summarized = attrgetter(*BrowserSessionResponse.model_fields)
