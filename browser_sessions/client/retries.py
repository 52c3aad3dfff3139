"""When a failed request is sent again."""

from __future__ import annotations

import random
import time
from collections.abc import Callable
from typing import Final

from browser_sessions.client.errors import Busy, NotReachable, NotTrusted

ATTEMPTS: Final = 5
"""With the service's Retry-After between them, half a minute of a full pool."""
RETRY_FOR_S: Final = 60.0
"""Total time for retries. A busy service sends a Retry-After of about five seconds; a restart takes three."""
FIRST_PAUSE_S: Final = 0.2
"""After a lost connection. It doubles, up to `MAX_PAUSE_S`."""
MAX_PAUSE_S: Final = 5.0
JITTER_S: Final = 1.0
"""Up to so much is added at random: clients that lost the same service do not come back together."""


class Retries:
    """The retries of one request: at most `attempts` in all, within `RETRY_FOR_S`. None: only the time counts."""

    def __init__(self, attempts: int | None, clock: Callable[[], float] = time.monotonic) -> None:
        self._left = None if attempts is None else attempts - 1
        self._clock = clock
        self._until = clock() + RETRY_FOR_S
        self._pause = FIRST_PAUSE_S

    def pause_after(self, error: Busy | NotReachable) -> float | None:
        """Seconds until the next attempt; None if the error is final."""
        if isinstance(error, NotTrusted):
            return None
        if self._left is not None:
            if self._left <= 0:
                return None
            self._left -= 1
        if isinstance(error, Busy) and error.retry_after is not None:
            pause = error.retry_after
        else:
            pause = min(MAX_PAUSE_S, self._pause + random.random() * JITTER_S)  # noqa: S311 - spreads load
            self._pause *= 2
        return pause if self._clock() + pause < self._until else None
