"""Event streams: Server-Sent Events, continued after a lost connection."""

from __future__ import annotations

import logging
from collections.abc import AsyncGenerator
from typing import Final

from pydantic import ValidationError

from browser_sessions.api.models.event_models import SessionEvent
from browser_sessions.client._async.transport import Transport
from browser_sessions.client.concurrency import async_sleep
from browser_sessions.client.errors import Busy, NotReachable, UnexpectedResponse
from browser_sessions.client.paths import Query, not_empty
from browser_sessions.client.retries import Retries

log = logging.getLogger("browser_sessions")

SILENCE_S: Final = 45.0
"""The service sends a comment every fifteen seconds: the connection is lost after three of them."""
RECONNECT_S: Final = 1.0
"""Before the next request when the service has ended the stream: it is shutting down."""
_DATA: Final = "data:"
"""One line of JSON, which has the event's id and type too: the service sends no event in several lines."""


async def event_stream(
    transport: Transport,
    path: str,
    *,
    query: Query | None = None,
    last_event_id: str | None = None,
    final: str | None = None,
) -> AsyncGenerator[SessionEvent]:
    """Ends after an event of type `final`, or when the service has no more events. Raises `ClientError`."""
    attempts = None if transport.attempts > 1 else 1  # a stream is retried for as long as a restart may take
    retries = Retries(attempts)
    while True:
        pause = RECONNECT_S
        headers = {"Accept": "text/event-stream"}
        if (after := not_empty("last_event_id", last_event_id)) is not None:
            headers["Last-Event-ID"] = after
        try:
            async with transport.stream(path, query=query, headers=headers, timeout=SILENCE_S) as response:
                if response.status_code == 204:
                    return
                async for line in response.aiter_lines():
                    retries = Retries(attempts)
                    if line.startswith(_DATA):
                        event = _event(line.removeprefix(_DATA))
                        last_event_id = event.id
                        yield event
                        if event.type == final:
                            return
        except (Busy, NotReachable) as error:
            if (again := retries.pause_after(error)) is None:
                raise
            pause = again
            log.info("GET %s: %s Trying again in %.1f s.", path, error, pause)
        await async_sleep(pause)


def _event(text: str) -> SessionEvent:
    try:
        return SessionEvent.model_validate_json(text)
    except ValidationError as error:
        raise UnexpectedResponse(200, f"The event stream has an event of unknown form: {error}") from None
