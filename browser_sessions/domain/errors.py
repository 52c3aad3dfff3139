"""What can go wrong, as facts. Nothing here knows HTTP: `api.errors` holds the one table that does.

BrowserSessionsError
├── Unauthenticated          no credential, or a wrong one
├── Forbidden                a known principal whose role may not
├── NotFound
│   ├── SessionNotFound      also for a session of somebody else: both look the same
│   ├── PageNotFound
│   ├── DownloadNotFound
│   └── KeyNotFound
├── InvalidField             one field's value, where only the running service can tell
├── WrongState               the session's status does not allow this
│   └── IllegalMove          a bug: a move that the table of moves does not have
├── Conflict                 stored version is not the expected one, or a name is taken
│   └── TooManyPages         the session has as many open pages as it may
├── IdempotencyMismatch      the same key with another body
├── QuotaExceeded            the principal's own limit
├── Unavailable              not now; says when to try again
│   ├── PoolFull
│   ├── Draining
│   ├── NoBrowser            none starts
│   ├── Overloaded           the machine is short of memory, disk or descriptors
│   ├── StoreUnavailable
│   └── DevToolsUnavailable  there are no files of this Chromium's DevTools
├── BrowserTimeout           the browser did not answer in time
├── BrowserGone              it died under the call
├── PageFailed               the page or the site refused: navigation error, script error
├── BrowserMissing           no usable executable on this machine
└── SettingsError            a setting that stops the start
"""

from __future__ import annotations

from typing import Final

from browser_sessions.domain.limits import MAX_PAGES

TOO_MANY_PAGES: Final = f"The session has {MAX_PAGES} pages, as many as it may. Close one first."
RETRY_AFTER_SECONDS: Final = 5.0
"""Seconds that a refused caller is told to wait when nothing better is known: a create takes well under a second, so
five seconds is long enough for a place to come free and short enough that nobody gives up."""
DEVTOOLS_SECONDS: Final = 60.0
"""The same for DevTools, whose files are taken when the service starts."""


class BrowserSessionsError(Exception):
    """Base of every error of this package. `detail` is one sentence that says what to do."""

    def __init__(self, detail: str, *, session_id: str | None = None) -> None:
        super().__init__(detail)
        self.detail = detail
        self.session_id = session_id


class Unauthenticated(BrowserSessionsError):
    """No credential, or a wrong, revoked or expired one."""


class Forbidden(BrowserSessionsError):
    """The credential is good; its role may not do this."""


class NotFound(BrowserSessionsError):
    """What was named does not exist, or belongs to somebody else."""


class SessionNotFound(NotFound):
    """No such session for this caller."""

    def __init__(self, session_id: str) -> None:
        super().__init__(
            "There is no such session. List yours with GET /v1/browser/sessions.", session_id=session_id[:64]
        )


class PageNotFound(NotFound):
    """The session has no such page (any more)."""

    def __init__(self, session_id: str, page_id: str) -> None:
        super().__init__(
            f"The session has no page {page_id[:64]!r}. List its pages with GET .../pages.", session_id=session_id
        )
        self.page_id = page_id


class DownloadNotFound(NotFound):
    """The session has no such download."""

    def __init__(self, download_id: str) -> None:
        super().__init__(f"The session has no download {download_id[:64]!r}. List them with GET .../downloads.")


class KeyNotFound(NotFound):
    """No such API key or user."""


class InvalidField(BrowserSessionsError):
    """One field of a request has a value that cannot be.

    `loc` is the path to the field as FastAPI writes it (`("body", "device")`), `detail` says what would be right.
    """

    def __init__(self, loc: tuple[str | int, ...], detail: str, *, kind: str = "value_error") -> None:
        super().__init__(detail)
        self.loc = loc
        self.kind = kind


class WrongState(BrowserSessionsError):
    """The session's status does not allow this."""


class IllegalMove(WrongState):
    """A move that the table of moves does not have: always a bug of ours."""


class Conflict(BrowserSessionsError):
    """The stored version is not the expected one, or a name is taken."""


class TooManyPages(Conflict):
    """The session has as many open pages as it may, those counted that are being opened."""

    def __init__(self, session_id: str) -> None:
        super().__init__(TOO_MANY_PAGES, session_id=session_id)


class IdempotencyMismatch(BrowserSessionsError):
    """The same Idempotency-Key came with another body within its lifetime."""


class QuotaExceeded(BrowserSessionsError):
    """The principal's own limit is reached. `retry_after` in seconds."""

    def __init__(self, detail: str, *, retry_after: float = RETRY_AFTER_SECONDS) -> None:
        super().__init__(detail)
        self.retry_after = retry_after


class Unavailable(BrowserSessionsError):
    """Not now. `retry_after` in seconds."""

    def __init__(self, detail: str, *, session_id: str | None = None, retry_after: float = RETRY_AFTER_SECONDS) -> None:
        super().__init__(detail, session_id=session_id)
        self.retry_after = retry_after


class PoolFull(Unavailable):
    """Every place is taken."""


class Draining(Unavailable):
    """The node is going down and takes nothing new."""


class NoBrowser(Unavailable):
    """No browser process could be started."""


class Overloaded(Unavailable):
    """The machine is short of something; the sessions there are keep what is left."""


class StoreUnavailable(Unavailable):
    """The store did not take the record: disk full, locked, gone."""


class BrowserTimeout(BrowserSessionsError):
    """The browser or the page did not answer within the deadline."""


class BrowserGone(BrowserSessionsError):
    """The browser, the driver or the context died under the call."""


class PageFailed(BrowserSessionsError):
    """The page or the site refused: a navigation error, an exception in an evaluated expression."""


class BrowserMissing(BrowserSessionsError):
    """No usable browser executable on this machine."""


class DevToolsUnavailable(Unavailable):
    """There are no files of this Chromium's DevTools; `detail` says why."""

    def __init__(self, detail: str) -> None:
        super().__init__(detail, retry_after=DEVTOOLS_SECONDS)


class SettingsError(BrowserSessionsError):
    """A setting that stops the start; names the variable and what would be right."""
