"""Errors of the SDK: nothing else is raised by its methods. Problem details (RFC 9457) become typed exceptions.

ClientError
├── InvalidArgument          a value that cannot be sent; nothing was (also a ValueError)
├── ClientClosed             the client was closed before the call, or during it
├── NotReachable             no connection, or no response in time
│   └── NotTrusted           the certificate of the service is not accepted
├── WaitTimeout              `wait_for` ended before the session had the status (also a TimeoutError)
└── ApiError                 an error response: status, type, title, detail
    ├── InvalidRequest       400, 413, 415, 422: `errors` names each invalid field
    ├── Unauthorized         401: no credential, or a wrong one
    ├── Forbidden            403: the credential's role does not allow this
    ├── NotFound             404: no such session, page, download, key or user for this caller
    ├── Conflict             409: not possible now
    │   ├── WrongState       the session has ended, or is not active yet
    │   ├── PageFailed       the page did not load, or an action on it failed
    │   ├── ScriptFailed     the script threw, or its value is no JSON
    │   ├── BrowserGone      the browser died during the call
    │   ├── NameTaken        a user of that name exists
    │   └── IdempotencyMismatch  the Idempotency-Key was used for another body
    ├── Busy                 temporary; `retry_after` says when to retry
    │   ├── QuotaExceeded    429: the caller's own limit
    │   └── Unavailable      503: the pool is full, the service shuts down, or it has no browser
    ├── BrowserTimeout       504: the browser did not respond in time
    ├── ServiceFailed        other 5xx: a bug of the service or of a proxy in front of it
    └── UnexpectedResponse   not a response of this API: another server, or another version
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Any, Final

import httpx


class ClientError(Exception):
    """Base of every error of the SDK. `detail` says what is wrong and what to do."""

    def __init__(self, detail: str, *, session_id: str | None = None) -> None:
        super().__init__(detail)
        self.detail = detail
        self.session_id = session_id

    def __reduce__(self) -> tuple[Any, ...]:
        """Without a call of `__init__`, whose arguments differ: processes send exceptions to each other."""
        return _restored, (type(self), self.args, self.__dict__)


def _restored(kind: type[ClientError], args: tuple[Any, ...], attributes: dict[str, Any]) -> ClientError:
    error = kind.__new__(kind)
    error.args = args
    error.__dict__.update(attributes)
    return error


class InvalidArgument(ClientError, ValueError):
    """A value that cannot be sent, such as an id with a slash. Nothing was sent."""


class ClientClosed(ClientError):
    """The client was closed before the call, or during it."""

    def __init__(self) -> None:
        super().__init__("The client is closed. Make the call inside its block, or create another client.")


class WaitTimeout(ClientError, TimeoutError):
    """The session did not have the awaited status in time."""


class NotReachable(ClientError):
    """No response from `url`. The call may have been executed all the same."""

    def __init__(self, url: str, reason: str) -> None:
        super().__init__(f"No service responds at {url} ({reason}).")
        self.url = url
        self.reason = reason


class NotTrusted(NotReachable):
    """The certificate of `url` was not accepted; nothing was sent. `reason` is that of OpenSSL."""

    def __init__(self, url: str, reason: str) -> None:
        super().__init__(url, reason)
        self.args = (self.detail,) = (f"The certificate of {url} is not trusted: {reason}.",)


class ApiError(ClientError):
    """An error response.

    `status` is the HTTP status; `type` identifies the kind of problem, such as
    `urn:browser-sessions:problem:session-not-found`; `detail` says what to do; `retry_after` is in seconds.
    """

    def __init__(
        self,
        status: int,
        detail: str,
        *,
        type: str = "about:blank",  # noqa: A002 - RFC 9457's own name for it
        title: str = "",
        session_id: str | None = None,
        retry_after: float | None = None,
        errors: tuple[Mapping[str, Any], ...] = (),
    ) -> None:
        super().__init__(detail, session_id=session_id)
        self.status = status
        self.type = type
        self.title = title
        self.retry_after = retry_after
        self.errors = errors

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.status} {self.detail!r}>"


class InvalidRequest(ApiError):
    """The request is invalid; `errors` has FastAPI's `loc`, `msg` and `type` of each field."""


class Unauthorized(ApiError):
    """No credential, or a wrong, revoked or expired one."""


class Forbidden(ApiError):
    """The credential is valid, but its role does not allow this."""


class NotFound(ApiError):
    """No such session, page, key or user, or it belongs to another principal."""


class Conflict(ApiError):
    """Not possible now: one of the kinds below, or a limit is reached, or somebody else has control."""


class WrongState(Conflict):
    """The session has ended, or is not active yet. `detail` says why it ended."""


class PageFailed(Conflict):
    """The page did not load (`detail` says why), or an action on
    it failed."""


class ScriptFailed(Conflict):
    """The script threw (`detail` has its message), or its value is no JSON."""


class BrowserGone(Conflict):
    """The browser died during the call."""


class NameTaken(Conflict):
    """A user of that name exists."""


class IdempotencyMismatch(Conflict):
    """The Idempotency-Key was used for another body within 24 hours."""


class Busy(ApiError):
    """Temporarily unavailable. `retry_after` in seconds, where the service sends it."""


class QuotaExceeded(Busy):
    """The caller's own limit is reached."""


class Unavailable(Busy):
    """The pool is full, the service is shutting down, or it has no browser."""


class BrowserTimeout(ApiError):
    """The browser or the page did not respond in time."""


class ServiceFailed(ApiError):
    """A bug of the service or of a proxy in front of it."""


class UnexpectedResponse(ApiError):
    """Not a response of this API: another server is at that URL, or another version of the service."""


BY_STATUS: Final[Mapping[int, type[ApiError]]] = {
    400: InvalidRequest,
    401: Unauthorized,
    403: Forbidden,
    404: NotFound,
    409: Conflict,
    413: InvalidRequest,
    415: InvalidRequest,
    422: InvalidRequest,
    429: QuotaExceeded,
    503: Unavailable,
    504: BrowserTimeout,
}
BY_TYPE: Final[Mapping[str, type[ApiError]]] = {
    "wrong-state": WrongState,
    "page-failed": PageFailed,
    "script-failed": ScriptFailed,
    "browser-gone": BrowserGone,
    "name-taken": NameTaken,
    "idempotency-mismatch": IdempotencyMismatch,
}
"""More exact than `BY_STATUS`, by the last part of the problem's type."""

TYPE_PREFIX: Final = "urn:browser-sessions:"
"""Of the types of the service's own problems."""


def error_from(response: httpx.Response, now: datetime | None = None) -> ApiError:
    """The exception for an error response, also for one from a proxy (an HTML page)."""
    status = response.status_code
    problem = _problem(response)
    type_ = str(problem.get("type", ""))
    if status == 404 and not type_.startswith(TYPE_PREFIX):  # not about a session: nobody may conclude that it is gone
        return UnexpectedResponse(
            status,
            f"The response {status} is not one of browser-sessions. Check that the URL is that of the service.",
            title="Not this API",
        )
    slug = type_.rpartition(":")[2]
    kind = BY_TYPE.get(slug) or BY_STATUS.get(status, ServiceFailed if status >= 500 else ApiError)
    retry_after = _seconds(response.headers.get("Retry-After"), now or datetime.now(UTC))
    found = problem.get("detail")
    if isinstance(found, list):  # FastAPI's body of a validation error
        errors = tuple(error for error in found if isinstance(error, dict))
        return kind(status, _summary(errors), title="Invalid request", retry_after=retry_after, errors=errors)
    return kind(
        status,
        found if isinstance(found, str) and found else f"The service responded {status} {response.reason_phrase}.",
        type=str(problem.get("type", "about:blank")),
        title=str(problem.get("title", response.reason_phrase)),
        session_id=problem.get("session_id"),
        retry_after=retry_after,
    )


def _problem(response: httpx.Response) -> dict[str, Any]:
    try:
        found = response.json()
    except ValueError:  # not JSON, or not in the encoding that it claims
        return {}
    return found if isinstance(found, dict) else {}


def _summary(errors: tuple[Mapping[str, Any], ...]) -> str:
    """`viewport_width: Input should be …; …`: each field's path, without its leading `body` or `query`."""
    parts = []
    for error in errors:
        loc = [str(part) for part in error.get("loc", ())]
        parts.append(f"{'.'.join(loc[1:] or loc)}: {error.get('msg', 'is invalid')}")
    return "; ".join(parts) or "The request is invalid."


def _seconds(header: str | None, now: datetime) -> float | None:
    """Retry-After in seconds; the header is a number or a date (RFC 9110, section 10.2.3)."""
    if header is None:
        return None
    try:
        return max(0.0, float(header))
    except ValueError:
        pass
    try:
        return max(0.0, (parsedate_to_datetime(header) - now).total_seconds())
    except (ValueError, TypeError):  # not a date either, or one without a time zone
        return None
