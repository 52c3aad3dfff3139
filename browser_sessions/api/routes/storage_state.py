"""Cookies and local storage of a session, to start another one with."""

from __future__ import annotations

import asyncio
import json
from typing import Final

from fastapi import APIRouter, Response

from browser_sessions.api.caller_credentials import Caller
from browser_sessions.api.dependencies import Here
from browser_sessions.api.large_responses import bounded
from browser_sessions.api.models.storage_models import StorageState
from browser_sessions.api.responses import problems
from browser_sessions.api.routes.pages import MAY_BE_LARGE, driving

router = APIRouter(prefix="/v1/browser/sessions/{session_id}", tags=["sessions"])

TIMEOUT_S: Final = 30.0
"""As for other reads of pages."""


@router.get(
    "/storage-state",
    response_model=StorageState,
    dependencies=MAY_BE_LARGE,
    responses=problems(401, 404, 409, 429, 503, 504),
)
async def get_storage_state(session_id: str, services: Here, principal: Caller) -> Response:
    """Get cookies and local storage in the format of a create's `storage_state`, to reuse a login in another session.

    Keep it secret. Counts as activity. Origins that no page shows are opened briefly to be read.
    """
    async with driving(services, principal, session_id) as context:
        state = await context.storage_state(timeout=TIMEOUT_S)
    # In a thread, because it may be megabytes; as ASCII, because pages may store invalid Unicode.
    text = (await asyncio.to_thread(json.dumps, state)).encode("ascii")
    bounded(text, "The state", "Read a site's storage with evaluate.")
    return Response(text, media_type="application/json")
