"""The error tree. `api.errors` maps it to HTTP status codes and titles.

BrowserSessionsError
├── Unauthenticated          no credential, or a wrong one
├── Forbidden                the principal's role does not allow it
├── NotFound
│   ├── SessionNotFound      also another principal's session: both look the same
│   ├── PageNotFound
│   ├── DownloadNotFound
│   ├── UploadNotFound
│   └── KeyNotFound
├── InvalidField             a field's value that only the running service can reject
├── WrongState               the session's status does not allow this
│   └── IllegalTransition    a bug: a transition that `session.TRANSITIONS` does not have
├── Conflict                 the stored version is not the expected one, or a limit is reached
│   ├── NameTaken
│   └── TooManyPages
├── IdempotencyMismatch      the same key with another body
├── QuotaExceeded            the principal's own limit
├── UploadTooLarge           the session's limit of uploaded bytes
├── Unavailable              temporary; carries `retry_after`
│   ├── PoolFull
│   ├── Draining
│   ├── NoBrowser            Chromium does not start
│   ├── Overloaded           the machine is short of memory, disk or descriptors
│   ├── StoreUnavailable
│   ├── EgressUnavailable    no port for the session's proxy
│   └── DevToolsUnavailable  no DevTools files for this Chromium
├── BrowserTimeout           the browser did not respond in time
├── BrowserGone              it died during the call
├── PageFailed               a navigation or another action on a page failed
│   ├── ScriptFailed         an evaluated expression threw, or its value is no JSON
│   └── StartPageFailed      the first page of a session did not load
├── BrowserMissing           no usable executable on this machine
└── SettingsError            a setting that prevents the start
"""

from __future__ import annotations

from typing import Final

from browser_sessions.domain.limits import MAX_PAGES

TOO_MANY_PAGES: Final = f"The session has reached its limit of {MAX_PAGES} pages. Close one first."
RETRY_AFTER_SECONDS: Final = 5.0
"""`Retry-After` when nothing better is known: a create takes well under a second, so a slot is likely to have come
free after five, and callers do wait that long."""
DEVTOOLS_RETRY_AFTER_SECONDS: Final = 60.0
"""The DevTools files are fetched when the service starts."""


class BrowserSessionsError(Exception):
    """Base of every error of this package. `detail` says what is wrong and what to do."""

    def __init__(self, detail: str, *, session_id: str | None = None) -> None:
        super().__init__(detail)
        self.detail = detail
        self.session_id = session_id


class Unauthenticated(BrowserSessionsError):
    """No credential, or a wrong, revoked or expired one."""


class Forbidden(BrowserSessionsError):
    """The credential is valid, but its role does not allow this."""


class NotFound(BrowserSessionsError):
    """It does not exist, or belongs to another principal."""


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


class UploadNotFound(NotFound):
    """The session has no such upload."""

    def __init__(self, upload_id: str) -> None:
        super().__init__(f"The session has no upload {upload_id[:64]!r}. List them with GET .../uploads.")


class KeyNotFound(NotFound):
    """No such API key or user."""


class InvalidField(BrowserSessionsError):
    """A field of a request has an invalid value.

    `loc` is the path to the field as FastAPI writes it (`("body", "device")`), `detail` says which values are valid.
    """

    def __init__(self, loc: tuple[str | int, ...], detail: str, *, kind: str = "value_error") -> None:
        super().__init__(detail)
        self.loc = loc
        self.kind = kind


class WrongState(BrowserSessionsError):
    """The session's status does not allow this."""


class IllegalTransition(WrongState):
    """A transition that `session.TRANSITIONS` does not have: always a bug of ours."""


class Conflict(BrowserSessionsError):
    """The stored version is not the expected one, or a limit is reached."""


class NameTaken(Conflict):
    """A user of that name exists."""


class TooManyPages(Conflict):
    """The session's limit of open pages is reached, pages being opened included."""

    def __init__(self, session_id: str) -> None:
        super().__init__(TOO_MANY_PAGES, session_id=session_id)


class IdempotencyMismatch(BrowserSessionsError):
    """The same Idempotency-Key came with another body within its lifetime."""


class QuotaExceeded(BrowserSessionsError):
    """The principal's own limit is reached. `retry_after` in seconds."""

    def __init__(self, detail: str, *, retry_after: float = RETRY_AFTER_SECONDS) -> None:
        super().__init__(detail)
        self.retry_after = retry_after


class UploadTooLarge(BrowserSessionsError):
    """The file exceeds what is left of the session's quota of uploads."""

    def __init__(self, limit: int, left: int) -> None:
        super().__init__(
            f"The uploads of a session may have {limit} bytes in all, and {left} are left: too few for this file. "
            "Remove others with DELETE .../uploads/{upload_id}."
        )


class Unavailable(BrowserSessionsError):
    """Temporarily unavailable. `retry_after` in seconds."""

    def __init__(self, detail: str, *, session_id: str | None = None, retry_after: float = RETRY_AFTER_SECONDS) -> None:
        super().__init__(detail, session_id=session_id)
        self.retry_after = retry_after


class PoolFull(Unavailable):
    """No session slot is free."""


class Draining(Unavailable):
    """The node is shutting down and accepts no new sessions."""


class NoBrowser(Unavailable):
    """No browser process could be started."""


class Overloaded(Unavailable):
    """The machine is short of memory, disk or descriptors, which are left to existing sessions."""


class StoreUnavailable(Unavailable):
    """The store could not write or read: disk full, locked, gone."""


class EgressUnavailable(Unavailable):
    """No port for the session's proxy could be opened, and no session goes without one."""


class BrowserTimeout(BrowserSessionsError):
    """The browser or the page did not respond within the deadline."""


class BrowserGone(BrowserSessionsError):
    """The browser, the driver or the context died during the call."""


class PageFailed(BrowserSessionsError):
    """A navigation or another action on a page failed."""


class ScriptFailed(PageFailed):
    """An evaluated expression threw, or its value is no JSON."""


class DownloadStarted(PageFailed):
    """The address of a navigation is a file, which is downloaded; the page stays where it was."""


class StartPageFailed(PageFailed):
    """The first page of a session did not load. Not a crash: the browser is healthy."""

    def __init__(self, reason: str) -> None:
        super().__init__(f"Start page failed: {reason}")


class BrowserMissing(BrowserSessionsError):
    """No usable browser executable on this machine."""


class DevToolsUnavailable(Unavailable):
    """No DevTools files for this Chromium; `detail` says why."""

    def __init__(self, detail: str) -> None:
        super().__init__(detail, retry_after=DEVTOOLS_RETRY_AFTER_SECONDS)


class SettingsError(BrowserSessionsError):
    """A setting that prevents the start; `detail` names the variable and its valid values."""
