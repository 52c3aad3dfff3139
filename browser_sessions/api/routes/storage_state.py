"""What a session's pages have stored: taken from one session, it is what the next one can begin with."""

from __future__ import annotations

import asyncio
import json
from typing import Final

from fastapi import APIRouter, Response

from browser_sessions.api.caller_credentials import Caller
from browser_sessions.api.dependencies import Here
from browser_sessions.api.models import StorageState
from browser_sessions.api.responses import problems
from browser_sessions.api.routes.pages import driving

router = APIRouter(prefix="/v1/browser/sessions/{session_id}", tags=["sessions"])

TIMEOUT_S: Final = 30.0
"""As for all that reads of pages."""


@router.get("/storage-state", response_model=StorageState, responses=problems(401, 404, 409, 503, 504))
async def get_storage_state(session_id: str, services: Here, principal: Caller) -> Response:
    """Cookies and local storage, as `storage_state` of a create takes them: a log-in to go on with in another session.

    Keep it secret. It is activity. Origins that no page shows are opened for a moment to be read.
    """
    async with driving(services, principal, session_id) as context:
        state = await context.storage_state(timeout=TIMEOUT_S)
    # In a thread, for it may be megabytes. ASCII, for what pages store may be no Unicode.
    return Response(await asyncio.to_thread(json.dumps, state), media_type="application/json")
